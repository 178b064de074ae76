//! What each durability level waits for: with a disk that does not flush and a store that is
//! away, what has happened and what has not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod fault;
mod rig;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fault::Held;
use gate::Durability;
use rig::{Plan, Rig};
use testbed::{PgOptions, Postgres, require};
use wire::{Wire, q, tags};

/// How long nothing must happen. Something that comes later than this is missed, not mistaken.
const STILL: Duration = Duration::from_millis(700);
/// How long what must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn server() -> Option<Postgres> {
    let pg = require(Postgres::start(PgOptions::default()))?;
    pg.psql("CREATE TABLE w(i int)").unwrap();
    Some(pg)
}

fn is_executed(pg: &Postgres, sql: &str) -> bool {
    pg.executed_statements().unwrap().iter().any(|e| e.sql == sql)
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The tags of the messages that came within [`STILL`]; they can still be read.
fn heard(wire: &Wire) -> String {
    std::thread::sleep(STILL);
    wire.stream.set_nonblocking(true).unwrap();
    let mut bytes = [0; 65536];
    let n = wire.stream.peek(&mut bytes).unwrap_or(0);
    wire.stream.set_nonblocking(false).unwrap();
    let (mut rest, mut tags) = (&bytes[..n], String::new());
    while let Some((head, body)) = rest.split_first_chunk::<5>() {
        tags.push(char::from(head[0]));
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4;
        rest = body.get(length..).unwrap_or_default();
    }
    tags
}

/// A statement is on the disk before it runs, or else before anything of its answer.
#[test]
fn no_statement_runs_before_its_record_is_durable_unless_so_configured() {
    let Some(pg) = server() else { return };
    for durability in [
        Durability::BeforeExecute,
        Durability::BeforeResponse,
        Durability::BeforeRelease,
        Durability::Store,
    ] {
        let disk = Held::default();
        let io = Some(Arc::new(disk.clone()) as Arc<dyn audit_sink::io::Io>);
        let rig = Rig::with(pg.port(), Plan { durability, io, ..Plan::default() });
        let mut wire = Wire::session(rig.port, &rig.token("alice"));
        let sql = format!("SELECT 'asked at {durability:?}'");
        disk.hold();
        wire.send(&q(&sql));
        let forwards = durability == Durability::BeforeResponse;
        if forwards {
            until("it is forwarded at once", || is_executed(&pg, &sql));
        }
        assert_eq!(heard(&wire), "", "{durability:?}");
        assert_eq!(is_executed(&pg, &sql), forwards, "{durability:?}");
        disk.let_go();
        assert_eq!(tags(&wire.until_ready(1)), "TDCZ", "{durability:?}");
        assert!(is_executed(&pg, &sql));
    }
}

/// An outcome is on the disk before the statement's completion is told.
#[test]
fn no_completion_is_told_before_its_record_is_durable_unless_so_configured() {
    let Some(pg) = server() else { return };
    for durability in [
        Durability::BeforeExecute,
        Durability::BeforeResponse,
        Durability::BeforeRelease,
        Durability::Store,
    ] {
        let disk = Held::default();
        let io = Some(Arc::new(disk.clone()) as Arc<dyn audit_sink::io::Io>);
        let rig = Rig::with(pg.port(), Plan { durability, io, ..Plan::default() });
        let mut wire = Wire::session(rig.port, &rig.token("alice"));
        let sql = format!("SELECT '{durability:?}' FROM pg_sleep(2)");
        wire.send(&q(&sql));
        let running = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' \
             AND query LIKE '%''{durability:?}'' FROM pg_sleep(2)' AND pid <> pg_backend_pid()"
        );
        let runs = || pg.psql(&running).unwrap() == "1";
        until("it runs", runs);
        disk.hold();
        until("it has run", || !runs());
        let heard = heard(&wire);
        match durability {
            Durability::BeforeResponse => assert_eq!(heard, "TDCZ"),
            // Rows need only be in the segment before they leave.
            Durability::BeforeExecute => assert!(!heard.contains(['C', 'Z']), "{heard}"),
            Durability::BeforeRelease | Durability::Store => {
                assert!(!heard.contains(['D', 'C', 'Z']), "{durability:?}: {heard}");
            }
        }
        disk.let_go();
        assert_eq!(tags(&wire.until_ready(1)), "TDCZ", "{durability:?}");
    }
}

/// What the store has not acknowledged is told to nobody at the level `store`, and to everybody
/// at the others.
#[test]
fn at_the_level_store_the_store_must_have_it() {
    let Some(pg) = server() else { return };
    for durability in [Durability::BeforeExecute, Durability::Store] {
        let rig = Rig::with(pg.port(), Plan { durability, ..Plan::default() });
        let mut wire = Wire::session(rig.port, &rig.token("alice"));
        wire.send(&q("SELECT 'it works'"));
        assert_eq!(tags(&wire.until_ready(1)), "TDCZ");
        let aside = rig.store.with_extension("aside");
        std::fs::rename(&rig.store, &aside).unwrap();
        std::fs::write(&rig.store, "no folder").unwrap();
        let sql = format!("SELECT 'away at {durability:?}'");
        wire.send(&q(&sql));
        let waits = durability == Durability::Store;
        if waits {
            assert_eq!(heard(&wire), "");
            assert!(!is_executed(&pg, &sql));
        } else {
            assert_eq!(tags(&wire.until_ready(1)), "TDCZ");
        }
        std::fs::remove_file(&rig.store).unwrap();
        std::fs::rename(&aside, &rig.store).unwrap();
        if waits {
            assert_eq!(tags(&wire.until_ready(1)), "TDCZ");
        }
        assert!(is_executed(&pg, &sql));
    }
}
