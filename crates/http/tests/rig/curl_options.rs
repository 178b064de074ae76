//! curl's options one by one: the service sees, and curl says, what it does directly.

use serde_json::Value;

use crate::rig::{Plan, Rig, Said, curl, service};

/// Arguments, and the path; FILE is a file of 100 kB.
const OPTIONS: &[(&[&str], &str)] = &[
    (&[], "/x?a=1&b=%20"),
    (&["-d", "a=1&b=2"], "/x"),
    (&["-d", "@FILE"], "/x"),
    (&["--data-raw", "@x"], "/x"),
    (&["--data-binary", "@FILE"], "/x"),
    (&["--data-urlencode", "q=a b&c"], "/x"),
    (&["--json", "{\"a\": 1}"], "/x"),
    (&["-G", "-d", "q=1", "-d", "r=2"], "/x"),
    (&["-F", "file=@FILE;type=text/plain", "-F", "n=1"], "/x"),
    (&["-T", "FILE"], "/x"),
    (&["-T", "FILE", "-H", "Transfer-Encoding: chunked"], "/x"),
    (&["-d", "@FILE", "-H", "Transfer-Encoding: chunked"], "/x"),
    (&["-H", "Expect: 100-continue", "-d", "@FILE"], "/x"),
    (&["-H", "Expect: 100-continue", "--expect100-timeout", "1", "-d", "x"], "/x"),
    (&["--limit-rate", "400k", "-T", "FILE"], "/x"),
    (&["--limit-rate", "400k"], "/sized?100000"),
    (&["-X", "PATCH", "-d", "x"], "/x"),
    (&["-X", "DELETE"], "/x"),
    (&["-X", "OPTIONS"], "/x"),
    (&["-X", "PROPFIND"], "/x"),
    (&["-X", "GET", "-d", "x"], "/x"),
    (&["-I"], "/sized?10"),
    (&["-r", "0-99"], "/x"),
    (&["-C", "5"], "/x"),
    (&["-e", "http://example.org/"], "/x"),
    (&["-A", "agent/1"], "/x"),
    (&["-b", "a=1; b=2"], "/x"),
    (&["--compressed"], "/gzip"),
    (&["-H", "Accept:"], "/x"),
    (&["-H", "X-Empty;"], "/x"),
    (&["-H", "X-Twice: 1", "-H", "X-Twice: 2"], "/x"),
    (&["-z", "2020-01-01"], "/x"),
    (&["--tr-encoding"], "/chunked?1000"),
    (&["--http1.0"], "/x"),
    (&["--http1.0", "-d", "@FILE"], "/x"),
    (&["--http1.0"], "/chunked?1000"),
    (&["--http1.1"], "/x"),
    (&["--http2"], "/x"),
    (&["--http2", "-d", "@FILE"], "/x"),
    (&["--no-keepalive"], "/x"),
    (&["--request-target", "/y?z"], "/x"),
    (&["-N"], "/ticks?3"),
    (&["-L"], "/status?302"),
    (&["-f"], "/status?404"),
    (&["--fail-with-body"], "/status?500"),
    (&["-i"], "/status?204"),
    (&["--max-filesize", "5"], "/x"),
];

/// Only the proxy speaks HTTP/2: compared with HTTP/1.1 directly.
const KNOWN: &[(&[&str], &str)] = &[
    (&["--http2-prior-knowledge"], "/x?a=1"),
    (&["--http2-prior-knowledge", "-d", "@FILE"], "/x"),
    (&["--http2-prior-knowledge", "-T", "FILE", "-H", "Expect:"], "/x"),
    (&["--http2-prior-knowledge", "-F", "n=1"], "/x"),
    (&["--http2-prior-knowledge", "-b", "a=1; b=2"], "/x"),
    (&["--http2-prior-knowledge", "-I"], "/sized?10"),
    (&["--http2-prior-knowledge"], "/chunked?100000"),
];

/// Fields of one connection, ours, and those that say which.
const OURS: [&str; 11] = [
    "host",
    "forwarded",
    "x-forwarded-",
    "x-greffier-",
    "authorization",
    "connection",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// What is to be the same: the service's words, without what a proxy says itself.
fn told(said: &Said, form: bool) -> Value {
    let Ok(mut echo) = serde_json::from_slice::<Value>(&said.out) else {
        // Heads have lines of their own order and date.
        let text = said.text();
        return text.lines().filter(|it| !it.starts_with("HTTP/") && !it.contains(": ")).collect();
    };
    if let Some(fields) = echo["fields"].as_array_mut() {
        let ours = |it: &Value| {
            let name = it[0].as_str().unwrap();
            OURS.iter().any(|our| name == *our || (our.ends_with('-') && name.starts_with(our)))
        };
        // The boundary is another each time, and what is not said is not forwarded.
        let other = |it: &Value| form && it[0] == "content-type";
        fields.retain(|it| !ours(it) && !other(it));
        fields.sort_by_key(Value::to_string);
    }
    for name in ["version", "frames"] {
        echo[name] = Value::Null;
    }
    if form {
        (echo["sha256"], echo["body"]) = (Value::Null, Value::Null);
    }
    echo
}

#[test]
fn curl_s_options_do_what_they_do_directly() {
    let port = service::start();
    let rig = Rig::before(port, Plan::default());
    let file = rig.dir.path().join("file");
    std::fs::write(&file, "0123456789".repeat(10_000)).unwrap();
    let file = file.to_str().unwrap();
    let mut wrong = Vec::new();
    for (at, (args, path)) in OPTIONS.iter().chain(KNOWN).enumerate() {
        let args: Vec<String> = args.iter().map(|it| it.replace("FILE", file)).collect();
        let token = format!("Authorization: Bearer {}", rig.token("alice"));
        let through = Said::of(curl().args(&args).args(["-H", &token]).arg(rig.url(path)));
        let known = at >= OPTIONS.len();
        let plain = args.iter().filter(|it| !known || *it != "--http2-prior-knowledge");
        let url = format!("http://127.0.0.1:{port}{path}");
        let direct = Said::of(curl().args(plain).arg(url));
        let form = args.iter().any(|it| it == "-F");
        let (one, other) = (told(&direct, form), told(&through, form));
        if (direct.code, &one) != (through.code, &other) {
            wrong.push(format!(
                "{args:?}: {:?} {one} {}\n  {:?} {other} {}",
                direct.code, direct.err, through.code, through.err
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Each was a command, but for the one that follows nothing and those that got no answer.
    assert!(rig.exchanges().len() >= OPTIONS.len() + KNOWN.len() - 3);
}
