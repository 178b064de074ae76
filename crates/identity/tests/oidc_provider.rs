//! Tokens of a provider that nobody here wrote.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;

use common::{AUD, config_with, over_http, show};
use identity::{AuthError, EndReason, Fault, Kind};
use testbed::{OidcProvider, require};

const RULES: &str = r#"
[[issuer.dev.rule]]
name = "delegated"
kind = "agent"
when = { act = { present = true }, client_id = { in = ["agent-7", "agent-8"] } }
actor_from = "act"
groups = "groups"

[[issuer.dev.rule]]
name = "agents"
kind = "agent"
when = { act = { absent = true }, client_id = { in = ["agent-7", "agent-8"] } }
subject = "client_id"

[[issuer.dev.rule]]
name = "people"
kind = "human"
when = { act = { absent = true }, client_id = { equals = "cli" } }
groups = "groups"
display = "email"
"#;

#[tokio::test]
async fn a_real_providers_tokens_make_principals() {
    let Some(mut op) = require(OidcProvider::start(AUD)) else { return };
    let verifier = over_http(&config_with(&op.issuer(), "", RULES));

    let token = op.client_token(OidcProvider::AGENT).unwrap();
    let agent = show(&verifier, &token).await.unwrap();
    assert_eq!((agent.principal.subject.as_str(), agent.principal.kind), ("agent-7", Kind::Agent));
    assert!(agent.principal.on_behalf_of.is_empty());
    assert!(agent.credential.jti.is_some() && agent.credential.kid.is_some());

    let person = op.person_token("alice").unwrap();
    let alice = show(&verifier, &person).await.unwrap().principal;
    assert_eq!((alice.subject.as_str(), alice.kind), ("alice", Kind::Human));
    assert_eq!(alice.groups, BTreeSet::from(["dba".into(), "eng".into()]));
    assert_eq!(alice.display, "alice@corp.example");

    let once = op.delegated_token(&person, OidcProvider::AGENT).unwrap();
    let one = show(&verifier, &once).await.unwrap().principal;
    assert_eq!(one.to_string(), "agent agent-7 for alice");
    let twice = op.delegated_token(&once, OidcProvider::OTHER_AGENT).unwrap();
    let two = show(&verifier, &twice).await.unwrap().principal;
    let chain: Vec<_> = two.on_behalf_of.iter().map(|a| a.subject.as_str()).collect();
    assert_eq!((two.subject.as_str(), chain), ("agent-8", vec!["agent-7", "alice"]));

    // No rule for this client.
    let token = op.client_token(OidcProvider::CI).unwrap();
    let error = show(&verifier, &token).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Operator);

    // Same issuer, another proxy's audience.
    let other = over_http(&{
        let mut config = config_with(&op.issuer(), "", RULES);
        config.issuers.get_mut("dev").unwrap().audiences = vec!["https://other.example".into()];
        config
    });
    assert_eq!(show(&other, &person).await.unwrap_err(), AuthError::Audience);

    // All keys replaced at once: a verifier that has not looked yet refuses the
    // old token, and one that looks again ends the old lease.
    op.restart_with_new_keys().unwrap();
    let fresh = over_http(&config_with(&op.issuer(), "", RULES));
    assert_eq!(show(&fresh, &person).await.unwrap_err(), AuthError::UnknownKey);
    tokio::time::pause();
    tokio::time::advance(identity::limits::UNKNOWN_KID_INTERVAL).await;
    tokio::time::resume();
    let token = op.client_token(OidcProvider::AGENT).unwrap();
    show(&verifier, &token).await.unwrap();
    assert_eq!(agent.lease.is_over(), Some(EndReason::KeyRemoved));

    op.stop();
    let late = over_http(&config_with(&op.issuer(), "", RULES));
    assert_eq!(show(&late, &token).await.unwrap_err().fault(), Fault::Issuer);
}
