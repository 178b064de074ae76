//! Servers that speak over their standard input and output (MCP, *Transports*, stdio), as if they
//! spoke streamable HTTP: to everything before it a [`Launcher`] is a target like any other, so
//! each message is judged, masked and recorded in the same way.
//!
//! One process serves one session: that of a principal who sent `initialize`, or one bearer's
//! messages that name no session. What is run is the configuration's, word for word: nothing of a
//! request reaches its arguments, its environment or its folder, and there is no shell.

mod bridge;
mod child;
mod process;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gate::Session;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use self::process::Process;
use crate::body::RequestBody;

/// Most processes of a target at once, unless configured; beyond them a session is refused.
pub const MAX_PROCESSES: usize = 64;
/// Most of them of one principal, so that one alone does not keep others out.
const MAX_PROCESSES_OF_ONE: usize = 16;
/// Most processes that a target may start in [`START_SPAN`]: a server that ends at once is not
/// started for ever.
const MAX_STARTS: usize = 120;
const START_SPAN: Duration = Duration::from_secs(60);
/// What is buffered between the proxy and its bridge, in bytes each way.
const PIPE_BYTES: usize = 64 * 1024;

/// A program that is a server of MCP.
#[derive(Clone)]
pub struct Program {
    /// An absolute path, and the arguments.
    pub command: Vec<String>,
    /// The folder that it runs in.
    pub directory: PathBuf,
    /// Its whole environment. Values may be secrets.
    pub environment: Vec<(String, String)>,
    /// See [`MAX_PROCESSES`].
    pub max_processes: usize,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.environment.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Program")
            .field("command", &self.command)
            .field("directory", &self.directory)
            .field("environment", &names)
            .finish_non_exhaustive()
    }
}

/// Starts processes of a program, and remembers whose each is.
pub struct Launcher {
    program: Program,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    /// By the session's id; for those that name none, by the bearer's session.
    processes: HashMap<String, Arc<Process>>,
    starts: VecDeque<Instant>,
}

impl Launcher {
    /// A launcher that has started nothing yet.
    #[must_use]
    pub fn new(program: Program) -> Arc<Self> {
        Arc::new(Launcher { program, all: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection for one request of this session's.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        session: Session,
    ) -> hyper::Result<SendRequest<RequestBody>> {
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let launcher = self.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| {
                let (launcher, session) = (launcher.clone(), session.clone());
                async move {
                    Ok::<_, std::convert::Infallible>(launcher.answer(&session, request).await)
                }
            });
            let serving = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .serve_connection(TokioIo::new(theirs), service);
            if let Err(error) = serving.await {
                tracing::debug!(%error, "a request to a program ended");
            }
        });
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(ours)).await?;
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a request to a program ended");
            }
        });
        Ok(sender)
    }

    fn find(&self, key: &str) -> Option<Arc<Process>> {
        self.lock().processes.get(key).cloned()
    }

    /// Starts a process under a key, if there is room.
    fn start(self: &Arc<Self>, key: String, session: &Session) -> Result<Arc<Process>, StartError> {
        let mut all = self.lock();
        let now = Instant::now();
        while all.starts.front().is_some_and(|it| now.duration_since(*it) > START_SPAN) {
            all.starts.pop_front();
        }
        if all.processes.len() >= self.program.max_processes || all.starts.len() >= MAX_STARTS {
            return Err(StartError::Crowded);
        }
        let principal = session.principal();
        let own = all.processes.values().filter(|it| it.belongs_to(principal)).count();
        if own >= MAX_PROCESSES_OF_ONE {
            return Err(StartError::Crowded);
        }
        all.starts.push_back(now);
        let process = Process::start(&self.program, key.clone(), session, self)?;
        all.processes.insert(key, process.clone());
        Ok(process)
    }

    /// Forgets a process that has ended.
    fn forget(&self, key: &str) {
        self.lock().processes.remove(key);
    }
}

/// Why there is no process.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("too many sessions are open")]
    Crowded,
    /// The configuration's fault.
    #[error("the program can't be started: {0}")]
    Io(#[from] std::io::Error),
}

impl fmt::Debug for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launcher").field("program", &self.program).finish_non_exhaustive()
    }
}
