//! The store: where the log goes to be kept, and to be checked by anyone.

mod client;
mod error;
mod head;
mod source;

pub use client::{LogStore, MAX_LOG_ID_BYTES, MAX_OBJECT_BYTES, Store};
pub use error::StoreError;
pub use head::{Epoch, MAX_WRITER_BYTES};
pub use source::Source;
