//! psql through the proxy: the thinnest path, end to end.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod rig;

use rig::Rig;
use testbed::{PgOptions, Postgres, require};

#[test]
fn a_statement_is_recorded_before_it_runs_and_its_answer_after() {
    let Some(pg) = require(Postgres::start(PgOptions::default())) else { return };
    let rig = Rig::start(pg.port());
    let (out, err) = rig.psql(&["-c", "SELECT 'fourty' || 'two' AS answer"]);
    assert_eq!(err, "");
    assert_eq!(out, "fourtytwo\n");
    rig.settle();
    let commands = rig.entries_of("command");
    assert_eq!(commands.len(), 1, "{commands:#?}");
    let command = &commands[0];
    assert_eq!(command["text"], "SELECT 'fourty' || 'two' AS answer");
    assert_eq!(command["principal"]["subject"], "alice");
    assert_eq!((&command["verdict"], &command["rule"]), (&"allow".into(), &"default".into()));
    assert_eq!((&command["operation"], &command["class"]), (&"SELECT".into(), &"read".into()));
    let responses = rig.entries_of("response");
    assert_eq!(responses.len(), 1);
    let response = &responses[0];
    assert_eq!(response["outcome"], "ok");
    assert_eq!(response["results"][0]["tag"], "SELECT 1");
    assert_eq!(response["results"][0]["columns"][0]["name"], "answer");
    let data = response["data"]["base64"].as_str().unwrap();
    use base64::Engine as _;
    let data = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
    assert!(data.windows(9).any(|w| w == b"fourtytwo"), "the answer itself is kept");
    let kinds: Vec<_> = rig.entries().iter().map(|e| e["type"].clone()).collect();
    assert_eq!(kinds, ["session_start", "command", "response", "session_end"]);
}

#[test]
fn several_statements_errors_and_transactions() {
    let Some(pg) = require(Postgres::start(PgOptions::default())) else { return };
    let rig = Rig::start(pg.port());
    let script = "CREATE TABLE t(a int, b text); INSERT INTO t VALUES (1,'x'),(2,'y');
        BEGIN; SELECT * FROM nowhere; SELECT 1; ROLLBACK; SELECT count(*) FROM t;";
    let mut psql = rig.psql_command(&rig.token("alice"));
    let child = psql.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = child.spawn().unwrap();
    use std::io::Write as _;
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "2\n");
    rig.settle();
    let outcomes: Vec<_> = rig
        .entries_of("response")
        .iter()
        .map(|r| r["outcome"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(outcomes, ["ok", "ok", "ok", "error", "error", "ok", "ok"]);
    let errors: Vec<_> = rig.entries_of("response").iter().map(|r| r["code"].clone()).collect();
    assert_eq!((errors[3].as_str(), errors[4].as_str()), (Some("42P01"), Some("25P02")));
}

#[test]
fn a_denied_statement_leaves_the_session_alive_and_the_transaction_failed() {
    let Some(pg) = require(Postgres::start(PgOptions::default())) else { return };
    let plan = rig::Plan {
        policy: r#"
            default = "allow"
            [[rule]]
            name = "no-drop"
            effect = "deny"
            when = { operations = ["DROP *"] }
            reason = "ask the DBA"
        "#
        .into(),
        ..rig::Plan::default()
    };
    let rig = Rig::with(pg.port(), plan);
    let (_, err) = rig.psql(&["-c", "CREATE TABLE keep(a int)"]);
    assert_eq!(err, "");
    let (out, err) = rig.psql(&[
        "-v",
        "VERBOSITY=verbose",
        "-c",
        "DROP TABLE keep",
        "-c",
        "SELECT 'alive'",
        "-c",
        "BEGIN",
        "-c",
        "DROP TABLE keep",
        "-c",
        "SELECT 1",
        "-c",
        "ROLLBACK",
        "-c",
        "SELECT count(*) FROM keep",
    ]);
    assert_eq!(out, "alive\n0\n");
    assert!(
        err.contains("42501") && err.contains("no-drop") && err.contains("ask the DBA"),
        "{err}"
    );
    assert!(err.contains("25P02"), "the transaction is failed after a denial: {err}");
    rig.settle();
    let denied: Vec<_> =
        rig.entries_of("command").into_iter().filter(|c| c["verdict"] == "deny").collect();
    assert_eq!(denied.len(), 2);
    assert_eq!(denied[0]["rule"], "no-drop");
    let executed: Vec<_> =
        pg.executed_statements().unwrap().into_iter().filter(|s| s.sql.contains("DROP")).collect();
    assert!(executed.is_empty(), "{executed:?}");
}

#[test]
fn large_answers_go_to_chunks_and_arrive_whole() {
    let Some(pg) = require(Postgres::start(PgOptions::default())) else { return };
    let rig = Rig::start(pg.port());
    let (out, err) =
        rig.psql(&["-c", "SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i"]);
    assert_eq!(err, "");
    assert_eq!(out.lines().count(), 20000);
    let (copied, err) = rig.psql(&[
        "-c",
        "COPY (SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i) TO STDOUT",
    ]);
    assert_eq!((copied.lines().count(), err.as_str()), (20000, ""));
    rig.settle();
    for response in rig.entries_of("response") {
        let chunks = response["chunks"].as_array().unwrap();
        let bytes: u64 = chunks.iter().map(|c| c["bytes"].as_u64().unwrap()).sum();
        assert_eq!(response["rows"], 20000);
        assert!(bytes > 2_000_000, "{response}");
    }
}

/// Cards and addresses are masked wherever they are, by content alone; a number stays a number.
#[test]
fn entities_are_masked_for_the_client_and_replaced_in_the_record() {
    let Some(pg) = require(Postgres::start(PgOptions::default())) else { return };
    let plan = rig::Plan {
        masking: r#"
            version = 1
            [[rule]]
            entity = ["CREDIT_CARD", "EMAIL_ADDRESS"]
            client = { operator = "mask", masking_char = "*", chars_to_mask = 12, from_end = false }
            record = { operator = "replace" }
        "#
        .into(),
        ..rig::Plan::default()
    };
    let rig = Rig::with(pg.port(), plan);
    let (card, number) = ("4111 1111 1111 1111", 4_111_111_111_111_111_i64);
    let sql = format!(
        "SELECT '{card}', {number}::int8, ARRAY['a@example.com'], '{{\"c\":\"{card}\"}}'::jsonb"
    );
    let (out, err) = rig.psql(&["-c", &sql]);
    assert_eq!(err, "");
    assert!(!out.contains("1111 1111") && !out.contains(&number.to_string()), "{out}");
    let cells: Vec<_> = out.trim().split('|').collect();
    assert!(cells[0].ends_with("1111"), "{out}");
    assert_eq!(cells[1].parse::<i64>().unwrap().to_string().len(), 16, "{out}");
    assert!(!cells[2].contains("a@example.com"), "{out}");
    rig.settle();
    let command = &rig.entries_of("command")[0];
    let text = command["text"].as_str().unwrap();
    assert!(text.contains("<CREDIT_CARD>") && !text.contains("4111"), "{text}");
    let response = &rig.entries_of("response")[0];
    assert!(response["masked"]["CREDIT_CARD"].as_u64().unwrap() >= 3, "{response}");
}

/// Found by PostgreSQL's own suite: each COPY of a text takes its own data.
#[test]
fn two_copies_in_one_text_take_their_data_in_turn() {
    let Some(pg) = require(Postgres::start(PgOptions::default())) else { return };
    let rig = Rig::start(pg.port());
    pg.psql("CREATE TABLE t(a int)").unwrap();
    let mut psql = rig.psql_command(&rig.token("alice"));
    let child = psql.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = child.spawn().unwrap();
    use std::io::Write as _;
    let script =
        b"copy t from stdin \\; copy t from stdin;\n1\n2\n\\.\n3\n\\.\nselect count(*) from t;\n";
    child.stdin.take().unwrap().write_all(script).unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "3\n");
    rig.settle();
    let response = &rig.entries_of("response")[0];
    assert_eq!(response["results"].as_array().unwrap().len(), 2, "{response}");
    assert!(response["input_bytes"].as_u64().unwrap() >= 6, "{response}");
}
