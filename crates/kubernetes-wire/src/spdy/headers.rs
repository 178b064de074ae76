//! Headers of streams (SPDY/3, 2.6.10).

use flate2::{Decompress, FlushDecompress, Status};

use super::SpdyError;
use super::dictionary::DICTIONARY;

/// The most that headers of one frame may be, inflated, bytes.
pub const MAX_HEADER_BLOCK_BYTES: usize = 64 << 10;
/// The most headers of one frame.
pub const MAX_HEADERS: usize = 128;

/// The headers of one stream. Names are in small letters, and none comes twice.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StreamHeaders {
    pairs: Vec<(String, String)>,
}

// A value may be a token.
impl std::fmt::Debug for StreamHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.pairs.iter().map(|(name, _)| name)).finish()
    }
}

impl StreamHeaders {
    /// The value of a header, whose name is in small letters.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// All names and values, in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `streamType`: `stdin`, `stdout`, `stderr`, `error` or `resize` of an exec or attach;
    /// `data` or `error` of a port forward.
    #[must_use]
    pub fn stream_type(&self) -> Option<&str> {
        self.get("streamtype")
    }

    /// `port` of a port forward's streams.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        let text = self.get("port")?;
        text.parse().ok().filter(|_| text.bytes().all(|it| it.is_ascii_digit()))
    }

    /// `requestID`, which a port forward's data stream and its error stream have in common.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.get("requestid")
    }

    /// Reads a block, inflated: a count, then names and values, each behind its length.
    fn parse(block: &[u8]) -> Option<Self> {
        let mut rest = block;
        let count = usize::try_from(take_u32(&mut rest)?).ok()?;
        if count > MAX_HEADERS {
            return None;
        }
        let mut pairs = Vec::<(String, String)>::with_capacity(count);
        for _ in 0..count {
            let name = take_text(&mut rest)?;
            let value = take_text(&mut rest)?;
            let known = |it: u8| it.is_ascii_graphic() && !it.is_ascii_uppercase();
            // A zero byte divides values of one header. Kubernetes sends no such.
            if name.is_empty() || !name.bytes().all(known) || value.contains('\0') {
                return None;
            }
            if pairs.iter().any(|(it, _)| it == name) {
                return None;
            }
            pairs.push((name.to_owned(), value.to_owned()));
        }
        // What is left over, the API server's reader takes for the next frame's headers.
        rest.is_empty().then_some(Self { pairs })
    }
}

/// Takes a number off the front.
pub(super) fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (number, more) = rest.split_first_chunk::<4>()?;
    *rest = more;
    Some(u32::from_be_bytes(*number))
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let len = usize::try_from(take_u32(rest)?).ok()?;
    let (text, more) = rest.split_at_checked(len)?;
    *rest = more;
    std::str::from_utf8(text).ok()
}

/// Inflates the headers of one direction: one zlib stream over all frames, each frame's part
/// flushed at its end.
pub(super) struct Inflater {
    zlib: Decompress,
    has_dictionary: bool,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { zlib: Decompress::new(true), has_dictionary: false }
    }

    pub(super) fn headers(&mut self, deflated: &[u8]) -> Result<StreamHeaders, SpdyError> {
        let block = self.inflate(deflated).ok_or(SpdyError::Inflate)?;
        StreamHeaders::parse(&block).ok_or(SpdyError::Headers)
    }

    fn inflate(&mut self, mut deflated: &[u8]) -> Option<Vec<u8>> {
        let (mut out, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let (read, written) = (self.zlib.total_in(), self.zlib.total_out());
            let result = self.zlib.decompress(deflated, &mut buffer, FlushDecompress::Sync);
            let read = usize::try_from(self.zlib.total_in() - read).ok()?;
            let written = usize::try_from(self.zlib.total_out() - written).ok()?;
            deflated = deflated.get(read..)?;
            out.extend_from_slice(buffer.get(..written)?);
            if out.len() > MAX_HEADER_BLOCK_BYTES {
                return None;
            }
            match result {
                Err(e) if e.needs_dictionary().is_some() && !self.has_dictionary => {
                    self.zlib.set_dictionary(DICTIONARY).ok()?;
                    self.has_dictionary = true;
                }
                Ok(Status::Ok | Status::BufError) if read > 0 || written > 0 => {}
                // Nothing more can be had of what came: the rest of it would be an error.
                Ok(Status::Ok | Status::BufError) => return deflated.is_empty().then_some(out),
                // The stream of headers never ends.
                Ok(Status::StreamEnd) | Err(_) => return None,
            }
        }
    }
}
