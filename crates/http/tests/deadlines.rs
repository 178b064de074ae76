//! Targets that stop: before they read, before they answer, in the middle.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use rig::{Plan, Rig};
use serde_json::json;

/// A target that does this with each connection.
fn target(does: fn(&mut BufReader<TcpStream>)) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || does(&mut BufReader::new(stream.unwrap())));
        }
    });
    port
}

fn head(reader: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
    head
}

fn says(reader: &mut BufReader<TcpStream>, text: &str) {
    reader.get_mut().write_all(text.as_bytes()).unwrap();
}

fn stop() {
    std::thread::sleep(Duration::from_secs(60));
}

fn rig(does: fn(&mut BufReader<TcpStream>)) -> Rig {
    let short = |target: &mut http_proxy::Target| {
        target.answer_timeout = Duration::from_secs(1);
        target.answer_stall = Duration::from_secs(1);
    };
    Rig::before(target(does), Plan { target: short, ..Plan::default() })
}

/// The same with more patience: for targets that are not slow, on a machine that may be.
fn patient(does: fn(&mut BufReader<TcpStream>)) -> Rig {
    Rig::before(target(does), Plan::default())
}

/// What the last exchange came to.
fn outcome(rig: &Rig) -> (String, String) {
    let (_, response) = rig.exchanges().pop().unwrap();
    let text = |it: &serde_json::Value| it.as_str().unwrap_or_default().to_owned();
    (text(&response["outcome"]), text(&response["details"]["cause"]))
}

#[test]
fn a_target_that_does_not_answer_is_given_up() {
    let rig = rig(|reader| {
        head(reader);
        stop();
    });
    let said = rig.curl(&["-w", "\n%{http_code}"], "/x").text();
    assert!(said.ends_with("\n504") && said.contains("did not answer in time"), "{said}");
    assert_eq!(outcome(&rig), ("error".into(), "target_slow".into()));
}

#[test]
fn a_target_that_never_reads_is_given_up() {
    let rig = rig(|_| stop());
    let file = rig.dir.path().join("file");
    std::fs::write(&file, vec![b'x'; 20_000_000]).unwrap();
    let body = format!("@{}", file.display());
    let args = ["-w", "\n%{http_code}", "-H", "Expect:", "--data-binary", &body];
    let said = rig.curl(&args, "/x").text();
    assert!(said.ends_with("\n504"), "{said}");
    assert_eq!(outcome(&rig), ("error".into(), "target_slow".into()));
}

#[test]
fn a_body_that_takes_longer_than_an_answer_may_is_no_slow_target() {
    let rig = rig(|reader| {
        let head = head(reader);
        let length = head.to_lowercase();
        let length = length.lines().find_map(|it| it.strip_prefix("content-length: ")).unwrap();
        let mut all = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut all).unwrap();
        says(reader, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    });
    let mut tcp = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
    let token = rig.token("alice");
    let head = format!(
        "POST /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 30000\r\n\r\n"
    );
    tcp.write_all(head.as_bytes()).unwrap();
    for _ in 0..30 {
        tcp.write_all(&[b'x'; 1000]).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut all = String::new();
    tcp.read_to_string(&mut all).unwrap();
    assert!(all.starts_with("HTTP/1.1 200 ") && all.ends_with("done"), "{all}");
    assert_eq!(outcome(&rig).0, "ok");
}

#[test]
fn an_answer_that_stops_in_the_middle_is_cut_and_on_record() {
    let rig = rig(|reader| {
        head(reader);
        says(reader, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nbegun");
        stop();
    });
    let said = rig.curl(&[], "/x");
    // 18: a partial file. Nobody takes it for whole.
    assert_eq!((said.code, said.text().as_str()), (Some(18), "begun"), "{}", said.err);
    assert_eq!(outcome(&rig), ("lost".into(), "target_slow".into()));
    let recorded = rig.recorded(&rig.exchanges().pop().unwrap());
    assert!(recorded.ends_with(b"begun"), "{}", String::from_utf8_lossy(&recorded));
}

#[test]
fn what_came_before_a_target_broke_off_is_passed_on() {
    let rig = patient(|reader| {
        head(reader);
        says(reader, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        std::thread::sleep(Duration::from_millis(200));
        // At once with its end, which must not be seen first.
        says(reader, &"x".repeat(50_000));
    });
    let said = rig.curl(&[], "/x");
    assert_eq!((said.code, said.text().len()), (Some(18), 50_000), "{}", said.err);
    assert_eq!(outcome(&rig), ("lost".into(), "target_broke".into()));
}

#[test]
fn an_event_stream_may_be_silent_for_longer() {
    let rig = rig(|reader| {
        head(reader);
        says(reader, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
        std::thread::sleep(Duration::from_millis(2500));
        says(reader, "data: 2\n\n");
    });
    assert_eq!(rig.curl(&["-N"], "/x").text(), "data: 1\n\ndata: 2\n\n");
    assert_eq!(outcome(&rig).0, "ok");
}

#[test]
fn hints_before_an_answer_end_here() {
    let rig = patient(|reader| {
        head(reader);
        says(reader, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n");
        says(reader, "HTTP/1.1 102 Processing\r\n\r\n");
        says(reader, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    });
    let said = rig.curl(&["-i"], "/x").text();
    assert!(said.starts_with("HTTP/1.1 200 ") && said.ends_with("done"), "{said}");
    assert!(!said.contains("a.css"), "what was not judged as an answer is none: {said}");
}

#[test]
fn a_target_may_refuse_a_body_before_it_comes() {
    let rig = patient(|reader| {
        assert!(head(reader).to_lowercase().contains("expect: 100-continue"));
        says(
            reader,
            "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
        );
    });
    let file = rig.dir.path().join("file");
    std::fs::write(&file, vec![b'x'; 2_000_000]).unwrap();
    let body = format!("@{}", file.display());
    let args = ["-w", "\n%{http_code}", "-H", "Expect: 100-continue", "--data-binary", &body];
    let said = rig.curl(&args, "/x");
    assert!(said.text().ends_with("no\n413"), "{said:?}");
    let (_, response) = rig.exchanges().pop().unwrap();
    assert_eq!((&response["outcome"], &response["code"]), (&json!("error"), &json!("413")));
}

#[test]
fn what_is_masked_is_no_part_of_what_was_not() {
    // An entity over two ranges would be found in neither, and bytes are counted in another text.
    let masking = "version = 1\n[[rule]]\nname = \"cards\"\nentity = [\"CREDIT_CARD\"]\n\
                   client = { operator = \"mask\" }\nrecord = { operator = \"mask\" }\n";
    let port = target(|reader| {
        while let asked @ 1.. = head(reader).len() {
            let _ = asked;
            says(
                reader,
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 26\r\n\
                 ETag: \"1\"\r\nAccept-Ranges: bytes\r\nContent-Digest: sha-256=:AAAA:\r\n\
                 Content-MD5: AAAA\r\nX-Kept: 1\r\n\r\ncard 4111 1111 1111 1111 .",
            );
        }
    });
    let rig = Rig::before(port, Plan { masking: masking.into(), ..Plan::default() });
    let said =
        rig.curl(&["-i", "-H", "Range: bytes=0-9", "-H", "If-None-Match: \"1\""], "/x").text();
    let (fields, body) = said.split_once("\r\n\r\n").unwrap();
    let fields = fields.to_lowercase();
    assert!(fields.starts_with("http/1.1 200 ") && fields.contains("x-kept"), "{fields}");
    for gone in ["etag", "accept-ranges", "digest", "content-md5", "content-range"] {
        assert!(!fields.contains(gone), "{gone}: {fields}");
    }
    assert!(body.starts_with("card ") && body.ends_with(" .") && !body.contains("4111"), "{body}");
    if let Some(length) = fields.lines().find_map(|it| it.strip_prefix("content-length: ")) {
        assert_eq!(length.parse::<usize>().unwrap(), body.len());
    }
    // Without anything to mask, ranges are the target's matter.
    let plain = Rig::before(
        target(|reader| {
            assert!(head(reader).to_lowercase().contains("range: bytes=0-3"));
            says(
                reader,
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/10\r\n\
                 Content-Length: 4\r\nETag: \"1\"\r\n\r\n0123",
            );
        }),
        Plan::default(),
    );
    let said = plain.curl(&["-i", "-r", "0-3"], "/x").text();
    assert!(said.starts_with("HTTP/1.1 206 ") && said.contains("bytes 0-3/10"), "{said}");
}
