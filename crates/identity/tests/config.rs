//! What a configuration may say, and that all its mistakes are told at once.
#![allow(clippy::unwrap_used, reason = "tests")]

use identity::{Config, HttpFetcher, Verifier};

const GOOD: &str = r#"
[issuer.okta]
iss = "https://corp.okta.example/oauth2/default"
audiences = ["https://proxy.corp.example"]
algorithms = ["RS256"]
may_mint = ["human", "agent"]
[[issuer.okta.rule]]
name = "people"
kind = "human"
"#;

fn paths(text: &str) -> Vec<String> {
    let config: Config = toml::from_str(text).unwrap();
    config.validate().into_iter().map(|problem| problem.path).collect()
}

#[test]
fn a_good_one_has_no_problem() {
    assert_eq!(paths(GOOD), [""; 0]);
    let config: Config = toml::from_str(GOOD).unwrap();
    Verifier::new(&config, HttpFetcher::new(&config).unwrap()).unwrap();
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = r#"
[issuer.a]
iss = "http://login.corp.example"
audiences = []
algorithms = ["HS256", "RS256", "none"]
may_mint = ["human", "robot"]
token_classes = ["secevent+jwt"]
clock_skew = "1h"
max_token_age = "soon"
[[issuer.a.rule]]
name = "x"
kind = "agent"
actor_from = "sub"
subject = ""
when = { a = {}, b = { absent = true, equals = 1 }, c = { in = [] }, d = { present = false } }
[[issuer.a.rule]]
name = "x"
kind = "robot"
max_session = "-1s"
[issuer.b]
iss = "http://login.corp.example"
audiences = ["x"]
algorithms = ["ES256"]
may_mint = ["ci"]
jwks_uri = "https://a@b/"
"#;
    assert_eq!(
        paths(text),
        [
            "issuer.a.audiences",
            "issuer.a.algorithms[0]",
            "issuer.a.algorithms[2]",
            "issuer.a.may_mint[1]",
            "issuer.a.token_classes[0]",
            "issuer.a.max_token_age",
            "issuer.a.clock_skew",
            "issuer.a.iss",
            "issuer.a.rule[0].kind",
            "issuer.a.rule[0].when.a",
            "issuer.a.rule[0].when.b",
            "issuer.a.rule[0].when.c.in",
            "issuer.a.rule[0].when.d",
            "issuer.a.rule[0].subject",
            "issuer.a.rule[0].actor_from",
            "issuer.a.rule[1].name",
            "issuer.a.rule[1].kind",
            "issuer.a.rule[1].max_session",
            "issuer.b.iss",
            "issuer.b.jwks_uri",
            "issuer.b.rule",
        ]
    );
}

#[test]
fn unknown_keys_are_refused() {
    for (from, to) in [
        ("[issuer.okta]", "[issuer.okta]\naudience = \"x\""),
        ("kind = \"human\"", "kind = \"human\"\nwhen = { a = { is = 1 } }"),
        ("kind = \"human\"", "kind = \"human\"\nsub = \"x\""),
        ("[issuer.okta]", "issuers = 1\n[issuer.okta]"),
    ] {
        assert!(toml::from_str::<Config>(&GOOD.replace(from, to)).is_err(), "{to}");
    }
}

#[test]
fn plain_http_is_for_this_machine_and_only_when_asked_for() {
    let with = |iss: &str, extra: &str| {
        GOOD.replace("https://corp.okta.example/oauth2/default", iss)
            .replace("may_mint", &format!("{extra}\nmay_mint"))
    };
    let allowed = "allow_insecure_loopback = true";
    for iss in ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:80/x"] {
        assert_eq!(paths(&with(iss, "")), ["issuer.okta.iss"], "{iss}");
        assert_eq!(paths(&with(iss, allowed)), [""; 0], "{iss}");
    }
    for iss in [
        "http://127.0.0.1.evil.example",
        "http://127.0.0.1@evil.example",
        "http://evil.example#127.0.0.1",
        "http://evil.example",
        "ftp://localhost",
        "//localhost",
        "https://",
        "https:///x",
        "https://a b/",
        "https://a\\\\@b",
    ] {
        assert_eq!(paths(&with(iss, allowed)), ["issuer.okta.iss"], "{iss}");
    }
}

#[test]
fn a_missing_ca_file_is_a_mistake_of_the_configuration() {
    let text = GOOD.replace("may_mint", "ca_file = \"no-such-file.pem\"\nmay_mint");
    let config: Config = toml::from_str(&text).unwrap();
    let error = HttpFetcher::new(&config).unwrap_err();
    assert_eq!(error.problems[0].path, "issuer.okta.ca_file");
}

#[test]
fn nobody_configured_is_a_mistake() {
    assert_eq!(paths(""), ["issuer"]);
}
