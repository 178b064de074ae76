//! `CRYPTO`: Bitcoin addresses (base58check and BIP-173/350 bech32) and
//! Ethereum ones.

use super::Sieve;
use super::text::{before, is_edge, slice};
use crate::entity::Entity;
use aws_lc_rs::digest::{SHA256, digest};

/// Looks at the word from `start` to `end`.
pub(super) fn find(s: &mut Sieve<'_>, start: usize, end: usize) {
    let text = s.text;
    if !s.wanted.has(Entity::Crypto) || !is_edge(before(text, start)) {
        return;
    }
    if text.get(end).is_some_and(|b| !is_edge(*b)) {
        return;
    }
    let word = slice(text, start, end);
    let score = match word {
        [b'1' | b'3', ..] if (26..=35).contains(&word.len()) && is_base58check(word) => 1.0,
        [b'b' | b'B', b'c' | b'C', b'1', ..] if is_bech32(word) => 1.0,
        [b'0', b'x', rest @ ..] if rest.len() == 40 && rest.iter().all(u8::is_ascii_hexdigit) => {
            0.5
        }
        _ => return,
    };
    s.put(Entity::Crypto, start, end, score);
}

/// Version byte 0 or 5, 20 bytes, and the first 4 of their double SHA-256.
fn is_base58check(word: &[u8]) -> bool {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut raw = [0u8; 25];
    for b in word {
        let Some(v) = ALPHABET.iter().position(|a| a == b) else { return false };
        let mut carry = u32::try_from(v).unwrap_or(0);
        for byte in raw.iter_mut().rev() {
            carry += u32::from(*byte) * 58;
            *byte = (carry & 0xFF) as u8;
            carry >>= 8;
        }
        if carry != 0 {
            return false;
        }
    }
    let Some((body, check)) = raw.split_at_checked(21) else { return false };
    let twice = digest(&SHA256, digest(&SHA256, body).as_ref());
    matches!(body.first(), Some(0 | 5)) && twice.as_ref().get(..4) == Some(check)
}

/// BIP-173 checksum over `bc` (constant 1) or BIP-350's (0x2bc830a3).
fn is_bech32(word: &[u8]) -> bool {
    const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const STEPS: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let upper = word.iter().any(u8::is_ascii_uppercase);
    let lower = word.iter().any(u8::is_ascii_lowercase);
    let Some(data) = word.get(3..) else { return false };
    if !(11..=87).contains(&data.len()) || (upper && lower) {
        return false;
    }
    let mut sum = 1u32;
    let mut step = |v: u32| {
        let top = sum >> 25;
        sum = (sum & 0x01ff_ffff) << 5 ^ v;
        for (i, g) in STEPS.iter().enumerate() {
            if top >> i & 1 == 1 {
                sum ^= g;
            }
        }
    };
    // "bc": high bits, zero, low bits.
    [3, 3, 0, 2, 3].into_iter().for_each(&mut step);
    for b in data {
        match ALPHABET.iter().position(|a| *a == b.to_ascii_lowercase()) {
            Some(v) => step(u32::try_from(v).unwrap_or(0)),
            None => return false,
        }
    }
    sum == 1 || sum == 0x2bc8_30a3
}
