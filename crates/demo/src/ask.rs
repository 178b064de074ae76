//! The agent's client for HTTP: a library that knows nothing of all this.

use std::time::Duration;

use reqwest::{Method, redirect};
use serde::Serialize;
use serde_json::Value;

use crate::DemoError;

/// How long one request may take.
const TAKING: Duration = Duration::from_secs(20);
/// The longest answer kept, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// What a client got for a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Answered {
    /// The status code.
    pub status: u16,
    /// The status in words.
    pub reason: String,
    /// The body as text.
    pub body: String,
}

impl Answered {
    /// The body as JSON; null, if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// What stands at a JSON pointer (RFC 6901); null where there is nothing.
pub(crate) fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// A client with a token.
pub(crate) struct Client {
    inner: reqwest::Client,
    port: u16,
    token: String,
}

impl Client {
    pub(crate) fn new(port: u16, token: String) -> Result<Self, DemoError> {
        let inner = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(TAKING)
            // One for each: what is closed is not kept waiting by a connection at rest.
            .pool_max_idle_per_host(1);
        Ok(Client { inner: inner.build().map_err(failed)?, port, token })
    }

    /// Asks for a path on loopback.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answered, DemoError> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let mut request = self.inner.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .header("accept", "application/json, text/event-stream")
                .body(body.to_string());
        }
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let mut all = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            if all.len() + piece.len() > MAX_ANSWER {
                return Err(DemoError::Client("the answer is too long".into()));
            }
            all.extend_from_slice(&piece);
        }
        let reason = status.canonical_reason().unwrap_or_default().to_owned();
        let body = String::from_utf8_lossy(&all).into_owned();
        Ok(Answered { status: status.as_u16(), reason, body })
    }
}

fn failed(error: reqwest::Error) -> DemoError {
    use std::error::Error as _;
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    DemoError::Client(format!("{error}{source}"))
}
