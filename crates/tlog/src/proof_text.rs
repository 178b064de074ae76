//! `c2sp.org/tlog-proof@v1`: one entry's evidence in a file, checked offline.

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::Hash;
use crate::key::Verifier;
use crate::note::MAX_NOTE_BYTES;
use crate::proof::{MAX_PROOF_HASHES, ProofError, verify_inclusion};

/// The first line of every proof.
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// The longest `extra` line we read, in bytes.
const MAX_EXTRA_BYTES: usize = 64 * 1024;
/// The largest proof we read, in bytes.
const MAX_TEXT_BYTES: usize = MAX_NOTE_BYTES + MAX_EXTRA_BYTES + 64 * (MAX_PROOF_HASHES + 4);

/// Why a proof's text is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofTextError {
    /// Not a `tlog-proof@v1`.
    #[error("malformed tlog-proof: {0}")]
    Malformed(&'static str),
    /// The checkpoint in it is broken, another log's, or not signed by the key.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The hashes do not lead from the entry to the checkpoint's root.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

/// The evidence that an entry is in a log: its index, its inclusion proof and a signed
/// checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofText {
    /// The entry's index.
    pub index: u64,
    /// Its inclusion proof in the tree of the checkpoint.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint's note, as it is.
    pub checkpoint: String,
}

impl ProofText {
    /// The file's text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = format!("{HEADER}\nindex {}\n", self.index);
        for hash in &self.hashes {
            out.push_str(&hash.to_base64());
            out.push('\n');
        }
        out.push('\n');
        out.push_str(&self.checkpoint);
        out
    }

    /// Reads a proof; an `extra` line is allowed and dropped. Checks nothing yet.
    ///
    /// # Errors
    /// [`ProofTextError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, ProofTextError> {
        let bad = ProofTextError::Malformed;
        if text.len() > MAX_TEXT_BYTES {
            return Err(bad("too long"));
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(bad("no blank line"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(bad("not a tlog-proof@v1"));
        }
        if lines.peek().is_some_and(|line| line.starts_with("extra ")) {
            lines.next();
        }
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(|index| index.parse::<u64>().ok().filter(|n| n.to_string() == index))
            .ok_or(bad("no index"))?;
        let mut hashes = Vec::new();
        for line in lines {
            if hashes.len() >= MAX_PROOF_HASHES {
                return Err(bad("too many hashes"));
            }
            hashes.push(Hash::from_base64(line).ok_or(bad("a line is not a hash"))?);
        }
        Ok(Self { index, hashes, checkpoint: checkpoint.to_owned() })
    }

    /// Checks that the entry with the hash `leaf` is in the log of `key`, and returns the
    /// checkpoint it was proved against.
    ///
    /// # Errors
    /// When the checkpoint is not signed by `key` or the proof does not hold.
    pub fn verify(&self, leaf: &Hash, key: &Verifier) -> Result<Checkpoint, ProofTextError> {
        let head = Checkpoint::open(self.checkpoint.as_bytes(), key)?;
        verify_inclusion(&self.hashes, self.index, leaf, head.size, &head.root)?;
        Ok(head)
    }
}
