//! PostgreSQL's own suites pass directly on this machine: the baseline that a
//! run through the proxy is held against.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use testbed::suites::{self, SuiteResult, Through};
use testbed::{Auth, Error, PgOptions, Postgres, require};

/// One suite at a time: some of their tests wait for a second or two, and
/// fail when the machine is kept busy by another suite.
static ALONE: Mutex<()> = Mutex::new(());

fn all_pass(
    name: &str,
    secure: bool,
    suite: impl Fn(&Through) -> Result<SuiteResult, Error>,
) -> Option<SuiteResult> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let options = PgOptions {
        auth: if secure { Auth::Scram } else { Auth::Trust },
        tls: secure,
        log_statements: false,
        max_prepared_transactions: 10,
        ..PgOptions::default()
    };
    let pg = require(Postgres::start(options))?;
    let through = Through {
        host: "127.0.0.1".into(),
        port: pg.port(),
        user: "postgres".into(),
        password: secure.then(|| pg.password().to_owned()),
        authority: pg.ca_certificate(),
    };
    let result = require(suite(&through))?;
    let seconds = result.took.as_secs_f64();
    let mut out = std::io::stderr();
    writeln!(out, "{name}: {} passed directly in {seconds:.1} s", result.passed.len()).unwrap();
    assert!(result.failed.is_empty(), "{:?}, see {:?}", result.failed, result.kept);
    Some(result)
}

#[test]
fn regression() {
    let Some(result) = all_pass("pg_regress", false, suites::pg_regress) else { return };
    // 217 in PostgreSQL 15; later releases have more.
    assert!(result.passed.len() >= 217, "{}", result.passed.len());
}

#[test]
fn isolation() {
    let Some(result) = all_pass("isolation", false, suites::isolation) else { return };
    assert!(result.passed.len() >= 115, "{}", result.passed.len());
}

#[test]
fn pipeline() {
    for secure in [false, true] {
        let name = if secure { "libpq_pipeline over TLS" } else { "libpq_pipeline" };
        let Some(result) = all_pass(name, secure, suites::libpq_pipeline) else { return };
        assert!(result.passed.len() >= 11, "{}", result.passed.len());
        assert!(result.equal_traces >= 9, "{}", result.equal_traces);
    }
}
