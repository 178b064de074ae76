//! One connection of a client, from its first byte to its last.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gate::{Arrival, Gate};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use crate::PROTOCOL;
use crate::login::{BrowserLogin, Browsers};
use crate::mcp::Memory;
use crate::relay::{Connection, Job};
use crate::sessions::{MAX_SESSIONS, SESSION_IDLE, Sessions};
use crate::stall::{Activity, CONNECTION_IDLE, Patient, Streams, WRITE_STALL};
use crate::target::Target;

/// How long a client may take for TLS, and for the head of a request, unless configured.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest head of a request, in bytes, unless configured. It has to fit into an entry of the
/// record.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Most fields of a request.
pub const MAX_FIELDS: usize = 100;
/// Requests at once on a connection of HTTP/2.
pub const MAX_STREAMS: u32 = 128;
/// Streams of HTTP/2 that a client may have opened and reset before we saw to them; beyond them
/// the connection ends (rapid reset).
const MAX_RESETS: usize = 20;
/// What a client of HTTP/2 may send of one body, and of all together, before we asked for more, in
/// bytes; and the longest of its frames.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const MAX_FRAME_BYTES: u32 = 16 * 1024;
/// What is buffered of a connection each way, in bytes.
const MAX_BUFFER: usize = 64 * 1024;

/// What a proxy is made of.
#[derive(Debug)]
pub struct Config {
    /// The services behind it.
    pub targets: Vec<Arc<Target>>,
    /// TLS towards clients; none: plain text, for clients on this host.
    pub tls: Option<Arc<ServerConfig>>,
    /// Where clients may get tokens: issuers, told to those that have none (RFC 9728). Empty: they
    /// are not told.
    pub authorization_servers: Vec<String>,
    /// How browsers log in, if they may. Without it a token is needed.
    pub login: Option<BrowserLogin>,
    /// See [`HEAD_TIMEOUT`].
    pub head_timeout: Duration,
    /// See [`WRITE_STALL`].
    pub write_stall: Duration,
    /// See [`CONNECTION_IDLE`].
    pub connection_idle: Duration,
    /// See [`MAX_SESSIONS`].
    pub max_sessions: usize,
    /// See [`SESSION_IDLE`].
    pub session_idle: Duration,
}

impl Config {
    /// A proxy for clients on this host, without TLS.
    pub fn loopback(targets: Vec<Arc<Target>>) -> Self {
        Config {
            targets,
            tls: None,
            authorization_servers: Vec::new(),
            login: None,
            head_timeout: HEAD_TIMEOUT,
            write_stall: WRITE_STALL,
            connection_idle: CONNECTION_IDLE,
            max_sessions: MAX_SESSIONS,
            session_idle: SESSION_IDLE,
        }
    }
}

/// An HTTP proxy: serves connections that somebody else accepts. Cheap to clone.
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) gate: Gate,
    pub(crate) config: Config,
    pub(crate) sessions: Sessions,
    pub(crate) memory: Memory,
    pub(crate) browsers: Option<Browsers>,
    /// Tells the connections of this proxy's targets from another's.
    pub(crate) number: u64,
}

impl Proxy {
    /// A proxy behind this gate.
    pub fn new(gate: Gate, config: Config) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let sessions = Sessions::new(config.max_sessions, config.session_idle);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let browsers = config.login.clone().map(Browsers::new);
        let memory = Memory::default();
        Proxy(Arc::new(Inner { gate, config, sessions, memory, browsers, number }))
    }

    /// Serves one connection until it ends, or until `shutdown` is ready and its requests are
    /// answered. Whatever happens is on record and told to the client; nothing is returned. To be
    /// called inside a [`tokio::task::LocalSet`].
    pub async fn serve(
        &self,
        tcp: TcpStream,
        peer: SocketAddr,
        shutdown: impl Future<Output = ()>,
    ) {
        let Some(tls) = &self.0.config.tls else {
            return self.speak(tcp, peer, false, shutdown).await;
        };
        match timeout(self.0.config.head_timeout, TlsAcceptor::from(tls.clone()).accept(tcp)).await
        {
            Ok(Ok(stream)) => self.speak(stream, peer, true, shutdown).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "handshake"),
            Err(_) => tracing::debug!(%peer, "the client stalled in the handshake"),
        }
    }

    async fn speak<T>(
        &self,
        io: T,
        peer: SocketAddr,
        secure: bool,
        shutdown: impl Future<Output = ()>,
    ) where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (jobs, waiting) = unbounded_channel();
        let connection = Rc::new(Connection { inner: self.0.clone(), peer, secure, jobs });
        let activity = Activity::new();
        let seen = activity.clone();
        let service = service_fn(move |request| {
            let (connection, busy) = (connection.clone(), seen.busy());
            async move {
                // A place of its own, so that it is gone when the answer has begun: a stream of
                // HTTP/2 keeps the largest of its states until its end.
                let response = Box::pin(connection.answer(request)).await;
                Ok::<_, Infallible>(response.map(|body| body.while_busy(busy)))
            }
        });
        let builder = self.builder();
        let io = TokioIo::new(Patient::new(io, self.0.config.write_stall));
        let mut serving = Box::pin(builder.serve_connection_with_upgrades(io, service));
        let (mut shutdown, mut working) = (pin!(shutdown), pin!(work(waiting)));
        // Once more what the library allows for a head, so that it is the first to say so.
        let Config { head_timeout, connection_idle, .. } = self.0.config;
        let mut idle = pin!(activity.idle(head_timeout * 2, connection_idle));
        let (mut asked, mut cut) = (false, None);
        let ended = loop {
            tokio::select! {
                // What came is seen to before it is said that nothing did.
                biased;
                ended = serving.as_mut() => break ended,
                () = shutdown.as_mut(), if !asked => {
                    asked = true;
                    serving.as_mut().graceful_shutdown();
                }
                () = idle.as_mut(), if !asked => {
                    asked = true;
                    match activity.state() {
                        (false, _) => break Ok(()),
                        (true, _) => serving.as_mut().graceful_shutdown(),
                    }
                    cut = Some(Instant::now() + self.0.config.write_stall);
                }
                () = until(cut), if cut.is_some() => match activity.state() {
                    (_, false) => break Ok(()),
                    (_, true) => cut = Some(Instant::now() + self.0.config.write_stall),
                },
                // Never before the connection, which holds a sender.
                () = working.as_mut() => {}
            }
        };
        // What is left to do ends when nobody can add to it.
        drop(serving);
        if let Err(error) = ended {
            self.broken(peer, &*error).await;
        }
        working.await;
    }

    fn builder(&self) -> auto::Builder<Streams> {
        let mut builder = auto::Builder::new(Streams(self.0.config.write_stall));
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.0.config.head_timeout)
            .max_headers(MAX_FIELDS)
            // The library has no other limit of a head here.
            .max_buf_size(MAX_HEAD_BYTES);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEAD_BYTES as u32)
            .max_pending_accept_reset_streams(MAX_RESETS)
            .max_local_error_reset_streams(MAX_RESETS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(MAX_FRAME_BYTES)
            .max_send_buf_size(MAX_BUFFER)
            .keep_alive_interval(Some(KEEP_ALIVE))
            .keep_alive_timeout(self.0.config.head_timeout);
        builder
    }

    /// A connection that ended otherwise than in order: what could not be read as a request is on
    /// record.
    async fn broken(&self, peer: SocketAddr, error: &(dyn std::error::Error + 'static)) {
        tracing::debug!(%peer, error, "a connection ended");
        let Some(error) = error.downcast_ref::<hyper::Error>() else { return };
        if !error.is_parse() && !error.is_timeout() && !error.is_parse_too_large() {
            return;
        }
        let peer = peer.to_string();
        let arrival = Arrival { protocol: PROTOCOL, peer: &peer, target: b"" };
        let message = error.to_string();
        let recorded = self.0.gate.record_refusal(arrival, "request", &message, None, None);
        if let Err(error) = recorded.await {
            tracing::error!(peer, %error, "a refusal is not on record");
        }
    }
}

/// How often a connection of HTTP/2 is asked whether the client is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Waits until then.
async fn until(then: Option<Instant>) {
    if let Some(then) = then {
        sleep_until(then).await;
    }
}

/// Does what is left of requests.
async fn work(mut waiting: UnboundedReceiver<Job>) {
    while let Some(job) = waiting.recv().await {
        match job {
            Job::Tunnel(tunnel) => tunnel.await,
            Job::Orphan(running) => {
                let finished =
                    std::future::poll_fn(|cx| running.borrow_mut().poll_finish(cx)).await;
                if let Err(error) = finished {
                    tracing::error!(%error, "the outcome of a request is not on record");
                }
            }
        }
    }
}

/// Runs what a connection starts on the thread that serves it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxy")
    }
}
