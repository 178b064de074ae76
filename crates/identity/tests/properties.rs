//! Whatever comes in, nothing panics, and nothing is believed that was not signed.
#![allow(clippy::unwrap_used, clippy::string_slice, reason = "tests; tokens are ASCII")]

mod common;

use std::sync::OnceLock;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{alice, config};
use dev_issuer::DevIssuer;
use identity::{Fetch, FetchFuture, FetchRequest, Fetched, Secret, Verifier};
use proptest::prelude::*;

struct Fixed(String, String);

impl Fetch for Fixed {
    fn fetch<'a>(&'a self, request: FetchRequest<'a>) -> FetchFuture<'a> {
        let body = if request.url.ends_with("/jwks") { &self.1 } else { &self.0 };
        Box::pin(async move { Ok(Fetched { body: body.clone().into_bytes(), max_age: None }) })
    }
}

struct World {
    runtime: tokio::runtime::Runtime,
    issuer: DevIssuer,
    verifier: Verifier,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let issuer = runtime.block_on(DevIssuer::start()).unwrap();
        let iss = issuer.iss();
        let document = format!(r#"{{"issuer":"{iss}","jwks_uri":"{iss}/jwks"}}"#);
        let verifier = Verifier::new(&config(iss), Fixed(document, issuer.key_set())).unwrap();
        World { runtime, issuer, verifier }
    })
}

fn believed(text: &str) -> bool {
    let w = world();
    w.runtime.block_on(w.verifier.authenticate(&Secret::from(text), SystemTime::now())).is_ok()
}

/// Any JSON value, a few levels deep.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::hash_map("[a-z_]{1,6}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

const NAMES: [&str; 16] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "nbf",
    "jti",
    "azp",
    "client_id",
    "act",
    "may_act",
    "cnf",
    "groups",
    "events",
    "nonce",
    "repository_id",
];

proptest! {
    #[test]
    fn any_text_is_refused(text in any::<String>()) {
        prop_assert!(!believed(&text));
    }

    #[test]
    fn any_three_parts_are_refused(header in any::<Vec<u8>>(), claims in any::<Vec<u8>>(), signature in any::<Vec<u8>>()) {
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let text = format!("{}.{}.{}", b64(&header), b64(&claims), b64(&signature));
        prop_assert!(!believed(&text));
    }

    /// Signed claims of any shape: no panic, and a claim that decides is never of the wrong type.
    #[test]
    fn any_claim_may_hold_anything(name in prop::sample::select(&NAMES[..]), value in any_json()) {
        let claims = alice().with(name, value.clone());
        let token = world().issuer.mint(claims).unwrap();
        let passes = believed(&token);
        let must_be_text = ["iss", "sub", "jti", "azp", "client_id"];
        if passes && must_be_text.contains(&name) {
            prop_assert!(value.is_string() || value.is_null());
        }
        if passes && ["cnf", "events", "may_act"].contains(&name) {
            prop_assert!(value.is_null() || name == "may_act");
        }
    }

    /// One changed byte anywhere, and the token is another.
    #[test]
    fn any_changed_byte_is_noticed(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let token = world().issuer.mint(alice()).unwrap();
        let mut bytes = token.clone().into_bytes();
        let i = at.index(bytes.len());
        prop_assume!(bytes[i] != to);
        bytes[i] = to;
        if let Ok(text) = String::from_utf8(bytes) {
            prop_assert!(!believed(&text));
        }
        prop_assert!(believed(&token));
    }

    #[test]
    fn any_cut_is_noticed(at in any::<prop::sample::Index>()) {
        let token = world().issuer.mint(alice()).unwrap();
        prop_assert!(!believed(&token[..at.index(token.len())]));
    }

    #[test]
    fn any_key_set_can_be_read(value in any_json(), bytes in any::<Vec<u8>>()) {
        let set = serde_json::json!({ "keys": [value] }).to_string();
        prop_assert!(!identity::fuzz_key_set(set.as_bytes()));
        prop_assert!(!identity::fuzz_key_set(&bytes));
    }
}
