//! A bounded map from text to facts: sharded, compared in full, two generations instead of a list.
//!
//! Each shard keeps a young and an old map. A hit in the old one moves the entry to the young; when
//! the young one is full it becomes the old one and what was old is dropped. So an entry in use
//! stays, and no entry needs links or time stamps.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use crate::types::{Analysis, Statement};

/// Shards per lexer mode; a power of two.
const SHARDS: usize = 16;
/// Estimated bytes of one table, function or output column with its allocations.
const ITEM_BYTES: usize = 96;

type Map = HashMap<Box<[u8]>, Arc<Analysis>>;

#[derive(Debug, Default)]
struct Shard {
    young: Map,
    young_bytes: usize,
    old: Map,
}

/// The cache; see the module page.
#[derive(Debug)]
pub(crate) struct Cache {
    hasher: RandomState,
    conforming: Vec<Mutex<Shard>>,
    escaping: Vec<Mutex<Shard>>,
    /// Entries and bytes of one generation of one shard.
    entries: usize,
    bytes: usize,
}

impl Cache {
    pub(crate) fn new(entries: usize, bytes: usize) -> Self {
        let shards = || (0..SHARDS).map(|_| Mutex::new(Shard::default())).collect();
        // Two generations, two lexer modes (the second is rare, and shares the bound's spirit).
        Self {
            hasher: RandomState::new(),
            conforming: shards(),
            escaping: shards(),
            entries: entries / SHARDS / 2,
            bytes: bytes / SHARDS / 2,
        }
    }

    fn shard(&self, key: &[u8], conforming: bool) -> Option<&Mutex<Shard>> {
        let shards = if conforming { &self.conforming } else { &self.escaping };
        let hash = usize::try_from(self.hasher.hash_one(key) >> 32).unwrap_or(0);
        shards.get(hash % SHARDS)
    }

    pub(crate) fn get(&self, key: &[u8], conforming: bool) -> Option<Arc<Analysis>> {
        let mut shard = self.shard(key, conforming)?.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = shard.young.get(key) {
            return Some(Arc::clone(found));
        }
        let (text, found) = shard.old.remove_entry(key)?;
        self.insert(&mut shard, text, Arc::clone(&found));
        Some(found)
    }

    pub(crate) fn put(&self, key: &[u8], conforming: bool, analysis: Arc<Analysis>) {
        let Some(shard) = self.shard(key, conforming) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        self.insert(&mut shard, Box::from(key), analysis);
    }

    fn insert(&self, shard: &mut Shard, key: Box<[u8]>, analysis: Arc<Analysis>) {
        let cost = cost(&key, &analysis);
        if cost > self.bytes || self.entries == 0 {
            return;
        }
        if shard.young.len() >= self.entries || shard.young_bytes + cost > self.bytes {
            shard.old = std::mem::take(&mut shard.young);
            shard.young_bytes = 0;
        }
        if shard.young.insert(key, analysis).is_none() {
            shard.young_bytes += cost;
        }
    }
}

/// About how many bytes an entry takes.
fn cost(key: &[u8], analysis: &Analysis) -> usize {
    fn statement(it: &Statement) -> usize {
        let outputs = it.outputs.as_ref().map_or(0, Vec::len);
        let columns = it.reads.columns.len() + it.reads.expression_columns.len();
        let items = it.tables.len()
            + it.functions.len()
            + it.unlisted.len()
            + outputs * 2
            + it.parameters.len()
            + columns;
        let inner: usize = it.inner.iter().map(statement).sum();
        size_of::<Statement>() + it.range.len() + items * ITEM_BYTES + inner
    }
    let literals = analysis.literals.as_ref().map_or(0, Vec::len);
    let statements: usize = analysis.statements.iter().map(statement).sum();
    key.len() + size_of::<Analysis>() + literals * size_of::<crate::Literal>() + statements
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank() -> Arc<Analysis> {
        Arc::new(Analysis {
            statements: Vec::new(),
            parse_error: None,
            class: crate::Class::Session,
            literals: Some(Vec::new()),
        })
    }

    #[test]
    fn stays_within_its_bounds_and_keeps_what_is_used() {
        let cache = Cache::new(1024, 1 << 20);
        cache.put(b"kept", true, blank());
        for i in 0..20_000_u32 {
            cache.put(&i.to_le_bytes(), true, blank());
            assert!(cache.get(b"kept", true).is_some());
        }
        let held: usize = cache
            .conforming
            .iter()
            .map(|shard| {
                let shard = shard.lock().unwrap();
                shard.young.len() + shard.old.len()
            })
            .sum();
        assert!(held <= 1024, "{held}");
        assert!(cache.get(b"kept", false).is_none(), "the lexer modes are apart");
    }

    #[test]
    fn an_entry_larger_than_a_shard_is_not_kept() {
        let cache = Cache::new(1024, 1 << 12);
        let key = vec![b'x'; 1 << 12];
        cache.put(&key, true, blank());
        assert!(cache.get(&key, true).is_none());
    }
}
