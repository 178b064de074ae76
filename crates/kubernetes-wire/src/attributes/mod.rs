//! What a request asks of the Kubernetes API, told from its method and its URL.

mod error;
mod exec;
mod path;

pub use error::AttributesError;
pub use exec::ExecOptions;
pub use path::MAX_PATH_BYTES;

use crate::query::Query;

/// The longest method, bytes.
pub const MAX_METHOD_BYTES: usize = 32;
/// Subresources that run something, or reach through the API to something behind it.
const EXEC_SUBRESOURCES: [&str; 4] = ["exec", "attach", "portforward", "proxy"];
/// Parameters that Kubernetes reads once.
const SINGLE: [&str; 16] = [
    "watch",
    "dryRun",
    "fieldManager",
    "fieldSelector",
    "labelSelector",
    "limit",
    "timeoutSeconds",
    "sendInitialEvents",
    "allowWatchBookmarks",
    "propagationPolicy",
    "container",
    "stdin",
    "stdout",
    "stderr",
    "tty",
    "follow",
];

/// Whether a request may change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// It only reads.
    Read,
    /// It may change, run or reach something. Whatever is not known counts as this.
    Write,
}

/// What a request asks, in the words of the API server's own authorization.
///
/// The fields are those of `RequestInfo` in k8s.io/apiserver 1.36
/// (`pkg/endpoints/request/requestinfo.go`, `/api` and `/apis` being its prefixes), with the same
/// values, but for requests that are refused here: see [`AttributesError`]. One more difference: a
/// label selector is not parsed. With one that Kubernetes can't read, [`name`](Self::name) may be
/// set where Kubernetes has none; it answers such a request with a 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// The HTTP method as it came.
    pub method: String,
    /// The path, decoded.
    pub path: String,
    /// Whether it is about a resource. If not, only [`method`](Self::method), `path`, `verb`
    /// and perhaps `api_prefix` say anything.
    pub is_resource: bool,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or
    /// `proxy` (only of the old paths `/api/v1/proxy/...`). Of other methods on a resource it is
    /// empty. Of anything but a resource it is the method in small letters.
    pub verb: String,
    /// `api` or `apis`.
    pub api_prefix: String,
    /// The group; empty for the core group.
    pub group: String,
    /// The version, such as `v1`.
    pub version: String,
    /// The namespace; empty if none is named. Of a namespace itself it is its name.
    pub namespace: String,
    /// The resource as it came, such as `pods`.
    pub resource: String,
    /// The subresource, such as `exec`; empty if there is none.
    pub subresource: String,
    /// The name; empty if none is in the URL. A list or watch has one if its field selector
    /// asks for one by `metadata.name=`.
    pub name: String,
    /// The path from the resource on: resource, name, subresource, and what follows it.
    pub parts: Vec<String>,
    /// The field selector of a list, watch or deletecollection, unparsed. Not of the old paths
    /// `/api/v1/watch/...`.
    pub field_selector: String,
    /// The label selector, likewise.
    pub label_selector: String,
    /// Whether the query asks for `dryRun=All` of a verb that knows it: create, update, patch,
    /// delete or deletecollection, and not of [`is_exec_class`](Self::is_exec_class) requests,
    /// which run all the same. Mind: a delete or an eviction with a body takes its options from
    /// there and *not* from the query, and a server behind an APIService may know no dry run.
    pub dry_run: bool,
    /// `fieldManager`: who claims the fields that are written.
    pub field_manager: Option<String>,
    /// Whether the request asks for another protocol (`Connection: Upgrade`), as given.
    pub upgrade: bool,
    /// `follow` of a read of logs.
    follow: bool,
}

impl Attributes {
    /// Reads a request line. `path` and `query` are those of the request target as they came,
    /// still escaped; `query` without its `?`. `upgrade` says whether the request asks for
    /// another protocol.
    ///
    /// # Errors
    /// Whatever two readers may take for different requests, and what Kubernetes refuses as well:
    /// the client's fault, a 400.
    pub fn of(
        method: &str,
        path: &str,
        query: Option<&str>,
        upgrade: bool,
    ) -> Result<Self, AttributesError> {
        let letter = |it: u8| it.is_ascii_uppercase() || it == b'-';
        if method.is_empty() || method.len() > MAX_METHOD_BYTES || !method.bytes().all(letter) {
            return Err(AttributesError::Method);
        }
        let (path, segments) = path::split(path)?;
        let query = Query::parse(query)?;
        query.check_single(&SINGLE)?;
        let mut this = Self::nothing(method, path);
        this.upgrade = upgrade;
        let by_path = this.read_path(&segments)?;
        if this.is_resource {
            this.read_query(&query, by_path);
        }
        Ok(this)
    }

    fn nothing(method: &str, path: String) -> Self {
        Self {
            method: method.to_owned(),
            path,
            is_resource: false,
            verb: method.to_ascii_lowercase(),
            api_prefix: String::new(),
            group: String::new(),
            version: String::new(),
            namespace: String::new(),
            resource: String::new(),
            subresource: String::new(),
            name: String::new(),
            parts: Vec::new(),
            field_selector: String::new(),
            label_selector: String::new(),
            dry_run: false,
            field_manager: None,
            upgrade: false,
            follow: false,
        }
    }

    fn read_query(&mut self, query: &Query, by_path: bool) {
        if self.verb == "get" && self.name.is_empty() {
            self.verb = if query.flag("watch") { "watch" } else { "list" }.to_owned();
            self.name = name_by_selector(query).unwrap_or_default();
        } else if self.verb == "delete" && self.name.is_empty() {
            self.verb = "deletecollection".to_owned();
        }
        if !by_path && matches!(self.verb.as_str(), "list" | "watch" | "deletecollection") {
            let first = |key| query.first(key).unwrap_or_default().to_owned();
            self.field_selector = first("fieldSelector");
            self.label_selector = first("labelSelector");
        }
        self.dry_run =
            query.first("dryRun") == Some("All") && self.changes() && !self.is_exec_class();
        self.field_manager = query.first("fieldManager").map(str::to_owned);
        self.follow = query.flag("follow");
    }

    fn changes(&self) -> bool {
        ["create", "update", "patch", "delete", "deletecollection"].contains(&self.verb.as_str())
    }

    fn reads(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD")
    }

    /// Whether it runs something, or opens a way through the API to something behind it, whatever
    /// its method (a WebSocket's exec is a GET): the subresources `exec`, `attach`, `portforward`
    /// and `proxy` of any resource of any group (`nodes/proxy` reaches a kubelet's own exec),
    /// writes of `pods/ephemeralcontainers`, the old paths `/api/v1/proxy/...`, and each upgrade
    /// of a resource that is neither a watch nor a read of logs, since nobody can say what it
    /// opens.
    #[must_use]
    pub fn is_exec_class(&self) -> bool {
        self.is_resource
            && (self.verb == "proxy"
                || EXEC_SUBRESOURCES.contains(&self.subresource.as_str())
                || self.subresource == "ephemeralcontainers" && !self.reads()
                || self.upgrade && !self.watches() && !self.is_logs())
    }

    /// Whether it may change anything. To read is to come by GET or HEAD (or, of something that
    /// is no resource, by OPTIONS) and not to be [`is_exec_class`](Self::is_exec_class).
    #[must_use]
    pub fn access(&self) -> Access {
        let known = match self.is_resource {
            true => matches!(self.verb.as_str(), "get" | "list" | "watch") && self.reads(),
            false => (self.reads() || self.method == "OPTIONS") && !self.upgrade,
        };
        if known && !self.is_exec_class() { Access::Read } else { Access::Write }
    }

    /// Whether a client only learns what API there is, and how the server is: `/`, `/api`,
    /// `/api/VERSION`, `/apis`, `/apis/GROUP`, `/apis/GROUP/VERSION`, `/openapi/...`, `/version`,
    /// `/healthz`, `/livez`, `/readyz`, with a slash at the end or without, by GET or HEAD. A
    /// client asks these before each command; nobody should be asked to approve them.
    #[must_use]
    pub fn is_discovery(&self) -> bool {
        if self.is_resource || self.upgrade || !self.reads() {
            return false;
        }
        let mut segments = self.path.split('/').filter(|it| !it.is_empty());
        let first = segments.next().unwrap_or_default();
        let more = segments.count();
        match first {
            "" => true,
            "api" => more <= 1,
            "apis" => more <= 2,
            "openapi" => true,
            "version" | "healthz" | "livez" | "readyz" => more == 0,
            _ => false,
        }
    }

    /// Whether the caller asks only about itself: a create of `selfsubjectaccessreviews`,
    /// `selfsubjectrulesreviews` (authorization.k8s.io) or `selfsubjectreviews`
    /// (authentication.k8s.io), as `kubectl auth can-i` and `whoami` do. To Kubernetes these are
    /// creates, so [`access`](Self::access) says write, though nothing is kept.
    #[must_use]
    pub fn is_self_review(&self) -> bool {
        let what = (self.group.as_str(), self.resource.as_str());
        self.verb == "create"
            && self.subresource.is_empty()
            && matches!(
                what,
                ("authorization.k8s.io", "selfsubjectaccessreviews" | "selfsubjectrulesreviews")
                    | ("authentication.k8s.io", "selfsubjectreviews")
            )
    }

    /// Whether the answer is a stream of events that ends only by and by.
    #[must_use]
    pub fn watches(&self) -> bool {
        self.is_resource && self.verb == "watch"
    }

    /// Whether it reads a container's logs as they are written (`kubectl logs -f`).
    #[must_use]
    pub fn follows_logs(&self) -> bool {
        self.is_logs() && self.reads() && self.follow
    }

    fn is_logs(&self) -> bool {
        self.is_resource
            && self.group.is_empty()
            && self.resource == "pods"
            && self.subresource == "log"
    }

    /// The resource as kubectl writes it: `pods`, `pods/exec`, `deployments.apps/scale`. None if
    /// it is no resource.
    #[must_use]
    pub fn qualified_resource(&self) -> Option<String> {
        if !self.is_resource {
            return None;
        }
        let mut out = self.resource.clone();
        for (mark, part) in [('.', &self.group), ('/', &self.subresource)] {
            if !part.is_empty() {
                out.push(mark);
                out.push_str(part);
            }
        }
        Some(out)
    }

    /// What is asked, in two words: `create deployments.apps/scale`, `list pods`, `get /version`.
    /// Where Kubernetes has no verb, the method in small letters stands for it.
    #[must_use]
    pub fn operation(&self) -> String {
        let method = self.method.to_ascii_lowercase();
        let verb = if self.verb.is_empty() { &method } else { &self.verb };
        let what = self.qualified_resource();
        format!("{verb} {}", what.as_deref().unwrap_or(&self.path))
    }

    /// The path that rules match by globs: `GROUP/RESOURCE` or `GROUP/RESOURCE/SUBRESOURCE`, the
    /// core group written `core`: `core/pods/exec`, `apps/deployments`. So `core/secrets` is never
    /// a group's own `secrets`, each place has one meaning, and neither the version, of which one
    /// object has several, nor who the object is plays a part: match
    /// [`namespace`](Self::namespace) and [`name`](Self::name) beside it. None if it is no
    /// resource: match [`path`](Self::path) then.
    #[must_use]
    pub fn resource_path(&self) -> Option<String> {
        if !self.is_resource {
            return None;
        }
        let group = if self.group.is_empty() { "core" } else { &self.group };
        let mut out = format!("{group}/{}", self.resource);
        if !self.subresource.is_empty() {
            out.push('/');
            out.push_str(&self.subresource);
        }
        Some(out)
    }

    /// What an exec, attach or portforward of a pod asks for; none of any other request. `query`
    /// is that of [`of`](Self::of).
    ///
    /// # Errors
    /// A query that can't be read, or a port that is none: the client's fault.
    pub fn exec_request(
        &self,
        query: Option<&str>,
    ) -> Result<Option<ExecOptions>, AttributesError> {
        let known = ["exec", "attach", "portforward"].contains(&self.subresource.as_str());
        if !self.is_resource || !self.group.is_empty() || self.resource != "pods" || !known {
            return Ok(None);
        }
        let query = Query::parse(query)?;
        query.check_single(&SINGLE)?;
        ExecOptions::of(&query).map(Some)
    }
}

impl std::fmt::Display for Attributes {
    /// [`operation`](Attributes::operation).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.operation())
    }
}

/// The name that a list or watch asks for. Kubernetes takes none if any of the list's options
/// can't be read.
fn name_by_selector(query: &Query) -> Option<String> {
    let number = |key| query.first(key).is_none_or(|it| it.parse::<i64>().is_ok());
    if !number("limit") || !number("timeoutSeconds") {
        return None;
    }
    let name = crate::query::required_name(query.first("fieldSelector")?).ok()??;
    let is_name = name != "." && name != ".." && !name.contains(['/', '%']);
    is_name.then_some(name)
}
