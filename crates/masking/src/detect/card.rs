//! `CREDIT_CARD`: ISO/IEC 7812, by issuer range, length, grouping and Luhn.

use super::Sieve;
use super::number::{Cluster, Group, Sep};
use super::text::{at, is_edge};
use crate::entity::Entity;
use crate::luhn;

/// First and last six-digit prefix, the lengths it is issued in (bit n: n
/// digits), and how sure a valid unbroken number is.
struct Issuer(u32, u32, u32, f32);

const fn lengths(from: u32, to: u32) -> u32 {
    let mut mask = 0;
    let mut n = from;
    while n <= to {
        mask |= 1 << n;
        n += 1;
    }
    mask
}

const L12: u32 = lengths(12, 12);
const L14: u32 = lengths(14, 14);
const L15: u32 = lengths(15, 15);
const L16: u32 = lengths(16, 16);
const L16_19: u32 = lengths(16, 19);
const L12_19: u32 = lengths(12, 19);
const VISA: u32 = lengths(13, 13) | L16 | lengths(19, 19);

/// Issuer ranges; the first that fits decides. Sources: the schemes' public
/// routing tables as collected in Wikipedia's "Payment card number" and in
/// card-validator.
const ISSUERS: [Issuer; 32] = [
    Issuer(400_000, 499_999, VISA, 0.9),
    Issuer(510_000, 559_999, L16, 0.95),
    Issuer(222_100, 272_099, L16, 0.9),
    Issuer(340_000, 349_999, L15, 0.95),
    Issuer(370_000, 379_999, L15, 0.95),
    Issuer(300_000, 305_999, L14 | L16_19, 0.8),
    Issuer(309_500, 309_599, L14 | L16_19, 0.8),
    Issuer(360_000, 369_999, L14 | L16_19, 0.7),
    Issuer(380_000, 399_999, L14 | L16_19, 0.7),
    Issuer(601_100, 601_199, L16_19, 0.9),
    Issuer(644_000, 659_999, L16_19, 0.85),
    Issuer(352_800, 358_999, L16_19, 0.85),
    Issuer(350_000, 359_999, L16, 0.5),
    Issuer(180_000, 180_099, L15, 0.8),
    Issuer(213_100, 213_199, L15, 0.8),
    Issuer(620_000, 629_999, L16_19, 0.8),
    Issuer(810_000, 829_999, L16_19, 0.6),
    Issuer(501_800, 501_899, L12_19, 0.7),
    Issuer(502_000, 502_099, L12_19, 0.7),
    Issuer(503_800, 503_899, L12_19, 0.7),
    Issuer(589_300, 589_399, L12_19, 0.7),
    Issuer(639_000, 639_099, L12_19, 0.7),
    Issuer(630_400, 630_499, L12_19, 0.7),
    Issuer(675_900, 676_999, L12_19, 0.7),
    Issuer(560_000, 589_999, L12_19, 0.6),
    Issuer(60_400, 60_499, L12, 0.6),
    Issuer(220_000, 220_499, L16_19, 0.8),
    Issuer(979_200, 979_299, L16, 0.8),
    Issuer(508_500, 508_999, L16, 0.8),
    Issuer(500_000, 509_999, L16_19, 0.7),
    Issuer(600_000, 699_999, L16_19, 0.6),
    Issuer(100_000, 199_999, L15, 0.5),
];

/// How sure an issuer and length make us; `None` for no issuer.
fn issuer(digits: &[u8]) -> Option<f32> {
    let six = digits.get(..6)?.iter().fold(0u32, |v, b| v * 10 + u32::from(b - b'0'));
    let bit = 1u32 << digits.len();
    ISSUERS.iter().find(|i| (i.0..=i.1).contains(&six) && i.2 & bit != 0).map(|i| i.3)
}

/// The card number in the groups from `i`: how many groups it takes.
pub(super) fn find(s: &mut Sieve<'_>, c: &Cluster<'_>, i: usize) -> Option<usize> {
    let groups = c.groups();
    let first = groups.get(i)?;
    if (c.plus && i == 0) || (i > 0 && !matches!(first.sep, Sep::Space | Sep::Nbsp)) {
        return None;
    }
    // A key or an id of which the digits are only the end: `blk_-1608…`.
    if first.start >= 2 && i == 0 && at(c.text, first.start - 1) == b'-' {
        let b = at(c.text, first.start - 2);
        if !is_edge(b) && first.len > 4 {
            return None;
        }
    }
    let mut digits = [0u8; 19];
    let mut n = 0;
    let mut best = None;
    let sep = groups.get(i + 1).map(|g| g.sep);
    // One dot alone makes a decimal fraction.
    let fraction = |k: usize| k == 1 && sep == Some(Sep::Dot);
    for (k, g) in groups.get(i..)?.iter().enumerate().take(5) {
        if k > 0 && (Some(g.sep) != sep || g.sep == Sep::Bracket) {
            break;
        }
        let Some(room) = digits.get_mut(n..n + g.len()) else { break };
        room.copy_from_slice(c.digits(g));
        n += g.len();
        if n < 12 || fraction(k) {
            continue;
        }
        let taken = groups.get(i..=i + k).unwrap_or_default();
        if let Some(score) = card(digits.get(..n).unwrap_or_default(), taken)
            && ends_well(c, i + k, k > 0)
        {
            best = Some((k + 1, g.end(), score));
        }
    }
    let (taken, end, score) = best?;
    s.put(Entity::CreditCard, first.start, end, score);
    Some(taken)
}

/// What follows must not belong to the same number.
fn ends_well(c: &Cluster<'_>, last: usize, grouped: bool) -> bool {
    let Some(g) = c.groups().get(last) else { return false };
    match c.groups().get(last + 1) {
        None => is_edge(at(c.text, g.end())),
        // "4111111111111111 12/27": a date after it.
        Some(next) if next.sep == Sep::Space => !grouped || next.len != 4,
        Some(_) => false,
    }
}

/// The score of these digits in this grouping; `None` when it is no card.
fn card(digits: &[u8], groups: &[Group]) -> Option<f32> {
    let sure = issuer(digits)?;
    let lens: [u8; 5] = std::array::from_fn(|i| groups.get(i).map_or(0, |g| g.len));
    let usual = match lens {
        [_, 0, 0, 0, 0] | [4, 4, 4, 4, 0] | [4, 4, 4, 4, 3] | [4, 6, 5, 0, 0] | [4, 6, 4, 0, 0] => {
            true
        }
        [4, 4, 4, 1..=3, 0] | [4, 4, 4, 4, 1..=2] | [8, 8, 0, 0, 0] | [6, 10 | 13, 0, 0, 0] => {
            false
        }
        _ => return None,
    };
    if !luhn::valid(digits) || digits.iter().all(|d| Some(d) == digits.first()) {
        return None;
    }
    let grouped = groups.len() > 1;
    Some(match (usual, grouped) {
        // Grouping, issuer, length and checksum agree.
        (true, true) => (sure + 0.1).min(1.0),
        (true, false) => sure,
        (false, _) => 0.5,
    })
}
