//! WebSocket frames (RFC 6455, 5), as they come in, in pieces.

use super::StreamError;
use super::utf8::Utf8;

/// The longest frame read, bytes. The API server takes none that is longer
/// (`DefaultMaxPayloadBytes` of golang.org/x/net/websocket).
pub const MAX_FRAME_BYTES: u64 = 32 << 20;
/// The longest payload of a ping, pong or close, bytes (5.5).
pub const MAX_CONTROL_BYTES: usize = 125;
/// The longest piece of a masked payload given at once, bytes: each needs a copy.
pub const MAX_PIECE_BYTES: usize = 16 << 10;

/// Who sends the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client: its frames are masked (5.1).
    Client,
    /// The server: its frames are not.
    Server,
}

/// A piece of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Whether the message is binary; else it is text.
    pub binary: bool,
    /// Whether the message begins with it.
    pub first: bool,
    /// Whether the message ends with it.
    pub last: bool,
    /// Whether its message is known to come in several frames.
    pub fragmented: bool,
    /// The payload, unmasked. It may be empty, if the message is, or its last frame.
    pub bytes: &'a [u8],
}

// What passes is nobody's business.
impl std::fmt::Debug for Piece<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { binary, first, last, fragmented, bytes } = self;
        write!(f, "Piece binary {binary} first {first} last {last} fragmented {fragmented} ")?;
        write!(f, "of {} bytes", bytes.len())
    }
}

/// What a stream of frames says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum WebSocketEvent<'a> {
    /// A piece of a message. How a message is cut into pieces depends on how it came.
    Data(Piece<'a>),
    /// A ping and its payload, at most [`MAX_CONTROL_BYTES`].
    Ping(&'a [u8]),
    /// A pong and its payload, at most [`MAX_CONTROL_BYTES`].
    Pong(&'a [u8]),
    /// The last frame (5.5.1).
    Close {
        /// The code, if there is one (7.4).
        code: Option<u16>,
        /// Why, for people.
        reason: &'a str,
    },
}

impl std::fmt::Debug for WebSocketEvent<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Data(piece) => piece.fmt(f),
            Self::Ping(bytes) => write!(f, "Ping of {} bytes", bytes.len()),
            Self::Pong(bytes) => write!(f, "Pong of {} bytes", bytes.len()),
            Self::Close { code, reason } => {
                write!(f, "Close {code:?}, reason of {} bytes", reason.len())
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
    Continuation,
    Close,
    Ping,
    Pong,
}

impl Kind {
    fn of(opcode: u8) -> Result<Self, StreamError> {
        Ok(match opcode {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return wrong("an unknown opcode"),
        })
    }

    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

fn wrong<T>(why: &'static str) -> Result<T, StreamError> {
    Err(StreamError::Frame { why })
}

/// A message of which not all frames have come.
struct Message {
    binary: bool,
    /// Something of it was given.
    begun: bool,
    fragmented: bool,
}

/// The frame whose payload comes.
struct Frame {
    kind: Kind,
    fin: bool,
    left: u64,
    mask: Option<[u8; 4]>,
}

/// Reads the frames of one direction, wherever they are cut. No extension is known (9), so strip
/// `Sec-WebSocket-Extensions` from the handshake. Of a payload nothing is kept but that of a
/// control frame.
pub struct WebSocketFrames {
    from: Side,
    header: Vec<u8>,
    frame: Option<Frame>,
    message: Option<Message>,
    /// The payload of a control frame, or a piece, unmasked.
    buffer: Vec<u8>,
    utf8: Utf8,
    closed: bool,
    failed: Option<StreamError>,
}

impl std::fmt::Debug for WebSocketFrames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WebSocketFrames from {:?} closed {}", self.from, self.closed)
    }
}

impl WebSocketFrames {
    /// The frames that `from` sends.
    #[must_use]
    pub fn new(from: Side) -> Self {
        Self {
            from,
            header: Vec::with_capacity(14),
            frame: None,
            message: None,
            buffer: Vec::new(),
            utf8: Utf8::default(),
            closed: false,
            failed: None,
        }
    }

    /// Whether a close frame has come.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Reads what came, and gives what it says to `on`, in order.
    ///
    /// # Errors
    /// What RFC 6455 forbids, and frames that are too long: the sender's fault. The stream can't
    /// be read on, and every later call says the same. What was given before stands.
    pub fn push(
        &mut self,
        bytes: &[u8],
        on: &mut dyn FnMut(WebSocketEvent<'_>),
    ) -> Result<(), StreamError> {
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
        on: &mut dyn FnMut(WebSocketEvent<'_>),
    ) -> Result<(), StreamError> {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.closed {
                return wrong("it follows a close");
            }
            let Some(mut frame) = self.frame.take() else {
                bytes = rest;
                self.frame = self.take_header(first)?;
                if let Some(frame) = self.frame.take_if(|it| it.left == 0) {
                    self.finish(&frame, on)?;
                }
                continue;
            };
            let most = if frame.mask.is_some() { MAX_PIECE_BYTES } else { bytes.len() };
            let most = bytes.len().min(most).min(usize::try_from(frame.left).unwrap_or(usize::MAX));
            let (piece, rest) = bytes.split_at(most);
            bytes = rest;
            frame.left -= piece.len() as u64;
            self.take_payload(&mut frame, piece, on)?;
            if frame.left > 0 {
                self.frame = Some(frame);
            }
        }
        Ok(())
    }

    /// The frame, if its header is whole now.
    fn take_header(&mut self, byte: u8) -> Result<Option<Frame>, StreamError> {
        self.header.push(byte);
        let [head, size, more @ ..] = self.header.as_slice() else {
            // What is wrong with the first byte is known at once.
            Kind::of(byte & 0x0f)?;
            return Ok(None);
        };
        let (masked, short) = (size & 0x80 != 0, size & 0x7f);
        let long = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if more.len() < long + if masked { 4 } else { 0 } {
            return Ok(None);
        }
        let (long, mask) = more.split_at(long);
        let left = match long.len() {
            0 => u64::from(short),
            _ => long.iter().fold(0, |sum, it| sum << 8 | u64::from(*it)),
        };
        let least = match long.len() {
            0 => 0,
            2 => 126,
            _ => 1 << 16,
        };
        if head & 0x70 != 0 {
            return wrong("a reserved bit is set");
        }
        if masked != (self.from == Side::Client) {
            return wrong("only a client masks, and it always does");
        }
        if left < least {
            return wrong("its length is not written as short as can be");
        }
        if left > MAX_FRAME_BYTES {
            return Err(StreamError::TooLong);
        }
        let (kind, fin) = (Kind::of(head & 0x0f)?, head & 0x80 != 0);
        let mask = <[u8; 4]>::try_from(mask).ok();
        self.header.clear();
        self.begin(kind, fin, left)?;
        Ok(Some(Frame { kind, fin, left, mask }))
    }

    fn begin(&mut self, kind: Kind, fin: bool, left: u64) -> Result<(), StreamError> {
        if kind.is_control() {
            if !fin || left > MAX_CONTROL_BYTES as u64 {
                return wrong("a control frame is in parts, or too long");
            }
            self.buffer.clear();
            return Ok(());
        }
        match (&mut self.message, kind) {
            (Some(message), Kind::Continuation) => message.fragmented = true,
            (None, Kind::Continuation) => return wrong("it continues nothing"),
            (Some(_), _) => return wrong("a message begins within another"),
            (None, _) => {
                let binary = kind == Kind::Binary;
                self.message = Some(Message { binary, begun: false, fragmented: !fin });
                self.utf8 = Utf8::default();
            }
        }
        Ok(())
    }

    fn take_payload(
        &mut self,
        frame: &mut Frame,
        piece: &[u8],
        on: &mut dyn FnMut(WebSocketEvent<'_>),
    ) -> Result<(), StreamError> {
        let unmasked = match &mut frame.mask {
            None if !frame.kind.is_control() => None,
            mask => {
                if !frame.kind.is_control() {
                    self.buffer.clear();
                }
                let mask = mask.get_or_insert_default();
                let keys = mask.iter().cycle();
                self.buffer.extend(piece.iter().zip(keys).map(|(byte, key)| byte ^ key));
                mask.rotate_left(piece.len() % 4);
                Some(std::mem::take(&mut self.buffer))
            }
        };
        if frame.kind.is_control() {
            self.buffer = unmasked.unwrap_or_default();
            return if frame.left == 0 { self.finish(frame, on) } else { Ok(()) };
        }
        let result = self.give(frame, unmasked.as_deref().unwrap_or(piece), on);
        self.buffer = unmasked.unwrap_or_default();
        result
    }

    /// Gives a piece of the message.
    fn give(
        &mut self,
        frame: &Frame,
        bytes: &[u8],
        on: &mut dyn FnMut(WebSocketEvent<'_>),
    ) -> Result<(), StreamError> {
        let Some(message) = &mut self.message else { return wrong("it continues nothing") };
        let last = frame.fin && frame.left == 0;
        if !message.binary && !self.utf8.push(bytes, last) {
            return wrong("a text is not UTF-8");
        }
        let first = !message.begun;
        message.begun = true;
        let Message { binary, fragmented, .. } = *message;
        if last {
            self.message = None;
        }
        on(WebSocketEvent::Data(Piece { binary, first, last, fragmented, bytes }));
        Ok(())
    }

    /// At the end of a control frame, or of a frame without a payload.
    fn finish(
        &mut self,
        frame: &Frame,
        on: &mut dyn FnMut(WebSocketEvent<'_>),
    ) -> Result<(), StreamError> {
        match frame.kind {
            Kind::Ping => on(WebSocketEvent::Ping(&self.buffer)),
            Kind::Pong => on(WebSocketEvent::Pong(&self.buffer)),
            Kind::Close => {
                let event = close(&self.buffer)?;
                self.closed = true;
                on(event);
            }
            _ if frame.fin => return self.give(frame, &[], on),
            _ => {}
        }
        Ok(())
    }
}

fn close(payload: &[u8]) -> Result<WebSocketEvent<'_>, StreamError> {
    let (code, reason) = match payload {
        [] => (None, &[][..]),
        [high, low, reason @ ..] => (Some(u16::from_be_bytes([*high, *low])), reason),
        [_] => return wrong("half a code of a close"),
    };
    // 7.4.1: 1004 is reserved; 1005, 1006 and 1015 are never sent.
    if code.is_some_and(|it| !(1000..5000).contains(&it) || [1004, 1005, 1006, 1015].contains(&it))
    {
        return wrong("a code of a close that nobody may send");
    }
    let Ok(reason) = std::str::from_utf8(reason) else { return wrong("a reason is not UTF-8") };
    Ok(WebSocketEvent::Close { code, reason })
}
