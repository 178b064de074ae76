//! A proxy that is run as a program, before a real server.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use audit_sink::store::{Reader, Store, VerifyOptions, verify};
use dev_issuer::{Claims, DevIssuer};
use records::{Body, Entry};
use rustix::process::{Pid, Signal, kill_process};
use testbed::{Auth, PgOptions, Postgres, require};
use tokio::runtime::Runtime;

pub const PROXY: &str = env!("CARGO_BIN_EXE_greffier-postgres");
const AUDIENCE: &str = "https://greffier.test";
pub const ORIGIN: &str = "greffier.test/pg-1";
/// How long the process may take to get ready: it fills a new ring, and the tests run side by side.
const READY: Duration = Duration::from_secs(60);

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
        let mut child = command
            .arg("--config")
            .arg(self.config())
            .env("UPSTREAM_PASSWORD", self.postgres.password())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                eprintln!("proxy: {line}");
                let _test_is_over = sender.send(line);
            }
        });
        let mut proxy = Proxy { child, lines, port: 0 };
        let ready = proxy.wait_for(" is ready ");
        assert!(ready.contains(&self.vkey.to_string()), "{ready}");
        let port = ready.split("127.0.0.1:").nth(1).unwrap();
        proxy.port = port.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
        proxy
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

    /// Verifies the store, and gives the `type` of every entry with the text of commands.
    pub fn verified(&self) -> Vec<String> {
        self.verified_at(&self.dir.path().join("store"))
    }

    /// As [`Bench::verified`], of a copy of the store.
    pub fn verified_at(&self, store: &Path) -> Vec<String> {
        let store = Store::open(store.to_str().unwrap()).unwrap();
        let log = store.log("pg-1").unwrap();
        self.runtime.block_on(async {
            let report = verify(&log, &self.vkey, &VerifyOptions::default()).await.unwrap();
            assert!(report.failures.is_empty(), "{report:?}");
            // Nothing was published yet.
            let Some(reader) = Reader::open(&log, &self.vkey).await.unwrap() else {
                return Vec::new();
            };
            let mut entries = reader.range(0, u64::MAX);
            let mut kinds = Vec::new();
            while let Some((_, bytes)) = entries.next().await.unwrap() {
                let entry = Entry::from_json(&bytes).unwrap();
                kinds.push(match &entry.body {
                    Body::Command(command) => {
                        format!("command {}: {:?}", command.verdict, command.text)
                    }
                    body => body.kind().to_owned(),
                });
            }
            kinds
        })
    }
}

pub struct Proxy {
    pub child: Child,
    lines: Receiver<String>,
    port: u16,
}

impl Proxy {
    pub fn wait_for(&self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(READY).unwrap_or_else(|_| panic!("no `{text}`"));
            if line.contains(text) {
                return line;
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn end(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn count(kinds: &[String], kind: &str) -> usize {
    kinds.iter().filter(|k| k.starts_with(kind)).count()
}
