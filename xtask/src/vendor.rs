//! `cargo xtask vendor --check`: what `vendor/` holds is what was published, plus its patch.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::stage::{cargo, in_ci, root, stage};

/// The published crate that `vendor/greffier-russh` is made of.
const NAME: &str = "russh";
const VERSION: &str = "0.65.1";
const FOLDER: &str = "vendor/greffier-russh";
/// What is taken from the published crate; the rest is left out.
const PARTS: &[&str] = &["Cargo.toml", "src"];
/// What the folder holds beside [`PARTS`].
const OURS: &[&str] = &["LICENSE", "README.md", "greffier.patch", "rustfmt.toml"];

pub(crate) fn run(args: &[&str]) -> Result<(), String> {
    match args {
        ["--check"] => stage("vendored code is what was published, plus its patch", check),
        _ => Err("vendor: --check is all it does".to_owned()),
    }
}

fn check() -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| format!("making a temporary folder: {e}"))?;
    let published = match fetch(dir.path()) {
        Ok(published) => published,
        Err(reason) if in_ci() => return Err(reason),
        Err(reason) => {
            println!("SKIPPED: {NAME} {VERSION} can't be had: {reason}");
            return Ok(());
        }
    };
    let patched = dir.path().join("patched");
    for part in PARTS {
        copy(&published.join(part), &patched.join(part))?;
    }
    let vendored = root().join(FOLDER);
    apply(&vendored.join("greffier.patch"), &patched)?;
    let mut expected = files(&patched)?;
    let mut there = files(&vendored)?;
    there.retain(|file| !OURS.iter().any(|ours| file == Path::new(ours)));
    expected.sort();
    there.sort();
    if expected != there {
        let odd = there.iter().find(|f| !expected.contains(f));
        let odd = odd.or_else(|| expected.iter().find(|f| !there.contains(f)));
        return Err(format!("{FOLDER}: {odd:?} is only on one side"));
    }
    for file in &expected {
        if read(&patched.join(file))? != read(&vendored.join(file))? {
            return Err(format!("{FOLDER}/{} is not what the patch makes", file.display()));
        }
    }
    println!("{} files are those of {NAME} {VERSION} with greffier.patch", expected.len());
    Ok(())
}

/// The folder of the published crate, got by cargo, which checks its digest. Our own lock file
/// goes along, so that hardly anything else is fetched.
fn fetch(dir: &Path) -> Result<PathBuf, String> {
    let probe = dir.join("probe");
    let manifest = format!(
        "[package]\nname = \"probe\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\n{NAME} = {{ version = \"={VERSION}\", default-features = false }}\n"
    );
    write(&probe.join("Cargo.toml"), manifest.as_bytes())?;
    write(&probe.join("src/lib.rs"), b"")?;
    copy(&root().join("Cargo.lock"), &probe.join("Cargo.lock"))?;
    let mut command = cargo();
    command.args(["metadata", "--format-version", "1", "--quiet"]);
    command.args(["--filter-platform", "x86_64-unknown-linux-gnu"]).current_dir(&probe);
    let out = command.output().map_err(|e| format!("cargo: {e}"))?;
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&out.stdout);
    let end = format!("/{NAME}-{VERSION}/Cargo.toml\"");
    text.split("\"manifest_path\":\"")
        .filter_map(|rest| rest.split_inclusive('"').next())
        .find(|path| path.ends_with(&end))
        .and_then(|path| Path::new(path.trim_end_matches('"')).parent().map(Path::to_owned))
        .ok_or_else(|| format!("cargo metadata names no {NAME} {VERSION}"))
}

fn apply(patch: &Path, folder: &Path) -> Result<(), String> {
    // Beside a repository git would look for the files from its root.
    let out = Command::new("git")
        .args(["apply", "-p1", "--whitespace=nowarn"])
        .arg(patch)
        .env("GIT_CEILING_DIRECTORIES", folder)
        .current_dir(folder)
        .output()
        .map_err(|e| format!("git: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("greffier.patch does not apply: {}", String::from_utf8_lossy(&out.stderr)))
}

/// Every file below a folder, relative to it.
fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let entries = fs::read_dir(&next).map_err(|e| format!("{}: {e}", next.display()))?;
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(relative) = path.strip_prefix(folder) {
                found.push(relative.to_owned());
            }
        }
    }
    Ok(found)
}

/// Copies a file, or a folder with all that is in it. What was published is read-only at times.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    if !from.is_dir() {
        return write(to, &read(from)?);
    }
    for file in files(from)? {
        write(&to.join(&file), &read(&from.join(&file))?)?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(path, bytes)).map_err(|e| format!("{}: {e}", path.display()))
}
