//! The HTTP proxy: requests of an authenticated principal, each on record before it reaches its
//! target.
//!
//! [`Proxy::serve`] takes one connection: HTTP/1.1 or HTTP/2, with or without TLS. For each
//! request on it:
//!
//! 1. `relay`: its head is read once: one path (`uri`), one host, no fields that belong to
//!    the connection. That form is judged, recorded and forwarded.
//! 2. `sessions`: who asks. A bearer's use of one target is a session, on record; so is a
//!    browser's that logged in (`login`).
//! 3. [`gate::Session::judge`] and [`submit`](gate::Session::submit): the command's entry, with its
//!    body if that is short. A refusal is `application/problem+json` (`problem`).
//! 4. `pool`: a connection to the target. The request leaves when its entry is durable; a long
//!    body is recorded piece by piece as it passes (`body`).
//! 5. The answer is recorded before it is handed on, its end when the outcome is.
//!
//! | of a request | is recorded as |
//! |---|---|
//! | method, path, query | the command's `text` |
//! | fields | `details`, `field.NAME`; only those of a named list in clear, others by their SHA-256 |
//! | a short body | the command's parameter of type `body` |
//! | a long body | the response's `input_chunks` |
//! | the answer | the response's data, [`MEDIA`] |
//!
//! A target that speaks the Model Context Protocol is in [`mcp`]: there each message is a command.
//! An API server of Kubernetes is in [`kubernetes`].
//!
//! Nothing here reads a token or writes to a disk: that is behind the [`gate`]. The listener is the
//! embedder's, and so is the [`LocalSet`](tokio::task::LocalSet) in which a connection is served:
//!
//! ```
//! use std::{future::pending, io, sync::Arc};
//!
//! use http_proxy::{ANSWER_STALL, ANSWER_TIMEOUT, Config, Proxy, Route, Target, Upstream};
//! use tokio::net::TcpListener;
//!
//! /// Serves what listens on port 8080 of this host. To be called inside a `LocalSet`.
//! async fn serve(gate: gate::Gate, shop: gate::Target) -> io::Result<()> {
//!     let target = Target {
//!         gate: Arc::new(shop),
//!         upstream: Upstream::plain("127.0.0.1", 8080),
//!         assertion: None,
//!         route: Route::default(), // all requests
//!         mcp: None,
//!         kubernetes: None,
//!         upgrades: false,
//!         max_body: Some(1 << 20),
//!         answer_timeout: ANSWER_TIMEOUT,
//!         answer_stall: ANSWER_STALL,
//!     };
//!     let proxy = Proxy::new(gate, Config::loopback(vec![Arc::new(target)]));
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     loop {
//!         let (tcp, peer) = listener.accept().await?;
//!         let proxy = proxy.clone();
//!         tokio::task::spawn_local(async move { proxy.serve(tcp, peer, pending()).await });
//!     }
//! }
//! ```

mod answer;
mod arguments;
mod body;
mod content;
mod forward;
mod headers;
pub mod kubernetes;
mod login;
pub mod mcp;
mod metadata;
mod pool;
mod problem;
mod proxy;
mod record;
mod relay;
mod running;
mod send;
mod sessions;
mod stall;
mod target;
mod upgrade;
mod uri;

pub use answer::{AnswerBody, MAX_PIECE};
pub use body::{BODY_STALL, BodyError};
pub use login::{BrowserLogin, CALLBACK, LOGOUT, MAX_LOGINS, MAX_LOGINS_OF_ONE};
pub use metadata::KEYS;
pub use proxy::{Config, HEAD_TIMEOUT, MAX_FIELDS, MAX_HEAD_BYTES, MAX_STREAMS, Proxy};
pub use record::{MEDIA, VOCABULARY};
pub use relay::MAX_JUDGED_BODY;
pub use sessions::{MAX_SESSIONS, SESSION_IDLE};
pub use stall::{CONNECTION_IDLE, WRITE_STALL};
pub use target::{
    ANSWER_STALL, ANSWER_TIMEOUT, ASSERTION_LIFETIME, Assertion, Authorize, CONNECT_TIMEOUT,
    Credential, Http2, IDLE_CONNECTIONS, Route, Target, Upstream,
};

/// The protocol's name in rules and records.
pub const PROTOCOL: &str = "http";
