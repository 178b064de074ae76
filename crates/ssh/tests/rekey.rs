//! Keys that change in the middle of a transfer, on each leg and on both.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::io::Write as _;
use std::process::Stdio;

use rig::Rig;
use testbed::{Sshd, SshdOptions, require};

/// Bytes that no shift leaves equal.
fn bytes() -> Vec<u8> {
    (0..24_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect()
}

fn there_and_back(rig: &Rig, options: &[&str]) {
    let sent = bytes();
    let mut ssh = rig.ssh_command();
    ssh.args(options).args(["gw", "cat"]);
    let mut ssh = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = ssh.stdin.take().unwrap();
    let writing = std::thread::spawn({
        let sent = sent.clone();
        move || stdin.write_all(&sent)
    });
    let out = ssh.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(out.status.success());
    assert!(out.stdout == sent, "{} of {} bytes, or others", out.stdout.len(), sent.len());
}

#[test]
fn the_client_changes_keys_under_load() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let rig = Rig::start(&sshd);
    there_and_back(&rig, &["-o", "RekeyLimit=2M"]);
}

#[test]
fn the_target_and_the_client_change_keys_under_load() {
    let options = SshdOptions { config: "RekeyLimit 3M\n".to_owned(), ..SshdOptions::default() };
    let Some(sshd) = require(Sshd::start(&options)) else { return };
    let rig = Rig::start(&sshd);
    there_and_back(&rig, &[]);
    there_and_back(&rig, &["-o", "RekeyLimit=2M"]);
    let log = sshd.log();
    assert!(!log.contains("error"), "{log}");
    rig.settle();
    let responses = rig.entries_of("response");
    assert!(responses.iter().all(|r| r["outcome"] == "ok"), "{responses:?}");
}
