//! Values of Secrets, and tokens: where they stand, what stands in their place, and that it is not
//! let in.

use masking::{OperatorConfig, RuleConfig};
use mcp_wire::{Object, Value};

/// What stands in place of a Secret's value: it is base64, as such a value must be, and says what
/// it is when decoded.
pub const MASK: &str = "bWFza2VkIGJ5IGdyZWZmaWVy";
/// What it says.
const MASK_DECODED: &str = "masked by greffier";

/// Where values of Secrets stand in JSON: in an object, a list, a watch's event, a table with
/// objects; in a JSON patch.
const PLACES: [&str; 11] = [
    "$.data.*",
    "$.stringData.*",
    "$.items[*].data.*",
    "$.items[*].stringData.*",
    "$.object.data.*",
    "$.object.stringData.*",
    "$.rows[*].object.data.*",
    "$.rows[*].object.stringData.*",
    "$.object.rows[*].object.data.*",
    "$.object.rows[*].object.stringData.*",
    "$[*].value",
];

/// Where tools keep the object that they applied last: JSON in a string. What stands in its place
/// must be JSON, too, or nothing can be applied any more. With this, `kubectl apply` removes no
/// values that are gone from the caller's file.
const LAST_APPLIED: [&str; 3] = [
    "$..['kubectl.kubernetes.io/last-applied-configuration']",
    "$..['kapp.k14s.io/original']",
    "$..['objectset.rio.cattle.io/applied']",
];
/// A member that every object has: of one that the caller's file lacks, `apply` would say that it is
/// to be removed.
const LAST_APPLIED_MASK: &str = r#"{"kind":"masked by greffier"}"#;

/// Where an API server says what was wrong with an object, and may repeat all of it: after a patch,
/// the whole object that it would have become (apiserver, `patch.go`).
const MESSAGES: [&str; 3] = ["$.message", "$.details.causes[*].message", "$.object.message"];

const MESSAGE_MASK: &str = "the object is not as it should be (masked by greffier: the server's words \
                            may repeat values of it)";

/// Where tokens stand that the API gives out or is asked about: `serviceaccounts/token`,
/// `tokenreviews`.
const TOKENS: [&str; 2] = ["$.status.token", "$.spec.token"];

/// Members of a Secret. What has others is not kept: a value in a misspelt one would be.
const MEMBERS: [&str; 7] =
    ["apiVersion", "kind", "metadata", "data", "stringData", "type", "immutable"];

/// What is masked where there are Secrets, before any other rule: for the record always, for the
/// client unless `in_clear`. Messages only `of_errors` that repeat objects, or nobody could read
/// why there is no such Secret.
#[must_use]
pub fn mask_rules(in_clear: bool, of_errors: bool) -> Vec<RuleConfig> {
    let seen = |mask: &str| if in_clear { keep() } else { replace(mask) };
    let message = if of_errors { seen(MESSAGE_MASK) } else { keep() };
    vec![
        rule("kubernetes-secrets", &PLACES, seen(MASK), replace(MASK)),
        rule(
            "kubernetes-last-applied",
            &LAST_APPLIED,
            seen(LAST_APPLIED_MASK),
            replace(LAST_APPLIED_MASK),
        ),
        rule("kubernetes-messages", &MESSAGES, message, replace(MESSAGE_MASK)),
    ]
}

/// What is masked in calls that give out or check tokens: in the record alone.
#[must_use]
pub fn token_rules() -> Vec<RuleConfig> {
    vec![
        rule("kubernetes-tokens", &TOKENS, keep(), replace(MASK_DECODED)),
        rule("kubernetes-last-applied", &LAST_APPLIED, keep(), replace(LAST_APPLIED_MASK)),
    ]
}

fn rule(name: &str, places: &[&str], client: OperatorConfig, record: OperatorConfig) -> RuleConfig {
    RuleConfig {
        name: Some(name.to_owned()),
        paths: places.iter().map(|it| (*it).to_owned()).collect(),
        client: Some(client),
        record: Some(record),
        ..RuleConfig::default()
    }
}

fn keep() -> OperatorConfig {
    OperatorConfig::named("keep")
}

fn replace(with: &str) -> OperatorConfig {
    OperatorConfig { new_value: Some(with.to_owned()), ..OperatorConfig::named("replace") }
}

/// Whether something that is to be written holds a mask of ours. Written, it would take the place
/// of what it hides.
pub(super) fn holds_mask(body: &[u8]) -> bool {
    [MASK, MASK_DECODED].iter().any(|mask| memchr::memmem::find(body, mask.as_bytes()).is_some())
}

/// Whether a Secret, or a part of one, is as they are: then it is known where its values stand.
pub(super) fn is_plain(secret: &Object) -> bool {
    let values =
        |name: &str| secret.get(name).is_none_or(|it| matches!(it, Value::Object(_) | Value::Null));
    let known = |(name, value): (&str, &Value)| MEMBERS.contains(&name) || *value == Value::Null;
    secret.iter().all(known) && values("data") && values("stringData")
}

/// Whether a JSON patch (RFC 6902) only puts values in and takes some out: `copy`, `move` and
/// `test` make the answer tell what is there.
pub(super) fn only_writes(patch: &Value) -> bool {
    let Value::Array(steps) = patch else { return false };
    steps.iter().all(|step| {
        let Some(step) = step.as_object() else { return false };
        let known = |name: &str| ["op", "path", "value"].contains(&name);
        matches!(step.get("op").and_then(Value::as_str), Some("add" | "replace" | "remove"))
            && step.iter().all(|(name, _)| known(name))
    })
}

#[cfg(test)]
mod tests {
    use mcp_wire::json;

    use super::*;

    fn parsed(text: &str) -> Value {
        json::parse(text.as_bytes(), json::Limits::default()).unwrap()
    }

    #[test]
    fn what_is_not_as_secrets_are_is_not_plain() {
        for (text, wanted) in [
            (r#"{"kind":"Secret","data":{"a":"Yg=="},"stringData":null}"#, true),
            (r#"{"metadata":{"labels":{"a":"b"}}}"#, true),
            (r#"{"stringdata":{"a":"b"}}"#, false),
            (r#"{"data":"b"}"#, false),
            (r#"{"data":["b"]}"#, false),
            (r#"{"spec":{"a":"b"}}"#, false),
            (r#"{"masked":null,"data":{}}"#, true),
        ] {
            assert_eq!(is_plain(parsed(text).as_object().unwrap()), wanted, "{text}");
        }
    }

    #[test]
    fn a_patch_that_reads_is_none_that_only_writes() {
        for (text, wanted) in [
            (
                r#"[{"op":"add","path":"/data/a","value":"b"},{"op":"remove","path":"/data/c"}]"#,
                true,
            ),
            (r#"[{"op":"copy","from":"/data/a","path":"/metadata/annotations/a"}]"#, false),
            (r#"[{"op":"move","from":"/data/a","path":"/type"}]"#, false),
            (r#"[{"op":"test","path":"/data/a","value":"b"}]"#, false),
            (r#"[{"op":"add","from":"/data/a","path":"/data/b","value":"c"}]"#, false),
            (r#"{"op":"add"}"#, false),
            ("[1]", false),
        ] {
            assert_eq!(only_writes(&parsed(text)), wanted, "{text}");
        }
    }
}
