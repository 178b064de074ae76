//! The configuration: which issuers are trusted, and what their tokens mean.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use crate::plan;

/// The `[issuer.<name>]` sections of a configuration.
///
/// Words, durations and algorithms are kept as text here, so that
/// [`validate`](Self::validate) can tell all mistakes at once instead of the
/// first. Unknown keys are refused when the text is read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Issuers by the name that rules, records and messages use for them.
    #[serde(default, rename = "issuer")]
    pub issuers: BTreeMap<String, IssuerConfig>,
}

/// One `[issuer.<name>]` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// The issuer's `iss`, compared byte for byte.
    pub iss: String,
    /// The names of this proxy as a resource; a token's `aud` must hold one.
    pub audiences: Vec<String>,
    /// Accepted signature algorithms, of `RS256`, `PS256`, `ES256`, `ES384`, `EdDSA`.
    pub algorithms: Vec<String>,
    /// Kinds of principal this issuer's rules may make: `human`, `agent`, `workload`, `ci`.
    pub may_mint: Vec<String>,
    /// Accepted token classes, of `at+jwt`, `JWT`, `untyped`, `id-token`. Default `["at+jwt"]`.
    #[serde(default = "default_token_classes")]
    pub token_classes: Vec<String>,
    /// Clients (`azp`, `client_id`) whose tokens are accepted even if they name
    /// several audiences or are ID tokens. Default none.
    #[serde(default)]
    pub authorized_parties: Vec<String>,
    /// Oldest accepted token, by `iat`. Default `1h`.
    #[serde(default = "default_max_token_age")]
    pub max_token_age: String,
    /// How far the issuer's clock may be off. Default `30s`, at most `300s`.
    #[serde(default = "default_clock_skew")]
    pub clock_skew: String,
    /// How long the last good key set serves when no new one can be had. Default `1h`.
    #[serde(default = "default_jwks_max_stale")]
    pub jwks_max_stale: String,
    /// The key set's address; without it the discovery document tells.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// The discovery document's address. Default `<iss>/.well-known/openid-configuration`.
    #[serde(default)]
    pub discovery: Option<String>,
    /// PEM file with the only certificate authorities to trust for this issuer.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Allows `http://` to `127.0.0.1`, `[::1]` and `localhost`. For demos and tests.
    #[serde(default)]
    pub allow_insecure_loopback: bool,
    /// Mapping rules, `[[issuer.<name>.rule]]`.
    #[serde(default, rename = "rule")]
    pub rules: Vec<RuleConfig>,
}

/// One `[[issuer.<name>.rule]]`: which tokens it matches and what principal
/// they make.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Its name, unique within the issuer.
    pub name: String,
    /// The kind of principal it makes.
    pub kind: String,
    /// Conditions by claim; all must hold. A claim is named by its top-level
    /// name, or by a JSON pointer (RFC 6901) if it begins with `/`.
    #[serde(default)]
    pub when: BTreeMap<String, ConditionConfig>,
    /// The claim that names the principal when nobody is acted for. Default `sub`.
    #[serde(default = "default_subject")]
    pub subject: String,
    /// The claim that names the one acted for, when `actor_from` applies. Default `sub`.
    #[serde(default = "default_subject")]
    pub on_behalf_of: String,
    /// The claim that lists groups. Default: no groups.
    #[serde(default)]
    pub groups: Option<String>,
    /// The claim with a name for people to read. Default: the subject.
    #[serde(default)]
    pub display: Option<String>,
    /// The claim that names an agent's owner.
    #[serde(default)]
    pub owner: Option<String>,
    /// `"act"` lets the rule match delegated tokens (RFC 8693). Without it a
    /// token with an `act` claim is refused.
    #[serde(default)]
    pub actor_from: Option<String>,
    /// Longest session. Default: agent `15m`, ci and workload `1h`, human `10h`.
    #[serde(default)]
    pub max_session: Option<String>,
}

/// What a claim must be. All keys that are present must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionConfig {
    /// The claim equals this, in type and value.
    #[serde(default)]
    pub equals: Option<Scalar>,
    /// The claim is one of these.
    #[serde(default, rename = "in")]
    pub one_of: Option<Vec<Scalar>>,
    /// The claim is a list (or, for `scope`, words) and holds one of these.
    #[serde(default)]
    pub contains_any: Option<Vec<Scalar>>,
    /// The claim is present and none of these.
    #[serde(default)]
    pub not_in: Option<Vec<Scalar>>,
    /// `true`: the claim is absent.
    #[serde(default)]
    pub absent: Option<bool>,
    /// `true`: the claim is present and not null.
    #[serde(default)]
    pub present: Option<bool>,
}

/// A single value of a claim. Types are not converted: `"65"` is not `65`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// true or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Text.
    Text(String),
}

/// One mistake in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: `issuer.okta.rule[1].kind`, rules counted from 0.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// All mistakes in a configuration. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError {
    /// The mistakes, in the order of the issuers' names.
    pub problems: Vec<Problem>,
}

impl Config {
    /// All mistakes at once; empty if the configuration can be used. Reads no
    /// file and asks no issuer.
    #[must_use]
    pub fn validate(&self) -> Vec<Problem> {
        plan::compile(self).err().unwrap_or_default()
    }
}

fn default_token_classes() -> Vec<String> {
    vec!["at+jwt".to_owned()]
}

fn default_max_token_age() -> String {
    "1h".to_owned()
}

fn default_clock_skew() -> String {
    "30s".to_owned()
}

fn default_jwks_max_stale() -> String {
    "1h".to_owned()
}

fn default_subject() -> String {
    "sub".to_owned()
}
