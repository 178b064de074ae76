//! Rules as they are written in the configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The `[policy]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What happens to an action that no rule matches; deny unless written otherwise.
    #[serde(default)]
    pub default: Fallback,
    /// The rules, in order: the first that matches an action decides it.
    #[serde(default, rename = "rule", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// What happens to an action that no rule matches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// Refuse it.
    #[default]
    Deny,
    /// Let it through.
    Allow,
}

/// What a matching rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Let it through.
    Allow,
    /// Refuse it.
    Deny,
    /// Wait for an approval. Has its place here; loading such a rule is refused for now.
    Hold,
}

/// One `[[policy.rule]]`. Every condition that is written must hold; within a list one is enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, in refusals and records. Unique.
    pub name: String,
    /// What it does.
    pub effect: Effect,
    /// Who it is about; everybody when left out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub principals: Principals,
    /// Names of targets, `*` and `?` as wildcards; every target when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<Vec<String>>,
    /// What is asked for; anything when left out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub when: When,
    /// Shown to whoever is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Who a rule is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principals {
    /// Kinds: human, agent, workload, ci.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<OneOrMany>,
    /// Member of any of these groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Subjects, wildcards allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subjects: Option<Vec<String>>,
    /// Issuers, exactly as in the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuers: Option<Vec<String>>,
    /// Acts for one of these subjects (anywhere in the delegation chain), wildcards allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<Vec<String>>,
    /// Acts for somebody (true) or for itself (false).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegated: Option<bool>,
}

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Only this protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<OneOrMany>,
    /// Classes of action, in the protocol's words. A deny rule also matches an action that would
    /// have the class but for what it calls: a read does not escape it by calling a function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<OneOrMany>,
    /// Operations, in the protocol's words, upper and lower case alike, wildcards allowed
    /// (`DROP *`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<Vec<String>>,
    /// Patterns for the action's resources, wildcards allowed. A deny rule matches when *any*
    /// resource does; an allow rule only when *every* resource does, and there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Vec<String>>,
    /// Only resources used in this way count (for an allow rule: all must be). Without
    /// `resources`, the same as `resources = ["*"]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessWord>,
    /// Names of code that the action calls (SQL functions, as written), wildcards allowed.
    ///
    /// On an allow rule: code that the author vouches for. The rule matches only if every call
    /// that is not known to be harmless is named, and then `class` may also be the class that the
    /// action has without its calls; an action without calls matches too. Without this list such
    /// calls count in `class` as the worst that they may do.
    ///
    /// On a deny rule: it matches when *any* call does, harmless or not. A pattern without a dot
    /// means the name in any schema; one with a dot also fits a name without a schema, if that
    /// isn't known to be harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub functions: Option<Vec<String>>,
    /// Any of these flags, in the protocol's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<Vec<String>>,
    /// What arguments must be: names as the protocol writes them (`arg.path`, `body.amount`,
    /// `field.x-env`; wildcards allowed), each with patterns for its value or a range. Every name
    /// that is written must hold. Arguments that no name is written for are not looked at.
    ///
    /// On an allow rule: the argument must be there, and *every* occurrence must fit (also those
    /// whose name differs in the case of letters only, which some targets take for the same). A
    /// value with `..` in the place of a folder, also written as `%2e%2e`, or with a NUL, fits no
    /// pattern but `*` and itself. Arguments that could not be read fit nothing.
    ///
    /// On a deny rule: it matches when *any* occurrence fits, in any case of the name, as written
    /// or as the path that it leads to (`/srv/../etc/x` is `/etc/x`); a range also fits what is no
    /// number; and arguments that could not be read fit everything. An argument that isn't there
    /// fits nothing: to refuse what lacks one, allow only what has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<BTreeMap<String, Expected>>,
}

/// What an argument's value must be: `["/srv/*", "/tmp/*"]`, `"prod"`, `{ min = 1, max = 100 }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Expected {
    /// Any of these patterns, wildcards allowed, case counts. A number is compared as it was
    /// written: `1e3` is not `1000`; for its value write a range.
    Patterns(OneOrMany),
    /// A number within bounds.
    Range(Range),
}

/// Numbers from `min` to `max`, both included; at least one of them. Compared by value and
/// exactly: `1e2` is 100, and 100.0000000000000001 is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    /// The most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
}

/// How a resource is used, in a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessWord {
    /// Read.
    Read,
    /// Changed.
    Write,
}

/// One word, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl OneOrMany {
    /// The words as a list.
    #[must_use]
    pub fn words(&self) -> &[String] {
        match self {
            Self::One(word) => std::slice::from_ref(word),
            Self::Many(words) => words,
        }
    }
}

impl Serialize for OneOrMany {
    /// Always as a list, so that both ways of writing one word have the same digest.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.words().serialize(serializer)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
