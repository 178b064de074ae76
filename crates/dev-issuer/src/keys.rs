//! Signing keys, made at start and never written anywhere.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::IssuerError;

/// The signature algorithms a key can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA with P-256 and SHA-256. The quickest to make.
    Es256,
    /// RSA PKCS#1 v1.5, 2048 bits, SHA-256. What most providers use.
    Rs256,
    /// Ed25519.
    EdDsa,
}

/// A key pair with its name in the key set.
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    pair: Pair,
}

enum Pair {
    Ec(Box<EcdsaKeyPair>),
    Rsa(Box<RsaKeyPair>),
    Ed(Box<Ed25519KeyPair>),
}

impl SigningKey {
    pub(crate) fn generate(algorithm: Algorithm, kid: String) -> Result<Self, IssuerError> {
        let pair = match algorithm {
            Algorithm::Es256 => {
                Pair::Ec(Box::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?))
            }
            Algorithm::Rs256 => Pair::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048)?)),
            Algorithm::EdDsa => Pair::Ed(Box::new(Ed25519KeyPair::generate()?)),
        };
        Ok(Self { kid, pair })
    }

    /// The name of its algorithm in a token's header.
    pub(crate) fn alg(&self) -> &'static str {
        match self.pair {
            Pair::Ec(_) => "ES256",
            Pair::Rsa(_) => "RS256",
            Pair::Ed(_) => "EdDSA",
        }
    }

    /// Signs as `alg` says. An RSA key also does `PS256`; any other name than
    /// the key's own gives the key's own signature, for tokens that lie.
    pub(crate) fn sign(&self, alg: &str, message: &[u8]) -> Result<Vec<u8>, IssuerError> {
        let random = SystemRandom::new();
        Ok(match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, message)?.as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut out = vec![0; pair.public_modulus_len()];
                if alg == "PS256" {
                    pair.sign(&RSA_PSS_SHA256, &random, message, &mut out)?;
                } else {
                    pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut out)?;
                }
                out
            }
        })
    }

    /// The public part as it stands in the key set (RFC 7517).
    pub(crate) fn jwk(&self) -> Value {
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (kid, alg) = (&self.kid, self.alg());
        match &self.pair {
            Pair::Ec(pair) => {
                // Uncompressed point: 0x04, x, y.
                let (x, y) = pair.public_key().as_ref().get(1..).unwrap_or_default().split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y), "kid": kid, "alg": alg, "use": "sig"})
            }
            Pair::Rsa(pair) => {
                let key = pair.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                json!({"kty": "RSA", "n": b64(n.big_endian_without_leading_zero()),
                    "e": b64(e.big_endian_without_leading_zero()), "kid": kid, "alg": alg, "use": "sig"})
            }
            Pair::Ed(pair) => {
                let x = b64(pair.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": alg, "use": "sig"})
            }
        }
    }

    /// The public part in DER, as some would use for an HMAC secret.
    pub(crate) fn public_der(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
        }
    }
}
