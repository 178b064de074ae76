//! Tiles (C2SP tlog-tiles v0.1.0): the tree cut into files of up to 256 hashes.

use std::fmt;
use std::str::FromStr;

use crate::compact::{CompactRange, CompactRangeError};
use crate::hash::{HASH_LEN, Hash};

/// Hashes in a full tile, and entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;
/// Tree levels that one tile covers.
pub const TILE_HEIGHT: u8 = 8;
/// The highest tile level a path may name (tlog-tiles allows 0 to 63; a `u64` tree uses 0 to 7).
pub const MAX_TILE_LEVEL: u8 = 63;
/// The longest tile path we read, in bytes.
const MAX_PATH_BYTES: usize = 64;
const WIDTH_U16: u16 = 256;

/// A text is not the path of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a tile path")]
pub struct TilePathError;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// The entries themselves: an entry bundle.
    Entries,
    /// Hashes of nodes `8 * level` levels above the leaves.
    Hashes(u8),
}

/// The name of a tile or entry bundle. `Display` and `FromStr` use the path of tlog-tiles, as in
/// `tile/0/x001/x234/067` or `tile/entries/000.p/12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    kind: TileKind,
    index: u64,
    width: u16,
}

impl TilePath {
    /// A tile by its parts; `None` unless `width` is 1 to 256 and the level at most 63.
    #[must_use]
    pub const fn new(kind: TileKind, index: u64, width: u16) -> Option<Self> {
        let level_ok = match kind {
            TileKind::Entries => true,
            TileKind::Hashes(level) => level <= MAX_TILE_LEVEL,
        };
        if level_ok && width >= 1 && width <= WIDTH_U16 {
            Some(Self { kind, index, width })
        } else {
            None
        }
    }

    /// The tile that covers item `index * 256` on, as it is in a tree of `size` leaves; `None`
    /// when that tree has no such tile.
    #[must_use]
    pub fn in_tree(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let items = items_at(kind, size).checked_sub(index.checked_mul(TILE_WIDTH)?)?;
        Self::new(kind, index, u16::try_from(items.min(TILE_WIDTH)).ok()?)
    }

    /// What the tile holds.
    #[must_use]
    pub const fn kind(&self) -> TileKind {
        self.kind
    }

    /// The tile's place on its level: it starts at item `index * 256`.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Items in the tile, 1 to 256.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Whether the tile holds fewer than 256 items.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.width < WIDTH_U16
    }
}

/// Items (entries, or complete subtrees) on the level of `kind` in a tree of `size` leaves.
fn items_at(kind: TileKind, size: u64) -> u64 {
    match kind {
        TileKind::Entries => size,
        TileKind::Hashes(level) => {
            size.checked_shr(u32::from(level) * u32::from(TILE_HEIGHT)).unwrap_or(0)
        }
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Entries => f.write_str("tile/entries/")?,
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
        }
        let mut groups = Vec::new();
        let mut rest = self.index;
        loop {
            groups.push(rest % 1000);
            rest /= 1000;
            if rest == 0 {
                break;
            }
        }
        let last = groups.len() - 1;
        for (place, group) in groups.iter().rev().enumerate() {
            if place == last {
                write!(f, "{group:03}")?;
            } else {
                write!(f, "x{group:03}/")?;
            }
        }
        if self.is_partial() { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

impl FromStr for TilePath {
    type Err = TilePathError;

    fn from_str(path: &str) -> Result<Self, TilePathError> {
        parse_path(path)
            // Only one spelling is right: print it again and compare.
            .filter(|tile| path.len() <= MAX_PATH_BYTES && tile.to_string() == path)
            .ok_or(TilePathError)
    }
}

fn parse_path(path: &str) -> Option<TilePath> {
    if path.len() > MAX_PATH_BYTES {
        return None;
    }
    let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let kind = match kind {
        "entries" => TileKind::Entries,
        level => TileKind::Hashes(level.parse().ok()?),
    };
    let (number, width) = match rest.split_once(".p/") {
        Some((number, width)) => (number, width.parse().ok().filter(|w| *w < WIDTH_U16)?),
        None => (rest, WIDTH_U16),
    };
    let mut index: u64 = 0;
    for group in number.split('/') {
        let group: u64 = group.trim_start_matches('x').parse().ok()?;
        index = index.checked_mul(1000)?.checked_add(group)?;
    }
    TilePath::new(kind, index, width)
}

/// Every bundle and tile that must be written when a log's published size goes from `old` to
/// `new`: the full ones that became full, and the partial ones at the new right edge. Bundles
/// first, then hash tiles from the leaves up.
pub fn new_tiles(old: u64, new: u64) -> impl Iterator<Item = TilePath> {
    let kinds = std::iter::once(TileKind::Entries).chain((0..8).map(TileKind::Hashes));
    kinds.flat_map(move |kind| {
        let (from, to) = (items_at(kind, old), items_at(kind, new));
        let tiles = if to > from { from / TILE_WIDTH..to.div_ceil(TILE_WIDTH) } else { 0..0 };
        tiles.filter_map(move |index| TilePath::in_tree(kind, index, new))
    })
}

/// A tile of hashes does not have the length that its path says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a tile of {width} hashes is {expected} bytes, not {found}")]
pub struct TileLengthError {
    /// Hashes that should be there.
    pub width: u16,
    /// Bytes that should be there.
    pub expected: usize,
    /// Bytes that are there.
    pub found: usize,
}

/// The hashes in a hash tile.
///
/// # Errors
/// When `bytes` is not exactly `width` hashes.
pub fn decode_tile(bytes: &[u8], width: u16) -> Result<Vec<Hash>, TileLengthError> {
    let expected = usize::from(width) * HASH_LEN;
    let (chunks, rest) = bytes.as_chunks::<HASH_LEN>();
    if bytes.len() != expected || !rest.is_empty() {
        return Err(TileLengthError { width, expected, found: bytes.len() });
    }
    Ok(chunks.iter().map(|chunk| Hash(*chunk)).collect())
}

/// The bytes of a hash tile.
#[must_use]
pub fn encode_tile(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The Merkle tree hash over nodes as if they were leaves. For 256 of them: the tile's own hash,
/// as it stands in the tile above.
#[must_use]
pub fn tile_root(hashes: &[Hash]) -> Hash {
    let mut range = CompactRange::new();
    hashes.iter().for_each(|hash| range.push(*hash));
    range.root()
}

/// The right edge of a tiled tree: the not yet full tile of every level. Turns leaf hashes into
/// tiles, in memory bounded by 256 hashes a level.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

impl Frontier {
    /// The edge of the empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The partial hash tiles that make up the edge of a tree of `size` leaves: what
    /// [`Frontier::from_tiles`] needs, in its order.
    pub fn tiles_of(size: u64) -> impl Iterator<Item = TilePath> {
        (0..8).map(TileKind::Hashes).filter_map(move |kind| {
            TilePath::in_tree(kind, items_at(kind, size) / TILE_WIDTH, size)
        })
    }

    /// The edge of a tree of `size` leaves, from the hashes of the tiles of
    /// [`Frontier::tiles_of`]. The caller compares [`Frontier::root`] with a root it trusts.
    ///
    /// # Errors
    /// When a tile is missing or has another length.
    pub fn from_tiles(
        size: u64,
        mut tile: impl FnMut(TilePath) -> Option<Vec<Hash>>,
    ) -> Result<Self, CompactRangeError> {
        let mut levels = Vec::new();
        for path in Self::tiles_of(size) {
            let TileKind::Hashes(level) = path.kind() else { continue };
            let hashes = tile(path).unwrap_or_default();
            let (expected, found) = (usize::from(path.width()), hashes.len());
            if found != expected {
                return Err(CompactRangeError::PeakCount { size, expected, found });
            }
            levels.resize(usize::from(level), Vec::new());
            levels.push(hashes);
        }
        Ok(Self { size, levels })
    }

    /// Leaves in the tree.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of the partial tile on this level; empty when the edge has none there.
    #[must_use]
    pub fn hashes(&self, level: u8) -> &[Hash] {
        self.levels.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    /// Appends a leaf; `full` gets every hash tile that this leaf completes.
    pub fn push(&mut self, leaf: Hash, mut full: impl FnMut(TilePath, Vec<u8>)) {
        let mut hash = leaf;
        let mut level: u8 = 0;
        loop {
            let at = usize::from(level);
            if self.levels.len() <= at {
                self.levels.resize(at + 1, Vec::new());
            }
            let Some(tile) = self.levels.get_mut(at) else { break };
            tile.push(hash);
            if tile.len() < usize::from(WIDTH_U16) {
                break;
            }
            let shift = u32::from(level) * u32::from(TILE_HEIGHT);
            let index = (self.size >> shift) / TILE_WIDTH;
            if let Some(path) = TilePath::new(TileKind::Hashes(level), index, WIDTH_U16) {
                full(path, encode_tile(tile));
            }
            hash = tile_root(tile);
            tile.clear();
            level += 1;
        }
        self.size = self.size.saturating_add(1);
    }

    /// The partial hash tiles that a checkpoint of this size needs and one of `published` did
    /// not already have.
    #[must_use]
    pub fn partial_tiles(&self, published: u64) -> Vec<(TilePath, Vec<u8>)> {
        let grown =
            |path: &TilePath| items_at(path.kind, published) < items_at(path.kind, self.size);
        Self::tiles_of(self.size)
            .filter(grown)
            .filter_map(|path| {
                let TileKind::Hashes(level) = path.kind() else { return None };
                Some((path, encode_tile(self.levels.get(usize::from(level))?)))
            })
            .collect()
    }

    /// The same tree as a compact range.
    #[must_use]
    pub fn compact_range(&self) -> CompactRange {
        let mut peaks = Vec::new();
        for tile in self.levels.iter().rev() {
            let mut range = CompactRange::new();
            tile.iter().for_each(|hash| range.push(*hash));
            peaks.extend_from_slice(range.peaks());
        }
        // The widths are the base-256 digits of the size, so the peaks are one for each one bit.
        CompactRange::from_peaks(self.size, peaks).unwrap_or_default()
    }

    /// The tree's root.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.compact_range().root()
    }
}
