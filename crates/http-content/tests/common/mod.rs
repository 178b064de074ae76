//! What the tests share.
#![allow(dead_code, clippy::unwrap_used, reason = "test helpers; each test uses some of them")]

use http_content::media::{Charset, Kind};
use http_content::{BodyMasker, ContentError, Sides};
use masking::{Config, Policy};
use std::sync::Arc;

/// A number that passes for a card's: a test number every card company prints.
pub(crate) const CARD: &str = "4111111111111111";

pub(crate) fn policy(rules: &str) -> Arc<Policy> {
    let config: Config = toml::from_str(rules).unwrap();
    Arc::new(Policy::compile(&config, Some(&[7; 32])).unwrap())
}

/// Everything replaced, the same for both.
pub(crate) fn all() -> Arc<Policy> {
    policy("[[rule]]\nentity = [\"ALL\"]\nclient = { operator = \"replace\" }")
}

/// Everything: masked for the client, hashed in the record.
pub(crate) fn both() -> Arc<Policy> {
    policy(
        "[[rule]]\nentity = [\"ALL\"]\nclient = { operator = \"mask\" }\n\
         record = { operator = \"replace\" }",
    )
}

pub(crate) fn in_pieces<'a>(
    kind: &Kind,
    policy: &Arc<Policy>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Vec<u8>, Vec<u8>), ContentError> {
    let mut masker = BodyMasker::new(kind, Charset::Ascii, policy, Sides::Both)?;
    let (mut client, mut record) = (Vec::new(), Vec::new());
    for piece in pieces {
        masker.push(piece, &mut client, &mut record)?;
    }
    masker.finish(&mut client, &mut record)?;
    Ok((client, record))
}

pub(crate) fn whole(kind: &Kind, policy: &Arc<Policy>, body: &[u8]) -> (Vec<u8>, Vec<u8>) {
    in_pieces(kind, policy, [body]).unwrap()
}

/// What the client sees, as text.
pub(crate) fn seen(kind: &Kind, policy: &Arc<Policy>, body: &str) -> String {
    String::from_utf8(whole(kind, policy, body.as_bytes()).0).unwrap()
}

/// Cut in two at every byte, and byte by byte, it is the same.
pub(crate) fn every_split(kind: &Kind, policy: &Arc<Policy>, body: &[u8]) {
    let want = in_pieces(kind, policy, [body]);
    for at in 0..=body.len() {
        let (a, b) = body.split_at(at);
        assert_eq!(in_pieces(kind, policy, [a, b]), want, "cut at {at}");
    }
    assert_eq!(in_pieces(kind, policy, body.chunks(1)), want, "byte by byte");
    assert_eq!(in_pieces(kind, policy, body.chunks(7)), want, "seven by seven");
}
