//! What can go wrong with a body.

use crate::coding::CodingError;
use masking::Sink;

/// Why a body can't be passed on. What came out before stays good: it was
/// masked; nothing more may be taken from the masker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The sender's: see [`CodingError`].
    #[error(transparent)]
    Coding(#[from] CodingError),
    /// The sender's: a charset in which masking can't be sure to see a value.
    #[error("the body is in a charset that can't be searched")]
    Charset,
    /// The sender's, where path rules are in force and `on_unmaskable` is `deny`:
    /// what they protect can't be found in what is no JSON.
    #[error("the body is not the JSON that the masking rules ask for: {0}")]
    NotJson(&'static str),
    /// The sender's: something that must be held whole is longer than its limit.
    #[error("{what} is longer than {limit} bytes")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// Ours: the masker was used after an error.
    #[error("the body was given up before")]
    GivenUp,
}

/// Which outputs a masker is to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides {
    /// A response: what the client sees, and what the record keeps.
    Both,
    /// Only what the client sees: the recording level keeps no bodies.
    Client,
    /// Only what the record keeps: of a request, which goes to the target as it is.
    Record,
}

impl Sides {
    pub(crate) fn has(self, sink: Sink) -> bool {
        match self {
            Sides::Both => true,
            Sides::Client => sink == Sink::Client,
            Sides::Record => sink == Sink::Record,
        }
    }
}
