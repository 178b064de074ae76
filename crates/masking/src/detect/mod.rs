//! Finding entities in bytes.

use crate::entity::{Entity, SLOTS};

/// One sensitive part of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// What it is.
    pub entity: Entity,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// How sure: 0 to 1. A shape alone gives at most 0.5, a checksum with the
    /// right length and grouping 0.9 to 1.0.
    pub score: f32,
}

/// Which entities are asked for, and from which score on.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    least: [f32; SLOTS],
    any: bool,
    /// Whether a custom entity is among them.
    pub(crate) custom: bool,
}

impl Wanted {
    pub(crate) fn nothing() -> Self {
        Self { least: [f32::INFINITY; SLOTS], any: false, custom: false }
    }

    pub(crate) fn want(&mut self, entity: Entity, least: f32) {
        if let Some(l) = self.least.get_mut(entity.slot()) {
            *l = least;
            self.any = true;
            self.custom |= matches!(entity, Entity::Custom(_));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.any
    }

    pub(crate) fn takes(&self, entity: Entity, score: f32) -> bool {
        self.least.get(entity.slot()).is_some_and(|l| score >= *l)
    }

    pub(crate) fn has(&self, entity: Entity) -> bool {
        self.takes(entity, f32::MAX)
    }
}

/// The scanner, with the instruction set it runs on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Engine;

impl Engine {
    pub(crate) fn detect() -> Self {
        Self
    }

    pub(crate) fn suspicious(&self, _text: &[u8], _wanted: &Wanted) -> bool {
        true
    }

    pub(crate) fn find(&self, _text: &[u8], _wanted: &Wanted) -> Vec<Finding> {
        Vec::new()
    }
}

/// Orders findings and takes overlaps away: the one that begins first wins,
/// then the longer, then the surer; what is left of the other stays.
pub(crate) fn resolve(found: &mut Vec<Finding>) {
    found.sort_by(|a, b| {
        a.start.cmp(&b.start).then(b.end.cmp(&a.end)).then(b.score.total_cmp(&a.score))
    });
    let mut done = 0;
    found.retain_mut(|f| {
        f.start = f.start.max(done);
        let keep = f.start < f.end;
        done = done.max(f.end);
        keep
    });
}

/// The ISO 7064 MOD 97-10 remainder of an IBAN-like text, separators skipped.
pub(crate) fn mod97(text: &[u8]) -> Option<u32> {
    let clean = || text.iter().filter(|b| b.is_ascii_alphanumeric());
    let mut rest = 0u32;
    let mut n = 0;
    for b in clean().skip(4).chain(clean().take(4)) {
        let v = char::from(*b).to_digit(36)?;
        rest = if v > 9 { rest * 100 + v } else { rest * 10 + v } % 97;
        n += 1;
    }
    (n > 4).then_some(rest)
}
