//! Where entries go, seen from above: what the gate needs of a log, and no more.
//!
//! [`Journal`] is implemented for greffier's own log (module [`crate::local`]). An embedder may
//! bring another place for entries; what it must promise is written at each method.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

/// A place for entries: ordered, append-only, durable.
pub trait Journal: Send + Sync + 'static {
    /// Takes one entry and gives its index. Never blocks. The entry is not durable yet.
    ///
    /// # Errors
    /// [`JournalError::Full`] for now, or [`JournalError::Failed`] for good: nothing was taken.
    fn append(&self, entry: Vec<u8>) -> Result<u64, JournalError>;

    /// As [`Journal::append`], for the end of what was begun: a command's outcome, a session's
    /// end. A journal that can be [full](JournalError::Full) should keep room for these that
    /// nothing else may take, so that what was begun before it was full has its end on record.
    ///
    /// # Errors
    /// As [`Journal::append`].
    fn append_end(&self, entry: Vec<u8>, pace: Pace) -> Result<u64, JournalError> {
        let _as_soon = pace;
        self.append(entry)
    }

    /// Entries below this index are durable: they survive a crash of this machine. Cheap.
    fn durable(&self) -> u64;

    /// Entries below this index are acknowledged by the store behind the journal. Cheap.
    fn published(&self) -> u64;

    /// A waiter for one task.
    fn waiter(&self) -> Box<dyn Wait>;

    /// A new recording beside the entries, for what is too large for them.
    ///
    /// # Errors
    /// As [`Journal::append`].
    fn recording(&self) -> Result<Box<dyn Recording>, JournalError>;
}

/// How soon an entry is to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Without delay.
    Now,
    /// A few milliseconds later will do, unless it is waited for: nobody does now.
    Soon,
}

/// What a waiter waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// The entry with this index is durable.
    Durable(u64),
    /// The entry with this index is in the store.
    Published(u64),
}

/// Waits for entries to become durable, on behalf of one task.
pub trait Wait: Send {
    /// Ready when the mark is reached; otherwise the task is woken when it may be. Only the
    /// last mark asked for need wake the task.
    ///
    /// # Errors
    /// [`JournalError::Failed`] if the mark can never be reached.
    fn poll(&mut self, mark: Mark, cx: &mut Context<'_>) -> Poll<Result<(), JournalError>>;
}

/// Bytes of one answer (or one upload) that are too large for entries: kept as objects of
/// bounded size, each bound by its hash.
pub trait Recording: Send {
    /// Adds bytes, and says how many there are now. Never blocks; the caller bounds what it
    /// adds ahead of [`Progress::poll_written`].
    ///
    /// # Errors
    /// [`JournalError::Failed`] if the recording can't be kept.
    fn write(&mut self, bytes: &[u8]) -> Result<u64, JournalError>;

    /// As [`write`](Recording::write), of bytes that may be kept as they lie.
    ///
    /// # Errors
    /// As [`write`](Recording::write).
    fn write_whole(&mut self, bytes: Bytes) -> Result<u64, JournalError> {
        self.write(&bytes)
    }

    /// How far it has got, for holding answers back until then.
    fn progress(&self) -> Arc<dyn Progress>;

    /// Takes the objects that are complete and durable by now, in order, each once: so that an
    /// entry can name them before the recording ends. None, where a recording is one object.
    fn sealed(&mut self) -> Vec<Object> {
        Vec::new()
    }

    /// Ends the recording: every object is durable and named; gives those that
    /// [`sealed`](Recording::sealed) didn't. To be polled until ready.
    ///
    /// # Errors
    /// [`JournalError::Failed`] if it can't be kept.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<Object>, JournalError>>;
}

/// How far a [`Recording`] has been written.
pub trait Progress: Send + Sync {
    /// Ready when the first `offset` bytes have been handed to the operating system.
    ///
    /// # Errors
    /// [`JournalError::Failed`] if they can't be.
    fn poll_written(&self, offset: u64, cx: &mut Context<'_>) -> Poll<Result<(), JournalError>>;
}

/// One object of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object {
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Its length in bytes.
    pub bytes: u64,
}

/// The journal can't take what must be recorded. Always our fault, never the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// No room until what is there has been published. Later it may work again.
    #[error("the audit log is full: its store has not taken what was recorded before")]
    Full,
    /// An entry is longer than the log can take.
    #[error("an audit entry of {bytes} bytes is too long")]
    TooLarge {
        /// The entry's length.
        bytes: usize,
    },
    /// A write failed. Nothing can be recorded until the process is started again.
    #[error("the audit log can't be written")]
    Failed,
    /// The log was closed: the process is ending.
    #[error("the audit log is closed")]
    Closed,
}
