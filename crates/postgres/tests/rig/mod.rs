//! A whole greffier in the test's own process: an issuer, a log in a temporary folder, a gate,
//! and the proxy on a spare port, in front of a PostgreSQL that the testbed started.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the rig")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a rig that can't be set up fails its test"
)]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use audit_sink::store::{ChunkConfig, ChunkDir, Publisher, PublisherConfig, Store};
use audit_sink::{Log, LogConfig};
use dev_issuer::{Claims, DevIssuer};
use gate::local::LocalJournal;
use gate::{Durability, Gate, RecordingLevel};
use postgres::{
    ApplicationName, Carrier, ClientTls, Config, Databases, Proxy, Role, RoleRule, Target, Upstream,
};
use postgres_wire::auth::{Methods, Secret};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

pub const AUDIENCE: &str = "https://greffier.test";

/// What to set up.
pub struct Plan {
    pub policy: String,
    pub masking: String,
    pub recording: RecordingLevel,
    pub durability: Durability,
    /// The `when` of rules that name operations, as a policy.
    pub operations: Option<String>,
    pub tls: bool,
    pub role: Role,
    /// In place of `role` and `password`, if there are any.
    pub roles: Vec<RoleRule>,
    pub password: Option<String>,
    pub methods: Methods,
    pub upstream_ca: Option<PathBuf>,
    pub application_name: ApplicationName,
    pub segment_bytes: u64,
    pub segments: u32,
    pub handshake_timeout: Duration,
    pub max_message_bytes: usize,
    pub max_sql_bytes: usize,
    /// Threads that serve sessions.
    pub threads: usize,
    pub carrier: Carrier,
    /// How the log's files are opened; faults go here.
    pub io: Option<Arc<dyn audit_sink::io::Io>>,
    /// Where log, chunks, store and key lie; a folder of the rig's own if absent.
    pub dir: Option<PathBuf>,
    /// More issuers, as `[issuer.NAME]` sections.
    pub issuers: String,
    /// The certificate and key that the proxy shows the server.
    pub upstream_certificate: Option<testbed::Issued>,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            policy: "default = \"allow\"".into(),
            masking: "version = 1".into(),
            recording: RecordingLevel::Full,
            durability: Durability::BeforeExecute,
            operations: None,
            tls: false,
            role: Role::AsAsked,
            roles: vec![],
            password: None,
            methods: Methods::ANY,
            upstream_ca: None,
            application_name: ApplicationName::Client,
            segment_bytes: 16 * 1024 * 1024,
            segments: 8,
            handshake_timeout: Duration::from_secs(10),
            max_message_bytes: postgres::MAX_MESSAGE_BYTES,
            max_sql_bytes: postgres::MAX_SQL_BYTES,
            threads: 2,
            carrier: Carrier::Password,
            io: None,
            dir: None,
            issuers: String::new(),
            upstream_certificate: None,
        }
    }
}

pub struct Rig {
    pub port: u16,
    pub issuer: DevIssuer,
    pub log: Log,
    pub publisher: Arc<Publisher>,
    pub verifier: identity::Verifier,
    pub store: PathBuf,
    pub chunks: PathBuf,
    pub authority: Option<PathBuf>,
    pub gate: Gate,
    pub runtime: Runtime,
    _dir: tempfile::TempDir,
}

fn known() -> policy::Known<'static> {
    policy::Known { vocabularies: &[postgres::VOCABULARY], targets: None, kinds: None }
}

fn compile_policy(text: &str) -> policy::Policy {
    policy::Policy::compile(&toml::from_str(text).unwrap(), &known()).unwrap()
}

impl Rig {
    pub fn start(upstream_port: u16) -> Rig {
        Rig::with(upstream_port, Plan::default())
    }

    pub fn with(upstream_port: u16, plan: Plan) -> Rig {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(plan.threads)
            .enable_all()
            .build()
            .unwrap();
        let dir = tempfile::Builder::new().prefix("greffier-rig-").tempdir().unwrap();
        let _guard = runtime.enter();
        let issuer = runtime.block_on(DevIssuer::start()).unwrap();
        let verifier = runtime.block_on(async { verifier(issuer.iss(), &plan.issuers) });
        let data = plan.dir.clone().unwrap_or_else(|| dir.path().to_owned());
        let (log, publisher, journal, store) = runtime.block_on(open_log(&data, &plan));
        let gate = Gate::new(
            Arc::new(verifier.clone()),
            Arc::new(compile_policy(&plan.policy)),
            Arc::new(journal),
        );
        let (tls, authority) = client_tls(&plan, dir.path());
        let config = Config {
            targets: vec![Arc::new(target(upstream_port, &plan))],
            default_target: Some("pg".into()),
            tls,
            carrier: plan.carrier.clone(),
            handshake_timeout: plan.handshake_timeout,
            max_message_bytes: plan.max_message_bytes,
            max_sql_bytes: plan.max_sql_bytes,
        };
        let proxy = Proxy::new(gate.clone(), config);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(async move {
            loop {
                let (tcp, peer) = listener.accept().await.unwrap();
                let proxy = proxy.clone();
                tokio::spawn(async move { proxy.serve(tcp, peer, std::future::pending()).await });
            }
        });
        let chunks = data.join("chunks");
        Rig {
            port,
            issuer,
            log,
            publisher,
            verifier,
            store,
            chunks,
            authority,
            gate,
            runtime,
            _dir: dir,
        }
    }

    /// A token for a person of this name.
    pub fn token(&self, name: &str) -> String {
        self.issuer.mint(Claims::new(name).audience(AUDIENCE).client("people")).unwrap()
    }

    /// A token that outlives a long suite.
    pub fn long_token(&self, name: &str) -> String {
        let claims = Claims::new(name).audience(AUDIENCE).client("people");
        self.issuer.mint(claims.lifetime(Duration::from_secs(3600))).unwrap()
    }

    /// A token for an agent that acts for a person.
    pub fn agent_token(&self, agent: &str, person: &str) -> String {
        let claims = Claims::new(person).audience(AUDIENCE).client("agents").acting(&[agent]);
        self.issuer.mint(claims).unwrap()
    }

    pub fn psql_command(&self, token: &str) -> Command {
        let mut command = Command::new("psql");
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "postgres")
            .env("PGPASSWORD", token)
            .env("PGDATABASE", "postgres")
            .env("PGSSLMODE", "disable")
            .env("PGCONNECT_TIMEOUT", "10")
            .args(["-X", "-A", "-t", "-q"])
            .stdin(Stdio::null());
        if let Some(authority) = &self.authority {
            command.env("PGSSLMODE", "verify-full").env("PGSSLROOTCERT", authority);
        }
        command
    }

    /// Runs psql; its standard output, and its standard error.
    pub fn psql(&self, args: &[&str]) -> (String, String) {
        self.psql_as(&self.token("alice"), args)
    }

    pub fn psql_as(&self, token: &str, args: &[&str]) -> (String, String) {
        let out = self.psql_command(token).args(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&out.stdout), text(&out.stderr))
    }

    /// Every entry so far, once what was appended is durable.
    pub fn entries(&self) -> Vec<Value> {
        let size = self.log.size();
        if size > 0 {
            self.log.wait_durable_blocking(size - 1).unwrap();
        }
        let mut entries = Vec::new();
        while (entries.len() as u64) < size {
            for (_, bytes) in self.log.read(entries.len() as u64, 1 << 20).unwrap() {
                entries.push(serde_json::from_slice(&bytes).unwrap());
            }
        }
        entries
    }

    /// The entries of one kind, once the sessions that wrote them had time to end.
    pub fn entries_of(&self, kind: &str) -> Vec<Value> {
        self.entries().into_iter().filter(|entry| entry["type"] == kind).collect()
    }

    /// Waits until every session that began has ended.
    pub fn settle(&self) {
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            let entries = self.entries();
            let count = |kind: &str| entries.iter().filter(|e| e["type"] == kind).count();
            if count("session_start") == count("session_end") {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("sessions did not end");
    }
}

fn verifier(iss: &str, more: &str) -> identity::Verifier {
    let config = format!(
        r#"
        [issuer.dev]
        iss = "{iss}"
        audiences = ["{AUDIENCE}"]
        algorithms = ["ES256", "RS256", "EdDSA"]
        may_mint = ["human", "agent"]
        allow_insecure_loopback = true
        [[issuer.dev.rule]]
        name = "people"
        kind = "human"
        when = {{ client_id = {{ equals = "people" }} }}
        groups = "groups"
        [[issuer.dev.rule]]
        name = "agents"
        kind = "agent"
        when = {{ client_id = {{ equals = "agents" }} }}
        groups = "groups"
        actor_from = "act"
        {more}
        "#
    );
    let config: identity::Config = toml::from_str(&config).unwrap();
    let fetcher = identity::HttpFetcher::new(&config).unwrap();
    identity::Verifier::new(&config, fetcher).unwrap()
}

/// The log's key: made here the first time, the same afterwards.
pub fn signer(origin: &str, path: &std::path::Path) -> tlog::Signer {
    if let Ok(der) = std::fs::read(path) {
        return tlog::Signer::from_pkcs8(origin, &der).unwrap();
    }
    let signer = tlog::Signer::generate(origin).unwrap();
    std::fs::write(path, signer.to_pkcs8().unwrap().expose()).unwrap();
    signer
}

async fn open_log(
    dir: &std::path::Path,
    plan: &Plan,
) -> (Log, Arc<Publisher>, LocalJournal, PathBuf) {
    let (origin, store_dir) = ("greffier.test/log", dir.join("store"));
    let signer = signer(origin, &dir.join("signer.der"));
    std::fs::write(dir.join("log.vkey"), signer.verifier().to_string()).unwrap();
    let mut config = LogConfig::new(dir.join("ring"), "test-1");
    if let Some(io) = &plan.io {
        config.io = io.clone();
    }
    config.segments = plan.segments;
    config.segment_bytes = plan.segment_bytes;
    let (log, recovered) = Log::open(config, signer.clone()).unwrap();
    std::fs::create_dir_all(&store_dir).unwrap();
    let store = Store::open(store_dir.to_str().unwrap()).unwrap().log("test-1").unwrap();
    let chunks = ChunkDir::open(&dir.join("chunks"), ChunkConfig::default()).unwrap();
    let mut publishing = PublisherConfig::new((recovered.size, recovered.root));
    publishing.chunks = Some(chunks.clone());
    let publisher =
        Publisher::start(store, Arc::new(log.clone()), signer, publishing).await.unwrap();
    let publisher = Arc::new(publisher);
    let journal = LocalJournal::new(log.clone(), publisher.clone(), chunks);
    (log, publisher, journal, store_dir)
}

fn target(port: u16, plan: &Plan) -> Target {
    let masking: masking::Config = toml::from_str(&plan.masking).unwrap();
    let masking = masking::Policy::compile(&masking, Some(&[7; 32])).unwrap();
    let tls = plan.upstream_ca.as_ref().map(|ca| {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in certificates(ca) {
            roots.add(certificate).unwrap();
        }
        let config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match &plan.upstream_certificate {
            None => config.with_no_client_auth(),
            Some(issued) => {
                use rustls_pki_types::pem::PemObject as _;
                let key = rustls_pki_types::PrivateKeyDer::from_pem_file(&issued.key).unwrap();
                config.with_client_auth_cert(certificates(&issued.certificate), key).unwrap()
            }
        };
        ("localhost".try_into().unwrap(), Arc::new(config))
    });
    Target {
        gate: Arc::new(gate::Target {
            name: "pg".into(),
            recording: plan.recording,
            durability: plan.durability,
            masking: Arc::new(masking),
            operations: plan.operations.as_deref().map(|text| Arc::new(compile_policy(text))),
        }),
        upstream: Upstream { host: "127.0.0.1".into(), port, tls, methods: plan.methods },
        databases: Databases::Any,
        roles: match plan.roles.is_empty() {
            true => vec![RoleRule {
                kinds: vec![],
                groups: vec![],
                subjects: vec![],
                role: plan.role.clone(),
                password: plan.password.clone().map(Secret::new),
            }],
            false => plan.roles.clone(),
        },
        application_name: plan.application_name,
        connect_timeout: Duration::from_secs(10),
        trusted_functions: vec![],
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn certificates(path: &std::path::Path) -> Vec<rustls_pki_types::CertificateDer<'static>> {
    use rustls_pki_types::pem::PemObject as _;
    rustls_pki_types::CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect()
}

fn client_tls(plan: &Plan, dir: &std::path::Path) -> (ClientTls, Option<PathBuf>) {
    use rustls_pki_types::pem::PemObject as _;
    if !plan.tls {
        return (ClientTls::PlainText, None);
    }
    let folder = dir.join("tls");
    std::fs::create_dir_all(&folder).unwrap();
    let authority = testbed::Authority::new(&folder).unwrap();
    let issued = authority.issue("localhost", false).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::from_pem_file(&issued.key).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates(&issued.certificate), key)
        .unwrap();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    (ClientTls::Required(Arc::new(config)), Some(authority.certificate()))
}
