//! A fast writer beside a reader that does not read: nothing grows, both ways. One test in a
//! program of its own, since it looks at the program's memory.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rig::Rig;
use testbed::{Sshd, SshdOptions, require};

/// What the proxy may take for two stalled channels, its log and its chunks, in bytes.
const MOST: u64 = 64 * 1024 * 1024;

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Waits until a count stands still: the writer is stopped.
fn stopped(count: impl Fn() -> u64) -> u64 {
    let mut last = u64::MAX;
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let now = count();
        if now == last {
            return now;
        }
        last = now;
    }
}

#[test]
fn memory_is_flat_beside_a_stalled_reader() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let rig = Rig::start(&sshd);
    assert_eq!(rig.ssh(&["true"]).code, Some(0));
    let before = resident();
    // The far end reads nothing.
    let mut up = rig.ssh_command();
    let mut up = up.args(["gw", "sleep 1000"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = up.stdin.take().unwrap();
    let written = Arc::new(AtomicU64::new(0));
    let count = written.clone();
    let writer = std::thread::spawn(move || {
        let piece = vec![0; 65_536];
        while stdin.write_all(&piece).is_ok() {
            count.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
    });
    // The near end reads nothing.
    let mut down = rig.ssh_command();
    down.args(["gw", "cat /dev/zero"]).stdout(Stdio::piped());
    let mut down = down.spawn().unwrap();
    // Far more would have passed by then than either side may hold.
    let sent = stopped(|| written.load(Ordering::Relaxed));
    assert!(sent < MOST, "{sent} bytes went to a program that reads none");
    let grown = resident().saturating_sub(before);
    assert!(grown < MOST, "{grown} bytes more in memory");
    for child in [&mut up, &mut down] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    writer.join().unwrap();
    rig.settle();
    let mut outcomes: Vec<_> =
        rig.entries_of("response").iter().map(|r| r["outcome"].clone()).collect();
    outcomes.sort_by_key(ToString::to_string);
    assert_eq!(outcomes, ["cancelled", "cancelled", "ok"]);
}
