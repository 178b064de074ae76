//! SSH's sections: what they become, and the line that is told for each mistake.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "tests"
)]

mod support;

use std::time::Duration;

use config::Protocol;
use ssh::{Credential, RecordInput, SecretKey};
use support::Folder;

/// A configuration without a mistake. `HOST` stands for a public key.
const GOOD: &str = r#"[[listen]]
address = "127.0.0.1:2222"
host_keys = ["file:host"]
credentials = ["certificate", "password"]
login_timeout = "30s"

[ssh_ca]
key = "file:ca"
trusted = ["HOST"]
lifetime = "5m"

[audit]
dir = "log"
store = "store"
log_id = "ssh-1"
origin = "example.org/pg-1"
key = "file:log.key"

[issuer.corp]
iss = "https://login.example.org"
audiences = ["https://proxy.example.org"]
algorithms = ["ES256"]
may_mint = ["human"]
[[issuer.corp.rule]]
name = "people"
kind = "human"

[policy]
[[policy.rule]]
name = "look"
effect = "allow"
when = { class = ["session", "read", "execute"] }

[target.web1]
protocol = "ssh"
host = "10.0.0.7"
host_keys = ["HOST"]
certificate = { key = "file:upstream" }
allow = ["exec", "sftp"]
env = ["LANG", "LC_*"]
channel_window = "64KiB"
record_input = "all"
[[target.web1.login]]
groups = ["ops"]
logins = ["deploy", "root"]
default = "deploy"
"#;

fn folder() -> (Folder, String) {
    let folder = Folder::new();
    for name in ["host", "ca", "upstream"] {
        let key = SecretKey::generate().unwrap();
        folder.write(name, key.expose().unwrap().expose(), 0o600);
    }
    let good = GOOD.replace("HOST", &SecretKey::generate().unwrap().public().to_line().unwrap());
    (folder, good)
}

#[test]
fn what_is_right_is_made_ready() {
    let (folder, good) = folder();
    let loaded = folder.load(&good, &[]).unwrap();
    assert_eq!(loaded.targets.names(), ["web1"]);
    let Protocol::Ssh(own) = &loaded.listeners[0].protocol else { panic!("not SSH") };
    let config = loaded.ssh_config(own);
    assert_eq!(config.login_timeout, Duration::from_secs(30));
    assert!(config.credentials.certificate && !config.credentials.keyboard_interactive);
    let authority = config.authority.unwrap();
    assert_eq!((authority.trusted.len(), authority.lifetime), (1, Duration::from_secs(300)));
    let target = &config.targets[0];
    assert_eq!((&*target.upstream.host, target.upstream.port), ("10.0.0.7", 22));
    assert!(matches!(target.upstream.credential, Credential::Certificate { .. }));
    assert_eq!(target.upstream.trust.keys.len(), 1);
    let rules = &target.rules;
    assert!(rules.allow.exec && rules.allow.sftp && !rules.allow.shell && !rules.allow.agent);
    assert_eq!((rules.channel_window, rules.record_input), (64 * 1024, RecordInput::All));
    assert_eq!(target.logins[0].default.as_deref(), Some("deploy"));
    assert!(config.device_login.is_none());
    assert!(!rules.mask_terminal);
    let line = "record_input = \"all\"";
    let loaded = folder.load(&good.replace(line, "mask_terminal = true"), &[]).unwrap();
    let Protocol::Ssh(own) = &loaded.listeners[0].protocol else { panic!("not SSH") };
    let rules = loaded.ssh_config(own).targets[0].rules.clone();
    assert_eq!((rules.mask_terminal, rules.record_input), (true, RecordInput::Echoed));
}

/// `GOOD` with a login by browser, which is on line 5.
fn with_device_flow(good: &str, flow: &str) -> String {
    let way = "credentials = [\"certificate\", \"keyboard-interactive\"]";
    good.replace("credentials = [\"certificate\", \"password\"]", &format!("{way}\n{flow}"))
}

#[test]
fn a_login_by_browser_is_made_ready_and_its_mistakes_told() {
    let (folder, good) = folder();
    let flow = r#"device_flow = { issuer = "corp", client_id = "x", client_secret = "env:S" }"#;
    let loaded = folder.load(&with_device_flow(&good, flow), &[("S", "secret-canary")]).unwrap();
    let Protocol::Ssh(own) = &loaded.listeners[0].protocol else { panic!("not SSH") };
    let login = loaded.ssh_config(own).device_login.unwrap();
    assert_eq!(login.iss(), "https://login.example.org");
    assert!(!format!("{login:?}").contains("canary"));
    for (flow, expected) in [
        (r#"{ client_id = "x" }"#, "listen[0].device_flow.issuer: is missing; "),
        (r#"{ issuer = "corp" }"#, "listen[0].device_flow.client_id: is missing; "),
        (
            r#"{ issuer = "korp", client_id = "x" }"#,
            "device_flow.issuer: there is no issuer `korp`",
        ),
        (
            r#"{ issuer = "corp", client_id = "x", parameters = { grant_type = "y" } }"#,
            "device_flow.parameters.grant_type: is the flow's own",
        ),
        (r#"{ issuer = "corp", client_id = "x", client_secret = "env:NONE" }"#, "client_secret: "),
        (r#"{ issuer = "corp", client_id = "x", clientid = "x" }"#, "clientid"),
    ] {
        let flow = format!("device_flow = {flow}");
        let problems = folder.problems(&with_device_flow(&good, &flow));
        assert_eq!(problems.len(), 1, "{flow}: {problems:#?}");
        assert!(problems[0].contains(expected), "{flow}: {problems:#?}");
    }
    let alone = good.replace("login_timeout", &format!("{flow}\nlogin_timeout"));
    let told = folder.load(&alone, &[("S", "s")]).unwrap_err().to_string();
    assert!(told.contains("device_flow: needs keyboard-interactive"), "{told}");
}

/// One replacement, and the one problem that must follow from it.
const TABLE: &[(&str, &str, &str)] = &[
    ("host_keys = [\"file:host\"]\n", "", "1:1: listen[0].host_keys: is missing; "),
    ("file:host\"", "file:log.key\"", "3:14: listen[0].host_keys[0]: it is no key in OpenSSH's"),
    ("file:host\"", "file:none\"", "3:14: listen[0].host_keys[0]: "),
    ("[\"certificate\", \"password\"]", "[]", "4:1: listen[0].credentials: is empty; "),
    ("lifetime = \"5m\"", "lifetime = \"1h\"", "10:1: ssh_ca.lifetime: must be 5m to 15m"),
    ("key = \"file:ca\"\n", "", "7:2: ssh_ca.key: is missing; "),
    ("host = \"10.0.0.7\"\n", "", "34:9: target.web1.host: is missing; "),
    ("target.web1", "target.Web1", "34:9: target.Web1: clients write the name behind +"),
    ("target.web1", "target.greffier-x", "34:9: target.greffier-x: names that begin with"),
    ("allow = [\"exec\", \"sftp\"]\n", "", "34:9: target.web1.allow: is missing; "),
    ("\"LC_*\"", "\"*\"", "40:16: target.web1.env[1]: must be a variable's name"),
    ("64KiB", "1KiB", "41:1: target.web1.channel_window: must be 32KiB to 64MiB"),
    ("record_input = \"all\"", "files = \"content\"", "42:1: target.web1.files: `content` is not"),
    ("groups = [\"ops\"]", "kinds = [\"agent\"]", "44:1: target.web1.login[0].kinds: no issuer"),
    ("\"root\"]", "\"../root\"]", "45:1: target.web1.login[0].logins: "),
    ("file:upstream", "file:ca", "38:17: target.web1.certificate.key: is the key of [ssh_ca] too"),
    (
        "certificate = { key = \"file:upstream\" }",
        "certificate = { key = \"file:upstream\" }\nkey = \"file:ca\"",
        "34:9: target.web1: `key`, `certificate` and `password` exclude one another",
    ),
];

#[test]
fn each_mistake_is_told_with_its_place() {
    let (folder, good) = folder();
    let here = format!("{}/", folder.dir().display());
    let mut wrong = Vec::new();
    for (from, to, expected) in TABLE {
        assert!(good.contains(from), "{from}");
        let problems = folder.problems(&good.replace(from, to));
        let found: Vec<String> = problems.iter().map(|p| p.replace(&here, "")).collect();
        if found.len() != 1 || !found[0].starts_with(expected) {
            wrong.push(format!("expected {expected}\n   found {found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_target_without_pinned_keys_is_refused() {
    let (folder, good) = folder();
    let at = good.find("host = \"10.0.0.7\"\n").unwrap();
    let end = good[at..].find("certificate").unwrap() + at;
    let text = format!("{}host = \"10.0.0.7\"\n{}", &good[..at], &good[end..]);
    let problems = folder.problems(&text);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("any machine could answer"), "{problems:?}");
}

#[test]
fn a_target_is_known_by_a_file_beside_the_configuration() {
    let (folder, good) = folder();
    let line = |key: &SecretKey| key.public().to_line().unwrap();
    let (one, other) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
    let known = format!("10.0.0.7,web1 {}\n[10.0.0.7]:2222 {}\n", line(&one), line(&other));
    folder.write("known", &known, 0o600);
    let at = good.find("host = \"10.0.0.7\"\n").unwrap();
    let end = good[at..].find("certificate").unwrap() + at;
    let with = |lines: &str| format!("{}{lines}\n{}", &good[..at], &good[end..]);
    for (lines, key) in [
        ("host = \"10.0.0.7\"\nknown_hosts = \"known\"", &one),
        ("host = \"10.0.0.7\"\nport = 2222\nknown_hosts = \"known\"", &other),
        ("host = \"web1\"\nknown_hosts = \"known\"", &one),
    ] {
        let loaded = folder.load(&with(lines), &[]).unwrap();
        assert_eq!(loaded.targets.ssh[0].upstream.trust.keys, [key.public()], "{lines}");
    }
    for lines in [
        "host = \"10.0.0.8\"\nknown_hosts = \"known\"",
        "host = \"10.0.0.7\"\nknown_hosts = \"none\"",
    ] {
        let problems = folder.problems(&with(lines));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("target.web1.known_hosts: "), "{problems:?}");
    }
}

#[test]
fn the_example_has_no_mistake() {
    let folder = Folder::new();
    for name in ["ssh_host_ed25519_key", "ssh_ca", "web1_key"] {
        let key = SecretKey::generate().unwrap();
        folder.write(name, key.expose().unwrap().expose(), 0o600);
    }
    let example = include_str!("../../../greffier-ssh.example.toml");
    let loaded = folder.load(example, &[]).unwrap();
    assert_eq!(loaded.targets.names(), ["web1"]);
    assert!(!loaded.targets.ssh[0].rules.allow.local_forward);
}
