//! Everything of a greffier in one process: issuer, target, log, gate and proxy.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use audit_sink::store::{ChunkConfig, ChunkDir, LogStore, Publisher, PublisherConfig, Store};
use audit_sink::{Log, LogConfig};
use dev_issuer::{Claims, DevIssuer};
use gate::local::LocalJournal;
use gate::{Durability, Gate, RecordingLevel};
use postgres::{
    ApplicationName, Carrier, ClientTls, Config, Databases, HANDSHAKE_TIMEOUT, MAX_MESSAGE_BYTES,
    MAX_SQL_BYTES, Proxy, Role, RoleRule, Target, Upstream,
};
use postgres_wire::auth::{Methods, Secret};
use records::{Body, Instance};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_postgres::NoTls;

use crate::target::LittleTarget;
use crate::{DemoError, data};

/// For whom tokens are meant.
const AUDIENCE: &str = "https://greffier.demo";
/// The target's name, which clients give as the database.
pub(crate) const TARGET: &str = "shop";
/// The log's name in the store.
pub(crate) const LOG_ID: &str = "demo";
/// The log's origin: the name of its key.
const ORIGIN: &str = "greffier.demo/log";
/// The ring: small, so that it is made at once.
const SEGMENTS: u32 = 2;
const SEGMENT_BYTES: u64 = 1024 * 1024;
/// How long sessions may take to end, and the store to take what is left.
const CLOSING: Duration = Duration::from_secs(10);
/// How long connecting to the target may take.
const CONNECTING: Duration = Duration::from_secs(10);

/// What agents and people may do.
pub(crate) const POLICY: &str = r#"
[[rule]]
name = "agents-name-their-rows"
effect = "deny"
principals = { kind = "agent" }
when = { flags = ["missing_where"] }
reason = "an agent must say which rows it means"

[[rule]]
name = "agents-change-no-schema"
effect = "deny"
principals = { kind = "agent" }
when = { class = ["ddl", "admin", "unknown"] }
reason = "schema changes go through a person"

[[rule]]
name = "agents-work"
effect = "allow"
principals = { kind = "agent", delegated = true }
when = { class = ["session", "read", "write"] }
"#;

/// What clients and the record see of cards, mailboxes and telephone numbers.
pub(crate) const MASKING: &str = r#"
[[rule]]
name = "cards"
entity = ["CREDIT_CARD"]
client = { operator = "mask", chars_to_mask = 14 }
record = { operator = "replace" }

[[rule]]
name = "contacts"
entity = ["EMAIL_ADDRESS", "PHONE_NUMBER"]
client = { operator = "replace" }
record = { operator = "hash" }
"#;

/// The whole thing, running.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) port: u16,
    pub(crate) issuer: DevIssuer,
    pub(crate) behind: Behind,
    pub(crate) store: PathBuf,
    pub(crate) key: tlog::Verifier,
    pub(crate) log_store: LogStore,
    log: Log,
    publisher: Arc<Publisher>,
    gate: Gate,
    closing: watch::Sender<bool>,
    serving: JoinHandle<()>,
    epoch: u64,
}

/// What is behind the proxy.
#[derive(Debug)]
pub(crate) struct Behind {
    /// What precedes a table's name in statements: nothing, or the demonstration's schema.
    pub(crate) prefix: String,
    /// In words.
    pub(crate) words: String,
    user: String,
    database: String,
    host: String,
    port: u16,
    password: Option<String>,
    _little: Option<LittleTarget>,
    real: Option<tokio_postgres::Config>,
}

impl Stage {
    pub(crate) async fn set(dir: &Path, upstream: Option<&str>) -> Result<Stage, DemoError> {
        let issuer = DevIssuer::start().await?;
        let behind = match upstream {
            Some(url) => real(url).await?,
            None => little(dir).await?,
        };
        let verifier = verifier(issuer.iss())?;
        let opened = open_log(dir).await?;
        let journal =
            LocalJournal::new(opened.log.clone(), opened.publisher.clone(), opened.chunks);
        let known =
            policy::Known { vocabularies: &[postgres::VOCABULARY], targets: None, kinds: None };
        let policy: policy::Config = toml::from_str(POLICY).map_err(DemoError::settings)?;
        let policy = policy::Policy::compile(&policy, &known)
            .map_err(|problems| DemoError::Settings(format!("{problems:?}")))?;
        let gate = Gate::new(Arc::new(verifier), Arc::new(policy), Arc::new(journal));
        gate.record(Body::LogOpened(instance(opened.epoch))).await?;
        let proxy = Proxy::new(gate.clone(), config(&behind)?);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (closing, watching) = watch::channel(false);
        Ok(Stage {
            port,
            issuer,
            behind,
            store: opened.store,
            key: opened.key,
            log_store: opened.log_store,
            log: opened.log,
            publisher: opened.publisher,
            gate,
            closing,
            serving: tokio::spawn(serve(listener, proxy, watching)),
            epoch: opened.epoch,
        })
    }

    /// A token for an agent that acts for a person.
    pub(crate) fn agent_token(&self, lifetime: Duration) -> Result<String, DemoError> {
        Ok(self.issuer.mint(agent().lifetime(lifetime))?)
    }

    /// A token of the same agent that ended a while ago.
    pub(crate) fn expired_token(&self) -> Result<String, DemoError> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let hour_ago = now.map_or(0, |now| now.as_secs()).saturating_sub(3600);
        Ok(self.issuer.mint(agent().with("iat", hour_ago.into()))?)
    }

    /// Waits until everything so far is in the store.
    pub(crate) async fn publish(&self) -> Result<(), DemoError> {
        Ok(tokio::time::timeout(CLOSING, self.publisher.wait_published(self.log.size())).await??)
    }

    /// Lets sessions end, seals the log, and takes away what was made in a real database.
    pub(crate) async fn close(self) -> Result<(), DemoError> {
        // Nobody listens any more if the serving task has ended; then there is nothing to close.
        let _nobody = self.closing.send(true);
        tokio::time::timeout(CLOSING, self.serving)
            .await?
            .map_err(|e| DemoError::Lost(e.to_string()))?;
        self.gate.record(Body::LogSealed(instance(self.epoch))).await?;
        tokio::time::timeout(CLOSING, self.publisher.seal()).await??;
        self.log.close()?;
        if let Some(real) = &self.behind.real {
            let schema = self.behind.prefix.trim_end_matches('.');
            run_directly(real, &format!("DROP SCHEMA {schema} CASCADE")).await?;
        }
        Ok(())
    }
}

fn agent() -> Claims {
    Claims::new("alice").audience(AUDIENCE).client("agents").acting(&["invoice-agent"])
}

fn instance(epoch: u64) -> Instance<'static> {
    Instance {
        program: concat!("greffier-demo ", env!("CARGO_PKG_VERSION")).into(),
        host: "localhost".into(),
        pid: std::process::id(),
        epoch,
    }
}

async fn serve(listener: TcpListener, proxy: Proxy, mut closing: watch::Receiver<bool>) {
    let mut sessions = JoinSet::new();
    let watching = closing.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((tcp, peer)) = accepted else { break };
                let (proxy, mut closing) = (proxy.clone(), watching.clone());
                sessions.spawn(async move {
                    let shutdown = async move {
                        // Closing, or the stage is gone: either way it is time to end.
                        let _gone = closing.wait_for(|closing| *closing).await;
                    };
                    proxy.serve(tcp, peer, shutdown).await;
                });
            }
            _ = closing.wait_for(|closing| *closing) => break,
            Some(_ended) = sessions.join_next() => {}
        }
    }
    drop(listener);
    while sessions.join_next().await.is_some() {}
}

/// A target of our own.
async fn little(dir: &Path) -> Result<Behind, DemoError> {
    let file = dir.join("target.sqlite");
    let target = LittleTarget::start(&file, &data::seed("", "INTEGER")).await?;
    Ok(Behind {
        prefix: String::new(),
        words: format!("embedded target (pgwire over SQLite), 127.0.0.1:{}", target.port),
        user: "demo".into(),
        database: "shop".into(),
        host: "127.0.0.1".into(),
        port: target.port,
        password: None,
        _little: Some(target),
        real: None,
    })
}

/// A schema of our own in a real PostgreSQL.
async fn real(url: &str) -> Result<Behind, DemoError> {
    use tokio_postgres::config::{Host, SslMode};
    let bad = |why: &str| DemoError::Upstream(why.to_owned());
    let config: tokio_postgres::Config =
        url.parse().map_err(|_| bad("write postgres://user:password@host:port/database"))?;
    if config.get_ssl_mode() == SslMode::Require {
        return Err(bad("the demonstration connects without TLS; use greffier-postgres for TLS"));
    }
    let Some(Host::Tcp(host)) = config.get_hosts().first() else {
        return Err(bad("it needs a host name or address"));
    };
    let user = config.get_user().ok_or_else(|| bad("it needs a user"))?.to_owned();
    let mut random = [0; 4];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| bad("there are no random numbers"))?;
    let schema = format!("greffier_demo_{}", hex::encode(random));
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let behind = Behind {
        prefix: format!("{schema}."),
        words: format!("PostgreSQL at {host}:{port}, schema {schema}"),
        database: config.get_dbname().unwrap_or(&user).to_owned(),
        user,
        host: host.clone(),
        port,
        password: config.get_password().map(|p| String::from_utf8_lossy(p).into_owned()),
        _little: None,
        real: Some(config.clone()),
    };
    let seed = data::seed(&behind.prefix, "bigint");
    run_directly(&config, &format!("CREATE SCHEMA {schema};\n{seed}")).await?;
    Ok(behind)
}

async fn run_directly(config: &tokio_postgres::Config, sql: &str) -> Result<(), DemoError> {
    let refused = |e: tokio_postgres::Error| DemoError::Upstream(e.to_string());
    let (client, connection) = config.connect(NoTls).await.map_err(refused)?;
    let connection = tokio::spawn(connection);
    let done = client.batch_execute(sql).await.map_err(refused);
    drop(client);
    // What the connection says after its last answer is of no use.
    let _ended = connection.await;
    done
}

fn verifier(iss: &str) -> Result<identity::Verifier, DemoError> {
    let config = format!(
        r#"
        [issuer.demo]
        iss = "{iss}"
        audiences = ["{AUDIENCE}"]
        algorithms = ["ES256"]
        may_mint = ["agent"]
        allow_insecure_loopback = true
        [[issuer.demo.rule]]
        name = "agents"
        kind = "agent"
        when = {{ client_id = {{ equals = "agents" }} }}
        actor_from = "act"
        "#
    );
    let config: identity::Config = toml::from_str(&config).map_err(DemoError::settings)?;
    let fetcher = identity::HttpFetcher::new(&config).map_err(DemoError::settings)?;
    identity::Verifier::new(&config, fetcher).map_err(|e| DemoError::Settings(format!("{e:?}")))
}

struct Opened {
    log: Log,
    publisher: Arc<Publisher>,
    chunks: ChunkDir,
    store: PathBuf,
    log_store: LogStore,
    key: tlog::Verifier,
    epoch: u64,
}

async fn open_log(dir: &Path) -> Result<Opened, DemoError> {
    let signer = tlog::Signer::generate(ORIGIN)?;
    let key = signer.verifier().clone();
    let mut config = LogConfig::new(dir.join("ring"), LOG_ID);
    (config.segments, config.segment_bytes) = (SEGMENTS, SEGMENT_BYTES);
    let (log, recovered) = Log::open(config, signer.clone())?;
    let store = dir.join("store");
    let log_store = Store::open(&store.to_string_lossy())?.log(LOG_ID)?;
    let claimed =
        log_store.claim_epoch(&signer, (recovered.size, recovered.root), "greffier demo").await?;
    let chunks = ChunkDir::open(&dir.join("chunks"), ChunkConfig::default())?;
    let mut publishing = PublisherConfig::new((recovered.size, recovered.root));
    publishing.chunks = Some(chunks.clone());
    publishing.epoch = Some(claimed.number);
    let publisher =
        Publisher::start(log_store.clone(), Arc::new(log.clone()), signer, publishing).await?;
    std::fs::write(dir.join("log.vkey"), format!("{key}\n"))?;
    Ok(Opened {
        log,
        publisher: Arc::new(publisher),
        chunks,
        store,
        log_store,
        key,
        epoch: recovered.epoch,
    })
}

fn config(behind: &Behind) -> Result<Config, DemoError> {
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| DemoError::Settings("no random numbers".into()))?;
    let masking: masking::Config = toml::from_str(MASKING).map_err(DemoError::settings)?;
    let masking = masking::Policy::compile(&masking, Some(&key))
        .map_err(|problems| DemoError::Settings(format!("{problems:?}")))?;
    let target = Target {
        gate: Arc::new(gate::Target {
            name: TARGET.into(),
            recording: RecordingLevel::Full,
            durability: Durability::BeforeExecute,
            masking: Arc::new(masking),
            operations: None,
        }),
        upstream: Upstream {
            host: behind.host.clone(),
            port: behind.port,
            tls: None,
            methods: Methods::ANY,
        },
        databases: Databases::Only(behind.database.clone()),
        roles: vec![RoleRule {
            kinds: vec![],
            groups: vec![],
            subjects: vec![],
            role: Role::Named(behind.user.clone()),
            password: behind.password.clone().map(Secret::new),
        }],
        application_name: ApplicationName::Principal,
        connect_timeout: CONNECTING,
        trusted_functions: vec![],
    };
    Ok(Config {
        targets: vec![Arc::new(target)],
        default_target: Some(TARGET.into()),
        tls: ClientTls::PlainText,
        carrier: Carrier::Password,
        handshake_timeout: HANDSHAKE_TIMEOUT,
        max_message_bytes: MAX_MESSAGE_BYTES,
        max_sql_bytes: MAX_SQL_BYTES,
    })
}
