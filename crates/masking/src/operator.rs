//! What is put in a sensitive value's place, under Presidio's operator names.

use crate::luhn;
use aws_lc_rs::hmac;

/// How one value is masked.
///
/// Keyed operators carry their derived key; `Debug` does not show it.
#[derive(Clone, Debug)]
pub enum Operator {
    /// Leave as it is.
    Keep,
    /// Put a fixed text in its place; `None` means `<ENTITY>`.
    Replace {
        /// The text.
        new_value: Option<String>,
    },
    /// Remove it.
    Redact,
    /// Overwrite characters.
    Mask {
        /// The character written.
        masking_char: char,
        /// How many characters, separators included.
        chars_to_mask: usize,
        /// Count from the end instead of the start.
        from_end: bool,
    },
    /// HMAC-SHA256 under the policy's key, 64 hex digits.
    Hash(Key),
    /// Deterministic stand-in of the same shape: digits become digits,
    /// letters letters of the same case, the rest stays. Equal values give
    /// equal stand-ins whatever their separators and case, so joins still
    /// work. What looks like a card number fails the Luhn test afterwards.
    Pseudonymize(Key),
    /// Answer NULL. Column rules only.
    Null,
}

/// A key derived from the policy's key for one use. `Debug` prints `***`.
#[derive(Clone)]
pub struct Key(hmac::Key);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Key {
    /// Derives the key for one use, so that a hash never equals the stream a
    /// pseudonym is made of.
    pub(crate) fn derive(root: &[u8], label: &str) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, root);
        let derived = hmac::sign(&root, label.as_bytes());
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }
}

/// What [`Operator::apply`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The masked text was appended to `out` (possibly nothing: `redact`).
    Text,
    /// The value is to be answered as NULL; nothing was appended.
    Null,
}

impl Operator {
    /// Whether the value passes unchanged.
    #[must_use]
    pub fn is_keep(&self) -> bool {
        matches!(self, Operator::Keep)
    }

    /// Whether both do the same to every value. All keys of one policy come
    /// from one root, so keyed operators of a kind are alike.
    pub(crate) fn is_as(&self, other: &Operator) -> bool {
        match (self, other) {
            (Operator::Replace { new_value: a }, Operator::Replace { new_value: b }) => a == b,
            (
                Operator::Mask { masking_char: a, chars_to_mask: b, from_end: c },
                Operator::Mask { masking_char: x, chars_to_mask: y, from_end: z },
            ) => (a, b, c) == (x, y, z),
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// Masks one whole value, appending to `out`.
    pub fn apply(&self, value: &[u8], out: &mut Vec<u8>) -> Applied {
        self.apply_as("MASKED", value, out)
    }

    /// As [`Operator::apply`], with the entity's name for `replace`.
    pub fn apply_as(&self, entity: &str, value: &[u8], out: &mut Vec<u8>) -> Applied {
        match self {
            Operator::Keep => out.extend_from_slice(value),
            Operator::Replace { new_value: Some(v) } => out.extend_from_slice(v.as_bytes()),
            Operator::Replace { new_value: None } => placeholder(entity, out),
            Operator::Redact => {}
            Operator::Mask { masking_char, chars_to_mask, from_end } => {
                mask(value, *masking_char, *chars_to_mask, *from_end, out);
            }
            Operator::Hash(key) => {
                for b in hmac::sign(&key.0, value).as_ref() {
                    out.push(hex(b >> 4));
                    out.push(hex(b & 15));
                }
            }
            Operator::Pseudonymize(key) => pseudonymize(key, value, out),
            Operator::Null => return Applied::Null,
        }
        Applied::Text
    }
}

/// `<ENTITY>`.
pub(crate) fn placeholder(entity: &str, out: &mut Vec<u8>) {
    out.push(b'<');
    out.extend_from_slice(entity.as_bytes());
    out.push(b'>');
}

fn hex(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

/// Whether a character begins at this byte. A byte that is no UTF-8 counts as
/// one character, so that nothing of a damaged text is skipped.
fn begins_char(b: u8) -> bool {
    b & 0xC0 != 0x80
}

fn mask(value: &[u8], c: char, n: usize, from_end: bool, out: &mut Vec<u8>) {
    let chars = value.iter().filter(|b| begins_char(**b)).count();
    let (from, to) = if from_end { (chars.saturating_sub(n), chars) } else { (0, n.min(chars)) };
    let mut buf = [0; 4];
    let c = c.encode_utf8(&mut buf).as_bytes();
    let mut at = 0usize;
    let mut inside = from == 0 && to > 0;
    for b in value {
        if begins_char(*b) {
            inside = at >= from && at < to;
            at += 1;
            if inside {
                out.extend_from_slice(c);
            }
        }
        if !inside {
            out.push(*b);
        }
    }
}

/// A stream of pseudorandom bytes bound to one value.
struct Tape<'k> {
    key: &'k Key,
    seed: hmac::Tag,
    block: hmac::Tag,
    at: usize,
    counter: u64,
}

impl<'k> Tape<'k> {
    fn new(key: &'k Key, value: &[u8]) -> Self {
        let mut ctx = hmac::Context::with_key(&key.0);
        // Separators and case do not change who is meant.
        for b in value.iter().filter(|b| b.is_ascii_alphanumeric() || !b.is_ascii()) {
            ctx.update(&[b.to_ascii_lowercase()]);
        }
        let seed = ctx.sign();
        Self { key, seed, block: seed, at: 0, counter: 0 }
    }

    fn next(&mut self) -> u8 {
        if let Some(b) = self.block.as_ref().get(self.at) {
            self.at += 1;
            return *b;
        }
        self.counter += 1;
        let mut ctx = hmac::Context::with_key(&self.key.0);
        ctx.update(self.seed.as_ref());
        ctx.update(&self.counter.to_be_bytes());
        self.block = ctx.sign();
        self.at = 1;
        self.block.as_ref().first().copied().unwrap_or(0)
    }

    /// A number below `n` (up to 256); the bias is under 5 %, which gives
    /// nothing away of a keyed value.
    fn below(&mut self, n: u8) -> u8 {
        let wide = u16::from(self.next()) << 8 | u16::from(self.next());
        u8::try_from(wide % u16::from(n)).unwrap_or(0)
    }
}

fn pseudonymize(key: &Key, value: &[u8], out: &mut Vec<u8>) {
    let mut tape = Tape::new(key, value);
    let start = out.len();
    // How many continuation bytes of the current character are still to come.
    let mut tail = 0u8;
    for b in value.iter().copied() {
        match b {
            b'0'..=b'9' => out.push(b'0' + tape.below(10)),
            b'a'..=b'z' => out.push(b'a' + tape.below(26)),
            b'A'..=b'Z' => out.push(b'A' + tape.below(26)),
            0..=0x7F => out.push(b),
            // Another character of as many bytes, so that the text stays
            // UTF-8: U+00E0.., U+4E00.., U+20000...
            0xC2..=0xDF => {
                out.push(0xC3);
                tail = 1;
            }
            0xE0..=0xEF => {
                out.extend_from_slice(&[0xE4]);
                tail = 2;
            }
            0xF0..=0xF4 => {
                out.push(0xF0);
                tail = 3;
            }
            0x80..=0xBF if tail > 0 => {
                let lead = out.last().copied().unwrap_or(0);
                let r = tape.below(16);
                out.push(match lead {
                    0xC3 => 0xA0 + r,
                    0xE4 => 0xB8 + (r & 7),
                    0xF0 => 0xA0,
                    _ => 0x80 + r,
                });
                tail -= 1;
            }
            _ => out.push(b'?'),
        }
    }
    if let Some(made) = out.get_mut(start..) {
        luhn::spoil(made);
    }
}

/// Masks a decimal number that is a card: as many digits, no leading zero,
/// never a valid card, never above `i64::MAX`. `None` when the operator keeps
/// the value.
pub(crate) fn mask_decimal(op: &Operator, digits: &str) -> Option<String> {
    let mut out = Vec::with_capacity(digits.len());
    match op {
        Operator::Keep => return None,
        Operator::Pseudonymize(key) => pseudonymize(key, digits.as_bytes(), &mut out),
        Operator::Mask { chars_to_mask, from_end, .. } => {
            mask(digits.as_bytes(), '1', *chars_to_mask, *from_end, &mut out);
        }
        // No digit of the number survives, and no digit tells of it.
        Operator::Replace { .. } | Operator::Redact | Operator::Hash(_) | Operator::Null => {
            out.resize(digits.len(), b'1');
        }
    }
    if let Some(first) = out.first_mut() {
        // 8 at most: 19 digits must fit PostgreSQL's int8.
        if !(b'1'..=b'8').contains(first) {
            *first = if *first == b'9' { b'8' } else { b'1' };
        }
    }
    luhn::spoil(&mut out);
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::derive(&[7; 32], "test")
    }

    fn run(op: &Operator, v: &str) -> String {
        let mut out = Vec::new();
        assert_eq!(op.apply_as("X", v.as_bytes(), &mut out), Applied::Text);
        String::from_utf8(out).unwrap()
    }

    fn masked(v: &str, n: usize, from_end: bool) -> String {
        run(&Operator::Mask { masking_char: '*', chars_to_mask: n, from_end }, v)
    }

    #[test]
    fn mask_counts_characters() {
        assert_eq!(masked("4111-1111", 5, false), "*****1111");
        assert_eq!(masked("4111-1111", 4, true), "4111-****");
        assert_eq!(masked("äöü", 2, false), "**ü");
        assert_eq!(masked("äöü", 2, true), "ä**");
        assert_eq!(masked("ab", 9, true), "**");
        assert_eq!(masked("ab", 0, false), "ab");
        assert_eq!(masked("", 3, false), "");
    }

    #[test]
    fn simple_operators() {
        assert_eq!(run(&Operator::Keep, "v"), "v");
        assert_eq!(run(&Operator::Redact, "v"), "");
        assert_eq!(run(&Operator::Replace { new_value: None }, "v"), "<X>");
        assert_eq!(run(&Operator::Replace { new_value: Some("n".into()) }, "v"), "n");
        let mut out = Vec::new();
        assert_eq!(Operator::Null.apply(b"v", &mut out), Applied::Null);
        assert!(out.is_empty());
    }

    #[test]
    fn hash_is_keyed_and_stable() {
        let a = run(&Operator::Hash(key()), "078-05-1120");
        assert_eq!(a.len(), 64);
        assert_eq!(a, run(&Operator::Hash(key()), "078-05-1120"));
        assert_ne!(a, run(&Operator::Hash(Key::derive(&[8; 32], "test")), "078-05-1120"));
        assert!(!format!("{:?}", Operator::Hash(key())).contains('7'));
    }

    #[test]
    fn pseudonym_keeps_the_shape_and_joins() {
        let op = Operator::Pseudonymize(key());
        let a = run(&op, "Jane.Doe-42@müller.example");
        let shape = |s: &str| -> String {
            s.chars()
                .map(|c| match c {
                    '0'..='9' => '9',
                    'a'..='z' => 'a',
                    'A'..='Z' => 'A',
                    c if !c.is_ascii() => 'u',
                    c => c,
                })
                .collect()
        };
        assert_eq!(shape(&a), shape("Jane.Doe-42@müller.example"));
        assert_ne!(a, "Jane.Doe-42@müller.example");
        assert_eq!(run(&op, "4111 1111 1111 1111").replace(' ', ""), run(&op, "4111111111111111"));
        let long = "z".repeat(1000);
        assert_eq!(run(&op, &long).len(), 1000);
    }

    #[test]
    fn pseudonymous_cards_are_never_valid() {
        let op = Operator::Pseudonymize(key());
        for i in 0..500u64 {
            let p = run(&op, &format!("{}", 4_000_000_000_000_000 + i));
            assert!(!luhn::valid(p.as_bytes()), "{p}");
        }
    }

    #[test]
    fn numbers_stay_numbers() {
        for op in [
            Operator::Pseudonymize(key()),
            Operator::Redact,
            Operator::Replace { new_value: None },
            Operator::Hash(key()),
            Operator::Mask { masking_char: '*', chars_to_mask: 12, from_end: false },
        ] {
            let m = mask_decimal(&op, "4111111111111111").unwrap();
            assert_eq!(m.len(), 16);
            assert!(!luhn::valid(m.as_bytes()));
            assert_ne!(m, "4111111111111111");
            let m = mask_decimal(&op, "6304219447607087665").unwrap();
            assert!(m.parse::<i64>().is_ok() && m.len() == 19);
        }
        assert_eq!(mask_decimal(&Operator::Keep, "4111111111111111"), None);
    }
}
