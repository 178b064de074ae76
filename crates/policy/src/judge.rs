//! From rules to verdicts.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use crate::check::{Known, Problem, check};
use crate::command::{Access, Action, Call, Command, Naming, Resource, Subject};
use crate::config::{AccessWord, Config, Effect, Fallback, OneOrMany, Rule};
use crate::{arguments, glob};

/// The rule name in a verdict that the default gave.
pub const DEFAULT_RULE: &str = "default";

/// What was decided, and by which rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a verdict that nobody looks at protects nothing"]
pub enum Verdict {
    /// It may be done.
    Allow {
        /// The rule that allowed the last action.
        rule: Arc<str>,
    },
    /// It may not be done.
    Deny {
        /// The rule that refused the first refused action.
        rule: Arc<str>,
        /// The rule's words for whoever is refused.
        reason: Option<Arc<str>>,
    },
    /// It must wait for an approval. No policy that loads gives this verdict yet.
    Hold {
        /// The rule that asks for the approval.
        rule: Arc<str>,
        /// The rule's words for whoever has to wait.
        reason: Option<Arc<str>>,
    },
}

impl Verdict {
    /// Whether the command may go on.
    #[must_use]
    pub const fn is_allow(&self) -> bool {
        match self {
            Self::Allow { .. } => true,
            Self::Deny { .. } | Self::Hold { .. } => false,
        }
    }

    /// The name of the rule that decided.
    #[must_use]
    pub fn rule(&self) -> &str {
        match self {
            Self::Allow { rule } | Self::Deny { rule, .. } | Self::Hold { rule, .. } => rule,
        }
    }

    /// How bad it is for whoever asked; the worst of a command's actions counts.
    const fn severity(&self) -> u8 {
        match self {
            Self::Allow { .. } => 0,
            Self::Hold { .. } => 1,
            Self::Deny { .. } => 2,
        }
    }
}

/// Rules ready to judge. Cheap to share by `Arc`; judging takes no lock and, on the way to allow,
/// no allocation.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<Compiled>,
    fallback: Fallback,
    default_rule: Arc<str>,
    digest: String,
}

#[derive(Debug)]
struct Compiled {
    name: Arc<str>,
    reason: Option<Arc<str>>,
    rule: Rule,
}

impl Policy {
    /// Rules from a configuration without any problem.
    ///
    /// # Errors
    /// Everything that [`check`] finds; the fault is the operator's.
    pub fn compile(config: &Config, known: &Known<'_>) -> Result<Self, Vec<Problem>> {
        let problems = check(config, known);
        if problems.is_empty() { Ok(Self::unchecked(config)) } else { Err(problems) }
    }

    /// Rules that were not checked: for tests of the laws that hold for any rules.
    pub(crate) fn unchecked(config: &Config) -> Self {
        let compiled = |rule: &Rule| Compiled {
            name: Arc::from(rule.name.as_str()),
            reason: rule.reason.as_deref().map(Arc::from),
            rule: rule.clone(),
        };
        // Writing strings, numbers and lists as JSON can't fail; were it to, the digest would be
        // that of nothing, and no two policies would be told apart by it. It decides nothing.
        let canonical = serde_json::to_vec(config).unwrap_or_default();
        let digest = digest(&SHA256, &canonical);
        Self {
            rules: config.rules.iter().map(compiled).collect(),
            fallback: config.default,
            default_rule: Arc::from(DEFAULT_RULE),
            digest: digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// SHA-256 of the rules in canonical JSON, lower-case hex: names the policy in records. It
    /// changes with any rule's words or order.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Decides a command: the worst verdict over its actions.
    pub fn judge(&self, subject: &Subject<'_>, command: &Command<'_>) -> Verdict {
        let nothing = [Action::plain("", "")];
        let actions = if command.actions.is_empty() { &nothing[..] } else { command.actions };
        let mut worst: Option<Verdict> = None;
        for action in actions {
            let verdict = self.judge_action(subject, command, action);
            let worse = match &worst {
                None => true,
                // Of equals, the first refusal names the rule, and the last permission.
                Some(known) => {
                    verdict.severity() > known.severity()
                        || verdict.severity() == 0 && known.is_allow()
                }
            };
            if worse {
                worst = Some(verdict);
            }
        }
        worst.unwrap_or_else(|| self.by_default())
    }

    /// Decides one action of a command, alone.
    pub fn judge_action(
        &self,
        subject: &Subject<'_>,
        command: &Command<'_>,
        action: &Action<'_>,
    ) -> Verdict {
        let found = self.rules.iter().find(|it| matches(&it.rule, subject, command, action));
        let Some(found) = found else { return self.by_default() };
        let (rule, reason) = (Arc::clone(&found.name), found.reason.clone());
        match found.rule.effect {
            Effect::Allow => Verdict::Allow { rule },
            Effect::Deny => Verdict::Deny { rule, reason },
            Effect::Hold => Verdict::Hold { rule, reason },
        }
    }

    fn by_default(&self) -> Verdict {
        let rule = Arc::clone(&self.default_rule);
        match self.fallback {
            Fallback::Allow => Verdict::Allow { rule },
            Fallback::Deny => Verdict::Deny { rule, reason: None },
        }
    }
}

/// Whether every written condition holds.
fn matches(rule: &Rule, who: &Subject<'_>, command: &Command<'_>, action: &Action<'_>) -> bool {
    let (by, when) = (&rule.principals, &rule.when);
    any_word(by.kind.as_ref(), |kind| kind == who.kind)
        && any(by.issuers.as_deref(), |issuer| issuer == who.issuer)
        && any(by.subjects.as_deref(), |subject| glob::matches(subject, who.subject))
        && any(by.groups.as_deref(), |group| who.groups.iter().any(|own| own == group))
        && by.delegated.is_none_or(|delegated| delegated != who.on_behalf_of.is_empty())
        && any(by.on_behalf_of.as_deref(), |pattern| {
            who.on_behalf_of.iter().any(|subject| glob::matches(pattern, subject))
        })
        && any(rule.targets.as_deref(), |target| glob::matches(target, command.target))
        && any_word(when.protocol.as_ref(), |protocol| protocol == command.protocol)
        && class_matches(rule, action)
        && any(when.operations.as_deref(), |it| glob::matches_any_case(it, action.operation))
        && any(when.flags.as_deref(), |flag| action.flags.contains(&flag))
        && calls_match(rule, action.calls)
        && resources_match(rule, action.resources)
        && arguments::hold(rule, action)
}

/// An allow rule goes by the class as it stands, unless it vouches for what is called; any other
/// by the class with and without it.
fn class_matches(rule: &Rule, action: &Action<'_>) -> bool {
    let either = rule.effect != Effect::Allow || rule.when.functions.is_some();
    any_word(rule.when.class.as_ref(), |class| {
        class == action.class || either && class == action.class_without_calls
    })
}

fn calls_match(rule: &Rule, calls: &[Call<'_>]) -> bool {
    let Some(patterns) = rule.when.functions.as_deref() else { return true };
    if rule.effect == Effect::Allow {
        let named = |call: &Call<'_>| patterns.iter().any(|it| glob::matches(it, call.name));
        return calls.iter().all(|call| call.harmless || named(call));
    }
    let may_be = |pattern: &str, call: &Call<'_>| {
        if !pattern.contains('.') {
            let own = call.name.rsplit('.').next().unwrap_or_default();
            return glob::matches(pattern, own);
        }
        // What is known to be harmless is known not to be in a namespace of somebody's.
        glob::matches(pattern, call.name)
            || !call.qualified && !call.harmless && glob::may_match(pattern, '.', call.name)
    };
    calls.iter().any(|call| patterns.iter().any(|pattern| may_be(pattern, call)))
}

fn any(list: Option<&[String]>, mut holds: impl FnMut(&str) -> bool) -> bool {
    list.is_none_or(|list| list.iter().any(|word| holds(word)))
}

fn any_word(list: Option<&OneOrMany>, holds: impl FnMut(&str) -> bool) -> bool {
    any(list.map(OneOrMany::words), holds)
}

fn resources_match(rule: &Rule, resources: &[Resource<'_>]) -> bool {
    let when = &rule.when;
    if when.resources.is_none() && when.access.is_none() {
        return true;
    }
    let sure = rule.effect == Effect::Allow;
    let fits = |resource: &Resource<'_>| {
        let used = when.access.is_none_or(|access| match access {
            AccessWord::Read => resource.access == Access::Read,
            AccessWord::Write => resource.access == Access::Write,
        });
        used && any(when.resources.as_deref(), |pattern| {
            let elsewhere = || match resource.naming {
                Naming::Whole => false,
                Naming::Part(divider) => glob::may_match(pattern, divider, resource.name),
                Naming::Program => glob::may_run(pattern, resource.name),
            };
            glob::matches(pattern, resource.name) || !sure && elsewhere()
        })
    };
    if sure {
        !resources.is_empty() && resources.iter().all(fits)
    } else {
        resources.iter().any(fits)
    }
}
