//! The way to the server: connect, TLS, log in, and wait until it is ready.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use postgres_wire::auth::{self, AuthError, ChannelBinding, Login, Secret, Step};
use postgres_wire::backend::{self, Message};
use postgres_wire::frame::{FrameError, Framed, Limits, next_frame};
use postgres_wire::startup::{
    CancelKey, ProtocolVersion, StartupError, write_cancel, write_ssl_request, write_startup,
};
use postgres_wire::{Side, WireError, WriteError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};

use crate::stream::Stream;
use crate::target::{Target, Upstream};

/// Most bytes that a server may send before it is ready: parameter reports and notices.
const MAX_LOGIN_BYTES: usize = 256 * 1024;

/// A session on the server, ready for the first query.
pub(crate) struct Connected {
    pub(crate) stream: Stream,
    /// What the server sent behind its ReadyForQuery.
    pub(crate) rest: BytesMut,
    pub(crate) process_id: u32,
    pub(crate) secret: Vec<u8>,
    /// ParameterStatus and notices of the login, whole frames, to pass on.
    pub(crate) reports: Vec<u8>,
    /// Name and value of every parameter that the server reported.
    pub(crate) parameters: Vec<(String, String)>,
}

/// Why there is no session on the server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("the target can't be reached: {0}")]
    Io(#[from] io::Error),
    #[error("the target did not answer within {0:?}")]
    Timeout(Duration),
    #[error("the target does not offer TLS, and its configuration demands it")]
    NoTls,
    #[error("logging in to the target failed: {0}")]
    Auth(#[from] AuthError),
    #[error("the target refused the login")]
    Refused { code: String, message: String },
    #[error("the session's client encoding can't be followed")]
    Encoding,
    #[error("the target broke the protocol: {0}")]
    Protocol(String),
}

impl From<WireError> for UpstreamError {
    fn from(error: WireError) -> Self {
        UpstreamError::Protocol(error.to_string())
    }
}
impl From<FrameError> for UpstreamError {
    fn from(error: FrameError) -> Self {
        UpstreamError::Protocol(error.to_string())
    }
}
impl From<WriteError> for UpstreamError {
    fn from(error: WriteError) -> Self {
        UpstreamError::Protocol(error.to_string())
    }
}
impl From<StartupError> for UpstreamError {
    fn from(error: StartupError) -> Self {
        UpstreamError::Protocol(error.to_string())
    }
}

/// Connects and logs in.
pub(crate) async fn connect(
    target: &Target,
    role: &str,
    password: Option<&Secret>,
    parameters: &[(&[u8], &[u8])],
) -> Result<Connected, UpstreamError> {
    let limit = target.connect_timeout;
    timeout(limit, login(target, role, password, parameters))
        .await
        .map_err(|_| UpstreamError::Timeout(limit))?
}

/// Sends a cancel request; the server never answers one.
pub(crate) async fn cancel(
    upstream: &Upstream,
    process_id: u32,
    secret: &[u8],
    limit: Duration,
) -> Result<(), UpstreamError> {
    let send = async {
        let mut stream = open(upstream).await?;
        let mut out = Vec::new();
        write_cancel(&mut out, CancelKey { process_id, secret })?;
        stream.write_all(&out).await?;
        stream.flush().await?;
        // The server closes when it has acted; a client of ours may wait for that.
        let mut nothing = [0; 1];
        let _closed = stream.read(&mut nothing).await;
        Ok(())
    };
    timeout(limit, send).await.map_err(|_| UpstreamError::Timeout(limit))?
}

async fn open(upstream: &Upstream) -> Result<Stream, UpstreamError> {
    let mut tcp = TcpStream::connect((upstream.host.as_str(), upstream.port)).await?;
    tcp.set_nodelay(true)?;
    let Some((name, config)) = &upstream.tls else { return Ok(Stream::Plain(tcp)) };
    let mut request = Vec::new();
    write_ssl_request(&mut request);
    tcp.write_all(&request).await?;
    // One byte is read and no more: what might follow it in plain text reaches the TLS
    // handshake and breaks it (CVE-2021-23222).
    if tcp.read_u8().await? != b'S' {
        return Err(UpstreamError::NoTls);
    }
    let tls = TlsConnector::from(config.clone()).connect(name.clone(), tcp).await?;
    Ok(Stream::Tls(Box::new(TlsStream::Client(tls))))
}

async fn login(
    target: &Target,
    role: &str,
    password: Option<&Secret>,
    parameters: &[(&[u8], &[u8])],
) -> Result<Connected, UpstreamError> {
    let mut stream = open(&target.upstream).await?;
    let mut out = Vec::new();
    write_startup(&mut out, ProtocolVersion::V3_0, parameters)?;
    stream.write_all(&out).await?;
    stream.flush().await?;
    let binding = match stream.peer_certificate() {
        Some(certificate) => {
            auth::scram::end_point(certificate).unwrap_or(ChannelBinding::NotSupported)
        }
        None => ChannelBinding::NotSupported,
    };
    let mut login =
        Login::new(role.as_bytes(), password.cloned(), target.upstream.methods, binding);
    let mut done = Connected {
        stream,
        rest: BytesMut::new(),
        process_id: 0,
        secret: Vec::new(),
        reports: Vec::new(),
        parameters: Vec::new(),
    };
    let mut buf = BytesMut::with_capacity(4096);
    let mut total = 0;
    let mut logged_in = false;
    loop {
        while let Framed::Frame { tag, body, total: len } =
            next_frame(&buf, Side::Backend, &Limits::DEFAULT)?
        {
            let message = backend::parse(tag, body)?;
            let frame = buf.get(..len).unwrap_or_default();
            match message {
                Message::Authentication(request) if !logged_in => {
                    // PBKDF2 takes milliseconds; a login is rare enough to do it here.
                    match login.on(&request)? {
                        Step::Send(answer) => {
                            done.stream.write_all(answer.expose()).await?;
                            done.stream.flush().await?;
                        }
                        Step::Continue => {}
                        Step::Done => logged_in = true,
                    }
                }
                Message::ErrorResponse(error) => {
                    let text = |code| {
                        String::from_utf8_lossy(error.get(code).unwrap_or_default()).into_owned()
                    };
                    return Err(UpstreamError::Refused { code: text(b'C'), message: text(b'M') });
                }
                Message::NoticeResponse(_) => done.reports.extend_from_slice(frame),
                Message::ParameterStatus(report) if logged_in => {
                    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    done.parameters.push((text(report.name), text(report.value)));
                    done.reports.extend_from_slice(frame);
                }
                Message::BackendKeyData(key) if logged_in => {
                    done.process_id = key.process_id;
                    done.secret = key.secret.to_vec();
                }
                Message::ReadyForQuery(_) if logged_in => {
                    buf.advance(len);
                    done.rest = buf;
                    return Ok(done);
                }
                other => return Err(UpstreamError::Protocol(format!("unexpected {other:?}"))),
            }
            buf.advance(len);
        }
        let read = done.stream.read_buf(&mut buf).await?;
        total += read;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if total > MAX_LOGIN_BYTES {
            return Err(UpstreamError::Protocol("too much before it was ready".into()));
        }
    }
}
