//! A whole greffier in the test's own process: an issuer, a log in a temporary folder, a gate,
//! and the proxy on a spare port, in front of an sshd that the testbed started.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the rig")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a rig that can't be set up fails its test"
)]

pub mod between;
pub mod clear;
pub mod raw;
pub mod tools;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use audit_sink::store::{
    ChunkConfig, ChunkDir, Publisher, PublisherConfig, Reader, Store, VerifyOptions, verify,
};
use audit_sink::{Log, LogConfig};
use dev_issuer::{Claims, DevIssuer};
use gate::local::LocalJournal;
use gate::{Durability, Gate, RecordingLevel};
use identity::{DeviceFlow, DeviceLogin};
use serde_json::Value;
use ssh::{
    Allow, Authority, ChannelRules, Config, Credential, Credentials, HostTrust, LoginRule, Proxy,
    PublicKey, SecretKey, Target, Upstream,
};
use testbed::Sshd;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

pub const AUDIENCE: &str = "https://greffier.test";

/// What a rig's target may be asked for.
pub const EVERYTHING: Allow = Allow {
    exec: true,
    shell: true,
    sftp: true,
    scp: true,
    local_forward: true,
    remote_forward: true,
    local_streamlocal: true,
    remote_streamlocal: true,
    agent: true,
    x11: true,
};

/// What to set up.
pub struct Plan {
    pub policy: String,
    pub masking: String,
    pub recording: RecordingLevel,
    pub durability: Durability,
    pub rules: ChannelRules,
    /// How to know the target; its host key if absent.
    pub trust: Option<HostTrust>,
    /// How to log in there; its client key if absent.
    pub credential: Option<Credential>,
    /// What the client may ask to be; the server's account if empty.
    pub logins: Vec<LoginRule>,
    pub credentials: Credentials,
    pub login_timeout: Duration,
    pub max_unauthenticated: usize,
    pub lifetime: Duration,
    pub segments: u32,
    pub segment_bytes: u64,
    /// Where the log and its key are kept, if they are to outlive the rig.
    pub data: Option<PathBuf>,
    /// More issuers, `[issuer.NAME]` sections.
    pub issuers: String,
    /// A login by browser; `dev` is the rig's own issuer.
    pub device_flow: Option<DeviceFlow>,
    /// How long a target may take to let us in.
    pub connect_timeout: Duration,
    /// How the log's files are opened; faults go here.
    pub io: Option<Arc<dyn audit_sink::io::Io>>,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            policy: "default = \"allow\"".into(),
            masking: "version = 1".into(),
            recording: RecordingLevel::Full,
            durability: Durability::BeforeExecute,
            rules: ChannelRules {
                allow: Allow { exec: true, shell: true, ..Allow::default() },
                env: vec!["LANG".into(), "LC_*".into(), "TEST_*".into()],
                ..ChannelRules::default()
            },
            trust: None,
            credential: None,
            logins: vec![],
            credentials: Credentials::ALL,
            login_timeout: Duration::from_secs(20),
            max_unauthenticated: 100,
            lifetime: Duration::from_secs(600),
            segments: 8,
            segment_bytes: 16 * 1024 * 1024,
            data: None,
            issuers: String::new(),
            device_flow: None,
            connect_timeout: Duration::from_secs(10),
            io: None,
        }
    }
}

pub struct Rig {
    pub port: u16,
    pub issuer: DevIssuer,
    pub log: Log,
    pub verifier: identity::Verifier,
    pub gate: Gate,
    pub authority: SecretKey,
    /// The account on the target.
    pub login: String,
    pub runtime: Runtime,
    pub dir: tempfile::TempDir,
    pub publisher: Arc<Publisher>,
    /// Where the log, its key and its store are.
    pub data: PathBuf,
}

fn compile_policy(text: &str) -> policy::Policy {
    let known = policy::Known { vocabularies: &[ssh::VOCABULARY], targets: None, kinds: None };
    policy::Policy::compile(&toml::from_str(text).unwrap(), &known).unwrap()
}

impl Rig {
    pub fn start(sshd: &Sshd) -> Rig {
        Rig::with(sshd, Plan::default())
    }

    /// A rig whose target `web1` is this server.
    pub fn with(sshd: &Sshd, plan: Plan) -> Rig {
        let host_key = PublicKey::parse(&sshd.host_key().unwrap());
        let trust = plan
            .trust
            .clone()
            .unwrap_or_else(|| HostTrust { keys: vec![host_key.unwrap()], authorities: vec![] });
        let credential = plan.credential.clone().unwrap_or_else(|| {
            let key = std::fs::read_to_string(sshd.client_key()).unwrap();
            Credential::Key(SecretKey::parse(&key).unwrap())
        });
        Rig::before(sshd.port(), sshd.login(), trust, credential, plan)
    }

    /// A rig before whatever listens on a port.
    pub fn before(
        port: u16,
        login: &str,
        trust: HostTrust,
        credential: Credential,
        plan: Plan,
    ) -> Rig {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        let dir = tempfile::Builder::new().prefix("greffier-rig-").tempdir().unwrap();
        let _guard = runtime.enter();
        let issuer = runtime.block_on(DevIssuer::start()).unwrap();
        let identity = identity_config(issuer.iss(), &plan.issuers);
        let fetcher = identity::HttpFetcher::new(&identity).unwrap();
        let verifier = identity::Verifier::new(&identity, fetcher).unwrap();
        let data = plan.data.clone().unwrap_or_else(|| dir.path().to_owned());
        let (log, publisher, journal) = runtime.block_on(open_log(&data, &plan));
        let policy = Arc::new(compile_policy(&plan.policy));
        let gate = Gate::new(Arc::new(verifier.clone()), policy, Arc::new(journal));
        let authority = SecretKey::generate().unwrap();
        let host_key = SecretKey::generate().unwrap();
        let upstream = Upstream { host: "127.0.0.1".into(), port, trust, credential };
        let target = Arc::new(target(upstream, login, &plan));
        let mut config = Config::new(vec![target], host_key.clone());
        config.authority =
            Some(Authority { key: authority.clone(), trusted: vec![], lifetime: plan.lifetime });
        config.credentials = plan.credentials;
        let device_login = |flow: &DeviceFlow| DeviceLogin::new(&identity, flow.clone()).unwrap();
        config.device_login = plan.device_flow.as_ref().map(device_login);
        config.login_timeout = plan.login_timeout;
        config.max_unauthenticated = plan.max_unauthenticated;
        let port = serve(&runtime, Proxy::new(gate.clone(), config));
        client_files(dir.path(), port, &host_key.public());
        Rig {
            port,
            issuer,
            log,
            verifier,
            gate,
            authority,
            login: login.to_owned(),
            runtime,
            dir,
            publisher,
            data,
        }
    }

    /// A token for a person of this name.
    pub fn token(&self, name: &str) -> String {
        self.issuer.mint(Claims::new(name).audience(AUDIENCE).client("people")).unwrap()
    }

    /// `LOGIN+web1` for the account that there is.
    pub fn user(&self) -> String {
        format!("{}+web1", self.login)
    }

    /// An OpenSSH program that goes to the rig, with a token where it asks for one. `ssh`, `sftp`
    /// and `scp` take the same options; the destination is to be `gw`.
    pub fn program(&self, program: &str, token: &str) -> Command {
        self.program_as(program, &self.user(), token)
    }

    /// As [`Rig::program`], under this user name.
    pub fn program_as(&self, program: &str, user: &str, token: &str) -> Command {
        self::program(self.dir.path(), program, user, token)
    }

    pub fn ssh_command(&self) -> Command {
        self.program("ssh", &self.token("alice"))
    }

    /// Runs `ssh gw` with these arguments behind it.
    pub fn ssh(&self, args: &[&str]) -> Said {
        Said::of(self.ssh_command().arg("gw").args(args))
    }

    /// Runs `ssh` with these options before the destination, and a token of alice's.
    pub fn ssh_with(&self, options: &[&str], args: &[&str]) -> Said {
        Said::of(self.ssh_command().args(options).arg("gw").args(args))
    }

    /// The store goes away: a file lies where its folder was. Comes back with what this gives.
    pub fn without_store(&self) -> impl FnOnce() + use<> {
        let store = self.data.join("store");
        let aside = store.with_extension("aside");
        std::fs::rename(&store, &aside).unwrap();
        std::fs::write(&store, b"").unwrap();
        move || {
            std::fs::remove_file(&store).unwrap();
            std::fs::rename(&aside, &store).unwrap();
        }
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

    /// Every entry that was ever made, from the store, after it was verified.
    pub fn published(&self) -> Vec<Value> {
        self.runtime.block_on(async {
            self.publisher.wait_published(self.log.size()).await.unwrap();
            let store = Store::open(self.data.join("store").to_str().unwrap()).unwrap();
            let log = store.log("test-1").unwrap();
            let key = signer(&self.data).verifier().clone();
            let report = verify(&log, &key, &VerifyOptions::default()).await.unwrap();
            assert!(report.failures.is_empty(), "{report:?}");
            let reader = Reader::open(&log, &key).await.unwrap().unwrap();
            let mut range = reader.range(0, u64::MAX);
            let mut entries = Vec::new();
            while let Some((_, bytes)) = range.next().await.unwrap() {
                entries.push(serde_json::from_slice(&bytes).unwrap());
            }
            entries
        })
    }

    /// The entries of one kind.
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

    /// A key pair `name` for a client, made by `ssh-keygen` in the rig's folder; its public line.
    pub fn client_key(&self, name: &str) -> (PathBuf, String) {
        let path = self.dir.path().join(name);
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&path);
        assert!(keygen.status().unwrap().success());
        let line = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        (path, line.trim().to_owned())
    }

    /// Trades a token for a certificate by OpenSSH itself, beside the key of this path.
    pub fn fetch_certificate(&self, token: &str, line: &str, names: &[&str]) -> Said {
        let mut ssh = self.program_as("ssh", "greffier-cert", token);
        ssh.args(["gw", "issue", line]);
        Said::of(ssh.args(names))
    }
}

/// An OpenSSH program that goes to the rig with this folder.
pub fn program(dir: &Path, program: &str, user: &str, token: &str) -> Command {
    let mut command = Command::new(program);
    command
        .arg("-F")
        .arg(dir.join("ssh_config"))
        .args(["-o", &format!("User={user}")])
        .env("SSH_ASKPASS", dir.join("askpass"))
        .env("SSH_ASKPASS_REQUIRE", "force")
        .env("GREFFIER_TEST_TOKEN", token)
        .env_remove("SSH_AUTH_SOCK")
        .stdin(Stdio::null());
    command
}

/// What a program said.
#[derive(Debug)]
pub struct Said {
    pub out: String,
    pub err: String,
    pub code: Option<i32>,
}

impl Said {
    pub fn of(command: &mut Command) -> Said {
        let Output { stdout, stderr, status } = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { out: text(&stdout), err: text(&stderr), code: status.code() }
    }
}

/// Serves a proxy on a spare port.
pub fn serve(runtime: &Runtime, proxy: Proxy) -> u16 {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(async move {
        loop {
            let (tcp, peer) = listener.accept().await.unwrap();
            let proxy = proxy.clone();
            tokio::spawn(async move { proxy.serve(tcp, peer, std::future::pending()).await });
        }
    });
    port
}

/// What OpenSSH's programs are given: a configuration, the proxy's host key, and a program that
/// answers for the person.
fn client_files(dir: &Path, port: u16, host_key: &PublicKey) {
    let askpass = dir.join("askpass");
    std::fs::write(&askpass, "#!/bin/sh\nprintf '%s\\n' \"$GREFFIER_TEST_TOKEN\"\n").unwrap();
    std::fs::set_permissions(&askpass, std::fs::Permissions::from_mode(0o700)).unwrap();
    let known = dir.join("known_hosts");
    std::fs::write(&known, format!("gw {}\n", host_key.to_line().unwrap())).unwrap();
    let config = format!(
        "Host gw\nHostName 127.0.0.1\nPort {port}\nHostKeyAlias gw\nUserKnownHostsFile {}\n\
         GlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\nIdentitiesOnly yes\n\
         IdentityFile none\nPreferredAuthentications password\nNumberOfPasswordPrompts 1\n\
         ConnectTimeout 20\nLogLevel INFO\n",
        known.display()
    );
    std::fs::write(dir.join("ssh_config"), config).unwrap();
}

fn identity_config(iss: &str, more: &str) -> identity::Config {
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
        {more}
        "#
    );
    toml::from_str(&config).unwrap()
}

/// The key of the log in this folder, made if there is none.
pub fn signer(dir: &Path) -> tlog::Signer {
    let (origin, path) = ("greffier.test/log", dir.join("signer.der"));
    if let Ok(der) = std::fs::read(&path) {
        return tlog::Signer::from_pkcs8(origin, &der).unwrap();
    }
    let signer = tlog::Signer::generate(origin).unwrap();
    std::fs::write(&path, signer.to_pkcs8().unwrap().expose()).unwrap();
    signer
}

async fn open_log(dir: &Path, plan: &Plan) -> (Log, Arc<Publisher>, LocalJournal) {
    let store = dir.join("store");
    let signer = signer(dir);
    std::fs::write(dir.join("log.vkey"), signer.verifier().to_string()).unwrap();
    let mut config = LogConfig::new(dir.join("ring"), "test-1");
    if let Some(io) = &plan.io {
        config.io = io.clone();
    }
    (config.segments, config.segment_bytes) = (plan.segments, plan.segment_bytes);
    let (log, recovered) = Log::open(config, signer.clone()).unwrap();
    std::fs::create_dir_all(&store).unwrap();
    let store = Store::open(store.to_str().unwrap()).unwrap().log("test-1").unwrap();
    let chunks = ChunkDir::open(&dir.join("chunks"), ChunkConfig::default()).unwrap();
    let mut publishing = PublisherConfig::new((recovered.size, recovered.root));
    publishing.chunks = Some(chunks.clone());
    let publisher = Publisher::start(store, Arc::new(log.clone()), signer, publishing).await;
    let publisher = Arc::new(publisher.unwrap());
    let journal = LocalJournal::new(log.clone(), publisher.clone(), chunks);
    (log, publisher, journal)
}

fn target(upstream: Upstream, login: &str, plan: &Plan) -> Target {
    let masking: masking::Config = toml::from_str(&plan.masking).unwrap();
    let masking = masking::Policy::compile(&masking, Some(&[7; 32])).unwrap();
    let logins = if plan.logins.is_empty() {
        vec![LoginRule { logins: vec![login.to_owned()], ..LoginRule::default() }]
    } else {
        plan.logins.clone()
    };
    Target {
        gate: Arc::new(gate::Target {
            name: "web1".into(),
            recording: plan.recording,
            durability: plan.durability,
            masking: Arc::new(masking),
            operations: None,
        }),
        upstream,
        logins,
        rules: Arc::new(plan.rules.clone()),
        connect_timeout: plan.connect_timeout,
    }
}
