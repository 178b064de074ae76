//! What a call does in the words of who works with a cluster: kubectl's own subcommands, each told
//! from what any client must send for it.

use mcp_wire::{Object, Value};

use super::call::Call;

/// The words, for `recording = "operations"` and as the argument `attribute.does`.
///
/// A call may be more than one: all are said.
///
/// - `apply`: an object as somebody wants it to be, by the server (apply-patch) or by the client
///   (with the annotation of what it applied last);
/// - `cordon`: a node is closed to new pods, or opened; `drain`: a pod is evicted;
/// - `delete`: one object, or many;
/// - `rollout`: what a Deployment, DaemonSet or StatefulSet runs is changed, stopped half-way or
///   taken back (a patch of its pod template, or of `paused`);
/// - `scale`: how many there are of something is changed.
pub const OPERATIONS: [&str; 6] = ["apply", "cordon", "delete", "drain", "rollout", "scale"];

/// By which client-side apply knows what it applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What a call does.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Does {
    /// Each of [`OPERATIONS`] that it is: who applies may scale by it.
    pub(super) words: Vec<&'static str>,
    /// It may be others, too: something of it can't be read, or may mean more than one thing.
    pub(super) unsure: bool,
}

impl Does {
    fn one(word: &'static str) -> Does {
        Does { words: vec![word], unsure: false }
    }

    /// What a call does. An object that is put in another's place does all that its kind may do by
    /// it.
    pub(super) fn of(call: &Call) -> Does {
        let (it, sent) = (&call.attributes, &call.sent);
        if !it.is_resource {
            return Does::default();
        }
        let changes = matches!(it.verb.as_str(), "update" | "patch");
        match (it.verb.as_str(), it.subresource.as_str()) {
            ("delete" | "deletecollection", "") => return Does::one("delete"),
            ("create", "eviction") => return Does::one("drain"),
            (_, "scale") if changes => return Does::one("scale"),
            ("create" | "update" | "patch", "") => {}
            _ => return Does::default(),
        }
        let mut does = Does::default();
        if sent.is_apply_patch() {
            does.words.push("apply");
        }
        let changed = match (sent.json_patch(), sent.object().and_then(Value::as_object)) {
            (Some(steps), _) => by_patch(steps),
            (None, Some(object)) => {
                if is_applied(object) && !sent.is_apply_patch() {
                    does.words.push("apply");
                }
                match (it.verb.as_str(), object.get("spec")) {
                    ("update", _) => Changed::All,
                    (_, Some(Value::Object(spec))) => {
                        Changed::Members(spec.iter().map(|(name, _)| name.to_owned()).collect())
                    }
                    (_, Some(_)) => Changed::Unclear,
                    (_, None) => Changed::Members(Vec::new()),
                }
            }
            (None, None) if sent.is_empty() => Changed::Members(Vec::new()),
            (None, None) => Changed::Unclear,
        };
        does.unsure = changes && changed == Changed::Unclear || call.is_unread();
        if changes {
            by_members(&it.resource, &it.group, &changed, &mut does.words);
        }
        does
    }
}

/// Which members of `spec` a call changes.
#[derive(Debug, PartialEq, Eq)]
enum Changed {
    Members(Vec<String>),
    All,
    Unclear,
}

/// What a change of these does.
fn by_members(resource: &str, group: &str, changed: &Changed, words: &mut Vec<&'static str>) {
    let has = |member: &str| match changed {
        Changed::Members(members) => members.iter().any(|it| it == member),
        Changed::All => true,
        Changed::Unclear => false,
    };
    let rolls =
        group == "apps" && ["deployments", "daemonsets", "statefulsets"].contains(&resource);
    if resource == "nodes" && group.is_empty() && has("unschedulable") {
        words.push("cordon");
    }
    if rolls && (has("template") || has("paused")) {
        words.push("rollout");
    }
    // What others scale by it, is theirs to say; of what is put in another's place, nobody knows.
    let may_scale = rolls || matches!(changed, Changed::Members(_));
    if may_scale && has("replicas") {
        words.push("scale");
    }
}

/// The members that a JSON patch (RFC 6902) changes. Servers take what stands before the first
/// slash of a pointer for nothing.
fn by_patch(steps: &[Value]) -> Changed {
    let mut members = Vec::new();
    for step in steps {
        let Some(step) = step.as_object() else { return Changed::Unclear };
        for (name, needed) in [("path", true), ("from", false)] {
            let pointer = match step.get(name) {
                Some(Value::String(pointer)) => pointer,
                None if !needed => continue,
                _ => return Changed::Unclear,
            };
            let Some((_, below)) = pointer.split_once('/') else { return Changed::Unclear };
            let mut words = below.split('/');
            match (words.next(), words.next()) {
                (Some(first), _) if first.is_empty() || first.contains('~') => {
                    return Changed::Unclear;
                }
                (Some("spec"), Some(member)) if !member.contains('~') && !member.is_empty() => {
                    members.push(member.to_owned());
                }
                (Some("spec"), _) => return Changed::Unclear,
                _ => {}
            }
        }
    }
    Changed::Members(members)
}

/// Whether it says itself that it was applied.
fn is_applied(object: &Object) -> bool {
    let annotations = object.get("metadata").and_then(Value::as_object);
    let annotations = annotations.and_then(|it| it.get("annotations")).and_then(Value::as_object);
    annotations.is_some_and(|it| it.get(LAST_APPLIED).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn does(method: &str, path: &str, body: &str, media: &str) -> String {
        let mut call = Call::read(method, path, None, false).unwrap();
        call.take(body.to_owned().into(), Some(media));
        let Does { mut words, unsure } = call.does;
        words.extend(unsure.then_some("?"));
        words.join(" ")
    }

    const JSON: &str = "application/json";
    const MERGE: &str = "application/merge-patch+json";
    const STEPS: &str = "application/json-patch+json";
    const APPLIED: &str =
        r#"{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}}}"#;

    #[test]
    fn calls_are_what_kubectl_calls_them() {
        let strategic = "application/strategic-merge-patch+json";
        let apply = "application/apply-patch+yaml";
        let deployments = "/apis/apps/v1/namespaces/x/deployments";
        let one = "/apis/apps/v1/namespaces/x/deployments/web";
        let whole = r#"{"spec":{"replicas":2,"template":{}}}"#;
        let template = r#"[{"op":"replace","path":"/spec/template","value":{}}]"#;
        for (method, path, body, media, wanted) in [
            ("POST", deployments, APPLIED, JSON, "apply"),
            ("PATCH", one, APPLIED, strategic, "apply"),
            ("PATCH", one, "spec: {}", apply, "apply ?"),
            ("PATCH", one, whole, apply, "apply rollout scale"),
            ("POST", deployments, whole, JSON, ""),
            ("PUT", one, "{}", JSON, "rollout scale"),
            ("PATCH", one, r#"{"spec":{"template":{"metadata":{}}}}"#, strategic, "rollout"),
            ("PATCH", one, r#"{"spec":{"paused":true}}"#, strategic, "rollout"),
            ("PATCH", one, r#"{"spec":{"replicas":2}}"#, MERGE, "scale"),
            ("PATCH", one, r#"{"metadata":{"labels":{"a":"b"}}}"#, MERGE, ""),
            ("PATCH", &format!("{one}/scale"), r#"{"spec":{"replicas":2}}"#, MERGE, "scale"),
            ("PUT", &format!("{one}/scale"), r#"{"spec":{"replicas":2}}"#, JSON, "scale"),
            ("GET", &format!("{one}/scale"), "", JSON, ""),
            ("PATCH", one, template, STEPS, "rollout"),
            ("PATCH", "/api/v1/nodes/n", r#"{"spec":{"unschedulable":true}}"#, strategic, "cordon"),
            ("PUT", "/api/v1/nodes/n", "{}", JSON, "cordon"),
            ("PUT", "/api/v1/namespaces/x/configmaps/c", "{}", JSON, ""),
            ("POST", "/api/v1/namespaces/x/pods/p/eviction", "{}", JSON, "drain"),
            ("DELETE", "/api/v1/namespaces/x/pods/p", "", JSON, "delete"),
            ("DELETE", "/api/v1/namespaces/x/pods", "", JSON, "delete"),
            ("PATCH", "/api/v1/namespaces/x/pods/p/status", APPLIED, strategic, ""),
        ] {
            assert_eq!(does(method, path, body, media), wanted, "{method} {path} {body}");
        }
    }

    #[test]
    fn what_a_call_does_is_not_hidden_by_how_it_is_said() {
        let one = "/apis/apps/v1/namespaces/x/deployments/web";
        for (steps, wanted) in [
            (r#"[{"op":"replace","path":"/spec/templates","value":{}}]"#, ""),
            (r#"[{"op":"replace","path":"x/spec/replicas","value":0}]"#, "scale"),
            (r#"[{"op":"replace","path":"/spec","value":{}}]"#, "?"),
            (r#"[{"op":"replace","path":"","value":{}}]"#, "?"),
            (r#"[{"op":"replace","path":"/","value":{}}]"#, "?"),
            (r#"[{"op":"replace","path":"spec","value":{}}]"#, "?"),
            (r#"[{"op":"replace","path":"/sp~0ec/replicas","value":1}]"#, "?"),
            (r#"[{"op":"replace","path":"/spec/replica~1s","value":1}]"#, "?"),
            (r#"[{"op":"move","from":"/spec/replicas","path":"/metadata/labels/a"}]"#, "scale"),
            (r#"[{"op":"replace","path":7}]"#, "?"),
            (r#"[7]"#, "?"),
        ] {
            assert_eq!(does("PATCH", one, steps, STEPS), wanted, "{steps}");
        }
        // Who says that it applies, scales all the same.
        let both = APPLIED.replacen('{', r#"{"spec":{"replicas":0},"#, 1);
        assert_eq!(does("PATCH", one, &both, MERGE), "apply scale");
        assert_eq!(does("PATCH", "/api/v1/nodes/n", r#"{"spec":null}"#, MERGE), "?");
    }
}
