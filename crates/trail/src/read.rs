//! From a store.

use audit_sink::store::{LogStore, Reader, Store, StoreError};
use tlog::{Hash, Verifier};

use crate::item::{Item, Part};
use crate::join::Joiner;

/// Why a record can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store can't be read, or an object in it is not under the signed checkpoint.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A chunk that an entry names is missing, or is not what the entry says.
    #[error("chunk {0}: missing, or not the one that the entry names")]
    Chunk(String),
}

/// Reads the entries from `from` to the newest checkpoint, and gives what they say. Returns the
/// checkpoint's size: where to go on.
///
/// # Errors
/// [`ReadError::Store`]; what was given before stands.
pub async fn read(
    log: &LogStore,
    key: &Verifier,
    from: u64,
    joiner: &mut Joiner,
    mut each: impl FnMut(Item),
) -> Result<u64, ReadError> {
    let Some(reader) = Reader::open(log, key).await? else { return Ok(from) };
    let size = reader.head().size;
    let mut entries = reader.range(from, size);
    while let Some((index, bytes)) = entries.next().await? {
        joiner.push(index, &bytes).into_iter().for_each(&mut each);
    }
    Ok(size.max(from))
}

/// The bytes of a part; a chunk is fetched and checked.
///
/// # Errors
/// [`ReadError`].
pub async fn part_bytes(store: &Store, part: &Part) -> Result<Vec<u8>, ReadError> {
    let (sha256, len) = match part {
        Part::Inline { bytes, .. } => return Ok(bytes.clone()),
        Part::Chunk { sha256, bytes } => (sha256, *bytes),
    };
    let bad = || ReadError::Chunk(sha256.clone());
    let hash = Hash::from_hex(sha256).ok_or_else(bad)?;
    let bytes = store.get(&Store::blob_name(&hash)).await?.ok_or_else(bad)?;
    if bytes.len() as u64 != len || tlog::sha256(&bytes) != hash {
        return Err(bad());
    }
    Ok(bytes.to_vec())
}
