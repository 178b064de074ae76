//! Tokens that must be believed, and tokens that must not.
#![allow(clippy::unwrap_used, clippy::string_slice, reason = "tests; tokens are ASCII")]

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{AUD, RULES, alice, config_with, over_http, pair, show};
use dev_issuer::{Algorithm, Claims, DevIssuer, Fetches, Signer};
use identity::{ActorRole, AuthError, Fault, Kind, Secret, TokenClass, TokenHash};
use serde_json::{Value, json};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn a_person_is_believed() {
    for algorithm in [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa] {
        let issuer = DevIssuer::start_with(algorithm).await.unwrap();
        let verifier = over_http(&common::config(issuer.iss()));
        let token = issuer.mint(alice().with("name", json!("Alice\u{1b}[31m L."))).unwrap();
        let seen = show(&verifier, &token).await.unwrap();
        assert_eq!(seen.principal.issuer, issuer.iss());
        assert_eq!(seen.principal.subject, "alice");
        assert_eq!(seen.principal.kind, Kind::Human);
        assert_eq!(seen.principal.display, "Alice[31m L.");
        assert_eq!(seen.principal.groups, BTreeSet::from(["dba".into(), "eng".into()]));
        assert!(seen.principal.on_behalf_of.is_empty());
        assert_eq!(seen.principal.rule, "dev/people");
        assert_eq!(seen.credential.sha256, TokenHash::of(&Secret::from(token.as_str())));
        assert_eq!(seen.credential.class, TokenClass::AccessToken);
        assert_eq!(seen.credential.client_id.as_deref(), Some("proxy-cli"));
        assert_eq!(seen.credential.kid, Some(issuer.kid()));
        assert_eq!(seen.credential.exp, seen.credential.iat + 300);
        assert!(seen.lease.is_over().is_none());
        let shown = format!("{seen:?} {}", serde_json::to_string(&seen.credential).unwrap());
        assert!(!shown.contains(&token), "a record holds the token");
    }
}

#[tokio::test]
async fn an_agent_acts_for_a_person() {
    let (issuer, verifier) = pair().await;
    let token = issuer.mint(alice().acting(&["agent-7", "agent-3"])).unwrap();
    let principal = show(&verifier, &token).await.unwrap().principal;
    assert_eq!((principal.subject.as_str(), principal.kind), ("agent-7", Kind::Agent));
    let chain: Vec<_> =
        principal.on_behalf_of.iter().map(|a| (a.subject.as_str(), a.role)).collect();
    assert_eq!(chain, [("agent-3", ActorRole::Intermediary), ("alice", ActorRole::Subject)]);
    assert_eq!(principal.acts_for().unwrap().subject, "alice");
    assert_eq!(principal.to_string(), "agent agent-7 for alice");
    let json = serde_json::to_value(&principal).unwrap();
    assert_eq!(
        json["on_behalf_of"][1],
        json!({"issuer": issuer.iss(), "subject": "alice", "role": "subject"})
    );
}

// Case 1: the algorithm.
#[tokio::test]
async fn attack_23_algorithm_confusion_is_refused_without_a_fetch() {
    let issuer = DevIssuer::start_with(Algorithm::Rs256).await.unwrap();
    let verifier = over_http(&common::config(issuer.iss()));
    for (alg, signer) in [
        ("HS256", Signer::PublicKeyAsSecret),
        ("none", Signer::Nobody),
        ("None", Signer::Nobody),
        ("HS512", Signer::PublicKeyAsSecret),
        ("RS1", Signer::Issuer),
        ("", Signer::Nobody),
    ] {
        let token = issuer.forge(alice()).alg(alg).signed_by(signer).token().unwrap();
        let error = show(&verifier, &token).await.unwrap_err();
        assert!(matches!(error, AuthError::Algorithm | AuthError::Malformed(_)), "{alg}: {error}");
    }
    assert_eq!(issuer.fetches(), Fetches::default());
    // The key is published for RS256 alone.
    let token = issuer.forge(alice()).alg("PS256").token().unwrap();
    assert_eq!(show(&verifier, &token).await.unwrap_err(), AuthError::Algorithm);
    // An ES256 token under the RSA key's name.
    let token = issuer.forge(alice()).alg("ES256").signed_by(Signer::Stranger).token().unwrap();
    assert_eq!(show(&verifier, &token).await.unwrap_err(), AuthError::Algorithm);
}

#[tokio::test]
async fn attack_23_a_stranger_signs() {
    let (issuer, verifier) = pair().await;
    let token = issuer.forge(alice()).signed_by(Signer::Stranger).token().unwrap();
    assert_eq!(show(&verifier, &token).await.unwrap_err(), AuthError::Signature);
    let honest = issuer.mint(alice()).unwrap();
    let (message, signature) = honest.rsplit_once('.').unwrap();
    // Another token's signature.
    let other = issuer.mint(alice()).unwrap();
    let moved = format!("{message}.{}", other.rsplit('.').next().unwrap());
    assert_eq!(show(&verifier, &moved).await.unwrap_err(), AuthError::Signature);
    // No signature, a longer one, padding, blanks.
    for broken in [
        format!("{message}."),
        message.to_owned(),
        format!("{honest}A"),
        format!("{honest}="),
        format!(" {honest}"),
        format!("{honest}\n"),
        format!("{honest}.{signature}"),
    ] {
        let error = show(&verifier, &broken).await.unwrap_err();
        assert!(matches!(error, AuthError::Malformed(_) | AuthError::Signature), "{error}");
    }
}

// Case 2: names of keys that are paths, addresses, SQL; keys brought along.
#[tokio::test]
async fn attack_23_key_injection_is_refused() {
    let (issuer, verifier) = pair().await;
    show(&verifier, &issuer.mint(alice()).unwrap()).await.unwrap();
    let before = issuer.fetches();
    let long = "k".repeat(10_000);
    for kid in ["../../dev/null", "' OR 1=1 --", "http://127.0.0.1:9/jwks"] {
        let token = issuer.forge(alice()).kid(kid).token().unwrap();
        assert_eq!(show(&verifier, &token).await.unwrap_err(), AuthError::UnknownKey, "{kid}");
    }
    for kid in [
        json!(long),
        json!(""),
        json!("a\u{0}b"),
        json!("a\nb"),
        json!(1),
        Value::Bool(true),
        json!(["x"]),
    ] {
        let token = issuer.forge(alice()).header("kid", kid).token().unwrap();
        let error = show(&verifier, &token).await.unwrap_err();
        assert!(matches!(error, AuthError::Malformed(_)), "{error}");
    }
    for field in ["jku", "x5u"] {
        let header = json!(format!("{}/elsewhere", issuer.iss()));
        let forge = issuer.forge(alice()).header(field, header).signed_by(Signer::Stranger);
        let error = show(&verifier, &forge.token().unwrap()).await.unwrap_err();
        assert_eq!(error, AuthError::Signature, "{field}");
    }
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"});
    let forge = issuer.forge(alice()).header("jwk", jwk).header("x5c", json!(["AA"]));
    let error = show(&verifier, &forge.signed_by(Signer::Stranger).token().unwrap()).await;
    assert_eq!(error.unwrap_err(), AuthError::Signature);
    let after = issuer.fetches();
    assert_eq!(before, after, "within 30 s of a fetch nothing is fetched");
}

#[tokio::test]
async fn attack_23_critical_headers_are_refused() {
    let (issuer, verifier) = pair().await;
    for crit in [json!(["exp"]), json!([]), json!("b64")] {
        let token = issuer.forge(alice()).header("crit", crit).token().unwrap();
        assert_eq!(show(&verifier, &token).await.unwrap_err(), AuthError::CriticalHeader);
    }
}

// Case 4: the class and the audience.
#[tokio::test]
async fn attack_23_another_class_of_token_is_refused() {
    let (issuer, verifier) = pair().await;
    for typ in ["JWT", "logout+jwt", "secevent+jwt", "oauth-id-jag+jwt", "dpop+jwt", "", "x"] {
        let token = issuer.forge(alice()).header("typ", json!(typ)).token().unwrap();
        assert_eq!(show(&verifier, &token).await.unwrap_err(), AuthError::TokenClass, "{typ}");
    }
    let untyped = issuer.forge(alice()).header("typ", Value::Null).token().unwrap();
    assert_eq!(show(&verifier, &untyped).await.unwrap_err(), AuthError::TokenClass);
    let event = issuer.mint(alice().with("events", json!({}))).unwrap();
    assert_eq!(show(&verifier, &event).await.unwrap_err(), AuthError::TokenClass);
    for typ in ["AT+JWT", "application/at+jwt"] {
        let token = issuer.forge(alice()).header("typ", json!(typ)).token().unwrap();
        show(&verifier, &token).await.unwrap();
    }
}

#[tokio::test]
async fn an_id_token_is_not_taken_for_another_jwt() {
    let issuer = DevIssuer::start().await.unwrap();
    let jwt = over_http(&config_with(issuer.iss(), r#"token_classes = ["JWT"]"#, RULES));
    let both = over_http(&config_with(
        issuer.iss(),
        "token_classes = [\"JWT\", \"id-token\"]\nauthorized_parties = [\"proxy-cli\"]",
        RULES,
    ));
    let id_token = |claims: Claims| {
        issuer.forge(claims.with("nonce", json!("n"))).header("typ", json!("JWT")).token().unwrap()
    };
    let plain = issuer.forge(alice()).header("typ", json!("JWT")).token().unwrap();
    assert_eq!(show(&jwt, &plain).await.unwrap().credential.class, TokenClass::Jwt);
    assert_eq!(show(&jwt, &id_token(alice())).await.unwrap_err(), AuthError::TokenClass);
    assert_eq!(
        show(&both, &id_token(alice())).await.unwrap().credential.class,
        TokenClass::IdToken
    );
    let other = id_token(alice().with("azp", json!("other-app")));
    assert_eq!(show(&both, &other).await.unwrap_err(), AuthError::AuthorizedParty);
}

#[tokio::test]
async fn attack_23_another_audience_is_refused() {
    let issuer = DevIssuer::start().await.unwrap();
    let strict = over_http(&common::config(issuer.iss()));
    let listed =
        over_http(&config_with(issuer.iss(), r#"authorized_parties = ["proxy-cli"]"#, RULES));
    for aud in
        [json!("https://other.example"), json!(format!("{AUD}/")), json!(["x", "y"]), json!("")]
    {
        let token = issuer.mint(alice().with("aud", aud)).unwrap();
        assert_eq!(show(&strict, &token).await.unwrap_err(), AuthError::Audience);
    }
    for aud in [json!([]), json!(1), json!({"x": AUD}), json!([1, AUD])] {
        let token = issuer.mint(alice().with("aud", aud)).unwrap();
        assert_eq!(show(&strict, &token).await.unwrap_err(), AuthError::BadClaim("aud"));
    }
    let several = alice().with("aud", json!([AUD, "https://other.example"]));
    let token = issuer.mint(several.clone()).unwrap();
    assert_eq!(show(&strict, &token).await.unwrap_err(), AuthError::AuthorizedParty);
    show(&listed, &token).await.unwrap();
    let token = issuer.mint(several.without("client_id")).unwrap();
    assert_eq!(show(&listed, &token).await.unwrap_err(), AuthError::AuthorizedParty);
    assert_eq!(issuer.fetches().discovery, 1);
}

#[tokio::test]
async fn attack_23_an_unknown_issuer_causes_no_fetch() {
    let (issuer, verifier) = pair().await;
    for iss in
        [format!("{}/", issuer.iss()), issuer.iss().to_uppercase(), "https://evil.example".into()]
    {
        let token = issuer.mint(alice().with("iss", json!(iss))).unwrap();
        assert_eq!(show(&verifier, &token).await.unwrap_err(), AuthError::UnknownIssuer);
    }
    assert_eq!(issuer.fetches(), Fetches::default());
}

#[tokio::test]
async fn attack_23_missing_or_empty_claims_are_refused() {
    let (issuer, verifier) = pair().await;
    for name in ["iss", "sub", "aud", "exp", "iat"] {
        let token = issuer.mint(alice().without(name)).unwrap();
        assert_eq!(show(&verifier, &token).await.unwrap_err(), AuthError::MissingClaim(name));
    }
    for (name, value) in [
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!("a\nb")),
        ("sub", json!("x".repeat(513))),
        ("iss", json!("")),
        ("jti", json!("")),
        ("client_id", json!([])),
    ] {
        let token = issuer.mint(alice().with(name, value)).unwrap();
        assert_eq!(show(&verifier, &token).await.unwrap_err(), AuthError::BadClaim(name));
    }
}

// Case 5: times.
#[tokio::test]
async fn attack_23_malformed_times_are_refused() {
    let (issuer, verifier) = pair().await;
    let text = (now() + 300).to_string();
    for name in ["exp", "iat", "nbf"] {
        for value in [
            json!(text),
            json!(1e308),
            json!(-1),
            json!(1.5e9),
            json!(u64::MAX),
            json!([]),
            json!(true),
        ] {
            let claims = alice().with("exp", json!(now() + 300)).with(name, value.clone());
            let token = issuer.mint(claims).unwrap();
            let error = show(&verifier, &token).await.unwrap_err();
            assert_eq!(error, AuthError::BadClaim(name), "{name} = {value}");
        }
    }
}

#[tokio::test]
async fn times_hold_to_the_skew_and_no_further() {
    let (issuer, verifier) = pair().await;
    let t = now();
    let at = UNIX_EPOCH + Duration::from_secs(t);
    let check = async |claims: Claims| {
        let token = Secret::from(issuer.mint(claims).unwrap());
        verifier.authenticate(&token, at).await.map(|_| ())
    };
    let base = || alice().with("iat", json!(t));
    assert_eq!(check(base().with("exp", json!(t - 29))).await, Ok(()));
    assert_eq!(check(base().with("exp", json!(t - 30))).await, Err(AuthError::Expired));
    assert_eq!(check(base().with("nbf", json!(t + 30))).await, Ok(()));
    assert_eq!(check(base().with("nbf", json!(t + 31))).await, Err(AuthError::NotYetValid));
    assert_eq!(check(base().with("iat", json!(t + 30))).await, Ok(()));
    assert_eq!(check(base().with("iat", json!(t + 31))).await, Err(AuthError::IssuedInFuture));
    let old = |age: u64| alice().with("iat", json!(t - age)).with("exp", json!(t + 100));
    assert_eq!(check(old(3630)).await, Ok(()));
    let limit = Duration::from_secs(3600);
    assert_eq!(check(old(3631)).await, Err(AuthError::TooOld { limit }));
}

// Case 6, as far as a bearer goes.
#[tokio::test]
async fn a_token_bound_to_a_key_is_no_bearer_token() {
    let (issuer, verifier) = pair().await;
    for cnf in [json!({"jkt": "x"}), json!({"x5t#S256": "x"}), json!({}), json!("x")] {
        let token = issuer.mint(alice().with("cnf", cnf)).unwrap();
        assert_eq!(show(&verifier, &token).await.unwrap_err(), AuthError::SenderConstrained);
    }
}

// Case 10: delegation.
#[tokio::test]
async fn attack_23_forged_delegation_is_refused() {
    let (issuer, verifier) = pair().await;
    let iss = issuer.iss();
    let deep = alice().acting(&["a", "b", "c"]);
    show(&verifier, &issuer.mint(deep).unwrap()).await.unwrap();
    for (why, claims) in [
        ("depth 4", alice().acting(&["a", "b", "c", "d"])),
        ("circle", alice().acting(&["a", "b", "a"])),
        ("acts for itself", alice().acting(&["alice"])),
        ("circle through the subject", alice().acting(&["a", "alice"])),
        ("no sub", alice().with("act", json!({}))),
        ("empty sub", alice().with("act", json!({"sub": ""}))),
        ("text", alice().with("act", json!("agent-7"))),
        ("list", alice().with("act", json!([{"sub": "agent-7"}]))),
        ("another issuer", alice().with("act", json!({"sub": "a", "iss": "https://evil.example"}))),
        (
            "nested other issuer",
            alice().with("act", json!({"sub": "a", "iss": iss, "act": {"sub": "b", "iss": "x"}})),
        ),
        ("may_act", alice().acting(&["a"]).with("may_act", json!({"sub": "b"}))),
    ] {
        let error = show(&verifier, &issuer.mint(claims).unwrap()).await.unwrap_err();
        assert!(matches!(error, AuthError::Delegation(_)), "{why}: {error}");
    }
}

#[tokio::test]
async fn attack_23_an_issuer_without_a_delegation_rule_cannot_delegate() {
    let issuer = DevIssuer::start().await.unwrap();
    let rules = "[[issuer.dev.rule]]\nname = \"people\"\nkind = \"human\"\n";
    let verifier = over_http(&config_with(issuer.iss(), "", rules));
    show(&verifier, &issuer.mint(alice()).unwrap()).await.unwrap();
    let error = show(&verifier, &issuer.mint(alice().acting(&["agent-7"])).unwrap()).await;
    assert!(matches!(error.unwrap_err(), AuthError::Delegation(_)));
}

// Case 11: kinds.
#[tokio::test]
async fn attack_23_kind_comes_from_rules_alone() {
    let (issuer, verifier) = pair().await;
    let ci = || {
        Claims::new("repo:acme/payments:ref:main")
            .audience(AUD)
            .with("repository_id", json!("74"))
            .with("event_name", json!("push"))
    };
    let principal = show(&verifier, &issuer.mint(ci()).unwrap()).await.unwrap().principal;
    assert_eq!((principal.kind, principal.subject.as_str()), (Kind::Ci, "74"));
    let none = AuthError::NoRule { issuer: "dev".to_owned() };
    for claims in [
        // A renamed repository with the same name in `sub`.
        ci().with("repository_id", json!("99")),
        ci().with("repository_id", json!(74)),
        ci().with("event_name", json!("pull_request")),
        ci().without("event_name"),
        // Says that it is a person.
        ci().with("repository_id", json!("99"))
            .with("kind", json!("human"))
            .with("email", json!("alice@corp.example")),
        Claims::new("mallory").audience(AUD),
    ] {
        let error = show(&verifier, &issuer.mint(claims).unwrap()).await.unwrap_err();
        assert_eq!(error, none);
        assert_eq!(error.fault(), Fault::Operator);
    }
    let error = show(&verifier, &issuer.mint(ci().client("proxy-cli")).unwrap()).await.unwrap_err();
    assert!(matches!(error, AuthError::AmbiguousRules { .. }), "{error}");
    // An agent's token that also fits the people's rule but for `act`.
    let agent = issuer.mint(alice().acting(&["agent-7"])).unwrap();
    assert_eq!(show(&verifier, &agent).await.unwrap().principal.kind, Kind::Agent);
}

#[tokio::test]
async fn groups_are_typed_and_whole() {
    let (issuer, verifier) = pair().await;
    for groups in [
        json!("dba"),
        json!(["dba", 1]),
        json!([""]),
        json!({"dba": true}),
        json!(["x".repeat(257)]),
    ] {
        let token = issuer.mint(alice().with("groups", groups)).unwrap();
        assert_eq!(show(&verifier, &token).await.unwrap_err(), AuthError::BadClaim("groups"));
    }
    let omitted = alice().without("groups").with("_claim_names", json!({"groups": "src1"}));
    assert_eq!(
        show(&verifier, &issuer.mint(omitted).unwrap()).await.unwrap_err(),
        AuthError::GroupsOmitted
    );
    let none = show(&verifier, &issuer.mint(alice().without("groups")).unwrap()).await.unwrap();
    assert!(none.principal.groups.is_empty());
}

#[tokio::test]
async fn sizes_are_bounded_and_cuts_are_named() {
    let (issuer, verifier) = pair().await;
    assert_eq!(show(&verifier, "").await.unwrap_err(), AuthError::Missing);
    let big = issuer.mint(alice().with("pad", json!("x".repeat(20_000)))).unwrap();
    assert_eq!(show(&verifier, &big).await.unwrap_err(), AuthError::TooLong { bytes: big.len() });
    let token = issuer.mint(alice().with("pad", json!("x".repeat(4_000)))).unwrap();
    show(&verifier, &token).await.unwrap();
    for bytes in [1023, 4095] {
        let error = show(&verifier, &token[..bytes]).await.unwrap_err();
        assert_eq!(error, AuthError::CutShort { bytes });
    }
    let twice = format!(r#"{{"iss":"{}","iss":"x","sub":"alice"}}"#, issuer.iss());
    let nested = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    for raw in [twice, nested, "[]".to_owned(), "{".to_owned(), String::new()] {
        let token = issuer.forge(alice()).raw_claims(raw).token().unwrap();
        assert!(matches!(show(&verifier, &token).await.unwrap_err(), AuthError::Malformed(_)));
    }
}

#[tokio::test]
async fn errors_show_nothing_of_the_token() {
    let (issuer, verifier) = pair().await;
    let canary = "canary-5a7b1c";
    for claims in [
        Claims::new(canary).audience(canary),
        Claims::new(canary).audience(AUD),
        Claims::new(canary).audience(AUD).with("iss", json!(canary)),
        alice().with("sub", json!([canary])),
        alice().acting(&[canary, canary]),
    ] {
        let error = show(&verifier, &issuer.mint(claims).unwrap()).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains(canary));
        assert!(!error.code().is_empty());
    }
}
