//! API servers of Kubernetes: each call is a command, made in the caller's own name.
//!
//! A call's path and query are read as the API server reads them (`kubernetes_wire`), judged by
//! verb, resource and fields of the object, put on record, and forwarded with our own credential
//! and `Impersonate-*` fields: the cluster's RBAC decides for the caller, and its audit log names
//! the caller and our session. Refusals are a `Status`, which kubectl prints.
//!
//! Values of Secrets are masked in every answer that has some; what holds such a mask is not let
//! back in.

mod acting;
mod call;
mod helm;
mod impersonate;
mod levels;
mod operations;
mod ports;
mod refusal;
mod relay;
mod review;
mod scope;
mod secrets;
mod sent;
mod streams;

pub(crate) use call::CallError;
pub(crate) use impersonate::NameError;
pub use levels::{Level, Levels};
pub use operations::OPERATIONS;
pub(crate) use ports::PortError;
pub(crate) use refusal::refusal;
pub(crate) use relay::Answers;
pub use secrets::{MASK, mask_rules, token_rules};
pub use stdio_recorder::RecordInput;
pub(crate) use streams::{Garbled, Progress, Streams};

use std::sync::Arc;

use masking::{Policy, RuleConfig};
use policy::Vocabulary;

/// The protocol's name in rules and records.
pub const PROTOCOL: &str = "kubernetes";

/// The classes of calls. `discovery` shows what an API has; `read`, `write` and `delete` are what
/// the verb does; `exec` runs something in a cluster, or speaks with what runs there: `exec`,
/// `attach`, `portforward`, ephemeral containers, and `proxy`, by whatever method. Who acts as
/// somebody else does a second thing, of class and operation `impersonate`, with resources
/// `users/NAME`, `groups/NAME`, `serviceaccounts/NAMESPACE/NAME`, `uids/UID`, `userextras/KEY/VALUE`.
///
/// A resource is `NAMESPACE/RESOURCE.GROUP/SUBRESOURCE`, as far as it has them: `prod/secrets`,
/// `prod/deployments.apps/scale`, `nodes/proxy`; of a path that is no resource's, the path. A call
/// for all namespaces names none, so a deny rule for any namespace matches it.
///
/// Arguments: `attribute.does`, one of [`OPERATIONS`] if the call is one; `attribute.port`, of `portforward`; `attribute.name` and
/// `attribute.namespace` (unread where a call may be for more than one), `attribute.resource`, `.group`, `.version`, `.subresource`, `.field_manager`; of exec
/// `exec.command`, its words joined by blanks, and `exec.container`; fields of the object as
/// `object.spec.replicas`. The flag `unread` says that there is an object that can't be read.
pub const VOCABULARY: Vocabulary = Vocabulary {
    protocol: PROTOCOL,
    classes: &["discovery", "read", "write", "delete", "exec", "impersonate", "unknown"],
    operations: &[],
    flags: &["dry-run", "watch", "follow", "tty", "stdin", "unread"],
    calls: false,
    arguments: &["attribute.", "exec.", "object."],
};

/// The target's rules for masking, and before them those for values that Kubernetes keeps.
#[derive(Debug, Clone)]
pub struct Masks {
    /// Where there are Secrets: [`mask_rules`].
    pub secrets: Arc<Policy>,
    /// In errors where there are Secrets: [`mask_rules`] of errors.
    pub errors: Arc<Policy>,
    /// Where there are tokens: [`token_rules`].
    pub tokens: Arc<Policy>,
}

impl Masks {
    /// By what makes rules of these and those that are the target's: those of Kubernetes first.
    ///
    /// # Errors
    /// What `compile` says, of the first that it can't make.
    pub fn new<E>(
        in_clear: bool,
        compile: impl Fn(Vec<RuleConfig>) -> Result<Arc<Policy>, E>,
    ) -> Result<Masks, E> {
        Ok(Masks {
            secrets: compile(mask_rules(in_clear, false))?,
            errors: compile(mask_rules(in_clear, true))?,
            tokens: compile(token_rules())?,
        })
    }
}

/// What is particular to a target that is an API server of Kubernetes.
#[derive(Debug, Clone)]
pub struct Kubernetes {
    /// What is masked.
    pub masks: Masks,
    /// The same of Helm's releases, if clients are to see them though they are Secrets.
    pub releases: Option<Masks>,
    /// What stands before a subject to make it a user's name: `oidc:`. In it, `{issuer}` stands for
    /// the `iss` of the token: two issuers may have the same subject. What then begins with
    /// `system:` is refused: those names are the cluster's own.
    pub user_prefix: String,
    /// The same for groups.
    pub group_prefix: String,
    /// How much of which calls is kept; none: all of every call.
    pub levels: Option<Levels>,
    /// Whether clients may say whom they act as (`Impersonate-*`, `kubectl --as`), if rules let them
    /// and the cluster's RBAC would.
    pub impersonation: bool,
    /// Whether requests may be passed on to nodes, pods and services (`nodes/proxy` …): what they
    /// do there, the API server does not know, nor do we.
    pub proxied: bool,
    /// Whether containers may be put into running pods (`pods/ephemeralcontainers`).
    pub ephemeral_containers: bool,
    /// Which keystrokes of a terminal (`exec -it`) are kept. What is typed where no echo is sure
    /// to pass (`attach -it`) is kept before it passes, but with [`RecordInput::None`].
    pub record_input: RecordInput,
    /// Whether what terminals show is masked for the client too, one `*` for each column. What a
    /// command without a terminal says always is.
    pub mask_terminal: bool,
}

impl Kubernetes {
    /// One whose users and groups are named as in their tokens, and where nothing is passed on to
    /// nodes, pods and services.
    #[must_use]
    pub fn new(masks: Masks) -> Self {
        Kubernetes {
            masks,
            releases: None,
            user_prefix: String::new(),
            group_prefix: String::new(),
            levels: None,
            impersonation: false,
            proxied: false,
            ephemeral_containers: false,
            record_input: RecordInput::default(),
            mask_terminal: false,
        }
    }
}
