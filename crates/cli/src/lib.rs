//! What the `main` of every proxy is: arguments, messages on standard error, the exit status. A
//! program says its name, what it is for, and what serves its listeners:
//!
//! ```no_run
//! const PROGRAM: cli::Program = cli::Program {
//!     name: "greffier-example",
//!     version: env!("CARGO_PKG_VERSION"),
//!     about: "A proxy that shows how a program begins.",
//!     examples: "  greffier-example --config greffier.toml",
//! };
//!
//! fn main() -> std::process::ExitCode {
//!     cli::main(&PROGRAM, |_loaded, _listener, _instance| None)
//! }
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command, FromArgMatches as _};
use config::serve::Handler;
use config::{Instance, Listener, Loaded};
use tracing_subscriber::EnvFilter;

/// A proxy's program.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Its name, as it is called.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What it does, in a sentence or two.
    pub about: &'static str,
    /// How it is used: lines of commands, two blanks before each.
    pub examples: &'static str,
}

/// What `--help` adds behind the examples.
const AFTER_EXAMPLES: &str = "\
Signals:
  SIGTERM, SIGINT   accept no more, let sessions end (serve.shutdown_timeout), seal the log
  a second one      cut what is left at once, then seal the log

Exit status:
  0  ended in order, the log is sealed
  1  could not start, or something failed: the log says nothing false, but look at the messages
  2  the configuration or the command line has mistakes

Environment:
  RUST_LOG          which messages are shown, `info` if unset; `debug` names handshakes that fail";

#[derive(Debug, Args)]
struct Arguments {
    /// The configuration; greffier.example.toml in the source shows every section.
    #[arg(long, value_name = "FILE", env = "GREFFIER_CONFIG", default_value = "greffier.toml")]
    config: PathBuf,

    /// Check the configuration, and the files and variables it names, and end.
    #[arg(long)]
    check: bool,

    /// Write messages as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

/// Runs a proxy to its end. `handler` makes what serves a listener's connections; `None` if the
/// program doesn't speak its protocol.
pub fn main(
    program: &Program,
    handler: fn(&Loaded, &Listener, &Instance) -> Option<Handler>,
) -> ExitCode {
    let arguments = match arguments(program) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    log_to_stderr(arguments.json);
    let loaded = match config::load(&arguments.config) {
        Ok(loaded) => loaded,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(2);
        }
    };
    if arguments.check {
        println!("{}: no mistakes", arguments.config.display());
        return ExitCode::SUCCESS;
    }
    let serving = |listener: &Listener, instance: &Instance| handler(&loaded, listener, instance);
    let named = format!("{} {}", program.name, program.version);
    match config::run(&loaded, &named, &serving) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", program.name);
            ExitCode::FAILURE
        }
    }
}

fn arguments(program: &Program) -> Result<Arguments, clap::Error> {
    let after_help = format!("Example:\n{}\n\n{AFTER_EXAMPLES}", program.examples.trim_end());
    let command = Command::new(program.name)
        .version(program.version)
        .about(program.about)
        .after_help(after_help);
    Arguments::from_arg_matches(&Arguments::augment_args(command).try_get_matches()?)
}

fn log_to_stderr(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        builder.json().init();
    } else {
        let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
        builder.with_ansi(ansi).init();
    }
}
