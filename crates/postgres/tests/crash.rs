//! `kill -9` of the proxy at random moments under load: what the server executed and the log
//! lacks is nothing, where records are durable before statements run.
//!
//! The test runs itself again as the victim: a whole rig on a folder that outlives it.
//! `GREFFIER_CRASH_ROUNDS` sets how often.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod rig;
mod wire;

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use audit_sink::{Log, LogConfig};
use rig::{Plan, Rig};
use testbed::{PgOptions, Postgres, require};
use wire::{V3_0, Wire, bind, execute, parse, q, sync};

const ROUNDS: &str = "GREFFIER_CRASH_ROUNDS";
const VICTIM: &str = "GREFFIER_CRASH_VICTIM";
const UPSTREAM: &str = "GREFFIER_CRASH_UPSTREAM";
const DEFAULT_ROUNDS: u32 = 20;
const WRITERS: u32 = 4;
const SEGMENTS: u32 = 4;
const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// The server's log is read whole, so not after every round of many.
const ROUNDS_A_LOOK: u32 = 20;

/// Not a test of its own: what the child process does. Without the variable it does nothing.
#[test]
fn victim() {
    let Ok(dir) = std::env::var(VICTIM) else { return };
    let port = std::env::var(UPSTREAM).unwrap().parse().unwrap();
    let plan = Plan {
        dir: Some(dir.into()),
        segments: SEGMENTS,
        segment_bytes: SEGMENT_BYTES,
        ..Plan::default()
    };
    let rig = Rig::with(port, plan);
    println!("\nVICTIM {} {}", rig.port, rig.long_token("alice"));
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

struct Victim {
    child: Child,
    port: u16,
    token: String,
}

fn start(dir: &Path, upstream: u16) -> Victim {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture", "--test-threads=1"])
        .env(VICTIM, dir)
        .env(UPSTREAM, upstream.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = lines.map_while(Result::ok).find(|line| line.starts_with("VICTIM ")).unwrap();
    let mut words = said.split(' ').skip(1);
    let port = words.next().unwrap().parse().unwrap();
    Victim { child, port, token: words.next().unwrap().to_owned() }
}

/// Writes until the other side is gone: one by one, pipelined, and by the extended protocol.
fn writes(port: u16, token: &str, round: u32, writer: u32) {
    let hello = wire::startup(V3_0, &[("user", "postgres"), ("database", "postgres")]);
    let Ok(mut wire) = Wire::login(port, token, &hello) else { return };
    for n in 0u32.. {
        let sql = |k: &str| format!("INSERT INTO w VALUES ('mark-{round}-{writer}-{n}{k}')");
        let one = |k: &str| [parse("", sql(k)), bind("", "", &[], 0), execute("", 0)].concat();
        let (message, ready) = match n % 4 {
            0 => (q(sql("")), 1),
            1 => ([q(sql("a")), q(sql("b")), q(sql("c"))].concat(), 3),
            2 => ([one(""), sync()].concat(), 1),
            _ => ([one("a"), one("b"), sync(), one("c"), sync()].concat(), 2),
        };
        if !wire.try_send(&message) || wire.until_ready(ready).len() < ready {
            return;
        }
    }
}

/// The markers of the allowed commands behind entry `from`, and how many entries there are now.
fn recorded(dir: &Path, from: u64, into: &mut BTreeMap<String, u32>) -> (u64, bool) {
    let mut config = LogConfig::new(dir.join("ring"), "test-1");
    (config.segments, config.segment_bytes) = (SEGMENTS, SEGMENT_BYTES);
    let signer = rig::signer("greffier.test/log", &dir.join("signer.der"));
    let (log, found) = Log::open(config, signer).unwrap();
    assert!(found.size >= from, "entries are gone: {} of {from}", found.size);
    assert!(found.first_kept <= from, "the round wrapped the ring; write less");
    let mut at = from;
    while at < found.size {
        for (index, bytes) in log.read(at, 1 << 20).unwrap() {
            let entry: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            if entry["type"] == "command" && entry["verdict"] == "allow" {
                let text = entry["text"].as_str().unwrap();
                if text.contains("mark-") {
                    *into.entry(text.to_owned()).or_default() += 1;
                }
            }
            at = index + 1;
        }
    }
    (found.size, found.torn)
}

#[test]
fn attack_35_what_ran_is_on_record_whenever_the_proxy_is_killed() {
    let Some(pg) = require(Postgres::start(PgOptions::default())) else { return };
    pg.psql("CREATE TABLE w(m text)").unwrap();
    let rounds = std::env::var(ROUNDS).ok().map_or(DEFAULT_ROUNDS, |r| r.parse().unwrap());
    let mut dir = tempfile::tempdir().unwrap();
    let (mut size, mut entries, mut torn, mut seed) = (0, 0, 0, 0x2545_F491_4F6C_DD1Du64);
    let mut on_record = BTreeMap::new();
    let mut executed = 0;
    for round in 0..rounds {
        let mut victim = start(dir.path(), pg.port());
        seed = next_random(seed);
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (port, token) = (victim.port, victim.token.clone());
                scope.spawn(move || writes(port, &token, round, writer));
            }
            std::thread::sleep(Duration::from_micros(seed % 300_000));
            victim.child.kill().unwrap();
            victim.child.wait().unwrap();
        });
        let (now, was_torn) = recorded(dir.path(), size, &mut on_record);
        entries += now - size;
        size = now;
        torn += u32::from(was_torn);
        if (round + 1) % ROUNDS_A_LOOK == 0 || round + 1 == rounds {
            let before = std::mem::replace(&mut executed, look(&pg, &on_record, round));
            assert!(executed > before, "nothing ran since the last look");
            // A new log: one that is killed before its publisher gets anywhere fills up.
            (dir, size) = (tempfile::tempdir().unwrap(), 0);
            println!("{} kills: {executed} executed, all recorded", round + 1);
        }
    }
    println!(
        "{rounds} kills, {} statements recorded, {executed} executed, 0 executed and not \
         recorded, {entries} entries, {torn} torn tails",
        on_record.len(),
    );
    assert!(executed > u64::from(rounds), "too few statements ran: {executed}");
}

/// Compares the server's log with the record; gives how many statements ran.
fn look(pg: &Postgres, on_record: &BTreeMap<String, u32>, round: u32) -> u64 {
    // A backend whose client has gone still runs what it had read.
    let others = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
        AND pid <> pg_backend_pid()";
    while pg.psql(others).unwrap() != "0" {
        std::thread::sleep(Duration::from_millis(20));
    }
    let executed = pg.executed_statements().unwrap();
    let marked: Vec<_> = executed.iter().filter(|e| e.sql.contains("mark-")).collect();
    let lacking: Vec<_> = marked.iter().filter(|e| !on_record.contains_key(&e.sql)).collect();
    assert!(lacking.is_empty(), "round {round}: {} not on record: {lacking:?}", lacking.len());
    // And no effect without a statement in the log: rows are what the texts say.
    let rows: HashSet<String> =
        pg.psql("SELECT m FROM w").unwrap().lines().map(str::to_owned).collect();
    let lacking =
        rows.iter().filter(|m| !on_record.contains_key(&format!("INSERT INTO w VALUES ('{m}')")));
    assert_eq!(lacking.count(), 0, "round {round}: rows that no entry explains");
    marked.len() as u64
}

fn next_random(mut x: u64) -> u64 {
    x ^= x << 13;
    x ^= x >> 7;
    x ^ (x << 17)
}
