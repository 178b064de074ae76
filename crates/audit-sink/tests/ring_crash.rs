//! `kill -9` at random moments: what was acknowledged is there afterwards.
//!
//! The test runs itself again as the victim. The victim appends from 8 threads and, for each
//! entry that is durable, writes its index to the pipe. `GREFFIER_CRASH_ROUNDS` sets how often.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // helpers of tests

mod common;

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use audit_sink::{AppendError, Log, OpenError};
use common::{config, entry, signer};
use tlog::{CompactRange, leaf_hash};

const ROUNDS: &str = "GREFFIER_CRASH_ROUNDS";
const VICTIM_DIR: &str = "GREFFIER_CRASH_VICTIM";
const DEFAULT_ROUNDS: u32 = 60;

/// Not a test of its own: what the child process does. Without the variable it does nothing.
#[test]
fn victim() {
    let Ok(dir) = std::env::var(VICTIM_DIR) else { return };
    let (log, _) = Log::open(config(dir.as_ref()), signer()).unwrap();
    // One lock around append and number, so that the content follows from the index.
    let next = Arc::new(Mutex::new(()));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (log, next) = (log.clone(), next.clone());
            std::thread::spawn(move || {
                loop {
                    let ticket = {
                        let _one_at_a_time = next.lock().unwrap();
                        log.append(entry(log.size()))
                    };
                    let ticket = match ticket {
                        Ok(ticket) => ticket,
                        Err(AppendError::RingFull) => {
                            log.release(log.durable());
                            std::thread::yield_now();
                            continue;
                        }
                        Err(e) => panic!("{e}"),
                    };
                    log.wait_durable_blocking(ticket.index).unwrap();
                    std::io::stdout().lock().write_all(&ack(ticket.index)).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
}

/// The harness prints to the same pipe before: each acknowledgement is marked.
fn ack(index: u64) -> [u8; 12] {
    let mut out = *b"ACK\0\0\0\0\0\0\0\0\n";
    out[3..11].copy_from_slice(&index.to_be_bytes());
    out
}

fn acknowledged(out: &[u8]) -> Option<u64> {
    let mut highest = None;
    let mut at = 0;
    while let Some(chunk) = out.get(at..at + 12) {
        if chunk.starts_with(b"ACK") && chunk[11] == b'\n' {
            let index = u64::from_be_bytes(chunk[3..11].try_into().unwrap());
            highest = highest.max(Some(index));
            at += 12;
        } else {
            at += 1;
        }
    }
    highest
}

#[test]
fn every_acknowledged_entry_survives_kill_9() {
    let rounds = std::env::var(ROUNDS).ok().map_or(DEFAULT_ROUNDS, |r| r.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let (mut epoch, mut tree, mut seed) = (0, CompactRange::new(), 0x2545_F491_4F6C_DD1Du64);
    let (mut torn, mut acks) = (0, 0);
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim", "--nocapture", "--test-threads=1"])
            .env(VICTIM_DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut pipe = child.stdout.take().unwrap();
        let (begun, has_begun) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let (mut out, mut buf) = (Vec::new(), [0; 4096]);
            while let n @ 1.. = pipe.read(&mut buf).unwrap() {
                out.extend_from_slice(&buf[..n]);
                if acknowledged(&out[out.len().saturating_sub(n + 12)..]).is_some() {
                    let _ = begun.send(());
                }
            }
            out
        });
        (seed, epoch) = (next_random(seed), epoch + 1);
        // One in four at any moment from the start (opening, marking the epoch); the others once
        // entries are being acknowledged.
        if round % 4 > 0 {
            has_begun.recv_timeout(Duration::from_secs(30)).unwrap();
        }
        if round == 1 {
            let second = Log::open(config(dir.path()), signer());
            assert!(matches!(second, Err(OpenError::Locked { .. })), "two processes, one log");
        }
        std::thread::sleep(Duration::from_micros(seed % 60_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let highest = acknowledged(&reader.join().unwrap());
        acks += u64::from(highest.is_some());

        let (log, found) = Log::open(config(dir.path()), signer()).unwrap();
        if let Some(highest) = highest {
            assert!(
                found.size > highest,
                "round {round}: {} entries, {highest} acknowledged",
                found.size
            );
        }
        assert!(found.size >= tree.size(), "round {round}: older entries are gone");
        assert!(found.epoch <= epoch + 1);
        epoch = found.epoch;
        torn += u32::from(found.torn);
        while tree.size() < found.size {
            tree.push(leaf_hash(&entry(tree.size())));
        }
        assert_eq!(tree.root(), found.root, "round {round}");
        assert_eq!(log.durable(), found.size);
    }
    println!(
        "{rounds} kills, {acks} with acknowledgements, {torn} torn tails, {} entries",
        tree.size()
    );
    assert!(acks > u64::from(rounds) / 2, "too few rounds came to append anything: {acks}");
    assert!(tree.size() > 0);
}

fn next_random(mut x: u64) -> u64 {
    x ^= x << 13;
    x ^= x >> 7;
    x ^ (x << 17)
}
