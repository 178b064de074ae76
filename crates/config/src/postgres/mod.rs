//! What only PostgreSQL knows: its targets, and its part of a listener.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::postgres::{
    ApplicationName, Carrier, ClientTls, Databases, Role, RoleRule, Target, Upstream,
};
use postgres_wire::auth::{Methods, Secret};
use rustls::pki_types::ServerName;

use crate::document::Document;
use crate::operations::{self, Context};
use crate::tls;

mod sections;

pub(crate) use sections::Listen;
use sections::{Method, PostgresTarget, UpstreamTls};

/// PostgreSQL's registered port.
const PORT: u16 = 5432;
/// How long connecting and logging in to a server may take, unless configured.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The name of the protocol for ALPN, which direct TLS needs.
const ALPN: &str = "postgresql";
/// The least that `max_message_bytes` may be: what a row of a page, and any handshake, needs.
const MIN_MESSAGE_BYTES: u64 = 64 * 1024;
/// The most that `max_message_bytes` may be: the protocol's own limit.
const MAX_MESSAGE_BYTES: u64 = i32::MAX as u64;
/// The least that `max_sql_bytes` may be: what clients themselves ask the catalog is longer than a
/// few hundred bytes.
const MIN_SQL_BYTES: u64 = 4 * 1024;
/// The most that `max_sql_bytes` may be: the analysis of one such text takes up to half a second
/// of a core, and memory of hundreds of times its length.
const MAX_SQL_BYTES: u64 = 1024 * 1024;

/// PostgreSQL's part of a listener.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The target of clients whose database names none.
    pub default_target: Option<String>,
    /// How clients hand over their token.
    pub carrier: Carrier,
    /// TLS towards clients.
    pub tls: ClientTls,
    /// How long a client may take from its first byte to its token.
    pub handshake_timeout: Duration,
    /// The largest message passed on.
    pub max_message_bytes: usize,
    /// The longest SQL text that is analysed.
    pub max_sql_bytes: usize,
}

pub(crate) fn listener(
    document: &mut Document<'_>,
    path: &str,
    base: &Path,
    loopback: bool,
    section: &sections::Listen,
) -> Option<Listener> {
    let before = document.count();
    let tls = client_tls(document, path, base, loopback, section);
    let carrier = carrier(document, path, section);
    let limit = section.max_message_bytes.map_or(::postgres::MAX_MESSAGE_BYTES as u64, |s| s.0);
    if !(MIN_MESSAGE_BYTES..=MAX_MESSAGE_BYTES).contains(&limit) {
        let message = format!("must be {MIN_MESSAGE_BYTES} to {MAX_MESSAGE_BYTES} bytes");
        document.problem(format!("{path}.max_message_bytes"), message);
    }
    let sql = section.max_sql_bytes.map_or(::postgres::MAX_SQL_BYTES as u64, |s| s.0);
    if !(MIN_SQL_BYTES..=MAX_SQL_BYTES).contains(&sql) {
        let message = format!("must be {MIN_SQL_BYTES} to {MAX_SQL_BYTES} bytes");
        document.problem(format!("{path}.max_sql_bytes"), message);
    }
    let (tls, carrier) = (tls?, carrier?);
    (document.count() == before).then(|| Listener {
        default_target: section.target.clone(),
        carrier,
        tls,
        handshake_timeout: section.handshake_timeout.map_or(::postgres::HANDSHAKE_TIMEOUT, |s| s.0),
        max_message_bytes: usize::try_from(limit).unwrap_or(::postgres::MAX_MESSAGE_BYTES),
        max_sql_bytes: usize::try_from(sql).unwrap_or(::postgres::MAX_SQL_BYTES),
    })
}

fn carrier(document: &mut Document<'_>, path: &str, section: &sections::Listen) -> Option<Carrier> {
    let oauth =
        [("openid_configuration", &section.openid_configuration), ("scope", &section.scope)];
    if section.carrier == sections::Carrier::Password {
        for (key, _) in oauth.iter().filter(|(_, value)| value.is_some()) {
            document.problem(format!("{path}.{key}"), "is for `carrier = \"oauthbearer\"`");
        }
        return Some(Carrier::Password);
    }
    for (key, _) in oauth.iter().filter(|(_, value)| value.is_none()) {
        document
            .problem(format!("{path}.{key}"), "is missing; `carrier = \"oauthbearer\"` needs it");
    }
    Some(Carrier::OauthBearer {
        openid_configuration: section.openid_configuration.clone()?,
        scope: section.scope.clone()?,
    })
}

fn client_tls(
    document: &mut Document<'_>,
    path: &str,
    base: &Path,
    loopback: bool,
    section: &sections::Listen,
) -> Option<ClientTls> {
    let (files, plain) = (section.tls.as_ref(), section.allow_plain_text);
    let tls = tls::listener(document, path, base, loopback, files, plain, &[ALPN])?;
    Some(tls.map_or(ClientTls::PlainText, ClientTls::Required))
}

/// Makes a target of its section. `None` if something is wrong with it.
pub(crate) fn target(
    document: &mut Document<'_>,
    path: &str,
    name: &str,
    section: PostgresTarget,
    context: &Context<'_>,
) -> Option<Target> {
    let before = document.count();
    let upstream = upstream(document, path, &section, context);
    let databases = databases(document, path, &section);
    let roles = roles(document, path, &section, context);
    let operations = operations::compile(
        document,
        path,
        section.recording,
        &section.operations,
        ::postgres::VOCABULARY,
    );
    trusted_functions(document, path, &section);
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
        databases: databases?,
        roles,
        application_name: match section.application_name {
            sections::ApplicationName::Principal => ApplicationName::Principal,
            sections::ApplicationName::Client => ApplicationName::Client,
        },
        connect_timeout: section.connect_timeout.map_or(CONNECT_TIMEOUT, |span| span.0),
        trusted_functions: section.trusted_functions,
    })
}

fn upstream(
    document: &mut Document<'_>,
    path: &str,
    section: &PostgresTarget,
    context: &Context<'_>,
) -> Option<Upstream> {
    let Some(host) = section.host.as_ref().filter(|host| !host.is_empty()) else {
        document.problem(format!("{path}.host"), "is missing; name the server, by name or address");
        return None;
    };
    if section.port == Some(0) {
        document.problem(format!("{path}.port"), "must be 1 to 65535");
    }
    let tls = match section.tls {
        UpstreamTls::VerifyFull => Some(upstream_tls(document, path, host, section, context)?),
        UpstreamTls::Disable => {
            let keys = [
                ("tls_ca", &section.tls_ca),
                ("tls_server_name", &section.tls_server_name),
                ("tls_certificate", &section.tls_certificate),
                ("tls_key", &section.tls_key),
            ];
            for (key, _) in keys.iter().filter(|(_, value)| value.is_some()) {
                document.problem(format!("{path}.{key}"), "has no use with `tls = \"disable\"`");
            }
            None
        }
    };
    let methods = methods(document, path, section);
    Some(Upstream { host: host.clone(), port: section.port.unwrap_or(PORT), tls, methods })
}

fn methods(document: &mut Document<'_>, path: &str, section: &PostgresTarget) -> Methods {
    let Some(words) = &section.auth else {
        // A server that has seen our certificate may ask for nothing more.
        return Methods { none: section.tls_certificate.is_some(), ..Methods::SCRAM };
    };
    if words.is_empty() {
        document.problem(format!("{path}.auth"), "is empty; name scram, md5, cleartext or trust");
    }
    let has = |method| words.contains(&method);
    if has(Method::Cleartext) && section.tls == UpstreamTls::Disable {
        let message = "`cleartext` shows the password to the network; it needs TLS";
        document.problem(format!("{path}.auth"), message);
    }
    Methods {
        none: has(Method::Trust) || section.tls_certificate.is_some(),
        cleartext: has(Method::Cleartext),
        md5: has(Method::Md5),
        scram: has(Method::Scram),
    }
}

fn upstream_tls(
    document: &mut Document<'_>,
    path: &str,
    host: &str,
    section: &PostgresTarget,
    context: &Context<'_>,
) -> Option<(ServerName<'static>, Arc<rustls::ClientConfig>)> {
    let (key, text) = match &section.tls_server_name {
        Some(name) => ("tls_server_name", name.as_str()),
        None => ("host", host),
    };
    let name = ServerName::try_from(text.to_owned());
    if name.is_err() {
        document.problem(format!("{path}.{key}"), "is no host name, so no certificate can have it");
    }
    let files = [&section.tls_ca, &section.tls_certificate, &section.tls_key];
    let [ca, certificate, key] =
        files.map(|file| file.as_ref().map(|file| context.base.join(file)));
    let config = tls::target(document, path, ca.as_deref(), certificate.as_deref(), key.as_deref());
    Some((name.ok()?, config?))
}

fn databases(
    document: &mut Document<'_>,
    path: &str,
    section: &PostgresTarget,
) -> Option<Databases> {
    let several = format!("{path}.databases");
    match (&section.database, &section.databases) {
        (Some(name), None) if !name.is_empty() => Some(Databases::Only(name.clone())),
        (None, Some(policy::OneOrMany::One(word))) if word == "any" => Some(Databases::Any),
        (None, Some(policy::OneOrMany::Many(names)))
            if !names.is_empty() && names.iter().all(|name| !name.is_empty()) =>
        {
            Some(Databases::OneOf(names.clone()))
        }
        (None, None) | (Some(_), None) => {
            let message = "is missing; name one, or write `databases = [\"a\", \"b\"]` or \
                           `databases = \"any\"`";
            document.problem(format!("{path}.database"), message);
            None
        }
        (None, Some(_)) => {
            document.problem(several, "must be a list of names, or \"any\"");
            None
        }
        (Some(_), Some(_)) => {
            document.problem(several, "contradicts `database`; take one out");
            None
        }
    }
}

fn roles(
    document: &mut Document<'_>,
    path: &str,
    section: &PostgresTarget,
    context: &Context<'_>,
) -> Vec<RoleRule> {
    if section.roles.is_empty() {
        let message = "is missing; without a [[…role]] table nobody gets in";
        document.problem(format!("{path}.role"), message);
    }
    let mut rules = Vec::new();
    for (at, role) in section.roles.iter().enumerate() {
        let path = format!("{path}.role[{at}]");
        let kinds = operations::kinds(document, &path, &role.kinds, context.kinds);
        let named = match role.role.as_deref() {
            None | Some("") => {
                document.problem(
                    format!("{path}.role"),
                    "is missing; name a role, or `*` for the one that the client asks for",
                );
                continue;
            }
            Some("*") => Role::AsAsked,
            Some(name) => Role::Named(name.to_owned()),
        };
        let password = role.password.as_ref().and_then(|secret| {
            match secret.read(context.base, context.env) {
                Ok(secret) => Some(Secret::new(secret.expose())),
                Err(message) => {
                    document.problem(format!("{path}.password"), message);
                    None
                }
            }
        });
        rules.push(RoleRule {
            kinds,
            groups: role.groups.clone(),
            subjects: role.subjects.clone(),
            role: named,
            password,
        });
    }
    unreachable_roles(document, path, &rules);
    rules
}

/// A role rule after one that fits everybody is never asked.
fn unreachable_roles(document: &mut Document<'_>, path: &str, rules: &[RoleRule]) {
    let all = |rule: &RoleRule| {
        rule.kinds.is_empty() && rule.groups.is_empty() && rule.subjects.is_empty()
    };
    if let Some(first) = rules.iter().position(all)
        && first + 1 < rules.len()
    {
        let message = format!("is never reached: {path}.role[{first}] fits everybody");
        document.problem(format!("{path}.role[{}]", first + 1), message);
    }
}

fn trusted_functions(document: &mut Document<'_>, path: &str, section: &PostgresTarget) {
    for (at, name) in section.trusted_functions.iter().enumerate() {
        let two = name.split_once('.').is_some_and(|(s, f)| !s.is_empty() && !f.is_empty());
        if !two {
            let message = "must be `schema.name`";
            document.problem(format!("{path}.trusted_functions[{at}]"), message);
        }
    }
}
