//! A gateway before a real sshd in the test's process, OpenSSH's client in a terminal of the
//! test's own, and `greffier audit replay` on what was recorded.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a rig that can't be set up fails its test"
)]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use config::serve::{Handler, Listening, Shutdown, Stop, serve};
use config::{Instance, Protocol};
use dev_issuer::{Claims, DevIssuer};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value;
use ssh::SecretKey;
use testbed::{Sshd, SshdOptions, require};
use tokio::sync::oneshot;

const AUDIENCE: &str = "https://greffier.test";
/// How long the client may wait for what it waits for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nothing more comes after so much silence.
const SILENCE: Duration = Duration::from_millis(700);

/// A program's path; a named skip without it.
pub fn program(name: &str) -> Option<PathBuf> {
    let found = ["/usr/bin", "/bin"].iter().map(|dir| Path::new(dir).join(name));
    let missing =
        testbed::Missing { what: name.to_owned(), how: format!("apt-get install {name}") };
    require(found.into_iter().find(|path| path.exists()).ok_or(testbed::Error::Missing(missing)))
}

pub fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub struct Gateway {
    dir: tempfile::TempDir,
    issuer: DevIssuer,
    sshd: Sshd,
    vkey: String,
    /// The issuer lives in it.
    _runtime: tokio::runtime::Runtime,
    port: u16,
    end: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn private(path: &Path, key: &SecretKey) {
    fs::write(path, key.expose().unwrap().expose()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

impl Gateway {
    /// With these lines for the target, before its tables.
    pub fn start(lines: &str) -> Option<Self> {
        Self::with(lines, "")
    }

    /// And these tables at the end.
    pub fn with(lines: &str, tables: &str) -> Option<Self> {
        Self::listening("", lines, tables)
    }

    /// And these lines for the listener.
    pub fn listening(listen: &str, lines: &str, tables: &str) -> Option<Self> {
        // No history of the account's own is written.
        let config = "SetEnv HISTFILE=/dev/null".to_owned();
        let sshd = require(Sshd::start(&SshdOptions { config, ..SshdOptions::default() }))?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let issuer = runtime.block_on(DevIssuer::start()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let host_key = SecretKey::generate().unwrap();
        private(&dir.path().join("host"), &host_key);
        let key = fs::read_to_string(sshd.client_key()).unwrap();
        private(&dir.path().join("login"), &SecretKey::parse(&key).unwrap());
        private(&dir.path().join("ca"), &SecretKey::generate().unwrap());
        let vkey = config::keygen(&dir.path().join("log.key"), "greffier.test/ssh").unwrap();
        let file = dir.path().join("greffier.toml");
        fs::write(&file, configuration(issuer.iss(), &sshd, listen, lines, tables)).unwrap();
        let (ready, port) = channel();
        let (end, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || run(&file, &ready, ended));
        let port = port.recv_timeout(PATIENCE).unwrap();
        let line = host_key.public().to_line().unwrap();
        // By the name that clients are given for it, and by its address as `greffier` reads it.
        let known = format!("gw {line}\n[127.0.0.1]:{port} {line}\n");
        fs::write(dir.path().join("known_hosts"), known).unwrap();
        let askpass = dir.path().join("askpass");
        fs::write(&askpass, "#!/bin/sh\nprintf '%s\\n' \"$TOKEN\"\n").unwrap();
        fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).unwrap();
        Some(Gateway {
            dir,
            issuer,
            sshd,
            vkey: vkey.to_string(),
            _runtime: runtime,
            port,
            end: Some(end),
            thread: Some(thread),
        })
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Who issues the tokens, and shows the page where codes are entered.
    pub fn issuer(&self) -> &DevIssuer {
        &self.issuer
    }

    /// What a person's token says.
    pub fn claims() -> Claims {
        Claims::new("alice").audience(AUDIENCE).client("people")
    }

    /// The account on the target.
    pub fn login(&self) -> &str {
        self.sshd.login()
    }

    /// OpenSSH's client.
    pub fn ssh(&self) -> Command {
        let token = self.issuer.mint(Self::claims());
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-q", "-p", &self.port.to_string(), "-o", "HostKeyAlias=gw", "-o"])
            .arg(format!("UserKnownHostsFile={}", self.dir().join("known_hosts").display()))
            .args(["-o", "StrictHostKeyChecking=yes", "-o", "PubkeyAuthentication=no"])
            .args(["-o", "PreferredAuthentications=password", "-o", "EscapeChar=none"])
            .env("SSH_ASKPASS", self.dir().join("askpass"))
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("TERM", "xterm-256color")
            .env("TOKEN", token.unwrap());
        ssh
    }

    /// Ends the proxy; all is published then.
    pub fn seal(&mut self) {
        let _ended = self.end.take().map(|end| end.send(()));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// The operator's command, with all that leads to the record.
    pub fn operator(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_greffier"));
        command
            .args(args)
            .env("GREFFIER_STORE", self.dir().join("store"))
            .env("GREFFIER_LOG_ID", "ssh-1")
            .env("GREFFIER_KEY", &self.vkey);
        command
    }

    fn greffier(&self, args: &[&str]) -> Output {
        self.operator(args).output().unwrap()
    }

    /// What is on record, in order.
    pub fn listed(&self) -> Vec<Value> {
        let listed = text(&self.greffier(&["audit", "list", "--json"]));
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The id of the one session.
    pub fn session(&self) -> String {
        self.listed()[0]["session"].as_str().unwrap().to_owned()
    }

    pub fn replay(&self, id: &str, args: &[&str]) -> Output {
        self.greffier(&[&["audit", "replay", id], args].concat())
    }

    /// What is recorded, as asciicast: the header, then events.
    pub fn cast(&self, id: &str) -> Vec<Value> {
        let cast = text(&self.replay(id, &["--export", "-"]));
        cast.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ended = self.end.take().map(|end| end.send(()));
        let _joined = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn run(file: &Path, ready: &std::sync::mpsc::Sender<u16>, ended: oneshot::Receiver<()>) {
    let loaded = config::load(file).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let instance = Instance::open(&loaded, "test").await.unwrap();
        let Protocol::Ssh(own) = &loaded.listeners[0].protocol else { panic!("not SSH") };
        let proxy = ssh::Proxy::new(instance.gate.clone(), loaded.ssh_config(own));
        let handler: Handler = Arc::new(move |tcp, peer, shutdown: Shutdown| {
            let proxy = proxy.clone();
            Box::pin(async move { proxy.serve(tcp, peer, shutdown.wanted()).await })
                as Pin<Box<dyn Future<Output = ()>>>
        });
        let listening = Listening::bind(loaded.listeners[0].address, handler).await.unwrap();
        ready.send(listening.address().port()).unwrap();
        let stop = async {
            let _gone = ended.await;
            Stop { patience: Duration::from_secs(5) }
        };
        let hurry = std::future::pending();
        serve(vec![listening], loaded.serve, instance.beside(), stop, hurry).await.unwrap();
        instance.seal(Duration::from_secs(10)).await.unwrap();
    });
}

fn configuration(iss: &str, sshd: &Sshd, listen: &str, lines: &str, tables: &str) -> String {
    format!(
        r#"
        [[listen]]
        protocol = "ssh"
        address = "127.0.0.1:0"
        host_keys = ["file:host"]
        {listen}
        [audit]
        dir = "state"
        store = "store"
        log_id = "ssh-1"
        origin = "greffier.test/ssh"
        key = "file:log.key"
        segments = 4
        segment_bytes = "1MiB"
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
        [target.web1]
        protocol = "ssh"
        host = "127.0.0.1"
        port = {}
        host_keys = ["{}"]
        key = "file:login"
        allow = ["exec", "shell"]
        {lines}
        [[target.web1.login]]
        default = "{}"
        {tables}
        "#,
        sshd.port(),
        sshd.host_key().unwrap().trim(),
        sshd.login(),
    )
}

/// What a terminal shows.
pub struct Screen(vt100::Parser);

impl Screen {
    pub fn new(columns: u16, rows: u16) -> Self {
        let mut screen = Screen(vt100::Parser::default());
        screen.resize(columns, rows);
        screen
    }

    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.0.set_size(NonZeroU16::new(rows).unwrap(), NonZeroU16::new(columns).unwrap());
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.0.process(bytes);
    }

    pub fn contents(&self) -> String {
        self.0.screen().contents().trim_end().to_owned()
    }

    /// With colours and the cursor's place.
    pub fn formatted(&self) -> String {
        self.0.screen().contents_formatted()
    }
}

/// OpenSSH's client in a terminal.
pub struct Terminal {
    child: Child,
    keys: File,
    came: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    screen: Screen,
}

impl Terminal {
    /// A shell, or this command, in a terminal of this size.
    pub fn start(gateway: &Gateway, size: (u16, u16), command: &[&str]) -> Self {
        let mut ssh = gateway.ssh();
        ssh.args(["-tt", "web1@127.0.0.1"]).args(command);
        Self::run(ssh, size)
    }

    /// A program in a terminal of this size.
    pub fn run(mut program: Command, (columns, rows): (u16, u16)) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let mut slave = File::options();
        let slave = slave.read(true).write(true).open(Path::new(name.to_str().unwrap())).unwrap();
        tcsetwinsize(&slave, size(columns, rows)).unwrap();
        let child = program
            .stdin(Stdio::from(slave.try_clone().unwrap()))
            .stdout(Stdio::from(slave))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It holds the other side open.
        drop(program);
        let keys = File::from(master);
        let mut output = keys.try_clone().unwrap();
        let (tell, came) = channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // An error is the end: nobody has the other side open any more.
            while let Ok(bytes @ 1..) = output.read(&mut piece) {
                if tell.send(piece[..bytes].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal { child, keys, came, seen: Vec::new(), screen: Screen::new(columns, rows) }
    }

    pub fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.quiet();
        self.screen.resize(columns, rows);
        tcsetwinsize(&self.keys, size(columns, rows)).unwrap();
        // It is not the client's controlling terminal, so nobody else tells it.
        kill_process(Pid::from_child(&self.child), Signal::WINCH).unwrap();
        self.quiet();
    }

    fn take(&mut self, wait: Duration) -> Result<(), RecvTimeoutError> {
        let bytes = self.came.recv_timeout(wait)?;
        self.screen.feed(&bytes);
        self.seen.extend(bytes);
        Ok(())
    }

    /// Waits until the screen is so.
    pub fn until(&mut self, what: &str, wanted: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        while !wanted(&self.screen.contents()) {
            assert!(begun.elapsed() < PATIENCE, "{what}: {}", self.screen.contents());
            if self.take(SILENCE) == Err(RecvTimeoutError::Disconnected) {
                panic!("the end before {what}: {}", self.screen.contents());
            }
        }
    }

    /// Waits until nothing more comes.
    pub fn quiet(&mut self) {
        while self.take(SILENCE).is_ok() {}
    }

    /// What the screen shows now.
    pub fn shows(&self) -> String {
        self.screen.contents()
    }

    /// Whether what is typed is shown at once, and goes to the program line by line: so a terminal
    /// is as long as no program takes keys one by one.
    pub fn is_plain(&self) -> bool {
        let modes = tcgetattr(&self.keys).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON)
    }

    /// How many bytes came, and what the screen shows of them, once nothing more comes.
    pub fn moment(&mut self) -> (usize, String) {
        self.quiet();
        (self.seen.len(), self.screen.formatted())
    }

    /// Waits for the client's end. All that came, and its exit status.
    pub fn end(mut self) -> (Vec<u8>, Option<i32>) {
        let begun = Instant::now();
        while self.take(PATIENCE).is_ok() {
            assert!(begun.elapsed() < PATIENCE, "{}", self.screen.contents());
        }
        let status = self.child.wait().unwrap();
        (std::mem::take(&mut self.seen), status.code())
    }

    /// All that came so far.
    pub fn seen(&self) -> &[u8] {
        &self.seen
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
