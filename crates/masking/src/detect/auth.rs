//! `AUTH_SECRET`: what a word beside it says is a secret.
//!
//! * the password of a URL: `scheme://user:password@host` (RFC 3986 section 3.2.1)
//! * what is assigned to a `password`, `passwd` or `passwort`, of any length:
//!   `password=…`, `"db_password": "…"`, `PASSWORD '…'` (SQL)
//! * what is assigned to a secret, token, API key or the like, or follows
//!   `Bearer` or `Basic` (RFC 9110 section 11.4), from 16 characters in a row on
//!
//! Shorter values of the last kind are not found: nothing but the letters of
//! ordinary words would lead there.

use super::Sieve;
use super::secret::{Run, Secret};
use super::text::{Bytes, at, before, is_edge, run_end, run_start, slice};
use crate::entity::Entity;

/// Longest password whose end is looked for at once; a longer one is followed
/// byte by byte.
const MAX_AT_ONCE: usize = 320;
/// Most spaces on either side of `=`.
const MAX_SPACES: usize = 8;
/// Longest word before `=` that is told apart.
const MAX_KEY: usize = 48;
/// Longest `user:password` of a URL.
const MAX_USERINFO: usize = 192;

const URL: f32 = 0.9;
const PASSWORD: f32 = 0.75;
const KEYED: f32 = 0.7;

/// Looks at the `@` at `p`; true if a URL's password ends there.
pub(super) fn url(s: &mut Sieve<'_>, p: usize) -> bool {
    if !s.wanted.takes(Entity::AuthSecret, URL) {
        return false;
    }
    let text = s.text;
    let part = |b: u8| b > b' ' && !b"/?#\"'<>\\`".contains(&b);
    let start = run_start(text, p, p.saturating_sub(MAX_USERINFO), part);
    if start < 4 || slice(text, start - 3, start) != b"://" || is_edge(at(text, start - 4)) {
        return false;
    }
    let Some(colon) = slice(text, start, p).iter().position(|b| *b == b':') else { return false };
    let password = start + colon + 1;
    if !is_value(slice(text, password, p)) {
        return false;
    }
    s.put(Entity::AuthSecret, password, p, URL);
    true
}

/// Looks at the third of three letters `s` or `w` at `p`.
pub(super) fn password(s: &mut Sieve<'_>, p: usize) -> Option<Secret> {
    let text = s.text;
    let is_word = slice(text, p.saturating_sub(4), p + 1).eq_ignore_ascii_case(b"passw");
    if !is_word || !s.wanted.takes(Entity::AuthSecret, PASSWORD) {
        return None;
    }
    let rest = slice(text, p + 1, text.len().min(p + 4));
    let ends = [&b"ord"[..], b"ort", b"d"];
    let more =
        ends.iter().find(|e| rest.get(..e.len()).is_some_and(|x| x.eq_ignore_ascii_case(e)))?;
    let (start, opened) = assigned(text, p + 1 + more.len())?;
    let run = Run::Until { quote: opened, escaped: false };
    let window = slice(text, start, text.len().min(start + MAX_AT_ONCE));
    let mut end = 0;
    loop {
        end += run.clone().length(window.get(end..).unwrap_or_default());
        // In SQL a quote is doubled to stand for itself.
        if opened != b'\'' || window.get(end..end + 2) != Some(b"''") {
            break;
        }
        end += 2;
    }
    let value = window.get(..end).unwrap_or_default();
    let next = at(window, end);
    if opened == 0 && !is_bare(value, next) || !is_value(value) {
        return None;
    }
    if end < MAX_AT_ONCE {
        s.put(Entity::AuthSecret, start, start + end, PASSWORD);
        return None;
    }
    Some(Secret { start, entity: Entity::AuthSecret, score: PASSWORD, run })
}

/// Where the value begins that is assigned to the word that ends at `i`, and
/// the quote before it: 0 is none, a backslash is a quote inside a string.
fn assigned(text: &[u8], i: usize) -> Option<(usize, u8)> {
    let space = |i| run_end(text, i, MAX_SPACES, |b| b == b' ' || b == b'\t');
    let quote = |i| match (at(text, i), at(text, i + 1)) {
        (q @ (b'"' | b'\'' | b'`'), _) => Some((i + 1, q)),
        (b'\\', b'"' | b'\'') => Some((i + 2, b'\\')),
        _ => None,
    };
    let behind = space(quote(i).map_or(i, |(behind, _)| behind));
    let sign = match (at(text, behind), at(text, behind + 1)) {
        (b':', b'=') | (b'=', b'>') => 2,
        (b'=', b'=') | (b':', b':') => return None,
        (b'=' | b':', _) => 1,
        // SQL: PASSWORD 'secret'
        (b'\'', _) if behind > i && before(text, behind) == b' ' => 0,
        _ => return None,
    };
    let from = space(behind + sign);
    Some(quote(from).unwrap_or((from, 0)))
}

/// Whether it can be a secret at all, and is no placeholder.
fn is_value(value: &[u8]) -> bool {
    const NONE: [&[u8]; 6] = [b"null", b"none", b"nil", b"true", b"false", b"undefined"];
    let Some(first) = value.first() else { return false };
    let varied = value.len() == 1 || value.iter().any(|b| b != first);
    varied
        && !matches!(first, b'$' | b'<' | b'{' | b'%' if value.len() < 3)
        && !value.starts_with(b"${")
        && !value.starts_with(b"{{")
        && !NONE.iter().any(|n| value.eq_ignore_ascii_case(n))
}

/// Whether it is more likely a password than a word of a sentence or of a
/// program: no call, no name of a type, and not all small letters within a line.
fn is_bare(value: &[u8], next: u8) -> bool {
    const TYPES: [&[u8]; 6] = [b"string", b"str", b"text", b"varchar", b"bytes", b"secret"];
    let small = value.iter().all(|b| b.is_ascii_lowercase() || *b == b'.');
    let capital = value.split_first().is_some_and(|(f, more)| {
        f.is_ascii_uppercase() && more.iter().all(|b| b.is_ascii_lowercase() || *b == b'.')
    });
    let code = value.iter().any(|b| matches!(b, b'(' | b'[')) || next == b'(';
    !code
        && !TYPES.iter().any(|t| value.eq_ignore_ascii_case(t))
        && !((small || capital) && matches!(next, b' ' | b'\t'))
}

/// What may stand in a token or in base64.
#[inline(always)]
pub(super) fn is_keyed(b: u8) -> bool {
    static KEYED: Bytes = Bytes::alphanumeric_and(b"_-.+/~");
    KEYED.has(b)
}

/// Words that a secret's name ends with, in small letters without `_` and `-`.
const KEYS: [&[u8]; 12] = [
    b"secret",
    b"token",
    b"apikey",
    b"secretkey",
    b"accesskey",
    b"privatekey",
    b"authkey",
    b"passphrase",
    b"pwd",
    b"credentials",
    b"authorization",
    b"masterkey",
];
/// Tokens that are none: they tell a reader where to go on.
const PAGES: [&[u8]; 4] = [b"page", b"next", b"continu", b"cursor"];

/// Looks at the 16 word characters that end at `p`: is there something that
/// says they are secret?
pub(super) fn keyed(s: &Sieve<'_>, p: usize, low: usize) -> Option<Secret> {
    if !s.wanted.takes(Entity::AuthSecret, KEYED) {
        return None;
    }
    let text = s.text;
    let start = run_start(text, p + 1, low, is_keyed);
    // Most long words are told by this byte to be none.
    if !b" \t=:>\"'`\\".contains(&before(text, start)) {
        return None;
    }
    let scheme = follows_scheme(text, start);
    if !scheme && !follows_key(text, start) {
        return None;
    }
    let rest = slice(text, start, text.len().min(start + 128));
    let value = slice(rest, 0, run_end(rest, 0, 128, is_keyed));
    let has = |class: fn(&u8) -> bool| value.iter().any(class);
    let (digit, upper) = (has(u8::is_ascii_digit), has(u8::is_ascii_uppercase));
    let mixed = if scheme { digit || upper } else { digit && has(u8::is_ascii_alphabetic) };
    let told = mixed && !matches!(value.first(), Some(b'/' | b'.'));
    told.then_some(Secret { start, entity: Entity::AuthSecret, score: KEYED, run: Run::Value })
}

fn follows_scheme(text: &[u8], start: usize) -> bool {
    [&b"bearer "[..], b"basic "].iter().any(|word| {
        let from = start.saturating_sub(word.len());
        slice(text, from, start).eq_ignore_ascii_case(word) && is_edge(before(text, from))
    })
}

fn follows_key(text: &[u8], start: usize) -> bool {
    let back = |end: usize, most: usize, class: fn(u8) -> bool| {
        run_start(text, end, end.saturating_sub(most), class)
    };
    let is_quote = |b: u8| matches!(b, b'"' | b'\'' | b'\\' | b'`');
    let is_space = |b: u8| matches!(b, b' ' | b'\t');
    let sign = back(back(start, 2, is_quote), MAX_SPACES, is_space);
    let signed = back(sign, 2, |b| matches!(b, b'=' | b':' | b'>'));
    if signed == sign || sign - signed == 2 && slice(text, signed, sign) == b"==" {
        return false;
    }
    let end = back(back(signed, MAX_SPACES, is_space), 2, is_quote);
    let from = back(end, MAX_KEY, |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let mut key = [0; MAX_KEY];
    let mut length = 0;
    let letters = slice(text, from, end).iter().filter(|b| !matches!(b, b'_' | b'-'));
    for (place, letter) in key.iter_mut().zip(letters) {
        *place = letter.to_ascii_lowercase();
        length += 1;
    }
    let key = slice(&key, 0, length);
    let pages = || PAGES.iter().any(|page| key.windows(page.len()).any(|w| w == *page));
    KEYS.iter().any(|word| key.ends_with(word)) && !pages()
}
