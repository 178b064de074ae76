//! `greffier demo`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use demo::{Json, Narrator, Options, Show, Text, Until, run as play};

use crate::error::Error;
use crate::place::{block_on, style};

/// What `--help` adds at its end.
const AFTER_HELP: &str = "\
It listens on loopback only, on spare ports, without TLS. Exit status: 0 if every expectation
held (what must be masked was masked, what must be denied was denied, the log verified, and a
changed copy of it did not), 1 otherwise.

Examples:
  greffier demo
  greffier demo --serve
  greffier demo ssh
  greffier demo ssh --serve
  greffier demo http --serve
  greffier demo mcp --serve
  greffier demo kubernetes
  greffier demo --upstream postgres://me:secret@127.0.0.1:5432/test";

/// Plays an AI agent that works for a person: its statements (or, with `ssh`, its commands, with
/// `http` its requests, with `mcp` its calls of tools, with `kubernetes` its calls) pass through the proxy, one answer holds card numbers and e-mails, some are denied, one token has
/// expired. Then reads the trail from the log, verifies it, and changes one byte of a copy.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// The protocol to show.
    #[arg(value_enum, default_value_t)]
    protocol: Protocol,

    /// Stay up afterwards until Ctrl-C, and say how to try it with psql, ssh, curl or an MCP client.
    #[arg(long)]
    serve: bool,

    /// Use this PostgreSQL instead of the embedded target. The tables go into a schema of their
    /// own, which is dropped at the end. With `ssh`, `http` and `mcp` it is refused, and with
    /// `kubernetes`: those show their own servers only.
    #[arg(long, value_name = "URL", env = "GREFFIER_DEMO_UPSTREAM", hide_env_values = true)]
    upstream: Option<String>,

    /// Where to put the log and the target's file: an empty or new folder. [default: a new
    /// folder under the system's temporary one]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,

    /// Tell it as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// A small database, or a real one.
    #[default]
    Postgres,
    /// A small SSH server whose commands are pretended.
    Ssh,
    /// A small service that answers in JSON.
    Http,
    /// A small MCP server with tools, one of which changes its definition.
    Mcp,
    /// A minimal API server, asked without TLS: kubectl would send it no token.
    Kubernetes,
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    if arguments.protocol != Protocol::Postgres && arguments.upstream.is_some() {
        let why = "this is for PostgreSQL only. What the others play is pretended by their own \
                   servers; leave it out (and GREFFIER_DEMO_UPSTREAM unset)";
        return Err(demo::DemoError::Upstream(why.into()).into());
    }
    let dir = match arguments.dir {
        Some(dir) => dir,
        None => tempfile::Builder::new()
            .prefix("greffier-demo-")
            .tempdir()
            .map_err(demo::DemoError::from)?
            .keep(),
    };
    let show = match arguments.protocol {
        Protocol::Postgres => Show::Postgres { upstream: arguments.upstream },
        Protocol::Ssh => Show::Ssh,
        Protocol::Http => Show::Http,
        Protocol::Mcp => Show::Mcp,
        Protocol::Kubernetes => Show::Kubernetes,
    };
    let options = Options { dir, show };
    let mut narrator: Box<dyn Narrator> = if arguments.json {
        Box::new(Json::new(std::io::stdout()))
    } else {
        Box::new(Text::new(std::io::stdout(), style(), &program()))
    };
    block_on(async {
        let until: Option<Until> = arguments.serve.then(|| {
            Box::pin(async {
                // Without a handler for Ctrl-C the process ends by it anyway.
                let _no_handler = tokio::signal::ctrl_c().await;
            }) as Until
        });
        let outcome = play(&options, &mut *narrator, until).await?;
        Ok(if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// How this program was called, so that what is printed can be pasted.
fn program() -> String {
    let path = std::env::current_exe().ok();
    let here = std::env::current_dir().ok();
    let short = |path: &PathBuf| {
        let relative = here.as_ref().and_then(|here| path.strip_prefix(here).ok());
        relative.unwrap_or(path).display().to_string()
    };
    path.as_ref().map_or_else(|| "greffier".to_owned(), short)
}
