//! What a verification found.

use std::fmt;

use tlog::Checkpoint;

/// More failures than this are counted, not listed.
pub const MAX_FAILURES: usize = 1000;
/// More notes than this are not kept.
pub const MAX_NOTES: usize = 100;

/// What is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It must be there and is not.
    #[error("is missing")]
    Missing,
    /// It is not of its format.
    #[error("is malformed: {0}")]
    Malformed(String),
    /// An entry is not the one whose hash is in the tree.
    #[error("the entry is not the one in the tree ({more} more in this bundle)")]
    Entry {
        /// Further wrong entries in the same bundle.
        more: usize,
    },
    /// A hash in a tile is not the one that follows from what is below it.
    #[error("hash {position} of the tile is wrong")]
    TileHash {
        /// The hash's place in the tile, from 0.
        position: usize,
    },
    /// Bundle and tile disagree, and the tree above fits neither.
    #[error("bundle and tile disagree, and the tree fits neither")]
    Disagree,
    /// The signature does not hold.
    #[error("{0}")]
    Signature(String),
    /// The entries do not have the root that was signed: the log was rewritten or forked.
    #[error("the entries in the store do not have the root signed here: rewritten or forked")]
    Root,
    /// The store ends before a checkpoint that the caller remembers: its tail was cut, or it is
    /// an older copy.
    #[error("the store ends at {found} entries; a checkpoint of {remembered} is remembered")]
    TailCut {
        /// Entries of the remembered checkpoint.
        remembered: u64,
        /// Entries of the newest checkpoint here.
        found: u64,
    },
    /// Its name is none that the log uses.
    #[error("does not belong here")]
    Unexpected,
    /// The convenience copy is not a copy of any numbered checkpoint.
    #[error("is not a copy of the numbered checkpoint of its size")]
    NotACopy,
    /// A chunk does not have the SHA-256 or the length it must have.
    #[error("does not have the SHA-256 or length it must have")]
    Blob,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The object's name below the store's root.
    pub object: String,
    /// The entry concerned; for a tile or checkpoint the first of those it covers that is in
    /// doubt.
    pub entry: Option<u64>,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entry {
            Some(entry) => write!(f, "{} (entry {entry}): {}", self.object, self.fault),
            None => write!(f, "{}: {}", self.object, self.fault),
        }
    }
}

/// The outcome of [`verify`](super::verify).
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The newest validly signed checkpoint, which the rest was checked against.
    pub head: Option<Checkpoint>,
    /// Entries whose hashes were recomputed.
    pub entries: u64,
    /// Numbered checkpoints checked.
    pub checkpoints: u64,
    /// Hash tiles and bundles checked, partial ones too.
    pub tiles: u64,
    /// Epoch claims checked.
    pub epochs: u64,
    /// Chunk objects hashed.
    pub blobs: u64,
    /// What is wrong, the first [`MAX_FAILURES`].
    pub failures: Vec<Failure>,
    /// How many things are wrong in all.
    pub failure_count: u64,
    /// What is no failure, but worth knowing; the first [`MAX_NOTES`].
    pub notes: Vec<String>,
}

impl Report {
    /// Whether everything that was checked is as it must be.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.failure_count == 0
    }

    pub(crate) fn fail(&mut self, object: String, entry: Option<u64>, fault: Fault) {
        self.failure_count += 1;
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(Failure { object, entry, fault });
        }
    }

    pub(crate) fn note(&mut self, note: String) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(note);
        }
    }
}
