//! What can be wrong with a message.

use crate::code;

/// Why bytes are not a message. The fault is that of whoever sent them. It shows nothing of what
/// was sent but where in it the mistake lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// More bytes than allowed.
    #[error("the message is longer than {most} bytes")]
    TooLong {
        /// The limit, bytes.
        most: usize,
    },
    /// Deeper than allowed.
    #[error("at byte {at}: lists and objects lie in each other more than {most} deep")]
    TooDeep {
        /// Where, bytes from the start.
        at: usize,
        /// The limit.
        most: usize,
    },
    /// A string or number that is longer than allowed.
    #[error("at byte {at}: a {what} is longer than {most} bytes")]
    TooLongValue {
        /// Where, bytes from the start.
        at: usize,
        /// What it is.
        what: &'static str,
        /// The limit, bytes.
        most: usize,
    },
    /// More values than allowed.
    #[error("at byte {at}: more than {most} values")]
    TooMany {
        /// Where, bytes from the start.
        at: usize,
        /// The limit.
        most: usize,
    },
    /// Not UTF-8 (RFC 8259, 8.1).
    #[error("at byte {at}: not UTF-8")]
    NotUtf8 {
        /// Where, bytes from the start.
        at: usize,
    },
    /// A byte order mark (RFC 8259, 8.1: must not be added).
    #[error("the message begins with a byte order mark")]
    ByteOrderMark,
    /// Not JSON (RFC 8259).
    #[error("at byte {at}: {expected} was expected")]
    Syntax {
        /// Where, bytes from the start.
        at: usize,
        /// What was expected.
        expected: &'static str,
    },
    /// Half of a surrogate pair, written `\ud800`: no text.
    #[error("at byte {at}: a lone surrogate")]
    Surrogate {
        /// Where, bytes from the start.
        at: usize,
    },
    /// A key twice in one object: parsers differ in which one counts (RFC 8259, 4).
    #[error("at byte {at}: a key occurs twice in one object")]
    DuplicateKey {
        /// Where the second one ends, bytes from the start.
        at: usize,
    },
    /// A key with a NUL in it, where some parsers let it end.
    #[error("at byte {at}: a key with a NUL")]
    NulInKey {
        /// Where it ends, bytes from the start.
        at: usize,
    },
    /// A key that differs from a known one, or from another in the same object, in the case of its
    /// letters only: some parsers take it for that one.
    #[error("a member of `{within}` is written in another case than `{key}`")]
    CaseVariant {
        /// The object: `message`, `params`, `result`.
        within: &'static str,
        /// What it may be taken for.
        key: &'static str,
    },
    /// Not a request, notification or response.
    #[error("not a JSON-RPC 2.0 message: {0}")]
    NotAMessage(&'static str),
    /// A known method with parameters that it can't have.
    #[error("the parameters are not those of the method: {0}")]
    Params(&'static str),
    /// An answer whose content is not that of its method.
    #[error("the result is not that of the method: {0}")]
    Result(&'static str),
}

impl WireError {
    /// The JSON-RPC code that says so to the client.
    #[must_use]
    pub const fn code(&self) -> i64 {
        match self {
            Self::CaseVariant { .. } | Self::NotAMessage(_) | Self::Result(_) => {
                code::INVALID_REQUEST
            }
            Self::Params(_) => code::INVALID_PARAMS,
            Self::TooLong { .. }
            | Self::TooDeep { .. }
            | Self::TooLongValue { .. }
            | Self::TooMany { .. }
            | Self::NotUtf8 { .. }
            | Self::ByteOrderMark
            | Self::Syntax { .. }
            | Self::Surrogate { .. }
            | Self::DuplicateKey { .. }
            | Self::NulInKey { .. } => code::PARSE_ERROR,
        }
    }

    /// Whether the message was only too large: over HTTP that is 413, not 400.
    #[must_use]
    pub const fn is_size(&self) -> bool {
        matches!(self, Self::TooLong { .. } | Self::TooLongValue { .. } | Self::TooMany { .. })
    }
}
