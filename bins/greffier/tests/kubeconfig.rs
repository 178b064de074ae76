//! `greffier kubeconfig` and `greffier token`, as kubectl and people use them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dev_issuer::{Claims, DevIssuer};
use serde_json::Value;
use testbed::{Cluster, require};

const GREFFIER: &str = env!("CARGO_BIN_EXE_greffier");

fn greffier(args: &[&str]) -> Output {
    Command::new(GREFFIER).args(args).env_remove("GREFFIER_TOKEN").output().unwrap()
}

#[test]
fn kubectl_gets_its_token_from_the_plugin() {
    let Some(cluster) = require(Cluster::start()) else { return };
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, format!("{}\n", cluster.admin_token())).unwrap();
    let (token, ca) = (token.to_str().unwrap(), cluster.ca());
    let (url, ca) = (cluster.url(), ca.to_str().unwrap());
    let args = ["kubeconfig", "prod", "--server", &url, "--ca", ca, "--token-file", token];
    let output = greffier(&args);
    assert!(output.status.success(), "{output:?}");
    let config: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(config["current-context"], "prod");
    let pem = STANDARD
        .decode(config["clusters"][0]["cluster"]["certificate-authority-data"].as_str().unwrap());
    assert_eq!(pem.unwrap(), std::fs::read(ca).unwrap());
    let file = dir.path().join("config");
    std::fs::write(&file, &output.stdout).unwrap();
    let path = format!(
        "{}:{}",
        Path::new(GREFFIER).parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let mut kubectl = cluster.kubectl();
    kubectl.env("KUBECONFIG", &file).env("PATH", path);
    let output = kubectl.args(["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]);
    let output = output.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "admin", "{output:?}");

    // Without TLS kubectl would send no token, and say nothing of it.
    let refused = greffier(&["kubeconfig", "prod", "--server", "http://127.0.0.1:1"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("must be https"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_by_browser_is_asked_for_once() {
    let issuer = DevIssuer::start().await.unwrap();
    issuer.set_device_interval(1);
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let mut greffier = Command::new(GREFFIER);
        greffier.args(["token", "--issuer", issuer.iss(), "--client-id", "cli"]);
        greffier.env("XDG_CACHE_HOME", dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        greffier.spawn().unwrap()
    };
    let first = start();
    let since = Instant::now();
    let code = loop {
        if let Some(code) = issuer.user_codes().pop() {
            break code;
        }
        assert!(since.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(issuer.approve_device(&code, Claims::new("alice").audience("https://kube")));
    let first = tokio::task::spawn_blocking(move || first.wait_with_output().unwrap());
    let first = first.await.unwrap();
    assert!(first.status.success(), "{first:?}");
    assert!(String::from_utf8_lossy(&first.stderr).contains(&code), "{first:?}");
    let credential: Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!(credential["kind"], "ExecCredential");
    let ends = credential["status"]["expirationTimestamp"].as_str().unwrap();
    assert!(ends.starts_with("20") && ends.ends_with('Z'), "{ends}");
    // The second time nobody is asked.
    let second = start();
    let second = tokio::task::spawn_blocking(move || second.wait_with_output().unwrap());
    let second = second.await.unwrap();
    assert_eq!(second.stdout, first.stdout);
    assert!(second.stderr.is_empty(), "{second:?}");
    let kept = std::fs::read_dir(dir.path().join("greffier")).unwrap();
    for file in kept {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn what_is_missing_is_said() {
    let output = greffier(&["token"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("GREFFIER_TOKEN"));
    let output = greffier(&["token", "--issuer", "https://x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--client-id"));
}
