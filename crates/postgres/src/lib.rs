//! The PostgreSQL proxy: handshake, relay, verdicts and masking of one connection.
//!
//! A [`Proxy`] serves connections that somebody else accepts. For each it asks for a token,
//! finds the target and the role, logs in there, and then relays frame by frame: what the
//! client asks for is judged by PostgreSQL's own grammar and put on record before it leaves;
//! what the server answers is matched to what was asked, masked, recorded, and held until the
//! record allows it to go. All of it goes through a [`gate::Gate`].
//!
//! It reads like the protocol's chapter of the manual:
//!
//! | module | is |
//! |---|---|
//! | `handshake` | SSLRequest, direct TLS, StartupMessage, the token |
//! | `upstream` | the same from the other side: connect, TLS, log in |
//! | `session` | what was asked and what is owed: names, queue, verdicts, masking |
//! | `relay` | the one loop that moves bytes |
//! | `cancel` | cancel keys of our own |
//! | `catalog` | what column rules need to know of a database |
//! | `refusal` | the one place where causes become SQLSTATEs |
//!
//! The listener is the embedder's (`examples/embed_postgres.rs` is a whole program):
//!
//! ```
//! use std::{future::pending, io, sync::Arc};
//!
//! use postgres::{Config, Proxy, Role, Target};
//! use tokio::net::TcpListener;
//!
//! /// Serves a PostgreSQL of this host, on which everyone who gets in becomes `app`.
//! async fn serve(gate: gate::Gate, main: gate::Target) -> io::Result<()> {
//!     let role = Role::Named("app".into());
//!     let target = Target::local(Arc::new(main), "127.0.0.1", 5432, role);
//!     let proxy = Proxy::new(gate, Config::loopback(vec![Arc::new(target)]));
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     loop {
//!         let (tcp, peer) = listener.accept().await?;
//!         let proxy = proxy.clone();
//!         tokio::spawn(async move { proxy.serve(tcp, peer, pending()).await });
//!     }
//! }
//! ```

mod cancel;
mod catalog;
mod handshake;
mod proxy;
mod refusal;
mod relay;
mod session;
mod stream;
mod target;
mod trace;
mod upstream;

pub use handshake::{Carrier, ClientTls};
pub use postgres_wire::auth::{Methods, Secret};
pub use proxy::{Config, HANDSHAKE_TIMEOUT, MAX_MESSAGE_BYTES, MAX_SQL_BYTES, Proxy};
pub use session::judge::VOCABULARY;
pub use target::{ApplicationName, Databases, Role, RoleRule, Target, Upstream};

/// The protocol's name in rules and records.
pub const PROTOCOL: &str = "postgres";

/// For the fuzzer: reads whatever stands in a statement, or a session's name, as which run it
/// belongs to; `false`: a trace that was found is another in a comment of its own. Not part of the
/// API.
#[doc(hidden)]
#[must_use]
pub fn fuzz_trace(data: &[u8]) -> bool {
    trace::fuzz(data)
}
