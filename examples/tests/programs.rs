//! The examples, run as a user runs them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use dev_issuer::{Claims, DevIssuer};
use serde_json::Value;
use testbed::{PgOptions, Postgres, require};
use tokio_postgres::{NoTls, SimpleQueryMessage};

const AUDIENCE: &str = "https://db.example";

/// Runs a program to its end; the pieces of its input are written one after the other.
fn run(program: &mut Command, input: &[&str]) -> Output {
    let piped = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for piece in input {
        stdin.write_all(piece.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn masking_alone_masks_across_pieces() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_masking_alone"));
    let out = run(&mut program, &["jane@exam", "ple.com paid with 4111 1111", " 1111 1111\n"]);
    assert_eq!(text(&out.stdout), "<EMAIL_ADDRESS> paid with ***************1111\n");
    assert_eq!(text(&out.stderr), "1 CREDIT_CARD\n1 EMAIL_ADDRESS\n");
    assert!(out.status.success());
}

#[test]
fn audit_alone_goes_on_where_it_ended_and_sees_a_changed_byte() {
    let dir = tempfile::tempdir().unwrap();
    let program = || {
        let mut program = Command::new(env!("CARGO_BIN_EXE_audit_alone"));
        program.arg(dir.path());
        program
    };
    let first = run(&mut program(), &["alice opened the safe\nbob closed it\n"]);
    assert!(first.status.success(), "{first:?}");
    let said = text(&first.stdout);
    assert!(said.starts_with("0: on record\n1: on record\n2 entries verified"), "{said}");
    let second = run(&mut program(), &["carol asked why\n"]);
    assert!(second.status.success(), "{second:?}");
    assert!(text(&second.stdout).starts_with("2: on record\n3 entries verified"), "{second:?}");

    let bundle = dir.path().join("store/logs/safe-1/tile/entries/000.p/3");
    let mut bytes = std::fs::read(&bundle).unwrap();
    bytes[2] ^= 1; // behind the first entry's length
    std::fs::write(&bundle, bytes).unwrap();
    let third = run(&mut program(), &[]);
    assert!(!third.status.success(), "{third:?}");
}

/// The embedding program, ended with the test.
struct Embedded {
    child: Child,
    port: u16,
}

impl Embedded {
    fn start(issuers: &Path, server: u16, entries: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_embed_postgres"))
            .arg(issuers)
            .arg(format!("127.0.0.1:{server}"))
            .arg(entries)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().unwrap().parse().unwrap();
        Embedded { child, port }
    }

    async fn connect(&self, token: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user("me").dbname("postgres").password(token);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// People with any token of this issuer, and agents that act for one.
fn issuers_toml(iss: &str) -> String {
    format!(
        r#"
        [issuer.main]
        iss = "{iss}"
        audiences = ["{AUDIENCE}"]
        algorithms = ["ES256"]
        may_mint = ["human", "agent"]
        allow_insecure_loopback = true
        [[issuer.main.rule]]
        name = "people"
        kind = "human"
        when = {{ act = {{ absent = true }} }}
        [[issuer.main.rule]]
        name = "agents"
        kind = "agent"
        when = {{ act = {{ present = true }} }}
        actor_from = "act"
        "#
    )
}

fn entries(path: &Path, kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|entry| entry["type"] == kind).collect()
}

#[test]
fn embedding_the_proxy_takes_no_more_than_sixty_lines() {
    let lines = include_str!("../embed_postgres.rs").lines().count();
    assert!(lines <= 60, "{lines}");
}

#[tokio::test]
async fn embed_postgres_serves_masks_refuses_and_records() {
    let Some(pg) = require(Postgres::start(PgOptions::default())) else { return };
    let issuer = DevIssuer::start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("entries.jsonl");
    let issuers = dir.path().join("issuers.toml");
    std::fs::write(&issuers, issuers_toml(issuer.iss())).unwrap();
    let embedded = Embedded::start(&issuers, pg.port(), &path);
    let token = |claims: Claims| issuer.mint(claims.audience(AUDIENCE)).unwrap();

    // A person writes, and sees what is masked, masked.
    let alice = embedded.connect(&token(Claims::new("alice"))).await.unwrap();
    alice.batch_execute("CREATE TABLE t(mail text)").await.unwrap();
    let stored = alice.execute("INSERT INTO t VALUES ($1)", &[&"jane@example.com"]).await.unwrap();
    assert_eq!(stored, 1);
    let row = alice.query_one("SELECT mail FROM t", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "<EMAIL_ADDRESS>");

    // An agent reads, and a long answer goes beside the entries.
    let acting = Claims::new("alice").acting(&["agent-7"]);
    let agent = embedded.connect(&token(acting)).await.unwrap();
    let long = "SELECT repeat('x', 100) FROM generate_series(1, 1000)";
    let messages = agent.simple_query(long).await.unwrap();
    let rows = messages.iter().filter(|m| matches!(m, SimpleQueryMessage::Row(_))).count();
    assert_eq!(rows, 1000);

    // It does not write, is told why, and goes on.
    let refused = agent.batch_execute("DELETE FROM t").await.unwrap_err();
    let error = refused.as_db_error().unwrap();
    assert_eq!((error.code().code(), error.hint()), ("42501", Some("ask a person")));
    agent.simple_query("SELECT 1").await.unwrap();
    assert_eq!(pg.psql("SELECT mail FROM t").unwrap(), "jane@example.com");

    // What is no token of this issuer opens nothing.
    assert!(embedded.connect("a.b.c").await.is_err());

    let commands = entries(&path, "command");
    let delete = commands.iter().find(|c| c["text"] == "DELETE FROM t").unwrap();
    assert_eq!((&delete["verdict"], &delete["rule"]), (&"deny".into(), &"people-write".into()));
    assert_eq!(delete["principal"]["subject"], "agent-7");
    assert_eq!(delete["principal"]["on_behalf_of"][0]["subject"], "alice");
    assert_eq!(delete["policy"], "people-write 1");
    let responses = entries(&path, "response");
    let chunk = responses.iter().find_map(|r| r["chunks"].get(0)).unwrap();
    let objects = entries(&path, "object");
    assert!(objects.iter().any(|object| object["sha256"] == chunk["sha256"]), "{chunk}");
    assert_eq!(entries(&path, "auth_failure").len(), 1);
}
