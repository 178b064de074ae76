//! Counts of what was masked. Never values.

use crate::entity::{Entity, SLOTS};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a masker did to one response (or one statement): counts only.
///
/// Fixed size, no allocation, mergeable. As JSON it is a flat object:
/// `{"scanned":10,"masked":2,"nulled":0,"by_column":1,"CREDIT_CARD":1}`;
/// entities with a count of 0 are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Values looked at (cells, fields, or 1 per stream).
    pub scanned: u64,
    /// Values changed.
    pub masked: u64,
    /// Values answered as NULL.
    pub nulled: u64,
    /// Values changed because of a column rule (part of `masked` or `nulled`).
    pub by_column: u64,
    counts: [u64; SLOTS],
}

impl Default for Receipt {
    fn default() -> Self {
        Self { scanned: 0, masked: 0, nulled: 0, by_column: 0, counts: [0; SLOTS] }
    }
}

impl Receipt {
    /// An empty receipt.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one masked finding.
    pub fn add(&mut self, entity: Entity) {
        if let Some(n) = self.counts.get_mut(entity.slot()) {
            *n = n.saturating_add(1);
        }
    }

    /// How many findings of this entity were masked.
    #[must_use]
    pub fn count(&self, entity: Entity) -> u64 {
        self.counts.get(entity.slot()).copied().unwrap_or(0)
    }

    /// Entities with their counts, zero counts left out.
    pub fn counts(&self) -> impl Iterator<Item = (Entity, u64)> + '_ {
        self.counts
            .iter()
            .enumerate()
            .filter(|(_, n)| **n > 0)
            .filter_map(|(i, n)| Entity::from_slot(i).map(|e| (e, *n)))
    }

    /// Findings masked, all entities together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |a, n| a.saturating_add(*n))
    }

    /// Whether nothing was changed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.masked == 0 && self.nulled == 0 && self.total() == 0
    }

    /// Adds the counts of another receipt.
    pub fn merge(&mut self, other: &Receipt) {
        self.scanned = self.scanned.saturating_add(other.scanned);
        self.masked = self.masked.saturating_add(other.masked);
        self.nulled = self.nulled.saturating_add(other.nulled);
        self.by_column = self.by_column.saturating_add(other.by_column);
        for (a, b) in self.counts.iter_mut().zip(other.counts) {
            *a = a.saturating_add(b);
        }
    }
}

impl Serialize for Receipt {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        map.serialize_entry("scanned", &self.scanned)?;
        map.serialize_entry("masked", &self.masked)?;
        map.serialize_entry("nulled", &self.nulled)?;
        map.serialize_entry("by_column", &self.by_column)?;
        for (e, n) in self.counts() {
            map.serialize_entry(e.name(), &n)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Receipt {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Receipt;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of counts")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Receipt, A::Error> {
                let mut r = Receipt::default();
                while let Some((k, n)) = map.next_entry::<String, u64>()? {
                    match k.as_str() {
                        "scanned" => r.scanned = n,
                        "masked" => r.masked = n,
                        "nulled" => r.nulled = n,
                        "by_column" => r.by_column = n,
                        // A count this version does not know is ignored: an older
                        // reader must be able to read a newer record.
                        name => {
                            let slot = (0..SLOTS)
                                .find(|i| Entity::from_slot(*i).is_some_and(|e| e.name() == name));
                            if let Some(c) = slot.and_then(|i| r.counts.get_mut(i)) {
                                *c = n;
                            }
                        }
                    }
                }
                Ok(r)
            }
        }
        d.deserialize_map(V)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_and_round_trips() {
        let mut a = Receipt::new();
        a.scanned = 3;
        a.masked = 1;
        a.add(Entity::UsSsn);
        let mut b = Receipt::new();
        b.nulled = 2;
        b.add(Entity::UsSsn);
        b.add(Entity::Custom(3));
        a.merge(&b);
        assert_eq!((a.count(Entity::UsSsn), a.total(), a.nulled), (2, 3, 2));
        let json = serde_json::to_string(&a).unwrap();
        assert_eq!(
            json,
            r#"{"scanned":3,"masked":1,"nulled":2,"by_column":0,"US_SSN":2,"CUSTOM_3":1}"#
        );
        assert_eq!(serde_json::from_str::<Receipt>(&json).unwrap(), a);
    }
}
