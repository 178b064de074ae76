//! The log is full and its store away, in the middle of a session: nothing more runs, the client
//! is told, and all goes on when the store is back.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rig::tools::{Master, Running, until};
use rig::{EVERYTHING, Plan, Rig, Said};
use serde_json::Value;
use ssh::ChannelRules;
use testbed::{Sshd, SshdOptions, require};

const FULL: &str = "greffier: the audit log is full";
/// How long a test waits to see that nothing happens.
const MOMENT: Duration = Duration::from_millis(1500);

fn plan() -> Plan {
    let rules = ChannelRules { allow: EVERYTHING, ..ChannelRules::default() };
    Plan { segments: 2, segment_bytes: 256 * 1024, rules, ..Plan::default() }
}

fn piped(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Commands until one is refused because the log is full, or until one has no room for its
/// outcome: that one waits.
fn fill(rig: &Rig, master: &Master) {
    for n in 0..2000 {
        let line = format!("true {n} {}", "x".repeat(3000));
        let mut ssh = master.command(rig, "ssh");
        let mut ssh = ssh.args(["gw", &line]).stderr(Stdio::null()).spawn().unwrap();
        let mut code = None;
        for _ in 0..300 {
            code = ssh.try_wait().unwrap();
            if code.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        match code.and_then(|status| status.code()) {
            Some(0) => {}
            None => {
                ssh.kill().unwrap();
                ssh.wait().unwrap();
            }
            Some(code) => {
                assert_eq!(code, 126);
                return;
            }
        }
    }
    panic!("it is never full");
}

/// How the one command with this text ended.
fn outcome(entries: &[Value], text: &str) -> Value {
    let command = entries.iter().find(|e| e["text"] == text).unwrap();
    let answers = |e: &&Value| {
        e["type"] == "response"
            && (&e["session"], &e["command"]) == (&command["session"], &command["command"])
    };
    entries.iter().find(answers).unwrap()["outcome"].clone()
}

fn is_refused(said: &Said) {
    assert_eq!(said.code, Some(126), "{said:?}");
    assert!(said.err.contains(FULL) || said.out.contains(FULL), "{said:?}");
}

#[test]
fn attack_35_a_full_log_refuses_in_the_middle_of_a_session_and_works_again() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let rig = Rig::with(&sshd, plan());
    let effect = |name: &str| rig.dir.path().join(name);
    let master = Master::start(&rig, &[], &["-N"], Stdio::null());
    // What runs already.
    let mut cat = piped(master.command(&rig, "ssh").args(["gw", "cat"]));
    let mut echoed = [0; 3];
    cat.stdin.as_mut().unwrap().write_all(b"one").unwrap();
    cat.stdout.as_mut().unwrap().read_exact(&mut echoed).unwrap();
    let bring_back = rig.without_store();
    fill(&rig, &master);

    // Commands of every kind are refused on the connection that there is, and have no effect.
    let touch = |name: &str| format!("touch {}", effect(name).display());
    is_refused(&Said::of(master.command(&rig, "ssh").args(["gw", &touch("by_exec")])));
    let mut shell = piped(master.command(&rig, "ssh").args(["-tt", "gw"]));
    shell.stdin.as_mut().unwrap().write_all((touch("by_shell") + "\n").as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(126));
    assert!(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).contains(FULL));
    let mut sftp = piped(master.command(&rig, "sftp").args(["-b", "-", "gw"]));
    let put = format!("put /etc/hostname {}\n", effect("by_sftp").display());
    // It may have ended by now.
    let _broken_pipe = sftp.stdin.as_mut().unwrap().write_all(put.as_bytes());
    let output = sftp.wait_with_output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains(FULL));
    let mut forward = master.command(&rig, "ssh");
    forward.args(["-W", &format!("127.0.0.1:{}", sshd.port()), "gw"]);
    assert_ne!(Said::of(&mut forward).code, Some(0));
    // A new connection is not let in, or gets nothing run.
    let said = rig.ssh(&[&touch("by_newcomer")]);
    assert_ne!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains(FULL), "{said:?}");
    // What runs, ends for the client when its outcome is on record, and not before.
    drop(cat.stdin.take());
    std::thread::sleep(MOMENT);
    assert!(cat.try_wait().unwrap().is_none(), "its end has no record");
    for name in ["by_exec", "by_shell", "by_sftp", "by_newcomer"] {
        assert!(!effect(name).exists(), "{name}");
    }

    // The same connection goes on when the store is back.
    bring_back();
    assert_eq!(cat.wait_with_output().unwrap().status.code(), Some(0));
    until(|| {
        let said = Said::of(master.command(&rig, "ssh").args(["gw", &touch("again")]));
        (said.code == Some(0)).then_some(())
    });
    assert!(effect("again").exists());
    let entries = rig.published();
    let allowed = |line: &str| {
        let is = |e: &&Value| e["text"] == line && e["verdict"] == "allow";
        entries.iter().filter(is).count()
    };
    assert_eq!(allowed(&touch("by_exec")), 0);
    assert_eq!(allowed(&touch("again")), 1);
    assert_eq!(outcome(&entries, "cat"), "ok");
}

/// Types into a shell.
fn types(shell: &mut Running, text: &str) {
    shell.0.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
}

fn waits_for(path: &Path) {
    until(|| path.exists().then_some(()));
}

#[test]
fn attack_35_a_full_log_stops_a_terminal_that_is_open() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let rig = Rig::with(&sshd, plan());
    let effect = |name: &str| rig.dir.path().join(name);
    let touch = |name: &str| format!("touch {}\n", effect(name).display());
    let master = Master::start(&rig, &[], &["-N"], Stdio::null());
    let mut command = master.command(&rig, "ssh");
    command.args(["-tt", "gw", "/bin/sh"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = Running::start(&mut command);
    let mut out = shell.0.stdout.take().unwrap();
    std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    types(&mut shell, &touch("before"));
    waits_for(&effect("before"));
    let bring_back = rig.without_store();
    fill(&rig, &master);
    // What the terminal shows now can't be recorded; so nothing more is typed there.
    types(&mut shell, "echo\n");
    std::thread::sleep(MOMENT);
    types(&mut shell, &touch("meanwhile"));
    std::thread::sleep(MOMENT);
    assert!(!effect("meanwhile").exists());
    bring_back();
    waits_for(&effect("meanwhile"));
    types(&mut shell, "exit\n");
    assert!(shell.0.wait().unwrap().success());
    assert_eq!(outcome(&rig.published(), "/bin/sh"), "ok");
}
