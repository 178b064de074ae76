//! `kill -9` of the program at random moments under pgbench: what the server executed and the
//! published, verified log lacks is nothing, where records are durable before statements run.
//!
//! `GREFFIER_CRASH_ROUNDS` sets how often (`cargo xtask suites kill9 --rounds 1000`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what can't be set up fails its test"
)]

mod bench;

use std::collections::HashSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bench::{Bench, Proxy};
use serde_json::Value;

const ROUNDS: &str = "GREFFIER_CRASH_ROUNDS";
const DEFAULT_ROUNDS: u64 = 12;
/// The server's log is read whole, so not after every round of many.
const ROUNDS_A_LOOK: u64 = 50;
/// The modes of pgbench, in turn: parameters are part of the text, or bound.
const MODES: [&str; 3] = ["simple", "extended", "prepared"];

/// A statement with its values: each is unique by a number of 60 bits.
type Executed = (String, Vec<Option<String>>);

/// Four clients of pgbench, each as fast as it can.
fn pgbench(bench: &Bench, proxy: &Proxy, script: &Path, round: u64) -> Child {
    let mode = MODES[usize::try_from(round).unwrap() % MODES.len()];
    let mut pgbench = Command::new(bench.postgres.bin_dir().join("pgbench"));
    bench.as_alice(proxy, &mut pgbench);
    pgbench
        .args(["-n", "-c", "4", "-j", "2", "-T", "60", "-M", mode, "--random-seed=rand", "-f"])
        .arg(script)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The marked statements of the whole log, which must be in order: allowed commands.
fn recorded(bench: &Bench) -> HashSet<Executed> {
    let text = |entry: &Value| entry["text"].as_str().unwrap_or_default().to_owned();
    let allowed = bench
        .entries()
        .into_iter()
        .filter(|it| it["type"] == "command" && it["verdict"] == "allow" && is_marked(&text(it)));
    let values = |entry: &Value| {
        let values = entry["parameters"].as_array().into_iter().flatten();
        values.map(|p| p["value"].as_str().map(str::to_owned)).collect()
    };
    allowed.map(|it| (text(&it), values(&it))).collect()
}

fn is_marked(sql: &str) -> bool {
    sql.contains("AS mark")
}

/// What the server says it executed. A backend whose client has gone still runs what it had read.
fn executed(bench: &Bench) -> Vec<Executed> {
    let others = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
        AND pid <> pg_backend_pid()";
    while bench.postgres.psql(others).unwrap() != "0" {
        std::thread::sleep(Duration::from_millis(20));
    }
    let all = bench.postgres.executed_statements().unwrap().into_iter();
    all.filter(|e| is_marked(&e.sql)).map(|e| (e.sql, e.params)).collect()
}

#[test]
fn attack_35_what_ran_is_in_the_verified_log_however_often_the_program_is_killed() {
    let Some(bench) = Bench::new() else { return };
    let rounds = std::env::var(ROUNDS).ok().map_or(DEFAULT_ROUNDS, |r| r.parse().unwrap());
    let script = bench.dir.path().join("script.sql");
    std::fs::write(&script, "\\set n random(1, 1000000000000000000)\nSELECT :n::bigint AS mark;\n")
        .unwrap();
    let (mut seed, mut ran) = (0x9E37_79B9_7F4A_7C15u64, 0);
    for round in 0..rounds {
        let proxy = bench.start();
        let mut load = pgbench(&bench, &proxy, &script, round);
        seed = next_random(seed);
        std::thread::sleep(Duration::from_micros(50_000 + seed % 300_000));
        proxy.kill();
        // It has lost its connections.
        load.wait().unwrap();
        if (round + 1) % ROUNDS_A_LOOK == 0 || round + 1 == rounds {
            // Started again it publishes what the ring held.
            assert_eq!(bench.start().end(), Some(0));
            let (executed, recorded) = (executed(&bench), recorded(&bench));
            let lacking: Vec<_> = executed.iter().filter(|e| !recorded.contains(*e)).collect();
            assert!(lacking.is_empty(), "{} are not on record: {lacking:?}", lacking.len());
            assert!(executed.len() > ran, "nothing ran since the last look");
            ran = executed.len();
            println!(
                "{} kills: {ran} statements executed, {} recorded, 0 executed and not recorded",
                round + 1,
                recorded.len()
            );
        }
    }
    let least = usize::try_from(rounds).unwrap();
    assert!(ran > least, "too few statements ran: {ran}");
}

#[test]
fn killed_with_a_full_log_it_starts_again_once_its_store_is_back() {
    let Some(bench) = Bench::new() else { return };
    let proxy = bench.start();
    let (store, aside) = (bench.dir.path().join("store"), bench.dir.path().join("aside"));
    std::fs::rename(&store, &aside).unwrap();
    std::fs::write(&store, "no folder").unwrap();
    // An answer too long for entries waits beside the ring.
    assert!(bench.query(&proxy, "SELECT repeat('long ', 200000)").status.success());
    let script = bench.dir.path().join("fill.sql");
    std::fs::write(&script, format!("SELECT '{}' AS mark;\n", "x".repeat(2_000))).unwrap();
    // Its clients give up at the first error, which is that the log is full.
    let mut load = pgbench(&bench, &proxy, &script, 0);
    load.wait().unwrap();
    let refused = bench.query(&proxy, "SELECT 'more'");
    assert!(bench::text(&refused.stderr).contains("audit log is full"), "{refused:?}");
    proxy.kill();
    std::fs::remove_file(&store).unwrap();
    std::fs::rename(&aside, &store).unwrap();
    let proxy = bench.start();
    assert_eq!(bench::text(&bench.query(&proxy, "SELECT 'again'").stdout), "again\n");
    assert_eq!(proxy.end(), Some(0));
    let recorded = recorded(&bench);
    assert!(executed(&bench).iter().all(|e| recorded.contains(e)));
}

fn next_random(mut x: u64) -> u64 {
    x ^= x << 13;
    x ^= x >> 7;
    x ^ (x << 17)
}
