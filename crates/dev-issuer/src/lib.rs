//! An OpenID Connect issuer for demos and tests. Never for production.
//!
//! It listens on a spare loopback port, makes its keys at start, and offers
//! discovery, a key set, a token endpoint (client credentials) and the device
//! flow, in which whoever holds it plays the person. Tokens are RFC 9068 access
//! tokens. Whoever holds a [`DevIssuer`] can also
//! [`mint`](DevIssuer::mint) a token for anybody, which is why it must never
//! vouch for real people.
//!
//! The [`hostile`] part is for tests: endpoints that answer late, wrongly or
//! not at all, and tokens that lie.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), dev_issuer::IssuerError> {
//! use dev_issuer::{Claims, DevIssuer};
//!
//! let issuer = DevIssuer::start().await?;
//! // agent-7 acts for alice
//! let claims = Claims::new("alice").audience("https://proxy.example").acting(&["agent-7"]);
//! let token = issuer.mint(claims)?;
//! assert_eq!(token.split('.').count(), 3);
//! assert!(issuer.iss().starts_with("http://127.0.0.1:"));
//! # Ok(())
//! # }
//! ```

mod claims;
mod device;
pub mod hostile;
mod keys;
mod server;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use claims::Claims;
pub use device::RawAnswer;
pub use hostile::{Forge, JwksAnswer, Signer};
pub use keys::Algorithm;
use keys::SigningKey;

/// Why the issuer could not do something.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// No port could be had on the loopback interface.
    #[error("the issuer cannot listen: {0}")]
    Listen(#[from] std::io::Error),
    /// The cryptographic library failed.
    #[error("the issuer cannot make or use a key")]
    Crypto,
}

impl From<aws_lc_rs::error::Unspecified> for IssuerError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Crypto
    }
}

/// How often each endpoint was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetches {
    /// The discovery document.
    pub discovery: u64,
    /// The key set.
    pub jwks: u64,
    /// The token endpoint.
    pub token: u64,
}

/// A running issuer. Ends when it is dropped.
#[derive(Debug)]
pub struct DevIssuer {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    iss: String,
    keys: Mutex<Keys>,
    state: Mutex<State>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("iss", &self.iss).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    fetches: Fetches,
    clients: BTreeMap<String, Client>,
    jwks: JwksAnswer,
    max_age: Option<u64>,
    claimed_issuer: Option<String>,
    devices: device::Devices,
}

/// Somebody who may ask the token endpoint.
struct Client {
    secret: String,
    claims: Claims,
}

/// The keys, the one that signs last.
struct Keys {
    algorithm: Algorithm,
    made: usize,
    all: Vec<SigningKey>,
    /// In the set already, but does not sign yet.
    next: Option<SigningKey>,
}

impl Keys {
    fn make(&mut self) -> Result<SigningKey, IssuerError> {
        self.made += 1;
        SigningKey::generate(self.algorithm, format!("key-{}", self.made))
    }

    fn current(&self) -> Result<&SigningKey, IssuerError> {
        self.all.last().ok_or(IssuerError::Crypto)
    }

    fn published(&self) -> Value {
        let keys: Vec<Value> = self.all.iter().chain(&self.next).map(SigningKey::jwk).collect();
        json!({ "keys": keys })
    }
}

impl DevIssuer {
    /// Starts an issuer that signs with ES256.
    ///
    /// # Errors
    ///
    /// If no port or no key can be had.
    pub async fn start() -> Result<Self, IssuerError> {
        Self::start_with(Algorithm::Es256).await
    }

    /// Starts an issuer that signs with the algorithm given.
    ///
    /// # Errors
    ///
    /// If no port or no key can be had.
    pub async fn start_with(algorithm: Algorithm) -> Result<Self, IssuerError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let iss = format!("http://{}", listener.local_addr()?);
        let mut keys = Keys { algorithm, made: 0, all: Vec::new(), next: None };
        let first = keys.make()?;
        keys.all.push(first);
        let shared =
            Arc::new(Shared { iss, keys: Mutex::new(keys), state: Mutex::new(State::default()) });
        let task = tokio::spawn(server::serve(listener, Arc::clone(&shared)));
        Ok(Self { shared, task })
    }

    /// Its name, which is also its address: `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn iss(&self) -> &str {
        &self.shared.iss
    }

    /// The address of its token endpoint.
    #[must_use]
    pub fn token_endpoint(&self) -> String {
        format!("{}/token", self.iss())
    }

    /// Lets a client ask the token endpoint for tokens with these claims.
    pub fn add_client(&self, id: &str, secret: &str, claims: Claims) {
        let claims = claims.client(id);
        let client = Client { secret: secret.to_owned(), claims };
        self.shared.state().clients.insert(id.to_owned(), client);
    }

    /// Signs an access token with these claims.
    ///
    /// # Errors
    ///
    /// If the cryptographic library fails.
    pub fn mint(&self, claims: Claims) -> Result<String, IssuerError> {
        self.shared.mint(claims)
    }

    /// The `kid` of the key that signs now.
    #[must_use]
    pub fn kid(&self) -> String {
        self.keys().current().map(|key| key.kid.clone()).unwrap_or_default()
    }

    /// Publishes the key that will sign after the next [`rotate`](Self::rotate),
    /// as a careful issuer does well before. Gives its `kid`.
    ///
    /// # Errors
    ///
    /// If the key cannot be made.
    pub fn announce(&self) -> Result<String, IssuerError> {
        let mut keys = self.keys();
        let next = keys.make()?;
        let kid = next.kid.clone();
        keys.next = Some(next);
        Ok(kid)
    }

    /// Signs from now on with the announced key, or with a new one. The former
    /// keys stay published. Gives the `kid`.
    ///
    /// # Errors
    ///
    /// If the key cannot be made.
    pub fn rotate(&self) -> Result<String, IssuerError> {
        let mut keys = self.keys();
        let key = match keys.next.take() {
            Some(next) => next,
            None => keys.make()?,
        };
        let kid = key.kid.clone();
        keys.all.push(key);
        Ok(kid)
    }

    /// Takes a key out of the set. Does nothing to the key that signs.
    pub fn withdraw(&self, kid: &str) {
        let mut keys = self.keys();
        let current = keys.current().map(|key| key.kid.clone()).unwrap_or_default();
        keys.all.retain(|key| key.kid != kid || key.kid == current);
    }

    /// The key set as it is published now, in JSON.
    #[must_use]
    pub fn key_set(&self) -> String {
        self.keys().published().to_string()
    }

    /// How often each endpoint was asked so far.
    #[must_use]
    pub fn fetches(&self) -> Fetches {
        self.shared.state().fetches
    }

    /// The `max-age` that the key set's endpoint states, in seconds. Default: none.
    pub fn set_max_age(&self, seconds: u64) {
        self.shared.state().max_age = Some(seconds);
    }

    /// For tests: how the key set's endpoint answers from now on.
    pub fn set_jwks(&self, answer: JwksAnswer) {
        self.shared.state().jwks = answer;
    }

    /// For tests: the issuer that the discovery document claims to be of.
    pub fn claim_issuer(&self, iss: &str) {
        self.shared.state().claimed_issuer = Some(iss.to_owned());
    }

    /// For tests: a token that may lie.
    #[must_use]
    pub fn forge(&self, claims: Claims) -> Forge<'_> {
        Forge::new(self, claims)
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.shared.keys()
    }
}

impl Drop for DevIssuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mint(&self, claims: Claims) -> Result<String, IssuerError> {
        let keys = self.keys();
        let key = keys.current()?;
        // RFC 9068 section 2.1: the type of an access token.
        let header = json!({"alg": key.alg(), "typ": "at+jwt", "kid": key.kid});
        let claims = Value::Object(claims.complete(&self.iss, &random_id()?));
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = key.sign(key.alg(), message.as_bytes())?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// 128 random bits in hex, for a `jti`.
fn random_id() -> Result<String, IssuerError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}
