//! What a call asks for, as rules and the record see it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use gate::{Judgement, Session};
use kubernetes_wire::{Access as Use, Attributes, AttributesError, ExecOptions};
use mcp_wire::{Fields, Value, flatten, json};
use policy::{Access, Action, Argument, Naming, Resource};
use records::Text;

use super::{Kubernetes, secrets};

/// Resources of Kubernetes' own that are in no namespace. A call for another one without a
/// namespace may be for all of them.
const OF_THE_CLUSTER: [&str; 30] = [
    "apiservices.apiregistration.k8s.io",
    "certificatesigningrequests.certificates.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io",
    "clustertrustbundles.certificates.k8s.io",
    "componentstatuses",
    "csidrivers.storage.k8s.io",
    "csinodes.storage.k8s.io",
    "customresourcedefinitions.apiextensions.k8s.io",
    "deviceclasses.resource.k8s.io",
    "flowschemas.flowcontrol.apiserver.k8s.io",
    "ingressclasses.networking.k8s.io",
    "ipaddresses.networking.k8s.io",
    "mutatingadmissionpolicies.admissionregistration.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "namespaces",
    "nodes",
    "persistentvolumes",
    "priorityclasses.scheduling.k8s.io",
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
    "resourceslices.resource.k8s.io",
    "runtimeclasses.node.k8s.io",
    "selfsubjectaccessreviews.authorization.k8s.io",
    "selfsubjectreviews.authentication.k8s.io",
    "selfsubjectrulesreviews.authorization.k8s.io",
    "storageclasses.storage.k8s.io",
    "subjectaccessreviews.authorization.k8s.io",
    "tokenreviews.authentication.k8s.io",
    "validatingadmissionpolicies.admissionregistration.k8s.io",
    "volumeattachments.storage.k8s.io",
];

/// A call to an API server.
pub(super) struct Call {
    pub(super) attributes: Attributes,
    /// Of exec, attach and portforward.
    exec: Option<ExecOptions>,
    /// Its body; empty until it was read.
    pub(super) body: Bytes,
    /// Whether that is no object, nor a part of one, but says how to change one (RFC 6902).
    is_json_patch: bool,
}

impl Call {
    pub(super) fn read(
        method: &str,
        path: &str,
        query: Option<&str>,
        upgrade: bool,
    ) -> Result<Call, AttributesError> {
        let attributes = Attributes::of(method, path, query, upgrade)?;
        let exec = attributes.exec_request(query)?;
        Ok(Call { attributes, exec, body: Bytes::new(), is_json_patch: false })
    }

    /// Takes the body that belongs to it, and what it says that it is.
    pub(super) fn take(&mut self, body: Bytes, media: Option<&str>) {
        let media = media.and_then(|it| it.split(';').next()).unwrap_or_default().trim();
        self.is_json_patch = media.eq_ignore_ascii_case("application/json-patch+json");
        self.body = body;
    }

    /// Whether its object or its answer has values of Secrets.
    pub(super) fn is_secret(&self) -> bool {
        let Attributes { is_resource, group, resource, .. } = &self.attributes;
        *is_resource && group.is_empty() && resource == "secrets"
    }

    /// Whether it may make the connection another protocol's: only what is followed then may.
    pub(super) fn may_upgrade(&self) -> bool {
        self.exec.is_some() || self.is_proxied()
    }

    /// Whether what crosses is a connection to a port.
    pub(super) fn forwards_ports(&self) -> bool {
        self.exec.is_some() && self.attributes.subresource == "portforward"
    }

    /// Whether what crosses is the streams of a command.
    pub(super) fn has_streams(&self) -> bool {
        self.exec.is_some() && !self.forwards_ports()
    }

    /// Whether a terminal is asked for.
    pub(super) fn has_terminal(&self) -> bool {
        self.exec.as_ref().is_some_and(|it| it.tty)
    }

    /// Whether it is passed on to a node, a pod or a service.
    fn is_proxied(&self) -> bool {
        self.attributes.verb == "proxy" || self.attributes.subresource == "proxy"
    }

    /// What rules say of it, and what none can allow.
    pub(super) fn judge(&self, session: &Session, target: &Kubernetes) -> Judgement {
        let Attributes { subresource, verb, .. } = &self.attributes;
        let resource = self.resource();
        let naming = if self.is_everywhere() { Naming::Part('/') } else { Naming::Whole };
        let resources = [Resource { name: &resource, naming, access: self.access() }];
        let tree = self.object();
        let (arguments, unread) = self.arguments(tree.as_ref());
        let arguments: Vec<Argument<'_>> =
            arguments.iter().map(|(name, value)| Argument { name, value }).collect();
        let unread: Vec<&str> = unread.iter().map(AsRef::as_ref).collect();
        let operation = self.operation();
        let action = Action {
            resources: &resources,
            arguments: &arguments,
            unread: &unread,
            flags: &self.flags(),
            ..Action::plain(&operation, self.class())
        };
        let judgement = session.judge(&[action], Cow::Owned(operation.clone()), self.class());
        if self.is_proxied() && !target.proxied {
            return judgement.forbid(
                "kubernetes-proxy",
                "what is passed on to nodes, pods and services is known to nobody; \
                 `kubectl port-forward` may do",
            );
        }
        if subresource == "ephemeralcontainers" && verb != "get" && !target.ephemeral_containers {
            return judgement.forbid(
                "kubernetes-ephemeral-containers",
                "containers may not be put into running pods here",
            );
        }
        if self.is_secret() && secrets::holds_mask(&self.body) {
            return judgement.forbid(
                "kubernetes-mask",
                "the Secret holds a mask in place of a value, which would be lost: leave such \
                 values out, or write them anew",
            );
        }
        judgement
    }

    /// The object, if it can be read as one.
    fn object(&self) -> Option<Value> {
        let tree = json::parse(&self.body, json::Limits::default()).ok();
        tree.filter(|tree| !self.is_json_patch && tree.as_object().is_some())
    }

    fn operation(&self) -> String {
        match self.attributes.verb.is_empty() {
            true => self.attributes.method.to_ascii_lowercase(),
            false => self.attributes.verb.clone(),
        }
    }

    fn class(&self) -> &'static str {
        let it = &self.attributes;
        if it.is_exec_class() {
            return "exec";
        }
        if it.is_discovery() || it.is_self_review() {
            return "discovery";
        }
        match (it.is_resource, it.verb.as_str(), it.access()) {
            (_, _, Use::Read) => "read",
            (true, "create" | "update" | "patch", _) => "write",
            (true, "delete" | "deletecollection", _) => "delete",
            _ => "unknown",
        }
    }

    fn access(&self) -> Access {
        match self.attributes.access() {
            Use::Read => Access::Read,
            Use::Write => Access::Write,
        }
    }

    /// What it is about, as rules name it.
    fn resource(&self) -> String {
        let it = &self.attributes;
        match it.qualified_resource() {
            None => it.path.clone(),
            Some(resource) if it.namespace.is_empty() => resource,
            Some(resource) => format!("{}/{resource}", it.namespace),
        }
    }

    /// Whether it may be for objects of every namespace.
    fn is_everywhere(&self) -> bool {
        let Attributes { is_resource, namespace, resource, group, .. } = &self.attributes;
        let dot = if group.is_empty() { "" } else { "." };
        let whole = format!("{resource}{dot}{group}");
        *is_resource && namespace.is_empty() && !OF_THE_CLUSTER.contains(&whole.as_str())
    }

    fn flags(&self) -> Vec<&'static str> {
        let it = &self.attributes;
        // What is deleted or evicted with a body takes its options from there.
        let by_body = it.verb.starts_with("delete") || it.subresource == "eviction";
        let exec = |flag: fn(&ExecOptions) -> bool| self.exec.as_ref().is_some_and(flag);
        [
            ("dry-run", it.dry_run && (!by_body || self.body.is_empty())),
            ("watch", it.watches()),
            ("follow", it.follows_logs()),
            ("tty", exec(|it| it.tty)),
            ("stdin", exec(|it| it.stdin)),
        ]
        .into_iter()
        .filter_map(|(flag, set)| set.then_some(flag))
        .collect()
    }

    /// What rules can look at, and how the names begin of what they can't.
    fn arguments(&self, tree: Option<&Value>) -> (Vec<(String, String)>, Vec<Cow<'static, str>>) {
        let it = &self.attributes;
        let (mut all, mut unread) = (Vec::new(), Vec::new());
        let mut say = |name: &str, value: &str| all.push((name.to_owned(), value.to_owned()));
        if it.is_resource {
            say("attribute.resource", &it.resource);
            say("attribute.group", &it.group);
            say("attribute.version", &it.version);
            say("attribute.subresource", &it.subresource);
            match self.name(tree) {
                Some(name) => say("attribute.name", name),
                None => unread.push("attribute.name".into()),
            }
            match self.is_everywhere() {
                true => unread.push("attribute.namespace".into()),
                false => say("attribute.namespace", &it.namespace),
            }
        }
        if let Some(manager) = &it.field_manager {
            say("attribute.field_manager", manager);
        }
        if let Some(exec) = &self.exec {
            if !exec.command.is_empty() {
                say("exec.command", &exec.command.join(" "));
            }
            match &exec.container {
                Some(container) => say("exec.container", container),
                // The pod says which is its own.
                None => unread.push("exec.container".into()),
            }
        }
        match tree {
            Some(tree) => {
                let Fields { fields, unread: more } = flatten("object", tree);
                all.extend(fields.into_iter().map(|it| (it.name, it.value.to_owned())));
                unread.extend(more.into_iter().map(Cow::Owned));
            }
            None if self.body.is_empty() => {}
            None => unread.push("object.".into()),
        }
        (all, unread)
    }

    /// The name of the one object that it is about.
    fn name<'a>(&'a self, tree: Option<&'a Value>) -> Option<&'a str> {
        let it = &self.attributes;
        match it.verb.as_str() {
            // One that a selector names may be there among others.
            "list" | "watch" | "deletecollection" => None,
            _ if !it.name.is_empty() => Some(&it.name),
            "create" => tree?.as_object()?.get("metadata")?.as_object()?.get("name")?.as_str(),
            _ => None,
        }
    }

    /// What the record says of it beside its line.
    pub(super) fn tell<'d>(&self, details: &mut BTreeMap<Cow<'d, str>, Text<'d>>) {
        let it = &self.attributes;
        let mut say = |name: &'static str, value: &str| {
            if !value.is_empty() {
                details.insert(name.into(), value.to_owned().into());
            }
        };
        if it.is_resource {
            say("verb", &it.verb);
            say("group", &it.group);
            say("version", &it.version);
            say("namespace", &it.namespace);
            say("resource", &it.resource);
            say("subresource", &it.subresource);
            say("name", &it.name);
        }
        say("field_manager", it.field_manager.as_deref().unwrap_or_default());
        say("dry_run", if self.flags().contains(&"dry-run") { "All" } else { "" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &str, url: &str) -> Call {
        let (path, query) = match url.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (url, None),
        };
        Call::read(method, path, query, false).unwrap()
    }

    #[test]
    fn calls_have_the_names_that_kubectl_gives_them() {
        for (method, url, class, resource) in [
            ("GET", "/api/v1/namespaces/prod/secrets/db", "read", "prod/secrets"),
            ("GET", "/api/v1/secrets", "read", "secrets"),
            ("POST", "/apis/apps/v1/namespaces/prod/deployments", "write", "prod/deployments.apps"),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/prod/deployments/web/scale",
                "write",
                "prod/deployments.apps/scale",
            ),
            ("DELETE", "/api/v1/namespaces/prod", "delete", "prod/namespaces"),
            ("GET", "/api/v1/namespaces/prod/pods/web/exec", "exec", "prod/pods/exec"),
            ("GET", "/api/v1/nodes/n1/proxy/run/x", "exec", "nodes/proxy"),
            ("GET", "/apis/apps/v1", "discovery", "/apis/apps/v1"),
            ("GET", "/metrics", "read", "/metrics"),
            ("POST", "/metrics", "unknown", "/metrics"),
            (
                "POST",
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                "discovery",
                "selfsubjectaccessreviews.authorization.k8s.io",
            ),
        ] {
            let call = call(method, url);
            assert_eq!((call.class(), &*call.resource()), (class, resource), "{method} {url}");
        }
    }

    #[test]
    fn what_may_be_everywhere_is() {
        assert!(call("GET", "/api/v1/secrets").is_everywhere());
        assert!(call("GET", "/apis/example.org/v1/widgets").is_everywhere());
        assert!(!call("GET", "/api/v1/nodes").is_everywhere());
        assert!(!call("GET", "/api/v1/namespaces/x/secrets").is_everywhere());
        assert!(!call("GET", "/version").is_everywhere());
    }

    #[test]
    fn what_is_created_has_the_name_that_its_object_says() {
        let mut create = call("POST", "/api/v1/namespaces/x/configmaps?fieldManager=kubectl");
        let object = Bytes::from_static(br#"{"metadata":{"name":"c"},"data":{"a":"b"}}"#);
        create.take(object, Some("application/json"));
        let (all, unread) = create.arguments(create.object().as_ref());
        let find = |name: &str| all.iter().find(|it| it.0 == name).map(|it| it.1.as_str());
        assert_eq!(find("attribute.name"), Some("c"));
        assert_eq!(find("attribute.namespace"), Some("x"));
        assert_eq!(find("attribute.field_manager"), Some("kubectl"));
        assert_eq!(find("object.data.a"), Some("b"));
        assert!(unread.is_empty());
        // What can't be read may be anything.
        create.take(Bytes::from_static(b"k8s\0..."), Some("application/vnd.kubernetes.protobuf"));
        assert!(create.object().is_none());
        assert_eq!(create.arguments(None).1, ["attribute.name", "object."]);
        let mut patch = call("PATCH", "/api/v1/namespaces/x/pods/p");
        let how = br#"[{"op":"add","path":"/spec/containers/0/image","value":"evil"}]"#;
        patch.take(Bytes::from_static(how), Some("application/json-patch+json; charset=utf-8"));
        assert_eq!(patch.arguments(patch.object().as_ref()).1, ["object."]);
        let list = call("GET", "/api/v1/namespaces/x/configmaps?fieldSelector=metadata.name%3Dc");
        assert_eq!(list.arguments(None).1, ["attribute.name"]);
    }

    #[test]
    fn a_dry_run_is_one_only_if_the_server_takes_it_for_one() {
        let url = "/api/v1/namespaces/x/pods/p?dryRun=All";
        assert_eq!(call("PATCH", url).flags(), ["dry-run"]);
        let mut delete = call("DELETE", url);
        assert_eq!(delete.flags(), ["dry-run"]);
        delete.take(Bytes::from_static(b"{}"), None);
        assert!(delete.flags().is_empty());
    }
}
