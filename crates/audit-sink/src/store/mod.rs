//! The store: where the log goes to be kept, and to be checked by anyone.

mod chunks;
mod client;
mod error;
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
