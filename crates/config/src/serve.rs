//! Serving connections: one loop accepts, several threads serve, and an orderly end.
//!
//! It knows no protocol: a [`Listening`] has a [`Handler`] that serves one connection. Every
//! shard is a thread with a runtime of its own, so a connection stays on one core and its
//! futures need not be `Send`. Beside its connections each shard has one task more ([`Beside`]).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{JoinSet, LocalSet};

use crate::loaded::Serve;
use crate::run::LAST_WORDS;

/// Threads of a shard for what would block it: long analyses, the names of hosts.
const BLOCKING_THREADS: usize = 16;
/// The pause after an error of `accept` that more accepting would only repeat (no descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Tells a connection's handler that the process wants to end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Ready when it does.
    pub async fn wanted(mut self) {
        // A sender that is gone means the same.
        let _gone = self.0.wait_for(|wanted| *wanted).await;
    }
}

/// Serves one connection to its end, on the thread that calls it.
pub type Handler =
    Arc<dyn Fn(TcpStream, SocketAddr, Shutdown) -> Pin<Box<dyn Future<Output = ()>>> + Send + Sync>;

/// Makes what each shard does beside its connections, for as long as it lives: flushing the log.
pub type Beside = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()>>> + Send + Sync>;

/// Shards with nothing to do beside their connections.
#[must_use]
pub fn idle() -> Beside {
    Arc::new(|| Box::pin(std::future::pending()))
}

/// A socket to accept from, and what to do with what comes.
pub struct Listening {
    socket: TcpListener,
    address: SocketAddr,
    handler: Handler,
}

impl Listening {
    /// Takes the address. From now on clients may connect; they are served once [`serve`] runs.
    ///
    /// # Errors
    /// If the address can't be had.
    pub async fn bind(address: SocketAddr, handler: Handler) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Listening { socket, address, handler })
    }

    /// The address, with the port that was really taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Listening").field(&self.address).finish()
    }
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still open when their time was over, and were cut.
    pub cut: usize,
}

/// Why the process is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// How long connections may go on.
    pub patience: Duration,
}

struct Job {
    stream: std::net::TcpStream,
    peer: SocketAddr,
    handler: Handler,
    permit: OwnedSemaphorePermit,
}

struct Shards {
    senders: Vec<mpsc::UnboundedSender<Job>>,
    threads: Vec<JoinHandle<()>>,
    next: AtomicUsize,
    cut: watch::Sender<bool>,
}

/// Serves until `stop` is ready, then lets connections end: those at rest at once, others within
/// its patience, or until `hurry` is ready. What is still open then is cut.
///
/// # Errors
/// If a thread can't be started.
pub async fn serve(
    listening: Vec<Listening>,
    options: Serve,
    beside: Beside,
    stop: impl Future<Output = Stop>,
    hurry: impl Future<Output = ()>,
) -> io::Result<Drained> {
    let (wanted, shutdown) = watch::channel(false);
    let shards = Arc::new(Shards::start(options.shards, &shutdown, &beside)?);
    let room = Arc::new(Semaphore::new(options.max_connections));
    let mut accepting = JoinSet::new();
    for listener in listening {
        accepting.spawn(accept(listener, room.clone(), shards.clone()));
    }
    let Stop { patience } = stop.await;
    accepting.shutdown().await;
    wanted.send_replace(true);
    let all = u32::try_from(options.max_connections).unwrap_or(u32::MAX);
    tokio::select! {
        _ = room.acquire_many(all) => {}
        () = tokio::time::sleep(patience) => {}
        () = hurry => {}
    }
    let cut = options.max_connections.saturating_sub(room.available_permits());
    shards.cut.send_replace(true);
    if let Ok(mut shards) = Arc::try_unwrap(shards) {
        shards.senders.clear();
        for thread in shards.threads {
            // A shard that panicked has nothing left to end.
            let _panicked = thread.join();
        }
    }
    Ok(Drained { cut })
}

impl Shards {
    fn start(count: usize, shutdown: &watch::Receiver<bool>, beside: &Beside) -> io::Result<Self> {
        let (cut, cutting) = watch::channel(false);
        let mut shards =
            Shards { senders: Vec::new(), threads: Vec::new(), next: AtomicUsize::new(0), cut };
        for number in 0..count {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().max_blocking_threads(BLOCKING_THREADS).build()?;
            let (sender, jobs) = mpsc::unbounded_channel();
            let (shutdown, cutting, beside) = (shutdown.clone(), cutting.clone(), beside.clone());
            let work = move || {
                let serving = async {
                    tokio::task::spawn_local(beside());
                    shard(jobs, shutdown, cutting).await;
                };
                LocalSet::new().block_on(&runtime, serving);
                // What it asked somebody else's program for may never end.
                runtime.shutdown_timeout(LAST_WORDS);
            };
            let thread = std::thread::Builder::new().name(format!("shard-{number}"));
            let thread = thread.spawn(work)?;
            shards.senders.push(sender);
            shards.threads.push(thread);
        }
        Ok(shards)
    }

    /// Hands a connection to the next shard. The number of permits bounds what can wait there.
    fn hand_over(&self, job: Job) {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.senders.len().max(1);
        if let Some(sender) = self.senders.get(at) {
            // A shard that is gone closes the connection by dropping it.
            let _gone = sender.send(job);
        }
    }
}

/// One thread's work: connections, until there come no more or all are to be cut.
async fn shard(
    mut jobs: mpsc::UnboundedReceiver<Job>,
    shutdown: watch::Receiver<bool>,
    mut cutting: watch::Receiver<bool>,
) {
    let take = async {
        while let Some(Job { stream, peer, handler, permit }) = jobs.recv().await {
            let stream = match TcpStream::from_std(stream) {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%peer, %error, "a connection could not be served");
                    continue;
                }
            };
            let shutdown = Shutdown(shutdown.clone());
            tokio::task::spawn_local(async move {
                handler(stream, peer, shutdown).await;
                drop(permit);
            });
        }
    };
    tokio::select! {
        () = take => {}
        _ = cutting.wait_for(|cut| *cut) => {}
    }
}

async fn accept(listening: Listening, room: Arc<Semaphore>, shards: Arc<Shards>) {
    loop {
        // Closed only with the process: then there is nothing to accept either.
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let accepted = listening.socket.accept().await;
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_passing(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let ready = stream.set_nodelay(true).and_then(|()| stream.into_std());
        match ready {
            Ok(stream) => {
                let handler = listening.handler.clone();
                shards.hand_over(Job { stream, peer, handler, permit });
            }
            Err(error) => tracing::debug!(%peer, %error, "a client went away at once"),
        }
    }
}

/// Whether the error is about one client that went away, not about us.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::WouldBlock
    )
}
