//! Attacks on the record while an SSH session runs: each named after its item of the project's
//! list.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::io::Read as _;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dev_issuer::Claims;
use rig::tools::{commands, response, sha256};
use rig::{AUDIENCE, Plan, Rig, Said};
use serde_json::Value;
use testbed::{Sshd, SshdOptions, require};

mod fault;

fn sshd() -> Option<Sshd> {
    require(Sshd::start(&SshdOptions::default()))
}

/// A transfer that never ends, of which some has arrived.
fn endless(rig: &Rig, token: &str) -> (Child, ChildStdout) {
    let mut ssh = rig.program("ssh", token);
    ssh.args(["gw", "cat /dev/zero"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut ssh = ssh.spawn().unwrap();
    let mut out = ssh.stdout.take().unwrap();
    let mut start = vec![1; 3_000_000];
    out.read_exact(&mut start).unwrap();
    assert!(start.iter().all(|&byte| byte == 0));
    (ssh, out)
}

/// What the client printed on standard error, and its exit status, once it has ended.
fn ended((mut ssh, mut out): (Child, ChildStdout)) -> (String, Option<i32>, u64) {
    let more = std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    let mut said = String::new();
    ssh.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (said, ssh.wait().unwrap().code(), 3_000_000 + more)
}

/// The one response, and the session's end.
fn outcome(rig: &Rig) -> (Value, Value) {
    rig.settle();
    let command = commands(rig, "exec").remove(0);
    (response(rig, &command), rig.entries_of("session_end").remove(0))
}

#[test]
fn attack_35_a_lease_that_ends_stops_a_transfer_and_both_sides_are_told_why() {
    let Some(sshd) = sshd() else { return };
    let rig = Rig::start(&sshd);
    let token = rig.token("alice");
    let running = endless(&rig, &token);
    let subject = "alice".to_owned();
    let alice = identity::Selector::Principal { issuer: rig.issuer.iss().to_owned(), subject };
    rig.verifier.leases().end(&alice, "left the company");
    let (said, code, bytes) = ended(running);
    assert!(said.contains("the session ends") && said.contains("left the company"), "{said}");
    assert_ne!(code, Some(0));
    let (response, end) = outcome(&rig);
    assert_eq!(response["outcome"], "ended");
    assert!(response["details"]["ended_by"].as_str().unwrap().contains("left the company"));
    assert!(end["reason"].as_str().unwrap().contains("left the company"), "{end}");
    // Nothing came to the client that isn't in the record's count.
    let recorded = response["bytes"].as_u64().unwrap();
    assert!(recorded >= bytes, "{recorded} of {bytes} bytes");
    // And the token that was good is not any more.
    assert_ne!(Said::of(rig.program("ssh", &token).args(["gw", "true"])).code, Some(0));
    assert_eq!(rig.entries_of("auth_failure")[0]["cause"], "revoked");
}

#[test]
fn attack_35_a_token_that_expires_stops_a_transfer() {
    let Some(sshd) = sshd() else { return };
    let rig = Rig::start(&sshd);
    let claims = Claims::new("alice").audience(AUDIENCE).client("people");
    let token = rig.issuer.mint(claims.lifetime(Duration::from_secs(4))).unwrap();
    let (said, code, _) = ended(endless(&rig, &token));
    assert!(said.contains("the session ends") && said.contains("expired"), "{said}");
    assert_ne!(code, Some(0));
    let (response, end) = outcome(&rig);
    assert_eq!(response["outcome"], "ended");
    assert!(end["reason"].as_str().unwrap().contains("expired"), "{end}");
}

/// The processes below this one, a parent before its children: killed in this order, no server
/// lives to tell how its command ended.
fn below(pid: u32) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(child) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
        if parent.and_then(|parent| parent.parse().ok()) == Some(pid) {
            found.push(child);
            found.extend(below(child.unsigned_abs()));
        }
    }
    found
}

#[test]
fn attack_35_a_target_that_dies_in_the_middle_is_told_and_recorded() {
    let Some(sshd) = sshd() else { return };
    let rig = Rig::start(&sshd);
    let running = endless(&rig, &rig.token("alice"));
    let mut kill = std::process::Command::new("kill");
    kill.arg("-9").args(below(sshd.pid().unwrap()).iter().map(ToString::to_string));
    assert!(kill.status().unwrap().success());
    let (said, code, bytes) = ended(running);
    assert!(said.contains("greffier: the target closed the connection"), "{said}");
    assert_ne!(code, Some(0));
    let (response, end) = outcome(&rig);
    assert_eq!((&response["outcome"], &end["reason"]), (&"lost".into(), &"target closed".into()));
    assert!(response["bytes"].as_u64().unwrap() >= bytes);
    // A new session with the same target goes on.
    assert_eq!(rig.ssh(&["true"]).code, Some(0));
}

#[test]
fn attack_35_a_disk_that_fails_stops_everything_and_says_so() {
    let Some(sshd) = sshd() else { return };
    let fails = Arc::new(AtomicBool::new(false));
    let io = Some(Arc::new(fault::Faulty(fails.clone())) as Arc<_>);
    let rig = Rig::with(&sshd, Plan { io, ..Plan::default() });
    let running = endless(&rig, &rig.token("alice"));
    let touched = rig.dir.path().join("touched");
    fails.store(true, Ordering::SeqCst);
    // Whoever comes now gets nothing run.
    let said = rig.ssh(&[&format!("touch {}", touched.display())]);
    assert_ne!(said.code, Some(0), "{said:?}");
    assert!(!touched.exists());
    // And what ran is cut, though no entry of its own is due.
    let (said, code, _) = ended(running);
    assert!(said.contains("greffier: "), "{said}");
    assert_ne!(code, Some(0));
}

#[test]
fn attack_35_a_command_too_long_for_an_entry_is_on_record_whole() {
    let Some(sshd) = sshd() else { return };
    let rig = Rig::start(&sshd);
    let file = rig.dir.path().join("done");
    let line = format!("echo {} > {}", "x".repeat(100_000), file.display());
    assert_eq!(rig.ssh(&[&line]).code, Some(0));
    assert_eq!(std::fs::read(&file).unwrap().len(), 100_001);
    rig.settle();
    let command = &commands(&rig, "exec")[0];
    assert_eq!(
        (&command["verdict"], &command["text_bytes"]),
        (&"allow".into(), &line.len().into())
    );
    let objects = command["text_chunks"].as_array().unwrap();
    assert_eq!(objects.len(), 1, "{objects:?}");
    assert_eq!(objects[0]["sha256"], sha256(line.as_bytes()));
    // And it lies in the store, once what was recorded is published.
    assert!(!rig.published().is_empty());
    let blob = below_folder(&rig.data.join("store"), &sha256(line.as_bytes()));
    assert!(std::fs::read(blob).unwrap() == line.as_bytes());
}

/// The file of this name below a folder.
fn below_folder(folder: &std::path::Path, name: &str) -> std::path::PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path if path.ends_with(name) => return path,
                _ => {}
            }
        }
    }
    panic!("{name} is not below {}", folder.display());
}

#[test]
fn attack_35_what_is_typed_by_the_client_can_t_forge_an_entry() {
    let Some(sshd) = sshd() else { return };
    let rig = Rig::start(&sshd);
    let forged = "true\n{\"type\":\"session_end\",\"reason\":\"forged\"}\r\n\u{1b}]0;x\u{7}";
    let line = format!("echo '{forged}' >&2");
    let said = rig.ssh(&[&line]);
    assert_eq!(said.code, Some(0), "{said:?}");
    rig.settle();
    assert_eq!(rig.entries_of("session_end").len(), 1);
    assert_ne!(rig.entries_of("session_end")[0]["reason"], "forged");
    let command = &commands(&rig, "exec")[0];
    assert_eq!(command["text"], line);
    // Nor can a line that is no text at all.
    let mut odd = rig.ssh_command();
    use std::os::unix::ffi::OsStrExt as _;
    let said = Said::of(odd.arg("gw").arg(std::ffi::OsStr::from_bytes(b"printf '\xff\xfe\x80'")));
    assert_eq!(said.code, Some(0), "{said:?}");
    rig.settle();
    let command = &commands(&rig, "exec")[1];
    assert_eq!(command["text"]["hex"], hex::encode(b"printf '\xff\xfe\x80'"));
    assert_eq!(
        response(&rig, command)["details"]["stdout_sha256"],
        sha256(b"\xff\xfe\x80").as_str()
    );
}
