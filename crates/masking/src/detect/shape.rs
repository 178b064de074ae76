//! The prefilter: shapes of sensitive values as AND and SHIFT over bit masks.
//!
//! Each mask of [`Hits`] has a bit where a shape ENDS. A window of 64 bytes
//! begins [`OVERLAP`] bytes before the ones it decides, which is as far back as
//! any shape reaches: so every shift stays inside one word. (Carrying masks
//! from block to block instead needs double-word shifts, which cost three
//! cycles each on AMD's processors: measured three times slower.)
//!
//! Every shape is monotone (it asks that bytes ARE of a class, with the
//! exception of "first of a run"). False hits cost time only: the detectors
//! decide.

use super::classes::{BLOCK, Classes};

/// Bytes at the start of a window that the window before has decided.
pub(crate) const OVERLAP: usize = 16;
/// Bytes a window decides.
pub(crate) const STEP: usize = BLOCK - OVERLAP;
/// The bits a window decides.
const DECIDED: u64 = !0 << OVERLAP;

/// Where shapes end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hits {
    /// `@`
    pub(crate) at: u64,
    /// two digits, separator, two digits; the ninth digit in a row; `+1`, `(1`
    pub(crate) number: u64,
    /// two dots 2 to 4 apart with digits, or 5 apart
    pub(crate) dotted: u64,
    /// `::`, or the third of three near colons, or separators 3 apart
    pub(crate) colons: u64,
    /// the 16th word character in a row
    pub(crate) token: u64,
    /// two letters, two digits
    pub(crate) iban: u64,
    /// five dashes and a letter
    pub(crate) pem: u64,
    /// three of `s` and `w`, as in `password`
    pub(crate) password: u64,
}

impl Hits {
    #[inline(always)]
    pub(crate) fn any(&self) -> u64 {
        let any =
            self.at | self.number | self.dotted | self.colons | self.token | self.iban | self.pem;
        (any | self.password) & DECIDED
    }

    /// The shapes of a window.
    #[inline(always)]
    pub(crate) fn of(c: &Classes) -> Self {
        let digit2 = c.digit & c.digit << 1;
        Self {
            at: c.at,
            number: number(c, digit2),
            dotted: dotted(c),
            colons: colons(c),
            token: token(c),
            iban: digit2 & (c.letter & c.letter << 1) << 2,
            pem: pem(c),
            password: c.sw & c.sw << 1 & c.sw << 2,
        }
    }
}

#[inline(always)]
fn number(c: &Classes, digit2: u64) -> u64 {
    let joint = (c.space | c.dash) & c.digit << 1;
    // A no-break space is two bytes of 0x80 and up.
    let wide = c.high & c.high << 1 & c.digit << 2;
    let grouped = digit2 & (joint | wide) << 2;
    let digit4 = digit2 & digit2 << 2;
    let digit8 = digit4 & digit4 << 4;
    let nine = digit8 & digit8 << 1;
    // One hit for a run: the detector reads all of it.
    grouped | (nine & !(nine << 1)) | (c.digit & c.lead << 1)
}

#[inline(always)]
fn dotted(c: &Classes) -> u64 {
    let after_digit = c.dot & c.digit << 1;
    let two = after_digit & (after_digit << 2 | after_digit << 3 | after_digit << 4);
    (c.digit & two << 1) | (c.dot & c.dot << 5)
}

#[inline(always)]
fn colons(c: &Classes) -> u64 {
    let k = c.colon;
    let second = k & (k << 2 | k << 3 | k << 4 | k << 5);
    let third = k & (second << 2 | second << 3 | second << 4 | second << 5);
    let dash = c.dash & c.dash << 3;
    let space = c.space & c.space << 3;
    (k & k << 1) | third | (dash & dash << 6) | (space & space << 6)
}

#[inline(always)]
fn token(c: &Classes) -> u64 {
    let word = c.digit | c.letter | c.under;
    let word2 = word & word << 1;
    let word4 = word2 & word2 << 2;
    let word8 = word4 & word4 << 4;
    let word16 = word8 & word8 << 8;
    word16 & !(word16 << 1)
}

#[inline(always)]
fn pem(c: &Classes) -> u64 {
    let dash2 = c.dash & c.dash << 1;
    let dash4 = dash2 & dash2 << 2;
    let dash5 = c.dash & dash4 << 1;
    c.letter & dash5 << 1
}
