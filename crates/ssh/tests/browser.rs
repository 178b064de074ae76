//! Logging in with a browser: OpenSSH's client asks, a person enters the code elsewhere.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use dev_issuer::{Claims, RawAnswer};
use identity::DeviceFlow;
use rig::{AUDIENCE, Plan, Rig};
use testbed::{OidcProvider, Sshd, SshdOptions, require};

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(60);

fn flow(issuer: &str) -> Option<DeviceFlow> {
    let (issuer, client_id) = (issuer.to_owned(), "cli".to_owned());
    let scopes = vec!["openid".to_owned(), "db:read".to_owned()];
    Some(DeviceFlow { issuer, client_id, scopes, ..DeviceFlow::default() })
}

fn plan() -> Plan {
    Plan { device_flow: flow("dev"), login_timeout: Duration::from_secs(40), ..Plan::default() }
}

/// A client that answers every prompt with nothing, and what it shows.
struct Waiting {
    child: Child,
    err: BufReader<std::process::ChildStderr>,
    shown: String,
}

impl Waiting {
    fn start(rig: &Rig, line: &str) -> Waiting {
        let mut ssh = rig.program("ssh", "");
        ssh.args(["-o", "PreferredAuthentications=keyboard-interactive", "gw", line]);
        Waiting::of(ssh)
    }

    fn of(mut ssh: Command) -> Waiting {
        let mut child = ssh.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let err = BufReader::new(child.stderr.take().unwrap());
        Waiting { child, err, shown: String::new() }
    }

    /// The code that the person is to enter.
    fn code(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.err.read_line(&mut line).unwrap(), 0, "it ended: {}", self.shown);
            self.shown.push_str(&line);
            if let Some((_, code)) = line.split_once("enter the code ") {
                return code.trim().to_owned();
            }
        }
    }

    /// What it printed on standard output, what on standard error, and its exit status.
    fn end(mut self) -> (String, String, Option<i32>) {
        self.err.read_to_string(&mut self.shown).unwrap();
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        (out, self.shown.clone(), self.child.wait().unwrap().code())
    }
}

#[test]
fn a_person_of_a_real_provider_s_logs_in() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let Some(provider) = require(OidcProvider::start(AUDIENCE)) else { return };
    let issuers = format!(
        r#"
        [issuer.real]
        iss = "{}"
        audiences = ["{AUDIENCE}"]
        algorithms = ["RS256"]
        may_mint = ["human"]
        allow_insecure_loopback = true
        [[issuer.real.rule]]
        name = "people"
        kind = "human"
        "#,
        provider.issuer()
    );
    let rig = Rig::with(&sshd, Plan { issuers, device_flow: flow("real"), ..plan() });
    let mut waiting = Waiting::start(&rig, "echo in");
    provider.approve_device(&waiting.code(), "bob").unwrap();
    let (out, err, code) = waiting.end();
    assert_eq!((out.as_str(), code), ("in\n", Some(0)), "{err}");
    assert!(err.contains(&format!("open {}", provider.issuer())), "{err}");
    rig.settle();
    let start = &rig.entries_of("session_start")[0];
    assert_eq!(start["principal"]["subject"], "bob");
    assert_eq!(start["details"]["credential"], "device-flow");
    assert!(rig.entries_of("auth_failure").is_empty());
}

#[test]
fn a_token_still_serves_and_a_no_in_the_browser_is_on_record() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let rig = Rig::with(&sshd, plan());
    let interactive = ["-o", "PreferredAuthentications=keyboard-interactive"];
    let said = rig.ssh_with(&interactive, &["echo by token"]);
    assert_eq!(said.out, "by token\n", "{said:?}");
    let mut waiting = Waiting::start(&rig, "echo in");
    assert!(rig.issuer.deny_device(&waiting.code()));
    let (out, err, code) = waiting.end();
    assert_eq!((out.as_str(), code), ("", Some(255)), "{err}");
    let refused = &rig.entries_of("auth_failure")[0];
    assert_eq!(refused["cause"], "device_denied");
    assert_eq!(refused["target"], rig.user());
}

#[test]
fn what_the_issuer_gives_passes_the_same_checks() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let rig = Rig::with(&sshd, plan());
    let people = |name: &str| Claims::new(name).client("people");
    let other = rig.issuer.forge(people("eve").audience(AUDIENCE));
    let strangers = other.signed_by(dev_issuer::Signer::Stranger).token().unwrap();
    let bearer = |token: &str| {
        RawAnswer::json(200, &format!(r#"{{"token_type":"Bearer","access_token":"{token}"}}"#))
    };
    for (answer, cause) in [
        (bearer(&rig.issuer.mint(people("eve").audience("https://other")).unwrap()), "audience"),
        (bearer(&strangers), "signature"),
        (bearer("not.a.token"), "malformed"),
        (RawAnswer::error("expired_token"), "device_expired"),
        (RawAnswer::json(200, "[]"), "device_answer"),
        (RawAnswer::error("invalid_client"), "device_client"),
    ] {
        rig.issuer.answer_device_token(answer);
        let (out, err, code) = Waiting::start(&rig, "echo in").end();
        assert_eq!((out.as_str(), code), ("", Some(255)), "{cause}: {err}");
        let failures = rig.entries_of("auth_failure");
        assert_eq!(failures.last().unwrap()["cause"], cause);
    }
    assert!(rig.entries_of("session_start").is_empty());
}

#[test]
fn the_token_of_another_issuer_lets_nobody_in() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let second = runtime.block_on(dev_issuer::DevIssuer::start()).unwrap();
    let issuers = format!(
        r#"
        [issuer.second]
        iss = "{}"
        audiences = ["{AUDIENCE}"]
        algorithms = ["ES256"]
        may_mint = ["human"]
        allow_insecure_loopback = true
        [[issuer.second.rule]]
        name = "people"
        kind = "human"
        "#,
        second.iss()
    );
    let rig = Rig::with(&sshd, Plan { issuers, ..plan() });
    let token = second.mint(Claims::new("mallory").audience(AUDIENCE)).unwrap();
    let body = format!(r#"{{"token_type":"Bearer","access_token":"{token}"}}"#);
    rig.issuer.answer_device_token(RawAnswer::json(200, &body));
    let (out, err, _) = Waiting::start(&rig, "echo in").end();
    assert_eq!(out, "", "{err}");
    let refused = &rig.entries_of("auth_failure")[0];
    assert_eq!(refused["cause"], "device_issuer");
    assert_eq!(refused["principal"]["subject"], "mallory");
}

#[test]
fn the_end_of_the_login_s_time_is_on_record_and_a_client_that_leaves_is_let_go() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let plan = Plan { login_timeout: Duration::from_secs(10), max_unauthenticated: 1, ..plan() };
    let rig = Rig::with(&sshd, plan);
    let (_, err, code) = Waiting::start(&rig, "true").end();
    assert_eq!(code, Some(255), "{err}");
    assert_eq!(rig.entries_of("auth_failure")[0]["cause"], "device_late");
    // One that leaves gives its place back: the next is let in.
    let mut leaving = Waiting::start(&rig, "true");
    let code = leaving.code();
    leaving.child.kill().unwrap();
    leaving.child.wait().unwrap();
    let begun = Instant::now();
    while rig.ssh(&["true"]).code != Some(0) {
        assert!(begun.elapsed() < LIMIT);
        sleep(Duration::from_millis(200));
    }
    // Who enters the code now opens nothing to anybody.
    assert!(rig.issuer.approve_device(&code, Claims::new("late").audience(AUDIENCE)));
    sleep(Duration::from_secs(2));
    assert_eq!(rig.entries_of("session_start").len(), 1);
}
