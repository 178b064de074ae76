//! Programs that people use, unchanged, through the proxy to a real sshd: what they do is right,
//! and it is on record. OpenSSH's own, and those that call it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rig::tools::{
    Master, commands, file, good, response, same, sha256, ssh_script, until, upper_tcp,
};
use rig::{EVERYTHING, Plan, Rig, Said};
use ssh::{Allow, ChannelRules};
use testbed::ssh_clients::program;
use testbed::{Sshd, SshdOptions, require};

fn rig(allow: Allow) -> Option<(Sshd, Rig)> {
    let sshd = require(Sshd::start(&SshdOptions::default()))?;
    let env = vec!["LANG".into(), "GIT_PROTOCOL".into()];
    let rules = ChannelRules { allow, env, ..ChannelRules::default() };
    let rig = Rig::with(&sshd, Plan { rules, ..Plan::default() });
    Some((sshd, rig))
}

fn only_exec() -> Allow {
    Allow { exec: true, ..Allow::default() }
}

#[test]
fn sftp_puts_lists_and_gets() {
    let Some((_sshd, rig)) = rig(EVERYTHING) else { return };
    let (from, content) = file(&rig, "from", 3_000_000);
    let (there, back) = (rig.dir.path().join("there"), rig.dir.path().join("back"));
    let batch = rig.dir.path().join("batch");
    let lines = format!(
        "put {} {}\nls -l {2}\nget {2} {3}\nrename {2} {2}.moved\nrm {2}.moved\n",
        from.display(),
        there.display(),
        there.display(),
        back.display()
    );
    std::fs::write(&batch, lines).unwrap();
    // By standard input: with a batch file `sftp` forbids questions, and so the token's.
    let mut sftp = rig.program("sftp", &rig.token("alice"));
    let said = good(sftp.arg("gw").stdin(std::fs::File::open(&batch).unwrap()));
    assert!(said.out.contains("there"), "{said:?}");
    assert!(std::fs::read(&back).unwrap() == content && !there.exists());
    rig.settle();
    assert_eq!(commands(&rig, "subsystem").len(), 1);
}

#[test]
fn scp_by_both_protocols() {
    let Some((_sshd, rig)) = rig(EVERYTHING) else { return };
    let (from, _) = file(&rig, "from", 3_000_000);
    for old in [&["-s"][..], &["-O"]] {
        let (there, back) = (rig.dir.path().join("there"), rig.dir.path().join("back"));
        let far = format!("gw:{}", there.display());
        let scp = || {
            let mut scp = rig.program("scp", &rig.token("alice"));
            scp.args(["-q", "-p"]).args(old);
            scp
        };
        good(scp().arg(&from).arg(&far));
        good(scp().arg(&far).arg(&back));
        assert!(same(&from, &there) && same(&from, &back));
        let folder = rig.dir.path().join("folder");
        std::fs::create_dir_all(folder.join("inner")).unwrap();
        std::fs::write(folder.join("inner/a b"), "content").unwrap();
        good(scp().arg("-r").arg(&folder).arg(format!("gw:{}/copied", rig.dir.path().display())));
        let copied = rig.dir.path().join("copied");
        assert_eq!(std::fs::read_to_string(copied.join("inner/a b")).unwrap(), "content");
        for path in [&there, &back] {
            std::fs::remove_file(path).unwrap();
        }
        std::fs::remove_dir_all(copied).unwrap();
    }
    rig.settle();
    assert_eq!(rig.entries_of("session_end").len(), 6);
    assert_eq!(commands(&rig, "subsystem").len(), 3);
}

#[test]
fn rsync_both_ways() {
    let Some((_sshd, rig)) = rig(only_exec()) else { return };
    let Some(_) = require(program("rsync", "rsync")) else { return };
    let ssh = ssh_script(&rig, &rig.token("alice"));
    let at = |name: &str| rig.dir.path().join(name);
    std::fs::create_dir_all(at("source/inner")).unwrap();
    for (name, bytes) in [("source/a", 2_000_000), ("source/inner/b", 10), ("source/empty", 0)] {
        file(&rig, name, bytes);
    }
    let rsync = |from: &str, to: &str| {
        let mut rsync = Command::new("rsync");
        rsync.arg("-a").arg("-e").arg(&ssh).args([from, to]);
        good(&mut rsync);
    };
    let path = |name: &str| at(name).display().to_string();
    rsync(&format!("{}/", path("source")), &format!("gw:{}/", path("far")));
    // Again with a change in the middle: only the difference crosses.
    let mut changed = std::fs::read(at("source/a")).unwrap();
    changed[1_000_000] ^= 1;
    changed.push(0);
    std::fs::write(at("source/a"), &changed).unwrap();
    rsync(&format!("{}/", path("source")), &format!("gw:{}/", path("far")));
    rsync(&format!("gw:{}/", path("far")), &format!("{}/", path("back")));
    for name in ["a", "inner/b", "empty"] {
        for copy in ["far", "back"] {
            assert!(same(&at("source").join(name), &at(copy).join(name)), "{copy}/{name}");
        }
    }
    rig.settle();
    let runs = commands(&rig, "exec");
    assert_eq!(runs.len(), 3);
    for run in &runs {
        assert!(run["text"].as_str().unwrap().starts_with("rsync --server "), "{run}");
        assert_eq!(run["verdict"], "allow");
        assert_eq!(response(&rig, run)["details"]["exit_status"], "0");
    }
    let input = |n: usize| response(&rig, &runs[n])["input_bytes"].as_u64().unwrap();
    assert!(input(0) > 2_000_000 && input(1) < 100_000, "{} and {}", input(0), input(1));
}

fn git(dir: &Path, ssh: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(dir).env("GIT_SSH", ssh).env("GIT_SSH_VARIANT", "ssh");
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    git.args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "gc.auto=0"]);
    git.args(["-c", "safe.directory=*", "-c", "init.defaultBranch=main"]);
    git
}

#[test]
fn git_clones_and_pushes() {
    let Some((_sshd, rig)) = rig(only_exec()) else { return };
    let Some(_) = require(program("git", "git")) else { return };
    let ssh = ssh_script(&rig, &rig.token("alice"));
    let dir = rig.dir.path();
    let url = format!("gw:{}/repository.git", dir.display());
    good(git(dir, &ssh).args(["init", "-q", "--bare", "repository.git"]));
    good(git(dir, &ssh).args(["clone", "-q", &url, "first"]));
    let first = dir.join("first");
    file(&rig, "first/big", 3_000_000);
    good(git(&first, &ssh).args(["add", "big"]));
    good(git(&first, &ssh).args(["commit", "-qm", "big"]));
    good(git(&first, &ssh).args(["push", "-q", "origin", "HEAD:main"]));
    good(git(dir, &ssh).args(["clone", "-q", "-b", "main", &url, "second"]));
    assert!(same(&first.join("big"), &dir.join("second/big")));
    good(git(&dir.join("second"), &ssh).args(["fsck", "--full"]));
    rig.settle();
    let runs = commands(&rig, "exec");
    let words: Vec<_> =
        runs.iter().map(|r| r["text"].as_str().unwrap().split(' ').next().unwrap()).collect();
    assert_eq!(words, ["git-upload-pack", "git-receive-pack", "git-upload-pack"]);
    assert_eq!(runs[0]["details"]["env.GIT_PROTOCOL"], "version=2");
    assert!(response(&rig, &runs[1])["input_bytes"].as_u64().unwrap() > 3_000_000);
    assert!(response(&rig, &runs[2])["bytes"].as_u64().unwrap() > 3_000_000);
}

#[test]
fn ten_channels_of_one_connection_carry_files_and_commands() {
    let Some((_sshd, rig)) = rig(EVERYTHING) else { return };
    let master = Master::start(&rig, &["-N"], &[], Stdio::null());
    let (from, content) = file(&rig, "from", 2_000_000);
    let copies: Vec<_> = (0..5).map(|n| rig.dir.path().join(format!("copy{n}"))).collect();
    let mut running: Vec<_> = copies
        .iter()
        .map(|copy| {
            let mut scp = master.command(&rig, "scp");
            scp.arg("-q").arg(&from).arg(format!("gw:{}", copy.display())).spawn().unwrap()
        })
        .collect();
    running.extend((0..5).map(|_| {
        let mut ssh = master.command(&rig, "ssh");
        ssh.args(["gw", "cat"]).arg(&from).stdout(Stdio::piped()).spawn().unwrap()
    }));
    for child in running {
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success());
        assert!(out.stdout.is_empty() || out.stdout == content);
    }
    assert!(copies.iter().all(|copy| same(&from, copy)));
    drop(master);
    rig.settle();
    assert_eq!(rig.entries_of("session_start").len(), 1);
    assert_eq!(commands(&rig, "subsystem").len(), 5);
    let cats = commands(&rig, "exec");
    assert_eq!(cats.len(), 5);
    for cat in &cats {
        assert_eq!(response(&rig, cat)["details"]["stdout_sha256"], sha256(&content));
    }
}

/// Connects to a destination by SOCKS 5; what `hello` comes back as.
fn by_socks(port: u16, to: u16) -> String {
    let mut tcp = until(|| TcpStream::connect(("127.0.0.1", port)).ok());
    tcp.write_all(&[5, 1, 0]).unwrap();
    let mut answer = [0; 2];
    tcp.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [5, 0]);
    let [high, low] = to.to_be_bytes();
    tcp.write_all(&[5, 1, 0, 1, 127, 0, 0, 1, high, low]).unwrap();
    // What is refused may be told by a SOCKS answer or by an end alone.
    let mut answer = [0; 10];
    if tcp.read_exact(&mut answer).is_err() || answer[1] != 0 {
        return String::new();
    }
    let _closed = tcp.write_all(b"hello");
    let _closed = tcp.shutdown(std::net::Shutdown::Write);
    let mut said = String::new();
    let _closed = tcp.read_to_string(&mut said);
    said
}

const SCRIPT: &[u8] = b"uname -s\nif [ -n \"$HOME\" ]; then echo ready; fi\n";

/// What VS Code's remote extension does: a shell with its script on standard input, which stays,
/// beside a SOCKS port through which it reaches its server; and commands that share it.
#[test]
fn a_master_with_a_script_a_socks_port_and_commands_beside() {
    for allowed in [true, false] {
        let allow = Allow { local_forward: allowed, sftp: true, ..only_exec() };
        let Some((_sshd, rig)) = rig(allow) else { return };
        let (socks, server) = (testbed::spare_port().unwrap(), upper_tcp());
        let dynamic = socks.to_string();
        let mut master = Master::start(&rig, &["-T", "-D", &dynamic], &["sh"], Stdio::piped());
        let mut stdin = master.client.0.stdin.take().unwrap();
        stdin.write_all(SCRIPT).unwrap();
        let mut out = master.client.0.stdout.take().unwrap();
        let mut said = String::new();
        while !said.ends_with("ready\n") {
            let mut byte = [0];
            out.read_exact(&mut byte).unwrap();
            said.push(byte[0].into());
        }
        assert_eq!(said, "Linux\nready\n");
        assert_eq!(by_socks(socks, server), if allowed { "HELLO" } else { "" });
        for n in 0..3 {
            let said = Said::of(master.command(&rig, "ssh").args(["gw", &format!("echo {n}")]));
            assert_eq!((said.out, said.code), (format!("{n}\n"), Some(0)));
        }
        stdin.write_all(b"exit 4\n").unwrap();
        drop(stdin);
        assert_eq!(master.client.0.wait().unwrap().code(), Some(4));
        rig.settle();
        assert_eq!(commands(&rig, "exec").len(), 4);
        let forwards = commands(&rig, "direct-tcpip");
        let (verdict, reached) = if allowed { ("allow", 5) } else { ("deny", 0) };
        assert_eq!(forwards[0]["verdict"], verdict);
        assert_eq!(forwards[0]["details"]["port"], server.to_string());
        if allowed {
            assert_eq!(response(&rig, &forwards[0])["bytes"], reached);
        }
        // The script is what was run: it is in the record.
        let script = response(&rig, &commands(&rig, "exec")[0]);
        assert_eq!(script["details"]["exit_status"], "4");
        let bytes = script["input_bytes"].as_u64().unwrap();
        assert_eq!(bytes, (SCRIPT.len() + "exit 4\n".len()) as u64);
    }
}
