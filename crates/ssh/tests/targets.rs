//! Targets that are not OpenSSH's, by asyncssh's server: one that takes a password, one that shows
//! another host key when keys are changed, one that sends no packets any more.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use rig::tools::{Running, commands, good, response};
use rig::{Plan, Rig, Said};
use ssh::{Credential, HostTrust, PublicKey};
use testbed::require;
use testbed::ssh_clients::python;

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/targets/server.py");

struct Target {
    _server: Running,
    /// Its keys, which it reads anew for each connection.
    _dir: tempfile::TempDir,
    rig: Rig,
    password: String,
}

/// asyncssh's server, and a proxy that logs in there by password.
fn target() -> Option<Target> {
    let mut server = Command::new(require(python())?.join("python"));
    server.arg("-B").arg(SERVER);
    let dir = tempfile::tempdir().unwrap();
    let key = |name: &str| {
        let path = dir.path().join(name);
        let mut keygen = Command::new("ssh-keygen");
        good(keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&path));
        path
    };
    let (host, other) = (key("host"), key("other"));
    // Made here, and long enough to be found in a record if it were there.
    let password = rig::tools::sha256(&std::fs::read(&other).unwrap());
    server.arg("deploy").arg(&host).arg(&other).env("GREFFIER_TEST_PASSWORD", &password);
    let mut server = Running::start(server.stdout(Stdio::piped()));
    let mut port = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let line = std::fs::read_to_string(host.with_extension("pub")).unwrap();
    let trust = HostTrust { keys: vec![PublicKey::parse(&line).unwrap()], authorities: vec![] };
    let credential = Credential::Password(identity::Secret::from(password.as_str()));
    let port = port.trim().parse().unwrap();
    let rig = Rig::before(port, "deploy", trust, credential, Plan::default());
    Some(Target { _server: server, _dir: dir, rig, password })
}

impl Target {
    fn ssh(&self, line: &str) -> Said {
        self.rig.ssh(&[line])
    }

    fn end(&self) -> String {
        self.rig.settle();
        self.rig.entries_of("session_end").pop().unwrap()["reason"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_password_of_ours_lets_in_and_is_on_no_record() {
    let Some(target) = target() else { return };
    let said = target.ssh("echo in");
    assert_eq!((said.out.as_str(), said.code), ("in\n", Some(0)), "{said:?}");
    assert_eq!(target.end(), "client closed");
    let entries = target.rig.entries();
    assert!(entries.iter().any(|entry| entry["text"] == "echo in"));
    assert!(entries.iter().all(|entry| !entry.to_string().contains(&target.password)));
}

#[test]
fn a_host_key_that_changes_under_way_ends_the_session() {
    let Some(target) = target() else { return };
    let said = target.ssh("rekey same");
    assert_eq!((said.out.as_str(), said.code), ("before\nbehind\n", Some(0)), "{said:?}");
    let said = target.ssh("rekey other");
    assert_ne!(said.code, Some(0), "{said:?}");
    assert!(!said.out.contains("behind"), "{said:?}");
    assert!(said.err.contains("greffier: the target broke the protocol"), "{said:?}");
    let end = target.end();
    assert!(end.starts_with("the target broke the protocol: "), "{end}");
    assert!(end.to_lowercase().contains("key"), "{end}");
}

#[test]
fn attack_13_a_target_whose_packets_break_is_told_and_recorded() {
    let Some(target) = target() else { return };
    let said = target.ssh("garbage");
    assert_ne!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("greffier: the target broke the protocol"), "{said:?}");
    let end = target.end();
    assert!(end.starts_with("the target broke the protocol: "), "{end}");
    let command = commands(&target.rig, "exec").remove(0);
    assert_eq!(response(&target.rig, &command)["outcome"], "lost");
}
