//! `greffier.toml`: one file, every error at once, with its line; and a running instance of it.
//!
//! [`load`] reads the file, everything that it names (secrets, certificates) and checks it all.
//! What is wrong comes back as [`Problems`], each with line, column, key and what would be right:
//!
//! ```text
//! greffier.toml:31:1: target.orders.durabilty: unknown key; did you mean `durability`?
//! greffier.toml:38:1: target.orders.role[0].password: the environment variable PGPW is not set
//! ```
//!
//! What is right comes back as [`Loaded`]: rules compiled, TLS set up, secrets read. Then
//! [`Instance::open`] opens the log and makes the [`gate::Gate`], and [`serve::serve`] accepts
//! connections until the process is told to end; [`run`] is all of it for a program's `main`. None
//! of them knows a protocol; what only PostgreSQL knows is in [`postgres`]. Every protocol is a
//! feature of this crate.
//!
//! Every key is documented in this crate's README.md; `greffier.example.toml` at the top of the
//! repository shows them at work.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let loaded = config::load("greffier.toml".as_ref())?;
//! let instance = config::Instance::open(&loaded, "example 1.0").await?;
//! println!("verify the log with {}", instance.vkey());
//! for listener in &loaded.listeners {
//!     let config::Protocol::Postgres(own) = &listener.protocol else { continue };
//!     let proxy = ::postgres::Proxy::new(instance.gate.clone(), loaded.postgres_config(own));
//!     // accept on listener.address, and give what comes to proxy.serve; see `config::serve`
//! }
//! instance.seal(std::time::Duration::from_secs(30)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Secrets are named in the file (`env:NAME`, `file:/path`) and never stand in it; no message
//! repeats a value that was written where a secret belongs. Relative paths are relative to the
//! file's folder.

mod document;
#[cfg(feature = "http")]
pub mod http;
mod instance;
mod keygen;
mod load;
mod loaded;
mod operations;
#[cfg(feature = "postgres")]
pub mod postgres;
mod problem;
mod run;
mod secret;
mod sections;
pub mod serve;
#[cfg(feature = "ssh")]
pub mod ssh;
#[cfg(any(feature = "postgres", feature = "http"))]
mod tls;
mod units;

pub use instance::{Instance, SealError, StartError};
pub use keygen::{KeygenError, keygen};
pub use load::{MAX_CONNECTIONS, MAX_FILE_BYTES, PUBLISH_EVERY, SHUTDOWN_TIMEOUT, load, load_with};
pub use loaded::{Audit, Listener, Loaded, Protocol, Serve, Targets};
pub use problem::{Problem, Problems};
pub use run::{RunError, run};
pub use secret::{MAX_SECRET_BYTES, Secret};
