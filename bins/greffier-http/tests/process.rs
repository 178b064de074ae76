//! The binary from outside: started, used by curl over TLS and without, ended in order.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "what can't be set up fails its test"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use audit_sink::store::{Reader, Store, VerifyOptions, verify};
use dev_issuer::{Claims, DevIssuer};
use records::{Body, Entry};
use rustix::process::Signal;
use testbed::Program;
use tokio::runtime::Runtime;

const AUDIENCE: &str = "https://greffier.test";
const ORIGIN: &str = "greffier.test/http-1";

struct Bench {
    runtime: Runtime,
    issuer: DevIssuer,
    dir: tempfile::TempDir,
    vkey: tlog::Verifier,
}

/// A service that answers every request with its first line; its port.
fn service() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut first = String::new();
                while reader.read_line(&mut first).is_ok_and(|bytes| bytes > 0) {
                    let mut line = String::new();
                    let mut seen = String::new();
                    while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
                        seen.push_str(&line.to_lowercase());
                        line.clear();
                    }
                    let secret = seen.contains("authorization: bearer upstream-secret");
                    let body = format!("{} {secret}", first.trim());
                    let length = body.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
                    stream.write_all(answer.as_bytes()).unwrap();
                    first.clear();
                }
            });
        }
    });
    port
}

impl Bench {
    fn new(tls: bool) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let issuer = runtime.block_on(DevIssuer::start()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let vkey = config::keygen(&dir.path().join("log.key"), ORIGIN).unwrap();
        let bench = Bench { runtime, issuer, dir, vkey };
        bench.write_config(tls);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write_config(&self, tls: bool) {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(self.path("cert.pem"), own.cert.pem()).unwrap();
        for (name, secret) in
            [("key.pem", own.signing_key.serialize_pem()), ("upstream", "upstream-secret".into())]
        {
            fs::write(self.path(name), secret).unwrap();
            fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let listen = match tls {
            true => "tls = { certificate = \"cert.pem\", key = \"key.pem\" }",
            false => "allow_plain_text = true",
        };
        let text = format!(
            r#"
            [[listen]]
            address = "127.0.0.1:0"
            {listen}
            [audit]
            dir = "state"
            store = "store"
            log_id = "http-1"
            origin = "{ORIGIN}"
            key = "file:log.key"
            segments = 4
            segment_bytes = "1MiB"
            [issuer.dev]
            iss = "{}"
            audiences = ["{AUDIENCE}"]
            algorithms = ["ES256"]
            may_mint = ["human"]
            allow_insecure_loopback = true
            [[issuer.dev.rule]]
            name = "people"
            kind = "human"
            [policy]
            default = "allow"
            [[policy.rule]]
            name = "no-deletes"
            effect = "deny"
            when = {{ class = ["delete"] }}
            [target.wiki]
            protocol = "http"
            url = "http://127.0.0.1:{}/base"
            path = "/wiki"
            bearer = "file:upstream"
            "#,
            self.issuer.iss(),
            service(),
        );
        fs::write(self.path("greffier.toml"), text).unwrap();
    }

    fn start(&self) -> Proxy {
        self.start_saying("info")
    }

    /// One whose log says as much as this.
    fn start_saying(&self, level: &str) -> Proxy {
        let mut command = Command::new(env!("CARGO_BIN_EXE_greffier-http"));
        command.arg("--config").arg(self.path("greffier.toml")).env("RUST_LOG", level);
        let mut program = Program::heard_on_stderr(&mut command).unwrap();
        let (ready, port) = program.ready().unwrap();
        assert!(ready.contains(&self.vkey.to_string()), "{ready}");
        Proxy { program, port }
    }

    fn token(&self) -> String {
        self.issuer.mint(Claims::new("alice").audience(AUDIENCE).client("people")).unwrap()
    }

    fn curl(&self, proxy: &Proxy, scheme: &str, args: &[&str]) -> Output {
        self.curl_with(&self.token(), proxy, scheme, args)
    }

    fn curl_with(&self, token: &str, proxy: &Proxy, scheme: &str, args: &[&str]) -> Output {
        Command::new("curl")
            .args(["-q", "-sS", "--max-time", "20", "--cacert"])
            .arg(self.path("cert.pem"))
            .args(["-w", " %{http_code} %{http_version}", "-H"])
            .arg(format!("Authorization: Bearer {token}"))
            .args(args)
            .arg(format!("{scheme}://localhost:{}/wiki/page?x=1", proxy.port))
            .output()
            .unwrap()
    }

    /// Verifies the store, and gives the `type` of every entry with the text of commands.
    fn verified(&self) -> Vec<String> {
        let store = Store::open(self.path("store").to_str().unwrap()).unwrap();
        let log = store.log("http-1").unwrap();
        self.runtime.block_on(async {
            let report = verify(&log, &self.vkey, &VerifyOptions::default()).await.unwrap();
            assert!(report.failures.is_empty(), "{report:?}");
            let reader = Reader::open(&log, &self.vkey).await.unwrap().unwrap();
            let mut entries = reader.range(0, u64::MAX);
            let mut kinds = Vec::new();
            while let Some((_, bytes)) = entries.next().await.unwrap() {
                assert!(!String::from_utf8_lossy(&bytes).contains("upstream-secret"));
                kinds.push(match &Entry::from_json(&bytes).unwrap().body {
                    Body::Command(command) => {
                        let text = command.text.as_ref().unwrap().display().to_owned();
                        format!("{} {}: {text}", command.via, command.verdict)
                    }
                    Body::SessionEnd(end) => format!("session_end {}", end.reason),
                    body => body.kind().to_owned(),
                });
            }
            kinds
        })
    }
}

struct Proxy {
    program: Program,
    port: u16,
}

impl Proxy {
    /// Ends it in order.
    fn end(&mut self) {
        self.program.signal(Signal::TERM);
        self.program.wait_for("the log is sealed").unwrap();
        assert_eq!(self.program.wait().unwrap().code(), Some(0));
    }
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn it_serves_seals_and_what_it_leaves_verifies() {
    for (tls, scheme, version, via) in
        [(false, "http", "1.1", "http/1.1"), (true, "https", "2", "h2")]
    {
        let bench = Bench::new(tls);
        let mut proxy = bench.start();
        let said = out(&bench.curl(&proxy, scheme, &[]));
        assert_eq!(said, format!("GET /base/page?x=1 HTTP/1.1 true 200 {version}"));
        let said = out(&bench.curl(&proxy, scheme, &["-X", "DELETE"]));
        assert!(said.contains("\"rule\":\"no-deletes\"") && said.contains(" 403 "), "{said}");
        let said = out(&bench.curl(&proxy, scheme, &["--http1.1", "-d", "x=1"]));
        assert_eq!(said, "POST /base/page?x=1 HTTP/1.1 true 200 1.1");
        proxy.end();
        let mut kinds = bench.verified();
        assert_eq!(kinds.pop().unwrap(), "log_sealed");
        let commands: Vec<_> = kinds.iter().filter(|it| it.contains(": ")).collect();
        assert_eq!(commands[0], &format!("{via} allow: GET /page?x=1"));
        assert_eq!(commands[1], &format!("{via} deny: DELETE /page?x=1"));
        assert_eq!(commands[2], "http/1.1 allow: POST /page?x=1");
        assert_eq!(kinds.iter().filter(|it| *it == "session_end shutdown").count(), 3, "{kinds:?}");
    }
}

#[test]
fn attack_22_a_log_that_says_all_says_no_secret() {
    for (tls, scheme) in [(false, "http"), (true, "https")] {
        let bench = Bench::new(tls);
        let mut proxy = bench.start_saying("debug");
        let mut secrets = vec!["upstream-secret".to_owned(), "hunter".to_owned()];
        for args in [
            &["-H", "Cookie: session=hunter2", "-H", "X-Api-Key: hunter3"][..],
            &["-X", "DELETE", "-H", "Cookie: session=hunter2"],
            &["--http1.1", "-d", "password=hunter4"],
            &["-H", "Connection: Authorization"],
            &["-H", "Host: u:hunter5@x"],
        ] {
            let good = bench.token();
            // One that nobody signed is as secret: it may be good elsewhere.
            let strange = format!("{}xxxx", &good[..good.len() - 4]);
            for token in [&good, &strange] {
                assert!(bench.curl_with(token, &proxy, scheme, args).status.success());
            }
            secrets.push(good.rsplit('.').next().unwrap()[..40].to_owned());
        }
        proxy.end();
        let said = proxy.program.heard().concat();
        assert!(said.contains("DEBUG"), "it says all: {said}");
        for secret in secrets {
            assert!(!said.contains(&secret), "{secret}: {said}");
        }
    }
}

#[test]
fn mistakes_in_the_configuration_are_told_with_their_place() {
    let bench = Bench::new(false);
    let file = bench.path("greffier.toml");
    let mut text = String::new();
    fs::File::open(&file).unwrap().read_to_string(&mut text).unwrap();
    let text = text
        .replace(
            "path = \"/wiki\"",
            "path = \"/wiki/\"\nhosts = [\"a:80\"]\nbasic = {}\nmcp = { origins = [\"x\"] }",
        )
        .replace("url = \"http:", "url = \"ftp:")
        .replace("allow_plain_text = true", "max_sessions = 0");
    fs::write(&file, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_greffier-http"))
        .args(["--check", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr);
    for wanted in [
        "listen[0].tls: is missing; tokens must not cross a network readable",
        "target.wiki.url: must be http:// or https://",
        "target.wiki.path: must begin with a slash, not end with one",
        "target.wiki.hosts[0]: must be a name as clients call it",
        "target.wiki.mcp.origins[0]: must be an origin",
    ] {
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
    assert!(told.lines().all(|line| line.starts_with(file.to_str().unwrap())), "{told}");
}
