//! The SSH proxy, launched from a shell. See `--help`.

use std::process::ExitCode;
use std::sync::Arc;

use config::serve::{Handler, Shutdown};
use config::{Instance, Listener, Loaded, Protocol};

const PROGRAM: cli::Program = cli::Program {
    name: "greffier-ssh",
    version: env!("CARGO_PKG_VERSION"),
    about: "A proxy for SSH that puts a name on every command: clients log in with an OIDC token, \
            every channel is judged by rules and on record before it reaches the server, answers \
            are masked.",
    examples: "  \
  greffier keygen --origin example.org/ssh-1 log.key     # once; prints the key to verify with
  ssh-keygen -t ed25519 -N '' -f host_key                # once; what clients know the proxy by
  greffier-ssh --config greffier.toml --check            # every mistake at once, with its line
  greffier-ssh --config greffier.toml

Then, with any client; the user name says who to be and where, the token is the password:
  ssh -p 2222 deploy+web1@127.0.0.1",
};

fn main() -> ExitCode {
    cli::main(&PROGRAM, handler)
}

fn handler(loaded: &Loaded, listener: &Listener, instance: &Instance) -> Option<Handler> {
    let Protocol::Ssh(own) = &listener.protocol else { return None };
    let proxy = ssh::Proxy::new(instance.gate.clone(), loaded.ssh_config(own));
    Some(Arc::new(move |tcp, peer, shutdown: Shutdown| {
        let proxy = proxy.clone();
        Box::pin(async move { proxy.serve(tcp, peer, shutdown.wanted()).await })
    }))
}
