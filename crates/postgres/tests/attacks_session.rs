//! Attacks inside a session: ways around a verdict, and what a refusal leaves behind. Items 7
//! and 8 of the list of attacks that other proxies fell to.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod common;
mod rig;
mod wire;

use common::{ALL_KEPT, NO_DELETE, READ_ONLY, kept, plan, server, syncs};
use rig::Rig;
use wire::{
    Msg, V3_0, V3_2, Wire, bind, cancel, close, codes, describe, execute, firsts, msg, parse, q,
    statuses, sync, tags,
};

// ---- 7: around a verdict by the extended protocol ----

#[test]
fn attack_07_a_forbidden_statement_prepared_in_any_way_never_runs() {
    let Some(pg) = server() else { return };
    let rig = Rig::with(pg.port(), plan(NO_DELETE));
    let token = rig.token("alice");
    const DELETE: &str = "DELETE FROM keep";
    let run = |name: &str| [bind("", name, &[], 0), execute("", 0), sync()].concat();
    let ways: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("parse now, execute later", vec![[parse("s", DELETE), sync()].concat(), run("s")]),
        ("unnamed", vec![[parse("", DELETE), sync()].concat(), run("")]),
        (
            "again under the name of a harmless one",
            vec![
                [parse("s", "SELECT 1"), sync()].concat(),
                [close(b'S', "s"), parse("s", DELETE), sync()].concat(),
                run("s"),
            ],
        ),
        (
            "unnamed replaced in a pipeline",
            vec![[parse("", "SELECT 1"), sync(), parse("", DELETE), sync(), run("")].concat()],
        ),
        ("SQL PREPARE, SQL EXECUTE", vec![q(format!("PREPARE x AS {DELETE}")), q("EXECUTE x")]),
        ("SQL PREPARE, Bind", vec![q(format!("PREPARE x AS {DELETE}")), run("x")]),
        (
            "a Parse that fails leaves the older one",
            vec![
                q(format!("PREPARE s AS {DELETE}")),
                [parse("s", "SELECT 1"), bind("", "s", &[], 0), execute("", 0), sync()].concat(),
                run("s"),
            ],
        ),
        (
            "EXECUTE pipelined behind its PREPARE",
            vec![[q(format!("PREPARE x AS {DELETE}")), q("EXECUTE x")].concat()],
        ),
        (
            "quoted names",
            vec![q(format!("PREPARE \"X\" AS {DELETE}")), q("EXECUTE \"X\""), run("X")],
        ),
        (
            "names longer than the server keeps",
            vec![
                q(format!("PREPARE {} AS {DELETE}", "n".repeat(70))),
                q(format!("EXECUTE {}", "n".repeat(63))),
                run(&"n".repeat(63)),
            ],
        ),
        ("COPY", vec![q("COPY (DELETE FROM keep RETURNING *) TO STDOUT")]),
    ];
    let mut fell = Vec::new();
    for (way, steps) in ways {
        let mut wire = Wire::session(rig.port, &token);
        for step in &steps {
            wire.send(step);
            let n = syncs(step);
            wire.until_ready(n);
        }
        if kept(&pg) != ALL_KEPT {
            fell.push(way);
            pg.psql("TRUNCATE keep; INSERT INTO keep VALUES (1, 'a'), (2, 'b'), (3, 'c')").unwrap();
        }
    }
    assert!(fell.is_empty(), "ran what is forbidden: {fell:#?}");
}

#[test]
fn attack_07_function_calls_and_programs_are_refused() {
    let Some(pg) = server() else { return };
    for policy in [NO_DELETE, READ_ONLY] {
        let rig = Rig::with(pg.port(), plan(policy));
        let mut wire = Wire::session(rig.port, &rig.token("alice"));
        // lo_creat(-1), by its OID.
        let mut body = 957u32.to_be_bytes().to_vec();
        body.extend([0, 0, 0, 1, 0, 0, 0, 2]);
        body.extend(b"-1");
        body.extend([0, 0]);
        let answer = wire.ask(&[msg(b'F', &body)]);
        assert_eq!((tags(&answer).as_str(), statuses(&answer).as_str()), ("EZ", "I"));
        assert_eq!(codes(&answer), ["42501"]);
        let file = std::env::temp_dir().join(format!("greffier-attack-{}", std::process::id()));
        for sql in [
            format!("COPY keep TO PROGRAM 'touch {}'", file.display()),
            format!("COPY keep FROM PROGRAM 'touch {}'", file.display()),
            format!("copy (select 1) to program 'touch {}'", file.display()),
        ] {
            assert_eq!(codes(&wire.query(&sql)), ["42501"], "{sql}");
        }
        assert!(!file.exists());
        assert_eq!(firsts(&wire.query("SELECT count(*) FROM pg_largeobject_metadata")), ["0"]);
    }
    let log = pg.log().unwrap();
    assert!(!log.contains("PROGRAM 'touch") && !log.contains("fastpath"), "{log}");
}

#[test]
fn attack_07_a_portal_run_twice_is_two_commands() {
    let Some(pg) = server() else { return };
    let rig = Rig::start(pg.port());
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    wire.query("BEGIN");
    let answer = wire.ask(&[
        parse("s", "SELECT g FROM generate_series(1, 5) g"),
        bind("p", "s", &[], 0),
        execute("p", 2),
        execute("p", 2),
        execute("p", 0),
        execute("p", 0),
        sync(),
    ]);
    assert_eq!(tags(&answer), "12DDsDDsDCCZ");
    assert_eq!(firsts(&answer), ["1", "2", "3", "4", "5"]);
    wire.query("COMMIT");
    wire.bye();
    rig.settle();
    let commands = rig.entries_of("command");
    let vias: Vec<_> = commands
        .iter()
        .filter(|c| c["text"].as_str().is_some_and(|t| t.contains("generate_series")))
        .map(|c| c["via"].as_str().unwrap())
        .collect();
    assert_eq!(vias, ["extended", "continue", "continue", "continue"]);
    let rows: Vec<_> = rig.entries_of("response").iter().map(|r| r["rows"].clone()).collect();
    assert_eq!(rows, [0, 2, 2, 1, 0, 0]);
}

/// Fails while it runs, not while it is planned.
const FAILS: &str = "SELECT 1 / (g - 1) FROM generate_series(1, 1) g";

#[test]
fn attack_07_what_an_error_skips_is_not_recorded_as_run() {
    let Some(pg) = server() else { return };
    let rig = Rig::start(pg.port());
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    let one = |sql: &str| [parse("", sql), bind("", "", &[], 0), execute("", 0)].concat();
    let answer = wire.ask(&[
        one("SELECT 'first'"),
        one(FAILS),
        one("INSERT INTO keep VALUES (9, 'skipped')"),
        q("INSERT INTO keep VALUES (10, 'skipped too')"),
        sync(),
    ]);
    assert_eq!(codes(&answer), ["22012"]);
    assert_eq!(statuses(&answer), "I");
    // Now in pieces: the error has come before the client goes on.
    wire.send(&[one(FAILS), wire::flush()].concat());
    wire.until(b'E');
    let answer = wire.ask(&[
        one("INSERT INTO keep VALUES (11, 'skipped')"),
        q("INSERT INTO keep VALUES (12, 'skipped')"),
        sync(),
    ]);
    assert_eq!(tags(&answer), "Z");
    assert_eq!(firsts(&wire.query("SELECT 'after'")), ["after"]);
    wire.bye();
    rig.settle();
    assert_eq!(kept(&pg), ALL_KEPT);
    let (commands, responses) = (rig.entries_of("command"), rig.entries_of("response"));
    for command in &commands {
        let text = command["text"].as_str().unwrap();
        let response = responses.iter().find(|r| r["command"] == command["command"]).unwrap();
        let expected = match text {
            t if t.contains("INSERT") => "skipped",
            FAILS => "error",
            _ => "ok",
        };
        assert_eq!(response["outcome"], expected, "{text}");
    }
}

#[test]
fn attack_07_an_error_at_parse_or_bind_is_on_record() {
    let Some(pg) = server() else { return };
    let rig = Rig::start(pg.port());
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    let mut wrong = Vec::new();
    let one = |sql: &str| [parse("", sql), bind("", "", &[], 0), execute("", 0), sync()].concat();
    let texts = ["SELECT * FROM nowhere", "SELEC", "SELECT 1/0", "SELECT $1"];
    for sql in texts {
        assert_eq!(codes(&wire.ask(&[one(sql)])).len(), 1);
    }
    wire.bye();
    rig.settle();
    let (commands, responses) = (rig.entries_of("command"), rig.entries_of("response"));
    for command in &commands {
        let response = responses.iter().find(|r| r["command"] == command["command"]).unwrap();
        if response["outcome"] != "error" || response["code"].is_null() {
            wrong.push((command["text"].clone(), response["outcome"].clone()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn attack_07_cancel_needs_the_very_key() {
    let Some(pg) = server() else { return };
    let rig = Rig::start(pg.port());
    let token = rig.token("alice");
    for version in [V3_0, V3_2] {
        let mut victim = Wire::session_with(rig.port, &token, version, &[]).unwrap();
        let other = Wire::session_with(rig.port, &rig.token("mallory"), version, &[]).unwrap();
        let expected = if version == V3_2 { 32 } else { 4 };
        assert_eq!(victim.secret.len(), expected);
        victim.send(&q("SELECT pg_sleep(60), 'victim'"));
        let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%''victim''%' \
            AND state = 'active' AND application_name <> 'testbed'";
        let runs = || pg.psql(running).unwrap() == "1";
        while !runs() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let secret = victim.secret.clone();
        let mut wrong = secret.clone();
        wrong[0] ^= 1;
        let long = [secret.clone(), vec![0]].concat();
        let attempts: Vec<(u32, Vec<u8>)> = vec![
            (victim.pid, other.secret.clone()),
            (other.pid, secret.clone()),
            (victim.pid, wrong),
            (victim.pid, secret[..3].to_vec()),
            (victim.pid, secret[..secret.len() - 1].to_vec()),
            (victim.pid, long),
            (victim.pid, vec![0; 4]),
            (victim.pid, vec![]),
            (victim.pid, vec![0; 256]),
            (0, secret.clone()),
        ];
        for (pid, key) in attempts {
            let mut wire = Wire::open(rig.port);
            wire.send(&cancel(pid, &key));
            // Never an answer to a key; an error at most to what is not one.
            assert!(wire.rest().iter().all(|m| m.tag == b'E'));
            assert!(runs(), "cancelled by a wrong key");
        }
        let before = rig.entries().iter().filter(|e| e["operation"] == "CANCEL").count();
        let mut wire = Wire::open(rig.port);
        wire.send(&cancel(victim.pid, &secret));
        assert!(wire.rest().is_empty());
        assert_eq!(codes(&victim.until_ready(1)), ["57014"]);
        assert_eq!(firsts(&victim.query("SELECT 'alive'")), ["alive"]);
        let entries = rig.entries();
        let cancels: Vec<_> = entries.iter().filter(|e| e["operation"] == "CANCEL").collect();
        assert_eq!(cancels.len(), before + 1, "only the right one is a command");
        let sleeps =
            |e: &&serde_json::Value| e["text"].as_str().is_some_and(|t| t.contains("'victim'"));
        let sleep = entries.iter().rfind(sleeps).unwrap();
        assert_eq!(cancels.last().unwrap()["session"], sleep["session"]);
        assert_eq!(cancels.last().unwrap()["via"], "cancel");
        // Over: the key works no more.
        victim.bye();
        other.bye();
    }
}

#[test]
fn attack_07_copy_data_sent_ahead_is_neither_lost_nor_a_hang() {
    let Some(pg) = server() else { return };
    let rig = Rig::start(pg.port());
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    // Allowed to a client that does not wait: the server reads it once it copies.
    let answer = wire.ask(&[
        q("COPY keep FROM STDIN"),
        msg(b'd', b"4\td\n"),
        msg(b'd', b"5\te\n"),
        msg(b'c', &[]),
    ]);
    assert!(codes(&answer).is_empty(), "{answer:?}");
    assert_eq!(kept(&pg), "5|e");
}

#[test]
fn attack_07_statements_inside_copy_do_not_shift_the_record() {
    let Some(pg) = server() else { return };
    let rig = Rig::start(pg.port());
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    // The server refuses a Query while it copies: COPY fails, and that Query never runs.
    wire.send(&[q("COPY keep FROM STDIN"), q("DELETE FROM keep")].concat());
    let mut answer = wire.until_ready(1);
    if codes(&answer).is_empty() {
        answer.extend(wire.until_ready(1));
    }
    assert!(wire.try_send(&q("SELECT 'later'")));
    let later: Vec<Msg> = wire.until_ready(1);
    wire.try_send(&msg(b'X', &[]));
    drop(wire);
    rig.settle();
    assert_eq!(kept(&pg), ALL_KEPT);
    let (commands, responses) = (rig.entries_of("command"), rig.entries_of("response"));
    let outcome = |text: &str| {
        let command = commands.iter().find(|c| c["text"] == text);
        command.map(|command| {
            let response = responses.iter().find(|r| r["command"] == command["command"]).unwrap();
            (response["outcome"].as_str().unwrap().to_owned(), response["results"].to_string())
        })
    };
    let (said, results) = outcome("DELETE FROM keep").unwrap();
    assert_ne!(said, "ok", "it never ran, and the record says: {results}; later: {later:?}");
}

// ---- 8: what a refusal leaves ----

#[test]
fn attack_08_refusals_keep_the_protocol_and_the_transaction_as_a_failure_would() {
    let Some(pg) = server() else { return };
    let rig = Rig::with(pg.port(), plan(NO_DELETE));
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    let marked = "DELETE FROM keep /* secretmarker */";
    // Several Q in one segment, the denied one in the middle, alone and among others.
    wire.send(&[q("SELECT 'a'"), q(marked), q("SELECT 'b'"), q("SELECT 'c'")].concat());
    let answer = wire.until_ready(4);
    assert_eq!(tags(&answer), "TDCZEZTDCZTDCZ");
    assert_eq!((firsts(&answer).concat(), statuses(&answer)), ("abc".into(), "IIII".into()));
    wire.send(&[q(marked), q(marked), q(format!("SELECT 1; {marked}; SELECT 2"))].concat());
    let answer = wire.until_ready(3);
    assert_eq!((tags(&answer).as_str(), statuses(&answer).as_str()), ("EZEZEZ", "III"));
    assert_eq!(codes(&answer), ["42501"; 3]);
    // In a transaction, and in one that has failed already.
    let pipeline = ["BEGIN", "INSERT INTO keep VALUES (4, 'd')", marked, "SELECT 1", marked];
    wire.send(&pipeline.map(q).concat());
    let answer = wire.until_ready(5);
    assert_eq!((tags(&answer).as_str(), statuses(&answer).as_str()), ("CZCZEZEZEZ", "TTEEE"));
    assert_eq!(codes(&answer), ["42501", "25P02", "42501"]);
    let answer = wire.query("COMMIT");
    assert_eq!((tags(&answer).as_str(), statuses(&answer).as_str()), ("CZ", "I"));
    assert_eq!(kept(&pg), ALL_KEPT, "COMMIT of a failed transaction rolls back");
    assert_eq!(firsts(&wire.query("SELECT 'alive'")), ["alive"]);
    wire.bye();
    rig.settle();
    let log = pg.log().unwrap();
    assert!(!log.contains("secretmarker"), "{log}");
    let denied = rig.entries_of("command").into_iter().filter(|c| c["verdict"] == "deny").count();
    assert_eq!(denied, 6);
}

#[test]
fn attack_08_refused_parse_in_a_pipeline() {
    let Some(pg) = server() else { return };
    let rig = Rig::with(pg.port(), plan(NO_DELETE));
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    let marked = "DELETE FROM keep /* secretmarker */";
    let one = |sql: &str| {
        [parse("", sql), bind("", "", &[], 0), describe(b'P', ""), execute("", 0)].concat()
    };
    // The implicit transaction of the pipeline fails as a whole.
    let answer = wire.ask(&[
        one("INSERT INTO keep VALUES (4, 'd')"),
        one(marked),
        one("INSERT INTO keep VALUES (5, 'e')"),
        q("INSERT INTO keep VALUES (6, 'f')"),
        sync(),
    ]);
    assert_eq!((tags(&answer).as_str(), statuses(&answer).as_str()), ("12nCEZ", "I"));
    assert_eq!(codes(&answer), ["42501"]);
    assert_eq!(kept(&pg), ALL_KEPT);
    // Two groups: the second runs.
    wire.send(&[one(marked), sync(), one("SELECT 'second'"), sync()].concat());
    let answer = wire.until_ready(2);
    assert_eq!((tags(&answer).as_str(), statuses(&answer).as_str()), ("EZ12TDCZ", "II"));
    // In a transaction: failed afterwards, also for the extended protocol.
    assert_eq!(statuses(&wire.query("BEGIN")), "T");
    let answer = wire.ask(&[one(marked), sync()]);
    assert_eq!((tags(&answer).as_str(), statuses(&answer).as_str()), ("EZ", "E"));
    let answer = wire.ask(&[one("SELECT 1"), sync()]);
    assert_eq!((codes(&answer), statuses(&answer).as_str()), (vec!["25P02".to_owned()], "E"));
    let answer = wire.ask(&[one(marked), sync()]);
    assert_eq!((codes(&answer), statuses(&answer).as_str()), (vec!["42501".to_owned()], "E"));
    assert_eq!(statuses(&wire.query("ROLLBACK")), "I");
    // A Flush gives the error at once; everything up to Sync is ignored.
    wire.send(&[parse("x", marked), wire::flush()].concat());
    assert_eq!(tags(&wire.until(b'E')), "E");
    let answer = wire.ask(&[one("INSERT INTO keep VALUES (7, 'g')"), sync()]);
    assert_eq!(tags(&answer), "Z");
    assert_eq!(firsts(&wire.ask(&[one("SELECT 'alive'"), sync()])), ["alive"]);
    wire.bye();
    rig.settle();
    assert_eq!(kept(&pg), ALL_KEPT);
    assert!(!pg.log().unwrap().contains("secretmarker"));
}
