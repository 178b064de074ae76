//! The demonstration of SSH from beginning to end, with its embedded target.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use demo::{Json, Options, Show, Text, run};
use serde_json::Value;
use trail::term::Style;

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_expectation_holds() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { dir: dir.path().join("demo"), show: Show::Ssh };
    let out = Shared::default();
    let outcome = run(&options, &mut Text::new(out.clone(), Style::default(), "greffier"), None)
        .await
        .unwrap();
    let told = out.text();
    assert!(outcome.is_ok(), "{told}");
    assert_eq!(outcome.checks.len(), 15, "{told}");
    assert!(told.contains("exit status 126"), "{told}");
    assert!(told.contains("nobody-deletes"), "{told}");
    assert!(
        !told.contains('\x1b'),
        "no colours where none are wanted, and nothing of a terminal's"
    );
}

/// Runs one of OpenSSH's lines that the demonstration prints, with `more` behind it.
fn shell(line: &str, more: &str) -> Output {
    let mut sh = Command::new("sh");
    sh.arg("-c").arg(format!("{line}{more}")).env_remove("SSH_AUTH_SOCK").stdin(Stdio::null());
    sh.output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn served_for_openssh_s_client_until_told_to_end() {
    if Command::new("ssh").arg("-V").output().is_err() {
        // No OpenSSH client here; the other test plays with a library's.
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let options = Options { dir: dir.path().join("demo"), show: Show::Ssh };
    let out = Shared::default();
    let until = {
        let out = out.clone();
        let dir = options.dir.clone();
        Box::pin(async move {
            let serving =
                out.text().lines().find(|line| line.contains("\"serving\"")).map(str::to_owned);
            let serving: Value = serde_json::from_str(&serving.unwrap()).unwrap();
            let ssh = serving["data"]["commands"][1].as_str().unwrap().to_owned();
            let token = serving["data"]["token"].as_str().unwrap();
            assert_eq!(std::fs::read_to_string(dir.join("token")).unwrap(), token);
            // The token for a password, in place of the certificate of the first line.
            let askpass = format!("#!/bin/sh\ncat '{}'\n", dir.join("token").display());
            std::fs::write(dir.join("askpass"), askpass).unwrap();
            let ssh = format!(
                "chmod +x '{0}'; SSH_ASKPASS='{0}' SSH_ASKPASS_REQUIRE=force {ssh}",
                dir.join("askpass").display()
            );
            let said = shell(&ssh, "");
            let text = String::from_utf8_lossy(&said.stdout).into_owned();
            assert!(said.status.success(), "{said:?}");
            assert!(text.contains("Carla Jensen,<EMAIL_ADDRESS>"), "{text}");
            let denied = shell(&ssh.replace("cat customers.csv", "rm customers.csv"), "");
            assert_eq!(denied.status.code(), Some(126), "{denied:?}");
            assert!(dir.join("store/logs/demo/checkpoint").is_file(), "published meanwhile");
        })
    };
    let outcome = run(&options, &mut Json::new(out.clone()), Some(until)).await.unwrap();
    assert!(outcome.is_ok(), "{}", out.text());
    let last = out.text().lines().last().map(serde_json::from_str::<Value>).unwrap().unwrap();
    assert_eq!((&last["event"], &last["data"]["ok"]), (&"done".into(), &true.into()));
}
