//! What a caller asks about that asks what it may do: a `SelfSubjectAccessReview`.

use mcp_wire::Value;

use super::call::Call;
use super::scope::is_of_the_cluster;

/// What is asked about.
#[derive(Debug, Default, PartialEq, Eq)]
struct Review {
    namespace: String,
    verb: String,
    group: String,
    resource: String,
    subresource: String,
    name: String,
    /// Of what is no resource.
    path: Option<String>,
}

impl Review {
    /// Reads one; none if it can't be read.
    fn of(tree: &Value) -> Option<Review> {
        let spec = tree.as_object()?.get("spec")?.as_object()?;
        let said = |of: &Value, name: &str| {
            let said = of.as_object().and_then(|it| it.get(name)).and_then(Value::as_str);
            said.unwrap_or_default().to_owned()
        };
        if let Some(of) = spec.get("resourceAttributes") {
            return Some(Review {
                namespace: said(of, "namespace"),
                verb: said(of, "verb"),
                group: said(of, "group"),
                resource: said(of, "resource"),
                subresource: said(of, "subresource"),
                name: said(of, "name"),
                path: None,
            });
        }
        let of = spec.get("nonResourceAttributes")?;
        let path = Some(said(of, "path"));
        Some(Review { verb: said(of, "verb"), path, ..Review::default() })
    }
}

impl Call {
    /// What is asked about, of a call that asks what the caller may do
    /// (`SelfSubjectAccessReview`); none if that can't be told, or is more than one call.
    pub(super) fn reviewed(&self) -> Option<Call> {
        let it = &self.attributes;
        if !it.is_self_review() || it.resource != "selfsubjectaccessreviews" {
            return None;
        }
        let asked = Review::of(self.sent.object()?)?;
        if let Some(path) = &asked.path {
            return Call::read(&asked.verb.to_ascii_uppercase(), path, None, false).ok();
        }
        let (method, of_many) = match asked.verb.as_str() {
            "get" => ("GET", false),
            "list" | "watch" => ("GET", true),
            "create" => ("POST", true),
            "update" => ("PUT", false),
            "patch" => ("PATCH", false),
            "delete" => ("DELETE", false),
            "deletecollection" => ("DELETE", true),
            _ => return None,
        };
        let mut path = match asked.group.as_str() {
            "" => "/api/v1".to_owned(),
            group => format!("/apis/{group}/v1"),
        };
        // kubectl names one also where there is none.
        if !asked.namespace.is_empty() && !is_of_the_cluster(&asked.resource, &asked.group) {
            path.push_str(&format!("/namespaces/{}", asked.namespace));
        }
        path.push_str(&format!("/{}", asked.resource));
        // Which object it is, rules about arguments ask; nobody knows here.
        if !of_many || !asked.subresource.is_empty() {
            let name = if asked.name.is_empty() { "any" } else { &asked.name };
            // A namespace's name is what rules know it by.
            let is_namespace = asked.group.is_empty() && asked.resource == "namespaces";
            if is_namespace && asked.name.is_empty() {
                return None;
            }
            path.push_str(&format!("/{name}"));
        }
        if !asked.subresource.is_empty() {
            path.push_str(&format!("/{}", asked.subresource));
        }
        let query = (asked.verb == "watch").then_some("watch=1");
        Call::read(method, &path, query, false).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_asks_about_a_call() {
        for (spec, wanted) in [
            (
                r#"{"resourceAttributes":{"namespace":"x","verb":"delete","resource":"pods"}}"#,
                "delete x/pods",
            ),
            (r#"{"resourceAttributes":{"verb":"list","resource":"secrets"}}"#, "list secrets"),
            (
                r#"{"resourceAttributes":{"namespace":"x","verb":"create","resource":"pods","subresource":"exec"}}"#,
                "create x/pods/exec",
            ),
            (
                r#"{"resourceAttributes":{"verb":"watch","group":"apps","resource":"deployments"}}"#,
                "watch deployments.apps",
            ),
            (r#"{"nonResourceAttributes":{"verb":"get","path":"/metrics"}}"#, "get /metrics"),
            (r#"{"resourceAttributes":{"verb":"*","resource":"*"}}"#, ""),
            (r#"{"resourceAttributes":{"verb":"get","resource":"../x"}}"#, ""),
        ] {
            let url = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
            let mut review = Call::read("POST", url, None, false).unwrap();
            review.take(format!(r#"{{"spec":{spec}}}"#).into(), Some("application/json"));
            let asked = review.reviewed();
            let said = asked.map(|it| format!("{} {}", it.operation(), it.resource()));
            assert_eq!(said.unwrap_or_default(), wanted);
        }
    }

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }

    #[test]
    fn what_kubectl_asks_in_protobuf_is_asked() {
        let kind = [field(1, b"authorization.k8s.io/v1"), field(2, b"SelfSubjectAccessReview")];
        let attributes =
            [field(1, b"prod"), field(2, b"delete"), field(3, b"apps"), field(5, b"deployments")];
        let review = field(2, &field(1, &attributes.concat()));
        let body = [&b"k8s\0"[..], &field(1, &kind.concat()), &field(2, &review)].concat();
        let url = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let mut review = Call::read("POST", url, None, false).unwrap();
        review.take(body.into(), Some("application/vnd.kubernetes.protobuf"));
        let asked = review.reviewed().unwrap();
        assert_eq!((&*asked.operation(), &*asked.resource()), ("delete", "prod/deployments.apps"));
    }
}
