//! The issuer's endpoints, over HTTP/1.1 on the loopback interface.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{JwksAnswer, Shared, device};

/// Longest body of a token request, bytes.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;
/// Longest wait for a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) type Answer = Response<Full<Bytes>>;

/// Serves until the task is ended.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Ends with this task, and its connections with it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(|request| answer(request, &shared));
            // A client that goes away is no concern of ours.
            let _gone = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Result<Answer, Infallible> {
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/.well-known/openid-configuration") => discovery(shared),
        (&Method::GET, "/jwks") => jwks(shared).await,
        (&Method::POST, "/token") => token(request, shared).await,
        (&Method::POST, "/device/auth") => device::authorization(request, shared).await,
        _ => status(StatusCode::NOT_FOUND),
    })
}

fn discovery(shared: &Shared) -> Answer {
    let mut state = shared.state();
    state.fetches.discovery += 1;
    let iss = &shared.iss;
    let issuer = state.claimed_issuer.as_ref().unwrap_or(iss);
    json_answer(
        StatusCode::OK,
        &json!({
            "issuer": issuer,
            "jwks_uri": format!("{iss}/jwks"),
            "token_endpoint": format!("{iss}/token"),
            "device_authorization_endpoint": format!("{iss}/device/auth"),
            "grant_types_supported": ["client_credentials", device::GRANT_TYPE],
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "RS256", "EdDSA"],
        }),
    )
}

async fn jwks(shared: &Shared) -> Answer {
    let (behaviour, max_age) = {
        let mut state = shared.state();
        state.fetches.jwks += 1;
        (state.jwks.clone(), state.max_age)
    };
    let honest = || {
        let mut answer = json_answer(StatusCode::OK, &shared.keys().published());
        let age = max_age.and_then(|age| format!("public, max-age={age}").parse().ok());
        answer.headers_mut().extend(age.map(|value| (CACHE_CONTROL, value)));
        answer
    };
    match behaviour {
        JwksAnswer::Honest => honest(),
        JwksAnswer::Slow(wait) => {
            tokio::time::sleep(wait).await;
            honest()
        }
        JwksAnswer::Status(code) => {
            status(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        }
        JwksAnswer::Body(body) => Response::new(Full::new(body.into())),
        JwksAnswer::Redirect(to) => {
            let mut answer = status(StatusCode::FOUND);
            answer.headers_mut().extend(to.parse().ok().map(|value| (LOCATION, value)));
            answer
        }
    }
}

/// RFC 6749 section 4.4: a client's own token, for its id and secret.
async fn token(request: Request<Incoming>, shared: &Shared) -> Answer {
    shared.state().fetches.token += 1;
    let basic = request.headers().get(AUTHORIZATION).and_then(|v| basic(v.to_str().ok()?));
    let Ok(body) = Limited::new(request.into_body(), MAX_BODY_BYTES).collect().await else {
        return status(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let form = form(&body.to_bytes());
    let field = |name: &str| form.get(name).cloned();
    let refuse = |code, error: &str| json_answer(code, &json!({ "error": error }));
    if field("grant_type").as_deref() == Some(device::GRANT_TYPE) {
        return device::token(&form, shared);
    }
    if field("grant_type").as_deref() != Some("client_credentials") {
        return refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type");
    }
    let Some((id, secret)) = basic.or_else(|| Some((field("client_id")?, field("client_secret")?)))
    else {
        return refuse(StatusCode::UNAUTHORIZED, "invalid_client");
    };
    let claims =
        shared.state().clients.get(&id).filter(|c| c.secret == secret).map(|c| c.claims.clone());
    let Some(claims) = claims else {
        return refuse(StatusCode::UNAUTHORIZED, "invalid_client");
    };
    let lifetime = claims.lifetime.as_secs();
    match shared.mint(claims) {
        Ok(token) => json_answer(
            StatusCode::OK,
            &json!({"access_token": token, "token_type": "Bearer", "expires_in": lifetime}),
        ),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
    }
}

/// RFC 6749 section 2.3.1: both parts are form-encoded before base64.
fn basic(header: &str) -> Option<(String, String)> {
    let decoded = String::from_utf8(STANDARD.decode(header.strip_prefix("Basic ")?).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((unescape(id), unescape(secret)))
}

pub(crate) fn form(body: &[u8]) -> BTreeMap<String, String> {
    String::from_utf8_lossy(body)
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (unescape(name), unescape(value)))
        .collect()
}

/// Undoes form encoding; what is no escape stays as it is.
fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match escaped(byte, bytes.clone()) {
            Some(decoded) => {
                out.push(decoded);
                bytes.nth(1);
            }
            None => out.push(if byte == b'+' { b' ' } else { byte }),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The byte that `%` and the two digits behind it stand for.
fn escaped(byte: u8, mut behind: std::str::Bytes<'_>) -> Option<u8> {
    let mut digit = || char::from(behind.next()?).to_digit(16);
    if byte != b'%' {
        return None;
    }
    u8::try_from(digit()? * 16 + digit()?).ok()
}

pub(crate) fn status(code: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = code;
    answer
}

pub(crate) fn json_answer(code: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
    *answer.status_mut() = code;
    let json = hyper::header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read() {
        let form = form(b"grant_type=client%5Fcredentials&scope=a+b&odd=%zz%4&x");
        assert_eq!(form["grant_type"], "client_credentials");
        assert_eq!(form["scope"], "a b");
        assert_eq!(form["odd"], "%zz%4");
        assert_eq!(basic("Basic YTpiOmM="), Some(("a".into(), "b:c".into())));
    }
}
