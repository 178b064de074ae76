//! Real clients play the common script through the proxy; what the log holds is what they say
//! they executed, with the same values.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod rig;

use rig::{Plan, Rig};
use serde_json::Value;
use testbed::clients::{Client, Login};
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
    let mut rest = commands.iter().filter(|c| c["via"] != "parse" && c["via"] != "continue");
    for (number, said) in said.iter().enumerate() {
        let found = rest.any(|c| c["text"] == said.sql.as_str() && values(c) == said.params);
        let near: Vec<_> = commands.iter().filter(|c| c["text"] == said.sql.as_str()).collect();
        assert!(found, "statement {number} is not on record: {said:?}\nnear: {near:#?}");
    }
    let answered = rig.entries_of("response").len();
    let allowed = commands.iter().filter(|c| c["verdict"] == "allow").count();
    assert_eq!(answered, allowed, "every command has its outcome");
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
