//! Attacks by those who are logged in, each named after its item of the project's list: floods,
//! sizes, and ways around the record.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod rig;

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use rig::raw::Raw;
use rig::tools::{commands, response};
use rig::{EVERYTHING, Plan, Rig, Said};
use ssh::{Allow, ChannelRules};
use ssh_wire::packet::{Packet, parse, write};
use testbed::{Sshd, SshdOptions, require};

/// Long enough that only a hang reaches it.
const LONG: Duration = Duration::from_secs(60);

fn rig(allow: Allow) -> Option<(Sshd, Rig)> {
    let sshd = require(Sshd::start(&SshdOptions::default()))?;
    let rules = ChannelRules { allow, ..Plan::default().rules };
    let rig = Rig::with(&sshd, Plan { rules, ..Plan::default() });
    Some((sshd, rig))
}

fn exec_only() -> Allow {
    Allow { exec: true, ..Allow::default() }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// The number by which the other end knows channel 0, once it is confirmed.
async fn open(raw: &mut Raw, kind: &[u8]) -> Option<u32> {
    assert!(raw.send(write::open(kind, 0, 1 << 20, 1 << 15, b"")).await);
    loop {
        match parse(&raw.next().await.unwrap()).unwrap() {
            Packet::OpenConfirmation { sender, .. } => return Some(sender),
            Packet::OpenFailure { .. } => return None,
            _ => {}
        }
    }
}

/// Whether the request that was sent on channel 0 succeeded.
async fn answer(raw: &mut Raw) -> bool {
    loop {
        let packet = raw.next().await.expect("the session has ended");
        match parse(&packet).unwrap() {
            Packet::Success { .. } => return true,
            Packet::Failure { .. } => return false,
            _ => {}
        }
    }
}

/// What is beyond its bounds, and how the record tells it.
const BEYOND: [(&str, &str); 3] = [
    ("packet", "Bad packet size: "),
    ("adjust", "a channel's window of more than 4 GiB"),
    ("window", "more data than the channel's window allows"),
];

#[test]
fn attack_13_sizes_and_windows_beyond_their_bounds_end_the_session() {
    let Some((_sshd, rig)) = rig(exec_only()) else { return };
    let (user, token) = (rig.user(), rig.token("alice"));
    let piece = vec![0; 32_768];
    rig.runtime.block_on(async {
        for (case, _) in BEYOND {
            let mut raw = Raw::log_in(rig.port, &user, &token).await;
            let there = open(&mut raw, b"session").await.unwrap();
            raw.send(write::line_request(there, b"exec", true, b"sleep 1000")).await;
            assert!(answer(&mut raw).await);
            match case {
                // Larger than any packet may be: RFC 4253 section 6.1, and russh's own limit.
                "packet" => drop(raw.send(Bytes::from(vec![94; 300_000])).await),
                // Over 2^32 - 1 together.
                "adjust" => {
                    raw.send(write::window_adjust(there, u32::MAX)).await;
                    raw.send(write::window_adjust(there, u32::MAX)).await;
                }
                // More than the other end has room for, which reads none of it.
                _ => {
                    for _ in 0..4096 {
                        if !raw.send(write::data(there, &piece)).await {
                            break;
                        }
                    }
                }
            }
            let ended = tokio::time::timeout(LONG, raw.rest()).await;
            assert!(ended.is_ok(), "{case} is taken");
            let told = raw.told();
            // The packet's length is no part of a packet that can be answered.
            assert!(case == "packet" || told.contains("the client broke the protocol"), "{told}");
        }
    });
    rig.settle();
    let ends = rig.entries_of("session_end");
    assert_eq!(ends.len(), BEYOND.len());
    for (end, (case, reason)) in ends.iter().zip(BEYOND) {
        let recorded = end["reason"].as_str().unwrap();
        let expected = format!("the client broke the protocol: {reason}");
        assert!(recorded.starts_with(&expected), "{case}: {recorded}");
    }
    for response in rig.entries_of("response") {
        assert_ne!(response["outcome"], "ok");
    }
}

#[test]
fn attack_13_floods_of_opens_and_requests_are_answered_and_bounded() {
    let Some((_sshd, rig)) = rig(exec_only()) else { return };
    let (user, token) = (rig.user(), rig.token("alice"));
    let opens = 20_000_u32;
    let flood = async {
        let mut raw = Raw::log_in(rig.port, &user, &token).await;
        let there = open(&mut raw, b"session").await.unwrap();
        // Variables without end, of a name that is let through and of one that isn't.
        for n in 0..2000_u32 {
            let name: &[u8] = if n % 2 == 0 { b"TEST_X" } else { b"LD_PRELOAD" };
            let rest = [string(name), string(n.to_string().as_bytes())].concat();
            // A pause now and then: too many that wait for their record end the session.
            if n % 16 == 0 {
                raw.send(write::request(there, b"env", true, &rest)).await;
                answer(&mut raw).await;
            }
            assert!(raw.send(write::request(there, b"env", false, &rest)).await, "after {n}");
        }
        raw.send(write::line_request(there, b"exec", true, b"echo ${LD_PRELOAD-none}")).await;
        assert!(tokio::time::timeout(LONG, answer(&mut raw)).await.unwrap());
        let mut confirmed = 0;
        let out = raw.out.clone();
        tokio::spawn(async move {
            for n in 1..=opens {
                if out.send(write::open(b"session", n, 1 << 20, 1 << 15, b"")).await.is_err() {
                    return;
                }
            }
        });
        let mut answered = 0;
        while answered < opens {
            let packet = tokio::time::timeout(LONG, raw.next()).await.unwrap().unwrap();
            match parse(&packet).unwrap() {
                Packet::OpenConfirmation { .. } => {
                    (confirmed, answered) = (confirmed + 1, answered + 1)
                }
                Packet::OpenFailure { .. } => answered += 1,
                _ => {}
            }
        }
        assert!(confirmed <= ChannelRules::default().max_channels, "{confirmed}");
        raw.leave().await;
    };
    rig.runtime.block_on(flood);
    rig.settle();
    let run = &commands(&rig, "exec")[0];
    assert!(run["details"]["env.LD_PRELOAD"].is_null());
    assert!(run.to_string().len() < 20_000, "{} bytes", run.to_string().len());
    // What was opened and never used is no command.
    assert_eq!(rig.entries_of("command").iter().filter(|c| c["verdict"] == "allow").count(), 1);
}

#[test]
fn attack_14_no_kind_of_channel_or_request_goes_unjudged() {
    let Some((_sshd, rig)) = rig(exec_only()) else { return };
    let (user, token) = (rig.user(), rig.token("alice"));
    rig.runtime.block_on(async {
        let mut raw = Raw::log_in(rig.port, &user, &token).await;
        // Channels that a client may not open, and kinds that nobody knows.
        let kinds = [&b"x11"[..], b"auth-agent@openssh.com", b"forwarded-tcpip", b"unknown"];
        for kind in kinds.into_iter().chain([&b"tun@openssh.com"[..]]) {
            assert_eq!(open(&mut raw, kind).await, None, "{}", String::from_utf8_lossy(kind));
        }
        // On a session: the display, the agent, and subsystems, known and unknown.
        let x11 = [vec![0], string(b"MIT-MAGIC-COOKIE-1"), string(b"00"), vec![0; 4]].concat();
        let requests = [
            (&b"x11-req"[..], x11),
            (b"auth-agent-req@openssh.com", vec![]),
            (b"subsystem", string(b"netconf")),
            (b"subsystem", string(b"sftp")),
            (b"unknown@example.org", vec![1, 2, 3]),
        ];
        for (kind, rest) in requests {
            let named = String::from_utf8_lossy(kind).into_owned();
            let there = open(&mut raw, b"session").await.unwrap();
            raw.send(write::request(there, kind, true, &rest)).await;
            raw.send(write::close(there)).await;
            // Refused at once, or as a program that says so and ends with 126.
            let (mut refused, mut said) = (false, Vec::new());
            loop {
                let packet = tokio::time::timeout(LONG, raw.next()).await.unwrap().unwrap();
                match parse(&packet).unwrap() {
                    Packet::Failure { .. } => refused = true,
                    Packet::ExtendedData { data, .. } => said.extend_from_slice(data),
                    Packet::Close { .. } => break,
                    _ => {}
                }
            }
            let said = String::from_utf8_lossy(&said);
            assert!(refused || said.contains("not allowed"), "{named}: {said}");
        }
        raw.leave().await;
    });
    rig.settle();
    let denied = rig.entries_of("command");
    assert!(denied.iter().all(|command| command["verdict"] == "deny"), "{denied:?}");
    for (via, count) in [("x11", 1), ("agent", 1), ("subsystem", 2)] {
        assert_eq!(commands(&rig, via).len(), count, "{via}: {denied:?}");
    }
}

#[test]
fn attack_14_jumps_and_tunnels_are_refused_on_record() {
    let Some((sshd, rig)) = rig(exec_only()) else { return };
    let said = rig.ssh_with(&["-W", &format!("127.0.0.1:{}", sshd.port())], &[]);
    assert!(said.err.contains("greffier: this is not allowed"), "{said:?}");
    // Through us to elsewhere, as `-J` does it.
    let config = rig.dir.path().join("ssh_config");
    let jump = format!("ssh -F {} -W %h:%p gw", config.display());
    let mut ssh = rig.ssh_command();
    ssh.args(["-o", &format!("ProxyCommand={jump}"), "-o", "HostName=127.0.0.1"]);
    let said = Said::of(ssh.args(["-p", &sshd.port().to_string(), "gw", "true"]));
    assert_ne!(said.code, Some(0), "{said:?}");
    rig.settle();
    let tried = commands(&rig, "direct-tcpip");
    assert!(!tried.is_empty() && tried.iter().all(|c| c["verdict"] == "deny"), "{tried:?}");
}

#[test]
fn attack_14_a_script_by_standard_input_is_in_the_record() {
    let Some((_sshd, rig)) = rig(exec_only()) else { return };
    let script = b"unset HISTFILE\necho hidden-from-the-line\n";
    let file = rig.dir.path().join("script");
    std::fs::write(&file, script).unwrap();
    let mut ssh = rig.ssh_command();
    ssh.args(["gw", "sh"]).stdin(std::fs::File::open(&file).unwrap());
    let out = ssh.stdout(Stdio::piped()).output().unwrap();
    assert_eq!(out.stdout, b"hidden-from-the-line\n");
    rig.settle();
    let command = &commands(&rig, "exec")[0];
    let response = response(&rig, command);
    assert_eq!(response["input_bytes"], script.len());
    let entries = rig.entries().iter().map(ToString::to_string).collect::<String>();
    use base64::Engine as _;
    let as_text = entries.contains("unset HISTFILE");
    let start = base64::engine::general_purpose::STANDARD_NO_PAD.encode("unset HISTFI");
    let kept = !response["input_chunks"].is_null();
    assert!(as_text || entries.contains(&start) || kept, "{entries}");
}

#[test]
fn attack_14_no_variable_gets_through_that_is_not_named() {
    let Some((_sshd, rig)) = rig(EVERYTHING) else { return };
    let mut ssh = rig.ssh_command();
    for variable in ["LD_PRELOAD=/tmp/x", "BASH_ENV=/tmp/x", "TEST_OK=1", "PATH=/tmp"] {
        ssh.args(["-o", &format!("SetEnv={variable}")]);
    }
    // OpenSSH's client takes the first `SetEnv` only, if it is given more than once.
    let said = Said::of(ssh.args(["gw", "env"]));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!said.out.contains("/tmp/x") && !said.out.contains("PATH=/tmp\n"), "{said:?}");
    let mut ssh = rig.ssh_command();
    ssh.args(["-o", "SetEnv=LD_PRELOAD=/tmp/x TEST_OK=1 PATH=/tmp"]);
    let said = Said::of(ssh.args(["gw", "env"]));
    assert!(said.out.contains("TEST_OK=1"), "{said:?}");
    assert!(!said.out.contains("/tmp/x") && !said.out.contains("PATH=/tmp\n"), "{said:?}");
    rig.settle();
    let command = &commands(&rig, "exec")[1];
    assert_eq!(command["details"]["env.TEST_OK"], "1");
}
