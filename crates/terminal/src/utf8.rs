//! Text from bytes that come in pieces.

/// The most bytes of a UTF-8 sequence that wait for their end.
const MAX_PENDING: usize = 3;

/// Bytes that are cut anywhere, as text: a sequence that a piece's end cuts waits for its rest;
/// what is no UTF-8 becomes U+FFFD.
#[derive(Debug, Default)]
pub(crate) struct Text {
    pending: Vec<u8>,
}

impl Text {
    /// The text that is whole with the next piece.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.pending);
        all.extend_from_slice(bytes);
        self.pending = all.split_off(all.len() - incomplete(&all));
        String::from_utf8_lossy(&all).into_owned()
    }

    /// What stands for a sequence that had no rest.
    pub(crate) fn finish(&mut self) -> &'static str {
        if std::mem::take(&mut self.pending).is_empty() { "" } else { "\u{fffd}" }
    }
}

/// How many bytes at the end begin a UTF-8 sequence that may yet be whole.
pub(crate) fn incomplete(bytes: &[u8]) -> usize {
    for length in 1..=MAX_PENDING.min(bytes.len()) {
        let tail = bytes.get(bytes.len() - length..).unwrap_or_default();
        if let Err(error) = std::str::from_utf8(tail)
            && error.error_len().is_none()
            && error.valid_up_to() == 0
        {
            return length;
        }
    }
    0
}
