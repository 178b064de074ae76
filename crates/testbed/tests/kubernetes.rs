//! The real Kubernetes API server starts, is worked with by the real client, and keeps its record.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::{Cluster, require};

/// kubectl's two ways to carry streams.
const WEBSOCKET: &str = "true";
const SPDY: &str = "false";

fn run(kubectl: &mut Command, args: &[&str]) -> Output {
    kubectl.args(args).output().unwrap()
}

fn good(out: &Output) -> String {
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{}: {said}", out.status);
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn refused(out: &Output) -> String {
    assert!(!out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn it_is_worked_with_recorded_and_gone_afterwards() {
    let Some(cluster) = require(Cluster::start()) else { return };
    assert_eq!(good(&run(&mut cluster.kubectl(), &["get", "--raw", "/readyz"])), "ok");
    let create = ["create", "configmap", "colours", "--from-literal=sky=blue"];
    good(&run(&mut cluster.kubectl(), &create));
    let sky = ["get", "configmap", "colours", "-o", "jsonpath={.data.sky}"];
    assert_eq!(good(&run(&mut cluster.kubectl(), &sky)), "blue");
    let created = cluster
        .audit_event(|event| event["verb"] == "create" && event["objectRef"]["name"] == "colours");
    let created = created.unwrap();
    assert_eq!(created["user"]["username"], "admin");
    assert_eq!(created["requestObject"]["data"]["sky"], "blue");

    for secret in [cluster.admin_token(), cluster.proxy_token()] {
        assert!(!format!("{cluster:?}").contains(secret) && !cluster.log().contains(secret));
    }
    let (pid, dir) = (cluster.pid().unwrap(), cluster.dir().to_owned());
    drop(cluster);
    assert!(!dir.exists() && !Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn the_proxys_user_acts_for_others_and_may_do_nothing_itself() {
    let Some(cluster) = require(Cluster::start()) else { return };
    let config = cluster.kubeconfig(&cluster.url(), &cluster.ca(), cluster.proxy_token()).unwrap();
    let kubectl = |args: &[&str]| run(cluster.kubectl().env("KUBECONFIG", &config), args);
    let list = ["get", "configmaps"];
    let acting = |who: &[&str], args: &[&str]| kubectl(&[args, who].concat());
    assert!(refused(&kubectl(&list)).contains(r#"User "greffier" cannot list"#));

    let alice = ["--as=alice@example.com"];
    good(&acting(&alice, &["create", "secret", "generic", "s", "--from-literal=k=v"]));
    good(&acting(&alice, &["create", "deployment", "d", "--image=none"]));
    good(&acting(&alice, &list));
    let nodes = refused(&acting(&alice, &["get", "nodes"]));
    assert!(nodes.contains(r#"User "alice@example.com" cannot list"#), "{nodes}");

    let bob = ["--as=bob@example.com", "--as-uid=b0b", "--as-user-extra=example.com/session=5e55"];
    assert!(refused(&acting(&bob, &list)).contains(r#"User "bob@example.com" cannot list"#));
    good(&acting(&[&bob[..], &["--as-group=devs"]].concat(), &list));
    let seen = cluster.audit_event(|event| event["impersonatedUser"]["groups"][0] == "devs");
    let seen = seen.unwrap();
    assert_eq!(seen["user"]["username"], "greffier");
    assert_eq!(seen["impersonatedUser"]["uid"], "b0b");
    assert_eq!(seen["impersonatedUser"]["extra"]["example.com/session"][0], "5e55");
    // It acts for users only, not for the accounts of programs.
    let account = ["--as=system:serviceaccount:default:default"];
    assert!(refused(&acting(&account, &list)).contains("greffier"));
}

#[test]
fn a_pod_runs_commands_and_hands_on_logs_ports_and_files() {
    let Some(cluster) = require(Cluster::with_node()) else { return };
    for way in [WEBSOCKET, SPDY] {
        let kubectl = || {
            let mut kubectl = cluster.kubectl();
            kubectl.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", way);
            kubectl.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", way);
            kubectl
        };
        exec(kubectl());
        exec_by_right(&cluster, &kubectl);
        exec_with_input(kubectl());
        exec_on_a_terminal(&kubectl());
        attach(kubectl());
        port_forward(kubectl());
        copy(&cluster, &kubectl);
        let verb = if way == SPDY { "create" } else { "get" };
        for subresource in ["exec", "attach", "portforward"] {
            let asked = |event: &Value| {
                event["objectRef"]["subresource"] == subresource && event["verb"] == verb
            };
            cluster.audit_event(asked).unwrap();
        }
    }
    logs(&cluster);
    let background = "sleep 300 >/dev/null 2>&1 & echo $!";
    let out = run(&mut cluster.kubectl(), &["exec", "web", "--", "sh", "-c", background]);
    // Empty of one that ended and that nobody asked after yet.
    let command_line = format!("/proc/{}/cmdline", good(&out).trim());
    let runs = || !std::fs::read(&command_line).unwrap_or_default().is_empty();
    assert!(runs());
    drop(cluster);
    let end = Instant::now() + Duration::from_secs(60);
    while runs() {
        assert!(Instant::now() < end, "it outlives its node");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn exec(mut kubectl: Command) {
    let out =
        run(&mut kubectl, &["exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(7), "{said}");
    assert_eq!(String::from_utf8_lossy(&out.stdout), "out\n");
    assert!(said.starts_with("err\n"), "{said}");
}

fn exec_by_right(cluster: &Cluster, kubectl: &dyn Fn() -> Command) {
    let config = cluster.kubeconfig(&cluster.url(), &cluster.ca(), cluster.proxy_token()).unwrap();
    let acting = |who: &str| {
        run(kubectl().env("KUBECONFIG", &config), &["exec", "web", who, "--", "echo", "hello"])
    };
    assert_eq!(good(&acting("--as=alice@example.com")), "hello\n");
    assert!(refused(&acting("--as=bob@example.com")).contains("bob@example.com"));
}

fn with_input(kubectl: &mut Command, input: &str) -> String {
    let pipes = kubectl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    good(&child.wait_with_output().unwrap())
}

fn exec_with_input(mut kubectl: Command) {
    let input = "a line\n".repeat(10_000);
    let printed = with_input(kubectl.args(["exec", "-i", "web", "--", "cat"]), &input);
    assert!(printed == input, "{} bytes of {} came back", printed.len(), input.len());
}

fn exec_on_a_terminal(kubectl: &Command) {
    // It asks for a terminal on both sides: `script` gives it one on this side.
    let inner = "test -t 0 && test -t 1 && stty size; exit 3";
    let outer = "stty rows 33 cols 111; exec \"$KUBECTL\" exec -it web -- sh -c \"$INNER\"";
    let mut script = Command::new("script");
    script.args(["-qec", outer, "/dev/null"]).stdin(Stdio::null());
    script.envs(kubectl.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script.env("KUBECTL", kubectl.get_program()).env("INNER", inner);
    let out = script.output().unwrap();
    let printed = String::from_utf8_lossy(&out.stdout);
    assert_eq!((out.status.code(), printed.contains("33 111")), (Some(3), true), "{printed}");
}

fn attach(mut kubectl: Command) {
    let printed = with_input(kubectl.args(["attach", "-i", "-q", "web"]), "to cat\n");
    assert_eq!(printed, "attached\nto cat\n");
}

/// Ends a kubectl that does not end by itself.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn port_forward(mut kubectl: Command) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let echo = std::thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        let mut asked = [0; 5];
        tcp.read_exact(&mut asked).unwrap();
        tcp.write_all(&asked).unwrap();
    });
    kubectl.args(["port-forward", "--address=127.0.0.1", "pod/web", &format!(":{port}")]);
    let mut forward = Running(kubectl.stdout(Stdio::piped()).spawn().unwrap());
    let mut told = String::new();
    // Kept open: it says more, and ends if nobody can hear it.
    let mut says = BufReader::new(forward.0.stdout.take().unwrap());
    says.read_line(&mut told).unwrap();
    // Forwarding from 127.0.0.1:41234 -> 5432
    let ours = told.split_whitespace().nth(2).unwrap();
    let mut tcp = TcpStream::connect(ours).unwrap();
    tcp.write_all(b"hello").unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "hello");
    echo.join().unwrap();
}

fn copy(cluster: &Cluster, kubectl: &dyn Fn() -> Command) {
    // Not a run of the same bytes, and more than fits into any buffer on the way.
    let bytes: Vec<u8> =
        (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let (here, pod) = (cluster.dir().join("client"), cluster.pod_dir().unwrap());
    std::fs::write(here.join("there"), &bytes).unwrap();
    good(&run(&mut kubectl(), &["cp", "there", "web:copied"]));
    assert!(std::fs::read(pod.join("copied")).unwrap() == bytes);
    good(&run(&mut kubectl(), &["cp", "web:copied", "back"]));
    assert!(std::fs::read(here.join("back")).unwrap() == bytes);
    std::fs::remove_file(here.join("back")).unwrap();
    std::fs::remove_file(pod.join("copied")).unwrap();
}

fn logs(cluster: &Cluster) {
    assert_eq!(good(&run(&mut cluster.kubectl(), &["logs", "web"])), "line 1\nline 2\nline 3\n");
    let mut follow = cluster.kubectl();
    follow.args(["logs", "-f", "--tail=1", "web"]).stdout(Stdio::piped());
    let mut follow = Running(follow.spawn().unwrap());
    let mut lines = BufReader::new(follow.0.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "line 3");
    cluster.append_pod_log("line 4\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "line 4");
}
