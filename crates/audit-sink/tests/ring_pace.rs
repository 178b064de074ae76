//! When entries become durable that nobody waits for, and how runs of frames are read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // helpers of tests

mod common;

use std::time::{Duration, Instant};

use audit_sink::Log;
use common::{config, entry, open, signer};

/// What [`Log::append_soon`] promises at most, before the flush itself.
const GATHER: Duration = Duration::from_millis(5);
/// Far beyond what any flush takes: then it hangs.
const HANGS: Duration = Duration::from_secs(60);

fn until_durable(log: &Log, index: u64) {
    let begun = Instant::now();
    while log.durable() <= index {
        assert!(begun.elapsed() < HANGS, "entry {index} stays in memory");
        std::thread::yield_now();
    }
}

#[test]
fn what_nobody_waits_for_becomes_durable_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    for pause in [0, 1, 4, 6, 30, 0, 20] {
        // With pauses the committer is met working, dozing and asleep.
        std::thread::sleep(Duration::from_millis(pause));
        let ticket = log.append_soon(entry(log.size())).unwrap();
        until_durable(&log, ticket.index);
    }
}

#[test]
fn it_begins_no_flush_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    log.wait_durable_blocking(log.append(entry(0)).unwrap().index).unwrap();
    let (before, begun) = (log.stats().frames, Instant::now());
    let mut last = 0;
    for _ in 1..500 {
        last = log.append_soon([0; 20]).unwrap().index;
    }
    until_durable(&log, last);
    let most = begun.elapsed().as_micros() / GATHER.as_micros() + 1;
    let frames = log.stats().frames - before;
    assert!(u128::from(frames) <= most, "{frames} frames where {most} could be due");
}

#[test]
fn a_wait_makes_it_urgent_and_no_wake_up_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let threads: Vec<_> = (0..6u64)
        .map(|thread| {
            let log = log.clone();
            std::thread::spawn(move || {
                for round in 0..300u64 {
                    let soon = log.append_soon([1; 30]).unwrap().index;
                    let wait_for = match (thread + round) % 3 {
                        0 => soon,
                        1 => log.append([2; 30]).unwrap().index,
                        _ => continue,
                    };
                    log.wait_durable_blocking(wait_for).unwrap();
                    assert!(log.durable() > wait_for);
                    log.release(wait_for);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    until_durable(&log, log.size() - 1);
    // Waited for one after the other, each gets a frame of its own.
    let before = log.stats().frames;
    for _ in 0..50 {
        let soon = log.append_soon([3; 30]).unwrap().index;
        log.wait_durable_blocking(soon).unwrap();
        log.release(soon);
    }
    assert_eq!(log.stats().frames - before, 50);
}

#[test]
fn closing_makes_it_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    for index in 0..10 {
        log.append_soon(entry(index)).unwrap();
    }
    log.close().unwrap();
    assert_eq!(log.durable(), 10);
    drop(log);
    let (log, found) = open(dir.path());
    assert_eq!((found.size, found.clean), (10, true));
    drop(log);
}

#[test]
fn runs_of_frames_read_as_single_ones_do() {
    const FRAMES: u64 = 700; // of 4 KiB: more than are read at once, over a segment's end
    let dir = tempfile::tempdir().unwrap();
    let mut small = config(dir.path());
    small.segment_bytes = 2 << 20;
    let (log, _) = Log::open(small, signer()).unwrap();
    for index in 0..FRAMES {
        log.append(entry(index)).unwrap();
        log.wait_durable_blocking(index).unwrap();
    }
    let alone: Vec<_> = (0..FRAMES).map(|i| log.read(i, 1).unwrap()).collect();
    for from in (0..FRAMES).step_by(37) {
        for max in [1, 5_000, 100_000, 16 << 20] {
            let got = log.read(from, max).unwrap();
            assert!(!got.is_empty());
            for ((index, bytes), want) in got.iter().zip(from..) {
                assert_eq!((*index, &bytes[..]), (want, &entry(want)[..]));
                assert_eq!(alone[want as usize], [(want, bytes.clone())]);
            }
        }
        assert_eq!(log.read(from, 16 << 20).unwrap().len() as u64, FRAMES - from);
    }
}
