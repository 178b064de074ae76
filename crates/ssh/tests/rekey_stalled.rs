//! A client that begins to change keys and then says no more, beside a target that writes as fast
//! as it can (CVE-2025-22869 in another library: what waits for the new keys grows without end).
//! One test in a program of its own, since it looks at the program's memory.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use rig::Rig;
use rig::between::{KEXINIT, between};
use testbed::{Sshd, SshdOptions, require};

/// What the target writes, in bytes.
const ALL: u64 = 200_000_000;
/// After so many bytes the client changes keys.
const LIMIT: u64 = 4 * 1024 * 1024;
/// What the proxy may take for the stalled session, its log and its chunks, in bytes.
const MOST: u64 = 64 * 1024 * 1024;

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn attack_13_a_client_that_stalls_while_keys_change_costs_no_memory_and_loses_nothing() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let rig = Rig::start(&sshd);
    assert_eq!(rig.ssh(&["true"]).code, Some(0));
    let (tell, stalled) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let mut begun = None;
    let between = between(rig.port, move |piece, down| match begun {
        None if piece.len() > KEXINIT && down > LIMIT => begun = Some(false),
        // What would come behind its first message.
        Some(false) => {
            begun = Some(true);
            tell.send(()).unwrap();
            wait.recv().unwrap();
        }
        _ => {}
    });
    let mut ssh = rig.ssh_command();
    ssh.args(["-p", &between.port.to_string(), "-o", &format!("RekeyLimit={LIMIT}")])
        .args(["gw", &format!("head -c {ALL} /dev/zero")])
        .stdout(Stdio::piped());
    let mut ssh = ssh.spawn().unwrap();
    let mut out = ssh.stdout.take().unwrap();
    let reading = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    stalled.recv_timeout(Duration::from_secs(60)).expect("the client changes its keys");
    let before = resident();
    // The target's output would have passed long since.
    let mut then = 0;
    loop {
        std::thread::sleep(Duration::from_secs(2));
        let now = between.down.load(Ordering::Relaxed);
        if now == then {
            break;
        }
        then = now;
    }
    assert!(then < ALL / 2, "{then} bytes came: it was the end, not the keys, that it waited for");
    let grown = resident().saturating_sub(before);
    assert!(grown < MOST, "{grown} bytes more in memory");
    // It is the only one that waits.
    assert_eq!(rig.ssh(&["true"]).code, Some(0));

    go_on.send(()).unwrap();
    assert_eq!(reading.join().unwrap().unwrap(), ALL);
    assert!(ssh.wait().unwrap().success());
    rig.settle();
    let responses = rig.entries_of("response");
    assert!(responses.iter().all(|r| r["outcome"] == "ok"), "{responses:?}");
}
