//! A configured HTTP service, how it is reached, and which requests are for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use identity::AssertionKey;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;

use crate::kubernetes::Kubernetes;
use crate::mcp::Mcp;
use crate::problem::Told;
use crate::uri::Path;

/// How long connecting to a target may take, with TLS, unless configured.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a target may take nothing of a request, and how long it may take from its end until
/// the answer begins, unless configured.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an answer may stand still, unless configured. Event streams, gRPC and WebSockets may
/// be silent for longer: they have their own ways to say that they live.
pub const ANSWER_STALL: Duration = Duration::from_secs(300);
/// Connections to a target that each thread keeps for later requests, unless configured.
pub const IDLE_CONNECTIONS: usize = 32;

/// An HTTP service behind the proxy.
#[derive(Debug)]
pub struct Target {
    /// What the gate knows of it.
    pub gate: Arc<gate::Target>,
    /// Where it is.
    pub upstream: Upstream,
    /// What it is told, signed, of who asks.
    pub assertion: Option<Assertion>,
    /// Which requests are for it.
    pub route: Route,
    /// What is particular to it if it speaks the Model Context Protocol.
    pub mcp: Option<Mcp>,
    /// What is particular to it if it is an API server of Kubernetes; then `upgrades` must be
    /// allowed for exec.
    pub kubernetes: Option<Kubernetes>,
    /// Whether a connection may become another protocol's (WebSocket).
    pub upgrades: bool,
    /// The longest body of a request, in bytes; none: any.
    pub max_body: Option<u64>,
    /// See [`ANSWER_TIMEOUT`].
    pub answer_timeout: Duration,
    /// See [`ANSWER_STALL`].
    pub answer_stall: Duration,
}

impl Target {
    /// How many connections are kept: none to a program, which each belong to a session.
    pub(crate) fn idle_connections(&self) -> usize {
        let program = self.mcp.as_ref().is_some_and(|mcp| mcp.program.is_some());
        if program { 0 } else { self.upstream.idle }
    }

    /// The protocol's name in rules and records.
    pub(crate) fn protocol(&self) -> &'static str {
        match (&self.mcp, &self.kubernetes) {
            (Some(_), _) => crate::mcp::PROTOCOL,
            (None, Some(_)) => crate::kubernetes::PROTOCOL,
            (None, None) => crate::PROTOCOL,
        }
    }
}

impl Target {
    /// How long an answer with these fields may stand still.
    pub(crate) fn patience(&self, fields: &HeaderMap) -> Option<Duration> {
        let media = fields.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
        let media = media.unwrap_or_default().trim_start().to_ascii_lowercase();
        let may_be_silent =
            media.starts_with("text/event-stream") || media.starts_with("application/grpc");
        (!may_be_silent).then_some(self.answer_stall)
    }
}

/// Where a service is, and who we are to it.
#[derive(Debug)]
pub struct Upstream {
    /// TLS, if it is `https`.
    pub tls: Option<Arc<ClientConfig>>,
    /// A name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The name in its certificate, if that is not `host`.
    pub server_name: Option<ServerName<'static>>,
    /// What stands before every path; empty, or begins with a slash and does not end with one.
    pub path: String,
    /// What it wants from us.
    pub credential: Credential,
    /// Whether HTTP/2 is spoken with it.
    pub http2: Http2,
    /// See [`CONNECT_TIMEOUT`].
    pub connect_timeout: Duration,
    /// See [`IDLE_CONNECTIONS`].
    pub idle: usize,
}

/// Whether HTTP/2 is spoken with a service (RFC 9113, 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Http2 {
    /// If TLS chooses it (ALPN); else HTTP/1.1.
    #[default]
    Negotiated,
    /// Nothing else: without TLS by prior knowledge.
    Always,
    /// No.
    Never,
}

impl Upstream {
    /// A service without TLS, without a credential.
    pub fn plain(host: impl Into<String>, port: u16) -> Upstream {
        Upstream {
            tls: None,
            host: host.into(),
            port,
            server_name: None,
            path: String::new(),
            credential: Credential::None,
            http2: Http2::default(),
            connect_timeout: CONNECT_TIMEOUT,
            idle: IDLE_CONNECTIONS,
        }
    }

    /// What it is called in `Host`.
    pub(crate) fn authority(&self) -> String {
        let host = match self.host.contains(':') && !self.host.starts_with('[') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match (self.tls.is_some(), self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

/// What a service wants from us. The client's own never reaches it.
#[derive(Clone, Default)]
pub enum Credential {
    /// Nothing.
    #[default]
    None,
    /// A field of its own: `Authorization` with a bearer or a password, or another. Its value is
    /// marked as sensitive, and never shown.
    Field(HeaderName, HeaderValue),
    /// A value of `Authorization` that changes while the program runs.
    Changing(Arc<dyn Authorize>),
}

/// Where a value of `Authorization` comes from that changes while the program runs: a file that is
/// written anew, a program that is asked.
pub trait Authorize: fmt::Debug + Send + Sync {
    /// What it is at present, marked as sensitive. It is asked for before each request, so it has
    /// what it can at hand, and bounds how long it takes to get it.
    ///
    /// None: there is none at the moment, and whose fault that is, it has told the operator. The
    /// request fails.
    fn current(&self) -> BoxFuture<'_, Option<HeaderValue>>;
}

impl Credential {
    /// The field that says it.
    pub(crate) async fn field(&self) -> Result<Option<(HeaderName, HeaderValue)>, Told> {
        match self {
            Credential::None => Ok(None),
            Credential::Field(name, value) => Ok(Some((name.clone(), value.clone()))),
            Credential::Changing(source) => {
                let value = source.current().await.ok_or(Told::NoCredential)?;
                Ok(Some((header::AUTHORIZATION, value)))
            }
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::None => f.write_str("None"),
            Credential::Field(name, _) => write!(f, "Field({name}: ***)"),
            Credential::Changing(source) => write!(f, "Changing({source:?})"),
        }
    }
}

/// How a service is told who asks so that it can check it: a JWT in `X-Greffier-Assertion`. Its
/// claims are those of [`AssertionKey::state`]; its key is at [`KEYS`](crate::KEYS).
#[derive(Debug, Clone)]
pub struct Assertion {
    /// What signs it.
    pub key: Arc<AssertionKey>,
    /// `iss`: us, as the service knows us.
    pub issuer: String,
    /// `aud`: the service.
    pub audience: String,
    /// How long one counts. It is made anew for each request.
    pub lifetime: Duration,
}

/// How long an assertion counts, unless configured: as long as its request takes to arrive.
pub const ASSERTION_LIFETIME: Duration = Duration::from_secs(60);

/// Which requests are for a target: all that is given must fit.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// Names that clients call it by, without a port, in lower case; empty: any.
    pub hosts: Vec<String>,
    /// What its paths begin with, whole segments; it is taken off. None: any.
    pub path: Option<String>,
}

impl Route {
    /// How well it fits, and the path without its prefix; none: not at all.
    fn fits(&self, host: &str, path: &Path) -> Option<((bool, usize), Path)> {
        let named = !self.hosts.is_empty();
        if named && !self.hosts.iter().any(|it| it.eq_ignore_ascii_case(host)) {
            return None;
        }
        match &self.path {
            None => Some(((named, 0), path.clone())),
            Some(prefix) => Some(((named, prefix.len()), path.behind(prefix)?)),
        }
    }
}

/// The target of a request, and the path without what led to it: a name goes before none, a
/// longer path before a shorter.
pub(crate) fn route<'a>(
    targets: &'a [Arc<Target>],
    host: &str,
    path: &Path,
) -> Option<(usize, &'a Arc<Target>, Path)> {
    let host = without_port(host);
    let fitting = targets.iter().enumerate().filter_map(|(at, target)| {
        let (rank, path) = target.route.fits(host, path)?;
        Some((rank, at, target, path))
    });
    // The first of equals.
    let best = fitting.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map(|(_, at, target, path)| (at, target, path))
}

/// A host's name or address alone.
pub(crate) fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host.split_inclusive(']').next().unwrap_or(host);
    }
    host.split(':').next().unwrap_or(host).trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str, hosts: &[&str], path: Option<&str>) -> Arc<Target> {
        Arc::new(Target {
            gate: Arc::new(gate::Target::new(name, masking::Policy::empty())),
            upstream: Upstream::plain("127.0.0.1", 80),
            assertion: None,
            route: Route {
                hosts: hosts.iter().map(|it| (*it).to_owned()).collect(),
                path: path.map(str::to_owned),
            },
            mcp: None,
            kubernetes: None,
            upgrades: false,
            max_body: None,
            answer_timeout: ANSWER_TIMEOUT,
            answer_stall: ANSWER_STALL,
        })
    }

    #[test]
    fn the_nearest_target_gets_it() {
        let targets = [
            target("rest", &[], None),
            target("app", &[], Some("/app")),
            target("deep", &[], Some("/app/deep")),
            target("wiki", &["wiki.test"], None),
        ];
        let to = |host: &str, path: &str| {
            let (_, target, path) = route(&targets, host, &Path::parse(path).unwrap()).unwrap();
            (target.gate.name.to_string(), path.as_str().to_owned())
        };
        let is = |name: &str, path: &str| (name.to_owned(), path.to_owned());
        assert_eq!(to("x", "/"), is("rest", "/"));
        assert_eq!(to("x", "/apps"), is("rest", "/apps"));
        assert_eq!(to("x:80", "/app/y"), is("app", "/y"));
        assert_eq!(to("x", "/app/deep"), is("deep", "/"));
        assert_eq!(to("Wiki.test:8443", "/app/y"), is("wiki", "/app/y"));
        assert_eq!(to("wiki.test.", "/"), is("wiki", "/"));
        assert!(route(&targets[1..2], "x", &Path::parse("/").unwrap()).is_none());
    }

    #[test]
    fn an_upstream_is_called_as_the_field_wants_it() {
        assert_eq!(Upstream::plain("a", 80).authority(), "a");
        assert_eq!(Upstream::plain("a", 8080).authority(), "a:8080");
        assert_eq!(Upstream::plain("::1", 8080).authority(), "[::1]:8080");
        let (name, value) =
            (http::header::AUTHORIZATION, HeaderValue::from_static("Bearer secret"));
        assert!(!format!("{:?}", Credential::Field(name, value)).contains("secret"));
    }
}
