//! From a store.

use audit_sink::store::{LogStore, Reader, Store, StoreError};
use tlog::{Hash, Verifier};

use crate::item::{Exchange, Item, Part, Value};
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
    /// The chunks are as recorded, and their bytes are no list of values.
    #[error("the recorded values can't be read: {0}")]
    Values(String),
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

/// The beginning of bytes in chunks, each fetched and checked whole: as many chunks as it takes
/// to have more than `limit` bytes.
async fn spilled(store: &Store, parts: &[Part], limit: usize) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    for part in parts {
        if bytes.len() > limit {
            break;
        }
        bytes.extend(part_bytes(store, part).await?);
    }
    Ok(bytes)
}

/// The statement that an exchange keeps in chunks, up to `limit` bytes, and how many more there
/// are. `None` if it is not kept in chunks.
///
/// # Errors
/// [`ReadError`]: a chunk that is missing, or is not what the entry says.
pub async fn spilled_text(
    store: &Store,
    exchange: &Exchange,
    limit: usize,
) -> Result<Option<(String, u64)>, ReadError> {
    if exchange.text_parts.is_empty() {
        return Ok(None);
    }
    let bytes = spilled(store, &exchange.text_parts, limit).await?;
    let shown = bytes.get(..limit).unwrap_or(&bytes);
    let more = length(&exchange.text_parts).saturating_sub(shown.len() as u64);
    Ok(Some((String::from_utf8_lossy(shown).into_owned(), more)))
}

/// The bound values that an exchange keeps in chunks. `None` if it keeps none there, or more
/// than `limit` bytes of them.
///
/// # Errors
/// [`ReadError`].
pub async fn spilled_values(
    store: &Store,
    exchange: &Exchange,
    limit: usize,
) -> Result<Option<Vec<Value>>, ReadError> {
    let parts = &exchange.parameter_parts;
    if parts.is_empty() || length(parts) > limit as u64 {
        return Ok(None);
    }
    let bytes = spilled(store, parts, limit).await?;
    let values: Vec<records::Parameter<'_>> =
        serde_json::from_slice(&bytes).map_err(|error| ReadError::Values(error.to_string()))?;
    Ok(Some(values.iter().map(Value::from).collect()))
}

fn length(parts: &[Part]) -> u64 {
    let one = |part: &Part| match part {
        Part::Inline { bytes, .. } => bytes.len() as u64,
        Part::Chunk { bytes, .. } => *bytes,
    };
    parts.iter().map(one).fold(0, u64::saturating_add)
}
