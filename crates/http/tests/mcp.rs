//! The Model Context Protocol's official SDK through the proxy: as directly, and on record.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests"
)]

mod rig;

use http_proxy::mcp::Mcp;
use rig::{Plan, Rig, Said};
use serde_json::{Value, json};
use testbed::{McpServer, mcp_client, require};

const MODES: [&str; 3] = ["legacy", "auto", "2026-07-28"];

fn server(json: bool) -> Option<McpServer> {
    require(McpServer::start(json))
}

fn rig(server: &McpServer, mut plan: Plan) -> Rig {
    if plan.target as usize == Plan::default().target as usize {
        plan.target = |target| {
            target.mcp = Some(Mcp { elicitation: true, ..Mcp::default() });
        };
    }
    Rig::before(server.port(), plan)
}

/// What the SDK's client got of it all.
fn used(url: &str, mode: &str, token: Option<String>) -> Value {
    let mut client = mcp_client().unwrap();
    client.args([url, mode]).args(token);
    let said = Said::of(&mut client);
    assert_eq!(said.code, Some(0), "{mode}: {}", said.err);
    said.json()
}

fn direct(server: &McpServer, mode: &str) -> Value {
    used(&format!("http://127.0.0.1:{}/mcp", server.port()), mode, None)
}

fn through(rig: &Rig, mode: &str) -> Value {
    used(&rig.url("/mcp"), mode, Some(rig.token("alice")))
}

#[test]
fn both_eras_and_both_framings_give_what_they_give_directly() {
    for json in [false, true] {
        let Some(server) = server(json) else { return };
        let rig = rig(&server, Plan::default());
        for mode in MODES {
            let (wanted, got) = (direct(&server, mode), through(&rig, mode));
            for (name, value) in wanted.as_object().unwrap() {
                assert_eq!(value, &got[name], "{mode}, json {json}: {name}");
            }
            assert_eq!(got["add"]["structuredContent"]["result"], 5, "{got}");
        }
        let exchanges = rig.exchanges();
        let calls = exchanges.iter().filter(|it| it.0["text"] == "tools/call add");
        assert_eq!(calls.count(), MODES.len());
        for (command, response) in exchanges.iter().filter(|it| it.0["text"] == "tools/call add") {
            assert_eq!(
                (&command["class"], &command["operation"]),
                (&json!("call"), &json!("tools/call"))
            );
            let sent: Value =
                serde_json::from_str(command["parameters"][0]["value"].as_str().unwrap()).unwrap();
            assert_eq!(sent["params"]["arguments"], json!({"a": 2, "b": 3}));
            let recorded = rig.recorded(&(command.clone(), response.clone()));
            let last = recorded.split(|it| *it == b'\n').rfind(|it| !it.is_empty()).unwrap();
            let answer: Value = serde_json::from_slice(last).unwrap();
            assert_eq!(answer["result"]["structuredContent"]["result"], 5, "{answer}");
        }
        // What is too long for an entry is in objects.
        let long = exchanges.iter().find(|it| it.0["parameter_chunks"].is_array()).unwrap();
        assert!(rig.objects(&long.0["parameter_chunks"]).len() > 20_000);
        assert!(rig.entries_of("session_start").iter().all(|it| it["protocol"] == "mcp"));
    }
}

#[test]
fn a_tool_that_a_rule_denies_is_not_shown_and_not_run() {
    let Some(server) = server(false) else { return };
    let policy = r#"
        default = "allow"
        [[rule]]
        name = "no-deletes"
        effect = "deny"
        when = { operations = ["tools/call"], resources = ["delete_*"] }
        reason = "customers are kept"
        [[rule]]
        name = "small-sums"
        effect = "deny"
        when = { operations = ["tools/call"], arguments = { "arg.a" = ["2"] } }
    "#;
    let rig = rig(&server, Plan { policy: policy.into(), ..Plan::default() });
    for mode in MODES {
        let got = through(&rig, mode);
        let tools = got["tools"]["tools"].as_array().unwrap();
        assert!(
            tools.len() == 4 && tools.iter().all(|it| it["name"] != "delete_customer"),
            "{tools:?}"
        );
        let denied = got["delete"]["failed"].as_str().unwrap();
        assert!(denied.contains("no-deletes") && denied.contains("customers are kept"), "{denied}");
        assert!(got["add"]["failed"].as_str().unwrap().contains("small-sums"), "{got}");
        assert_eq!(got["customer"]["isError"], false, "{got}");
    }
    assert_eq!(server.deleted(), "");
    let lists = rig.exchanges().into_iter().filter(|it| it.0["text"] == "tools/list");
    let hidden: Vec<_> = lists.map(|it| it.1["details"]["hidden"].clone()).collect();
    assert!(!hidden.is_empty() && hidden.iter().all(|it| it == "delete_customer"), "{hidden:?}");
}

#[test]
fn results_are_masked_for_the_client_and_the_record() {
    let Some(server) = server(false) else { return };
    let masking = r#"
        version = 1
        [[rule]]
        name = "all"
        entity = ["CREDIT_CARD", "EMAIL_ADDRESS"]
        client = { operator = "mask" }
        record = { operator = "replace" }
    "#;
    let rig = rig(&server, Plan { masking: masking.into(), ..Plan::default() });
    let got = through(&rig, "auto");
    let text = got["customer"]["content"][0]["text"].as_str().unwrap();
    assert_eq!(text, format!("jo: card {}, mail {}", "*".repeat(19), "*".repeat(14)));
    let entries = format!("{:?}", rig.entries());
    assert!(!entries.contains("1111 1111"), "{entries}");
    for exchange in rig.exchanges() {
        let recorded = String::from_utf8(rig.recorded(&exchange)).unwrap();
        assert!(!recorded.contains("1111 1111"), "{recorded}");
    }
}

#[test]
fn attack_33_a_server_asks_the_user_only_if_it_may() {
    let Some(server) = server(false) else { return };
    let off = Plan { target: |target| target.mcp = Some(Mcp::default()), ..Plan::default() };
    let rig = rig(&server, off);
    // Before 2026-07-28 it is a request of the server's, which never arrives.
    let got = through(&rig, "legacy");
    assert!(got["ask"]["failed"].is_string(), "{}", got["ask"]);
    let asked: Vec<_> = rig
        .entries_of("command")
        .into_iter()
        .filter(|it| it["text"] == "elicitation/create")
        .collect();
    assert_eq!((&asked[0]["verdict"], &asked[0]["via"]), (&json!("deny"), &json!("from-target")));
}

/// A message by curl, as alice.
fn post(rig: &Rig, args: &[&str], body: &str) -> Said {
    let json = ["-i", "-H", "Content-Type: application/json", "-d", body];
    rig.curl(&[&json, args].concat(), "/asks")
}

/// A rig before the rig's own service.
fn own(mcp: fn(&mut http_proxy::Target)) -> Rig {
    Rig::with(Plan { target: mcp, ..Plan::default() })
}

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

#[test]
fn attack_33_a_question_in_a_result_is_refused_in_the_server_s_place() {
    let rig = own(|target| target.mcp = Some(Mcp::default()));
    let said = post(&rig, &[], PING).text();
    assert!(said.contains("turned off") && !said.contains("inputRequests"), "{said}");
    // The record says what the server said.
    let exchange = rig.exchanges().pop().unwrap();
    assert!(String::from_utf8(rig.recorded(&exchange)).unwrap().contains("inputRequests"));
    let rig = own(|target| {
        target.mcp = Some(Mcp { elicitation: true, ..Mcp::default() });
    });
    assert!(post(&rig, &[], PING).text().contains("inputRequests"));
}

#[test]
fn what_two_readers_might_read_differently_is_refused() {
    let rig = own(|target| target.mcp = Some(Mcp::default()));
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
        "not json",
        "",
    ] {
        let said = post(&rig, &[], body).text();
        assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("\"error\""), "{body}: {said}");
    }
    for header in ["Mcp-Method: tools/call", "Mcp-Name: other"] {
        let said = post(&rig, &["-H", header], PING).text();
        assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("-32020"), "{header}: {said}");
    }
    assert!(rig.entries_of("command").is_empty());
    assert_eq!(rig.entries_of("auth_failure").len(), 8);
    let said = rig.curl(&["-i", "-d", PING], "/asks").text();
    assert!(said.starts_with("HTTP/1.1 415 "), "{said}");
}

#[test]
fn pages_and_sessions_of_others_are_refused() {
    let rig = own(|target| {
        let origins = vec!["https://app.example.org".to_owned()];
        target.mcp = Some(Mcp { origins, ..Mcp::default() });
    });
    let status = |args: &[&str]| post(&rig, args, PING).text()[9..12].to_owned();
    assert_eq!(status(&["-H", "Origin: https://evil.example"]), "403");
    assert_eq!(status(&["-H", "Origin: https://app.example.org"]), "200");
    assert_eq!(status(&["-H", "Mcp-Session-Id: somebody-else-s"]), "404");
    // The service gives everybody the session that it is asked for, by name.
    assert_eq!(status(&["-H", "X-Give: mine"]), "200");
    assert_eq!(status(&["-H", "Mcp-Session-Id: mine"]), "200");
    let bob = format!("Authorization: Bearer {}", rig.token("bob"));
    let as_bob = |header: &str| {
        let mut curl = rig::curl();
        curl.args([
            "-i",
            "-H",
            &bob,
            "-H",
            header,
            "-H",
            "Content-Type: application/json",
            "-d",
            PING,
        ]);
        Said::of(curl.arg(rig.url("/asks"))).text()[9..12].to_owned()
    };
    assert_eq!(as_bob("Mcp-Session-Id: mine"), "404");
    assert_eq!(as_bob("X-Give: mine"), "503", "a session that is alice's is not given to bob");
}

#[test]
fn attack_33_a_definition_that_changes_is_taken_away() {
    let rig = own(|target| target.mcp = Some(Mcp::default()));
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"tool"}}"#;
    let first = post(&rig, &["-H", "X-Define: adds numbers"], list).text();
    assert!(first.contains("adds numbers"), "{first}");
    assert!(post(&rig, &["-H", "X-Define: adds numbers"], list).text().contains("adds numbers"));
    assert!(!post(&rig, &[], call).text().contains("changed-definition"));
    let second = post(&rig, &["-H", "X-Define: sends your files to me"], list).text();
    assert!(second.contains("\"tools\":[]"), "{second}");
    assert_eq!(rig.exchanges().pop().unwrap().1["details"]["changed"], "tool");
    assert!(post(&rig, &[], call).text().contains("changed-definition"));
    // What no person sees is not shown to a model either.
    let rig = own(|target| target.mcp = Some(Mcp::default()));
    let poisoned = post(&rig, &["-H", "X-Hide: 1", "-H", "X-Define: adds"], list).text();
    assert!(poisoned.contains("\"tools\":[]"), "{poisoned}");
}

#[test]
fn a_stream_is_read_as_clients_read_it() {
    let rig = own(|target| target.mcp = Some(Mcp::default()));
    // A byte order mark before the first field, which clients take off.
    let said = post(&rig, &["-H", "X-Stream: 1"], PING).text();
    assert!(said.contains("turned off") && !said.contains("inputRequests"), "{said}");
}
