//! The recorded stream of a program: media `greffier-frames`.
//!
//! Frames, one after the other: `varint` microseconds since the frame before, a byte that says
//! what it is ([`Kind`]), `varint` length, and so many bytes as they crossed, cut anywhere.
//! Varints are unsigned LEB128.

/// The media type.
pub const MEDIA: &str = "greffier-frames";
/// The longest content of a frame that is read, in bytes.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;
/// The longest varint: 64 bits in groups of seven.
const MAX_VARINT_BYTES: usize = 10;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `o`: standard output, or a terminal's.
    Output,
    /// `e`: standard error.
    Error,
    /// `i`: keystrokes.
    Input,
    /// `h`: keystrokes that were not echoed: how many, in decimal.
    Hidden,
    /// `r`: a terminal's size, columns and rows, two big-endian numbers of 16 bits.
    Resize,
    /// `m`: a mark, such as a signal's name.
    Mark,
    /// `x`: how it ended, an exit status in decimal, or a signal's name.
    Exit,
    /// Another letter, of a later version.
    Other(u8),
}

impl Kind {
    /// The letter.
    #[must_use]
    pub const fn letter(self) -> u8 {
        match self {
            Self::Output => b'o',
            Self::Error => b'e',
            Self::Input => b'i',
            Self::Hidden => b'h',
            Self::Resize => b'r',
            Self::Mark => b'm',
            Self::Exit => b'x',
            Self::Other(letter) => letter,
        }
    }

    /// What a letter says.
    #[must_use]
    pub const fn of(letter: u8) -> Self {
        match letter {
            b'o' => Self::Output,
            b'e' => Self::Error,
            b'i' => Self::Input,
            b'h' => Self::Hidden,
            b'r' => Self::Resize,
            b'm' => Self::Mark,
            b'x' => Self::Exit,
            other => Self::Other(other),
        }
    }
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Microseconds since the frame before.
    pub after_us: u64,
    /// What it is.
    pub kind: Kind,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl Frame {
    /// Columns and rows, of a [`Kind::Resize`].
    #[must_use]
    pub fn size(&self) -> Option<(u16, u16)> {
        match (self.kind, self.bytes.as_slice()) {
            (Kind::Resize, &[a, b, c, d]) => {
                Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
            }
            _ => None,
        }
    }
}

/// The recording is not one; the fault is of whoever wrote it, or of the reader's own slicing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A number of more than 64 bits.
    #[error("a number in the recording is too long")]
    Number,
    /// A frame longer than [`MAX_FRAME_BYTES`].
    #[error("a frame of the recording has {0} bytes, the limit is {MAX_FRAME_BYTES}")]
    TooLong(u64),
}

/// Appends a frame.
pub fn write(out: &mut Vec<u8>, after_us: u64, kind: Kind, bytes: &[u8]) {
    varint(out, after_us);
    out.push(kind.letter());
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads frames from pieces of a recording that are cut anywhere.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    at: usize,
}

impl Reader {
    /// One at the beginning.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the recording's next piece.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame; none until more is pushed.
    ///
    /// # Errors
    /// What is there is no frame; it stays so.
    #[allow(clippy::should_implement_trait)] // an iterator would hide errors
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let Some((after_us, rest)) = read_varint(rest)? else { return Ok(None) };
        let Some((&letter, rest)) = rest.split_first() else { return Ok(None) };
        let Some((length, rest)) = read_varint(rest)? else { return Ok(None) };
        let length = usize::try_from(length)
            .ok()
            .filter(|it| *it <= MAX_FRAME_BYTES)
            .ok_or(FrameError::TooLong(length))?;
        let Some(bytes) = rest.get(..length) else { return Ok(None) };
        let frame = Frame { after_us, kind: Kind::of(letter), bytes: bytes.to_vec() };
        self.at = self.buffer.len() - (rest.len() - length);
        Ok(Some(frame))
    }

    /// Bytes of a frame that is not whole: more than none at the end means that it was cut off.
    #[must_use]
    pub fn left(&self) -> usize {
        self.buffer.len() - self.at
    }
}

fn read_varint(bytes: &[u8]) -> Result<Option<(u64, &[u8])>, FrameError> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(MAX_VARINT_BYTES) {
        let low = u64::from(byte & 0x7f);
        if index == MAX_VARINT_BYTES - 1 && low > 1 {
            return Err(FrameError::Number);
        }
        value |= low << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, bytes.get(index + 1..).unwrap_or_default())));
        }
    }
    if bytes.len() >= MAX_VARINT_BYTES { Err(FrameError::Number) } else { Ok(None) }
}
