//! What stands between the client and the service, each started by us.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dev_issuer::{Claims, DevIssuer};
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;

const AUDIENCE: &str = "https://greffier.bench";
const ORIGIN: &str = "greffier.bench/http";
/// How long a proxy may take to end, a greffier to seal its log.
const END: Duration = Duration::from_secs(120);
/// How long a proxy may take to start.
const START: Duration = Duration::from_secs(30);
/// mitmproxy's program without a screen.
const MITMDUMP: &str = "mitmdump";
/// Of the token: longer than any run.
const LIFETIME: Duration = Duration::from_secs(3500);

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No proxy.
    Direct,
    /// hyper on both sides, with nothing between them.
    Relay,
    /// As a reverse proxy that streams and logs nothing.
    Nginx,
    /// The same.
    Haproxy,
    /// As a reverse proxy that keeps nothing: what records HTTP otherwise. Only where it is there.
    Mitmproxy,
    /// greffier-http, each command durable before it is forwarded.
    BeforeExecute,
    /// greffier-http, each command durable before its answer.
    BeforeResponse,
}

impl Kind {
    pub(crate) const ALL: [Kind; 7] = [
        Kind::Direct,
        Kind::Relay,
        Kind::Nginx,
        Kind::Haproxy,
        Kind::Mitmproxy,
        Kind::BeforeExecute,
        Kind::BeforeResponse,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Relay => "bare hyper relay",
            Kind::Nginx => "nginx",
            Kind::Haproxy => "HAProxy",
            Kind::Mitmproxy => "mitmproxy",
            Kind::BeforeExecute => "greffier before-execute",
            Kind::BeforeResponse => "greffier before-response",
        }
    }

    /// Whether it can be started here.
    pub(crate) fn is_there(self) -> bool {
        self != Kind::Mitmproxy || found(MITMDUMP).is_ok()
    }

    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Kind::BeforeExecute | Kind::BeforeResponse)
    }
}

/// What all peers need.
pub(crate) struct Ground {
    pub(crate) dir: tempfile::TempDir,
    greffier: PathBuf,
    issuer: DevIssuer,
    upstream: Running,
    port: u16,
    _runtime: Runtime,
}

impl Ground {
    pub(crate) fn new(greffier: PathBuf) -> Result<Self, String> {
        let text = |e: std::io::Error| e.to_string();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().map_err(text)?;
        let issuer = runtime.block_on(DevIssuer::start()).map_err(|e| e.to_string())?;
        let dir = tempfile::Builder::new().prefix("bench-http-").tempdir().map_err(text)?;
        let (port, upstream) = start_ours(&["--serve-upstream"])?;
        Ok(Ground { dir, greffier, issuer, upstream, port, _runtime: runtime })
    }

    /// The service's process.
    pub(crate) fn service(&self) -> u32 {
        self.upstream.0.id()
    }
}

/// A process that ends with us.
struct Running(Child);

impl Drop for Running {
    /// In order, and by force when that takes too long.
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _gone_already = kill_process(pid, Signal::TERM);
        }
        let limit = Instant::now() + END;
        while Instant::now() < limit {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        eprintln!("a proxy did not end in {END:?} and is killed");
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// A running peer. Ended when dropped.
pub(crate) struct Peer {
    pub(crate) kind: Kind,
    port: u16,
    token: Option<String>,
    running: Option<Running>,
}

impl Peer {
    pub(crate) fn start(kind: Kind, ground: &Ground) -> Result<Self, String> {
        let dir = ground.dir.path().join(kind.name().replace(' ', "-"));
        fs::create_dir(&dir).map_err(|e| format!("starting {}: {e}", kind.name()))?;
        let (port, running, token) = match kind {
            Kind::Direct => (ground.port, None, None),
            Kind::Relay => {
                let (port, child) = start_ours(&["--serve-relay", &ground.port.to_string()])?;
                (port, Some(child), None)
            }
            Kind::Nginx => {
                let (port, child) = start_nginx(&dir, ground.port)?;
                (port, Some(child), None)
            }
            Kind::Haproxy => {
                let (port, child) = start_haproxy(&dir, ground.port)?;
                (port, Some(child), None)
            }
            Kind::Mitmproxy => {
                let (port, child) = start_mitmproxy(&dir, ground.port)?;
                (port, Some(child), None)
            }
            Kind::BeforeExecute | Kind::BeforeResponse => {
                let (port, child) = start_greffier(&dir, kind, ground)?;
                let claims = Claims::new("bench").audience(AUDIENCE).client("people");
                let token = ground.issuer.mint(claims.lifetime(LIFETIME));
                (port, Some(child), Some(token.map_err(|e| e.to_string())?))
            }
        };
        Ok(Peer { kind, port, token, running })
    }

    /// The proxy's processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let Some(Running(child)) = &self.running else { return Vec::new() };
        let own = child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().filter_map(|it| it.parse().ok());
        std::iter::once(own).chain(children).collect()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What opens it.
    pub(crate) fn authorization(&self) -> Option<String> {
        self.token.as_ref().map(|token| format!("Authorization: Bearer {token}"))
    }
}

fn start_ours(args: &[&str]) -> Result<(u16, Running), String> {
    let fail = |e: std::io::Error| format!("starting {}: {e}", args.concat());
    let mut command = Command::new(std::env::current_exe().map_err(fail)?);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(fail)?;
    let out = child.stdout.take();
    let running = Running(child);
    let mut line = String::new();
    if let Some(out) = out {
        BufReader::new(out).read_line(&mut line).map_err(fail)?;
    }
    match line.trim().strip_prefix("port ").and_then(|port| port.parse().ok()) {
        Some(port) => Ok((port, running)),
        None => Err(format!("starting {}: it said {line:?}", args.concat())),
    }
}

/// A program that ends with us, also when we are killed.
fn program(name: &Path, log: &Path) -> Result<Command, String> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(name).stdin(Stdio::null());
    let file = fs::File::create(log).map_err(|e| e.to_string())?;
    command.stdout(Stdio::null()).stderr(file);
    Ok(command)
}

/// Where a program lies: Debian puts servers where not everybody looks.
pub(crate) fn found(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let mut all = dirs.map(|dir| dir.join(name));
    let missing = || format!("{name} is not there: apt-get install {name}");
    all.find(|it| it.is_file()).ok_or_else(missing)
}

/// Waits until something listens.
fn listens(port: u16, running: Running, log: &Path) -> Result<(u16, Running), String> {
    let limit = Instant::now() + START;
    while Instant::now() < limit {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok((port, running));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("a proxy does not listen: {}", fs::read_to_string(log).unwrap_or_default()))
}

fn start_nginx(dir: &Path, upstream: u16) -> Result<(u16, Running), String> {
    let port = testbed::spare_port().map_err(|e| e.to_string())?;
    let (file, log) = (dir.join("nginx.conf"), dir.join("said"));
    let temp = |name: &str| format!("{name}_temp_path {}/{name};\n", dir.display());
    let temps: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(temp).concat();
    let text = format!(
        "worker_processes auto;\npid {0}/pid;\nerror_log {0}/error;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\naccess_log off;\nkeepalive_requests 100000000;\n{temps}\
         upstream service {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 100000000; }}\n\
         server {{ listen 127.0.0.1:{port}; client_max_body_size 0;\n\
         location / {{ proxy_pass http://service; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; proxy_request_buffering off;\n\
         proxy_max_temp_file_size 0; }} }} }}\n",
        dir.display(),
    );
    fs::write(&file, text).map_err(|e| e.to_string())?;
    let mut command = program(&found("nginx")?, &log)?;
    command.arg("-p").arg(dir).arg("-c").arg(&file).args(["-g", "daemon off;"]);
    listens(port, Running(command.spawn().map_err(|e| e.to_string())?), &log)
}

fn start_haproxy(dir: &Path, upstream: u16) -> Result<(u16, Running), String> {
    let port = testbed::spare_port().map_err(|e| e.to_string())?;
    let (file, log) = (dir.join("haproxy.cfg"), dir.join("said"));
    let text = format!(
        "global\n maxconn 4096\ndefaults\n mode http\n timeout connect 5s\n timeout client 60s\n \
         timeout server 60s\nfrontend front\n bind 127.0.0.1:{port}\n default_backend back\n\
         backend back\n http-reuse always\n server service 127.0.0.1:{upstream}\n"
    );
    fs::write(&file, text).map_err(|e| e.to_string())?;
    let mut command = program(&found("haproxy")?, &log)?;
    command.arg("-db").arg("-f").arg(&file);
    listens(port, Running(command.spawn().map_err(|e| e.to_string())?), &log)
}

fn start_mitmproxy(dir: &Path, upstream: u16) -> Result<(u16, Running), String> {
    let port = testbed::spare_port().map_err(|e| e.to_string())?;
    let log = dir.join("said");
    let mut command = program(&found(MITMDUMP)?, &log)?;
    command.args(["--quiet", "--listen-host", "127.0.0.1", "--listen-port", &port.to_string()]);
    command.args(["--mode", &format!("reverse:http://127.0.0.1:{upstream}")]);
    command.arg("--set").arg(format!("confdir={}", dir.display()));
    listens(port, Running(command.spawn().map_err(|e| e.to_string())?), &log)
}

fn start_greffier(dir: &Path, kind: Kind, ground: &Ground) -> Result<(u16, Running), String> {
    let fail = |e: std::io::Error| format!("starting greffier: {e}");
    config::keygen(&dir.join("log.key"), ORIGIN).map_err(|e| e.to_string())?;
    let (file, log) = (dir.join("greffier.toml"), dir.join("said"));
    fs::write(&file, configuration(kind, ground)).map_err(fail)?;
    let mut command = program(&ground.greffier, &log)?;
    command.arg("--config").arg(&file).current_dir(dir);
    command.env("RUST_LOG", "info").env("BENCH_MASKING_KEY", "no secret, and long enough");
    let mut running = Running(command.spawn().map_err(fail)?);
    let limit = Instant::now() + START;
    while Instant::now() < limit && matches!(running.0.try_wait(), Ok(None)) {
        let said = fs::read_to_string(&log).unwrap_or_default();
        let ready = said.lines().find(|line| line.contains(" is ready "));
        if let Some((_, rest)) = ready.and_then(|line| line.split_once("127.0.0.1:")) {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            return Ok((digits.parse().map_err(|_| said.clone())?, running));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("greffier did not start: {}", fs::read_to_string(&log).unwrap_or_default()))
}

/// Everything on: full recording, every kind of value masked for the client and in the record.
fn configuration(kind: Kind, ground: &Ground) -> String {
    let durability = match kind {
        Kind::BeforeResponse => "before-response",
        _ => "before-execute",
    };
    let (iss, port) = (ground.issuer.iss(), ground.port);
    format!(
        r#"
[[listen]]
protocol = "http"
address = "127.0.0.1:0"
allow_plain_text = true
[audit]
dir = "state"
store = "store"
log_id = "bench"
origin = "{ORIGIN}"
key = "file:log.key"
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
[target.service]
protocol = "http"
url = "http://127.0.0.1:{port}"
recording = "full"
durability = "{durability}"
[target.tools]
protocol = "http"
url = "http://127.0.0.1:{port}/mcp"
path = "/mcp"
recording = "full"
durability = "{durability}"
mcp = {{}}
"#
    )
}
