//! Who acts, and for whom.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What sort of principal acts. Assigned by the mapping rule that matched,
/// never guessed from the look of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A person at a keyboard.
    Human,
    /// A program that decides for itself what to do next.
    Agent,
    /// A service or job with a fixed program.
    Workload,
    /// A run of a build or deployment pipeline.
    Ci,
}

impl Kind {
    /// The word used in configuration and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Agent => "agent",
            Self::Workload => "workload",
            Self::Ci => "ci",
        }
    }

    /// Reads the word used in configuration. `None` if it is no kind.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Human, Self::Agent, Self::Workload, Self::Ci]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a party in the chain of delegation was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActorRole {
    /// An earlier actor, through whom the right was handed on. Information
    /// only (RFC 8693 section 4.1): it may be a reason to refuse, never to allow.
    Intermediary,
    /// The one whose right it is: the token's own `sub`.
    Subject,
}

/// A party on whose behalf a principal acts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// The `iss` of the issuer that vouches for this party.
    pub issuer: String,
    /// The party's subject there.
    pub subject: String,
    /// What the party was in the chain.
    pub role: ActorRole,
}

/// Who acts.
///
/// For a token of `alice` alone this is alice, and
/// [`on_behalf_of`](Self::on_behalf_of) is empty. For a delegated token (RFC
/// 8693: `sub = alice`, `act.sub = agent-7`) the principal is **agent-7**, who
/// acts, and alice stands in `on_behalf_of`. With `act.act.sub = agent-3` too,
/// `on_behalf_of` is `[agent-3 (intermediary), alice (subject)]`: alice gave
/// the right to agent-3, who handed it to agent-7.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The `iss` of the issuer, byte for byte.
    pub issuer: String,
    /// The subject there: the claim the rule names, or `act.sub`.
    pub subject: String,
    /// What sort of principal it is.
    pub kind: Kind,
    /// A name for people to read; decides nothing. Without control characters,
    /// at most [`MAX_DISPLAY_BYTES`](crate::limits::MAX_DISPLAY_BYTES).
    pub display: String,
    /// The groups the token states. For a delegated token these are the groups
    /// of the one acted for, since the issuer states them of `sub`.
    pub groups: BTreeSet<String>,
    /// Nearest first: earlier actors, then the subject last. Empty if nobody is
    /// acted for. At most [`MAX_DELEGATION_DEPTH`](crate::limits::MAX_DELEGATION_DEPTH) long.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_behalf_of: Vec<Actor>,
    /// The sponsor of an agent or workload, where the rule names a claim for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The mapping rule that made this principal, as `issuer-name/rule-name`.
    pub rule: String,
}

impl Principal {
    /// The one whose right is used: the last in the chain, or `None` if the
    /// principal acts for itself.
    #[must_use]
    pub fn acts_for(&self) -> Option<&Actor> {
        self.on_behalf_of.last()
    }

    /// Whether this party is the principal, its owner, or anyone in the chain.
    /// Ending a party's leases ends all of these.
    #[must_use]
    pub fn involves(&self, issuer: &str, subject: &str) -> bool {
        (self.issuer == issuer
            && (self.subject == subject || self.owner.as_deref() == Some(subject)))
            || self.on_behalf_of.iter().any(|a| a.issuer == issuer && a.subject == subject)
    }
}

impl fmt::Display for Principal {
    /// `agent agent-7 for alice`, for a log line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.subject)?;
        match self.acts_for() {
            Some(actor) => write!(f, " for {}", actor.subject),
            None => Ok(()),
        }
    }
}
