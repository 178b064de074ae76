//! Attacks that worked when they were first tried, by somebody who set out to break the proxy;
//! each was mended and must stay so.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, reason = "a test")]

mod common;
mod fake;
mod fault;
mod rig;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use common::{ALL_KEPT, DOUBLE, NO_DELETE, kept, plan, repair, server, state, syncs};
use fake::Fake;
use fault::Faulty;
use rig::{Plan, Rig};
use testbed::Postgres;
use wire::{V3_0, Wire, bind, codes, contains, describe, execute, firsts, parse, q, sync};

#[test]
fn attack_06_encodings_that_hide_ascii_are_refused_under_every_name() {
    let Some(pg) = server() else { return };
    let rig = Rig::start(pg.port());
    let token = rig.token("alice");
    let names = [
        "SJIS",
        "sjis",
        "S-J-I-S",
        "Shift_JIS",
        "shiftjis",
        "mskanji",
        "win932",
        "Windows932",
        "Windows-932",
        "BIG5",
        "win950",
        "Windows950",
        "GBK",
        "win936",
        "Windows936",
        "UHC",
        "win949",
        "Windows949",
        "GB18030",
        "gb-18030",
        "JOHAB",
        "SHIFT_JIS_2004",
        "SHIFTJIS2004",
    ];
    let mut got_in = Vec::new();
    for name in names {
        for parameter in [
            ("client_encoding", name.to_owned()),
            ("Client_Encoding", name.to_owned()),
            ("options", format!("-c client_encoding={name}")),
            ("options", format!("-c client-encoding={name}")),
        ] {
            let more = [(parameter.0, parameter.1.as_str())];
            let Ok(mut wire) = Wire::session_with(rig.port, &token, V3_0, &more) else { continue };
            let now = firsts(&wire.query("SELECT current_setting('client_encoding')"));
            if now.first().is_none_or(|now| now != "UTF8") {
                got_in.push((parameter, now));
            }
        }
    }
    assert!(got_in.is_empty(), "{} of {}: {got_in:?}", got_in.len(), names.len() * 4);
}

#[test]
fn attack_07_a_forbidden_statement_under_a_name_with_a_past_never_runs() {
    let Some(pg) = server() else { return };
    let rig = Rig::with(pg.port(), plan(NO_DELETE));
    let token = rig.token("alice");
    const DELETE: &str = "DELETE FROM keep";
    let run = |name: &str| [bind("", name, &[], 0), execute("", 0), sync()].concat();
    let ways: Vec<(&str, Vec<Vec<u8>>)> = vec![
        (
            "SQL PREPARE twice, the second fails",
            vec![q(format!("PREPARE x AS {DELETE}")), q("PREPARE x AS SELECT 1"), run("x")],
        ),
        (
            "a protocol name freed by SQL DEALLOCATE",
            vec![
                [parse("s", "SELECT 1"), sync()].concat(),
                q("DEALLOCATE s"),
                q(format!("PREPARE s AS {DELETE}")),
                run("s"),
            ],
        ),
        (
            "a protocol name freed by DEALLOCATE ALL",
            vec![
                [parse("s", "SELECT 1"), sync()].concat(),
                q("DEALLOCATE ALL"),
                q(format!("PREPARE s AS {DELETE}")),
                run("s"),
            ],
        ),
        (
            "a protocol name freed by DISCARD ALL",
            vec![
                [parse("s", "SELECT 1"), sync()].concat(),
                q("DISCARD ALL"),
                q(format!("PREPARE s AS {DELETE}")),
                run("s"),
            ],
        ),
        (
            "a Parse that is dropped leaves the older one",
            vec![
                q(format!("PREPARE s AS {DELETE}")),
                [parse("z", "SELEC"), parse("s", "SELECT 1"), sync(), run("s")].concat(),
            ],
        ),
        (
            "EXPLAIN ANALYZE EXECUTE",
            vec![q(format!("PREPARE x AS {DELETE}")), q("EXPLAIN ANALYZE EXECUTE x")],
        ),
        (
            "EXECUTE of what was prepared beside it",
            vec![q(format!("PREPARE x AS {DELETE}; EXECUTE x"))],
        ),
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
fn attack_09_conforming_strings_turned_off_in_a_pipeline() {
    let Some(pg) = server() else { return };
    let rig = Rig::with(pg.port(), Plan { policy: NO_DELETE.into(), ..Plan::default() });
    let token = rig.token("alice");
    let before = state(&pg);
    let off: Vec<Vec<u8>> = vec![
        q("SET standard_conforming_strings = off"),
        q("SET standard_conforming_strings TO 'off'"),
        q("SET SESSION standard_conforming_strings = false"),
        q("BEGIN; SET LOCAL standard_conforming_strings = 0"),
        q("SELECT set_config('standard_conforming_strings', 'off', false)"),
        q("SELECT set_config('standard_' || 'conforming_strings', 'off', false)"),
        q("UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings'"),
        q("DO $$BEGIN PERFORM set_config('standard_conforming_strings', 'off', false); END$$"),
        [
            parse("", "SET standard_conforming_strings = off"),
            bind("", "", &[], 0),
            execute("", 0),
            sync(),
        ]
        .concat(),
    ];
    let run = |wire: &mut Wire, pipelined: bool, head: &[u8], tail: &[u8]| {
        if pipelined {
            wire.send(&[head, tail].concat());
            wire.until_ready(2);
        } else {
            wire.send(head);
            wire.until_ready(1);
            if wire.try_send(tail) {
                wire.until_ready(1);
            }
        }
        if wire.try_send(&q("COMMIT")) {
            wire.until_ready(1);
        }
    };
    let mut fell = Vec::new();
    for head in &off {
        for pipelined in [true] {
            for extended in [false, true] {
                let mut wire = Wire::session(rig.port, &token);
                let tail = if extended {
                    // Extended takes one statement: the other way around.
                    [parse("", r"DELETE FROM keep WHERE 'a\' <> ' --' OR true --'"), sync()]
                        .concat()
                } else {
                    q(DOUBLE)
                };
                run(&mut wire, pipelined, head, &tail);
                if state(&pg) != before {
                    let how = if pipelined { "pipelined" } else { "one by one" };
                    fell.push(format!("{how}: {}", String::from_utf8_lossy(&head[5..])));
                    repair(&pg);
                }
            }
        }
    }
    assert!(fell.is_empty(), "{} deleted rows: {fell:#?}", fell.len());
}

const CARDS: &str = "
    CREATE DOMAIN pan AS text;
    CREATE TABLE cards(id int, number text, n int8);
    INSERT INTO cards SELECT i, x, x::int8 FROM (VALUES (1, '4111' || repeat('1', 12)),
        (2, '378282246' || '310005')) v(i, x);
";

fn masked_rig(pg: &Postgres) -> Rig {
    pg.psql(CARDS).unwrap();
    let masking = "version = 1
        [[rule]]
        entity = [\"CREDIT_CARD\"]
        client = { operator = \"replace\" }";
    Rig::with(pg.port(), Plan { masking: masking.into(), ..Plan::default() })
}

fn leaks(bytes: &[u8]) -> bool {
    let (card, amex) = (4_111_111_111_111_111_i64, 378_282_246_310_005_i64);
    let text = |n: i64| contains(bytes, n.to_string().as_bytes());
    text(card) || text(amex) || contains(bytes, &card.to_be_bytes())
}

#[test]
fn attack_10_other_ways_to_a_card() {
    let Some(pg) = server() else { return };
    let rig = masked_rig(&pg);
    let mut leaked = Vec::new();
    for sql in [
        "SELECT c FROM cards c",
        "SELECT array_agg(c) FROM cards c",
        "SELECT array_agg(number::pan) FROM cards",
        "SELECT n::float8 FROM cards",
        "SELECT point(n, 0), box(point(n, 0), point(0, n)) FROM cards",
        "SELECT n::text::xid8 FROM cards",
        "SELECT to_tsvector('simple', number) FROM cards",
        "SELECT number::refcursor FROM cards",
        "SELECT ('\"' || number || '\"')::jsonpath FROM cards",
        "SELECT number::cstring FROM cards",
        "SELECT int8multirange(int8range(n, n + 1)) FROM cards",
        "SELECT set_config('application_name', number, false) FROM cards",
        "COPY (SELECT n FROM cards) TO STDOUT (FORMAT binary)",
        "COPY (SELECT c FROM cards c) TO STDOUT (FORMAT binary)",
        "DO $$BEGIN RAISE EXCEPTION USING MESSAGE = 'x', COLUMN = (SELECT number FROM cards
            LIMIT 1); END$$",
        "DO $$BEGIN RAISE NOTICE USING MESSAGE = 'x', CONSTRAINT = (SELECT number FROM cards
            LIMIT 1); END$$",
        "DO $$BEGIN RAISE NOTICE USING MESSAGE = 'x', TABLE = (SELECT number FROM cards
            LIMIT 1), SCHEMA = 'x', DATATYPE = 'y'; END$$",
        "DO $$BEGIN RAISE NOTICE USING MESSAGE = 'x', DATATYPE = (SELECT number FROM cards
            LIMIT 1); END$$",
    ] {
        for format in [2, 0, 1] {
            let mut wire = Wire::session(rig.port, &rig.token("alice"));
            let message = match format {
                2 => q(sql),
                _ => [parse("", sql), bind("", "", &[], format), execute("", 0), sync()].concat(),
            };
            wire.send(&message);
            wire.until_ready(1);
            if leaks(&wire.seen) {
                leaked.push(format!("{sql}, format {format}"));
            }
        }
    }
    assert!(leaked.is_empty(), "{leaked:#?}");
}

#[test]
fn attack_10_csv_quoted_with_what_separates_the_digits() {
    let Some(pg) = server() else { return };
    let rig = masked_rig(&pg);
    let mut leaked = Vec::new();
    for (quote, sql) in [
        ("-", "SELECT regexp_replace(number, '(.{4})(.{4})(.{4})', '\\1-\\2-\\3-') FROM cards"),
        ("1", "SELECT number FROM cards"),
        (" ", "SELECT regexp_replace(number, '(.{4})(.{4})(.{4})', '\\1 \\2 \\3 ') FROM cards"),
    ] {
        let mut wire = Wire::session(rig.port, &rig.token("alice"));
        wire.query(&format!("COPY ({sql}) TO STDOUT (FORMAT csv, QUOTE '{quote}', DELIMITER ',')"));
        // As any client reads it: a doubled quote is one.
        let text = String::from_utf8_lossy(&wire.seen).replace(&quote.repeat(2), quote);
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        if digits.contains("4111111111111111") || digits.contains("378282246310005") {
            leaked.push((quote, text));
        }
    }
    assert!(leaked.is_empty(), "{leaked:#?}");
}

#[test]
fn attack_10_a_cursor_under_the_name_of_a_portal() {
    let Some(pg) = server() else { return };
    let rig = masked_rig(&pg);
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    wire.query("BEGIN");
    wire.ask(&[parse("s", "SELECT 1::int4"), describe(b'S', "s"), bind("c", "s", &[], 0), sync()]);
    wire.query("CLOSE c");
    wire.query("DECLARE c CURSOR FOR SELECT number FROM cards");
    let answer = wire.ask(&[execute("c", 0), sync()]);
    assert!(!leaks(&wire.seen), "{answer:?}");
    wire.query("COMMIT");
    wire.bye();
    rig.settle();
    let commands = rig.entries_of("command");
    let last = commands.iter().rfind(|c| c["via"] == "extended").unwrap();
    assert!(!last["text"].as_str().unwrap().contains("1::int4"), "the record: {}", last["text"]);
}

#[test]
fn attack_10_labels_in_the_record() {
    let Some(pg) = server() else { return };
    let rig = masked_rig(&pg);
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    wire.query("SELECT 1 AS \"4111111111111111\"");
    wire.bye();
    rig.settle();
    let leaked: Vec<_> = rig
        .entries()
        .into_iter()
        .map(|entry| entry.to_string())
        .filter(|text| leaks(text.as_bytes()))
        .collect();
    assert!(leaked.is_empty(), "{leaked:#?}");
}

#[test]
fn attack_35_a_long_statement_that_is_only_prepared_does_not_hang() {
    let Some(pg) = server() else { return };
    let rig = Rig::start(pg.port());
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    let long = format!("SELECT 'x' /* {} */", "y".repeat(5_000));
    let answer = wire.ask(&[parse("s", &long), describe(b'S', "s"), sync()]);
    assert_eq!(wire::tags(&answer), "1tTZ");
}

#[test]
fn attack_05_what_comes_right_behind_the_login_is_not_lost() {
    // A notice and a last word in the segment of ReadyForQuery: both were meant for the client.
    let fake = Fake::raw(|mut stream| {
        use std::io::Write as _;
        let Some(_) = fake::read_startup(&mut stream) else { return };
        let notice = wire::msg(b'N', b"SNOTICE\0VNOTICE\0C00000\0Mhello\0\0");
        let bytes = [fake::welcome(), notice, fake::fatal("57P01", "going away")].concat();
        let _sent = stream.write_all(&bytes);
        let _query = fake::read_message(&mut stream);
    });
    let rig = Rig::start(fake.port);
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    let _gone = wire.try_send(&q("SELECT 1"));
    let messages = wire.rest();
    assert_eq!(codes(&messages), ["57P01"], "{messages:?}");
}

#[test]
fn attack_35_an_answer_without_a_record_is_not_let_out() {
    let Some(pg) = server() else { return };
    let broken = Arc::new(AtomicBool::new(false));
    let plan = Plan { io: Some(Arc::new(Faulty(broken.clone()))), ..Plan::default() };
    let rig = Rig::with(pg.port(), plan);
    let token = rig.token("alice");
    let mut other = Wire::session(rig.port, &token);
    let mut busy = Wire::session(rig.port, &token);
    busy.send(&q("SELECT pg_sleep(4), 'unrecorded' /* busy */"));
    while pg
        .psql(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%busy *%' AND
            application_name <> 'testbed'",
        )
        .unwrap()
        != "1"
    {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    broken.store(true, SeqCst);
    other.try_send(&q("SELECT 1"));
    other.rest();
    // What was on record runs to its end; its answer has no record, and is not let out.
    let answer = busy.rest();
    assert_eq!(codes(&answer).last().map(String::as_str), Some("57P03"), "{answer:?}");
    assert!(!contains(&busy.seen, b"unrecorded"), "{answer:?}");
    assert!(answer.iter().all(|m| m.tag != b'C' && m.tag != b'Z'), "{answer:?}");
}

#[test]
fn attack_35_two_long_statements_in_one_segment_keep_their_own_texts() {
    let Some(pg) = server() else { return };
    let rig = Rig::start(pg.port());
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    let text = |c: &str| format!("SELECT '{c}' /* {} */", c.repeat(5_000));
    let answer = wire.ask(&[
        parse("a", text("a")),
        parse("b", text("b")),
        bind("", "b", &[], 0),
        execute("", 0),
        sync(),
    ]);
    assert_eq!(firsts(&answer), ["b"], "{answer:?}");
    wire.bye();
    rig.settle();
    let commands = rig.entries_of("command");
    let mut wrong = Vec::new();
    for letter in ["a", "b"] {
        let whole = text(letter);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, whole.as_bytes());
        let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        let beginning = format!("SELECT '{letter}'");
        let of =
            |c: &&serde_json::Value| c["text"].as_str().is_some_and(|t| t.starts_with(&beginning));
        for command in commands.iter().filter(of) {
            if command["text_chunks"][0]["sha256"] != hex.as_str() {
                wrong.push(format!("{letter}: {}", command["text_chunks"]));
            }
        }
        assert!(commands.iter().any(|c| of(&c)), "{letter} is on no record");
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
