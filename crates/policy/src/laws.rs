//! Laws that hold for any rules and any commands.

use proptest::prelude::*;

use crate::{
    Access, AccessWord, Action, Command, Config, DEFAULT_RULE, Effect, Fallback, Known, OneOrMany,
    Policy, Principals, Resource, Rule, Subject, Verdict, Vocabulary, When, check,
};

const WORDS: &[Vocabulary] = &[
    Vocabulary {
        protocol: "sql",
        classes: &["read", "write"],
        operations: &["SELECT", "DELETE", "DROP TABLE"],
        flags: &["missing_where", "multi"],
    },
    Vocabulary { protocol: "ssh", classes: &["exec"], operations: &[], flags: &["pty"] },
];
const TARGETS: &[&str] = &["a", "ab", "b"];
const KINDS: &[&str] = &["human", "agent"];
const KNOWN: Known<'_> = Known { vocabularies: WORDS, targets: Some(TARGETS), kinds: Some(KINDS) };

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(words).prop_map(str::to_owned)
}

fn some_of(words: &'static [&'static str]) -> impl Strategy<Value = Option<Vec<String>>> {
    prop::option::weighted(0.35, prop::collection::vec(one_of(words), 1..3))
}

fn words_of(words: &'static [&'static str]) -> impl Strategy<Value = Option<OneOrMany>> {
    some_of(words).prop_map(|words| words.map(OneOrMany::Many))
}

fn principals() -> impl Strategy<Value = Principals> {
    (
        words_of(KINDS),
        some_of(&["g1", "g2"]),
        some_of(&["s1", "s*", "t?"]),
        some_of(&["i1", "i2"]),
        some_of(&["p1", "p*"]),
        prop::option::weighted(0.3, any::<bool>()),
    )
        .prop_map(|(kind, groups, subjects, issuers, on_behalf_of, delegated)| Principals {
            kind,
            groups,
            subjects,
            issuers,
            on_behalf_of,
            delegated,
        })
}

fn when() -> impl Strategy<Value = When> {
    (
        words_of(&["sql", "ssh"]),
        words_of(&["read", "write", "exec"]),
        some_of(&["SELECT", "delete", "DROP *", "*"]),
        some_of(&["x.t", "x.*", "*", "*t", "?.u"]),
        prop::option::weighted(
            0.3,
            prop::sample::select(&[AccessWord::Read, AccessWord::Write][..]),
        ),
        some_of(&["missing_where", "multi", "pty"]),
    )
        .prop_map(|(protocol, class, operations, resources, access, flags)| When {
            protocol,
            class,
            operations,
            resources,
            access,
            flags,
        })
}

fn rules() -> impl Strategy<Value = Config> {
    let effect = prop::sample::select(&[Effect::Allow, Effect::Deny][..]);
    let rule = (effect, principals(), some_of(&["a", "a*", "*", "zz"]), when());
    let fallback = prop::sample::select(&[Fallback::Deny, Fallback::Allow][..]);
    (fallback, prop::collection::vec(rule, 0..7)).prop_map(|(default, rules)| Config {
        default,
        rules: rules
            .into_iter()
            .enumerate()
            .map(|(at, (effect, principals, targets, when))| Rule {
                name: format!("r{at}"),
                effect,
                principals,
                targets,
                when,
                reason: None,
            })
            .collect(),
    })
}

/// Owned stand-ins for the borrowed types.
#[derive(Debug, Clone)]
struct Who {
    words: [String; 3],
    groups: Vec<String>,
    on_behalf_of: Vec<String>,
}

impl Who {
    fn subject(&self) -> Subject<'_> {
        let [kind, issuer, subject] = &self.words;
        Subject { kind, issuer, subject, groups: &self.groups, on_behalf_of: &self.on_behalf_of }
    }
}

fn who() -> impl Strategy<Value = Who> {
    (
        one_of(KINDS),
        one_of(&["i1", "i2"]),
        one_of(&["s1", "s2", "t1"]),
        prop::collection::vec(one_of(&["g1", "g2"]), 0..3),
        prop::collection::vec(one_of(&["p1", "q1"]), 0..2),
    )
        .prop_map(|(kind, issuer, subject, groups, on_behalf_of)| Who {
            words: [kind, issuer, subject],
            groups,
            on_behalf_of,
        })
}

#[derive(Debug, Clone)]
struct What {
    operation: String,
    class: String,
    resources: Vec<(String, bool, bool)>,
    flags: Vec<&'static str>,
}

fn what() -> impl Strategy<Value = What> {
    (
        one_of(&["SELECT", "DELETE", "DROP TABLE", "ls"]),
        one_of(&["read", "write", "exec"]),
        prop::collection::vec(
            (one_of(&["x.t", "y.t", "t", "x.u"]), any::<bool>(), any::<bool>()),
            0..3,
        ),
        prop::collection::vec(prop::sample::select(&["missing_where", "multi", "pty"][..]), 0..2),
    )
        .prop_map(|(operation, class, resources, flags)| What {
            operation,
            class,
            resources,
            flags,
        })
}

/// Judges actions as one command.
fn judge(policy: &Policy, who: &Who, protocol: &str, target: &str, actions: &[What]) -> Verdict {
    let resources: Vec<Vec<Resource<'_>>> = actions
        .iter()
        .map(|it| {
            it.resources
                .iter()
                .map(|(name, write, qualified)| Resource {
                    name,
                    qualified: *qualified,
                    access: if *write { Access::Write } else { Access::Read },
                })
                .collect()
        })
        .collect();
    let actions: Vec<Action<'_>> = actions
        .iter()
        .zip(&resources)
        .map(|(it, resources)| Action {
            operation: &it.operation,
            class: &it.class,
            resources,
            flags: &it.flags,
        })
        .collect();
    policy.judge(&who.subject(), &Command { protocol, target, actions: &actions })
}

fn severity(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Allow { .. } => 0,
        Verdict::Hold { .. } => 1,
        Verdict::Deny { .. } => 2,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// What `check` calls dead never decides anything.
    #[test]
    fn a_dead_rule_never_fires(
        config in rules(),
        asked in prop::collection::vec((who(), one_of(&["sql", "ssh"]), one_of(TARGETS), what()), 20),
    ) {
        let dead: Vec<String> = check(&config, &KNOWN)
            .iter()
            .filter_map(|problem| problem.dead_rule)
            .map(|at| format!("r{at}"))
            .collect();
        let policy = Policy::unchecked(&config);
        for (who, protocol, target, what) in &asked {
            // A protocol only ever uses its own words.
            let Some(words) = WORDS.iter().find(|it| it.protocol == protocol) else { continue };
            let own = words.classes.contains(&what.class.as_str())
                && (words.operations.is_empty() || words.operations.contains(&what.operation.as_str()))
                && what.flags.iter().all(|flag| words.flags.contains(flag));
            if own {
                let verdict = judge(&policy, who, protocol, target, std::slice::from_ref(what));
                prop_assert!(!dead.iter().any(|name| name == verdict.rule()), "{verdict:?}");
            }
        }
    }

    /// A command is as bad as its worst action, in any order.
    #[test]
    fn the_worst_action_counts(
        config in rules(), who in who(), actions in prop::collection::vec(what(), 1..4)
    ) {
        let policy = Policy::unchecked(&config);
        let whole = judge(&policy, &who, "sql", "a", &actions);
        let worst = actions
            .iter()
            .map(|it| severity(&judge(&policy, &who, "sql", "a", std::slice::from_ref(it))))
            .max();
        prop_assert_eq!(Some(severity(&whole)), worst);
        let backwards: Vec<What> = actions.into_iter().rev().collect();
        prop_assert_eq!(severity(&judge(&policy, &who, "sql", "a", &backwards)), severity(&whole));
    }

    /// Without a rule that allows, nothing is allowed; what is allowed names such a rule.
    #[test]
    fn nothing_is_allowed_by_nobody(config in rules(), who in who(), what in what()) {
        let mut config = config;
        config.default = Fallback::Deny;
        let verdict = judge(&Policy::unchecked(&config), &who, "sql", "a", std::slice::from_ref(&what));
        let allowing =
            config.rules.iter().any(|it| it.effect == Effect::Allow && it.name == verdict.rule());
        prop_assert_eq!(verdict.is_allow(), allowing);
        config.rules.clear();
        let verdict = judge(&Policy::unchecked(&config), &who, "sql", "a", &[what]);
        prop_assert_eq!(verdict, Verdict::Deny { rule: DEFAULT_RULE.into(), reason: None });
    }

    /// One more resource never turns a refusal by a resource-free policy, nor any deny, into allow
    /// by an allow rule with resources.
    #[test]
    fn an_allow_rule_fits_every_resource(who in who(), what in what()) {
        let config: Config = toml::from_str(
            "[[rule]]\nname = 'x'\neffect = 'allow'\nwhen = { resources = ['x.*'] }",
        ).unwrap();
        let all = !what.resources.is_empty()
            && what.resources.iter().all(|(name, ..)| name.starts_with("x."));
        let verdict = judge(&Policy::unchecked(&config), &who, "sql", "a", &[what]);
        prop_assert_eq!(verdict.is_allow(), all);
    }

    /// The digest tells policies apart and is the same for the same rules.
    #[test]
    fn the_digest_names_the_rules(one in rules(), two in rules()) {
        let (a, b) = (Policy::unchecked(&one), Policy::unchecked(&two));
        prop_assert_eq!(a.digest() == b.digest(), one == two);
        prop_assert_eq!(a.digest().len(), 64);
    }
}
