//! Packets of the connection layer, RFC 4254: message numbers 80 to 100.
//!
//! [`parse`] is exact: a packet with bytes left over is refused, because two readers could
//! disagree about it. What follows the fixed fields of a request or an open is handed on as
//! `rest`, and read by the types of its kind ([`PtyReq`], [`DirectTcpip`] …).

mod kinds;
pub mod write;

pub use kinds::{
    DirectStreamLocal, DirectTcpip, Env, ExitSignal, ExitStatus, ForwardedStreamLocal,
    ForwardedTcpip, Line, PtyReq, Signal, StreamLocalForward, TcpipForward, WindowChange, X11Open,
    X11Req,
};

use crate::read::{Reader, WireError};

/// `SSH_MSG_GLOBAL_REQUEST`.
pub const GLOBAL_REQUEST: u8 = 80;
/// `SSH_MSG_REQUEST_SUCCESS`.
pub const REQUEST_SUCCESS: u8 = 81;
/// `SSH_MSG_REQUEST_FAILURE`.
pub const REQUEST_FAILURE: u8 = 82;
/// `SSH_MSG_CHANNEL_OPEN`.
pub const CHANNEL_OPEN: u8 = 90;
/// `SSH_MSG_CHANNEL_OPEN_CONFIRMATION`.
pub const CHANNEL_OPEN_CONFIRMATION: u8 = 91;
/// `SSH_MSG_CHANNEL_OPEN_FAILURE`.
pub const CHANNEL_OPEN_FAILURE: u8 = 92;
/// `SSH_MSG_CHANNEL_WINDOW_ADJUST`.
pub const CHANNEL_WINDOW_ADJUST: u8 = 93;
/// `SSH_MSG_CHANNEL_DATA`.
pub const CHANNEL_DATA: u8 = 94;
/// `SSH_MSG_CHANNEL_EXTENDED_DATA`.
pub const CHANNEL_EXTENDED_DATA: u8 = 95;
/// `SSH_MSG_CHANNEL_EOF`.
pub const CHANNEL_EOF: u8 = 96;
/// `SSH_MSG_CHANNEL_CLOSE`.
pub const CHANNEL_CLOSE: u8 = 97;
/// `SSH_MSG_CHANNEL_REQUEST`.
pub const CHANNEL_REQUEST: u8 = 98;
/// `SSH_MSG_CHANNEL_SUCCESS`.
pub const CHANNEL_SUCCESS: u8 = 99;
/// `SSH_MSG_CHANNEL_FAILURE`.
pub const CHANNEL_FAILURE: u8 = 100;

/// `SSH_EXTENDED_DATA_STDERR`, the only kind of extended data there is.
pub const STDERR: u32 = 1;

/// Why a channel is not opened: `SSH_OPEN_…` of RFC 4254 section 5.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum OpenFailure {
    /// Not allowed.
    AdministrativelyProhibited = 1,
    /// The destination can't be reached.
    ConnectFailed = 2,
    /// A kind of channel that is not known.
    UnknownChannelType = 3,
    /// Too many channels.
    ResourceShortage = 4,
}

/// One packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `SSH_MSG_GLOBAL_REQUEST`: about the connection, not a channel.
    GlobalRequest {
        /// Its name.
        kind: &'a [u8],
        /// Whether it wants a reply; replies come in the requests' order.
        want_reply: bool,
        /// What its kind adds.
        rest: &'a [u8],
    },
    /// `SSH_MSG_REQUEST_SUCCESS`.
    RequestSuccess {
        /// What the request's kind adds.
        rest: &'a [u8],
    },
    /// `SSH_MSG_REQUEST_FAILURE`.
    RequestFailure,
    /// `SSH_MSG_CHANNEL_OPEN`.
    Open {
        /// `session`, `direct-tcpip` …
        kind: &'a [u8],
        /// The number that the opener gives the channel.
        sender: u32,
        /// Bytes that the opener takes before it adjusts.
        window: u32,
        /// The longest data that the opener takes in one packet.
        max_packet: u32,
        /// What its kind adds.
        rest: &'a [u8],
    },
    /// `SSH_MSG_CHANNEL_OPEN_CONFIRMATION`.
    OpenConfirmation {
        /// The opener's number.
        recipient: u32,
        /// The confirmer's number.
        sender: u32,
        /// Bytes that the confirmer takes before it adjusts.
        window: u32,
        /// The longest data that the confirmer takes in one packet.
        max_packet: u32,
        /// What the kind adds.
        rest: &'a [u8],
    },
    /// `SSH_MSG_CHANNEL_OPEN_FAILURE`.
    OpenFailure {
        /// The opener's number.
        recipient: u32,
        /// Why, as [`OpenFailure`] numbers it.
        code: u32,
        /// Why, for people.
        text: &'a [u8],
        /// The text's language.
        language: &'a [u8],
    },
    /// `SSH_MSG_CHANNEL_WINDOW_ADJUST`.
    WindowAdjust {
        /// The channel.
        recipient: u32,
        /// So many bytes more may be sent.
        bytes: u32,
    },
    /// `SSH_MSG_CHANNEL_DATA`.
    Data {
        /// The channel.
        recipient: u32,
        /// The bytes.
        data: &'a [u8],
    },
    /// `SSH_MSG_CHANNEL_EXTENDED_DATA`.
    ExtendedData {
        /// The channel.
        recipient: u32,
        /// Which stream: [`STDERR`].
        code: u32,
        /// The bytes.
        data: &'a [u8],
    },
    /// `SSH_MSG_CHANNEL_EOF`.
    Eof {
        /// The channel.
        recipient: u32,
    },
    /// `SSH_MSG_CHANNEL_CLOSE`.
    Close {
        /// The channel.
        recipient: u32,
    },
    /// `SSH_MSG_CHANNEL_REQUEST`.
    Request {
        /// The channel.
        recipient: u32,
        /// Its name.
        kind: &'a [u8],
        /// Whether it wants a reply; replies come in the requests' order.
        want_reply: bool,
        /// What its kind adds.
        rest: &'a [u8],
    },
    /// `SSH_MSG_CHANNEL_SUCCESS`.
    Success {
        /// The channel.
        recipient: u32,
    },
    /// `SSH_MSG_CHANNEL_FAILURE`.
    Failure {
        /// The channel.
        recipient: u32,
    },
    /// A message number that RFC 4254 does not give.
    Unknown(u8),
}

impl Packet<'_> {
    /// The channel that it is about, by the number of who receives it. `None`: none, or one
    /// that is only being opened.
    pub fn recipient(&self) -> Option<u32> {
        match *self {
            Packet::OpenConfirmation { recipient, .. }
            | Packet::OpenFailure { recipient, .. }
            | Packet::WindowAdjust { recipient, .. }
            | Packet::Data { recipient, .. }
            | Packet::ExtendedData { recipient, .. }
            | Packet::Eof { recipient }
            | Packet::Close { recipient }
            | Packet::Request { recipient, .. }
            | Packet::Success { recipient }
            | Packet::Failure { recipient } => Some(recipient),
            Packet::GlobalRequest { .. }
            | Packet::RequestSuccess { .. }
            | Packet::RequestFailure
            | Packet::Open { .. }
            | Packet::Unknown(_) => None,
        }
    }
}

/// Reads one packet, message number first.
///
/// # Errors
/// [`WireError`]: its sender does not speak the protocol; the connection must end.
pub fn parse(packet: &[u8]) -> Result<Packet<'_>, WireError> {
    let (&number, body) = packet.split_first().ok_or(WireError::Empty)?;
    let mut r = Reader::new(body);
    let read = match number {
        GLOBAL_REQUEST => {
            let (kind, want_reply) = (r.string()?, r.boolean()?);
            return Ok(Packet::GlobalRequest { kind, want_reply, rest: r.rest() });
        }
        REQUEST_SUCCESS => return Ok(Packet::RequestSuccess { rest: r.rest() }),
        REQUEST_FAILURE => Packet::RequestFailure,
        CHANNEL_OPEN => {
            let (kind, sender) = (r.string()?, r.uint32()?);
            let (window, max_packet) = (r.uint32()?, r.uint32()?);
            return Ok(Packet::Open { kind, sender, window, max_packet, rest: r.rest() });
        }
        CHANNEL_OPEN_CONFIRMATION => {
            let (recipient, sender) = (r.uint32()?, r.uint32()?);
            let (window, max_packet) = (r.uint32()?, r.uint32()?);
            let rest = r.rest();
            return Ok(Packet::OpenConfirmation { recipient, sender, window, max_packet, rest });
        }
        CHANNEL_OPEN_FAILURE => {
            let (recipient, code) = (r.uint32()?, r.uint32()?);
            // Some old servers leave text and language out.
            let text = if r.left() == 0 { b"".as_slice() } else { r.string()? };
            let language = if r.left() == 0 { b"".as_slice() } else { r.string()? };
            Packet::OpenFailure { recipient, code, text, language }
        }
        CHANNEL_WINDOW_ADJUST => {
            Packet::WindowAdjust { recipient: r.uint32()?, bytes: r.uint32()? }
        }
        CHANNEL_DATA => Packet::Data { recipient: r.uint32()?, data: r.string()? },
        CHANNEL_EXTENDED_DATA => {
            Packet::ExtendedData { recipient: r.uint32()?, code: r.uint32()?, data: r.string()? }
        }
        CHANNEL_EOF => Packet::Eof { recipient: r.uint32()? },
        CHANNEL_CLOSE => Packet::Close { recipient: r.uint32()? },
        CHANNEL_REQUEST => {
            let (recipient, kind, want_reply) = (r.uint32()?, r.string()?, r.boolean()?);
            return Ok(Packet::Request { recipient, kind, want_reply, rest: r.rest() });
        }
        CHANNEL_SUCCESS => Packet::Success { recipient: r.uint32()? },
        CHANNEL_FAILURE => Packet::Failure { recipient: r.uint32()? },
        other => return Ok(Packet::Unknown(other)),
    };
    r.end()?;
    Ok(read)
}

#[cfg(test)]
mod tests;
