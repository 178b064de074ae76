//! From a checked configuration to the end of the process: what every proxy's `main` calls.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::instance::{Instance, SealError, StartError};
use crate::loaded::{Listener, Loaded};
use crate::serve::{Drained, Handler, Listening, Stop, idle, serve};

/// Threads that work for the publisher on files. Each keeps memory of its own, so they are few;
/// more would only wait for the same disk.
const PUBLISHING_THREADS: usize = 4;
/// How long the store may take for the rest of the log at the end.
const SEAL_LIMIT: Duration = Duration::from_secs(30);
/// How long sessions get to tell their clients that nothing can be recorded any more, and threads to
/// end what somebody else's program or disk holds up.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why the process ends with a failure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The log or its store can't be used.
    #[error("cannot start: {0}")]
    Start(#[from] StartError),
    /// A thread or a signal handler can't be had.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
    /// An address can't be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A listener is for another program of the family.
    #[error("the listener on {address} is for another program: see its `protocol`")]
    NotSpoken {
        /// Its address.
        address: std::net::SocketAddr,
    },
    /// Nothing could be recorded any more.
    #[error("ended, because nothing could be recorded: {0}")]
    Journal(String),
    /// The log could not be sealed.
    #[error("the log could not be sealed: {0}")]
    Seal(#[from] SealError),
    /// A second signal came before the log was sealed.
    #[error("{0} came before the log was sealed; the next start will publish the rest")]
    Hurried(&'static str),
}

/// Makes what serves a listener's connections; `None` if the program doesn't speak its protocol.
type Serving<'a> = &'a dyn Fn(&Listener, &Instance) -> Option<Handler>;

/// Opens the log, listens, and serves until a signal or a failure; then drains and seals.
/// `program` is the name and version for records; `serving` makes what serves each listener.
///
/// # Errors
/// [`RunError`]; what was recorded before stays so.
pub fn run(loaded: &Loaded, program: &str, serving: Serving<'_>) -> Result<(), RunError> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().max_blocking_threads(PUBLISHING_THREADS).build()?;
    let end = runtime.block_on(serve_all(loaded, program, serving));
    // A store that hangs must not keep the process: what it was given is durable here.
    runtime.shutdown_timeout(LAST_WORDS);
    end
}

async fn serve_all(loaded: &Loaded, program: &str, serving: Serving<'_>) -> Result<(), RunError> {
    let mut signals = Signals::new()?;
    let instance = Instance::open(loaded, program).await?;
    let listening = match listen(loaded, &instance, serving).await {
        Ok(listening) => listening,
        Err(error) => {
            // The log was opened: it ends in order even so.
            instance.seal(SEAL_LIMIT).await?;
            return Err(error);
        }
    };
    announce(loaded, &instance, &listening, program);
    let mut failure = None;
    let (first, second) = tokio::sync::oneshot::channel();
    let stop = async {
        tokio::select! {
            name = signals.next() => {
                tracing::info!(signal = name, "ending: sessions at rest now, others within {:?}",
                    loaded.serve.shutdown_timeout);
                let _waiting = first.send(signals);
                Stop { patience: loaded.serve.shutdown_timeout }
            }
            reason = instance.failed() => {
                tracing::error!(reason, "nothing can be recorded any more: ending");
                failure = Some(reason);
                Stop { patience: LAST_WORDS }
            }
        }
    };
    let hurry = async {
        match second.await {
            Ok(mut signals) => {
                tracing::info!(signal = Signals::next(&mut signals).await, "at once")
            }
            Err(_) => std::future::pending().await,
        }
    };
    // Several shards that flush in turn wake each other as often as the log's own thread would
    // (benches/README.md), and each keeps its connections waiting meanwhile.
    let beside = if loaded.serve.shards == 1 { instance.beside() } else { idle() };
    let Drained { cut } = serve(listening, loaded.serve, beside, stop, hurry).await?;
    if cut > 0 {
        tracing::warn!(connections = cut, "cut: they did not end in time");
    }
    let mut hurried = Signals::new()?;
    let sealed = tokio::select! {
        sealed = instance.seal(SEAL_LIMIT) => sealed.map_err(RunError::from),
        name = hurried.next() => Err(RunError::Hurried(name)),
    };
    if let Some(reason) = failure {
        return Err(RunError::Journal(reason));
    }
    sealed?;
    tracing::info!("the log is sealed");
    Ok(())
}

async fn listen(
    loaded: &Loaded,
    instance: &Instance,
    serving: Serving<'_>,
) -> Result<Vec<Listening>, RunError> {
    let mut listening = Vec::new();
    for listener in &loaded.listeners {
        let address = listener.address;
        let handler = serving(listener, instance).ok_or(RunError::NotSpoken { address })?;
        let bound = Listening::bind(address, handler).await;
        listening.push(bound.map_err(|source| RunError::Listen { address, source })?);
    }
    Ok(listening)
}

/// One line that says all that somebody needs: where, to what, and how to check the log.
fn announce(loaded: &Loaded, instance: &Instance, listening: &[Listening], program: &str) {
    let addresses: Vec<String> = listening.iter().map(|l| l.address().to_string()).collect();
    tracing::info!(
        listen = addresses.join(","),
        targets = loaded.targets.names().join(","),
        log = loaded.audit.log_id,
        vkey = instance.vkey(),
        config = loaded.sha256,
        shards = loaded.serve.shards,
        "{program} is ready"
    );
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
