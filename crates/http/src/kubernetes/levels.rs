//! How much of a call is kept, by rules, in the words of Kubernetes' own audit policy.

use std::sync::Arc;

use gate::Session;
use policy::{Action, Config, Effect, Fallback, Known, Principals, Problem, Rule, When};

use super::VOCABULARY;

/// How much of a call is kept (kubernetes.io, "Auditing").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Nothing: calls are counted in the session's end. Only for what reads, and no Secrets: of
    /// anything else, a rule that says so keeps [`Level::Metadata`].
    None,
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
            "None" => Some(Level::None),
            "Metadata" => Some(Level::Metadata),
            "Request" => Some(Level::Request),
            "RequestResponse" => Some(Level::RequestResponse),
            _ => None,
        }
    }
}

/// Which calls are kept at which level: the first that surely fits decides, but a call is kept no
/// worse than a rule before it says that may fit (an object that can't be read, a call for all
/// namespaces).
#[derive(Debug, Clone)]
pub struct Levels(Vec<OneLevel>);

#[derive(Debug, Clone)]
struct OneLevel {
    level: Level,
    /// Allows what surely fits.
    sure: Arc<policy::Policy>,
    /// Denies what may fit.
    maybe: Arc<policy::Policy>,
}

impl Levels {
    /// From pairs of level and condition.
    ///
    /// # Errors
    /// Conditions with words that this protocol does not have; paths begin with `policy.rule`.
    pub fn new(rules: Vec<(Level, When)>) -> Result<Levels, Vec<Problem>> {
        let one = |(level, when): (Level, When)| {
            let sure = compile(Effect::Allow, Fallback::Deny, when.clone())?;
            let maybe = compile(Effect::Deny, Fallback::Allow, when)?;
            Ok(OneLevel { level, sure, maybe })
        };
        rules.into_iter().map(one).collect::<Result<_, _>>().map(Levels)
    }

    /// That of an action.
    pub(super) fn of(&self, session: &Session, action: &Action<'_>) -> Level {
        let mut least = Level::None;
        for one in &self.0 {
            if session.named_by(&one.sure, action).is_some() {
                return least.max(one.level);
            }
            if session.named_by(&one.maybe, action).is_none() {
                least = least.max(one.level);
            }
        }
        Level::default()
    }
}

fn compile(
    effect: Effect,
    default: Fallback,
    when: When,
) -> Result<Arc<policy::Policy>, Vec<Problem>> {
    let name = "level".to_owned();
    let principals = Principals::default();
    let rules = vec![Rule { name, effect, principals, targets: None, when, reason: None }];
    let known = Known { vocabularies: &[VOCABULARY], targets: None, kinds: None };
    policy::Policy::compile(&Config { default, rules }, &known).map(Arc::new)
}
