//! `greffier kubeconfig`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};

use crate::error::Error;
use crate::own::{at_home, read};
use crate::token;

/// What `--help` adds at its end.
const AFTER_HELP: &str = "\
Examples:
  greffier kubeconfig prod --server https://kube.example.org --token-file ~/.token > ~/.kube/prod
  greffier kubeconfig prod --server https://kube.example.org/clusters/prod \\
      --issuer https://login.example.org --client-id greffier-cli > ~/.kube/prod
  KUBECONFIG=~/.kube/prod kubectl get pods

The file holds no secret: kubectl asks `greffier token` whenever it needs one.";

/// Prints a kubeconfig for a cluster behind greffier-kubernetes.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// The cluster's name there: the target's.
    target: String,

    /// The proxy's address, with the path that leads to the target, if it has one.
    #[arg(long, value_name = "URL")]
    server: String,

    /// The authority of the proxy's certificate, a PEM file; without it those that your system
    /// trusts.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// The namespace that kubectl works in unless it is told otherwise.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,

    #[command(flatten)]
    from: token::Source,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let config = config(arguments)?;
    let mut out = std::io::stdout().lock();
    // JSON is YAML, which is what kubectl reads.
    writeln!(out, "{config:#}").and_then(|()| out.flush()).map_err(Error::Output)?;
    Ok(ExitCode::SUCCESS)
}

fn config(arguments: &Arguments) -> Result<Value, Error> {
    let name = &arguments.target;
    if !arguments.server.starts_with("https://") {
        let server = &arguments.server;
        let message = format!("--server {server}: must be https, or kubectl sends no token");
        return Err(Error::Argument(message));
    }
    let mut cluster = json!({"server": arguments.server});
    if let Some(file) = &arguments.ca {
        let pem = read(&at_home(file)?)
            .map_err(|error| Error::Argument(format!("{}: {error}", file.display())))?;
        put(&mut cluster, "certificate-authority-data", STANDARD.encode(pem));
    }
    let mut context = json!({"cluster": name, "user": name});
    if let Some(namespace) = &arguments.namespace {
        put(&mut context, "namespace", namespace.clone());
    }
    let from = &arguments.from;
    let mut words = vec!["token".to_owned()];
    let mut option = |name: &str, value: Option<&str>| {
        words.extend(
            value.map(|value| [format!("--{name}"), value.to_owned()]).into_iter().flatten(),
        );
    };
    let file = from.token_file.as_ref().map(|file| {
        if file == Path::new("-") {
            let message = "--token-file -: kubectl's standard input is for what it runs";
            return Err(Error::Argument(message.into()));
        }
        // kubectl is started anywhere; `~/` is understood later.
        let whole =
            if file.starts_with("~") { Ok(file.clone()) } else { std::path::absolute(file) };
        let whole = whole.map_err(|error| Error::Argument(error.to_string()))?;
        Ok(whole.to_string_lossy().into_owned())
    });
    let file = file.transpose()?;
    option("token-file", file.as_deref());
    option("issuer", from.issuer.as_deref());
    option("client-id", from.client_id.as_deref());
    option("resource", from.resource.as_deref());
    from.scopes.iter().for_each(|scope| option("scope", Some(scope)));
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "command": "greffier", "args": words,
        "interactiveMode": "Never",
        "installHint": "greffier is the command of the proxy that this cluster is behind",
    });
    Ok(json!({
        "apiVersion": "v1", "kind": "Config", "current-context": name, "preferences": {},
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"exec": exec}}],
        "contexts": [{"name": name, "context": context}],
    }))
}

fn put(object: &mut Value, name: &str, value: String) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value.into());
    }
}
