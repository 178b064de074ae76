//! A bucket as the store: the program by its configuration file, and the operator's command that
//! reads what it recorded.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod bench;
#[path = "../../../crates/audit-sink/tests/store/s3_server.rs"]
mod s3_server;

use std::path::Path;
use std::process::{Command, Output};

use bench::{Bench, PROXY, text};
use s3_server::{BUCKET, Server};
use serde_json::Value;
use testbed::{Error, Missing, require};

/// Tells a program of the server, by the usual variables.
fn with_bucket(command: &mut Command, server: &Server) {
    command
        .env("AWS_ENDPOINT", &server.endpoint)
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", &server.secret);
}

/// The operator's command, which lies beside the proxy once the whole workspace is built.
fn greffier(bench: &Bench, server: &Server, args: &[&str]) -> Option<Output> {
    let program = Path::new(PROXY).with_file_name("greffier");
    let how = "cargo build --workspace".to_owned();
    let missing = Missing { what: "the program greffier".into(), how };
    require(if program.exists() { Ok(()) } else { Err(Error::from(missing)) })?;
    let mut command = Command::new(program);
    with_bucket(&mut command, server);
    command
        .args(args)
        .env("GREFFIER_STORE", format!("s3://{BUCKET}/team/a"))
        .env("GREFFIER_LOG_ID", "pg-1")
        .env("GREFFIER_KEY", bench.vkey.to_string());
    Some(command.output().unwrap())
}

#[test]
fn a_bucket_is_a_store_for_the_proxy_and_for_who_reads() {
    let Some(bench) = Bench::new() else { return };
    let server = bench.runtime.block_on(Server::start());
    let config = bench.dir.path().join("greffier.toml");
    let settings = std::fs::read_to_string(&config).unwrap();
    let in_bucket =
        settings.replace("store = \"store\"", &format!("store = \"s3://{BUCKET}/team/a\""));
    assert_ne!(in_bucket, settings);
    std::fs::write(&config, in_bucket).unwrap();
    let mut command = Command::new(PROXY);
    with_bucket(&mut command, &server);
    let proxy = bench.start_as(command);
    assert_eq!(text(&bench.query(&proxy, "SELECT 'short'").stdout), "short\n");
    // Longer than an entry: an object of its own.
    let long = "SELECT repeat('long ', 50) FROM generate_series(1, 20000)";
    assert_eq!(bench.query(&proxy, long).stdout.len(), 20_000 * 251);
    let denied = bench.query(&proxy, "CREATE TABLE t (a int)");
    assert!(text(&denied.stderr).contains("ERROR"), "{denied:?}");
    assert_eq!(proxy.end(), Some(0));
    assert!(!bench.dir.path().join("store").exists(), "nothing is in a folder");

    let Some(checked) = greffier(&bench, &server, &["verify", "--json"]) else { return };
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!((&report["ok"], &report["unread_entries"]), (&true.into(), &0.into()), "{report}");
    assert!(report["chunks"].as_u64().unwrap() > 0, "{report}");

    let listed = greffier(&bench, &server, &["audit", "list", "--json", "--last", "0"]).unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let lines = text(&listed.stdout);
    let items: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let seen: Vec<_> = items
        .iter()
        .map(|it| (it["text"].as_str().unwrap(), it["verdict"].as_str().unwrap()))
        .collect();
    let wanted = [("SELECT 'short'", "allow"), (long, "allow"), ("CREATE TABLE t (a int)", "deny")];
    assert_eq!(seen, wanted);
    // The rows are in the bucket, too.
    let id = format!("{}/{}", items[1]["session"].as_str().unwrap(), items[1]["command"]);
    let shown = greffier(&bench, &server, &["audit", "show", &id, "--rows", "2"]).unwrap();
    assert!(text(&shown.stdout).contains("long long"), "{shown:?}");
    assert!(text(&shown.stdout).contains("19998 more rows"), "{shown:?}");
}
