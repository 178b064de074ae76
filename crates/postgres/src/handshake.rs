//! The client's side before a session exists: TLS, the startup message, the token.
//!
//! Everything here is small and bounded, and all of it together has a deadline: nobody has
//! shown yet who they are.

use std::io;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use identity::Secret;
use postgres_wire::auth::oauth;
use postgres_wire::frame::{FrameError, Framed, Limits, next_frame};
use postgres_wire::frontend::{self, Message};
use postgres_wire::startup::{
    Opening, Packet, ProtocolVersion, STARTUP_LIMIT, StartupError, TLS_HANDSHAKE_BYTE, next_packet,
};
use postgres_wire::{Side, WireError, WriteError, write};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsStream};

use crate::refusal::Told;
use crate::stream::Stream;

/// Length of SSLRequest and GSSENCRequest.
const REQUEST_BYTES: usize = 8;

/// How clients hand over their token.
#[derive(Debug, Clone)]
pub enum Carrier {
    /// As the password, in clear inside TLS: every driver can.
    Password,
    /// By SASL OAUTHBEARER (RFC 7628; libpq 18). A server names its one method before it knows
    /// the client, so this wants a listener of its own.
    OauthBearer {
        /// The issuer's discovery document, for clients that ask.
        openid_configuration: String,
        /// The scope to ask the issuer for.
        scope: String,
    },
}

/// TLS towards clients.
#[derive(Debug, Clone)]
pub enum ClientTls {
    /// Every client must use TLS.
    Required(Arc<rustls::ServerConfig>),
    /// No TLS: tokens cross the wire readable. For loopback only; the configuration must say
    /// so in as many words.
    PlainText,
}

/// What a client opened its connection with.
pub(crate) enum Opened {
    /// It wants a session.
    Session(Box<Arrived>),
    /// It wants a session in plain text where TLS is required.
    Insecure(Box<Arrived>),
    /// It wants another session's statement cancelled.
    Cancel { process_id: u32, secret: Vec<u8> },
    /// It closed, or went away.
    Gone,
}

/// A client that wants a session.
pub(crate) struct Arrived {
    pub(crate) stream: Stream,
    pub(crate) buf: BytesMut,
    pub(crate) version: ProtocolVersion,
    pub(crate) parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Arrived {
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.parameters.iter().find(|(n, _)| n == name.as_bytes());
        found.map(|(_, value)| value.as_slice())
    }
}

/// Why a handshake ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The client's network, or the client.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The client's first packet.
    #[error(transparent)]
    Startup(#[from] StartupError),
    /// The client's message.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The client's message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The client did what the protocol does not allow here.
    #[error("{0}")]
    Order(&'static str),
    /// A message of ours.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl HandshakeError {
    /// What the client is told, if it can still be told something.
    pub(crate) fn told(&self) -> Option<Told> {
        match self {
            HandshakeError::Io(_) | HandshakeError::Write(_) => None,
            HandshakeError::Startup(StartupError::UnsupportedVersion(_)) => {
                Some(Told::fatal("0A000", self.to_string()))
            }
            _ => Some(Told::fatal("08P01", self.to_string())),
        }
    }
}

/// Reads the first packets of a connection, up to the startup message.
pub(crate) async fn open(tcp: TcpStream, tls: &ClientTls) -> Result<Opened, HandshakeError> {
    tcp.set_nodelay(true)?;
    let mut first = [0; 1];
    if tcp.peek(&mut first).await? == 0 {
        return Ok(Opened::Gone);
    }
    if first == [TLS_HANDSHAKE_BYTE] {
        return inside_tls(tcp, tls, true).await;
    }
    before_tls(tcp, tls).await
}

/// SSLRequest, GSSENCRequest, or a startup packet in plain text.
async fn before_tls(mut tcp: TcpStream, tls: &ClientTls) -> Result<Opened, HandshakeError> {
    // Each may be asked for once, as the server has it (`ProcessStartupPacket`).
    let (mut asked_tls, mut asked_gss) = (false, false);
    loop {
        // Exactly the request's bytes are read. What a client (or somebody in between) sends
        // behind them in plain text reaches the TLS handshake and breaks it: nothing can be
        // smuggled past TLS (CVE-2021-23214).
        let mut head = [0; REQUEST_BYTES];
        tcp.read_exact(&mut head).await?;
        match next_packet(&head)? {
            Opening::Packet { packet: Packet::SslRequest, .. } => match tls {
                ClientTls::Required(_) => {
                    tcp.write_all(b"S").await?;
                    return inside_tls(tcp, tls, false).await;
                }
                ClientTls::PlainText if asked_tls => {
                    return Err(HandshakeError::Order("a second SSLRequest"));
                }
                ClientTls::PlainText => {
                    asked_tls = true;
                    tcp.write_all(b"N").await?;
                }
            },
            Opening::Packet { packet: Packet::GssEncRequest, .. } if !asked_gss => {
                asked_gss = true;
                tcp.write_all(b"N").await?;
            }
            Opening::Packet { packet: Packet::GssEncRequest, .. } => {
                return Err(HandshakeError::Order("a second GSSENCRequest"));
            }
            _ => {
                let buf = BytesMut::from(head.as_slice());
                return match (startup(Stream::Plain(tcp), buf).await?, tls) {
                    // A cancel request may come in plain text (several drivers send it so); a
                    // session, with its token, may not.
                    (Opened::Session(arrived), ClientTls::Required(_)) => {
                        Ok(Opened::Insecure(arrived))
                    }
                    (opened, _) => Ok(opened),
                };
            }
        }
    }
}

async fn inside_tls(
    tcp: TcpStream,
    tls: &ClientTls,
    direct: bool,
) -> Result<Opened, HandshakeError> {
    let ClientTls::Required(config) = tls else {
        return Err(HandshakeError::Order("TLS is not offered here"));
    };
    let accepted = TlsAcceptor::from(config.clone()).accept(tcp).await?;
    // Direct TLS needs ALPN: without it another protocol's bytes could be replayed to us (ALPACA).
    if direct && accepted.get_ref().1.alpn_protocol() != Some(b"postgresql") {
        return Err(HandshakeError::Order("direct TLS without ALPN \"postgresql\""));
    }
    startup(Stream::Tls(Box::new(TlsStream::Server(accepted))), BytesMut::new()).await
}

async fn startup(mut stream: Stream, mut buf: BytesMut) -> Result<Opened, HandshakeError> {
    loop {
        match next_packet(&buf)? {
            Opening::NeedMore => {}
            Opening::DirectTls => return Err(HandshakeError::Order("TLS inside TLS")),
            Opening::Packet { packet, total } => {
                let opened = match packet {
                    Packet::SslRequest | Packet::GssEncRequest => {
                        return Err(HandshakeError::Order("a request for encryption inside TLS"));
                    }
                    Packet::Cancel(key) => {
                        Opened::Cancel { process_id: key.process_id, secret: key.secret.to_vec() }
                    }
                    Packet::Startup(startup) => {
                        let owned = |(n, v): &(&[u8], &[u8])| (n.to_vec(), v.to_vec());
                        let parameters = startup.parameters.iter().map(owned).collect();
                        let version = startup.version;
                        buf.advance(total);
                        return Ok(Opened::Session(Box::new(Arrived {
                            stream,
                            buf,
                            version,
                            parameters,
                        })));
                    }
                };
                return Ok(opened);
            }
        }
        if buf.len() > STARTUP_LIMIT || stream.read_buf(&mut buf).await? == 0 {
            return Ok(Opened::Gone);
        }
    }
}

/// Tells the client which version is spoken, if it asked for another than that.
pub(crate) async fn negotiate(arrived: &mut Arrived) -> Result<ProtocolVersion, HandshakeError> {
    let agreed = arrived.version.agree(ProtocolVersion::V3_2);
    let unknown: Vec<&[u8]> = arrived
        .parameters
        .iter()
        .map(|(name, _)| name.as_slice())
        .filter(|name| name.starts_with(b"_pq_."))
        .collect();
    if agreed != arrived.version || !unknown.is_empty() {
        let mut out = Vec::new();
        write::negotiate_protocol_version(&mut out, agreed, &unknown)?;
        arrived.stream.write_all(&out).await?;
    }
    Ok(agreed)
}

/// Asks for the token and reads it. `None`: the client asked where to get one, and was told.
pub(crate) async fn token(
    arrived: &mut Arrived,
    carrier: &Carrier,
) -> Result<Option<Secret>, HandshakeError> {
    let mut out = Vec::new();
    match carrier {
        Carrier::Password => {
            write::authentication_cleartext(&mut out);
            arrived.stream.write_all(&out).await?;
            arrived.stream.flush().await?;
            let text = password(arrived, |p| p.cleartext().map(<[u8]>::to_vec)).await?;
            Ok(Some(secret(text)?))
        }
        Carrier::OauthBearer { openid_configuration, scope } => {
            write::authentication_sasl(&mut out, &[oauth::MECHANISM])?;
            arrived.stream.write_all(&out).await?;
            arrived.stream.flush().await?;
            let initial = password(arrived, |p| {
                let initial = p.sasl_initial()?;
                Ok((initial.mechanism.to_vec(), initial.response.unwrap_or_default().to_vec()))
            })
            .await?;
            if initial.0 != oauth::MECHANISM.as_bytes() {
                return Err(HandshakeError::Order("another SASL mechanism than OAUTHBEARER"));
            }
            match oauth::parse_initial(&initial.1) {
                Ok(oauth::Initial::Token(token)) => Ok(Some(secret(token.to_vec())?)),
                Ok(oauth::Initial::Discovery) => {
                    let answer = oauth::failure("invalid_token", openid_configuration, scope);
                    out.clear();
                    write::authentication_sasl_continue(&mut out, &answer)?;
                    arrived.stream.write_all(&out).await?;
                    arrived.stream.flush().await?;
                    password(arrived, |p| Ok(p.sasl_response().to_vec())).await?;
                    Ok(None)
                }
                Err(_) => Err(HandshakeError::Order("the OAUTHBEARER message is malformed")),
            }
        }
    }
}

fn secret(bytes: Vec<u8>) -> Result<Secret, HandshakeError> {
    String::from_utf8(bytes)
        .map(Secret::new)
        .map_err(|_| HandshakeError::Order("the token is not text"))
}

/// Waits for the client's `p` message.
async fn password<T>(
    arrived: &mut Arrived,
    read: impl FnOnce(frontend::Password<'_>) -> Result<T, WireError>,
) -> Result<T, HandshakeError> {
    loop {
        if let Framed::Frame { tag, body, total } =
            next_frame(&arrived.buf, Side::Frontend, &Limits::DEFAULT)?
        {
            let Message::Password(password) = frontend::parse(tag, body)? else {
                return Err(HandshakeError::Order("a message before authentication"));
            };
            let value = read(password)?;
            // The token stays nowhere: what was read is wiped before the buffer goes on.
            if let Some(seen) = arrived.buf.get_mut(..total) {
                seen.fill(0);
            }
            arrived.buf.advance(total);
            return Ok(value);
        }
        // The first byte decides: nothing but `p` is buffered before authentication.
        if arrived.buf.first().is_some_and(|tag| *tag != b'p') {
            return Err(HandshakeError::Order("a message before authentication"));
        }
        if arrived.stream.read_buf(&mut arrived.buf).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}
