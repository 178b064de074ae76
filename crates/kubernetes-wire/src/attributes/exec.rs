//! What `kubectl exec`, `attach` and `port-forward` ask for.

use super::AttributesError;
use crate::query::Query;

/// The query of an exec, attach or portforward (`PodExecOptions`, `PodAttachOptions` and
/// `PodPortForwardOptions` of k8s.io/api). No flag that is not given is true.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ExecOptions {
    /// The command and its arguments, not for a shell. Only of an exec.
    pub command: Vec<String>,
    /// The container; none means the pod's default.
    pub container: Option<String>,
    /// Whether the client sends input.
    pub stdin: bool,
    /// Whether the client wants output.
    pub stdout: bool,
    /// Whether the client wants errors as a stream of their own.
    pub stderr: bool,
    /// Whether the command gets a terminal.
    pub tty: bool,
    /// The ports of a portforward. Over SPDY they come as headers of streams instead.
    pub ports: Vec<u16>,
}

// A command may hold a password.
impl std::fmt::Debug for ExecOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecOptions")
            .field("words", &self.command.len())
            .field("container", &self.container)
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .field("tty", &self.tty)
            .field("ports", &self.ports)
            .finish()
    }
}

impl ExecOptions {
    pub(super) fn of(query: &Query) -> Result<Self, AttributesError> {
        let ports = query.all("ports").flat_map(|it| it.split(','));
        Ok(Self {
            command: query.all("command").map(str::to_owned).collect(),
            container: query.first("container").filter(|it| !it.is_empty()).map(str::to_owned),
            stdin: query.flag("stdin"),
            stdout: query.flag("stdout"),
            stderr: query.flag("stderr"),
            tty: query.flag("tty"),
            ports: ports.map(port).collect::<Result<_, _>>()?,
        })
    }
}

/// Go takes no sign here, Rust would.
fn port(text: &str) -> Result<u16, AttributesError> {
    let digits = text.bytes().all(|it| it.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(AttributesError::Port)
}
