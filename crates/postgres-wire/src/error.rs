//! What can be wrong with bytes on the wire, and with what we are asked to write.
//!
//! None of these errors carries content of a message: they may be logged.

/// Which end of the connection the bytes came from; so, whose fault a bad frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client (protocol chapter: "frontend").
    Frontend,
    /// The server (protocol chapter: "backend").
    Backend,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Frontend => "client",
            Self::Backend => "server",
        })
    }
}

/// A frame's body is not what its type says it must be. The fault is the sender's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field reaches beyond the end of the frame's body.
    #[error("{message}: the body ends inside {field}")]
    Truncated {
        /// Name of the message in the protocol chapter.
        message: &'static str,
        /// The field that does not fit.
        field: &'static str,
    },
    /// Bytes follow the last field (the shape of a smuggled message).
    #[error("{message}: {extra} byte(s) follow the last field")]
    Trailing {
        /// Name of the message in the protocol chapter.
        message: &'static str,
        /// How many bytes are left over.
        extra: usize,
    },
    /// A field has a value the protocol does not allow.
    #[error("{message}: {field} has a value that is not allowed")]
    BadValue {
        /// Name of the message in the protocol chapter.
        message: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field is longer than the limit for it.
    #[error("{message}: {field} is longer than {limit} bytes")]
    TooLong {
        /// Name of the message in the protocol chapter.
        message: &'static str,
        /// The field.
        field: &'static str,
        /// The limit, in bytes (or items, where the field is a list).
        limit: usize,
    },
    /// The message's type byte is not one that this side may send.
    #[error("message type {tag:#04x} is not part of the protocol for the {side}")]
    UnknownTag {
        /// The type byte.
        tag: u8,
        /// Who sent it.
        side: Side,
    },
}

/// A message we were asked to write can't be written. The fault is ours
/// (or of configuration: a NUL in a name, say); nothing was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A string that ends in NUL on the wire holds one inside.
    #[error("{field} holds a NUL byte")]
    InteriorNul {
        /// The field.
        field: &'static str,
    },
    /// The message or one of its fields is larger than the protocol can say.
    #[error("{field} is too large for the protocol")]
    TooLarge {
        /// The field.
        field: &'static str,
    },
    /// A value that the protocol does not allow at this place.
    #[error("{field} has a value that is not allowed")]
    BadValue {
        /// The field.
        field: &'static str,
    },
}
