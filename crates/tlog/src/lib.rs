//! RFC 6962 Merkle trees and the C2SP tlog formats, without I/O and without async.
//!
//! An append-only log is a list of **entries**. Each is hashed into a **leaf**, the leaves into a
//! **tree** (RFC 6962 section 2.1), and the tree's root, with its size and the log's name, is
//! signed: the **checkpoint**. Who remembers one checkpoint can tell whether any later state of
//! the log still holds everything it held then.
//!
//! What is here, by format:
//!
//! * [`leaf_hash`], [`node_hash`], [`CompactRange`]: the tree's right edge, for appending.
//! * [`Signer`], [`Verifier`], [`SignedNote`]: C2SP signed-note v1.0.0 with Ed25519.
//! * [`Checkpoint`]: C2SP tlog-checkpoint v1.0.0.
//! * [`TilePath`], [`Frontier`], [`encode_bundle`], [`decode_bundle`]: C2SP tlog-tiles v0.1.0.
//! * [`ProofPlan`], [`verify_inclusion`], [`verify_consistency`]: RFC 6962 and RFC 9162 proofs.
//! * [`ProofText`]: C2SP tlog-proof v1, an entry's evidence in one file.
//!
//! ```
//! use tlog::{Checkpoint, CompactRange, Signer, leaf_hash};
//!
//! let signer = Signer::generate("example.org/log")?;
//! let mut tree = CompactRange::new();
//! for entry in ["first", "second", "third"] {
//!     tree.push(leaf_hash(entry.as_bytes()));
//! }
//! let head = Checkpoint { origin: signer.name().into(), size: tree.size(), root: tree.root() };
//! let note = head.sign(&signer)?;
//! assert_eq!(Checkpoint::open(note.as_bytes(), signer.verifier())?, head);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bundle;
mod checkpoint;
mod compact;
mod hash;
mod key;
mod note;
mod proof;
mod proof_text;
mod tile;

pub use bundle::{
    BundleError, MAX_BUNDLE_BYTES, MAX_ENTRY_BYTES, decode_bundle, encode_bundle, push_entry,
    split_entry,
};
pub use checkpoint::{Checkpoint, CheckpointError, MAX_TREE_SIZE};
pub use compact::{CompactRange, CompactRangeError};
pub use hash::{HASH_LEN, Hash, leaf_hash, node_hash, sha256};
pub use key::{KEY_LEN, KeyError, MAX_NAME_BYTES, SIGNATURE_LEN, SecretBytes, Signer, Verifier};
pub use note::{MAX_NOTE_BYTES, MAX_SIGNATURES, NoteError, NoteSignature, SignedNote};
pub use proof::{
    MAX_PROOF_HASHES, Node, NodeReader, ProofError, ProofPlan, TileNodes, verify_consistency,
    verify_inclusion,
};
pub use proof_text::{ProofText, ProofTextError};
pub use tile::{
    Frontier, MAX_TILE_LEVEL, TILE_HEIGHT, TILE_WIDTH, TileKind, TileLengthError, TilePath,
    TilePathError, decode_tile, encode_tile, new_tiles, tile_root,
};
