//! Helm's releases, which are Secrets: where they may be seen though others are masked.
//!
//! What answers a call with nothing but releases is told from the call alone. One is asked for by
//! its name, which nobody can give to a Secret that is there; many are asked for by a label, which
//! anybody may put on any Secret, so the cluster is asked for those of the type of releases only,
//! which nobody can change (`type` is immutable).

use kubernetes_wire::Attributes;

use super::call::Call;

/// How names of releases begin (Helm's `storage`).
const NAME: &str = "sh.helm.release.v1.";
/// By which Helm finds its own.
const LABEL: &str = "owner=helm";
/// What is asked for besides: releases and nothing else.
const ONLY: &str = "type%3Dhelm.sh%2Frelease.v1";
/// The parameter that says so.
const SELECTOR: &str = "fieldSelector";

impl Call {
    /// Whether it is about Helm's releases, and nothing else once [`for_releases`] is what is asked.
    pub(super) fn is_of_releases(&self) -> bool {
        let it = &self.attributes;
        if !(it.is_resource && it.resource == "secrets" && it.subresource.is_empty()) {
            return false;
        }
        match it.verb.as_str() {
            "list" | "watch" => self.for_releases.is_some(),
            "get" | "update" | "patch" | "delete" => it.name.starts_with(NAME),
            "create" => self.name(self.object()).is_some_and(|it| it.starts_with(NAME)),
            _ => false,
        }
    }
}

/// The query by which the cluster is asked for releases only, for a call that asks for many by
/// their label. None: it does not, or its query has names that can't be told apart.
pub(super) fn for_releases(call: &Attributes, query: Option<&str>) -> Option<String> {
    if !matches!(call.verb.as_str(), "list" | "watch") || call.resource != "secrets" {
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
    fn only_what_answers_with_releases_is_of_releases() {
        let secrets = "/api/v1/namespaces/x/secrets";
        let one = &format!("{secrets}/sh.helm.release.v1.web.v1");
        for (method, path, query, wanted) in [
            ("GET", secrets, "labelSelector=owner%3Dhelm%2Cname%3Dweb", true),
            ("GET", secrets, "labelSelector=name%3Dweb,owner%3Dhelm&watch=1", true),
            ("GET", secrets, "labelSelector=owner%3Dhelmet", false),
            ("GET", secrets, "labelSelector=owner%21%3Dhelm", false),
            ("GET", secrets, "", false),
            ("GET", one, "", true),
            ("DELETE", one, "", true),
            ("DELETE", secrets, "labelSelector=owner%3Dhelm", false),
            ("GET", "/api/v1/namespaces/x/secrets/db", "", false),
            ("GET", "/api/v1/namespaces/x/configmaps/sh.helm.release.v1.web.v1", "", false),
        ] {
            assert_eq!(
                call(method, path, query).is_of_releases(),
                wanted,
                "{method} {path}?{query}"
            );
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
            assert_eq!(call.is_of_releases(), wanted.is_some());
        }
    }
}
