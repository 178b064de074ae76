//! Attack 19 of the catalogue in HTTP/2: clients that make much work of few bytes. Each flood ends
//! with its connection, or costs no more than its share; memory stays flat, and others are served.
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use dev_issuer::{Claims, DevIssuer};
use serde_json::{Value, json};

use crate::rig::h2::{self, Client, Frame};
use crate::rig::{AUDIENCE, Plan, Rig, Said, curl};

/// How long an end may take to arrive.
const WAIT: Duration = Duration::from_secs(20);
/// What a flood may leave in memory, in KiB: the allocator's own, other tests' too.
const MOST_KIB: u64 = 128 * 1024;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|it| it.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn rig() -> Rig {
    Rig::with(Plan {
        config: |config| {
            config.write_stall = Duration::from_secs(1);
            config.head_timeout = Duration::from_secs(10);
        },
        ..Plan::default()
    })
}

/// The fields of a request for a path, as alice.
fn request(rig: &Rig, method: &str, path: &str) -> Vec<u8> {
    h2::literals(&[
        (":method", method.to_owned()),
        (":scheme", "http".to_owned()),
        (":path", path.to_owned()),
        (":authority", "x".to_owned()),
        ("authorization", format!("Bearer {}", rig.token("alice"))),
    ])
}

/// Runs a flood: it leaves no memory behind, and others are still served.
fn bounded(rig: &Rig, name: &str, flood: impl FnOnce()) {
    let before = resident_kib();
    flood();
    let after = resident_kib();
    assert!(after < before + MOST_KIB, "{name}: {before} KiB, then {after}");
    assert_eq!(rig.curl(&["-o", "/dev/null", "-w", "%{http_code}"], "/x").text(), "200", "{name}");
}

/// What became of a flood.
#[derive(Debug)]
struct Flood {
    /// Turns that went before the end was seen.
    went: u32,
    /// Whether the other side ended the connection.
    ended: bool,
    /// The code it gave. What closes with bytes unread resets, and then this may be lost.
    code: Option<u32>,
}

/// Sends frames until the other side has had enough.
fn flood(client: &mut Client, most: u32, mut frames: impl FnMut(u32) -> Vec<Frame>) -> Flood {
    let goaway = |it: &Frame| it.kind == h2::GOAWAY;
    let mut went = most;
    for turn in 0..most {
        let bytes: Vec<u8> = frames(turn).iter().flat_map(Frame::bytes).collect();
        let refused = client.write(&bytes).is_err();
        let end = match turn % 64 {
            63 => client.until(Duration::from_millis(1), goaway),
            _ => None,
        };
        if let Some(end) = end {
            return Flood { went: turn + 1, ended: true, code: Some(end.code()) };
        }
        if refused {
            went = turn + 1;
            break;
        }
    }
    let code = client.until(WAIT, |it| goaway(it) || it.kind == h2::PING).filter(goaway);
    Flood { went, ended: code.is_some() || !client.lives(), code: code.map(|it| it.code()) }
}

#[test]
fn attack_19_rapid_reset_ends_the_connection_or_is_served() {
    let rig = rig();
    let block = request(&rig, "GET", "/slow?20000");
    bounded(&rig, "rapid reset", || {
        let mut client = Client::connect(rig.port);
        let became = flood(&mut client, 3000, |turn| {
            let (stream, flags) = (turn * 2 + 1, h2::END_HEADERS | h2::END_STREAM);
            let cancel = 8_u32.to_be_bytes();
            vec![
                Frame::new(h2::HEADERS, flags, stream, block.clone()),
                Frame::new(h2::RST_STREAM, 0, stream, cancel),
            ]
        });
        assert!(
            became.ended && became.code.is_none_or(|it| it == 11),
            "ENHANCE_YOUR_CALM: {became:?}"
        );
    });
    // What got through has an outcome.
    let exchanges = rig.exchanges();
    assert!(exchanges.len() < 1000, "{}", exchanges.len());
}

#[test]
fn attack_19_made_you_reset_ends_the_connection() {
    let rig = rig();
    let block = request(&rig, "GET", "/slow?20000");
    bounded(&rig, "made you reset", || {
        let mut client = Client::connect(rig.port);
        let became = flood(&mut client, 3000, |turn| {
            let (stream, flags) = (turn * 2 + 1, h2::END_HEADERS | h2::END_STREAM);
            // An increment of nothing: the stream's error is ours to tell (RFC 9113, 6.9).
            vec![
                Frame::new(h2::HEADERS, flags, stream, block.clone()),
                Frame::new(h2::WINDOW_UPDATE, 0, stream, [0; 4]),
            ]
        });
        assert!(became.ended, "{became:?}");
    });
    assert!(rig.exchanges().len() < 1000);
}

#[test]
fn attack_19_continuations_without_an_end_are_cut() {
    let rig = rig();
    bounded(&rig, "CONTINUATION", || {
        let mut client = Client::connect(rig.port);
        let begin = h2::literals(&[("x", "y")]);
        client.send(&Frame::new(h2::HEADERS, 0, 1, begin)).unwrap();
        let field = h2::literals(&[("a", "b".repeat(1000))]);
        let became =
            flood(&mut client, 20_000, |_| vec![Frame::new(h2::CONTINUATION, 0, 1, field.clone())]);
        assert!(became.ended && became.went < 20_000, "{became:?}");
        // Empty ones, which no limit of a list's size finds.
        let mut client = Client::connect(rig.port);
        client.send(&Frame::new(h2::HEADERS, 0, 1, h2::literals(&[("x", "y")]))).unwrap();
        let became = flood(&mut client, 20_000, |_| vec![Frame::new(h2::CONTINUATION, 0, 1, [])]);
        assert!(became.ended && became.went < 20_000, "{became:?}");
    });
}

#[test]
fn attack_19_who_asks_and_does_not_read_is_cut() {
    let rig = rig();
    let settings: [u8; 6] = [0, 3, 0, 0, 0, 100];
    for (name, frame) in [
        ("PING", Frame::new(h2::PING, 0, 0, [1; 8])),
        ("SETTINGS", Frame::new(h2::SETTINGS, 0, 0, settings)),
    ] {
        bounded(&rig, name, || {
            let mut client = Client::connect(rig.port);
            let many: Vec<u8> = frame.bytes().repeat(4096);
            // Their answers are not read: the proxy must stop to read in turn, then give up.
            let all = (0..2000).find(|_| client.write(&many).is_err());
            assert!(all.is_some(), "{name}: {} MiB were taken", (many.len() * 2000) >> 20);
        });
    }
}

#[test]
fn attack_19_empty_frames_cost_nothing_but_their_reading() {
    let rig = rig();
    let block = request(&rig, "POST", "/x");
    bounded(&rig, "empty DATA", || {
        let mut client = Client::connect(rig.port);
        client.send(&Frame::new(h2::HEADERS, h2::END_HEADERS, 1, block)).unwrap();
        let many: Vec<u8> = Frame::new(h2::DATA, 0, 1, []).bytes().repeat(1000);
        let cut = (0..200).any(|_| client.write(&many).is_err());
        let last = Frame::new(h2::DATA, h2::END_STREAM, 1, *b"end");
        let ends = |it: &Frame| {
            it.kind == h2::GOAWAY || (it.stream == 1 && it.flags & h2::END_STREAM != 0)
        };
        // Cut, or all of it was read and the request answered.
        let answered = !cut && client.send(&last).is_ok() && client.until(WAIT, ends).is_some();
        assert!(answered || !client.lives());
    });
    // If it came as far as that, it is a request whose body is what was in its frames.
    let all = rig.exchanges();
    for (_, response) in all.iter().filter(|it| it.0["operation"] == "POST") {
        assert!(response["input_bytes"].as_u64().unwrap_or(0) <= 3, "{response}");
    }
}

#[test]
fn attack_19_streams_beyond_the_limit_are_refused() {
    let rig = rig();
    let block = request(&rig, "GET", "/slow?2000");
    bounded(&rig, "streams", || {
        let mut client = Client::connect(rig.port);
        for turn in 0..500 {
            let flags = h2::END_HEADERS | h2::END_STREAM;
            if client.send(&Frame::new(h2::HEADERS, flags, turn * 2 + 1, block.clone())).is_err() {
                break;
            }
        }
        let mut refused = 0;
        let end = client.until(WAIT, |it| {
            it.kind == h2::GOAWAY || (it.kind == h2::RST_STREAM && it.code() == 7)
        });
        let mut end = end;
        while let Some(frame) = end.take() {
            if frame.kind == h2::GOAWAY {
                refused = 500;
                break;
            }
            refused += 1;
            end = client.until(Duration::from_secs(3), |it| {
                it.kind == h2::GOAWAY || (it.kind == h2::RST_STREAM && it.code() == 7)
            });
        }
        assert!(refused > 0 || !client.lives());
    });
    assert!(rig.exchanges().len() <= http_proxy::MAX_STREAMS as usize + 1);
}

#[test]
fn attack_19_a_table_that_unpacks_to_much_is_refused() {
    let rig = rig();
    bounded(&rig, "a bomb of fields", || {
        let mut client = Client::connect(rig.port);
        // One long field is remembered, and named again and again by one byte.
        let mut block = request(&rig, "GET", "/x");
        block.push(0x40);
        h2::integer(&mut block, 0, 7, 1);
        block.push(b'x');
        h2::integer(&mut block, 0, 7, 3900);
        block.extend([b'y'; 3900]);
        block.extend([0xbe; 10_000]);
        let flags = h2::END_HEADERS | h2::END_STREAM;
        client.send(&Frame::new(h2::HEADERS, flags, 1, block)).unwrap();
        let answer = client.until(WAIT, |it| it.stream == 1 || it.kind == h2::GOAWAY);
        assert!(answer.is_some());
        // A table beyond what we offered is an error of the connection (RFC 7541, 6.3).
        let mut client = Client::connect(rig.port);
        let mut block = Vec::new();
        h2::integer(&mut block, 0x20, 5, 1 << 30);
        block.extend(request(&rig, "GET", "/x"));
        client.send(&Frame::new(h2::HEADERS, flags, 1, block)).unwrap();
        let end = client.until(WAIT, |it| it.kind == h2::GOAWAY);
        assert!(end.is_some() || !client.lives());
    });
    // Nothing of it was a request.
    let asked = |it: &&serde_json::Value| it["via"] == "h2";
    assert_eq!(rig.entries_of("command").iter().filter(asked).count(), 0);
}

/// A client whose streams have no window until it says so.
fn shut(port: u16) -> Client {
    let mut client = Client::connect(port);
    client.send(&Frame::new(h2::SETTINGS, 0, 0, [0, 4, 0, 0, 0, 0])).unwrap();
    client
}

#[test]
fn attack_19_a_stream_whose_client_takes_nothing_is_given_up_and_no_other() {
    let rig = rig();
    let flags = h2::END_HEADERS | h2::END_STREAM;
    let reset = |stream| move |it: &Frame| it.kind == h2::RST_STREAM && it.stream == stream;
    bounded(&rig, "no window", || {
        let mut client = shut(rig.port);
        // Long, short, and a refusal of ours.
        let nobody = h2::literals(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/x"),
            (":authority", "x"),
        ]);
        let asked = [
            request(&rig, "GET", "/sized?5000000"),
            request(&rig, "GET", "/x"),
            nobody,
            request(&rig, "GET", "/ticks?1000"),
        ];
        for (stream, block) in (1..).step_by(2).zip(asked) {
            client.send(&Frame::new(h2::HEADERS, flags, stream, block)).unwrap();
            let end = client.until(WAIT, reset(stream));
            assert_eq!(end.map(|it| it.code()), Some(8), "CANCEL of {stream}");
        }
        // A window that opens for part of an answer, then no more.
        let block = request(&rig, "GET", "/sized?5000000");
        client.send(&Frame::new(h2::HEADERS, flags, 9, block)).unwrap();
        client.send(&Frame::new(h2::WINDOW_UPDATE, 0, 9, 40_000_u32.to_be_bytes())).unwrap();
        assert!(client.until(WAIT, reset(9)).is_some());
        // The connection goes on: who takes what there is gets all of it.
        client.send(&Frame::new(h2::SETTINGS, 0, 0, [0, 4, 0, 0, 255, 255])).unwrap();
        client.send(&Frame::new(h2::WINDOW_UPDATE, 0, 0, 1_000_000_u32.to_be_bytes())).unwrap();
        let block = request(&rig, "GET", "/sized?60000");
        client.send(&Frame::new(h2::HEADERS, flags, 11, block)).unwrap();
        let last = |it: &Frame| it.stream == 11 && it.flags & h2::END_STREAM != 0;
        assert!(client.until(WAIT, last).is_some());
    });
    let causes: Vec<_> = rig
        .exchanges()
        .iter()
        .filter(|it| it.0["via"] == "h2")
        .map(|it| (it.1["outcome"].clone(), it.1["details"]["cause"].clone()))
        .collect();
    let slow = (json!("cut"), json!("client_slow"));
    let well = (json!("ok"), Value::Null);
    // A short answer was ready to its end before anybody took it: it is on record as answered.
    assert_eq!(causes.len(), 5, "{causes:?}");
    assert_eq!((&causes[0], &causes[2], &causes[3], &causes[4]), (&slow, &slow, &slow, &well));
}

#[test]
fn attack_19_a_connection_that_is_not_used_is_closed() {
    let rig = Rig::with(Plan {
        config: |config| {
            config.head_timeout = Duration::from_millis(500);
            config.write_stall = Duration::from_millis(500);
            config.connection_idle = Duration::from_secs(1);
        },
        ..Plan::default()
    });
    for begin in
        [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\n"]
    {
        let mut tcp = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
        tcp.write_all(begin).unwrap();
        tcp.set_read_timeout(Some(WAIT)).unwrap();
        let mut back = Vec::new();
        let read = tcp.read_to_end(&mut back);
        // A reset is an end as well; a timeout is none.
        let open = read.is_err_and(|it| it.kind() == ErrorKind::WouldBlock);
        assert!(!open, "{begin:?} is still open");
    }
    // A connection of HTTP/2 without a request, and one behind its last, though it answers pings.
    let mut client = Client::connect(rig.port);
    assert!(!lives_on(&mut client), "it is not asked for anything");
    let mut client = Client::connect(rig.port);
    let block = request(&rig, "GET", "/ticks?20");
    client.send(&Frame::new(h2::HEADERS, h2::END_HEADERS | h2::END_STREAM, 1, block)).unwrap();
    let last = |it: &Frame| it.stream == 1 && it.flags & h2::END_STREAM != 0;
    assert!(client.until(WAIT, last).is_some(), "an answer takes as long as it takes");
    assert!(!lives_on(&mut client));
}

/// Answers pings until the other side closes. Whether it still has not when there was time enough.
fn lives_on(client: &mut Client) -> bool {
    let _frames = client.until(WAIT, |_| false);
    client.lives()
}

#[test]
fn attack_19_who_leaves_while_keys_are_fetched_keeps_them_from_nobody() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().unwrap();
    let issuer = runtime.block_on(DevIssuer::start()).unwrap();
    // Keys that come when it is time.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, is_asked) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    let keys = issuer.key_set();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _head = stream.read(&mut [0; 4096]);
            let _over = asked.send(());
            let _over = may_go.recv();
            let length = keys.len();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
            let _gone = write!(stream, "{head}Content-Length: {length}\r\n\r\n{keys}");
        }
    });
    let identity = format!(
        "[issuer.dev]\niss = \"{}\"\njwks_uri = \"http://127.0.0.1:{port}/keys\"\n\
         audiences = [\"{AUDIENCE}\"]\nalgorithms = [\"ES256\", \"EdDSA\"]\nmay_mint = [\"human\"]\n\
         allow_insecure_loopback = true\n[[issuer.dev.rule]]\nname = \"people\"\nkind = \"human\"\n",
        issuer.iss()
    );
    let rig = Rig::with(Plan { identity: Some(identity), ..Plan::default() });
    let token = issuer.mint(Claims::new("alice").audience(AUDIENCE).client("people")).unwrap();
    let field = format!("Bearer {token}");
    let block = h2::literals(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/x"),
        (":authority", "x"),
        ("authorization", &field),
    ]);
    let mut client = Client::connect(rig.port);
    client.send(&Frame::new(h2::HEADERS, h2::END_HEADERS | h2::END_STREAM, 1, block)).unwrap();
    is_asked.recv_timeout(WAIT).unwrap();
    client.send(&Frame::new(h2::RST_STREAM, 0, 1, 8_u32.to_be_bytes())).unwrap();
    assert!(client.lives(), "the reset is read by now");
    go.send(()).unwrap();
    let header = format!("Authorization: {field}");
    let mut curl = curl();
    curl.args(["-o", "/dev/null", "-w", "%{http_code}", "-H", &header]).arg(rig.url("/x"));
    // For whoever asks next they are there, or still on their way.
    assert_eq!(Said::of(&mut curl).text(), "200");
}
