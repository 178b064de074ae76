//! Who is let in, by what, and where to: OpenSSH's client through the proxy to a real sshd.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::process::Command;
use std::time::Duration;

use dev_issuer::Claims;
use rig::{AUDIENCE, Plan, Rig, Said};
use ssh::{Credential, Credentials, HostTrust, LoginRule, PublicKey, SecretKey};
use testbed::{Sshd, SshdOptions, require};

fn public(path: &std::path::Path) -> PublicKey {
    PublicKey::parse(&std::fs::read_to_string(path.with_extension("pub")).unwrap()).unwrap()
}

fn secret(path: &std::path::Path) -> SecretKey {
    SecretKey::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// `ssh gw true` with the key and certificate of this path.
fn with_certificate(rig: &Rig, key: &std::path::Path, user: &str) -> Said {
    let mut ssh = rig.program_as("ssh", user, "");
    ssh.arg("-i").arg(key);
    ssh.args(["-o", "PreferredAuthentications=publickey", "-o", "BatchMode=yes"]);
    Said::of(ssh.args(["gw", "echo in"]))
}

#[test]
fn a_token_as_password_runs_a_command_and_it_is_on_record() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let rig = Rig::start(&sshd);
    let said = rig.ssh(&["echo hello; exit 3"]);
    assert_eq!((said.out.as_str(), said.code), ("hello\n", Some(3)), "{said:?}");
    rig.settle();
    let start = &rig.entries_of("session_start")[0];
    assert_eq!(start["principal"]["subject"], "alice");
    assert_eq!(start["target"], "web1");
    assert_eq!(start["details"]["credential"], "password");
    assert_eq!(start["details"]["login"], sshd.login());
    let command = &rig.entries_of("command")[0];
    assert_eq!((&command["via"], &command["verdict"]), (&"exec".into(), &"allow".into()));
    assert_eq!(command["text"], "echo hello; exit 3");
    let response = &rig.entries_of("response")[0];
    assert_eq!(response["details"]["exit_status"], "3");
    assert_eq!(rig.entries_of("session_end")[0]["reason"], "client closed");
}

#[test]
fn a_certificate_is_fetched_by_ssh_itself_and_lets_in() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let rig = Rig::start(&sshd);
    let (key, line) = rig.client_key("mine");
    let said = rig.fetch_certificate(&rig.token("alice"), &line, &[&rig.user()]);
    assert_eq!(said.code, Some(0), "{said:?}");
    std::fs::write(format!("{}-cert.pub", key.display()), &said.out).unwrap();
    let said = with_certificate(&rig, &key, &rig.user());
    assert_eq!((said.out.as_str(), said.code), ("in\n", Some(0)), "{said:?}");
    // Another name is another thing.
    assert_ne!(with_certificate(&rig, &key, "other+web1").code, Some(0));
    rig.settle();
    let issued = &rig.entries_of("command")[0];
    assert_eq!(
        (&issued["via"], &issued["target"]),
        (&"certificate".into(), &"greffier-cert".into())
    );
    assert_eq!(issued["details"]["principals"], rig.user());
    let starts = rig.entries_of("session_start");
    assert_eq!(starts[1]["principal"], starts[0]["principal"]);
    assert_eq!(starts[1]["credential_sha256"], starts[0]["credential_sha256"]);
    assert_eq!(starts[1]["details"]["credential"], "certificate");
    assert_eq!(starts[1]["details"]["certificate_serial"], issued["details"]["serial"]);
    assert_eq!(rig.entries_of("auth_failure")[0]["cause"], "certificate_principal");
}

#[test]
fn a_certificate_is_denied_by_a_rule_and_for_odd_names() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let policy = "default = \"deny\"".into();
    let rig = Rig::with(&sshd, Plan { policy, ..Plan::default() });
    let (_, line) = rig.client_key("mine");
    let said = rig.fetch_certificate(&rig.token("alice"), &line, &[]);
    assert_eq!((said.code, said.out.as_str()), (Some(126), ""), "{said:?}");
    assert!(said.err.contains("not allowed"), "{said:?}");
    let rig = Rig::start(&sshd);
    let said = rig.fetch_certificate(&rig.token("alice"), &line, &["a,b"]);
    assert_eq!((said.code, said.out.as_str()), (Some(126), ""), "{said:?}");
    rig.settle();
    assert_eq!(rig.entries_of("command")[0]["verdict"], "deny");
}

#[test]
fn a_revoked_principal_does_not_come_back_by_certificate() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let rig = Rig::start(&sshd);
    let (key, line) = rig.client_key("mine");
    let said = rig.fetch_certificate(&rig.token("alice"), &line, &[]);
    std::fs::write(format!("{}-cert.pub", key.display()), &said.out).unwrap();
    assert_eq!(with_certificate(&rig, &key, &rig.user()).code, Some(0));
    let subject = "alice".to_owned();
    let alice = identity::Selector::Principal { issuer: rig.issuer.iss().to_owned(), subject };
    rig.verifier.leases().end(&alice, "left the company");
    assert_ne!(with_certificate(&rig, &key, &rig.user()).code, Some(0));
    assert_eq!(rig.entries_of("auth_failure")[0]["cause"], "revoked");
}

#[test]
fn attack_11_certificates_that_others_made_let_nobody_in() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let rig = Rig::start(&sshd);
    let (key, line) = rig.client_key("mine");
    // A plain key, also the one that the target itself would let in.
    assert_ne!(with_certificate(&rig, &key, &rig.user()).code, Some(0));
    assert_ne!(with_certificate(&rig, &sshd.client_key(), &rig.user()).code, Some(0));
    assert!(rig.entries_of("auth_failure").is_empty(), "an offer of a stranger is not even heard");
    // Of a stranger's authority, with our option in it.
    let (authority, _) = rig.client_key("authority");
    let keygen = |more: &[&str]| {
        let mut command = std::process::Command::new("ssh-keygen");
        command.args(["-q", "-I", "x", "-V", "-1m:+5m", "-s"]).arg(&authority).args(more);
        assert!(command.arg(key.with_extension("pub")).status().unwrap().success());
    };
    keygen(&["-n", &rig.user(), "-O", "critical:principal@greffier={}"]);
    assert_ne!(with_certificate(&rig, &key, &rig.user()).code, Some(0));
    // Of our own authority, and everything else wrong.
    let ours = rig.authority.expose().unwrap();
    std::fs::write(&authority, ours.expose()).unwrap();
    for (odd, cause) in [
        (&["-n", "web1,*"][..], "certificate_principal"),
        (&["-h", "-n", &rig.user()], "certificate_type"),
        (&["-n", &rig.user(), "-O", "force-command=id"], "certificate_option"),
        (&["-n", &rig.user(), "-O", "verify-required"], "certificate_option"),
        (&["-n", &rig.user(), "-O", "source-address=10.0.0.0/8"], "certificate_address"),
        (&["-n", &rig.user()], "certificate_unvouched"),
        (&["-n", &rig.user(), "-O", "critical:principal@greffier={}"], "certificate_unvouched"),
    ] {
        let before = rig.entries_of("auth_failure").len();
        keygen(odd);
        assert_ne!(with_certificate(&rig, &key, &rig.user()).code, Some(0), "{odd:?}");
        let failures = rig.entries_of("auth_failure");
        // OpenSSH's client does not show a host's certificate at all.
        if failures.len() > before || cause != "certificate_type" {
            assert_eq!(failures[before]["cause"], cause, "{odd:?}");
        }
    }
    assert!(rig.entries_of("session_start").is_empty());
    drop(line);
}

fn keyboard(rig: &Rig, token: &str) -> Said {
    let mut ssh = rig.program("ssh", token);
    ssh.args(["-o", "PreferredAuthentications=keyboard-interactive"]);
    ssh.args(["-o", "NumberOfPasswordPrompts=2"]);
    Said::of(ssh.args(["gw", "echo in"]))
}

#[test]
fn a_token_at_the_prompt_lets_in() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let rig = Rig::start(&sshd);
    let said = keyboard(&rig, &rig.token("alice"));
    assert_eq!((said.out.as_str(), said.code), ("in\n", Some(0)), "{said:?}");
    rig.settle();
    let start = &rig.entries_of("session_start")[0];
    assert_eq!(start["details"]["credential"], "keyboard-interactive");
}

#[test]
fn a_token_that_openssh_cut_is_told_what_to_do() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let rig = Rig::start(&sshd);
    let claims = Claims::new("alice").audience(AUDIENCE).client("people");
    let long = rig.issuer.mint(claims.with("padding", "x".repeat(2000).into())).unwrap();
    // At the prompt, and as a password: its refusal has no room for words, the end that follows has.
    let mut password = rig.program("ssh", &long);
    password.args(["-o", "NumberOfPasswordPrompts=2", "gw", "echo in"]);
    for said in [keyboard(&rig, &long), Said::of(&mut password)] {
        assert_ne!(said.code, Some(0));
        assert!(said.err.contains("1023 bytes") && said.err.contains("ssh-cert"), "{said:?}");
    }
    let failures = rig.entries_of("auth_failure");
    assert!(failures.iter().all(|f| f["cause"] == "cut_short"), "{failures:?}");
    assert!(failures.len() >= 2, "{failures:?}");
}

#[test]
fn a_way_in_that_is_off_is_off() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let credentials = Credentials { password: false, certificate: false, ..Credentials::ALL };
    let rig = Rig::with(&sshd, Plan { credentials, ..Plan::default() });
    let said = rig.ssh(&["true"]);
    assert_ne!(said.code, Some(0));
    assert!(said.err.contains("(keyboard-interactive)"), "{said:?}");
    assert!(rig.entries().iter().all(|entry| entry["type"] != "session_start"));
}

#[test]
fn a_refusal_is_on_record_with_its_cause() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let rule = LoginRule { logins: vec!["deploy".into()], ..LoginRule::default() };
    let rig = Rig::with(&sshd, Plan { logins: vec![rule], ..Plan::default() });
    let token = rig.token("alice");
    let other = Claims::new("alice").audience("https://other.test").client("people");
    let other = rig.issuer.mint(other).unwrap();
    for (user, token, cause) in [
        ("deploy+web2", &token, "target"),
        ("root+web1", &token, "no_login"),
        ("web1", &token, "no_login"),
        ("deploy+web1", &other, "audience"),
        ("deploy+web1", &"x".to_owned(), "malformed"),
    ] {
        let before = rig.entries_of("auth_failure").len();
        let mut ssh = rig.program_as("ssh", user, token);
        let said = Said::of(ssh.args(["gw", "true"]));
        assert_eq!(said.code, Some(255), "{user}: {said:?}");
        let failures = rig.entries_of("auth_failure");
        assert_eq!(failures[before]["target"], user);
        assert_eq!(failures[before]["cause"], cause);
    }
    assert!(rig.entries_of("session_start").is_empty());
}

#[test]
fn the_target_is_told_who_by_key_by_certificate_or_by_password() {
    let options = SshdOptions { user_ca: true, ..SshdOptions::default() };
    let Some(sshd) = require(Sshd::start(&options)) else { return };
    let credential = Credential::Certificate {
        authority: secret(&sshd.user_ca()),
        lifetime: Duration::from_secs(300),
    };
    let rig = Rig::with(&sshd, Plan { credential: Some(credential), ..Plan::default() });
    let said = rig.ssh(&["echo in"]);
    assert_eq!((said.out.as_str(), said.code), ("in\n", Some(0)), "{said:?}");
    rig.settle();
    // The target's own log names our session.
    let id = rig.entries_of("session_start")[0]["session"].as_str().unwrap().to_owned();
    assert!(sshd.log().contains(&id), "{}", sshd.log());
    // A password that the target does not take, and how the client is told.
    let credential = Credential::Password(identity::Secret::from("canary"));
    let rig = Rig::with(&sshd, Plan { credential: Some(credential), ..Plan::default() });
    let said = rig.ssh(&["true"]);
    assert_eq!(said.code, Some(255), "{said:?}");
    assert!(said.err.contains("does not let greffier log in"), "{said:?}");
    rig.settle();
    let end = &rig.entries_of("session_end")[0];
    assert!(end["reason"].as_str().unwrap().contains("does not let greffier log in"), "{end}");
    assert!(rig.entries().iter().all(|entry| !entry.to_string().contains("canary")));
}

#[test]
fn a_host_that_is_not_the_one_gets_no_credential() {
    let options = SshdOptions { host_ca: true, ..SshdOptions::default() };
    let Some(sshd) = require(Sshd::start(&options)) else { return };
    let stranger = SecretKey::generate().unwrap().public();
    let authority = public(&sshd.host_ca());
    let trust = |keys: &[&PublicKey], authorities: &[&PublicKey]| HostTrust {
        keys: keys.iter().copied().cloned().collect(),
        authorities: authorities.iter().copied().cloned().collect(),
    };
    let host = PublicKey::parse(&sshd.host_key().unwrap()).unwrap();
    for (trust, fits) in [
        (trust(&[&host], &[]), true),
        (trust(&[&stranger, &host], &[]), true),
        (trust(&[], &[&authority]), true),
        (trust(&[&stranger], &[]), false),
        (trust(&[], &[&stranger]), false),
        (trust(&[], &[]), false),
    ] {
        let named = format!("{trust:?}");
        let rig = Rig::with(&sshd, Plan { trust: Some(trust), ..Plan::default() });
        let said = rig.ssh(&["echo in"]);
        if fits {
            assert_eq!((said.out.as_str(), said.code), ("in\n", Some(0)), "{named}: {said:?}");
            continue;
        }
        assert_eq!(said.code, Some(255), "{named}: {said:?}");
        assert!(said.err.contains("host key"), "{named}: {said:?}");
        rig.settle();
        let end = rig.entries_of("session_end")[0]["reason"].as_str().unwrap().to_owned();
        assert!(end.contains("host key"), "{end}");
        assert!(rig.entries_of("command").is_empty());
    }
}

/// The file as OpenSSH's own programs write it: by `ssh-keyscan`, and hashed by `ssh-keygen`.
#[test]
fn a_host_is_known_by_openssh_s_own_file_unless_it_is_revoked_there() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known_hosts");
    let port = sshd.port().to_string();
    let mut keyscan = Command::new("ssh-keyscan");
    let scanned = keyscan.args(["-t", "ed25519", "-p", &port, "127.0.0.1"]).output().unwrap();
    let scanned = String::from_utf8(scanned.stdout).unwrap();
    let stranger = SecretKey::generate().unwrap().public().to_line().unwrap();
    // Another port of the same host is another host.
    std::fs::write(&file, format!("127.0.0.1 {stranger}\n{scanned}")).unwrap();
    let known = || PublicKey::known_hosts(&file, "127.0.0.1", sshd.port());
    let host = PublicKey::parse(&sshd.host_key().unwrap()).unwrap();
    assert_eq!(known().unwrap(), std::slice::from_ref(&host));
    let mut hash = Command::new("ssh-keygen");
    assert!(hash.args(["-q", "-H", "-f"]).arg(&file).output().unwrap().status.success());
    let hashed = std::fs::read_to_string(&file).unwrap();
    assert!(hashed.contains("|1|") && !hashed.contains("127.0.0.1"), "{hashed}");
    let trust = HostTrust { keys: known().unwrap(), authorities: vec![] };
    let rig = Rig::with(&sshd, Plan { trust: Some(trust), ..Plan::default() });
    let said = rig.ssh(&["echo in"]);
    assert_eq!((said.out.as_str(), said.code), ("in\n", Some(0)), "{said:?}");
    // OpenSSH refuses a key that any such line names.
    let line = host.to_line().unwrap();
    std::fs::write(&file, format!("{hashed}@revoked * {line}\n")).unwrap();
    assert!(known().is_err());
    std::fs::write(&file, format!("{hashed}@revoked * {stranger}\n")).unwrap();
    assert_eq!(known().unwrap(), [host]);
}
