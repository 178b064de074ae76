//! What of requests and answers is recorded, and in which form.

use std::borrow::Cow;
use std::collections::BTreeMap;

use aws_lc_rs::digest;
use http::header::{self, HeaderMap, HeaderName};
use http::{Method, StatusCode, Version};
use masking::{Outcome, Policy, Receipt, Sink};
use policy::{Access, Vocabulary};
use records::Text;

use crate::query;

/// What the bytes of a recorded answer are: its head as HTTP/1.1 would have it, an empty line, and
/// the body without transfer coding (RFC 9112, 10.1).
pub const MEDIA: &str = "message/http";

/// The classes of requests, and that methods can't all be listed.
pub const VOCABULARY: Vocabulary = Vocabulary {
    protocol: crate::PROTOCOL,
    classes: &["read", "write", "delete", "upgrade", "unknown"],
    operations: &[],
    flags: &[],
    calls: false,
    arguments: &["field.", "query.", "body."],
};

/// Fields that are kept as they are. Any other is kept as the SHA-256 of its value: it can be
/// compared, and shows nothing.
const IN_CLEAR: [HeaderName; 24] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::ACCEPT_RANGES,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::AGE,
    header::ALLOW,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::DATE,
    header::EXPECT,
    header::EXPIRES,
    header::IF_MODIFIED_SINCE,
    header::LAST_MODIFIED,
    header::ORIGIN,
    header::RANGE,
    header::RETRY_AFTER,
    header::SERVER,
    header::USER_AGENT,
];
/// The same, that the library has no names for.
const WORDS_IN_CLEAR: [&str; 6] = [
    "traceparent",
    "x-request-id",
    "mcp-protocol-version",
    "mcp-method",
    "grpc-status",
    "grpc-encoding",
];
/// The longest value that is kept in clear, in bytes.
const MAX_CLEAR: usize = 512;

/// A method's class, and how it uses its resource (RFC 9110, 9.2.1). One that nobody knows is the
/// worst.
pub(crate) fn class(method: &Method) -> (&'static str, Access) {
    match method.as_str() {
        "GET" | "HEAD" | "OPTIONS" => ("read", Access::Read),
        "POST" | "PUT" | "PATCH" => ("write", Access::Write),
        "DELETE" => ("delete", Access::Write),
        _ => ("unknown", Access::Write),
    }
}

/// How the request came.
pub(crate) fn via(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "h2",
        Version::HTTP_10 => "http/1.0",
        _ => "http/1.1",
    }
}

/// Whether the target did what it was asked.
pub(crate) fn outcome(status: StatusCode) -> &'static str {
    if status.is_client_error() || status.is_server_error() { "error" } else { "ok" }
}

/// The request's line as it may be kept.
pub(crate) fn line(
    policy: &Policy,
    method: &Method,
    path: &str,
    query: Option<&str>,
    counts: &mut BTreeMap<Cow<'static, str>, u64>,
) -> Text<'static> {
    // A path is looked at as a query without names is: decoded.
    let path = query::recorded(policy, path, counts);
    match query {
        None => format!("{method} {path}").into(),
        Some(query) => {
            let query = query::recorded(policy, query, counts);
            format!("{method} {path}?{query}").into()
        }
    }
}

/// The same text as it may be kept.
pub(crate) fn masked(
    policy: &Policy,
    text: &[u8],
    counts: &mut BTreeMap<Cow<'static, str>, u64>,
) -> Text<'static> {
    let (mut out, mut receipt) = (Vec::new(), Receipt::default());
    let kept = match policy.mask_text(Sink::Record, text, &mut out, &mut receipt) {
        Outcome::Same => text,
        Outcome::Replaced => &out,
    };
    for (entity, count) in receipt.counts() {
        *counts.entry(policy.entity_name(entity).to_owned().into()).or_default() += count;
    }
    match std::str::from_utf8(kept) {
        Ok(text) => text.to_owned().into(),
        Err(_) => Text::Bytes { hex: hex::encode(kept).into() },
    }
}

/// What a record says of fields.
pub(crate) fn fields(all: &HeaderMap) -> BTreeMap<Cow<'static, str>, Text<'static>> {
    let mut told = BTreeMap::new();
    for name in all.keys() {
        let values: Vec<&[u8]> = all.get_all(name).iter().map(|it| it.as_bytes()).collect();
        told.insert(format!("field.{name}").into(), value(name, &values.join(&b", "[..])).into());
    }
    told
}

fn value(name: &HeaderName, value: &[u8]) -> String {
    let clear = IN_CLEAR.contains(name) || WORDS_IN_CLEAR.contains(&name.as_str());
    match std::str::from_utf8(value) {
        Ok(text) if clear && text.len() <= MAX_CLEAR => text.to_owned(),
        _ => format!("sha256:{}", hex::encode(digest::digest(&digest::SHA256, value))),
    }
}

/// An answer's head as it is recorded.
pub(crate) fn head(status: StatusCode, all: &HeaderMap) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} {}\r\n", status.as_u16(), reason(status));
    for (name, each) in all {
        head.push_str(&format!("{name}: {}\r\n", value(name, each.as_bytes())));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or_default()
}
