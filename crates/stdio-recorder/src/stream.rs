//! One stream of bytes that is no terminal's: counted, hashed, masked.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::digest::{Context as Digest, SHA256};
use masking::{Policy, Receipt, Sink, StreamMasker};

/// How much of a stream is looked at to tell text from binary data, in bytes.
const BINARY_PROBE: u64 = 4096;

/// A way in which a program speaks, or is spoken to.
pub(crate) struct Stream {
    pub(crate) bytes: u64,
    digest: Digest,
    to_client: Option<StreamMasker>,
    to_record: Option<StreamMasker>,
    /// The client's masker may hold something since then.
    pub(crate) held: Option<Instant>,
    /// A NUL among its first bytes: what is no text can't be searched.
    binary: bool,
    keeps_binary: bool,
    /// Binary data passes to the client as it came.
    binary_passes: bool,
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
            held: None,
            binary: false,
            keeps_binary: wanted.keeps_binary,
            binary_passes: wanted.binary_passes,
        }
    }

    /// Whether the client is to see it masked.
    pub(crate) fn is_masked(&self) -> bool {
        self.to_client.is_some()
    }

    /// Counts what came; first of all that is done with it.
    pub(crate) fn count(&mut self, data: &[u8]) {
        self.digest.update(data);
        let probe = usize::try_from(BINARY_PROBE.saturating_sub(self.bytes)).unwrap_or(0);
        self.bytes += data.len() as u64;
        let is_searched = self.to_record.is_some() || self.to_client.is_some();
        self.binary |= is_searched && data.iter().take(probe).any(|&byte| byte == 0);
    }

    /// What came as the record is to have it now. The masker can't vouch for what is no text.
    pub(crate) fn for_record<'a>(&mut self, data: &'a [u8]) -> Cow<'a, [u8]> {
        let is_left_out = self.is_left_out();
        let Some(masker) = &mut self.to_record else { return Cow::Borrowed(data) };
        let mut out = Vec::new();
        if !is_left_out {
            out.reserve(data.len());
            masker.push(data, &mut out);
        }
        Cow::Owned(out)
    }

    /// What came as the client is to have it now, if that differs.
    pub(crate) fn for_client(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        let masker = self.to_client.as_mut()?;
        let mut out = Vec::with_capacity(data.len());
        if self.binary && self.binary_passes {
            masker.finish(&mut out);
            out.extend_from_slice(data);
            self.held = None;
        } else {
            masker.push(data, &mut out);
            self.held = Some(Instant::now());
        }
        Some(out)
    }

    /// What the client's masker holds, judged as if nothing followed.
    pub(crate) fn client_tail(&mut self, out: &mut Vec<u8>) {
        self.held = None;
        if let Some(masker) = &mut self.to_client {
            masker.finish(out);
        }
    }

    /// What the record's masker holds, judged as if nothing followed.
    pub(crate) fn record_tail(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let is_left_out = self.is_left_out();
        if let Some(masker) = self.to_record.as_mut().filter(|_| !is_left_out) {
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
