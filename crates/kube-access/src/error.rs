//! Why a cluster can't be reached as configured. No message shows a credential: what a file or a
//! plugin said is left out.

use kube::config::{InClusterError, KubeconfigError};

/// Why there is no access: always the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The file can't be read.
    #[error("can't be read: {0}")]
    Read(std::io::Error),
    /// It is no kubeconfig.
    #[error("is no kubeconfig; `kubectl --kubeconfig FILE config view` says where it is wrong")]
    Malformed,
    /// It names no context, and none was asked for.
    #[error("has no current context; write `context`")]
    NoContext,
    /// It has no such context.
    #[error("has no context {name:?}; there are: {there}")]
    UnknownContext {
        /// The one that was asked for.
        name: String,
        /// Those that it has.
        there: String,
    },
    /// Its context names a cluster that it lacks.
    #[error("has no cluster {name:?}, which its context names")]
    UnknownCluster {
        /// The one that is named.
        name: String,
    },
    /// Its context names a user that it lacks.
    #[error("has no user {name:?}, which its context names")]
    UnknownUser {
        /// The one that is named.
        name: String,
    },
    /// Its cluster has no address, or none that can be used.
    #[error(
        "its cluster's `server` must be http:// or https://, a host, and perhaps a port and path"
    )]
    Server,
    /// Its cluster's `tls-server-name` is no name.
    #[error("its cluster's `tls-server-name` is no name")]
    ServerName,
    /// It says something that is not done here.
    #[error("says `{0}`, which is not followed: take it out")]
    Unfollowed(&'static str),
    /// Its credential plugin wants a terminal.
    #[error("its credential plugin says `interactiveMode: Always`, and nobody is at a terminal")]
    Interactive,
    /// A certificate or key that it names can't be read.
    #[error("its {0} can't be read")]
    Data(&'static str),
    /// Its token's file can't be read.
    #[error("its token's file can't be read: {0}")]
    TokenFile(std::io::Error),
    /// No credential came of it.
    #[error(
        "gives no credential{}",
        plugin.as_ref().map(|it| format!("; run its plugin {it:?} by hand")).unwrap_or_default()
    )]
    Credential {
        /// The credential plugin.
        plugin: Option<String>,
    },
    /// We run in no pod, or its files are missing.
    #[error("no pod's access is here: {0}")]
    InCluster(String),
}

impl AccessError {
    pub(crate) fn tls(error: kube::Error) -> Self {
        match error {
            kube::Error::InferKubeconfig(error) => error.into(),
            _ => AccessError::Data("certificates or key"),
        }
    }
}

impl From<KubeconfigError> for AccessError {
    fn from(error: KubeconfigError) -> Self {
        match error {
            KubeconfigError::ReadConfig(error, _) => AccessError::Read(error),
            KubeconfigError::CurrentContextNotSet => AccessError::NoContext,
            KubeconfigError::LoadContext(name) => {
                AccessError::UnknownContext { name, there: String::new() }
            }
            KubeconfigError::LoadClusterOfContext(name) => AccessError::UnknownCluster { name },
            KubeconfigError::MissingClusterUrl | KubeconfigError::ParseClusterUrl(_) => {
                AccessError::Server
            }
            KubeconfigError::LoadCertificateAuthority(_)
            | KubeconfigError::ParseCertificates(_) => AccessError::Data("certificate authority"),
            KubeconfigError::LoadClientCertificate(_) => AccessError::Data("client certificate"),
            KubeconfigError::LoadClientKey(_) => AccessError::Data("client key"),
            _ => AccessError::Malformed,
        }
    }
}

impl From<InClusterError> for AccessError {
    fn from(error: InClusterError) -> Self {
        AccessError::InCluster(error.to_string())
    }
}
