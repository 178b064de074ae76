//! What only HTTP knows: its targets, and its part of a listener.

mod assertion;
#[cfg(feature = "kubernetes")]
mod cluster;
mod kubernetes;
mod login;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderName, HeaderValue};
use http_proxy::mcp::{Launcher, MAX_PROCESSES, Mcp, Program};
use http_proxy::{Credential, Http2, Route, Target, Upstream};
use identity::CodeLogin;
use rustls::ServerConfig;
use serde::Deserialize;

use crate::document::Document;
use crate::operations::{self, Context};
use crate::secret::{Lookup, SecretRef};
use crate::sections::Operation;
use crate::tls::{self, TlsFiles};
use crate::units::{Size, Span};

/// What is spoken over TLS, the first first.
const ALPN: [&str; 2] = ["h2", "http/1.1"];
/// The most sessions that may be configured.
const MAX_MAX_SESSIONS: usize = 1_000_000;
/// The most connections at rest that may be configured, for each thread.
const MAX_IDLE_CONNECTIONS: usize = 10_000;

/// The most processes of a program that may be configured.
const MAX_MAX_PROCESSES: usize = 10_000;

/// HTTP's part of a listener.
#[derive(Debug, Clone)]
pub struct Listener {
    /// TLS towards clients; none: plain text, on a loopback address only.
    pub tls: Option<Arc<ServerConfig>>,
    /// Issuers that clients without a token are told of: all that are configured, unless
    /// `tell_issuers = false`.
    pub authorization_servers: Vec<String>,
    /// How browsers log in, if they may.
    pub login: Option<CodeLogin>,
    /// How long a client may take for TLS, and for the head of a request.
    pub head_timeout: Duration,
    /// How long a client may read nothing of what is there for it.
    pub write_stall: Duration,
    /// How long a connection may be without a request.
    pub connection_idle: Duration,
    /// Most sessions at once.
    pub max_sessions: usize,
    /// How long a session goes on without a request.
    pub session_idle: Duration,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listen {
    pub(crate) protocol: Option<String>,
    pub(crate) address: Option<String>,
    tls: Option<TlsFiles>,
    allow_plain_text: bool,
    tell_issuers: Option<bool>,
    login: Option<login::Section>,
    head_timeout: Option<Span>,
    write_stall: Option<Span>,
    connection_idle: Option<Span>,
    max_sessions: Option<usize>,
    session_idle: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HttpTarget {
    pub(crate) protocol: Option<String>,
    url: Option<String>,
    hosts: Vec<String>,
    path: Option<String>,
    tls_ca: Option<String>,
    tls_certificate: Option<String>,
    tls_key: Option<String>,
    bearer: Option<SecretRef>,
    basic: Option<Basic>,
    header: Option<Field>,
    assertion: Option<assertion::Section>,
    mcp: Option<McpSection>,
    kubernetes: Option<kubernetes::Section>,
    http2: Option<bool>,
    upgrades: bool,
    max_body: Option<Size>,
    connect_timeout: Option<Span>,
    answer_timeout: Option<Span>,
    answer_stall: Option<Span>,
    idle_connections: Option<usize>,
    recording: gate::RecordingLevel,
    durability: gate::Durability,
    #[serde(rename = "operation")]
    operations: Vec<Operation>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct McpSection {
    sampling: bool,
    elicitation: bool,
    origins: Vec<String>,
    command: Vec<String>,
    directory: Option<String>,
    pass: Vec<String>,
    environment: BTreeMap<String, SecretRef>,
    max_processes: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Basic {
    user: Option<String>,
    password: Option<SecretRef>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Field {
    name: Option<String>,
    value: Option<SecretRef>,
}

pub(crate) fn listener(
    document: &mut Document<'_>,
    path: &str,
    (base, env): (&Path, Lookup<'_>),
    loopback: bool,
    issuers: Option<&identity::Config>,
    section: &Listen,
) -> Option<Listener> {
    let before = document.count();
    let plain = section.allow_plain_text;
    let tls = tls::listener(document, path, base, loopback, section.tls.as_ref(), plain, &ALPN)?;
    let max_sessions = section.max_sessions.unwrap_or(http_proxy::MAX_SESSIONS);
    if !(1..=MAX_MAX_SESSIONS).contains(&max_sessions) {
        let message = format!("must be 1 to {MAX_MAX_SESSIONS}");
        document.problem(format!("{path}.max_sessions"), message);
    }
    let login = section.login.as_ref().and_then(|login| {
        login::login(document, &format!("{path}.login"), base, env, issuers, login)
    });
    let told = issuers.filter(|_| section.tell_issuers != Some(false));
    let told = told.map(|config| config.issuers.values().map(|it| it.iss.clone()).collect());
    (document.count() == before).then(|| Listener {
        tls,
        authorization_servers: told.unwrap_or_default(),
        login,
        head_timeout: section.head_timeout.map_or(http_proxy::HEAD_TIMEOUT, |span| span.0),
        write_stall: section.write_stall.map_or(http_proxy::WRITE_STALL, |span| span.0),
        connection_idle: section.connection_idle.map_or(http_proxy::CONNECTION_IDLE, |span| span.0),
        max_sessions,
        session_idle: section.session_idle.map_or(http_proxy::SESSION_IDLE, |span| span.0),
    })
}

/// Makes a target of its section. `None` if something is wrong with it.
pub(crate) fn target(
    document: &mut Document<'_>,
    path: &str,
    name: &str,
    section: HttpTarget,
    context: &Context<'_>,
) -> Option<Target> {
    let before = document.count();
    let program = section.mcp.as_ref().is_some_and(|mcp| !mcp.command.is_empty());
    let upstream = match program {
        true => nowhere(document, path, &section),
        #[cfg(feature = "kubernetes")]
        false if cluster::is_named(&section) => {
            cluster::upstream(document, path, &section, context)
        }
        false => upstream(document, path, &section, context),
    };
    let assertion = section.assertion.as_ref().and_then(|section| {
        assertion::assertion(document, &format!("{path}.assertion"), section, context)
    });
    let route = route(document, path, &section);
    let mcp = section.mcp.as_ref().map(|mcp| mcp_target(document, path, &section, mcp, context));
    let kubernetes = kubernetes::kubernetes(document, path, &section, context);
    let vocabulary = match (&mcp, &kubernetes) {
        (Some(_), _) => http_proxy::mcp::VOCABULARY,
        (None, Some(_)) => http_proxy::kubernetes::VOCABULARY,
        (None, None) => http_proxy::VOCABULARY,
    };
    let unnamed = section.recording == gate::RecordingLevel::Operations
        && section.operations.is_empty()
        && kubernetes.is_some();
    let own = unnamed.then(kubernetes::operations);
    let named = own.as_ref().unwrap_or(&section.operations);
    let operations = operations::compile(document, path, section.recording, named, vocabulary);
    if document.count() != before {
        return None;
    }
    Some(Target {
        gate: Arc::new(gate::Target {
            name: name.into(),
            recording: section.recording,
            durability: section.durability,
            masking: context.masking.policy.clone(),
            operations,
        }),
        upstream: upstream?,
        assertion,
        route,
        mcp,
        upgrades: section.upgrades || kubernetes.is_some(),
        kubernetes,
        max_body: section.max_body.map(|size| size.0),
        answer_timeout: section.answer_timeout.map_or(http_proxy::ANSWER_TIMEOUT, |span| span.0),
        answer_stall: section.answer_stall.map_or(http_proxy::ANSWER_STALL, |span| span.0),
    })
}

fn mcp_target(
    document: &mut Document<'_>,
    path: &str,
    section: &HttpTarget,
    mcp: &McpSection,
    context: &Context<'_>,
) -> Mcp {
    if section.upgrades {
        document.problem(format!("{path}.upgrades"), "has no use for a target that speaks MCP");
    }
    for (at, origin) in mcp.origins.iter().enumerate() {
        let plain = origin.parse::<http::Uri>().ok().filter(|it| it.path() == "/");
        if origin.ends_with('/') || plain.is_none_or(|it| it.scheme().is_none()) {
            let message = "must be an origin as browsers write it: https://app.example.org";
            document.problem(format!("{path}.mcp.origins[{at}]"), message);
        }
    }
    Mcp {
        sampling: mcp.sampling,
        elicitation: mcp.elicitation,
        origins: mcp.origins.clone(),
        program: program(document, path, mcp, context).map(Launcher::new),
    }
}

/// The program that is the server.
fn program(
    document: &mut Document<'_>,
    path: &str,
    mcp: &McpSection,
    context: &Context<'_>,
) -> Option<Program> {
    let given = mcp.directory.is_some() || !mcp.pass.is_empty() || !mcp.environment.is_empty();
    let Some(name) = mcp.command.first() else {
        if given || mcp.max_processes.is_some() {
            let message = "is missing; `directory`, `pass`, `environment` and `max_processes` are \
                           for a program";
            document.problem(format!("{path}.mcp.command"), message);
        }
        return None;
    };
    if !Path::new(name).is_absolute() {
        let message = "must begin with the program's whole path: nothing is looked for in PATH";
        document.problem(format!("{path}.mcp.command"), message);
    }
    let Some(directory) = &mcp.directory else {
        let message = "is missing; write the folder that the program runs in";
        document.problem(format!("{path}.mcp.directory"), message);
        return None;
    };
    let max_processes = mcp.max_processes.unwrap_or(MAX_PROCESSES);
    if !(1..=MAX_MAX_PROCESSES).contains(&max_processes) {
        let message = format!("must be 1 to {MAX_MAX_PROCESSES}");
        document.problem(format!("{path}.mcp.max_processes"), message);
    }
    let plain = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
    let mut environment = Vec::new();
    for (at, name) in mcp.pass.iter().enumerate() {
        match plain(name) {
            true => environment.extend((context.env)(name).map(|value| (name.clone(), value))),
            false => document.problem(format!("{path}.mcp.pass[{at}]"), "must be a name"),
        }
    }
    for (name, value) in &mcp.environment {
        let key = format!("{path}.mcp.environment.{name}");
        let read = value.read(context.base, context.env).and_then(|secret| {
            let text = std::str::from_utf8(secret.expose()).ok().filter(|it| !it.contains('\0'));
            text.map(str::to_owned).ok_or_else(|| "is not UTF-8 without NUL".to_owned())
        });
        match read {
            Ok(value) if plain(name) => environment.push((name.clone(), value)),
            Ok(_) => document.problem(key, "must be a name"),
            Err(message) => document.problem(key, message),
        }
    }
    let directory = context.base.join(directory);
    Some(Program { command: mcp.command.clone(), directory, environment, max_processes })
}

/// What stands for the upstream of a target that is a program.
fn nowhere(document: &mut Document<'_>, path: &str, section: &HttpTarget) -> Option<Upstream> {
    for (key, given) in [
        ("url", section.url.is_some()),
        ("bearer", section.bearer.is_some()),
        ("basic", section.basic.is_some()),
        ("header", section.header.is_some()),
        ("assertion", section.assertion.is_some()),
        ("tls_ca", section.tls_ca.is_some()),
        ("tls_certificate", section.tls_certificate.is_some()),
        ("tls_key", section.tls_key.is_some()),
        ("http2", section.http2.is_some()),
        ("connect_timeout", section.connect_timeout.is_some()),
        ("idle_connections", section.idle_connections.is_some()),
    ] {
        if given {
            document.problem(format!("{path}.{key}"), "has no use: `mcp.command` is a program");
        }
    }
    Some(Upstream::plain("localhost", 80))
}

fn upstream(
    document: &mut Document<'_>,
    path: &str,
    section: &HttpTarget,
    context: &Context<'_>,
) -> Option<Upstream> {
    let key = format!("{path}.url");
    let Some(url) = &section.url else {
        document.problem(key, "is missing; write the service's, like \"http://127.0.0.1:3000\"");
        return None;
    };
    let parsed = url.parse::<http::Uri>().ok().filter(|url| url.query().is_none());
    let wanted = "must be http:// or https://, a host, and perhaps a port and a path";
    let Some((secure, host, port, base)) = parsed.as_ref().and_then(split) else {
        document.problem(key, wanted);
        return None;
    };
    let tls = match secure {
        true => Some(client_tls(document, path, section, context)?),
        false => {
            for (key, given) in [
                ("tls_ca", section.tls_ca.is_some()),
                ("tls_certificate", section.tls_certificate.is_some()),
                ("tls_key", section.tls_key.is_some()),
            ] {
                if given {
                    document.problem(format!("{path}.{key}"), "has no use: `url` is not https");
                }
            }
            None
        }
    };
    if section.http2 == Some(true) && section.upgrades {
        let message = "can't be with `upgrades`: WebSockets need HTTP/1.1 towards the service";
        document.problem(format!("{path}.http2"), message);
    }
    Some(Upstream {
        tls,
        host,
        port,
        server_name: None,
        path: base,
        credential: credential(document, path, section, context)?,
        http2: match section.http2 {
            None => Http2::Negotiated,
            Some(true) => Http2::Always,
            Some(false) => Http2::Never,
        },
        connect_timeout: section.connect_timeout.map_or(http_proxy::CONNECT_TIMEOUT, |span| span.0),
        idle: idle(document, path, section),
    })
}

/// How many connections are kept.
fn idle(document: &mut Document<'_>, path: &str, section: &HttpTarget) -> usize {
    let idle = section.idle_connections.unwrap_or(http_proxy::IDLE_CONNECTIONS);
    if idle > MAX_IDLE_CONNECTIONS {
        let message = format!("must be 0 to {MAX_IDLE_CONNECTIONS}");
        document.problem(format!("{path}.idle_connections"), message);
    }
    idle
}

/// Whether it is https, its host, port, and path without a slash at the end.
fn split(url: &http::Uri) -> Option<(bool, String, u16, String)> {
    let secure = match url.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let authority = url.authority()?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return None;
    }
    let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    Some((secure, host, port, url.path().trim_end_matches('/').to_owned()))
}

fn client_tls(
    document: &mut Document<'_>,
    path: &str,
    section: &HttpTarget,
    context: &Context<'_>,
) -> Option<Arc<rustls::ClientConfig>> {
    let files = [&section.tls_ca, &section.tls_certificate, &section.tls_key];
    let [ca, certificate, key] =
        files.map(|file| file.as_ref().map(|file| context.base.join(file)));
    tls::target(document, path, ca.as_deref(), certificate.as_deref(), key.as_deref())
}

/// What the service wants from us.
fn credential(
    document: &mut Document<'_>,
    path: &str,
    section: &HttpTarget,
    context: &Context<'_>,
) -> Option<Credential> {
    let mut read = |key: &str, from: &Option<SecretRef>| -> Option<String> {
        let key = format!("{path}.{key}");
        let Some(from) = from else {
            document.problem(key, "is missing; write \"env:NAME\" or \"file:/path\"");
            return None;
        };
        let read = from.read(context.base, context.env).and_then(|secret| {
            let text = std::str::from_utf8(secret.expose());
            text.map(str::to_owned).map_err(|_| "is not UTF-8".to_owned())
        });
        read.map_err(|message| document.problem(key, message)).ok()
    };
    let (name, value, key) = match (&section.bearer, &section.basic, &section.header) {
        (None, None, None) => return Some(Credential::None),
        (Some(_), None, None) => {
            let token = read("bearer", &section.bearer)?;
            (header::AUTHORIZATION, format!("Bearer {token}"), "bearer")
        }
        (None, Some(basic), None) => {
            let password = read("basic.password", &basic.password)?;
            let pair = format!("{}:{password}", basic.user.as_deref().unwrap_or_default());
            (header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)), "basic")
        }
        (None, None, Some(field)) => {
            let value = read("header.value", &field.value)?;
            let name = field.name.as_deref().unwrap_or_default();
            let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
                document.problem(format!("{path}.header.name"), "must be the name of a field");
                return None;
            };
            (name, value, "header")
        }
        _ => {
            document.problem(path, "`bearer`, `basic` and `header` exclude one another");
            return None;
        }
    };
    // The error would show the value.
    let Ok(mut value) = HeaderValue::from_str(&value) else {
        document.problem(format!("{path}.{key}"), "can't stand in a header field");
        return None;
    };
    value.set_sensitive(true);
    Some(Credential::Field(name, value))
}

fn route(document: &mut Document<'_>, path: &str, section: &HttpTarget) -> Route {
    for (at, host) in section.hosts.iter().enumerate() {
        if host.is_empty() || host.contains(['/', ':', '*', '@']) {
            let message = "must be a name as clients call it, without a port";
            document.problem(format!("{path}.hosts[{at}]"), message);
        }
    }
    if let Some(prefix) = &section.path {
        let plain = |it: &str| {
            let unreserved = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
            !it.is_empty() && it != "." && it != ".." && it.chars().all(unreserved)
        };
        let segments = prefix.strip_prefix('/').unwrap_or_default().split('/');
        if !segments.clone().all(plain) {
            let message = "must begin with a slash, not end with one, and have letters, digits, \
                           `-`, `.`, `_`, `~` between slashes";
            document.problem(format!("{path}.path"), message);
        }
    }
    let hosts = section.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
    Route { hosts, path: section.path.clone() }
}

/// No two targets may be for the same requests.
pub(crate) fn apart(document: &mut Document<'_>, targets: &[Arc<Target>]) {
    let mut seen: BTreeMap<(String, String), &str> = BTreeMap::new();
    for target in targets {
        let name = &*target.gate.name;
        let path = target.route.path.clone().unwrap_or_default();
        let any = [String::new()];
        let hosts = if target.route.hosts.is_empty() { &any[..] } else { &target.route.hosts };
        for host in hosts {
            if let Some(first) = seen.insert((host.clone(), path.clone()), name) {
                let message = format!(
                    "is for the same requests as target.{first}; give it other `hosts` or another \
                     `path`"
                );
                document.problem(format!("target.{name}"), message);
            }
        }
    }
}
