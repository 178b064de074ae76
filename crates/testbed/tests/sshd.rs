//! The real OpenSSH server starts, lets its one key in, and is gone afterwards.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Command;

use testbed::{Sshd, SshdOptions, require};

#[test]
fn sshd_lets_its_key_in_and_ends_with_its_handle() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let (pid, dir) = (sshd.pid().unwrap(), sshd.dir().to_owned());
    let hosts = dir.join("known_hosts");
    std::fs::write(&hosts, format!("[127.0.0.1]:{} {}\n", sshd.port(), sshd.host_key().unwrap()))
        .unwrap();
    let out = Command::new("ssh")
        .args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"])
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", hosts.display()))
        .arg("-i")
        .arg(sshd.client_key())
        .args(["-p", &sshd.port().to_string(), "-l", sshd.login(), "127.0.0.1", "echo hello"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(String::from_utf8_lossy(&out.stdout), "hello\n", "{said}\n{}", sshd.log());
    drop(sshd);
    assert!(!dir.exists() && !Path::new(&format!("/proc/{pid}")).exists());
}
