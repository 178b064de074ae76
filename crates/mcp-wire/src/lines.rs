//! Messages over stdio: one a line (2025-06-18, stdio; 2026-07-28, stdio).

use memchr::memchr;

use crate::error::WireError;
use crate::message::Message;

/// From how many consumed bytes on the buffer is moved together.
const COMPACT_BYTES: usize = 64 << 10;

/// Cuts a stream of bytes into lines. The buffer holds what was given to [`Lines::push`] and not
/// taken out yet: a caller that takes all lines out before it reads on holds at most one line and
/// one read.
pub struct Lines {
    buffer: Vec<u8>,
    /// Up to where lines were taken out.
    start: usize,
    /// Up to where there is no newline.
    scanned: usize,
    most: usize,
    failed: bool,
}

// What waits in it is somebody's message.
impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lines with {} bytes", self.buffer.len() - self.start)
    }
}

impl Lines {
    /// Lines of at most `most` bytes.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, scanned: 0, most, failed: false }
    }

    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.failed {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next line that is not blank, without its end; none until more is read.
    ///
    /// # Errors
    /// A line that is too long: the sender's fault. The stream can't be read on, and every later
    /// call says the same.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, WireError> {
        loop {
            if self.failed {
                return Err(WireError::TooLong { most: self.most });
            }
            let rest = self.buffer.get(self.scanned..).unwrap_or_default();
            let end = memchr(b'\n', rest).map(|at| self.scanned + at);
            let length = end.unwrap_or(self.buffer.len()) - self.start;
            if length > self.most {
                self.failed = true;
                self.buffer = Vec::new();
                continue;
            }
            let Some(end) = end else {
                self.scanned = self.buffer.len();
                self.compact();
                return Ok(None);
            };
            let line = self.buffer.get(self.start..end).unwrap_or_default().to_vec();
            (self.start, self.scanned) = (end + 1, end + 1);
            self.compact();
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }

    /// Says that the stream has ended.
    ///
    /// # Errors
    /// In the middle of a message: the sender's fault.
    pub fn finish(&self) -> Result<(), WireError> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        if self.failed {
            return Err(WireError::TooLong { most: self.most });
        }
        if rest.trim_ascii().is_empty() {
            return Ok(());
        }
        Err(WireError::Syntax { at: rest.len(), expected: "a newline" })
    }

    fn compact(&mut self) {
        if self.start == self.buffer.len() || self.start >= COMPACT_BYTES {
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
    }
}

impl Message {
    /// The message as a line, with its newline. None is within: strings write theirs as `\n`.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        let mut out = self.to_bytes();
        out.push(b'\n');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(pieces: &[&[u8]], most: usize) -> (Vec<Vec<u8>>, Result<(), WireError>) {
        let (mut lines, mut out) = (Lines::new(most), Vec::new());
        for piece in pieces {
            lines.push(piece);
            loop {
                match lines.next_line() {
                    Ok(Some(line)) => out.push(line),
                    Ok(None) => break,
                    Err(error) => return (out, Err(error)),
                }
            }
        }
        (out, lines.finish())
    }

    #[test]
    fn every_split_gives_the_same_lines() {
        let stream = b"{}\n\n [1]\r\nlonger\n\nend";
        let whole = all(&[stream], 7);
        let want: [&[u8]; 3] = [b"{}", b" [1]\r", b"longer"];
        assert_eq!(whole.0, want);
        assert_eq!(whole.1, Err(WireError::Syntax { at: 3, expected: "a newline" }));
        for at in 0..stream.len() {
            for then in at..stream.len() {
                let pieces = [&stream[..at], &stream[at..then], &stream[then..]];
                assert_eq!(all(&pieces, 7), whole, "{at} {then}");
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_ends_it() {
        let (lines, end) = all(&[b"ok\n", b"12345", b"678\nok\n"], 7);
        assert_eq!((lines.len(), end), (1, Err(WireError::TooLong { most: 7 })));
        let mut lines = Lines::new(2);
        lines.push(b"123");
        for _ in 0..3 {
            assert_eq!(lines.next_line(), Err(WireError::TooLong { most: 2 }));
            lines.push(b"\nok\n");
        }
        assert!(lines.buffer.is_empty() && lines.finish().is_err());
    }

    proptest! {
        #[test]
        fn lines_are_what_split_says(
            pieces in prop::collection::vec(prop::collection::vec(prop::sample::select(&b"ab\n"[..]), 0..9), 0..9)
        ) {
            let whole = pieces.concat();
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let mut want: Vec<&[u8]> = whole.split(|byte| *byte == b'\n').collect();
            let torn = want.pop().unwrap_or_default();
            want.retain(|line| !line.is_empty());
            let (lines, end) = all(&pieces, usize::MAX);
            prop_assert_eq!(lines, want);
            prop_assert_eq!(end.is_ok(), torn.is_empty());
        }
    }
}
