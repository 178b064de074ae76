//! `greffier keygen`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::error::Error;

/// Makes an Ed25519 key for a log. The private key goes to a new file that only you may read;
/// the public key is printed: give it to whoever verifies the log.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  greffier keygen --origin example.org/pg-1 log.key > log.vkey")]
pub(crate) struct Arguments {
    /// The log's name, for ever: a URL without its scheme, by custom.
    #[arg(long, value_name = "NAME")]
    origin: String,

    /// The new file for the private key (audit.key of the proxy's configuration).
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let key = config::keygen(&arguments.file, &arguments.origin)?;
    writeln!(std::io::stdout(), "{key}").map_err(Error::Output)?;
    Ok(ExitCode::SUCCESS)
}
