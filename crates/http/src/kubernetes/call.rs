//! What a call asks for, as rules and the record see it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use gate::{Judgement, Session};
use kubernetes_wire::{Access as Use, Attributes, AttributesError, ExecOptions};
use mcp_wire::{Fields, Value, flatten};
use policy::{Access, Action, Argument, Naming, Resource};
use records::Text;

use super::acting::Wanted;
use super::operations::Does;
use super::scope::is_of_the_cluster;
use super::sent::Sent;
use super::{Kubernetes, Level, Levels, helm, secrets};

/// A port of a pod, to rules.
const PORT: &str = "attribute.port";

/// Why a call is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Attributes(#[from] AttributesError),
    #[error("another API lies behind the path: give its target a `url` with that path")]
    Elsewhere,
}

/// A call to an API server.
pub(super) struct Call {
    pub(super) attributes: Attributes,
    /// Of exec, attach and portforward.
    exec: Option<ExecOptions>,
    /// Whom its client wants to act as.
    pub(super) wanted: Option<Wanted>,
    /// How the cluster is asked for Helm's releases only, if that may be what is asked for.
    pub(super) for_releases: Option<String>,
    /// Its body; empty until it was read.
    pub(super) sent: Sent,
    /// What it does, in kubectl's words.
    pub(super) does: Does,
}

impl Call {
    pub(super) fn read(
        method: &str,
        path: &str,
        query: Option<&str>,
        upgrade: bool,
    ) -> Result<Call, CallError> {
        let attributes = Attributes::of(method, path, query, upgrade)?;
        let exec = attributes.exec_request(query)?;
        // Behind such a path another API server may be, and its Secrets would be nobody's.
        let mut behind = attributes.path.split('/').skip(2);
        let elsewhere = !attributes.is_resource && !attributes.is_discovery();
        if elsewhere && behind.any(|it| it == "api" || it == "apis") {
            return Err(CallError::Elsewhere);
        }
        let for_releases = helm::for_releases(&attributes, query);
        let (sent, does) = (Sent::default(), Does::default());
        let mut call = Call { attributes, exec, wanted: None, for_releases, sent, does };
        call.does = Does::of(&call);
        Ok(call)
    }

    /// Takes the body that belongs to it, and what it says that it is.
    pub(super) fn take(&mut self, body: Bytes, media: Option<&str>) {
        self.sent = Sent::new(body, media);
        self.does = Does::of(self);
    }

    /// Whether its object or its answer has values of Secrets. Some APIs answer with the Secrets that
    /// belong to something of theirs.
    pub(super) fn is_secret(&self) -> bool {
        let Attributes { is_resource, resource, subresource, .. } = &self.attributes;
        *is_resource && (resource == "secrets" || subresource == "secrets")
    }

    /// Whether its object or its answer has a token.
    pub(super) fn is_token(&self) -> bool {
        let Attributes { is_resource, resource, subresource, .. } = &self.attributes;
        *is_resource && (subresource == "token" || resource == "tokenreviews")
    }

    /// Whether the record may have its body at all: it is known what of it is a value.
    pub(super) fn is_plain(&self) -> bool {
        match self.sent.tree() {
            _ if self.sent.is_empty() => true,
            None => false,
            Some(_) if self.attributes.verb.starts_with("delete") => true,
            Some(tree) if self.sent.may_be_steps() => secrets::only_writes(tree),
            // It is asked about, so there is one, wherever it stands.
            Some(_) if self.attributes.resource == "tokenreviews" => false,
            Some(tree) if self.is_token() => tree.as_object().is_some(),
            Some(tree) => tree.as_object().is_some_and(secrets::is_plain),
        }
    }

    /// Whether it may make the connection another protocol's: only what is followed then may.
    pub(super) fn may_upgrade(&self) -> bool {
        self.exec.is_some() || self.is_proxied()
    }

    /// Whether what crosses is a connection to a port.
    pub(super) fn forwards_ports(&self) -> bool {
        self.exec.is_some() && self.attributes.subresource == "portforward"
    }

    /// The ports that its query says.
    pub(super) fn ports(&self) -> &[u16] {
        self.exec.as_ref().map_or(&[], |it| &it.ports)
    }

    /// Whether what crosses is the streams of a command.
    pub(super) fn has_streams(&self) -> bool {
        self.exec.is_some() && !self.forwards_ports()
    }

    /// Whether a terminal is asked for.
    pub(super) fn has_terminal(&self) -> bool {
        self.exec.as_ref().is_some_and(|it| it.tty)
    }

    /// Whether what is typed at its terminal is surely shown where it passes us.
    pub(super) fn has_echo(&self) -> bool {
        let is_exec = self.attributes.subresource == "exec";
        is_exec && self.exec.as_ref().is_some_and(|it| it.tty && it.stdout)
    }

    /// Whether it is passed on to a node, a pod or a service.
    pub(super) fn is_proxied(&self) -> bool {
        self.attributes.verb == "proxy" || self.attributes.subresource == "proxy"
    }

    /// The rule by which every call like this one would be refused, if there is one.
    pub(super) fn refused_by(&self, session: &Session, target: &Kubernetes) -> Option<String> {
        let judgement = self.judge_as(session, target, (None, &[""]));
        (!judgement.allows()).then(|| judgement.verdict().rule().to_owned())
    }

    /// What rules say of it, and what none can allow.
    pub(super) fn judge(&self, session: &Session, target: &Kubernetes) -> Judgement {
        let to_come = if self.forwards_ports() { &[PORT][..] } else { &[] };
        self.judge_as(session, target, (None, to_come))
    }

    /// The same of one port, of a call that forwards ports: each is judged by itself.
    pub(super) fn judge_port(
        &self,
        session: &Session,
        target: &Kubernetes,
        port: u16,
    ) -> Judgement {
        self.judge_as(session, target, (Some(port), &[]))
    }

    fn judge_as(
        &self,
        session: &Session,
        target: &Kubernetes,
        ports: (Option<u16>, &[&str]),
    ) -> Judgement {
        let Attributes { subresource, verb, .. } = &self.attributes;
        let judgement = self.as_action(ports, |action| {
            let operation = Cow::Owned(action.operation.to_owned());
            let wanted = self.wanted.as_ref().map(Wanted::resources).unwrap_or_default();
            let write = |name| Resource { name, naming: Naming::Whole, access: Access::Write };
            let others: Vec<Resource<'_>> = wanted.iter().map(|it| write(it.as_str())).collect();
            let acting =
                Action { resources: &others, ..Action::plain("impersonate", "impersonate") };
            match others.is_empty() {
                true => session.judge(std::slice::from_ref(action), operation, self.class()),
                false => session.judge(&[*action, acting], operation, self.class()),
            }
        });
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
        if self.is_secret() && self.sent.may_be_steps() && !self.is_plain() {
            return judgement.forbid(
                "kubernetes-patch",
                "a JSON patch of a Secret may add, replace and remove: copy, move and test tell \
                 what is there",
            );
        }
        if self.is_secret() && secrets::holds_mask(self.sent.body()) {
            return judgement.forbid(
                "kubernetes-mask",
                "the Secret holds a mask in place of a value, which would be lost: leave such \
                 values out, or write them anew",
            );
        }
        judgement
    }

    /// How much of it is kept.
    pub(super) fn level(&self, session: &Session, target: &Kubernetes) -> Level {
        let by_rules = |levels: &Levels| self.as_action((None, &[]), |it| levels.of(session, it));
        let level = target.levels.as_ref().map_or(Level::default(), by_rules);
        let only_reads = matches!(self.class(), "read" | "discovery");
        let least = match only_reads && !self.is_secret() && !self.is_token() {
            true => Level::None,
            false => Level::Metadata,
        };
        let most = if self.attributes.is_discovery() { Level::Metadata } else { level };
        level.min(most).max(least)
    }

    /// It in the words of rules, for a port if it is for one; and the names of arguments that are
    /// to come.
    fn as_action<T>(
        &self,
        (port, to_come): (Option<u16>, &[&str]),
        judge: impl FnOnce(&Action<'_>) -> T,
    ) -> T {
        let resource = self.resource();
        let naming = if self.is_everywhere() { Naming::Part('/') } else { Naming::Whole };
        let resources = [Resource { name: &resource, naming, access: self.access() }];
        let (mut arguments, unread) = self.arguments(self.sent.object());
        arguments.extend(port.map(|port| (PORT.to_owned(), port.to_string())));
        let arguments: Vec<Argument<'_>> =
            arguments.iter().map(|(name, value)| Argument { name, value }).collect();
        let unread: Vec<&str> = unread.iter().map(AsRef::as_ref).collect();
        let operation = self.operation();
        judge(&Action {
            resources: &resources,
            arguments: &arguments,
            unread: &unread,
            flags: &self.flags(),
            to_come,
            ..Action::plain(&operation, self.class())
        })
    }

    /// Whether there is something to be written that can't be read.
    pub(super) fn is_unread(&self) -> bool {
        let understood = self.sent.object().is_some() || self.sent.json_patch().is_some();
        !understood && !self.sent.is_empty() && !self.attributes.is_self_review()
    }

    pub(super) fn operation(&self) -> String {
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
    pub(super) fn resource(&self) -> String {
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
        *is_resource && namespace.is_empty() && !is_of_the_cluster(resource, group)
    }

    fn flags(&self) -> Vec<&'static str> {
        let it = &self.attributes;
        // What is deleted with a body takes its options from there. Not every subresource knows
        // dry runs: a token is made all the same.
        let by_body = it.verb.starts_with("delete");
        let knows = ["", "status", "scale"].contains(&it.subresource.as_str())
            && !["authentication.k8s.io", "authorization.k8s.io"].contains(&it.group.as_str());
        let exec = |flag: fn(&ExecOptions) -> bool| self.exec.as_ref().is_some_and(flag);
        [
            ("dry-run", it.dry_run && knows && (!by_body || self.sent.is_empty())),
            ("watch", it.watches()),
            ("follow", it.follows_logs()),
            ("tty", exec(|it| it.tty)),
            ("stdin", exec(|it| it.stdin)),
            ("unread", self.is_unread() || self.does.unsure),
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
            for word in &self.does.words {
                say("attribute.does", word);
            }
            if self.does.unsure {
                unread.push("attribute.does".into());
            }
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
                say("exec.command", &line(&exec.command));
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
            None if self.sent.is_empty() => {}
            // A question is no object that is made.
            None if it.is_self_review() => {}
            None => unread.push("object.".into()),
        }
        (all, unread)
    }

    /// The name of the one object that it is about.
    pub(super) fn name<'a>(&'a self, tree: Option<&'a Value>) -> Option<&'a str> {
        let it = &self.attributes;
        match it.verb.as_str() {
            // One that a selector names may be there among others.
            "list" | "watch" | "deletecollection" => None,
            _ if !it.name.is_empty() => Some(&it.name),
            "create" => {
                let name = tree?.as_object()?.get("metadata")?.as_object()?.get("name")?.as_str();
                // With an empty one the server makes one up.
                name.filter(|it| !it.is_empty())
            }
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
        if let Some(wanted) = &self.wanted {
            say("acts_as", &wanted.resources().join(" "));
        }
        say("does", &self.does.words.join(" "));
        say("field_manager", it.field_manager.as_deref().unwrap_or_default());
        say("dry_run", if self.flags().contains(&"dry-run") { "All" } else { "" });
    }
}

/// Words with blanks between them; one inside a word has a backslash before it, and so has a
/// backslash.
fn line(words: &[String]) -> String {
    let plain = |word: &String| word.replace('\\', "\\\\").replace(' ', "\\ ");
    words.iter().map(plain).collect::<Vec<_>>().join(" ")
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
    fn words_stay_words() {
        let line =
            |words: &[&str]| line(&words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        assert_eq!(line(&["ls", "-l"]), "ls -l");
        assert_eq!(line(&["ls -l"]), "ls\\ -l");
        assert_eq!(line(&["a\\ b"]), "a\\\\\\ b");
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
        let (all, unread) = create.arguments(create.sent.object());
        let find = |name: &str| all.iter().find(|it| it.0 == name).map(|it| it.1.as_str());
        assert_eq!(find("attribute.name"), Some("c"));
        assert_eq!(find("attribute.namespace"), Some("x"));
        assert_eq!(find("attribute.field_manager"), Some("kubectl"));
        assert_eq!(find("object.data.a"), Some("b"));
        assert!(unread.is_empty());
        // The same in protobuf.
        let named = b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12\r\n\x03\n\x01c\x12\x06\n\x01a\x12\x01b\x1a\0\"\0";
        create.take(Bytes::from_static(named), Some("application/vnd.kubernetes.protobuf"));
        let (all, unread) = create.arguments(create.sent.object());
        let find = |name: &str| all.iter().find(|it| it.0 == name).map(|it| it.1.as_str());
        assert_eq!((find("attribute.name"), find("object.data.a")), (Some("c"), Some("b")));
        assert!(unread.is_empty() && create.sent.is_decoded());
        // What can't be read may be anything.
        create.take(Bytes::from_static(b"k8s\0..."), Some("application/vnd.kubernetes.protobuf"));
        assert!(create.sent.object().is_none());
        assert_eq!(create.arguments(None).1, ["attribute.does", "attribute.name", "object."]);
        assert_eq!(create.flags(), ["unread"]);
        let mut patch = call("PATCH", "/api/v1/namespaces/x/pods/p");
        let how = br#"[{"op":"add","path":"/spec/containers/0/image","value":"evil"}]"#;
        patch.take(Bytes::from_static(how), Some("application/json-patch+json; charset=utf-8"));
        assert_eq!(patch.arguments(patch.sent.object()).1, ["object."]);
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
