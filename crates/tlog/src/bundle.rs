//! Entry bundles (C2SP tlog-tiles): up to 256 entries, each after its length in two bytes.

use crate::tile::TILE_WIDTH;

/// The largest entry, in bytes: its length is a big-endian `u16`.
pub const MAX_ENTRY_BYTES: usize = u16::MAX as usize;
/// The largest bundle, in bytes.
pub const MAX_BUNDLE_BYTES: usize = TILE_WIDTH as usize * (MAX_ENTRY_BYTES + 2);

/// What is wrong with a bundle, or with an entry on its way into one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The entry does not fit its length field. The writer's fault.
    #[error("an entry of {0} bytes is longer than {MAX_ENTRY_BYTES}")]
    EntryTooLong(usize),
    /// More than 256 entries.
    #[error("a bundle holds at most {TILE_WIDTH} entries")]
    TooMany,
    /// The bytes end inside the entry with this place in the bundle.
    #[error("the bundle ends inside entry {0}")]
    Truncated(usize),
    /// There is more after the last entry.
    #[error("{0} bytes too many at the end of the bundle")]
    Trailing(usize),
}

/// Appends one entry to the bytes of a bundle.
///
/// # Errors
/// [`BundleError::EntryTooLong`]; `out` is then unchanged.
pub fn push_entry(out: &mut Vec<u8>, entry: &[u8]) -> Result<(), BundleError> {
    let len = u16::try_from(entry.len()).map_err(|_| BundleError::EntryTooLong(entry.len()))?;
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(entry);
    Ok(())
}

/// The bytes of a bundle.
///
/// # Errors
/// [`BundleError::EntryTooLong`], [`BundleError::TooMany`].
pub fn encode_bundle<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, BundleError> {
    if entries.len() as u64 > TILE_WIDTH {
        return Err(BundleError::TooMany);
    }
    let mut out = Vec::new();
    entries.iter().try_for_each(|entry| push_entry(&mut out, entry.as_ref()))?;
    Ok(out)
}

/// The entries of a bundle that must hold exactly `width` of them.
///
/// # Errors
/// [`BundleError::Truncated`], [`BundleError::Trailing`].
pub fn decode_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, BundleError> {
    let mut entries = Vec::with_capacity(usize::from(width).min(TILE_WIDTH as usize));
    let mut rest = bytes;
    for place in 0..usize::from(width) {
        let (entry, after) = split_entry(rest).ok_or(BundleError::Truncated(place))?;
        entries.push(entry);
        rest = after;
    }
    if rest.is_empty() { Ok(entries) } else { Err(BundleError::Trailing(rest.len())) }
}

/// The first entry of `bytes` and what follows; `None` when the bytes end inside it.
#[must_use]
pub fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}
