//! One connection from its first byte to its last, and the cancel requests beside it.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gate::{Arrival, Draft, Gate, Identified, Refused, Session, Submission};
use policy::Action;
use postgres_grammar::{Analyzer, Class, Limits as GrammarLimits};
use postgres_wire::frame::Limits;
use postgres_wire::startup::{CancelKey, ProtocolVersion};
use postgres_wire::write;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::PROTOCOL;
use crate::cancel::{CancelKeys, Cancellable};
use crate::catalog::Catalog;
use crate::handshake::{self, Arrived, Carrier, ClientTls, HandshakeError, Opened};
use crate::refusal::{self, Told};
use crate::relay::{Half, Relay};
use crate::session::protect::Protection;
use crate::session::reading::Readers;
use crate::session::record::MEDIA;
use crate::session::server::is_safe_encoding;
use crate::session::{End, Machine, Parts};
use crate::target::{Databases, Role, RoleRule, Target};
use crate::upstream::{self, Connected, UpstreamError};

/// How long a client may take from its first byte to its token, unless configured.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest message that a session passes on, by its length field, unless configured. A
/// message is held whole, for it has to be judged or masked.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
/// The longest SQL text that is analysed, in bytes, unless configured. A longer one has class
/// `unknown`. Analysis takes time and memory in proportion; what is longer than
/// [`postgres_grammar::QUICK_SQL_BYTES`] is analysed away from the threads that serve sessions, as
/// many at once as the machine has cores.
pub const MAX_SQL_BYTES: usize = postgres_grammar::DEFAULT_MAX_SQL_BYTES;

/// What a proxy is made of.
#[derive(Debug)]
pub struct Config {
    /// The servers behind it.
    pub targets: Vec<Arc<Target>>,
    /// The target of clients whose database names none; `None`: they must name one.
    pub default_target: Option<String>,
    /// TLS towards clients.
    pub tls: ClientTls,
    /// How clients hand over their token.
    pub carrier: Carrier,
    /// See [`HANDSHAKE_TIMEOUT`].
    pub handshake_timeout: Duration,
    /// See [`MAX_MESSAGE_BYTES`].
    pub max_message_bytes: usize,
    /// See [`MAX_SQL_BYTES`].
    pub max_sql_bytes: usize,
}

impl Config {
    /// A proxy for clients on this host: no TLS, tokens as passwords, the first target for
    /// those who name none.
    pub fn loopback(targets: Vec<Arc<Target>>) -> Self {
        Config {
            default_target: targets.first().map(|target| target.gate.name.to_string()),
            targets,
            tls: ClientTls::PlainText,
            carrier: Carrier::Password,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            max_message_bytes: MAX_MESSAGE_BYTES,
            max_sql_bytes: MAX_SQL_BYTES,
        }
    }
}

/// A PostgreSQL proxy: serves connections that somebody else accepts. Cheap to clone.
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

struct Inner {
    gate: Gate,
    config: Config,
    readers: Readers,
    cancel: CancelKeys,
    limits: Limits,
}

/// Why a client got no session.
enum NoSession {
    Handshake(HandshakeError),
    Told(Told),
}

impl From<HandshakeError> for NoSession {
    fn from(error: HandshakeError) -> Self {
        NoSession::Handshake(error)
    }
}
impl From<Told> for NoSession {
    fn from(told: Told) -> Self {
        NoSession::Told(told)
    }
}
impl From<std::io::Error> for NoSession {
    fn from(error: std::io::Error) -> Self {
        NoSession::Handshake(error.into())
    }
}

impl Proxy {
    /// A proxy behind this gate.
    pub fn new(gate: Gate, config: Config) -> Self {
        let large = config.max_message_bytes;
        let limits = Limits { large, ..Limits::DEFAULT };
        let max_sql_bytes = config.max_sql_bytes;
        let analyzer = Analyzer::new(GrammarLimits { max_sql_bytes, ..GrammarLimits::default() });
        let readers = Readers::new(analyzer);
        Proxy(Arc::new(Inner { gate, config, readers, cancel: CancelKeys::default(), limits }))
    }

    /// Serves one connection until it ends, or until `shutdown` is ready and the session is at
    /// rest. Whatever happens is on record and told to the client; nothing is returned.
    pub async fn serve(
        &self,
        tcp: TcpStream,
        peer: SocketAddr,
        shutdown: impl Future<Output = ()>,
    ) {
        let peer = peer.to_string();
        let inner = &*self.0;
        let deadline = inner.config.handshake_timeout;
        let opened = match timeout(deadline, handshake::open(tcp, &inner.config.tls)).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return tracing::debug!(peer, %error, "handshake"),
            Err(_) => return tracing::debug!(peer, "the client stalled in the handshake"),
        };
        match opened {
            Opened::Gone => {}
            Opened::Cancel { process_id, secret } => inner.cancel(process_id, &secret).await,
            Opened::Insecure(mut arrived) => {
                let told = Told::fatal("28000", "greffier: this proxy is reached by TLS only")
                    .hint("Connect with sslmode=verify-full.");
                say(&mut arrived, &told).await;
            }
            Opened::Session(mut arrived) => {
                match Box::pin(inner.establish(&mut arrived, &peer)).await {
                    Ok(Some(established)) => {
                        let Arrived { stream, buf, .. } = *arrived;
                        Box::pin(inner.relay(stream, buf, established, shutdown)).await;
                    }
                    Ok(None) => {}
                    Err(NoSession::Handshake(error)) => {
                        tracing::debug!(peer, %error, "handshake");
                        if let Some(told) = error.told() {
                            say(&mut arrived, &told).await;
                        }
                    }
                    Err(NoSession::Told(told)) => say(&mut arrived, &told).await,
                }
            }
        }
    }
}

/// Last words to a client without a session; it may be gone already.
async fn say(arrived: &mut Arrived, told: &Told) {
    let words = async {
        let _sent = arrived.stream.write_all(&told.frame()).await;
        let _closed = arrived.stream.shutdown().await;
    };
    let _in_time = timeout(Duration::from_secs(5), words).await;
}

/// A session with both ends connected.
struct Established {
    session: Session,
    target: Arc<Target>,
    connected: Connected,
    protection: Protection,
    version: ProtocolVersion,
}

/// What a client wants: a target, a database there, and what it calls itself.
struct Wish {
    target: Arc<Target>,
    database: String,
}

impl Inner {
    /// From the startup message to a session with both ends connected. `None`: the client
    /// went away content.
    async fn establish(
        &self,
        arrived: &mut Arrived,
        peer: &str,
    ) -> Result<Option<Established>, NoSession> {
        let version = handshake::negotiate(arrived).await?;
        let asked = arrived.get("database").or(arrived.get("user")).unwrap_or_default().to_vec();
        let arrival = Arrival { protocol: PROTOCOL, peer, target: &asked };
        let identified = match self.identify(arrived, arrival).await? {
            Some(identified) => identified,
            None => return Ok(None),
        };
        let refused = |cause: &'static str, told: Told| async {
            let message = told.message.clone();
            let recorded =
                self.gate.record_refusal(arrival, cause, &message, None, Some(&identified)).await;
            NoSession::Told(recorded.map_or_else(refusal::unrecorded, |()| told))
        };
        let wish = match self.wish(arrived, &asked) {
            Ok(wish) => wish,
            Err(told) => return Err(refused("target", told).await),
        };
        if let Some(told) = forbidden_parameter(arrived) {
            return Err(refused("parameter", told).await);
        }
        let target = wish.target.clone();
        let rule = target.roles.iter().find(|rule| rule.fits(identified.principal()));
        let Some(rule) = rule else {
            let told = Told::fatal("28000", "greffier: this principal has no role on this target")
                .hint("Ask whoever keeps this proxy's configuration for a role rule.");
            return Err(refused("no_role", told).await);
        };
        let user = arrived.get("user").unwrap_or_default();
        let role = match &rule.role {
            Role::Named(role) => role.clone(),
            Role::AsAsked => String::from_utf8_lossy(user).into_owned(),
        };
        let name =
            target.application_name.render(identified.principal(), arrived.get("application_name"));
        let parameters = upstream_parameters(arrived, &role, &wish.database, name.as_deref());
        let pairs: Vec<(&[u8], &[u8])> =
            parameters.iter().map(|(n, v)| (n.as_slice(), v.as_slice())).collect();
        let identified = with_details(identified, &role, &wish.database, user);
        let session = self
            .gate
            .open_session(identified, target.gate.clone(), arrival)
            .await
            .map_err(refusal::unrecorded)?;
        match self.reach(arrived, &target, &session, &role, rule, &pairs).await {
            Ok((connected, protection)) => {
                session.note("backend_pid", connected.process_id.to_string());
                let version_of = |(name, _): &&(String, String)| name == "server_version";
                if let Some((_, version)) = connected.parameters.iter().find(version_of) {
                    session.note("server_version", version.clone());
                }
                Ok(Some(Established { session, target, connected, protection, version }))
            }
            Err((reason, told)) => {
                session.end(&reason).map_err(refusal::unrecorded)?;
                Err(told.into())
            }
        }
    }

    /// Judges what the client wants to set from the start, and connects to the target.
    async fn reach(
        &self,
        arrived: &Arrived,
        target: &Target,
        session: &Session,
        role: &str,
        rule: &RoleRule,
        parameters: &[(&[u8], &[u8])],
    ) -> Result<(Connected, Protection), (String, Told)> {
        let settings = settings(arrived).map_err(|told| ("refused: options".to_owned(), told))?;
        crate::trace::tell(session, arrived.get("application_name"), &settings);
        let mut exchanges = Vec::new();
        let mut wait = self.gate.journal().waiter();
        for (name, value) in settings {
            let exchange = self
                .judge_setting(session, &name, &value)
                .map_err(|told| (format!("refused: setting {name}"), told))?;
            exchange
                .admitted()
                .cleared(&mut *wait)
                .await
                .map_err(|error| (error.to_string(), refusal::unrecorded(error)))?;
            exchanges.push(exchange);
        }
        let reached = async {
            let mut connected =
                upstream::connect(target, role, rule.password.as_ref(), parameters).await?;
            let encoding = connected.parameters.iter().find(|(name, _)| name == "client_encoding");
            if encoding.is_some_and(|(_, value)| !is_safe_encoding(value.as_bytes())) {
                return Err(UpstreamError::Encoding);
            }
            let catalog = self.catalog(target, &mut connected).await?;
            Ok::<_, UpstreamError>((connected, catalog))
        }
        .await;
        let outcome = if reached.is_ok() { "ok" } else { "error" };
        for mut exchange in exchanges {
            let mut response =
                records::Response { outcome: outcome.into(), ..records::Response::default() };
            std::future::poll_fn(|cx| exchange.poll_finish(&mut response, cx))
                .await
                .map_err(|error| (error.to_string(), refusal::unrecorded(error)))?;
        }
        let (connected, catalog) = reached.map_err(|error| {
            tracing::warn!(target = &*target.gate.name, %error, "the target");
            (format!("target: {error}"), refusal::unreachable(&error))
        })?;
        let trusted = target.trusted_functions.clone().into();
        let protection = Protection::new(target.gate.masking.clone(), catalog, trusted);
        Ok((connected, protection))
    }

    async fn identify(
        &self,
        arrived: &mut Arrived,
        arrival: Arrival<'_>,
    ) -> Result<Option<Identified>, NoSession> {
        let deadline = self.config.handshake_timeout;
        let token = timeout(deadline, handshake::token(arrived, &self.config.carrier))
            .await
            .map_err(|_| Told::fatal("08P01", "greffier: no token came in time"))??;
        let Some(token) = token else {
            let told = Told::fatal("28000", "greffier: a token is needed");
            return Err(told.into());
        };
        match self.gate.authenticate(&token, arrival).await {
            Ok(identified) => Ok(Some(identified)),
            Err(Refused::Credential(error)) => {
                Err(Told::fatal("28P01", format!("greffier: {error}"))
                    .detail(format!("cause: {}", error.code()))
                    .hint("The password must be an OIDC token for this proxy.")
                    .into())
            }
            Err(Refused::Journal(error)) => Err(refusal::unrecorded(error).into()),
        }
    }

    /// The target and database that a client means: `target`, `target/database`, or, where the
    /// listener has a target of its own, `database`.
    fn wish(&self, arrived: &Arrived, asked: &[u8]) -> Result<Wish, Told> {
        let unknown = || Told::fatal("3D000", "greffier: there is no such target or database");
        let asked = std::str::from_utf8(asked).map_err(|_| unknown())?;
        let find = |name: &str| self.config.targets.iter().find(|t| &*t.gate.name == name);
        let explicit = arrived.get("database").is_some();
        let (target, database) = match asked.split_once('/') {
            Some((target, database)) if find(target).is_some() => (find(target), Some(database)),
            _ => match find(asked) {
                Some(target) => (Some(target), None),
                None => {
                    let target = self.config.default_target.as_deref().and_then(find);
                    (target, (explicit || !asked.is_empty()).then_some(asked))
                }
            },
        };
        let target = target.ok_or_else(unknown)?;
        // A database may be called as its target is.
        let database = database.or((target.databases == Databases::Any).then_some(asked));
        let database = target.databases.choose(database).ok_or_else(unknown)?;
        Ok(Wish { target: target.clone(), database: database.to_owned() })
    }

    async fn catalog(
        &self,
        target: &Target,
        connected: &mut Connected,
    ) -> Result<Option<Arc<Catalog>>, UpstreamError> {
        if !target.gate.masking.has_column_rules() {
            return Ok(None);
        }
        let read = Catalog::read(connected, &target.gate.masking);
        let catalog = timeout(target.connect_timeout, read)
            .await
            .map_err(|_| UpstreamError::Timeout(target.connect_timeout))??;
        Ok(Some(Arc::new(catalog)))
    }

    /// What a client sets from the start is a setting like any SET: judged, and on record,
    /// before the target hears of it.
    fn judge_setting(
        &self,
        session: &Session,
        name: &str,
        value: &str,
    ) -> Result<Box<gate::Exchange>, Told> {
        let quoted = value.replace('\'', "''");
        let sql = format!("SET \"{}\" TO '{quoted}'", name.replace('"', "\"\""));
        let analysis = self.readers.analyzer.analyze(sql.as_bytes(), Default::default());
        let class = analysis.class.name();
        let action = Action::plain("SET", class);
        let judgement = session.judge(&[action], "SET".into(), class);
        let fits = sql.len() <= gate::MAX_INLINE_TEXT;
        let draft = Draft {
            via: "startup",
            text: fits.then(|| sql.as_str().into()),
            text_bytes: sql.len() as u64,
            media: MEDIA,
            ..Draft::default()
        };
        match session.submit(&judgement, draft).map_err(refusal::unrecorded)? {
            Submission::Admitted(exchange) if fits => Ok(exchange),
            Submission::Admitted(_) => {
                Err(Told::fatal("54000", "greffier: a startup parameter is too long"))
            }
            Submission::Refused(refused) => {
                let told = refusal::refused(&refused.cause);
                Err(Told { severity: write::Severity::Fatal, ..told })
            }
        }
    }

    async fn relay(
        &self,
        stream: crate::stream::Stream,
        buf: bytes::BytesMut,
        established: Established,
        shutdown: impl Future<Output = ()>,
    ) {
        let Established { session, target, connected, protection, version } = established;
        let cancellable = Cancellable {
            session: session.clone(),
            upstream: target.upstream.clone(),
            process_id: connected.process_id,
            secret: connected.secret.clone(),
        };
        let long = version >= ProtocolVersion::V3_2;
        let Some(issued) = self.cancel.issue(long, cancellable.clone()) else {
            tracing::error!("no random bytes for a cancel key");
            return;
        };
        let scs = connected
            .parameters
            .iter()
            .find(|(name, _)| name == "standard_conforming_strings")
            .is_none_or(|(_, value)| value == "on");
        let machine = Machine::new(Parts {
            session: session.clone(),
            readers: self.readers.clone(),
            protection,
            standard_conforming_strings: scs,
        });
        let journal = self.gate.journal();
        let mut relay = Relay {
            client: Half::new(stream, buf, journal.waiter()),
            target: Half::new(connected.stream, connected.rest, journal.waiter()),
            machine,
            limits: self.limits,
        };
        let key = CancelKey { process_id: connected.process_id, secret: issued.secret() };
        if let Err(error) = relay.machine.welcome(&connected.reports, key) {
            tracing::error!(%error, "the client can't be welcomed");
            return;
        }
        let ended = relay.run(shutdown).await;
        let cut = matches!(ended.end, Some(End::Lease(_) | End::Journal(_)));
        if cut {
            // What runs on the server must not go on without its principal.
            let _sent = upstream::cancel(
                &cancellable.upstream,
                cancellable.process_id,
                &cancellable.secret,
                target.connect_timeout,
            )
            .await;
        }
        relay.farewell(&ended).await;
        drop(issued);
        if let Err(error) = session.end(&ended.reason) {
            tracing::error!(session = session.id(), %error, "a session's end is not on record");
        }
    }

    /// Passes a cancel request on if its key is one of ours. It is a command of the session
    /// whose statement it ends: judged, and on record first.
    async fn cancel(&self, process_id: u32, secret: &[u8]) {
        let Some(session) = self.cancel.find(process_id, secret) else {
            return tracing::debug!(process_id, "a cancel request with an unknown key");
        };
        let Cancellable { session, upstream, process_id, secret } = session;
        let class = Class::Session.name();
        let action = Action::plain("CANCEL", class);
        let judgement = session.judge(&[action], "CANCEL".into(), class);
        let draft = Draft { via: "cancel", media: MEDIA, ..Draft::default() };
        let exchange = match session.submit(&judgement, draft) {
            Ok(Submission::Admitted(exchange)) => exchange,
            Ok(Submission::Refused(_)) => return,
            Err(error) => return tracing::error!(%error, "a cancel request"),
        };
        let mut exchange = exchange;
        let mut wait = self.gate.journal().waiter();
        if exchange.admitted().cleared(&mut *wait).await.is_err() {
            return;
        }
        let sent = upstream::cancel(&upstream, process_id, &secret, HANDSHAKE_TIMEOUT).await;
        let outcome = if sent.is_ok() { "ok" } else { "error" };
        let mut response =
            records::Response { outcome: outcome.into(), ..records::Response::default() };
        let done = std::future::poll_fn(|cx| exchange.poll_finish(&mut response, cx)).await;
        if let Err(error) = done {
            tracing::error!(%error, "a cancel request's outcome");
        }
    }
}

/// Startup parameters that no configuration lets through.
fn forbidden_parameter(arrived: &Arrived) -> Option<Told> {
    let off: [&[u8]; 5] = [b"false", b"off", b"no", b"0", b""];
    if arrived.get("replication").is_some_and(|value| !off.contains(&value)) {
        return Some(Told::fatal("0A000", "greffier: replication is not served"));
    }
    if arrived.get("user").is_none_or(<[u8]>::is_empty) {
        return Some(Told::fatal("28000", "greffier: no user was named"));
    }
    if arrived.get("client_encoding").is_some_and(|name| !is_safe_encoding(name)) {
        return Some(
            Told::fatal("0A000", "greffier: this client encoding can't be followed")
                .hint("Use UTF8."),
        );
    }
    None
}

/// What the server is told: the client's parameters, with our role, database and name.
fn upstream_parameters(
    arrived: &Arrived,
    role: &str,
    database: &str,
    application_name: Option<&str>,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    const OURS: [&[u8]; 4] = [b"user", b"database", b"application_name", b"replication"];
    let mut parameters = vec![
        (b"user".to_vec(), role.as_bytes().to_vec()),
        (b"database".to_vec(), database.as_bytes().to_vec()),
    ];
    if let Some(name) = application_name {
        parameters.push((b"application_name".to_vec(), name.as_bytes().to_vec()));
    }
    let client = arrived.parameters.iter();
    parameters.extend(
        client
            .filter(|(name, _)| !OURS.contains(&name.as_slice()) && !name.starts_with(b"_pq_."))
            .cloned(),
    );
    parameters
}

/// What a client wants to set from the start: its parameters, and what `options` holds.
fn settings(arrived: &Arrived) -> Result<Vec<(String, String)>, Told> {
    // These are ours to set, or no settings.
    const OTHERS: [&[u8]; 5] =
        [b"user", b"database", b"application_name", b"replication", b"options"];
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut settings: Vec<_> = arrived
        .parameters
        .iter()
        .filter(|(name, _)| !OTHERS.contains(&name.as_slice()) && !name.starts_with(b"_pq_."))
        .map(|(name, value)| (text(name).to_lowercase(), text(value)))
        .collect();
    let options = arrived.get("options").unwrap_or_default();
    let options = postgres_wire::startup::parse_options(options)
        .map_err(|error| Told::fatal("42601", format!("greffier: {error}")))?;
    settings.extend(options.iter().map(|(name, value)| (text(name).to_lowercase(), text(value))));
    Ok(settings)
}

fn with_details(mut identified: Identified, role: &str, database: &str, user: &[u8]) -> Identified {
    let text = |text: &str| records::Text::from(text.to_owned());
    let details = &mut identified.details;
    details.insert("upstream_role".into(), text(role));
    details.insert("database".into(), text(database));
    details.insert("user_asked".into(), text(&String::from_utf8_lossy(user)));
    identified
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("config", &self.0.config).finish_non_exhaustive()
    }
}
