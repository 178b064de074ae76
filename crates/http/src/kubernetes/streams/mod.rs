//! What crosses of an exec or attach, taken apart for the record: what was typed, what was printed,
//! the terminal's size, how it ended. The bytes themselves pass as they came.
//!
//! What can't be taken apart ends the connection: two readers could see different things in it.
//! Standard streams are masked for the record, not for the client, and each piece by itself: what
//! is typed is on record before it runs, so nothing is held back to be seen with what follows. A
//! value that comes in two pieces is not found.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderValue};
use kubernetes_wire::spdy::{SpdyChannels, SpdyError, SpdyFrames};
use kubernetes_wire::streams::{
    Channel, ChannelEvent, Channels, Exit, ExitStatus, Side, Sizes, StreamError, Subprotocol,
    WebSocketEvent, WebSocketFrames,
};
use masking::{Policy, Sink};
use terminal::frames::Kind;

use super::ports::Ports;
use crate::upgrade::Next;

/// Why what crosses can't be taken apart: the fault of whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Garbled {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Spdy(#[from] SpdyError),
}

/// A part of what crossed, as it is recorded.
pub(crate) type Part = (Kind, Vec<u8>);

/// Takes both directions of a connection apart.
pub(crate) struct Streams {
    framing: Framing,
    said: Said,
}

enum Framing {
    WebSocket(Box<[Way; 2]>),
    Spdy(Box<Spdy>),
    /// No streams of a command: connections to ports.
    Ports(Box<Ports>),
}

/// One direction of a WebSocket.
struct Way {
    frames: WebSocketFrames,
    channels: Channels,
}

struct Spdy {
    client: SpdyFrames,
    server: SpdyFrames,
    channels: SpdyChannels,
}

/// What was said on each channel.
struct Said {
    /// Rules for the record, if there are any.
    policy: Option<Arc<Policy>>,
    exit: ExitStatus,
    sizes: Sizes,
}

/// Keeps of the subprotocols that a client offers those that can be taken apart.
/// False: there are none.
pub(crate) fn offer(fields: &mut HeaderMap) -> bool {
    let all = fields.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let words = all.iter().filter_map(|value| value.to_str().ok()).flat_map(|it| it.split(','));
    let known: Vec<&str> =
        words.map(str::trim).filter(|word| Subprotocol::of(word).is_some()).collect();
    let value = HeaderValue::from_str(&known.join(", "));
    match value {
        Ok(value) if !value.is_empty() => {
            fields.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
            true
        }
        _ => false,
    }
}

impl Streams {
    /// For a connection that was granted by an answer with these fields. None: by what they say it
    /// can't be taken apart.
    pub(crate) fn of(next: Next, fields: &HeaderMap, policy: &Arc<Policy>) -> Option<Streams> {
        let framing = match next {
            Next::Spdy => Framing::Spdy(Box::new(Spdy {
                client: SpdyFrames::new(),
                server: SpdyFrames::new(),
                channels: SpdyChannels::new(),
            })),
            Next::WebSocket => {
                let mut chosen = fields.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
                let (Some(chosen), None) = (chosen.next(), chosen.next()) else { return None };
                let subprotocol = Subprotocol::of(chosen.to_str().ok()?)?;
                Framing::WebSocket(Box::new([Side::Client, Side::Server].map(|side| Way {
                    frames: WebSocketFrames::new(side),
                    channels: Channels::new(subprotocol),
                })))
            }
        };
        let policy = policy.scans(Sink::Record).then(|| policy.clone());
        let said = Said { policy, exit: ExitStatus::default(), sizes: Sizes::default() };
        Some(Streams { framing, said })
    }

    /// For a connection to ports, if it says which.
    pub(crate) fn of_ports(next: Next, fields: &HeaderMap) -> Option<Streams> {
        let framing = Framing::Ports(Box::new(Ports::of(next, fields)?));
        let said = Said { policy: None, exit: ExitStatus::default(), sizes: Sizes::default() };
        Some(Streams { framing, said })
    }

    /// Which ports were reached, of a connection to ports.
    pub(crate) fn ports(&self) -> Option<String> {
        match &self.framing {
            Framing::Ports(ports) => Some(ports.said()),
            Framing::WebSocket(_) | Framing::Spdy(_) => None,
        }
    }

    /// Takes what one side sent; its parts, in order.
    pub(crate) fn take(&mut self, from: Side, bytes: &[u8]) -> Result<Vec<Part>, Garbled> {
        let Streams { framing, said } = self;
        let (mut parts, mut wrong) = (Vec::new(), None);
        match framing {
            Framing::Ports(ports) => {
                if from == Side::Client {
                    ports.take(bytes)?;
                }
                let kind = if from == Side::Client { Kind::Input } else { Kind::Output };
                return Ok(vec![(kind, bytes.to_vec())]);
            }
            Framing::WebSocket(ways) => {
                let [client, server] = &mut **ways;
                let way = if from == Side::Client { client } else { server };
                let channels = &mut way.channels;
                way.frames.push(bytes, &mut |event| {
                    if let (WebSocketEvent::Data(piece), None) = (event, wrong) {
                        let mut first = None;
                        let read = channels.push(piece, &mut |it| {
                            let read = said.read(from, it, &mut parts);
                            first = first.or(read.err().map(Garbled::from));
                        });
                        wrong = first.or(read.err().map(Garbled::from));
                    }
                })?;
            }
            Framing::Spdy(spdy) => {
                let Spdy { client, server, channels } = &mut **spdy;
                let frames = if from == Side::Client { client } else { server };
                frames.push(bytes, &mut |event| {
                    if wrong.is_none() {
                        let mut first = None;
                        let read = channels.read(&event, &mut |it| {
                            let read = said.read(from, it, &mut parts);
                            first = first.or(read.err().map(Garbled::from));
                        });
                        wrong = first.or(read.err().map(Garbled::from));
                    }
                })?;
            }
        }
        match wrong {
            Some(wrong) => Err(wrong),
            None => {
                said.mask(&mut parts);
                Ok(parts)
            }
        }
    }

    /// How the command ended, if the other side said so: an exit status, or Kubernetes' word for why
    /// there is none.
    pub(crate) fn exit(&self) -> Option<String> {
        match self.said.exit.exit() {
            Ok(Some(Exit::Code(code))) => Some(code.to_string()),
            Ok(Some(Exit::Failed { reason, .. })) => Some(reason),
            Ok(None) | Err(_) => None,
        }
    }
}

impl Said {
    fn read(
        &mut self,
        from: Side,
        event: ChannelEvent<'_>,
        parts: &mut Vec<Part>,
    ) -> Result<(), StreamError> {
        let kind = match (from, event.channel) {
            (Side::Client, Channel::Stdin) => Kind::Input,
            (Side::Server, Channel::Stdout) => Kind::Output,
            (Side::Server, Channel::Stderr) => Kind::Error,
            (Side::Server, Channel::Error) => {
                self.exit.push(event.bytes);
                return Ok(());
            }
            (Side::Client, Channel::Resize) => {
                for size in self.sizes.push(event.bytes)? {
                    let [a, b] = size.width.to_be_bytes();
                    let [c, d] = size.height.to_be_bytes();
                    parts.push((Kind::Resize, vec![a, b, c, d]));
                }
                return Ok(());
            }
            (_, Channel::Close(_)) => return Ok(()),
            // A server begins with empty messages on each channel. Nobody says anything on another
            // side's.
            _ if event.bytes.is_empty() => return Ok(()),
            (_, channel) => return Err(StreamError::NoChannel(channel.number())),
        };
        // What follows upon one another in one stream is one part.
        match parts.last_mut() {
            Some((last, bytes)) if *last == kind => bytes.extend_from_slice(event.bytes),
            _ if event.bytes.is_empty() => {}
            _ => parts.push((kind, event.bytes.to_vec())),
        }
        Ok(())
    }

    /// Masks parts for the record.
    fn mask(&self, parts: &mut [Part]) {
        let Some(policy) = &self.policy else { return };
        for (kind, bytes) in parts {
            if matches!(kind, Kind::Input | Kind::Output | Kind::Error) {
                let mut masker = policy.stream(Sink::Record);
                let mut masked = Vec::with_capacity(bytes.len());
                masker.push(bytes, &mut masked);
                masker.finish(&mut masked);
                *bytes = masked;
            }
        }
    }
}
