//! Reading entries back, each proved against a signed checkpoint as it is read.

use std::collections::VecDeque;

use bytes::Bytes;
use tlog::{
    Checkpoint, Frontier, Hash, ProofPlan, ProofText, TILE_WIDTH, TileKind, TileNodes, TilePath,
    Verifier, decode_bundle, leaf_hash, tile_root,
};

use super::client::LogStore;
use super::error::StoreError;
use super::head::checkpoint_name;

/// A log as of one checkpoint. Everything it returns is under that checkpoint's signature; the
/// store is not trusted.
#[derive(Debug, Clone)]
pub struct Reader {
    log: LogStore,
    head: Checkpoint,
    edge: Frontier,
    /// The full tile read last on each level, known to be under the root.
    cache: Vec<Option<(u64, Vec<Hash>)>>,
}

impl Reader {
    /// Opens the log at its newest checkpoint, signed by `key`. `None` when it has none yet.
    ///
    /// # Errors
    /// When the checkpoint or the tiles at its edge are not what they must be.
    pub async fn open(log: &LogStore, key: &Verifier) -> Result<Option<Self>, StoreError> {
        match log.newest_checkpoint(key).await? {
            Some(head) => Self::at(log, head).await.map(Some),
            None => Ok(None),
        }
    }

    /// Opens the log at a checkpoint that the caller trusts.
    ///
    /// # Errors
    /// When the tiles at its edge do not lead to its root.
    pub async fn at(log: &LogStore, head: Checkpoint) -> Result<Self, StoreError> {
        let edge = log.frontier(&head).await?;
        Ok(Self { log: log.clone(), head, edge, cache: Vec::new() })
    }

    /// The checkpoint.
    #[must_use]
    pub const fn head(&self) -> &Checkpoint {
        &self.head
    }

    /// The entries `from..to`, as far as the checkpoint reaches.
    #[must_use]
    pub fn range(self, from: u64, to: u64) -> Entries {
        let to = to.min(self.head.size);
        Entries { reader: self, next: from, to, ready: VecDeque::new() }
    }

    /// The entries of bundle `index`, each compared with its hash under the root.
    async fn bundle(&mut self, index: u64) -> Result<Vec<Bytes>, StoreError> {
        let hashes = self.tile(0, index).await?;
        let width = u16::try_from(hashes.len()).unwrap_or(u16::MAX);
        let path = TilePath::new(TileKind::Entries, index, width).map(|path| path.to_string());
        let object = path.unwrap_or_default();
        let corrupt = |what: String| StoreError::Corrupt { object: self.log.name(&object), what };
        let bytes = self.log.get(&object).await?.ok_or_else(|| corrupt("is missing".to_owned()))?;
        let entries = decode_bundle(&bytes, width).map_err(|e| corrupt(e.to_string()))?;
        for (place, (entry, hash)) in entries.iter().zip(&hashes).enumerate() {
            if leaf_hash(entry) != *hash {
                let at = index * TILE_WIDTH + place as u64;
                return Err(corrupt(format!("entry {at} does not have the hash in the tree")));
            }
        }
        Ok(entries.iter().map(|entry| bytes.slice_ref(entry)).collect())
    }

    /// A hash tile that is known to be under the root: at the edge because the edge's root is
    /// the checkpoint's; elsewhere because its hash is in the tile above.
    async fn tile(&mut self, level: u8, index: u64) -> Result<Vec<Hash>, StoreError> {
        // Climb until a tile is trusted, then come down again.
        let mut climb = Vec::new();
        let (mut at, mut place) = (level, index);
        let mut trusted = loop {
            if let Some(tile) = self.known(at, place) {
                break tile;
            }
            climb.push((at, place));
            (at, place) = (at + 1, place / TILE_WIDTH);
        };
        while let Some((at, place)) = climb.pop() {
            let path = TilePath::in_tree(TileKind::Hashes(at), place, self.head.size);
            let object = path.map(|path| path.to_string()).unwrap_or_default();
            let corrupt = |what: &str| StoreError::Corrupt {
                object: self.log.name(&object),
                what: what.into(),
            };
            let tile = self.log.tile(path.ok_or_else(|| corrupt("not in this tree"))?).await?;
            let expected = usize::try_from(place % TILE_WIDTH).ok().and_then(|i| trusted.get(i));
            if expected != Some(&tile_root(&tile)) {
                return Err(corrupt("does not have the hash in the tile above"));
            }
            if self.cache.len() <= usize::from(at) {
                self.cache.resize(usize::from(at) + 1, None);
            }
            if let Some(slot) = self.cache.get_mut(usize::from(at)) {
                *slot = Some((place, tile.clone()));
            }
            trusted = tile;
        }
        Ok(trusted)
    }

    fn known(&self, level: u8, index: u64) -> Option<Vec<Hash>> {
        let shift = u32::from(level) * 8;
        let items = self.head.size.checked_shr(shift).unwrap_or(0);
        if index >= items / TILE_WIDTH {
            return Some(self.edge.hashes(level).to_vec());
        }
        match self.cache.get(usize::from(level)) {
            Some(Some((at, tile))) if *at == index => Some(tile.clone()),
            _ => None,
        }
    }

    /// The offline evidence (`c2sp.org/tlog-proof@v1`) that entry `index` is in the log.
    ///
    /// # Errors
    /// When a tile is missing, the proof does not hold, or there is no such entry.
    pub async fn prove(&mut self, index: u64) -> Result<ProofText, StoreError> {
        let object = self.log.name(&checkpoint_name(self.head.size));
        let corrupt = |what: String| StoreError::Corrupt { object: object.clone(), what };
        let plan =
            ProofPlan::inclusion(index, self.head.size).map_err(|e| corrupt(e.to_string()))?;
        let mut nodes = TileNodes::default();
        for path in plan.tiles() {
            if let TileKind::Hashes(level) = path.kind() {
                nodes.insert(path, self.tile(level, path.index()).await?);
            }
        }
        let hashes = plan.assemble(&nodes).map_err(|e| corrupt(e.to_string()))?;
        let relative = checkpoint_name(self.head.size);
        let note =
            self.log.get(&relative).await?.ok_or_else(|| corrupt("is missing".to_owned()))?;
        let checkpoint =
            String::from_utf8(note.to_vec()).map_err(|_| corrupt("is not text".to_owned()))?;
        Ok(ProofText { index, hashes, checkpoint })
    }
}

/// Entries in order, read a bundle at a time.
#[derive(Debug)]
pub struct Entries {
    reader: Reader,
    next: u64,
    to: u64,
    ready: VecDeque<Bytes>,
}

impl Entries {
    /// The next entry with its index; `None` at the end of the range.
    ///
    /// # Errors
    /// When an object is missing or not under the checkpoint; what was returned before stands.
    pub async fn next(&mut self) -> Result<Option<(u64, Bytes)>, StoreError> {
        if self.next >= self.to {
            return Ok(None);
        }
        if self.ready.is_empty() {
            let mut bundle = self.reader.bundle(self.next / TILE_WIDTH).await?;
            let skip = usize::try_from(self.next % TILE_WIDTH).unwrap_or(usize::MAX);
            self.ready = bundle.drain(skip.min(bundle.len())..).collect();
        }
        let entry = self.ready.pop_front();
        let index = self.next;
        self.next += 1;
        Ok(entry.map(|entry| (index, entry)))
    }

    /// The reader, for another range at the same checkpoint.
    #[must_use]
    pub fn into_reader(self) -> Reader {
        self.reader
    }
}
