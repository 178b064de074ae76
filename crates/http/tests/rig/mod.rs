//! A whole greffier in the test's own process: an issuer, a log in a temporary folder, a gate, and
//! the proxy on a spare port, in front of a small service.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the rig")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a rig that can't be set up fails its test"
)]

pub mod h2;
pub mod login;
pub mod service;
pub mod tap;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use audit_sink::store::{ChunkConfig, ChunkDir, Publisher, PublisherConfig, Store};
use audit_sink::{Log, LogConfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dev_issuer::{Claims, DevIssuer};
use gate::local::LocalJournal;
use gate::{Durability, Gate, RecordingLevel};
use http_proxy::{BrowserLogin, Config, Proxy, Route, Target, Upstream};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

pub const AUDIENCE: &str = "https://greffier.test";

/// A change to a target.
pub type Change = Box<dyn Fn(&mut Target)>;

/// What to set up.
pub struct Plan {
    pub policy: String,
    pub masking: String,
    pub recording: RecordingLevel,
    pub durability: Durability,
    pub segments: u32,
    /// The issuers, in place of the rig's own.
    pub identity: Option<String>,
    /// How browsers log in.
    pub login: Option<identity::CodeFlow>,
    /// Changes to the target.
    pub target: fn(&mut Target),
    /// The same, by what a test has at hand.
    pub change: Option<Change>,
    /// Changes to the proxy.
    pub config: fn(&mut Config),
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            policy: "default = \"allow\"".into(),
            masking: "version = 1".into(),
            recording: RecordingLevel::Full,
            durability: Durability::BeforeExecute,
            segments: 8,
            identity: None,
            login: None,
            target: |_| {},
            change: None,
            config: |_| {},
        }
    }
}

pub struct Rig {
    pub port: u16,
    pub issuer: DevIssuer,
    pub log: Log,
    pub verifier: identity::Verifier,
    pub gate: Gate,
    pub runtime: Runtime,
    pub dir: tempfile::TempDir,
    pub publisher: Arc<Publisher>,
}

fn compile_policy(text: &str) -> policy::Policy {
    let known = policy::Known {
        vocabularies: &[http_proxy::VOCABULARY, http_proxy::mcp::VOCABULARY],
        targets: None,
        kinds: None,
    };
    policy::Policy::compile(&toml::from_str(text).unwrap(), &known).unwrap()
}

impl Rig {
    /// A rig before the rig's own service.
    pub fn start() -> Rig {
        Rig::with(Plan::default())
    }

    pub fn with(plan: Plan) -> Rig {
        let port = service::start();
        Rig::before(port, plan)
    }

    /// A rig whose target `app` listens on this port.
    pub fn before(port: u16, plan: Plan) -> Rig {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        let dir = tempfile::Builder::new().prefix("greffier-rig-").tempdir().unwrap();
        let _guard = runtime.enter();
        let issuer = runtime.block_on(DevIssuer::start()).unwrap();
        let identity = match &plan.identity {
            None => identity_config(issuer.iss()),
            Some(text) => toml::from_str(text).unwrap(),
        };
        let fetcher = identity::HttpFetcher::new(&identity).unwrap();
        let verifier = identity::Verifier::new(&identity, fetcher).unwrap();
        let (log, publisher, journal) = runtime.block_on(open_log(dir.path(), plan.segments));
        let policy = Arc::new(compile_policy(&plan.policy));
        let gate = Gate::new(Arc::new(verifier.clone()), policy, Arc::new(journal));
        let masking = toml::from_str(&plan.masking).unwrap();
        let masking = masking::Policy::compile(&masking, Some(&[7; 32])).unwrap();
        let mut shared = gate::Target::new("app", masking);
        (shared.recording, shared.durability) = (plan.recording, plan.durability);
        let mut target = Target {
            gate: Arc::new(shared),
            upstream: Upstream::plain("127.0.0.1", port),
            route: Route::default(),
            mcp: None,
            kubernetes: None,
            assertion: None,
            upgrades: false,
            max_body: None,
            answer_timeout: Duration::from_secs(20),
            answer_stall: http_proxy::ANSWER_STALL,
        };
        (plan.target)(&mut target);
        if let Some(change) = &plan.change {
            change(&mut target);
        }
        let mut config = Config::loopback(vec![Arc::new(target)]);
        config.login = plan.login.map(|flow| BrowserLogin {
            flow: identity::CodeLogin::new(&identity, flow).unwrap(),
            verifier: verifier.clone(),
        });
        (plan.config)(&mut config);
        let port = serve(Proxy::new(gate.clone(), config));
        Rig { port, issuer, log, verifier, gate, runtime, dir, publisher }
    }

    /// A token for a person of this name.
    pub fn token(&self, name: &str) -> String {
        self.issuer.mint(Claims::new(name).audience(AUDIENCE).client("people")).unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// `curl` as alice, with these arguments before the URL of this path.
    pub fn curl(&self, args: &[&str], path: &str) -> Said {
        let token = format!("Authorization: Bearer {}", self.token("alice"));
        Said::of(curl().args(["-H", &token]).args(args).arg(self.url(path)))
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

    /// The entries of one kind.
    pub fn entries_of(&self, kind: &str) -> Vec<Value> {
        self.entries().into_iter().filter(|entry| entry["type"] == kind).collect()
    }

    /// The commands, each with its response; waits until every allowed one has one.
    pub fn exchanges(&self) -> Vec<(Value, Value)> {
        for _ in 0..1000 {
            let (commands, responses) = (self.entries_of("command"), self.entries_of("response"));
            let with_answer = commands.into_iter().map(|command| {
                let same = |it: &&Value| {
                    it["command"] == command["command"] && it["session"] == command["session"]
                };
                let response = responses.iter().find(same).cloned().unwrap_or(Value::Null);
                (command, response)
            });
            let all: Vec<_> = with_answer.collect();
            if all.iter().all(|(it, answer)| it["verdict"] != "allow" || !answer.is_null()) {
                return all;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("a command has no outcome: {:?}", self.entries());
    }

    /// All that is recorded of an exchange's answer, from its entries and its chunks.
    pub fn recorded(&self, exchange: &(Value, Value)) -> Vec<u8> {
        let (command, response) = exchange;
        let mut entries = self.entries_of("output");
        entries.retain(|it| {
            it["session"] == command["session"] && it["command"] == command["command"]
        });
        entries.push(response.clone());
        let mut all = Vec::new();
        for entry in &entries {
            all.extend(self.objects(&entry["chunks"]));
            let data = entry["data"]["base64"].as_str().unwrap_or_default();
            all.extend(STANDARD.decode(data).unwrap());
        }
        all
    }

    /// The bytes of objects that an entry names: they are in the store, or on their way to it.
    pub fn objects(&self, chunks: &Value) -> Vec<u8> {
        let one = |chunk: &Value| {
            let name = chunk["sha256"].as_str().unwrap();
            let places = [
                self.dir.path().join("chunks").join(name),
                self.dir.path().join("store/blobs").join(name),
            ];
            (0..500)
                .find_map(|_| {
                    let found = places.iter().find_map(|path| std::fs::read(path).ok());
                    if found.is_none() {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    found
                })
                .unwrap_or_else(|| panic!("no object {name}"))
        };
        chunks.as_array().into_iter().flatten().flat_map(one).collect()
    }
}

/// `curl` that says nothing of its own, and gives up in time.
pub fn curl() -> Command {
    let mut curl = Command::new("curl");
    curl.args(["-q", "-sS", "--max-time", "30"]).env_remove("http_proxy").env_remove("all_proxy");
    curl
}

/// What a program said.
#[derive(Debug)]
pub struct Said {
    pub out: Vec<u8>,
    pub err: String,
    pub code: Option<i32>,
}

impl Said {
    pub fn of(command: &mut Command) -> Said {
        let Output { stdout, stderr, status } = command.output().unwrap();
        let err = String::from_utf8_lossy(&stderr).into_owned();
        Said { out: stdout, err, code: status.code() }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// Serves a proxy on a spare port, on a thread of its own as the programs do.
pub fn serve(proxy: Proxy) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (tcp, peer) = listener.accept().await.unwrap();
                tcp.set_nodelay(true).unwrap();
                let proxy = proxy.clone();
                tokio::task::spawn_local(async move {
                    proxy.serve(tcp, peer, std::future::pending()).await;
                });
            }
        });
    });
    port
}

fn identity_config(iss: &str) -> identity::Config {
    let text = format!(
        "[issuer.dev]\niss = \"{iss}\"\naudiences = [\"{AUDIENCE}\"]\nalgorithms = [\"ES256\", \
         \"EdDSA\"]\nmay_mint = [\"human\"]\nallow_insecure_loopback = true\n\
         [[issuer.dev.rule]]\nname = \"people\"\nkind = \"human\"\n"
    );
    toml::from_str(&text).unwrap()
}

async fn open_log(dir: &Path, segments: u32) -> (Log, Arc<Publisher>, LocalJournal) {
    let (origin, store) = ("greffier.test/log", dir.join("store"));
    let signer = tlog::Signer::generate(origin).unwrap();
    std::fs::write(dir.join("log.vkey"), signer.verifier().to_string()).unwrap();
    let mut config = LogConfig::new(dir.join("ring"), "test-1");
    config.segments = segments;
    config.segment_bytes = 16 * 1024 * 1024;
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
