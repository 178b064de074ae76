//! Connections to targets. Each thread that serves has its own, so none is handed between
//! threads. One of HTTP/1.1 that is not at rest is never used again; one of HTTP/2 serves many
//! requests at once.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Parts as UriParts, Scheme};
use http::{HeaderValue, Request, Uri, Version, header};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::body::RequestBody;
use crate::proxy::LocalExecutor;
use crate::target::{Http2, Upstream};

/// How long a connection may rest before it is not used again: shorter than what servers allow.
const REST: Duration = Duration::from_secs(30);
/// The longest head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Most fields of an answer's head.
const MAX_FIELDS: usize = 200;
/// Requests at once on a connection of HTTP/2 to a target; more need another.
const MAX_STREAMS: u32 = 100;
/// What a target may send of one answer before we take it, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same of all answers of a connection: so that one that nobody takes holds up no other.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS;
/// What is read of a connection with TLS at once, in bytes: a record, and a little more.
const READ_BYTES: usize = 18 * 1024;
/// How often a target is asked whether it is still there, and how long it may take to say so.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A proxy's number in this process, and a target's place in its configuration.
pub(crate) type Key = (u64, usize);

/// A connection, or a place on one, for one request.
pub(crate) struct Connected {
    pub(crate) sender: Sender,
    /// It served a request before, so it may turn out to be closed.
    pub(crate) used: bool,
}

/// What sends a request.
pub(crate) enum Sender {
    /// HTTP/1.1: nothing else is under way.
    One(http1::SendRequest<RequestBody>),
    /// HTTP/2.
    Many(Stream),
}

/// A place among the requests of a connection of HTTP/2.
pub(crate) struct Stream {
    sender: http2::SendRequest<RequestBody>,
    busy: Rc<Cell<u32>>,
}

impl Stream {
    fn new(sender: http2::SendRequest<RequestBody>, busy: Rc<Cell<u32>>) -> Stream {
        busy.set(busy.get() + 1);
        Stream { sender, busy }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.busy.set(self.busy.get().saturating_sub(1));
    }
}

struct Resting {
    sender: http1::SendRequest<RequestBody>,
    since: Instant,
}

/// A connection of HTTP/2, at work or at rest.
struct Shared {
    sender: http2::SendRequest<RequestBody>,
    busy: Rc<Cell<u32>>,
    since: Instant,
}

#[derive(Default)]
struct Connections {
    resting: Vec<Resting>,
    shared: Vec<Shared>,
}

thread_local! {
    static POOL: RefCell<HashMap<Key, Connections>> = RefCell::default();
}

/// Why there is no connection: the target's fault, or the configuration's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it took too long")]
    TimedOut,
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("its name can't be checked by TLS")]
    Name,
    #[error("it does not speak HTTP/2")]
    NoHttp2,
}

/// A connection that can be used at once; none: make one. `whole` wants one for itself, which may
/// become another protocol's.
pub(crate) async fn take(key: Key, whole: bool) -> Option<Connected> {
    if !whole && let Some(stream) = POOL.with_borrow_mut(|pool| place(pool.get_mut(&key)?)) {
        return Some(Connected { sender: Sender::Many(stream), used: true });
    }
    loop {
        let resting = POOL.with_borrow_mut(|pool| pool.get_mut(&key)?.resting.pop())?;
        let Resting { mut sender, since } = resting;
        if since.elapsed() < REST && !sender.is_closed() && sender.ready().await.is_ok() {
            return Some(Connected { sender: Sender::One(sender), used: true });
        }
    }
}

/// A place on a connection of HTTP/2.
fn place(connections: &mut Connections) -> Option<Stream> {
    let alive =
        |it: &Shared| !it.sender.is_closed() && (it.busy.get() > 0 || it.since.elapsed() < REST);
    connections.shared.retain(alive);
    let free = connections.shared.iter_mut().find(|it| it.busy.get() < MAX_STREAMS)?;
    free.since = Instant::now();
    Some(Stream::new(free.sender.clone(), free.busy.clone()))
}

/// Keeps a connection whose last answer was read to its end.
pub(crate) fn give_back(key: Key, most: usize, sender: Sender) {
    POOL.with_borrow_mut(|pool| match sender {
        // Its place is given back by its drop.
        Sender::Many(stream) => {
            let shared = pool.get_mut(&key).into_iter().flat_map(|it| &mut it.shared);
            for it in shared.filter(|it| Rc::ptr_eq(&it.busy, &stream.busy)) {
                it.since = Instant::now();
            }
        }
        Sender::One(sender) if sender.is_closed() => {}
        Sender::One(sender) => {
            let resting = &mut pool.entry(key).or_default().resting;
            resting.retain(|it| it.since.elapsed() < REST && !it.sender.is_closed());
            if resting.len() < most {
                resting.push(Resting { sender, since: Instant::now() });
            }
        }
    });
}

/// Makes a connection. One of HTTP/2 is there for others at once.
pub(crate) async fn connect(
    key: Key,
    upstream: &Upstream,
    whole: bool,
) -> Result<Connected, ConnectError> {
    match timeout(upstream.connect_timeout, open(key, upstream, whole)).await {
        Ok(sender) => Ok(Connected { sender: sender?, used: false }),
        Err(_) => Err(ConnectError::TimedOut),
    }
}

async fn open(key: Key, upstream: &Upstream, whole: bool) -> Result<Sender, ConnectError> {
    let tcp = TcpStream::connect((upstream.host.as_str(), upstream.port)).await?;
    tcp.set_nodelay(true)?;
    let Some(tls) = &upstream.tls else {
        return match upstream.http2 {
            Http2::Always => handshake_2(key, tcp).await,
            Http2::Never | Http2::Negotiated => handshake_1(tcp).await,
        };
    };
    let name = match &upstream.server_name {
        Some(name) => name.clone(),
        None => ServerName::try_from(upstream.host.clone()).map_err(|_| ConnectError::Name)?,
    };
    let config = match upstream.http2 {
        Http2::Never => tls.clone(),
        Http2::Negotiated if whole => offering(tls, &["http/1.1"]),
        Http2::Negotiated => offering(tls, &["h2", "http/1.1"]),
        Http2::Always => offering(tls, &["h2"]),
    };
    // rustls reads 4 KiB at a time, each of which would be a call of the operating system.
    let buffered = BufReader::with_capacity(READ_BYTES, tcp);
    let stream = TlsConnector::from(config).connect(name, buffered).await?;
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => handshake_2(key, stream).await,
        _ if upstream.http2 == Http2::Always => Err(ConnectError::NoHttp2),
        _ => handshake_1(stream).await,
    }
}

/// The same, with these protocols to choose from. Sessions of TLS are shared with it.
fn offering(tls: &Arc<ClientConfig>, protocols: &[&str]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(tls);
    config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    Arc::new(config)
}

async fn handshake_1<T>(io: T) -> Result<Sender, ConnectError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_headers(MAX_FIELDS).max_header_size(MAX_HEAD_BYTES).max_buf_size(MAX_BUFFER);
    let (sender, connection) = builder.handshake(TokioIo::new(io)).await?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to a target ended");
        }
    });
    Ok(Sender::One(sender))
}

async fn handshake_2<T>(key: Key, io: T) -> Result<Sender, ConnectError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .max_send_buf_size(MAX_BUFFER)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    let (sender, connection) = builder.handshake(TokioIo::new(io)).await?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a target ended");
        }
    });
    let busy = Rc::new(Cell::new(0));
    let shared = Shared { sender: sender.clone(), busy: busy.clone(), since: Instant::now() };
    POOL.with_borrow_mut(|pool| pool.entry(key).or_default().shared.push(shared));
    Ok(Sender::Many(Stream::new(sender, busy)))
}

/// The most bytes of a connection that are buffered each way.
const MAX_BUFFER: usize = 128 * 1024;

/// Sends a request. One that a connection at rest did not take comes back.
pub(crate) async fn send(
    connected: &mut Connected,
    upstream: &Upstream,
    request: Request<RequestBody>,
) -> Result<http::Response<hyper::body::Incoming>, (hyper::Error, Option<Request<RequestBody>>)> {
    let sent = match &mut connected.sender {
        Sender::One(sender) => sender.try_send_request(as_1(request, upstream)).await,
        Sender::Many(stream) => stream.sender.try_send_request(as_2(request, upstream)).await,
    };
    sent.map_err(|mut error| {
        let message = error.take_message();
        (error.into_error(), message)
    })
}

/// The request as HTTP/1.1 has it: a path, and `Host`.
fn as_1(mut request: Request<RequestBody>, upstream: &Upstream) -> Request<RequestBody> {
    *request.version_mut() = Version::HTTP_11;
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    (parts.scheme, parts.authority) = (None, None);
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    if let Ok(host) = HeaderValue::from_str(&upstream.authority()) {
        request.headers_mut().insert(header::HOST, host);
    }
    request
}

/// The request as HTTP/2 has it (RFC 9113, 8.3.1): the authority is part of its target.
fn as_2(mut request: Request<RequestBody>, upstream: &Upstream) -> Request<RequestBody> {
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(header::HOST);
    // Its frames say where a body ends.
    request.headers_mut().remove(header::TRANSFER_ENCODING);
    let mut parts: UriParts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(if upstream.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = upstream.authority().parse::<Authority>().ok();
    // Without an authority the library refuses it, which is right.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    request
}
