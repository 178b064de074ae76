//! What a subcommand says when it can't do what it was asked.

use std::io;

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// An argument can't be used.
    #[error("{0}")]
    Argument(String),
    /// Standard output.
    #[error("writing the output: {0}")]
    Output(#[source] io::Error),
    /// The runtime.
    #[error("starting: {0}")]
    Start(#[source] io::Error),
    /// The record.
    #[error("reading the record: {0}")]
    Read(#[from] trail::ReadError),
    /// The demonstration.
    #[error("the demonstration: {0}")]
    Demo(#[from] ::demo::DemoError),
    /// A certificate for SSH.
    #[error("no certificate from {gateway}: {why}")]
    Certificate {
        /// The proxy.
        gateway: String,
        /// Its words, or what happened on the way.
        why: String,
    },
    /// A login by browser.
    #[error("no token from {issuer}: {why}")]
    Login {
        /// Whose.
        issuer: String,
        /// Its words, or what happened on the way.
        why: String,
    },
    /// A file that can't be written.
    #[error("writing {path}: {source}")]
    Write {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The log's key.
    #[error(transparent)]
    Keygen(#[from] config::KeygenError),
}

impl Error {
    /// 2 where nothing could be checked or read; 1 where something was tried and failed.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Error::Demo(_)
            | Error::Keygen(_)
            | Error::Output(_)
            | Error::Certificate { .. }
            | Error::Login { .. }
            | Error::Write { .. } => 1,
            Error::Argument(_) | Error::Start(_) | Error::Read(_) => 2,
        }
    }
}

impl From<audit_sink::store::StoreError> for Error {
    fn from(error: audit_sink::store::StoreError) -> Self {
        Error::Read(error.into())
    }
}
