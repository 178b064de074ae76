//! The provider gives the kinds of token that the identity crate must judge.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use serde_json::Value;
use testbed::{OidcProvider, http_get, require};

/// Header and claims, unverified; the base64url is read by hand so that the
/// testbed needs no further crate.
fn parts(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| {
        let (mut bytes, mut word, mut bits) = (Vec::new(), 0_u32, 0);
        for c in part.bytes() {
            let six = match c {
                b'A'..=b'Z' => c - b'A',
                b'a'..=b'z' => c - b'a' + 26,
                b'0'..=b'9' => c - b'0' + 52,
                b'-' => 62,
                _ => 63,
            };
            word = (word << 6) | u32::from(six);
            bits += 6;
            if bits >= 8 {
                bits -= 8;
                bytes.push((word >> bits) as u8);
            }
        }
        bytes
    });
    let mut next = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (next(), next())
}

#[test]
fn tokens_name_agents_people_and_delegation() {
    let audience = "https://proxy.corp.example/postgres";
    let Some(mut op) = require(OidcProvider::start(audience)) else { return };

    let (header, claims) = parts(&op.client_token(OidcProvider::AGENT).unwrap());
    assert_eq!((&header["typ"], &header["alg"]), (&"at+jwt".into(), &"RS256".into()));
    assert_eq!(claims["iss"], op.issuer());
    assert_eq!((&claims["sub"], &claims["aud"]), (&"agent-7".into(), &audience.into()));
    assert_eq!(claims["principal_type"], "agent");

    let alice = op.person_token("alice").unwrap();
    let (_, claims) = parts(&alice);
    assert_eq!((&claims["sub"], &claims["client_id"]), (&"alice".into(), &"cli".into()));
    assert_eq!(claims["groups"], serde_json::json!(["dba", "eng"]));
    assert!(claims["act"].is_null());

    let once = op.delegated_token(&alice, OidcProvider::AGENT).unwrap();
    let (header, claims) = parts(&once);
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!((&claims["sub"], &claims["act"]["sub"]), (&"alice".into(), &"agent-7".into()));
    assert_eq!(claims["aud"], audience);
    let twice = op.delegated_token(&once, OidcProvider::OTHER_AGENT).unwrap();
    let (_, claims) = parts(&twice);
    assert_eq!(claims["act"]["sub"], "agent-8");
    assert_eq!(claims["act"]["act"]["sub"], "agent-7");
    assert!(op.delegated_token("nonsense", OidcProvider::AGENT).is_err());

    let jwks = format!("{}/jwks", op.issuer());
    let before = http_get(&jwks).unwrap().body;
    op.restart_with_new_keys().unwrap();
    let after = http_get(&jwks).unwrap().body;
    assert!(before.contains("\"kid\"") && before != after);
    assert!(!after.contains("\"d\":"), "no private key is published");
    op.stop();
    assert!(http_get(&jwks).is_err());
}
