//! The ID token of a login: proof that the issuer's answer belongs to the question.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::limits::MAX_NUMERIC_DATE;
use crate::verifier::check_times;
use crate::{AuthError, Secret, TokenClass, Verifier, plan, token};

/// What an ID token must say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The issuer's `iss`.
    pub iss: &'a str,
    /// Whom the issuer knows us as: the audience.
    pub client_id: &'a str,
    /// What the login was begun with.
    pub nonce: &'a str,
    /// The access token beside it, to which `at_hash` must fit if it is there.
    pub access_token: Option<&'a Secret>,
}

impl Verifier {
    /// Checks the ID token of a login (OpenID Connect Core 3.1.3.7). It lets nobody in: for that
    /// a token goes to [`authenticate`](Self::authenticate).
    ///
    /// # Errors
    ///
    /// [`AuthError`], as for any other token; [`AuthError::OtherLogin`] if it answers another
    /// login than this.
    pub async fn check_id_token(
        &self,
        id_token: &Secret,
        expected: Expected<'_>,
        now: SystemTime,
    ) -> Result<(), AuthError> {
        let raw = id_token.expose();
        let parsed = token::parse(raw)?;
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()).min(MAX_NUMERIC_DATE);
        let claims = &parsed.claims;
        if claims.iss != expected.iss {
            return Err(AuthError::UnknownIssuer);
        }
        let issuer = self.issuer(&claims.iss).ok_or(AuthError::UnknownIssuer)?;
        let algorithm = plan::algorithm(&parsed.alg)
            .filter(|algorithm| issuer.plan.algorithms.contains(algorithm))
            .ok_or(AuthError::Algorithm)?;
        if parsed.class != TokenClass::IdToken {
            return Err(AuthError::TokenClass);
        }
        if !claims.aud.iter().any(|aud| aud == expected.client_id) {
            return Err(AuthError::Audience);
        }
        let ours = claims.azp.as_deref().map(|azp| azp == expected.client_id);
        if ours == Some(false) || (claims.aud.len() > 1 && ours.is_none()) {
            return Err(AuthError::AuthorizedParty);
        }
        check_times(&issuer.plan, claims, now)?;
        let says = |name, wanted: &str| match claims.all.get(name) {
            Some(Value::String(text)) => text == wanted,
            _ => false,
        };
        if !says("nonce", expected.nonce) {
            return Err(AuthError::OtherLogin);
        }
        if let Some(access) = expected.access_token.filter(|_| claims.all.contains_key("at_hash"))
            && !says("at_hash", &half_hash(&parsed.alg, access))
        {
            return Err(AuthError::OtherLogin);
        }
        self.check_signature(issuer, &parsed, algorithm, raw).await.map(drop)
    }
}

/// `at_hash`: the left half of the hash that belongs to the signature's algorithm (OpenID
/// Connect Core 3.1.3.6; Ed25519's is SHA-512).
fn half_hash(alg: &str, token: &Secret) -> String {
    let algorithm = match alg {
        "EdDSA" => &digest::SHA512,
        "ES384" => &digest::SHA384,
        _ => &digest::SHA256,
    };
    let hash = digest::digest(algorithm, token.expose().as_bytes());
    let half = hash.as_ref().get(..hash.as_ref().len() / 2).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(half)
}
