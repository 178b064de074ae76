//! What the tests share.
#![allow(dead_code, clippy::unwrap_used, reason = "test helpers; each test uses some of them")]

use masking::{Config, OperatorConfig, Policy, Receipt, RuleConfig, Sink};
use std::sync::Arc;

/// A policy that puts `operator` in every entity's place.
pub(crate) fn all(operator: OperatorConfig) -> Arc<Policy> {
    let rule =
        RuleConfig { entity: vec!["ALL".into()], client: Some(operator), ..RuleConfig::default() };
    let config = Config { rules: vec![rule], ..Config::default() };
    Arc::new(Policy::compile(&config, Some(&[7; 32])).unwrap())
}

/// The masked text, whether it changed or not.
pub(crate) fn masked(policy: &Policy, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match policy.mask_text(Sink::Client, text, &mut out, &mut Receipt::new()) {
        masking::Outcome::Same => text.to_vec(),
        masking::Outcome::Replaced => out,
    }
}

/// The text through a stream, in these pieces.
pub(crate) fn streamed<'a>(
    policy: &Arc<Policy>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut stream = policy.stream(Sink::Client);
    for p in pieces {
        stream.push(p, &mut out);
    }
    stream.finish(&mut out);
    out
}

/// A private key's PEM block, of the right shape and no value.
pub(crate) fn pem() -> String {
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n".repeat(4);
    let line = |what: &str| format!("-----{what} PRIVATE {}-----\n", "KEY");
    format!("{}{body}{}", line("BEGIN"), line("END"))
}

/// Texts that hold something of everything, and what must not survive.
pub(crate) fn samples() -> Vec<(String, Vec<String>)> {
    let s = |t: &str, secrets: &[&str]| {
        (t.to_owned(), secrets.iter().map(|x| (*x).to_owned()).collect())
    };
    let jwt = format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{}", "Ab3_-".repeat(20));
    let long_jwt = format!("eyJhbGciOiJSUzI1NiJ9.{}.sig", "Qx7z".repeat(3000));
    let github = format!("ghp_{}", "a1B2c3D4e".repeat(4));
    vec![
        s("card 4111 1111 1111 1111, then 12/27", &["1111 1111"]),
        s(
            "{\"pan\":\"4111111111111111\",\"iban\":\"DE89370400440532013000\"}",
            &["41111111", "37040044"],
        ),
        s("SSN 536-22-1234 or 536 22 1234; born 1970-01-02 03:04:05", &["22-1234", "22 1234"]),
        s("mail jane.doe+x@mail.example.com now", &["jane.doe", "example"]),
        s("call +49 (0)30 1234567 ext. 12 or (415) 555-0132", &["1234567", "555-0132"]),
        s("from 10.1.2.3 and 2001:db8::1 via 00:1A:2B:3C:4D:5E", &["10.1.2.3", "db8", "3C:4D"]),
        s(&format!("token {github} end"), &["a1B2c3D4e"]),
        s(&format!("Authorization: Bearer {jwt} jane@example.com"), &["Ab3_", "jane"]),
        s(
            "postgres://jane:hunter2@db.example.com password='let''s go' and secret: 9f86d081884c7d659a2f \
             {\"db_password\": \"a\\\"b jane@example.com\"}",
            &["hunter2", "let", "9f86d", "b jane"],
        ),
        s(&format!("long {long_jwt} then 4111111111111111"), &["Qx7z", "41111111"]),
        s(&format!("key:\n{}after jane@example.com", pem()), &["MIIEvQ", "9Us8", "jane"]),
        s(
            &format!("{} 4111-1111-1111-1111 {}", "x y ".repeat(400), "z ".repeat(500)),
            &["1111-1111"],
        ),
        s(
            &format!("AKIA{} and AIza{}", "Q7X2".repeat(4), "b".repeat(20) + "C3d4e5F6g7h8i9j"),
            &["Q7X2Q7X2", "C3d4e5"],
        ),
    ]
}
