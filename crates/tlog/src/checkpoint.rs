//! Checkpoints (C2SP tlog-checkpoint v1.0.0): the signed head of a log.

use crate::hash::Hash;
use crate::key::{KeyError, SIGNATURE_LEN, Signer, Verifier};
use crate::note::{NoteError, SignedNote};

/// The largest tree size we read or write: Go's tools keep sizes in an `int64`.
pub const MAX_TREE_SIZE: u64 = i64::MAX as u64;

/// What is wrong with a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The text is not origin, size and root on a line each.
    #[error("malformed checkpoint: {0}")]
    Malformed(&'static str),
    /// It is another log's.
    #[error("the checkpoint's origin is {found:?}, not {expected:?}")]
    Origin {
        /// The origin that the caller pinned.
        expected: String,
        /// The origin in the text.
        found: String,
    },
    /// The note around it is broken or not signed by the key.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// The state of a log: `size` leaves with this `root`, under the name `origin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name: a schema-less URL by convention, and the name of its key.
    pub origin: String,
    /// Leaves in the tree.
    pub size: u64,
    /// The tree's root hash.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed: three lines, no extension lines.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64())
    }

    /// Reads the text of a checkpoint. Extension lines are allowed and ignored (they are under
    /// the signature, but say nothing about the tree).
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let bad = CheckpointError::Malformed;
        let body = text.strip_suffix('\n').ok_or(bad("no newline at the end"))?;
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(bad("fewer than three lines"));
        };
        if origin.is_empty() {
            return Err(bad("no origin"));
        }
        if lines.any(str::is_empty) {
            return Err(bad("an empty extension line"));
        }
        let canonical = |s: &str| {
            !s.is_empty()
                && s.bytes().all(|b| b.is_ascii_digit())
                && (s == "0" || !s.starts_with('0'))
        };
        if !canonical(size) {
            return Err(bad("the size is not a plain decimal number"));
        }
        let size = size.parse().ok().filter(|n| *n <= MAX_TREE_SIZE);
        Ok(Self {
            origin: origin.to_owned(),
            size: size.ok_or(bad("the size is too large"))?,
            root: Hash::from_base64(root).ok_or(bad("the root is not base64 of 32 bytes"))?,
        })
    }

    /// The signature alone, for storage beside the three fields.
    #[must_use]
    pub fn signature(&self, signer: &Signer) -> [u8; SIGNATURE_LEN] {
        signer.sign(self.encode().as_bytes())
    }

    /// Checks a signature made by [`Checkpoint::signature`].
    ///
    /// # Errors
    /// [`KeyError::Signature`].
    pub fn verify_signature(&self, key: &Verifier, sig: &[u8]) -> Result<(), KeyError> {
        key.verify(self.encode().as_bytes(), sig)
    }

    /// The whole signed note, ready for a file or a witness.
    ///
    /// # Errors
    /// When the origin cannot stand in a note.
    pub fn sign(&self, signer: &Signer) -> Result<String, CheckpointError> {
        Self::parse(&self.encode())?;
        Ok(SignedNote::sign(&self.encode(), &[signer])?.encode())
    }

    /// Reads a signed checkpoint of the log `key.name()`, and checks the log's signature.
    /// Other signatures (witnesses) are ignored.
    ///
    /// # Errors
    /// When the note is broken, not signed by `key`, or is another origin's.
    pub fn open(bytes: &[u8], key: &Verifier) -> Result<Self, CheckpointError> {
        let note = SignedNote::parse(bytes)?;
        note.verify(std::slice::from_ref(key))?;
        let checkpoint = Self::parse(note.text())?;
        if checkpoint.origin == key.name() {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::Origin {
                expected: key.name().to_owned(),
                found: checkpoint.origin,
            })
        }
    }
}
