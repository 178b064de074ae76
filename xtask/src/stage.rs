//! Steps with a heading and a time.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    dir.parent().unwrap_or(dir).to_owned()
}

/// Prints a heading, does `work`, prints how long it took.
pub(crate) fn stage<T>(
    heading: &str,
    work: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    println!("\n== {heading}");
    let begun = Instant::now();
    let done = work();
    let word = if done.is_ok() { "done" } else { "FAILED" };
    println!("== {heading}: {word} after {:.1} s", begun.elapsed().as_secs_f64());
    done
}

/// Runs a command in the workspace's root, its output shown.
pub(crate) fn show(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.current_dir(root()).status().map_err(|e| format!("{name}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{name} ended with {status}")) }
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Whether a missing thing must fail.
pub(crate) fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|v| v == "true" || v == "1")
}
