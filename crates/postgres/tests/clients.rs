//! Real clients play the common script through the proxy; what the log holds is what they say
//! they executed, with the same values.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod rig;

use rig::{Plan, Rig};
use serde_json::Value;
use testbed::clients::{Client, Login, Statement};
use testbed::{Auth, PgOptions, Postgres, require};

/// A client through TLS on both legs, with SCRAM towards the server.
fn plays_the_script(client: Client) {
    let options = PgOptions { auth: Auth::Scram, tls: true, ..PgOptions::default() };
    let Some(pg) = require(Postgres::start(options)) else { return };
    let plan = Plan {
        tls: true,
        password: Some(pg.password().into()),
        methods: postgres_wire::auth::Methods::SCRAM,
        upstream_ca: pg.ca_certificate(),
        ..Plan::default()
    };
    let rig = Rig::with(pg.port(), plan);
    let login = Login {
        host: "localhost".into(),
        port: rig.port,
        user: "postgres".into(),
        password: rig.long_token("alice"),
        database: "postgres".into(),
        authority: rig.authority.clone().unwrap(),
    };
    let Some(said) = require(client.run(&login)) else { return };
    assert_eq!(said.is_empty(), client == Client::Pgbench);
    rig.settle();
    let commands = rig.entries_of("command");
    assert!(commands.len() > 10, "{}", commands.len());
    // In order, and nothing but: what the program says it executed, what its driver is known to
    // add on its own account, one cancel request, and settings of the startup packet.
    let mut wanted = said.iter().peekable();
    let mut others = Vec::new();
    for command in &commands {
        let text = command["text"].as_str().unwrap_or_default();
        let is_next = |s: &&Statement| s.sql == text && s.params == values(command);
        let expected = match command["via"].as_str().unwrap() {
            "startup" => text.starts_with("SET \""),
            "cancel" => text.is_empty(),
            "parse" | "continue" => said.iter().any(|s| s.sql == text),
            _ => wanted.next_if(is_next).is_some(),
        };
        if !expected && !drivers_own(client, text) {
            others.push((text, values(command)));
        }
    }
    let cancels = commands.iter().filter(|c| c["via"] == "cancel").count();
    assert_eq!(cancels, usize::from(client != Client::Pgbench));
    let left: Vec<_> = wanted.collect();
    assert!(left.is_empty() && others.is_empty(), "missing: {left:#?}\nmore: {others:#?}");
    let answered = rig.entries_of("response").len();
    let allowed = commands.iter().filter(|c| c["verdict"] == "allow").count();
    assert_eq!(answered, allowed, "every command has its outcome");
}

/// Whether the driver executes this without being told to: the programs do not print it.
fn drivers_own(client: Client, text: &str) -> bool {
    let own: &[&str] = match client {
        // It prints nothing.
        Client::Pgbench => return true,
        Client::Psql | Client::NodePostgres => &[],
        Client::Psycopg => &[
            "BEGIN",
            "ROLLBACK",
            "COMMIT",
            "DEALLOCATE ALL",
            "DECLARE \"c\" CURSOR FOR select generate_series(1, 1000)",
            "FETCH FORWARD 100 FROM \"c\"",
            "CLOSE \"c\"",
        ],
        Client::Asyncpg => &[
            "BEGIN;",
            "ROLLBACK;",
            "COMMIT;",
            "SELECT \"id\", \"name\" FROM \"t_asyncpg\" LIMIT 1",
            "LISTEN \"ch_asyncpg\"",
        ],
        Client::Pgjdbc => {
            &["SET application_name = 'PostgreSQL JDBC Driver'", "BEGIN", "ROLLBACK", "COMMIT"]
        }
        Client::Pgx => &["select \"id\", \"name\" from \"t_pgx\""],
        Client::TokioPostgres => &["START TRANSACTION", "COMMIT"],
    };
    own.contains(&text)
}

/// A command's values in the form in which clients say them: times in UTC.
fn values(command: &Value) -> Vec<Option<String>> {
    let none = Vec::new();
    let parameters = command["parameters"].as_array().unwrap_or(&none);
    parameters
        .iter()
        .map(|p| match (&p["value"], p["value"]["hex"].as_str()) {
            (Value::Null, _) => None,
            // Binary of a type that the client left open: bytes are all that is known.
            (_, Some(hex)) => Some(format!("\\x{hex}")),
            (value, None) => Some(canonical(p["type"].as_str().unwrap(), value.as_str().unwrap())),
        })
        .collect()
}

/// The server's own form of a value that a client sent as text in a form of its own.
fn canonical(type_name: &str, value: &str) -> String {
    match type_name {
        "timestamptz" => value.replace('T', " ").replace('Z', "+00"),
        _ => value.to_owned(),
    }
}

testbed::test_every_client!(plays_the_script);
