//! The ring from outside: what is kept, what is refused, what is noticed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // helpers of tests

mod common;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use audit_sink::{AppendError, Log, LogConfig, OpenError, Recovered, WaitError};
use common::{FaultyIo, SEGMENT, config, entry, open, signer};
use tlog::{CompactRange, leaf_hash};

fn fill(log: &Log, n: u64) {
    let first = log.size();
    for i in first..first + n {
        assert_eq!(log.append(entry(i)).unwrap().index, i);
    }
    log.wait_durable_blocking(first + n - 1).unwrap();
}

fn assert_holds(log: &Log, range: std::ops::Range<u64>) {
    let mut next = range.start;
    while next < range.end {
        let got = log.read(next, 100_000).unwrap();
        assert!(!got.is_empty());
        for (index, bytes) in got {
            assert_eq!(index, next);
            assert_eq!(bytes, entry(index));
            next += 1;
        }
    }
    assert_eq!(next, range.end);
}

fn recomputed(n: u64) -> CompactRange {
    let mut tree = CompactRange::new();
    (0..n).for_each(|i| tree.push(leaf_hash(&entry(i))));
    tree
}

#[test]
fn entries_survive_closing_and_the_epoch_rises() {
    let dir = tempfile::tempdir().unwrap();
    let mut size = 0;
    for epoch in 1..6 {
        let (log, found) = open(dir.path());
        assert_eq!((found.size, found.epoch, found.clean, found.torn), (size, epoch, true, false));
        assert_eq!(found.root, recomputed(size).root());
        fill(&log, 37);
        size += 37;
        assert_holds(&log, 0..size);
        assert_eq!(log.head().unwrap().root, recomputed(size).root());
        log.close().unwrap();
        assert_eq!(log.append(b"x"), Err(AppendError::Closed));
        assert_eq!(log.wait_durable_blocking(size), Err(WaitError::Closed));
        assert_eq!(log.wait_durable_blocking(size - 1), Ok(()));
    }
}

#[test]
fn dropping_the_last_handle_closes_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let other = log.clone();
    for i in 0..100 {
        other.append(entry(i)).unwrap();
    }
    drop(log);
    drop(other);
    let (_, found) = open(dir.path());
    assert_eq!((found.size, found.clean), (100, true));
}

#[test]
fn several_entries_are_taken_together_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let batch: Vec<_> = (0..2000).map(entry).collect();
    let mut tickets = Vec::new();
    log.append_all(&batch[..500], &mut tickets).unwrap();
    log.wait_durable_blocking(499).unwrap();
    assert_eq!(tickets.len(), 500);
    assert_eq!(tickets[7].leaf_hash, leaf_hash(&entry(7)));
    // 20,000 entries do not fit this ring: none is taken.
    let many: Vec<_> = (0..20_000).map(entry).collect();
    assert_eq!(log.append_all(&many, &mut tickets), Err(AppendError::RingFull));
    assert_eq!((tickets.len(), log.size()), (500, 500));
    let long = vec![0u8; 70_000];
    assert!(matches!(
        log.append_all(&[vec![1], long], &mut tickets),
        Err(AppendError::TooLarge { len: 70_000, max: 65_535 })
    ));
    assert_eq!(log.size(), 500);
    let rest: Vec<_> = (500..900).map(entry).collect();
    log.append_all(&rest, &mut tickets).unwrap();
    log.wait_durable_blocking(899).unwrap();
    assert_holds(&log, 0..900);
}

#[test]
fn a_full_ring_refuses_and_goes_on_after_a_release() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let mut index = 0;
    let mut released = 0;
    // Three laps around the ring, with a reopening in the middle of each.
    for lap in 0..3 {
        loop {
            match log.append(entry(index)) {
                Ok(ticket) => {
                    assert_eq!(ticket.index, index);
                    index += 1;
                }
                Err(AppendError::RingFull) => break,
                Err(AppendError::QueueFull) => log.wait_durable_blocking(index - 1).unwrap(),
                Err(e) => panic!("{e}"),
            }
        }
        log.wait_durable_blocking(index - 1).unwrap();
        assert!(index - released > 500, "lap {lap}: {index} - {released}");
        assert_holds(&log, released..index);
        assert_eq!(log.append(entry(index)), Err(AppendError::RingFull));
        log.release(index - 10);
        released = index - 10;
        log.append(entry(index)).unwrap();
        index += 1;
        log.wait_durable_blocking(index - 1).unwrap();
    }
    assert_holds(&log, released..index);
    log.close().unwrap();
    drop(log);
    let (log, found) = open(dir.path());
    assert_eq!(found.size, index);
    assert_eq!(found.root, recomputed(index).root());
    assert!(found.first_kept > 0 && found.first_kept <= released);
    assert!(found.released <= released);
    assert_holds(&log, found.first_kept..index);
    assert!(log.read(0, 1).is_err());
}

#[test]
fn the_ends_of_what_was_begun_have_room_in_a_full_ring() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    // A full one, and one that is full again after a lap.
    for lap in 0..2 {
        let mut full = false;
        while !full {
            match log.append(entry(log.size())) {
                Ok(_) => {}
                Err(AppendError::RingFull) => full = true,
                Err(AppendError::QueueFull) => log.wait_durable_blocking(log.size() - 1).unwrap(),
                Err(e) => panic!("{e}"),
            }
        }
        let many: Vec<_> = (log.size()..log.size() + 2).map(entry).collect();
        assert_eq!(log.append_all(&many, &mut Vec::new()), Err(AppendError::RingFull));
        let (mut bytes, mut ended) = (0, false);
        while !ended {
            let end = entry(log.size());
            let taken = match log.size() % 2 {
                0 => log.append_end(&end),
                _ => log.append_end_soon(&end),
            };
            match taken {
                Ok(_) => bytes += end.len() as u64,
                Err(AppendError::RingFull) => ended = true,
                Err(AppendError::QueueFull) => log.wait_durable_blocking(log.size() - 1).unwrap(),
                Err(e) => panic!("{e}"),
            }
            assert_eq!(log.append(entry(log.size())), Err(AppendError::RingFull));
        }
        // Half a segment is kept. Frames and records have headers, too; how many records share a
        // frame, the disk's pace says: with one in each, 56 KB were taken.
        assert!(bytes > SEGMENT / 8, "lap {lap}: {bytes}");
        log.wait_durable_blocking(log.size() - 1).unwrap();
        log.release(log.size());
    }
    let size = log.size();
    log.append(entry(size)).unwrap();
    log.close().unwrap();
    drop(log);
    let (log, found) = open(dir.path());
    assert_eq!((found.size, found.root), (size + 1, recomputed(size + 1).root()));
    assert_holds(&log, found.first_kept..found.size);
}

#[test]
fn a_full_ring_opens_again_and_can_be_drained() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = 0;
    for _ in 0..5 {
        let (log, found) = open(dir.path());
        assert_eq!(found.size, index);
        while log.append(entry(index)).is_ok() {
            index += 1;
        }
        log.close().unwrap();
    }
    let (log, _) = open(dir.path());
    assert_holds(&log, 0..index);
    log.release(index);
    fill(&log, 50);
    log.close().unwrap();
    drop(log);
    let (_, found) = open(dir.path());
    assert_eq!(found.root, recomputed(index + 50).root());
}

#[test]
fn entries_of_every_length_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let lens = [0, 1, 4095, 4096, 65_535, 65_534, 0, 30_000];
    for len in lens {
        let ticket = log.append(vec![len as u8; len]).unwrap();
        log.wait_durable_blocking(ticket.index).unwrap();
    }
    assert_eq!(
        log.append(vec![0; 65_536]),
        Err(AppendError::TooLarge { len: 65_536, max: 65_535 })
    );
    log.close().unwrap();
    drop(log);
    let (log, _) = open(dir.path());
    let got: Vec<usize> = log.read(0, usize::MAX).unwrap().iter().map(|(_, b)| b.len()).collect();
    assert_eq!(got, lens);
}

#[test]
fn a_second_opener_of_the_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let second = Log::open(config(dir.path()), signer());
    assert!(matches!(second, Err(OpenError::Locked { .. })));
    drop(log);
    open(dir.path());
}

#[test]
fn another_log_another_shape_or_another_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    fill(&log, 3);
    drop(log);
    let refused = |change: &dyn Fn(&mut LogConfig)| {
        let mut c = config(dir.path());
        change(&mut c);
        Log::open(c, signer()).map(|(_, found)| found)
    };
    assert!(matches!(refused(&|c| c.log_id = "b".into()), Err(OpenError::OtherRing { .. })));
    assert!(matches!(refused(&|c| c.segments = 5), Err(OpenError::OtherRing { .. })));
    assert!(matches!(refused(&|c| c.segment_bytes *= 2), Err(OpenError::OtherRing { .. })));
    assert!(matches!(refused(&|c| c.segments = 1), Err(OpenError::Config(_))));
    assert!(matches!(refused(&|c| c.segment_bytes = 4096), Err(OpenError::Config(_))));
    assert!(matches!(
        refused(&|c| c.remembered_size = 4),
        Err(OpenError::Behind { size: 3, remembered: 4 })
    ));
    let other = tlog::Signer::generate(signer().name()).unwrap();
    let found = Log::open(config(dir.path()), other);
    assert!(matches!(found, Err(OpenError::Corrupt { why, .. }) if why.contains("key")));
    assert_eq!(refused(&|c| c.remembered_size = 3).unwrap().size, 3);
}

#[test]
fn a_ring_without_its_description_is_not_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    fill(&log, 3);
    drop(log);
    fs::remove_file(dir.path().join("ring")).unwrap();
    assert!(matches!(Log::open(config(dir.path()), signer()), Err(OpenError::Corrupt { .. })));
}

/// A log of a few frames in its last segment, copied, for the sweeps.
fn sample(dir: &std::path::Path) -> (u64, Vec<u8>) {
    let (log, _) = open(dir);
    for _ in 0..6 {
        fill(&log, 3);
    }
    // No close: the last frame holds entries.
    let bytes = fs::read(dir.join("segment-000")).unwrap();
    log.close().unwrap();
    (18, bytes)
}

/// Frames in a segment: (offset, length, tree size after it).
fn frames(bytes: &[u8]) -> Vec<(usize, usize, u64)> {
    let (mut out, mut at) = (Vec::new(), 4096);
    while let Ok(frame) = audit_sink::frame::Frame::decode(&bytes[at..]) {
        out.push((at, frame.len(), frame.header().size()));
        at += frame.len();
    }
    out
}

fn reopen_with(dir: &std::path::Path, bytes: &[u8]) -> Result<Recovered, OpenError> {
    fs::write(dir.join("segment-000"), bytes).unwrap();
    // Recovery only: dropping the log writes marks, which the next round overwrites.
    Log::open(config(dir), signer()).map(|(_, found)| found)
}

#[test]
fn every_cut_of_the_last_segment_keeps_what_lies_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (_, bytes) = sample(dir.path());
    let frames = frames(&bytes);
    assert!(frames.len() >= 6, "a flush for each wait at least");
    let end = frames.last().map(|(at, len, _)| at + len).unwrap();
    // From a cut on, zeros: what a write that stopped there leaves in a zero-filled segment.
    let mut cuts: Vec<usize> = (4096..=end).step_by(61).collect();
    for (at, len, _) in &frames {
        cuts.extend([*at, at + 1, at + 8, at + 239, at + 240, at + len - 1]);
    }
    for cut in cuts {
        let mut changed = bytes.clone();
        changed[cut..].fill(0);
        // Only what the frames' zero padding does not hide is lost.
        let size =
            frames.iter().filter(|(at, len, _)| bytes[*at..at + len] == changed[*at..at + len]);
        let size = size.map(|f| f.2).max().unwrap_or(0);
        let found = reopen_with(dir.path(), &changed).unwrap();
        assert_eq!(found.size, size, "cut at {cut}");
        assert_eq!(found.root, recomputed(size).root());
    }
    // A file that is shorter is not a torn write: someone cut it.
    let short = reopen_with(dir.path(), &bytes[..bytes.len() - 1]);
    assert!(matches!(short, Err(OpenError::Corrupt { .. })));
}

#[test]
fn every_flip_before_the_last_frame_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (size, bytes) = sample(dir.path());
    let frames = frames(&bytes);
    let (last, _, _) = *frames.last().unwrap();
    let end = last + frames.last().unwrap().1;
    let before_last = frames[frames.len() - 2].2;
    let mut places: Vec<usize> = (0..end).step_by(37).collect();
    for (at, _, _) in &frames {
        places.extend(*at..at + 260);
    }
    for place in places {
        let mut changed = bytes.clone();
        changed[place] ^= 0x10;
        let found = reopen_with(dir.path(), &changed);
        if place < last {
            assert!(matches!(found, Err(OpenError::Corrupt { .. })), "byte {place}: {found:?}");
        } else {
            // Not to be told from a write that was cut off; a remembered size tells it.
            assert_eq!(found.unwrap().size, before_last, "byte {place}");
            let mut c = config(dir.path());
            c.remembered_size = size;
            fs::write(dir.path().join("segment-000"), &changed).unwrap();
            assert!(matches!(Log::open(c, signer()), Err(OpenError::Behind { .. })));
        }
    }
}

#[test]
fn a_damaged_first_frame_of_any_kept_segment_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let mut index = 0;
    while log.append_end(entry(index)).is_ok() {
        index += 1;
    }
    log.wait_durable_blocking(index - 1).unwrap();
    log.close().unwrap();
    drop(log);
    for segment in 0..4 {
        for offset in [4096, 4096 + 20, 4096 + 300, SEGMENT as usize / 2] {
            let path = dir.path().join(format!("segment-{segment:03}"));
            let bytes = fs::read(&path).unwrap();
            let mut changed = bytes.clone();
            changed[offset] ^= 1;
            fs::write(&path, &changed).unwrap();
            let found = Log::open(config(dir.path()), signer());
            assert!(
                matches!(found, Err(OpenError::Corrupt { .. })),
                "segment {segment} byte {offset}: {found:?}"
            );
            fs::write(&path, &bytes).unwrap();
        }
    }
    assert_eq!(open(dir.path()).1.size, index);
}

/// The frame that overwrites a published segment is torn: what the segment held is gone, and the
/// ring knows that it was not needed any more.
#[test]
fn a_torn_frame_over_a_released_segment_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let long = |i: u64| vec![i as u8; 60_000];
    let mut index = 0;
    while log.append_end(long(index)).is_ok() {
        log.wait_durable_blocking(index).unwrap();
        index += 1;
    }
    log.release(index);
    log.append(long(index)).unwrap();
    log.wait_durable_blocking(index).unwrap();
    let path = |n| dir.path().join(format!("segment-{n:03}"));
    // From before closing, which would write behind the last frame.
    let before: Vec<_> = (0..4).map(|n| fs::read(path(n)).unwrap()).collect();
    log.close().unwrap();
    drop(log);
    for torn_at in [4096 + 8, 4096 + 300, 4096 + 4096, 4096 + 61_000] {
        for (n, bytes) in before.iter().enumerate() {
            fs::write(path(n), bytes).unwrap();
        }
        let mut changed = before[0].clone();
        changed[torn_at..torn_at + 100].fill(0xEE);
        fs::write(path(0), changed).unwrap();
        let (log, found) = open(dir.path());
        assert_eq!((found.size, found.released), (index, index), "torn at {torn_at}");
        assert!(found.first_kept > 0);
        assert_eq!(log.append(long(index)).unwrap().index, index);
        log.wait_durable_blocking(index).unwrap();
        assert_eq!(log.read(index, 1).unwrap()[0].1, long(index));
    }
}

/// An entry may hold anything, also a copy of a frame where recovery looks for later frames.
#[test]
fn a_frame_inside_an_entry_is_not_taken_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    fill(&log, 5);
    let bytes = fs::read(dir.path().join("segment-000")).unwrap();
    let (at, len, _) = *frames(&bytes).last().unwrap();
    let mut copy = vec![0u8; 4096 - 240 - 2];
    copy.extend_from_slice(&bytes[at..at + len]);
    let ticket = log.append(&copy).unwrap();
    log.wait_durable_blocking(ticket.index).unwrap();
    let mut bytes = fs::read(dir.path().join("segment-000")).unwrap();
    log.close().unwrap();
    drop(log);
    let (at, len, _) = frames(&bytes).into_iter().find(|f| f.2 == 6).unwrap();
    assert_eq!(&bytes[at + 4096..at + 4104], b"GRFRAME1");
    // As if the frame with that entry had been torn in its first block.
    bytes[at + 100] ^= 1;
    bytes[at + len..].fill(0);
    let found = reopen_with(dir.path(), &bytes).unwrap();
    assert_eq!((found.size, found.torn), (5, true));
}

#[test]
fn after_a_failed_flush_nothing_is_acknowledged_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let io = Arc::new(FaultyIo::default());
    let mut c = config(dir.path());
    c.io = io.clone();
    let (log, _) = Log::open(c, signer()).unwrap();
    fill(&log, 10);
    io.fail_sync.store(true, Ordering::SeqCst);
    let ticket = log.append(entry(10)).unwrap();
    let waiting = {
        let log = log.clone();
        std::thread::spawn(move || log.wait_durable_blocking(11))
    };
    assert!(matches!(log.wait_durable_blocking(ticket.index), Err(WaitError::Failed(_))));
    assert!(matches!(waiting.join().unwrap(), Err(WaitError::Failed(_))));
    // The device works again; the log does not.
    io.fail_sync.store(false, Ordering::SeqCst);
    let syncs = io.syncs.load(Ordering::SeqCst);
    assert!(matches!(log.append(entry(11)), Err(AppendError::Failed(_))));
    assert_eq!(log.durable(), 10);
    assert_eq!(log.wait_durable_blocking(9), Ok(()));
    assert!(matches!(log.close(), Err(WaitError::Failed(_))));
    assert_eq!(io.syncs.load(Ordering::SeqCst), syncs, "the flush was tried again");
    drop(log);
    assert!(open(dir.path()).1.size >= 10);
}

/// While a flush runs: nothing is acknowledged, entries gather, and become one frame.
#[test]
fn what_arrives_during_a_flush_becomes_one_frame_and_a_full_queue_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let io = Arc::new(FaultyIo::default());
    let mut c = config(dir.path());
    c.io = io.clone();
    c.max_queue_bytes = 50_000;
    let (log, _) = Log::open(c, signer()).unwrap();
    fill(&log, 1);
    let before = log.stats().frames;
    let gate = io.gate.lock().unwrap();
    log.append(entry(1)).unwrap();
    while log.stats().write.count < before + 1 {
        std::thread::yield_now(); // until the committer is inside the flush
    }
    let mut index = 2;
    let refused = loop {
        match log.append(entry(index)) {
            Ok(_) => index += 1,
            Err(e) => break e,
        }
    };
    assert_eq!(refused, AppendError::QueueFull);
    assert!(refused.is_retryable());
    assert_eq!((log.durable(), log.head().unwrap().size), (1, 1));
    drop(gate);
    log.wait_durable_blocking(index - 1).unwrap();
    assert_eq!(log.stats().frames, before + 2, "one frame in flight, one for all the rest");
    assert_holds(&log, 0..index);
    fill(&log, 1);
}

#[test]
fn a_failed_write_is_final_and_a_short_one_is_continued() {
    let dir = tempfile::tempdir().unwrap();
    let io = Arc::new(FaultyIo::default());
    let mut c = config(dir.path());
    c.io = io.clone();
    let (log, _) = Log::open(c, signer()).unwrap();
    io.short_writes.store(true, Ordering::SeqCst);
    fill(&log, 10);
    io.fail_write.store(true, Ordering::SeqCst);
    let ticket = log.append(entry(10)).unwrap();
    assert!(matches!(log.wait_durable_blocking(ticket.index), Err(WaitError::Failed(_))));
    drop(log);
    assert_eq!(open(dir.path()).1.size, 10);
}

#[test]
fn a_disk_too_small_for_the_ring_is_refused_and_nothing_left() {
    let dir = tempfile::tempdir().unwrap();
    let io = Arc::new(FaultyIo::default());
    io.room.store(2 * SEGMENT + 1000, Ordering::SeqCst);
    let mut c = config(dir.path());
    c.io = io;
    assert!(matches!(
        Log::open(c, signer()),
        Err(OpenError::Io { action: "create", source, .. })
            if source.kind() == std::io::ErrorKind::StorageFull
    ));
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"]);
    open(dir.path());
}

#[test]
fn a_flush_that_fails_at_open_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    fill(&log, 1);
    drop(log);
    let io = Arc::new(FaultyIo::default());
    io.fail_sync.store(true, Ordering::SeqCst);
    let mut c = config(dir.path());
    c.io = io;
    assert!(matches!(Log::open(c, signer()), Err(OpenError::Io { action: "flush", .. })));
}

#[test]
fn filling_a_new_ring_reports_progress() {
    let dir = tempfile::tempdir().unwrap();
    let last = Arc::new(std::sync::Mutex::new((0, 0)));
    let mut c = config(dir.path());
    let seen = last.clone();
    c.progress = Some(Arc::new(move |done, all| *seen.lock().unwrap() = (done, all)));
    let (_log, _) = Log::open(c, signer()).unwrap();
    assert_eq!(*last.lock().unwrap(), (4 * SEGMENT, 4 * SEGMENT));
}

#[test]
fn sixty_four_writers_get_every_index_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = config(dir.path());
    c.segment_bytes = 8 << 20;
    let (log, _) = Log::open(c.clone(), signer()).unwrap();
    let each = 50;
    let threads: Vec<_> = (0..64u64)
        .map(|t| {
            let log = log.clone();
            std::thread::spawn(move || {
                let mut waiter = log.waiter();
                let mut out = Vec::new();
                for i in 0..each {
                    let bytes = entry(t * each + i);
                    let ticket = log.append(&bytes).unwrap();
                    waiter.wait_durable_blocking(ticket.index).unwrap();
                    assert!(log.durable() > ticket.index);
                    out.push((ticket.index, bytes));
                }
                out
            })
        })
        .collect();
    let mut all: Vec<_> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
    all.sort_unstable();
    log.close().unwrap();
    drop(log);
    let (log, found) = Log::open(c, signer()).unwrap();
    assert_eq!(found.size, 64 * each);
    let mut tree = CompactRange::new();
    let mut from = 0;
    while from < found.size {
        for (index, bytes) in log.read(from, 1 << 20).unwrap() {
            assert_eq!((index, bytes.to_vec()), all[index as usize]);
            tree.push(leaf_hash(&bytes));
            from += 1;
        }
    }
    assert_eq!(tree.root(), found.root);
}

#[test]
fn tasks_of_two_runtimes_wait_for_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let log = log.clone();
            std::thread::spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, async {
                    let tasks: Vec<_> = (0..16)
                        .map(|_| {
                            let log = log.clone();
                            tokio::task::spawn_local(async move {
                                let mut waiter = log.waiter();
                                for _ in 0..20 {
                                    let t = log.append([7; 20]).unwrap();
                                    waiter.wait_durable(t.index).await.unwrap();
                                    assert!(log.durable() > t.index);
                                }
                            })
                        })
                        .collect();
                    for task in tasks {
                        task.await.unwrap();
                    }
                    // A wait given up (a timeout) leaves nothing behind.
                    let never = log.wait_durable(u64::MAX - 1);
                    assert!(tokio::time::timeout(Duration::from_millis(5), never).await.is_err());
                });
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(log.durable(), 2 * 16 * 20);
    assert_eq!(log.stats().entries, 640);
    assert!(log.stats().frames <= 641);
}
