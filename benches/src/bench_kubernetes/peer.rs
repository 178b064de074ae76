//! What stands between the client and the API server, each started by us.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use crate::client::Door;
use crate::ground::{AUDIENCE, Ground};

const ORIGIN: &str = "greffier.bench/kubernetes";
/// How long a proxy may take to end, a greffier to seal its log.
const END: Duration = Duration::from_secs(120);
/// How long a proxy may take to start.
const START: Duration = Duration::from_secs(30);

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Kind {
    /// No proxy.
    Direct,
    /// What comes with kubectl: adds its user's credential, and looks at nothing else.
    KubectlProxy,
    /// greffier-kubernetes, each command durable before it is forwarded.
    BeforeExecute,
    /// greffier-kubernetes, each command durable before its answer.
    BeforeResponse,
    /// As [`Kind::BeforeExecute`], where nothing is masked but Secrets.
    Unmasked,
}

impl Kind {
    pub(crate) const ALL: [Kind; 5] = [
        Kind::Direct,
        Kind::KubectlProxy,
        Kind::BeforeExecute,
        Kind::BeforeResponse,
        Kind::Unmasked,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::KubectlProxy => "kubectl proxy",
            Kind::BeforeExecute => "greffier before-execute",
            Kind::BeforeResponse => "greffier before-response",
            Kind::Unmasked => "greffier, only Secrets masked",
        }
    }

    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Kind::BeforeExecute | Kind::BeforeResponse | Kind::Unmasked)
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
    running: Option<Running>,
}

impl Peer {
    /// A fresh one.
    pub(crate) fn start(kind: Kind, ground: &Ground) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{kind:?}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = ground.dir.path().join(name);
        fs::create_dir(&dir).map_err(|e| format!("starting {}: {e}", kind.name()))?;
        let (port, running) = match kind {
            Kind::Direct => (ground.cluster.port(), None),
            Kind::KubectlProxy => {
                let (port, child) = start_kubectl_proxy(&dir, ground)?;
                (port, Some(child))
            }
            Kind::BeforeExecute | Kind::BeforeResponse | Kind::Unmasked => {
                let (port, child) = start_greffier(&dir, kind, ground)?;
                (port, Some(child))
            }
        };
        Ok(Peer { kind, port, running })
    }

    /// The proxy's process.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|Running(child)| child.id())
    }

    /// Where a client comes in, and as which of several people; but they are one for a peer that
    /// does not ask who comes.
    pub(crate) fn door(&self, ground: &Ground, person: usize) -> Result<Door, String> {
        Ok(match self.kind {
            Kind::Direct => ground.direct(),
            Kind::KubectlProxy => Door { port: self.port, ca: None, token: String::new() },
            Kind::BeforeExecute | Kind::BeforeResponse | Kind::Unmasked => Door {
                port: self.port,
                ca: Some(ground.greffiers_ca()),
                token: ground.token(person)?,
            },
        })
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

fn start_kubectl_proxy(dir: &Path, ground: &Ground) -> Result<(u16, Running), String> {
    let port = testbed::spare_port().map_err(|e| e.to_string())?;
    let log = dir.join("said");
    let kubectl = ground.cluster.kubectl();
    let mut command = program(Path::new(kubectl.get_program()), &log)?;
    for (name, value) in kubectl.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    // Without its filter, which lets nobody exec.
    command.args(["proxy", "--disable-filter=true"]).arg(format!("--port={port}"));
    let mut running = Running(command.spawn().map_err(|e| format!("kubectl proxy: {e}"))?);
    let limit = Instant::now() + START;
    while Instant::now() < limit && matches!(running.0.try_wait(), Ok(None)) {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok((port, running));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = fs::read_to_string(log).unwrap_or_default();
    Err(format!("kubectl proxy does not listen: {said}"))
}

fn start_greffier(dir: &Path, kind: Kind, ground: &Ground) -> Result<(u16, Running), String> {
    let fail = |e: std::io::Error| format!("starting greffier: {e}");
    config::keygen(&dir.join("log.key"), ORIGIN).map_err(|e| e.to_string())?;
    let mut private = fs::OpenOptions::new();
    let private = private.write(true).create_new(true).mode(0o600).open(dir.join("cluster-token"));
    std::io::Write::write_all(&mut private.map_err(fail)?, ground.cluster.proxy_token().as_bytes())
        .map_err(fail)?;
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

/// TLS on both legs and full recording; every kind of value masked for the client and in the
/// record, unless only Secrets are.
fn configuration(kind: Kind, ground: &Ground) -> String {
    let durability = match kind {
        Kind::BeforeResponse => "before-response",
        _ => "before-execute",
    };
    let masking = match kind {
        Kind::Unmasked => "",
        _ => {
            "[masking]\nkey = \"env:BENCH_MASKING_KEY\"\n[[masking.rule]]\nname = \"everything\"\n\
             entity = [\"ALL\"]\nclient = { operator = \"mask\" }\nrecord = { operator = \"hash\" }\n"
        }
    };
    let (iss, url) = (ground.issuer.iss(), ground.cluster.url());
    let (certificate, key) = (ground.shown.certificate.display(), ground.shown.key.display());
    let ca = ground.cluster.ca();
    let ca = ca.display();
    format!(
        r#"
[[listen]]
protocol = "kubernetes"
address = "127.0.0.1:0"
tls = {{ certificate = "{certificate}", key = "{key}" }}
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
groups = "groups"
[policy]
default = "allow"
{masking}
[target.cluster]
protocol = "kubernetes"
url = "{url}"
tls_ca = "{ca}"
bearer = "file:cluster-token"
recording = "full"
durability = "{durability}"
"#
    )
}
