//! Attacks 18 to 22 of the catalogue, each against the proxy: smuggling, floods, identity fields,
//! paths in disguise. A case is refused, or seen alike by the record and the target.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests"
)]

#[path = "rig/floods.rs"]
mod floods;
mod rig;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rig::{Plan, Rig, Said};

/// A target that keeps all bytes that it gets, and answers each head with an empty answer.
fn tap() -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, kept) = (stream.unwrap(), kept.clone());
            std::thread::spawn(move || {
                let mut piece = [0; 4096];
                let mut all = Vec::new();
                let mut answered = 0;
                while let Ok(read @ 1..) = stream.read(&mut piece) {
                    kept.lock().unwrap().extend_from_slice(&piece[..read]);
                    all.extend_from_slice(&piece[..read]);
                    let heads = String::from_utf8_lossy(&all).matches("\r\n\r\n").count();
                    while answered < heads {
                        answered += 1;
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                        if stream.write_all(answer).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    (port, seen)
}

/// Sends bytes, and gives all that comes back until the proxy closes or is silent for a while.
fn raw(rig: &Rig, bytes: &[u8]) -> String {
    let mut tcp = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
    tcp.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    tcp.write_all(bytes).unwrap();
    let mut back = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = tcp.read(&mut piece) {
        back.extend_from_slice(&piece[..read]);
    }
    String::from_utf8_lossy(&back).into_owned()
}

/// Asks for a path with this field, and gives all that comes back until the proxy closes.
fn alone(rig: &Rig, path: &str, field: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{field}\r\n\r\n");
    until_closed(rig, &head)
}

/// Sends what the proxy closes behind, and gives all that comes back.
fn until_closed(rig: &Rig, text: &str) -> String {
    let mut tcp = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    tcp.write_all(text.as_bytes()).unwrap();
    let mut back = Vec::new();
    let _reset = tcp.read_to_end(&mut back);
    String::from_utf8_lossy(&back).into_owned()
}

#[test]
fn attack_18_what_two_parsers_frame_differently_is_one_request_or_none() {
    let (port, seen) = tap();
    let rig = Rig::before(port, Plan::default());
    let bearer = format!("Authorization: Bearer {}", rig.token("alice"));
    let hidden = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let length = hidden.len();
    let head = format!("Host: x\r\n{bearer}\r\n");
    let cases = [
        format!(
            "POST /a HTTP/1.1\r\n{head}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
        ),
        format!(
            "POST /a HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n{hidden}"
        ),
        format!(
            "POST /a HTTP/1.1\r\n{head}Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}"
        ),
        format!("POST /a HTTP/1.1\r\n{head}Content-Length: +{length}\r\n\r\n{hidden}"),
        format!("POST /a HTTP/1.1\r\n{head}Content-Length: {length}, {length}\r\n\r\n{hidden}"),
        format!("POST /a HTTP/1.0\r\n{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!(
            "POST /a HTTP/1.1\r\n{head}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}"
        ),
        format!("POST /a HTTP/1.1\r\n{head}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("POST /a HTTP/1.1\r\n{head}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!(
            "POST /a HTTP/1.1\r\n{head}X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
        ),
        format!(
            "POST /a HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n1;a=\"\r\n\"\r\nx\r\n0\r\n\r\n{hidden}"
        ),
        format!(
            "POST /a HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx\r\n0\r\n\r\n{hidden}"
        ),
        format!("POST /a HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n{hidden}"),
        format!("GET /a HTTP/1.1\r\n{head}X: a\rTransfer-Encoding: chunked\r\n\r\n{hidden}"),
        format!("GET /a HTTP/1.1\r\n{head}X: a\0b\r\n\r\n{hidden}"),
        format!("GET http://x/a HTTP/1.1\r\n{head}\r\n{hidden}"),
        format!("GET /a HTTP/1.1\r\n{bearer}\r\nHost: x\r\nHost: y\r\n\r\n{hidden}"),
        format!("GET /a HTTP/1.1\r\n{head}Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n{hidden}"),
        format!(
            "GET /a HTTP/1.1\r\n{head}Connection: close, Content-Length\r\nContent-Length: {length}\r\n\r\n{hidden}"
        ),
        format!("GET /a\tHTTP/1.1\r\n{head}\r\n{hidden}"),
    ];
    for case in &cases {
        raw(&rig, case.as_bytes());
    }
    // Hidden requests have no token: not one of them came through, and what did is on record.
    let seen = String::from_utf8_lossy(&seen.lock().unwrap()).into_owned();
    assert!(
        !seen.contains("GET /smuggled HTTP/1.1\r\n") || seen.contains("content-length"),
        "{seen}"
    );
    let requests = seen.lines().filter(|line| line.ends_with(" HTTP/1.1")).count();
    let recorded = rig.exchanges().into_iter().filter(|it| it.0["verdict"] == "allow").count();
    let bodies = seen.matches("GET /smuggled").count();
    // A body that is found wrong on its way has its command and an error on record.
    let answered = rig.exchanges().into_iter().filter(|it| it.1["outcome"] == "ok").count();
    assert!((answered..=recorded).contains(&(requests - bodies)), "{answered} {recorded}: {seen}");
    assert!(answered >= 3, "{answered}");
    for exchange in rig.exchanges() {
        assert_ne!(exchange.0["text"], "GET /smuggled");
    }
    // Where it is in a body, the record has it in the body too.
    let kept = format!("{:?}", rig.entries_of("command"));
    assert!(kept.matches("GET /smuggled").count() >= bodies, "{bodies}: {kept}");
}

#[test]
fn attack_18_a_pipelined_request_needs_its_own_token() {
    let (port, seen) = tap();
    let rig = Rig::before(port, Plan::default());
    let bearer = format!("Authorization: Bearer {}", rig.token("alice"));
    let two = format!(
        "GET /one HTTP/1.1\r\nHost: x\r\n{bearer}\r\n\r\nGET /two HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    );
    let back = until_closed(&rig, &two);
    assert!(back.contains(" 200 ") && back.contains(" 401 "), "{back}");
    let seen = String::from_utf8_lossy(&seen.lock().unwrap()).into_owned();
    assert!(seen.contains("GET /one ") && !seen.contains("/two"), "{seen}");
}

#[test]
fn attack_18_a_target_that_frames_wrongly_is_not_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(Mutex::new(0));
    let counted = connections.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            *counted.lock().unwrap() += 1;
            let mut piece = [0; 4096];
            if stream.read(&mut piece).is_ok() {
                // More than it said: the beginning of another's answer.
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
                let _sent = stream.write_all(answer);
                std::thread::sleep(Duration::from_millis(300));
            }
        }
    });
    let rig = Rig::before(port, Plan::default());
    for _ in 0..3 {
        assert_eq!(rig.curl(&[], "/x").text(), "ok");
        std::thread::sleep(Duration::from_millis(350));
    }
    assert_eq!(*connections.lock().unwrap(), 3);
}

#[test]
fn attack_19_floods_of_heads_and_fields_are_bounded() {
    let rig = Rig::start();
    // A head without an end, and one with too many fields.
    let endless = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "a".repeat(1 << 20));
    let mut tcp = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
    let _refused = tcp.write_all(endless.as_bytes());
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut back = Vec::new();
    let _reset = tcp.read_to_end(&mut back);
    let back = String::from_utf8_lossy(&back).into_owned();
    assert!(back.is_empty() || back.starts_with("HTTP/1.1 431 "), "{back}");
    let many: String = (0..500).map(|n| format!("X-{n}: 1\r\n")).collect();
    let back = until_closed(&rig, &format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n"));
    assert!(back.starts_with("HTTP/1.1 431 "), "{back}");
    for _ in 0..3000 {
        if rig.entries_of("auth_failure").iter().filter(|it| it["cause"] == "request").count() >= 2
        {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("not on record: {:?}", rig.entries());
}

#[test]
fn attack_19_a_client_that_stalls_is_closed() {
    let rig = Rig::with(Plan {
        config: |config| config.head_timeout = Duration::from_millis(500),
        ..Plan::default()
    });
    let mut tcp = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nHost:").unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut back = Vec::new();
    // A reset is an end as well.
    let open = tcp.read_to_end(&mut back).is_err_and(|it| it.kind() == ErrorKind::WouldBlock);
    assert!(!open, "it is still open");
    // One that leaves in the middle of a body leaves an outcome.
    let bearer = format!("Authorization: Bearer {}", rig.token("alice"));
    let mut tcp = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
    let head =
        format!("POST /x HTTP/1.1\r\nHost: x\r\n{bearer}\r\nContent-Length: 9000000\r\n\r\nabc");
    tcp.write_all(head.as_bytes()).unwrap();
    for _ in 0..6000 {
        if !rig.entries_of("command").is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    tcp.shutdown(Shutdown::Both).unwrap();
    let (_, response) = rig.exchanges().pop().unwrap();
    assert_ne!(response["outcome"], "ok", "{response}");
}

#[test]
fn attack_19_a_client_that_does_not_read_is_closed() {
    let rig = Rig::with(Plan {
        config: |config| config.write_stall = Duration::from_millis(500),
        ..Plan::default()
    });
    let bearer = format!("Authorization: Bearer {}", rig.token("alice"));
    let mut tcp = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
    let head = format!("GET /sized?200000000 HTTP/1.1\r\nHost: x\r\n{bearer}\r\n\r\n");
    tcp.write_all(head.as_bytes()).unwrap();
    // Nothing is read: the answer is cut, and its outcome on record.
    let begun = Instant::now();
    while rig.entries_of("command").is_empty() && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let (_, response) = rig.exchanges().pop().unwrap();
    assert_eq!(response["outcome"], "cut", "{response}");
    assert!(response["bytes"].as_u64().unwrap() < 100_000_000, "{response}");
}

#[test]
fn attack_20_the_client_s_word_for_who_it_is_does_not_arrive() {
    let rig = Rig::start();
    let names = [
        "X-Forwarded-For",
        "X_Forwarded_For",
        "X-Forwarded-User",
        "X-Real-IP",
        "Forwarded",
        "X-Remote-User",
        "Remote_User",
        "X-Greffier-Subject",
        "x_greffier_subject",
        "X-WebAuth-User",
        "X-Authenticated-User",
    ];
    let mut args: Vec<String> = Vec::new();
    for name in names {
        args.extend(["-H".to_owned(), format!("{name}: root")]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let seen = rig.curl(&args, "/x").json();
    assert!(!seen["fields"].to_string().contains("root"), "{}", seen["fields"]);
    // Nor can Connection take away what we say, or who was asked.
    for name in ["Authorization", "X-Greffier-Subject", "Host", "X-Forwarded-For", "Cookie"] {
        let header = format!("Connection: close, {name}");
        let said = rig.curl(&["-o", "/dev/null", "-w", "%{http_code}", "-H", &header], "/x");
        assert_eq!(said.text(), "400", "{name}");
    }
}

#[test]
fn attack_22_no_token_is_in_the_record() {
    let rig = Rig::start();
    let token = rig.token("alice");
    let header = format!("Authorization: Bearer {token}");
    let mut curl = rig::curl();
    curl.args(["-H", &header, "-H", "Cookie: session=hunter2", "-H", "X-Api-Key: sk-hunter3"]);
    curl.arg(rig.url("/cookie?access_token=hunter4&password=hunter5&q=1"));
    assert!(curl.output().unwrap().status.success());
    let exchange = rig.exchanges().pop().unwrap();
    let recorded = String::from_utf8(rig.recorded(&exchange)).unwrap();
    // The answer's body repeats what the service was sent: only what we record is looked at.
    let (head, _) = recorded.split_once("\r\n\r\n").unwrap();
    let command = exchange.0.to_string();
    for secret in [&*token, "hunter2", "hunter3", "hunter4", "hunter5"] {
        assert!(!head.contains(secret) && !command.contains(secret), "{secret}: {head} {command}");
    }
    assert!(command.contains("q=1"), "{command}");
}

#[test]
fn attack_20_no_field_and_no_name_of_a_program_opens_what_is_shut() {
    let (port, seen) = tap();
    let policy = r#"
        default = "allow"
        [[rule]]
        name = "no-admin"
        effect = "deny"
        when = { resources = ["/admin*"] }
    "#;
    let rig = Rig::before(port, Plan { policy: policy.into(), ..Plan::default() });
    // What other proxies took for the path that is asked for (CVE-2026-40575), for who asks
    // (CVE-2026-20896), or for a health check, which needs no token (CVE-2026-34457).
    let fields = [
        "X-Forwarded-Uri: /public",
        "X-Original-URL: /public",
        "X-Original-URI: /public",
        "X-Rewrite-URL: /public",
        "X-Forwarded-Path: /public",
        "X-Forwarded-Method: OPTIONS",
        "X-HTTP-Method-Override: OPTIONS",
        "X-Forwarded-For: 127.0.0.1",
        "X-Real-IP: 127.0.0.1",
        "Forwarded: for=127.0.0.1",
        "User-Agent: GoogleHC/1.0",
        "User-Agent: kube-probe/1.31",
    ];
    let code = ["-o", "/dev/null", "-w", "%{http_code}"];
    for field in fields {
        let said = rig.curl(&[&code[..], &["-H", field]].concat(), "/admin");
        assert_eq!(said.text(), "403", "{field}");
        let nobody = Said::of(rig::curl().args(code).args(["-H", field]).arg(rig.url("/public")));
        assert_eq!(nobody.text(), "401", "{field}");
    }
    // What stands behind the path is not the path (CVE-2025-54576, CVE-2026-41059).
    let bearer = format!("Authorization: Bearer {}", rig.token("alice"));
    for target in [
        "/admin?/public",
        "/admin?x=/public",
        "/admin#/public",
        "/admin?#/public",
        "/admin/%23/public",
        "/admin/%3f/../public",
        "/public/../admin",
        "//x/../admin",
    ] {
        let back = alone(&rig, target, &bearer);
        assert!(
            back.starts_with("HTTP/1.1 403 ") || back.starts_with("HTTP/1.1 400 "),
            "{target}: {back}"
        );
    }
    assert!(seen.lock().unwrap().is_empty());
    // Who asked, as the record has it, is who connected.
    for command in rig.entries_of("command") {
        assert!(
            command["details"]["peer"].as_str().unwrap().starts_with("127.0.0.1:"),
            "{command}"
        );
        assert_eq!(command["verdict"], "deny");
    }
}

#[test]
fn attack_21_a_path_is_what_was_judged_or_nothing() {
    let (port, tap) = rig::tap::Tap::start();
    let policy = r#"
        default = "allow"
        [[rule]]
        name = "no-admin"
        effect = "deny"
        when = { resources = ["/admin*"] }
    "#;
    let rig = Rig::before(port, Plan { policy: policy.into(), ..Plan::default() });
    let bearer = format!("Authorization: Bearer {}", rig.token("alice"));
    let disguised = [
        "/admin",
        "/%61dmin",
        "/%61%64%6d%69%6e",
        "/./admin",
        "/x/../admin",
        "/x/%2e%2e/admin",
        "/x/%2E%2E/admin",
        "/x/.%2e/admin",
        "//admin",
        "///admin",
        "/x//../admin",
        "/x/..//admin",
        "/;/admin",
        "/;x=1/admin",
        "/x;y/../admin",
        "/admin;x",
        "/admin/",
        "/admin/.",
        "/admin/x/..",
        "/x/..;/admin",
        "/..;/admin",
        "/../admin",
        "/x/../../admin",
        "/%2fadmin",
        "/x%2f..%2fadmin",
        "/x%5c..%5cadmin",
        "/x\\..\\admin",
        "\\admin",
        "/admin%00",
        "/x/%00/../admin",
        "/admin%0a",
        "/admin%",
        "/admin%2",
        "/admin%zz",
        "/%u0061dmin",
        "admin",
        "*",
        "",
        "http://x/admin",
        "https://admin",
        "/x y/../admin",
        "/admin%09",
        "/.//admin",
        "/.;/admin",
        "/x/%252e%252e/admin",
    ];
    let mut arrived = Vec::new();
    for path in disguised {
        let back = alone(&rig, path, &bearer);
        if back.starts_with("HTTP/1.1 200 ") {
            arrived.push(path);
        }
    }
    // Encoded twice: a path of that name to us and to what reads once; it stays encoded as it came.
    // And what is left of an empty segment and `..` is one reading (RFC 3986, 5.2.4), for the target too.
    assert_eq!(arrived, ["/x//../admin", "/x/%252e%252e/admin"]);
    let (seen, rest) = tap.seen();
    assert!(rest.is_empty(), "{rest:?}");
    let seen: Vec<&str> = seen.iter().map(|it| it.target.as_str()).collect();
    assert_eq!(seen, ["/x/admin", "/x/%252e%252e/admin"]);
    // What is allowed arrives as it is on record.
    for path in
        ["/a/./b/../c", "/%7euser/%41", "/a//b", "/a;v=1/b", "/%e4%f6", "/a%20b?x=%2e%2e/admin"]
    {
        let back = alone(&rig, path, &bearer);
        assert!(back.starts_with("HTTP/1.1 200 "), "{path}: {back}");
        let (command, _) = rig.exchanges().pop().unwrap();
        let last = tap.seen().0.pop().unwrap();
        assert_eq!(command["text"], format!("GET {}", last.target), "{path}");
    }
}

#[test]
fn attack_22_no_secret_is_in_the_record_or_an_answer_whatever_becomes_of_a_request() {
    let policy = r#"
        default = "allow"
        [[rule]]
        name = "no-admin"
        effect = "deny"
        when = { resources = ["/admin*"] }
    "#;
    let (port, _) = tap();
    let plan = || Plan { policy: policy.into(), ..Plan::default() };
    let (there, away) = (Rig::before(port, plan()), Rig::before(1, plan()));
    let query = "access_token=hunter4&password=hunter5&api_key=hunter6&client_secret=hunter7";
    for (rig, path, more, wanted) in [
        (&there, "/x", "", "200"),
        (&there, "/admin", "", "403"),
        (&there, "/x%00", "", "400"),
        (&there, "/x", "Connection: Authorization", "400"),
        (&there, "/x", "Transfer-Encoding: gzip", "400"),
        (&there, "/x", "Upgrade: websocket\nConnection: Upgrade", "403"),
        (&away, "/x", "", "502"),
    ] {
        let token = rig.token("alice");
        let mut fields = vec![
            format!("Authorization: Bearer {token}"),
            "Cookie: session=hunter2".into(),
            "X-Api-Key: sk-hunter3".into(),
            "X-Auth-Token: hunter8".into(),
            "Proxy-Authorization: Basic hunter9".into(),
        ];
        fields.extend(more.split('\n').filter(|it| !it.is_empty()).map(str::to_owned));
        let mut curl = rig::curl();
        for field in &fields {
            curl.args(["-H", field]);
        }
        let url = rig.url(&format!("{path}?{query}"));
        let said = Said::of(curl.args(["-i", "--path-as-is"]).arg(&url)).text();
        assert!(said.starts_with(&format!("HTTP/1.1 {wanted} ")), "{path} {more}: {said}");
        // A token that is none is not kept either.
        let strange = format!("Authorization: Bearer {}x", &token[..token.len() - 9]);
        let unknown = Said::of(rig::curl().args(["-i", "-H", &strange]).arg(&url)).text();
        assert!(unknown.starts_with("HTTP/1.1 401 ") || wanted == "400", "{unknown}");
        rig.exchanges();
        let kept = format!("{said} {unknown} {:?}", rig.entries());
        // The parts that are secret: a header and claims are no more than who it was.
        let signature = token.rsplit('.').next().unwrap();
        for secret in [signature, &signature[..40], "hunter"] {
            assert!(!kept.contains(secret), "{path} {more}: {kept}");
        }
    }
}
