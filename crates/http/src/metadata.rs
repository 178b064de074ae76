//! What anybody may read: how a client without a token finds out where to get one (RFC 9728), and
//! the keys by which services check our assertions.

use std::sync::Arc;

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Response};
use serde_json::{Value, json};

use crate::answer::AnswerBody;
use crate::headers;
use crate::target::Target;
use crate::uri::Path;

/// Where it is asked for; what follows is the resource's path (RFC 9728, 3.1).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
/// Where the keys of our assertions are, as a JWK Set (RFC 7517, 5), if there are any.
pub const KEYS: &str = "/.well-known/greffier/jwks.json";

/// The resource's address as the client knows it.
pub(crate) fn address(secure: bool, host: &str) -> Option<String> {
    // It is repeated in an answer, so it must be what a host can be.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:[]".contains(c);
    let scheme = if secure { "https" } else { "http" };
    host.chars().all(plain).then(|| format!("{scheme}://{host}"))
}

/// Where the metadata of a request's resource is, for a challenge.
pub(crate) fn url(secure: bool, parts: &Parts) -> Option<String> {
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let host = headers::host(&parts.headers, authority).ok()?;
    let path = Path::parse(parts.uri.path()).ok()?;
    let path = path.as_str().trim_end_matches('/');
    let quotable = path.bytes().all(|it| it.is_ascii_graphic() && it != b'"' && it != b'\\');
    let address = address(secure, host)?;
    Some(format!("{address}{WELL_KNOWN}{}", if quotable { path } else { "" }))
}

/// The metadata, if that is what a request asks for. Nobody has to be known for it.
pub(crate) fn answer(
    secure: bool,
    parts: &Parts,
    authorization_servers: &[String],
) -> Option<Response<AnswerBody>> {
    if parts.method != Method::GET || authorization_servers.is_empty() {
        return None;
    }
    let path = Path::parse(parts.uri.path()).ok()?;
    let path = path.as_str().strip_prefix(WELL_KNOWN)?;
    if !path.is_empty() && !path.starts_with('/') {
        return None;
    }
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let address = address(secure, headers::host(&parts.headers, authority).ok()?)?;
    let metadata = json!({
        "resource": format!("{address}{}", path.trim_end_matches('/')),
        "authorization_servers": authorization_servers,
        "bearer_methods_supported": ["header"],
        "resource_name": "greffier",
    });
    Some(answered(&metadata))
}

/// The keys of our assertions, if that is what a request asks for and there are any.
pub(crate) fn keys(parts: &Parts, targets: &[Arc<Target>]) -> Option<Response<AnswerBody>> {
    if parts.method != Method::GET || parts.uri.path() != KEYS {
        return None;
    }
    let mut keys: Vec<&Value> = Vec::new();
    for jwk in targets.iter().filter_map(|it| Some(it.assertion.as_ref()?.key.jwk())) {
        if !keys.contains(&jwk) {
            keys.push(jwk);
        }
    }
    (!keys.is_empty()).then(|| answered(&json!({ "keys": keys })))
}

fn answered(json: &Value) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::full(json.to_string().into()));
    let media = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response
}
