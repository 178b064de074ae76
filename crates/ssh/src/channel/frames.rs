//! The recorded stream of a program: media `greffier-frames`.
//!
//! Frames, one after the other: `varint` microseconds since the frame before, a byte that says
//! what it is, `varint` length, and so many bytes as they crossed. Varints are LEB128.

use std::time::Instant;

/// The media type.
pub(crate) const MEDIA: &str = "greffier-frames";

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Standard output, or a terminal's.
    Output = b'o',
    /// Standard error.
    Error = b'e',
    /// Keystrokes.
    Input = b'i',
    /// A terminal's size: columns and rows, two big-endian numbers of 16 bits.
    Resize = b'r',
    /// A mark: a signal's name.
    Mark = b'm',
    /// How it ended: an exit status in decimal, or a signal's name.
    Exit = b'x',
}

/// Writes frames.
#[derive(Debug)]
pub(crate) struct Frames {
    last: Instant,
}

impl Frames {
    pub(crate) fn new() -> Self {
        Frames { last: Instant::now() }
    }

    /// One frame.
    pub(crate) fn frame(&mut self, kind: Kind, bytes: &[u8]) -> Vec<u8> {
        let now = Instant::now();
        let since = now.saturating_duration_since(self.last);
        self.last = now;
        let mut out = Vec::with_capacity(bytes.len() + 16);
        varint(&mut out, u64::try_from(since.as_micros()).unwrap_or(u64::MAX));
        out.push(kind as u8);
        varint(&mut out, bytes.len() as u64);
        out.extend_from_slice(bytes);
        out
    }

    /// A terminal's size; what does not fit 16 bits is no size of a terminal.
    pub(crate) fn resize(&mut self, columns: u32, rows: u32) -> Vec<u8> {
        let size = |n: u32| u16::try_from(n).unwrap_or(u16::MAX).to_be_bytes();
        self.frame(Kind::Resize, &[size(columns), size(rows)].concat())
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_say_what_they_hold() {
        let mut frames = Frames::new();
        let frame = frames.frame(Kind::Error, b"oh");
        assert!(frame.ends_with(b"e\x02oh"));
        assert!(frames.resize(80, 24).ends_with(b"r\x04\0\x50\0\x18"));
        let mut out = Vec::new();
        for value in [0, 127, 128, 300] {
            varint(&mut out, value);
        }
        assert_eq!(out, [0, 127, 0x80, 1, 0xac, 2]);
    }
}
