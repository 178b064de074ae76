//! A proxy that is run as a program, before a real server.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use audit_sink::store::{Reader, Store, VerifyOptions, verify};
use dev_issuer::{Claims, DevIssuer};
use serde_json::Value;
use testbed::{Auth, PgOptions, Postgres, Program, require};
use tokio::runtime::Runtime;

pub const PROXY: &str = env!("CARGO_BIN_EXE_greffier-postgres");
const AUDIENCE: &str = "https://greffier.test";
pub const ORIGIN: &str = "greffier.test/pg-1";

pub struct Bench {
    pub runtime: Runtime,
    issuer: DevIssuer,
    pub postgres: Postgres,
    pub dir: tempfile::TempDir,
    pub vkey: tlog::Verifier,
}

impl Bench {
    pub fn new() -> Option<Self> {
        let options = PgOptions { auth: Auth::Scram, ..PgOptions::default() };
        let postgres = require(Postgres::start(options))?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let issuer = runtime.block_on(DevIssuer::start()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let vkey = config::keygen(&dir.path().join("log.key"), ORIGIN).unwrap();
        let bench = Bench { runtime, issuer, postgres, dir, vkey };
        bench.write_config();
        Some(bench)
    }

    fn write_config(&self) {
        let text = format!(
            r#"
            [[listen]]
            address = "127.0.0.1:0"
            target = "db"
            allow_plain_text = true
            [serve]
            shards = 2
            shutdown_timeout = "20s"
            [audit]
            dir = "state"
            store = "store"
            log_id = "pg-1"
            origin = "{ORIGIN}"
            key = "file:log.key"
            segments = 4
            segment_bytes = "1MiB"
            [issuer.dev]
            iss = "{}"
            audiences = ["{AUDIENCE}"]
            algorithms = ["ES256"]
            may_mint = ["human"]
            allow_insecure_loopback = true
            [[issuer.dev.rule]]
            name = "people"
            kind = "human"
            [policy]
            [[policy.rule]]
            name = "read"
            effect = "allow"
            when = {{ class = ["session", "read"] }}
            [target.db]
            protocol = "postgres"
            host = "127.0.0.1"
            port = {}
            database = "postgres"
            tls = "disable"
            [[target.db.role]]
            role = "postgres"
            password = "env:UPSTREAM_PASSWORD"
            "#,
            self.issuer.iss(),
            self.postgres.port()
        );
        fs::write(self.config(), text).unwrap();
    }

    fn config(&self) -> std::path::PathBuf {
        self.dir.path().join("greffier.toml")
    }

    fn token(&self) -> String {
        self.issuer.mint(Claims::new("alice").audience(AUDIENCE).client("people")).unwrap()
    }

    pub fn start(&self) -> Proxy {
        self.start_as(Command::new(PROXY))
    }

    /// Starts the proxy by a command that ends in its own.
    pub fn start_as(&self, mut command: Command) -> Proxy {
        command
            .arg("--config")
            .arg(self.config())
            .env("UPSTREAM_PASSWORD", self.postgres.password())
            .env_remove("RUST_LOG");
        let mut program = Program::heard_on_stderr(&mut command).unwrap();
        let (ready, port) = program.ready().unwrap();
        assert!(ready.contains(&self.vkey.to_string()), "{ready}");
        Proxy { program, port }
    }

    pub fn psql(&self, proxy: &Proxy) -> Command {
        let mut psql = Command::new("psql");
        self.as_alice(proxy, psql.arg("-XAtq"));
        psql
    }

    /// Has a client of libpq connect through the proxy.
    pub fn as_alice(&self, proxy: &Proxy, client: &mut Command) {
        client
            .args(["-h", "127.0.0.1", "-p", &proxy.port.to_string(), "-U", "alice"])
            .env("PGDATABASE", "db")
            .env("PGPASSWORD", self.token())
            .env("PGSSLMODE", "disable")
            .stdin(Stdio::null());
    }

    pub fn query(&self, proxy: &Proxy, sql: &str) -> Output {
        self.psql(proxy).args(["-c", sql]).output().unwrap()
    }

    /// Verifies the store, and gives the `type` of every entry with verdict and text of commands.
    pub fn verified(&self) -> Vec<String> {
        self.verified_at(&self.dir.path().join("store"))
    }

    /// As [`Bench::verified`], of a copy of the store.
    pub fn verified_at(&self, store: &Path) -> Vec<String> {
        let kind = |entry: &Value| match entry["type"].as_str().unwrap() {
            "command" => {
                format!("command {}: {}", entry["verdict"], entry["text"]).replace('"', "")
            }
            kind => kind.to_owned(),
        };
        self.entries_at(store).iter().map(kind).collect()
    }

    /// Verifies the store, and gives its entries.
    pub fn entries(&self) -> Vec<Value> {
        self.entries_at(&self.dir.path().join("store"))
    }

    fn entries_at(&self, store: &Path) -> Vec<Value> {
        let store = Store::open(store.to_str().unwrap()).unwrap();
        let log = store.log("pg-1").unwrap();
        self.runtime.block_on(async {
            let report = verify(&log, &self.vkey, &VerifyOptions::default()).await.unwrap();
            assert!(report.failures.is_empty(), "{report:?}");
            // Nothing was published yet.
            let Some(reader) = Reader::open(&log, &self.vkey).await.unwrap() else {
                return Vec::new();
            };
            let mut range = reader.range(0, u64::MAX);
            let mut entries = Vec::new();
            while let Some((_, bytes)) = range.next().await.unwrap() {
                entries.push(serde_json::from_slice(&bytes).unwrap());
            }
            entries
        })
    }
}

pub struct Proxy {
    pub program: Program,
    port: u16,
}

impl Proxy {
    pub fn end(self) -> Option<i32> {
        self.program.end().unwrap()
    }

    pub fn kill(self) {
        self.program.kill().unwrap();
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn count(kinds: &[String], kind: &str) -> usize {
    kinds.iter().filter(|k| k.starts_with(kind)).count()
}
