//! What can go wrong: the machine lacks something, or it has it and it failed.

use std::path::PathBuf;

/// A program or package that this machine does not have. Nobody's fault;
/// [`crate::require`] turns it into a skip or, in CI, a failure.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what} is missing: {how}")]
pub struct Missing {
    /// The thing, as a person would name it ("PostgreSQL 15 or newer").
    pub what: String,
    /// How to get it ("apt-get install postgresql").
    pub how: String,
}

/// Something that is there did not do what it should.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what} failed: {reason}{}", .log.as_ref().map(|p| format!("\n(log kept at {})", p.display())).unwrap_or_default())]
pub struct Failed {
    /// The program or step.
    pub what: String,
    /// What it said, shortened to its end when long.
    pub reason: String,
    /// Where its log was kept, if there is one.
    pub log: Option<PathBuf>,
}

/// Why a server, client or suite could not be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The machine lacks it.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// It is there, and failed.
    #[error(transparent)]
    Failed(#[from] Failed),
}

impl Error {
    pub(crate) fn missing(what: impl Into<String>, how: impl Into<String>) -> Self {
        Self::Missing(Missing { what: what.into(), how: how.into() })
    }

    pub(crate) fn failed(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Failed(Failed { what: what.into(), reason: tail(&reason.to_string()), log: None })
    }
}

/// The longest reason kept, in bytes; the end is what tells.
const MAX_REASON: usize = 4000;

fn tail(text: &str) -> String {
    let mut from = text.len().saturating_sub(MAX_REASON);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text.get(from..).unwrap_or_default().trim_end().to_owned()
}
