//! A client of the API as client-go is one: HTTP/2 over TLS on connections that are kept, with its
//! windows; without TLS HTTP/1.1, a connection for each request that is under way.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What Go's HTTP/2 lets a server send of one answer, and of all of a connection, in bytes.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024 * 1024;
/// Most of an error's text that is shown, in bytes.
const SHOWN: usize = 400;
/// What kubectl asks for, and controllers.
pub(crate) const JSON: &str = "application/json";

type Body = Full<Bytes>;

/// Where a client comes in, and as whom.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) port: u16,
    /// Whom to trust; none: no TLS.
    pub(crate) ca: Option<PathBuf>,
    /// Empty: none.
    pub(crate) token: String,
}

impl Door {
    pub(crate) fn url(&self) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Result<Client, String> {
        let sender = match self.ca {
            Some(_) => Sender::Many(self.http2().await?),
            None => Sender::One(http_1(self.tcp().await?).await?),
        };
        Ok(Client { sender, door: self.clone() })
    }

    /// What a request for an upgrade to a WebSocket becomes, on a connection of its own.
    pub(crate) async fn websocket(&self, path: &str, protocol: &str) -> Result<Upgraded, String> {
        let mut sender = match self.ca {
            Some(_) => http_1(self.tls("http/1.1").await?).await?,
            None => http_1(self.tcp().await?).await?,
        };
        let request = self
            .request(Method::GET, path, Version::HTTP_11)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Sec-WebSocket-Protocol", protocol)
            .body(Full::default())
            .map_err(|e| e.to_string())?;
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        if response.status().as_u16() != 101 {
            return Err(refused(response).await);
        }
        hyper::upgrade::on(response).await.map_err(|e| e.to_string())
    }

    async fn tcp(&self) -> Result<TcpStream, String> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await;
        let tcp = tcp.map_err(|e| format!("connecting: {e}"))?;
        tcp.set_nodelay(true).map_err(|e| e.to_string())?;
        Ok(tcp)
    }

    /// A whole handshake: what was agreed on before is not resumed, as a new process can't.
    async fn tls(
        &self,
        protocol: &str,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
        let fail = |e: &dyn std::fmt::Display| format!("TLS: {e}");
        let mut roots = RootCertStore::empty();
        let file = self.ca.clone().unwrap_or_default();
        for certificate in CertificateDer::pem_file_iter(file).map_err(|e| fail(&e))? {
            roots.add(certificate.map_err(|e| fail(&e))?).map_err(|e| fail(&e))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().map_err(|e| fail(&e))?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let name = ServerName::try_from("localhost").map_err(|e| fail(&e))?;
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, self.tcp().await?).await.map_err(|e| fail(&e))
    }

    async fn http2(&self) -> Result<http2::SendRequest<Body>, String> {
        let stream = self.tls("h2").await?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let made = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(|e| e.to_string())?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        version: Version,
    ) -> hyper::http::request::Builder {
        let host = format!("127.0.0.1:{}", self.port);
        let request = Request::builder().method(method).version(version);
        let request = match version {
            Version::HTTP_2 => request.uri(format!("https://{host}{path}")),
            _ => request.uri(path).header(HOST, host),
        };
        match self.token.as_str() {
            "" => request,
            token => request.header(AUTHORIZATION, format!("Bearer {token}")),
        }
    }
}

async fn http_1<T>(io: T) -> Result<http1::SendRequest<Body>, String>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let made = http1::handshake(TokioIo::new(io)).await;
    let (sender, connection) = made.map_err(|e| e.to_string())?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

enum Sender {
    One(http1::SendRequest<Body>),
    Many(http2::SendRequest<Body>),
}

/// A connection, or a share of one.
pub(crate) struct Client {
    sender: Sender,
    door: Door,
}

impl Client {
    /// One more that can ask at the same time: on the same connection where that may be.
    pub(crate) async fn another(&self) -> Result<Client, String> {
        match &self.sender {
            Sender::Many(sender) => {
                Ok(Client { sender: Sender::Many(sender.clone()), door: self.door.clone() })
            }
            Sender::One(_) => self.door.connect().await,
        }
    }

    /// Asks, with a body of a media type or without one. An answer that is no success is an error.
    pub(crate) async fn send(
        &mut self,
        (method, path): (Method, &str),
        accept: &str,
        content: Option<(&str, Bytes)>,
    ) -> Result<Response<Incoming>, String> {
        let version = match self.sender {
            Sender::One(_) => Version::HTTP_11,
            Sender::Many(_) => Version::HTTP_2,
        };
        let mut request = self.door.request(method, path, version).header(ACCEPT, accept);
        let mut body = Bytes::new();
        if let Some((media, bytes)) = content {
            request = request.header(CONTENT_TYPE, media);
            body = bytes;
        }
        let request = request.body(Full::new(body)).map_err(|e| e.to_string())?;
        let response = match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await.map_err(|e| e.to_string())?;
                sender.send_request(request).await
            }
            Sender::Many(sender) => {
                sender.ready().await.map_err(|e| e.to_string())?;
                sender.send_request(request).await
            }
        };
        let response = response.map_err(|e| format!("{path}: {e}"))?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(format!("{path}: {}", refused(response).await)),
        }
    }

    /// Gets it, and counts its bytes.
    pub(crate) async fn get(&mut self, path: &str, accept: &str) -> Result<usize, String> {
        let response = self.send((Method::GET, path), accept, None).await?;
        count(response.into_body()).await
    }

    /// Creates an object in this collection.
    pub(crate) async fn create(&mut self, path: &str, object: &str) -> Result<(), String> {
        let content = Some((JSON, Bytes::copy_from_slice(object.as_bytes())));
        let response = self.send((Method::POST, path), JSON, content).await?;
        count(response.into_body()).await.map(drop)
    }

    /// Changes an object by a merge patch.
    pub(crate) async fn patch(&mut self, path: &str, patch: String) -> Result<(), String> {
        let content = Some(("application/merge-patch+json", Bytes::from(patch)));
        let response = self.send((Method::PATCH, path), JSON, content).await?;
        count(response.into_body()).await.map(drop)
    }
}

async fn count(mut body: Incoming) -> Result<usize, String> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| format!("a body broke off after {bytes} bytes: {e}"))?;
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
    Ok(bytes)
}

/// Its status and the beginning of what it says.
async fn refused(response: Response<Incoming>) -> String {
    let status = response.status();
    let said = response.into_body().collect().await.map(|it| it.to_bytes()).unwrap_or_default();
    let shown = said.get(..SHOWN).unwrap_or(&said);
    format!("{status}: {}", String::from_utf8_lossy(shown))
}
