//! The servers start, answer, and are gone afterwards.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

use std::process::Command;

use testbed::{Auth, How, PgBouncer, PgOptions, Postgres, require};

/// Runs psql over TCP as a client would.
fn over_tcp(pg: &Postgres, port: u16, conninfo: &str, sql: &str) -> Result<String, String> {
    let out = Command::new(pg.bin_dir().join("psql"))
        .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, "-d"])
        .arg(format!("host=127.0.0.1 port={port} user=postgres dbname=postgres {conninfo}"))
        .env("PGPASSWORD", pg.password())
        .output()
        .unwrap();
    if out.status.success() {
        Ok(String::from_utf8(out.stdout).unwrap().trim_end().to_owned())
    } else {
        Err(String::from_utf8_lossy(&out.stderr).into_owned())
    }
}

#[test]
fn postgres_tells_what_it_executed_and_leaves_nothing() {
    let Some(mut pg) = require(Postgres::start(PgOptions::default())) else { return };
    assert_eq!(pg.psql("select 1").unwrap(), "1");
    assert_eq!(over_tcp(&pg, pg.port(), "", "select\n 'it''s'").unwrap(), "it's");
    let all = pg.executed_statements().unwrap();
    assert_eq!(all.len(), 1, "the helper's own statements are left out: {all:?}");
    assert_eq!((all[0].sql.as_str(), &all[0].how), ("select\n 'it''s'", &How::Simple));

    pg.psql("create table kept (n int)").unwrap();
    pg.kill9();
    pg.restart().unwrap();
    assert_eq!(pg.psql("select count(*) from kept").unwrap(), "0");

    let (pid, dir) = (pg.pid().unwrap(), pg.data_dir());
    drop(pg);
    assert!(!dir.exists(), "the folder is gone");
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "the process is gone");
}

#[test]
fn postgres_asks_for_the_password_in_each_way() {
    for auth in [Auth::Scram, Auth::Md5, Auth::Password] {
        let options = PgOptions { auth, ..PgOptions::default() };
        let Some(pg) = require(Postgres::start(options)) else { return };
        assert_eq!(over_tcp(&pg, pg.port(), "", "select 1").unwrap(), "1", "{auth:?}");
        let refused = over_tcp(&pg, pg.port(), "password=wrong", "select 1").unwrap_err();
        assert!(refused.contains("password authentication failed"), "{auth:?}: {refused}");
    }
}

#[test]
fn postgres_serves_tls_and_takes_client_certificates() {
    let options = PgOptions { auth: Auth::Certificate, tls: true, ..PgOptions::default() };
    let Some(pg) = require(Postgres::start(options)) else { return };
    let ca = pg.ca_certificate().unwrap();
    let own = pg.client_certificate("postgres").unwrap();
    let tls = format!(
        "sslmode=verify-full sslrootcert={} sslcert={} sslkey={}",
        ca.display(),
        own.certificate.display(),
        own.key.display()
    );
    let sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(over_tcp(&pg, pg.port(), &tls, sql).unwrap(), "t");
    let bare = format!("sslmode=verify-full sslrootcert={}", ca.display());
    assert!(over_tcp(&pg, pg.port(), &bare, sql).unwrap_err().contains("client certificate"));
    assert!(over_tcp(&pg, pg.port(), "sslmode=disable", sql).is_err());
}

#[test]
fn pgbouncer_stands_before_postgres() {
    let options = PgOptions { auth: Auth::Scram, ..PgOptions::default() };
    let Some(pg) = require(Postgres::start(options)) else { return };
    let Some(bouncer) = require(PgBouncer::start(&pg)) else { return };
    assert_eq!(over_tcp(&pg, bouncer.port(), "", "select 2").unwrap(), "2");
    let all = pg.executed_statements().unwrap();
    assert!(all.iter().any(|e| e.sql == "select 2"), "{all:?}");
}

/// Started by the next test in a process of its own, which kills itself.
#[test]
fn helper_that_dies_without_cleaning_up() {
    let Ok(report) = std::env::var("TESTBED_DIES") else { return };
    let Some(pg) = require(Postgres::start(PgOptions::default())) else { return };
    let pids = pg.psql("select string_agg(pid::text, ' ') from pg_stat_activity").unwrap();
    let line = format!("{} {pids}\n{}", pg.pid().unwrap(), pg.socket_dir().display());
    std::fs::write(report, line).unwrap();
    let own = std::process::id().to_string();
    Command::new("kill").args(["-s", "KILL", &own]).status().unwrap();
}

#[test]
fn nothing_outlives_a_test_process_that_is_killed() {
    if require(Postgres::start(PgOptions::default())).is_none() {
        return;
    }
    let report = tempfile::NamedTempFile::new().unwrap();
    let died = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper_that_dies_without_cleaning_up"])
        .env("TESTBED_DIES", report.path())
        .output()
        .unwrap();
    assert!(!died.status.success());
    let text = std::fs::read_to_string(report.path()).unwrap();
    let (pids, dir) = text.split_once('\n').unwrap();
    assert!(!pids.is_empty());
    let left = || {
        // A process without a working folder has ended and waits for init.
        let runs = |pid: &str| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok();
        std::path::Path::new(dir).exists() || pids.split(' ').any(runs)
    };
    for _ in 0..600 {
        if !left() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("after a minute something is still there: {text}");
}
