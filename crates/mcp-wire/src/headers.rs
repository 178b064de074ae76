//! Headers that say again what the body says (2026-07-28, Streamable HTTP, Request Metadata).
//!
//! A gateway on the way decides by the headers, the server acts by the body: so they must be the
//! same. We read both, and refuse a request in which they are not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::code;
use crate::flatten::flatten;
use crate::json;
use crate::message::{Message, Request};
use crate::method::{Call, Method};
use crate::tools::ParamHeaders;
use crate::value::Value;
use crate::version::{Era, VERSION_HEADER, Version};

/// The header with the method.
pub const METHOD_HEADER: &str = "mcp-method";
/// The header with the tool's, prompt's or resource's name.
pub const NAME_HEADER: &str = "mcp-name";
/// How the headers with arguments begin.
pub const PARAM_HEADERS: &str = "mcp-param-";
/// Most headers with arguments.
pub const MAX_PARAM_HEADERS: usize = 64;
/// Longest value of one of these headers, bytes.
pub const MAX_VALUE_BYTES: usize = 8 << 10;
/// Largest whole number that is compared by value (ECMA-262, 21.1.2.6).
const MAX_SAFE: f64 = 9_007_199_254_740_991.0;

/// A header that doesn't say what the body says. The fault is the client's; over HTTP 400. It
/// doesn't show the values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Header mismatch: {header} {kind}")]
pub struct HeaderMismatch {
    /// The header's name, lower case.
    pub header: String,
    /// In which way.
    pub kind: MismatchKind,
}

/// In which way a header doesn't say what the body says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MismatchKind {
    /// It says something else, or the body says nothing.
    #[error("does not match the body")]
    Differs,
    /// It isn't there, and must be.
    #[error("is missing")]
    Missing,
    /// It is there twice, and one would have to be chosen.
    #[error("is there twice")]
    Twice,
    /// Bytes that may not be in it, base64 that isn't, or too long.
    #[error("is malformed")]
    Malformed,
    /// More headers with arguments than allowed.
    #[error("is one of too many")]
    TooMany,
}

impl HeaderMismatch {
    /// The JSON-RPC code.
    #[must_use]
    pub const fn code(&self) -> i64 {
        code::HEADER_MISMATCH
    }
}

/// The headers of a request that MCP knows, each at most once.
#[derive(Clone, Default)]
pub struct Headers<'a> {
    version: Option<&'a [u8]>,
    method: Option<&'a [u8]>,
    name: Option<&'a [u8]>,
    /// Without `mcp-param-`, lower case.
    params: Vec<(String, &'a [u8])>,
}

impl<'a> Headers<'a> {
    /// Picks the headers out of all of a request's, names in any case. A name with an underscore
    /// counts as the one with a hyphen: to many servers (CGI's heirs) they are one.
    ///
    /// # Errors
    /// The client's: one of them is there twice, or there are too many.
    pub fn collect<'n>(
        all: impl IntoIterator<Item = (&'n str, &'a [u8])>,
    ) -> Result<Self, HeaderMismatch> {
        let mut own = Self::default();
        for (name, value) in all {
            let name = name.to_ascii_lowercase().replace('_', "-");
            let place = match &*name {
                VERSION_HEADER => &mut own.version,
                METHOD_HEADER => &mut own.method,
                NAME_HEADER => &mut own.name,
                other => {
                    let Some(param) = other.strip_prefix(PARAM_HEADERS) else { continue };
                    if own.params.iter().any(|(it, _)| it == param) {
                        return Err(HeaderMismatch { header: name, kind: MismatchKind::Twice });
                    }
                    if own.params.len() == MAX_PARAM_HEADERS {
                        return Err(HeaderMismatch { header: name, kind: MismatchKind::TooMany });
                    }
                    own.params.push((param.to_owned(), value));
                    continue;
                }
            };
            if place.replace(value).is_some() {
                return Err(HeaderMismatch { header: name, kind: MismatchKind::Twice });
            }
        }
        Ok(own)
    }

    /// The value of [`VERSION_HEADER`], for [`crate::version_over_http`].
    #[must_use]
    pub const fn version(&self) -> Option<&'a [u8]> {
        self.version
    }
}

/// Checks that headers say what the body says.
///
/// [`METHOD_HEADER`] and [`NAME_HEADER`] must be there since 2026-07-28; where they are there, they
/// must be right in every version. `schema` is what the tool's definition says of the headers with
/// arguments; if it isn't known (or says nothing of one), such a header must still have the value
/// of *some* argument. [`VERSION_HEADER`] is [`crate::version_over_http`]'s to check.
///
/// # Errors
/// The client's; see [`HeaderMismatch`].
pub fn check_headers(
    headers: &Headers<'_>,
    message: &Message,
    version: Version,
    schema: Option<&ParamHeaders>,
) -> Result<(), HeaderMismatch> {
    let stateless = version.era() == Era::Stateless;
    let (method, name, request) = match message {
        Message::Request(request) => (Some(request.method_name()), named(request), Some(request)),
        // Which headers a notification has, 2026-07-28 doesn't say; if it has some, they hold.
        Message::Notification(it) => (Some(it.method_name()), None, None),
        Message::Response(_) => (None, None, None),
    };
    let required = stateless && request.is_some();
    check_method(headers.method, method, required)?;
    check_name(headers.name, name, required)?;
    let call = request.and_then(|it| match it.method() {
        Method::CallTool(call) => Some(call),
        _ => None,
    });
    check_params(headers, call, schema.filter(|_| stateless))
}

/// What [`NAME_HEADER`] says again: names and URIs, and tasks of the extension.
fn named(request: &Request) -> Option<&str> {
    match request.method() {
        Method::CallTool(Call { name, .. }) | Method::GetPrompt(Call { name, .. }) => Some(name),
        Method::ReadResource { uri } => Some(uri),
        Method::Task { operation: "get" | "update" | "cancel", id } => id,
        _ => None,
    }
}

fn check_method(
    header: Option<&[u8]>,
    body: Option<&str>,
    required: bool,
) -> Result<(), HeaderMismatch> {
    let fails = |kind| Err(HeaderMismatch { header: METHOD_HEADER.to_owned(), kind });
    match header {
        None if required => fails(MismatchKind::Missing),
        None => Ok(()),
        Some(value) if body.map(str::as_bytes) == Some(trimmed(value)) => Ok(()),
        Some(_) => fails(MismatchKind::Differs),
    }
}

fn check_name(
    header: Option<&[u8]>,
    body: Option<&str>,
    required: bool,
) -> Result<(), HeaderMismatch> {
    let fails = |kind| HeaderMismatch { header: NAME_HEADER.to_owned(), kind };
    match header {
        None if required && body.is_some() => Err(fails(MismatchKind::Missing)),
        None => Ok(()),
        Some(value) => {
            let said = decode(value).ok_or_else(|| fails(MismatchKind::Malformed))?;
            if body == Some(&*said) { Ok(()) } else { Err(fails(MismatchKind::Differs)) }
        }
    }
}

fn check_params(
    headers: &Headers<'_>,
    call: Option<Call<'_>>,
    schema: Option<&ParamHeaders>,
) -> Result<(), HeaderMismatch> {
    let fails =
        |name: &str, kind| HeaderMismatch { header: format!("{PARAM_HEADERS}{name}"), kind };
    let arguments = call.and_then(|it| it.arguments);
    for (name, value) in &headers.params {
        let said = decode(value).ok_or_else(|| fails(name, MismatchKind::Malformed))?;
        let right = match schema.and_then(|it| it.path(name)) {
            Some(path) => at(arguments, path).is_some_and(|value| says(value, &said)),
            None => call.is_some_and(|call| says_some(&call, &said)),
        };
        if !right {
            return Err(fails(name, MismatchKind::Differs));
        }
    }
    // What the definition wants mirrored and the body has, must be there.
    for (name, path) in schema.into_iter().flat_map(ParamHeaders::iter) {
        let there = headers.params.iter().any(|(it, _)| it == name);
        if !there && call.is_some() && at(arguments, path).is_some() {
            return Err(fails(name, MismatchKind::Missing));
        }
    }
    Ok(())
}

/// The argument at a path; `null` is none.
fn at<'a>(arguments: Option<&'a crate::value::Object>, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let mut value = arguments?.get(first)?;
    for key in rest {
        value = value.as_object()?.get(key)?;
    }
    (*value != Value::Null).then_some(value)
}

fn says(value: &Value, said: &str) -> bool {
    match value {
        Value::String(text) => text == said,
        Value::Bool(set) => said == if *set { "true" } else { "false" },
        Value::Number(number) => same_number(number.text(), said),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

fn says_some(call: &Call<'_>, said: &str) -> bool {
    let Some(arguments) = call.arguments else { return false };
    let any = |(_, value): (&str, &Value)| {
        let leaves = flatten("", value);
        let mut own = leaves.fields.iter();
        own.any(|leaf| leaf.value == said || same_number(leaf.value, said))
    };
    arguments.iter().any(any)
}

/// `42.0` is 42; beyond what JavaScript holds exactly, only the same text is the same number.
fn same_number(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let read = |text: &str| {
        let value = json::is_number(text).then(|| text.parse::<f64>().ok()).flatten();
        value.filter(|it| it.abs() <= MAX_SAFE && it.fract() == 0.0)
    };
    matches!((read(one), read(other)), (Some(one), Some(other)) if one.total_cmp(&other).is_eq())
}

/// A header's value without the blanks around it, which are not part of it (RFC 9110, 5.5).
fn trimmed(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().take_while(|it| blank(it)).count();
    let end = value.iter().rev().take_while(|it| blank(it)).count();
    value.get(start..value.len().saturating_sub(end)).unwrap_or_default()
}

/// What a header's value stands for: itself, or what `=?base64?…?=` holds; none if it may not be
/// written so.
#[must_use]
pub fn decode(value: &[u8]) -> Option<String> {
    let value = trimmed(value);
    let allowed = |byte: &u8| matches!(byte, b'\t' | 0x20..=0x7e);
    if value.len() > MAX_VALUE_BYTES || !value.iter().all(allowed) {
        return None;
    }
    let text = std::str::from_utf8(value).ok()?;
    match text.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
        None => Some(text.to_owned()),
    }
}

/// A value as one of these headers has it; see [`decode`].
#[must_use]
pub fn encode(text: &str) -> String {
    let plain = text.bytes().all(|byte| matches!(byte, b'\t' | 0x20..=0x7e));
    let padded = trimmed(text.as_bytes()).len() < text.len();
    if plain && !padded && !(text.starts_with("=?base64?") && text.ends_with("?=")) {
        return text.to_owned();
    }
    format!("=?base64?{}?=", STANDARD.encode(text))
}
