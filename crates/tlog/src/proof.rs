//! Inclusion and consistency proofs (RFC 6962 section 2.1, RFC 9162 section 2.1).
//!
//! A proof is planned first ([`ProofPlan`]), which says what nodes or tiles it needs, and put
//! together when the caller has fetched them: so that the caller decides how to read.

use std::collections::HashMap;

use crate::hash::{Hash, node_hash};
use crate::tile::{TILE_HEIGHT, TILE_WIDTH, TileKind, TilePath, tile_root};

/// More hashes than any proof in a tree of up to 2^64 leaves has.
pub const MAX_PROOF_HASHES: usize = 64;

/// Why a proof cannot be made, or does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The index is not below the size, or the old size is above the new.
    #[error("no such leaf or size in this tree")]
    Range,
    /// The proof has too few or too many hashes for these sizes.
    #[error("the proof has the wrong number of hashes")]
    Length,
    /// The proof leads to another root than the one given.
    #[error("the proof does not lead to the given root")]
    Mismatch,
    /// The reader does not have a node that the proof needs.
    #[error("node {index} on level {level} is not at hand")]
    Missing {
        /// Height of the node above the leaves.
        level: u8,
        /// Its place on that level.
        index: u64,
    },
}

/// A complete subtree: leaves `index << level` up to `(index + 1) << level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node {
    /// Height above the leaves.
    pub level: u8,
    /// Place on that level, from the left.
    pub index: u64,
}

impl Node {
    /// The hash tile that holds this node (or the nodes it is made of) in a tree of `size`.
    #[must_use]
    pub fn tile(&self, size: u64) -> Option<TilePath> {
        let kind = TileKind::Hashes(self.level / TILE_HEIGHT);
        let first = self.index.checked_shl(u32::from(self.level % TILE_HEIGHT))?;
        TilePath::in_tree(kind, first / TILE_WIDTH, size)
    }
}

/// Gives the hashes of complete subtrees.
pub trait NodeReader {
    /// The hash of one node, or `None` when it is not at hand.
    fn node(&self, node: Node) -> Option<Hash>;
}

/// Hash tiles in memory, as a [`NodeReader`].
#[derive(Debug, Default)]
pub struct TileNodes {
    tiles: HashMap<(u8, u64), Vec<Hash>>,
}

impl TileNodes {
    /// Adds the hashes of a tile. Entry bundles are ignored.
    pub fn insert(&mut self, path: TilePath, hashes: Vec<Hash>) {
        if let TileKind::Hashes(level) = path.kind() {
            self.tiles.insert((level, path.index()), hashes);
        }
    }
}

impl NodeReader for TileNodes {
    fn node(&self, node: Node) -> Option<Hash> {
        let height = u32::from(node.level % TILE_HEIGHT);
        let first = node.index.checked_shl(height)?;
        let tile = self.tiles.get(&(node.level / TILE_HEIGHT, first / TILE_WIDTH))?;
        let start = usize::try_from(first % TILE_WIDTH).ok()?;
        tile.get(start..start + (1usize << height)).map(tile_root)
    }
}

/// The nodes that a proof is made of, before they are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofPlan {
    size: u64,
    /// For each hash of the proof, the nodes that fold into it, leftmost first.
    hashes: Vec<Vec<Node>>,
}

impl ProofPlan {
    /// The plan of the proof that leaf `index` is in the tree of `size` leaves
    /// (`PATH(m, D[n])`).
    ///
    /// # Errors
    /// [`ProofError::Range`].
    pub fn inclusion(index: u64, size: u64) -> Result<Self, ProofError> {
        if index >= size {
            return Err(ProofError::Range);
        }
        let (mut lo, mut hi) = (0, size);
        let mut hashes = Vec::new();
        while hi - lo > 1 {
            let middle = lo + split_point(hi - lo);
            if index < middle {
                hashes.push(nodes_of(middle, hi));
                hi = middle;
            } else {
                hashes.push(nodes_of(lo, middle));
                lo = middle;
            }
        }
        hashes.reverse();
        Ok(Self { size, hashes })
    }

    /// The plan of the proof that the tree of `size` leaves begins with the tree of `old`
    /// (`PROOF(m, D[n])`). Empty when `old` is 0 or `size`.
    ///
    /// # Errors
    /// [`ProofError::Range`].
    pub fn consistency(old: u64, size: u64) -> Result<Self, ProofError> {
        if old > size {
            return Err(ProofError::Range);
        }
        let (mut lo, mut hi) = (0, size);
        let mut hashes = Vec::new();
        while old > 0 && old < hi {
            let middle = lo + split_point(hi - lo);
            if old <= middle {
                hashes.push(nodes_of(middle, hi));
                hi = middle;
            } else {
                hashes.push(nodes_of(lo, middle));
                lo = middle;
            }
        }
        // The verifier knows the old root already, unless the old tree ends in a smaller subtree.
        if lo > 0 {
            hashes.push(nodes_of(lo, hi));
        }
        hashes.reverse();
        Ok(Self { size, hashes })
    }

    /// The nodes to read.
    pub fn nodes(&self) -> impl Iterator<Item = Node> {
        self.hashes.iter().flatten().copied()
    }

    /// The hash tiles to read, each once, as they are in the tree of this plan's size.
    #[must_use]
    pub fn tiles(&self) -> Vec<TilePath> {
        let mut tiles: Vec<_> = self.nodes().filter_map(|node| node.tile(self.size)).collect();
        tiles.sort_unstable();
        tiles.dedup();
        tiles
    }

    /// The proof.
    ///
    /// # Errors
    /// [`ProofError::Missing`].
    pub fn assemble(&self, reader: &impl NodeReader) -> Result<Vec<Hash>, ProofError> {
        self.hashes.iter().map(|nodes| fold(nodes, reader)).collect()
    }
}

/// The largest power of two below `n`, for `n > 1`.
fn split_point(n: u64) -> u64 {
    1u64.checked_shl(63 - (n - 1).leading_zeros()).unwrap_or(1)
}

/// The complete subtrees of leaves `lo..hi`, where `lo` is a multiple of a power of two that is
/// at least `hi - lo`.
fn nodes_of(lo: u64, hi: u64) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut at = lo;
    while at < hi {
        let level = 63 - (hi - at).leading_zeros();
        nodes.push(Node { level: level as u8, index: at >> level });
        at += 1 << level;
    }
    nodes
}

fn fold(nodes: &[Node], reader: &impl NodeReader) -> Result<Hash, ProofError> {
    let mut out: Option<Hash> = None;
    for node in nodes.iter().rev() {
        let missing = ProofError::Missing { level: node.level, index: node.index };
        let hash = reader.node(*node).ok_or(missing)?;
        out = Some(out.map_or(hash, |right| node_hash(&hash, &right)));
    }
    out.ok_or(ProofError::Length)
}

/// Checks that `leaf` is leaf `index` of the tree with this size and root (RFC 9162 2.1.3.2).
///
/// # Errors
/// When it is not, or the proof has another shape.
pub fn verify_inclusion(
    proof: &[Hash],
    index: u64,
    leaf: &Hash,
    size: u64,
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Range);
    }
    let (mut fnode, mut snode) = (index, size - 1);
    let mut hash = *leaf;
    for step in proof {
        if snode == 0 {
            return Err(ProofError::Length);
        }
        if fnode & 1 == 1 || fnode == snode {
            hash = node_hash(step, &hash);
            while fnode & 1 == 0 && fnode != 0 {
                fnode >>= 1;
                snode >>= 1;
            }
        } else {
            hash = node_hash(&hash, step);
        }
        fnode >>= 1;
        snode >>= 1;
    }
    match (snode, hash == *root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Mismatch),
        _ => Err(ProofError::Length),
    }
}

/// Checks that the tree with size `new.0` and root `new.1` begins with the tree `old`
/// (RFC 9162 2.1.4.2). Every tree begins with the empty one.
///
/// # Errors
/// When it does not, or the proof has another shape.
pub fn verify_consistency(
    proof: &[Hash],
    old: (u64, &Hash),
    new: (u64, &Hash),
) -> Result<(), ProofError> {
    let ((old_size, old_root), (new_size, new_root)) = (old, new);
    if old_size > new_size {
        return Err(ProofError::Range);
    }
    if old_size == new_size || old_size == 0 {
        let same = if old_size == 0 { Hash::EMPTY_ROOT } else { *new_root };
        return match (proof.is_empty(), *old_root == same) {
            (true, true) => Ok(()),
            (true, false) => Err(ProofError::Mismatch),
            (false, _) => Err(ProofError::Length),
        };
    }
    let (mut fnode, mut snode) = (old_size - 1, new_size - 1);
    while fnode & 1 == 1 {
        fnode >>= 1;
        snode >>= 1;
    }
    let mut steps = proof.iter();
    // A whole old tree is itself the first subtree: then the proof leaves it out.
    let first = if old_size.is_power_of_two() { Some(old_root) } else { steps.next() };
    let first = *first.ok_or(ProofError::Length)?;
    let (mut old_hash, mut new_hash) = (first, first);
    for step in steps {
        if snode == 0 {
            return Err(ProofError::Length);
        }
        if fnode & 1 == 1 || fnode == snode {
            old_hash = node_hash(step, &old_hash);
            new_hash = node_hash(step, &new_hash);
            while fnode & 1 == 0 && fnode != 0 {
                fnode >>= 1;
                snode >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, step);
        }
        fnode >>= 1;
        snode >>= 1;
    }
    match (snode, old_hash == *old_root && new_hash == *new_root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Mismatch),
        _ => Err(ProofError::Length),
    }
}
