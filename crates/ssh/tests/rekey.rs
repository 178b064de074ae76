//! Keys that change in the middle of a transfer, on each leg and on both.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::io::Write as _;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use rig::Rig;
use rig::between::{KEXINIT, between};
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

/// Behind our NEWKEYS packets are numbered from 0 again (strict key exchange), and the new key is
/// in use only once the client's has come: a word between them would use a number, and with
/// ChaCha20-Poly1305 a keystream, twice.
#[test]
fn attack_12_nothing_is_said_under_the_old_keys_once_new_ones_were_agreed() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let rig = Rig::start(&sshd);
    let (tell, corrupted) = mpsc::channel();
    let mut seen = 0;
    let between = between(rig.port, move |piece, down| {
        match seen {
            0 if piece.len() <= KEXINIT || down < 3_000_000 => return,
            // Its NEWKEYS, behind the two messages of its exchange.
            2 => {
                piece[6] ^= 1;
                tell.send(down).unwrap();
            }
            _ => {}
        }
        seen += 1;
    });
    let mut ssh = rig.ssh_command();
    ssh.args(["-p", &between.port.to_string(), "-o", "RekeyLimit=2M"]);
    ssh.args(["-c", "chacha20-poly1305@openssh.com", "gw", "cat /dev/zero"]);
    let mut ssh = ssh.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let then =
        corrupted.recv_timeout(Duration::from_secs(60)).expect("the client changes its keys");
    assert!(!ssh.wait().unwrap().success());
    assert_eq!(between.down.load(Ordering::Relaxed), then, "bytes came behind NEWKEYS");
    rig.settle();
    let ends = rig.entries_of("session_end");
    assert!(ends.iter().any(|it| it.to_string().contains("decrypt")), "{ends:?}");
}
