//! A large transfer each way by `exec`, `scp` (the SFTP protocol) and `scp -O`, byte for byte,
//! with the record's hash equal to the file's. `GREFFIER_BULK_MIB` makes them larger:
//! `cargo xtask suites ssh-bulk` moves 1 GiB each time. With `GREFFIER_BULK_MIB` they are to run
//! one after the other: memory is measured for the whole program.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::fs::File;
use std::path::Path;
use std::process::Command;

use rig::tools::{commands, good, response};
use rig::{Plan, Rig};
use serde_json::Value;
use ssh::{Allow, ChannelRules};
use testbed::{Sshd, SshdOptions, require};

/// What is moved each way if nothing else is said, in MiB.
const MIB: u64 = 100;
/// What the proxy and the test may take beside it, in KiB.
const MOST_KIB: u64 = 160 * 1024;

/// Resident memory of this program at its most, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn sha256sum(path: &Path) -> String {
    good(Command::new("sha256sum").arg(path)).out.split(' ').next().unwrap().to_owned()
}

fn mib() -> u64 {
    std::env::var("GREFFIER_BULK_MIB").map_or(MIB, |mib| mib.parse().unwrap())
}

/// Writes a file that nothing compresses, and gives its SHA-256.
fn file(path: &Path) -> String {
    let mut noise = std::io::Read::take(File::open("/dev/urandom").unwrap(), mib() << 20);
    std::io::copy(&mut noise, &mut File::create(path).unwrap()).unwrap();
    sha256sum(path)
}

fn memory_stayed_flat(what: &str) {
    let peak = peak();
    println!("{} MiB each way by {what}; at most {peak} KiB resident", mib());
    assert!(peak < MOST_KIB, "{peak} KiB");
}

#[test]
fn a_large_file_each_way_is_equal_and_its_hash_is_on_record() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let allow = Allow { sftp: true, scp: true, ..Allow::default() };
    let rules = ChannelRules { allow, ..ChannelRules::default() };
    for (option, via) in [("-s", "sftp"), ("-O", "scp")] {
        let rig = Rig::with(&sshd, Plan { rules: rules.clone(), ..Plan::default() });
        let at = |name: &str| rig.dir.path().join(name);
        let (from, there, back) = (at("from"), at("there"), at("back"));
        let sum = file(&from);
        let remote = format!("gw:{}", there.display());
        let (from, to) = (from.display().to_string(), back.display().to_string());
        for args in [[option, "-q", &from, &remote], [option, "-q", &remote, &to]] {
            good(rig.program("scp", &rig.token("alice")).args(args));
        }
        assert_eq!((sha256sum(&there), sha256sum(&back)), (sum.clone(), sum.clone()));
        rig.settle();
        let runs = commands(&rig, via);
        for (operation, way) in [("open-write", "written"), ("open-read", "read")] {
            let run = runs.iter().find(|run| run["operation"] == operation).unwrap();
            let details = response(&rig, run)["details"].clone();
            assert_eq!(details[format!("{way}_sha256")], sum);
            assert_eq!(details[format!("{way}_bytes")], (mib() << 20).to_string());
            assert_eq!(details["whole"], "true", "{details}");
        }
        memory_stayed_flat(via);
    }
}

#[test]
fn a_large_transfer_each_way_is_equal_and_its_hash_is_on_record() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let mib = mib();
    let rig = Rig::with(&sshd, Plan::default());
    let at = |name: &str| rig.dir.path().join(name);
    let (from, there, back) = (at("from"), at("there"), at("back"));
    let sum = file(&from);
    let mut up = rig.ssh_command();
    up.args(["gw", &format!("cat > {}", there.display())]).stdin(File::open(&from).unwrap());
    let ended = up.status().unwrap();
    assert!(ended.success(), "{ended}: {:?}", rig.entries_of("session_end"));
    let mut down = rig.ssh_command();
    down.args(["gw", &format!("cat {}", there.display())]).stdout(File::create(&back).unwrap());
    let ended = down.status().unwrap();
    assert!(ended.success(), "{ended}: {:?}", rig.entries_of("session_end"));
    assert_eq!((sha256sum(&there), sha256sum(&back)), (sum.clone(), sum.clone()));
    rig.settle();
    let runs = commands(&rig, "exec");
    assert_eq!(response(&rig, &runs[0])["details"]["stdin_sha256"], sum);
    assert_eq!(response(&rig, &runs[0])["input_bytes"], mib << 20);
    assert_eq!(response(&rig, &runs[1])["details"]["stdout_sha256"], sum);
    assert_eq!(response(&rig, &runs[1])["bytes"], mib << 20);
    // All of it is in objects that entries name, few by each, but for the beginning of an answer.
    let kept = |run: &Value, chunks: &str| -> u64 {
        let mut entries = rig.entries_of("output");
        entries.retain(|it| it["session"] == run["session"] && it["command"] == run["command"]);
        entries.push(response(&rig, run));
        let named = entries.iter().filter_map(|it| it[chunks].as_array());
        let each = named.inspect(|it| assert!(it.len() <= records::MAX_CHUNKS)).flatten();
        each.map(|it| it["bytes"].as_u64().unwrap()).sum()
    };
    assert_eq!(kept(&runs[0], "input_chunks"), mib << 20);
    let begins: usize = rig
        .entries_of("output")
        .iter()
        .filter(|it| it["command"] == runs[1]["command"] && it["session"] == runs[1]["session"])
        .map(|it| it["data"]["base64"].as_str().map_or(0, str::len))
        .sum();
    let all = kept(&runs[1], "chunks") + begins as u64 / 4 * 3;
    assert!(all > mib << 20, "{all}");
    memory_stayed_flat("exec");
}
