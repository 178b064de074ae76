//! Helm's releases, which are Secrets: where they may be seen though others are masked.
//!
//! Many are asked for by a label, which anybody may put on any Secret, so the cluster is asked for
//! those of the type of releases only, which nobody can change (`type` is immutable). One is asked
//! for by its name, which anybody may give to a new one that others fill in, so its answer is held
//! until its type is read. What answers a write stays masked: Helm does not read it.

use kubernetes_wire::Attributes;

use super::call::Call;

/// How names of releases begin (Helm's `storage`).
const NAME: &str = "sh.helm.release.v1.";
/// What releases are, as their `type` says.
const TYPE: &str = "helm.sh/release.v1";
/// By which Helm finds its own.
const LABEL: &str = "owner=helm";
/// What is asked for besides: releases and nothing else.
const ONLY: &str = "type%3Dhelm.sh%2Frelease.v1";
/// The parameter that says so.
const SELECTOR: &str = "fieldSelector";

/// Which releases a call reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Releases {
    /// Many, once [`for_releases`] is what is asked: nothing else is in the answer.
    Many,
    /// One, if the answer is one.
    One,
}

impl Call {
    /// Which releases it reads, if it reads some and perhaps nothing else.
    pub(super) fn releases(&self) -> Option<Releases> {
        let it = &self.attributes;
        let of_secrets = it.is_resource && it.group.is_empty() && it.resource == "secrets";
        if !of_secrets || !it.subresource.is_empty() {
            return None;
        }
        match it.verb.as_str() {
            "list" | "watch" => self.for_releases.as_ref().map(|_| Releases::Many),
            "get" if it.name.starts_with(NAME) => Some(Releases::One),
            _ => None,
        }
    }
}

/// Whether an answer is a release, whole and nothing else.
pub(crate) fn is_release(answer: &[u8]) -> bool {
    let answer: Option<serde_json::Value> = serde_json::from_slice(answer).ok();
    let is = |name: &str, wanted: &str| {
        answer.as_ref().and_then(|it| it.get(name)).and_then(|it| it.as_str()) == Some(wanted)
    };
    is("apiVersion", "v1") && is("kind", "Secret") && is("type", TYPE)
}

/// The query by which the cluster is asked for releases only, for a call that asks for many by
/// their label. None: it does not, or its query has names that can't be told apart.
pub(super) fn for_releases(call: &Attributes, query: Option<&str>) -> Option<String> {
    let many = matches!(call.verb.as_str(), "list" | "watch");
    if !many || !call.group.is_empty() || call.resource != "secrets" {
        return None;
    }
    if !call.label_selector.split(',').any(|word| word.trim() == LABEL) {
        return None;
    }
    let mut pairs: Vec<String> = Vec::new();
    let mut narrowed = false;
    for pair in query.unwrap_or_default().split('&').filter(|it| !it.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key.contains(['%', '+']) {
            // It may be the same parameter, and the first of them counts.
            return None;
        }
        if key != SELECTOR {
            pairs.push(pair.to_owned());
            continue;
        }
        narrowed = true;
        let and = if value.is_empty() { "" } else { "%2C" };
        pairs.push(format!("{SELECTOR}={value}{and}{ONLY}"));
    }
    if !narrowed {
        pairs.push(format!("{SELECTOR}={ONLY}"));
    }
    Some(pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &str, path: &str, query: &str) -> Call {
        Call::read(method, path, Some(query), false).unwrap()
    }

    #[test]
    fn only_what_reads_releases_may_show_some() {
        let secrets = "/api/v1/namespaces/x/secrets";
        let one = &format!("{secrets}/sh.helm.release.v1.web.v1");
        let (many, of_one) = (Some(Releases::Many), Some(Releases::One));
        for (method, path, query, wanted) in [
            ("GET", secrets, "labelSelector=owner%3Dhelm%2Cname%3Dweb", many),
            ("GET", secrets, "labelSelector=name%3Dweb,owner%3Dhelm&watch=1", many),
            ("GET", secrets, "labelSelector=owner%3Dhelmet", None),
            ("GET", secrets, "labelSelector=owner%21%3Dhelm", None),
            ("GET", secrets, "", None),
            ("GET", one, "", of_one),
            ("DELETE", one, "", None),
            ("PUT", one, "", None),
            ("PATCH", one, "", None),
            ("DELETE", secrets, "labelSelector=owner%3Dhelm", None),
            ("GET", "/api/v1/namespaces/x/secrets/db", "", None),
            ("GET", "/api/v1/namespaces/x/configmaps/sh.helm.release.v1.web.v1", "", None),
            ("GET", "/apis/x.io/v1/namespaces/x/secrets", "labelSelector=owner%3Dhelm", None),
            ("GET", "/apis/x.io/v1/namespaces/x/secrets/sh.helm.release.v1.a", "", None),
        ] {
            assert_eq!(call(method, path, query).releases(), wanted, "{method} {path}?{query}");
        }
    }

    #[test]
    fn a_release_is_one_by_its_type() {
        for (answer, wanted) in [
            (r#"{"kind":"Secret","apiVersion":"v1","type":"helm.sh/release.v1"}"#, true),
            (r#"{"kind":"Secret","apiVersion":"v1","type":"Opaque"}"#, false),
            (r#"{"kind":"Secret","apiVersion":"v1","x":{"type":"helm.sh/release.v1"}}"#, false),
            (
                r#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","type":"helm.sh/release.v1"}"#,
                false,
            ),
            (r#"{"kind":"Secret","apiVersion":"v1","type":"helm.sh/release.v1"} x"#, false),
            ("", false),
        ] {
            assert_eq!(is_release(answer.as_bytes()), wanted, "{answer}");
        }
    }

    #[test]
    fn many_are_asked_for_by_their_type() {
        let label = "labelSelector=owner%3Dhelm";
        let only = "fieldSelector=type%3Dhelm.sh%2Frelease.v1";
        for (query, wanted) in [
            (label.to_owned(), Some(format!("{label}&{only}"))),
            (
                format!("fieldSelector=metadata.name%3Da&{label}"),
                Some(format!(
                    "fieldSelector=metadata.name%3Da%2Ctype%3Dhelm.sh%2Frelease.v1&{label}"
                )),
            ),
            (format!("fieldSelector=&{label}&limit=2"), Some(format!("{only}&{label}&limit=2"))),
            (format!("fieldSelector&{label}"), Some(format!("{only}&{label}"))),
            (format!("field%53elector=metadata.name%3Da&{label}"), None),
            (format!("field%53elector=&fieldSelector=&{label}"), None),
            ("limit=2".to_owned(), None),
        ] {
            let call = call("GET", "/api/v1/namespaces/x/secrets", &query);
            assert_eq!(call.for_releases, wanted, "{query}");
            assert_eq!(call.releases().is_some(), wanted.is_some());
        }
    }
}
