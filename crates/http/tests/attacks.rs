//! Attacks 18 to 22 of the catalogue, each against the proxy: smuggling, floods, identity fields,
//! paths in disguise. A case is refused, or seen alike by the record and the target.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests"
)]

mod rig;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rig::{Plan, Rig};

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
        "GET /one HTTP/1.1\r\nHost: x\r\n{bearer}\r\n\r\nGET /two HTTP/1.1\r\nHost: x\r\n\r\n"
    );
    let back = raw(&rig, two.as_bytes());
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
    let back = raw(&rig, format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes());
    assert!(back.starts_with("HTTP/1.1 431 "), "{back}");
    for _ in 0..100 {
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
    let begun = Instant::now();
    let mut tcp = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nHost:").unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut back = Vec::new();
    let _reset = tcp.read_to_end(&mut back);
    assert!(begun.elapsed() < Duration::from_secs(15));
    // One that leaves in the middle of a body leaves an outcome.
    let bearer = format!("Authorization: Bearer {}", rig.token("alice"));
    let mut tcp = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
    let head =
        format!("POST /x HTTP/1.1\r\nHost: x\r\n{bearer}\r\nContent-Length: 9000000\r\n\r\nabc");
    tcp.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
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
