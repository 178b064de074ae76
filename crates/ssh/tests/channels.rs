//! What runs on channels, by OpenSSH's client through the proxy to a real sshd.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::io::{Read as _, Write as _};
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rig::{Plan, Rig};
use terminal::frames::Reader;
use testbed::{Sshd, SshdOptions, require};

const NO_RM: &str = r#"
default = "allow"
[[rule]]
name = "no-rm"
effect = "deny"
reason = "Nothing is removed here."
when = { resources = ["rm *"] }
"#;

fn sshd() -> Option<Sshd> {
    require(Sshd::start(&SshdOptions::default()))
}

#[test]
fn standard_output_and_error_are_kept_apart_and_exits_are_recorded() {
    let Some(sshd) = sshd() else { return };
    let rig = Rig::start(&sshd);
    let said = rig.ssh(&["echo out; echo err >&2; exit 7"]);
    assert_eq!((said.out.as_str(), said.code), ("out\n", Some(7)), "{said:?}");
    assert!(said.err.contains("err\n"), "{said:?}");
    let said = rig.ssh(&["kill -TERM $$"]);
    assert_ne!(said.code, Some(0));
    rig.settle();
    let responses = rig.entries_of("response");
    assert_eq!(responses[0]["code"], "7");
    assert_eq!(responses[0]["outcome"], "error");
    assert_eq!(responses[0]["details"]["stdout_bytes"], "4");
    assert_eq!(responses[0]["details"]["stderr_bytes"], "4");
    assert_eq!(responses[1]["details"]["signal"], "TERM");
}

#[test]
fn a_denial_is_told_on_standard_error_with_126_and_the_next_command_runs() {
    let Some(sshd) = sshd() else { return };
    let rig = Rig::with(&sshd, Plan { policy: NO_RM.into(), ..Plan::default() });
    let kept = rig.dir.path().join("kept");
    std::fs::write(&kept, "x").unwrap();
    let socket = rig.dir.path().join("mux");
    let master = Master::start(&rig, &socket);
    for line in ["rm -f {}", "true && rm -f {}", "sh -c 'rm -f {}'", "echo $(rm -f {})"] {
        let line = line.replace("{}", kept.to_str().unwrap());
        let said = master.ssh(&rig, &[&line]);
        assert_eq!(said.code, Some(126), "{line}: {said:?}");
        assert!(said.err.contains("no-rm") && said.err.contains("Nothing is removed here."));
        assert!(kept.exists());
    }
    let said = master.ssh(&rig, &["echo still here"]);
    assert_eq!((said.out.as_str(), said.code), ("still here\n", Some(0)), "{said:?}");
    drop(master);
    rig.settle();
    let commands = rig.entries_of("command");
    let verdicts: Vec<&str> = commands.iter().map(|c| c["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["deny", "deny", "deny", "deny", "allow"]);
    assert_eq!(rig.entries_of("session_end")[0]["denied"], 4);
}

/// A master connection, whose channels other clients share.
struct Master(std::process::Child, std::path::PathBuf);

impl Master {
    fn start(rig: &Rig, socket: &std::path::Path) -> Master {
        let mut ssh = rig.ssh_command();
        ssh.args(["-N", "-M", "-S"]).arg(socket).arg("gw").stdout(Stdio::null());
        let master = Master(ssh.spawn().unwrap(), socket.to_owned());
        for _ in 0..1000 {
            if socket.exists() {
                return master;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the master connection did not come up");
    }

    fn command(&self, rig: &Rig) -> std::process::Command {
        let mut ssh = rig.program("ssh", "unused");
        ssh.arg("-S").arg(&self.1).args(["-o", "ControlMaster=no", "gw"]);
        ssh
    }

    fn ssh(&self, rig: &Rig, args: &[&str]) -> rig::Said {
        rig::Said::of(self.command(rig).args(args))
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

#[test]
fn channels_of_one_connection_do_not_hold_up_each_other() {
    let Some(sshd) = sshd() else { return };
    let rig = Rig::start(&sshd);
    let master = Master::start(&rig, &rig.dir.path().join("mux"));
    // Two that are not read, and one that nobody reads at the far end.
    let stalled: Vec<_> = (0..2)
        .map(|_| master.command(&rig).arg("yes").stdout(Stdio::piped()).spawn().unwrap())
        .collect();
    let mut unread = master.command(&rig).arg("sleep 1000").stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = unread.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        // Ends when the client is gone.
        while stdin.write_all(&[0; 65_536]).is_ok() {}
    });
    std::thread::sleep(std::time::Duration::from_secs(1));
    // Ten beside them, at once, each with its own answer.
    let busy: Vec<_> = (0..10)
        .map(|n| {
            let line = format!("head -c 1000000 /dev/zero | tr '\\0' {n}");
            master.command(&rig).arg(line).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for (n, child) in busy.into_iter().enumerate() {
        let out = child.wait_with_output().unwrap();
        let digit = b'0' + u8::try_from(n).unwrap();
        assert!(out.status.success());
        assert!(out.stdout.len() == 1_000_000 && out.stdout.iter().all(|&b| b == digit));
    }
    for mut child in stalled.into_iter().chain([unread]) {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    writer.join().unwrap();
}

#[test]
fn an_early_close_stops_what_writes() {
    let Some(sshd) = sshd() else { return };
    let rig = Rig::start(&sshd);
    let mut ssh = rig.ssh_command().args(["gw", "yes"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = ssh.stdout.take().unwrap();
    let mut start = [0; 4];
    out.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"y\ny\n");
    drop(out);
    // It hangs here if the end of reading does not reach the target.
    ssh.wait().unwrap();
    rig.settle();
    let response = &rig.entries_of("response")[0];
    assert_eq!(response["details"]["signal"], "PIPE", "{response}");
}

#[test]
fn bytes_are_equal_each_way_and_hashed() {
    let Some(sshd) = sshd() else { return };
    let rig = Rig::start(&sshd);
    let bytes = 20_000_000;
    let file = rig.dir.path().join("big");
    let content: Vec<u8> =
        (0..bytes).map(|n: u32| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    std::fs::write(&file, &content).unwrap();
    let copy = rig.dir.path().join("copy");
    let mut up = rig.ssh_command();
    up.args(["gw", &format!("cat > {}", copy.display())]);
    up.stdin(std::fs::File::open(&file).unwrap());
    assert!(up.status().unwrap().success());
    assert!(std::fs::read(&copy).unwrap() == content);
    let down = rig.ssh_command().args(["gw", &format!("cat {}", file.display())]).output().unwrap();
    assert!(down.stdout == content);
    let sum = std::process::Command::new("sha256sum").arg(&file).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let sum = sum.split(' ').next().unwrap();
    rig.settle();
    let responses = rig.entries_of("response");
    assert_eq!(responses[0]["details"]["stdin_sha256"], sum);
    assert_eq!(responses[0]["input_bytes"], bytes);
    assert_eq!(responses[1]["details"]["stdout_sha256"], sum);
    assert_eq!(responses[1]["bytes"], bytes);
    // All of it is kept: the beginning in entries, the rest in objects that entries name.
    let begins: usize = rig
        .entries_of("output")
        .iter()
        .map(|it| it["data"]["base64"].as_str().map_or(0, str::len))
        .sum();
    let kept = |chunks: &serde_json::Value| -> u64 {
        chunks.as_array().unwrap().iter().map(|c| c["bytes"].as_u64().unwrap()).sum()
    };
    assert_eq!(kept(&responses[0]["input_chunks"]), u64::from(bytes));
    let all = kept(&responses[1]["chunks"]) + begins as u64 / 4 * 3;
    assert!(all > u64::from(bytes), "{all}");
}

#[test]
fn a_terminal_is_recorded_with_its_sizes_as_entries() {
    let Some(sshd) = sshd() else { return };
    let rig = Rig::start(&sshd);
    let mut ssh = rig.ssh_command();
    ssh.args(["-tt", "gw"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut ssh = ssh.spawn().unwrap();
    ssh.stdin.take().unwrap().write_all(b"echo $((6*7)) done\nexit 5\n").unwrap();
    let out = ssh.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&out.stdout).contains("42 done"));
    rig.settle();
    let command = &rig.entries_of("command")[0];
    assert_eq!((&command["via"], &command["details"]["pty"]), (&"shell".into(), &"true".into()));
    let outputs = rig.entries_of("output");
    assert!(!outputs.is_empty());
    assert!(outputs.iter().all(|entry| entry["data"]["media"] == "greffier-frames"));
    let response = &rig.entries_of("response")[0];
    assert_eq!(response["code"], "5");
    assert_eq!(response["input_bytes"], 26);
}

/// The bytes of an entry, and for how long what is in it was shown, in microseconds.
fn extent(entry: &serde_json::Value) -> (usize, u64) {
    let data = STANDARD.decode(entry["data"]["base64"].as_str().unwrap()).unwrap();
    let mut reader = Reader::new();
    reader.push(&data);
    let frames: Vec<_> = std::iter::from_fn(|| reader.next().unwrap()).collect();
    assert!(!frames.is_empty() && reader.left() == 0, "whole frames in each entry");
    // The first one's time is since the entry before.
    (data.len(), frames.iter().skip(1).map(|frame| frame.after_us).sum())
}

#[test]
fn a_terminals_entries_are_small_and_short() {
    let Some(sshd) = sshd() else { return };
    let rig = Rig::start(&sshd);
    // Much at once, and then a little at a time.
    let line = "head -c 1000000 /dev/zero | tr '\\0' x; \
                for n in 1 2 3 4 5 6 7 8; do echo $n; sleep 0.2; done";
    let said = rig.ssh_with(&["-tt"], &[line]);
    assert_eq!((said.out.matches('x').count(), said.code), (1_000_000, Some(0)), "{:?}", said.err);
    rig.settle();
    let outputs = rig.entries_of("output");
    for entry in &outputs {
        let (bytes, microseconds) = extent(entry);
        assert!(bytes <= 16 * 1024 && microseconds <= 250_000, "{bytes} B, {microseconds} us");
    }
    assert!(outputs.len() >= 1_000_000 / (16 * 1024) + 8, "{} entries", outputs.len());
}

#[test]
fn what_a_target_does_not_take_is_refused() {
    let Some(sshd) = sshd() else { return };
    let plan = Plan { rules: ssh::ChannelRules::default(), ..Plan::default() };
    let rig = Rig::with(&sshd, plan);
    for args in [vec!["id"], vec![]] {
        let said = rig.ssh(&args);
        assert_eq!(said.code, Some(126), "{said:?}");
        assert!(said.err.contains("greffier: this is not allowed (rule \"target\")"), "{said:?}");
    }
    let said = rig.ssh_with(&["-W", "127.0.0.1:1"], &[]);
    assert_ne!(said.code, Some(0));
    assert!(said.err.contains("greffier"), "{said:?}");
    rig.settle();
    let vias: Vec<_> = rig.entries_of("command").iter().map(|c| c["via"].clone()).collect();
    assert_eq!(vias, ["exec", "shell", "direct-tcpip"]);
}
