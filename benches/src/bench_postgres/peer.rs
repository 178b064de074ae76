//! What stands between the client and the server, each started by us.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use dev_issuer::{Claims, DevIssuer};
use rustix::process::{Pid, Signal, kill_process};
use testbed::{PgBouncer, Postgres};
use tokio::runtime::Runtime;

const AUDIENCE: &str = "https://greffier.bench";
const ORIGIN: &str = "greffier.bench/pg";
/// The target's name in greffier's configuration.
const TARGET: &str = "bench";
/// How long a token lasts: longer than any run.
const LIFETIME: Duration = Duration::from_secs(6 * 3600);
/// How long a greffier may take to seal its log at the end.
const END: Duration = Duration::from_secs(60);

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No proxy.
    Direct,
    /// A relay that looks at nothing.
    Relay,
    /// `PgBouncer` in session mode.
    PgBouncer,
    /// greffier, every statement durable before it runs.
    BeforeExecute,
    /// greffier, every statement durable before its answer is released.
    BeforeResponse,
}

impl Kind {
    pub(crate) const ALL: [Kind; 5] =
        [Kind::Direct, Kind::Relay, Kind::PgBouncer, Kind::BeforeExecute, Kind::BeforeResponse];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Relay => "bare relay",
            Kind::PgBouncer => "PgBouncer",
            Kind::BeforeExecute => "greffier before-execute",
            Kind::BeforeResponse => "greffier before-response",
        }
    }

    /// The durability level, as the configuration spells it.
    fn durability(self) -> Option<&'static str> {
        match self {
            Kind::BeforeExecute => Some("before-execute"),
            Kind::BeforeResponse => Some("before-response"),
            Kind::Direct | Kind::Relay | Kind::PgBouncer => None,
        }
    }
}

/// How a client gets in.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) port: u16,
    pub(crate) database: String,
    pub(crate) password: String,
}

/// What all peers need.
pub(crate) struct Ground {
    pub(crate) postgres: Postgres,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) greffier: PathBuf,
    pub(crate) segment_mib: u32,
    issuer: DevIssuer,
    _runtime: Runtime,
}

impl Ground {
    pub(crate) fn new(
        postgres: Postgres,
        greffier: PathBuf,
        segment_mib: u32,
    ) -> Result<Self, String> {
        let text = |e: std::io::Error| e.to_string();
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().map_err(text)?;
        let issuer = runtime.block_on(DevIssuer::start()).map_err(|e| e.to_string())?;
        let dir = tempfile::Builder::new().prefix("greffier-bench-").tempdir().map_err(text)?;
        Ok(Ground { postgres, dir, greffier, segment_mib, issuer, _runtime: runtime })
    }
}

/// A running peer. Ended when dropped.
pub(crate) struct Peer {
    pub(crate) kind: Kind,
    pub(crate) door: Door,
    process: Process,
}

enum Process {
    None,
    Relay(Child),
    PgBouncer(PgBouncer),
    Greffier { child: Child, dir: PathBuf, reader: Option<std::thread::JoinHandle<()>> },
}

impl Peer {
    pub(crate) fn start(kind: Kind, ground: &Ground) -> Result<Self, String> {
        let plain = |port| Door { port, database: "postgres".to_owned(), password: String::new() };
        let (door, process) = match kind {
            Kind::Direct => (plain(ground.postgres.port()), Process::None),
            Kind::Relay => {
                let (port, child) = start_relay(ground.postgres.port())?;
                (plain(port), Process::Relay(child))
            }
            Kind::PgBouncer => {
                let bouncer = PgBouncer::start(&ground.postgres).map_err(|e| e.to_string())?;
                (plain(bouncer.port()), Process::PgBouncer(bouncer))
            }
            Kind::BeforeExecute | Kind::BeforeResponse => {
                start_greffier(kind.durability().unwrap_or_default(), ground)?
            }
        };
        Ok(Peer { kind, door, process })
    }

    /// The proxy's process.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.process {
            Process::None => None,
            Process::Relay(child) | Process::Greffier { child, .. } => Some(child.id()),
            Process::PgBouncer(bouncer) => bouncer.pid(),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        match &mut self.process {
            Process::None | Process::PgBouncer(_) => {}
            Process::Relay(child) => {
                let _ended = child.kill().and_then(|()| child.wait());
            }
            Process::Greffier { child, dir, reader } => {
                end(child);
                if let Some(reader) = reader.take() {
                    let _read = reader.join();
                }
                let _gone = fs::remove_dir_all(dir);
            }
        }
    }
}

/// In order, and by force when that takes too long.
fn end(child: &mut Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _gone_already = kill_process(pid, Signal::TERM);
    }
    let limit = std::time::Instant::now() + END;
    while std::time::Instant::now() < limit {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    eprintln!("a greffier did not end in {END:?} and is killed");
    let _ended = child.kill().and_then(|()| child.wait());
}

fn start_relay(upstream: u16) -> Result<(u16, Child), String> {
    let fail = |e: std::io::Error| format!("starting the relay: {e}");
    let mut command = Command::new(std::env::current_exe().map_err(fail)?);
    command.args(["--serve-relay", &upstream.to_string()]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(fail)?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut line).map_err(fail)?;
    }
    match line.trim().strip_prefix("port ").and_then(|p| p.parse().ok()) {
        Some(port) => Ok((port, child)),
        None => Err(format!("starting the relay: it said {line:?}")),
    }
}

fn start_greffier(durability: &str, ground: &Ground) -> Result<(Door, Process), String> {
    let fail = |e: std::io::Error| format!("starting greffier: {e}");
    let dir = tempfile::Builder::new().prefix(durability).tempdir_in(ground.dir.path());
    let dir = dir.map_err(fail)?.keep();
    config::keygen(&dir.join("log.key"), ORIGIN).map_err(|e| e.to_string())?;
    let file = dir.join("greffier.toml");
    fs::write(&file, configuration(durability, ground)).map_err(fail)?;
    // The proxy ends with us, also when we are killed.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(&ground.greffier);
    command.arg("--config").arg(&file).current_dir(&dir);
    command.env("RUST_LOG", "info").env("BENCH_MASKING_KEY", "no secret, and long enough");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(fail)?;
    let Some(stderr) = child.stderr.take() else {
        return Err("starting greffier: it has no standard error".to_owned());
    };
    match ready(stderr) {
        Ok((port, reader)) => {
            let claims = Claims::new("bench").audience(AUDIENCE).client("people");
            let password =
                ground.issuer.mint(claims.lifetime(LIFETIME)).map_err(|e| e.to_string())?;
            let door = Door { port, database: TARGET.to_owned(), password };
            Ok((door, Process::Greffier { child, dir, reader: Some(reader) }))
        }
        Err(said) => {
            end(&mut child);
            Err(format!("greffier did not start; it said:\n{said}"))
        }
    }
}

/// Waits for the line that names the port; what is said later is shown.
fn ready(stderr: ChildStderr) -> Result<(u16, std::thread::JoinHandle<()>), String> {
    let mut said = String::new();
    let mut lines = BufReader::new(stderr).lines();
    while let Some(Ok(line)) = lines.next() {
        if line.contains(" is ready ")
            && let Some((_, rest)) = line.split_once("127.0.0.1:")
        {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            let port = digits.parse().map_err(|_| line.clone())?;
            let show = move || {
                for line in lines.map_while(Result::ok) {
                    if line.contains("WARN") || line.contains("ERROR") {
                        eprintln!("greffier: {line}");
                    }
                }
            };
            return Ok((port, std::thread::spawn(show)));
        }
        said.push_str(&line);
        said.push('\n');
    }
    Err(said)
}

/// Everything on: full recording, every kind of value masked for the client and in the record.
fn configuration(durability: &str, ground: &Ground) -> String {
    let (iss, port, mib) = (ground.issuer.iss(), ground.postgres.port(), ground.segment_mib);
    format!(
        r#"
[[listen]]
address = "127.0.0.1:0"
target = "{TARGET}"
allow_plain_text = true
[audit]
dir = "state"
store = "store"
log_id = "bench"
origin = "{ORIGIN}"
key = "file:log.key"
segment_bytes = "{mib}MiB"
[issuer.dev]
iss = "{iss}"
audiences = ["{AUDIENCE}"]
algorithms = ["ES256"]
may_mint = ["human"]
allow_insecure_loopback = true
[[issuer.dev.rule]]
name = "people"
kind = "human"
[policy]
default = "allow"
[masking]
key = "env:BENCH_MASKING_KEY"
[[masking.rule]]
name = "everything"
entity = ["ALL"]
client = {{ operator = "mask" }}
record = {{ operator = "hash" }}
[target.{TARGET}]
protocol = "postgres"
host = "127.0.0.1"
port = {port}
database = "postgres"
recording = "full"
durability = "{durability}"
tls = "disable"
auth = ["trust"]
[[target.{TARGET}.role]]
role = "postgres"
"#
    )
}

/// Where the binary lies that is built beside ours.
pub(crate) fn beside(name: &str) -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let path = own.parent().unwrap_or(Path::new(".")).join(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("{} is not there: cargo build --release -p {name}", path.display()))
    }
}
