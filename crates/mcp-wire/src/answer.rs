//! Answers of ours: errors that a program can sort by and a model can read.

use crate::code;
use crate::error::WireError;
use crate::headers::HeaderMismatch;
use crate::message::Id;
use crate::value::{Number, Object, Value, write_string};
use crate::version::{Version, VersionError};

/// Longest text of ours in an answer, bytes; the rest is cut.
pub const MAX_TEXT_BYTES: usize = 4096;

/// An error as a message. Without an id, `null` stands in its place, as JSON-RPC asks of answers
/// to what could not be read.
#[must_use]
pub fn error(id: Option<&Id>, code: i64, message: &str, data: Option<Value>) -> Vec<u8> {
    let mut out = br#"{"jsonrpc":"2.0","id":"#.to_vec();
    match id {
        Some(id) => id.write(&mut out),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(br#","error":{"code":"#);
    out.extend_from_slice(code.to_string().as_bytes());
    out.extend_from_slice(br#","message":"#);
    write_string(cut(message), &mut out);
    if let Some(data) = data {
        out.extend_from_slice(br#","data":"#);
        data.write(&mut out);
    }
    out.extend_from_slice(b"}}");
    out
}

/// A refusal ([`code::DENIED`]): the rule's name, why, and what to ask for. `message` says it in
/// one text, for clients that show a model nothing else; `data` has `rule`, `reason`, `ask`.
#[must_use]
pub fn denial(id: &Id, rule: &str, reason: Option<&str>, ask: Option<&str>) -> Vec<u8> {
    refusal(id, code::DENIED, "Denied", rule, reason, ask)
}

/// As [`denial`], for what waits for an approval ([`code::HELD`]).
#[must_use]
pub fn held(id: &Id, rule: &str, reason: Option<&str>, ask: Option<&str>) -> Vec<u8> {
    refusal(id, code::HELD, "Not done yet; an approval is needed", rule, reason, ask)
}

/// It can't be recorded and is not done ([`code::UNRECORDED`]).
#[must_use]
pub fn unrecorded(id: &Id) -> Vec<u8> {
    let message = "Not done: the audit log can't be written. Try again later.";
    error(Some(id), code::UNRECORDED, message, None)
}

fn refusal(
    id: &Id,
    code: i64,
    what: &str,
    rule: &str,
    reason: Option<&str>,
    ask: Option<&str>,
) -> Vec<u8> {
    let mut message = format!("{what} by rule `{}`", cut(rule));
    let mut data = Object::default();
    data.insert("rule", Value::String(cut(rule).to_owned()));
    for (key, text, before) in [("reason", reason, ": "), ("ask", ask, ". ")] {
        let Some(text) = text else { continue };
        message.push_str(before);
        message.push_str(cut(text).trim_end_matches('.'));
        data.insert(key, Value::String(cut(text).to_owned()));
    }
    message.push('.');
    error(Some(id), code, &message, Some(Value::Object(data)))
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT_BYTES)).unwrap_or(text)
}

impl WireError {
    /// The answer to a message that could not be read, or not be taken for one.
    #[must_use]
    pub fn answer(&self, id: Option<&Id>) -> Vec<u8> {
        error(id, self.code(), &self.to_string(), None)
    }
}

impl HeaderMismatch {
    /// The answer to a request whose headers say something else than its body.
    #[must_use]
    pub fn answer(&self, id: Option<&Id>) -> Vec<u8> {
        error(id, self.code(), &self.to_string(), None)
    }
}

impl VersionError {
    /// The answer to a request of a version that can't be told; `supported` is what the target and
    /// we both speak.
    #[must_use]
    pub fn answer(&self, id: Option<&Id>, supported: &[Version]) -> Vec<u8> {
        let Self::Unsupported { requested } = self else {
            return error(id, self.code(), &self.to_string(), None);
        };
        let named = supported.iter().map(|it| Value::String(it.name().to_owned()));
        let mut data = Object::default();
        data.insert("supported", Value::Array(named.collect()));
        data.insert("requested", Value::String(requested.clone()));
        error(id, self.code(), "Unsupported protocol version", Some(Value::Object(data)))
    }
}

/// The specification asks a server for this answer to a method that it doesn't have; over HTTP
/// 404 since 2026-07-28.
#[must_use]
pub fn method_not_found(id: &Id) -> Vec<u8> {
    error(Some(id), code::METHOD_NOT_FOUND, "Method not found", None)
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(Number::from(number))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}
