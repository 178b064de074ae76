//! What can go wrong between the log and its store.

use std::io;

use tlog::{BundleError, CheckpointError, KeyError};

/// An error of the store. [`StoreError::is_fatal`] says whether trying again may help.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The configured URL or log id cannot be used. The operator's to mend.
    #[error("unusable store setting: {0}")]
    Setting(String),
    /// The object store refused, failed or could not be reached. Tried again by the publisher.
    #[error("object store, at {object}: {source}")]
    Object {
        /// The object's path under the store's root.
        object: String,
        /// What the object store said.
        #[source]
        source: object_store::Error,
    },
    /// An object of this name is there with other bytes: somebody else extends the same log, or
    /// the store was tampered with. Publishing stops for ever.
    #[error("FORK: {object} is in the store with other bytes than ours")]
    Fork {
        /// The object's path under the store's root.
        object: String,
    },
    /// A later writer has claimed the log: this one must not publish any more.
    #[error("epoch {newer} of the log was claimed by another writer; ours is {ours}")]
    Fenced {
        /// Our epoch.
        ours: u64,
        /// The other's.
        newer: u64,
    },
    /// The store holds entries that the local ring never had: the ring was lost or rolled back.
    #[error(
        "the store holds {store} entries, the local ring only {ring}: an old copy was restored?"
    )]
    RingBehind {
        /// Size of the newest checkpoint in the store.
        store: u64,
        /// Size of the ring's tree.
        ring: u64,
    },
    /// Ring and store do not agree about the tree.
    #[error("ring and store disagree about the tree of {size} entries")]
    Diverged {
        /// Size at which their roots differ.
        size: u64,
    },
    /// An object is missing or is not what it must be.
    #[error("{object}: {what}")]
    Corrupt {
        /// The object's path under the store's root.
        object: String,
        /// What is wrong with it.
        what: String,
    },
    /// A checkpoint or epoch in the store is not validly signed.
    #[error("{object}: {source}")]
    Signature {
        /// The object's path under the store's root.
        object: String,
        /// What is wrong with it.
        #[source]
        source: CheckpointError,
    },
    /// The ring could not be read.
    #[error("reading the local ring: {0}")]
    Source(#[source] io::Error),
    /// The local chunk folder could not be read.
    #[error("reading the local chunk folder: {0}")]
    Chunks(#[source] io::Error),
    /// The store is a folder that could not be flushed: what it holds is not certain any more.
    #[error("flushing the store's folder: {0}")]
    Flush(#[source] io::Error),
    /// An entry that no bundle can hold. A defect of ours: the ring refuses such entries.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Signing failed. A defect of ours.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The publisher has been stopped, or its runtime has ended.
    #[error("the publisher has stopped")]
    Stopped,
}

impl StoreError {
    /// Whether publishing must stop: everything except an object store that does not answer.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        !matches!(self, Self::Object { .. })
    }
}
