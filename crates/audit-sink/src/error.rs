//! What can go wrong with the log, and whose fault it is.

use std::path::PathBuf;
use std::sync::Arc;

/// Why a log could not be opened. The process must not serve without it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration asks for something impossible (the operator's fault).
    #[error("log configuration: {0}")]
    Config(&'static str),
    /// Another process has the log open. Two writers would fork it.
    #[error("{} is in use by another process", .dir.display())]
    Locked {
        /// The log's folder.
        dir: PathBuf,
    },
    /// The folder holds a ring of another shape or of another log.
    #[error("{} was made for another log or with other sizes (found {found:?}, expected {expected:?})", .dir.display())]
    OtherRing {
        /// The log's folder.
        dir: PathBuf,
        /// The first line that differs, as configured.
        expected: String,
        /// That line, as found.
        found: String,
    },
    /// A file operation failed (the disk's or the operator's fault).
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Something that was acknowledged cannot be read back, or was changed. The log is evidence:
    /// it is not repaired and not opened.
    #[error("the log is damaged in segment {segment} at byte {offset}: {why}")]
    Corrupt {
        /// Number of the segment file.
        segment: u32,
        /// Where in it.
        offset: u64,
        /// What was found.
        why: &'static str,
    },
    /// The ring ends before a point that someone remembers: it was cut, or an old copy put back.
    #[error("the log has {size} entries, but {remembered} are known to have been acknowledged")]
    Behind {
        /// Entries recovered.
        size: u64,
        /// Entries that the caller knows of.
        remembered: u64,
    },
    /// The committer's thread could not be started (ours, or a limit of the system).
    #[error("cannot start the committer: {0}")]
    Thread(std::io::Error),
}

/// Why an entry was not taken. Nothing of it is in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No segment is free: publishing is behind. Refuse the command; try again later.
    #[error("the log's ring is full: entries wait to be published")]
    RingFull,
    /// Too much waits for the disk. Refuse the command; try again later.
    #[error("the log's queue is full: the disk is behind")]
    QueueFull,
    /// The entry is too long (the caller's fault: large payloads are chunked before).
    #[error("an entry of {len} bytes is over the limit of {max}")]
    TooLarge {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A write or flush failed earlier; final. The process should end.
    #[error(transparent)]
    Failed(#[from] Failed),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

impl AppendError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::RingFull | Self::QueueFull)
    }
}

/// A write or flush of the log failed: nothing after [`crate::Log::durable`] will ever be
/// acknowledged. It is not tried again, because after a failed flush the system may report
/// success for pages that never reached the disk. The process should end; opening the log again
/// finds what is really there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the log has failed for good: {0}")]
pub struct Failed(pub(crate) Arc<str>);

/// Why an entry will not become durable in this process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// See [`Failed`].
    #[error(transparent)]
    Failed(#[from] Failed),
    /// The log was closed before there was such an entry.
    #[error("the log is closed")]
    Closed,
}
