//! The demonstrations of HTTP and MCP from beginning to end, with their embedded targets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use demo::{Json, Options, Show, Text, Until, run};
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

    /// What it says when it stays up.
    fn serving(&self) -> Value {
        let all = self.text();
        let serving = all.lines().find(|line| line.contains("\"serving\"")).unwrap();
        serde_json::from_str::<Value>(serving).unwrap()["data"].take()
    }
}

async fn told(show: Show, checks: usize) -> String {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { dir: dir.path().join("demo"), show };
    let out = Shared::default();
    let outcome = run(&options, &mut Text::new(out.clone(), Style::default(), "greffier"), None)
        .await
        .unwrap();
    let told = out.text();
    assert!(outcome.is_ok(), "{told}");
    assert_eq!(outcome.checks.len(), checks, "{told}");
    assert!(!told.contains('\x1b'), "no colours where none are wanted");
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_expectation_of_http_holds() {
    let told = told(Show::Http, 15).await;
    assert!(told.contains("403 Forbidden") && told.contains("agents-delete-nothing"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_expectation_of_mcp_holds() {
    let told = told(Show::Mcp, 16).await;
    assert!(told.contains("changed-definition") && told.contains("small-refunds"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_expectation_of_kubernetes_holds() {
    let told = told(Show::Kubernetes, 17).await;
    assert!(told.contains("kubernetes-mask") && told.contains("nobody-in-kube-system"), "{told}");
}

/// Runs a line that the demonstration prints, with `more` behind it.
fn shell(line: &str, more: &str) -> String {
    let mut sh = Command::new("sh");
    sh.arg("-c").arg(format!("{line}{more}")).stdin(Stdio::null());
    let output = sh.output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Plays, and stays up while `meanwhile` runs.
async fn served(show: Show, meanwhile: fn(&Value, &Path)) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { dir: dir.path().join("demo"), show };
    let out = Shared::default();
    let until: Until = {
        let (out, dir) = (out.clone(), options.dir.clone());
        Box::pin(async move {
            let serving = out.serving();
            tokio::task::spawn_blocking(move || {
                meanwhile(&serving, &dir);
                assert!(dir.join("store/logs/demo/checkpoint").is_file(), "published meanwhile");
            })
            .await
            .unwrap();
        })
    };
    let outcome = run(&options, &mut Json::new(out.clone()), Some(until)).await.unwrap();
    assert!(outcome.is_ok(), "{}", out.text());
    let last = out.text().lines().last().map(serde_json::from_str::<Value>).unwrap().unwrap();
    assert_eq!((&last["event"], &last["data"]["ok"]), (&"done".into(), &true.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn served_for_curl_until_told_to_end() {
    served(Show::Http, |serving, _| {
        let lines = serving["commands"].as_array().unwrap();
        let shown: Value = serde_json::from_str(&shell(lines[0].as_str().unwrap(), "")).unwrap();
        assert_eq!(
            (&shown["name"], &shown["email"]),
            (&"Carla Jensen".into(), &"<EMAIL_ADDRESS>".into())
        );
        let denied: Value = serde_json::from_str(&shell(lines[1].as_str().unwrap(), "")).unwrap();
        assert_eq!(denied["rule"], "agents-delete-nothing", "{denied}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn served_for_mcp_clients_until_told_to_end() {
    served(Show::Mcp, |serving, dir| {
        let lines = serving["commands"].as_array().unwrap();
        let told: Value = serde_json::from_str(&shell(lines[0].as_str().unwrap(), "")).unwrap();
        let server = &told["mcpServers"]["shop-tools"];
        let (url, token) = (server["url"].as_str().unwrap(), serving["token"].as_str().unwrap());
        assert_eq!(server["headers"]["Authorization"], format!("Bearer {token}"));
        assert!(lines[1].as_str().unwrap().contains(dir.join("mcp.json").to_str().unwrap()));
        let called = shell(lines[2].as_str().unwrap(), "");
        assert!(called.contains("Carla Jensen") && called.contains("<EMAIL_ADDRESS>"), "{called}");
        // The official SDK's client, told the same.
        let client = testbed::mcp_client();
        let Some(mut client) = testbed::require(client) else { return };
        let output = client.args([url, "legacy", token]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let got: Value = serde_json::from_slice(&output.stdout).unwrap();
        let tools = got["tools"]["tools"].as_array().unwrap().iter();
        let names: Vec<&str> = tools.map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["find_customer", "refund"], "{got}");
        let denied = got["delete"]["failed"].as_str().unwrap();
        assert!(denied.contains("agents-delete-nothing"), "{denied}");
    })
    .await;
}
