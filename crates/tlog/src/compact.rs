//! The right edge of a tree: all that is needed to append and to know the root.

use crate::hash::{HASH_LEN, Hash, node_hash};

/// Why bytes are not a [`CompactRange`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompactRangeError {
    /// The number of peaks is not the number of one bits in the size.
    #[error("a tree of {size} leaves has {expected} peaks, not {found}")]
    PeakCount {
        /// Leaves in the tree.
        size: u64,
        /// Peaks that such a tree has.
        expected: usize,
        /// Peaks given.
        found: usize,
    },
    /// Shorter than the size field, or not a whole number of hashes.
    #[error("{0} bytes are not a serialised compact range")]
    Length(usize),
}

/// A Merkle tree reduced to the roots of its complete subtrees ("peaks").
///
/// Appending is O(log n) at worst and O(1) on average; memory is at most 64 hashes.
/// The tree is the one of RFC 6962 section 2.1.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompactRange {
    size: u64,
    /// Largest (leftmost) subtree first; one for each one bit of `size`.
    peaks: Vec<Hash>,
}

impl CompactRange {
    /// The empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree from its size and peaks, the largest (leftmost) first.
    ///
    /// # Errors
    /// The number of peaks must be the number of one bits in `size`.
    pub fn from_peaks(size: u64, peaks: Vec<Hash>) -> Result<Self, CompactRangeError> {
        let expected = size.count_ones() as usize;
        if peaks.len() == expected {
            Ok(Self { size, peaks })
        } else {
            Err(CompactRangeError::PeakCount { size, expected, found: peaks.len() })
        }
    }

    /// Leaves in the tree.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, the largest (leftmost) first.
    #[must_use]
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Appends a leaf by its [`leaf_hash`](crate::leaf_hash).
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        let mut rest = self.size;
        while rest & 1 == 1 {
            // One peak exists for each one bit, so the pop cannot come up empty.
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
            rest >>= 1;
        }
        self.peaks.push(hash);
        self.size = self.size.saturating_add(1);
    }

    /// The root: [`Hash::EMPTY_ROOT`] when there are no leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => Hash::EMPTY_ROOT,
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }

    /// `size` as 8 big-endian bytes, then the peaks.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + self.peaks.len() * HASH_LEN);
        out.extend_from_slice(&self.size.to_be_bytes());
        self.peaks.iter().for_each(|peak| out.extend_from_slice(&peak.0));
        out
    }

    /// The inverse of [`CompactRange::to_bytes`]; the whole slice must be used up.
    ///
    /// # Errors
    /// When the length does not fit the size it begins with.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CompactRangeError> {
        let (size, rest) =
            bytes.split_first_chunk::<8>().ok_or(CompactRangeError::Length(bytes.len()))?;
        let (chunks, tail) = rest.as_chunks::<HASH_LEN>();
        if !tail.is_empty() {
            return Err(CompactRangeError::Length(bytes.len()));
        }
        let size = u64::from_be_bytes(*size);
        let expected = size.count_ones() as usize;
        if chunks.len() != expected {
            return Err(CompactRangeError::PeakCount { size, expected, found: chunks.len() });
        }
        Ok(Self { size, peaks: chunks.iter().map(|chunk| Hash(*chunk)).collect() })
    }
}
