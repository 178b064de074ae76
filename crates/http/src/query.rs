//! A query as the record may keep it: what is a secret by its name, or is found by what it says.

use std::borrow::Cow;
use std::collections::BTreeMap;

use masking::{Outcome, Policy, Receipt, Sink};

/// Parameters whose values are secrets whatever they say; case does not count.
const SECRETS: [&str; 26] = [
    "access_token",
    "api-key",
    "api_key",
    "apikey",
    "assertion",
    "auth",
    "client_assertion",
    "client_secret",
    "code",
    "code_verifier",
    "credential",
    "id_token",
    "jwt",
    "key",
    "passwd",
    "password",
    "pwd",
    "refresh_token",
    "secret",
    "sig",
    "signature",
    "sv",
    "token",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
];
/// What stands in a secret's place.
const HIDDEN: &str = "***";

/// The query with everything masked that the record must not have. It is to be read: values in
/// which something was found are not encoded any more.
pub(crate) fn recorded(
    policy: &Policy,
    query: &str,
    counts: &mut BTreeMap<Cow<'static, str>, u64>,
) -> String {
    let mut receipt = Receipt::default();
    let pairs = query.split('&').map(|pair| {
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (pair, None),
        };
        let plain = decoded(name);
        let secret = std::str::from_utf8(&plain)
            .is_ok_and(|name| SECRETS.iter().any(|it| name.eq_ignore_ascii_case(it)));
        let name = masked(policy, name, &mut receipt);
        match value {
            None => name,
            Some(_) if secret => Cow::Owned(format!("{name}={HIDDEN}")),
            Some(value) => Cow::Owned(format!("{name}={}", masked(policy, value, &mut receipt))),
        }
    });
    let text = pairs.collect::<Vec<_>>().join("&");
    for (entity, count) in receipt.counts() {
        *counts.entry(policy.entity_name(entity).to_owned().into()).or_default() += count;
    }
    text
}

/// The text, masked if something is found in what it stands for.
fn masked<'a>(policy: &Policy, text: &'a str, receipt: &mut Receipt) -> Cow<'a, str> {
    let mut out = Vec::new();
    match policy.mask_text(Sink::Record, &decoded(text), &mut out, receipt) {
        Outcome::Same => Cow::Borrowed(text),
        Outcome::Replaced => Cow::Owned(String::from_utf8_lossy(&out).into_owned()),
    }
}

/// What a form's text stands for (WHATWG URL, 5.1). A percent sign that begins nothing stays.
fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let Some((&byte, rest)) = bytes.split_first() {
        bytes = rest;
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let hex = |at: usize| {
                    let digit = rest.get(at).and_then(|it| char::from(*it).to_digit(16));
                    digit.and_then(|it| u8::try_from(it).ok())
                };
                if let (Some(high), Some(low)) = (hex(0), hex(1)) {
                    out.push(high << 4 | low);
                    bytes = rest.get(2..).unwrap_or_default();
                } else {
                    out.push(b'%');
                }
            }
            byte => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_by_name_and_by_what_they_say() {
        let config = "version = 1\n[[rule]]\nname = \"all\"\nentity = [\"CREDIT_CARD\", \"EMAIL_ADDRESS\"]\n\
                      client = { operator = \"mask\" }\nrecord = { operator = \"replace\" }";
        let policy = Policy::compile(&toml::from_str(config).unwrap(), None).unwrap();
        let mut counts = BTreeMap::new();
        for (query, wanted) in [
            ("a=1&b&c=", "a=1&b&c="),
            ("ACCESS_TOKEN=abc&x=1", "ACCESS_TOKEN=***&x=1"),
            ("to%6ben=abc", "to%6ben=***"),
            ("card=4111+1111+1111+1111", "card=<CREDIT_CARD>"),
            ("mail=jo%40example.org&n=%", "mail=<EMAIL_ADDRESS>&n=%"),
            ("4111%201111%201111%201111", "<CREDIT_CARD>"),
            ("a=%zz%4", "a=%zz%4"),
        ] {
            assert_eq!(recorded(&policy, query, &mut counts), wanted, "{query}");
        }
        assert_eq!(counts["CREDIT_CARD"], 2);
    }
}
