//! A PostgreSQL server behind the proxy: how it is reached, and as whom.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use identity::{Kind, Principal};
use postgres_wire::auth::{Methods, Secret};
use rustls::pki_types::ServerName;

/// A PostgreSQL server that clients reach through the proxy.
#[derive(Debug, Clone)]
pub struct Target {
    /// What every protocol shares: name, recording, durability, masking.
    pub gate: Arc<gate::Target>,
    /// Where the server is.
    pub upstream: Upstream,
    /// Which databases clients may ask for.
    pub databases: Databases,
    /// Who gets which role on the server; the first that fits decides. Nobody fits: refused.
    pub roles: Vec<RoleRule>,
    /// What the server sees as `application_name`.
    pub application_name: ApplicationName,
    /// How long connecting and logging in to the server may take.
    pub connect_timeout: Duration,
    /// Functions that need no origin under column rules, `schema.name`.
    pub trusted_functions: Vec<String>,
}

impl Target {
    /// A server reached in plain text, where everyone becomes `role` without a password; any
    /// database. For servers on this host; set what else is needed.
    pub fn local(gate: Arc<gate::Target>, host: &str, port: u16, role: Role) -> Self {
        let rule = RoleRule {
            kinds: Vec::new(),
            groups: Vec::new(),
            subjects: Vec::new(),
            role,
            password: None,
        };
        Target {
            gate,
            upstream: Upstream { host: host.into(), port, tls: None, methods: Methods::ANY },
            databases: Databases::Any,
            roles: vec![rule],
            application_name: ApplicationName::default(),
            connect_timeout: Duration::from_secs(10),
            trusted_functions: Vec::new(),
        }
    }
}

/// A server's address.
#[derive(Clone)]
pub struct Upstream {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// TLS with the server's name checked (`verify-full`); `None` is plain text.
    pub tls: Option<(ServerName<'static>, Arc<rustls::ClientConfig>)>,
    /// Ways of authentication that the server may ask for.
    pub methods: Methods,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}{}", self.host, self.port, if self.tls.is_some() { " (TLS)" } else { "" })
    }
}

/// Which databases a target serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Databases {
    /// This one, whatever the client asks for behind the target's name.
    Only(String),
    /// One of these; the first if the client names none.
    OneOf(Vec<String>),
    /// Any.
    Any,
}

impl Databases {
    /// The database to use, or `None` if it is not allowed.
    pub(crate) fn choose<'a>(&'a self, asked: Option<&'a str>) -> Option<&'a str> {
        match (self, asked) {
            (Databases::Only(name), asked) => asked.is_none_or(|a| a == name).then_some(name),
            (Databases::OneOf(names), Some(asked)) => {
                names.iter().find(|name| *name == asked).map(String::as_str)
            }
            (Databases::OneOf(names), None) => names.first().map(String::as_str),
            (Databases::Any, asked) => asked,
        }
    }
}

/// Who logs in to the server as whom.
#[derive(Debug, Clone)]
pub struct RoleRule {
    /// Kinds of principal; empty means any.
    pub kinds: Vec<Kind>,
    /// Any of these groups; empty means any principal.
    pub groups: Vec<String>,
    /// These subjects; empty means any.
    pub subjects: Vec<String>,
    /// The role.
    pub role: Role,
    /// The role's password, where the server wants one.
    pub password: Option<Secret>,
}

/// A role on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// This one.
    Named(String),
    /// The one that the client's `user` names. For servers that trust the proxy.
    AsAsked,
}

impl RoleRule {
    pub(crate) fn fits(&self, principal: &Principal) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&principal.kind))
            && (self.groups.is_empty() || self.groups.iter().any(|g| principal.groups.contains(g)))
            && (self.subjects.is_empty() || self.subjects.contains(&principal.subject))
    }
}

/// What the server sees as `application_name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ApplicationName {
    /// The principal, then what the client calls itself: `agent-7 for alice: psql`.
    #[default]
    Principal,
    /// What the client calls itself.
    Client,
}

/// The server keeps 63 bytes of an `application_name` (`NAMEDATALEN` − 1).
const APPLICATION_NAME_BYTES: usize = 63;

impl ApplicationName {
    /// The name for one session; printable ASCII, as the server would make it.
    pub(crate) fn render(self, principal: &Principal, client: Option<&[u8]>) -> Option<String> {
        let client = client.map(|name| String::from_utf8_lossy(name).into_owned());
        let text = match (self, client) {
            (ApplicationName::Client, client) => return client,
            (ApplicationName::Principal, Some(client)) if !client.is_empty() => {
                format!("{}: {client}", who(principal))
            }
            (ApplicationName::Principal, _) => who(principal),
        };
        let printable = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        Some(text.chars().map(printable).take(APPLICATION_NAME_BYTES).collect())
    }
}

fn who(principal: &Principal) -> String {
    match principal.acts_for() {
        Some(actor) => format!("{} for {}", principal.subject, actor.subject),
        None => principal.subject.clone(),
    }
}
