//! From the text to what a process is made of; every mistake on the way is kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_spanned::Spanned;
use toml::de::DeValue;
use zeroize::Zeroizing;

use crate::document::{Document, Value};
use crate::loaded::{Audit, Listener, Loaded, Protocol, Serve, Targets};
use crate::operations::{self, Context, Masking};
#[cfg(feature = "postgres")]
use crate::postgres as pg;
use crate::problem::{Problem, Problems, unknown};
use crate::secret::{Lookup, Secret, SecretRef};
use crate::sections;

/// The longest configuration read, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Connections served at once, unless configured.
pub const MAX_CONNECTIONS: usize = 4096;
/// The most that may be configured: each costs two descriptors.
const MAX_MAX_CONNECTIONS: usize = 500_000;
/// The most threads that may be configured.
const MAX_SHARDS: usize = 1024;
/// How long sessions may go on after the signal to end, unless configured.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);
/// An entry waits at most this long for the store, unless configured.
pub const PUBLISH_EVERY: Duration = Duration::from_secs(1);
/// The sections of the file.
const SECTIONS: &[&str] = &[
    "listen",
    "serve",
    "audit",
    "issuer",
    "policy",
    "masking",
    "target",
    #[cfg(feature = "ssh")]
    "ssh_ca",
];
/// Protocols that some program of the family speaks.
const EVERY_PROTOCOL: [&str; 4] = ["postgres", "ssh", "http", "kubernetes"];
/// Protocols that this program can speak: one for each of this crate's features.
const PROTOCOLS: &[&str] = &[
    #[cfg(feature = "postgres")]
    ::postgres::PROTOCOL,
    #[cfg(feature = "ssh")]
    ::ssh::PROTOCOL,
    #[cfg(feature = "http")]
    http_proxy::PROTOCOL,
    #[cfg(feature = "kubernetes")]
    http_proxy::kubernetes::PROTOCOL,
];

/// Reads and checks a configuration. Reads the files and variables that it names; opens no log
/// and asks no issuer.
///
/// # Errors
/// [`Problems`]: every mistake, with its place.
pub fn load(file: &Path) -> Result<Loaded, Problems> {
    load_with(file, &|name| std::env::var(name).ok())
}

/// As [`load`], with another environment: for tests, and for programs that embed this.
///
/// # Errors
/// As [`load`].
pub fn load_with(
    file: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Problems> {
    let text = read(file).map_err(|message| {
        let problem = Problem { line: 1, column: 1, path: String::new(), message };
        Problems { file: file.to_owned(), all: vec![problem] }
    })?;
    parse(file, &text, environment)
}

fn read(file: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(|e| e.to_string())?;
    opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("the file is longer than {MAX_FILE_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "the file is not UTF-8".to_owned())
}

fn parse(file: &Path, text: &str, env: Lookup<'_>) -> Result<Loaded, Problems> {
    let base = file.parent().unwrap_or(Path::new("")).to_owned();
    let mut reader = Reader { document: Document::parse(text), base, env, issuers: None };
    let parts = if reader.document.count() == 0 { reader.parts() } else { None };
    let all = reader.document.into_problems();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    match parts {
        Some(parts) if all.is_empty() => Ok(Loaded {
            file: file.to_owned(),
            sha256: hex::encode(hash),
            serve: parts.serve,
            listeners: parts.listeners,
            audit: parts.audit,
            verifier: parts.verifier,
            policy: parts.policy,
            masking: parts.masking,
            targets: parts.targets,
            #[cfg(feature = "ssh")]
            ssh_authority: parts.ssh_authority,
        }),
        _ => Err(Problems { file: file.to_owned(), all }),
    }
}

struct Parts {
    serve: Serve,
    listeners: Vec<Listener>,
    audit: Audit,
    verifier: identity::Verifier,
    policy: Arc<policy::Policy>,
    masking: Arc<masking::Policy>,
    targets: Targets,
    #[cfg(feature = "ssh")]
    ssh_authority: Option<::ssh::Authority>,
}

struct Reader<'a> {
    document: Document<'a>,
    base: PathBuf,
    env: Lookup<'a>,
    issuers: Option<identity::Config>,
}

impl<'a> Reader<'a> {
    fn parts(&mut self) -> Option<Parts> {
        for name in self.document.names() {
            if !SECTIONS.contains(&name.as_str()) {
                self.document.problem(name.as_str(), unknown("section", &name, SECTIONS));
            }
        }
        let targets = self.document.tables("target");
        let names: Vec<&str> = targets.iter().map(|(name, _)| name.as_str()).collect();
        let serve = self.serve();
        self.issuers = self.identity();
        let listeners = self.listeners(&targets);
        let audit = self.audit();
        let kinds = self.issuers.as_ref().map(operations::made);
        let verifier = self.issuers.clone().and_then(|config| self.verifier(&config));
        let policy = self.policy(&names, kinds.as_deref());
        let masking = self.masking();
        let targets = self.targets(&targets, masking.as_ref(), kinds.as_deref());
        #[cfg(feature = "ssh")]
        let ssh_authority = self.ssh_authority(&targets);
        Some(Parts {
            serve: serve?,
            listeners,
            audit: audit?,
            verifier: verifier?,
            policy: policy?,
            masking: masking?.policy,
            targets,
            #[cfg(feature = "ssh")]
            ssh_authority,
        })
    }

    /// A section that may be left out.
    fn optional<T: serde::de::DeserializeOwned + Default>(&mut self, name: &str) -> Option<T> {
        match self.document.top(name) {
            Some(value) => self.document.read(name, value),
            None => Some(T::default()),
        }
    }

    /// A section that must be there.
    fn needed(&mut self, name: &str, why: &str) -> Option<Value<'a>> {
        let found = self.document.top(name);
        if found.is_none() {
            self.document.problem(name, format!("the section is missing; {why}"));
        }
        found
    }

    fn serve(&mut self) -> Option<Serve> {
        let section: sections::Serve = self.optional("serve")?;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let serve = Serve {
            shards: section.shards.unwrap_or_else(cores),
            max_connections: section.max_connections.unwrap_or(MAX_CONNECTIONS),
            shutdown_timeout: section.shutdown_timeout.map_or(SHUTDOWN_TIMEOUT, |span| span.0),
        };
        self.within("serve.shards", serve.shards, 1, MAX_SHARDS);
        self.within("serve.max_connections", serve.max_connections, 1, MAX_MAX_CONNECTIONS);
        Some(serve)
    }

    fn within<T: PartialOrd + std::fmt::Display>(&mut self, path: &str, is: T, min: T, max: T) {
        if is < min || is > max {
            self.document.problem(path, format!("must be {min} to {max}"));
        }
    }

    fn listeners(&mut self, targets: &[(String, Value<'a>)]) -> Vec<Listener> {
        let members = self.document.list("listen");
        if members.is_empty() && self.document.top("listen").is_none() {
            self.document
                .problem("listen", "the section is missing; write [[listen]] with an address");
        }
        let mut listeners: Vec<Listener> = Vec::new();
        let mut seen: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        for (at, value) in members.into_iter().enumerate() {
            let path = format!("listen[{at}]");
            let address = self.address(&path, &value);
            if let Some(first) = address.and_then(|address| seen.insert(address, at)) {
                let message = format!("is also the address of listen[{first}]");
                self.document.problem(format!("{path}.address"), message);
            }
            let protocol = self.spoken(&path, value, address, targets);
            if let (Some(address), Some(protocol)) = (address, protocol) {
                listeners.push(Listener { address, protocol });
            }
        }
        listeners
    }

    /// A listener's own keys, which depend on its protocol: the one it names, or the one that all
    /// targets speak.
    fn spoken(
        &mut self,
        path: &str,
        value: Value<'a>,
        #[cfg_attr(not(any(feature = "postgres", feature = "http")), allow(unused_variables))]
        address: Option<SocketAddr>,
        targets: &[(String, Value<'a>)],
    ) -> Option<Protocol> {
        let word = match word(&value, "protocol") {
            Some(_) => self.protocol(path, &value)?,
            None => {
                let named = targets.iter().filter_map(|(_, target)| word(target, "protocol"));
                let mut all = named.filter(|word| PROTOCOLS.contains(word));
                // Without a target that is one, its other mistakes are told even so.
                let first = all.next().or(PROTOCOLS.first().copied())?;
                if all.any(|other| carrier(other) != carrier(first)) {
                    let message = "is missing; targets speak more than one, so name which";
                    self.document.problem(format!("{path}.protocol"), message);
                    return None;
                }
                PROTOCOLS.iter().copied().find(|known| *known == first)?
            }
        };
        match word {
            #[cfg(feature = "postgres")]
            ::postgres::PROTOCOL => {
                let section: pg::Listen = self.document.read(path, value)?;
                let loopback = address.is_none_or(|address| address.ip().is_loopback());
                let names: Vec<&str> = targets
                    .iter()
                    .filter(|(_, target)| {
                        let theirs = self::word(target, "protocol");
                        !theirs.is_some_and(|t| t != word && PROTOCOLS.contains(&t))
                    })
                    .map(|(name, _)| name.as_str())
                    .collect();
                if let Some(target) = &section.target
                    && !names.contains(&target.as_str())
                {
                    let message = unknown("target", target, &names);
                    self.document.problem(format!("{path}.target"), message);
                }
                pg::listener(&mut self.document, path, &self.base, loopback, &section)
                    .map(Protocol::Postgres)
            }
            #[cfg(feature = "ssh")]
            ::ssh::PROTOCOL => {
                let section: crate::ssh::Listen = self.document.read(path, value)?;
                let (base, env, issuers) = (&self.base, self.env, self.issuers.as_ref());
                let place = crate::ssh::Place { base, env, issuers };
                crate::ssh::listener(&mut self.document, path, &place, &section)
                    .map(|own| Protocol::Ssh(Box::new(own)))
            }
            #[cfg(feature = "http")]
            http_proxy::PROTOCOL | http_proxy::kubernetes::PROTOCOL => {
                let section: crate::http::Listen = self.document.read(path, value)?;
                let loopback = address.is_none_or(|address| address.ip().is_loopback());
                let (document, issuers) = (&mut self.document, self.issuers.as_ref());
                let place = (&*self.base, self.env);
                crate::http::listener(document, path, place, loopback, issuers, &section)
                    .map(Protocol::Http)
            }
            _ => None,
        }
    }

    fn address(&mut self, path: &str, value: &Value<'_>) -> Option<SocketAddr> {
        let path = format!("{path}.address");
        let wanted = "an IP address and a port, like \"127.0.0.1:6432\" or \"[::]:6432\"";
        let DeValue::Table(table) = value.get_ref() else { return None };
        let address = match table.get("address").map(Spanned::get_ref) {
            None => {
                self.document.problem(path, format!("is missing; write {wanted}"));
                return None;
            }
            Some(DeValue::String(text)) => text.parse().ok(),
            Some(_) => None,
        };
        if address.is_none() {
            self.document.problem(path, format!("must be {wanted}"));
        }
        address
    }

    fn audit(&mut self) -> Option<Audit> {
        let value = self.needed("audit", "without a log nothing may run")?;
        let section: sections::Audit = self.document.read("audit", value)?;
        let missing = [
            ("dir", section.dir.is_none(), "the folder of this instance's log"),
            ("store", section.store.is_none(), "a folder, or s3://bucket/prefix"),
            ("log_id", section.log_id.is_none(), "this instance's name, for ever"),
            ("origin", section.origin.is_none(), "the log's public name, like example.org/pg-1"),
            ("key", section.key.is_none(), "\"file:/path\" of the log's key"),
        ];
        for (key, _, what) in missing.iter().filter(|(_, missing, _)| *missing) {
            self.document.problem(format!("audit.{key}"), format!("is missing; name {what}"));
        }
        let segments = section.segments.unwrap_or(audit_sink::DEFAULT_SEGMENTS);
        let segment_bytes =
            section.segment_bytes.map_or(audit_sink::DEFAULT_SEGMENT_BYTES, |size| size.0);
        self.segments(segments, segment_bytes);
        if let Some(store) = &section.store {
            self.store(store);
        }
        if let Some(id) = &section.log_id
            && !is_log_id(id)
        {
            let message =
                "must be 1 to 128 of a-z, A-Z, 0-9, `.`, `_`, `-`, not beginning with a dot";
            self.document.problem("audit.log_id", message);
        }
        let signer = match (&section.key, &section.origin) {
            (Some(key), Some(origin)) => self.signer(key, origin),
            _ => None,
        };
        let store = section.store?;
        let store = match store.strip_prefix("file://").unwrap_or(&store) {
            bucket if bucket.starts_with("s3://") => bucket.to_owned(),
            folder => self.base.join(folder).to_string_lossy().into_owned(),
        };
        Some(Audit {
            dir: self.base.join(section.dir?),
            store,
            log_id: section.log_id?,
            signer: signer?,
            segments,
            segment_bytes,
            publish_every: section.publish_every.map_or(PUBLISH_EVERY, |span| span.0),
        })
    }

    fn segments(&mut self, segments: u32, bytes: u64) {
        let (min, max) = (audit_sink::MIN_SEGMENTS, audit_sink::MAX_SEGMENTS);
        self.within("audit.segments", segments, min, max);
        let (min, max) = (audit_sink::MIN_SEGMENT_BYTES, audit_sink::MAX_SEGMENT_BYTES);
        self.within("audit.segment_bytes", bytes, min, max);
        if !bytes.is_multiple_of(4096) {
            self.document.problem("audit.segment_bytes", "must be a multiple of 4096");
        }
    }

    fn store(&mut self, store: &str) {
        let known = store.starts_with("s3://") || store.starts_with("file:///");
        if !known && (store.is_empty() || store.contains("://")) {
            let message = "must be a folder, file:///folder or s3://bucket/prefix";
            self.document.problem("audit.store", message);
        }
    }

    fn secret(&mut self, path: &str, from: &SecretRef) -> Option<Secret> {
        from.read(&self.base, self.env).map_err(|message| self.document.problem(path, message)).ok()
    }

    fn signer(&mut self, key: &SecretRef, origin: &str) -> Option<tlog::Signer> {
        let secret = self.secret("audit.key", key)?;
        let seed = Zeroizing::new(STANDARD.decode(secret.expose()).unwrap_or_default());
        let Ok(seed) = <&[u8; tlog::KEY_LEN]>::try_from(seed.as_slice()) else {
            let message = "is no log key (32 bytes in base64); `greffier keygen` makes one";
            self.document.problem("audit.key", message);
            return None;
        };
        match tlog::Signer::from_seed(origin, seed) {
            Ok(signer) => Some(signer),
            Err(error) => {
                self.document.problem("audit.origin", error.to_string());
                None
            }
        }
    }

    fn identity(&mut self) -> Option<identity::Config> {
        self.needed("issuer", "without an issuer nobody gets in")?;
        let before = self.document.count();
        let mut issuers = BTreeMap::new();
        for (name, value) in self.document.tables("issuer") {
            let path = format!("issuer.{name}");
            let needed = ["iss", "audiences", "algorithms", "may_mint"];
            self.document.require(&path, &value, &needed);
            self.document.require_each(&path, &value, "rule", &["name", "kind"]);
            let Some(issuer) = self.document.read::<identity::IssuerConfig>(&path, value) else {
                continue;
            };
            issuers.insert(name, issuer);
        }
        for issuer in issuers.values_mut() {
            issuer.ca_file = issuer.ca_file.as_ref().map(|file| self.base.join(file));
        }
        let config = identity::Config { issuers };
        // With a section missing from it, only what is about one issuer alone is worth saying.
        for problem in config.validate() {
            if self.document.count() == before || problem.path != "issuer" {
                self.document.problem(problem.path, problem.message);
            }
        }
        (self.document.count() == before).then_some(config)
    }

    fn verifier(&mut self, config: &identity::Config) -> Option<identity::Verifier> {
        let made = identity::HttpFetcher::new(config)
            .and_then(|fetcher| identity::Verifier::new(config, fetcher));
        match made {
            Ok(verifier) => Some(verifier),
            Err(error) => {
                for problem in error.problems {
                    self.document.problem(problem.path, problem.message);
                }
                None
            }
        }
    }

    fn policy(&mut self, targets: &[&str], kinds: Option<&[&str]>) -> Option<Arc<policy::Policy>> {
        let value = self.needed("policy", "without a rule nothing may be done")?;
        self.document.require_each("policy", &value, "rule", &["name", "effect"]);
        let config: policy::Config = self.document.read("policy", value)?;
        let vocabularies = [
            #[cfg(feature = "postgres")]
            ::postgres::VOCABULARY,
            #[cfg(feature = "ssh")]
            ::ssh::VOCABULARY,
            #[cfg(feature = "http")]
            http_proxy::VOCABULARY,
            #[cfg(feature = "http")]
            http_proxy::mcp::VOCABULARY,
            #[cfg(feature = "kubernetes")]
            http_proxy::kubernetes::VOCABULARY,
        ];
        let known = policy::Known { vocabularies: &vocabularies, targets: Some(targets), kinds };
        match policy::Policy::compile(&config, &known) {
            Ok(policy) => Some(Arc::new(policy)),
            Err(problems) => {
                for problem in problems {
                    self.document.problem(problem.path, problem.message);
                }
                None
            }
        }
    }

    fn masking(&mut self) -> Option<Masking> {
        let Some(mut value) = self.document.top("masking") else {
            return Some(Masking::default());
        };
        let written = match value.get_mut() {
            DeValue::Table(table) => table.remove("key"),
            _ => None,
        };
        let from = match written {
            Some(written) => Some(self.document.read::<SecretRef>("masking.key", written)?),
            None => None,
        };
        let mut config: masking::Config = self.document.read("masking", value)?;
        let key = match &from {
            Some(from) => Some(self.secret("masking.key", from)?),
            None => None,
        };
        // It goes into the rules' digest that a key is used, and where it is from.
        config.key = from.map(|from| format!("{from:?}"));
        match masking::Policy::compile(&config, key.as_ref().map(Secret::expose)) {
            Ok(policy) => Some(Masking { policy: Arc::new(policy), config, key }),
            Err(problems) => {
                for problem in problems {
                    self.document.problem(problem.path, problem.message);
                }
                None
            }
        }
    }

    fn targets(
        &mut self,
        tables: &[(String, Value<'a>)],
        masking: Option<&Masking>,
        kinds: Option<&[&str]>,
    ) -> Targets {
        if tables.is_empty() && self.document.top("target").is_none() {
            let message = "the section is missing; write [target.some-name]";
            self.document.problem("target", message);
        }
        // So that a target's own mistakes are told even if these sections have some.
        let nothing = Masking::default();
        let every = ["human", "agent", "workload", "ci"];
        let mut targets = Targets::default();
        for (name, value) in tables {
            let path = format!("target.{name}");
            let Some(protocol) = self.protocol(&path, value) else { continue };
            let context = Context {
                base: &self.base,
                env: self.env,
                masking: masking.unwrap_or(&nothing),
                kinds: kinds.unwrap_or(&every),
                #[cfg(feature = "http")]
                issuers: self.issuers.as_ref().map_or(0, |config| config.issuers.len()),
            };
            let document = &mut self.document;
            match protocol {
                #[cfg(feature = "postgres")]
                ::postgres::PROTOCOL => {
                    let Some(section) = document.read(&path, value.clone()) else { continue };
                    let target = pg::target(document, &path, name, section, &context);
                    targets.postgres.extend(target.map(Arc::new));
                }
                #[cfg(feature = "ssh")]
                ::ssh::PROTOCOL => {
                    let Some(section) = document.read(&path, value.clone()) else { continue };
                    let target = crate::ssh::target(document, &path, name, section, &context);
                    targets.ssh.extend(target.map(Arc::new));
                }
                #[cfg(feature = "http")]
                http_proxy::PROTOCOL | http_proxy::kubernetes::PROTOCOL => {
                    let Some(section) = document.read(&path, value.clone()) else { continue };
                    let target = crate::http::target(document, &path, name, section, &context);
                    targets.http.extend(target.map(Arc::new));
                }
                _ => {}
            }
        }
        #[cfg(feature = "http")]
        crate::http::apart(&mut self.document, &targets.http);
        targets
    }

    #[cfg(feature = "ssh")]
    fn ssh_authority(&mut self, targets: &Targets) -> Option<::ssh::Authority> {
        let value = self.document.top("ssh_ca")?;
        let section: crate::ssh::Ca = self.document.read("ssh_ca", value)?;
        let place = crate::ssh::Place { base: &self.base, env: self.env, issuers: None };
        let authority = crate::ssh::authority(&mut self.document, &place, &section);
        crate::ssh::apart(&mut self.document, authority.as_ref(), &targets.ssh);
        authority
    }

    /// The protocol that a section is for, if it is one that this program speaks.
    fn protocol(&mut self, path: &str, value: &Value<'_>) -> Option<&'static str> {
        let DeValue::Table(table) = value.get_ref() else {
            self.document.problem(path, "must be a table");
            return None;
        };
        let key = format!("{path}.protocol");
        let written = match table.get("protocol").map(Spanned::get_ref) {
            Some(DeValue::String(word)) => word,
            Some(_) => {
                self.document.problem(key, "must be a text");
                return None;
            }
            None => {
                let message = format!("is missing; there are: {}", PROTOCOLS.join(", "));
                self.document.problem(key, message);
                // Its other mistakes can be told only where there is no choice.
                return PROTOCOLS.first().copied().filter(|_| PROTOCOLS.len() == 1);
            }
        };
        let spoken = PROTOCOLS.iter().copied().find(|known| known == written);
        if spoken.is_none() {
            let message = if EVERY_PROTOCOL.contains(&written.as_ref()) {
                format!("`{written}` is for greffier-{written}")
            } else {
                unknown("protocol", written, PROTOCOLS)
            };
            self.document.problem(key, message);
        }
        spoken
    }
}

/// What a listener must speak for a target: an API server of Kubernetes is reached by HTTP.
fn carrier(protocol: &str) -> &str {
    if protocol == "kubernetes" { "http" } else { protocol }
}

/// A text in a table.
fn word<'v>(table: &'v Value<'_>, key: &str) -> Option<&'v str> {
    let DeValue::Table(table) = table.get_ref() else { return None };
    match table.get(key).map(Spanned::get_ref) {
        Some(DeValue::String(word)) => Some(word),
        _ => None,
    }
}

fn is_log_id(id: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=audit_sink::store::MAX_LOG_ID_BYTES).contains(&id.len())
        && id.chars().all(allowed)
        && !id.starts_with('.')
}
