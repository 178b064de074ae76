//! The clock of a recording, whose frames are [`terminal::frames`]: what is written here is read
//! there, so the two are one definition.

use std::time::Instant;

use terminal::frames::Kind;

/// Writes frames, each with the time since the one before.
#[derive(Debug)]
pub struct Frames {
    last: Instant,
}

impl Default for Frames {
    fn default() -> Self {
        Self::new()
    }
}

impl Frames {
    /// A recording that begins now.
    #[must_use]
    pub fn new() -> Self {
        Frames { last: Instant::now() }
    }

    /// One frame of what came just now.
    pub fn frame(&mut self, kind: Kind, bytes: &[u8]) -> Vec<u8> {
        self.frame_at(Instant::now(), kind, bytes)
    }

    /// One frame of what came at a time.
    pub fn frame_at(&mut self, at: Instant, kind: Kind, bytes: &[u8]) -> Vec<u8> {
        let since = at.saturating_duration_since(self.last);
        self.last = self.last.max(at);
        let mut out = Vec::with_capacity(bytes.len() + 16);
        let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        terminal::frames::write(&mut out, micros, kind, bytes);
        out
    }
}

/// A terminal's size as a frame has it; what does not fit 16 bits is no size of a terminal.
pub(crate) fn size(columns: u32, rows: u32) -> Vec<u8> {
    [narrow(columns).to_be_bytes(), narrow(rows).to_be_bytes()].concat()
}

/// A number of columns or rows.
pub(crate) fn narrow(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut frames = Frames::new();
        let mut reader = terminal::frames::Reader::new();
        reader.push(&frames.frame(Kind::Error, b"oh"));
        reader.push(&frames.frame(Kind::Resize, &size(80, 70_000)));
        let error = reader.next().unwrap().unwrap();
        assert_eq!((error.kind, error.bytes.as_slice()), (Kind::Error, &b"oh"[..]));
        let resize = reader.next().unwrap().unwrap();
        assert_eq!(resize.size(), Some((80, u16::MAX)));
        assert_eq!((reader.next(), reader.left()), (Ok(None), 0));
    }
}
