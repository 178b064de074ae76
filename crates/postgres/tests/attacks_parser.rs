//! Attacks on what the proxy believes a text to be: item 9 of the list of attacks that other
//! proxies fell to. What counts is the server: no row and no role has changed there.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod common;
mod rig;
mod wire;

use common::{DOUBLE, NO_DELETE, READ_ONLY, repair, server, state};
use rig::{Plan, Rig};
use wire::{V3_0, Wire, bind, codes, execute, firsts, msg, parse, q, sync, tags};

/// Texts that do something, in words that a sloppy reader takes for reading.
fn writers(file: &str) -> Vec<String> {
    let fixed = [
        "DELETE FROM keep",
        "/* SELECT */ DELETE FROM keep",
        "/* /* SELECT 1 */ ' */ DELETE FROM keep",
        "--\rDELETE FROM keep",
        "-- SELECT\nDELETE FROM keep",
        "SELECT 1; DELETE FROM keep",
        ";;DELETE FROM keep",
        r"SELECT E'\''; DELETE FROM keep; --'",
        r"SELECT '\'; DELETE FROM keep; --'",
        r"SELECT E'\\'; DELETE FROM keep; --'",
        "SELECT $$;$$; DELETE FROM keep",
        "SELECT $a$ $b$ $a$; DELETE FROM keep; --$b$ $a$",
        "SELECT $é$ ' $é$; DELETE FROM keep; --'",
        "SELECT 1 AS a$b$; DELETE FROM keep; --$b$",
        "SELECT 'a'\n'b'; DELETE FROM keep",
        "SELECT U&'!0027' UESCAPE '!'; DELETE FROM keep; --'",
        "DELETE FROM U&\"k!0065ep\" UESCAPE '!'",
        "SELECT U&\"!0022\" UESCAPE '!' FROM (VALUES(1)) t(\"\"\"\"); DELETE FROM keep",
        "SELECT N'x', B'1', X'1F'; DELETE FROM keep",
        "WITH d AS (DELETE FROM keep RETURNING *) SELECT * FROM d",
        "WITH d AS MATERIALIZED (UPDATE keep SET v = 'x' RETURNING *) TABLE d",
        "SELECT * FROM (WITH d AS (DELETE FROM keep RETURNING 1) SELECT 1) x",
        "MERGE INTO keep USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE",
        "EXPLAIN ANALYZE DELETE FROM keep",
        "EXPLAIN (ANALYZE true, TIMING off) DELETE FROM keep",
        "EXPLAIN (ANALYZE 1) DELETE FROM keep",
        "EXPLAIN (ANALYZE off, ANALYZE on) DELETE FROM keep",
        "EXPLAIN (analyze 'on') WITH d AS (DELETE FROM keep RETURNING 1) SELECT 1",
        "EXPLAIN ANALYZE CREATE TABLE k9 AS SELECT 1",
        "DO $$BEGIN DELETE FROM keep; END$$",
        "DO 'BEGIN EXECUTE ''DEL'' || ''ETE FROM keep''; END'",
        "DO LANGUAGE plpgsql $x$ BEGIN PERFORM wipe(); END $x$",
        "CALL wipe_proc()",
        "SELECT 1 \\; DELETE FROM keep",
        "COPY (DELETE FROM keep RETURNING *) TO STDOUT",
        "COPY (WITH d AS (DELETE FROM keep RETURNING *) SELECT * FROM d) TO STDOUT",
        "SELECT * INTO k2 FROM keep",
        "CREATE TABLE k3 AS TABLE keep",
        "CREATE TEMP VIEW k4 AS SELECT 1",
        "PREPARE p AS DELETE FROM keep",
        "EXECUTE p",
        "TRUNCATE keep",
        "ALTER TABLE keep RENAME TO gone",
        "DROP TABLE keep",
        "GRANT evil TO postgres",
        "CREATE ROLE more",
        "ALTER ROLE evil SET search_path = x",
        "ALTER DATABASE postgres SET search_path = x",
        "BEGIN; DELETE FROM keep; COMMIT",
        "START TRANSACTION READ WRITE; DELETE FROM keep; END",
        "SELECT lo_from_bytea(0, 'x')",
        "SELECT lo_creat(-1)",
        "SELECT pg_catalog.lo_create(0)",
        "SELECT \"lo_create\"(0)",
        "SELECT query_to_xml('DELETE FROM keep RETURNING 1', true, true, '')",
        "SELECT * FROM ts_stat('DELETE FROM keep RETURNING null::tsvector')",
        "SELECT ts_rewrite('a'::tsquery, 'DELETE FROM keep RETURNING ''a''::tsquery, ''b''')",
        "SELECT table_to_xml('wiper', true, true, '')",
        "SELECT database_to_xml(true, true, '')",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()",
        "SELECT pg_reload_conf()",
        "ALTER SYSTEM SET log_statement = 'none'",
        "LOAD 'plpgsql'",
        "SECURITY LABEL ON TABLE keep IS 'x'",
        "COMMENT ON TABLE keep IS 'x'",
        "REFRESH MATERIALIZED VIEW nowhere",
        "CREATE RULE r AS ON SELECT TO keep DO INSTEAD SELECT 1",
        "REASSIGN OWNED BY postgres TO evil",
        "IMPORT FOREIGN SCHEMA x FROM SERVER y INTO public",
        "SELECT pg_logical_emit_message(true, 'a', 'b')",
        "SELECT pg_create_restore_point('x')",
        "SELECT lowrite(0, 'x')",
        "COPY keep FROM STDIN",
        "UPDATE pg_settings SET setting = 'evil' WHERE name = 'role'",
    ];
    let mut all: Vec<String> = fixed.map(String::from).to_vec();
    all.push(format!("COPY keep TO '{file}'"));
    all.push(format!("COPY keep TO PROGRAM 'touch {file}'"));
    all.push(format!("SELECT lo_export(1, '{file}')"));
    all.push(format!("SELECT pg_file_write('{file}', 'x', false)"));
    all
}

/// Texts that would make somebody else of the session.
const ROLES: [&str; 12] = [
    "SET ROLE evil",
    "SET SESSION ROLE evil",
    "SET ROLE = evil",
    "SET \"role\" TO 'evil'",
    "SET SESSION AUTHORIZATION evil",
    "SET session_authorization = evil",
    "SELECT set_config('role', 'evil', false)",
    "SELECT set_config('ROLE', 'evil', false)",
    "SELECT pg_catalog.set_config('ro' || 'le', 'evil', false)",
    "SELECT set_config(n, 'evil', false) FROM (VALUES ('role')) x(n)",
    "SELECT set_config('session_authorization', 'evil', false)",
    "SELECT 1 WHERE set_config('role', 'evil', false) = 'evil'",
];

#[test]
fn attack_09_nothing_changes_under_a_policy_that_allows_reading() {
    let Some(pg) = server() else { return };
    let rig = Rig::with(pg.port(), Plan { policy: READ_ONLY.into(), ..Plan::default() });
    let token = rig.long_token("alice");
    let file = std::env::temp_dir().join(format!("greffier-writer-{}", std::process::id()));
    let before = state(&pg);
    let mut fell = Vec::new();
    for sql in writers(file.to_str().unwrap()) {
        for extended in [false, true] {
            let mut wire = Wire::session(rig.port, &token);
            let message = if extended {
                [parse("", &sql), bind("", "", &[], 0), execute("", 0), sync()].concat()
            } else {
                q(&sql)
            };
            wire.send(&message);
            // Should it copy: it has nothing to say.
            let mut answer = Vec::new();
            while let Some(message) = wire.read() {
                let (copies, ready) = (message.tag == b'G', message.tag == b'Z');
                answer.push(message);
                if copies {
                    wire.send(&[msg(b'd', b"9\tz\n"), msg(b'c', &[])].concat());
                    if extended {
                        wire.send(&sync());
                    }
                }
                if ready {
                    break;
                }
            }
            if wire.try_send(&q("COMMIT")) {
                wire.until_ready(1);
            }
            drop(wire);
            let now = state(&pg);
            if now != before || file.exists() {
                fell.push(format!(
                    "{} {sql}: {now} {}",
                    if extended { "P" } else { "Q" },
                    tags(&answer)
                ));
                let _gone = std::fs::remove_file(&file);
                repair(&pg);
            }
        }
    }
    assert!(fell.is_empty(), "{} changed something: {fell:#?}", fell.len());
}

#[test]
fn attack_09_nobody_becomes_somebody_else() {
    let Some(pg) = server() else { return };
    let rig = Rig::with(pg.port(), Plan { policy: READ_ONLY.into(), ..Plan::default() });
    let token = rig.token("alice");
    let mut fell = Vec::new();
    for sql in ROLES {
        for text in [sql.to_owned(), format!("BEGIN; {}", sql.replace("SET ", "SET LOCAL "))] {
            let mut wire = Wire::session(rig.port, &token);
            wire.query(&text);
            let who = firsts(&wire.query("SELECT current_user || session_user"));
            if who != ["postgrespostgres"] && !who.is_empty() {
                fell.push((text, who));
            }
        }
    }
    assert!(fell.is_empty(), "{fell:#?}");
}

/// Whether the text follows in the same segment.
const PIPELINED: [bool; 1] = [false];

#[test]
fn attack_09_conforming_strings_turned_off_on_the_way() {
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
        for pipelined in PIPELINED {
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
    // By startup, in both ways, and by the role's own setting.
    let mut startups: Vec<(&str, &str)> = vec![
        ("standard_conforming_strings", "off"),
        ("Standard_Conforming_Strings", "off"),
        ("options", "-c standard_conforming_strings=off"),
    ];
    pg.psql("ALTER ROLE postgres SET standard_conforming_strings = off").unwrap();
    startups.push(("application_name", "role's own"));
    let before = state(&pg);
    for parameter in startups {
        let Ok(mut wire) = Wire::session_with(rig.port, &token, V3_0, &[parameter]) else {
            continue;
        };
        wire.query(DOUBLE);
        if state(&pg) != before {
            fell.push(format!("{parameter:?}"));
            repair(&pg);
        }
    }
    assert!(fell.is_empty(), "{} deleted rows: {fell:#?}", fell.len());
}

#[test]
fn attack_09_encodings_that_hide_ascii_can_not_be_chosen_in_a_session() {
    let Some(pg) = server() else { return };
    let token_policy = Plan { policy: NO_DELETE.into(), ..Plan::default() };
    let rig = Rig::with(pg.port(), token_policy);
    let token = rig.token("alice");
    let mut fell = Vec::new();
    for name in ["SJIS", "gbk", "win949", "S_J_I_S", "Windows-936", "big5", "JOHAB", "GB18030"] {
        for sql in [
            format!("SET client_encoding = '{name}'"),
            format!("SET NAMES '{name}'"),
            format!("SELECT set_config('client_encoding', '{name}', false)"),
            format!("SELECT set_config('client_' || 'encoding', '{name}', false)"),
            format!("DO $$BEGIN EXECUTE 'SET client_encoding = ''{name}'''; END$$"),
        ] {
            let mut wire = Wire::session(rig.port, &token);
            let answer = wire.query(&sql);
            let lives = codes(&answer).is_empty() && wire.try_send(&q("SHOW client_encoding"));
            if lives {
                let now = firsts(&wire.until_ready(1));
                if now.first().is_some_and(|now| now != "UTF8") {
                    fell.push((sql, now));
                }
            }
        }
    }
    assert!(fell.is_empty(), "{} sessions go on: {fell:#?}", fell.len());
}

#[test]
fn attack_09_nul_and_bad_utf8_never_get_through_as_something_else() {
    let Some(pg) = server() else { return };
    let rig = Rig::with(pg.port(), Plan { policy: READ_ONLY.into(), ..Plan::default() });
    let token = rig.token("alice");
    let before = state(&pg);
    for text in [
        b"SELECT 1\0; DELETE FROM keep".to_vec(),
        b"\0DELETE FROM keep".to_vec(),
        b"SELECT '\xff'; DELETE FROM keep; --'".to_vec(),
        b"SELECT '\xc0\xa7'; DELETE FROM keep; --'".to_vec(),
        b"SELECT '\xe2\x28\xa1'; DELETE FROM keep".to_vec(),
        b"SELECT 1 /* \xf0\x9f */; DELETE FROM keep".to_vec(),
        b"\xef\xbb\xbfDELETE FROM keep".to_vec(),
        b"SELECT 1\xc2\xa0; DELETE FROM keep".to_vec(),
    ] {
        for message in [q(&text), [parse("", &text), sync()].concat()] {
            let mut wire = Wire::session(rig.port, &token);
            wire.send(&message);
            let answer = wire.until_ready(1);
            assert!(!codes(&answer).is_empty(), "{:?}: {answer:?}", String::from_utf8_lossy(&text));
        }
        assert_eq!(state(&pg), before);
    }
}
