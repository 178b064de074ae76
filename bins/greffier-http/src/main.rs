//! The HTTP proxy, launched from a shell. See `--help`.

use std::process::ExitCode;
use std::sync::Arc;

use config::serve::{Handler, Shutdown};
use config::{Instance, Listener, Loaded, Protocol};

const PROGRAM: cli::Program = cli::Program {
    name: "greffier-http",
    version: env!("CARGO_PKG_VERSION"),
    about: "A proxy for HTTP services that puts a name on every request: clients show an OIDC token \
            as bearer, every request is judged by rules and on record before it reaches its \
            target, answers are recorded before they are released.",
    examples: "  \
  greffier keygen --origin example.org/http-1 log.key    # once; prints the key to verify with
  greffier-http --config greffier.toml --check           # every mistake at once, with its line
  greffier-http --config greffier.toml

Then, with any client, the token is the bearer:
  curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:8080/wiki/",
};

fn main() -> ExitCode {
    cli::main(&PROGRAM, handler)
}

fn handler(loaded: &Loaded, listener: &Listener, instance: &Instance) -> Option<Handler> {
    let Protocol::Http(own) = &listener.protocol else { return None };
    let proxy = http_proxy::Proxy::new(instance.gate.clone(), loaded.http_config(own));
    Some(Arc::new(move |tcp, peer, shutdown: Shutdown| {
        let proxy = proxy.clone();
        Box::pin(async move { proxy.serve(tcp, peer, shutdown.wanted()).await })
    }))
}
