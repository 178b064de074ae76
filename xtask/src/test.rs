//! `cargo xtask test`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::stage::{cargo, in_ci, show, stage};
use crate::{again, packages, survivors};

/// In CI the tests are ended after this many seconds: a hung test must fail
/// with its output shown, before the machine's own limit cuts everything off.
const CI_LIMIT_SECONDS: &str = "4200";

pub(crate) fn run(args: &[&str]) -> Result<(), String> {
    let (own, passed) = match args.iter().position(|a| *a == "--") {
        Some(at) => (args.get(..at), args.get(at + 1..)),
        None => (Some(args), None),
    };
    let mut quick = false;
    for arg in own.unwrap_or_default() {
        match *arg {
            "--quick" => quick = true,
            other => return Err(format!("test: unknown option {other:?}")),
        }
    }
    if !quick {
        packages::ensure()?;
    }
    let dir = tempfile::Builder::new()
        .prefix("greffier-")
        .tempdir()
        .and_then(|d| Ok((d.path().canonicalize()?, d)))
        .map_err(|e| format!("making a temporary folder: {e}"))?;
    let (path, _guard) = dir;
    // Servers run under another account than root's and must get in.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
    let passed = passed.unwrap_or_default();
    let command = |chosen: &[&str]| {
        let mut command = test_command();
        command.arg("test").env(survivors::VARIABLE, &path);
        if !passed.iter().any(|a| *a == "-p" || a.starts_with("--package")) {
            command.arg("--workspace");
        }
        // One that fails is no reason to hear nothing of the others.
        if !passed.contains(&"--no-fail-fast") {
            command.arg("--no-fail-fast");
        }
        command.args(chosen).args(passed);
        command
    };
    let all: &[&str] = if quick { &["--lib", "--bins"] } else { &[] };
    let tested = stage("tests", || {
        let mut first = command(all);
        if in_ci() { again::tests(&mut first, &command) } else { show(&mut first) }
    });
    let clean = stage("nothing left behind", || survivors::none_left(&path));
    tested.and(clean)
}

/// cargo, in CI under coreutils' `timeout`.
fn test_command() -> Command {
    let cargo = cargo();
    if !in_ci() {
        return cargo;
    }
    let mut limited = Command::new("timeout");
    limited.args(["--kill-after=10", CI_LIMIT_SECONDS]).arg(cargo.get_program());
    limited
}
