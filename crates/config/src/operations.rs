//! What targets of every protocol have alike: what they are made with, operations, kinds of
//! principals.

use std::path::Path;
use std::sync::Arc;

#[cfg(any(feature = "postgres", feature = "ssh"))]
use identity::Kind;

use crate::document::Document;
use crate::secret::{Lookup, Secret};
use crate::sections::Operation;

/// A target's `[[…operation]]` tables: what `recording = "operations"` names.
pub(crate) fn compile(
    document: &mut Document<'_>,
    path: &str,
    recording: gate::RecordingLevel,
    operations: &[Operation],
    vocabulary: policy::Vocabulary,
) -> Option<Arc<policy::Policy>> {
    let wanted = recording == gate::RecordingLevel::Operations;
    let key = format!("{path}.operation");
    match (wanted, operations.is_empty()) {
        (true, true) => {
            let message = "is missing; `recording = \"operations\"` records what [[…operation]] \
                           tables name, so nothing would be";
            document.problem(key, message);
            return None;
        }
        (false, false) => {
            document.problem(key, "has no use without `recording = \"operations\"`");
            return None;
        }
        (false, true) => return None,
        (true, false) => {}
    }
    let rule = |operation: &Operation| policy::Rule {
        name: operation.name.clone().unwrap_or_default(),
        effect: policy::Effect::Allow,
        principals: policy::Principals::default(),
        targets: None,
        when: operation.when.clone(),
        reason: None,
    };
    let config = policy::Config {
        default: policy::Fallback::Deny,
        rules: operations.iter().map(rule).collect(),
    };
    let known = policy::Known { vocabularies: &[vocabulary], targets: None, kinds: None };
    match policy::Policy::compile(&config, &known) {
        Ok(compiled) => Some(Arc::new(compiled)),
        Err(problems) => {
            for problem in problems {
                let below = problem.path.replace("policy.rule", &key);
                document.problem(below, problem.message.replace("policy.rule", &key));
            }
            None
        }
    }
}

/// Kinds of principals, as some issuer gives them out.
#[cfg(any(feature = "postgres", feature = "ssh"))]
pub(crate) fn kinds(
    document: &mut Document<'_>,
    path: &str,
    words: &[String],
    known: &[&str],
) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for word in words {
        match Kind::parse(word) {
            Some(kind) if known.contains(&word.as_str()) => kinds.push(kind),
            _ => {
                let there = known.join(", ");
                let message = format!("no issuer gives out the kind `{word}`; there are: {there}");
                document.problem(format!("{path}.kinds"), message);
            }
        }
    }
    kinds
}

/// The rules for masking, and what they were made of.
#[derive(Debug)]
#[cfg_attr(not(feature = "http"), allow(dead_code, reason = "only HTTP puts rules before them"))]
pub(crate) struct Masking {
    pub(crate) policy: Arc<masking::Policy>,
    pub(crate) config: masking::Config,
    pub(crate) key: Option<Secret>,
}

impl Default for Masking {
    fn default() -> Self {
        let policy = Arc::new(masking::Policy::empty());
        Masking { policy, config: masking::Config::default(), key: None }
    }
}

#[cfg(feature = "http")]
impl Masking {
    /// The same, with rules of a protocol's own before them.
    pub(crate) fn behind(
        &self,
        first: Vec<masking::RuleConfig>,
    ) -> Result<Arc<masking::Policy>, Vec<masking::Problem>> {
        let mut config = self.config.clone();
        config.rules.splice(0..0, first);
        masking::Policy::compile(&config, self.key.as_ref().map(Secret::expose)).map(Arc::new)
    }
}

/// What the sections of a target are made ready with.
#[cfg_attr(
    not(any(feature = "postgres", feature = "ssh")),
    allow(dead_code, reason = "HTTP's targets have no rules of their own for principals")
)]
pub(crate) struct Context<'a> {
    pub(crate) base: &'a Path,
    pub(crate) env: Lookup<'a>,
    pub(crate) masking: &'a Masking,
    pub(crate) kinds: &'a [&'a str],
    /// How many issuers there are.
    #[cfg(feature = "http")]
    pub(crate) issuers: usize,
}

/// Kinds that some rule of some issuer makes.
pub(crate) fn made(config: &identity::Config) -> Vec<&'static str> {
    let all = ["human", "agent", "workload", "ci"];
    let made = |kind: &&str| {
        config.issuers.values().flat_map(|issuer| &issuer.rules).any(|rule| rule.kind == *kind)
    };
    all.into_iter().filter(made).collect()
}
