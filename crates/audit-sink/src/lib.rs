//! The log: what was recorded is durable, in order, and cannot be changed unnoticed.
//!
//! This crate knows bytes, not protocols. An **entry** is up to 65,535 bytes of
//! somebody's record. It is a **leaf** of an RFC 6962 Merkle tree; the tree's head
//! (size and root) is signed as a C2SP **checkpoint**. Two parts do the work:
//!
//! * [`Log`], the local **ring**: preallocated, zero-filled segment files with
//!   group commit. All entries that arrive while one `fdatasync` runs become the
//!   next **frame**: one write, one flush, one signed head. An entry counts once it
//!   is durable ([`Log::wait_durable`]); nothing durable is ever unsigned.
//! * [`store`], where the log goes to be kept: a publisher reads the ring
//!   (through [`store::Source`]) and writes tiles and checkpoints in the C2SP layout
//!   to an object store, then lets the ring use the space again ([`Log::release`]).
//!
//! What it promises, and what not:
//!
//! * After a crash at any moment, [`Log::open`] finds every acknowledged entry, or
//!   says that the ring is damaged and where. It repairs nothing.
//! * A failed write or flush is final ([`Failed`]); it is never tried again, and the
//!   process should end.
//! * If the store is away for too long, the ring is full and appending is refused
//!   ([`AppendError::RingFull`]). Nothing is dropped or overwritten.
//! * That the ring's end was cut off, or an old copy put back, can only be told by
//!   someone who remembers a later head: see [`LogConfig::remembered_size`].
//!
//! ```
//! use audit_sink::{Log, LogConfig};
//! use tlog::{Checkpoint, Signer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! let mut config = LogConfig::new(dir.path(), "example-1");
//! config.segments = 2;
//! config.segment_bytes = 256 * 1024;
//! let (log, found) = Log::open(config, Signer::generate("example.org/log")?)?;
//! assert_eq!((found.size, found.epoch), (0, 1));
//!
//! let ticket = log.append(b"who did what")?;
//! log.wait_durable_blocking(ticket.index)?; // in async code: wait_durable(..).await
//!
//! // It is on disk, and under a signed head.
//! let entries = log.read(ticket.index, 1024)?;
//! assert_eq!(entries[0].1.as_ref(), b"who did what");
//! let head = log.head().ok_or("no head")?;
//! let checkpoint = Checkpoint { origin: "example.org/log".into(), size: head.size, root: head.root };
//! checkpoint.verify_signature(log.verifier(), &head.signature)?;
//!
//! log.close()?;
//! # Ok(())
//! # }
//! ```

mod error;
pub mod frame;
pub mod io;
mod log;
mod ring;
mod stats;
pub mod store;

pub use error::{AppendError, Failed, OpenError, WaitError};
pub use log::{
    DEFAULT_QUEUE_BYTES, DEFAULT_SEGMENT_BYTES, DEFAULT_SEGMENTS, Head, Lead, Log, LogConfig,
    MAX_READ_ENTRIES, Recovered, Ticket, Waiter,
};
pub use ring::{
    MAX_COMMIT_FRAME, MAX_LOG_ID, MAX_SEGMENT_BYTES, MAX_SEGMENTS, MIN_SEGMENT_BYTES, MIN_SEGMENTS,
    Progress,
};
pub use stats::{Stats, Times};
