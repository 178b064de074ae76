//! The demonstration: an agent, a target, a proxy and a log in one process.
//!
//! [`run`] starts an OIDC issuer, a target that speaks PostgreSQL (or uses a real one), SSH, HTTP,
//! MCP or Kubernetes, the proxy in front of it and a log in a folder. It then plays an AI agent that works for a
//! person, through a client library that knows nothing of all this; reads the trail back from
//! the log; verifies the log; and changes one byte of a copy, to show that this is found. Each
//! expectation is a [`Check`]: the demonstration is a test that tells what it does.
//!
//! Everything listens on loopback only, without TLS.
//!
//! ```no_run
//! # #[tokio::main]
//! # async fn main() -> Result<(), demo::DemoError> {
//! let options = demo::Options { dir: "/tmp/greffier-demo".into(), show: demo::Show::Ssh };
//! let style = trail::term::Style::default();
//! let mut narrator = demo::Text::new(std::io::stdout(), style, "greffier");
//! let outcome = demo::run(&options, &mut narrator, None).await?;
//! assert!(outcome.is_ok());
//! # Ok(())
//! # }
//! ```

mod ask;
mod data;
mod kube;
mod mcp;
mod pg;
mod proof;
mod show;
mod ssh;
mod stage;
mod web;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;

pub use ask::Answered;
pub use pg::{Got, Refusal};
pub use show::{Event, Json, Narrator, Text};
pub use ssh::Said;

use stage::Behind;

/// How long the token that `--serve` prints is good for.
const SERVED_TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// An empty folder for the ring, the store and the target's file. It is left behind.
    pub dir: PathBuf,
    /// What to show.
    pub show: Show,
}

/// The protocol to show.
#[derive(Debug, Clone)]
pub enum Show {
    /// PostgreSQL.
    Postgres {
        /// A real one in place of the embedded target: `postgres://user:password@host/db`.
        upstream: Option<String>,
    },
    /// SSH, with an embedded target.
    Ssh,
    /// HTTP, with an embedded target.
    Http,
    /// The Model Context Protocol over HTTP, with an embedded target.
    Mcp,
    /// Kubernetes, with an embedded target.
    Kubernetes,
}

/// What a script did, for the checks that come later.
#[derive(Debug)]
struct Played {
    /// What a command is called.
    noun: &'static str,
    /// What the record must say of a command of the agent's: as in `statements`.
    done: fn(&trail::Exchange) -> Option<(String, bool)>,
    /// The agent's commands, in order, and whether each ran.
    statements: Vec<(String, bool)>,
    /// Values that must be nowhere in the record.
    secrets: Vec<String>,
}

/// One expectation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was expected.
    pub name: String,
    /// Whether it was so.
    pub held: bool,
}

/// How it went.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Every expectation.
    pub checks: Vec<Check>,
    /// The store's folder.
    pub store: PathBuf,
    /// The log's name in the store.
    pub log_id: &'static str,
    /// The file with the key that the log is verified with.
    pub key: PathBuf,
    /// The recording of a terminal, as `audit replay` wants it named, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<String>,
}

impl Outcome {
    /// Whether every expectation held.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.held)
    }
}

/// Why the demonstration could not go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A file or a port can't be had.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The embedded target could not be made.
    #[error("the embedded target: {0}")]
    Target(String),
    /// The PostgreSQL that was named can't be used. The caller's to mend.
    #[error("--upstream: {0}")]
    Upstream(String),
    /// The demonstration's own settings are wrong. A defect of ours.
    #[error("the demonstration's own settings: {0}")]
    Settings(String),
    /// An SSH key or certificate can't be made or read. A defect of ours.
    #[error(transparent)]
    SshKey(#[from] ::ssh::KeyError),
    /// The proxy gave no certificate.
    #[error("no certificate: {0}")]
    Certificate(#[from] ::ssh::obtain::ObtainError),
    /// The SSH client could not talk to the proxy.
    #[error("the agent's client: {0}")]
    Ssh(#[from] russh::Error),
    /// The client could not talk to the proxy.
    #[error("the agent's client: {0}")]
    Client(String),
    /// Something that must be there is not.
    #[error("{0}")]
    Lost(String),
    /// The issuer failed.
    #[error(transparent)]
    Issuer(#[from] dev_issuer::IssuerError),
    /// The log's key could not be made.
    #[error(transparent)]
    Key(#[from] tlog::KeyError),
    /// The log could not be opened.
    #[error(transparent)]
    Open(#[from] audit_sink::OpenError),
    /// The log could not be closed.
    #[error(transparent)]
    Closing(#[from] audit_sink::WaitError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] audit_sink::store::StoreError),
    /// Publishing stopped.
    #[error("publishing stopped: {0}")]
    Publishing(#[from] std::sync::Arc<audit_sink::store::StoreError>),
    /// The record can't be written.
    #[error(transparent)]
    Journal(#[from] gate::JournalError),
    /// The record can't be read.
    #[error(transparent)]
    Read(#[from] trail::ReadError),
    /// Something took too long.
    #[error("it took too long")]
    Slow(#[from] tokio::time::error::Elapsed),
}

impl DemoError {
    fn settings(error: impl std::fmt::Display) -> Self {
        DemoError::Settings(error.to_string())
    }

    fn client(error: tokio_postgres::Error) -> Self {
        use std::error::Error as _;
        let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        DemoError::Client(format!("{error}{source}"))
    }
}

/// Passes everything on, and keeps the checks.
struct Keeping<'a> {
    inner: &'a mut dyn Narrator,
    checks: Vec<Check>,
}

impl Narrator for Keeping<'_> {
    fn tell(&mut self, event: &Event<'_>) {
        self.inner.tell(event);
    }

    fn check(&mut self, check: Check) {
        self.checks.push(check.clone());
        self.inner.check(check);
    }
}

/// Until when to stay up.
pub type Until = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs the demonstration; with `serve_until`, stays up after it until that is ready.
///
/// # Errors
/// [`DemoError`] when it can't go on. An expectation that did not hold is no error, but is in
/// the outcome.
pub async fn run(
    options: &Options,
    narrator: &mut dyn Narrator,
    serve_until: Option<Until>,
) -> Result<Outcome, DemoError> {
    let mut narrator = Keeping { inner: narrator, checks: Vec::new() };
    std::fs::create_dir_all(&options.dir)?;
    if std::fs::read_dir(&options.dir)?.next().is_some() {
        return Err(DemoError::Lost(format!("{} is not empty", options.dir.display())));
    }
    let stage = stage::Stage::set(&options.dir, &options.show).await?;
    let kept = proof::Kept::of(&stage);
    narrator.tell(&Event::Part { title: "greffier, in one process" });
    narrator.tell(&Event::Ready { what: "issuer", place: stage.issuer.iss() });
    narrator.tell(&Event::Ready { what: "target", place: stage.behind.words() });
    let proxy = format!("127.0.0.1:{} (loopback, without TLS)", stage.port);
    narrator.tell(&Event::Ready { what: "proxy", place: &proxy });
    narrator.tell(&Event::Ready { what: "log", place: &kept.store.to_string_lossy() });

    let played = match &stage.behind {
        Behind::Postgres(behind) => pg::play(&stage, behind, &mut narrator).await?,
        Behind::Ssh(behind) => ssh::play(&stage, behind, &mut narrator).await?,
        Behind::Http(_) => web::play(&stage, &mut narrator).await?,
        Behind::Mcp(_) => mcp::play(&stage, &mut narrator).await?,
        Behind::Kubernetes(behind) => kube::play(&stage, behind, &mut narrator).await?,
    };
    let mut stage = Some(stage);
    if serve_until.is_none() {
        close(&mut stage).await?;
    } else if let Some(stage) = &stage {
        stage.publish().await?;
    }
    let items = proof::trail(&kept, &played, &mut narrator).await?;
    proof::verify(&kept, &mut narrator).await?;
    proof::tamper(&kept, &options.dir, &items, &mut narrator).await?;
    let outcome = |checks| Outcome {
        checks,
        store: kept.store.clone(),
        log_id: stage::LOG_ID,
        key: options.dir.join("log.vkey"),
        replay: proof::terminal(&items),
    };
    narrator.tell(&Event::Kept(&outcome(Vec::new())));
    if let (Some(until), Some(running)) = (serve_until, &stage) {
        let token = running.agent_token(SERVED_TOKEN_LIFETIME)?;
        let commands = running.behind.try_it(running.port, &token, &options.dir)?;
        let (port, token, outcome) = (running.port, &*token, &outcome(Vec::new()));
        let serving = Event::Serving { port, token, commands: &commands, outcome };
        narrator.tell(&serving);
        until.await;
        close(&mut stage).await?;
        proof::verify(&kept, &mut narrator).await?;
    }
    let done = outcome(narrator.checks);
    narrator.inner.tell(&Event::Done(&done));
    Ok(done)
}

async fn close(stage: &mut Option<stage::Stage>) -> Result<(), DemoError> {
    match stage.take() {
        Some(stage) => stage.close().await,
        None => Ok(()),
    }
}
