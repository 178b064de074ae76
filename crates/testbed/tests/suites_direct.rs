//! PostgreSQL's own suites pass directly on this machine: the baseline that a
//! run through the proxy is held against.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

use testbed::suites::{self, SuiteResult, Through};
use testbed::{Error, PgOptions, Postgres, require};

fn all_pass(suite: impl Fn(&Through) -> Result<SuiteResult, Error>) -> Option<SuiteResult> {
    let options =
        PgOptions { log_statements: false, max_prepared_transactions: 10, ..PgOptions::default() };
    let pg = require(Postgres::start(options))?;
    let through = Through {
        host: "127.0.0.1".into(),
        port: pg.port(),
        user: "postgres".into(),
        ..Through::default()
    };
    let result = require(suite(&through))?;
    println!("{} passed in {:.1} s", result.passed.len(), result.took.as_secs_f64());
    assert!(result.failed.is_empty(), "{:?}, see {:?}", result.failed, result.kept);
    Some(result)
}

#[test]
fn regression() {
    let Some(result) = all_pass(suites::pg_regress) else { return };
    // 217 in PostgreSQL 15; later releases have more.
    assert!(result.passed.len() >= 217, "{}", result.passed.len());
}

#[test]
fn isolation() {
    let Some(result) = all_pass(suites::isolation) else { return };
    assert!(result.passed.len() >= 115, "{}", result.passed.len());
}

#[test]
fn pipeline() {
    let Some(result) = all_pass(suites::libpq_pipeline) else { return };
    assert!(result.passed.len() >= 11, "{}", result.passed.len());
    assert!(result.equal_traces >= 9, "{}", result.equal_traces);
}
