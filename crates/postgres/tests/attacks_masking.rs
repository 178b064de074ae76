//! Attacks on masking by content: item 10 of the list of attacks that other proxies fell to. No
//! card number and no address reaches the client's bytes, the log or its chunks.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, reason = "a test")]

mod rig;
mod wire;

use std::path::Path;

use base64::Engine as _;
use rig::{Plan, Rig};
use serde_json::Value;
use testbed::{PgOptions, Postgres, require};
use wire::{Msg, Wire, bind, contains, describe, execute, firsts, msg, parse, q, sync, tags};

const CARD: i64 = 4_111_111_111_111_111;
const AMEX: i64 = 378_282_246_310_005;
const MAIL: &str = "jane.doe@mail.example.com";

const MASKED: &str = r#"
    version = 1
    [[rule]]
    entity = ["CREDIT_CARD", "EMAIL_ADDRESS"]
    client = { operator = "replace" }
"#;

/// The numbers are put together on the server, so that no statement shows one.
const SETUP: &str = "
    CREATE DOMAIN pan AS text;
    CREATE TABLE cards(id int, number text, n int8, mail text, p pan);
    INSERT INTO cards SELECT i, x, x::int8, 'jane.doe' || chr(64) || 'mail.example.com', x
        FROM (VALUES (1, '4111' || repeat('1', 12)), (2, '378282246' || '310005')) v(i, x);
    CREATE TABLE once(number text PRIMARY KEY);
    INSERT INTO once SELECT number FROM cards;
    CREATE TYPE pair AS (a text, b int8);
";

fn server() -> Option<Postgres> {
    let pg = require(Postgres::start(PgOptions::default()))?;
    pg.psql(SETUP).unwrap();
    Some(pg)
}

/// What must appear nowhere.
fn needles() -> Vec<Vec<u8>> {
    vec![
        CARD.to_string().into(),
        AMEX.to_string().into(),
        MAIL.into(),
        CARD.to_be_bytes().into(),
        AMEX.to_be_bytes().into(),
        b"4111-1111-1111-1111".into(),
    ]
}

fn leaks(bytes: &[u8]) -> bool {
    needles().iter().any(|needle| contains(bytes, needle))
}

/// Every file below a folder.
fn files(folder: &Path, out: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            files(&entry.path(), out);
        } else {
            out.extend(std::fs::read(entry.path()));
        }
    }
}

/// Texts of the record that leak: entries, their data, chunks, the store.
fn recorded_leaks(rig: &Rig) -> Vec<String> {
    fn data(value: &Value, out: &mut Vec<u8>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(text)) = map.get("base64") {
                    out.extend(base64::engine::general_purpose::STANDARD.decode(text).unwrap());
                }
                map.values().for_each(|v| data(v, out));
            }
            Value::Array(list) => list.iter().for_each(|v| data(v, out)),
            _ => {}
        }
    }
    rig.settle();
    let mut found = Vec::new();
    for entry in rig.entries() {
        let mut bytes = entry.to_string().into_bytes();
        data(&entry, &mut bytes);
        if leaks(&bytes) {
            found.push(entry.to_string().chars().take(600).collect());
        }
    }
    let mut all = Vec::new();
    files(&rig.chunks, &mut all);
    files(&rig.store, &mut all);
    found.extend(all.iter().filter(|f| leaks(f)).map(|f| format!("a file of {}", f.len())));
    found
}

fn rig(pg: &Postgres) -> Rig {
    Rig::with(pg.port(), Plan { masking: MASKED.into(), ..Plan::default() })
}

/// Runs a text by the simple protocol, then by the extended one in text and in binary; gives
/// the ways that leaked.
fn ask(rig: &Rig, sql: &str) -> Vec<String> {
    let mut leaked = Vec::new();
    for way in ["simple", "text", "binary", "binary, undescribed"] {
        let mut wire = Wire::session(rig.port, &rig.token("alice"));
        let format = u16::from(way.starts_with("binary"));
        let (parsed, bound) = (parse("", sql), bind("", "", &[], format));
        let messages = match way {
            "simple" => q(sql),
            "binary, undescribed" => [parsed, bound, execute("", 0), sync()].concat(),
            _ => [parsed, bound, describe(b'P', ""), execute("", 0), sync()].concat(),
        };
        wire.send(&messages);
        let answer = wire.until_ready(1);
        if leaks(&wire.seen) {
            leaked.push(format!("{sql} ({way}): {} {answer:.200?}", tags(&answer)));
        }
        wire.bye();
    }
    leaked
}

/// Ways to ask for what must not be seen.
pub const QUESTIONS: &[&str] = &[
    "SELECT number FROM cards",
    "SELECT n FROM cards",
    "SELECT n::numeric FROM cards",
    "SELECT number::varchar(40), number::char(30), number::name, p FROM cards",
    "SELECT number::bytea FROM cards",
    "SELECT to_json(number), to_jsonb(n), to_json(mail) FROM cards",
    "SELECT jsonb_build_object('pan', number, 'n', n, number, 1) FROM cards",
    "SELECT row_to_json(c) FROM cards c",
    "SELECT json_agg(c) FROM cards c",
    "SELECT array_agg(number), array_agg(n) FROM cards",
    "SELECT ARRAY[ARRAY[number, mail], ARRAY[mail, number]] FROM cards",
    "SELECT ROW(number, n, ROW(mail, ARRAY[n])) FROM cards",
    "SELECT (c.*)::text, c::text FROM cards c",
    "SELECT xmlelement(name a, number), xmlforest(mail) FROM cards",
    "SELECT format('%s %s', number, mail), number || ' and ' || mail FROM cards",
    "SELECT string_agg(number, ' '), string_agg(number, ',') FROM cards",
    "SELECT left(number, 4) || '-' || substr(number, 5, 4) || '-' || substr(number, 9, 4)
        || '-' || substr(number, 13) FROM cards WHERE id = 1",
    "SELECT int8range(n, n + 1), numrange(n, n + 1) FROM cards",
    "SELECT repeat('x', 100000) || ' ' || number || ' ' || repeat('y', 100000) FROM cards",
    "SELECT g, number, mail FROM cards, generate_series(1, 1500) g",
    "WITH x AS (SELECT number a FROM cards) SELECT a FROM x UNION ALL SELECT mail FROM cards",
    "UPDATE cards SET id = id RETURNING number, n, mail",
    "SELECT number::date FROM cards",
    "SELECT mail::int FROM cards",
    "SELECT n::int4 FROM cards",
    "INSERT INTO once SELECT number FROM cards",
    "DO $$BEGIN RAISE NOTICE 'x % y', (SELECT number FROM cards LIMIT 1); END$$",
    "DO $$BEGIN RAISE WARNING USING MESSAGE = (SELECT mail FROM cards LIMIT 1),
        DETAIL = (SELECT number FROM cards LIMIT 1), HINT = (SELECT mail FROM cards LIMIT 1);
        END$$",
    "DO $$BEGIN RAISE EXCEPTION USING MESSAGE = (SELECT mail FROM cards LIMIT 1),
        DETAIL = (SELECT number FROM cards LIMIT 1), HINT = (SELECT mail FROM cards LIMIT 1);
        END$$",
    "DO $$BEGIN EXECUTE (SELECT number || ' x' FROM cards LIMIT 1); END$$",
];

#[test]
fn attack_10_no_question_brings_a_card_to_the_client_or_the_record() {
    let Some(pg) = server() else { return };
    let rig = rig(&pg);
    let leaked: Vec<_> = QUESTIONS.iter().flat_map(|sql| ask(&rig, sql)).collect();
    assert!(leaked.is_empty(), "{leaked:#?}");
    let recorded = recorded_leaks(&rig);
    assert!(recorded.is_empty(), "{} in the record: {recorded:#?}", recorded.len());
}

#[test]
fn attack_10_copy_out_in_every_format() {
    let Some(pg) = server() else { return };
    let rig = rig(&pg);
    let mut leaked = Vec::new();
    let options = [
        "",
        "(FORMAT csv)",
        "(FORMAT csv, HEADER)",
        "(FORMAT csv, FORCE_QUOTE *)",
        "(FORMAT csv, DELIMITER ';', QUOTE '''')",
        "(FORMAT csv, NULL 'x')",
        "(DELIMITER '|')",
        "(FORMAT binary)",
        "(NULL '4')",
    ];
    for options in options {
        for source in [
            "cards (number, mail, p)",
            "(SELECT number, mail FROM cards)",
            "(SELECT number || E'\\t' || mail, E'\\n' || number, E'\\\\' || mail FROM cards)",
            "(SELECT array_agg(number), json_agg(mail) FROM cards)",
            "(SELECT c FROM cards c)",
            "(SELECT '\"' || number || '\",\"' || mail || '\"' FROM cards)",
            "(SELECT number, mail FROM cards, generate_series(1, 1200))",
        ] {
            // A whole row in binary holds an int8; that is asked for elsewhere.
            if options.contains("binary") && source.contains("SELECT c") {
                continue;
            }
            let sql = format!("COPY {source} TO STDOUT {options}");
            leaked.extend(ask(&rig, &sql));
        }
    }
    assert!(leaked.is_empty(), "{leaked:#?}");
    let recorded = recorded_leaks(&rig);
    assert!(recorded.is_empty(), "{recorded:#?}");
}

#[test]
fn attack_10_cursors_and_portals() {
    let Some(pg) = server() else { return };
    let rig = rig(&pg);
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    wire.query("BEGIN");
    for (number, kind) in ["CURSOR", "BINARY CURSOR", "SCROLL CURSOR WITH HOLD"].iter().enumerate()
    {
        wire.query(&format!("DECLARE c{number} {kind} FOR SELECT number, n, mail FROM cards"));
        let answer = wire.query(&format!("FETCH 1 FROM c{number}"));
        assert_eq!(tags(&answer), "TDCZ");
        let answer = wire.ask(&[
            parse("", format!("FETCH ALL FROM c{number}")),
            bind("", "", &[], 1),
            execute("", 0),
            sync(),
        ]);
        assert_eq!(tags(&answer), "12DCZ", "{answer:?}");
    }
    // A cursor is a portal: run by its name, without a word of SQL.
    wire.query("DECLARE d CURSOR FOR SELECT number, n, mail FROM cards");
    let answer = wire.ask(&[execute("d", 1), describe(b'P', "d"), execute("d", 0), sync()]);
    assert_eq!(tags(&answer).matches('D').count(), 2, "{answer:?}");
    // In pieces.
    let answer = wire.ask(&[
        parse("s", "SELECT number, n FROM cards"),
        bind("p", "s", &[], 1),
        execute("p", 1),
        execute("p", 1),
        sync(),
    ]);
    assert_eq!(tags(&answer), "12DsDsZ");
    assert!(!leaks(&wire.seen));
    wire.bye();
    assert!(recorded_leaks(&rig).is_empty());
}

#[test]
fn attack_10_notifications() {
    let Some(pg) = server() else { return };
    let rig = rig(&pg);
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    wire.query("LISTEN news");
    let answer = wire.query("SELECT pg_notify('news', number || ' ' || mail) FROM cards");
    assert_eq!(tags(&answer), "TDDCZ");
    // They come behind or before the end of the statement that made them.
    let mut all: Vec<Msg> = answer;
    all.extend(wire.query("SELECT 1"));
    assert_eq!(all.iter().filter(|m| m.tag == b'A').count(), 2, "{all:?}");
    assert!(!leaks(&wire.seen));
    wire.bye();
    assert!(recorded_leaks(&rig).is_empty());
}

#[test]
fn attack_10_what_the_client_types_is_masked_in_the_record() {
    let Some(pg) = server() else { return };
    let rig = rig(&pg);
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    let typed = CARD.to_string();
    let values: [&[u8]; 2] = [typed.as_bytes(), MAIL.as_bytes()];
    wire.query(&format!("SELECT '{typed}', '{MAIL}' /* {typed} */ -- {MAIL}"));
    wire.ask(&[
        parse("", "SELECT $1::text, $2::text"),
        bind("", "", &values, 0),
        execute("", 0),
        sync(),
    ]);
    wire.ask(&[parse("", format!("SELECT {typed}")), sync()]);
    wire.query(&format!("PREPARE x AS SELECT '{typed}'"));
    wire.query(&format!("SELECT '{typed}'::date"));
    wire.query(&format!("{typed} {MAIL}"));
    // COPY data, cut in the middle of a number.
    wire.send(&q("COPY once FROM STDIN"));
    wire.until(b'G');
    let answer = wire.ask(&[
        msg(b'd', format!("a {}", &typed[..7]).as_bytes()),
        msg(b'd', format!("{} b\n", &typed[7..]).as_bytes()),
        msg(b'c', &[]),
    ]);
    assert_eq!(tags(&answer), "CZ", "{answer:?}");
    assert_eq!(firsts(&wire.query("SELECT count(*) FROM once")), ["3"]);
    wire.bye();
    let recorded = recorded_leaks(&rig);
    assert!(recorded.is_empty(), "{recorded:#?}");
}
