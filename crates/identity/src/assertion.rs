//! A signed statement on who asks, for a service that does not want to trust the network between
//! us and it: a JWT (RFC 7519) by ES256 (RFC 7518, 3.4).

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Map, Value, json};

use crate::{Actor, Principal};

/// How many random bytes make a statement's `jti`.
const JTI_BYTES: usize = 16;

/// The key that signs, with its public half as a JWK (RFC 7517). `Debug` shows the key's id only.
pub struct AssertionKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    /// `{"alg":"ES256","kid":…}`, encoded.
    head: String,
    kid: String,
    jwk: Value,
}

/// Why a key can't be used. Whoever configured it must give another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a PKCS#8 key on the curve P-256; make one with \
     `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
)]
pub struct NotAnAssertionKey;

/// The system has no randomness: nothing can be signed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no statement can be signed: the system gives no randomness")]
pub struct NotSigned;

/// Who says it, to whom, for how long.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    /// `iss`: us, as services know us.
    pub issuer: &'a str,
    /// `aud`: the service.
    pub audience: &'a str,
    /// `sid`: the session of the record that this belongs to.
    pub session: &'a str,
    /// How long it counts, from now; never longer than the right that it states.
    pub lifetime: Duration,
}

impl AssertionKey {
    /// Takes a private key (PKCS#8, RFC 5208, in DER) on P-256.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, NotAnAssertionKey> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der);
        let pair = pair.map_err(|_| NotAnAssertionKey)?;
        // SEC 1, 2.3.3: 4, x, y.
        let point = pair.public_key().as_ref();
        let (x, y) = point.get(1..33).zip(point.get(33..65)).ok_or(NotAnAssertionKey)?;
        let (x, y) = (BASE64.encode(x), BASE64.encode(y));
        // RFC 7638: these members, in this order, without a blank.
        let thumbprint = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = BASE64.encode(digest(&SHA256, thumbprint.as_bytes()));
        let head = BASE64.encode(json!({"alg": "ES256", "typ": "JWT", "kid": kid}).to_string());
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "x": x, "y": y,
            "alg": "ES256", "use": "sig", "kid": kid,
        });
        Ok(Self { pair, random: SystemRandom::new(), head, kid, jwk })
    }

    /// The public key, for whoever checks (RFC 7517, 4).
    #[must_use]
    pub fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// States who acts. Where somebody is acted for, `sub` is them and `act` who acts, as in RFC
    /// 8693; `idp` says by whose word a subject is known, `kind` what sort of principal acts.
    ///
    /// # Errors
    ///
    /// [`NotSigned`].
    pub fn state(
        &self,
        principal: &Principal,
        statement: &Statement<'_>,
    ) -> Result<String, NotSigned> {
        let mut jti = [0; JTI_BYTES];
        aws_lc_rs::rand::fill(&mut jti).map_err(|_| NotSigned)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut claims = json!({
            "iss": statement.issuer,
            "aud": statement.audience,
            "iat": now.as_secs(),
            "exp": (now + statement.lifetime).as_secs(),
            "jti": hex::encode(jti),
            "sid": statement.session,
            // The issuer states them of whom `sub` names.
            "groups": principal.groups,
        });
        let (idp, sub, act) = parties(principal);
        if let Some(claims) = claims.as_object_mut() {
            claims.insert("idp".into(), idp.into());
            claims.insert("sub".into(), sub.into());
            let kind = Value::from(principal.kind.as_str());
            match act {
                None => claims.insert("kind".into(), kind),
                Some(mut act) => {
                    act.insert("kind".into(), kind);
                    claims.insert("act".into(), act.into())
                }
            };
        }
        let signed = format!("{}.{}", self.head, BASE64.encode(claims.to_string()));
        let signature = self.pair.sign(&self.random, signed.as_bytes()).map_err(|_| NotSigned)?;
        Ok(format!("{signed}.{}", BASE64.encode(signature)))
    }
}

/// Whose right it is, and the chain of those who use it, nearest first (RFC 8693, 4.1).
fn parties(principal: &Principal) -> (&str, &str, Option<Map<String, Value>>) {
    let Some((subject, earlier)) = principal.on_behalf_of.split_last() else {
        return (&principal.issuer, &principal.subject, None);
    };
    let earlier = earlier.iter().map(|Actor { issuer, subject, .. }| (issuer, subject));
    let chain: Vec<_> =
        std::iter::once((&principal.issuer, &principal.subject)).chain(earlier).collect();
    let act =
        chain.into_iter().rev().fold(None, |before: Option<Map<String, Value>>, (idp, sub)| {
            let mut act = Map::new();
            act.insert("idp".into(), idp.as_str().into());
            act.insert("sub".into(), sub.as_str().into());
            act.extend(before.map(|it| ("act".to_owned(), it.into())));
            Some(act)
        });
    (&subject.issuer, &subject.subject, act)
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AssertionKey({})", self.kid)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use std::collections::BTreeSet;

    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};

    use super::*;
    use crate::{ActorRole, Kind};

    fn key() -> AssertionKey {
        let der =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        AssertionKey::from_pkcs8(der.unwrap().as_ref()).unwrap()
    }

    fn principal(chain: &[&str]) -> Principal {
        let role = ActorRole::Intermediary;
        let actor = |name: &&str| Actor { issuer: "i".into(), subject: (*name).into(), role };
        Principal {
            issuer: "https://login.example".into(),
            subject: "agent-7".into(),
            kind: Kind::Agent,
            display: "x".into(),
            groups: BTreeSet::from(["dba".to_owned()]),
            on_behalf_of: chain.iter().map(actor).collect(),
            owner: None,
            rule: "corp/agents".into(),
        }
    }

    const TO_WIKI: Statement<'static> = Statement {
        issuer: "https://gateway.example",
        audience: "wiki",
        session: "0123",
        lifetime: Duration::from_secs(60),
    };

    /// As a service checks it, with a library that is not ours.
    fn checked(key: &AssertionKey, jwt: &str, audience: &str) -> Option<Value> {
        let jwk: Jwk = serde_json::from_value(key.jwk().clone()).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[audience]);
        validation.set_issuer(&[TO_WIKI.issuer]);
        let decoded = decode::<Value>(jwt, &DecodingKey::from_jwk(&jwk).unwrap(), &validation);
        let decoded = decoded.ok()?;
        assert_eq!(decoded.header.kid, jwk.common.key_id);
        Some(decoded.claims)
    }

    #[test]
    fn a_service_can_check_it_and_nobody_else_s_passes() {
        let (key, other) = (key(), key());
        let jwt = key.state(&principal(&[]), &TO_WIKI).unwrap();
        let claims = checked(&key, &jwt, "wiki").unwrap();
        assert_eq!(claims["sub"], "agent-7");
        assert_eq!(claims["idp"], "https://login.example");
        assert_eq!((&claims["kind"], &claims["sid"]), (&"agent".into(), &"0123".into()));
        assert_eq!(claims["groups"], json!(["dba"]));
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);
        assert!(claims.get("act").is_none());
        assert!(checked(&other, &jwt, "wiki").is_none());
        assert!(checked(&key, &jwt, "another").is_none());
        let again = key.state(&principal(&[]), &TO_WIKI).unwrap();
        assert_ne!(checked(&key, &again, "wiki").unwrap()["jti"], claims["jti"]);
    }

    #[test]
    fn who_is_acted_for_is_the_subject_and_the_chain_says_who_acts() {
        let key = key();
        let jwt = key.state(&principal(&["agent-3", "alice"]), &TO_WIKI).unwrap();
        let claims = checked(&key, &jwt, "wiki").unwrap();
        assert_eq!(claims["sub"], "alice");
        let idp = "https://login.example";
        let inner = json!({"idp": "i", "sub": "agent-3"});
        let act = json!({"idp": idp, "sub": "agent-7", "kind": "agent", "act": inner});
        assert_eq!((&claims["act"], claims.get("kind")), (&act, None));
    }

    #[test]
    fn what_is_no_such_key_is_refused_and_no_key_is_shown() {
        for der in [&b""[..], b"no key at all", &[0x30; 138]] {
            assert_eq!(AssertionKey::from_pkcs8(der).unwrap_err(), NotAnAssertionKey);
        }
        let key = key();
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("AssertionKey({})", key.jwk()["kid"].as_str().unwrap()));
    }
}
