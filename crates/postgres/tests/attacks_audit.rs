//! Attacks on the record: item 35 of the list of attacks that other proxies fell to.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test"
)]

mod fault;
mod rig;
mod wire;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use fault::Faulty;
use rig::{Plan, Rig};
use serde_json::Value;
use testbed::{PgOptions, Postgres, require};
use wire::{Wire, bind, codes, execute, firsts, parse, q, statuses, sync, tags};

fn server() -> Option<Postgres> {
    require(Postgres::start(PgOptions::default()))
}

/// The bytes of the objects that an entry names, wherever they lie by now.
fn objects(rig: &Rig, list: &Value) -> Vec<u8> {
    let mut whole = Vec::new();
    for object in list.as_array().unwrap_or_else(|| panic!("no objects")) {
        let bytes = object["bytes"].as_u64().unwrap();
        let found = find(&rig.chunks, object["sha256"].as_str().unwrap())
            .or_else(|| find(&rig.store, object["sha256"].as_str().unwrap()));
        let found = found.unwrap_or_else(|| panic!("{object} is nowhere"));
        assert_eq!(found.len() as u64, bytes);
        whole.extend(found);
    }
    whole
}

/// The file whose content has this hash; its name counts for nothing.
fn find(folder: &Path, sha256: &str) -> Option<Vec<u8>> {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = find(&path, sha256) {
                return Some(found);
            }
        } else if let Ok(bytes) = std::fs::read(&path) {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
            let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
            if hex == sha256 {
                return Some(bytes);
            }
        }
    }
    None
}

fn command<'a>(commands: &'a [Value], beginning: &str) -> &'a Value {
    commands
        .iter()
        .filter(|c| c["via"] != "parse")
        .find(|c| c["text"].as_str().is_some_and(|text| text.starts_with(beginning)))
        .unwrap()
}

#[test]
fn attack_35_oversize_statements_and_values_are_recorded_whole() {
    let Some(pg) = server() else { return };
    let rig = Rig::start(pg.port());
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    let filler = |n: usize| (0..n).map(|i| char::from(b'a' + (i % 23) as u8)).collect::<String>();
    let long = format!("SELECT 'one' /* {} */", filler(1 << 20));
    assert_eq!(firsts(&wire.query(&long)), ["one"]);
    let literal = format!("SELECT 'two', length('{}')", filler(10 << 20));
    assert_eq!(firsts(&wire.query(&literal)), ["two"]);
    let value = filler(3 << 20);
    let answer = wire.ask(&[
        parse("", "SELECT 'three', length($1::text)"),
        bind("", "", &[value.as_bytes()], 0),
        execute("", 0),
        sync(),
    ]);
    assert_eq!(firsts(&answer), ["three"]);
    let extended = format!("SELECT 'four' /* {} */", filler(100_000));
    let answer = wire.ask(&[parse("", &extended), bind("", "", &[], 0), execute("", 0), sync()]);
    assert_eq!(firsts(&answer), ["four"]);
    wire.bye();
    rig.settle();
    let commands = rig.entries_of("command");
    for text in [&long, &literal, &extended] {
        let command = command(&commands, &text[..12]);
        assert_eq!(command["text_bytes"], text.len() as u64);
        assert!(command["text_chunks"].is_array(), "{:.900}", command);
        assert!(objects(&rig, &command["text_chunks"]) == text.as_bytes(), "{:.300}", command);
    }
    let bound = command(&commands, "SELECT 'three'");
    assert!(bound["parameter_chunks"].is_array(), "{:.900}", bound);
    let kept = objects(&rig, &bound["parameter_chunks"]);
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    assert!(kept[0]["value"] == value.as_str(), "{:.200}", kept);
    assert_eq!(rig.entries_of("response").len(), commands.len());
}

#[test]
fn attack_35_two_long_statements_in_a_pipeline_keep_their_own_texts() {
    let Some(pg) = server() else { return };
    let rig = Rig::start(pg.port());
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    let text = |c: &str| format!("SELECT '{c}' /* {} */", c.repeat(50_000));
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

#[test]
fn attack_35_nothing_typed_makes_entries_or_hides_in_them() {
    let Some(pg) = server() else { return };
    let rig = Rig::start(pg.port());
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    let texts = [
        "SELECT 1 /*\n{\"type\":\"command\",\"verdict\":\"allow\",\"text\":\"forged\"}\n*/",
        "SELECT 2 /* \r\n\r\n\u{1b}[2J\u{1b}[1;1H\u{7f} */",
        "SELECT 3 /* \u{202e}}\u{2028}\u{2029}\u{feff} \"}}]} */",
        "SELECT 4 /* \\u0000 \\\" \\\\ */",
        "\n\n\nSELECT 5",
    ];
    for text in texts {
        assert_eq!(tags(&wire.query(text)), "TDCZ");
    }
    let column = "SELECT 6 AS \"a\nb\u{1b}\"\"}\"";
    wire.query(column);
    wire.bye();
    rig.settle();
    let commands = rig.entries_of("command");
    assert_eq!(commands.len(), texts.len() + 1);
    for (command, text) in commands.iter().zip(texts) {
        assert_eq!(command["text"], *text);
        assert_eq!(command["principal"]["subject"], "alice");
    }
    assert_eq!(rig.entries_of("response").len(), texts.len() + 1);
    // An entry is one line to whoever reads it by lines.
    for (_, bytes) in rig.log.read(0, 1 << 20).unwrap() {
        assert!(!bytes.iter().any(|b| *b < 0x20), "{:?}", String::from_utf8_lossy(&bytes));
    }
}

/// Texts that the server executed and no command's entry shows.
fn unrecorded(pg: &Postgres, entries: &[Value], marker: &str) -> Vec<String> {
    let recorded: Vec<&str> = entries.iter().filter_map(|e| e["text"].as_str()).collect();
    let executed = pg.executed_statements().unwrap();
    let sql = executed.into_iter().map(|e| e.sql).filter(|sql| sql.contains(marker));
    sql.filter(|sql| !recorded.contains(&sql.as_str())).collect()
}

#[test]
fn attack_35_a_full_log_refuses_and_works_again_afterwards() {
    let Some(pg) = server() else { return };
    let plan = Plan { segments: 2, segment_bytes: 256 * 1024, ..Plan::default() };
    let rig = Rig::with(pg.port(), plan);
    let token = rig.long_token("alice");
    let mut wire = Wire::session(rig.port, &token);
    assert_eq!(firsts(&wire.query("SELECT 'before'")), ["before"]);
    // The store goes away: a file lies where its folder was.
    let aside = rig.store.with_extension("aside");
    std::fs::rename(&rig.store, &aside).unwrap();
    std::fs::write(&rig.store, b"").unwrap();
    let (mut full, mut said) = (None, Vec::new());
    for number in 0..3000 {
        let sql = format!("SELECT 'fill {number}', '{}'", "x".repeat(3000));
        if !wire.try_send(&q(&sql)) {
            break;
        }
        let answer = wire.until_ready(1);
        if !codes(&answer).is_empty() {
            said = codes(&answer);
            full = Some((number, tags(&answer), statuses(&answer)));
            break;
        }
    }
    let (number, shape, status) = full.unwrap();
    assert_eq!(said, ["53100"], "after {number}: {shape}");
    // In its place, and the session lives.
    assert_eq!((shape.as_str(), status.as_str()), ("EZ", "I"));
    for _ in 0..3 {
        assert_eq!(codes(&wire.query("SELECT 'fill never'")), ["53100"]);
    }
    let log = pg.log().unwrap();
    assert!(!log.contains("fill never") && !log.contains(&format!("'fill {number}'")));
    // And works again when the store does.
    std::fs::remove_file(&rig.store).unwrap();
    std::fs::rename(&aside, &rig.store).unwrap();
    let mut works = false;
    for _ in 0..1200 {
        std::thread::sleep(std::time::Duration::from_millis(50));
        if firsts(&wire.query("SELECT 'fill again'")) == ["fill again"] {
            works = true;
            break;
        }
    }
    assert!(works, "it stays full");
}

#[test]
fn attack_35_nothing_runs_after_a_failed_flush() {
    let Some(pg) = server() else { return };
    let broken = Arc::new(AtomicBool::new(false));
    let plan = Plan { io: Some(Arc::new(Faulty(broken.clone()))), ..Plan::default() };
    let rig = Rig::with(pg.port(), plan);
    let token = rig.token("alice");
    let mut sessions: Vec<Wire> = (0..4).map(|_| Wire::session(rig.port, &token)).collect();
    broken.store(true, SeqCst);
    for (number, wire) in sessions.iter_mut().enumerate() {
        let one = [parse("", "SELECT 'marked'"), bind("", "", &[], 0), execute("", 0), sync()];
        let message = if number % 2 == 0 { q("SELECT 'marked'") } else { one.concat() };
        let answer = if wire.try_send(&message) { wire.rest() } else { Vec::new() };
        assert_eq!(codes(&answer).last().map(String::as_str), Some("57P03"), "{answer:?}");
        assert!(answer.iter().all(|m| m.tag != b'D' && m.tag != b'Z'), "{answer:?}");
    }
    let refused = Wire::session_with(rig.port, &token, wire::V3_0, &[]).err().unwrap();
    assert_eq!(refused.field(b'S'), "FATAL");
    assert!(!pg.log().unwrap().contains("'marked'"), "it ran without a record");
    // The disk is back: what failed once stays closed until somebody looks.
    broken.store(false, SeqCst);
    assert!(Wire::session_with(rig.port, &token, wire::V3_0, &[]).is_err());
    assert!(!pg.log().unwrap().contains("'marked'"));
}

#[test]
fn attack_35_every_executed_statement_is_on_record_under_load() {
    let Some(pg) = server() else { return };
    let rig = Rig::start(pg.port());
    let token = rig.token("alice");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (port, token) = (rig.port, token.clone());
            scope.spawn(move || {
                let mut wire = Wire::session(port, &token);
                for n in 0..50 {
                    let sql = |k: &str| format!("SELECT 'marker {thread} {n} {k}'");
                    wire.send(&[q(sql("a")), q(sql("b"))].concat());
                    wire.until_ready(2);
                    wire.ask(&[
                        parse("", sql("c")),
                        bind("", "", &[], 0),
                        execute("", 0),
                        parse("", sql("d")),
                        bind("", "", &[], 0),
                        execute("", 0),
                        sync(),
                    ]);
                }
                wire.bye();
            });
        }
    });
    rig.settle();
    let entries = rig.entries();
    assert_eq!(unrecorded(&pg, &entries, "marker"), Vec::<String>::new());
    let marked = |e: &&Value| e["text"].as_str().is_some_and(|t| t.contains("marker"));
    assert_eq!(entries.iter().filter(marked).count(), 800);
    assert!(rig.entries_of("response").iter().all(|r| r["outcome"] == "ok"));
}
