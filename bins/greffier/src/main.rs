//! The operator's command. See `--help`.

mod audit;
mod check;
mod demo;
mod error;
mod keygen;
mod kubeconfig;
mod own;
mod place;
mod ssh_cert;
mod token;
mod verify;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::error::Error;

/// What `--help` adds at its end.
const AFTER_HELP: &str = "\
Examples:
  greffier demo                                   # see it work; needs nothing
  greffier demo --serve                           # and try it with psql
  greffier demo ssh --serve                       # the same for SSH; http, mcp, kubernetes, too
  greffier config check greffier.toml             # every mistake at once, with its line
  greffier keygen --origin example.org/pg-1 log.key
  greffier audit list --verdict deny --since 1d   --store DIR --log-id ID --key log.vkey
  greffier audit show 0192c0de-…/3                --store DIR --log-id ID --key log.vkey
  greffier audit replay 0192c0de-…/1 --speed 2    --store DIR --log-id ID --key log.vkey
  greffier audit trace TRACE_ID                   --log DIR ID log.vkey --log DIR2 ID2 log2.vkey
  greffier audit har SESSION                      --store DIR --log-id ID --key log.vkey
  greffier kubeconfig prod --server https://kube.example.org > ~/.kube/prod
  greffier verify                                 --store s3://bucket/audit --log-id ID --key log.vkey

--store, --log-id and --key may stand in GREFFIER_STORE, GREFFIER_LOG_ID and GREFFIER_KEY.";

/// greffier: a name on every statement, a rule before it, and a record that can't be changed
/// unnoticed. This command shows it, checks its configuration, reads the record and verifies it.
/// The proxies are programs of their own: greffier-postgres.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play an agent, a database, a proxy and a log in one process, and check what comes out.
    Demo(demo::Arguments),
    /// Verify a log from its entries up: hashes, signatures, and every object it names.
    Verify(verify::Arguments),
    /// Read the record: who did what, on whose behalf, with what verdict.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Check a configuration.
    #[command(subcommand)]
    Config(check::Config),
    /// Check the rules in a configuration.
    #[command(subcommand)]
    Policy(check::Policy),
    /// Make a log's key, and print the key that the log is verified with.
    Keygen(keygen::Arguments),
    /// Trade an OIDC token for an SSH certificate.
    SshCert(ssh_cert::Arguments),
    /// Give kubectl a token, as its credential plugin.
    Token(token::Arguments),
    /// Print a kubeconfig for a cluster behind greffier-kubernetes.
    Kubeconfig(kubeconfig::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .init();
    let done = match arguments.command {
        Command::Demo(arguments) => demo::run(arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Audit(command) => audit::run(command),
        Command::Config(check::Config::Check(arguments)) => check::config(&arguments),
        Command::Policy(check::Policy::Check(arguments)) => check::policy(&arguments),
        Command::Keygen(arguments) => keygen::run(&arguments),
        Command::SshCert(arguments) => ssh_cert::run(&arguments),
        Command::Token(arguments) => token::run(&arguments),
        Command::Kubeconfig(arguments) => kubeconfig::run(&arguments),
    };
    match done {
        Ok(code) => code,
        // Whoever read has enough: `| head`.
        Err(Error::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            let message = error.to_string();
            let lines = message.lines().map(trail::term::sanitise);
            let text = lines.collect::<Vec<_>>().join("\n");
            // There is nobody left to tell if this fails.
            let _nobody = writeln!(std::io::stderr(), "greffier: {text}");
            ExitCode::from(error.exit_code())
        }
    }
}
