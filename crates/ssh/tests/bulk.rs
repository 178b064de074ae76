//! A large transfer each way by `exec`, byte for byte, with the record's hash equal to the
//! file's. `GREFFIER_BULK_MIB` makes it larger: `cargo xtask suites ssh-bulk` moves 1 GiB. The
//! same by sftp and scp, with each file's hash: `files.rs` and `scp.rs`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::fs::File;
use std::process::Command;

use rig::tools::{commands, good, response};
use rig::{Plan, Rig};
use testbed::{Sshd, SshdOptions, require};

/// What is moved each way if nothing else is said, in MiB.
const MIB: u64 = 100;
/// What the proxy and the test may take beside it, in KiB.
const MOST_KIB: u64 = 160 * 1024;

/// Resident memory of this program at its most, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn sha256sum(path: &std::path::Path) -> String {
    good(Command::new("sha256sum").arg(path)).out.split(' ').next().unwrap().to_owned()
}

#[test]
fn a_large_transfer_each_way_is_equal_and_its_hash_is_on_record() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let mib = std::env::var("GREFFIER_BULK_MIB").map_or(MIB, |mib| mib.parse().unwrap());
    let rig = Rig::with(&sshd, Plan::default());
    let at = |name: &str| rig.dir.path().join(name);
    let (from, there, back) = (at("from"), at("there"), at("back"));
    let mut noise = std::io::Read::take(File::open("/dev/urandom").unwrap(), mib << 20);
    std::io::copy(&mut noise, &mut File::create(&from).unwrap()).unwrap();
    let sum = sha256sum(&from);
    let mut up = rig.ssh_command();
    up.args(["gw", &format!("cat > {}", there.display())]).stdin(File::open(&from).unwrap());
    let ended = up.status().unwrap();
    assert!(ended.success(), "{ended}: {:?}", rig.entries_of("session_end"));
    let mut down = rig.ssh_command();
    down.args(["gw", &format!("cat {}", there.display())]).stdout(File::create(&back).unwrap());
    let ended = down.status().unwrap();
    assert!(ended.success(), "{ended}: {:?}", rig.entries_of("session_end"));
    assert_eq!((sha256sum(&there), sha256sum(&back)), (sum.clone(), sum.clone()));
    rig.settle();
    let runs = commands(&rig, "exec");
    assert_eq!(response(&rig, &runs[0])["details"]["stdin_sha256"], sum);
    assert_eq!(response(&rig, &runs[0])["input_bytes"], mib << 20);
    assert_eq!(response(&rig, &runs[1])["details"]["stdout_sha256"], sum);
    assert_eq!(response(&rig, &runs[1])["bytes"], mib << 20);
    let peak = peak();
    println!("{mib} MiB each way; at most {peak} KiB resident");
    assert!(peak < MOST_KIB, "{peak} KiB");
}
