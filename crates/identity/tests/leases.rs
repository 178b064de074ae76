//! How leases end.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{alice, show, stubbed};
use identity::{AuthError, EndReason, LeaseRegistry, Selector, TokenHash};
use tokio::time::advance;

#[tokio::test(start_paused = true)]
async fn a_lease_ends_with_its_token() {
    let (issuer, verifier, _stub) = stubbed("").await;
    let seen = show(&verifier, &issuer.mint(alice()).unwrap()).await.unwrap();
    // The wall clock runs on while the test's stands: the token has 300 s or a little less.
    let left = seen.lease.remaining();
    assert!(left <= Duration::from_secs(300) && left > Duration::from_secs(200));
    advance(left - Duration::from_millis(1)).await;
    assert_eq!(seen.lease.is_over(), None);
    advance(Duration::from_millis(1)).await;
    assert_eq!(seen.lease.is_over(), Some(EndReason::Expired));
    assert_eq!(seen.lease.ended().await, EndReason::Expired);
    assert_eq!(seen.lease.remaining(), Duration::ZERO);
    // Over stays over, for the first reason.
    verifier.leases().end(&Selector::Token(seen.credential.sha256), "late");
    assert_eq!(seen.lease.is_over(), Some(EndReason::Expired));
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_with_the_rules_time() {
    let (issuer, verifier, _stub) = stubbed("").await;
    let token = issuer.mint(alice().acting(&["agent-7"]).lifetime(Duration::from_secs(3000)));
    let seen = show(&verifier, &token.unwrap()).await.unwrap();
    assert_eq!(seen.lease.remaining(), Duration::from_secs(900));
    assert_eq!(seen.lease.ended().await, EndReason::MaxSession);
}

#[tokio::test(start_paused = true)]
async fn a_lease_can_be_ended_from_outside() {
    let (issuer, verifier, _stub) = stubbed("").await;
    let iss = || issuer.iss().to_owned();
    let subject = |s: &str| Selector::Principal { issuer: iss(), subject: s.to_owned() };
    // Everybody in the chain ends it; others do not.
    for who in ["alice", "agent-3", "agent-7"] {
        let claims = alice().acting(&["agent-7", "agent-3"]).with("x", who.into());
        // Issued after the revocations of the earlier rounds.
        let later = std::time::SystemTime::now() + Duration::from_secs(20);
        let t = later.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let token = issuer.mint(claims.with("iat", t.into())).unwrap();
        let seen = show(&verifier, &token).await.unwrap();
        assert_eq!(verifier.leases().end(&subject("bob"), "not him"), 0);
        let waiting = tokio::spawn({
            let lease = seen.lease.clone();
            async move { lease.ended().await }
        });
        tokio::task::yield_now().await;
        assert_eq!(verifier.leases().end(&subject(who), "left the company"), 1);
        let reason = waiting.await.unwrap();
        assert_eq!(reason.to_string(), "revoked: left the company");
        assert_eq!(seen.lease.is_over(), Some(reason));
    }
    let token = issuer.mint(alice().acting(&["b"]).with("sub", "c".into())).unwrap();
    let one = show(&verifier, &token).await.unwrap();
    let jti = one.credential.jti.clone().unwrap();
    let end = |selector| verifier.leases().end(&selector, "x");
    assert_eq!(end(Selector::Jti { issuer: "https://other.example".into(), jti: jti.clone() }), 0);
    assert_eq!(end(Selector::Jti { issuer: iss(), jti }), 1);
    let two =
        show(&verifier, &issuer.mint(alice().with("sub", "d".into())).unwrap()).await.unwrap();
    assert_eq!(end(Selector::Token(two.credential.sha256)), 1);
    let _three =
        show(&verifier, &issuer.mint(alice().with("sub", "e".into())).unwrap()).await.unwrap();
    let _four =
        show(&verifier, &issuer.mint(alice().with("sub", "f".into())).unwrap()).await.unwrap();
    assert_eq!(end(Selector::Key { issuer: iss(), kid: issuer.kid() }), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_revoked_cannot_come_back_but_a_new_token_can() {
    let (issuer, verifier, _stub) = stubbed("").await;
    let token = issuer.mint(alice()).unwrap();
    let seen = show(&verifier, &token).await.unwrap();
    let selector =
        Selector::Principal { issuer: issuer.iss().to_owned(), subject: "alice".to_owned() };
    assert_eq!(verifier.leases().end(&selector, "laptop lost"), 1);
    assert_eq!(show(&verifier, &token).await.unwrap_err(), AuthError::Revoked);
    let delegated = issuer.mint(alice().acting(&["agent-7"])).unwrap();
    assert_eq!(show(&verifier, &delegated).await.unwrap_err(), AuthError::Revoked);
    let iat = seen.credential.iat + 20;
    let fresh = issuer.mint(alice().with("iat", iat.into())).unwrap();
    assert_eq!(show(&verifier, &fresh).await.unwrap().lease.is_over(), None);
    let hash: TokenHash = seen.credential.sha256.to_string().parse().unwrap();
    assert_eq!(hash, seen.credential.sha256);
}

#[tokio::test(start_paused = true)]
async fn the_registry_forgets_what_is_dropped() {
    let (issuer, verifier, _stub) = stubbed("").await;
    let registry: LeaseRegistry = verifier.leases().clone();
    let seen = show(&verifier, &issuer.mint(alice()).unwrap()).await.unwrap();
    let clone = seen.lease.clone();
    assert_eq!(registry.live(), 1);
    drop(seen);
    assert_eq!(registry.live(), 1);
    drop(clone);
    assert_eq!(registry.live(), 0);
}
