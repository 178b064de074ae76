//! Values inside values: one level of base64, percent signs or backslashes.

use crate::escape::{FormText, JsonText, decode};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use masking::{Outcome, Policy, Receipt, Sink};
use memchr::{memchr, memmem};

/// Shortest value that is decoded, in bytes: 12 of base64 are a short mailbox.
const MIN_NESTED: usize = 12;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Whether a value carries in itself, encoded once, what must not be seen. If
/// so, what takes the place of all of it is appended to `out`.
pub(crate) fn mask(
    policy: &Policy,
    sink: Sink,
    value: &[u8],
    out: &mut Vec<u8>,
    receipt: &mut Receipt,
) -> bool {
    if !may_hold(value) {
        return false;
    }
    let mut found = |decoded: &[u8]| {
        policy.mask_encoded(sink, decoded, value, out, receipt) == Outcome::Replaced
    };
    if memchr(b'\\', value).is_some() {
        let mut plain = Vec::with_capacity(value.len());
        decode::<JsonText>(value, &mut plain);
        if found(&plain) {
            return true;
        }
    }
    if memchr(b'%', value).is_some() {
        let mut plain = Vec::with_capacity(value.len());
        decode::<FormText>(value, &mut plain);
        if plain != value && found(&plain) {
            return true;
        }
    }
    unbase64(value).is_some_and(|plain| found(&plain))
}

/// Whether it is a UUID (RFC 9562 section 4), which would pass for base64.
fn is_uuid(value: &[u8]) -> bool {
    value.len() == 36
        && value.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// The content of base64 (RFC 4648 sections 4 and 5; with or without padding,
/// lines as in MIME), also of a `data:` URL.
fn unbase64(value: &[u8]) -> Option<Vec<u8>> {
    let value = value.trim_ascii();
    let value = if value.starts_with(b"data:") {
        let at = memmem::find(value, b";base64,")?;
        value.get(at + 8..)?
    } else {
        value
    };
    let mut url = false;
    let mut lines = false;
    for b in value {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'=' => {}
            b'-' | b'_' => url = true,
            b'\r' | b'\n' => lines = true,
            _ => return None,
        }
    }
    let joined: Vec<u8>;
    let value = if lines {
        joined = value.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
        &joined
    } else {
        value
    };
    // A character too many, or a mistake at the end, does not hide the rest.
    let whole = value.iter().position(|b| *b == b'=').unwrap_or(value.len());
    let odd = usize::from(whole % 4 == 1);
    let value = value.get(..whole - odd)?;
    if url { URL.decode(value).ok() } else { STANDARD.decode(value).ok() }
}

/// Whether a value has to be decoded at all.
pub(crate) fn may_hold(value: &[u8]) -> bool {
    if value.len() < MIN_NESTED {
        return false;
    }
    if is_uuid(value) {
        return false;
    }
    let begin = value.trim_ascii_start();
    let head = begin.get(..MIN_NESTED.min(begin.len())).unwrap_or_default();
    let word = |b: &u8| b.is_ascii_alphanumeric() || b"+/-_=:;\r\n".contains(b);
    head.iter().all(word) || memchr::memchr2(b'\\', b'%', value).is_some()
}
