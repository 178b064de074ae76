//! `greffier ssh-cert` against a proxy in this process.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what can't be set up fails its test"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use config::serve::{Handler, Listening, Shutdown, Stop, serve};
use config::{Instance, Protocol};
use dev_issuer::{Claims, DevIssuer};
use ssh::SecretKey;
use ssh::obtain::UserCertificate;
use tokio::sync::oneshot;

const AUDIENCE: &str = "https://greffier.test";

struct Gateway {
    dir: tempfile::TempDir,
    issuer: DevIssuer,
    /// The issuer lives in it.
    _runtime: tokio::runtime::Runtime,
    port: u16,
    host_key: SecretKey,
    end: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn private(path: &Path, key: &SecretKey) {
    fs::write(path, key.expose().unwrap().expose()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

impl Gateway {
    fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let issuer = runtime.block_on(DevIssuer::start()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (host_key, target_key) =
            (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
        private(&dir.path().join("host"), &host_key);
        private(&dir.path().join("ca"), &SecretKey::generate().unwrap());
        private(&dir.path().join("login"), &SecretKey::generate().unwrap());
        config::keygen(&dir.path().join("log.key"), "greffier.test/ssh").unwrap();
        let file = dir.path().join("greffier.toml");
        fs::write(&file, configuration(issuer.iss(), &target_key.public().to_line().unwrap()))
            .unwrap();
        let (ready, port) = std::sync::mpsc::channel();
        let (end, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || run(&file, &ready, ended));
        let port = port.recv_timeout(Duration::from_secs(60)).unwrap();
        Gateway {
            dir,
            issuer,
            _runtime: runtime,
            port,
            host_key,
            end: Some(end),
            thread: Some(thread),
        }
    }

    fn identity(&self) -> PathBuf {
        self.dir.path().join("mine")
    }

    fn ssh_cert(&self, token: &str, host_key: &SecretKey, more: &[&str]) -> Output {
        self.command(host_key, more).env("GREFFIER_TOKEN", token).output().unwrap()
    }

    fn command(&self, host_key: &SecretKey, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_greffier"));
        command
            .args(["ssh-cert", "--gateway", &format!("127.0.0.1:{}", self.port)])
            .args(["--host-key", &host_key.public().to_line().unwrap()])
            .arg("--identity")
            .arg(self.identity())
            .args(more)
            .stdin(Stdio::null());
        command
    }

    fn token(&self) -> String {
        self.issuer.mint(Claims::new("alice").audience(AUDIENCE).client("people")).unwrap()
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
            Stop { patience: Duration::ZERO }
        };
        let hurry = std::future::pending();
        serve(vec![listening], loaded.serve, instance.beside(), stop, hurry).await.unwrap();
        instance.seal(Duration::from_secs(10)).await.unwrap();
    });
}

fn configuration(iss: &str, host_key: &str) -> String {
    format!(
        r#"
        [[listen]]
        protocol = "ssh"
        address = "127.0.0.1:0"
        host_keys = ["file:host"]
        device_flow = {{ issuer = "dev", client_id = "people" }}
        [ssh_ca]
        key = "file:ca"
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
        host_keys = ["{host_key}"]
        key = "file:login"
        allow = ["exec"]
        [[target.web1.login]]
        logins = ["deploy"]
        "#
    )
}

fn told(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn a_token_becomes_a_certificate_once_and_only_where_the_host_is_known() {
    let gateway = Gateway::start();
    let certificate = || fs::read_to_string(gateway.dir.path().join("mine-cert.pub"));

    // A stranger in the proxy's place gets no token, and nothing is written.
    let out = gateway.ssh_cert(&gateway.token(), &SecretKey::generate().unwrap(), &[]);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(told(&out).contains("host key"), "{}", told(&out));
    assert!(!gateway.identity().exists() && certificate().is_err());

    let out = gateway.ssh_cert("no token", &gateway.host_key, &[]);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(told(&out).contains("the token was refused"), "{}", told(&out));

    let users = ["--user", "deploy+web1"];
    let out = gateway.ssh_cert(&gateway.token(), &gateway.host_key, &users);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let first = certificate().unwrap();
    let mode = fs::metadata(gateway.identity()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = SecretKey::parse(&fs::read_to_string(gateway.identity()).unwrap()).unwrap();
    let read = UserCertificate::parse(&first).unwrap();
    assert!(read.serves(&key.public(), &["deploy+web1".into()]));
    assert!(!read.serves(&key.public(), &["root+web1".into()]));
    assert!(!read.serves(&key.public(), &[]));

    // It still serves: nobody is asked, so not even a token is needed.
    let out = gateway.ssh_cert("", &gateway.host_key, &users);
    assert_eq!((out.status.code(), certificate().unwrap()), (Some(0), first.clone()), "{out:?}");

    // For more, a new one; of the same key.
    let out = gateway.ssh_cert(&gateway.token(), &gateway.host_key, &[]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let second = certificate().unwrap();
    assert_ne!(second, first);
    assert!(UserCertificate::parse(&second).unwrap().serves(&key.public(), &[]));

    // The proxy's own words come through.
    fs::remove_file(gateway.dir.path().join("mine-cert.pub")).unwrap();
    let out = gateway.ssh_cert(&gateway.token(), &gateway.host_key, &["--user", "../x"]);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(told(&out).contains("no user name"), "{}", told(&out));
    assert!(certificate().is_err());
}

#[test]
fn a_person_at_a_browser_gets_a_certificate_without_a_token() {
    let gateway = Gateway::start();
    let person = |claims: Option<Claims>| {
        let mut command = gateway.command(&gateway.host_key, &["--browser"]);
        let child = command.env_remove("GREFFIER_TOKEN").stderr(Stdio::piped()).spawn().unwrap();
        let code = loop {
            if let Some(code) = gateway.issuer.user_codes().pop() {
                break code;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let known = match claims {
            Some(claims) => gateway.issuer.approve_device(&code, claims),
            None => gateway.issuer.deny_device(&code),
        };
        assert!(known);
        (child.wait_with_output().unwrap(), code)
    };
    let (out, _) = person(None);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(told(&out).contains("nobody was let in by browser"), "{}", told(&out));
    assert!(!gateway.identity().exists());

    let (out, code) = person(Some(Claims::new("alice").audience(AUDIENCE).client("people")));
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert!(told(&out).contains(&format!("enter the code {code}")), "{}", told(&out));
    let certificate = fs::read_to_string(gateway.dir.path().join("mine-cert.pub")).unwrap();
    let key = SecretKey::parse(&fs::read_to_string(gateway.identity()).unwrap()).unwrap();
    assert!(UserCertificate::parse(&certificate).unwrap().serves(&key.public(), &[]));
}
