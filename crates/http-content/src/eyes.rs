//! One text, masked for both who will see it.

use crate::error::Sides;
use masking::{Outcome, Policy, Receipt, Sink, StreamMasker};
use std::ops::Range;
use std::sync::Arc;

/// Where masked bytes go; `None`: nobody wants them.
pub(crate) struct Outs<'a> {
    pub(crate) client: Option<&'a mut Vec<u8>>,
    pub(crate) record: Option<&'a mut Vec<u8>>,
}

impl Outs<'_> {
    /// Bytes that stay as they are.
    #[inline]
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        if let Some(out) = &mut self.client {
            out.extend_from_slice(bytes);
        }
        if let Some(out) = &mut self.record {
            out.extend_from_slice(bytes);
        }
    }

    pub(crate) fn side(&mut self, sink: Sink) -> Option<&mut Vec<u8>> {
        match sink {
            Sink::Client => self.client.as_deref_mut(),
            Sink::Record => self.record.as_deref_mut(),
        }
    }
}

/// What was done, for each side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In what the client sees.
    pub client: Receipt,
    /// In what the record keeps.
    pub record: Receipt,
}

impl Counts {
    pub(crate) fn of(&mut self, sink: Sink) -> &mut Receipt {
        match sink {
            Sink::Client => &mut self.client,
            Sink::Record => &mut self.record,
        }
    }

    pub(crate) fn merge(&mut self, other: &Counts) {
        self.client.merge(&other.client);
        self.record.merge(&other.record);
    }
}

/// The policy as one body needs it: which sides are masked at all, and whether
/// one mask serves both.
#[derive(Clone)]
pub(crate) struct Eyes {
    pub(crate) policy: Arc<Policy>,
    /// The sides that something may change for. Where only one is masked, the
    /// other gets the bytes as they are, from the caller.
    pub(crate) client: bool,
    pub(crate) record: bool,
    /// Client and record are given the same.
    pub(crate) same: bool,
    /// What the client sees unchanged may not be kept unchanged.
    pub(crate) hides_more: bool,
}

impl Eyes {
    pub(crate) fn new(policy: Arc<Policy>, sides: Sides) -> Self {
        let on = |sink| sides.has(sink) && (policy.scans(sink) || policy.paths_mask(sink));
        let (client, record) = (on(Sink::Client), on(Sink::Record));
        let same = policy.sinks_agree();
        Self { client, record, same, hides_more: policy.record_hides_more(), policy }
    }

    pub(crate) fn wants(&self, sink: Sink) -> bool {
        match sink {
            Sink::Client => self.client,
            Sink::Record => self.record,
        }
    }

    /// The sides that need a mask of their own, the client's first.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = Sink> + use<> {
        let record = self.record && !(self.client && self.same);
        let (client, record) =
            (self.client.then_some(Sink::Client), record.then_some(Sink::Record));
        client.into_iter().chain(record)
    }

    /// Gives each side what `mask` makes of a value for it; `raw` where it
    /// answers false (it then has written nothing).
    pub(crate) fn each(
        &self,
        raw: &[u8],
        outs: &mut Outs<'_>,
        counts: &mut Counts,
        mut mask: impl FnMut(Sink, &mut Vec<u8>, &mut Receipt) -> bool,
    ) {
        let mut client_same = true;
        let mut copy: Option<Range<usize>> = None;
        if self.client
            && let Some(out) = outs.side(Sink::Client)
        {
            let start = out.len();
            if mask(Sink::Client, out, &mut counts.client) {
                client_same = false;
                copy = Some(start..out.len());
            } else {
                out.extend_from_slice(raw);
            }
        }
        if !self.record {
            return;
        }
        if self.client && self.same {
            if let (Some(range), Some(client), Some(record)) =
                (copy, outs.client.as_deref(), outs.record.as_deref_mut())
            {
                record.extend_from_slice(client.get(range).unwrap_or_default());
            } else if let Some(record) = outs.side(Sink::Record) {
                record.extend_from_slice(raw);
            }
            return;
        }
        let skip = self.client && client_same && !self.hides_more;
        if let Some(out) = outs.side(Sink::Record)
            && (skip || !mask(Sink::Record, out, &mut counts.record))
        {
            out.extend_from_slice(raw);
        }
    }

    /// Masks one whole plain text.
    pub(crate) fn text(&self, text: &[u8], outs: &mut Outs<'_>, counts: &mut Counts) {
        let policy = &self.policy;
        self.each(text, outs, counts, |sink, out, receipt| {
            policy.mask_text(sink, text, out, receipt) == Outcome::Replaced
        });
    }
}

/// Text that comes in pieces, for each side.
pub(crate) struct TextMask {
    lanes: Vec<(Sink, StreamMasker)>,
    copy: bool,
}

impl TextMask {
    pub(crate) fn new(eyes: &Eyes) -> Self {
        let lanes = eyes.lanes().map(|sink| (sink, eyes.policy.stream(sink))).collect();
        Self { lanes, copy: eyes.client && eyes.record && eyes.same }
    }

    pub(crate) fn push(&mut self, piece: &[u8], outs: &mut Outs<'_>) {
        self.each(outs, |masker, out| masker.push(piece, out));
    }

    /// Ends the text; what comes next is another one.
    pub(crate) fn finish(&mut self, outs: &mut Outs<'_>) {
        self.each(outs, StreamMasker::finish);
    }

    fn each(&mut self, outs: &mut Outs<'_>, mut put: impl FnMut(&mut StreamMasker, &mut Vec<u8>)) {
        for (sink, masker) in &mut self.lanes {
            let Some(out) = outs.side(*sink) else { continue };
            let start = out.len();
            put(masker, out);
            if self.copy
                && let (Some(client), Some(record)) =
                    (outs.client.as_deref(), outs.record.as_deref_mut())
            {
                record.extend_from_slice(client.get(start..).unwrap_or_default());
            }
        }
    }

    pub(crate) fn counts(&self, counts: &mut Counts) {
        for (sink, masker) in &self.lanes {
            counts.of(*sink).merge(masker.receipt());
        }
    }
}
