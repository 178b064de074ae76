//! The signed objects of a log: numbered checkpoints and epochs.

use bytes::Bytes;
use tlog::{
    Checkpoint, CheckpointError, Frontier, Hash, NoteError, SignedNote, Signer, TilePath, Verifier,
    decode_tile,
};

use super::client::LogStore;
use super::error::StoreError;

/// The convenience copy of the newest checkpoint, overwritten; nothing trusts it.
pub(crate) const LATEST: &str = "checkpoint";
/// Folder of the numbered checkpoints.
pub(crate) const CHECKPOINTS: &str = "checkpoints";
/// Folder of the epoch claims.
pub(crate) const EPOCHS: &str = "epoch";
/// Digits in the name of a numbered checkpoint or epoch.
const DIGITS: usize = 20;
/// First line of an epoch claim. No log's origin is this, so it can't pass for a checkpoint.
const EPOCH_HEADER: &str = "greffier epoch v1";
/// The longest description of a writer in an epoch claim, in bytes.
pub const MAX_WRITER_BYTES: usize = 512;

pub(crate) fn checkpoint_name(size: u64) -> String {
    format!("{CHECKPOINTS}/{size:020}")
}

pub(crate) fn epoch_name(epoch: u64) -> String {
    format!("{EPOCHS}/{epoch:020}")
}

fn random() -> Result<Hash, StoreError> {
    let mut bytes = [0u8; tlog::HASH_LEN];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| tlog::KeyError::Crypto)?;
    Ok(Hash(bytes))
}

/// The number in a name of `folder`, if it is spelled as we spell it.
pub(crate) fn number_in(folder: &str, name: &str) -> Option<u64> {
    let digits = name.strip_prefix(folder)?.strip_prefix('/')?;
    let plain = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// A writer's claim on a log: object `epoch/<n>`, create-only and signed by the log's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// The claim's number, from 1, without gaps.
    pub number: u64,
    /// Size of the writer's tree when it claimed.
    pub size: u64,
    /// Root of that tree.
    pub root: Hash,
    /// Who claims: instance, host, boot; free text on one line.
    pub writer: String,
    /// Random, so that no two claims are the same bytes even if all else is equal.
    pub nonce: Hash,
}

impl Epoch {
    fn encode(&self, origin: &str) -> String {
        format!(
            "{EPOCH_HEADER}\n{origin}\n{}\n{}\n{}\n{}\n{}\n",
            self.number,
            self.size,
            self.root.to_base64(),
            self.writer,
            self.nonce.to_base64()
        )
    }

    /// Reads a claim and checks the signature of `key`.
    ///
    /// # Errors
    /// When it is malformed, another log's, or not signed by `key`.
    pub fn open(bytes: &[u8], key: &Verifier) -> Result<Self, CheckpointError> {
        let note = SignedNote::parse(bytes)?;
        note.verify(std::slice::from_ref(key))?;
        let read = || {
            let mut lines = note.text().split('\n');
            let mut next = || lines.next();
            let (EPOCH_HEADER, origin) = (next()?, next()?) else { return None };
            let epoch = Self {
                number: next()?.parse().ok()?,
                size: next()?.parse().ok()?,
                root: Hash::from_base64(next()?)?,
                writer: next()?.to_owned(),
                nonce: Hash::from_base64(next()?)?,
            };
            (origin == key.name() && epoch.encode(origin) == note.text()).then_some(epoch)
        };
        read().ok_or(CheckpointError::Malformed("not an epoch claim of this log"))
    }
}

impl LogStore {
    /// The newest numbered checkpoint that is validly signed by `key`, or `None` in an empty log.
    ///
    /// # Errors
    /// [`StoreError::Signature`] when the newest is not signed by `key`: nothing older is used
    /// in its place.
    pub async fn newest_checkpoint(
        &self,
        key: &Verifier,
    ) -> Result<Option<Checkpoint>, StoreError> {
        // The convenience copy shortens the listing, no more: it is signed, and what is newer
        // than it is still found.
        let hint = match self.get(LATEST).await? {
            Some(note) => Checkpoint::open(&note, key).ok(),
            None => None,
        };
        let mut newest: Option<u64> = None;
        let after = hint.as_ref().map(|hint| checkpoint_name(hint.size));
        let see = |newest: &mut Option<u64>, name: &str| {
            *newest = (*newest).max(number_in(CHECKPOINTS, name));
        };
        self.list(CHECKPOINTS, after.as_deref(), |name| see(&mut newest, name)).await?;
        newest = newest.max(hint.map(|hint| hint.size));
        match newest {
            Some(size) => self.checkpoint(size, key).await.map(Some),
            None => Ok(None),
        }
    }

    /// The numbered checkpoint of this size.
    ///
    /// # Errors
    /// When it is missing, says another size, or is not signed by `key`.
    pub async fn checkpoint(&self, size: u64, key: &Verifier) -> Result<Checkpoint, StoreError> {
        let object = checkpoint_name(size);
        let corrupt =
            |what: &str| StoreError::Corrupt { object: self.name(&object), what: what.to_owned() };
        let note = self.get(&object).await?.ok_or_else(|| corrupt("is missing"))?;
        let checkpoint = Checkpoint::open(&note, key)
            .map_err(|source| StoreError::Signature { object: self.name(&object), source })?;
        if checkpoint.size == size { Ok(checkpoint) } else { Err(corrupt("says another size")) }
    }

    /// The hashes of one tile.
    ///
    /// # Errors
    /// When it is missing or has another length.
    pub(crate) async fn tile(&self, path: TilePath) -> Result<Vec<Hash>, StoreError> {
        let object = path.to_string();
        let corrupt = |what: String| StoreError::Corrupt { object: self.name(&object), what };
        let bytes = self.get(&object).await?.ok_or_else(|| corrupt("is missing".to_owned()))?;
        decode_tile(&bytes, path.width()).map_err(|e| corrupt(e.to_string()))
    }

    /// The right edge of the tree of a checkpoint, proved by its root.
    ///
    /// # Errors
    /// When a tile is missing or they do not lead to the checkpoint's root.
    pub(crate) async fn frontier(&self, head: &Checkpoint) -> Result<Frontier, StoreError> {
        let mut tiles = std::collections::HashMap::new();
        for path in Frontier::tiles_of(head.size) {
            tiles.insert(path, self.tile(path).await?);
        }
        let corrupt = |what: String| StoreError::Corrupt {
            object: self.name(&checkpoint_name(head.size)),
            what,
        };
        let edge = Frontier::from_tiles(head.size, |path| tiles.remove(&path))
            .map_err(|e| corrupt(e.to_string()))?;
        if edge.root() == head.root {
            Ok(edge)
        } else {
            Err(corrupt("the tiles do not lead to its root".to_owned()))
        }
    }

    /// Claims the log for this writer. Call it once at start, before publishing; the publisher
    /// then stops as soon as somebody claims a later epoch.
    ///
    /// # Errors
    /// [`StoreError::Fork`] when another writer claims at the same moment.
    pub async fn claim_epoch(
        &self,
        signer: &Signer,
        head: (u64, Hash),
        writer: &str,
    ) -> Result<Epoch, StoreError> {
        if writer.len() > MAX_WRITER_BYTES || writer.chars().any(char::is_control) {
            return Err(StoreError::Setting("the writer's name is too long for a line".to_owned()));
        }
        let mut newest = 0;
        let see = |newest: &mut u64, name: &str| {
            *newest = (*newest).max(number_in(EPOCHS, name).unwrap_or(0));
        };
        self.list(EPOCHS, None, |name| see(&mut newest, name)).await?;
        let epoch = Epoch {
            number: newest.saturating_add(1),
            size: head.0,
            root: head.1,
            writer: writer.to_owned(),
            nonce: random()?,
        };
        let object = epoch_name(epoch.number);
        let signed = |source: NoteError| StoreError::Signature {
            object: self.name(&object),
            source: source.into(),
        };
        let note = SignedNote::sign(&epoch.encode(signer.name()), &[signer]).map_err(signed)?;
        self.create(&object, Bytes::from(note.encode())).await?;
        Ok(epoch)
    }

    /// Whether somebody has claimed a later epoch than `ours`.
    pub(crate) async fn check_fence(&self, ours: u64) -> Result<(), StoreError> {
        let newer = ours.saturating_add(1);
        match self.get(&epoch_name(newer)).await? {
            Some(_) => Err(StoreError::Fenced { ours, newer }),
            None => Ok(()),
        }
    }
}
