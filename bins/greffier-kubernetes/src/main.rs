//! The proxy for Kubernetes, launched from a shell. See `--help`.

use std::process::ExitCode;
use std::sync::Arc;

use config::serve::{Handler, Shutdown};
use config::{Instance, Listener, Loaded, Protocol};

const PROGRAM: cli::Program = cli::Program {
    name: "greffier-kubernetes",
    version: env!("CARGO_PKG_VERSION"),
    about: "A proxy for API servers of Kubernetes that puts a name on every call: clients show an \
            OIDC token as bearer, every call is judged by rules and on record before it reaches \
            its cluster, which is told the caller's own name. Values of Secrets are masked.",
    examples: "  \
  greffier keygen --origin example.org/kube-1 log.key    # once; prints the key to verify with
  greffier-kubernetes --config greffier.toml --check     # every mistake at once, with its line
  greffier-kubernetes --config greffier.toml

Then, with any client, the token is the bearer:
  kubectl --server https://kube.example.org --token \"$TOKEN\" get pods",
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
