//! Attacks by startup parameters: item 6 of the list of attacks that other proxies fell to.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod common;
mod fake;
mod rig;
mod wire;

use common::{READ_ONLY, plan, server};
use fake::{Fake, one_row};
use rig::Rig;
use wire::{V3_0, Wire, contains, firsts, startup};

#[test]
fn attack_06_a_role_by_any_startup_parameter_is_judged() {
    let Some(pg) = server() else { return };
    let rig = Rig::with(pg.port(), plan(READ_ONLY));
    let token = rig.token("alice");
    let mut got_in = Vec::new();
    for parameter in [
        ("options", "-c role=evil"),
        ("options", "-crole=evil"),
        ("options", "--role=evil"),
        ("options", "-c ROLE=evil"),
        ("options", "-c\trole=e\\vil"),
        ("options", "-c session_authorization=evil"),
        ("session_authorization", "evil"),
    ] {
        let Ok(mut wire) = Wire::session_with(rig.port, &token, V3_0, &[parameter]) else {
            continue;
        };
        let who = firsts(&wire.query("SELECT current_user"));
        if who != ["postgres"] {
            got_in.push((parameter, who));
        }
    }
    assert!(got_in.is_empty(), "{got_in:?}");
}

#[test]
fn attack_06_replication_in_any_spelling_is_refused() {
    let fake = Fake::start(one_row);
    let rig = Rig::start(fake.port);
    let token = rig.token("alice");
    for value in
        ["true", "TRUE", "tRuE", "t", "1", "yes", "YES", "y", "on", "ON", "database", "2", " true"]
    {
        let refused = Wire::session_with(rig.port, &token, V3_0, &[("replication", value)]);
        assert_eq!(refused.err().unwrap().field(b'S'), "FATAL", "{value}");
    }
    assert!(fake.startups.lock().unwrap().is_empty());
    let failures = rig.entries_of("auth_failure");
    assert_eq!(failures.len(), 13, "each is on record");
}

#[test]
fn attack_06_users_databases_and_duplicates() {
    let fake = Fake::start(one_row);
    let rig = Rig::start(fake.port);
    let token = rig.token("alice");
    for refused in [
        vec![("database", "postgres")],
        vec![("user", ""), ("database", "postgres")],
        vec![("user", "postgres"), ("user", "evil")],
        vec![("user", "postgres"), ("database", "a"), ("database", "b")],
        vec![("user", "postgres"), ("options", "-c a=b"), ("options", "-c c=d")],
    ] {
        assert!(Wire::login(rig.port, &token, &startup(V3_0, &refused)).is_err(), "{refused:?}");
    }
    assert!(fake.startups.lock().unwrap().is_empty());
    // A database's name is a name and nothing else, to the last byte.
    for name in ["x host=evil", "postgres://evil/x", "x' user='evil", "a\nb", "пг"] {
        let hello = startup(V3_0, &[("user", "postgres"), ("database", name)]);
        let _refused_or_not = Wire::login(rig.port, &token, &hello);
        let seen = fake.startups.lock().unwrap().pop();
        if let Some(seen) = seen {
            let expected = [b"database\0", name.as_bytes(), b"\0"].concat();
            assert!(contains(&seen, &expected), "{:?}", String::from_utf8_lossy(&seen));
        }
    }
    // An empty database is the user's own, as the server has it; never somebody else's.
    let hello = startup(V3_0, &[("user", "bob"), ("database", "")]);
    if Wire::login(rig.port, &token, &hello).is_ok() {
        let seen = fake.startups.lock().unwrap().pop().unwrap();
        assert!(contains(&seen, b"database\0bob\0") || contains(&seen, b"database\0\0"));
    }
}

#[test]
fn attack_06_protocol_options_are_not_passed_on() {
    let fake = Fake::start(one_row);
    let rig = Rig::start(fake.port);
    let hello = startup(
        3 << 16 | 9999,
        &[("user", "postgres"), ("database", "postgres"), ("_pq_.evil", "1")],
    );
    let mut wire = Wire::login(rig.port, &rig.token("alice"), &hello).unwrap();
    assert!(contains(&wire.seen, b"_pq_.evil"), "named in NegotiateProtocolVersion");
    assert_eq!(wire.seen[0], b'v');
    assert_eq!(firsts(&wire.query("SELECT 1")), ["1"]);
    assert!(!contains(&fake.startups.lock().unwrap()[0], b"_pq_"));
}

#[test]
fn attack_06_encodings_that_hide_ascii_are_refused() {
    let fake = Fake::start(one_row);
    let rig = Rig::start(fake.port);
    let token = rig.token("alice");
    for name in ["SJIS", "sjis", "BIG5", "GBK", "UHC", "win949", "GB18030", "JOHAB", "mskanji"] {
        let refused = Wire::session_with(rig.port, &token, V3_0, &[("client_encoding", name)]);
        assert_eq!(refused.err().unwrap().field(b'C'), "0A000", "{name}");
    }
    assert!(fake.startups.lock().unwrap().is_empty());
}

#[test]
fn attack_06_guarded_settings_by_startup_parameter_are_judged() {
    let Some(pg) = server() else { return };
    let rig = Rig::with(pg.port(), plan(READ_ONLY));
    let token = rig.token("alice");
    let mut got_in = Vec::new();
    for (name, value) in [
        ("standard_conforming_strings", "off"),
        ("log_statement", "none"),
        ("session_replication_role", "replica"),
        ("row_security", "off"),
        ("my.setting", "x"),
    ] {
        let Ok(mut wire) = Wire::session_with(rig.port, &token, V3_0, &[(name, value)]) else {
            continue;
        };
        if firsts(&wire.query(&format!("SELECT current_setting('{name}')"))) == [value] {
            got_in.push(name);
        }
    }
    assert!(got_in.is_empty(), "set without being judged: {got_in:?}");
}

#[test]
fn attack_06_refused_options_never_reach_the_server() {
    let fake = Fake::start(one_row);
    let rig = Rig::with(fake.port, plan(READ_ONLY));
    let token = rig.token("alice");
    for options in ["-c role=evil", "-c session_preload_libraries=evil", "-f", "-d 5", "-c", "x"] {
        let refused = Wire::session_with(rig.port, &token, V3_0, &[("options", options)]);
        assert!(refused.is_err(), "{options}");
    }
    let startups = fake.startups.lock().unwrap().clone();
    let sent: Vec<_> = startups.iter().filter(|s| contains(s, b"options")).collect();
    assert!(sent.is_empty(), "the server acted on {} of them before they were judged", sent.len());
}

#[test]
fn attack_06_a_role_as_a_startup_parameter_is_judged() {
    let Some(pg) = server() else { return };
    let rig = Rig::with(pg.port(), plan(READ_ONLY));
    let token = rig.token("alice");
    let mut got_in = Vec::new();
    for parameter in [("role", "evil"), ("ROLE", "evil"), ("Role", "evil")] {
        let Ok(mut wire) = Wire::session_with(rig.port, &token, V3_0, &[parameter]) else {
            continue;
        };
        let who = firsts(&wire.query("SELECT current_user"));
        if who != ["postgres"] {
            got_in.push((parameter, who));
        }
    }
    assert!(got_in.is_empty(), "{got_in:?}");
}
