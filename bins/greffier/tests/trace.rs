//! One chain over three real proxies: a call of a tool by MCP, whose server asks a PostgreSQL and
//! runs a command by SSH, followed by `greffier audit trace`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "../../../crates/http/tests/rig/mod.rs"]
mod http_rig;
#[path = "../../../crates/postgres/tests/rig/mod.rs"]
mod pg_rig;
#[path = "../../../crates/ssh/tests/rig/mod.rs"]
mod ssh_rig;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use testbed::{PgOptions, Postgres, Sshd, SshdOptions, require};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// The agent's step, and the tool's.
const AGENT: &str = "00f067aa0ba902b7";
const TOOL: &str = "53995c3f42cd8ad8";

/// What a tool does with the `_meta` of its call.
type Tool = Arc<Mutex<dyn FnMut(&Value) + Send>>;

/// A server of MCP with one tool. Its port, and the `traceparent` fields that it got.
fn tool_server(tool: Tool) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let fields = Arc::new(Mutex::new(Vec::new()));
    let seen = fields.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, tool, seen) = (stream.unwrap(), tool.clone(), seen.clone());
            std::thread::spawn(move || {
                let (mut reader, mut stream) =
                    (BufReader::new(stream.try_clone().unwrap()), stream);
                loop {
                    let (mut length, mut line) = (0, String::new());
                    while reader.read_line(&mut line).unwrap_or(0) > 0 && line.trim() != "" {
                        let (name, value) = line.split_once(':').unwrap_or(("", ""));
                        match name.to_ascii_lowercase().as_str() {
                            "content-length" => length = value.trim().parse().unwrap(),
                            "traceparent" => seen.lock().unwrap().push(value.trim().to_owned()),
                            _ => {}
                        }
                        line.clear();
                    }
                    let mut body = vec![0; length];
                    if length == 0 || reader.read_exact(&mut body).is_err() {
                        return;
                    }
                    let call: Value = serde_json::from_slice(&body).unwrap();
                    (*tool.lock().unwrap())(&call["params"]["_meta"]);
                    let said = json!([{"type": "text", "text": "done"}]);
                    let answer =
                        json!({"jsonrpc": "2.0", "id": call["id"], "result": {"content": said}});
                    let answer = answer.to_string();
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                        answer.len()
                    );
                    stream.write_all(format!("{head}{answer}").as_bytes()).unwrap();
                }
            });
        }
    });
    (port, fields)
}

/// `greffier audit trace` over three logs, which lie in these folders.
fn trace(id: &str, logs: &[&Path], json: bool) -> String {
    let mut greffier = Command::new(env!("CARGO_BIN_EXE_greffier"));
    greffier.args(["audit", "trace", id]).args(json.then_some("--json"));
    for name in ["GREFFIER_STORE", "GREFFIER_LOG_ID", "GREFFIER_KEY"] {
        greffier.env_remove(name);
    }
    for dir in logs {
        greffier.arg("--log").arg(dir.join("store")).arg("test-1").arg(dir.join("log.vkey"));
    }
    let output = greffier.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_chain_of_mcp_sql_and_ssh_is_followed() {
    let Some(server) = require(Postgres::start(PgOptions::default())) else { return };
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let pg = Arc::new(pg_rig::Rig::start(server.port()));
    let ssh = Arc::new(ssh_rig::Rig::start(&sshd));
    let tool: Tool = {
        let (pg, ssh) = (pg.clone(), ssh.clone());
        Arc::new(Mutex::new(move |meta: &Value| {
            // What a tool's server does that knows of traces: the same chain, a step of its own.
            let parent = meta["traceparent"].as_str().unwrap().replace(AGENT, TOOL);
            let sql = format!("SELECT 41 + 1 /*traceparent='{parent}'*/");
            assert_eq!(pg.psql(&["-c", &sql]).0.trim(), "42");
            let mut psql = pg.psql_command(&pg.token("alice"));
            psql.env("PGAPPNAME", format!("traceparent={parent}")).args(["-c", "SELECT 'named'"]);
            assert!(psql.status().unwrap().success());
            let options = format!("SetEnv=TRACEPARENT={parent} BAGGAGE=run=7");
            let said = ssh.ssh_with(&["-o", &options], &["echo", "hello"]);
            assert_eq!(said.out, "hello\n", "{said:?}");
            // And something that belongs to no chain.
            assert_eq!(pg.psql(&["-c", "SELECT 'alone'"]).0.trim(), "alone");
        }))
    };
    let (port, fields) = tool_server(tool);
    let plan = http_rig::Plan {
        target: |target| target.mcp = Some(http_proxy::mcp::Mcp::default()),
        ..http_rig::Plan::default()
    };
    let http = http_rig::Rig::before(port, plan);
    let parent = format!("00-{TRACE}-{AGENT}-01");
    let call = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": "work",
            "_meta": {"traceparent": parent, "baggage": "run=7,turn=2,call=toolu%2F1"},
        },
    });
    let other = format!("traceparent: 00-{}-{AGENT}-00", TRACE.replace('4', "5"));
    let json = "Content-Type: application/json";
    let said = http.curl(&["-H", json, "-H", &other, "-d", &call.to_string()], "/mcp");
    assert!(said.text().contains("done"), "{said:?}");
    assert_eq!(
        *fields.lock().unwrap(),
        [other.split_once(": ").unwrap().1],
        "it goes on as it came"
    );

    // The record has the agent's own ids.
    let (command, _) = http.exchanges().pop().unwrap();
    assert_eq!(
        (&command["trace"]["id"], &command["trace"]["parent"]),
        (&json!(TRACE), &json!(AGENT))
    );
    assert_eq!(command["trace"]["baggage"], json!({"run": "7", "turn": "2", "call": "toolu/1"}));
    ssh.settle();
    pg.settle();
    http.runtime.block_on(async {
        http.publisher.wait_published(http.log.size()).await.unwrap();
        pg.publisher.wait_published(pg.log.size()).await.unwrap();
        ssh.publisher.wait_published(ssh.log.size()).await.unwrap();
    });
    let logs = [pg.store.parent().unwrap(), &ssh.data, http.dir.path()];
    let whole: Value = serde_json::from_str(&trace(TRACE, &logs, true)).unwrap();
    let steps = whole["steps"].as_array().unwrap();
    assert_eq!((whole["trace"].as_str(), steps.len()), (Some(TRACE), 1), "{whole:#}");
    assert_eq!(steps[0]["exchange"]["operation"], "tools/call");
    let below = steps[0]["steps"].as_array().unwrap();
    let texts: Vec<&str> =
        below.iter().map(|it| it["exchange"]["text"].as_str().unwrap()).collect();
    let [sql, named, exec] = texts[..] else { panic!("{whole:#}") };
    assert!(sql.starts_with("SELECT 41 + 1"), "{sql}");
    assert_eq!((named, exec), ("SELECT 'named'", "echo hello"));
    assert!(below.iter().all(|it| it["exchange"]["trace"]["parent"] == TOOL), "{whole:#}");
    let exec = &below[2]["exchange"];
    assert_eq!(exec["trace"]["baggage"]["run"], "7");
    assert!(exec["details"].get("env.TRACEPARENT").is_none(), "heard of, not forwarded");

    // The same for people, and from a command in place of the trace's id.
    let told = trace(exec_id(exec).as_str(), &logs, false);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!((lines.len(), lines[0]), (5, &*format!("trace {TRACE}")), "{told}");
    assert!(lines[1].starts_with("└─ ") && lines[1].contains("tools/call work"), "{told}");
    assert!(lines[2].starts_with("   ├─ ") && lines[2].contains("SELECT 41 + 1"), "{told}");
    assert!(lines[4].starts_with("   └─ ") && lines[4].contains("echo hello"), "{told}");
    assert!(!told.contains("alone"), "{told}");
}

fn exec_id(exchange: &Value) -> String {
    format!("{}/{}", exchange["session"].as_str().unwrap(), exchange["command"])
}
