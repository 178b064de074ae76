//! The store: where the log goes to be kept, and to be checked by anyone.
//!
//! A store is a folder or a bucket ([`Store::open`]). It is **not trusted**: whoever can write to
//! it can at most make us stop. What a log looks like there (C2SP tlog-tiles v0.1.0; `N` is
//! spelled as in [`tlog::TilePath`]):
//!
//! ```text
//! logs/<log-id>/checkpoints/<size>        signed checkpoint, 20 digits
//! logs/<log-id>/checkpoint                copy of the newest; the only object ever overwritten
//! logs/<log-id>/tile/<L>/<N>[.p/<W>]      hash tiles
//! logs/<log-id>/tile/entries/<N>[.p/<W>]  entry bundles
//! logs/<log-id>/epoch/<n>                 signed claim of one writer, 20 digits
//! blobs/<sha256>                          chunks of long responses, of all logs
//! ```
//!
//! Everything but `checkpoint` is written with a create-only put and follows from the entries
//! alone. So finding an object with our bytes is our own earlier try; with other bytes it is a
//! second writer or a tampered store ([`StoreError::Fork`]), and publishing stops for ever.
//!
//! * [`Publisher`] brings the ring's entries here; [`Source`] is what it asks of the ring.
//! * [`ChunkDir`] keeps responses too large for an entry until the publisher has taken them.
//! * [`verify`] checks a whole log; [`Reader`] reads entries and makes proofs.
//!
//! What nobody can tell from the store alone: that its tail was cut, or an older copy put back,
//! or that the owner of the key wrote another past. Remember a checkpoint elsewhere and give it
//! to [`verify`].
//!
//! ```
//! use std::sync::Arc;
//!
//! use audit_sink::store::{Publisher, PublisherConfig, Reader, Store, VerifyOptions, verify};
//! use audit_sink::{Log, LogConfig};
//! use tlog::Signer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let mut config = LogConfig::new(dir.path().join("ring"), "proxy-1");
//! # (config.segments, config.segment_bytes) = (2, 256 * 1024);
//! let signer = Signer::generate("example.org/proxy-1")?;
//! let (log, found) = Log::open(config, signer.clone())?;
//! let log = Arc::new(log);
//!
//! let folder = dir.path().join("store");
//! let store = Store::open(&folder.to_string_lossy())?.log("proxy-1")?;
//! let head = (found.size, found.root);
//! let epoch = store.claim_epoch(&signer, head, "host a, boot 7").await?;
//! let mut config = PublisherConfig::new(head);
//! config.epoch = Some(epoch.number);
//! let publisher = Publisher::start(store.clone(), log.clone(), signer.clone(), config).await?;
//!
//! let ticket = log.append(b"who did what")?;
//! publisher.wait_published(ticket.index + 1).await?;
//!
//! let report = verify(&store, signer.verifier(), &VerifyOptions::default()).await?;
//! assert!(report.is_ok());
//! let reader = Reader::open(&store, signer.verifier()).await?.ok_or("empty")?;
//! let (index, entry) = reader.range(0, 1).next().await?.ok_or("empty")?;
//! assert_eq!((index, entry.as_ref()), (0, b"who did what".as_slice()));
//! # Ok(())
//! # }
//! ```

mod chunks;
mod client;
mod error;
mod folder;
mod head;
mod publisher;
mod reader;
mod source;
mod verify;

pub use chunks::{CHUNK_BYTES, ChunkConfig, ChunkDir, ChunkError, ChunkRef, ChunkWriter};
pub use client::{LogStore, MAX_LOG_ID_BYTES, MAX_OBJECT_BYTES, Store};
pub use error::StoreError;
pub use head::{Epoch, MAX_WRITER_BYTES};
pub use publisher::{Publisher, PublisherConfig, PublisherStatus};
pub use reader::{Entries, Reader};
pub use source::Source;
pub use verify::{
    Failure, Fault, MAX_FAILURES, MAX_NOTES, Report, VerifyOptions, verify, verify_blob,
};
