//! Attack 18 of the catalogue, case by case: what two parsers might read differently is refused, or
//! is one request that the record and the target see alike, to the byte of its body.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests"
)]

mod rig;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rig::h2::{self, Client, Frame};
use rig::tap::{Seen, Tap};
use rig::{Plan, Rig};
use serde_json::Value;

/// What becomes of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Becomes {
    /// The target gets nothing of it.
    Refused,
    /// One request with this body.
    One(&'static str),
}

use Becomes::{One, Refused};

/// A request that no token goes with: nobody may take it for one.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
/// Cases at once: each waits for an answer that may not come.
const AT_ONCE: usize = 16;

/// Name; request line; more of the head, behind Host and the token; behind the head; what becomes
/// of it. `/P` is the case's own path, `HIDDEN` the hidden request, `LEN` its length.
type Case = (&'static str, &'static str, &'static str, &'static str, Becomes);

#[rustfmt::skip]
const HTTP1: &[Case] = &[
    // Content-Length and Transfer-Encoding.
    ("CL.TE", "POST /P HTTP/1.1", "Content-Length: LEN\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nHIDDEN", One("")),
    ("TE.CL", "POST /P HTTP/1.1", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "0\r\n\r\nHIDDEN", One("")),
    ("TE.0", "POST /P HTTP/1.1", "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "0\r\n\r\nHIDDEN", One("")),
    ("CL.0", "GET /P HTTP/1.1", "Content-Length: LEN\r\n", "HIDDEN", One("HIDDEN")),
    ("CL twice, unequal", "POST /P HTTP/1.1", "Content-Length: 0\r\nContent-Length: LEN\r\n", "HIDDEN", Refused),
    ("CL twice, equal", "POST /P HTTP/1.1", "Content-Length: LEN\r\nContent-Length: LEN\r\n", "HIDDEN", One("HIDDEN")),
    ("CL list, equal", "POST /P HTTP/1.1", "Content-Length: LEN, LEN\r\n", "HIDDEN", Refused),
    ("CL list, unequal", "POST /P HTTP/1.1", "Content-Length: 0, LEN\r\n", "HIDDEN", Refused),
    ("CL with a plus", "POST /P HTTP/1.1", "Content-Length: +LEN\r\n", "HIDDEN", Refused),
    ("CL with a minus", "POST /P HTTP/1.1", "Content-Length: -1\r\n", "HIDDEN", Refused),
    ("CL in hexadecimal", "POST /P HTTP/1.1", "Content-Length: 0x5\r\n", "HIDDEN", Refused),
    ("CL with a point", "POST /P HTTP/1.1", "Content-Length: 5.0\r\n", "HIDDEN", Refused),
    ("CL with a space inside", "POST /P HTTP/1.1", "Content-Length: 1 0\r\n", "HIDDEN", Refused),
    ("CL empty", "POST /P HTTP/1.1", "Content-Length:\r\n", "HIDDEN", Refused),
    ("CL beyond 64 bits", "POST /P HTTP/1.1", "Content-Length: 18446744073709551617\r\n", "HIDDEN", Refused),
    ("CL of words", "POST /P HTTP/1.1", "Content-Length: five\r\n", "HIDDEN", Refused),
    ("CL with a space before the colon", "POST /P HTTP/1.1", "Content-Length : LEN\r\n", "HIDDEN", Refused),
    ("CL spelled with an underscore", "POST /P HTTP/1.1", "Content_Length: LEN\r\n", "HIDDEN", One("")),
    // Transfer-Encoding in disguise.
    ("TE unknown", "POST /P HTTP/1.1", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\nHIDDEN", Refused),
    ("TE identity", "POST /P HTTP/1.1", "Transfer-Encoding: identity\r\n", "0\r\n\r\nHIDDEN", Refused),
    ("TE not chunked at its end", "POST /P HTTP/1.1", "Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\nHIDDEN", Refused),
    ("TE gzip first", "POST /P HTTP/1.1", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\nHIDDEN", Refused),
    ("TE chunked twice", "POST /P HTTP/1.1", "Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\nHIDDEN", Refused),
    ("TE in two fields", "POST /P HTTP/1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\nHIDDEN", Refused),
    ("TE in two fields, the last good", "POST /P HTTP/1.1", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nHIDDEN", Refused),
    ("TE in capitals", "POST /P HTTP/1.1", "TRANSFER-ENCODING: ChUnKeD\r\n", "5\r\nhello\r\n0\r\n\r\nHIDDEN", One("hello")),
    ("TE behind a tab", "POST /P HTTP/1.1", "Transfer-Encoding:\tchunked\r\n", "5\r\nhello\r\n0\r\n\r\nHIDDEN", One("hello")),
    ("TE with a space before the colon", "POST /P HTTP/1.1", "Transfer-Encoding : chunked\r\n", "0\r\n\r\nHIDDEN", Refused),
    ("TE with a tab before the colon", "POST /P HTTP/1.1", "Transfer-Encoding\t: chunked\r\n", "0\r\n\r\nHIDDEN", Refused),
    ("TE with a vertical tab", "POST /P HTTP/1.1", "Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\nHIDDEN", Refused),
    ("TE in quotes", "POST /P HTTP/1.1", "Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\nHIDDEN", Refused),
    ("TE with a parameter", "POST /P HTTP/1.1", "Transfer-Encoding: chunked;a=b\r\n", "0\r\n\r\nHIDDEN", Refused),
    ("TE with a comma behind", "POST /P HTTP/1.1", "Transfer-Encoding: chunked,\r\n", "0\r\n\r\nHIDDEN", Refused),
    ("TE empty", "POST /P HTTP/1.1", "Transfer-Encoding:\r\n", "0\r\n\r\nHIDDEN", Refused),
    ("TE with an underscore", "POST /P HTTP/1.1", "Transfer_Encoding: chunked\r\n", "HIDDEN", One("")),
    ("TE behind another's bare CR", "GET /P HTTP/1.1", "X: a\rTransfer-Encoding: chunked\r\n", "0\r\n\r\nHIDDEN", Refused),
    ("TE folded", "POST /P HTTP/1.1", "X: y\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\nHIDDEN", Refused),
    ("TE with its value folded", "POST /P HTTP/1.1", "Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\nHIDDEN", Refused),
    ("TE on a GET", "GET /P HTTP/1.1", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\nHIDDEN", One("hello")),
    ("TE in HTTP/1.0", "POST /P HTTP/1.0", "Transfer-Encoding: chunked\r\n", "0\r\n\r\nHIDDEN", Refused),
    ("TE and CL in HTTP/1.0", "POST /P HTTP/1.0", "Content-Length: LEN\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nHIDDEN", Refused),
    ("TE named by Connection", "POST /P HTTP/1.1", "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\nHIDDEN", One("hello")),
    ("CL named by Connection", "POST /P HTTP/1.1", "Connection: close, Content-Length\r\nContent-Length: LEN\r\n", "HIDDEN", Refused),
    // Chunks.
    ("chunk extension", "POST /P HTTP/1.1", "Transfer-Encoding: chunked\r\n", "5;a=b\r\nhello\r\n0\r\n\r\nHIDDEN", One("hello")),
    ("chunk extension with a quoted line", "POST /P HTTP/1.1", "Transfer-Encoding: chunked\r\n", "1;a=\"\r\n\"\r\nx\r\n0\r\n\r\nHIDDEN", Refused),
    ("chunk extension with a bare LF", "POST /P HTTP/1.1", "Transfer-Encoding: chunked\r\n", "5;a\nb\r\nhello\r\n0\r\n\r\nHIDDEN", Refused),
    ("chunk size beyond 64 bits", "POST /P HTTP/1.1", "Transfer-Encoding: chunked\r\n", "10000000000000005\r\nhello\r\n0\r\n\r\nHIDDEN", Refused),
    ("chunk size in 0x", "POST /P HTTP/1.1", "Transfer-Encoding: chunked\r\n", "0x5\r\nhello\r\n0\r\n\r\nHIDDEN", Refused),
    ("chunk size with a plus", "POST /P HTTP/1.1", "Transfer-Encoding: chunked\r\n", "+5\r\nhello\r\n0\r\n\r\nHIDDEN", Refused),
    ("chunk size with zeros before", "POST /P HTTP/1.1", "Transfer-Encoding: chunked\r\n", "0005\r\nhello\r\n0\r\n\r\nHIDDEN", One("hello")),
    ("chunk size empty", "POST /P HTTP/1.1", "Transfer-Encoding: chunked\r\n", "\r\nhello\r\n0\r\n\r\nHIDDEN", Refused),
    ("chunk size ends with a bare LF", "POST /P HTTP/1.1", "Transfer-Encoding: chunked\r\n", "5\nhello\r\n0\r\n\r\nHIDDEN", Refused),
    ("chunk longer than it says", "POST /P HTTP/1.1", "Transfer-Encoding: chunked\r\n", "4\r\nhello\r\n0\r\n\r\nHIDDEN", Refused),
    ("chunk shorter than it says", "POST /P HTTP/1.1", "Transfer-Encoding: chunked\r\n", "6\r\nhello\r\n0\r\n\r\nHIDDEN", Refused),
    ("last chunk of many zeros", "POST /P HTTP/1.1", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0000\r\n\r\nHIDDEN", One("hello")),
    ("trailers that frame", "POST /P HTTP/1.1", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\nContent-Length: LEN\r\nTransfer-Encoding: chunked\r\n\r\nHIDDEN", One("hello")),
    ("trailers that are announced", "POST /P HTTP/1.1", "Transfer-Encoding: chunked\r\nTrailer: X-Sum, Authorization\r\n", "5\r\nhello\r\n0\r\nX-Sum: 1\r\nAuthorization: root\r\n\r\nHIDDEN", One("hello")),
    // Lines and fields.
    ("bare LF between fields", "GET /P HTTP/1.1", "A: b\nC: d\r\n", "HIDDEN", One("")),
    ("bare LF ends the head", "GET /P HTTP/1.1", "A: b\n\n", "HIDDEN", One("")),
    ("obsolete folding", "GET /P HTTP/1.1", "A: b\r\n c: d\r\n", "HIDDEN", Refused),
    ("NUL in a value", "GET /P HTTP/1.1", "A: b\0c\r\n", "HIDDEN", Refused),
    ("NUL in a name", "GET /P HTTP/1.1", "A\0b: c\r\n", "HIDDEN", Refused),
    ("a field without a name", "GET /P HTTP/1.1", ": b\r\n", "HIDDEN", Refused),
    ("a field without a colon", "GET /P HTTP/1.1", "abc\r\n", "HIDDEN", Refused),
    ("a name in brackets", "GET /P HTTP/1.1", "(a): b\r\n", "HIDDEN", Refused),
    // The request line.
    ("a tab in the line", "GET /P\tHTTP/1.1", "", "HIDDEN", Refused),
    ("two spaces in the line", "GET  /P HTTP/1.1", "", "HIDDEN", Refused),
    ("a space in the path", "GET /P x HTTP/1.1", "", "HIDDEN", Refused),
    ("a line behind a bare CR", "GET /P\rX HTTP/1.1", "", "HIDDEN", Refused),
    ("no version", "GET /P", "", "HIDDEN", Refused),
    ("version 1.2", "GET /P HTTP/1.2", "", "HIDDEN", Refused),
    ("version 2.0", "GET /P HTTP/2.0", "", "HIDDEN", Refused),
    ("version in small letters", "GET /P http/1.1", "", "HIDDEN", Refused),
    ("a URL as the target", "GET http://x/P HTTP/1.1", "", "HIDDEN", Refused),
    ("a URL that is another host's", "GET http://evil/P HTTP/1.1", "", "HIDDEN", Refused),
    ("CONNECT", "CONNECT x:80 HTTP/1.1", "", "HIDDEN", Refused),
    ("an asterisk", "GET * HTTP/1.1", "", "HIDDEN", Refused),
    ("no slash", "GET P HTTP/1.1", "", "HIDDEN", Refused),
    ("an encoded line end in the path", "GET /P%0d%0aX:%20y HTTP/1.1", "", "HIDDEN", Refused),
    ("a method with a colon", "GET: /P HTTP/1.1", "", "HIDDEN", Refused),
    // Hosts and upgrades.
    ("Host twice", "GET /P HTTP/1.1", "Host: y\r\n", "HIDDEN", Refused),
    ("Host with userinfo", "GET /P HTTP/1.1", "Host: u@x\r\n", "HIDDEN", Refused),
    ("upgrade to h2c", "GET /P HTTP/1.1", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n", "HIDDEN", One("")),
    ("premature upgrade", "GET /P HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n", "HIDDEN", Refused),
    ("upgrade with a body", "POST /P HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: LEN\r\n", "HIDDEN", One("HIDDEN")),
    ("upgrade to TLS", "OPTIONS /P HTTP/1.1", "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n", "HIDDEN", One("")),
    ("an answer awaited that never comes", "POST /P HTTP/1.1", "Expect: 100-continue\r\nContent-Length: LEN\r\n", "HIDDEN", One("HIDDEN")),
    ("an unknown expectation", "POST /P HTTP/1.1", "Expect: 200-ok\r\nContent-Length: LEN\r\n", "HIDDEN", One("HIDDEN")),
];

fn filled(text: &str, at: usize) -> String {
    let length = HIDDEN.len().to_string();
    text.replace("/P", &format!("/p{at}")).replace("LEN", &length).replace("HIDDEN", HIDDEN)
}

/// Sends bytes, and reads until the proxy closes or is silent for a while.
fn exchange(port: u16, bytes: &[u8]) -> String {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
    tcp.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
    tcp.write_all(bytes).unwrap();
    let (mut back, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = tcp.read(&mut piece) {
        back.extend_from_slice(&piece[..read]);
    }
    String::from_utf8_lossy(&back).into_owned()
}

/// Runs all cases, some at once.
fn all_at_once<T: Send, R: Send>(cases: Vec<T>, run: impl Fn(T) -> R + Sync) -> Vec<R> {
    let next = std::sync::Mutex::new(cases.into_iter().enumerate());
    let done = std::sync::Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((at, case)) = next.lock().unwrap().next() else { return };
                    let result = run(case);
                    done.lock().unwrap().insert(at, result);
                }
            });
        }
    });
    done.into_inner().unwrap().into_values().collect()
}

/// What a record says that a request's body was.
fn body_on_record(rig: &Rig, (command, response): &(Value, Value)) -> Vec<u8> {
    let inline = &command["parameters"][0]["value"];
    let mut body = inline.as_str().map(|it| it.as_bytes().to_vec()).unwrap_or_default();
    body.extend(rig.objects(&response["input_chunks"]));
    let input = response["input"]["base64"].as_str().unwrap_or_default();
    body.extend(STANDARD.decode(input).unwrap());
    body
}

/// Every case is what its table says, and the record and the target agree on all of them.
fn check(rig: &Rig, tap: &Tap, cases: &[(&str, Becomes)], answers: &[String]) {
    let exchanges = rig.exchanges();
    let (seen, rest) = tap.seen();
    let mut wrong = Vec::new();
    for (at, ((name, becomes), answer)) in cases.iter().zip(answers).enumerate() {
        let path = format!("/p{at}");
        let mine = |it: &&Seen| it.target.split('?').next() == Some(&path);
        let at_target: Vec<&Seen> = seen.iter().filter(mine).collect();
        let on_record: Vec<_> = exchanges
            .iter()
            .filter(|it| it.0["verdict"] == "allow")
            .filter(|it| {
                it.0["text"].as_str().is_some_and(|it| it.split([' ', '?']).nth(1) == Some(&path))
            })
            .collect();
        let good = match becomes {
            // It may have begun before it was found to be wrong; then its outcome says so.
            Refused => at_target.is_empty() && on_record.iter().all(|it| it.1["outcome"] != "ok"),
            One(body) => {
                let body = filled(body, at).into_bytes();
                matches!((&at_target[..], &on_record[..]), ([seen], [recorded])
                    if seen.body == body && body_on_record(rig, recorded) == body
                        && recorded.0["text"] == format!("{} {path}", seen.method))
            }
        };
        if !good {
            wrong.push(format!("{at} {name}: {at_target:?}\n  {on_record:?}\n  {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Nothing else came, whatever a case hid.
    let known = |it: &Seen| it.target.starts_with("/p");
    assert!(seen.iter().all(known), "{seen:?}");
    for rest in rest {
        // A request that broke off, and not one byte that could be another's.
        let text = String::from_utf8_lossy(&rest).into_owned();
        assert!(text.starts_with("POST /p") && !text.contains("GET /hidden"), "{text}");
    }
    assert!(exchanges.iter().all(|it| it.0["text"] != "GET /hidden"), "{exchanges:?}");
}

#[test]
fn attack_18_http_1_case_by_case() {
    let (port, tap) = Tap::start();
    let rig = Rig::before(port, Plan { target: |it| it.upgrades = false, ..Plan::default() });
    let token = rig.token("alice");
    let run = |(at, case): (usize, &Case)| {
        let (_, line, fields, rest, _) = *case;
        let head = format!("{line}\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{fields}\r\n");
        exchange(rig.port, format!("{}{}", filled(&head, at), filled(rest, at)).as_bytes())
    };
    let answers = all_at_once(HTTP1.iter().enumerate().collect(), run);
    let cases: Vec<(&str, Becomes)> = HTTP1.iter().map(|it| (it.0, it.4)).collect();
    check(&rig, &tap, &cases, &answers);
    // A refusal is one, and on record: with a status, or without a word.
    let refused = cases.iter().zip(&answers).filter(|(case, _)| case.1 == Refused);
    for ((name, _), answer) in refused.clone() {
        let told = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(told || answer.starts_with("HTTP/1.0 4"), "{name}: {answer}");
    }
    let failures = rig.entries_of("auth_failure").len() + rig.entries_of("command").len();
    assert!(failures >= refused.count(), "{failures}");
}

type Field = (&'static [u8], &'static [u8]);

/// Name; pseudo-fields in place of the usual ones; other fields; DATA frames; trailers; what becomes
/// of it. Pseudo-fields without a value are left out.
struct Case2 {
    name: &'static str,
    pseudo: &'static [Field],
    fields: &'static [Field],
    data: &'static [&'static str],
    trailers: &'static [Field],
    becomes: Becomes,
}

const PLAIN: Case2 =
    Case2 { name: "", pseudo: &[], fields: &[], data: &[], trailers: &[], becomes: Refused };

macro_rules! cases2 {
    ($($name:literal { $($key:ident: $value:expr),* } $becomes:expr;)*) => {
        &[$(Case2 { name: $name, $($key: $value,)* becomes: $becomes, ..PLAIN }),*]
    };
}

#[rustfmt::skip]
const HTTP2: &[Case2] = cases2! {
    "a GET" {} One("");
    "a POST" { pseudo: &[(b":method", b"POST")], data: &["hel", "lo"] } One("hello");
    "CRLF in a value" { fields: &[(b"x", b"a\r\nTransfer-Encoding: chunked")] } Refused;
    "LF in a value" { fields: &[(b"x", b"a\nb: c")] } Refused;
    "NUL in a value" { fields: &[(b"x", b"a\0b")] } Refused;
    "CRLF in a name" { fields: &[(b"x: y\r\nz", b"a")] } Refused;
    "a colon in a name" { fields: &[(b"x:y", b"a")] } Refused;
    "a space in a name" { fields: &[(b"x ", b"a")] } Refused;
    "capitals in a name" { fields: &[(b"X-Big", b"a")] } Refused;
    "an empty name" { fields: &[(b"", b"a")] } Refused;
    "transfer-encoding" { fields: &[(b"transfer-encoding", b"chunked")], pseudo: &[(b":method", b"POST")], data: &["0\r\n\r\nHIDDEN"] } Refused;
    "connection" { fields: &[(b"connection", b"close")] } Refused;
    "keep-alive" { fields: &[(b"keep-alive", b"1")] } Refused;
    "proxy-connection" { fields: &[(b"proxy-connection", b"close")] } Refused;
    "upgrade" { fields: &[(b"upgrade", b"h2c")] } Refused;
    "te other than trailers" { fields: &[(b"te", b"chunked")] } Refused;
    "te trailers" { fields: &[(b"te", b"trailers")] } One("");
    "content-length too long" { pseudo: &[(b":method", b"POST")], fields: &[(b"content-length", b"100")], data: &["hello"] } Refused;
    "content-length too short" { pseudo: &[(b":method", b"POST")], fields: &[(b"content-length", b"1")], data: &["hello"] } Refused;
    "content-length nought with data" { pseudo: &[(b":method", b"POST")], fields: &[(b"content-length", b"0")], data: &["HIDDEN"] } Refused;
    "content-length twice" { pseudo: &[(b":method", b"POST")], fields: &[(b"content-length", b"5"), (b"content-length", b"6")], data: &["hello"] } Refused;
    "content-length of words" { pseudo: &[(b":method", b"POST")], fields: &[(b"content-length", b"+5")], data: &["hello"] } Refused;
    "content-length without data" { fields: &[(b"content-length", b"5")] } Refused;
    "a method with a space" { pseudo: &[(b":method", b"GET /hidden HTTP/1.1\r\nx:")] } Refused;
    "no method" { pseudo: &[(b":method", b"")] } Refused;
    "a path with a space" { pseudo: &[(b":path", b"/P HTTP/1.1\r\nHost: x\r\n\r\nGET /hidden")] } Refused;
    "a path with a blank" { pseudo: &[(b":path", b"/P /hidden")] } Refused;
    "a path that is a URL" { pseudo: &[(b":path", b"http://evil/P")] } Refused;
    "a path without a slash" { pseudo: &[(b":path", b"P")] } Refused;
    "an asterisk" { pseudo: &[(b":path", b"*")] } Refused;
    "no path" { pseudo: &[(b":path", b"")] } Refused;
    "a path twice" { pseudo: &[(b":path", b"/P"), (b":path", b"/hidden")] } Refused;
    "a method twice" { pseudo: &[(b":method", b"GET"), (b":method", b"POST")] } Refused;
    "an authority twice" { pseudo: &[(b":authority", b"x"), (b":authority", b"y")] } Refused;
    "an authority with userinfo" { pseudo: &[(b":authority", b"u@x")] } Refused;
    "an authority with a line end" { pseudo: &[(b":authority", b"x\r\nA: b")] } Refused;
    "an authority with a slash" { pseudo: &[(b":authority", b"x/hidden")] } Refused;
    "a host that is another" { fields: &[(b"host", b"y")] } Refused;
    "a host twice" { fields: &[(b"host", b"x"), (b"host", b"x")] } Refused;
    "a host alone" { pseudo: &[(b":authority", b"")], fields: &[(b"host", b"x")] } One("");
    "no host" { pseudo: &[(b":authority", b"")] } Refused;
    "a scheme with a line end" { pseudo: &[(b":scheme", b"http://x/hidden\r\n")] } Refused;
    "no scheme" { pseudo: &[(b":scheme", b"")] } Refused;
    "an unknown pseudo-field" { fields: &[(b":foo", b"bar")] } Refused;
    "a status" { fields: &[(b":status", b"200")] } Refused;
    "a pseudo-field behind others" { fields: &[(b"a", b"b"), (b":path", b"/hidden")] } Refused;
    "an extended CONNECT" { pseudo: &[(b":method", b"CONNECT")], fields: &[(b":protocol", b"websocket")] } Refused;
    "CONNECT" { pseudo: &[(b":method", b"CONNECT"), (b":path", b""), (b":scheme", b"")] } Refused;
    // The library doesn't hear them (RFC 9113, 8.1, wants the request refused): nobody does.
    "pseudo-fields in trailers" { pseudo: &[(b":method", b"POST")], data: &["hello"], trailers: &[(b":path", b"/hidden")] } One("hello");
    "framing in trailers" { pseudo: &[(b":method", b"POST")], data: &["hello"], trailers: &[(b"x", b"y"), (b"content-length", b"100")] } One("hello");
    "a line end in trailers" { pseudo: &[(b":method", b"POST")], data: &["hello"], trailers: &[(b"x", b"y\r\n\r\nGET /hidden HTTP/1.1")] } Refused;
    "cookies in pieces" { fields: &[(b"cookie", b"a=1"), (b"cookie", b"b=2")] } One("");
    "a field named with an underscore" { fields: &[(b"content_length", b"5"), (b"transfer_encoding", b"chunked")] } One("");
};

/// The fields of a case; a pseudo-field that it has stands in place of the usual one.
fn block(case: &Case2, at: usize, token: &str) -> Vec<u8> {
    let usual: [(&str, String); 4] = [
        (":method", "GET".into()),
        (":scheme", "http".into()),
        (":path", format!("/p{at}")),
        (":authority", "x".into()),
    ];
    let mut all: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let lossless = |bytes: &[u8]| filled(std::str::from_utf8(bytes).unwrap(), at).into_bytes();
    for (name, value) in usual {
        let own: Vec<_> = case.pseudo.iter().filter(|it| it.0 == name.as_bytes()).collect();
        if own.is_empty() {
            all.push((name.into(), value.into_bytes()));
        }
        for (name, value) in own.into_iter().filter(|it| !it.1.is_empty()) {
            all.push((name.to_vec(), lossless(value)));
        }
    }
    if !case.fields.iter().any(|it| it.0.starts_with(b":")) {
        all.push((b"authorization".to_vec(), format!("Bearer {token}").into_bytes()));
    }
    all.extend(case.fields.iter().map(|it| (it.0.to_vec(), lossless(it.1))));
    if case.fields.iter().any(|it| it.0.starts_with(b":")) {
        all.push((b"authorization".to_vec(), format!("Bearer {token}").into_bytes()));
    }
    h2::literals(&all)
}

#[test]
fn attack_18_http_2_case_by_case() {
    let (port, tap) = Tap::start();
    let rig = Rig::before(port, Plan::default());
    let token = rig.token("alice");
    let run = |(at, case): (usize, &Case2)| {
        let mut client = Client::connect(rig.port);
        let more = !case.data.is_empty() || !case.trailers.is_empty();
        let flags = h2::END_HEADERS | if more { 0 } else { h2::END_STREAM };
        let mut sent = client.send(&Frame::new(h2::HEADERS, flags, 1, block(case, at, &token)));
        for (nr, data) in case.data.iter().enumerate() {
            let last = nr + 1 == case.data.len() && case.trailers.is_empty();
            let flags = if last { h2::END_STREAM } else { 0 };
            sent = sent.and(client.send(&Frame::new(h2::DATA, flags, 1, filled(data, at))));
        }
        if !case.trailers.is_empty() {
            let flags = h2::END_HEADERS | h2::END_STREAM;
            let block = h2::literals(case.trailers);
            sent = sent.and(client.send(&Frame::new(h2::HEADERS, flags, 1, block)));
        }
        let over = |it: &Frame| {
            let ends = matches!(it.kind, h2::HEADERS | h2::DATA) && it.flags & h2::END_STREAM != 0;
            ends || matches!(it.kind, h2::RST_STREAM | h2::GOAWAY)
        };
        let answer = client.until(Duration::from_millis(1500), over);
        // What is on its way gets there.
        std::thread::sleep(Duration::from_millis(200));
        format!("{sent:?} {answer:?}")
    };
    let answers = all_at_once(HTTP2.iter().enumerate().collect(), run);
    let cases: Vec<(&str, Becomes)> = HTTP2.iter().map(|it| (it.name, it.becomes)).collect();
    check(&rig, &tap, &cases, &answers);
    // Nobody is left without a word.
    let told = |it: &&String| it.contains("Some(Frame");
    assert_eq!(answers.iter().filter(told).count(), cases.len(), "{answers:?}");
    let bytes = String::from_utf8_lossy(&tap.bytes()).into_owned();
    assert!(bytes.contains("cookie: a=1; b=2\r\n"), "{bytes}");
}
