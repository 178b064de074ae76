//! Keys for signed notes: Ed25519, in the "vkey" form of C2SP signed-note.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::signature::{self, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hash::sha256;

/// Bytes in an Ed25519 signature.
pub const SIGNATURE_LEN: usize = 64;
/// Bytes in an Ed25519 public key, and in a private seed.
pub const KEY_LEN: usize = 32;
/// The longest key name (and so checkpoint origin) we accept, in bytes.
pub const MAX_NAME_BYTES: usize = 255;
/// The signature type byte of Ed25519 in signed-note v1.0.0.
const ED25519_TYPE: u8 = 0x01;
/// Name, two plus signs, 8 hex digits and 44 characters of base64.
const MAX_VKEY_BYTES: usize = MAX_NAME_BYTES + 64;

/// What is wrong with a key. Never shows key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Empty, too long, or with white space, a plus sign or a control character.
    #[error("a key name must be 1 to 255 bytes without spaces, plus signs or control characters")]
    Name,
    /// Not `name+hexid+base64`.
    #[error("malformed verifier key: expected name+id+base64")]
    Format,
    /// The key is of a type other than Ed25519 (0x01).
    #[error("unsupported key type {0:#04x}: only Ed25519 (0x01) is")]
    Type(u8),
    /// The ID in the text is not the one of the name and key: a typing mistake or a forgery.
    #[error("the verifier key's ID does not belong to its name and public key")]
    Id,
    /// Neither PKCS#8 nor a seed of an Ed25519 key.
    #[error("the private key is not an Ed25519 key in PKCS#8 form")]
    Private,
    /// The crypto library failed (no randomness, for one). Ours, not the input's, fault.
    #[error("the crypto library could not make a key")]
    Crypto,
    /// The signature is not by this key over this text.
    #[error("invalid signature by {0}")]
    Signature(String),
}

pub(crate) fn check_name(name: &str) -> Result<(), KeyError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(bad) {
        return Err(KeyError::Name);
    }
    Ok(())
}

/// The first four bytes of `SHA-256(name || "\n" || type || key)`.
fn key_id(name: &str, public: &[u8; KEY_LEN]) -> u32 {
    let mut input = Vec::with_capacity(name.len() + 2 + KEY_LEN);
    input.extend_from_slice(name.as_bytes());
    input.extend_from_slice(&[b'\n', ED25519_TYPE]);
    input.extend_from_slice(public);
    let [a, b, c, d, ..] = sha256(&input).0;
    u32::from_be_bytes([a, b, c, d])
}

/// A public key with its name: checks signatures. Text form (`Display`, `FromStr`) is the vkey
/// `name+id+base64(type || key)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Verifier {
    name: String,
    id: u32,
    public: [u8; KEY_LEN],
}

impl Verifier {
    /// A verifier from its parts.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn new(name: &str, public: [u8; KEY_LEN]) -> Result<Self, KeyError> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), id: key_id(name, &public), public })
    }

    /// The key's name; for a log, its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's ID, as it stands in signature lines.
    #[must_use]
    pub const fn key_id(&self) -> u32 {
        self.id
    }

    /// The raw Ed25519 public key.
    #[must_use]
    pub const fn public_key(&self) -> &[u8; KEY_LEN] {
        &self.public
    }

    /// Checks a raw Ed25519 signature over `text`.
    ///
    /// # Errors
    /// [`KeyError::Signature`].
    pub fn verify(&self, text: &[u8], sig: &[u8]) -> Result<(), KeyError> {
        UnparsedPublicKey::new(&signature::ED25519, self.public)
            .verify(text, sig)
            .map_err(|_| KeyError::Signature(self.name.clone()))
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = Vec::with_capacity(1 + KEY_LEN);
        key.push(ED25519_TYPE);
        key.extend_from_slice(&self.public);
        write!(f, "{}+{:08x}+{}", self.name, self.id, STANDARD.encode(key))
    }
}

impl FromStr for Verifier {
    type Err = KeyError;

    fn from_str(vkey: &str) -> Result<Self, KeyError> {
        if vkey.len() > MAX_VKEY_BYTES {
            return Err(KeyError::Format);
        }
        // base64 may itself hold plus signs, a name and an ID may not: split from the left.
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Format);
        };
        let hex_digits = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if id.len() != 8 || !id.bytes().all(hex_digits) {
            return Err(KeyError::Format);
        }
        let id = u32::from_str_radix(id, 16).map_err(|_| KeyError::Format)?;
        let key = STANDARD.decode(key).map_err(|_| KeyError::Format)?;
        let (kind, public) = key.split_first().ok_or(KeyError::Format)?;
        if *kind != ED25519_TYPE {
            return Err(KeyError::Type(*kind));
        }
        let verifier = Self::new(name, public.try_into().map_err(|_| KeyError::Format)?)?;
        if verifier.id == id { Ok(verifier) } else { Err(KeyError::Id) }
    }
}

/// Private key bytes on their way to a file. `Debug` prints `***`.
#[derive(Clone)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// The secret itself. Write it to a file that only the owner may read, nowhere else.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A private key with its name: signs notes. `Debug` prints the name and `***`. Clones share the
/// one key.
#[derive(Clone)]
pub struct Signer {
    pair: Arc<Ed25519KeyPair>,
    verifier: Verifier,
}

impl Signer {
    /// A new key from the system's randomness. Keep it with [`Signer::to_pkcs8`].
    ///
    /// # Errors
    /// [`KeyError::Name`], [`KeyError::Crypto`].
    pub fn generate(name: &str) -> Result<Self, KeyError> {
        Self::from_pair(name, Ed25519KeyPair::generate().map_err(|_| KeyError::Crypto)?)
    }

    /// A key from a PKCS#8 document (RFC 5958; version 1 or 2, DER).
    ///
    /// # Errors
    /// [`KeyError::Name`], [`KeyError::Private`].
    pub fn from_pkcs8(name: &str, der: &[u8]) -> Result<Self, KeyError> {
        Self::from_pair(name, Ed25519KeyPair::from_pkcs8(der).map_err(|_| KeyError::Private)?)
    }

    /// A key from its 32-byte seed (RFC 8032's private key).
    ///
    /// # Errors
    /// [`KeyError::Name`], [`KeyError::Private`].
    pub fn from_seed(name: &str, seed: &[u8; KEY_LEN]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Private)?;
        Self::from_pair(name, pair)
    }

    fn from_pair(name: &str, pair: Ed25519KeyPair) -> Result<Self, KeyError> {
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Private)?;
        Ok(Self { verifier: Verifier::new(name, public)?, pair: Arc::new(pair) })
    }

    /// The private key as PKCS#8 (DER).
    ///
    /// # Errors
    /// [`KeyError::Crypto`].
    pub fn to_pkcs8(&self) -> Result<SecretBytes, KeyError> {
        let document = self.pair.to_pkcs8().map_err(|_| KeyError::Crypto)?;
        Ok(SecretBytes(document.as_ref().to_vec()))
    }

    /// The public half.
    #[must_use]
    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The key's name; for a log, its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        self.verifier.name()
    }

    /// Signs `text`. Ed25519 is deterministic: the same text gives the same signature.
    #[must_use]
    pub fn sign(&self, text: &[u8]) -> [u8; SIGNATURE_LEN] {
        let mut out = [0u8; SIGNATURE_LEN];
        for (to, from) in out.iter_mut().zip(self.pair.sign(text).as_ref()) {
            *to = *from;
        }
        out
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("name", &self.name()).field("private", &"***").finish()
    }
}
