//! Files by OpenSSH's `sftp` and `scp` through the proxy to a real sshd: each operation is a
//! command on record.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rig::tools::{self, Master};
use rig::{Plan, Rig, Said};
use serde_json::Value;
use ssh::{Allow, ChannelRules};
use testbed::{Sshd, SshdOptions, require};

fn sshd() -> Option<Sshd> {
    require(Sshd::start(&SshdOptions::default()))
}

fn plan(policy: &str) -> Plan {
    let allow = Allow { sftp: true, ..Allow::default() };
    Plan {
        policy: policy.into(),
        rules: ChannelRules { allow, ..ChannelRules::default() },
        ..Plan::default()
    }
}

const ALLOW: &str = "default = \"allow\"";

/// Runs `sftp` with these lines; it stops at the first that fails unless it begins with `-`.
fn sftp(rig: &Rig, options: &[&str], lines: &str) -> Said {
    let mut sftp = rig.program("sftp", &rig.token("alice"));
    // `-b` alone would keep it from asking for the token.
    sftp.args(["-o", "BatchMode=no", "-b", "-"]).args(options).arg("gw");
    let mut child =
        sftp.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { out: text(&output.stdout), err: text(&output.stderr), code: output.status.code() }
}

fn folder(rig: &Rig, name: &str) -> PathBuf {
    let path = rig.dir.path().join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// A file whose every part is different.
fn file(path: &Path, bytes: usize) -> String {
    let content: Vec<u8> =
        (0..bytes as u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]).collect();
    std::fs::write(path, content).unwrap();
    sha256(path)
}

fn sha256(path: &Path) -> String {
    let sum = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(sum.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

/// Commands by sftp with this operation, each with its outcome.
fn operations(rig: &Rig, operation: &str) -> Vec<(Value, Value)> {
    let responses = rig.entries_of("response");
    let answer = |command: &Value| {
        let same =
            |r: &&Value| r["command"] == command["command"] && r["session"] == command["session"];
        responses.iter().find(same).cloned().unwrap_or(Value::Null)
    };
    rig.entries_of("command")
        .into_iter()
        .filter(|c| c["via"] == "sftp" && c["operation"] == operation)
        .map(|command| (command.clone(), answer(&command)))
        .collect()
}

#[test]
fn contents_each_way_are_equal_and_their_hash_is_on_record() {
    let Some(sshd) = sshd() else { return };
    for external in [false, true] {
        let options = SshdOptions { internal_sftp: !external, ..SshdOptions::default() };
        let other = if external { require(Sshd::start(&options)) } else { None };
        let rig = Rig::with(other.as_ref().unwrap_or(&sshd), plan(ALLOW));
        let dir = folder(&rig, "files");
        let (bytes, sum) = (50_000_000, file(&dir.join("a"), 50_000_000));
        let path = |name: &str| dir.join(name).display().to_string();
        // 64 requests at a time is what OpenSSH sends of its own accord.
        let lines = format!("put {} {}\nget {} {}\n", path("a"), path("b"), path("b"), path("c"));
        let said = sftp(&rig, &["-R", "64"], &lines);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert_eq!((sha256(&dir.join("b")), sha256(&dir.join("c"))), (sum.clone(), sum.clone()));
        rig.settle();
        let (put, answer) = operations(&rig, "open-write").pop().unwrap();
        assert_eq!(put["details"]["path"], path("b"));
        assert_eq!(put["details"]["flags"], "write,create,truncate");
        assert_eq!((&put["class"], &put["verdict"]), (&"write".into(), &"allow".into()));
        let details = &answer["details"];
        assert_eq!((&answer["outcome"], &answer["code"]), (&"ok".into(), &"SSH_FX_OK".into()));
        assert_eq!(details["written_bytes"], bytes.to_string(), "{answer}");
        assert_eq!(details["written_sha256"], sum);
        assert_eq!((&details["whole"], &answer["input_bytes"]), (&"true".into(), &bytes.into()));
        let (get, answer) = operations(&rig, "open-read").pop().unwrap();
        assert_eq!((&get["text"], &get["class"]), (&path("b").into(), &"read".into()));
        let details = &answer["details"];
        assert_eq!(details["read_bytes"], bytes.to_string(), "{answer}");
        assert_eq!((&details["read_sha256"], &details["whole"]), (&sum.into(), &"true".into()));
        // The channel is a command too, and opened the others; its stream has no hash.
        let commands = rig.entries_of("command");
        let channel = commands.iter().find(|c| c["via"] == "subsystem").unwrap();
        assert_eq!(get["details"]["channel"], channel["command"].to_string());
        let responses = rig.entries_of("response");
        let answer = responses.iter().find(|r| r["command"] == channel["command"]).unwrap();
        assert_eq!(answer["code"], "0");
        assert!(answer["details"].get("stdout_sha256").is_none(), "{answer}");
        assert!(answer["bytes"].as_u64().unwrap() > bytes && answer.get("chunks").is_none());
    }
}

#[test]
fn what_is_done_to_files_is_on_record() {
    let Some(sshd) = sshd() else { return };
    let rig = Rig::with(&sshd, plan(ALLOW));
    let dir = folder(&rig, "files");
    file(&dir.join("a"), 10);
    let lines = format!(
        "cd {}\nmkdir d\nrename a b\nln b l\nln -s b s\nchmod 600 b\nls -l d\nrmdir d\nrm b\n-rm b\n",
        dir.display()
    );
    let said = sftp(&rig, &[], &lines);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!dir.join("b").exists() && dir.join("l").exists());
    rig.settle();
    let path = |name: &str| dir.join(name).display().to_string();
    let one = |operation: &str| {
        let (command, answer) = operations(&rig, operation).remove(0);
        assert_eq!(answer["outcome"], "ok", "{command} {answer}");
        command["details"].clone()
    };
    assert_eq!(one("mkdir")["path"], path("d"));
    assert_eq!(
        (&one("rename")["path"], &one("rename")["path2"]),
        (&path("a").into(), &path("b").into())
    );
    assert_eq!(one("hardlink")["path2"], path("l"));
    assert_eq!(
        (&one("symlink")["path"], &one("symlink")["path2"]),
        (&path("s").into(), &"b".into())
    );
    assert_eq!(
        (&one("setstat")["path"], &one("setstat")["mode"]),
        (&path("b").into(), &"0600".into())
    );
    assert_eq!(one("list")["path"], path("d/"));
    assert_eq!(one("rmdir")["path"], path("d"));
    let removed = operations(&rig, "remove");
    let outcomes: Vec<_> = removed.iter().map(|(_, answer)| answer["code"].clone()).collect();
    assert_eq!(outcomes, ["SSH_FX_OK", "SSH_FX_NO_SUCH_FILE"]);
    let listed = operations(&rig, "list").remove(0).1;
    assert!(listed["details"]["entries"].as_str().unwrap().parse::<u64>().unwrap() >= 2);
    // Nothing is left without an outcome.
    let count = |kind: &str| rig.entries_of(kind).len();
    assert_eq!(count("command"), count("response"));
}

#[test]
fn a_refused_operation_is_answered_and_the_session_goes_on() {
    let Some(sshd) = sshd() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (kept, dir) = (dir.path().join("kept"), dir.path());
    std::fs::create_dir(&kept).unwrap();
    let sum = file(&kept.join("x"), 1000);
    file(&dir.join("new"), 500_000);
    let policy = format!(
        "default = \"allow\"\n[[rule]]\nname = \"kept-as-is\"\neffect = \"deny\"\n\
         reason = \"This is kept.\"\nwhen = {{ resources = [\"{}/*\"], access = \"write\" }}\n\
         [[rule]]\nname = \"no-remove\"\neffect = \"deny\"\nwhen = {{ operations = [\"remove\"] }}\n",
        kept.display()
    );
    let rig = Rig::with(&sshd, plan(&policy));
    let name = kept.file_name().unwrap().to_str().unwrap();
    let d = dir.display();
    let mut lines = String::new();
    // However the path is written.
    for path in [
        format!("{d}/{name}/x"),
        format!("{d}//{name}/./x"),
        format!("{d}/{name}/../{name}/x"),
        format!("/..{d}/{name}/x"),
    ] {
        lines.push_str(&format!("-put {d}/new {path}\n"));
    }
    lines.push_str(&format!("-rename {d}/{name}/x {d}/y\n-rename {d}/new {d}/{name}/y\n"));
    lines.push_str(&format!("-ln -s {d}/{name}/x {d}/link\n-ln {d}/{name}/x {d}/link\n"));
    lines.push_str(&format!("-chmod 777 {d}/{name}/x\n-rm {d}/new\n"));
    lines.push_str(&format!("put {d}/new {d}/other\nget {d}/{name}/x {d}/got\n"));
    let said = sftp(&rig, &[], &lines);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("Permission denied"), "{said:?}");
    assert!(said.err.contains("rule \"kept-as-is\"") && said.err.contains("This is kept."));
    assert_eq!((sha256(&kept.join("x")), sha256(&dir.join("got"))), (sum.clone(), sum));
    assert!(dir.join("new").exists() && dir.join("other").exists());
    assert!(!dir.join("link").exists() && !kept.join("y").exists());
    rig.settle();
    let denied = |operation: &str| {
        let denied = |(command, answer): &(Value, Value)| {
            assert!(command["verdict"] == "allow" || *answer == Value::Null);
            command["verdict"] == "deny"
        };
        operations(&rig, operation).iter().filter(|both| denied(both)).count()
    };
    assert_eq!((denied("open-write"), denied("rename")), (4, 2));
    assert_eq!((denied("symlink"), denied("hardlink"), denied("setstat")), (1, 1, 1));
    assert_eq!((denied("remove"), denied("open-read")), (1, 0));
    assert_eq!(rig.entries_of("session_end")[0]["denied"], 10);
}

#[test]
fn a_relative_path_is_matched_where_it_leads() {
    let Some(sshd) = sshd() else { return };
    let home = std::env::var("HOME").unwrap();
    let policy = format!(
        "default = \"allow\"\n[[rule]]\nname = \"not-there\"\neffect = \"deny\"\n\
         when = {{ resources = [\"{home}/greffier-test-refused\", \"/etc/greffier-test\"] }}\n"
    );
    let rig = Rig::with(&sshd, plan(&policy));
    let new = rig.dir.path().join("new");
    file(&new, 100);
    let up = "../".repeat(home.matches('/').count() + 1);
    for path in ["greffier-test-refused".to_owned(), format!("./{up}etc//greffier-test")] {
        // scp sends a relative path as it is.
        let mut scp = rig.program("scp", &rig.token("alice"));
        let said = Said::of(scp.arg(&new).arg(format!("gw:{path}")));
        assert_ne!(said.code, Some(0), "{path}: {said:?}");
        assert!(said.err.contains("rule \"not-there\""), "{path}: {said:?}");
        assert!(!Path::new(&home).join(&path).exists());
    }
}

#[test]
fn scp_and_the_program_behind_a_subsystem_are_sftp_too() {
    let Some(sshd) = sshd() else { return };
    let rig = Rig::with(&sshd, plan(ALLOW));
    let dir = folder(&rig, "files");
    let tree = folder(&rig, "files/tree/sub");
    let sums = [file(&tree.join("a"), 100_000), file(&tree.join("../b"), 0)];
    let gw = |path: &str| format!("gw:{}", dir.join(path).display());
    let scp = |args: &[&str]| Said::of(rig.program("scp", &rig.token("alice")).args(args));
    let local = dir.join("tree").display().to_string();
    let back = dir.join("back").display().to_string();
    for args in [["-rp", &local, &gw("up")], ["-rp", &gw("up"), &back]] {
        let said = scp(&args);
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    assert_eq!([sha256(&dir.join("back/sub/a")), sha256(&dir.join("back/b"))], sums);
    let said = sftp(&rig, &["-s", "/usr/lib/openssh/sftp-server"], "pwd\n");
    assert_eq!(said.code, Some(0), "{said:?}");
    rig.settle();
    for (operation, key) in [("open-write", "written_sha256"), ("open-read", "read_sha256")] {
        let mut hashes: Vec<_> =
            operations(&rig, operation).iter().map(|(_, r)| r["details"][key].clone()).collect();
        hashes.sort_by_key(ToString::to_string);
        let mut sums = sums.clone();
        sums.sort();
        assert_eq!(hashes, sums, "{operation}");
    }
    let commands = rig.entries_of("command");
    let last = commands.iter().rfind(|c| c["via"] == "sftp").unwrap();
    assert_eq!(last["operation"], "realpath");
    let exec = commands.iter().find(|c| c["via"] == "exec").unwrap();
    assert_eq!(last["details"]["channel"], exec["command"].to_string());
}

#[test]
fn without_sftp_in_its_configuration_a_target_takes_none() {
    let Some(sshd) = sshd() else { return };
    let rules =
        ChannelRules { allow: Allow { exec: true, ..Allow::default() }, ..ChannelRules::default() };
    let rig = Rig::with(&sshd, Plan { rules, ..Plan::default() });
    for options in [vec![], vec!["-s", "/usr/lib/openssh/sftp-server"]] {
        let said = sftp(&rig, &options, "pwd\n");
        assert_ne!(said.code, Some(0), "{said:?}");
        assert!(said.err.contains("rule \"target\""), "{said:?}");
    }
}

#[test]
fn folders_of_long_names_are_listed() {
    let Some(sshd) = sshd() else { return };
    let rig = Rig::with(&sshd, plan(ALLOW));
    let dir = folder(&rig, "long");
    for n in 0..250 {
        std::fs::write(dir.join(format!("{n:0>255}")), "").unwrap();
    }
    let said = sftp(&rig, &[], &format!("ls -1 {}\n", dir.display()));
    assert_eq!(said.code, Some(0), "{}", said.err);
    let listed = said.out.lines().filter(|line| line.len() > 255).count();
    assert_eq!(listed, 250, "{}", said.err);
}

#[test]
fn a_stream_that_is_no_sftp_ends_its_channel_and_no_other() {
    let Some(sshd) = sshd() else { return };
    let allow = Allow { sftp: true, exec: true, ..Allow::default() };
    let rules = ChannelRules { allow, ..ChannelRules::default() };
    let rig = Rig::with(&sshd, Plan { rules, ..Plan::default() });
    let master = Master::start(&rig, &[], &["-N"], Stdio::null());
    // A program of one's own that is no sftp client; cat shows that its neighbour lives.
    let mut sibling = master.command(&rig, "ssh");
    let mut sibling =
        sibling.args(["gw", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut wrong = master.command(&rig, "ssh");
    wrong.args(["-s", "gw", "sftp"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut wrong = wrong.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = wrong.stdin.take().unwrap();
    stdin.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    // It stays open: what ends here ends by the proxy.
    let output = wrong.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("greffier: the client's stream can't be followed as sftp"), "{said}");
    sibling.stdin.take().unwrap().write_all(b"still here").unwrap();
    let output = sibling.wait_with_output().unwrap();
    assert_eq!((output.stdout.as_slice(), output.status.code()), (&b"still here"[..], Some(0)));
    drop(master);
    rig.settle();
    assert_eq!(rig.entries_of("session_end").len(), 1);
    let command = &tools::commands(&rig, "subsystem")[0];
    let response = tools::response(&rig, command);
    assert_eq!(response["outcome"], "lost");
    let reason = response["details"]["ended_by"].as_str().unwrap();
    assert!(reason.contains("client's stream can't be followed as sftp"), "{reason}");
}
