//! What `greffier demo ssh` does with options that are not for it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Output};

fn demo(args: &[&str]) -> (Output, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_greffier"));
    let output = command.arg("demo").args(args).env_remove("GREFFIER_DEMO_UPSTREAM").output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

#[test]
fn an_upstream_is_refused_with_a_sentence_and_nothing_is_played() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("demo");
    let folder = folder.to_str().unwrap();
    for upstream in ["ssh://root@127.0.0.1:22", "postgres://127.0.0.1/test"] {
        let (output, said) = demo(&["ssh", "--upstream", upstream, "--dir", folder]);
        assert!(!output.status.success());
        assert!(said.contains("--upstream: this is for PostgreSQL only"), "{said}");
        assert!(output.stdout.is_empty());
        assert!(!std::path::Path::new(folder).exists());
    }
    // As the help says.
    let (output, _) = demo(&["--help"]);
    let help =
        String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("With `ssh`, `http` and `mcp` it is refused"), "{help}");
}
