//! Servers of MCP that are programs: the official SDK over standard input and output, whose
//! process it is, when it ends, and what nobody can make of it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests"
)]

mod rig;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use http_proxy::mcp::{Launcher, MAX_PROCESSES, Mcp, Program};
use rig::{Plan, Rig, Said};
use serde_json::{Value, json};
use testbed::{McpServer, mcp_client, require};

/// A rig whose target is this program.
fn rig(program: Program, plan: Plan) -> Rig {
    let launcher = Launcher::new(program);
    let change = move |target: &mut http_proxy::Target| {
        let program = Some(launcher.clone());
        target.mcp = Some(Mcp { elicitation: true, program, ..Mcp::default() });
    };
    // Nothing listens there.
    Rig::before(1, Plan { change: Some(Box::new(change)), ..plan })
}

/// A server that tells how it was started. `spawn` starts a program of its own; `long` writes a
/// line that is too long; `end` ends it; `leave` too, but what it started stays; `hold` is answered
/// when it is cancelled, or behind `release`; `complain` writes much on standard error.
const SERVER: &str = r#"
import json, os, subprocess, sys
print("a line that is no message", flush=True)
print("and a complaint", file=sys.stderr, flush=True)
held = {}
def answer(id, said):
    text = [{"type": "text", "text": json.dumps(said)}]
    print(json.dumps({"jsonrpc": "2.0", "id": id, "result": {"content": text}}), flush=True)
for line in sys.stdin:
    message = json.loads(line)
    params = message.get("params", {})
    if message.get("method") == "notifications/cancelled":
        answer(params["requestId"], {**held.pop(params["requestId"]), "cancelled": True})
    if "id" not in message or "method" not in message:
        continue
    name = params.get("name")
    said = {"argv": sys.argv, "env": dict(os.environ), "cwd": os.getcwd(), "pid": os.getpid()}
    said["name"] = name
    if name in ("spawn", "leave"):
        said["child"] = subprocess.Popen(["/bin/sleep", "1000"]).pid
    if name == "leave":
        with open("left.new", "w") as file:
            file.write(str(said["child"]))
        os.rename("left.new", "left")
        os._exit(0)
    if name == "long":
        sys.stdout.write("x" * (5 << 20))
    if name == "end":
        sys.exit(0)
    if name == "complain":
        sys.stderr.write("y" * (3 << 20))
    if name == "hold":
        held[message["id"]] = said
        open("held", "w").close()
        continue
    answer(message["id"], said)
    if name == "release":
        for id, said in held.items():
            answer(id, said)
        held = {}
"#;

/// The rig's own server, in a folder of its own.
fn program(dir: &Path) -> Option<Program> {
    // What the name stands for may be a script that sets variables of its own.
    let itself = ["-I", "-c", "import sys; print(sys.executable)"];
    let Ok(said) = Command::new("python3").args(itself).output() else {
        assert!(std::env::var_os("CI").is_none(), "python3 is missing");
        eprintln!("SKIPPED stdio: python3: apt-get install python3");
        return None;
    };
    let python = String::from_utf8(said.stdout).unwrap().trim().to_owned();
    std::fs::write(dir.join("server.py"), SERVER).unwrap();
    Some(Program {
        command: vec![python, "-I".into(), "server.py".into(), "an argument; $(id)".into()],
        directory: dir.canonicalize().unwrap(),
        environment: vec![("GIVEN".into(), "a value".into())],
        max_processes: MAX_PROCESSES,
    })
}

/// curl with a client's message, as somebody, or with this token.
fn curl(rig: &Rig, who: &str, args: &[&str], message: &Value) -> Command {
    let token = if who.contains('.') { who.to_owned() } else { rig.token(who) };
    let token = format!("Authorization: Bearer {token}");
    let mut curl = rig::curl();
    curl.args(["-i", "-H", &token, "-H", "Content-Type: application/json"]);
    curl.args(["-H", "Accept: application/json, text/event-stream"]).args(args);
    curl.args(["-d", &message.to_string()]).arg(rig.url("/mcp"));
    curl
}

fn post(rig: &Rig, who: &str, args: &[&str], message: &Value) -> String {
    Said::of(&mut curl(rig, who, args, message)).text()
}

fn call(name: &str) -> Value {
    let params = json!({"name": name, "arguments": {}});
    json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})
}

fn hello() -> Value {
    let client = json!({"name": "c", "version": "1"});
    let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client});
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
}

/// Begins a session; its header.
fn begin(rig: &Rig, who: &str) -> String {
    let said = post(rig, who, &[], &hello());
    let id = said.lines().find_map(|line| line.strip_prefix("mcp-session-id: "));
    format!("Mcp-Session-Id: {}", id.unwrap_or_else(|| panic!("{said}")))
}

/// What the rig's server says of itself.
fn itself(said: &str) -> Value {
    let data = said.lines().find_map(|line| line.strip_prefix("data: "));
    let answer: Value = serde_json::from_str(data.unwrap_or_else(|| panic!("{said}"))).unwrap();
    serde_json::from_str(answer["result"]["content"][0]["text"].as_str().unwrap()).unwrap()
}

/// Waits until something is so.
fn until(what: &str, is: impl Fn() -> bool) {
    for _ in 0..3000 {
        if is() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("still not: {what}");
}

/// Waits until a process is gone, and was taken leave of.
fn reaped(pid: &Value) {
    until(&format!("process {pid} is gone"), || !Path::new(&format!("/proc/{pid}")).exists());
}

/// Waits until a process is dead, though whose it is now may not have looked.
fn dead(pid: &Value) {
    let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat"));
    until(&format!("process {pid} is dead"), || {
        stat().is_ok_and(|it| it.contains(") Z")) || stat().is_err()
    });
}

#[test]
fn the_sdk_gets_over_standard_input_what_it_gets_over_http() {
    let Some(server) = require(McpServer::start(false)) else { return };
    let dir = tempfile::tempdir().unwrap();
    let command = testbed::mcp_stdio(&dir.path().join("deleted")).unwrap();
    let program = Program {
        command,
        directory: dir.path().to_owned(),
        environment: vec![],
        max_processes: MAX_PROCESSES,
    };
    let rig = rig(program, Plan::default());
    let used = |url: &str, mode: &str, token: Option<String>| -> Value {
        let mut client = mcp_client().unwrap();
        client.args([url, mode]).args(token);
        let said = Said::of(&mut client);
        assert_eq!(said.code, Some(0), "{mode}: {}", said.err);
        said.json()
    };
    for mode in ["legacy", "2026-07-28"] {
        let direct = used(&format!("http://127.0.0.1:{}/mcp", server.port()), mode, None);
        let through = used(&rig.url("/mcp"), mode, Some(rig.token("alice")));
        for (name, value) in direct.as_object().unwrap() {
            assert_eq!(value, &through[name], "{mode}: {name}");
        }
        assert_eq!(through["add"]["structuredContent"]["result"], 5, "{through}");
    }
    let exchanges = rig.exchanges();
    let adds: Vec<_> = exchanges.iter().filter(|it| it.0["text"] == "tools/call add").collect();
    assert_eq!(adds.len(), 2);
    for exchange in adds {
        let recorded = String::from_utf8(rig.recorded(exchange)).unwrap();
        assert!(recorded.contains("\"result\":5"), "{recorded}");
    }
}

#[test]
fn rules_and_masking_hold_as_for_servers_that_listen() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut program) = program(dir.path()) else { return };
    program.environment = vec![("CARD".into(), "4111 1111 1111 1111".into())];
    let plan = Plan {
        policy: "default = \"allow\"\n[[rule]]\nname = \"no\"\neffect = \"deny\"\n\
                 when = { operations = [\"tools/call\"], resources = [\"spawn\"] }"
            .into(),
        masking: "version = 1\n[[rule]]\nname = \"cards\"\nentity = [\"CREDIT_CARD\"]\n\
                  client = { operator = \"replace\" }\nrecord = { operator = \"replace\" }"
            .into(),
        ..Plan::default()
    };
    let rig = rig(program, plan);
    let session = begin(&rig, "alice");
    let said = post(&rig, "alice", &["-H", &session], &call("tell"));
    assert!(said.contains("<CREDIT_CARD>") && !said.contains("4111"), "{said}");
    let said = post(&rig, "alice", &["-H", &session], &call("spawn"));
    assert!(said.contains("\"rule\":\"no\"") && !said.contains("child"), "{said}");
    let all = rig.exchanges();
    assert_eq!(all.len(), 3);
    assert!(!String::from_utf8(rig.recorded(&all[1])).unwrap().contains("4111"));
}

#[test]
fn attack_33_nothing_of_a_request_reaches_how_a_program_is_started() {
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = program(dir.path()) else { return };
    let (command, directory) = (program.command.clone(), program.directory.clone());
    let rig = rig(program, Plan::default());
    let mark = dir.path().join("mark");
    let touch = format!("touch {}", mark.display());
    let evil = json!({
        "protocolVersion": "2025-06-18", "capabilities": {}, "command": touch, "args": [touch],
        "clientInfo": {"name": format!("$({touch})"), "version": format!("`{touch}`")},
        "env": {"LD_PRELOAD": "/tmp/x.so", "PYTHONSTARTUP": "/tmp/x"},
        "_meta": {"command": touch, "cwd": "/"},
    });
    let evil = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": evil});
    let token = format!("Authorization: Bearer {}", rig.token("alice"));
    let url = rig.url(&format!("/mcp?command={0}&args={0}&env=LD_PRELOAD%3Dx", "touch%20mark"));
    let mut curl = rig::curl();
    curl.args(["-i", "-H", &token, "-H", "Content-Type: application/json", "-H", "Accept: */*"]);
    curl.args(["-H", &format!("X-Command: {touch}"), "-H", "X-Env: LD_PRELOAD=x"]);
    let said = Said::of(curl.args(["-d", &evil.to_string()]).arg(&url)).text();
    let session = said.lines().find(|it| it.starts_with("mcp-session-id: ")).unwrap();
    let mut call = call(&format!("tell; {touch}"));
    call["params"]["arguments"] = json!({"x": format!("\n{touch}\n"), "y": format!("';{touch};'")});
    for args in [&["-H", session][..], &[]] {
        let own = itself(&post(&rig, "alice", args, &call));
        assert_eq!(own["argv"], json!(command[2..]), "word for word");
        assert_eq!(own["cwd"], json!(directory));
        let environment = own["env"].as_object().unwrap();
        // What Python itself sets, for its own locale, is not from us.
        let names: Vec<&String> = environment.keys().filter(|it| *it != "LC_CTYPE").collect();
        assert_eq!(names, ["GIVEN"], "{own}");
    }
    // An id of a session is a name to look up, and nothing else.
    for id in ["../../etc", "bearer.x", "$(id)"] {
        let said = post(&rig, "alice", &["-H", &format!("Mcp-Session-Id: {id}")], &call);
        assert!(said.starts_with("HTTP/1.1 404 "), "{id}: {said}");
    }
    assert!(!mark.exists());
}

#[test]
fn a_process_is_its_principal_s_and_ends_with_its_session() {
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = program(dir.path()) else { return };
    let rig = rig(program, Plan::default());
    let (first, second) = (begin(&rig, "alice"), begin(&rig, "alice"));
    let spawned = itself(&post(&rig, "alice", &["-H", &first], &call("spawn")));
    let other = itself(&post(&rig, "alice", &["-H", &second], &call("tell")));
    assert_ne!(spawned["pid"], other["pid"], "a process each");
    let said = post(&rig, "bob", &["-H", &first], &call("tell"));
    assert!(said.starts_with("HTTP/1.1 404 "), "{said}");
    let said = rig.curl(&["-i", "-X", "DELETE", "-H", &first], "/mcp").text();
    assert!(said.starts_with("HTTP/1.1 204 "), "{said}");
    reaped(&spawned["pid"]);
    dead(&spawned["child"]);
    let said = post(&rig, "alice", &["-H", &first], &call("tell"));
    assert!(said.starts_with("HTTP/1.1 404 "), "{said}");
    let again = itself(&post(&rig, "alice", &["-H", &second], &call("tell")));
    assert_eq!(again["pid"], other["pid"], "the other goes on");
    // The right to go on ends: so do the processes.
    let (issuer, subject) = (rig.issuer.iss().to_owned(), "alice".to_owned());
    rig.verifier.leases().end(&identity::Selector::Principal { issuer, subject }, "enough");
    reaped(&other["pid"]);
}

#[test]
fn a_program_that_ends_or_misbehaves_ends_its_session_only() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut program) = program(dir.path()) else { return };
    program.max_processes = 2;
    let rig = rig(program, Plan::default());
    for way in ["end", "long", "leave"] {
        let session = begin(&rig, "alice");
        let said = post(&rig, "alice", &["-H", &session], &call(way));
        assert!(said.contains("the server has ended"), "{way}: {said}");
        let said = post(&rig, "alice", &["-H", &session], &call("tell"));
        assert!(said.starts_with("HTTP/1.1 404 "), "{way}: {said}");
    }
    let left = std::fs::read_to_string(dir.path().join("left")).unwrap();
    dead(&left.parse::<u64>().unwrap().into());
    // What nobody reads of its complaints does not keep it.
    let session = begin(&rig, "alice");
    let said = post(&rig, "alice", &["-H", &session], &call("complain"));
    assert_eq!(itself(&said)["name"], "complain");
    let _second = begin(&rig, "bob");
    let said = post(&rig, "alice", &[], &hello());
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("can't be started"), "{said}");
    let (_, response) = rig.exchanges().pop().unwrap();
    assert_eq!(response["outcome"], "error", "{response}");
}

#[test]
fn one_principal_does_not_take_all_processes() {
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = program(dir.path()) else { return };
    let rig = rig(program, Plan::default());
    let begun = (0..MAX_PROCESSES)
        .take_while(|_| post(&rig, "alice", &[], &hello()).starts_with("HTTP/1.1 200 "));
    assert_eq!(begun.count(), 16);
    begin(&rig, "bob");
}

#[test]
fn clients_of_one_bearer_that_count_alike_get_their_own_answers() {
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = program(dir.path()) else { return };
    let rig = rig(program, Plan::default());
    let alice = rig.token("alice");
    let held = dir.path().join("held");
    let hold = |then: &dyn Fn()| {
        std::thread::scope(|scope| {
            let holding = scope.spawn(|| post(&rig, &alice, &[], &call("hold")));
            until("it holds", || held.exists());
            then();
            let said = holding.join().unwrap();
            std::fs::remove_file(&held).unwrap();
            assert!(said.contains("\"id\":7"), "{said}");
            itself(&said)
        })
    };
    let first = hold(&|| {
        for name in ["tell", "release"] {
            let said = post(&rig, &alice, &[], &call(name));
            assert!(said.contains("\"id\":7"), "{said}");
            assert_eq!(itself(&said)["name"], name);
        }
    });
    assert_eq!((&first["name"], &first["cancelled"]), (&json!("hold"), &Value::Null));
    let second = hold(&|| {
        let cancel = json!({
            "jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7},
        });
        let said = post(&rig, &alice, &[], &cancel);
        assert!(said.starts_with("HTTP/1.1 202 "), "{said}");
    });
    assert_eq!((&second["name"], &second["cancelled"]), (&json!("hold"), &json!(true)));
    assert_eq!(first["pid"], second["pid"]);
    // Who left gets nothing, and nobody else gets it in their place.
    let mut curl = curl(&rig, &alice, &[], &call("hold"));
    let mut leaves = curl.stdout(Stdio::null()).spawn().unwrap();
    until("it holds", || held.exists());
    leaves.kill().unwrap();
    leaves.wait().unwrap();
    for name in ["release", "tell"] {
        let said = post(&rig, &alice, &[], &call(name));
        assert_eq!(itself(&said)["name"], name, "{said}");
        assert_eq!(said.matches("data: ").count(), 1, "{said}");
    }
}
