//! From the end of a log backwards, as far as is needed.

use audit_sink::store::{LogStore, Reader};
use records::{Entry, Timestamp};
use tlog::{TILE_WIDTH, Verifier};

use crate::item::Item;
use crate::join::Joiner;
use crate::read::ReadError;

/// How much further each look goes back than the one before it.
const GROWTH: u64 = 4;

/// What one look saw.
#[derive(Debug)]
pub struct Look<'a> {
    /// What was kept, in the order in which it was complete.
    pub items: &'a [Item],
    /// When the first entry looked at was made.
    pub began: Option<Timestamp>,
}

/// Looks at the newest `entries` of a log, then at four times as many, and so on, until
/// `enough` says so or the log's first entry was seen: a question about the newest entries
/// costs what they cost, however long the log is. Gives what `keep` kept in the last look.
///
/// Entries are only read whole, bundle by bundle, and each is proved as in [`crate::read`]. An
/// outcome whose command is older than a look is not seen in it.
///
/// # Errors
/// [`ReadError::Store`].
pub async fn look_back(
    log: &LogStore,
    key: &Verifier,
    entries: u64,
    joiner: impl Fn() -> Joiner,
    mut keep: impl FnMut(Item) -> Option<Item>,
    mut enough: impl FnMut(&Look<'_>) -> bool,
) -> Result<Vec<Item>, ReadError> {
    let Some(mut reader) = Reader::open(log, key).await? else { return Ok(Vec::new()) };
    let size = reader.head().size;
    let mut reach = entries.max(1);
    loop {
        // A part of a bundle costs as much as the whole.
        let from = size.saturating_sub(reach) / TILE_WIDTH * TILE_WIDTH;
        let mut joiner = if from == 0 { joiner() } else { joiner().from_middle() };
        let (mut items, mut began) = (Vec::new(), None);
        let mut range = reader.range(from, size);
        while let Some((index, bytes)) = range.next().await? {
            if index == from {
                began = Entry::from_json(&bytes).ok().map(|entry| entry.time);
            }
            items.extend(joiner.push(index, &bytes).into_iter().filter_map(&mut keep));
        }
        items.extend(joiner.finish().into_iter().filter_map(&mut keep));
        if from == 0 || enough(&Look { items: &items, began }) {
            return Ok(items);
        }
        reader = range.into_reader();
        reach = reach.saturating_mul(GROWTH);
    }
}
