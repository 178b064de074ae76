//! How much of a call is kept, by rules, in the words of Kubernetes' own audit policy.

use std::sync::Arc;

use gate::Session;
use policy::{Action, Config, Effect, Fallback, Known, Principals, Problem, Rule, When};

use super::VOCABULARY;

/// How much of a call is kept (kubernetes.io, "Auditing"). There is no `None`: what is not on
/// record does not reach the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// Who, what and how it ended.
    Metadata,
    /// The same, and the object that was sent.
    Request,
    /// The same, and the answer.
    #[default]
    RequestResponse,
}

impl Level {
    /// The one of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Level> {
        match name {
            "Metadata" => Some(Level::Metadata),
            "Request" => Some(Level::Request),
            "RequestResponse" => Some(Level::RequestResponse),
            _ => None,
        }
    }
}

/// Which calls are kept at which level: the first that fits decides.
#[derive(Debug, Clone)]
pub struct Levels {
    rules: Arc<policy::Policy>,
    levels: Vec<Level>,
}

impl Levels {
    /// From pairs of level and condition.
    ///
    /// # Errors
    /// Conditions with words that this protocol does not have; paths begin with `policy.rule`.
    pub fn new(rules: Vec<(Level, When)>) -> Result<Levels, Vec<Problem>> {
        let (levels, conditions): (Vec<Level>, Vec<When>) = rules.into_iter().unzip();
        let rule = |(at, when): (usize, When)| Rule {
            // By its name a rule is found again.
            name: at.to_string(),
            effect: Effect::Allow,
            principals: Principals::default(),
            targets: None,
            when,
            reason: None,
        };
        let rules = conditions.into_iter().enumerate().map(rule).collect();
        let config = Config { default: Fallback::Deny, rules };
        let known = Known { vocabularies: &[VOCABULARY], targets: None, kinds: None };
        let rules = Arc::new(policy::Policy::compile(&config, &known)?);
        Ok(Levels { rules, levels })
    }

    /// That of an action.
    pub(super) fn of(&self, session: &Session, action: &Action<'_>) -> Level {
        let named = session.named_by(&self.rules, action);
        let at = named.and_then(|name| name.parse::<usize>().ok());
        at.and_then(|at| self.levels.get(at)).copied().unwrap_or_default()
    }
}
