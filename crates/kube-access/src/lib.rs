//! Where a cluster is, and who we are to it: a context of a kubeconfig, or the account of the pod
//! that we run in. Files are read, and credential plugins run, by the crate `kube`.
//!
//! A credential that changes while the program runs (a file, a plugin whose token expires) is asked
//! for before each request by [`Authorization::current`], which has it at hand most of the time.
//!
//! What weakens the connection is refused, not followed: `insecure-skip-tls-verify`, `proxy-url`,
//! `as`; and a plugin is never asked to speak with somebody at a terminal. A plugin that gives a
//! certificate in place of a token is asked once, at start.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let access = kube_access::Access::of_kubeconfig("prod.kubeconfig".as_ref(), Some("prod"))?;
//! println!("{}", access.url);
//! if let Some(authorization) = &access.authorization {
//!     let field = authorization.current().await?; // Bearer …
//! }
//! # Ok(())
//! # }
//! ```

mod authorization;
mod error;

pub use authorization::{
    ASK_TIMEOUT, Authorization, AuthorizationError, HELD, RETRY_AFTER, USED_ON,
};
pub use error::AccessError;

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use http::Uri;
use kube::Config;
use kube::client::ConfigExt as _;
use kube::config::{ExecInteractiveMode, Kubeconfig};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;

use crate::authorization::Source;

/// How a cluster's API server is reached.
#[derive(Debug)]
pub struct Access {
    /// `http` or `https`, a host, perhaps a port and a path.
    pub url: Uri,
    /// Whom to trust, and who we are by certificate. None: the address is not `https`.
    pub tls: Option<Arc<ClientConfig>>,
    /// The name in its certificate, if that is not its address.
    pub server_name: Option<ServerName<'static>>,
    /// What it is shown with each request. None: a certificate, or nothing.
    pub authorization: Option<Authorization>,
}

impl Access {
    /// As a kubeconfig says, by its context of this name or by its current one. Relative paths in
    /// it are relative to it. Blocks while a credential plugin runs, for [`ASK_TIMEOUT`] at most.
    ///
    /// # Errors
    /// [`AccessError`]: none shows what the file holds.
    pub fn of_kubeconfig(file: &Path, context: Option<&str>) -> Result<Access, AccessError> {
        let mut kubeconfig = Kubeconfig::read_from(file)?;
        if let Some(context) = context {
            kubeconfig.current_context = Some(context.to_owned());
        }
        check(&mut kubeconfig)?;
        let config = Config::try_from(kubeconfig)?;
        let plugin = config.auth_info.exec.as_ref().and_then(|it| it.command.clone());
        // A plugin may never end: it keeps this thread then, and nobody else.
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || drop(tell.send(Access::of(config))));
        told.recv_timeout(ASK_TIMEOUT).unwrap_or(Err(AccessError::Credential { plugin }))
    }

    /// As a pod's environment and its service account's files say.
    ///
    /// # Errors
    /// [`AccessError::InCluster`] outside of a pod.
    pub fn in_cluster() -> Result<Access, AccessError> {
        Access::of(Config::incluster()?)
    }

    fn of(config: Config) -> Result<Access, AccessError> {
        let plugin = config.auth_info.exec.as_ref().and_then(|it| it.command.clone());
        // The library takes the process's provider. There is one.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let tls = match config.cluster_url.scheme_str() {
            Some("https") => {
                Some(Arc::new(config.rustls_client_config().map_err(AccessError::tls)?))
            }
            Some("http") => None,
            _ => return Err(AccessError::Server),
        };
        let server_name = config.tls_server_name.clone().map(ServerName::try_from);
        let server_name = server_name.transpose().map_err(|_| AccessError::ServerName)?;
        let auth = &config.auth_info;
        let source = match (&auth.token, &auth.token_file) {
            (None, Some(file)) => Some(Source::file(PathBuf::from(file))?),
            _ => {
                let asked = config.auth_layer();
                asked.map_err(|_| AccessError::Credential { plugin })?.map(Source::layer)
            }
        };
        let authorization = source.map(Authorization::new);
        Ok(Access { url: config.cluster_url, tls, server_name, authorization })
    }
}

/// Refuses what can't be followed, of the context that counts.
fn check(kubeconfig: &mut Kubeconfig) -> Result<(), AccessError> {
    let name = kubeconfig.current_context.clone().ok_or(AccessError::NoContext)?;
    let context = kubeconfig.contexts.iter().find(|it| it.name == name);
    let Some(context) = context.and_then(|it| it.context.clone()) else {
        let there: Vec<&str> = kubeconfig.contexts.iter().map(|it| it.name.as_str()).collect();
        return Err(AccessError::UnknownContext { name, there: there.join(", ") });
    };
    let cluster = kubeconfig.clusters.iter().find(|it| it.name == context.cluster);
    let Some(cluster) = cluster.and_then(|it| it.cluster.as_ref()) else {
        return Err(AccessError::UnknownCluster { name: context.cluster });
    };
    if cluster.insecure_skip_tls_verify == Some(true) {
        return Err(AccessError::Unfollowed("insecure-skip-tls-verify"));
    }
    if cluster.proxy_url.is_some() {
        return Err(AccessError::Unfollowed("proxy-url"));
    }
    let Some(user) = context.user else { return Ok(()) };
    let auth = kubeconfig.auth_infos.iter_mut().find(|it| it.name == user);
    let Some(auth) = auth.and_then(|it| it.auth_info.as_mut()) else {
        return Err(AccessError::UnknownUser { name: user });
    };
    if auth.impersonate.is_some() || auth.impersonate_uid.is_some() {
        return Err(AccessError::Unfollowed("as"));
    }
    if auth.impersonate_groups.is_some() || auth.impersonate_user_extra.is_some() {
        return Err(AccessError::Unfollowed("as-groups"));
    }
    if let Some(exec) = &mut auth.exec {
        if exec.interactive_mode == Some(ExecInteractiveMode::Always) {
            return Err(AccessError::Interactive);
        }
        exec.interactive_mode = Some(ExecInteractiveMode::Never);
    }
    Ok(())
}
