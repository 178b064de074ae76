//! Files by the old scp (`scp -O`) through the proxy to a real sshd: each is a command on record.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::path::Path;
use std::process::Command;

use rig::{Plan, Rig, Said};
use serde_json::Value;
use ssh::{Allow, ChannelRules};
use testbed::{Sshd, SshdOptions, require};

fn sshd() -> Option<Sshd> {
    require(Sshd::start(&SshdOptions::default()))
}

fn rig(sshd: &Sshd, policy: &str) -> Rig {
    let allow = Allow { scp: true, ..Allow::default() };
    let rules = ChannelRules { allow, ..ChannelRules::default() };
    Rig::with(sshd, Plan { policy: policy.into(), rules, ..Plan::default() })
}

const ALLOW: &str = "default = \"allow\"";

fn scp(rig: &Rig, args: &[&str]) -> Said {
    Said::of(rig.program("scp", &rig.token("alice")).arg("-O").args(args))
}

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

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Commands by scp with this operation, each with its outcome.
fn operations(rig: &Rig, operation: &str) -> Vec<(Value, Value)> {
    let responses = rig.entries_of("response");
    let answer = |command: &Value| {
        let same =
            |r: &&Value| r["command"] == command["command"] && r["session"] == command["session"];
        responses.iter().find(same).cloned().unwrap_or(Value::Null)
    };
    rig.entries_of("command")
        .into_iter()
        .filter(|c| c["via"] == "scp" && c["operation"] == operation)
        .map(|command| (command.clone(), answer(&command)))
        .collect()
}

#[test]
fn a_file_each_way_is_equal_and_its_hash_is_on_record() {
    let Some(sshd) = sshd() else { return };
    let rig = rig(&sshd, ALLOW);
    let dir = rig.dir.path();
    let sum = file(&dir.join("a"), 50_000_000);
    let (there, back) = (format!("gw:{}", shown(&dir.join("b"))), shown(&dir.join("c")));
    for args in [["-p", &shown(&dir.join("a")), &there], ["-p", &there, &back]] {
        let said = scp(&rig, &args);
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    assert_eq!((sha256(&dir.join("b")), sha256(&dir.join("c"))), (sum.clone(), sum.clone()));
    rig.settle();
    for (operation, way) in [("open-write", "written"), ("open-read", "read")] {
        let (command, answer) = operations(&rig, operation).remove(0);
        let details = &answer["details"];
        assert_eq!(answer["outcome"], "ok", "{answer}");
        assert_eq!(details[format!("{way}_sha256")], sum, "{command} {answer}");
        assert_eq!(details[format!("{way}_bytes")], "50000000");
        assert_eq!(details["whole"], "true");
        assert_eq!(command["details"]["size"], "50000000");
        assert!(command["details"]["times"].is_string(), "{command}");
    }
    assert_eq!(operations(&rig, "open-read")[0].0["details"]["path"], shown(&dir.join("b")));
    let exec = &rig.entries_of("command")[0];
    assert_eq!((&exec["via"], &exec["verdict"]), (&"exec".into(), &"allow".into()));
    assert_eq!(operations(&rig, "open-write")[0].0["details"]["channel"], "1");
}

#[test]
fn a_tree_each_way_is_followed() {
    let Some(sshd) = sshd() else { return };
    let rig = rig(&sshd, ALLOW);
    let dir = rig.dir.path();
    let deep = dir.join("tree/one/two");
    std::fs::create_dir_all(&deep).unwrap();
    let mut sums = vec![
        file(&deep.join("a b"), 100_000),
        file(&deep.join("empty"), 0),
        file(&dir.join("tree/z"), 1),
    ];
    let up = format!("gw:{}", shown(&dir.join("up")));
    let back = shown(&dir.join("back"));
    for args in [["-rp", &shown(&dir.join("tree")), &up], ["-rp", &up, &back]] {
        let said = scp(&rig, &args);
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    assert_eq!(sha256(&dir.join("back/one/two/a b")), sums[0]);
    rig.settle();
    sums.sort();
    for (operation, key) in [("open-write", "written_sha256"), ("open-read", "read_sha256")] {
        let found = operations(&rig, operation);
        let mut hashes: Vec<_> = found.iter().map(|(_, r)| r["details"][key].clone()).collect();
        hashes.sort_by_key(ToString::to_string);
        assert_eq!(hashes, sums, "{operation}");
    }
    let paths = |operation: &str| -> Vec<String> {
        let found = operations(&rig, operation).into_iter();
        found.map(|(c, _)| c["details"]["path"].as_str().unwrap().to_owned()).collect()
    };
    let read = ["up", "up/one", "up/one/two"].map(|path| shown(&dir.join(path)));
    assert_eq!(paths("list"), read);
    assert_eq!(paths("mkdir").len(), 3);
    assert!(paths("open-read").contains(&shown(&dir.join("up/one/two/a b"))));
    let count = |kind: &str| rig.entries_of(kind).len();
    assert_eq!(count("command"), count("response"));
}

#[test]
fn a_refused_file_is_skipped_and_the_others_go_on() {
    let Some(sshd) = sshd() else { return };
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let policy = format!(
        "default = \"allow\"\n[[rule]]\nname = \"no-secret\"\neffect = \"deny\"\n\
         reason = \"This is kept.\"\n\
         when = {{ resources = [\"{0}/*/secret\", \"{0}/secret\"] }}\n",
        dir.display()
    );
    let rig = rig(&sshd, &policy);
    std::fs::create_dir_all(dir.join("from/secret")).unwrap();
    std::fs::create_dir_all(dir.join("there")).unwrap();
    file(&dir.join("from/secret/x"), 10);
    file(&dir.join("from/open"), 200_000);
    file(&dir.join("secret"), 10);
    file(&dir.join("new"), 10);
    let gw = |path: &str| format!("gw:{}/{path}", dir.display());
    let local = |path: &str| shown(&dir.join(path));
    // Up: a directory is refused, what stands beside it goes on.
    let said = scp(&rig, &["-r", &local("from"), &gw("there")]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("rule \"no-secret\"") && said.err.contains("This is kept."));
    assert!(dir.join("there/from/open").exists() && !dir.join("there/from/secret").exists());
    // Down: the same.
    let said = scp(&rig, &["-r", &gw("from"), &local("back")]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("rule \"no-secret\""), "{said:?}");
    assert!(dir.join("back/open").exists() && !dir.join("back/secret").exists());
    // However the path is written, and whether it is a file or its directory.
    let name = dir.file_name().unwrap().to_str().unwrap();
    for path in ["secret", "there/../secret", "/./secret", &format!("../{name}/secret")] {
        let said = scp(&rig, &[&local("new"), &gw(path)]);
        assert_eq!(said.code, Some(1), "{path}: {said:?}");
        let said = scp(&rig, &[&gw(path), &local("got")]);
        assert_ne!(said.code, Some(0), "{path}: {said:?}");
        assert!(!dir.join("got").exists());
    }
    // From nobody knows where: it may be there.
    let said = scp(&rig, &[&local("secret"), "gw:"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(std::fs::read(dir.join("secret")).unwrap().len(), 10);
    rig.settle();
    for entry in rig.entries_of("command") {
        // A file may be its argument or lie in it.
        let is_secret =
            |key: &str| entry["details"][key].as_str().is_some_and(|path| path.ends_with("secret"));
        let secret = is_secret("path") || is_secret("path2");
        let expected = if secret { "deny" } else { "allow" };
        assert!(entry["via"] == "exec" || entry["verdict"] == expected, "{entry}");
    }
}

#[test]
fn without_scp_in_its_configuration_a_target_takes_none() {
    let Some(sshd) = sshd() else { return };
    let allow = Allow { exec: true, sftp: true, ..Allow::default() };
    let rules = ChannelRules { allow, ..ChannelRules::default() };
    let rig = Rig::with(&sshd, Plan { rules, ..Plan::default() });
    let new = rig.dir.path().join("new");
    file(&new, 10);
    let said = scp(&rig, &[&shown(&new), &format!("gw:{}x", shown(&new))]);
    assert_ne!(said.code, Some(0));
    assert!(said.err.contains("rule \"target\""), "{said:?}");
}
