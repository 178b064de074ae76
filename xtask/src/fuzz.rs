//! `cargo xtask fuzz`.

use std::fs;
use std::process::Command;

use crate::stage::{root, show, stage};

/// The fuzz workspaces: PostgreSQL's parser is long in building, so its targets have their own.
const FOLDERS: [&str; 2] = ["fuzz", "fuzz/grammar"];
/// Minutes for each target unless asked otherwise.
const MINUTES: u32 = 10;

pub(crate) fn run(args: &[&str]) -> Result<(), String> {
    let mut minutes = MINUTES;
    let mut only = None;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match *arg {
            "--minutes" => minutes = value()?.parse().map_err(|_| "--minutes needs a number")?,
            "--target" => only = Some(*value()?),
            other => return Err(format!("fuzz: unknown option {other:?}")),
        }
    }
    if minutes == 0 {
        return Err("--minutes must be at least 1: libFuzzer reads 0 as for ever".to_owned());
    }
    let mut probe = nightly();
    if !probe.args(["fuzz", "--version"]).output().is_ok_and(|o| o.status.success()) {
        return Err(
            "missing: rustup toolchain install nightly && cargo install cargo-fuzz --locked"
                .to_owned(),
        );
    }
    let mut found = false;
    for folder in FOLDERS {
        for name in targets(folder)?.iter().filter(|n| only.is_none_or(|o| o == *n)) {
            found = true;
            stage(&format!("fuzz {name}, {minutes} min"), || one(folder, name, minutes))?;
        }
    }
    if found { Ok(()) } else { Err("no such fuzz target".to_owned()) }
}

fn targets(folder: &str) -> Result<Vec<String>, String> {
    let dir = root().join(folder).join("fuzz_targets");
    let entries = fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|e| Some(e.file_name().to_str()?.strip_suffix(".rs")?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// Seeds are only read; what the fuzzer learns goes to the local corpus,
/// which is not kept in the repository.
fn one(folder: &str, name: &str, minutes: u32) -> Result<(), String> {
    let folder = root().join(folder);
    let corpus = folder.join("corpus-local").join(name);
    fs::create_dir_all(&corpus).map_err(|e| format!("{}: {e}", corpus.display()))?;
    let mut fuzz = nightly();
    fuzz.args(["fuzz", "run", "--fuzz-dir"]).arg(&folder).arg(name).arg(&corpus);
    let seeds = folder.join("seeds").join(name);
    if seeds.is_dir() {
        fuzz.arg(seeds);
    }
    fuzz.args(["--", &format!("-max_total_time={}", u64::from(minutes) * 60)]);
    fuzz.args(["-rss_limit_mb=2048", "-timeout=25", "-print_final_stats=1"]);
    show(&mut fuzz)
}

/// Through rustup: the cargo that runs us is of the stable toolchain.
fn nightly() -> Command {
    let mut cargo = Command::new("rustup");
    cargo.args(["run", "nightly", "cargo"]).env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    cargo
}
