//! One publication, worked out in memory before anything is written.

use bytes::Bytes;
use tlog::{
    Checkpoint, CompactRange, Frontier, Hash, MAX_BUNDLE_BYTES, TILE_WIDTH, TileKind, TilePath,
    decode_bundle, leaf_hash, push_entry,
};

use crate::store::client::LogStore;
use crate::store::error::StoreError;
use crate::store::source::Source;

/// Entries in one publication at most; more are published in several.
pub(crate) const MAX_STEP_ENTRIES: u64 = 16_384;
/// Bytes of entries in one publication at most (and at least one entry).
pub(crate) const MAX_STEP_BYTES: usize = 16 << 20;
/// Bytes that are read from the ring at a time.
const READ_BYTES: usize = 4 << 20;

/// The log as far as it has been worked out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edge {
    pub(crate) tree: Frontier,
    /// Bytes of the bundle that is not full yet.
    pub(crate) bundle: Vec<u8>,
}

/// The objects of one publication, in the order in which they must be written.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) bundles: Vec<(String, Bytes)>,
    pub(crate) tiles: Vec<(String, Bytes)>,
}

impl Edge {
    /// The edge of the log under `head`, read back from the store and proved by its root.
    pub(crate) async fn load(log: &LogStore, head: &Checkpoint) -> Result<Self, StoreError> {
        let tree = log.frontier(head).await?;
        let Some(path) = TilePath::in_tree(TileKind::Entries, head.size / TILE_WIDTH, head.size)
        else {
            return Ok(Self { tree, bundle: Vec::new() });
        };
        let object = path.to_string();
        let corrupt = |what: String| StoreError::Corrupt { object: log.name(&object), what };
        let bundle = log.get(&object).await?.ok_or_else(|| corrupt("is missing".to_owned()))?;
        let entries = decode_bundle(&bundle, path.width()).map_err(|e| corrupt(e.to_string()))?;
        if entries.iter().map(|entry| leaf_hash(entry)).ne(tree.hashes(0).iter().copied()) {
            return Err(corrupt("an entry does not have the hash in its tile".to_owned()));
        }
        Ok(Self { tree, bundle: bundle.to_vec() })
    }

    /// Appends the ring's entries up to `to` (or fewer, if they are large) and returns what must
    /// be written for that. Blocks on the ring's file.
    pub(crate) fn extend(&mut self, source: &dyn Source, to: u64) -> Result<Batch, StoreError> {
        let from = self.tree.size();
        let mut batch = Batch::default();
        let mut bytes = 0;
        while self.tree.size() < to && bytes < MAX_STEP_BYTES {
            for entry in read(source, self.tree.size(), to)? {
                bytes += entry.len();
                self.push(&entry, &mut batch)?;
            }
        }
        let size = self.tree.size();
        if let Some(path) = TilePath::in_tree(TileKind::Entries, size / TILE_WIDTH, size)
            && size > from
        {
            batch.bundles.push((path.to_string(), Bytes::copy_from_slice(&self.bundle)));
        }
        for (path, bytes) in self.tree.partial_tiles(from) {
            batch.tiles.push((path.to_string(), bytes.into()));
        }
        Ok(batch)
    }

    fn push(&mut self, entry: &[u8], batch: &mut Batch) -> Result<(), StoreError> {
        push_entry(&mut self.bundle, entry)?;
        let tiles = &mut batch.tiles;
        self.tree
            .push(leaf_hash(entry), |path, bytes| tiles.push((path.to_string(), bytes.into())));
        let size = self.tree.size();
        if size.is_multiple_of(TILE_WIDTH)
            && let Some(path) = TilePath::in_tree(TileKind::Entries, size / TILE_WIDTH - 1, size)
        {
            let bundle = std::mem::take(&mut self.bundle);
            batch.bundles.push((path.to_string(), bundle.into()));
        }
        debug_assert!(self.bundle.len() <= MAX_BUNDLE_BYTES);
        Ok(())
    }
}

/// Entries `from..to` or the first of them, checked to be in order and without gaps.
fn read(source: &dyn Source, from: u64, to: u64) -> Result<Vec<Bytes>, StoreError> {
    let wrong = |what: &str| StoreError::Source(std::io::Error::other(what.to_owned()));
    let mut entries = Vec::new();
    for (next, (index, entry)) in
        (from..to).zip(source.read(from, READ_BYTES).map_err(StoreError::Source)?)
    {
        if index != next {
            return Err(wrong("the ring's entries are not in order"));
        }
        entries.push(entry);
    }
    if entries.is_empty() { Err(wrong("the ring has no entry at that index")) } else { Ok(entries) }
}

/// The root of the tree of `to` entries: `tree`, and the rest from the ring. Blocks on the ring's
/// file.
pub(crate) fn root_at(
    mut tree: CompactRange,
    source: &dyn Source,
    to: u64,
) -> Result<Hash, StoreError> {
    while tree.size() < to {
        for entry in read(source, tree.size(), to)? {
            tree.push(leaf_hash(&entry));
        }
    }
    Ok(tree.root())
}
