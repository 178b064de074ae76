//! Writers of packets.
//!
//! A string longer than 4 GiB can't be written; none can come in either, since a packet is
//! bounded by the transport. Such a length is written as `u32::MAX` and refused by any reader.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{
    CHANNEL_CLOSE, CHANNEL_DATA, CHANNEL_EOF, CHANNEL_EXTENDED_DATA, CHANNEL_FAILURE, CHANNEL_OPEN,
    CHANNEL_OPEN_CONFIRMATION, CHANNEL_OPEN_FAILURE, CHANNEL_REQUEST, CHANNEL_SUCCESS,
    CHANNEL_WINDOW_ADJUST, GLOBAL_REQUEST, OpenFailure, REQUEST_FAILURE, REQUEST_SUCCESS, STDERR,
};

/// Room for the fixed fields of any packet.
const FIXED: usize = 64;

struct Writer(BytesMut);

impl Writer {
    fn new(number: u8, more: usize) -> Self {
        let mut buf = BytesMut::with_capacity(FIXED + more);
        buf.put_u8(number);
        Writer(buf)
    }

    fn uint32(mut self, value: u32) -> Self {
        self.0.put_u32(value);
        self
    }

    fn boolean(mut self, value: bool) -> Self {
        self.0.put_u8(u8::from(value));
        self
    }

    fn string(self, bytes: &[u8]) -> Self {
        self.uint32(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).raw(bytes)
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.put_slice(bytes);
        self
    }

    fn done(self) -> Bytes {
        self.0.freeze()
    }
}

/// `SSH_MSG_GLOBAL_REQUEST`.
pub fn global_request(kind: &[u8], want_reply: bool, rest: &[u8]) -> Bytes {
    Writer::new(GLOBAL_REQUEST, kind.len() + rest.len())
        .string(kind)
        .boolean(want_reply)
        .raw(rest)
        .done()
}

/// `SSH_MSG_REQUEST_SUCCESS`.
pub fn request_success(rest: &[u8]) -> Bytes {
    Writer::new(REQUEST_SUCCESS, rest.len()).raw(rest).done()
}

/// `SSH_MSG_REQUEST_FAILURE`.
pub fn request_failure() -> Bytes {
    Writer::new(REQUEST_FAILURE, 0).done()
}

/// `SSH_MSG_CHANNEL_OPEN`.
pub fn open(kind: &[u8], sender: u32, window: u32, max_packet: u32, rest: &[u8]) -> Bytes {
    Writer::new(CHANNEL_OPEN, kind.len() + rest.len())
        .string(kind)
        .uint32(sender)
        .uint32(window)
        .uint32(max_packet)
        .raw(rest)
        .done()
}

/// `SSH_MSG_CHANNEL_OPEN_CONFIRMATION`.
pub fn open_confirmation(
    recipient: u32,
    sender: u32,
    window: u32,
    max_packet: u32,
    rest: &[u8],
) -> Bytes {
    Writer::new(CHANNEL_OPEN_CONFIRMATION, rest.len())
        .uint32(recipient)
        .uint32(sender)
        .uint32(window)
        .uint32(max_packet)
        .raw(rest)
        .done()
}

/// `SSH_MSG_CHANNEL_OPEN_FAILURE`, its text in English.
pub fn open_failure(recipient: u32, why: OpenFailure, text: &str) -> Bytes {
    Writer::new(CHANNEL_OPEN_FAILURE, text.len())
        .uint32(recipient)
        .uint32(why as u32)
        .string(text.as_bytes())
        .string(b"en")
        .done()
}

/// `SSH_MSG_CHANNEL_WINDOW_ADJUST`.
pub fn window_adjust(recipient: u32, bytes: u32) -> Bytes {
    Writer::new(CHANNEL_WINDOW_ADJUST, 0).uint32(recipient).uint32(bytes).done()
}

/// `SSH_MSG_CHANNEL_DATA`.
pub fn data(recipient: u32, data: &[u8]) -> Bytes {
    Writer::new(CHANNEL_DATA, data.len()).uint32(recipient).string(data).done()
}

/// `SSH_MSG_CHANNEL_EXTENDED_DATA`.
pub fn extended_data(recipient: u32, code: u32, data: &[u8]) -> Bytes {
    Writer::new(CHANNEL_EXTENDED_DATA, data.len())
        .uint32(recipient)
        .uint32(code)
        .string(data)
        .done()
}

/// `SSH_MSG_CHANNEL_EXTENDED_DATA` on standard error.
pub fn stderr(recipient: u32, data: &[u8]) -> Bytes {
    extended_data(recipient, STDERR, data)
}

/// `SSH_MSG_CHANNEL_EOF`.
pub fn eof(recipient: u32) -> Bytes {
    Writer::new(CHANNEL_EOF, 0).uint32(recipient).done()
}

/// `SSH_MSG_CHANNEL_CLOSE`.
pub fn close(recipient: u32) -> Bytes {
    Writer::new(CHANNEL_CLOSE, 0).uint32(recipient).done()
}

/// `SSH_MSG_CHANNEL_REQUEST`.
pub fn request(recipient: u32, kind: &[u8], want_reply: bool, rest: &[u8]) -> Bytes {
    Writer::new(CHANNEL_REQUEST, kind.len() + rest.len())
        .uint32(recipient)
        .string(kind)
        .boolean(want_reply)
        .raw(rest)
        .done()
}

/// `exec` or `subsystem`: a request with one string.
pub fn line_request(recipient: u32, kind: &[u8], want_reply: bool, line: &[u8]) -> Bytes {
    Writer::new(CHANNEL_REQUEST, kind.len() + line.len())
        .uint32(recipient)
        .string(kind)
        .boolean(want_reply)
        .string(line)
        .done()
}

/// `exit-status` (section 6.10).
pub fn exit_status(recipient: u32, status: u32) -> Bytes {
    request(recipient, b"exit-status", false, &status.to_be_bytes())
}

/// `SSH_MSG_CHANNEL_SUCCESS`.
pub fn success(recipient: u32) -> Bytes {
    Writer::new(CHANNEL_SUCCESS, 0).uint32(recipient).done()
}

/// `SSH_MSG_CHANNEL_FAILURE`.
pub fn failure(recipient: u32) -> Bytes {
    Writer::new(CHANNEL_FAILURE, 0).uint32(recipient).done()
}
