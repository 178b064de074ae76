//! The binary from outside: started, used by OpenSSH's client, ended in order.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what can't be set up fails its test"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use audit_sink::store::{Reader, Store, VerifyOptions, verify};
use dev_issuer::{Claims, DevIssuer};
use records::{Body, Entry};
use testbed::{Program, Sshd, SshdOptions, require};
use tokio::runtime::Runtime;

const AUDIENCE: &str = "https://greffier.test";
const ORIGIN: &str = "greffier.test/ssh-1";

struct Bench {
    runtime: Runtime,
    issuer: DevIssuer,
    sshd: Sshd,
    dir: tempfile::TempDir,
    vkey: tlog::Verifier,
}

impl Bench {
    fn new() -> Option<Self> {
        let sshd = require(Sshd::start(&SshdOptions::default()))?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let issuer = runtime.block_on(DevIssuer::start()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let vkey = config::keygen(&dir.path().join("log.key"), ORIGIN).unwrap();
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(dir.path().join("host_key"))
            .status()
            .unwrap();
        assert!(made.success());
        let bench = Bench { runtime, issuer, sshd, dir, vkey };
        bench.write_config();
        Some(bench)
    }

    fn write_config(&self) {
        let text = format!(
            r#"
            [[listen]]
            address = "127.0.0.1:0"
            host_keys = ["file:host_key"]
            [audit]
            dir = "state"
            store = "store"
            log_id = "ssh-1"
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
            name = "keep-files"
            effect = "deny"
            when = {{ operations = ["exec"], resources = ["rm *"] }}
            [target.web1]
            protocol = "ssh"
            host = "127.0.0.1"
            port = {}
            host_keys = ["{}"]
            key = "file:client_key"
            allow = ["exec"]
            [[target.web1.login]]
            default = "{}"
            "#,
            self.issuer.iss(),
            self.sshd.port(),
            self.sshd.host_key().unwrap().trim(),
            self.sshd.login(),
        );
        fs::write(self.config(), text).unwrap();
        let key = self.dir.path().join("client_key");
        fs::copy(self.sshd.client_key(), &key).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("greffier.toml")
    }

    fn start(&self) -> Proxy {
        let mut command = Command::new(env!("CARGO_BIN_EXE_greffier-ssh"));
        command.arg("--config").arg(self.config()).env_remove("RUST_LOG");
        let mut program = Program::heard_on_stderr(&mut command).unwrap();
        let (ready, port) = program.ready().unwrap();
        assert!(ready.contains(&self.vkey.to_string()), "{ready}");
        Proxy { program, port }
    }

    /// OpenSSH's client, with the token as its password and the proxy's key as the only one known.
    fn ssh(&self, proxy: &Proxy, command: &str) -> Output {
        let token = self.issuer.mint(Claims::new("alice").audience(AUDIENCE).client("people"));
        let askpass = self.dir.path().join("askpass");
        fs::write(&askpass, "#!/bin/sh\nprintf '%s\\n' \"$TOKEN\"\n").unwrap();
        fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).unwrap();
        let key = fs::read_to_string(self.dir.path().join("host_key.pub")).unwrap();
        let known = self.dir.path().join("known_hosts");
        fs::write(&known, format!("[127.0.0.1]:{} {key}", proxy.port)).unwrap();
        Command::new("ssh")
            .args(["-F", "none", "-p", &proxy.port.to_string()])
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", known.display()))
            .args(["-o", "StrictHostKeyChecking=yes", "-o", "PubkeyAuthentication=no"])
            .args(["-o", "PreferredAuthentications=password", "web1@127.0.0.1", command])
            .env("SSH_ASKPASS", &askpass)
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("TOKEN", token.unwrap())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Verifies the store, and gives the `type` of every entry with the text of commands.
    fn verified(&self) -> Vec<String> {
        let store = Store::open(self.dir.path().join("store").to_str().unwrap()).unwrap();
        let log = store.log("ssh-1").unwrap();
        self.runtime.block_on(async {
            let report = verify(&log, &self.vkey, &VerifyOptions::default()).await.unwrap();
            assert!(report.failures.is_empty(), "{report:?}");
            let reader = Reader::open(&log, &self.vkey).await.unwrap().unwrap();
            let mut entries = reader.range(0, u64::MAX);
            let mut kinds = Vec::new();
            while let Some((_, bytes)) = entries.next().await.unwrap() {
                let entry = Entry::from_json(&bytes).unwrap();
                kinds.push(match &entry.body {
                    Body::Command(command) => {
                        format!("command {}: {:?}", command.verdict, command.text)
                    }
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

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn ssh_works_a_rule_denies_and_the_end_seals() {
    let Some(bench) = Bench::new() else { return };
    let proxy = bench.start();
    let answer = bench.ssh(&proxy, "echo $((40 + 2)); exit 7");
    assert_eq!(
        (text(&answer.stdout), answer.status.code()),
        ("42\n".to_owned(), Some(7)),
        "{}",
        text(&answer.stderr)
    );
    let kept = bench.dir.path().join("kept");
    fs::write(&kept, "").unwrap();
    let denied = bench.ssh(&proxy, &format!("rm {}", kept.display()));
    assert_eq!(denied.status.code(), Some(126), "{denied:?}");
    assert!(text(&denied.stderr).contains("keep-files"), "{denied:?}");
    assert!(kept.exists());
    assert_eq!(proxy.program.end().unwrap(), Some(0));
    let entries = bench.verified();
    let commands: Vec<_> = entries.iter().filter(|e| e.starts_with("command")).collect();
    assert_eq!(commands.len(), 2, "{entries:?}");
    assert!(commands[0].contains("allow") && commands[0].contains("exit 7"), "{entries:?}");
    assert!(commands[1].starts_with("command deny"), "{entries:?}");
    assert_eq!(entries.iter().filter(|e| *e == "response").count(), 1, "{entries:?}");
    assert_eq!(entries.last().map(String::as_str), Some("log_sealed"));
}

#[test]
fn mistakes_are_told_with_their_lines_and_status_2() {
    let dir = tempfile::tempdir().unwrap();
    let file: &Path = &dir.path().join("greffier.toml");
    fs::write(file, "[[listen]]\naddress = \"127.0.0.1:0\"\n[target.web1]\nprotocol = \"ssh\"\n")
        .unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_greffier-ssh"))
        .args(["--check", "--config"])
        .arg(file)
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(2));
    let told = text(&out.stderr);
    let name = file.display();
    for line in [
        format!("{name}:1:1: listen[0].host_keys: is missing; "),
        format!("{name}:3:9: target.web1.host: is missing; "),
        format!("{name}:3:9: target.web1.allow: is missing; "),
        format!("{name}:3:9: target.web1.login: is missing; "),
    ] {
        assert!(told.contains(&line), "{line}\n{told}");
    }
}
