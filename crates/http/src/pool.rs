//! Connections to targets. Each thread that serves has its own, so none is handed between
//! threads; one that is not at rest is never used again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::time::Duration;

use http::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::body::RequestBody;
use crate::target::Upstream;

/// How long a connection may rest before it is not used again: shorter than what servers allow.
const REST: Duration = Duration::from_secs(30);
/// The longest head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Most fields of an answer's head.
const MAX_FIELDS: usize = 200;

/// A proxy's number in this process, and a target's place in its configuration.
pub(crate) type Key = (u64, usize);

/// A connection with nothing under way.
pub(crate) struct Connected {
    pub(crate) sender: SendRequest<RequestBody>,
    /// It served a request before, so it may turn out to be closed.
    pub(crate) used: bool,
}

struct Resting {
    sender: SendRequest<RequestBody>,
    since: Instant,
}

thread_local! {
    static POOL: RefCell<HashMap<Key, Vec<Resting>>> = RefCell::default();
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
}

/// A connection at rest, the last that was used; none: make one.
pub(crate) async fn take(key: Key) -> Option<Connected> {
    loop {
        let resting = POOL.with_borrow_mut(|pool| pool.get_mut(&key)?.pop())?;
        let Resting { mut sender, since } = resting;
        if since.elapsed() < REST && !sender.is_closed() && sender.ready().await.is_ok() {
            return Some(Connected { sender, used: true });
        }
    }
}

/// Keeps a connection whose last answer was read to its end.
pub(crate) fn give_back(key: Key, most: usize, sender: SendRequest<RequestBody>) {
    if sender.is_closed() {
        return;
    }
    POOL.with_borrow_mut(|pool| {
        let resting = pool.entry(key).or_default();
        resting.retain(|it| it.since.elapsed() < REST && !it.sender.is_closed());
        if resting.len() < most {
            resting.push(Resting { sender, since: Instant::now() });
        }
    });
}

/// Makes a connection.
pub(crate) async fn connect(upstream: &Upstream) -> Result<Connected, ConnectError> {
    match timeout(upstream.connect_timeout, open(upstream)).await {
        Ok(sender) => Ok(Connected { sender: sender?, used: false }),
        Err(_) => Err(ConnectError::TimedOut),
    }
}

async fn open(upstream: &Upstream) -> Result<SendRequest<RequestBody>, ConnectError> {
    let tcp = TcpStream::connect((upstream.host.as_str(), upstream.port)).await?;
    tcp.set_nodelay(true)?;
    let Some(tls) = &upstream.tls else { return handshake(tcp).await };
    let name = ServerName::try_from(upstream.host.clone()).map_err(|_| ConnectError::Name)?;
    handshake(TlsConnector::from(tls.clone()).connect(name, tcp).await?).await
}

async fn handshake<T>(io: T) -> Result<SendRequest<RequestBody>, ConnectError>
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
    Ok(sender)
}

/// The most bytes of a connection that are buffered each way.
const MAX_BUFFER: usize = 128 * 1024;

/// Sends a request. One that a resting connection did not take comes back.
pub(crate) async fn send(
    connected: &mut Connected,
    request: Request<RequestBody>,
) -> Result<http::Response<hyper::body::Incoming>, (hyper::Error, Option<Request<RequestBody>>)> {
    connected.sender.try_send_request(request).await.map_err(|mut error| {
        let message = error.take_message();
        (error.into_error(), message)
    })
}
