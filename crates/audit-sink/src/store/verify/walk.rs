//! The walk along the leaves: recomputes the tree and compares it with everything that is stored.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tlog::{
    BundleError, Checkpoint, Frontier, Hash, TILE_WIDTH, TileKind, TilePath, Verifier,
    decode_bundle, decode_tile, encode_tile, leaf_hash, tile_root,
};

use super::{Claim, Fault, Report, VerifyOptions, read_or_malformed};
use crate::store::client::LogStore;
use crate::store::error::StoreError;
use crate::store::head::checkpoint_name;

/// Bundles fetched ahead.
const PARALLEL: usize = 4;

pub(super) struct Walk<'l> {
    log: &'l LogStore,
    key: &'l Verifier,
    skip_superseded: bool,
    /// Sizes of all numbered checkpoints, ascending.
    sizes: Vec<u64>,
    head: Option<Checkpoint>,
    claims: BTreeMap<u64, Vec<Claim>>,
    tree: Frontier,
    /// Leaves are missing: nothing above can be recomputed from here on.
    broken: bool,
    /// The tile of level 1 that was read last, to settle who is right on level 0.
    parent: Option<(u64, Option<Vec<Hash>>)>,
}

/// What belongs to one bundle.
struct Piece {
    index: u64,
    bundle: Result<Option<Bytes>, Fault>,
    tile: Result<Option<Bytes>, Fault>,
    notes: Vec<(u64, Result<Option<Bytes>, Fault>)>,
}

impl<'l> Walk<'l> {
    pub(super) fn new(
        log: &'l LogStore,
        key: &'l Verifier,
        options: &VerifyOptions,
        sizes: Vec<u64>,
        head: Option<Checkpoint>,
        claims: BTreeMap<u64, Vec<Claim>>,
    ) -> Self {
        let skip_superseded = options.skip_superseded;
        let (tree, broken, parent) = (Frontier::new(), false, None);
        Self { log, key, skip_superseded, sizes, head, claims, tree, broken, parent }
    }

    fn size(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.size)
    }

    pub(super) async fn run(mut self, report: &mut Report) -> Result<(), StoreError> {
        let size = self.size();
        self.check_claims(Vec::new(), report);
        let unsigned: Vec<_> = self.sizes.iter().filter(|s| **s > size || **s == 0).collect();
        for at in unsigned {
            let note = read_or_malformed(self.log.get(&checkpoint_name(*at)).await)?;
            self.check_note(*at, note, report);
        }
        let (log, sizes) = (self.log.clone(), std::mem::take(&mut self.sizes));
        let mut pieces = stream::iter(0..size.div_ceil(TILE_WIDTH))
            .map(|index| {
                let (from, to) = (index * TILE_WIDTH, (index * TILE_WIDTH + TILE_WIDTH).min(size));
                let first = sizes.partition_point(|s| *s <= from);
                let last = sizes.partition_point(|s| *s <= to);
                let notes = sizes.get(first..last).unwrap_or_default().to_vec();
                fetch(log.clone(), index, size, notes)
            })
            .buffered(PARALLEL);
        while let Some(piece) = pieces.try_next().await? {
            self.piece(piece, report).await?;
        }
        drop(pieces);
        self.edge(report).await
    }

    /// One bundle with its tile.
    async fn piece(&mut self, piece: Piece, report: &mut Report) -> Result<(), StoreError> {
        let size = self.size();
        let tile_of = |kind| TilePath::in_tree(kind, piece.index, size);
        let (Some(bundle_path), Some(tile_path)) =
            (tile_of(TileKind::Entries), tile_of(TileKind::Hashes(0)))
        else {
            return Ok(());
        };
        report.tiles += 2;
        let bundle = leaf_hashes(&piece.bundle, bundle_path.width());
        let tile = match &piece.tile {
            Ok(Some(bytes)) => {
                decode_tile(bytes, tile_path.width()).map_err(|e| Fault::Malformed(e.to_string()))
            }
            Ok(None) => Err(Fault::Missing),
            Err(fault) => Err(fault.clone()),
        };
        let leaves = self.settle(bundle_path, bundle, tile_path, tile, report).await?;
        if let Some(leaves) = &leaves {
            self.superseded(bundle_path, leaves, report).await?;
            self.superseded(tile_path, leaves, report).await?;
        }
        let leaves = leaves.unwrap_or_else(|| {
            self.broken = true;
            vec![Hash::EMPTY_ROOT; usize::from(bundle_path.width())]
        });
        report.entries += leaves.len() as u64;
        let mut notes = piece.notes.into_iter().peekable();
        let mut full = Vec::new();
        for leaf in leaves {
            self.tree.push(leaf, |path, bytes| full.push((path, bytes)));
            let at = self.tree.size();
            let mut due = Vec::new();
            while let Some((_, note)) = notes.next_if(|(size, _)| *size == at) {
                due.push(note);
            }
            self.check_claims(due, report);
        }
        for (path, bytes) in full {
            if path.kind() != TileKind::Hashes(0) {
                self.upper_tile(path, &bytes, report).await?;
            }
        }
        Ok(())
    }

    /// Decides which leaf hashes are the tree's, and reports whatever disagrees. `None`: neither
    /// bundle nor tile can be used.
    async fn settle(
        &mut self,
        bundle_path: TilePath,
        bundle: Result<Vec<Hash>, (usize, Fault)>,
        tile_path: TilePath,
        tile: Result<Vec<Hash>, Fault>,
        report: &mut Report,
    ) -> Result<Option<Vec<Hash>>, StoreError> {
        let first = bundle_path.index() * TILE_WIDTH;
        let objects = (self.name(bundle_path), self.name(tile_path));
        match (bundle, tile) {
            (Ok(bundle), Ok(tile)) if bundle == tile => Ok(Some(bundle)),
            (Ok(bundle), Ok(tile)) => {
                let differs: Vec<usize> = (0..bundle.len())
                    .filter(|place| bundle.get(*place) != tile.get(*place))
                    .collect();
                let place = differs.first().copied().unwrap_or(0);
                let entry = Some(first + place as u64);
                if self.fits(tile_path, &bundle).await? {
                    report.fail(objects.1, entry, Fault::TileHash { position: place });
                    Ok(Some(bundle))
                } else if self.fits(tile_path, &tile).await? {
                    let more = differs.len().saturating_sub(1);
                    report.fail(objects.0, entry, Fault::Entry { more });
                    Ok(Some(tile))
                } else {
                    report.fail(objects.0, entry, Fault::Disagree);
                    report.fail(objects.1, entry, Fault::Disagree);
                    Ok(Some(bundle))
                }
            }
            (Ok(bundle), Err(fault)) => {
                report.fail(objects.1, Some(first), fault);
                Ok(Some(bundle))
            }
            (Err((place, fault)), tile) => {
                report.fail(objects.0, Some(first + place as u64), fault);
                match tile {
                    Ok(tile) => Ok(Some(tile)),
                    Err(fault) => {
                        report.fail(objects.1, Some(first), fault);
                        Ok(None)
                    }
                }
            }
        }
    }

    /// Whether these leaves fit the tree above: the stored parent for a full tile, the signed
    /// root for the last.
    async fn fits(&mut self, tile: TilePath, leaves: &[Hash]) -> Result<bool, StoreError> {
        if tile.is_partial() {
            let mut tree = self.tree.clone();
            leaves.iter().for_each(|leaf| tree.push(*leaf, |_, _| ()));
            return Ok(self.head.as_ref().is_some_and(|head| head.root == tree.root()));
        }
        let (above, place) = (tile.index() / TILE_WIDTH, tile.index() % TILE_WIDTH);
        if self.parent.as_ref().is_none_or(|(index, _)| *index != above) {
            let path = TilePath::in_tree(TileKind::Hashes(1), above, self.size());
            let hashes = match path {
                Some(path) => match read_or_malformed(self.log.get(&path.to_string()).await)? {
                    Ok(Some(bytes)) => decode_tile(&bytes, path.width()).ok(),
                    _ => None,
                },
                None => None,
            };
            self.parent = Some((above, hashes));
        }
        let parent = self.parent.as_ref().and_then(|(_, hashes)| hashes.as_ref());
        let expected = parent.and_then(|hashes| hashes.get(usize::try_from(place).ok()?));
        Ok(expected == Some(&tile_root(leaves)))
    }

    /// The partial forms of a tile or bundle that were published on the way.
    async fn superseded(
        &self,
        path: TilePath,
        hashes: &[Hash],
        report: &mut Report,
    ) -> Result<(), StoreError> {
        if self.skip_superseded {
            return Ok(());
        }
        let Some(full) = TilePath::new(path.kind(), path.index(), 256) else { return Ok(()) };
        let mut partial = Vec::new();
        self.log
            .list(&format!("{full}.p"), None, |name| partial.extend(name.parse::<TilePath>()))
            .await?;
        for old in partial.into_iter().filter(|old| old.width() < path.width()) {
            let bytes = read_or_malformed(self.log.get(&old.to_string()).await)?;
            report.tiles += 1;
            let expected = hashes.get(..usize::from(old.width())).unwrap_or_default();
            self.compare(old, &bytes, expected, report);
        }
        Ok(())
    }

    /// Compares one stored tile or bundle with the hashes it must have.
    fn compare(
        &self,
        path: TilePath,
        bytes: &Result<Option<Bytes>, Fault>,
        expected: &[Hash],
        report: &mut Report,
    ) {
        let shift = match path.kind() {
            TileKind::Entries => 0,
            TileKind::Hashes(level) => u32::from(level) * 8,
        };
        let entry = |place: usize| Some((path.index() * TILE_WIDTH + place as u64) << shift);
        let found = match (path.kind(), bytes) {
            (TileKind::Entries, bytes) => leaf_hashes(bytes, path.width()),
            (TileKind::Hashes(_), Ok(Some(bytes))) => {
                decode_tile(bytes, path.width()).map_err(|e| (0, Fault::Malformed(e.to_string())))
            }
            (TileKind::Hashes(_), Ok(None)) => Err((0, Fault::Missing)),
            (TileKind::Hashes(_), Err(fault)) => Err((0, fault.clone())),
        };
        let (place, fault) = match found {
            Err(wrong) => wrong,
            Ok(found) => {
                let differs = |place: &usize| found.get(*place) != expected.get(*place);
                let mut wrong = (0..expected.len()).filter(differs);
                let Some(position) = wrong.next() else { return };
                match path.kind() {
                    TileKind::Entries => (position, Fault::Entry { more: wrong.count() }),
                    TileKind::Hashes(_) => (position, Fault::TileHash { position }),
                }
            }
        };
        report.fail(self.name(path), entry(place), fault);
    }

    /// A tile above the leaves, as recomputed.
    async fn upper_tile(
        &self,
        path: TilePath,
        bytes: &[u8],
        report: &mut Report,
    ) -> Result<(), StoreError> {
        if self.broken {
            return Ok(());
        }
        let Ok(expected) = decode_tile(bytes, path.width()) else { return Ok(()) };
        let stored = read_or_malformed(self.log.get(&path.to_string()).await)?;
        report.tiles += 1;
        self.compare(path, &stored, &expected, report);
        self.superseded(path, &expected, report).await
    }

    /// The partial tiles above the leaves at the tree's edge.
    async fn edge(self, report: &mut Report) -> Result<(), StoreError> {
        for path in Frontier::tiles_of(self.tree.size()) {
            match path.kind() {
                TileKind::Hashes(level) if level > 0 => {
                    let bytes = encode_tile(self.tree.hashes(level));
                    self.upper_tile(path, &bytes, report).await?;
                }
                _ => {}
            }
        }
        if self.broken {
            report.note("leaves are missing: roots and tiles after them were not checked".into());
        }
        Ok(())
    }

    /// Compares the tree as far as it is now with every root signed for its size.
    fn check_claims(&mut self, notes: Vec<Result<Option<Bytes>, Fault>>, report: &mut Report) {
        let size = self.tree.size();
        for note in notes {
            self.check_note(size, note, report);
        }
        let Some(claims) = self.claims.remove(&size) else { return };
        let root = self.tree.root();
        for claim in claims {
            if claim.root != root && !self.broken {
                report.fail(claim.object, size.checked_sub(1), Fault::Root);
            }
        }
    }

    fn check_note(&self, size: u64, note: Result<Option<Bytes>, Fault>, report: &mut Report) {
        report.checkpoints += 1;
        let object = self.log.name(&checkpoint_name(size));
        let entry = size.checked_sub(1);
        let checkpoint = match note {
            Ok(Some(note)) => Checkpoint::open(&note, self.key),
            Ok(None) => return report.fail(object, entry, Fault::Missing),
            Err(fault) => return report.fail(object, entry, fault),
        };
        match checkpoint {
            Err(error) => report.fail(object, entry, Fault::Signature(error.to_string())),
            Ok(found) if found.size != size => {
                report.fail(object, entry, Fault::Malformed("says another size".to_owned()));
            }
            Ok(found) if size == self.tree.size() && !self.broken => {
                if found.root != self.tree.root() {
                    report.fail(object, entry, Fault::Root);
                }
            }
            Ok(_) => {}
        }
    }

    fn name(&self, path: TilePath) -> String {
        self.log.name(&path.to_string())
    }
}

async fn fetch(log: LogStore, index: u64, size: u64, sizes: Vec<u64>) -> Result<Piece, StoreError> {
    let get = async |kind| match TilePath::in_tree(kind, index, size) {
        Some(path) => read_or_malformed(log.get(&path.to_string()).await),
        None => Ok(Ok(None)),
    };
    let bundle = get(TileKind::Entries).await?;
    let tile = get(TileKind::Hashes(0)).await?;
    let mut notes = Vec::new();
    for size in sizes {
        notes.push((size, read_or_malformed(log.get(&checkpoint_name(size)).await)?));
    }
    Ok(Piece { index, bundle, tile, notes })
}

/// The leaf hashes of a stored bundle, or at which entry it stops making sense.
fn leaf_hashes(
    bytes: &Result<Option<Bytes>, Fault>,
    width: u16,
) -> Result<Vec<Hash>, (usize, Fault)> {
    match bytes {
        Ok(Some(bytes)) => match decode_bundle(bytes, width) {
            Ok(entries) => Ok(entries.iter().map(|entry| leaf_hash(entry)).collect()),
            Err(error) => {
                let place = match error {
                    BundleError::Truncated(place) => place,
                    _ => usize::from(width).saturating_sub(1),
                };
                Err((place, Fault::Malformed(error.to_string())))
            }
        },
        Ok(None) => Err((0, Fault::Missing)),
        Err(fault) => Err((0, fault.clone())),
    }
}
