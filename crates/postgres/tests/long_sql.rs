//! Long texts: analysed away from the thread that serves the session, so that others go on; in
//! order, with the same verdicts; and not analysed at all beyond a configured length.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod rig;
mod wire;

use rig::{Plan, Rig};
use testbed::{PgOptions, Postgres, require};
use wire::{Wire, bind, codes, execute, firsts, parse, q, sync, tags};

const READ_ONLY: &str = r#"
    default = "deny"
    [[rule]]
    name = "reads"
    effect = "allow"
    when = { class = ["read", "session"] }
"#;

/// Rows of a text of about 200 KiB: with the longest analysis for its length.
const ROWS: usize = 50_000;

/// A text that says how many rows it has, unlike any other of another `mark`.
fn long(rows: usize, mark: &str) -> String {
    format!("SELECT count(*) AS {mark} FROM (VALUES {}) v", vec!["(1)"; rows].join(","))
}

fn server() -> Option<Postgres> {
    let pg = require(Postgres::start(PgOptions::default()))?;
    pg.psql(
        "CREATE TABLE keep(id int); INSERT INTO keep VALUES (1); \
         CREATE FUNCTION wipe() RETURNS int LANGUAGE sql AS 'DELETE FROM keep; SELECT 1'",
    )
    .unwrap();
    Some(pg)
}

/// One thread serves both sessions: what one does there, the other waits for.
fn plan() -> Plan {
    Plan { threads: 1, policy: READ_ONLY.into(), ..Plan::default() }
}

#[test]
fn other_sessions_go_on_while_a_long_text_is_analysed() {
    let Some(pg) = server() else { return };
    let rig = Rig::with(pg.port(), plan());
    let token = rig.token("alice");
    let (mut slow, mut quick) = (Wire::session(rig.port, &token), Wire::session(rig.port, &token));
    let sql = long(ROWS, "slow");
    assert!(sql.len() > 190 << 10);
    slow.send(&q(&sql));
    for n in 0..5 {
        assert_eq!(firsts(&quick.query(&format!("SELECT 'quick {n}'"))), [format!("quick {n}")]);
    }
    assert_eq!(firsts(&slow.until_ready(1)), [ROWS.to_string()]);
    let commands = rig.entries_of("command");
    let texts: Vec<&str> = commands.iter().map(|c| c["text"].as_str().unwrap()).collect();
    let quick: Vec<_> = texts.iter().take_while(|text| text.contains("quick")).collect();
    assert_eq!((quick.len(), texts.len()), (5, 6), "the long text's command is the last");
    assert!(commands.iter().all(|command| command["class"] == "read"));
}

#[test]
fn what_follows_a_long_text_follows_it() {
    let Some(pg) = server() else { return };
    let rig = Rig::with(pg.port(), plan());
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    let one = |sql: &str| [parse("", sql), bind("", "", &[], 0), execute("", 0)].concat();
    wire.send(&[q("SELECT 1"), q(long(3000, "a")), q("SELECT 3"), q(long(3000, "a"))].concat());
    assert_eq!(firsts(&wire.until_ready(4)), ["1", "3000", "3", "3000"]);
    let answer = wire.ask(&[
        one("SELECT 1"),
        one(&long(2000, "b")),
        one("SELECT 3"),
        one(&long(2001, "b")),
        sync(),
    ]);
    assert_eq!(firsts(&answer), ["1", "2000", "3", "2001"]);
    // A text that would be read in another way, had the setting changed: both are looked at.
    let backslash = long(2000, "c").replace("count(*)", "'x\\y', count(*)");
    let answer = wire.ask(&[one("SELECT 1"), one(&backslash), sync()]);
    assert_eq!(firsts(&answer), ["1", "x\\y"], "{}", tags(&answer));
    wire.bye();
    rig.settle();
    let mut commands = rig.entries_of("command");
    commands.retain(|command| command["via"] != "parse");
    let bytes: Vec<u64> = commands.iter().map(|c| c["text_bytes"].as_u64().unwrap()).collect();
    let is_long: Vec<bool> = bytes.iter().map(|bytes| *bytes > 2 << 10).collect();
    let expected = [false, true, false, true, false, true, false, true, false, true];
    assert_eq!(is_long, expected, "{bytes:?}");
}

#[test]
fn a_long_text_is_judged_as_a_short_one() {
    let Some(pg) = server() else { return };
    let rig = Rig::with(pg.port(), plan());
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    let padding = long(3000, "x");
    for sql in [
        format!("{padding}; SELECT wipe()"),
        format!("{padding}; DELETE FROM keep"),
        format!("SELECT 1 /* {padding} */; DELETE FROM keep"),
        format!("{padding} WHERE wipe() = 1"),
        format!("DELETE FROM keep -- {padding}"),
        format!("nonsense {padding}"),
    ] {
        assert_eq!(codes(&wire.query(&sql)), ["42501"]);
        let run = [parse("", &sql), bind("", "", &[], 0), execute("", 0), sync()].concat();
        assert_eq!(codes(&wire.ask(&[run])), ["42501"]);
    }
    assert_eq!(pg.psql("SELECT count(*) FROM keep").unwrap(), "1");
    assert_eq!(firsts(&wire.query(&padding)), ["3000"]);
}

#[test]
fn the_longest_text_that_is_analysed_is_configured() {
    let Some(pg) = server() else { return };
    let rig = Rig::with(pg.port(), Plan { max_sql_bytes: 8 << 10, ..plan() });
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    let padded = |len: usize| format!("SELECT 'x' {}", " ".repeat(len - 11));
    assert_eq!(firsts(&wire.query(&padded(8 << 10))), ["x"]);
    assert_eq!(codes(&wire.query(&padded((8 << 10) + 1))), ["42501"]);
    wire.bye();
    rig.settle();
    let classes: Vec<_> = rig.entries_of("command").iter().map(|c| c["class"].clone()).collect();
    assert_eq!(classes, ["read", "unknown"]);
}

#[test]
fn a_client_that_leaves_meanwhile_leaves_nothing_behind() {
    let Some(pg) = server() else { return };
    let rig = Rig::with(pg.port(), plan());
    let token = rig.token("alice");
    for n in 0..4 {
        let mut wire = Wire::session(rig.port, &token);
        wire.send(&q(long(ROWS, &format!("leaves_{n}"))));
        drop(wire);
    }
    rig.settle();
    let mut wire = Wire::session(rig.port, &token);
    assert_eq!(firsts(&wire.query(&long(3000, "stays"))), ["3000"]);
    wire.bye();
    rig.settle();
    // What was not judged did not run.
    let commands = rig.entries_of("command").len();
    assert_eq!(rig.entries_of("response").len(), commands);
}
