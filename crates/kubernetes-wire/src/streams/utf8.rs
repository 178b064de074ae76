//! UTF-8 that comes in pieces.

/// Whether bytes are UTF-8, wherever they are cut (RFC 3629, 4).
#[derive(Default)]
pub(super) struct Utf8 {
    /// Bytes of the character that are to come.
    left: u8,
    /// What the next of them may be.
    low: u8,
    high: u8,
}

impl Utf8 {
    /// Whether they can be so far; and at the `last`, whether they are.
    pub(super) fn push(&mut self, bytes: &[u8], last: bool) -> bool {
        for &byte in bytes {
            if self.left > 0 {
                if byte < self.low || byte > self.high {
                    return false;
                }
                (self.left, self.low, self.high) = (self.left - 1, 0x80, 0xbf);
                continue;
            }
            (self.left, self.low, self.high) = match byte {
                0..=0x7f => (0, 0x80, 0xbf),
                0xc2..=0xdf => (1, 0x80, 0xbf),
                0xe0 => (2, 0xa0, 0xbf),
                0xed => (2, 0x80, 0x9f),
                0xe1..=0xef => (2, 0x80, 0xbf),
                0xf0 => (3, 0x90, 0xbf),
                0xf1..=0xf3 => (3, 0x80, 0xbf),
                0xf4 => (3, 0x80, 0x8f),
                _ => return false,
            };
        }
        !last || self.left == 0
    }
}
