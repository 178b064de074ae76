//! PostgreSQL's own suites through the proxy, with full recording: the same result as directly.
#![allow(clippy::unwrap_used, reason = "a test")]

mod rig;

use std::sync::{Mutex, PoisonError};

use rig::Rig;
use testbed::suites::{self, SuiteResult, Through};
use testbed::{Error, PgOptions, Postgres, require};

/// The suites compare what happens in which order, down to milliseconds: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn run(suite: fn(&Through) -> Result<SuiteResult, Error>) -> Option<(Rig, SuiteResult)> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let options =
        PgOptions { max_prepared_transactions: 10, log_statements: false, ..PgOptions::default() };
    let pg = require(Postgres::start(options))?;
    let rig = Rig::start(pg.port());
    let through = Through {
        host: "127.0.0.1".into(),
        port: rig.port,
        user: "postgres".into(),
        password: Some(rig.long_token("alice")),
        authority: None,
    };
    let result = require(suite(&through))?;
    assert!(result.failed.is_empty(), "failed: {:?}, see {:?}", result.failed, result.kept);
    Some((rig, result))
}

#[test]
fn pg_regress_gives_the_same_result_as_directly() {
    if let Some((_, result)) = run(suites::pg_regress) {
        assert_eq!(result.passed.len(), 217);
    }
}

#[test]
fn isolation_gives_the_same_result_as_directly() {
    if let Some((_, result)) = run(suites::isolation) {
        assert_eq!(result.passed.len(), 115);
    }
}

#[test]
fn libpq_pipeline_gives_the_same_result_and_traces_as_directly() {
    if let Some((_, result)) = run(suites::libpq_pipeline) {
        assert_eq!((result.passed.len(), result.equal_traces), (11, 9));
    }
}
