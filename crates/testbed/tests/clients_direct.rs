//! Every client plays the common script against a plain PostgreSQL, so that a
//! failure through the proxy is the proxy's; and the server's own log holds
//! what the client says it executed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

use testbed::clients::{Client, Login, Statement};
use testbed::{Auth, Executed, How, PgOptions, Postgres, require};

fn plays_the_script(client: Client) {
    let options = PgOptions { auth: Auth::Scram, tls: true, ..PgOptions::default() };
    let Some(pg) = require(Postgres::start(options)) else { return };
    let login = Login {
        host: "localhost".into(),
        port: pg.port(),
        user: "postgres".into(),
        password: pg.password().into(),
        database: "postgres".into(),
        authority: pg.ca_certificate().unwrap(),
    };
    let Some(said) = require(client.run(&login)) else { return };
    assert_eq!(said.is_empty(), client == Client::Pgbench, "{} prints statements", client.name());
    let executed = pg.executed_statements().unwrap();
    assert!(!executed.is_empty());
    all_in_order(&said, &executed);
}

/// What the client says is a subsequence of what the server executed.
fn all_in_order(said: &[Statement], executed: &[Executed]) {
    let mut rest = executed.iter().filter(|e| !matches!(e.how, How::ExecuteFetch(_)));
    for (n, s) in said.iter().enumerate() {
        let found = rest.any(|e| e.sql == s.sql && e.params == s.params);
        let near: Vec<_> = executed.iter().filter(|e| e.sql == s.sql).collect();
        assert!(found, "statement {n} is not in the server's log: {s:?}\nnear: {near:#?}");
    }
}

testbed::test_every_client!(plays_the_script);
