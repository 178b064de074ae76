//! Long text inside other text, masked while it streams: the text is decoded
//! for the detectors, and what they leave stays written as it was.

use crate::escape::Writing;
use crate::eyes::{Counts, Eyes, Outs};
use masking::{Edits, Sink, StreamMasker};
use std::marker::PhantomData;

/// A string that is too long to be held, for each side.
pub(crate) struct Recode<W> {
    lanes: Vec<Lane<W>>,
    copy: bool,
}

struct Lane<W> {
    sink: Sink,
    masker: StreamMasker,
    /// As written, not yet given out.
    raw: Vec<u8>,
    /// Of `raw`: shown to the masker.
    shown: usize,
    /// Decoded bytes that may stay, and are part of a unit not given out yet.
    kept: usize,
    /// Decoded bytes to come that belong to a unit that is already gone.
    gone: usize,
    text: Vec<u8>,
    edits: Edits,
    writing: PhantomData<W>,
}

impl<W: Writing> Recode<W> {
    pub(crate) fn new(eyes: &Eyes) -> Self {
        let lane = |sink| Lane {
            sink,
            masker: eyes.policy.stream(sink),
            raw: Vec::new(),
            shown: 0,
            kept: 0,
            gone: 0,
            text: Vec::new(),
            edits: Edits::default(),
            writing: PhantomData,
        };
        Self { lanes: eyes.lanes().map(lane).collect(), copy: eyes.client && eyes.same }
    }

    pub(crate) fn push(&mut self, raw: &[u8], outs: &mut Outs<'_>) {
        self.each(outs, |lane, out| lane.push(raw, false, out));
    }

    pub(crate) fn finish(mut self, outs: &mut Outs<'_>, counts: &mut Counts) {
        self.each(outs, |lane, out| lane.push(b"", true, out));
        for lane in &self.lanes {
            counts.of(lane.sink).merge(lane.masker.receipt());
        }
    }

    fn each(&mut self, outs: &mut Outs<'_>, mut put: impl FnMut(&mut Lane<W>, &mut Vec<u8>)) {
        for lane in &mut self.lanes {
            let Some(out) = outs.side(lane.sink) else { continue };
            let start = out.len();
            put(lane, out);
            if self.copy
                && let (Some(client), Some(record)) =
                    (outs.client.as_deref(), outs.record.as_deref_mut())
            {
                record.extend_from_slice(client.get(start..).unwrap_or_default());
            }
        }
    }
}

impl<W: Writing> Lane<W> {
    fn push(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) {
        self.raw.extend_from_slice(piece);
        self.text.clear();
        loop {
            let rest = self.raw.get(self.shown..).unwrap_or_default();
            let run = W::special(rest).unwrap_or(rest.len());
            self.text.extend_from_slice(rest.get(..run).unwrap_or_default());
            self.shown += run;
            if run == rest.len() {
                break;
            }
            let Some(unit) = W::unit(rest.get(run..).unwrap_or_default(), last) else { break };
            self.text.extend_from_slice(unit.bytes());
            self.shown += unit.raw;
        }
        self.edits.clear();
        self.masker.push_edits(&self.text, &mut self.edits);
        if last {
            self.masker.finish_edits(&mut self.edits);
        }
        let done = self.apply(out);
        self.raw.drain(..done.min(self.raw.len()));
        self.shown = self.shown.saturating_sub(done);
    }

    /// Gives out what the edits are about; how much of `raw` that is.
    fn apply(&mut self, out: &mut Vec<u8>) -> usize {
        let mut done = 0;
        for edit in &self.edits.edits {
            let mut bytes = edit.bytes;
            let gone = self.gone.min(bytes);
            self.gone -= gone;
            bytes -= gone;
            let masked = edit.put.clone();
            bytes += std::mem::take(&mut self.kept);
            while bytes > 0 {
                let rest = self.raw.get(done..self.shown).unwrap_or_default();
                let run = W::special(rest).unwrap_or(rest.len()).min(bytes);
                let (raw, stands_for) = if run > 0 {
                    (run, run)
                } else if let Some(unit) = W::unit(rest, true).filter(|_| !rest.is_empty()) {
                    (unit.raw, unit.stands_for)
                } else {
                    break;
                };
                if stands_for > bytes && masked.is_none() {
                    self.kept = bytes;
                    break;
                }
                if masked.is_none() {
                    out.extend_from_slice(rest.get(..raw).unwrap_or_default());
                }
                self.gone += stands_for.saturating_sub(bytes);
                bytes = bytes.saturating_sub(stands_for);
                done += raw;
            }
            if let Some(put) = masked {
                W::write(self.edits.text.get(put).unwrap_or_default(), out);
            }
        }
        done
    }
}
