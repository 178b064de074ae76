//! The SSH example, run as a user runs it, with OpenSSH's client and server.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use dev_issuer::{Claims, DevIssuer};
use serde_json::Value;
use testbed::{Sshd, SshdOptions, require};

const AUDIENCE: &str = "https://ssh.example";

/// The embedding program, ended with the test.
struct Embedded {
    child: Child,
    port: String,
}

impl Embedded {
    /// Starts it; its host key is put among the known ones of `dir`.
    fn start(dir: &Path, issuers: &Path, sshd: &Sshd) -> Self {
        let host_key = dir.join("host_key.pub");
        std::fs::write(&host_key, sshd.host_key().unwrap()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_embed_ssh"))
            .arg(issuers)
            .arg(format!("{}@127.0.0.1:{}", sshd.login(), sshd.port()))
            .arg(host_key)
            .arg(sshd.client_key())
            .arg(dir.join("entries.jsonl"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let (place, key) = line.trim().split_once(' ').unwrap();
        let port = place.rsplit(':').next().unwrap().to_owned();
        std::fs::write(dir.join("known_hosts"), format!("[127.0.0.1]:{port} {key}\n")).unwrap();
        let askpass = dir.join("askpass");
        std::fs::write(&askpass, "#!/bin/sh\nprintf '%s\\n' \"$GREFFIER_TEST_TOKEN\"\n").unwrap();
        std::fs::set_permissions(&askpass, std::fs::Permissions::from_mode(0o700)).unwrap();
        Embedded { child, port }
    }

    fn ssh(&self, dir: &Path, login: &str, token: &str, line: &str) -> Output {
        let known = format!("UserKnownHostsFile={}", dir.join("known_hosts").display());
        Command::new("ssh")
            .args(["-F", "none", "-p", &self.port, "-o", &known, "-o", "IdentityFile=none"])
            .args(["-o", "PreferredAuthentications=password", "-o", "NumberOfPasswordPrompts=1"])
            .arg(format!("{login}+main@127.0.0.1"))
            .arg(line)
            .env("SSH_ASKPASS", dir.join("askpass"))
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("GREFFIER_TEST_TOKEN", token)
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn issuers_toml(iss: &str) -> String {
    format!(
        r#"
        [issuer.main]
        iss = "{iss}"
        audiences = ["{AUDIENCE}"]
        algorithms = ["ES256"]
        may_mint = ["human", "agent"]
        allow_insecure_loopback = true
        [[issuer.main.rule]]
        name = "people"
        kind = "human"
        when = {{ act = {{ absent = true }} }}
        [[issuer.main.rule]]
        name = "agents"
        kind = "agent"
        when = {{ act = {{ present = true }} }}
        actor_from = "act"
        "#
    )
}

#[test]
fn embedding_the_proxy_takes_no_more_than_sixty_lines() {
    let lines = include_str!("../embed_ssh.rs").lines().count();
    assert!(lines <= 60, "{lines}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embed_ssh_serves_refuses_and_records() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let issuer = DevIssuer::start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let issuers = dir.path().join("issuers.toml");
    std::fs::write(&issuers, issuers_toml(issuer.iss())).unwrap();
    let embedded = Embedded::start(dir.path(), &issuers, &sshd);
    let run = |token: &str, line: &str| embedded.ssh(dir.path(), sshd.login(), token, line);
    let token = |claims: Claims| issuer.mint(claims.audience(AUDIENCE)).unwrap();
    let (alice, agent) =
        (token(Claims::new("alice")), token(Claims::new("alice").acting(&["agent-7"])));

    let said = run(&alice, "for i in 1 2; do echo $i; done; exit 3");
    assert_eq!((&*said.stdout, said.status.code()), (&b"1\n2\n"[..], Some(3)), "{said:?}");
    let said = run(&agent, "echo plain");
    assert_eq!((&*said.stdout, said.status.code()), (&b"plain\n"[..], Some(0)), "{said:?}");
    let said = run(&agent, "for i in 1 2; do echo $i; done");
    let told = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!((&*said.stdout, said.status.code()), (&b""[..], Some(126)), "{said:?}");
    assert!(told.contains("write it plainly"), "{told}");
    assert_eq!(run("a.b.c", "true").status.code(), Some(255));

    let text = std::fs::read_to_string(dir.path().join("entries.jsonl")).unwrap();
    let entries: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let of = |kind: &str| entries.iter().filter(|e| e["type"] == kind).collect::<Vec<_>>();
    let verdicts: Vec<_> = of("command").iter().map(|c| c["verdict"].clone()).collect();
    assert_eq!(verdicts, ["allow", "allow", "deny"]);
    assert_eq!(of("command")[2]["principal"]["on_behalf_of"][0]["subject"], "alice");
    assert_eq!(of("response")[0]["details"]["exit_status"], "3");
    assert_eq!(of("auth_failure").len(), 1);
}
