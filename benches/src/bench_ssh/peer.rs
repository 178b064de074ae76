//! What stands between the client and the server, each started by us.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::Door;
use dev_issuer::{Claims, DevIssuer};
use rustix::process::{Pid, Signal, kill_process};
use testbed::{Sshd, SshdOptions};
use tokio::runtime::Runtime;

const AUDIENCE: &str = "https://greffier.bench";
const ORIGIN: &str = "greffier.bench/ssh";
/// How long a greffier may take to seal its log at the end.
const END: Duration = Duration::from_secs(120);
/// How long a greffier may take to start.
const START: Duration = Duration::from_secs(20);

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No proxy.
    Direct,
    /// The same two russh legs, with nothing between them.
    Relay,
    /// OpenSSH through another sshd.
    ProxyJump,
    /// greffier-ssh with everything recorded.
    Greffier,
}

impl Kind {
    pub(crate) const ALL: [Kind; 4] = [Kind::Direct, Kind::Relay, Kind::ProxyJump, Kind::Greffier];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Relay => "bare russh relay",
            Kind::ProxyJump => "ProxyJump",
            Kind::Greffier => "greffier",
        }
    }
}

/// What all peers need.
pub(crate) struct Ground {
    pub(crate) sshd: Sshd,
    jump: Sshd,
    pub(crate) dir: tempfile::TempDir,
    /// What is moved: bytes that no cipher or disk makes short.
    pub(crate) file: PathBuf,
    greffier: PathBuf,
    issuer: DevIssuer,
    runtime: Runtime,
}

impl Ground {
    pub(crate) fn new(greffier: PathBuf, bytes: u64) -> Result<Self, String> {
        let text = |e: std::io::Error| e.to_string();
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().map_err(text)?;
        let issuer = runtime.block_on(DevIssuer::start()).map_err(|e| e.to_string())?;
        let dir = tempfile::Builder::new().prefix("greffier-bench-").tempdir().map_err(text)?;
        let start = || {
            // Less to say, and to write, than tests want to know.
            let config = "LogLevel ERROR\n".to_owned();
            Sshd::start(&SshdOptions { config, ..SshdOptions::default() })
                .map_err(|e| e.to_string())
        };
        let (sshd, jump) = (start()?, start()?);
        // One key for both.
        let key = |name: &str| jump.dir().join(name);
        for name in ["client", "client.pub"] {
            fs::copy(sshd.dir().join(name), key(name)).map_err(text)?;
        }
        fs::copy(key("client.pub"), key("authorized_keys")).map_err(text)?;
        let file = dir.path().join("file");
        let mut noise = fs::File::open("/dev/urandom").map_err(text)?.take(bytes);
        let mut out = fs::File::create(&file).map_err(text)?;
        std::io::copy(&mut noise, &mut out).map_err(text)?;
        Ok(Ground { sshd, jump, dir, file, greffier, issuer, runtime })
    }
}

/// A running peer. Ended when dropped.
pub(crate) struct Peer {
    pub(crate) kind: Kind,
    port: u16,
    dir: PathBuf,
    child: Option<Child>,
}

impl Peer {
    pub(crate) fn start(kind: Kind, ground: &Ground) -> Result<Self, String> {
        let fail = |e: std::io::Error| format!("starting {}: {e}", kind.name());
        let dir = tempfile::Builder::new().prefix("peer").tempdir_in(ground.dir.path());
        let dir = dir.map_err(fail)?.keep();
        let (port, child) = match kind {
            Kind::Direct | Kind::ProxyJump => (ground.sshd.port(), None),
            Kind::Relay => {
                let (port, child) = start_relay(ground)?;
                (port, Some(child))
            }
            Kind::Greffier => {
                let (port, child) = start_greffier(&dir, ground)?;
                (port, Some(child))
            }
        };
        let peer = Peer { kind, port, dir, child };
        fs::write(peer.config(), peer.client_config(ground)).map_err(fail)?;
        peer.refresh(ground)?;
        Ok(peer)
    }

    /// The proxy's process.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    fn config(&self) -> PathBuf {
        self.dir.join("ssh_config")
    }

    /// `ssh`, `sftp` and so on towards the host `peer`.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-F").arg(self.config()).env_remove("SSH_AUTH_SOCK").stdin(Stdio::null());
        command
    }

    /// The same for a client in our own process.
    pub(crate) fn door(&self, ground: &Ground) -> Door {
        let login = ground.sshd.login();
        let key = ground.sshd.client_key();
        let plain = |port, user: String| Door {
            port,
            user,
            key: key.clone(),
            certificate: None,
            jump: None,
        };
        let door = plain(self.port, login.to_owned());
        match self.kind {
            Kind::Direct | Kind::Relay => door,
            Kind::ProxyJump => {
                let jump = plain(ground.jump.port(), login.to_owned());
                Door { jump: Some(Box::new(jump)), ..door }
            }
            Kind::Greffier => Door {
                user: format!("{login}+bench"),
                certificate: Some(self.dir.join("certificate.pub")),
                ..door
            },
        }
    }

    /// A certificate that lasts for the next minutes, where one is needed.
    pub(crate) fn refresh(&self, ground: &Ground) -> Result<(), String> {
        if self.kind != Kind::Greffier {
            return Ok(());
        }
        let fail = |e: std::io::Error| format!("fetching a certificate: {e}");
        let claims = Claims::new("bench").audience(AUDIENCE).client("people");
        let token = ground.issuer.mint(claims.lifetime(Duration::from_secs(1800)));
        let askpass = self.dir.join("askpass");
        fs::write(&askpass, "#!/bin/sh\nprintf '%s\\n' \"$TOKEN\"\n").map_err(fail)?;
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).map_err(fail)?;
        let line = fs::read_to_string(ground.sshd.dir().join("client.pub")).map_err(fail)?;
        let out = self
            .command("ssh")
            .args(["-o", "User=greffier-cert", "-o", "PreferredAuthentications=password"])
            .args(["-o", "BatchMode=no", "peer", "issue", line.trim()])
            .arg(format!("{}+bench", ground.sshd.login()))
            .env("SSH_ASKPASS", askpass)
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("TOKEN", token.map_err(|e| e.to_string())?)
            .output()
            .map_err(fail)?;
        if !out.status.success() {
            let said = String::from_utf8_lossy(&out.stderr);
            return Err(format!("fetching a certificate: {said}"));
        }
        fs::write(self.dir.join("certificate.pub"), out.stdout).map_err(fail)
    }

    fn client_config(&self, ground: &Ground) -> String {
        let login = ground.sshd.login();
        let user =
            if self.kind == Kind::Greffier { format!("{login}+bench") } else { login.into() };
        let mut text = format!(
            "Host peer\nHostName 127.0.0.1\nPort {}\nUser {user}\n\
             CertificateFile {}\n",
            self.port,
            self.dir.join("certificate.pub").display(),
        );
        if self.kind == Kind::ProxyJump {
            text.push_str("ProxyJump jump\n");
        }
        text + &format!(
            "Host jump\nHostName 127.0.0.1\nPort {}\nUser {login}\n\
             Host *\nIdentityFile {}\nIdentitiesOnly yes\nBatchMode yes\nLogLevel ERROR\n\
             StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\n\
             Ciphers aes128-gcm@openssh.com\nKexAlgorithms curve25519-sha256\n",
            ground.jump.port(),
            ground.sshd.client_key().display(),
        )
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end(child);
        }
        let _gone = fs::remove_dir_all(&self.dir);
    }
}

/// In order, and by force when that takes too long.
fn end(child: &mut Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _gone_already = kill_process(pid, Signal::TERM);
    }
    let limit = Instant::now() + END;
    while Instant::now() < limit {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    eprintln!("a proxy did not end in {END:?} and is killed");
    let _ended = child.kill().and_then(|()| child.wait());
}

fn start_relay(ground: &Ground) -> Result<(u16, Child), String> {
    let fail = |e: std::io::Error| format!("starting the relay: {e}");
    let mut command = Command::new(std::env::current_exe().map_err(fail)?);
    command.args(["--serve-relay", &ground.sshd.port().to_string(), ground.sshd.login()]);
    command.arg(ground.sshd.client_key()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(fail)?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut line).map_err(fail)?;
    }
    match line.trim().strip_prefix("port ").and_then(|p| p.parse().ok()) {
        Some(port) => Ok((port, child)),
        None => Err(format!("starting the relay: it said {line:?}")),
    }
}

fn start_greffier(dir: &Path, ground: &Ground) -> Result<(u16, Child), String> {
    let fail = |e: std::io::Error| format!("starting greffier: {e}");
    config::keygen(&dir.join("log.key"), ORIGIN).map_err(|e| e.to_string())?;
    for name in ["host", "ca"] {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(dir.join(name));
        keygen.status().map_err(fail)?;
    }
    let file = dir.join("greffier.toml");
    fs::write(&file, configuration(ground)?).map_err(fail)?;
    let log = dir.join("said");
    // The proxy ends with us, also when we are killed.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(&ground.greffier);
    command.arg("--config").arg(&file).current_dir(dir).env("RUST_LOG", "info");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(fs::File::create(&log).map_err(fail)?).spawn().map_err(fail)?;
    let limit = Instant::now() + START;
    while Instant::now() < limit && matches!(child.try_wait(), Ok(None)) {
        let said = fs::read_to_string(&log).unwrap_or_default();
        let ready = said.lines().find(|line| line.contains(" is ready "));
        if let Some((_, rest)) = ready.and_then(|line| line.split_once("127.0.0.1:")) {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            return Ok((digits.parse().map_err(|_| said.clone())?, child));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    end(&mut child);
    Err(format!("greffier did not start: {}", fs::read_to_string(&log).unwrap_or_default()))
}

/// Everything recorded; nothing masked, since what crosses is noise.
fn configuration(ground: &Ground) -> Result<String, String> {
    let (iss, port, login) = (ground.issuer.iss(), ground.sshd.port(), ground.sshd.login());
    let host_key = ground.sshd.host_key().map_err(|e| e.to_string())?;
    let key = ground.sshd.client_key();
    Ok(format!(
        r#"
[[listen]]
protocol = "ssh"
address = "127.0.0.1:0"
host_keys = ["file:host"]
max_unauthenticated = 500
[ssh_ca]
key = "file:ca"
lifetime = "15m"
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
[target.bench]
protocol = "ssh"
host = "127.0.0.1"
port = {port}
host_keys = ["{host_key}"]
key = "file:{}"
allow = ["exec", "shell", "sftp", "scp"]
recording = "full"
[[target.bench.login]]
logins = ["{login}"]
"#,
        key.display()
    ))
}

impl Ground {
    /// Runs work on the bench's own runtime.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}
