//! What only SSH knows: its targets, its part of a listener, and greffier's own authority.

mod device;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::ssh::{
    Allow, Authority, ChannelRules, Credential, Credentials, Files, HostCertificate, HostTrust,
    LoginRule, MAX_CHANNELS, PublicKey, RecordInput, SecretKey, Target, Upstream,
};
use identity::DeviceLogin;
use serde::Deserialize;
use ssh_wire::login::{is_login, is_target};

use crate::document::Document;
use crate::operations::{self, Context};
use crate::secret::{Lookup, SecretRef};
use crate::sections::Operation;
use crate::units::{Size, Span};

/// SSH's registered port.
const PORT: u16 = 22;
/// How long connecting and logging in to a server may take, unless configured.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a certificate serves to log in, unless configured.
pub const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// The lifetimes that may be configured. A certificate is traded for a token again and again, so
/// a long one only serves whoever steals it.
const LIFETIMES: (Duration, Duration) = (Duration::from_secs(5 * 60), Duration::from_secs(15 * 60));
/// How long a certificate made for a target serves, unless configured: one login.
const TARGET_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// The longest public key, certificate or list of known hosts read from a file, in bytes.
const MAX_KEY_FILE: u64 = 1024 * 1024;
/// The window of a channel that may be configured, in bytes: a packet at least.
const WINDOWS: (u64, u64) = (32 * 1024, 64 * 1024 * 1024);
/// Most clients that are not let in yet, that may be configured.
const MAX_MAX_UNAUTHENTICATED: usize = 100_000;
/// Target names that begin so are greffier's own.
const RESERVED: &str = "greffier-";

/// SSH's part of a listener.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The keys that clients know the proxy by.
    pub host_keys: Vec<SecretKey>,
    /// A certificate for one of them.
    pub host_certificate: Option<HostCertificate>,
    /// Ways to log in.
    pub credentials: Credentials,
    /// How people log in by a browser, if they may.
    pub device_login: Option<DeviceLogin>,
    /// From the first byte to being let in.
    pub login_timeout: Duration,
    /// Most clients that are not let in yet.
    pub max_unauthenticated: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listen {
    pub(crate) protocol: Option<String>,
    pub(crate) address: Option<String>,
    host_keys: Vec<SecretRef>,
    host_certificate: Option<String>,
    credentials: Option<Vec<CredentialWord>>,
    device_flow: Option<device::Section>,
    login_timeout: Option<Span>,
    max_unauthenticated: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CredentialWord {
    Certificate,
    KeyboardInteractive,
    Password,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Ca {
    key: Option<SecretRef>,
    trusted: Vec<String>,
    lifetime: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SshTarget {
    pub(crate) protocol: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    host_keys: Vec<String>,
    known_hosts: Option<String>,
    host_ca: Vec<String>,
    key: Option<SecretRef>,
    password: Option<SecretRef>,
    certificate: Option<Certificate>,
    allow: Vec<Kind>,
    env: Vec<String>,
    record_input: RecordInput,
    mask_terminal: bool,
    files: FilesWord,
    recording: gate::RecordingLevel,
    durability: gate::Durability,
    connect_timeout: Option<Span>,
    max_channels: Option<usize>,
    channel_window: Option<Size>,
    #[serde(rename = "login")]
    logins: Vec<Login>,
    #[serde(rename = "operation")]
    operations: Vec<Operation>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Certificate {
    key: Option<SecretRef>,
    lifetime: Option<Span>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Exec,
    Shell,
    Sftp,
    Scp,
    LocalForward,
    RemoteForward,
    LocalStreamlocal,
    RemoteStreamlocal,
    Agent,
    X11,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FilesWord {
    #[default]
    Digest,
    Content,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Login {
    kinds: Vec<String>,
    groups: Vec<String>,
    subjects: Vec<String>,
    logins: Vec<String>,
    default: Option<String>,
}

/// What listeners and the authority are made ready with.
pub(crate) struct Place<'a> {
    pub(crate) base: &'a Path,
    pub(crate) env: Lookup<'a>,
    /// The issuers, if they are without mistakes.
    pub(crate) issuers: Option<&'a identity::Config>,
}

pub(crate) fn listener(
    document: &mut Document<'_>,
    path: &str,
    place: &Place<'_>,
    section: &Listen,
) -> Option<Listener> {
    let before = document.count();
    if section.host_keys.is_empty() {
        let message =
            "is missing; write [\"file:/path\"] of a key that `ssh-keygen -t ed25519` makes";
        document.problem(format!("{path}.host_keys"), message);
    }
    let mut host_keys = Vec::new();
    for (at, from) in section.host_keys.iter().enumerate() {
        host_keys.extend(secret_key(document, &format!("{path}.host_keys[{at}]"), place, from));
    }
    let host_certificate = section.host_certificate.as_ref().and_then(|file| {
        host_certificate(document, &format!("{path}.host_certificate"), place, file, &host_keys)
    });
    let credentials = match &section.credentials {
        None => Credentials::ALL,
        Some(words) => Credentials {
            certificate: words.contains(&CredentialWord::Certificate),
            keyboard_interactive: words.contains(&CredentialWord::KeyboardInteractive),
            password: words.contains(&CredentialWord::Password),
        },
    };
    if section.credentials.as_ref().is_some_and(Vec::is_empty) {
        let message = "is empty; name certificate, keyboard-interactive or password";
        document.problem(format!("{path}.credentials"), message);
    }
    let device_login = section.device_flow.as_ref().and_then(|flow| {
        device::login(document, &format!("{path}.device_flow"), place, credentials, flow)
    });
    let max_unauthenticated = section.max_unauthenticated.unwrap_or(::ssh::MAX_UNAUTHENTICATED);
    if !(1..=MAX_MAX_UNAUTHENTICATED).contains(&max_unauthenticated) {
        let message = format!("must be 1 to {MAX_MAX_UNAUTHENTICATED}");
        document.problem(format!("{path}.max_unauthenticated"), message);
    }
    (document.count() == before).then(|| Listener {
        host_keys,
        host_certificate,
        credentials,
        device_login,
        login_timeout: section.login_timeout.map_or(::ssh::LOGIN_TIMEOUT, |span| span.0),
        max_unauthenticated,
    })
}

fn host_certificate(
    document: &mut Document<'_>,
    path: &str,
    place: &Place<'_>,
    file: &str,
    keys: &[SecretKey],
) -> Option<HostCertificate> {
    let read = read_text(&place.base.join(file))
        .and_then(|text| HostCertificate::parse(&text).map_err(|error| error.to_string()));
    match read {
        Ok(certificate) if keys.iter().any(|key| certificate.is_for(key)) => Some(certificate),
        Ok(_) => {
            document.problem(path, "is for none of the `host_keys`");
            None
        }
        Err(message) => {
            document.problem(path, message);
            None
        }
    }
}

/// `[ssh_ca]`.
pub(crate) fn authority(
    document: &mut Document<'_>,
    place: &Place<'_>,
    section: &Ca,
) -> Option<Authority> {
    let Some(from) = &section.key else {
        document.problem("ssh_ca.key", "is missing; write \"file:/path\" of the authority's key");
        return None;
    };
    let key = secret_key(document, "ssh_ca.key", place, from);
    let trusted = public_keys(document, "ssh_ca.trusted", &section.trusted);
    let lifetime = section.lifetime.map_or(CERTIFICATE_LIFETIME, |span| span.0);
    lifetime_fits(document, "ssh_ca.lifetime", lifetime);
    Some(Authority { key: key?, trusted, lifetime })
}

fn lifetime_fits(document: &mut Document<'_>, path: &str, lifetime: Duration) {
    let (least, most) = LIFETIMES;
    if lifetime < least || lifetime > most {
        document.problem(path, "must be 5m to 15m");
    }
}

/// Makes a target of its section. `None` if something is wrong with it.
pub(crate) fn target(
    document: &mut Document<'_>,
    path: &str,
    name: &str,
    section: SshTarget,
    context: &Context<'_>,
) -> Option<Target> {
    let before = document.count();
    if !is_target(name) {
        let message = "clients write the name behind +, so it is 1 to 64 of a-z 0-9 . _ -";
        document.problem(path, message);
    } else if name.starts_with(RESERVED) {
        document.problem(path, format!("names that begin with {RESERVED} are greffier's own"));
    }
    let upstream = upstream(document, path, &section, context);
    let logins = logins(document, path, &section, context);
    let rules = rules(document, path, &section);
    let operations = operations::compile(
        document,
        path,
        section.recording,
        &section.operations,
        ::ssh::VOCABULARY,
    );
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
        logins,
        rules: Arc::new(rules),
        connect_timeout: section.connect_timeout.map_or(CONNECT_TIMEOUT, |span| span.0),
    })
}

fn upstream(
    document: &mut Document<'_>,
    path: &str,
    section: &SshTarget,
    context: &Context<'_>,
) -> Option<Upstream> {
    let Some(host) = section.host.as_ref().filter(|host| !host.is_empty()) else {
        document.problem(format!("{path}.host"), "is missing; name the server, by name or address");
        return None;
    };
    let port = section.port.unwrap_or(PORT);
    if port == 0 {
        document.problem(format!("{path}.port"), "must be 1 to 65535");
    }
    let trust = trust(document, path, section, context.base, host, port);
    let credential = credential(document, path, section, context);
    Some(Upstream { host: host.clone(), port, trust, credential: credential? })
}

fn trust(
    document: &mut Document<'_>,
    path: &str,
    section: &SshTarget,
    base: &Path,
    host: &str,
    port: u16,
) -> HostTrust {
    let mut keys = public_keys(document, &format!("{path}.host_keys"), &section.host_keys);
    let authorities = public_keys(document, &format!("{path}.host_ca"), &section.host_ca);
    if let Some(file) = &section.known_hosts {
        match PublicKey::known_hosts(&base.join(file), host, port) {
            Ok(found) => keys.extend(found),
            Err(error) => document.problem(format!("{path}.known_hosts"), error.to_string()),
        }
    }
    if section.host_keys.is_empty() && section.host_ca.is_empty() && section.known_hosts.is_none() {
        let message = "is missing; without `host_keys`, `known_hosts` or `host_ca` any machine \
                       could answer in the server's place (`ssh-keyscan` prints keys to compare)";
        document.problem(format!("{path}.host_keys"), message);
    }
    HostTrust { keys, authorities }
}

fn credential(
    document: &mut Document<'_>,
    path: &str,
    section: &SshTarget,
    context: &Context<'_>,
) -> Option<Credential> {
    let place = Place { base: context.base, env: context.env, issuers: None };
    match (&section.key, &section.password, &section.certificate) {
        (Some(from), None, None) => {
            secret_key(document, &format!("{path}.key"), &place, from).map(Credential::Key)
        }
        (None, Some(from), None) => {
            let key = format!("{path}.password");
            let read = from.read(context.base, context.env).and_then(|secret| {
                let text = std::str::from_utf8(secret.expose());
                text.map(identity::Secret::from).map_err(|_| "is not UTF-8".to_owned())
            });
            read.map_err(|message| document.problem(key, message)).ok().map(Credential::Password)
        }
        (None, None, Some(certificate)) => {
            let key = format!("{path}.certificate.key");
            let Some(from) = &certificate.key else {
                let message = "is missing; write \"file:/path\" of the authority's key";
                document.problem(key, message);
                return None;
            };
            let lifetime = certificate.lifetime.map_or(TARGET_LIFETIME, |span| span.0);
            lifetime_fits(document, &format!("{path}.certificate.lifetime"), lifetime);
            let authority = secret_key(document, &key, &place, from)?;
            Some(Credential::Certificate { authority, lifetime })
        }
        (None, None, None) => {
            let message = "is missing; write `key`, `certificate` or `password`: what greffier \
                           shows to the server";
            document.problem(format!("{path}.key"), message);
            None
        }
        _ => {
            let message = "`key`, `certificate` and `password` exclude one another";
            document.problem(path, message);
            None
        }
    }
}

fn logins(
    document: &mut Document<'_>,
    path: &str,
    section: &SshTarget,
    context: &Context<'_>,
) -> Vec<LoginRule> {
    if section.logins.is_empty() {
        let message = "is missing; without a [[…login]] table nobody gets in";
        document.problem(format!("{path}.login"), message);
    }
    let mut rules = Vec::new();
    for (at, login) in section.logins.iter().enumerate() {
        let path = format!("{path}.login[{at}]");
        let kinds = operations::kinds(document, &path, &login.kinds, context.kinds);
        if login.logins.is_empty() && login.default.is_none() {
            document.problem(format!("{path}.logins"), "is missing; name the server's accounts");
        }
        for name in login.logins.iter().chain(&login.default) {
            if !is_login(name) {
                let message = format!("{name:?} can't be an account's name");
                document.problem(format!("{path}.logins"), message);
            }
        }
        rules.push(LoginRule {
            kinds,
            groups: login.groups.clone(),
            subjects: login.subjects.clone(),
            logins: login.logins.clone(),
            default: login.default.clone(),
        });
    }
    let all = |rule: &LoginRule| {
        rule.kinds.is_empty() && rule.groups.is_empty() && rule.subjects.is_empty()
    };
    if let Some(first) = rules.iter().position(all)
        && first + 1 < rules.len()
    {
        let message = format!("is never reached: {path}.login[{first}] fits everybody");
        document.problem(format!("{path}.login[{}]", first + 1), message);
    }
    rules
}

fn rules(document: &mut Document<'_>, path: &str, section: &SshTarget) -> ChannelRules {
    let has = |kind| section.allow.contains(&kind);
    if section.allow.is_empty() {
        let message = "is missing; name what may be done there: exec, shell, sftp, scp, …";
        document.problem(format!("{path}.allow"), message);
    }
    for (at, name) in section.env.iter().enumerate() {
        let start = name.strip_suffix('*').unwrap_or(name);
        if start.is_empty() || start.contains(['*', '=', '\0']) {
            let message = "must be a variable's name, with one * at its end at most";
            document.problem(format!("{path}.env[{at}]"), message);
        }
    }
    // What would not be obeyed must not be believed.
    if section.files == FilesWord::Content {
        document.problem(format!("{path}.files"), "`content` is not there yet; write `digest`");
    }
    let fallback = ChannelRules::default();
    let max_channels = section.max_channels.unwrap_or(fallback.max_channels);
    if !(1..=MAX_CHANNELS).contains(&max_channels) {
        let message = format!("must be 1 to {MAX_CHANNELS}");
        document.problem(format!("{path}.max_channels"), message);
    }
    let window = section.channel_window.map_or(u64::from(fallback.channel_window), |size| size.0);
    if !(WINDOWS.0..=WINDOWS.1).contains(&window) {
        document.problem(format!("{path}.channel_window"), "must be 32KiB to 64MiB");
    }
    ChannelRules {
        allow: Allow {
            exec: has(Kind::Exec),
            shell: has(Kind::Shell),
            sftp: has(Kind::Sftp),
            scp: has(Kind::Scp),
            local_forward: has(Kind::LocalForward),
            remote_forward: has(Kind::RemoteForward),
            local_streamlocal: has(Kind::LocalStreamlocal),
            remote_streamlocal: has(Kind::RemoteStreamlocal),
            agent: has(Kind::Agent),
            x11: has(Kind::X11),
        },
        env: section.env.clone(),
        record_input: section.record_input,
        mask_terminal: section.mask_terminal,
        files: match section.files {
            FilesWord::Digest => Files::Digest,
            FilesWord::Content => Files::Content,
        },
        max_channels,
        channel_window: u32::try_from(window).unwrap_or(fallback.channel_window),
    }
}

/// The authority for clients must not be one that targets believe: its certificates would open
/// them directly.
pub(crate) fn apart(
    document: &mut Document<'_>,
    authority: Option<&Authority>,
    targets: &[Arc<Target>],
) {
    let Some(own) = authority else { return };
    for target in targets {
        if let Credential::Certificate { authority, .. } = &target.upstream.credential
            && authority.public() == own.key.public()
        {
            let path = format!("target.{}.certificate.key", target.gate.name);
            document.problem(
                path,
                "is the key of [ssh_ca] too; targets would believe clients' certificates",
            );
        }
    }
}

fn secret_key(
    document: &mut Document<'_>,
    path: &str,
    place: &Place<'_>,
    from: &SecretRef,
) -> Option<SecretKey> {
    let read = from.read(place.base, place.env).and_then(|secret| {
        let text = std::str::from_utf8(secret.expose()).map_err(|_| "is no key".to_owned())?;
        SecretKey::parse(text).map_err(|error| error.to_string())
    });
    read.map_err(|message| document.problem(path, message)).ok()
}

fn public_keys(document: &mut Document<'_>, path: &str, lines: &[String]) -> Vec<PublicKey> {
    let mut keys = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        match PublicKey::parse(line) {
            Ok(key) => keys.push(key),
            Err(error) => document.problem(format!("{path}[{at}]"), error.to_string()),
        }
    }
    keys
}

fn read_text(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_KEY_FILE).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}
