//! The prefilter: shapes of sensitive values as AND and SHIFT over bit masks.
//!
//! Each mask of [`Hits`] has a bit where a shape ENDS, so that only earlier
//! blocks are needed. Every shape is monotone (it asks that bytes ARE of a
//! class, with the exception of "first of a run"), so a value inside a larger
//! buffer shows the same bits wherever it lies. False hits cost time only: the
//! detectors decide.

use super::classes::Classes;

/// A mask with the one of the block before, so that shapes cross blocks.
#[derive(Clone, Copy, Debug, Default)]
struct Lagged {
    now: u64,
    before: u64,
}

impl Lagged {
    #[inline(always)]
    fn push(&mut self, now: u64) {
        self.before = self.now;
        self.now = now;
    }

    /// The mask moved up by `K` (1 to 63): bit i tells of byte i - K.
    #[inline(always)]
    fn back<const K: u32>(self) -> u64 {
        self.now << K | self.before >> (64 - K)
    }
}

/// Where shapes end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hits {
    /// `@`
    pub(crate) at: u64,
    /// two digits, separator, two digits; nine digits; `+1`, `(1`
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
}

impl Hits {
    #[inline(always)]
    pub(crate) fn any(&self) -> u64 {
        self.at | self.number | self.dotted | self.colons | self.token | self.iban | self.pem
    }
}

/// What earlier blocks leave behind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shapes {
    digit: Lagged,
    digit2: Lagged,
    digit4: Lagged,
    digit8: Lagged,
    letter2: Lagged,
    letter: Lagged,
    word: Lagged,
    word2: Lagged,
    word4: Lagged,
    word8: Lagged,
    word16: Lagged,
    high: Lagged,
    /// separator (not dot) with a digit before it
    joint: Lagged,
    /// two-byte separator with a digit before it
    wide_joint: Lagged,
    lead: Lagged,
    dot: Lagged,
    digit_dot: Lagged,
    dots: Lagged,
    colon: Lagged,
    colons2: Lagged,
    dash: Lagged,
    dash2: Lagged,
    dash4: Lagged,
    dash5: Lagged,
    dash_by3: Lagged,
    space: Lagged,
    space_by3: Lagged,
}

impl Shapes {
    /// Takes the next block's masks.
    #[inline(always)]
    pub(crate) fn step(&mut self, c: &Classes) -> Hits {
        self.digit.push(c.digit);
        self.digit2.push(c.digit & self.digit.back::<1>());
        self.letter.push(c.letter);
        Hits {
            at: c.at,
            number: self.number(c),
            dotted: self.dotted(c),
            colons: self.colons(c),
            token: self.token(c),
            iban: self.iban(),
            pem: self.pem(c),
        }
    }

    #[inline(always)]
    fn number(&mut self, c: &Classes) -> u64 {
        let d2 = self.digit2.now;
        self.joint.push((c.space | c.dash) & self.digit.back::<1>());
        // NBSP is two bytes of 0x80 and up.
        self.high.push(c.high);
        self.wide_joint.push(c.high & self.high.back::<1>() & self.digit.back::<2>());
        self.lead.push(c.lead);
        self.digit4.push(d2 & self.digit2.back::<2>());
        self.digit8.push(self.digit4.now & self.digit4.back::<4>());
        let nine = self.digit8.now & self.digit8.back::<1>();
        // A shorter first group ("1-") is no part of any number sought,
        // except behind a `+`.
        let grouped = d2 & (self.joint.back::<2>() | self.wide_joint.back::<2>());
        grouped | nine | (c.digit & self.lead.back::<1>())
    }

    #[inline(always)]
    fn dotted(&mut self, c: &Classes) -> u64 {
        self.dot.push(c.dot);
        self.digit_dot.push(c.dot & self.digit.back::<1>());
        let dd = self.digit_dot;
        self.dots.push(dd.now & (dd.back::<2>() | dd.back::<3>() | dd.back::<4>()));
        let five = c.dot & self.dot.back::<5>();
        (c.digit & self.dots.back::<1>()) | five
    }

    #[inline(always)]
    fn colons(&mut self, c: &Classes) -> u64 {
        self.colon.push(c.colon);
        let k = self.colon;
        let near = k.back::<2>() | k.back::<3>() | k.back::<4>() | k.back::<5>();
        self.colons2.push(c.colon & near);
        let k2 = self.colons2;
        let third = c.colon & (k2.back::<2>() | k2.back::<3>() | k2.back::<4>() | k2.back::<5>());
        self.dash.push(c.dash);
        self.dash_by3.push(c.dash & self.dash.back::<3>());
        self.space.push(c.space);
        self.space_by3.push(c.space & self.space.back::<3>());
        (c.colon & k.back::<1>())
            | third
            | (self.dash_by3.now & self.dash_by3.back::<6>())
            | (self.space_by3.now & self.space_by3.back::<6>())
    }

    #[inline(always)]
    fn token(&mut self, c: &Classes) -> u64 {
        self.word.push(c.digit | c.letter | c.under);
        self.word2.push(self.word.now & self.word.back::<1>());
        self.word4.push(self.word2.now & self.word2.back::<2>());
        self.word8.push(self.word4.now & self.word4.back::<4>());
        self.word16.push(self.word8.now & self.word8.back::<8>());
        self.word16.now & !self.word16.back::<1>()
    }

    #[inline(always)]
    fn iban(&mut self) -> u64 {
        self.letter2.push(self.letter.now & self.letter.back::<1>());
        self.digit2.now & self.letter2.back::<2>()
    }

    #[inline(always)]
    fn pem(&mut self, c: &Classes) -> u64 {
        self.dash2.push(c.dash & self.dash.back::<1>());
        self.dash4.push(self.dash2.now & self.dash2.back::<2>());
        self.dash5.push(c.dash & self.dash4.back::<1>());
        c.letter & self.dash5.back::<1>()
    }
}
