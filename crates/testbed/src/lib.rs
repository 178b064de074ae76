//! Real servers and real clients for tests: PostgreSQL, PgBouncer, OpenSSH,
//! Kubernetes' API server, an OIDC provider nobody here wrote, and the drivers
//! that people use.
//!
//! Every server gets a spare loopback port and a temporary folder of its own,
//! runs as an ordinary user when the tests run as root, is ended by its
//! process id when its handle is dropped (also when the test panics), and is
//! ended and cleaned up by a watchdog when the test process itself dies. Its
//! log is kept if the test failed; the path is printed.
//!
//! Words used here:
//! * **server**: a process of a program we did not write, held by a handle
//!   ([`Postgres`], [`PgBouncer`], [`Sshd`], [`OidcProvider`]);
//! * **cluster**: a Kubernetes API server with its etcd, and a node that is a
//!   program of our own ([`Cluster`]);
//! * **program**: one of ours, run as its users do ([`Program`]);
//! * **client**: a small program in `assets/clients/` that plays the common
//!   script through one driver ([`clients`]);
//! * **suite**: a conformance suite of PostgreSQL's own ([`suites`]);
//! * **missing**: a program this machine does not have ([`Error::Missing`]):
//!   a named skip on a developer's machine, a failure when `CI=true`. Pass
//!   every start through [`require`] to get that behaviour.
//!
//! ```no_run
//! use testbed::{PgOptions, Postgres, require};
//!
//! # fn main() -> Result<(), testbed::Error> {
//! // In a test: a missing server skips the test by name, or fails it in CI.
//! let Some(pg) = require(Postgres::start(PgOptions::default())) else { return Ok(()) };
//! assert_eq!(pg.psql("select 1 + 1")?, "2");
//! for s in pg.executed_statements()? {
//!     println!("{} ran {}", s.user, s.sql);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Environment, all optional:
//!
//! | variable | meaning |
//! |---|---|
//! | `CI=true` | what is missing fails the test |
//! | `GREFFIER_TESTBED_DIR` | where servers' temporary folders are made (default: the system's) |
//! | `GREFFIER_TESTBED_CACHE` | where drivers and suites are kept between runs (default: `testbed/` in Cargo's target folder) |
//! | `KUBEBUILDER_ASSETS` | a folder with kube-apiserver, etcd and kubectl, so that none is built (default: Go builds them, once) |
//!
//! Linux only: the watchdog looks into `/proc`.

mod browser;
pub mod clients;
mod dirs;
mod error;
mod grpc;
mod h2spec;
mod har;
mod helm;
mod http;
mod install;
mod kubernetes;
mod kubernetes_build;
mod mcp;
mod mcp_node;
mod oidc;
mod pgbouncer;
mod postgres;
mod process;
mod program;
mod require;
pub mod ssh_clients;
mod sshd;
mod statement_log;
pub mod suites;
mod tls;
mod tokio_client;
mod websocket;

pub use browser::{Step, browse};
pub use dirs::{cache_dir, logs_dir, spare_port};
pub use error::{Error, Failed, Missing};
pub use grpc::{GrpcServer, grpc_client};
pub use h2spec::{H2Cases, h2spec};
pub use har::har_reader;
pub use helm::Helm;
pub use http::{HttpAnswer, get as http_get, post_form as http_post_form};
pub use kubernetes::{Cluster, kubernetes_informer, kubernetes_python};
pub use mcp::{McpServer, mcp_client, mcp_plan_python, mcp_stdio};
pub use mcp_node::{NodeServer, mcp_conformance, mcp_node_stdio, mcp_plan_node};
pub use oidc::{OidcClient, OidcProvider};
pub use pgbouncer::PgBouncer;
pub use postgres::{Auth, PgOptions, Postgres};
pub use program::Program;
pub use require::require;
pub use sshd::{Sshd, SshdOptions};
pub use statement_log::{Executed, How};
pub use tls::{Authority, Issued};
pub use websocket::{WebSocketServer, websocket_client};
