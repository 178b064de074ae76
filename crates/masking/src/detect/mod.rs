//! Finding entities in bytes.
//!
//! Two stages. [`shape`] tests 64 bytes at a time for the shapes of sensitive
//! values with AND and SHIFT over bit masks ([`classes`]); about one position
//! in two thousand of ordinary text survives. There the detectors read the
//! text byte by byte and check lengths, groupings and checksums.
//!
//! A detector called at `p` reads no byte before `p - LOOK_BEHIND` and none
//! from `p + LOOK_AHEAD` on. With detectors called in the order of positions,
//! and all they remember in [`State`], the findings do not depend on how the
//! text was cut: that is what the stream rests on.

mod auth;
mod card;
mod classes;
mod crypto;
mod email;
mod iban;
mod net;
mod number;
mod phone;
mod secret;
mod shape;
mod text;

pub(crate) use iban::mod97;
pub(crate) use secret::Secret;

use crate::custom::{self, Recognizer};
use crate::entity::{Entity, SLOTS};
use classes::{BLOCK, Classify, Simd};
use shape::{Hits, OVERLAP, STEP};

/// How far before its position a detector may read.
pub(crate) const LOOK_BEHIND: usize = 256;
/// How far after its position a detector may read.
pub(crate) const LOOK_AHEAD: usize = 512;
/// How far before a number the words around it count.
const CONTEXT: usize = 40;

const _: () = assert!(email::MAX_LOCAL + CONTEXT < LOOK_BEHIND);
const _: () = assert!(email::MAX_DOMAIN < LOOK_AHEAD);
const _: () = assert!(secret::MAX_JWT_HEAD + 16 < LOOK_AHEAD);

/// One sensitive part of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// What it is.
    pub entity: Entity,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// How sure: 0 to 1. A shape alone gives 0.5 to 0.75; only a checksum
    /// together with issuer, length and grouping gives 1.0.
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

/// What the detectors remember from one position to the next: up to where a
/// text was looked at, in bytes from its beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct State {
    number: usize,
    dotted: usize,
    colons: usize,
    token: usize,
}

impl State {
    /// The text lost its first `n` bytes.
    pub(crate) fn trim(&mut self, n: usize) {
        for at in [&mut self.number, &mut self.dotted, &mut self.colons, &mut self.token] {
            *at = at.saturating_sub(n);
        }
    }
}

/// Words that say what a number beside them is.
struct Words {
    /// Bit n: some word begins with the n-th letter.
    letters: u32,
    words: &'static [&'static [u8]],
}

impl Words {
    /// `words` in lower case, none empty.
    const fn new(words: &'static [&'static [u8]]) -> Self {
        let mut letters = 0;
        let mut rest = words;
        while let [[first, ..], more @ ..] = rest {
            letters |= 1u32 << (*first & 31);
            rest = more;
        }
        Self { letters, words }
    }

    #[inline(always)]
    fn may_begin(&self, b: u8) -> bool {
        b >= b'A' && self.letters >> (b & 31) & 1 == 1
    }

    #[inline(never)]
    fn begin(&self, text: &[u8]) -> bool {
        self.words.iter().any(|w| text.get(..w.len()).is_some_and(|x| x.eq_ignore_ascii_case(w)))
    }
}

/// A text under the detectors.
struct Sieve<'t> {
    text: &'t [u8],
    wanted: &'t Wanted,
    state: &'t mut State,
    found: &'t mut Vec<Finding>,
}

impl Sieve<'_> {
    fn put(&mut self, entity: Entity, start: usize, end: usize, score: f32) {
        if self.wanted.takes(entity, score) {
            self.found.push(Finding { entity, start, end, score });
        }
    }

    /// Whether one of the words begins a word within [`CONTEXT`] bytes before
    /// `start`.
    fn context(&self, start: usize, words: &Words) -> bool {
        let near = text::slice(self.text, start.saturating_sub(CONTEXT), start);
        let mut last = 0;
        for (i, b) in near.iter().enumerate() {
            // A word begins behind what is no letter, and at the hump of
            // "myPhone".
            let hump = b.is_ascii_uppercase() && last >= b'a';
            let fresh = hump || !u8::is_ascii_alphabetic(&last);
            last = *b;
            if fresh && words.may_begin(*b) && words.begin(near.get(i..).unwrap_or_default()) {
                return true;
            }
        }
        false
    }

    /// Calls the detectors for the hits of the window that decides the bytes
    /// from `base` on; a secret ends it.
    #[inline(never)]
    fn look(&mut self, base: usize, hits: &Hits, from: usize, to: usize) -> Option<Secret> {
        let mut rest = hits.any();
        while rest != 0 {
            let bit = rest & rest.wrapping_neg();
            rest ^= bit;
            let p = (base + bit.trailing_zeros() as usize).saturating_sub(OVERLAP);
            if p < from {
                continue;
            }
            if p >= to {
                return None;
            }
            if hits.number & bit != 0 {
                number::find(self, p);
            }
            if hits.dotted & bit != 0 {
                self.dotted(p);
            }
            if hits.colons & bit != 0 {
                self.colons(p);
            }
            if hits.iban & bit != 0 && self.wanted.has(Entity::IbanCode) {
                iban::find(self, p);
            }
            // Before the `@` of a URL stands a password, not a mailbox.
            if hits.at & bit != 0 && !auth::url(self, p) && self.wanted.has(Entity::EmailAddress) {
                email::find(self, p);
            }
            let secret = if hits.token & bit != 0 { secret::token(self, p) } else { None };
            let pem = || if hits.pem & bit != 0 { secret::pem(self, p) } else { None };
            let found = secret.or_else(pem);
            let password = hits.password & bit != 0 && found.is_none();
            let found = if password { auth::password(self, p) } else { found };
            if let Some(found) = found {
                return Some(found);
            }
        }
        None
    }

    fn dotted(&mut self, p: usize) {
        if p < self.state.dotted {
            return;
        }
        if text::at(self.text, p) == b'.' {
            // Two dots five apart: a hardware address, or a card in dotted groups.
            let mac = self.wanted.has(Entity::MacAddress) && net::mac(self, p);
            if !mac && text::before(self.text, p).is_ascii_digit() {
                number::find(self, p - 1);
            }
        } else if self.wanted.has(Entity::IpAddress)
            && let Some(end) = net::ipv4(self, p)
        {
            self.state.dotted = end;
        } else {
            number::find(self, p);
        }
    }

    fn colons(&mut self, p: usize) {
        if p < self.state.colons {
            return;
        }
        let colon = text::at(self.text, p) == b':';
        // Eight pairs are an EUI-64 rather than an IPv6 address.
        let found = (self.wanted.has(Entity::MacAddress) && net::mac(self, p))
            || (colon && self.wanted.has(Entity::IpAddress) && net::ipv6(self, p));
        if found {
            self.state.colons = p + 1;
        }
    }
}

/// The scanner, with the instruction set it runs on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Engine {
    simd: Simd,
}

/// What a scan is to look at: positions `from..to` of `text`.
struct Job<'t, C> {
    maker: C,
    sieve: Sieve<'t>,
    from: usize,
    to: usize,
}

impl<C: Classify> pulp::NullaryFnOnce for Job<'_, C> {
    type Output = Option<Secret>;

    #[inline(always)]
    fn call(mut self) -> Option<Secret> {
        let text = self.sieve.text;
        // The first window has nothing before it, the last one little behind.
        let mut window = [0u8; BLOCK];
        if let (Some(room), Some(head)) = (window.last_chunk_mut(), text.first_chunk::<STEP>()) {
            *room = *head;
        } else if let Some(room) = window.get_mut(OVERLAP..OVERLAP + text.len()) {
            room.copy_from_slice(text);
        }
        let hits = Hits::of(&self.maker.classes(&window));
        if hits.any() != 0
            && let Some(s) = self.sieve.look(0, &hits, self.from, self.to)
        {
            return Some(s);
        }
        let mut at = STEP;
        while at < self.to {
            let block = match text.get(at - OVERLAP..).and_then(|t| t.first_chunk::<BLOCK>()) {
                Some(block) => block,
                None => {
                    let tail = text.get(at - OVERLAP..).unwrap_or_default();
                    window = [0; BLOCK];
                    if let Some(room) = window.get_mut(..tail.len()) {
                        room.copy_from_slice(tail);
                    }
                    &window
                }
            };
            let hits = Hits::of(&self.maker.classes(block));
            if hits.any() != 0
                && let Some(s) = self.sieve.look(at, &hits, self.from, self.to)
            {
                return Some(s);
            }
            at += STEP;
        }
        None
    }
}

impl Engine {
    pub(crate) fn detect() -> Self {
        Self { simd: Simd::detect() }
    }

    /// Looks at the positions `from..to`, in order, adding what it finds.
    /// Stops at the first secret; what is behind it is another text.
    pub(crate) fn scan(
        &self,
        text: &[u8],
        wanted: &Wanted,
        state: &mut State,
        found: &mut Vec<Finding>,
        (from, to): (usize, usize),
    ) -> Option<Secret> {
        let sieve = Sieve { text, wanted, state, found };
        match self.simd {
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512(maker) => maker.run(Job { maker, sieve, from, to }),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2(maker) => maker.run(Job { maker, sieve, from, to }),
            Simd::Words(maker) => maker.run(Job { maker, sieve, from, to }),
        }
    }

    /// Findings in a complete text, ordered, without overlaps.
    pub(crate) fn find(&self, text: &[u8], wanted: &Wanted, custom: &[Recognizer]) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut base = 0;
        let mut rest = text;
        loop {
            let first = found.len();
            let mut state = State::default();
            let secret = self.scan(rest, wanted, &mut state, &mut found, (0, rest.len()));
            for f in found.iter_mut().skip(first) {
                f.start += base;
                f.end += base;
            }
            if wanted.custom {
                let end = secret.map_or(rest.len(), |s| s.start);
                let piece = rest.get(..end).unwrap_or_default();
                custom::find(custom, piece, wanted, base, &mut found);
            }
            let Some(mut secret) = secret else { break };
            let behind = rest.get(secret.start..).unwrap_or_default();
            let end = secret.start + secret.run.length(behind).max(1);
            let (entity, score) = (secret.entity, secret.score);
            found.push(Finding { entity, start: base + secret.start, end: base + end, score });
            base += end;
            rest = rest.get(end..).unwrap_or_default();
        }
        if found.len() > 1 {
            resolve(&mut found);
        }
        found
    }
}

/// Orders findings and takes overlaps away: the one that begins first wins,
/// then the longer, then the surer; what is left of the other stays.
pub(crate) fn resolve(found: &mut Vec<Finding>) {
    sort(found);
    let mut done = 0;
    found.retain_mut(|f| {
        f.start = f.start.max(done);
        let keep = f.start < f.end;
        done = done.max(f.end);
        keep
    });
}

/// The order in which findings claim the text.
pub(crate) fn sort(found: &mut [Finding]) {
    found.sort_by(|a, b| {
        a.start
            .cmp(&b.start)
            .then(b.end.cmp(&a.end))
            .then(b.score.total_cmp(&a.score))
            .then(a.entity.cmp(&b.entity))
    });
}
