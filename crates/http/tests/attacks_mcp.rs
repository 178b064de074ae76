//! Attacks 28 to 33 of the catalogue against the proxy before a server of the Model Context Protocol
//! (what is read of a message is `mcp_wire`'s: its own attacks are tested there). 34, approvals that
//! are raced, forged or replayed: there is no way to approve yet; a held call is not made.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests"
)]

mod rig;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_proxy::mcp::Mcp;
use http_proxy::{Credential, Route, Target, Upstream};
use rig::tap::{Tap, requests};
use rig::{Plan, Rig, Said};
use serde_json::{Value, json};

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"a":1}}}"#;

/// A rig whose target, with MCP, keeps what it gets.
fn tapped(plan: Plan) -> (Rig, Tap) {
    let (port, tap) = Tap::start();
    (Rig::before(port, plan), tap)
}

fn with_mcp() -> Plan {
    Plan { target: |target| target.mcp = Some(Mcp::default()), ..Plan::default() }
}

/// A message by curl, as alice.
fn post(rig: &Rig, args: &[&str], body: &str) -> Said {
    let json = ["-i", "-H", "Content-Type: application/json", "-d", body];
    rig.curl(&[&json, args].concat(), "/mcp")
}

fn status(said: &Said) -> String {
    said.text()[9..12].to_owned()
}

#[test]
fn attack_28_what_arrives_is_what_was_judged_and_recorded() {
    let (rig, tap) = tapped(with_mcp());
    // Spaces, escapes, an order: they are gone from what the target reads.
    let odd = "{ \"params\" : {\"arguments\":{\"a\":1.0e0,\"b\":\"\\u0041\\/\"}, \"name\":\"r\\u0065ad\"},\n\
               \"method\":\"tools\\/call\", \"id\": 1,\"jsonrpc\":\"2.0\"}";
    post(&rig, &[], odd);
    let (seen, rest) = tap.seen();
    assert!(seen.len() == 1 && rest.is_empty(), "{seen:?} {rest:?}");
    let arrived: Value = serde_json::from_slice(&seen[0].body).unwrap();
    assert_eq!(
        (&arrived["method"], &arrived["params"]["name"]),
        (&json!("tools/call"), &json!("read"))
    );
    let command = &rig.exchanges()[0].0;
    assert_eq!(command["text"], "tools/call read");
    let recorded = command["parameters"][0]["value"].as_str().unwrap();
    assert_eq!(recorded.as_bytes(), seen[0].body, "to the byte");
    // Keys that readers tell apart, or don't: nothing arrives.
    for odd in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","name":"drop"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","Name":"drop"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","METHOD":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"n\u0061me":"read","name":"drop"}}"#,
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ping\"}",
    ] {
        assert_eq!(status(&post(&rig, &[], odd)), "400", "{odd}");
    }
    assert_eq!(tap.seen().0.len(), 1);
}

#[test]
fn attack_29_batches_and_headers_that_say_something_else_do_not_arrive() {
    let (rig, tap) = tapped(with_mcp());
    for (headers, body) in [
        (vec![], "[]".to_owned()),
        (vec![], format!("[{CALL}]")),
        (vec!["-H", "Mcp-Method: tools/list"], CALL.to_owned()),
        (vec!["-H", "Mcp-Name: drop"], CALL.to_owned()),
        (vec!["-H", "Mcp-Name: read", "-H", "Mcp-Name: drop"], CALL.to_owned()),
        (vec!["-H", "Mcp-Name: =?base64?ZHJvcA==?="], CALL.to_owned()),
        (vec!["-H", "MCP-Protocol-Version: 1999-01-01"], CALL.to_owned()),
    ] {
        assert_eq!(status(&post(&rig, &headers, &body)), "400", "{headers:?} {body}");
    }
    assert!(tap.bytes().is_empty() && rig.entries_of("command").is_empty());
    // What agrees passes.
    let agree = ["-H", "Mcp-Method: tools/call", "-H", "Mcp-Name: read"];
    post(&rig, &agree, CALL);
    assert_eq!(tap.seen().0.len(), 1);
}

#[test]
fn attack_30_a_page_by_a_name_that_leads_here_is_refused() {
    let (rig, tap) = tapped(with_mcp());
    for (host, origin) in [
        ("evil.test", "http://evil.test"),
        ("evil.test", "http://evil.test:80"),
        ("localhost.evil.test", "http://localhost.evil.test"),
        ("127.0.0.1", "http://evil.test"),
        ("127.0.0.1", "null"),
        ("127.0.0.1", "http://127.0.0.1.evil.test"),
    ] {
        let headers = [format!("Host: {host}"), format!("Origin: {origin}")];
        let said = post(&rig, &["-H", &headers[0], "-H", &headers[1]], CALL);
        assert_eq!(status(&said), "403", "{host} {origin}");
    }
    assert!(tap.bytes().is_empty());
    let own = format!("Origin: http://127.0.0.1:{}", rig.port);
    post(&rig, &["-H", &own], CALL);
    assert_eq!(tap.seen().0.len(), 1);
}

#[test]
fn attack_31_a_session_is_of_one_principal_with_one_target() {
    let two = Plan {
        config: |config| {
            let first = config.targets.remove(0);
            for name in ["one", "two"] {
                let mut shared = gate::Target::new(name, masking::Policy::empty());
                (shared.recording, shared.durability) =
                    (first.gate.recording, first.gate.durability);
                config.targets.push(Arc::new(Target {
                    gate: Arc::new(shared),
                    upstream: Upstream::plain("127.0.0.1", first.upstream.port),
                    route: Route { hosts: Vec::new(), path: Some(format!("/{name}")) },
                    mcp: Some(Mcp::default()),
                    ..fresh()
                }));
            }
        },
        policy: r#"
            default = "deny"
            [[rule]]
            name = "alice-uses-one"
            effect = "allow"
            targets = ["one"]
        "#
        .into(),
        ..Plan::default()
    };
    let rig = Rig::with(two);
    let ask = |who: &str, path: &str, header: &str| {
        let token = format!("Authorization: Bearer {}", rig.token(who));
        let mut curl = rig::curl();
        curl.args(["-i", "-H", &token, "-H", "Content-Type: application/json", "-H", header]);
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        Said::of(curl.args(["-d", ping]).arg(rig.url(path))).text()
    };
    assert!(ask("alice", "/one/asks", "X-Give: mine").starts_with("HTTP/1.1 200 "));
    assert!(ask("alice", "/one/asks", "Mcp-Session-Id: mine").starts_with("HTTP/1.1 200 "));
    assert!(ask("bob", "/one/asks", "Mcp-Session-Id: mine").starts_with("HTTP/1.1 404 "));
    assert!(ask("alice", "/two/asks", "Mcp-Session-Id: mine").starts_with("HTTP/1.1 404 "));
    // The right to one server is none to another.
    let denied = ask("alice", "/two/asks", "X-Plain: 1");
    assert!(denied.contains("\"error\"") && !denied.contains("inputRequests"), "{denied}");
}

/// What the rig's own target has and these tests don't change.
fn fresh() -> Target {
    Target {
        gate: Arc::new(gate::Target::new("none", masking::Policy::empty())),
        upstream: Upstream::plain("127.0.0.1", 1),
        route: Route::default(),
        mcp: None,
        kubernetes: None,
        assertion: None,
        upgrades: false,
        max_body: None,
        answer_timeout: http_proxy::ANSWER_TIMEOUT,
        answer_stall: http_proxy::ANSWER_STALL,
    }
}

#[test]
fn attack_32_no_word_of_a_client_or_a_server_leads_us_elsewhere() {
    // Who comes here was led.
    let canary = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = format!("127.0.0.1:{}", canary.local_addr().unwrap().port());
    let came = Arc::new(AtomicUsize::new(0));
    let counted = came.clone();
    std::thread::spawn(move || {
        for _ in canary.incoming() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (rig, tap) = tapped(with_mcp());
    let url = format!("http://{elsewhere}/mcp");
    for header in [
        format!("Host: {elsewhere}"),
        format!("X-Forwarded-Host: {elsewhere}"),
        format!("Forwarded: host={elsewhere}"),
        format!("X-Original-URL: {url}"),
        format!("Referer: {url}"),
        format!("Link: <{url}>; rel=oauth-protected-resource"),
    ] {
        post(&rig, &["-H", &header], CALL);
    }
    // As the request's target, and as what a client says of itself.
    let token = format!("Authorization: Bearer {}", rig.token("alice"));
    let mut proxied = rig::curl();
    proxied.args(["-x", &rig.url(""), "-H", &token, "-H", "Content-Type: application/json"]);
    let refused = Said::of(proxied.args(["-i", "-d", CALL, &url])).text();
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    let about = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "x", "version": "1", "websiteUrl": url, "icons": [{"src": url}]},
    }});
    post(&rig, &[], &about.to_string());
    let strange = json!({"alg": "ES256", "jku": url, "x5u": url, "kid": url}).to_string();
    let claims = json!({"iss": format!("http://{elsewhere}"), "sub": "root"}).to_string();
    let forged = [strange, claims].map(|it| base64_url(it.as_bytes())).join(".") + ".AAAA";
    let mut curl = rig::curl();
    curl.args(["-i", "-H", &format!("Authorization: Bearer {forged}"), "-d", CALL]);
    let refused = Said::of(curl.arg(rig.url("/mcp"))).text();
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    // Six with strange fields and one that tells of itself arrived, at the one target.
    assert_eq!(tap.seen().0.len(), 7);
    assert_eq!(came.load(Ordering::Relaxed), 0);
}

fn base64_url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[test]
fn attack_32_a_redirect_is_the_client_s_to_follow() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (elsewhere, tap) = Tap::start();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for stream in listener.incoming() {
            let (mut stream, mut all) = (stream.unwrap(), Vec::new());
            let mut piece = [0; 4096];
            while requests(&all).0.is_empty() {
                let Ok(read @ 1..) = stream.read(&mut piece) else { break };
                all.extend_from_slice(&piece[..read]);
            }
            let answer = format!(
                "HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:{elsewhere}/\r\nContent-Length: 0\r\n\r\n"
            );
            let _gone = stream.write_all(answer.as_bytes());
        }
    });
    let rig = Rig::before(port, with_mcp());
    assert_eq!(status(&post(&rig, &[], CALL)), "307");
    assert!(tap.bytes().is_empty());
}

#[test]
fn attack_33_the_client_s_token_does_not_reach_the_server() {
    let (rig, tap) = tapped(Plan {
        target: |target| {
            target.mcp = Some(Mcp::default());
            let own = "Bearer its-own".parse().unwrap();
            target.upstream.credential = Credential::Field("authorization".parse().unwrap(), own);
        },
        ..Plan::default()
    });
    post(&rig, &["-H", "Proxy-Authorization: Bearer another"], CALL);
    let token = rig.token("alice");
    let signature = token.rsplit('.').next().unwrap();
    let bytes = String::from_utf8_lossy(&tap.bytes()).into_owned();
    assert!(bytes.contains("authorization: Bearer its-own\r\n"), "{bytes}");
    assert!(!bytes.contains(signature) && !bytes.contains("another"), "{bytes}");
    assert!(!bytes.contains("eyJ"), "{bytes}");
    // Nor is the server's in any record.
    assert!(!format!("{:?}", rig.entries()).contains("its-own"));
}
