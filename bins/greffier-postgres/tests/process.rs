//! The binary from outside: started, used by psql, ended in order, killed, started again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what can't be set up fails its test"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use audit_sink::store::{Reader, Store, VerifyOptions, verify};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dev_issuer::{Claims, DevIssuer};
use records::{Body, Entry};
use rustix::process::{Pid, Signal, kill_process};
use testbed::{Auth, PgOptions, Postgres, require};
use tokio::runtime::Runtime;

const AUDIENCE: &str = "https://greffier.test";
const ORIGIN: &str = "greffier.test/pg-1";
/// How long the process may take to get ready: it fills a new ring, and the tests run side by side.
const READY: Duration = Duration::from_secs(60);

struct Bench {
    runtime: Runtime,
    issuer: DevIssuer,
    postgres: Postgres,
    dir: tempfile::TempDir,
    vkey: tlog::Verifier,
}

impl Bench {
    fn new() -> Option<Self> {
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

    fn start(&self) -> Proxy {
        let mut child = Command::new(env!("CARGO_BIN_EXE_greffier-postgres"))
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

    fn psql(&self, proxy: &Proxy) -> Command {
        let mut psql = Command::new("psql");
        psql.args(["-XAtq", "-h", "127.0.0.1", "-p", &proxy.port.to_string()])
            .args(["-U", "alice", "-d", "db"])
            .env("PGPASSWORD", self.token())
            .env("PGSSLMODE", "disable")
            .stdin(Stdio::null());
        psql
    }

    fn query(&self, proxy: &Proxy, sql: &str) -> Output {
        self.psql(proxy).args(["-c", sql]).output().unwrap()
    }

    /// Verifies the store, and gives the `type` of every entry with the text of commands.
    fn verified(&self) -> Vec<String> {
        let store = Store::open(self.dir.path().join("store").to_str().unwrap()).unwrap();
        let log = store.log("pg-1").unwrap();
        self.runtime.block_on(async {
            let report = verify(&log, &self.vkey, &VerifyOptions::default()).await.unwrap();
            assert!(report.failures.is_empty(), "{report:?}");
            let reader = Reader::open(&log, &self.vkey).await.unwrap().unwrap();
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

struct Proxy {
    child: Child,
    lines: Receiver<String>,
    port: u16,
}

impl Proxy {
    fn wait_for(&self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(READY).unwrap_or_else(|_| panic!("no `{text}`"));
            if line.contains(text) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(mut self) -> Option<i32> {
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

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn count(kinds: &[String], kind: &str) -> usize {
    kinds.iter().filter(|k| k.starts_with(kind)).count()
}

#[test]
fn psql_works_and_the_end_drains_and_seals() {
    let Some(bench) = Bench::new() else { return };
    let proxy = bench.start();
    let answer = bench.query(&proxy, "select 40 + 2");
    assert_eq!(text(&answer.stdout), "42\n", "{}", text(&answer.stderr));
    let denied = bench.query(&proxy, "create table t (a int)");
    assert!(text(&denied.stderr).contains("ERROR"), "{denied:?}");

    // One session at rest, one in the middle of a statement.
    let mut idle = bench.psql(&proxy);
    let idle = idle.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut idle = idle.spawn().unwrap();
    idle.stdin.as_mut().unwrap().write_all(b"select 'here';\n").unwrap();
    let mut first = [0; 5];
    idle.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    let busy = bench
        .psql(&proxy)
        .args(["-c", "select 'slept' from (select pg_sleep(3)) s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !bench.postgres.log().unwrap().contains("pg_sleep") {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(proxy.end(), Some(0));
    let busy = busy.wait_with_output().unwrap();
    assert_eq!(text(&busy.stdout), "slept\n", "{}", text(&busy.stderr));
    idle.stdin.as_mut().unwrap().write_all(b"select 'gone';\n").unwrap();
    let idle = idle.wait_with_output().unwrap();
    assert!(text(&idle.stderr).contains("greffier is shutting down"), "{idle:?}");

    let kinds = bench.verified();
    assert_eq!(kinds[..2], ["log_opened", "config_loaded"], "{kinds:#?}");
    assert_eq!(kinds.last().unwrap(), "log_sealed", "{kinds:#?}");
    assert_eq!(count(&kinds, "session_start"), 4, "{kinds:#?}");
    assert_eq!(count(&kinds, "session_end"), 4, "{kinds:#?}");
    assert_eq!(count(&kinds, "command allow"), 3, "{kinds:#?}");
    assert_eq!(count(&kinds, "command deny"), 1, "{kinds:#?}");
}

#[test]
fn after_kill_9_everything_acknowledged_is_there() {
    let Some(bench) = Bench::new() else { return };
    let mut proxy = bench.start();
    for n in 0..3 {
        let answer = bench.query(&proxy, &format!("select {n}"));
        assert_eq!(text(&answer.stdout), format!("{n}\n"), "{}", text(&answer.stderr));
    }
    proxy.child.kill().unwrap();
    proxy.child.wait().unwrap();

    let proxy = bench.start();
    let answer = bench.query(&proxy, "select 3");
    assert_eq!(text(&answer.stdout), "3\n", "{}", text(&answer.stderr));
    assert_eq!(proxy.end(), Some(0));
    let kinds = bench.verified();
    assert_eq!(count(&kinds, "log_opened"), 2, "{kinds:#?}");
    assert_eq!(count(&kinds, "log_sealed"), 1, "{kinds:#?}");
    for n in 0..4 {
        let wanted = format!("select {n}");
        assert!(kinds.iter().any(|k| k.contains(&wanted)), "{wanted}: {kinds:#?}");
    }
}

#[test]
fn a_second_signal_cuts_what_is_left() {
    let Some(bench) = Bench::new() else { return };
    let mut proxy = bench.start();
    let mut busy = bench
        .psql(&proxy)
        .args(["-c", "select pg_sleep(600)"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !bench.postgres.log().unwrap().contains("pg_sleep") {
        std::thread::sleep(Duration::from_millis(50));
    }
    proxy.signal(Signal::TERM);
    proxy.wait_for("ending");
    proxy.signal(Signal::INT);
    proxy.wait_for("cut");
    assert_eq!(proxy.child.wait().unwrap().code(), Some(0));
    assert!(!busy.wait().unwrap().success());
    let kinds = bench.verified();
    assert_eq!(kinds.last().unwrap(), "log_sealed", "{kinds:#?}");
    assert_eq!(count(&kinds, "response"), 1, "the statement's outcome is on record: {kinds:#?}");
}

#[test]
fn another_writer_of_the_log_ends_the_process_with_a_failure() {
    let Some(bench) = Bench::new() else { return };
    let mut proxy = bench.start();
    let seed = STANDARD.decode(fs::read(bench.dir.path().join("log.key")).unwrap().trim_ascii());
    let signer = tlog::Signer::from_seed(ORIGIN, &seed.unwrap().try_into().unwrap()).unwrap();
    let store = Store::open(bench.dir.path().join("store").to_str().unwrap()).unwrap();
    let log = store.log("pg-1").unwrap();
    let claim = log.claim_epoch(&signer, (0, tlog::Hash([0; 32])), "another");
    bench.runtime.block_on(claim).unwrap();
    // Whether this is still answered or not: publishing it finds the claim.
    let _either = bench.query(&proxy, "select 1");
    proxy.wait_for("nothing can be recorded any more");
    assert_eq!(proxy.child.wait().unwrap().code(), Some(1));
}

fn check(file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_greffier-postgres"))
        .args(["--check", "--config"])
        .arg(file)
        .env("UPSTREAM_PASSWORD", "canary")
        .output()
        .unwrap()
}

#[test]
fn mistakes_are_told_with_their_lines_and_status_2() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("greffier.toml");
    fs::write(&file, "[[listen]]\nadress = \"127.0.0.1:0\"\n[target.db]\nprotocol = \"x\"\n")
        .unwrap();
    let out = check(&file);
    assert_eq!(out.status.code(), Some(2));
    let told = text(&out.stderr);
    let name = file.display();
    for line in [
        format!("{name}:2:1: listen[0].adress: unknown key; did you mean `address`?"),
        format!("{name}:4:1: target.db.protocol: unknown protocol; there are: postgres"),
        format!("{name}:1:1: audit: the section is missing; "),
    ] {
        assert!(told.contains(&line), "{line}\n{told}");
    }
    let none = check(&dir.path().join("nowhere.toml"));
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("No such file"), "{none:?}");
}
