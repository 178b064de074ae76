//! The demonstration with a real PostgreSQL as its target.
#![allow(clippy::unwrap_used, reason = "a test")]

use demo::{Options, Show, Text, run};
use testbed::{PgOptions, Postgres, require};
use trail::term::Style;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_expectation_holds_and_nothing_is_left() {
    let Some(pg) = require(Postgres::start(PgOptions::default())) else { return };
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", pg.port());
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        dir: dir.path().join("demo"),
        show: Show::Postgres { upstream: Some(url.clone()) },
    };
    let mut told = Vec::new();
    let mut narrator = Text::new(&mut told, Style::default(), "greffier");
    let outcome = run(&options, &mut narrator, None).await.unwrap();
    assert!(outcome.is_ok(), "{}", String::from_utf8_lossy(&told));
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'greffier%'";
    assert_eq!(client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 0);
}
