//! `greffier config check` and `greffier policy check`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use trail::term::sanitise;

use crate::error::Error;

/// Checks of a whole configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Read a configuration and the files and variables that it names, and print every mistake
    /// with its line.
    Check(Arguments),
}

/// Checks of rules.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Print every mistake in the rules with its line: unknown words, and rules that can never
    /// decide anything. Secrets, certificates and the log need not be there.
    Check(Arguments),
}

/// What to check.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 no mistake, 1 mistakes.")]
pub(crate) struct Arguments {
    /// The configuration, greffier.toml.
    file: PathBuf,
}

pub(crate) fn config(arguments: &Arguments) -> Result<ExitCode, Error> {
    check(arguments, |_| true)
}

pub(crate) fn policy(arguments: &Arguments) -> Result<ExitCode, Error> {
    // What has no path is no TOML at all: then the rules can't be read either.
    check(arguments, |path| path.is_empty() || path == "policy" || path.starts_with("policy."))
}

fn check(arguments: &Arguments, concerns: impl Fn(&str) -> bool) -> Result<ExitCode, Error> {
    let file = arguments.file.display();
    let found = match config::load(&arguments.file) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.all.into_iter().filter(|p| concerns(&p.path)).collect(),
    };
    let mut out = std::io::stdout().lock();
    for problem in &found {
        writeln!(out, "{file}:{}", sanitise(&problem.to_string())).map_err(Error::Output)?;
    }
    if found.is_empty() {
        writeln!(out, "{file}: no mistakes").map_err(Error::Output)?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
