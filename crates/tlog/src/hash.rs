//! SHA-256 as RFC 6962 section 2.1 uses it.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes in one hash.
pub const HASH_LEN: usize = 32;

/// A SHA-256 value: a leaf hash, a node of the tree, or a root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; HASH_LEN]);

impl Hash {
    /// The root of a tree without leaves: `SHA-256("")` (RFC 6962 section 2.1).
    pub const EMPTY_ROOT: Self = Self([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9,
        0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52,
        0xb8, 0x55,
    ]);

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; HASH_LEN] {
        &self.0
    }

    /// A hash from exactly [`HASH_LEN`] bytes; `None` for any other length.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Standard base64 with padding: the form checkpoints and proofs use.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// The inverse of [`Hash::to_base64`]; `None` unless it is canonical base64 of 32 bytes.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok().and_then(|bytes| Self::from_slice(&bytes))
    }

    /// Lower-case hexadecimal: the form object names use.
    #[must_use]
    pub fn to_hex(&self) -> String {
        format!("{self}")
    }

    /// The inverse of [`Hash::to_hex`]; `None` unless it is 64 lower-case hex digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != HASH_LEN * 2 {
            return None;
        }
        let mut out = [0u8; HASH_LEN];
        for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = (hex_digit(*high)? << 4) | hex_digit(*low)?;
        }
        Some(Self(out))
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// SHA-256 of `bytes`, without any prefix (key IDs, object names).
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    digest_to_hash(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// The hash of a leaf: `SHA-256(0x00 || entry)` (RFC 6962 section 2.1).
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[0x00]);
    context.update(entry);
    digest_to_hash(context.finish().as_ref())
}

/// The hash of an inner node: `SHA-256(0x01 || left || right)` (RFC 6962 section 2.1).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut input = [0u8; 1 + 2 * HASH_LEN];
    let (prefix, rest) = input.split_at_mut(1);
    prefix.fill(0x01);
    let (l, r) = rest.split_at_mut(HASH_LEN);
    l.copy_from_slice(&left.0);
    r.copy_from_slice(&right.0);
    sha256(&input)
}

fn digest_to_hash(digest: &[u8]) -> Hash {
    let mut out = [0u8; HASH_LEN];
    // SHA-256 always gives 32 bytes; the zip keeps this free of a panic path.
    for (to, from) in out.iter_mut().zip(digest) {
        *to = *from;
    }
    Hash(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_root_is_the_sha256_of_nothing() {
        assert_eq!(sha256(b""), Hash::EMPTY_ROOT);
    }

    #[test]
    fn leaf_and_node_are_domain_separated() {
        let (a, b) = (leaf_hash(b"a"), leaf_hash(b"b"));
        let mut as_leaf = a.0.to_vec();
        as_leaf.extend_from_slice(&b.0);
        assert_ne!(node_hash(&a, &b), leaf_hash(&as_leaf));
        assert_eq!(leaf_hash(b"x"), sha256(b"\0x"));
    }

    #[test]
    fn text_forms_round_trip_and_refuse_the_rest() {
        let hash = leaf_hash(b"entry");
        assert_eq!(Hash::from_base64(&hash.to_base64()), Some(hash));
        assert_eq!(Hash::from_hex(&hash.to_hex()), Some(hash));
        assert_eq!(Hash::from_hex(&hash.to_hex().to_uppercase()), None);
        assert_eq!(Hash::from_hex("00"), None);
        assert_eq!(Hash::from_base64("AAAA"), None);
        assert_eq!(Hash::from_base64(hash.to_base64().trim_end_matches('=')), None);
    }
}
