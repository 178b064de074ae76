//! Messages of the subprotocols `*.channel.k8s.io`, taken apart.

use super::{CLOSE_SIGNAL, Piece, StreamError};

/// The longest piece of base64 decoded at once, bytes.
const DECODE_BYTES: usize = 4 << 10;

/// How messages are written (`Sec-WebSocket-Protocol`). Those before version 4 are not known:
/// their error channel holds text, not a Status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subprotocol {
    /// `v5.channel.k8s.io`: as version 4; a message may close a channel.
    V5,
    /// `v4.channel.k8s.io`: a byte that names the channel, then bytes.
    V4,
    /// `v4.base64.channel.k8s.io`: a digit that names the channel, then base64.
    V4Base64,
}

impl Subprotocol {
    /// The one of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::V5, Self::V4, Self::V4Base64].into_iter().find(|it| it.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V5 => "v5.channel.k8s.io",
            Self::V4 => "v4.channel.k8s.io",
            Self::V4Base64 => "v4.base64.channel.k8s.io",
        }
    }
}

/// What a message of an exec or attach is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// 0: input.
    Stdin,
    /// 1: output.
    Stdout,
    /// 2: errors.
    Stderr,
    /// 3: how it ended: [`ExitStatus`](super::ExitStatus).
    Error,
    /// 4: the terminal's size: [`Sizes`](super::Sizes).
    Resize,
    /// 255: nothing more comes of the channel with that number, 0 to 4.
    Close(u8),
}

impl Channel {
    fn of(number: u8) -> Result<Self, StreamError> {
        Ok(match number {
            0 => Self::Stdin,
            1 => Self::Stdout,
            2 => Self::Stderr,
            3 => Self::Error,
            4 => Self::Resize,
            _ => return Err(StreamError::NoChannel(number)),
        })
    }

    /// Its number; of a closed one, that one's.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Stdin => 0,
            Self::Stdout => 1,
            Self::Stderr => 2,
            Self::Error => 3,
            Self::Resize => 4,
            Self::Close(number) => number,
        }
    }
}

/// What a piece of a message says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChannelEvent<'a> {
    /// What it is part of.
    pub channel: Channel,
    /// What it carries, decoded. Empty for [`Channel::Close`], and where a message ends, or is,
    /// empty: a server begins with empty messages.
    pub bytes: &'a [u8],
    /// Whether its message ends with it. Messages mean nothing more: each channel is a stream.
    pub last: bool,
}

// What passes is nobody's business.
impl std::fmt::Debug for ChannelEvent<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { channel, bytes, last } = self;
        write!(f, "ChannelEvent {channel:?} last {last} of {} bytes", bytes.len())
    }
}

#[derive(Clone, Copy)]
enum State {
    /// Before a message's first byte.
    Start,
    In(Channel),
    /// Behind the byte that closes a channel, and its number.
    Close(Option<u8>),
}

/// Takes messages apart, one direction of a connection.
///
/// A message in several frames is refused: Kubernetes' own server reads each frame as a message of
/// its own (golang.org/x/net/websocket, `HandleFrame`), so that there the second frame's first
/// byte names a channel. What a careful reader takes for a terminal's size would be input. No
/// client known sends such messages. Text messages and binary ones count alike, as there.
pub struct Channels {
    subprotocol: Subprotocol,
    state: State,
    base64: Base64,
    failed: Option<StreamError>,
}

impl std::fmt::Debug for Channels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Channels of {:?}", self.subprotocol)
    }
}

impl Channels {
    /// For one direction of a connection that speaks `subprotocol`.
    #[must_use]
    pub fn new(subprotocol: Subprotocol) -> Self {
        Self { subprotocol, state: State::Start, base64: Base64::default(), failed: None }
    }

    /// Reads a piece of a message and gives what it says to `on`. An empty message says nothing.
    ///
    /// # Errors
    /// What the subprotocol forbids, or two readers could read differently: the sender's fault.
    /// The stream can't be read on, and every later call says the same.
    pub fn push(
        &mut self,
        piece: Piece<'_>,
        on: &mut dyn FnMut(ChannelEvent<'_>),
    ) -> Result<(), StreamError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let result = self.read(piece, on);
        self.failed = result.err();
        result
    }

    fn read(
        &mut self,
        piece: Piece<'_>,
        on: &mut dyn FnMut(ChannelEvent<'_>),
    ) -> Result<(), StreamError> {
        if piece.fragmented {
            return Err(StreamError::Fragmented);
        }
        let mut bytes = piece.bytes;
        if piece.first {
            (self.state, self.base64) = (State::Start, Base64::default());
        }
        if let (State::Start, Some((&first, rest))) = (self.state, bytes.split_first()) {
            bytes = rest;
            self.state = match self.subprotocol {
                Subprotocol::V5 if first == CLOSE_SIGNAL => State::Close(None),
                Subprotocol::V5 | Subprotocol::V4 => State::In(Channel::of(first)?),
                Subprotocol::V4Base64 => State::In(Channel::of(first.wrapping_sub(b'0'))?),
            };
        }
        let last = piece.last;
        match self.state {
            State::Start => {}
            State::In(channel) if self.subprotocol == Subprotocol::V4Base64 => {
                for part in bytes.chunks(DECODE_BYTES) {
                    let bytes = &self.base64.decode(part)?;
                    if !bytes.is_empty() {
                        on(ChannelEvent { channel, bytes, last: false });
                    }
                }
                if last {
                    self.base64.finish()?;
                    on(ChannelEvent { channel, bytes: &[], last });
                }
            }
            State::In(channel) => {
                if last || !bytes.is_empty() {
                    on(ChannelEvent { channel, bytes, last });
                }
            }
            State::Close(number) => self.close(number, bytes, last, on)?,
        }
        Ok(())
    }

    fn close(
        &mut self,
        number: Option<u8>,
        bytes: &[u8],
        last: bool,
        on: &mut dyn FnMut(ChannelEvent<'_>),
    ) -> Result<(), StreamError> {
        let number = match (number, bytes) {
            (number, []) => number,
            (None, [number]) => Some(*number),
            _ => return Err(StreamError::CloseSignal),
        };
        self.state = State::Close(number);
        if last {
            let number = number.ok_or(StreamError::CloseSignal)?;
            Channel::of(number)?;
            on(ChannelEvent { channel: Channel::Close(number), bytes: &[], last });
        }
        Ok(())
    }
}

/// Base64 with padding (RFC 4648, 4), wherever it is cut. Ends of lines, which Go's decoder passes
/// over, are refused.
#[derive(Default)]
struct Base64 {
    group: u32,
    /// Characters of the group, padding included.
    count: u8,
    padding: u8,
    /// Padding was read to its end.
    done: bool,
}

impl Base64 {
    fn decode(&mut self, text: &[u8]) -> Result<Vec<u8>, StreamError> {
        let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
        for &it in text {
            let value = match it {
                _ if self.done => return Err(StreamError::NotBase64),
                b'=' if self.count >= 2 => {
                    self.padding += 1;
                    0
                }
                _ if self.padding > 0 => return Err(StreamError::NotBase64),
                b'A'..=b'Z' => it - b'A',
                b'a'..=b'z' => it - b'a' + 26,
                b'0'..=b'9' => it - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return Err(StreamError::NotBase64),
            };
            self.group = self.group << 6 | u32::from(value);
            self.count += 1;
            if self.count == 4 {
                let [_, bytes @ ..] = self.group.to_be_bytes();
                out.extend(bytes.iter().take(3 - usize::from(self.padding)));
                *self = Self { done: self.padding > 0, ..Self::default() };
            }
        }
        Ok(out)
    }

    fn finish(&self) -> Result<(), StreamError> {
        if self.count == 0 { Ok(()) } else { Err(StreamError::NotBase64) }
    }
}
