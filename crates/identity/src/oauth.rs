//! Asking an issuer's endpoints (RFC 6749): forms out, bounded JSON in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Map, Value};

use crate::limits::{MAX_FETCH_BYTES, MAX_TOKEN_ANSWER_BYTES};
use crate::{Secret, json};

/// Why there is no answer to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nobody answers.
    Unreachable,
    /// The answer is not as it must be.
    Answer(&'static str),
}

/// An answer of the issuer's, read and found to be JSON.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Map<String, Value>,
}

impl Answer {
    /// RFC 6749 section 5.2.
    pub(crate) fn error(&self) -> Option<&str> {
        self.body.get("error").and_then(Value::as_str)
    }

    /// The access token of a good answer (RFC 6749 section 5.1).
    pub(crate) fn token(&self) -> Result<Secret, Trouble> {
        let kind = self.body.get("token_type").and_then(Value::as_str).unwrap_or_default();
        if !kind.eq_ignore_ascii_case("bearer") {
            return Err(Trouble::Answer("it is no bearer token"));
        }
        self.secret("access_token").ok_or(Trouble::Answer("it holds no token"))
    }

    /// A member that is a secret, and not empty.
    pub(crate) fn secret(&self, name: &str) -> Option<Secret> {
        let text = self.body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.map(Secret::from)
    }
}

/// Fetches a discovery document (OpenID Connect Discovery 4).
pub(crate) async fn discover(client: &Client, url: &str) -> Result<Map<String, Value>, Trouble> {
    let sent = client.get(url).send().await.map_err(|_| Trouble::Unreachable)?;
    let document = read(sent, MAX_FETCH_BYTES).await?;
    match document.status {
        StatusCode::OK => Ok(document.body),
        _ => Err(Trouble::Unreachable),
    }
}

/// Sends a form, as this client (id and secret, RFC 6749 section 2.3.1) if one is given.
pub(crate) async fn post(
    client: &Client,
    url: &str,
    form: &[(&str, String)],
    login: Option<(&str, &Secret)>,
) -> Result<Answer, Trouble> {
    let mut request = client
        .post(url)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json")
        .body(encoded(form));
    if let Some((id, secret)) = login {
        let mut pair = String::new();
        escape(id, &mut pair);
        pair.push(':');
        escape(secret.expose(), &mut pair);
        request = request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)));
    }
    let sent = request.send().await;
    read(sent.map_err(|_| Trouble::Unreachable)?, MAX_TOKEN_ANSWER_BYTES).await
}

async fn read(mut response: Response, most: usize) -> Result<Answer, Trouble> {
    let status = response.status();
    if status.is_server_error() {
        return Ok(Answer { status, body: Map::new() });
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Trouble::Answer("it is not JSON"));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| Trouble::Unreachable)? {
        if body.len() + chunk.len() > most {
            return Err(Trouble::Answer("it is too large"));
        }
        body.extend_from_slice(&chunk);
    }
    let body = json::object(&body).ok_or(Trouble::Answer("it is not plain JSON"))?;
    Ok(Answer { status, body })
}

/// `application/x-www-form-urlencoded`.
pub(crate) fn encoded(form: &[(&str, String)]) -> String {
    let mut out = String::new();
    for (name, value) in form {
        if !out.is_empty() {
            out.push('&');
        }
        escape(name, &mut out);
        out.push('=');
        escape(value, &mut out);
    }
    out
}

fn escape(text: &str, out: &mut String) {
    use std::fmt::Write as _;
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                // Writing to a string can't fail.
                let _written = write!(out, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_written_as_the_url_standard_has_them() {
        let form = [("scope", "a b".to_owned()), ("resource", "https://x.example/é&=".to_owned())];
        let written = "scope=a%20b&resource=https%3A%2F%2Fx.example%2F%C3%A9%26%3D";
        assert_eq!(encoded(&form), written);
    }
}
