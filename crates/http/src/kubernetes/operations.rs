//! What a call does in the words of who works with a cluster: kubectl's own subcommands, each told
//! from what any client must send for it.

use mcp_wire::{Object, Value};

use super::call::Call;

/// The words, for `recording = "operations"` and as the argument `attribute.does`.
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

impl Call {
    /// Which of [`OPERATIONS`] it is, if one. What can't be read may be any that its kind allows.
    pub(super) fn does(&self) -> Option<&'static str> {
        let it = &self.attributes;
        if !it.is_resource {
            return None;
        }
        let changes = matches!(it.verb.as_str(), "update" | "patch");
        match (it.verb.as_str(), it.subresource.as_str()) {
            ("delete" | "deletecollection", "") => return Some("delete"),
            ("create", "eviction") => return Some("drain"),
            (_, "scale") if changes => return Some("scale"),
            ("patch", "") if self.is_apply_patch() => return Some("apply"),
            ("create" | "update" | "patch", "") => {}
            _ => return None,
        }
        if let Some(steps) = self.json_patch() {
            return changes.then(|| by_patch(&it.resource, &it.group, steps)).flatten();
        }
        let object = self.object().and_then(Value::as_object)?;
        if is_applied(object) {
            return Some("apply");
        }
        let spec = object.get("spec").and_then(Value::as_object)?;
        let has = |member: &str| spec.get(member).is_some();
        by_members(&it.resource, &it.group, it.verb == "patch", changes, has)
    }
}

/// What a change of these members of `spec` does.
fn by_members(
    resource: &str,
    group: &str,
    patches: bool,
    changes: bool,
    has: impl Fn(&str) -> bool,
) -> Option<&'static str> {
    let rolls =
        group == "apps" && ["deployments", "daemonsets", "statefulsets"].contains(&resource);
    match (resource, group) {
        ("nodes", "") if changes && has("unschedulable") => Some("cordon"),
        // An object that is put in another's place has all of them, changed or not.
        _ if rolls && patches && (has("template") || has("paused")) => Some("rollout"),
        _ if patches && has("replicas") => Some("scale"),
        _ => None,
    }
}

/// The same of a JSON patch (RFC 6902).
fn by_patch(resource: &str, group: &str, steps: &[Value]) -> Option<&'static str> {
    let path = |step: &Value| step.as_object()?.get("path")?.as_str().map(str::to_owned);
    let paths: Vec<String> = steps.iter().filter_map(path).collect();
    let has = |member: &str| {
        let below =
            |path: &String| path.strip_prefix("/spec/")?.strip_prefix(member).map(str::to_owned);
        paths.iter().filter_map(below).any(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    by_members(resource, group, true, true, has)
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

    fn does(method: &str, path: &str, body: &str, media: &str) -> &'static str {
        let mut call = Call::read(method, path, None, false).unwrap();
        call.take(body.to_owned().into(), Some(media));
        call.does().unwrap_or("")
    }

    #[test]
    fn calls_are_what_kubectl_calls_them() {
        let (json, merge) = ("application/json", "application/merge-patch+json");
        let strategic = "application/strategic-merge-patch+json";
        let deployments = "/apis/apps/v1/namespaces/x/deployments";
        let one = "/apis/apps/v1/namespaces/x/deployments/web";
        let applied = r#"{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}}}"#;
        for (method, path, body, media, wanted) in [
            ("POST", deployments, applied, json, "apply"),
            ("PATCH", one, applied, strategic, "apply"),
            ("PATCH", one, "spec: {}", "application/apply-patch+yaml", "apply"),
            ("POST", deployments, r#"{"spec":{"replicas":2,"template":{}}}"#, json, ""),
            ("PUT", one, r#"{"spec":{"replicas":2,"template":{}}}"#, json, ""),
            ("PATCH", one, r#"{"spec":{"template":{"metadata":{}}}}"#, strategic, "rollout"),
            ("PATCH", one, r#"{"spec":{"paused":true}}"#, strategic, "rollout"),
            ("PATCH", one, r#"{"spec":{"replicas":2}}"#, merge, "scale"),
            ("PATCH", &format!("{one}/scale"), r#"{"spec":{"replicas":2}}"#, merge, "scale"),
            ("PUT", &format!("{one}/scale"), r#"{"spec":{"replicas":2}}"#, json, "scale"),
            ("GET", &format!("{one}/scale"), "", json, ""),
            (
                "PATCH",
                one,
                r#"[{"op":"replace","path":"/spec/template","value":{}}]"#,
                "application/json-patch+json",
                "rollout",
            ),
            (
                "PATCH",
                one,
                r#"[{"op":"replace","path":"/spec/templates","value":{}}]"#,
                "application/json-patch+json",
                "",
            ),
            ("PATCH", "/api/v1/nodes/n", r#"{"spec":{"unschedulable":true}}"#, strategic, "cordon"),
            ("POST", "/api/v1/namespaces/x/pods/p/eviction", "{}", json, "drain"),
            ("DELETE", "/api/v1/namespaces/x/pods/p", "", json, "delete"),
            ("DELETE", "/api/v1/namespaces/x/pods", "", json, "delete"),
            ("PATCH", "/api/v1/namespaces/x/pods/p/status", applied, strategic, ""),
        ] {
            assert_eq!(does(method, path, body, media), wanted, "{method} {path} {body}");
        }
    }
}
