//! SPDY/3.1's frames (2.2, 2.6), as they come in, in pieces.

use super::SpdyError;
use super::headers::{Inflater, StreamHeaders, take_u32};

/// The longest control frame of a known type, bytes behind its first eight. It is kept until it
/// is whole. Others are passed over by their length.
pub const MAX_CONTROL_FRAME_BYTES: usize = 32 << 10;
/// The most settings of one frame.
pub const MAX_SETTINGS: usize = 64;

const FIN: u8 = 1;
const UNIDIRECTIONAL: u8 = 2;

/// One setting of a SETTINGS frame (2.6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its flags.
    pub flags: u8,
    /// Which one it is, 24 bits.
    pub id: u32,
    /// Its value.
    pub value: u32,
}

/// What a frame says. `fin` means that nothing more comes of the stream in this direction.
#[derive(Clone, PartialEq, Eq)]
pub enum SpdyEvent<'a> {
    /// A piece of a stream's data. How data is cut into pieces depends on how it came.
    Data {
        /// The stream.
        stream: u32,
        /// Nothing more comes behind it.
        fin: bool,
        /// The data; empty only with `fin`.
        bytes: &'a [u8],
    },
    /// A stream begins (2.6.1).
    SynStream {
        /// The stream.
        stream: u32,
        /// The stream it belongs to; 0 for none.
        associated: u32,
        /// From 0, the most urgent, to 7.
        priority: u8,
        /// Nothing more comes of it.
        fin: bool,
        /// The other side sends nothing on it.
        unidirectional: bool,
        /// Its headers.
        headers: &'a StreamHeaders,
    },
    /// The other side takes the stream (2.6.2).
    SynReply {
        /// The stream.
        stream: u32,
        /// Nothing more comes of it.
        fin: bool,
        /// Its headers.
        headers: &'a StreamHeaders,
    },
    /// More headers of a stream (2.6.7).
    Headers {
        /// The stream.
        stream: u32,
        /// Nothing more comes of it.
        fin: bool,
        /// The headers.
        headers: &'a StreamHeaders,
    },
    /// A stream ends at once, both ways (2.6.3).
    RstStream {
        /// The stream.
        stream: u32,
        /// Why.
        status: u32,
    },
    /// Settings (2.6.4).
    Settings(&'a [Setting]),
    /// A ping, or its answer (2.6.5).
    Ping {
        /// Which one.
        id: u32,
    },
    /// No further stream is taken (2.6.6).
    GoAway {
        /// The last stream that was.
        last: u32,
        /// Why.
        status: u32,
    },
    /// The other side may send more (2.6.8).
    WindowUpdate {
        /// The stream; 0 for all of them (SPDY/3.1).
        stream: u32,
        /// How much more, bytes.
        delta: u32,
    },
    /// A control frame of another type, which was passed over.
    Unknown {
        /// Its type.
        kind: u16,
    },
}

// What passes is nobody's business.
impl std::fmt::Debug for SpdyEvent<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Data { stream, fin, bytes } => {
                write!(f, "Data {stream} fin {fin} of {} bytes", bytes.len())
            }
            Self::SynStream { stream, fin, headers, .. } => {
                write!(f, "SynStream {stream} fin {fin} {headers:?}")
            }
            Self::SynReply { stream, fin, headers } => {
                write!(f, "SynReply {stream} fin {fin} {headers:?}")
            }
            Self::Headers { stream, fin, headers } => {
                write!(f, "Headers {stream} fin {fin} {headers:?}")
            }
            Self::RstStream { stream, status } => write!(f, "RstStream {stream} status {status}"),
            Self::Settings(settings) => write!(f, "Settings {settings:?}"),
            Self::Ping { id } => write!(f, "Ping {id}"),
            Self::GoAway { last, status } => write!(f, "GoAway last {last} status {status}"),
            Self::WindowUpdate { stream, delta } => write!(f, "WindowUpdate {stream} {delta}"),
            Self::Unknown { kind } => write!(f, "Unknown {kind}"),
        }
    }
}

/// What [`SpdyFrames::push_through`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpdyPart<'a> {
    /// What a frame says.
    Event(SpdyEvent<'a>),
    /// A whole frame that is not data, as it came, behind what it says: passed on, it says the same.
    /// None of a frame of an unknown type, which readers pass over.
    Bytes(&'a [u8]),
}

/// The most data in one frame, bytes (2.2.2: the length has 24 bits).
pub const MAX_DATA_FRAME_BYTES: usize = (1 << 24) - 1;

/// Appends data of a stream, as frames; with `fin` nothing more comes of it.
pub fn write_data(out: &mut Vec<u8>, stream: u32, fin: bool, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() || (fin && bytes.is_empty()) {
        let (piece, behind) = rest.split_at(rest.len().min(MAX_DATA_FRAME_BYTES));
        rest = behind;
        let last = fin && rest.is_empty();
        let [_, x, y, z] = u32::try_from(piece.len()).unwrap_or(u32::MAX).to_be_bytes();
        out.extend_from_slice(&(stream & 0x7fff_ffff).to_be_bytes());
        out.extend_from_slice(&[if last { FIN } else { 0 }, x, y, z]);
        out.extend_from_slice(piece);
        if last {
            return;
        }
    }
}

enum Frame {
    Data { stream: u32, fin: bool },
    Control { kind: u16, flags: u8 },
    Skipped { kind: u16 },
}

/// Reads the frames of one direction, wherever they are cut. It must see every frame from the
/// first on, for headers are deflated as one stream.
pub struct SpdyFrames {
    /// The first eight bytes of a frame, then those of a control frame.
    buffer: Vec<u8>,
    frame: Option<(Frame, usize)>,
    inflater: Inflater,
    failed: Option<SpdyError>,
}

impl std::fmt::Debug for SpdyFrames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SpdyFrames with {} bytes", self.buffer.len())
    }
}

impl Default for SpdyFrames {
    fn default() -> Self {
        Self::new()
    }
}

impl SpdyFrames {
    /// At the beginning of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: Vec::new(), frame: None, inflater: Inflater::new(), failed: None }
    }

    /// Reads what came, and gives what it says to `on`, in order.
    ///
    /// # Errors
    /// What SPDY/3.1 forbids, and what is too long: the sender's fault. The stream can't be read
    /// on, and every later call says the same. What was given before stands.
    pub fn push(
        &mut self,
        bytes: &[u8],
        on: &mut dyn FnMut(SpdyEvent<'_>),
    ) -> Result<(), SpdyError> {
        self.push_through(bytes, &mut |part| {
            if let SpdyPart::Event(event) = part {
                on(event);
            }
        })
    }

    /// As [`push`](Self::push), for a caller that passes on what came with other data: gives all
    /// other frames too, as they came.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_through(
        &mut self,
        bytes: &[u8],
        on: &mut dyn FnMut(SpdyPart<'_>),
    ) -> Result<(), SpdyError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let result = self.read(bytes, on);
        self.failed = result.err();
        result
    }

    fn read(
        &mut self,
        mut bytes: &[u8],
        on: &mut dyn FnMut(SpdyPart<'_>),
    ) -> Result<(), SpdyError> {
        while !bytes.is_empty() {
            let Some((frame, left)) = self.frame.take() else {
                let missing = 8 - self.buffer.len().min(8);
                let (head, rest) = bytes.split_at(missing.min(bytes.len()));
                self.buffer.extend_from_slice(head);
                bytes = rest;
                if let Some(head) = self.buffer.first_chunk::<8>() {
                    let (frame, left) = begin(head)?;
                    self.buffer.clear();
                    self.frame = self.go_on(frame, left, &[], on)?;
                }
                continue;
            };
            let (piece, rest) = bytes.split_at(left.min(bytes.len()));
            bytes = rest;
            self.frame = self.go_on(frame, left, piece, on)?;
        }
        Ok(())
    }

    /// Takes a piece of a frame of which `left` bytes are to come; the frame, if it goes on.
    fn go_on(
        &mut self,
        frame: Frame,
        left: usize,
        piece: &[u8],
        on: &mut dyn FnMut(SpdyPart<'_>),
    ) -> Result<Option<(Frame, usize)>, SpdyError> {
        let left = left - piece.len();
        match frame {
            Frame::Data { stream, fin } => {
                let fin = fin && left == 0;
                if fin || !piece.is_empty() {
                    on(SpdyPart::Event(SpdyEvent::Data { stream, fin, bytes: piece }));
                }
            }
            Frame::Control { kind, flags } => {
                self.buffer.extend_from_slice(piece);
                if left == 0 {
                    let payload = std::mem::take(&mut self.buffer);
                    self.control(kind, flags, &payload, &mut |event| on(SpdyPart::Event(event)))?;
                    let [a, b] = kind.to_be_bytes();
                    let [_, x, y, z] =
                        u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
                    on(SpdyPart::Bytes(&[0x80, 3, a, b, flags, x, y, z]));
                    on(SpdyPart::Bytes(&payload));
                }
            }
            Frame::Skipped { kind } if left == 0 => {
                on(SpdyPart::Event(SpdyEvent::Unknown { kind }));
            }
            Frame::Skipped { .. } => {}
        }
        Ok((left > 0).then_some((frame, left)))
    }

    fn control(
        &mut self,
        kind: u16,
        flags: u8,
        payload: &[u8],
        on: &mut dyn FnMut(SpdyEvent<'_>),
    ) -> Result<(), SpdyError> {
        let malformed = SpdyError::Malformed { kind };
        let mut rest = payload;
        let mut next = || take_u32(&mut rest).ok_or(malformed);
        let fin = flags & FIN != 0;
        match kind {
            1 => {
                let (stream, associated) = (stream_id(next()?)?, next()? & 0x7fff_ffff);
                let ([first, _slot], deflated) = rest.split_first_chunk::<2>().ok_or(malformed)?;
                let (priority, headers) = (first >> 5, &self.inflater.headers(deflated)?);
                let unidirectional = flags & UNIDIRECTIONAL != 0;
                on(SpdyEvent::SynStream {
                    stream,
                    associated,
                    priority,
                    fin,
                    unidirectional,
                    headers,
                });
            }
            2 => {
                let stream = stream_id(next()?)?;
                let headers = &self.inflater.headers(rest)?;
                on(SpdyEvent::SynReply { stream, fin, headers });
            }
            8 => {
                let stream = stream_id(next()?)?;
                let headers = &self.inflater.headers(rest)?;
                on(SpdyEvent::Headers { stream, fin, headers });
            }
            4 => {
                let settings = &settings(payload).ok_or(malformed)?;
                on(SpdyEvent::Settings(settings));
            }
            6 if flags == 0 && payload.len() == 4 => match next()? {
                0 => return Err(malformed),
                id => on(SpdyEvent::Ping { id }),
            },
            3 if payload.len() == 8 => {
                let (stream, status) = (stream_id(next()?)?, next()?);
                if status == 0 {
                    return Err(malformed);
                }
                on(SpdyEvent::RstStream { stream, status });
            }
            7 if flags == 0 && payload.len() == 8 => {
                let (last, status) = (next()? & 0x7fff_ffff, next()?);
                on(SpdyEvent::GoAway { last, status });
            }
            9 if flags == 0 && payload.len() == 8 => {
                let (stream, delta) = (next()? & 0x7fff_ffff, next()? & 0x7fff_ffff);
                on(SpdyEvent::WindowUpdate { stream, delta });
            }
            _ => return Err(malformed),
        }
        Ok(())
    }
}

/// The frame that begins with these bytes, and how many follow them.
fn begin(head: &[u8; 8]) -> Result<(Frame, usize), SpdyError> {
    let [a, b, c, d, flags, x, y, z] = *head;
    let left = usize::from(x) << 16 | usize::from(y) << 8 | usize::from(z);
    if a & 0x80 == 0 {
        let stream = stream_id(u32::from_be_bytes([a, b, c, d]))?;
        return Ok((Frame::Data { stream, fin: flags & FIN != 0 }, left));
    }
    if [a, b] != [0x80, 3] {
        return Err(SpdyError::Version);
    }
    let kind = u16::from_be_bytes([c, d]);
    if !matches!(kind, 1..=4 | 6..=9) {
        return Ok((Frame::Skipped { kind }, left));
    }
    if left > MAX_CONTROL_FRAME_BYTES {
        return Err(SpdyError::TooLong);
    }
    Ok((Frame::Control { kind, flags }, left))
}

/// The API server's reader takes the highest bit for a part of the number, others pass over it.
fn stream_id(number: u32) -> Result<u32, SpdyError> {
    if (1..1 << 31).contains(&number) { Ok(number) } else { Err(SpdyError::StreamId) }
}

fn settings(payload: &[u8]) -> Option<Vec<Setting>> {
    let mut rest = payload;
    let count = usize::try_from(take_u32(&mut rest)?).ok()?;
    if count > MAX_SETTINGS || rest.len() != count * 8 {
        return None;
    }
    let setting = |rest: &mut &[u8]| {
        let (head, value) = (take_u32(rest)?, take_u32(rest)?);
        Some(Setting { flags: (head >> 24) as u8, id: head & 0x00ff_ffff, value })
    };
    (0..count).map(|_| setting(&mut rest)).collect()
}
