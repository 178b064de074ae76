//! The binary from outside: started, used by psql, ended in order, killed, started again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what can't be set up fails its test"
)]

mod bench;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use audit_sink::store::Store;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bench::{Bench, ORIGIN, PROXY, count, text};
use rustix::process::Signal;

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
    let proxy = bench.start();
    for n in 0..3 {
        let answer = bench.query(&proxy, &format!("select {n}"));
        assert_eq!(text(&answer.stdout), format!("{n}\n"), "{}", text(&answer.stderr));
    }
    proxy.kill();

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
    proxy.program.signal(Signal::TERM);
    proxy.program.wait_for("ending").unwrap();
    proxy.program.signal(Signal::INT);
    proxy.program.wait_for("cut").unwrap();
    assert_eq!(proxy.program.wait().unwrap().code(), Some(0));
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
    proxy.program.wait_for("nothing can be recorded any more").unwrap();
    assert_eq!(proxy.program.wait().unwrap().code(), Some(1));
}

fn check(file: &Path) -> Output {
    Command::new(PROXY)
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
