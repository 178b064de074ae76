//! What an API server says in WebSocket frames, written: for who passes it on changed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Channel, Subprotocol, WebSocketEvent};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Appends a message on a channel, in one frame: `bytes` is what the channel carries; for
/// [`Channel::Close`] it says nothing.
pub fn write_message(out: &mut Vec<u8>, subprotocol: Subprotocol, channel: Channel, bytes: &[u8]) {
    let number = channel.number();
    match (subprotocol, channel) {
        (_, Channel::Close(_)) => write_frame(out, BINARY, &[&[super::CLOSE_SIGNAL, number]]),
        (Subprotocol::V4Base64, _) => {
            write_frame(out, TEXT, &[&[b'0' + number], STANDARD.encode(bytes).as_bytes()]);
        }
        (Subprotocol::V4 | Subprotocol::V5, _) => write_frame(out, BINARY, &[&[number], bytes]),
    }
}

/// Appends the frame of a ping, pong or close. Of a [`WebSocketEvent::Data`] nothing.
pub fn write_control(out: &mut Vec<u8>, event: &WebSocketEvent<'_>) {
    match event {
        WebSocketEvent::Data(_) => {}
        WebSocketEvent::Ping(bytes) => write_frame(out, PING, &[bytes]),
        WebSocketEvent::Pong(bytes) => write_frame(out, PONG, &[bytes]),
        WebSocketEvent::Close { code: None, .. } => write_frame(out, CLOSE, &[]),
        WebSocketEvent::Close { code: Some(code), reason } => {
            write_frame(out, CLOSE, &[&code.to_be_bytes(), reason.as_bytes()]);
        }
    }
}

/// A frame as a server writes it (RFC 6455, 5.2): whole, not masked.
fn write_frame(out: &mut Vec<u8>, opcode: u8, payload: &[&[u8]]) {
    let length: usize = payload.iter().map(|it| it.len()).sum();
    out.push(0x80 | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => out.push(short),
        (_, Ok(length)) => {
            out.push(126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    payload.iter().for_each(|it| out.extend_from_slice(it));
}
