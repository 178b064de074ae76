//! A terminal in a pod through the proxy, and kubectls of other versions.
//!
//! Besides the testbed's own kubectl, each one runs that lies as `kubectl.*` beside the kubectl in
//! PATH, as distributions that have several keep them, and each path in `GREFFIER_KUBECTLS`
//! (separated by colons). A machine without any runs the testbed's alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod rig;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rig::{ALICE, CARDS, Plan, Record, Rig};
use serde_json::Value;
use terminal::frames::Reader;
use testbed::{Cluster, require};

/// kubectl's switches between WebSocket and SPDY. Versions before 1.29 know none and speak SPDY.
const SWITCHES: [&str; 2] =
    ["KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "KUBECTL_PORT_FORWARD_WEBSOCKETS"];

/// This program in place of kubectl, as alice.
fn alice(rig: &Rig, program: &Path, websocket: bool) -> Command {
    let template = rig.kubectl_with(&rig.token(ALICE));
    let mut command = Command::new(program);
    command.current_dir(template.get_current_dir().unwrap()).stdin(Stdio::null());
    for (name, value) in template.get_envs() {
        command.env(name, value.unwrap());
    }
    for switch in SWITCHES {
        command.env(switch, if websocket { "true" } else { "false" });
    }
    command
}

/// What was typed, printed and resized, and how it ended, by letters.
fn frames(record: &Record, command: &Value) -> BTreeMap<char, Vec<u8>> {
    let (mut reader, mut all) = (Reader::new(), BTreeMap::<_, Vec<u8>>::new());
    reader.push(&record.answer(command));
    while let Some(frame) = reader.next().unwrap() {
        all.entry(char::from(frame.kind.letter())).or_default().extend(frame.bytes);
    }
    all
}

/// A shell's line at a terminal of 97 columns and 31 rows in the pod: what it shows, and how it
/// ends. `keys` are typed once it says `ready`.
fn at_a_terminal(rig: &Rig, websocket: bool, shell: &str, keys: &str) -> (String, Option<i32>) {
    let kubectl = rig.cluster.kubectl();
    // util-linux's script gives kubectl a terminal of its own; the shell makes it a size.
    let inner = format!(
        "stty rows 31 cols 97; exec '{}' exec -it web -- sh -c '{shell}'",
        kubectl.get_program().to_str().unwrap()
    );
    let mut script = alice(rig, Path::new("script"), websocket);
    script.args(["-q", "-e", "-f", "-c", &inner, "/dev/null"]).env("SHELL", "/bin/sh");
    let mut script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(script.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("ready") {
        assert_ne!(said.read_line(&mut text).unwrap(), 0, "{text}");
    }
    let mut typed = script.stdin.take().unwrap();
    typed.write_all(keys.as_bytes()).unwrap();
    said.read_to_string(&mut text).unwrap();
    (text, script.wait().unwrap().code())
}

#[test]
fn a_terminal_has_its_size_its_keys_and_its_exit_code() {
    let Some(cluster) = require(Cluster::with_node()) else { return };
    let rig = Rig::before(cluster, &Plan::default());
    for websocket in [true, false] {
        let shell =
            "test -t 0 && stty size && echo ready && read -r line && echo \"<$line>\"; exit 5";
        let (text, code) = at_a_terminal(&rig, websocket, shell, "tschüss\n");
        assert!(text.contains("31 97") && text.contains("<tschüss>"), "{text}");
        assert_eq!(code, Some(5), "{text}");
    }
    let record = rig.record();
    for upgrade in ["GET", "POST"] {
        let path = format!("{upgrade} /api/v1/namespaces/default/pods/web/exec?");
        let ran = record.commands(&path)[0];
        let frames = frames(&record, ran);
        // Columns and rows.
        assert!(frames[&'r'].starts_with(&[0, 97, 0, 31]), "{frames:?}");
        assert!(String::from_utf8_lossy(&frames[&'i']).contains("tschüss"), "{frames:?}");
        assert!(String::from_utf8_lossy(&frames[&'o']).contains("<tschüss>"), "{frames:?}");
        assert_eq!(frames[&'x'], b"5");
        assert_eq!(record.response(ran)["details"]["exit_status"], "5");
    }
}

#[test]
fn what_a_terminal_does_not_echo_is_not_on_record_and_values_are_stars() {
    let Some(cluster) = require(Cluster::with_node()) else { return };
    let rig = Rig::before(
        cluster,
        &Plan { masking: CARDS, target: "mask_terminal = true", ..Plan::default() },
    );
    for websocket in [true, false] {
        // The terminal is told to write the word in two pieces, with a sequence between them.
        let shell = "stty -echo; echo ready; read -r word; stty echo; \
                     printf \"card 4111 1111 \\033[1m1111 1111\\033[m\\n\"; \
                     test ${#word} = 14 && exit 4";
        let (text, code) = at_a_terminal(&rig, websocket, shell, "not-to-be-kept\n");
        assert_eq!(code, Some(4), "{text}");
        assert!(text.contains("card ****") && !text.contains("1111"), "{text}");
    }
    let record = rig.record();
    for upgrade in ["GET", "POST"] {
        let path = format!("{upgrade} /api/v1/namespaces/default/pods/web/exec?");
        let ran = record.commands(&path)[0];
        let frames = frames(&record, ran);
        let text = |letter| String::from_utf8_lossy(&frames[&letter]).into_owned();
        assert!(frames.values().all(|it| !String::from_utf8_lossy(it).contains("kept")));
        assert_eq!((text('h').as_str(), text('i').as_str()), ("14", "\n"), "{frames:?}");
        assert!(text('o').contains("card ***") && !text('o').contains("1111"), "{frames:?}");
        assert_eq!(record.response(ran)["masked"]["CREDIT_CARD"], 1);
    }
}

/// The kubectls that this machine has besides the testbed's.
fn others() -> Vec<PathBuf> {
    let listed = std::env::var_os("GREFFIER_KUBECTLS").unwrap_or_default();
    let mut all: Vec<PathBuf> = std::env::split_paths(&listed).filter(|it| it.is_file()).collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|dir| dir.join("kubectl"));
    if let Some(found) = in_path.filter_map(|it| it.canonicalize().ok()).next() {
        for entry in fs::read_dir(found.parent().unwrap()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("kubectl.") {
                all.push(path);
            }
        }
        all.push(found);
    }
    all.sort();
    all.dedup();
    all
}

#[test]
fn kubectls_of_other_versions_do_the_same() {
    let Some(cluster) = require(Cluster::with_node()) else { return };
    let rig = Rig::before(cluster, &Plan::default());
    rig.direct(&["create", "configmap", "one", "--from-literal=a=b"]);
    let (up, down) = (rig.path("up"), rig.path("down"));
    let content: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(&up, &content).unwrap();
    let mut all = others();
    all.push(rig.cluster.kubectl().get_program().into());
    for (number, program) in all.iter().enumerate() {
        let version = alice(&rig, program, true).args(["version", "-o", "json"]).output().unwrap();
        let version: Value = serde_json::from_slice(&version.stdout).unwrap();
        let version = version["clientVersion"]["gitVersion"].as_str().unwrap().to_owned();
        assert_eq!(version.as_bytes()[0], b'v', "{program:?}");
        eprintln!("kubectl {version}");
        let ran = |websocket: bool, args: &[&str]| {
            let output = alice(&rig, program, websocket).args(args).output().unwrap();
            (output.status.code(), String::from_utf8(output.stdout).unwrap(), output.stderr)
        };
        let data = "jsonpath={.items[?(@.metadata.name==\"one\")].data.a}";
        let (code, out, err) = ran(true, &["get", "configmaps", "-o", data]);
        assert_eq!((code, out.as_str()), (Some(0), "b"), "{version}: {err:?}");
        let (code, out, _) = ran(true, &["get", "pods"]);
        assert!(code == Some(0) && out.contains("Running"), "{version}: {out}");
        let (code, out, err) = ran(true, &["logs", "web", "--tail=1"]);
        assert_eq!((code, out.as_str()), (Some(0), "line 3\n"), "{version}: {err:?}");
        for websocket in [true, false] {
            let args = ["exec", "web", "--", "sh", "-c", "echo out; exit 7"];
            let (code, out, err) = ran(websocket, &args);
            assert_eq!((code, out.as_str()), (Some(7), "out\n"), "{version}: {err:?}");
            let there = format!("web:copy-{number}-{websocket}");
            for args in
                [["cp", up.to_str().unwrap(), &there], ["cp", &there, down.to_str().unwrap()]]
            {
                let (code, _, err) = ran(websocket, &args);
                assert_eq!(code, Some(0), "{version}: {}", String::from_utf8_lossy(&err));
            }
            assert!(fs::read(&down).unwrap() == content, "{version}");
            fs::remove_file(&down).unwrap();
        }
    }
    let record = rig.record();
    let ran = record.commands("/pods/web/exec?").into_iter();
    let ended = ran.filter(|it| record.response(it)["details"]["exit_status"] == "7").count();
    assert_eq!(ended, all.len() * 2);
}
