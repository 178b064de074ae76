//! Requests by curl through the proxy: answered as directly, and on record.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "rig/curl_options.rs"]
mod curl_options;
mod rig;

use std::process::Command;

use rig::service::byte;
use rig::{Plan, Rig, Said, curl};
use serde_json::json;

fn fields(seen: &serde_json::Value, name: &str) -> Vec<String> {
    let all = seen["fields"].as_array().unwrap().iter();
    all.filter(|it| it[0] == name).map(|it| it[1].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_request_is_answered_and_on_record() {
    let rig = Rig::start();
    let said = rig.curl(&["-i", "-H", "X-Thing: 1"], "/a/../b/%7Ec?x=1");
    assert!(said.text().starts_with("HTTP/1.1 200 OK\r\n"), "{said:?}");
    let said = rig.curl(&["-H", "X-Thing: 1", "-d", "hello=1"], "/a/../b/%7Ec?x=1");
    let seen = said.json();
    assert_eq!((&seen["method"], &seen["target"]), (&json!("POST"), &json!("/b/~c?x=1")));
    assert_eq!((&seen["body"], &seen["version"]), (&json!("hello=1"), &json!("HTTP/1.1")));
    // The token is for us; who it stands for is told.
    assert!(fields(&seen, "authorization").is_empty());
    assert_eq!(fields(&seen, "x-greffier-subject"), ["alice"]);
    assert_eq!(fields(&seen, "x-thing"), ["1"]);
    assert_eq!(fields(&seen, "x-forwarded-for"), ["127.0.0.1"]);
    let exchanges = rig.exchanges();
    let (command, response) = &exchanges[1];
    assert_eq!(command["text"], "POST /b/~c?x=1");
    assert_eq!((&command["operation"], &command["class"]), (&json!("POST"), &json!("write")));
    assert_eq!(command["parameters"][0], json!({"type": "body", "value": "hello=1"}));
    assert_eq!(command["details"]["field.content-type"], "application/x-www-form-urlencoded");
    assert!(command["details"]["field.x-thing"].as_str().unwrap().starts_with("sha256:"));
    assert!(command["details"].get("field.authorization").is_none());
    assert_eq!((&response["outcome"], &response["code"]), (&json!("ok"), &json!("200")));
    let recorded = String::from_utf8(rig.recorded(&exchanges[1])).unwrap();
    assert!(recorded.starts_with("HTTP/1.1 200 OK\r\n"), "{recorded}");
    assert!(recorded.ends_with(&format!("\r\n\r\n{}", said.text())), "{recorded}");
    // One bearer with one target is one session.
    let starts = rig.entries_of("session_start");
    assert_eq!(starts.len(), 2, "each curl has a token of its own");
    assert_eq!(starts[0]["protocol"], "http");
}

#[test]
fn long_bodies_pass_both_ways_and_are_whole_in_the_record() {
    let rig = Rig::start();
    let bytes: u64 = 3_000_000;
    let content: Vec<u8> = (0..bytes).map(byte).collect();
    let file = rig.dir.path().join("file");
    std::fs::write(&file, &content).unwrap();
    let up = format!("@{}", file.display());
    let sum = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &content));
    for args in [
        vec!["--data-binary", &up],
        vec!["--data-binary", &up, "-H", "Transfer-Encoding: chunked"],
        vec!["--data-binary", &up, "-H", "Expect: 100-continue"],
    ] {
        let seen = rig.curl(&args, "/upload").json();
        assert_eq!((&seen["bytes"], &seen["sha256"]), (&json!(bytes), &json!(sum)), "{args:?}");
    }
    for path in ["/sized", "/chunked"] {
        let said = rig.curl(&[], &format!("{path}?{bytes}"));
        assert!(said.out == content, "{path}: {} {}", said.out.len(), said.err);
    }
    let exchanges = rig.exchanges();
    for exchange in &exchanges[..3] {
        assert!(rig.objects(&exchange.1["input_chunks"]) == content, "{}", exchange.1);
    }
    for exchange in &exchanges[3..] {
        let recorded = rig.recorded(exchange);
        assert!(recorded.ends_with(&content) && recorded.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
    assert_eq!(exchanges[0].1["input_bytes"], bytes);
    assert_eq!(exchanges[4].1["bytes"], bytes);
}

#[test]
fn streams_flow_as_they_come() {
    let rig = Rig::start();
    let begun = std::time::Instant::now();
    let said = rig.curl(&["-N", "-w", "%{time_starttransfer}"], "/ticks?10");
    let text = said.text();
    let (events, first) = text.rsplit_once("\n\n").unwrap();
    assert!(events.ends_with("data: 9"), "{said:?}");
    let (first, whole) = (first.parse::<f64>().unwrap(), begun.elapsed().as_secs_f64());
    assert!(first < whole / 2.0, "the first byte came after {first} of {whole} s");
    let (_, response) = &rig.exchanges()[0];
    assert_eq!(response["bytes"], 90);
    assert!(rig.entries_of("output").len() >= 8);
}

#[test]
fn trailers_status_codes_and_empty_answers_are_kept() {
    let rig = Rig::start();
    let said = rig.curl(&["-i", "-H", "TE: trailers", "-H", "Connection: TE"], "/trailers");
    assert!(said.text().to_lowercase().contains("trailer: x-sum"), "{said:?}");
    for (status, outcome) in [(204, "ok"), (304, "ok"), (404, "error"), (503, "error")] {
        let said =
            rig.curl(&["-o", "/dev/null", "-w", "%{http_code}"], &format!("/status?{status}"));
        assert_eq!(said.text(), status.to_string());
        let (_, response) = rig.exchanges().pop().unwrap();
        assert_eq!(
            (&response["outcome"], &response["code"]),
            (&json!(outcome), &json!(status.to_string()))
        );
    }
    let said = rig.curl(&["-I"], "/sized?12345");
    assert!(said.text().contains("content-length: 12345"), "{said:?}");
    assert_eq!(rig.curl(&["-X", "OPTIONS"], "/x").json()["method"], "OPTIONS");
}

#[test]
fn who_has_no_good_token_is_told_how_and_on_record() {
    let rig = Rig::start();
    let ask = |args: &[&str]| Said::of(curl().args(["-i"]).args(args).arg(rig.url("/x")));
    for (args, error) in [
        (vec![], "realm=\"greffier\"\r"),
        (vec!["-H", "Authorization: Basic eDp5"], "error=\"invalid_request\""),
        (vec!["-H", "Authorization: Bearer"], "error=\"invalid_request\""),
        (vec!["-H", "Authorization: Bearer x.y.z"], "error=\"invalid_token\""),
    ] {
        let said = ask(&args);
        assert!(said.text().starts_with("HTTP/1.1 401"), "{said:?}");
        assert!(said.text().contains(error), "{said:?}");
    }
    let token = format!("Authorization: Bearer {}", rig.token("alice"));
    let said = ask(&["-H", &token, "-H", &token]);
    assert!(said.text().starts_with("HTTP/1.1 400"), "{said:?}");
    assert!(rig.entries_of("command").is_empty());
    let refusals = rig.entries_of("auth_failure");
    assert_eq!(refusals.len(), 5, "{refusals:?}");
    assert!(!format!("{refusals:?}").contains("x.y.z"));
}

#[test]
fn who_has_no_token_is_told_where_to_get_one() {
    let rig = Rig::with(Plan {
        config: |config| config.authorization_servers = vec!["https://id.example.org".into()],
        ..Plan::default()
    });
    let ask = |path: &str| Said::of(curl().arg("-i").arg(rig.url(path))).text();
    let told = ask("/mcp/x");
    let (_, rest) = told.split_once("resource_metadata=\"").unwrap();
    let (url, _) = rest.split_once('"').unwrap();
    assert_eq!(url, rig.url("/.well-known/oauth-protected-resource/mcp/x"));
    let metadata = Said::of(curl().arg(url)).json();
    assert_eq!(metadata["resource"], rig.url("/mcp/x"));
    assert_eq!(metadata["authorization_servers"], json!(["https://id.example.org"]));
    assert!(ask("/.well-known/oauth-protected-resourceful").starts_with("HTTP/1.1 401"));
}

#[test]
fn a_rule_denies_and_the_target_sees_nothing() {
    let policy = r#"
        default = "allow"
        [[rule]]
        name = "no-admin"
        effect = "deny"
        when = { resources = ["/admin*"] }
        reason = "ask the platform team"
        [[rule]]
        name = "read-only"
        effect = "deny"
        when = { class = ["delete", "unknown"] }
    "#;
    let rig = Rig::with(Plan { policy: policy.into(), ..Plan::default() });
    for path in ["/admin", "/a/../admin/x", "/%61dmin", "//admin", "/;x/admin", "/x/..//admin"] {
        let said = rig.curl(&["--path-as-is", "-i"], path);
        assert!(said.text().starts_with("HTTP/1.1 403"), "{path}: {said:?}");
        assert!(said.text().contains("\"rule\":\"no-admin\""), "{path}: {said:?}");
        assert!(said.text().contains("ask the platform team"), "{path}: {said:?}");
        let (command, response) = rig.exchanges().pop().unwrap();
        assert_eq!((&command["verdict"], response), (&json!("deny"), json!(null)));
    }
    for method in ["DELETE", "PURGE"] {
        assert!(rig.curl(&["-X", method], "/x").text().contains("read-only"));
    }
    assert_eq!(
        rig.curl(&["-X", "TRACE", "-o", "/dev/null", "-w", "%{http_code}"], "/x").text(),
        "405"
    );
    for path in ["/a%2fb", "/..", "/a%00"] {
        let said = rig.curl(&["--path-as-is", "-o", "/dev/null", "-w", "%{http_code}"], path);
        assert_eq!(said.text(), "400", "{path}");
    }
}

#[test]
fn rules_look_at_queries_fields_and_short_bodies() {
    let policy = r#"
        default = "deny"
        [[rule]]
        name = "no-debug"
        effect = "deny"
        when = { arguments = { "query.debug" = ["*"] } }
        [[rule]]
        name = "no-large-transfers"
        effect = "deny"
        when = { operations = ["POST"], arguments = { "body.amount" = { min = 1000 } } }
        [[rule]]
        name = "from-the-app"
        effect = "allow"
        when = { arguments = { "field.x-app" = ["billing"] } }
    "#;
    let rig = Rig::with(Plan { policy: policy.into(), ..Plan::default() });
    let code = |args: &[&str], path: &str| {
        let all =
            [&["-o", "/dev/null", "-w", "%{http_code}", "-H", "X-App: billing"], args].concat();
        rig.curl(&all, path).text()
    };
    let json = |body| ["-H", "Content-Type: application/json", "-d", body];
    assert_eq!(code(&[], "/x?a=1"), "200");
    assert_eq!(code(&["-H", "X-App: other"], "/x"), "403", "every occurrence must fit");
    assert_eq!(code(&[], "/x?a=1&%64ebug"), "403");
    assert_eq!(code(&json(r#"{"amount": 999.5}"#), "/x"), "200");
    assert_eq!(code(&json(r#"{"amount": 1e3}"#), "/x"), "403");
    assert_eq!(code(&json(r#"{"amount": 1, "amount": 2000}"#), "/x"), "403", "two readings");
    assert_eq!(code(&["-d", "amount=5000"], "/x"), "403");
    // What is not read before it is judged is taken for the worst.
    assert_eq!(code(&["-d", &format!("note={}", "x".repeat(10_000))], "/x"), "403");
    assert_eq!(rig.curl(&["-o", "/dev/null", "-w", "%{http_code}"], "/x").text(), "403");
}

#[test]
fn what_breaks_is_told_apart() {
    let rig = Rig::with(Plan {
        target: |target| {
            target.answer_timeout = std::time::Duration::from_millis(500);
            target.max_body = Some(100_000);
        },
        ..Plan::default()
    });
    let code = |args: &[&str], path: &str| {
        let all = [&["-o", "/dev/null", "-w", "%{http_code}"], args].concat();
        rig.curl(&all, path).text()
    };
    assert_eq!(code(&[], "/slow?100"), "200");
    let broken = rig.curl(&[], "/broken");
    assert_ne!(broken.code, Some(0), "half an answer must not look whole: {broken:?}");
    let file = rig.dir.path().join("file");
    std::fs::write(&file, vec![b'x'; 500_000]).unwrap();
    let up = format!("@{}", file.display());
    // One that says that it is too long is refused before anything of it leaves; one that does not
    // say so, when it is.
    for expect in ["Expect:", "Expect: 100-continue"] {
        assert_eq!(code(&["--data-binary", &up, "-H", expect], "/x"), "413");
    }
    assert!(rig.entries_of("auth_failure").iter().all(|it| it["cause"] == "too_large"));
    let chunked = "Transfer-Encoding: chunked";
    for _ in 0..5 {
        assert_eq!(code(&["--data-binary", &up, "-H", "Expect:", "-H", chunked], "/x"), "413");
    }
    let all = rig.exchanges();
    let outcomes: Vec<_> = all.iter().map(|it| it.1["outcome"].clone()).collect();
    assert_eq!(outcomes, ["ok", "lost", "error", "error", "error", "error", "error"]);
    // What left before that is on record.
    for (_, response) in &all[2..] {
        let sent = response["input_bytes"].as_u64().unwrap();
        assert_eq!(rig.objects(&response["input_chunks"]).len() as u64, sent);
        assert_eq!(response["details"]["cause"], "too_large");
    }
    let nobody = Rig::before(1, Plan::default());
    assert_eq!(nobody.curl(&["-o", "/dev/null", "-w", "%{http_code}"], "/").text(), "502");
    assert_eq!(nobody.exchanges()[0].1["details"]["cause"], "unreachable");
}

const CARD: &str = "4111 1111 1111 1111";

#[test]
fn what_must_not_be_seen_is_masked_both_ways() {
    let masking = r#"
        version = 1
        [[rule]]
        name = "cards"
        entity = ["CREDIT_CARD"]
        client = { operator = "mask" }
        record = { operator = "replace" }
    "#;
    let rig = Rig::with(Plan { masking: masking.into(), ..Plan::default() });
    let said = rig.curl(&["-H", "Range: bytes=0-3"], "/text?card+4111+1111+1111+1111.");
    assert_eq!(said.text(), format!("card {}.", "*".repeat(19)));
    let exchange = rig.exchanges().pop().unwrap();
    assert_eq!(exchange.1["masked"]["CREDIT_CARD"], 1);
    let recorded = String::from_utf8(rig.recorded(&exchange)).unwrap();
    assert!(recorded.ends_with("\r\n\r\ncard <CREDIT_CARD>."), "{recorded}");
    assert!(!exchange.0.to_string().contains("1111"), "{}", exchange.0);
    // What the client sends is the target's to see, and not the record's.
    let long = format!("{}{CARD}{}", "x ".repeat(4000), " y".repeat(4000));
    for body in [CARD, &long] {
        let seen = rig.curl(&["-d", body], "/x").json();
        assert_eq!(seen["bytes"], body.len());
        let (command, response) = rig.exchanges().pop().unwrap();
        let input = String::from_utf8(rig.objects(&response["input_chunks"])).unwrap();
        let kept = format!("{}{input}", command["parameters"][0]["value"]);
        assert!(kept.contains("CREDIT_CARD") && !kept.contains("1111"), "{kept}");
    }
    // What can't be searched is not passed on.
    let file = rig.dir.path().join("long");
    std::fs::write(&file, &long).unwrap();
    let up = format!("@{}", file.display());
    let said = rig.curl(&["-i", "-H", "Content-Encoding: x-own", "--data-binary", &up], "/x");
    assert!(said.text().starts_with("HTTP/1.1 415 "), "{said:?}");
    // What is coded is searched as what it stands for.
    assert!(Command::new("gzip").arg(&file).status().unwrap().success());
    let gzip = format!("@{}.gz", file.display());
    let seen = rig.curl(&["-H", "Content-Encoding: gzip", "--data-binary", &gzip], "/x").json();
    assert_eq!(fields(&seen, "content-encoding"), ["gzip"]);
    let (command, _) = rig.exchanges().pop().unwrap();
    let kept = String::from_utf8(rig.objects(&command["parameter_chunks"])).unwrap();
    assert!(kept.contains("CREDIT_CARD") && !kept.contains("1111"), "{kept}");
    for (coding, wanted) in [("gzip", "gzip"), ("x-own", "identity")] {
        let accept = format!("Accept-Encoding: {coding}");
        let said = rig.curl(&["-i", "-H", &accept], "/gzip").text();
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        assert!(!head.to_lowercase().contains("content-encoding"), "{head}");
        assert_eq!(body, format!("{{\"asked\":\"{wanted}\",\"card\":\"{}\"}}", "*".repeat(19)));
    }
}

#[test]
fn rules_by_json_path_hold_for_bodies_and_messages() {
    let masking = r#"
        version = 1
        [[rule]]
        name = "descriptions"
        paths = ["$..description", "$.asked"]
        client = { operator = "null" }
    "#;
    let rig = Rig::with(Plan { masking: masking.into(), ..Plan::default() });
    let seen = rig.curl(&["-H", "Accept-Encoding: gzip"], "/gzip").json();
    assert_eq!(seen, json!({"asked": null, "card": CARD}));
    let recorded = String::from_utf8(rig.recorded(&rig.exchanges().pop().unwrap())).unwrap();
    assert!(recorded.contains("\"asked\":null"), "{recorded}");
    let rig = Rig::with(Plan {
        masking: masking.into(),
        target: |target| target.mcp = Some(http_proxy::mcp::Mcp::default()),
        ..Plan::default()
    });
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let args = ["-H", "Content-Type: application/json", "-H", "X-Define: secret", "-d", list];
    let seen = rig.curl(&args, "/asks").json();
    assert_eq!(seen["result"]["tools"][0]["description"], json!(null), "{seen}");
    let recorded = String::from_utf8(rig.recorded(&rig.exchanges().pop().unwrap())).unwrap();
    assert!(recorded.contains("inputSchema") && !recorded.contains("secret"), "{recorded}");
}

#[test]
fn trailers_of_requests_end_here_and_the_body_is_whole() {
    let (port, tap) = rig::tap::Tap::start();
    let rig = Rig::before(port, Plan::default());
    let token = rig.token("alice");
    for length in [5, 50_000] {
        let body = "x".repeat(length);
        let head = format!(
            "POST /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\nTrailer: X-Sum, Authorization\r\n\r\n"
        );
        let end =
            "0\r\nX-Sum: hunter1\r\nAuthorization: hunter2\r\nX-Greffier-Subject: hunter3\r\n\r\n";
        let mut tcp = std::net::TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
        let request = format!("{head}{length:x}\r\n{body}\r\n{end}");
        std::io::Write::write_all(&mut tcp, request.as_bytes()).unwrap();
        let mut back = String::new();
        std::io::Read::read_to_string(&mut tcp, &mut back).unwrap();
        assert!(back.starts_with("HTTP/1.1 200 "), "{back}");
        let (seen, rest) = tap.seen();
        let last = seen.last().unwrap();
        assert!(rest.is_empty() && last.body == body.as_bytes());
        assert!(last.fields.iter().all(|it| it.0 != "trailer"), "{:?}", last.fields);
    }
    assert!(!String::from_utf8_lossy(&tap.bytes()).contains("hunter"));
    assert!(!format!("{:?}", rig.entries()).contains("hunter"));
}
