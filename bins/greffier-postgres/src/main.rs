//! The PostgreSQL proxy, launched from a shell. See `--help`.

use std::process::ExitCode;
use std::sync::Arc;

use config::serve::{Handler, Shutdown};
use config::{Instance, Listener, Loaded, Protocol};

const PROGRAM: cli::Program = cli::Program {
    name: "greffier-postgres",
    version: env!("CARGO_PKG_VERSION"),
    about: "A proxy for PostgreSQL that puts a name on every statement: clients log in with an OIDC \
            token, every statement is judged by rules and on record before it runs, answers are \
            masked.",
    examples: "  \
  greffier keygen --origin example.org/pg-1 log.key      # once; prints the key to verify with
  greffier-postgres --config greffier.toml --check       # every mistake at once, with its line
  greffier-postgres --config greffier.toml

Then, with any client, the token is the password:
  PGPASSWORD=\"$TOKEN\" psql -h 127.0.0.1 -p 6432 -d orders",
};

fn main() -> ExitCode {
    cli::main(&PROGRAM, handler)
}

fn handler(loaded: &Loaded, listener: &Listener, instance: &Instance) -> Option<Handler> {
    let Protocol::Postgres(own) = &listener.protocol else { return None };
    let proxy = postgres::Proxy::new(instance.gate.clone(), loaded.postgres_config(own));
    Some(Arc::new(move |tcp, peer, shutdown: Shutdown| {
        let proxy = proxy.clone();
        Box::pin(async move { proxy.serve(tcp, peer, shutdown.wanted()).await })
    }))
}
