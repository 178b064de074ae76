//! `kill -9` of the proxy in the middle of a session with an exec, a shell and a file on its way:
//! what had an effect on the target is on record, the log opens again, and it verifies.
//!
//! The test runs itself again as the victim: a whole rig on a folder that outlives it.
//! `GREFFIER_CRASH_ROUNDS` sets how often.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rig::tools::{Running, noise, sha256, until};
use rig::{EVERYTHING, Plan, Rig};
use serde_json::Value;
use ssh::{ChannelRules, Credential, HostTrust, PublicKey, RecordInput, SecretKey};
use terminal::frames::{Kind, MEDIA, Reader};
use testbed::{Sshd, SshdOptions, require};

const ROUNDS: &str = "GREFFIER_CRASH_ROUNDS";
const VICTIM: &str = "GREFFIER_CRASH_VICTIM";
const UPSTREAM: &str = "GREFFIER_CRASH_UPSTREAM";
const DEFAULT_ROUNDS: u64 = 5;

fn plan(data: &Path) -> Plan {
    let rules = ChannelRules {
        allow: EVERYTHING,
        // So that what is typed is on record before it has an effect.
        record_input: RecordInput::All,
        ..ChannelRules::default()
    };
    Plan { data: Some(data.to_owned()), rules, ..Plan::default() }
}

/// Not a test of its own: what the child process does. Without the variable it does nothing.
#[test]
fn victim() {
    let Ok(data) = std::env::var(VICTIM) else { return };
    let upstream = std::env::var(UPSTREAM).unwrap();
    let [port, login, host_key, client_key] = upstream.split('\n').collect::<Vec<_>>()[..] else {
        panic!("{upstream}")
    };
    let trust =
        HostTrust { keys: vec![PublicKey::parse(host_key).unwrap()], authorities: Vec::new() };
    let key = SecretKey::parse(&std::fs::read_to_string(client_key).unwrap()).unwrap();
    let port = port.parse().unwrap();
    let rig = Rig::before(port, login, trust, Credential::Key(key), plan(Path::new(&data)));
    println!("\nVICTIM {} {}", rig.token("alice"), rig.dir.path().display());
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

/// The proxy in a process of its own, and what its clients need.
struct Victim {
    child: Running,
    token: String,
    dir: PathBuf,
    login: String,
}

impl Victim {
    fn start(data: &Path, sshd: &Sshd) -> Victim {
        let upstream = format!(
            "{}\n{}\n{}\n{}",
            sshd.port(),
            sshd.login(),
            sshd.host_key().unwrap().trim(),
            sshd.client_key().display()
        );
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "victim", "--nocapture", "--test-threads=1"])
            .env(VICTIM, data)
            .env(UPSTREAM, upstream)
            .stdout(Stdio::piped());
        let mut child = Running::start(&mut command);
        let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        let said = lines.map_while(Result::ok).find(|line| line.starts_with("VICTIM ")).unwrap();
        let mut words = said.split(' ').skip(1);
        let token = words.next().unwrap().to_owned();
        let dir = words.next().unwrap().into();
        Victim { child, token, dir, login: sshd.login().to_owned() }
    }

    /// An OpenSSH program that shares the one connection.
    fn command(&self, program: &str) -> Command {
        let user = format!("{}+web1", self.login);
        let mut command = rig::program(&self.dir, program, &user, &self.token);
        command.arg("-o").arg(format!("ControlPath={}", self.dir.join("mux").display()));
        command
    }

    fn master(&self) -> Running {
        let master = Running::start(self.command("ssh").args(["-M", "-N", "gw"]));
        until(|| self.dir.join("mux").exists().then_some(()));
        master
    }
}

fn piped(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Execs one after the other, until the proxy is gone. Each line that the client got from one.
fn execs(victim: &Victim, effects: &Path, round: u64) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for n in 0.. {
        let mark = format!("exec-{round}-{n}");
        let line = format!("echo {mark} >> {} && echo {mark}", effects.display());
        let mut ssh = victim.command("ssh");
        let output = ssh.args(["-o", "ControlMaster=no", "gw", &line]).output().unwrap();
        if !output.status.success() {
            return acknowledged;
        }
        assert_eq!(output.stdout, format!("{mark}\n").as_bytes());
        acknowledged.push(mark);
    }
    acknowledged
}

/// Types into a shell until the proxy is gone.
fn types(victim: &Victim, effects: &Path, round: u64) {
    let mut ssh = victim.command("ssh");
    let mut shell = piped(ssh.args(["-o", "ControlMaster=no", "-tt", "gw", "/bin/sh"]));
    let mut out = shell.stdout.take().unwrap();
    let reader = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    let mut stdin = shell.stdin.take().unwrap();
    for n in 0.. {
        let line = format!("echo shell-{round}-{n} >> {}\n", effects.display());
        if stdin.write_all(line.as_bytes()).is_err() || shell.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(stdin);
    shell.wait().unwrap();
    reader.join().unwrap().unwrap();
}

/// Puts files until the proxy is gone: small ones, and one that never ends.
fn puts(victim: &Victim, from: &Path, to: &Path, round: u64) {
    let mut sftp = piped(victim.command("sftp").args(["-o", "ControlMaster=no", "-b", "-", "gw"]));
    let mut stdin = sftp.stdin.take().unwrap();
    for n in 0..400 {
        let (from, to) = (from.join("small"), to.join(format!("put-{round}-{n}")));
        let line = format!("put {} {}\n", from.display(), to.display());
        if stdin.write_all(line.as_bytes()).is_err() {
            break;
        }
    }
    let (from, to) = (from.join("large"), to.join(format!("put-{round}-large")));
    let _broken_pipe = writeln!(stdin, "put {} {}", from.display(), to.display());
    drop(stdin);
    let mut out = Vec::new();
    sftp.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    sftp.wait().unwrap();
}

#[test]
fn attack_35_what_had_an_effect_is_on_record_whenever_the_proxy_is_killed() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let rounds = std::env::var(ROUNDS).ok().map_or(DEFAULT_ROUNDS, |r| r.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let (data, from, to) = (dir.path().join("log"), dir.path().join("from"), dir.path().join("to"));
    for folder in [&data, &from, &to] {
        std::fs::create_dir(folder).unwrap();
    }
    std::fs::write(from.join("small"), noise(5000)).unwrap();
    std::fs::write(from.join("large"), noise(200_000_000)).unwrap();
    let effects = dir.path().join("effects");
    let mut acknowledged = Vec::new();
    for round in 0..rounds {
        let mut victim = Victim::start(&data, &sshd);
        let master = victim.master();
        // Another moment each time.
        let moment = Duration::from_millis(300 + (round * 7919) % 1200);
        let mut proxy = std::mem::replace(&mut victim.child.0, spent());
        std::thread::scope(|scope| {
            let execs = scope.spawn(|| execs(&victim, &effects, round));
            scope.spawn(|| types(&victim, &effects, round));
            scope.spawn(|| puts(&victim, &from, &to, round));
            std::thread::sleep(moment);
            proxy.kill().unwrap();
            proxy.wait().unwrap();
            acknowledged.extend(execs.join().unwrap());
        });
        drop(master);
        let _gone = std::fs::remove_dir_all(&victim.dir);
    }
    // What the target had got may still be running there.
    std::thread::sleep(Duration::from_secs(2));
    // The log opens, and all of it verifies.
    let rig = Rig::with(&sshd, plan(&data));
    let entries = rig.published();
    let effects = std::fs::read_to_string(&effects).unwrap();
    for kind in ["exec-", "shell-"] {
        assert!(effects.contains(kind), "nothing ran: {kind}");
    }
    let seen = check_commands(&entries, &effects, &acknowledged);
    let files = check_files(&entries, &to);
    println!("{rounds} kills: {seen} effects and {files} files, each on record");
    assert!(seen as u64 > rounds && files as u64 > rounds);
    // And it goes on.
    let said = rig.ssh(&["echo again"]);
    assert_eq!((said.out.as_str(), said.code), ("again\n", Some(0)), "{said:?}");
}

/// A child in the place of one that was taken.
fn spent() -> Child {
    Command::new("true").spawn().unwrap()
}

/// Every effect has its command; what a client saw the end of has its outcome.
fn check_commands(entries: &[Value], effects: &str, acknowledged: &[String]) -> usize {
    let commands: Vec<&Value> = entries.iter().filter(|e| e["type"] == "command").collect();
    let of = |mark: &str| {
        let begins = format!("echo {mark} >>");
        let is = |c: &&Value| c["text"].as_str().is_some_and(|text| text.starts_with(&begins));
        commands.iter().copied().find(is)
    };
    let typed = typed(entries);
    for mark in effects.lines() {
        match mark.starts_with("exec-") {
            true => {
                let command = of(mark).unwrap_or_else(|| panic!("{mark} is not on record"));
                assert_eq!(command["verdict"], "allow");
            }
            false => assert!(typed.contains(&format!("echo {mark} >>")), "{mark} was never typed"),
        }
    }
    for mark in acknowledged {
        let command = of(mark).unwrap();
        let answers = |e: &&Value| {
            e["type"] == "response"
                && (&e["session"], &e["command"]) == (&command["session"], &command["command"])
        };
        assert_eq!(entries.iter().find(answers).unwrap()["outcome"], "ok", "{mark}");
    }
    effects.lines().count()
}

/// Every file has its open; one whose close was answered has its hash.
fn check_files(entries: &[Value], to: &Path) -> usize {
    let small = sha256(&noise(5000));
    let mut count = 0;
    for file in std::fs::read_dir(to).unwrap() {
        let path = file.unwrap().path();
        let text = path.to_str().unwrap();
        let is = |e: &&Value| e["operation"] == "open-write" && e["details"]["path"] == text;
        let command = entries.iter().find(is).unwrap_or_else(|| panic!("{text} is not on record"));
        let answers = |e: &&Value| {
            e["type"] == "response"
                && (&e["session"], &e["command"]) == (&command["session"], &command["command"])
        };
        if let Some(response) = entries.iter().find(answers) {
            assert_eq!(response["details"]["written_sha256"], small.as_str(), "{response}");
        }
        count += 1;
    }
    count
}

/// All that was typed in terminals.
fn typed(entries: &[Value]) -> String {
    let mut streams: BTreeMap<(String, String), Reader> = BTreeMap::new();
    let mut typed = Vec::new();
    for entry in entries.iter().filter(|e| e["data"]["media"] == MEDIA) {
        let reader = streams
            .entry((entry["session"].to_string(), entry["command"].to_string()))
            .or_default();
        let data = entry["data"]["base64"].as_str().map(|text| STANDARD.decode(text).unwrap());
        reader.push(&data.unwrap_or_else(|| entry["data"]["text"].as_str().unwrap().into()));
        while let Some(frame) = reader.next().unwrap() {
            if frame.kind == Kind::Input {
                typed.extend(frame.bytes);
            }
        }
    }
    String::from_utf8(typed).unwrap()
}
