//! Values of Secrets: where they stand, what stands in their place, and that it is not let in.

use masking::{OperatorConfig, RuleConfig};

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

/// Where `kubectl apply` keeps the object that it applied last: JSON in a string. What stands in
/// its place must be JSON, too, or nothing can be applied any more. With this, `apply` removes no
/// values that are gone from the caller's file.
const LAST_APPLIED: &str = "$..['kubectl.kubernetes.io/last-applied-configuration']";
const LAST_APPLIED_MASK: &str = r#"{"masked":"by greffier"}"#;

/// What is masked in answers that have Secrets, before any other rule: for the record always, for
/// the client unless `in_clear`.
#[must_use]
pub fn mask_rules(in_clear: bool) -> Vec<RuleConfig> {
    let rule = |name: &str, places: &[&str], mask: &str| {
        let mask =
            OperatorConfig { new_value: Some(mask.to_owned()), ..OperatorConfig::named("replace") };
        let client = if in_clear { OperatorConfig::named("keep") } else { mask.clone() };
        RuleConfig {
            name: Some(name.to_owned()),
            paths: places.iter().map(|it| (*it).to_owned()).collect(),
            client: Some(client),
            record: Some(mask),
            ..RuleConfig::default()
        }
    };
    vec![
        rule("kubernetes-secrets", &PLACES, MASK),
        rule("kubernetes-last-applied", &[LAST_APPLIED], LAST_APPLIED_MASK),
    ]
}

/// Whether something that is to be written holds a mask of ours. Written, it would take the place
/// of what it hides.
pub(super) fn holds_mask(body: &[u8]) -> bool {
    [MASK, MASK_DECODED].iter().any(|mask| memchr::memmem::find(body, mask.as_bytes()).is_some())
}
