//! `greffier ssh-cert` where OpenSSH's client runs it by itself: from `Match exec`, with a token
//! and with a browser, and from `ProxyCommand`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what can't be set up fails its test"
)]

mod terminals;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use terminals::{Gateway, text};
use testbed::require;
use testbed::ssh_clients::program;

const CA: &str = "[ssh_ca]\nkey = \"file:ca\"\n";
const BROWSER: &str = "device_flow = { issuer = \"dev\", client_id = \"people\" }";

/// A gateway with an authority for certificates, and a client's configuration that leads to it.
struct Client {
    gateway: Gateway,
    /// What stands in the configuration behind what every client is given.
    config: String,
}

impl Client {
    fn new(gateway: Gateway) -> Client {
        Client { gateway, config: String::new() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.gateway.dir().join(name)
    }

    /// `greffier ssh-cert`, as a line of a configuration, with `%h` for the gateway's host.
    fn ssh_cert(&self, more: &str) -> String {
        format!(
            "{} ssh-cert --gateway %h:{} --known-hosts {} --identity {} {more}",
            env!("CARGO_BIN_EXE_greffier"),
            self.gateway.port(),
            self.at("known_hosts").display(),
            self.at("mine").display(),
        )
    }

    /// The example of `greffier ssh-cert --help`, with names of this test's own.
    fn by_match(mut self, more: &str) -> Client {
        let (exec, key) = (self.ssh_cert(more), self.at("mine"));
        self.config = format!(
            "Match host 127.0.0.1 exec \"{exec}\"\nPort {}\nIdentityFile {}\nIdentitiesOnly yes\n",
            self.gateway.port(),
            key.display()
        );
        self
    }

    fn by_proxy(mut self, command: &str) -> Client {
        let key = self.at("mine");
        self.config = format!(
            "Host *\nPort {}\nIdentityFile {}\nIdentitiesOnly yes\nProxyUseFdpass yes\n\
             ProxyCommand {command}\n",
            self.gateway.port(),
            key.display()
        );
        self
    }

    fn token(&self) {
        let token = self.gateway.issuer().mint(Gateway::claims()).unwrap();
        fs::write(self.at("token"), token).unwrap();
    }

    /// `ssh` as people call it. Nobody is there to be asked.
    fn ssh(&self, line: &str) -> Command {
        let file = self.at("ssh_config");
        fs::write(&file, &self.config).unwrap();
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(file).args(["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]);
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", self.at("known_hosts").display()));
        ssh.args(["-o", "GlobalKnownHostsFile=/dev/null"]);
        ssh.arg(format!("{}+web1@127.0.0.1", self.gateway.login())).arg(line);
        ssh.env_remove("SSH_AUTH_SOCK").env_remove("GREFFIER_TOKEN").stdin(Stdio::null());
        ssh
    }

    fn forget(&self, name: &str) {
        fs::remove_file(self.at(name)).unwrap();
    }

    /// The sessions on record: their targets, and what let them in.
    fn sessions(mut self) -> Vec<(String, String)> {
        self.gateway.seal();
        let listed = text(
            &self.gateway.operator(&["audit", "list", "--sessions", "--json"]).output().unwrap(),
        );
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        let lines = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|it| (word(&it["target"]), word(&it["details"]["credential"]))).collect()
    }
}

fn told(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn pair(target: &str, credential: &str) -> (String, String) {
    (target.to_owned(), credential.to_owned())
}

#[test]
fn ssh_alone_fetches_its_certificate_by_match_exec() {
    let Some(gateway) = Gateway::with("", CA) else { return };
    let client = Client::new(gateway);
    // For the one user name that is asked for: OpenSSH's own word for it is %r.
    let file = client.at("token").display().to_string();
    let client = client.by_match(&format!("--user %r --token-file {file}"));
    client.token();
    for _ in 0..2 {
        assert_eq!(text(&client.ssh("echo in").output().unwrap()), "in\n");
        // The second time the certificate that is there serves, without a token.
        if client.at("token").exists() {
            client.forget("token");
        }
    }
    // Without either, ssh-cert says what is missing, and ssh has nothing to show.
    client.forget("mine-cert.pub");
    let out = client.ssh("echo in").output().unwrap();
    assert_eq!((out.status.code(), out.stdout.len()), (Some(255), 0), "{}", told(&out));
    assert!(told(&out).contains(&file), "{}", told(&out));
    // What every other program of OpenSSH's does by the same configuration, `git` here.
    client.token();
    let mut git = Command::new("git");
    let url = format!("ssh://{}+web1@127.0.0.1/nowhere", client.gateway.login());
    let config = client.at("ssh_config").display().to_string();
    let known = client.at("known_hosts").display().to_string();
    git.args(["ls-remote", &url]).env_remove("SSH_AUTH_SOCK").stdin(Stdio::null());
    git.env("GIT_SSH_COMMAND", format!("ssh -F {config} -o UserKnownHostsFile={known}"));
    let out = git.output().unwrap();
    // There is no such repository: the target says so, so git got that far.
    assert!(told(&out).contains("'/nowhere' does not appear to be a git repository"), "{out:?}");
    let (cert, web) = (pair("greffier-cert", "keyboard-interactive"), pair("web1", "certificate"));
    assert_eq!(client.sessions(), [cert.clone(), web.clone(), web.clone(), cert, web]);
}

/// Whom the issuer waits for, by the code that is shown.
fn code(client: &Client, ssh: &mut Child) -> String {
    loop {
        if let Some(code) = client.gateway.issuer().user_codes().pop() {
            return code;
        }
        if let Some(status) = ssh.try_wait().unwrap() {
            panic!("ssh has ended: {status}");
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_person_logs_in_by_browser_from_match_exec() {
    let Some(gateway) = Gateway::listening(BROWSER, "", CA) else { return };
    let client = Client::new(gateway).by_match("--browser");
    let run = || {
        let mut ssh = client.ssh("echo in");
        ssh.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    // Who says no in the browser is not let in.
    let mut ssh = run();
    let refused = code(&client, &mut ssh);
    assert!(client.gateway.issuer().deny_device(&refused));
    let out = ssh.wait_with_output().unwrap();
    assert_eq!((out.status.code(), out.stdout.len()), (Some(255), 0), "{}", told(&out));
    let mut ssh = run();
    let code = code(&client, &mut ssh);
    assert!(client.gateway.issuer().approve_device(&code, Gateway::claims()));
    let out = ssh.wait_with_output().unwrap();
    assert_eq!(text(&out), "in\n");
    // OpenSSH lets through what the helper says to the person.
    assert!(told(&out).contains(&format!("enter the code {code}")), "{}", told(&out));
    // From then on nobody is asked.
    let out = run().wait_with_output().unwrap();
    assert_eq!(text(&out), "in\n");
    assert!(!told(&out).contains("enter the code"), "{}", told(&out));
    let web = pair("web1", "certificate");
    assert_eq!(client.sessions(), [pair("greffier-cert", "device-flow"), web.clone(), web]);
}

/// OpenSSH reads certificates when its proxy's command has begun, so the command is to be done by
/// then: with `ProxyUseFdpass` ssh waits for it.
#[test]
fn ssh_alone_fetches_its_certificate_by_proxy_command() {
    if require(program("nc.openbsd", "netcat-openbsd")).is_none() {
        return;
    }
    let Some(gateway) = Gateway::with("", CA) else { return };
    let client = Client::new(gateway);
    let file = client.at("token").display().to_string();
    let line = client.ssh_cert(&format!("--user %r --token-file {file}"));
    let client = client.by_proxy(&format!("sh -c '{line} && exec nc.openbsd -F %h %p'"));
    client.token();
    assert_eq!(text(&client.ssh("echo in").output().unwrap()), "in\n");
    client.forget("token");
    assert_eq!(text(&client.ssh("echo in").output().unwrap()), "in\n");
    client.forget("mine-cert.pub");
    let out = client.ssh("echo in").output().unwrap();
    assert_eq!((out.status.code(), out.stdout.len()), (Some(255), 0), "{}", told(&out));
    assert!(told(&out).contains(&file), "{}", told(&out));
    let web = pair("web1", "certificate");
    assert_eq!(
        client.sessions(),
        [pair("greffier-cert", "keyboard-interactive"), web.clone(), web]
    );
}
