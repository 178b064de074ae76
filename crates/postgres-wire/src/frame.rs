//! The framer: where one message ends and the next begins.
//!
//! After startup every message is `type(1) length(4) body`, the length counting
//! itself (protocol chapter, "Message Formats"). [`next_frame`] looks at the
//! front of a buffer and says what is there; it keeps no state, so a caller
//! that reads more bytes just calls it again. Bodies may be large: once a
//! [`Framed::Header`] is returned the caller can forward the body in pieces and
//! count down `body_len` itself, or wait for the whole [`Framed::Frame`].

use crate::error::{Side, WireError};

/// Bytes before a body: the type byte and the length.
pub const HEADER_LEN: usize = 5;
/// Smallest value of a length field: it counts itself.
pub const MIN_LENGTH: usize = 4;
/// `PQ_SMALL_MESSAGE_LIMIT` of the server: Close, Describe, Execute, Flush, Sync,
/// Terminate, CopyDone and CopyFail, by their length field.
pub const SMALL_MESSAGE_LIMIT: usize = 10_000;
/// `PQ_LARGE_MESSAGE_LIMIT` of the server (`MaxAllocSize` − 1), by the length field.
pub const LARGE_MESSAGE_LIMIT: usize = 0x3fff_fffe;
/// `PG_MAX_AUTH_TOKEN_LENGTH`: passwords, tokens and GSS messages from the client.
pub const PASSWORD_LIMIT: usize = 65_535;
/// `PG_MAX_SASL_MESSAGE_LENGTH`: SCRAM messages from the client. A caller that is
/// in a SCRAM exchange puts it into [`Limits::password`].
pub const SASL_LIMIT: usize = 1_024;
/// libpq's limit for messages of the server that are not "long" ones.
pub const BACKEND_SHORT_LIMIT: usize = 30_000;
/// Largest ErrorResponse, NoticeResponse or NotificationResponse by default. They
/// are buffered whole, since their text may have to be masked.
pub const DIAGNOSTIC_LIMIT: usize = 16 * 1024 * 1024;
/// Most columns a RowDescription may have by default (the server stops at 1,664
/// in a target list): bounds the size of that message together with name lengths.
pub const ROW_DESCRIPTION_LIMIT: usize = 1024 * 1024;
/// Largest ParameterDescription: 65,535 OIDs.
pub const PARAMETER_DESCRIPTION_LIMIT: usize = 4 + 2 + 4 * 65_535;

/// Largest length field accepted, by class of message. All in bytes, as the
/// length field counts (4 more than the body).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Close, Describe, Execute, Flush, Sync, Terminate, CopyDone, CopyFail.
    pub small: usize,
    /// Query, Parse, Bind, FunctionCall, CopyData, DataRow, FunctionCallResponse.
    pub large: usize,
    /// Password and SASL messages of the client.
    pub password: usize,
    /// Short messages of the server.
    pub backend_short: usize,
    /// ErrorResponse, NoticeResponse, NotificationResponse.
    pub diagnostic: usize,
    /// RowDescription.
    pub row_description: usize,
}

impl Limits {
    /// The server's own limits (libpq's for the server's messages).
    pub const DEFAULT: Self = Self {
        small: SMALL_MESSAGE_LIMIT,
        large: LARGE_MESSAGE_LIMIT,
        password: PASSWORD_LIMIT,
        backend_short: BACKEND_SHORT_LIMIT,
        diagnostic: DIAGNOSTIC_LIMIT,
        row_description: ROW_DESCRIPTION_LIMIT,
    };

    /// Largest length field for a message of this type, or `None` if the side may
    /// not send such a message.
    pub const fn max_length(&self, side: Side, tag: u8) -> Option<usize> {
        match side {
            Side::Frontend => match tag {
                b'Q' | b'P' | b'B' | b'F' | b'd' => Some(self.large),
                b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f' => Some(self.small),
                b'p' => Some(self.password),
                _ => None,
            },
            Side::Backend => match tag {
                b'D' | b'd' | b'V' => Some(self.large),
                b'E' | b'N' | b'A' => Some(self.diagnostic),
                b'T' => Some(self.row_description),
                b't' => Some(PARAMETER_DESCRIPTION_LIMIT),
                b'Z' => Some(MIN_LENGTH + 1),
                b'1' | b'2' | b'3' | b'n' | b'I' | b's' | b'c' => Some(MIN_LENGTH),
                b'R' | b'K' | b'S' | b'C' | b'G' | b'H' | b'W' | b'v' => Some(self.backend_short),
                _ => None,
            },
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What is at the front of a buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Framed<'a> {
    /// Fewer than [`HEADER_LEN`] bytes.
    NeedHeader,
    /// The header is there and acceptable, the body not yet complete.
    Header {
        /// Type byte.
        tag: u8,
        /// Length of the whole body (bytes after the header), whether here yet or not.
        body_len: usize,
    },
    /// A whole message.
    Frame {
        /// Type byte.
        tag: u8,
        /// The body, and nothing else.
        body: &'a [u8],
        /// Bytes of the buffer this message takes: [`HEADER_LEN`] + body.
        total: usize,
    },
}

impl std::fmt::Debug for Framed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NeedHeader => f.write_str("NeedHeader"),
            Self::Header { tag, body_len } => {
                write!(f, "Header({:?}, {body_len} bytes)", char::from(*tag))
            }
            Self::Frame { tag, body, .. } => {
                write!(f, "Frame({:?}, {} bytes)", char::from(*tag), body.len())
            }
        }
    }
}

/// The stream can't be followed any further: close the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The type byte is none that this side may send.
    #[error("the {side} sent a message of unknown type {tag:#04x}")]
    UnknownTag {
        /// Type byte.
        tag: u8,
        /// Who sent it.
        side: Side,
    },
    /// The length field is negative or below 4.
    #[error("the {side} sent a message of type {tag:#04x} with length {length}")]
    BadLength {
        /// Type byte.
        tag: u8,
        /// The length field.
        length: i32,
        /// Who sent it.
        side: Side,
    },
    /// The length field is above the limit for this type.
    #[error("the {side} sent a message of type {tag:#04x} with length {length}, limit {limit}")]
    TooLong {
        /// Type byte.
        tag: u8,
        /// The length field.
        length: usize,
        /// The limit for it.
        limit: usize,
        /// Who sent it.
        side: Side,
    },
}

impl FrameError {
    /// Whose fault it is.
    pub const fn side(&self) -> Side {
        match self {
            Self::UnknownTag { side, .. }
            | Self::BadLength { side, .. }
            | Self::TooLong { side, .. } => *side,
        }
    }
}

/// Looks at the front of `buf`.
///
/// # Errors
/// Unknown type, or a length outside [`Limits`]: found as soon as the five
/// bytes of the header are there, before anything is buffered for the body.
pub fn next_frame<'a>(
    buf: &'a [u8],
    side: Side,
    limits: &Limits,
) -> Result<Framed<'a>, FrameError> {
    let Some((&tag, after)) = buf.split_first() else { return Ok(Framed::NeedHeader) };
    let Some(limit) = limits.max_length(side, tag) else {
        return Err(FrameError::UnknownTag { tag, side });
    };
    let Some((length, rest)) = after.split_first_chunk::<4>() else {
        return Ok(Framed::NeedHeader);
    };
    let length = i32::from_be_bytes(*length);
    let Some(body_len) = usize::try_from(length).ok().and_then(|n| n.checked_sub(MIN_LENGTH))
    else {
        return Err(FrameError::BadLength { tag, length, side });
    };
    if body_len + MIN_LENGTH > limit {
        return Err(FrameError::TooLong { tag, length: body_len + MIN_LENGTH, limit, side });
    }
    match rest.get(..body_len) {
        Some(body) => Ok(Framed::Frame { tag, body, total: HEADER_LEN + body_len }),
        None => Ok(Framed::Header { tag, body_len }),
    }
}

/// The error for a type byte that a reader does not know.
pub(crate) const fn unknown_tag(tag: u8, side: Side) -> WireError {
    WireError::UnknownTag { tag, side }
}
