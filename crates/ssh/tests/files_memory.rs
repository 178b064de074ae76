//! Files much larger than what the proxy may take of memory, both ways and by both protocols. One
//! test in a program of its own, since it looks at the program's memory.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rig::{Plan, Rig, Said};
use ssh::{Allow, ChannelRules};
use testbed::{Sshd, SshdOptions, require};

/// What the proxy may take for its channels and its log, in bytes.
const MOST: u64 = 64 * 1024 * 1024;
const FILE: usize = 200 * 1024 * 1024;

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn memory_is_flat_while_files_pass() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let allow = Allow { sftp: true, scp: true, ..Allow::default() };
    let rules = ChannelRules { allow, ..ChannelRules::default() };
    let rig = Rig::with(&sshd, Plan { rules, ..Plan::default() });
    let file = rig.dir.path().join("a");
    let mut out = std::fs::File::create(&file).unwrap();
    for n in 0..FILE / 4096 {
        out.write_all(&[n.to_be_bytes()[7]; 4096]).unwrap();
    }
    drop(out);
    let small = rig.dir.path().join("small");
    std::fs::write(&small, b"x").unwrap();
    let there = |name: &str| format!("gw:{}", rig.dir.path().join(name).display());
    let scp = |args: [&str; 3]| {
        let said = Said::of(rig.program("scp", &rig.token("alice")).args(args));
        assert_eq!(said.code, Some(0), "{said:?}");
    };
    scp(["-q", small.to_str().unwrap(), &there("c")]);
    let (high, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (seen, stop) = (high.clone(), done.clone());
    let before = resident();
    let watch = std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            seen.fetch_max(resident(), Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    for mode in ["-s", "-O"] {
        scp([mode, file.to_str().unwrap(), &there("b")]);
        scp([mode, &there("b"), rig.dir.path().join("c").to_str().unwrap()]);
    }
    done.store(true, Ordering::Relaxed);
    watch.join().unwrap();
    let grown = high.load(Ordering::Relaxed).saturating_sub(before);
    assert!(grown < MOST, "{grown} bytes more in memory");
    rig.settle();
    let whole = rig.entries_of("response");
    let whole = whole.iter().filter(|r| r["details"]["whole"] == "true");
    assert_eq!(whole.count(), 5);
}
