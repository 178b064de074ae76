//! The Model Context Protocol by programs that others wrote: the official conformance suite, the
//! reference servers, and three client libraries; each through the proxy as directly.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests"
)]

mod rig;

use std::process::Command;

use http_proxy::mcp::{Launcher, MAX_PROCESSES, Mcp, Program};
use rig::{Plan, Rig, Said};
use rmcp::ClientServiceExt as _;
use rmcp::model::{
    CallToolRequestParams, GetPromptRequestParams, ProtocolVersion, ReadResourceRequestParams,
};
use rmcp::service::ClientLifecycleMode;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};
use testbed::{
    McpServer, NodeServer, mcp_conformance, mcp_node_stdio, mcp_plan_node, mcp_plan_python, require,
};

/// Everything that has the same outcome each time.
const EVERYTHING: &str = r#"[
    ["tools"], ["resources"], ["templates"], ["prompts"],
    ["call", "echo", {"message": "h\u00e9llo \u2028 \"x\" \\"}],
    ["call", "get-sum", {"a": 2.5, "b": -3}],
    ["call", "get-sum", {"a": "x"}],
    ["call", "no-such", {}],
    ["call", "get-tiny-image", {}],
    ["call", "get-annotated-message", {"messageType": "error", "includeImage": true}],
    ["call", "get-structured-content", {"location": "New York"}],
    ["call", "get-resource-links", {"count": 3}],
    ["call", "trigger-long-running-operation", {"duration": 0.3, "steps": 3}],
    ["call", "trigger-sampling-request", {"prompt": "x", "maxTokens": 10}],
    ["call", "trigger-elicitation-request", {}],
    ["call", "get-roots-list", {}],
    ["prompt", "simple-prompt", {}],
    ["prompt", "args-prompt", {"city": "Rome"}],
    ["prompt", "no-such", {}],
    ["complete", "completable-prompt", {"name": "department", "value": "E"}],
    ["read", "demo://resource/static/document/architecture.md"],
    ["read", "demo://nothing"]
]"#;

/// The same tools in each try: what one writes, the next finds again.
fn files(folder: &str) -> String {
    json!([
        ["tools"],
        ["call", "list_allowed_directories", {}],
        ["call", "write_file", {"path": format!("{folder}/a.txt"), "content": "one\ntwo\n"}],
        ["call", "read_text_file", {"path": format!("{folder}/a.txt")}],
        ["call", "read_text_file", {"path": format!("{folder}/a.txt"), "head": 1}],
        ["call", "edit_file", {
            "path": format!("{folder}/a.txt"),
            "edits": [{"oldText": "two", "newText": "2"}],
        }],
        ["call", "create_directory", {"path": format!("{folder}/sub")}],
        ["call", "list_directory", {"path": folder}],
        ["call", "directory_tree", {"path": folder}],
        ["call", "search_files", {"path": folder, "pattern": "*.txt"}],
        ["call", "read_media_file", {"path": format!("{folder}/big.png")}],
        ["call", "read_text_file", {"path": "/etc/hostname"}],
        ["call", "read_text_file", {"path": format!("{folder}/none")}],
    ])
    .to_string()
}

fn rig(server: &McpServer) -> Rig {
    let asks = Plan {
        target: |target| {
            target.mcp = Some(Mcp { elicitation: true, sampling: true, ..Mcp::default() });
        },
        ..Plan::default()
    };
    Rig::before(server.port(), asks)
}

/// A rig whose target is the same server as a program, for the same folder of files.
fn rig_of_program(which: NodeServer, server: &McpServer) -> Rig {
    let program = Program {
        command: mcp_node_stdio(which, &server.dir().join("files")).unwrap(),
        directory: server.dir().to_owned(),
        environment: vec![],
        max_processes: MAX_PROCESSES,
    };
    let launcher = Launcher::new(program);
    let change = move |target: &mut http_proxy::Target| {
        let program = Some(launcher.clone());
        target.mcp = Some(Mcp { elicitation: true, sampling: true, program, ..Mcp::default() });
    };
    // Nothing listens there.
    Rig::before(1, Plan { change: Some(Box::new(change)), ..Plan::default() })
}

fn direct_url(server: &McpServer) -> String {
    format!("http://127.0.0.1:{}/mcp", server.port())
}

fn said(mut command: Command) -> Said {
    let dir = tempfile::tempdir().unwrap();
    let said = Said::of(command.current_dir(dir.path()));
    assert_eq!(said.code, Some(0), "{said:?}");
    said
}

/// Plays a plan directly and through the proxy, and compares step by step.
fn same(
    client: fn() -> Result<Command, testbed::Error>,
    server: &McpServer,
    rig: &Rig,
    plan: &str,
) {
    let play = |url: &str, token: &[String]| {
        let mut command = client().unwrap();
        command.args([url, plan]).args(token);
        said(command).json()
    };
    let wanted = play(&direct_url(server), &[]);
    let got = play(&rig.url("/mcp"), &[rig.token("alice")]);
    let (wanted, got) = (wanted.as_array().unwrap(), got.as_array().unwrap());
    assert_eq!(wanted.len(), got.len());
    for (at, (wanted, got)) in wanted.iter().zip(got).enumerate() {
        assert_eq!(wanted, got, "step {at} of {plan}");
    }
    // It was no use if nothing came of it.
    let failed = wanted.iter().filter(|it| it["failed"].is_string()).count();
    assert!(failed < wanted.len() / 3, "{wanted:?}");
}

#[test]
fn the_conformance_suite_finds_through_the_proxy_what_it_finds_directly() {
    let Some(server) = require(McpServer::node(NodeServer::Conformance)) else { return };
    let rig = rig(&server);
    let run = |url: &str, token: Option<&str>| {
        let said = Said::of(
            mcp_conformance(url, token).unwrap().current_dir(tempfile::tempdir().unwrap().path()),
        );
        let text = said.text();
        let Some((_, summary)) = text.split_once("=== SUMMARY ===") else {
            panic!("no summary: {said:?}");
        };
        (summary.trim().to_owned(), text)
    };
    let (wanted, _) = run(&direct_url(&server), None);
    let (got, all) = run(&rig.url("/mcp"), Some(&rig.token("alice")));
    assert_eq!(got, wanted, "{all}");
    // Nothing is wrong with the server itself.
    assert!(wanted.ends_with(" passed, 0 failed") && wanted.lines().count() > 30, "{wanted}");
    // What it did is on record, each call with its outcome.
    let calls = rig.exchanges().into_iter().filter(|it| it.0["operation"] == "tools/call");
    let calls: Vec<_> = calls.collect();
    assert!(calls.len() > 10 && calls.iter().all(|it| it.1["outcome"] == "ok"), "{calls:?}");
}

#[test]
fn the_reference_servers_give_the_typescript_sdk_what_they_give_directly() {
    let Some(server) = require(McpServer::node(NodeServer::Everything)) else { return };
    same(mcp_plan_node, &server, &rig(&server), EVERYTHING);
    let Some(server) = require(McpServer::node(NodeServer::Filesystem)) else { return };
    same(mcp_plan_node, &server, &rig(&server), &files_of(&server));
}

#[test]
fn the_reference_servers_give_the_python_sdk_what_they_give_directly() {
    let Some(server) = require(McpServer::node(NodeServer::Everything)) else { return };
    same(mcp_plan_python, &server, &rig(&server), EVERYTHING);
    let Some(server) = require(McpServer::node(NodeServer::Filesystem)) else { return };
    same(mcp_plan_python, &server, &rig(&server), &files_of(&server));
}

#[test]
fn the_reference_servers_as_programs_give_what_they_give_by_others() {
    let Some(server) = require(McpServer::node(NodeServer::Everything)) else { return };
    let rig = rig_of_program(NodeServer::Everything, &server);
    same(mcp_plan_node, &server, &rig, EVERYTHING);
    let Some(server) = require(McpServer::node(NodeServer::Filesystem)) else { return };
    let rig = rig_of_program(NodeServer::Filesystem, &server);
    same(mcp_plan_python, &server, &rig, &files_of(&server));
}

/// The plan for a server's own folder, with a picture in it.
fn files_of(server: &McpServer) -> String {
    let folder = server.dir().join("files");
    let picture: Vec<u8> = (0..100_000).map(rig::service::byte).collect();
    std::fs::write(folder.join("big.png"), picture).unwrap();
    files(folder.to_str().unwrap())
}

/// What rmcp got of a server.
async fn rmcp(
    url: String,
    token: Option<String>,
    plan: Value,
    mode: ClientLifecycleMode,
) -> Vec<Value> {
    let mut config = StreamableHttpClientTransportConfig::with_uri(url);
    if let Some(token) = token {
        config = config.auth_header(token);
    }
    let transport = StreamableHttpClientTransport::from_config(config);
    let client = ().serve_with_lifecycle(transport, mode).await.unwrap();
    let mut all = vec![serde_json::to_value(client.list_all_tools().await.unwrap()).unwrap()];
    for step in plan.as_array().unwrap() {
        let name = step[1].as_str().unwrap_or_default().to_owned();
        let arguments = step[2].as_object().cloned().unwrap_or_default();
        let value = match step[0].as_str().unwrap() {
            "call" => {
                let call = CallToolRequestParams::new(name).with_arguments(arguments);
                client.call_tool(call).await.map(|it| serde_json::to_value(it).unwrap())
            }
            "read" => {
                let read = ReadResourceRequestParams::new(name);
                client.read_resource(read).await.map(|it| serde_json::to_value(it).unwrap())
            }
            "prompt" => {
                let get = GetPromptRequestParams::new(name).with_arguments(arguments);
                client.get_prompt(get).await.map(|it| serde_json::to_value(it).unwrap())
            }
            _ => continue,
        };
        all.push(value.unwrap_or_else(|error| json!({"failed": error.to_string()})));
    }
    client.cancel().await.unwrap();
    all
}

#[test]
fn rmcp_gets_what_it_gets_directly() {
    let compare = |server: &McpServer, plan: &str, mode: ClientLifecycleMode| {
        let rig = rig(server);
        let plan: Value = serde_json::from_str(plan).unwrap();
        let direct = rmcp(direct_url(server), None, plan.clone(), mode.clone());
        let wanted = rig.runtime.block_on(direct);
        let (url, token) = (rig.url("/mcp"), rig.token("alice"));
        let got = rig.runtime.block_on(rmcp(url, Some(token), plan, mode));
        assert_eq!(wanted, got);
        assert!(wanted.iter().filter(|it| it["failed"].is_string()).count() < 4, "{wanted:?}");
    };
    let Some(server) = require(McpServer::node(NodeServer::Everything)) else { return };
    compare(&server, EVERYTHING, ClientLifecycleMode::Initialize);
    let Some(server) = require(McpServer::node(NodeServer::Filesystem)) else { return };
    compare(&server, &files_of(&server), ClientLifecycleMode::Initialize);
    // Both eras of the Python SDK's server.
    let plan = r#"[
        ["call", "add", {"a": 2, "b": 3}], ["call", "customer", {"name": "jo"}],
        ["call", "count", {"to": 3}], ["read", "rig://note"], ["prompt", "greet", {"name": "jo"}]
    ]"#;
    let Some(server) = require(McpServer::start(false)) else { return };
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    let discover = ClientLifecycleMode::Discover { preferred_versions };
    for mode in [ClientLifecycleMode::Initialize, discover] {
        compare(&server, plan, mode);
    }
}
