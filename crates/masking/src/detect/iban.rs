//! `IBAN_CODE`: ISO 13616, length by country, ISO 7064 MOD 97-10.

use super::Sieve;
use super::text::{at, before};
use crate::entity::Entity;

/// Longest IBAN (Russia, Saint Lucia: 32 to 33).
const MAX_IBAN: usize = 34;

/// Country and length: the SWIFT IBAN registry (release 99), then countries
/// that use IBANs without being in it.
const LENGTHS: [(&[u8; 2], usize); 109] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
    (b"AO", 25),
    (b"BF", 28),
    (b"BJ", 28),
    (b"CF", 27),
    (b"CG", 27),
    (b"CI", 28),
    (b"CM", 27),
    (b"CV", 25),
    (b"DZ", 26),
    (b"GA", 27),
    (b"GQ", 27),
    (b"GW", 25),
    (b"IR", 26),
    (b"KM", 27),
    (b"MA", 28),
    (b"MG", 27),
    (b"ML", 28),
    (b"MZ", 25),
    (b"SN", 28),
    (b"TG", 28),
];

/// Places in [`BY_LETTERS`]: five bits a letter.
const PLACES: usize = 1 << 10;

/// [`LENGTHS`] by country, 0 where there is none: two letters and two digits are common.
#[expect(clippy::indexing_slicing, reason = "in a constant, which would not compile")]
static BY_LETTERS: [u8; PLACES] = {
    let mut table = [0; PLACES];
    let mut rest = LENGTHS.as_slice();
    while let [(country, length), more @ ..] = rest {
        assert!(*length <= MAX_IBAN);
        table[place(country[0], country[1])] = *length as u8;
        rest = more;
    }
    table
};

const fn place(a: u8, b: u8) -> usize {
    ((a & 31) as usize) << 5 | (b & 31) as usize
}

/// The length of an IBAN of the country with these two letters, of either case.
fn length(a: u8, b: u8) -> Option<usize> {
    BY_LETTERS.get(place(a, b)).copied().filter(|length| *length > 0).map(usize::from)
}

/// Looks at the two letters and two digits that end at `p`.
pub(super) fn find(s: &mut Sieve<'_>, p: usize) {
    let text = s.text;
    let Some(start) = p.checked_sub(3) else { return };
    if before(text, start).is_ascii_alphanumeric() {
        return;
    }
    let Some(want) = length(at(text, start), at(text, start + 1)) else { return };
    let mut chars = [0u8; MAX_IBAN];
    let mut n = 0;
    let mut i = start;
    let (mut upper, mut lower, mut gaps) = (false, false, 0);
    while n < want {
        let b = at(text, i);
        if b.is_ascii_alphanumeric() {
            upper |= b.is_ascii_uppercase();
            lower |= b.is_ascii_lowercase();
            if let Some(c) = chars.get_mut(n) {
                *c = b;
            }
            n += 1;
            i += 1;
            continue;
        }
        // One separator at a time, and never inside the country and check digits.
        let wide = b == 0xC2 && at(text, i + 1) == 0xA0;
        let gap = if wide { 2 } else { 1 };
        if !(wide || matches!(b, b' ' | b'-' | b'.')) || n < 4 {
            return;
        }
        i += gap;
        gaps += 1;
        if !at(text, i).is_ascii_alphanumeric() {
            return;
        }
    }
    // All letters of one case: what mixes them is an identifier.
    if at(text, i).is_ascii_alphanumeric() || (upper && lower) {
        return;
    }
    let chars = chars.get(..n).unwrap_or_default();
    if structured(chars) && mod97(chars) == Some(1) {
        let score = if upper && gaps * 4 <= n { 1.0 } else { 0.8 };
        s.put(Entity::IbanCode, start, i, score);
    }
}

/// Countries whose account numbers begin with a bank's four letters.
const LETTERED: &[u8] = b"AZBGBHGBGIIEIQJOKWLCLVMTNLPKPSQAROSCSVVG";
/// Countries whose account numbers are digits only.
const NUMERIC: &[u8] = b"AEATBABECZDEDKEEESFIFOGLHRHUISILLTMEMRNOPLPTRSSESISKTNVAEGTLXKLYCR";

/// Whether the account number has the registry's structure, as far as it is
/// letters or digits by country.
fn structured(chars: &[u8]) -> bool {
    let (Some(country), Some(account)) = (chars.get(..2), chars.get(4..)) else { return false };
    let is = |list: &[u8]| list.chunks_exact(2).any(|c| c.eq_ignore_ascii_case(country));
    if is(LETTERED) {
        account.iter().take(4).all(u8::is_ascii_alphabetic)
    } else {
        !is(NUMERIC) || account.iter().all(u8::is_ascii_digit)
    }
}

/// The ISO 7064 MOD 97-10 remainder of an IBAN, separators skipped.
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
