//! Key sets (RFC 7517): which keys an issuer signs with, and for what.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use crate::credential::sha256;
use crate::limits::{MAX_FETCH_BYTES, MAX_KEYS, MAX_RSA_BITS, MIN_RSA_BITS};
use crate::{json, plan, token};

/// The usable keys of a set.
#[derive(Debug)]
pub(crate) struct KeySet(Vec<Key>);

/// One public key and the algorithms it fits.
pub(crate) struct Key {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(crate) decoding: DecodingKey,
    /// Tells keys apart whatever they are called.
    pub(crate) thumbprint: [u8; 32],
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

/// What a search for a key found.
#[derive(Debug)]
pub(crate) enum Found<'k> {
    Key(&'k Key),
    /// The key is there, but not for this algorithm, or several are and none is meant.
    Unfit,
    Nothing,
}

impl KeySet {
    /// Reads a key set. Keys we cannot use (other types, for encryption, too
    /// small) are left out; a set without a usable key is an error, so that an
    /// empty answer never replaces a good one.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, &'static str> {
        if body.len() > MAX_FETCH_BYTES {
            return Err("the key set is too large");
        }
        let set = json::object(body).ok_or("the key set is not plain JSON")?;
        let Some(Value::Array(keys)) = set.get("keys") else {
            return Err("the key set has no `keys`");
        };
        if keys.len() > MAX_KEYS {
            return Err("the key set has too many keys");
        }
        let keys: Vec<Key> = keys.iter().filter_map(|k| key(k.as_object()?)).collect();
        if keys.is_empty() { Err("the key set has no usable key") } else { Ok(Self(keys)) }
    }

    /// The one key that a header means. Without a `kid` exactly one key may fit.
    pub(crate) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Found<'_> {
        let named = || self.0.iter().filter(|k| kid.is_none() || k.kid.as_deref() == kid);
        let mut fitting = named().filter(|k| k.algorithms.contains(&algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Found::Key(key),
            (None, _) if named().next().is_none() => Found::Nothing,
            _ => Found::Unfit,
        }
    }

    pub(crate) fn contains(&self, thumbprint: &[u8; 32]) -> bool {
        self.0.iter().any(|key| key.thumbprint == *thumbprint)
    }

    pub(crate) fn thumbprints(&self) -> HashSet<[u8; 32]> {
        self.0.iter().map(|key| key.thumbprint).collect()
    }
}

fn key(jwk: &Map<String, Value>) -> Option<Key> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    if jwk.get("use").is_some_and(|u| u != "sig") {
        return None;
    }
    if let Some(operations) = jwk.get("key_ops") {
        let may_verify = operations.as_array()?.iter().any(|o| o == "verify");
        may_verify.then_some(())?;
    }
    let kid = match jwk.get("kid") {
        None => None,
        Some(Value::String(kid)) if token::is_kid(kid) => Some(kid.clone()),
        Some(_) => return None,
    };
    let kty = text("kty")?;
    let (mut algorithms, decoding, material) = match (kty, text("crv")) {
        ("RSA", _) => {
            let (n, e) = (text("n")?, text("e")?);
            rsa_fits(n, e).then_some(())?;
            let key = DecodingKey::from_rsa_components(n, e).ok()?;
            (vec![Algorithm::RS256, Algorithm::PS256], key, [n, e])
        }
        ("EC", Some(curve @ ("P-256" | "P-384"))) => {
            let (x, y) = (text("x")?, text("y")?);
            let (algorithm, size) =
                if curve == "P-256" { (Algorithm::ES256, 32) } else { (Algorithm::ES384, 48) };
            (decoded(x)?.len() == size && decoded(y)?.len() == size).then_some(())?;
            (vec![algorithm], DecodingKey::from_ec_components(x, y).ok()?, [x, y])
        }
        ("OKP", Some("Ed25519")) => {
            let x = text("x")?;
            (decoded(x)?.len() == 32).then_some(())?;
            (vec![Algorithm::EdDSA], DecodingKey::from_ed_components(x).ok()?, [x, ""])
        }
        _ => return None,
    };
    match jwk.get("alg") {
        None => {}
        // RFC 9864 calls it by the curve.
        Some(Value::String(alg)) if alg == "Ed25519" => {
            algorithms.retain(|a| *a == Algorithm::EdDSA);
        }
        Some(Value::String(alg)) => algorithms.retain(|a| plan::algorithm(alg) == Some(*a)),
        Some(_) => return None,
    }
    let thumbprint = sha256(format!("{kty} {} {}", material[0], material[1]).as_bytes());
    (!algorithms.is_empty()).then_some(Key { kid, algorithms, decoding, thumbprint })
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn rsa_fits(n: &str, e: &str) -> bool {
    let (Some(n), Some(e)) = (decoded(n), decoded(e)) else { return false };
    let zeros = n.iter().take_while(|b| **b == 0).count();
    let Some(first) = n.get(zeros) else { return false };
    let bits = (n.len() - zeros) * 8 - first.leading_zeros() as usize;
    let odd = |bytes: &[u8]| bytes.last().is_some_and(|b| b % 2 == 1);
    let is_one = e.iter().rev().skip(1).all(|b| *b == 0) && e.last() == Some(&1);
    (MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) && odd(&n) && odd(&e) && !is_one
}
