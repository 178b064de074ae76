//! Connections that become another protocol's.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rig::{Plan, Rig};
use serde_json::json;
use terminal::frames::{Kind, Reader};

/// Asks for a protocol as alice, and gives the answer's head and the connection.
fn ask(rig: &Rig, word: &str, token: &str) -> (String, BufReader<TcpStream>) {
    let mut tcp = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!(
        "GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: {word}\r\n\
         Sec-WebSocket-Extensions: permessage-deflate\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    tcp.write_all(head.as_bytes()).unwrap();
    let mut reader = BufReader::new(tcp);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
    (head.to_lowercase(), reader)
}

fn allowed() -> Rig {
    Rig::with(Plan { target: |target| target.upgrades = true, ..Plan::default() })
}

#[test]
fn both_directions_pass_and_are_on_record_in_order() {
    let rig = allowed();
    let (head, mut reader) = ask(&rig, "WebSocket", &rig.token("alice"));
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("upgrade: websocket") && head.contains("x-extensions: false"), "{head}");
    for text in ["hello", "again"] {
        reader.get_mut().write_all(text.as_bytes()).unwrap();
        let mut back = vec![0; text.len() + 1];
        reader.read_exact(&mut back).unwrap();
        assert_eq!(back, format!("{text}!").as_bytes());
        // It is on record by the time that it is here.
        let outputs = rig.entries_of("output");
        assert!(outputs.len() >= 3, "{outputs:?}");
    }
    drop(reader);
    let exchange = rig.exchanges().pop().unwrap();
    assert_eq!((&exchange.0["class"], &exchange.1["code"]), (&json!("upgrade"), &json!("101")));
    assert_eq!((&exchange.1["outcome"], &exchange.1["input_bytes"]), (&json!("ok"), &json!(10)));
    let mut frames = Reader::new();
    frames.push(&rig.recorded(&exchange));
    let first = frames.next().unwrap().unwrap();
    assert!(first.bytes.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"), "{first:?}");
    let mut said = Vec::new();
    while let Some(frame) = frames.next().unwrap() {
        said.push((frame.kind, String::from_utf8(frame.bytes).unwrap()));
    }
    let is = |kind, text: &str| (kind, text.to_owned());
    let wanted = [
        is(Kind::Input, "hello"),
        is(Kind::Output, "hello!"),
        is(Kind::Input, "again"),
        is(Kind::Output, "again!"),
    ];
    assert_eq!(said, wanted);
}

#[test]
fn attack_35_the_lease_s_end_ends_it() {
    let rig = allowed();
    let (head, mut reader) = ask(&rig, "websocket", &rig.token("alice"));
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    let alice =
        identity::Selector::Principal { issuer: rig.issuer.iss().into(), subject: "alice".into() };
    assert_eq!(rig.verifier.leases().end(&alice, "enough"), 1);
    assert_eq!(reader.read(&mut [0; 10]).unwrap(), 0);
    let (_, response) = rig.exchanges().pop().unwrap();
    assert_eq!(
        (&response["outcome"], &response["details"]["cause"]),
        (&json!("cut"), &json!("revoked"))
    );
}

#[test]
fn it_is_refused_unless_allowed_and_other_protocols_are_not_heard() {
    let rig = Rig::start();
    let (head, _) = ask(&rig, "websocket", &rig.token("alice"));
    assert!(head.starts_with("http/1.1 403 "), "{head}");
    assert_eq!(rig.entries_of("auth_failure")[0]["cause"], "upgrade");
    let said = rig.curl(&["--http2", "-w", " %{http_version}"], "/x");
    assert!(
        said.text().contains("\"method\":\"GET\"") && said.text().ends_with(" 1.1"),
        "{said:?}"
    );
    assert!(!said.text().contains("h2c"), "{said:?}");
}

#[test]
fn attack_26_a_refused_upgrade_leaves_no_way_through() {
    // A target that does not switch (CVE-2018-1002105), or sends elsewhere (CVE-2020-8559): whatever
    // comes next is a request as any other.
    for answer in [
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(String::new()));
        let kept = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|read| read > 0) {
                    kept.lock().unwrap().push_str(&line);
                    if line == "\r\n" {
                        reader.get_mut().write_all(answer.as_bytes()).unwrap();
                    }
                    line.clear();
                }
            }
        });
        let plan = Plan { target: |target| target.upgrades = true, ..Plan::default() };
        let rig = Rig::before(port, plan);
        let (head, mut reader) = ask(&rig, "websocket", &rig.token("alice"));
        assert!(!head.starts_with("http/1.1 101 "), "{head}");
        let hidden = "GET /hidden HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let mut back = String::new();
        if reader.get_mut().write_all(hidden.as_bytes()).is_ok() {
            let _reset = reader.read_to_string(&mut back);
        }
        assert!(back.is_empty() || back.contains("HTTP/1.1 401 "), "{back}");
        // The same bytes behind the request, before its answer.
        let mut tcp = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let both = format!(
            "GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Authorization: Bearer {}\r\n\r\n{hidden}",
            rig.token("alice")
        );
        tcp.write_all(both.as_bytes()).unwrap();
        let _reset = tcp.read_to_string(&mut back);
        assert!(!seen.lock().unwrap().contains("/hidden"), "{answer}");
        assert_eq!(rig.exchanges().len(), 2);
    }
}
