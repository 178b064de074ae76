//! What a configuration without a mistake becomes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "postgres")]
use crate::postgres as pg;

/// A configuration without a mistake, made ready: secrets read, rules compiled, TLS set up.
#[derive(Debug)]
pub struct Loaded {
    /// The file.
    pub file: PathBuf,
    /// SHA-256 of its bytes, hex: names the configuration in records.
    pub sha256: String,
    /// How the process serves.
    pub serve: Serve,
    /// Where clients come in.
    pub listeners: Vec<Listener>,
    /// The log.
    pub audit: Audit,
    /// Who may come in.
    pub verifier: identity::Verifier,
    /// What may be done.
    pub policy: Arc<policy::Policy>,
    /// What must not be seen.
    pub masking: Arc<masking::Policy>,
    /// What clients are let through to.
    pub targets: Targets,
    /// What signs certificates for SSH's clients, if anything does.
    #[cfg(feature = "ssh")]
    pub ssh_authority: Option<::ssh::Authority>,
}

/// The targets, by protocol.
#[derive(Debug, Default)]
pub struct Targets {
    /// The PostgreSQL servers.
    #[cfg(feature = "postgres")]
    pub postgres: Vec<Arc<::postgres::Target>>,
    /// The SSH servers.
    #[cfg(feature = "ssh")]
    pub ssh: Vec<Arc<::ssh::Target>>,
    /// The HTTP services.
    #[cfg(feature = "http")]
    pub http: Vec<Arc<http_proxy::Target>>,
}

impl Targets {
    /// The names of all targets.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        #[cfg(feature = "postgres")]
        names.extend(self.postgres.iter().map(|target| &*target.gate.name));
        #[cfg(feature = "ssh")]
        names.extend(self.ssh.iter().map(|target| &*target.gate.name));
        #[cfg(feature = "http")]
        names.extend(self.http.iter().map(|target| &*target.gate.name));
        names
    }
}

#[cfg(feature = "postgres")]
impl Loaded {
    /// What the PostgreSQL proxy of one listener is made of.
    #[must_use]
    pub fn postgres_config(&self, own: &pg::Listener) -> ::postgres::Config {
        ::postgres::Config {
            targets: self.targets.postgres.clone(),
            default_target: own.default_target.clone(),
            tls: own.tls.clone(),
            carrier: own.carrier.clone(),
            handshake_timeout: own.handshake_timeout,
            max_message_bytes: own.max_message_bytes,
            max_sql_bytes: own.max_sql_bytes,
        }
    }
}

#[cfg(feature = "ssh")]
impl Loaded {
    /// What the SSH proxy of one listener is made of.
    #[must_use]
    pub fn ssh_config(&self, own: &crate::ssh::Listener) -> ::ssh::Config {
        ::ssh::Config {
            targets: self.targets.ssh.clone(),
            host_keys: own.host_keys.clone(),
            host_certificate: own.host_certificate.clone(),
            authority: self.ssh_authority.clone(),
            credentials: own.credentials,
            device_login: own.device_login.clone(),
            login_timeout: own.login_timeout,
            max_unauthenticated: own.max_unauthenticated,
        }
    }
}

#[cfg(feature = "http")]
impl Loaded {
    /// What the HTTP proxy of one listener is made of.
    #[must_use]
    pub fn http_config(&self, own: &crate::http::Listener) -> http_proxy::Config {
        http_proxy::Config {
            targets: self.targets.http.clone(),
            tls: own.tls.clone(),
            authorization_servers: own.authorization_servers.clone(),
            login: own
                .login
                .clone()
                .map(|flow| http_proxy::BrowserLogin { flow, verifier: self.verifier.clone() }),
            head_timeout: own.head_timeout,
            write_stall: own.write_stall,
            max_sessions: own.max_sessions,
            connection_idle: own.connection_idle,
            session_idle: own.session_idle,
        }
    }
}

/// `[serve]`: threads, connections, and the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serve {
    /// Threads that serve connections.
    pub shards: usize,
    /// Connections served at once; more wait to be accepted.
    pub max_connections: usize,
    /// How long sessions may go on after the signal to end.
    pub shutdown_timeout: Duration,
}

/// One `[[listen]]`.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The address to listen on.
    pub address: SocketAddr,
    /// The protocol spoken there, and what it needs to know.
    pub protocol: Protocol,
}

/// What is spoken on a listener's address. Which there are depends on this crate's features.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Protocol {
    /// PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(pg::Listener),
    /// SSH.
    #[cfg(feature = "ssh")]
    Ssh(Box<crate::ssh::Listener>),
    /// HTTP.
    #[cfg(feature = "http")]
    Http(crate::http::Listener),
}

/// `[audit]`: the log and its store.
#[derive(Debug, Clone)]
pub struct Audit {
    /// The instance's own folder, for the ring and chunks that wait.
    pub dir: PathBuf,
    /// The store's URL.
    pub store: String,
    /// The log's name in the store.
    pub log_id: String,
    /// The log's key; its name is the log's origin.
    pub signer: tlog::Signer,
    /// Segments of the ring.
    pub segments: u32,
    /// Bytes in each.
    pub segment_bytes: u64,
    /// An entry waits at most this long for the store.
    pub publish_every: Duration,
}
