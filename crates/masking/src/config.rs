//! The `[masking]` table as written, before it is checked.
//!
//! Everything that can be wrong in a rule is kept as text here, so that
//! [`Policy::compile`](crate::Policy::compile) can report all problems at
//! once, each with its path, instead of stopping at the first.

use serde::{Deserialize, Serialize};

/// The newest format version understood.
pub const VERSION: u32 = 1;
/// Most rules in one policy.
pub const MAX_RULES: usize = 256;
/// Most entities or column patterns in one rule.
pub const MAX_NAMES_PER_RULE: usize = 256;
/// Shortest key for `hash` and `pseudonymize`, in bytes (128 bits).
pub const MIN_KEY_BYTES: usize = 16;
/// Longest `new_value`, in bytes.
pub const MAX_NEW_VALUE: usize = 256;

/// The `[masking]` table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Format version; absent means 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Where the key for `hash` and `pseudonymize` is to be read from
    /// (`env:NAME` or `file:/path`). This crate does not resolve it: the
    /// caller hands the bytes to [`Policy::compile`](crate::Policy::compile).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What to do with a protected value whose type cannot be masked.
    #[serde(default)]
    pub on_unmaskable: OnUnmaskable,
    /// Rules, the first that applies wins.
    #[serde(default, rename = "rule", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleConfig>,
    /// Recognizers beyond the built-in ones.
    #[serde(default, rename = "recognizer", skip_serializing_if = "Vec::is_empty")]
    pub recognizers: Vec<RecognizerConfig>,
}

/// What to do with a protected value whose type cannot be masked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnmaskable {
    /// Refuse the response.
    #[default]
    Deny,
    /// Answer NULL in its place.
    Null,
}

/// One `[[masking.rule]]`: either `entity`, `columns` or `paths`, and what to do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Name shown in records; absent means `rule N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Entities to look for: names of [`Entity`](crate::Entity), of a custom
    /// recognizer, or a group: `SECRET` (every key and token), `ALL`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entity: Vec<String>,
    /// Columns, as `schema.table.column` with `*` and `?` wildcards per part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Places in JSON documents, as RFC 9535 writes them, e.g. `$.user.ssn`,
    /// `$.items[*].card`, `$..password`; no filters, and counted from the front.
    /// The rule holds for all that is below such a place. The fields of a
    /// form are members of one object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Least score of a finding, 0 to 1; default 0.5. Entity rules only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_threshold: Option<f32>,
    /// What the client sees. Absent means unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<OperatorConfig>,
    /// What the record keeps. Absent means the same as `client`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<OperatorConfig>,
}

/// An operator with its parameters, e.g. `{ operator = "mask", chars_to_mask = 12 }`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorConfig {
    /// `keep`, `replace`, `redact`, `mask`, `hash`, `pseudonymize` or `null`.
    pub operator: String,
    /// `replace`: the text put in place; default `<ENTITY>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_value: Option<String>,
    /// `mask`: one character; default `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masking_char: Option<String>,
    /// `mask`: how many characters; default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chars_to_mask: Option<u32>,
    /// `mask`: count from the end; default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_end: Option<bool>,
    /// `hash`: only `hmac-sha256` (an unkeyed hash of a short value is no
    /// protection: all 10^9 social security numbers hash in seconds).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash_type: Option<String>,
}

impl OperatorConfig {
    /// An operator by name, without parameters.
    #[must_use]
    pub fn named(operator: &str) -> Self {
        Self { operator: operator.to_owned(), ..Self::default() }
    }
}

/// One `[[masking.recognizer]]`: an entity found by regular expressions.
///
/// Patterns are searched within one line of at most
/// [`MAX_CUSTOM_LINE`](crate::MAX_CUSTOM_LINE) bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecognizerConfig {
    /// Entity name, `[A-Z][A-Z0-9_]*`, not a built-in one.
    pub name: String,
    /// Regular expressions (the regex crate's syntax, ASCII classes).
    #[serde(default)]
    pub patterns: Vec<PatternConfig>,
    /// A check each match must pass: `luhn` or `mod97`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<String>,
}

/// A pattern: just the expression, or the expression with a score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PatternConfig {
    /// `'E\d{6}'`, score 0.6.
    Regex(String),
    /// `{ regex = 'E\d{6}', score = 0.4 }`.
    Scored {
        /// The expression.
        regex: String,
        /// Score of a match, 0 to 1.
        score: f32,
    },
}

impl PatternConfig {
    /// The expression.
    #[must_use]
    pub fn regex(&self) -> &str {
        match self {
            Self::Regex(r) | Self::Scored { regex: r, .. } => r,
        }
    }

    /// The score of a match.
    #[must_use]
    pub fn score(&self) -> f32 {
        match self {
            Self::Regex(_) => 0.6,
            Self::Scored { score, .. } => *score,
        }
    }
}

/// One thing wrong in a [`Config`]. The operator's mistake, never a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Problem {
    /// Where, e.g. `masking.rule[2].client.operator` (counted from 0).
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}
