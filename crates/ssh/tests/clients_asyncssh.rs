//! asyncssh's own tests, with their clients aimed at the proxy, which stands before the server that
//! each of them brings: their servers do what no sshd would. What comes of each is what comes of it
//! directly, if need be at a second try.
//!
//! Not run: `test_sftp`, whose client asks for versions and extensions of sftp that the proxy
//! refuses, so that most of it would have to be left out; `test_connection`, `test_auth` and
//! `test_kex`, which test the transport and the login, and those end at the proxy; and the modules
//! that connect to nothing.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dev_issuer::Claims;
use rig::tools::good;
use rig::{AUDIENCE, EVERYTHING, Plan, Rig};
use ssh::{ChannelRules, Credential, HostTrust, LoginRule, PublicKey, SecretKey};
use testbed::require;
use testbed::ssh_clients::{asyncssh_sources, python};

/// The users that their tests tell apart.
const USERS: [&str; 11] = [
    "guest",
    "ckey",
    "echo",
    "close",
    "task_error",
    "no_channels",
    "no_pty",
    "request_pty",
    "conn_close_startup",
    "conn_close_open",
    "non_async",
];

/// The script that aims and runs them.
const AIMED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients_asyncssh/aimed.py");

/// What came of each test.
type Came = BTreeMap<String, String>;

fn run(mut python: Command) -> Came {
    let said = good(&mut python);
    let line = |line: &str| serde_json::from_str::<(String, String)>(line).unwrap();
    let came: Came = said.out.lines().map(line).collect();
    eprintln!("{}", said.err);
    came
}

/// The script with asyncssh's sources beside it.
fn aimed(how: &str, module: &str, left_out: &[&str]) -> Option<Command> {
    let mut python = Command::new(require(python())?.join("python"));
    python.current_dir(require(asyncssh_sources())?).arg("-B").arg(AIMED);
    python.args([how, module]).args(left_out).env_remove("SSH_AUTH_SOCK");
    Some(python)
}

/// A key pair: where it is, and its public half.
fn pair(dir: &Path, name: &str) -> (PathBuf, String) {
    let path = dir.join(name);
    let mut keygen = Command::new("ssh-keygen");
    good(keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&path));
    let line = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    (path, line.trim().to_owned())
}

fn plan(users: &[&str]) -> Plan {
    let users = users.iter().map(|user| (*user).to_owned()).collect();
    let logins = vec![LoginRule { logins: users, ..LoginRule::default() }];
    let rules = ChannelRules { allow: EVERYTHING, env: vec!["*".into()], ..Plan::default().rules };
    Plan { rules, logins, ..Plan::default() }
}

// Why a test of theirs says something else, or nothing more, before a proxy.
const CERTIFICATE: &str = "a certificate of theirs allows less: authentication ends at the proxy";
const SUBSYSTEM: &str = "no subsystem but sftp: refused, by a text and exit status 126";
const ENDS: &str = "their server ends the connection, which the proxy tells in its own words";
const INVALID: &str = "what they send is invalid and ends the connection; the proxy refuses it";
const UNASKED: &str = "their server opens a channel for a port or socket that nobody asked for";
const TRANSPORT: &str = "the size of packets if the connection is compressed: each leg's own";
const SERVER: &str = "the same requests to another way of writing a server";
const EMPTY_LINE: &str = "their iterator gives an empty line more, which the test does not expect, \
    if the end of the data is read later than the data: a matter of time, with us or without";

/// What is not run, by module: a class or a test, and why. All else of a module is.
const LEFT_OUT: [(&str, &[(&str, &str)]); 7] = [
    (
        "test_process",
        &[
            ("_TestProcessBasic.test_disconnect", ENDS),
            ("_TestProcessBasic.test_subsystem", SUBSYSTEM),
        ],
    ),
    (
        "test_channel",
        &[
            ("_TestChannel.test_invalid_channel_request", INVALID),
            ("_TestChannel.test_invalid_subsystem", SUBSYSTEM),
            ("_TestChannel.test_invalid_tcpip_listener", UNASKED),
            ("_TestChannel.test_invalid_term_type", INVALID),
            ("_TestChannel.test_invalid_unix_listener", UNASKED),
            ("_TestChannel.test_pty_disallowed_by_cert", CERTIFICATE),
            ("_TestChannel.test_shell_internal_error", ENDS),
            ("_TestChannel.test_subsystem", SUBSYSTEM),
            ("_TestChannel.test_term_modes_incomplete", INVALID),
            ("_TestConnectionDropbearClient", TRANSPORT),
            ("_TestConnectionDropbearServer", TRANSPORT),
        ],
    ),
    (
        "test_forward",
        &[
            ("_TestTCPForwarding.test_async_runtime_error", ENDS),
            ("_TestTCPForwarding.test_connection_not_permitted", CERTIFICATE),
            ("_TestTCPForwarding.test_connection_not_permitted_open", CERTIFICATE),
            ("_TestTCPForwarding.test_forward_remote_port_not_permitted", CERTIFICATE),
            ("_TestTCPForwarding.test_server_open", UNASKED),
            ("_TestUNIXForwarding.test_unix_connection_not_permitted", CERTIFICATE),
            ("_TestAsyncTCPForwarding", SERVER),
            ("_TestAsyncUNIXForwarding", SERVER),
        ],
    ),
    (
        "test_stream",
        &[
            ("_TestStream.test_async_iterator", EMPTY_LINE),
            ("_TestStream.test_custom_disconnect", ENDS),
            ("_TestStream.test_read_exception", ENDS),
            ("_TestStream.test_readline_exception", ENDS),
        ],
    ),
    ("test_subprocess", &[]),
    ("test_x11", &[("_TestX11.test_forwarding_not_allowed", CERTIFICATE)]),
    ("test_editor", &[]),
];

/// What is not run of any module.
fn left_out(module: &str) -> Vec<&'static str> {
    let (_, tests) = LEFT_OUT.iter().find(|(name, _)| *name == module).unwrap();
    tests.iter().map(|(name, _)| *name).collect()
}

/// Runs a module directly and through the proxy, which stands before the module's own servers.
fn compare(module: &str, at_least: usize) {
    let names = left_out(module);
    let dir = tempfile::tempdir().unwrap();
    let (host, host_line) = pair(dir.path(), "host");
    let (login, login_line) = pair(dir.path(), "login");
    let trust =
        HostTrust { keys: vec![PublicKey::parse(&host_line).unwrap()], authorities: vec![] };
    let login = SecretKey::parse(&std::fs::read_to_string(login).unwrap()).unwrap();
    let port = testbed::spare_port().unwrap();
    let rig = Rig::before(port, "guest", trust, Credential::Key(login), plan(&USERS));
    let direct = |what: &str| aimed("direct", what, &names);
    let through = |what: &str| {
        let mut through = aimed("through", what, &names)?;
        through.env("AIMED_HOST_KEY", &host).env("AIMED_LOGIN_KEY", &login_line);
        through.env("AIMED_TARGET", port.to_string());
        to_rig(&mut through, &rig);
        Some(through)
    };
    agree(module, at_least, direct, through);
    assert!(rig.entries_of("session_start").len() >= at_least / 2, "they went through us");
}

/// What leads to the rig.
fn to_rig(python: &mut Command, rig: &Rig) {
    let known = std::fs::read_to_string(rig.dir.path().join("known_hosts")).unwrap();
    python.env("AIMED_KNOWN", known.strip_prefix("gw ").unwrap().trim());
    // It is shown for each connection anew, as long as the module runs.
    let claims = Claims::new("alice").audience(AUDIENCE).client("people");
    let token = rig.issuer.mint(claims.lifetime(Duration::from_secs(1800))).unwrap();
    python.env("AIMED_PROXY", rig.port.to_string()).env("AIMED_TOKEN", token);
}

/// How often a test that came out differently is tried again, alone. Some of theirs wait for a
/// tenth of a second and then suppose that something has happened.
const MORE_TRIES: usize = 3;

/// Runs both at once: mostly they wait.
fn agree(
    module: &str,
    at_least: usize,
    direct: impl Fn(&str) -> Option<Command>,
    through: impl Fn(&str) -> Option<Command>,
) {
    let both = |what: &str| {
        let (direct, through) = (direct(what)?, through(what)?);
        Some(std::thread::scope(|scope| {
            let direct = scope.spawn(|| run(direct));
            let through = run(through);
            (direct.join().unwrap(), through)
        }))
    };
    let Some((direct, mut through)) = both(module) else { return };
    assert_eq!(direct.len(), through.len());
    for (name, came) in &direct {
        if through.get(name) == Some(came) {
            continue;
        }
        eprintln!("{name}: {came}, and {:?} through us", through.get(name));
        let mut tries = (0..MORE_TRIES).map(|_| both(name).unwrap());
        let same = tries.find(|(direct, through)| direct == through);
        let Some((_, again)) = same else { panic!("{name} comes out differently each time") };
        through.extend(again);
    }
    let passed = through.values().filter(|came| *came == "passed").count();
    eprintln!("{module}: {} tests, {passed} passed through the proxy", direct.len());
    assert!(passed >= at_least, "{passed} passed");
}

#[test]
fn processes() {
    compare("test_process", 75);
}

#[test]
fn channels() {
    compare("test_channel", 100);
}

#[test]
fn forwards() {
    compare("test_forward", 65);
}

#[test]
fn streams() {
    compare("test_stream", 19);
}

#[test]
fn subprocesses() {
    compare("test_subprocess", 12);
}

#[test]
fn displays() {
    compare("test_x11", 37);
}

#[test]
fn line_editors() {
    compare("test_editor", 20);
}
