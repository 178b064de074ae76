//! Keys that come, go, lie and do not answer. The clock stands still and moves
//! only when a test moves it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Mode, alice, show, stubbed};
use dev_issuer::{DevIssuer, JwksAnswer};
use identity::{AuthError, EndReason, Fault, limits};
use tokio::time::{Instant, advance, timeout};

const UNAVAILABLE: &str = "keys_unavailable";

// Case 3.
#[tokio::test(start_paused = true)]
async fn attack_23_a_flood_of_unknown_kids_causes_one_fetch() {
    let (issuer, verifier, stub) = stubbed("").await;
    let good = issuer.mint(alice()).unwrap();
    show(&verifier, &good).await.unwrap();
    advance(limits::UNKNOWN_KID_INTERVAL).await;
    assert_eq!(stub.key_sets(), 1);
    let token = issuer.mint(alice()).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let claims = message.split_once('.').unwrap().1;
    for i in 0..10_000 {
        use base64::Engine;
        let header = format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"flood-{i}"}}"#);
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header);
        let forged = format!("{header}.{claims}.{signature}");
        assert_eq!(show(&verifier, &forged).await.unwrap_err(), AuthError::UnknownKey);
    }
    assert_eq!(stub.key_sets(), 2, "one fetch for the whole flood");
    show(&verifier, &good).await.unwrap();
    assert_eq!(stub.key_sets(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_unknown_kid_is_remembered() {
    let (issuer, verifier, stub) = stubbed("").await;
    show(&verifier, &issuer.mint(alice()).unwrap()).await.unwrap();
    let forged = issuer.forge(alice()).kid("nobody").token().unwrap();
    for _ in 0..3 {
        advance(limits::UNKNOWN_KID_INTERVAL).await;
        assert_eq!(show(&verifier, &forged).await.unwrap_err(), AuthError::UnknownKey);
    }
    assert_eq!(stub.key_sets(), 2);
}

#[tokio::test(start_paused = true)]
async fn many_at_once_share_one_fetch() {
    let (issuer, verifier, stub) = stubbed("").await;
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (token, verifier) = (issuer.mint(alice()).unwrap(), verifier.clone());
        logins.spawn(async move { show(&verifier, &token).await.map(|_| ()) });
    }
    for result in logins.join_all().await {
        result.unwrap();
    }
    assert_eq!(stub.key_sets(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_leaves_in_the_middle_of_a_fetch_keeps_nobody_else_out() {
    let (issuer, verifier, stub) = stubbed("").await;
    let good = issuer.mint(alice()).unwrap();
    let begun = Instant::now();
    stub.set(Mode::Hang);
    for _ in 0..20 {
        let soon = limits::ABANDONED_INTERVAL * 3 / 2;
        assert!(timeout(soon, show(&verifier, &good)).await.is_err());
    }
    // Nor does it make the issuer be asked more often than that.
    let most = begun.elapsed().as_secs() / limits::ABANDONED_INTERVAL.as_secs() + 1;
    assert!(stub.key_sets() as u64 <= most, "{} fetches", stub.key_sets());
    stub.set(Mode::Honest);
    show(&verifier, &good).await.unwrap();
    // The same for a key that is new: who leaves has not used up its one fetch.
    advance(limits::UNKNOWN_KID_INTERVAL).await;
    issuer.rotate().unwrap();
    let new = issuer.mint(alice()).unwrap();
    stub.set(Mode::Hang);
    assert!(timeout(limits::ABANDONED_INTERVAL, show(&verifier, &new)).await.is_err());
    stub.set(Mode::Honest);
    let (one, other) = tokio::join!(show(&verifier, &new), show(&verifier, &new));
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
}

// Case 9.
#[tokio::test(start_paused = true)]
async fn rotation_loses_nobody() {
    let (issuer, verifier, _stub) = stubbed("").await;
    let old = issuer.kid();
    let before = show(&verifier, &issuer.mint(alice()).unwrap()).await.unwrap();
    let overlap = issuer.mint(alice()).unwrap();
    // Announced, and used the moment the proxies had time to see it.
    issuer.announce().unwrap();
    advance(limits::MAX_KEY_AGE).await;
    show(&verifier, &overlap).await.unwrap();
    let next = issuer.rotate().unwrap();
    let seen = show(&verifier, &issuer.mint(alice()).unwrap()).await.unwrap();
    assert_eq!(seen.credential.kid.as_deref(), Some(next.as_str()));
    show(&verifier, &overlap).await.unwrap();
    assert!(before.lease.remaining().is_zero(), "it expired meanwhile, and only that");
    assert_eq!(before.lease.is_over(), Some(EndReason::Expired));
    // Not announced at all: found by the fetch for an unknown kid.
    advance(limits::UNKNOWN_KID_INTERVAL).await;
    issuer.rotate().unwrap();
    show(&verifier, &issuer.mint(alice()).unwrap()).await.unwrap();
    show(&verifier, &overlap).await.unwrap();
    issuer.withdraw(&old);
    show(&verifier, &issuer.mint(alice()).unwrap()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn attack_23_a_withdrawn_key_ends_its_leases() {
    let (issuer, verifier, _stub) = stubbed("").await;
    let old = issuer.kid();
    let token = issuer.mint(alice().lifetime(Duration::from_secs(3000))).unwrap();
    let first = show(&verifier, &token).await.unwrap();
    advance(limits::UNKNOWN_KID_INTERVAL).await;
    issuer.rotate().unwrap();
    let second = issuer.mint(alice().lifetime(Duration::from_secs(3000))).unwrap();
    let second = show(&verifier, &second).await.unwrap();
    assert!(first.lease.is_over().is_none());
    issuer.withdraw(&old);
    let waiting = tokio::spawn({
        let lease = first.lease.clone();
        async move { lease.ended().await }
    });
    advance(limits::MAX_KEY_AGE).await;
    assert!(verifier.refresh().await.is_empty());
    assert_eq!(waiting.await.unwrap(), EndReason::KeyRemoved);
    assert_eq!(first.lease.is_over(), Some(EndReason::KeyRemoved));
    assert!(second.lease.is_over().is_none());
    assert_eq!(show(&verifier, &token).await.unwrap_err(), AuthError::UnknownKey);
}

#[tokio::test(start_paused = true)]
async fn keep_fresh_notices_without_a_login() {
    let (issuer, verifier, _stub) = stubbed("").await;
    let old = issuer.kid();
    let token = issuer.mint(alice().lifetime(Duration::from_secs(3000))).unwrap();
    let seen = show(&verifier, &token).await.unwrap();
    issuer.rotate().unwrap();
    issuer.withdraw(&old);
    let reason = tokio::select! {
        reason = seen.lease.ended() => reason,
        () = verifier.keep_fresh() => unreachable!(),
    };
    assert_eq!(reason, EndReason::KeyRemoved);
}

#[tokio::test(start_paused = true)]
async fn the_last_good_set_serves_until_it_is_stale() {
    let (issuer, verifier, stub) = stubbed("jwks_max_stale = \"30m\"").await;
    let token = || issuer.mint(alice()).unwrap();
    show(&verifier, &token()).await.unwrap();
    let bad = [
        Mode::Fail,
        Mode::Hang,
        Mode::Body(r#"{"keys":[]}"#.to_owned()),
        Mode::Body("not JSON".to_owned()),
        Mode::Body(format!(r#"{{"keys":[],"pad":"{}"}}"#, "x".repeat(limits::MAX_FETCH_BYTES))),
        Mode::Body(r#"{"keys":[{"kty":"oct","k":"AAAA","kid":"key-1"}]}"#.to_owned()),
    ];
    advance(limits::MAX_KEY_AGE).await;
    for mode in bad {
        let before = stub.key_sets();
        stub.set(mode.clone());
        show(&verifier, &token()).await.unwrap();
        assert_eq!(stub.key_sets(), before + 1, "{mode:?}");
        // Soon after a failure nobody waits for another.
        show(&verifier, &token()).await.unwrap();
        assert_eq!(stub.key_sets(), before + 1, "{mode:?}");
        assert!(!verifier.refresh().await.is_empty(), "the operator is told");
        advance(limits::RETRY_INTERVAL).await;
    }
    advance(Duration::from_secs(30 * 60)).await;
    let error = show(&verifier, &token()).await.unwrap_err();
    assert_eq!((error.code(), error.fault()), (UNAVAILABLE, Fault::Issuer));
    stub.set(Mode::Honest);
    advance(limits::RETRY_INTERVAL).await;
    show(&verifier, &token()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn too_many_keys_are_no_key_set() {
    let (issuer, verifier, stub) = stubbed("").await;
    let one = issuer.key_set();
    let one = one.strip_prefix("{\"keys\":[").unwrap().strip_suffix("]}").unwrap().to_owned();
    let many = |n: usize| format!("{{\"keys\":[{}]}}", vec![one.clone(); n].join(","));
    stub.set(Mode::Body(many(limits::MAX_KEYS + 1)));
    let error = show(&verifier, &issuer.mint(alice()).unwrap()).await.unwrap_err();
    assert_eq!(error.code(), UNAVAILABLE);
    // The same key twice: none is meant.
    stub.set(Mode::Body(many(2)));
    advance(limits::RETRY_INTERVAL).await;
    let error = show(&verifier, &issuer.mint(alice()).unwrap()).await.unwrap_err();
    assert_eq!(error, AuthError::Algorithm);
}

#[tokio::test(start_paused = true)]
async fn without_a_kid_exactly_one_key_may_fit() {
    let (issuer, verifier, _stub) = stubbed("").await;
    let token = || issuer.forge(alice()).header("kid", serde_json::Value::Null).token().unwrap();
    let seen = show(&verifier, &token()).await.unwrap();
    assert_eq!(seen.credential.kid, None);
    issuer.rotate().unwrap();
    advance(limits::MAX_KEY_AGE).await;
    assert_eq!(show(&verifier, &token()).await.unwrap_err(), AuthError::Algorithm);
}

#[tokio::test]
async fn attack_23_a_discovery_document_of_another_issuer_is_refused() {
    let (issuer, verifier) = common::pair().await;
    issuer.claim_issuer("https://login.corp.example");
    let error = show(&verifier, &issuer.mint(alice()).unwrap()).await.unwrap_err();
    assert_eq!(error.code(), UNAVAILABLE);
    assert_eq!(issuer.fetches().jwks, 0);
}

#[tokio::test]
async fn redirects_errors_and_floods_of_bytes_are_not_followed() {
    let other = DevIssuer::start().await.unwrap();
    for answer in [
        JwksAnswer::Redirect(format!("{}/jwks", other.iss())),
        JwksAnswer::Status(500),
        JwksAnswer::Status(204),
        JwksAnswer::Body(vec![b' '; limits::MAX_FETCH_BYTES + 1]),
        JwksAnswer::Body(Vec::new()),
    ] {
        let (issuer, verifier) = common::pair().await;
        issuer.set_jwks(answer.clone());
        let error = show(&verifier, &issuer.mint(alice()).unwrap()).await.unwrap_err();
        assert_eq!(error.code(), UNAVAILABLE, "{answer:?}");
    }
    assert_eq!(other.fetches().jwks, 0);
}

#[tokio::test]
async fn an_issuer_that_is_gone_is_named_as_the_cause() {
    let (issuer, verifier) = common::pair().await;
    let token = issuer.mint(alice()).unwrap();
    drop(issuer);
    let error = show(&verifier, &token).await.unwrap_err();
    assert_eq!(error, AuthError::KeysUnavailable { issuer: "dev".to_owned() });
}

#[tokio::test]
async fn a_token_from_the_token_endpoint_is_believed() {
    let (issuer, verifier) = common::pair().await;
    issuer.add_client("proxy-cli", "s3cret", alice());
    let form = "grant_type=client_credentials&client_id=proxy-cli&client_secret=s3cret";
    let answer = post(&issuer.token_endpoint(), form).await;
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(show(&verifier, token).await.unwrap().principal.subject, "alice");
    let wrong = post(&issuer.token_endpoint(), &form.replace("s3cret", "guess")).await;
    assert!(wrong.contains("invalid_client"));
}

/// A form, posted by hand: no client is needed for one request.
async fn post(url: &str, form: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let head = format!(
        "POST /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}
