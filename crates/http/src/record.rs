//! What of requests and answers is recorded, and in which form.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::header::{HeaderMap, HeaderName};
use http::{Method, StatusCode, Version};
use http_content::headers::{HeaderRecorder, RecordedValue};
use http_content::query::UrlMasker;
use masking::{Outcome, Policy, Receipt, Sink};
use mcp_wire::{Object, Value};
use policy::{Access, Vocabulary};
use records::{Text, Trace};

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
    counts: &mut Counted,
) -> Text<'static> {
    let url = match query {
        None => Cow::Borrowed(path),
        Some(query) => Cow::Owned(format!("{path}?{query}")),
    };
    let mut receipt = Receipt::default();
    let url = UrlMasker::default().for_record(&url, policy, &mut receipt);
    add(counts, counted(policy, &receipt));
    format!("{method} {url}").into()
}

/// What was masked, by entity.
pub(crate) type Counted = BTreeMap<Cow<'static, str>, u64>;

/// A receipt in words.
pub(crate) fn counted(policy: &Policy, receipt: &Receipt) -> Counted {
    let name = |entity| Cow::Owned(policy.entity_name(entity).to_owned());
    receipt.counts().map(|(entity, count)| (name(entity), count)).collect()
}

/// Adds up what was masked.
pub(crate) fn add(counts: &mut Counted, more: Counted) {
    for (entity, count) in more {
        *counts.entry(entity).or_default() += count;
    }
}

/// The same text as it may be kept.
pub(crate) fn masked(policy: &Policy, bytes: &[u8], counts: &mut Counted) -> Text<'static> {
    let (mut out, mut receipt) = (Vec::new(), Receipt::default());
    let kept = match policy.mask_text(Sink::Record, bytes, &mut out, &mut receipt) {
        Outcome::Same => bytes,
        Outcome::Replaced => &out,
    };
    add(counts, counted(policy, &receipt));
    text(kept)
}

/// Bytes as a record has them.
pub(crate) fn text(bytes: &[u8]) -> Text<'static> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned().into(),
        Err(_) => Text::Bytes { hex: hex::encode(bytes).into() },
    }
}

/// What a record says of fields.
pub(crate) fn fields(
    policy: &Policy,
    all: &HeaderMap,
    counts: &mut Counted,
) -> BTreeMap<Cow<'static, str>, Text<'static>> {
    let mut told = BTreeMap::new();
    for name in all.keys() {
        let values: Vec<&[u8]> = all.get_all(name).iter().map(|it| it.as_bytes()).collect();
        let value = value(policy, name, &values.join(&b", "[..]), counts);
        told.insert(format!("field.{name}").into(), value.into());
    }
    told
}

fn value(policy: &Policy, name: &HeaderName, value: &[u8], counts: &mut Counted) -> String {
    let mut receipt = Receipt::default();
    let recorder = HeaderRecorder::default();
    let kept = recorder.for_record(name.as_str(), value, policy, &mut receipt);
    add(counts, counted(policy, &receipt));
    match kept {
        RecordedValue::Clear(text) => text,
        RecordedValue::Hashed { sha256, .. } => format!("sha256:{}", hex::encode(sha256)),
    }
}

/// Which run of which agent a command belongs to, as the record may keep it: what a message says
/// (MCP's `_meta`), or else the request's fields. More than one `traceparent` is none.
pub(crate) fn trace(
    policy: &Policy,
    all: &HeaderMap,
    meta: Option<&Object>,
    counts: &mut Counted,
) -> Option<Trace<'static>> {
    let said = |name: &str| meta.and_then(|meta| meta.get(name)).and_then(Value::as_str);
    let message = said("traceparent")
        .and_then(|parent| Trace::read(parent, said("tracestate"), said("baggage")));
    let joined = |name: &str| {
        let values: Option<Vec<&str>> =
            all.get_all(name).iter().map(|it| it.to_str().ok()).collect();
        values.filter(|it| !it.is_empty()).map(|it| it.join(","))
    };
    let trace = message.or_else(|| {
        let (state, baggage) = (joined("tracestate"), joined("baggage"));
        Trace::read(&joined("traceparent")?, state.as_deref(), baggage.as_deref())
    });
    trace.map(|it| {
        it.masked(|text| match masked(policy, text.as_bytes(), counts) {
            Text::Utf8(kept) => (kept != text).then(|| kept.into_owned()),
            Text::Bytes { hex } => Some(hex.into_owned()),
        })
    })
}

/// An answer's head as it is recorded.
pub(crate) fn head(policy: &Policy, status: StatusCode, all: &HeaderMap) -> Vec<u8> {
    let mut counts = Counted::new();
    let mut head = format!("HTTP/1.1 {} {}\r\n", status.as_u16(), reason(status));
    for (name, each) in all {
        head.push_str(&format!(
            "{name}: {}\r\n",
            value(policy, name, each.as_bytes(), &mut counts)
        ));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or_default()
}
