//! What is particular to a target that is an API server of Kubernetes.

use http_proxy::kubernetes::{Kubernetes, Level, Levels, Masks, OPERATIONS, PROTOCOL, RecordInput};
use policy::{Expected, OneOrMany, When};
use serde::Deserialize;

use super::HttpTarget;
use crate::document::Document;
use crate::operations::Context;
use crate::sections::Operation;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(not(feature = "kubernetes"), allow(dead_code, reason = "no target is one"))]
pub(super) struct Section {
    pub(super) kubeconfig: Option<String>,
    pub(super) context: Option<String>,
    pub(super) in_cluster: bool,
    user_prefix: String,
    group_prefix: String,
    secrets_in_clear: bool,
    helm_releases_in_clear: bool,
    audit: Vec<AuditRule>,
    impersonation: bool,
    proxied: bool,
    ephemeral_containers: bool,
    record_input: RecordInput,
    mask_terminal: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AuditRule {
    level: Option<String>,
    when: When,
}

/// What is particular to an API server of Kubernetes, if it is one.
pub(super) fn kubernetes(
    document: &mut Document<'_>,
    path: &str,
    section: &HttpTarget,
    context: &Context<'_>,
) -> Option<Kubernetes> {
    let is_one = section.protocol.as_deref() == Some(PROTOCOL);
    if !is_one {
        if section.kubernetes.is_some() {
            let message = "is for a target with `protocol = \"kubernetes\"`";
            document.problem(format!("{path}.kubernetes"), message);
        }
        return None;
    }
    for (key, given, why) in [
        ("mcp", section.mcp.is_some(), "has no use: an API server of Kubernetes is no MCP server"),
        ("upgrades", section.upgrades, "has no use: exec and its like may, if rules let them"),
        ("http2", section.http2 == Some(true), "has no use: TLS chooses, and exec needs HTTP/1.1"),
        ("max_body", section.max_body.is_some(), "has no use: an object has at most 4 MiB"),
    ] {
        if given {
            document.problem(format!("{path}.{key}"), why);
        }
    }
    let default = Section::default();
    let own = section.kubernetes.as_ref().unwrap_or(&default);
    for (key, prefix) in [("user_prefix", &own.user_prefix), ("group_prefix", &own.group_prefix)] {
        if prefix.starts_with("system:") || !prefix.bytes().all(|it| it.is_ascii_graphic()) {
            let message = "must be of visible ASCII, and not begin with `system:`";
            document.problem(format!("{path}.kubernetes.{key}"), message);
        }
    }
    // No issuer has a `#` in its name, so that nothing behind it can be taken for a part of it.
    let told_apart = |prefix: &str| prefix.contains("{issuer}#");
    if context.issuers > 1 && !(told_apart(&own.user_prefix) && told_apart(&own.group_prefix)) {
        let message = "there is more than one issuer, and two may know others by one name: write \
                       `{issuer}#` in `user_prefix` and `group_prefix`";
        document.problem(format!("{path}.kubernetes"), message);
    }
    let levels = levels(document, &format!("{path}.kubernetes.audit"), &own.audit);
    if own.secrets_in_clear && own.helm_releases_in_clear {
        let message = "has no use: `secrets_in_clear` shows them all";
        document.problem(format!("{path}.kubernetes.helm_releases_in_clear"), message);
    }
    let masks = |in_clear: bool| Masks::new(in_clear, |first| context.masking.behind(first));
    let releases = own.helm_releases_in_clear.then(|| masks(true)).transpose();
    let (Ok(of_all), Ok(releases)) = (masks(own.secrets_in_clear), releases) else {
        let message = "has no room for the rules that mask Secrets: write fewer";
        document.problem("masking.rule", message);
        return None;
    };
    Some(Kubernetes {
        releases,
        user_prefix: own.user_prefix.clone(),
        group_prefix: own.group_prefix.clone(),
        levels,
        impersonation: own.impersonation,
        proxied: own.proxied,
        ephemeral_containers: own.ephemeral_containers,
        record_input: own.record_input,
        mask_terminal: own.mask_terminal,
        ..Kubernetes::new(of_all)
    })
}

/// How much of which calls is kept.
fn levels(document: &mut Document<'_>, path: &str, rules: &[AuditRule]) -> Option<Levels> {
    let mut read = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        let name = rule.level.as_deref().unwrap_or_default();
        match Level::of(name) {
            Some(level) => read.push((level, rule.when.clone())),
            None => {
                let message = "must be None, Metadata, Request or RequestResponse";
                document.problem(format!("{path}[{at}].level"), message);
                return None;
            }
        }
    }
    if read.is_empty() {
        return None;
    }
    let told = |problem: policy::Problem| {
        let below = problem.path.replace("policy.rule", path);
        document.problem(below, problem.message.replace("policy.rule", path));
    };
    Levels::new(read).map_err(|problems| problems.into_iter().for_each(told)).ok()
}

/// What `recording = "operations"` names where no `[[…operation]]` does: what kubectl calls so,
/// what runs something in the cluster, and what may be any of it.
pub(super) fn operations() -> Vec<Operation> {
    let one = |name: &str, when: When| Operation { name: Some(name.to_owned()), when };
    let word = |word: &str| OneOrMany::One(word.to_owned());
    let does = |name: &&str| {
        let arguments = [("attribute.does".to_owned(), Expected::Patterns(word(name)))];
        one(name, When { arguments: Some(arguments.into()), ..When::default() })
    };
    let mut all: Vec<Operation> = OPERATIONS.iter().map(does).collect();
    all.push(one("exec", When { class: Some(word("exec")), ..When::default() }));
    let unread = Some(vec!["unread".to_owned()]);
    all.push(one("unread", When { flags: unread, ..When::default() }));
    all
}
