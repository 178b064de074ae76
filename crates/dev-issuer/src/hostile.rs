//! What only tests want: endpoints that misbehave and tokens that lie.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::keys::{Algorithm, SigningKey};
use crate::{Claims, DevIssuer, IssuerError};

/// How the key set's endpoint answers.
#[derive(Clone, Debug, Default)]
pub enum JwksAnswer {
    /// The published keys.
    #[default]
    Honest,
    /// The published keys, after a while.
    Slow(Duration),
    /// This status and no body.
    Status(u16),
    /// This body, whatever it is.
    Body(Vec<u8>),
    /// A redirect to this address.
    Redirect(String),
}

/// Who signs a forged token.
#[derive(Clone, Debug)]
pub enum Signer {
    /// The issuer's current key.
    Issuer,
    /// Nobody: the signature is empty.
    Nobody,
    /// HMAC-SHA-256 with the current public key as the secret.
    PublicKeyAsSecret,
    /// A key the issuer never published.
    Stranger,
}

/// A token in the making, honest until it is told to lie. From [`DevIssuer::forge`].
#[derive(Debug)]
pub struct Forge<'a> {
    issuer: &'a DevIssuer,
    header: Map<String, Value>,
    claims: Claims,
    raw_claims: Option<String>,
    signer: Signer,
}

impl<'a> Forge<'a> {
    pub(crate) fn new(issuer: &'a DevIssuer, claims: Claims) -> Self {
        Self { issuer, header: Map::new(), claims, raw_claims: None, signer: Signer::Issuer }
    }

    /// Sets a header field; null leaves it out.
    #[must_use]
    pub fn header(mut self, name: &str, value: Value) -> Self {
        self.header.insert(name.to_owned(), value);
        self
    }

    /// States an algorithm, whatever the key is.
    #[must_use]
    pub fn alg(self, alg: &str) -> Self {
        self.header("alg", json!(alg))
    }

    /// States a key's name, whatever key signs.
    #[must_use]
    pub fn kid(self, kid: &str) -> Self {
        self.header("kid", json!(kid))
    }

    /// This text instead of the claims; need not be JSON.
    #[must_use]
    pub fn raw_claims(mut self, text: impl Into<String>) -> Self {
        self.raw_claims = Some(text.into());
        self
    }

    /// Who signs.
    #[must_use]
    pub fn signed_by(mut self, signer: Signer) -> Self {
        self.signer = signer;
        self
    }

    /// The token.
    ///
    /// # Errors
    ///
    /// Only if a key cannot be made or used.
    pub fn token(self) -> Result<String, IssuerError> {
        let keys = self.issuer.keys();
        let key = keys.current()?;
        let mut header = Map::from_iter([
            ("alg".to_owned(), json!(key.alg())),
            ("typ".to_owned(), json!("at+jwt")),
            ("kid".to_owned(), json!(key.kid)),
        ]);
        header.extend(self.header);
        header.retain(|_, value| !value.is_null());
        let alg = header.get("alg").and_then(Value::as_str).unwrap_or_default().to_owned();
        let claims = match self.raw_claims {
            Some(text) => text,
            None => {
                let jti = crate::random_id()?;
                Value::Object(self.claims.complete(self.issuer.iss(), &jti)).to_string()
            }
        };
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(Value::Object(header).to_string()),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = match self.signer {
            Signer::Issuer => key.sign(&alg, message.as_bytes())?,
            Signer::Nobody => Vec::new(),
            Signer::PublicKeyAsSecret => {
                let secret = hmac::Key::new(hmac::HMAC_SHA256, &key.public_der());
                hmac::sign(&secret, message.as_bytes()).as_ref().to_vec()
            }
            Signer::Stranger => {
                let algorithm = match key.alg() {
                    "ES256" => Algorithm::Es256,
                    "RS256" => Algorithm::Rs256,
                    _ => Algorithm::EdDsa,
                };
                SigningKey::generate(algorithm, String::new())?.sign(&alg, message.as_bytes())?
            }
        };
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
