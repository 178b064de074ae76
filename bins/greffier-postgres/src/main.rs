//! The PostgreSQL proxy, launched from a shell. See `--help`.

use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use config::serve::{Handler, Shutdown};
use config::{Instance, Listener, Loaded, Protocol};
use tracing_subscriber::EnvFilter;

/// The name and version in records.
const PROGRAM: &str = concat!("greffier-postgres ", env!("CARGO_PKG_VERSION"));

/// What `--help` adds at its end.
const AFTER_HELP: &str = "\
Example:
  greffier keygen --origin example.org/pg-1 log.key      # once; prints the key to verify with
  greffier-postgres --config greffier.toml --check       # every mistake at once, with its line
  greffier-postgres --config greffier.toml

Then, with any client, the token is the password:
  PGPASSWORD=\"$TOKEN\" psql -h 127.0.0.1 -p 6432 -d orders

Signals:
  SIGTERM, SIGINT   accept no more, let sessions end (serve.shutdown_timeout), seal the log
  a second one      cut what is left at once, then seal the log

Exit status:
  0  ended in order, the log is sealed
  1  could not start, or something failed: the log says nothing false, but look at the messages
  2  the configuration or the command line has mistakes

Environment:
  RUST_LOG          which messages are shown, `info` if unset; `debug` names handshakes that fail";

/// A proxy for PostgreSQL that puts a name on every statement: clients log in with an OIDC
/// token, every statement is judged by rules and on record before it runs, answers are masked.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
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

fn main() -> ExitCode {
    let arguments = Arguments::parse();
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
    match config::run(&loaded, PROGRAM, &serving) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("greffier-postgres: {error}");
            ExitCode::FAILURE
        }
    }
}

fn handler(loaded: &Loaded, listener: &Listener, instance: &Instance) -> Option<Handler> {
    let Protocol::Postgres(own) = &listener.protocol else { return None };
    let proxy = postgres::Proxy::new(instance.gate.clone(), loaded.postgres_config(own));
    Some(Arc::new(move |tcp, peer, shutdown: Shutdown| {
        let proxy = proxy.clone();
        Box::pin(async move { proxy.serve(tcp, peer, shutdown.wanted()).await })
            as Pin<Box<dyn Future<Output = ()>>>
    }))
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
