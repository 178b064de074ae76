//! Threads that serve flush what is appended on them ([`Log::lead`]): who flushes when, and that
//! nobody is left waiting.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // helpers of tests

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::ThreadId;
use std::time::Duration;

use audit_sink::{Log, LogConfig, WaitError};
use common::{FaultyIo, config, entry, open, signer};
use tokio::task::LocalSet;

/// Far beyond what any flush takes: then it hangs.
const HANGS: Duration = Duration::from_secs(60);

/// Runs `work` as a task on a thread of its own, beside a `Lead` of the log.
fn shard<F: Future<Output = ()> + 'static>(
    log: &Log,
    work: impl FnOnce(Log) -> F + Send + 'static,
) -> std::thread::JoinHandle<ThreadId> {
    let log = log.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let lead = log.lead();
        let serving = async {
            tokio::task::spawn_local(lead);
            // The lead takes its seat when it is first polled.
            tokio::task::yield_now().await;
            tokio::time::timeout(HANGS, work(log)).await.expect("hangs");
        };
        LocalSet::new().block_on(&runtime, serving);
        std::thread::current().id()
    })
}

fn with_faults(dir: &std::path::Path) -> (Log, Arc<FaultyIo>) {
    let faults = Arc::new(FaultyIo::default());
    let config = LogConfig { io: faults.clone(), ..config(dir) };
    let (log, _) = Log::open(config, signer()).unwrap();
    // The frame that states the epoch is out of the way.
    log.wait_durable_blocking(log.append(entry(0)).unwrap().index).unwrap();
    faults.by.lock().unwrap().clear();
    faults.no_disk.store(true, SeqCst);
    (log, faults)
}

#[test]
fn a_thread_that_serves_flushes_once_for_all_its_tasks() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = with_faults(dir.path());
    let thread = shard(&log, |log| async move {
        for round in 0..20 {
            let tasks: Vec<_> = (0..8)
                .map(|_| {
                    let log = log.clone();
                    tokio::task::spawn_local(async move {
                        let index = log.append([round; 40]).unwrap().index;
                        log.wait_durable(index).await.unwrap();
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        }
    });
    let thread = thread.join().unwrap();
    assert_eq!(*faults.by.lock().unwrap(), vec![thread; 20], "one flush a round, on this thread");
}

#[test]
fn a_wait_makes_an_entry_urgent_there_too() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let thread = shard(&log, |log| async move {
        for _ in 0..100 {
            let index = log.append_soon(entry(7)).unwrap().index;
            log.wait_durable(index).await.unwrap();
        }
    });
    thread.join().unwrap();
}

#[test]
fn a_slow_disk_keeps_no_thread_that_serves() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = with_faults(dir.path());
    faults.slow.store(5, SeqCst);
    let thread = shard(&log, |log| async move {
        for _ in 0..20 {
            log.wait_durable(log.append(entry(1)).unwrap().index).await.unwrap();
        }
    });
    let thread = thread.join().unwrap();
    let by = faults.by.lock().unwrap().clone();
    assert_eq!(by.first(), Some(&thread), "it is tried");
    assert!(by[10..].iter().all(|other| *other != thread), "it is given up");
    // And taken up again.
    faults.slow.store(0, SeqCst);
    let thread = shard(&log, |log| async move {
        for _ in 0..400 {
            log.wait_durable(log.append(entry(1)).unwrap().index).await.unwrap();
            log.release(log.durable());
        }
    });
    let thread = thread.join().unwrap();
    assert!(faults.by.lock().unwrap().contains(&thread));
}

#[test]
fn many_threads_hand_on_and_nobody_waits_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let mut threads = Vec::new();
    for number in 0..4 {
        threads.push(shard(&log, move |log| async move {
            let tasks: Vec<_> = (0..6u64)
                .map(|task| {
                    let log = log.clone();
                    tokio::task::spawn_local(async move {
                        for round in 0..150 {
                            let soon = (task + round + number).is_multiple_of(3);
                            let append = if soon { Log::append_soon } else { Log::append };
                            let index = append(&log, entry(round)).unwrap().index;
                            if (task + round).is_multiple_of(5) {
                                tokio::task::yield_now().await;
                            }
                            log.wait_durable(index).await.unwrap();
                            log.release(index);
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        }));
    }
    // Threads without a lead wait beside them.
    for _ in 0..2 {
        let log = log.clone();
        threads.push(std::thread::spawn(move || {
            for round in 0..300 {
                let index = log.append(entry(round)).unwrap().index;
                log.wait_durable_blocking(index).unwrap();
                log.release(index);
            }
            std::thread::current().id()
        }));
    }
    for thread in threads {
        thread.join().unwrap();
    }
    let size = log.size();
    log.close().unwrap();
    assert_eq!((size, log.durable()), (4 * 6 * 150 + 2 * 300, size));
    drop(log);
    let (_, found) = open(dir.path());
    assert_eq!((found.size, found.clean), (size, true));
}

#[test]
fn a_thread_that_blocks_is_not_its_own_flusher() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let thread = shard(&log, |log| async move {
        for round in 0..20 {
            log.wait_durable_blocking(log.append(entry(round)).unwrap().index).unwrap();
        }
    });
    thread.join().unwrap();
}

#[test]
fn what_an_ending_thread_has_appended_becomes_durable() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..30 {
        let (log, _) = open(dir.path());
        let mine = log.clone();
        let append = |log: Log| async move { assert!(log.append(entry(3)).is_ok()) };
        shard(&log, append).join().unwrap();
        mine.wait_durable_blocking(mine.size() - 1).unwrap();
        mine.close().unwrap();
    }
}

#[test]
fn closing_waits_for_a_flush_under_way_on_another_thread() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = with_faults(dir.path());
    for _ in 0..10 {
        let gate = faults.gate.lock().unwrap();
        let (said, hear) = std::sync::mpsc::channel();
        let thread = shard(&log, move |log| async move {
            let index = log.append(entry(4)).unwrap().index;
            said.send(index).unwrap();
            log.wait_durable(index).await.unwrap();
        });
        let index = hear.recv().unwrap();
        drop(gate);
        thread.join().unwrap();
        assert!(log.durable() > index);
    }
    let gate = faults.gate.lock().unwrap();
    let (said, hear) = std::sync::mpsc::channel();
    let thread = shard(&log, move |log| async move {
        let index = log.append(entry(4)).unwrap().index;
        said.send(()).unwrap();
        log.wait_durable(index).await.unwrap();
    });
    hear.recv().unwrap();
    let closing = {
        let log = log.clone();
        std::thread::spawn(move || log.close())
    };
    std::thread::sleep(Duration::from_millis(20));
    assert!(!closing.is_finished());
    drop(gate);
    closing.join().unwrap().unwrap();
    thread.join().unwrap();
    assert_eq!(log.durable(), log.size());
}

#[test]
fn a_flush_that_fails_on_a_thread_that_serves_is_final_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = with_faults(dir.path());
    faults.fail_sync.store(true, SeqCst);
    let (idle, idles) = std::sync::mpsc::channel();
    let other = {
        let log = log.clone();
        std::thread::spawn(move || {
            idle.send(()).unwrap();
            log.wait_durable_blocking(1_000)
        })
    };
    idles.recv().unwrap();
    let thread = shard(&log, |log| async move {
        let index = log.append(entry(5)).unwrap().index;
        assert!(matches!(log.wait_durable(index).await, Err(WaitError::Failed(_))));
        assert!(log.append(entry(6)).is_err());
    });
    let thread = thread.join().unwrap();
    assert!(matches!(other.join().unwrap(), Err(WaitError::Failed(_))));
    assert_eq!(*faults.by.lock().unwrap(), [thread], "and it is not tried again");
    assert!(matches!(log.close(), Err(WaitError::Failed(_))));
}
