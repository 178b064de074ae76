//! The streams of a command in the frames of a connection, by WebSocket or SPDY: taken out, and put
//! in again where the client is to see something else.

use http::header::{self, HeaderMap};
use kubernetes_wire::spdy::{SpdyChannels, SpdyEvent, SpdyFrames, SpdyPart, write_data};
use kubernetes_wire::streams::{
    Channel, ChannelEvent, Channels, Side, Subprotocol, WebSocketEvent, WebSocketFrames,
    write_control, write_message,
};

use super::Garbled;
use crate::upgrade::Next;

/// What one side sent, a piece at a time.
pub(super) enum Heard<'a> {
    /// A piece of a channel; or its end, if that is said by a frame of its own.
    Channel(ChannelEvent<'a>),
    /// A channel ends by what follows as [`Heard::Bytes`], or all of them.
    Ends,
    /// What belongs to no channel, as it came.
    Bytes(&'a [u8]),
}

/// What the client is to see.
pub(super) enum Seen {
    /// Something on a channel.
    On(Channel, Vec<u8>),
    /// Nothing more comes on it.
    End(Channel),
    /// What belongs to none.
    Bytes(Vec<u8>),
}

/// How the streams of a command cross.
pub(super) enum Framing {
    WebSocket(Box<WebSocket>),
    Spdy(Box<Spdy>),
}

pub(super) struct WebSocket {
    subprotocol: Subprotocol,
    client: Way,
    server: Way,
}

/// One direction of a WebSocket.
struct Way {
    frames: WebSocketFrames,
    channels: Channels,
    /// The message under way said something.
    begun: bool,
}

pub(super) struct Spdy {
    client: SpdyFrames,
    server: SpdyFrames,
    channels: SpdyChannels,
}

impl Framing {
    /// Of a connection that was granted by an answer with these fields. None: by what they say it
    /// can't be taken apart.
    pub(super) fn of(next: Next, fields: &HeaderMap) -> Option<Framing> {
        Some(match next {
            Next::Spdy => Framing::Spdy(Box::new(Spdy {
                client: SpdyFrames::new(),
                server: SpdyFrames::new(),
                channels: SpdyChannels::new(),
            })),
            Next::WebSocket => {
                let mut chosen = fields.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
                let (Some(chosen), None) = (chosen.next(), chosen.next()) else { return None };
                let subprotocol = Subprotocol::of(chosen.to_str().ok()?)?;
                let way = |side| Way {
                    frames: WebSocketFrames::new(side),
                    channels: Channels::new(subprotocol),
                    begun: false,
                };
                let (client, server) = (way(Side::Client), way(Side::Server));
                Framing::WebSocket(Box::new(WebSocket { subprotocol, client, server }))
            }
        })
    }

    /// Takes what a side sent; `on` gets what it says, and may say that it can't be.
    pub(super) fn take(
        &mut self,
        from: Side,
        bytes: &[u8],
        on: &mut dyn FnMut(Heard<'_>) -> Result<(), Garbled>,
    ) -> Result<(), Garbled> {
        let mut wrong = Ok(());
        let mut hear = |wrong: &mut Result<(), Garbled>, heard: Heard<'_>| {
            if wrong.is_ok() {
                *wrong = on(heard);
            }
        };
        match self {
            Framing::WebSocket(socket) => {
                let WebSocket { client, server, .. } = &mut **socket;
                let Way { frames, channels, begun } =
                    if from == Side::Client { client } else { server };
                frames.push(bytes, &mut |event| {
                    let WebSocketEvent::Data(piece) = event else {
                        if matches!(event, WebSocketEvent::Close { .. }) {
                            hear(&mut wrong, Heard::Ends);
                        }
                        let mut control = Vec::new();
                        write_control(&mut control, &event);
                        return hear(&mut wrong, Heard::Bytes(&control));
                    };
                    let read = channels.push(piece, &mut |it| {
                        // A message of base64 ends with an event of its own.
                        let is_told = std::mem::replace(begun, !it.last);
                        let says_nothing = is_told && it.last && it.bytes.is_empty();
                        if !says_nothing || it.channel == Channel::Error {
                            hear(&mut wrong, Heard::Channel(it));
                        }
                    });
                    if let (Err(error), Ok(())) = (read, wrong) {
                        wrong = Err(error.into());
                    }
                })?;
            }
            Framing::Spdy(spdy) => {
                let Spdy { client, server, channels } = &mut **spdy;
                let frames = if from == Side::Client { client } else { server };
                frames.push_through(bytes, &mut |part| {
                    let event = match part {
                        SpdyPart::Bytes(bytes) => return hear(&mut wrong, Heard::Bytes(bytes)),
                        SpdyPart::Event(event) => event,
                    };
                    if matches!(event, SpdyEvent::GoAway { .. }) {
                        hear(&mut wrong, Heard::Ends);
                    }
                    let is_data = matches!(event, SpdyEvent::Data { .. });
                    let read = channels.read(&event, &mut |it| match it.channel {
                        Channel::Close(_) if !is_data => hear(&mut wrong, Heard::Ends),
                        _ => hear(&mut wrong, Heard::Channel(it)),
                    });
                    if let (Err(error), Ok(())) = (read, wrong) {
                        wrong = Err(error.into());
                    }
                })?;
            }
        }
        wrong
    }

    /// What the client is to see, as the server would have sent it.
    pub(super) fn write(&self, seen: &[Seen]) -> Vec<u8> {
        let mut out = Vec::new();
        for it in seen {
            match (self, it) {
                (_, Seen::Bytes(bytes)) => out.extend_from_slice(bytes),
                (Framing::WebSocket(socket), Seen::On(channel, bytes)) => {
                    write_message(&mut out, socket.subprotocol, *channel, bytes);
                }
                (Framing::WebSocket(socket), Seen::End(channel)) => {
                    let closed = Channel::Close(channel.number());
                    write_message(&mut out, socket.subprotocol, closed, &[]);
                }
                (Framing::Spdy(spdy), Seen::On(channel, bytes)) => {
                    // What was heard on it came by a stream.
                    if let Some(stream) = spdy.channels.stream(*channel) {
                        write_data(&mut out, stream, false, bytes);
                    }
                }
                (Framing::Spdy(spdy), Seen::End(channel)) => {
                    if let Some(stream) = spdy.channels.stream(*channel) {
                        write_data(&mut out, stream, true, &[]);
                    }
                }
            }
        }
        out
    }
}
