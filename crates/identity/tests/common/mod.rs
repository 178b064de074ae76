//! What the integration tests share: a configuration for the development
//! issuer, and a fetcher without a network.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test helper may panic")]
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use dev_issuer::{Claims, DevIssuer};
use identity::{
    AuthError, Config, Fetch, FetchError, FetchFuture, FetchRequest, Fetched, HttpFetcher, Secret,
    Verified, Verifier,
};

pub const AUD: &str = "https://proxy.corp.example";

/// Rules for people, agents (also acting for people) and CI.
pub const RULES: &str = r#"
[[issuer.dev.rule]]
name = "agents"
kind = "agent"
when = { act = { present = true } }
actor_from = "act"
groups = "groups"
max_session = "15m"

[[issuer.dev.rule]]
name = "people"
kind = "human"
when = { act = { absent = true }, client_id = { equals = "proxy-cli" } }
groups = "groups"
display = "name"

[[issuer.dev.rule]]
name = "deploy"
kind = "ci"
when = { repository_id = { in = ["74", "75"] }, event_name = { not_in = ["pull_request"] } }
subject = "repository_id"
"#;

pub fn config_with(iss: &str, extra: &str, rules: &str) -> Config {
    toml::from_str(&format!(
        r#"
[issuer.dev]
iss = "{iss}"
audiences = ["{AUD}"]
algorithms = ["ES256", "RS256", "PS256", "EdDSA"]
may_mint = ["human", "agent", "ci", "workload"]
allow_insecure_loopback = true
{extra}
{rules}"#
    ))
    .unwrap()
}

pub fn config(iss: &str) -> Config {
    config_with(iss, "", RULES)
}

/// An issuer and a verifier over real HTTP.
pub async fn pair() -> (DevIssuer, Verifier) {
    let issuer = DevIssuer::start().await.unwrap();
    let verifier = over_http(&config(issuer.iss()));
    (issuer, verifier)
}

pub fn over_http(config: &Config) -> Verifier {
    Verifier::new(config, HttpFetcher::new(config).unwrap()).unwrap()
}

pub fn alice() -> Claims {
    Claims::new("alice").audience(AUD).client("proxy-cli").groups(&["dba", "eng"])
}

pub async fn show(verifier: &Verifier, token: &str) -> Result<Verified, AuthError> {
    verifier.authenticate(&Secret::from(token), SystemTime::now()).await
}

/// How [`Stub`] answers.
#[derive(Clone, Debug)]
pub enum Mode {
    Honest,
    Fail,
    Hang,
    Body(String),
}

/// Answers from memory, so that tests can stop the clock.
pub struct Stub {
    issuer: Arc<DevIssuer>,
    pub mode: Mutex<Mode>,
    pub key_sets: AtomicUsize,
}

impl Stub {
    pub fn key_sets(&self) -> usize {
        self.key_sets.load(Ordering::SeqCst)
    }

    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }
}

impl Fetch for Stub {
    fn fetch<'a>(&'a self, request: FetchRequest<'a>) -> FetchFuture<'a> {
        Box::pin(async move {
            let iss = self.issuer.iss();
            if request.url.ends_with("/.well-known/openid-configuration") {
                let body = format!(r#"{{"issuer":"{iss}","jwks_uri":"{iss}/jwks"}}"#);
                return Ok(Fetched { body: body.into_bytes(), max_age: None });
            }
            self.key_sets.fetch_add(1, Ordering::SeqCst);
            // Lets others run, so that those who wait for one fetch do wait.
            tokio::task::yield_now().await;
            let mode = self.mode.lock().unwrap().clone();
            let body = match mode {
                Mode::Honest => self.issuer.key_set(),
                Mode::Body(body) => body,
                Mode::Fail => return Err(FetchError("status 500".to_owned())),
                Mode::Hang => std::future::pending().await,
            };
            Ok(Fetched { body: body.into_bytes(), max_age: None })
        })
    }
}

/// An issuer, a verifier and the fetcher between them, without a network.
pub async fn stubbed(extra: &str) -> (Arc<DevIssuer>, Verifier, Arc<Stub>) {
    let issuer = Arc::new(DevIssuer::start().await.unwrap());
    let stub = Arc::new(Stub {
        issuer: Arc::clone(&issuer),
        mode: Mutex::new(Mode::Honest),
        key_sets: AtomicUsize::new(0),
    });
    let config = config_with(issuer.iss(), extra, RULES);
    let verifier = Verifier::new(&config, Arc::clone(&stub)).unwrap();
    (issuer, verifier, stub)
}
