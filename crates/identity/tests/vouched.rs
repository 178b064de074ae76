//! People who come back with something we signed for them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{alice, config_with, over_http, pair, show};
use identity::{AuthError, EndReason, Selector, Vouched};

fn soon() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 120
}

fn round_trip(vouched: &Vouched) -> Vouched {
    serde_json::from_str(&serde_json::to_string(vouched).unwrap()).unwrap()
}

#[tokio::test]
async fn who_was_verified_comes_back_as_the_same_with_a_lease() {
    let (issuer, verifier) = pair().await;
    let seen = show(&verifier, &issuer.mint(alice().acting(&["agent-7"])).unwrap()).await.unwrap();
    let vouched = round_trip(&seen.vouch(soon()));
    let back = verifier.readmit(vouched.clone(), SystemTime::now()).await.unwrap();
    assert_eq!((&back.principal, &back.credential), (&seen.principal, &seen.credential));
    assert!(back.lease.remaining() <= seen.lease.remaining() + Duration::from_secs(2));
    // A process that never saw the token lets it in as well: it fetches the keys.
    let other = over_http(&common::config(issuer.iss()));
    assert!(other.readmit(vouched, SystemTime::now()).await.is_ok());
}

#[tokio::test]
async fn it_serves_no_longer_than_it_says_and_than_the_token() {
    let (issuer, verifier) = pair().await;
    let seen = show(&verifier, &issuer.mint(alice()).unwrap()).await.unwrap();
    let long = seen.vouch(u64::MAX);
    assert_eq!(long.until(), seen.credential.exp);
    let until = seen.vouch(soon());
    let at = |secs: u64| UNIX_EPOCH + Duration::from_secs(secs);
    let late = verifier.readmit(until.clone(), at(until.until())).await;
    assert_eq!(late.unwrap_err(), AuthError::Expired);
    assert!(verifier.readmit(until.clone(), at(until.until() - 1)).await.is_ok());
    let early = verifier.readmit(until, at(seen.credential.iat - 600)).await;
    assert_eq!(early.unwrap_err(), AuthError::IssuedInFuture);
}

#[tokio::test]
async fn what_was_revoked_stays_out_and_live_sessions_end() {
    let (issuer, verifier) = pair().await;
    let seen = show(&verifier, &issuer.mint(alice()).unwrap()).await.unwrap();
    let vouched = seen.vouch(soon());
    let back = verifier.readmit(vouched.clone(), SystemTime::now()).await.unwrap();
    let selector =
        Selector::Principal { issuer: issuer.iss().to_owned(), subject: "alice".to_owned() };
    assert_eq!(verifier.leases().end(&selector, "left"), 2);
    assert_eq!(back.lease.is_over(), Some(EndReason::Revoked("left".into())));
    let again = verifier.readmit(vouched, SystemTime::now()).await;
    assert_eq!(again.unwrap_err(), AuthError::Revoked);
}

#[tokio::test]
async fn rule_issuer_and_key_must_still_be_there() {
    let (issuer, verifier) = pair().await;
    let seen = show(&verifier, &issuer.mint(alice()).unwrap()).await.unwrap();
    let vouched = seen.vouch(soon());
    let rules = "[[issuer.dev.rule]]\nname = \"people\"\nkind = \"ci\"\n";
    let changed = over_http(&config_with(issuer.iss(), "", rules));
    let kind = changed.readmit(vouched.clone(), SystemTime::now()).await.unwrap_err();
    assert_eq!(kind, AuthError::NoRule { issuer: "dev".into() });
    let elsewhere = over_http(&common::config("http://127.0.0.1:1"));
    let unknown = elsewhere.readmit(vouched.clone(), SystemTime::now()).await.unwrap_err();
    assert_eq!(unknown, AuthError::UnknownIssuer);

    let mut json = serde_json::to_value(&vouched).unwrap();
    json["key_thumbprint"] = "ab".repeat(32).into();
    let other_key: Vouched = serde_json::from_value(json).unwrap();
    let gone = verifier.readmit(other_key, SystemTime::now()).await.unwrap_err();
    assert_eq!(gone, AuthError::UnknownKey);
}
