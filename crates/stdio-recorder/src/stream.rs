//! One stream of bytes that is no terminal's: counted, hashed, masked.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context as Digest, SHA256};
use masking::{Policy, Receipt, Sink, StreamMasker};

/// How much of a stream is looked at to tell text from binary data, in bytes.
const BINARY_PROBE: u64 = 4096;

/// The longest that anything is held back, however little comes and however often.
const MAX_HELD: Duration = Duration::from_secs(1);

/// A way in which a program speaks, or is spoken to.
pub(crate) struct Stream {
    pub(crate) bytes: u64,
    digest: Digest,
    to_client: Option<StreamMasker>,
    to_record: Option<StreamMasker>,
    /// What the client is to see and may not yet, for it is on no record: each piece with how many
    /// bytes of the stream there are with it.
    waiting: VecDeque<(u64, Vec<u8>)>,
    pub(crate) held: Held,
    /// A NUL among its first bytes: what is no text can't be searched.
    binary: bool,
    keeps_binary: bool,
    /// Binary data passes to the client as it came.
    binary_passes: bool,
}

/// Since when something is held back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held {
    /// When the last piece came.
    last: Option<Instant>,
    /// When the oldest came, about.
    first: Option<Instant>,
}

impl Held {
    /// A piece came: whether anything is held, and whether anything was let go.
    pub(crate) fn goes_on(&mut self, is_held: bool, lets_go: bool) {
        let now = Instant::now();
        let first = self.first.filter(|_| !lets_go).unwrap_or(now);
        *self = match is_held {
            true => Held { last: Some(now), first: Some(first) },
            false => Held::default(),
        };
    }

    /// More is there and can't be taken yet: so nobody is silent.
    pub(crate) fn postpone(&mut self) {
        if self.last.is_some() {
            let now = Some(Instant::now());
            *self = Held { last: now, first: now };
        }
    }

    /// When it is to be given up: so long after the last piece.
    pub(crate) fn due(self, wait: Duration) -> Option<Instant> {
        Some((self.last? + wait).min(self.first? + MAX_HELD))
    }

    pub(crate) fn is_over(self, now: Option<Instant>, wait: Duration) -> bool {
        self.due(wait).is_some_and(|due| now.is_none_or(|now| due <= now))
    }
}

/// What is to be masked as text, and for whom.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub(crate) client: bool,
    pub(crate) record: bool,
    /// The record has what is no text as well.
    pub(crate) keeps_binary: bool,
    pub(crate) binary_passes: bool,
}

impl Stream {
    pub(crate) fn new(masking: &Arc<Policy>, wanted: Wanted) -> Self {
        let stream =
            |sink, wanted: bool| (wanted && masking.scans(sink)).then(|| masking.stream(sink));
        Stream {
            bytes: 0,
            digest: Digest::new(&SHA256),
            to_client: stream(Sink::Client, wanted.client),
            to_record: stream(Sink::Record, wanted.record),
            waiting: VecDeque::new(),
            held: Held::default(),
            binary: false,
            keeps_binary: wanted.keeps_binary,
            binary_passes: wanted.binary_passes,
        }
    }

    /// Whether anything of it is held back, or changed, on its way to the client.
    pub(crate) fn is_changed(&self) -> bool {
        self.to_client.is_some() || self.to_record.is_some()
    }

    /// Counts what came; first of all that is done with it.
    pub(crate) fn count(&mut self, data: &[u8]) {
        self.digest.update(data);
        let probe = usize::try_from(BINARY_PROBE.saturating_sub(self.bytes)).unwrap_or(0);
        self.bytes += data.len() as u64;
        self.binary |= self.is_changed() && data.iter().take(probe).any(|&byte| byte == 0);
    }

    /// What came as the record is to have it now. The masker can't vouch for what is no text.
    pub(crate) fn for_record<'a>(&mut self, data: &'a [u8]) -> Cow<'a, [u8]> {
        let is_left_out = self.is_left_out();
        let Some(masker) = &mut self.to_record else { return Cow::Borrowed(data) };
        let mut out = Vec::new();
        if is_left_out {
            // What was text before.
            masker.finish(&mut out);
        } else {
            out.reserve(data.len());
            masker.push(data, &mut out);
        }
        Cow::Owned(out)
    }

    /// What the client is to see now, if that may differ from what came; behind
    /// [`for_record`](Stream::for_record).
    pub(crate) fn for_client(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        if !self.is_changed() {
            return None;
        }
        let mut out = Vec::with_capacity(data.len());
        let held = match &mut self.to_client {
            Some(masker) if self.binary && self.binary_passes => {
                masker.finish(&mut out);
                out.extend_from_slice(data);
                0
            }
            Some(masker) => {
                masker.push(data, &mut out);
                masker.held() as u64
            }
            None => {
                out.extend_from_slice(data);
                0
            }
        };
        let unrecorded = self.unrecorded();
        let recorded = self.bytes - unrecorded.min(self.bytes);
        if self.to_client.is_none() {
            // Of what is not changed, just what the record has not waits.
            let rest = usize::try_from(unrecorded).unwrap_or(usize::MAX).min(out.len());
            let rest = out.split_off(out.len() - rest);
            self.wait_for(recorded, out);
            out = rest;
        }
        self.wait_for(self.bytes - held.min(self.bytes), out);
        let shown = self.shown(recorded);
        self.held.goes_on(held > 0 || unrecorded > 0, !shown.is_empty());
        Some(shown)
    }

    /// This is for the client once the record has so many bytes of the stream.
    fn wait_for(&mut self, end: u64, piece: Vec<u8>) {
        if !piece.is_empty() {
            self.waiting.push_back((end, piece));
        }
    }

    /// What the client may see where the record has so many bytes of the stream.
    fn shown(&mut self, recorded: u64) -> Vec<u8> {
        let mut shown = Vec::new();
        while let Some((end, piece)) = self.waiting.front_mut() {
            if *end > recorded {
                break;
            }
            match shown.is_empty() {
                true => shown = std::mem::take(piece),
                false => shown.append(piece),
            }
            self.waiting.pop_front();
        }
        shown
    }

    /// What is held, judged as if nothing followed: for the record, and for the client.
    pub(crate) fn tail(&mut self) -> (Vec<u8>, Vec<u8>) {
        self.held = Held::default();
        let record = self.record_tail();
        let mut client = self.shown(u64::MAX);
        if let Some(masker) = &mut self.to_client {
            masker.finish(&mut client);
        }
        (record, client)
    }

    /// What the record's masker holds, judged as if nothing followed.
    pub(crate) fn record_tail(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(masker) = &mut self.to_record {
            masker.finish(&mut out);
        }
        out
    }

    /// How many bytes the record's masker holds.
    pub(crate) fn unrecorded(&self) -> u64 {
        self.to_record.as_ref().map_or(0, |masker| masker.held() as u64)
    }

    /// Whether bytes are counted and not kept, because they are no text.
    pub(crate) fn is_left_out(&self) -> bool {
        self.binary && !self.keeps_binary && self.to_record.is_some()
    }

    pub(crate) fn sha256(&self) -> String {
        hex::encode(self.digest.clone().finish())
    }

    /// What was masked for the client, else for the record.
    pub(crate) fn receipt(&self) -> Option<&Receipt> {
        self.to_client.as_ref().or(self.to_record.as_ref()).map(StreamMasker::receipt)
    }
}
