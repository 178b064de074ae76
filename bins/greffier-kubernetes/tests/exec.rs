//! What runs in a pod through the proxy: exec, attach, cp, port-forward and logs, over WebSocket and
//! SPDY, and what of it is on record.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod rig;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use rig::{ALICE, Plan, Record, Rig};
use serde_json::Value;
use terminal::frames::Reader;
use testbed::{Cluster, Program, require};

/// kubectl by one protocol or the other.
fn kubectl(rig: &Rig, websocket: bool, args: &[&str]) -> Command {
    let mut kubectl = rig.kubectl_with(&rig.token(ALICE));
    let word = if websocket { "true" } else { "false" };
    kubectl.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", word);
    kubectl.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", word);
    kubectl.args(args);
    kubectl
}

/// A recording's frames: what each is, and its bytes.
fn frames(record: &Record, command: &Value) -> Vec<(char, Vec<u8>)> {
    let (mut reader, mut frames) = (Reader::new(), Vec::new());
    reader.push(&record.answer(command));
    while let Some(frame) = reader.next().unwrap() {
        frames.push((char::from(frame.kind.letter()), frame.bytes));
    }
    assert_eq!(reader.left(), 0, "the last frame is cut off");
    frames
}

/// All of one kind.
fn all(frames: &[(char, Vec<u8>)], kind: char) -> String {
    let bytes: Vec<u8> =
        frames.iter().filter(|it| it.0 == kind).flat_map(|it| it.1.clone()).collect();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn what_runs_in_a_pod_is_on_record_stream_by_stream() {
    let Some(cluster) = require(Cluster::with_node()) else { return };
    let rig = Rig::before(cluster, &Plan::default());
    for websocket in [true, false] {
        let script = "echo out; echo err >&2; exit 7";
        let output = kubectl(&rig, websocket, &["exec", "web", "--", "sh", "-c", script]);
        let output = { output }.output().unwrap();
        assert_eq!(output.status.code(), Some(7), "{output:?}");
        assert_eq!(output.stdout, b"out\n");
        assert!(output.stderr.starts_with(b"err\n"), "{output:?}");

        let mut cat = kubectl(&rig, websocket, &["exec", "-i", "web", "--", "cat"]);
        let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        cat.stdin.take().unwrap().write_all(b"card 4111 1111 1111 1111\n").unwrap();
        let mut back = String::new();
        cat.stdout.take().unwrap().read_to_string(&mut back).unwrap();
        assert_eq!(back, "card 4111 1111 1111 1111\n");
        assert!(cat.wait().unwrap().success());

        // cp is exec of tar, and what goes through comes out.
        let (up, down) = (rig.path("up"), rig.path("down"));
        let content: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        fs::write(&up, &content).unwrap();
        let name = format!("web:{}", if websocket { "ws" } else { "spdy" });
        for args in [["cp", up.to_str().unwrap(), &name], ["cp", &name, down.to_str().unwrap()]] {
            let output = { kubectl(&rig, websocket, &args) }.output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        assert!(fs::read(&down).unwrap() == content);

        let mut attach = kubectl(&rig, websocket, &["attach", "-i", "web"]);
        let mut attach = attach.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        attach.stdin.take().unwrap().write_all(b"hello\n").unwrap();
        let mut said = String::new();
        attach.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains("hello"), "{said}");
        attach.wait().unwrap();
    }
    let record = rig.record();
    for upgrade in ["GET", "POST"] {
        let path = format!("{upgrade} /api/v1/namespaces/default/pods/web/exec?");
        let ran = record.commands(&path);
        assert_eq!(ran.len(), 5, "{ran:?}");
        assert!(ran.iter().all(|it| it["class"] == "exec"), "{ran:?}");
        let shell = frames(&record, ran[0]);
        assert!(all(&shell, 'm').starts_with("HTTP/1.1 101 "), "{shell:?}");
        let said = [all(&shell, 'o'), all(&shell, 'e'), all(&shell, 'x')];
        assert_eq!(said, ["out\n", "err\n", "7"]);
        assert_eq!(ran[0]["via"], "exec");
        let outcome = record.response(ran[0]);
        assert_eq!(outcome["details"]["exit_status"], "7");
        let cat = frames(&record, ran[1]);
        assert_eq!(all(&cat, 'i'), "card 4111 1111 1111 1111\n");
        assert!(all(&cat, 'o').ends_with("card 4111 1111 1111 1111\n"));
        let attached =
            record.commands(&format!("{upgrade} /api/v1/namespaces/default/pods/web/attach?"));
        assert!(all(&frames(&record, attached[0]), 'o').contains("hello"));
        // What was copied is on record too, in objects of its own.
        let copied = record.response(ran[4]);
        let objects = copied["chunks"].as_array().unwrap();
        let kept: u64 = objects.iter().map(|it| it["bytes"].as_u64().unwrap()).sum();
        assert!(kept > 3_900_000, "{copied}");
    }
}

#[test]
fn what_is_masked_for_the_record_is_on_record_before_it_runs() {
    let Some(cluster) = require(Cluster::with_node()) else { return };
    let masking = r#"
        [masking]
        version = 1
        [[masking.rule]]
        entity = ["CREDIT_CARD"]
        record = { operator = "replace" }
        client = { operator = "keep" }
    "#;
    let rig = Rig::before(cluster, &Plan { masking, ..Plan::default() });
    for websocket in [true, false] {
        let mut shell = kubectl(&rig, websocket, &["exec", "-i", "web", "--", "sh"]);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = shell.stdin.take().unwrap();
        input.write_all(b"echo card 4111 1111 1111 1111\nexit 3\n").unwrap();
        let mut said = String::new();
        shell.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, "card 4111 1111 1111 1111\n");
        assert_eq!(shell.wait().unwrap().code(), Some(3));
    }
    // One that the API server refuses: what is answered in place of an upgrade is a frame as well.
    let upgrade = websocket("Sec-WebSocket-Protocol: v5.channel.k8s.io");
    let path = "/api/v1/namespaces/default/pods/nobody/exec?command=ls&stdout=true";
    let said = rig.curl(&rig.token(ALICE), &upgrade, path);
    assert!(said.ends_with("404"), "{said}");
    let record = rig.record();
    let refused = record.commands("/pods/nobody/exec")[0];
    let said = all(&frames(&record, refused), 'o');
    assert!(said.starts_with("HTTP/1.1 404") && said.contains("\"Status\""), "{said}");
    for upgrade in ["GET", "POST"] {
        let ran = record.commands(&format!("{upgrade} /api/v1/namespaces/default/pods/web/exec?"));
        let shell = frames(&record, ran[0]);
        assert_eq!(all(&shell, 'i'), "echo card <CREDIT_CARD>\nexit 3\n");
        assert!(all(&shell, 'o').ends_with("card <CREDIT_CARD>\n"), "{shell:?}");
        let typed = shell.iter().position(|it| it.0 == 'i').unwrap();
        let printed = shell.iter().rposition(|it| it.0 == 'o').unwrap();
        assert!(typed < printed && shell.last().unwrap() == &('x', b"3".to_vec()), "{shell:?}");
    }
}

#[test]
fn what_a_command_says_is_masked_for_who_sees_it() {
    let Some(cluster) = require(Cluster::with_node()) else { return };
    let masking = r#"
        [masking]
        version = 1
        [[masking.rule]]
        entity = ["CREDIT_CARD"]
        record = { operator = "replace" }
        client = { operator = "replace", new_value = "(hidden)" }
    "#;
    let rig = Rig::before(cluster, &Plan { masking, ..Plan::default() });
    for websocket in [true, false] {
        let script = "echo card 4111 1111 1111 1111; echo no 4111111111111111 >&2; exit 7";
        let output = kubectl(&rig, websocket, &["exec", "web", "--", "sh", "-c", script]);
        let output = { output }.output().unwrap();
        assert_eq!(output.status.code(), Some(7), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "card (hidden)\n");
        assert!(output.stderr.starts_with(b"no (hidden)\n"), "{output:?}");

        // Much of it, none of which is masked, and in order.
        let output = kubectl(&rig, websocket, &["exec", "web", "--", "seq", "1", "200000"]);
        let output = { output }.output().unwrap();
        let want: String = (1..=200_000).map(|it| format!("{it}\n")).collect();
        assert!(output.status.success() && output.stdout == want.as_bytes());

        // Short lines go to and fro before anything ends.
        let mut shell = kubectl(&rig, websocket, &["exec", "-i", "web", "--", "sh"]);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = shell.stdin.take().unwrap();
        let mut said = BufReader::new(shell.stdout.take().unwrap()).lines();
        for line in ["one", "two 4111111111111111"] {
            input.write_all(format!("echo {line}\n").as_bytes()).unwrap();
            let shown = line.replace("4111111111111111", "(hidden)");
            assert_eq!(said.next().unwrap().unwrap(), shown);
        }
        input.write_all(b"exit 3\n").unwrap();
        assert!(said.next().is_none());
        assert_eq!(shell.wait().unwrap().code(), Some(3));

        // An archive that was changed is none: what is no text passes.
        let (up, down) = (rig.path("up"), rig.path("down"));
        let content = [&[0; 600][..], b" 4111 1111 1111 1111 ", &[0; 600]].concat();
        fs::write(&up, &content).unwrap();
        let name = format!("web:masked-{websocket}");
        for args in [["cp", up.to_str().unwrap(), &name], ["cp", &name, down.to_str().unwrap()]] {
            let output = { kubectl(&rig, websocket, &args) }.output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        assert!(fs::read(&down).unwrap() == content);
    }
    let record = rig.record();
    for upgrade in ["GET", "POST"] {
        let ran = record.commands(&format!("{upgrade} /api/v1/namespaces/default/pods/web/exec?"));
        let shell = frames(&record, ran[0]);
        assert_eq!(all(&shell, 'o'), "card <CREDIT_CARD>\n");
        assert_eq!(all(&shell, 'e'), "no <CREDIT_CARD>\n");
        let outcome = record.response(ran[0]);
        assert_eq!(outcome["masked"]["CREDIT_CARD"], 2, "{outcome}");
        // What the command said, before anything was masked.
        assert_eq!(outcome["details"]["stdout_bytes"], "25", "{outcome}");
        let typed = frames(&record, ran[2]);
        assert_eq!(all(&typed, 'i'), "echo one\necho two <CREDIT_CARD>\nexit 3\n");
        let copied = record.response(ran.last().unwrap());
        assert_eq!(copied["details"]["stdout_kept"], "counted", "{copied}");
    }
}

#[test]
fn a_port_is_forwarded_and_logs_are_followed() {
    let Some(cluster) = require(Cluster::with_node()) else { return };
    let rig = Rig::before(cluster, &Plan::default());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            stream.unwrap().write_all(b"from the pod").unwrap();
        }
    });
    for websocket in [true, false] {
        let ports = format!(":{port}");
        let mut forward = kubectl(&rig, websocket, &["port-forward", "web", &ports]);
        let mut forward = Program::heard_on_stdout(&mut forward).unwrap();
        let line = forward.wait_for("Forwarding from 127.0.0.1:").unwrap();
        let local = line.split("127.0.0.1:").nth(1).unwrap().split(' ').next().unwrap();
        let mut said = String::new();
        let mut stream = std::net::TcpStream::connect(format!("127.0.0.1:{local}")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.read_to_string(&mut said).unwrap();
        assert_eq!(said, "from the pod");
        forward.kill().unwrap();
    }
    let logs = rig.said(&["logs", "web"]);
    assert!(logs.contains("line 1") && logs.contains("line 3"), "{logs}");
    let mut follow = rig.kubectl_with(&rig.token(ALICE));
    let mut follow = Program::heard_on_stdout(follow.args(["logs", "-f", "web"])).unwrap();
    follow.wait_for("line 3").unwrap();
    rig.cluster.append_pod_log("one more line\n").unwrap();
    follow.wait_for("one more line").unwrap();
    follow.kill().unwrap();
    let record = rig.record();
    let forwarded = record.commands("/pods/web/portforward");
    assert_eq!(forwarded.len(), 2);
    for command in forwarded {
        assert_eq!(command["class"], "exec");
        assert!(!String::from_utf8_lossy(&record.answer(command)).contains("from the pod"));
        let outcome = record.response(command);
        assert!(outcome["bytes"].as_u64().unwrap() > 0);
        assert_eq!(outcome["details"]["ports"], port.to_string(), "{outcome}");
    }
    let followed = record.commands("/pods/web/log?");
    let last = followed.last().unwrap();
    assert!(String::from_utf8(record.answer(last)).unwrap().contains("one more line"));
}

#[test]
fn a_port_that_no_rule_lets_is_not_reached() {
    let Some(cluster) = require(Cluster::with_node()) else { return };
    let (allowed, denied) = (listener(), listener());
    let rules = format!(
        r#"
        [[policy.rule]]
        name = "one-port"
        effect = "allow"
        when = {{ class = ["exec"], arguments = {{ "attribute.port" = "{}" }} }}
        [[policy.rule]]
        name = "no-exec"
        effect = "deny"
        when = {{ class = ["exec"] }}
    "#,
        allowed.local_addr().unwrap().port()
    );
    let rig = Rig::before(cluster, &Plan { rules: rules.leak(), ..Plan::default() });
    let ports = [&allowed, &denied].map(|it| it.local_addr().unwrap().port());
    let (reached, reaches) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in denied.incoming() {
            drop(stream);
            reached.send(()).unwrap();
        }
    });
    std::thread::spawn(move || {
        for stream in allowed.incoming() {
            stream.unwrap().write_all(b"from the pod").unwrap();
        }
    });
    for websocket in [true, false] {
        let [one, other] = ports.map(|port| format!(":{port}"));
        let mut forward = kubectl(&rig, websocket, &["port-forward", "web", &one, &other]);
        let mut forward = Program::heard_on_stdout(&mut forward).unwrap();
        let mut said = Vec::new();
        for port in ports {
            let line = forward.wait_for(&format!("-> {port}")).unwrap();
            let local = line.split("127.0.0.1:").nth(1).unwrap().split(' ').next().unwrap();
            let mut text = String::new();
            let mut stream = std::net::TcpStream::connect(format!("127.0.0.1:{local}")).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            // One that is denied may be reset.
            let _ended = stream.read_to_string(&mut text);
            said.push(text);
        }
        assert_eq!(said, ["from the pod", ""], "{websocket}");
        forward.kill().unwrap();
    }
    // By an older WebSocket the query says which, and the API server reaches them at once.
    let path = "/api/v1/namespaces/default/pods/web/portforward?ports=";
    let said = rig.curl(&rig.token(ALICE), &websocket(V4), &format!("{path}{}", ports[1]));
    assert!(said.ends_with("403") && said.contains("no-exec"), "{said}");
    // Nothing else of class exec is let through, whatever port it could name.
    let output = kubectl(&rig, true, &["exec", "web", "--", "true"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-exec"), "{output:?}");
    assert!(reaches.try_recv().is_err(), "the port that is denied was reached");
    let record = rig.record();
    let text = |it: &Value| it["text"].as_str().unwrap_or_default().to_owned();
    for (port, verdict, rule) in [(ports[0], "allow", "one-port"), (ports[1], "deny", "no-exec")] {
        let asked: Vec<_> = record
            .of("command")
            .into_iter()
            .filter(|it| text(it) == format!("portforward web {port}"))
            .collect();
        assert_eq!(asked.len(), if verdict == "allow" { 2 } else { 3 }, "{asked:?}");
        for command in asked {
            assert_eq!((&command["verdict"], &command["rule"]), (&verdict.into(), &rule.into()));
            assert_eq!(command["details"]["port"], port.to_string());
        }
    }
    let forwarded = record.commands("/pods/web/portforward");
    let (denied, forwarded) = forwarded.split_last().unwrap();
    assert_eq!((forwarded.len(), &record.response(denied)["outcome"]), (2, &"cut".into()));
    for command in forwarded {
        let outcome = record.response(command);
        assert_eq!(outcome["details"]["ports"], ports[0].to_string(), "{outcome}");
        assert_eq!(
            (&outcome["outcome"], &outcome["details"]["cause"]),
            (&"cut".into(), &"denied".into())
        );
    }
}

#[test]
fn attack_26_a_redirect_leads_nobody_elsewhere() {
    let Some(cluster) = require(Cluster::start()) else { return };
    // A node, or an API server behind the cluster's, that is somebody else's.
    let (server, elsewhere) = (listener(), listener());
    let location = format!("http://{}/", elsewhere.local_addr().unwrap());
    let instead = Some(format!("http://{}", server.local_addr().unwrap()));
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let (mut stream, location) = (stream.unwrap(), location.clone());
            std::thread::spawn(move || {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    head.extend(byte);
                }
                let moved = format!(
                    "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
                );
                stream.write_all(moved.as_bytes()).unwrap();
            });
        }
    });
    let (reached, reaches) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in elsewhere.incoming() {
            drop(stream);
            reached.send(()).unwrap();
        }
    });
    let rig = Rig::before(cluster, &Plan { instead, ..Plan::default() });
    let token = rig.token(ALICE);
    let pod = "/api/v1/namespaces/default/pods/web";
    for (path, upgrades) in [
        (format!("{pod}/exec?command=id&stdout=true"), true),
        (format!("{pod}/portforward?ports=80"), true),
        (format!("{pod}/log"), false),
        ("/apis/metrics.k8s.io/v1beta1/nodes".to_owned(), false),
    ] {
        let mut args = vec!["-i", "-L"];
        if upgrades {
            args.extend(websocket(V4));
        }
        let said = rig.curl(&token, &args, &path);
        assert!(said.ends_with("500") && said.contains("the target broke off"), "{said}");
        assert!(!said.to_lowercase().contains("location"), "{said}");
    }
    assert!(reaches.try_recv().is_err(), "somebody went elsewhere");
    let record = rig.record();
    let asked = record.of("command");
    // The port of the one is a command of its own.
    assert_eq!(asked.len(), 5, "{asked:?}");
    let outcome = |it: &&&Value| record.response(it)["outcome"] == "ok";
    assert_eq!(asked.iter().filter(outcome).count(), 0, "{asked:?}");
}

/// What curl says to have a WebSocket that speaks this.
fn websocket(speaks: &str) -> [&str; 11] {
    [
        "--http1.1",
        "-H",
        "Connection: Upgrade",
        "-H",
        "Upgrade: websocket",
        "-H",
        speaks,
        "-H",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "-H",
        "Sec-WebSocket-Version: 13",
    ]
}

const V4: &str = "Sec-WebSocket-Protocol: v4.channel.k8s.io";

fn listener() -> std::net::TcpListener {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn attack_25_what_runs_something_is_exec_however_it_is_asked_for() {
    let Some(cluster) = require(Cluster::with_node()) else { return };
    let rules = r#"
        [[policy.rule]]
        name = "only-ls"
        effect = "allow"
        when = { class = ["exec"], arguments = { "exec.command" = ["ls", "ls *"] } }
        [[policy.rule]]
        name = "no-exec"
        effect = "deny"
        when = { class = ["exec"] }
    "#;
    let rig = Rig::before(cluster, &Plan { rules, ..Plan::default() });
    let token = rig.token(ALICE);
    for websocket in [true, false] {
        let listed = { kubectl(&rig, websocket, &["exec", "web", "--", "ls", "/"]) }.output();
        assert!(listed.unwrap().status.success());
        let output = { kubectl(&rig, websocket, &["exec", "web", "--", "cat", "/etc/passwd"]) };
        let output = { output }.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("no-exec"), "{output:?}");
        let output = { kubectl(&rig, websocket, &["attach", "web"]) }.output().unwrap();
        assert!(!output.status.success(), "{output:?}");
    }
    let speaks = "Sec-WebSocket-Protocol: v5.channel.k8s.io";
    let upgrade =
        ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", speaks, "--http1.1"];
    let pod = "/api/v1/namespaces/default/pods/web";
    for (args, path) in [
        (&[][..], format!("{pod}/exec?command=id&stdout=true")),
        (&["-X", "POST"], format!("{pod}/exec?command=id&stdout=true")),
        (&upgrade, format!("{pod}/exec?command=id&stdout=true")),
        (&upgrade, format!("{pod}/attach?stdout=true")),
        (&upgrade, format!("{pod}/portforward?ports=22")),
        (&upgrade, "/api/v1/namespaces/default/pods?watch=true".to_owned()),
        (&upgrade, format!("{pod}/log?follow=true")),
        (&[], "/api/v1/nodes/node/proxy/run/default/web/web?cmd=id".to_owned()),
        (&[], "/api/v1/proxy/nodes/node/pods".to_owned()),
        (&["-X", "POST"], "/api/v1/nodes/node/proxy/exec/default/web/web?command=id".to_owned()),
        (&[], format!("{pod}/proxy/")),
        (&[], format!("{pod}:8080/proxy/x")),
        (&[], "/api/v1/namespaces/default/services/https:web:443/proxy/x".to_owned()),
        (&["-X", "PATCH"], format!("{pod}/ephemeralcontainers")),
        (&["-X", "PUT"], format!("{pod}/ephemeralcontainers")),
    ] {
        let said = rig.curl(&token, args, &path);
        assert!(said.ends_with("403") && said.contains("\"Status\""), "{args:?} {path}: {said}");
    }
    let record = rig.record();
    let denied: Vec<_> =
        record.of("command").into_iter().filter(|it| it["verdict"] == "deny").collect();
    assert!(denied.iter().all(|it| it["class"] == "exec"), "{denied:?}");
    assert!(denied.len() >= 15, "{}", denied.len());
    let ids: Vec<_> = record.of("auth_failure").iter().map(|it| it["cause"].clone()).collect();
    assert_eq!(ids, ["upgrade", "upgrade"], "a watch and a log may not become WebSockets");
}
