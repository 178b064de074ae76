//! What the publisher reads from: the local ring, seen from the store's side.

use bytes::Bytes;
use tlog::Hash;

/// Committed entries in order, as the ring keeps them until they are published.
///
/// Every method may be called from any thread. Entry `i` of the log is the same bytes for ever.
pub trait Source: Send + Sync + 'static {
    /// Entries that are durable locally: all with an index below this.
    fn durable_size(&self) -> u64;

    /// Durable entries from `from_index` on, in order and without gaps, until their sizes add up
    /// to `max_bytes` (always at least one entry when there is one, however large).
    ///
    /// # Errors
    /// When the ring cannot be read, or no longer holds `from_index`.
    fn read(&self, from_index: u64, max_bytes: usize) -> std::io::Result<Vec<(u64, Bytes)>>;

    /// All entries below `up_to_index` are in the store: their space may be used again.
    fn release(&self, up_to_index: u64);

    /// Size and root of the ring's own tree at one moment, with `size <= durable_size()`. The
    /// publisher compares its own root with it and stops if they differ. `None`: not known.
    fn head(&self) -> Option<(u64, Hash)> {
        None
    }
}
