//! Laws that hold for any rules and any commands.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::{
    Access, AccessWord, Action, Argument, Call, Command, Config, DEFAULT_RULE, Effect, Expected,
    Fallback, Known, Naming, OneOrMany, Policy, Principals, Range, Resource, Rule, Subject,
    Verdict, Vocabulary, When, check,
};

const WORDS: &[Vocabulary] = &[
    Vocabulary {
        protocol: "sql",
        classes: &["read", "write"],
        operations: &["SELECT", "DELETE", "DROP TABLE"],
        flags: &["missing_where", "multi"],
        calls: true,
        arguments: &[],
    },
    Vocabulary {
        protocol: "ssh",
        classes: &["exec"],
        operations: &[],
        flags: &["pty"],
        calls: false,
        arguments: &["arg.", "env."],
    },
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

fn arguments() -> impl Strategy<Value = Option<BTreeMap<String, Expected>>> {
    let bound = || prop::option::of(0_i64..4);
    let expected = prop_oneof![
        3 => words_of(&["/a/*", "/a/b", "*", "/*", "a/../b", "2"])
            .prop_map(|it| Expected::Patterns(it.unwrap_or(OneOrMany::One("*".to_owned())))),
        1 => (bound(), bound()).prop_map(|(min, max)| Expected::Range(Range { min, max })),
    ];
    let name = one_of(&["arg.x", "arg.*", "arg.y", "env.x", "*", "ARG.X"]);
    prop::option::weighted(0.4, prop::collection::btree_map(name, expected, 1..3))
}

fn when() -> impl Strategy<Value = When> {
    (
        words_of(&["sql", "ssh"]),
        words_of(&["read", "write", "exec"]),
        some_of(&["SELECT", "delete", "DROP *", "*"]),
        some_of(&["x.t", "x.*", "*", "*t", "?.u", "t *", "/b/t *", "/b/*"]),
        prop::option::weighted(
            0.3,
            prop::sample::select(&[AccessWord::Read, AccessWord::Write][..]),
        ),
        some_of(&["missing_where", "multi", "pty"]),
        some_of(&["s.f", "s.*", "f", "*", "?.g"]),
        arguments(),
    )
        .prop_map(
            |(protocol, class, operations, resources, access, flags, functions, arguments)| When {
                protocol,
                class,
                operations,
                resources,
                access,
                functions,
                flags,
                arguments,
            },
        )
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
    class_without_calls: String,
    resources: Vec<(String, bool, Naming)>,
    calls: Vec<(String, bool)>,
    flags: Vec<&'static str>,
    arguments: Vec<(String, String)>,
    unread: Vec<&'static str>,
    to_come: Vec<&'static str>,
}

fn naming() -> impl Strategy<Value = Naming> {
    prop::sample::select(&[Naming::Whole, Naming::Part('.'), Naming::Program][..])
}

fn what() -> impl Strategy<Value = What> {
    (
        one_of(&["SELECT", "DELETE", "DROP TABLE", "ls"]),
        one_of(&["read", "write", "exec"]),
        prop::collection::vec(
            (one_of(&["x.t", "y.t", "t", "x.u", "/a/t x"]), any::<bool>(), naming()),
            0..3,
        ),
        prop::collection::vec((one_of(&["s.f", "f", "t.g", "g"]), any::<bool>()), 0..3),
        prop::collection::vec(prop::sample::select(&["missing_where", "multi", "pty"][..]), 0..2),
        prop::collection::vec(
            (
                one_of(&["arg.x", "arg.X", "arg.y", "env.x"]),
                one_of(&["/a/b", "/a/../b", "/b", "//a/c", "a/../b", "2", "0.2e1", "3.5", "x"]),
            ),
            0..4,
        ),
        prop::collection::vec(prop::sample::select(&["arg.", "env.", "arg.x."][..]), 0..2),
    )
        .prop_map(
            |(operation, class_without_calls, resources, calls, flags, arguments, unread)| What {
                operation,
                class: match class_without_calls.as_str() {
                    "read" if calls.iter().any(|(_, harmless)| !harmless) => "write".to_owned(),
                    same => same.to_owned(),
                },
                class_without_calls,
                resources,
                calls,
                flags,
                arguments,
                unread,
                to_come: Vec::new(),
            },
        )
}

/// Judges actions as one command.
fn judge(policy: &Policy, who: &Who, protocol: &str, target: &str, actions: &[What]) -> Verdict {
    let resources: Vec<Vec<Resource<'_>>> = actions
        .iter()
        .map(|it| {
            it.resources
                .iter()
                .map(|(name, write, naming)| Resource {
                    name,
                    naming: *naming,
                    access: if *write { Access::Write } else { Access::Read },
                })
                .collect()
        })
        .collect();
    let calls: Vec<Vec<Call<'_>>> = actions
        .iter()
        .map(|it| {
            it.calls
                .iter()
                .map(|(name, harmless)| Call {
                    name,
                    qualified: name.contains('.'),
                    harmless: *harmless,
                })
                .collect()
        })
        .collect();
    let arguments: Vec<Vec<Argument<'_>>> = actions
        .iter()
        .map(|it| it.arguments.iter().map(|(name, value)| Argument { name, value }).collect())
        .collect();
    let actions: Vec<Action<'_>> = actions
        .iter()
        .zip(&resources)
        .zip(&calls)
        .zip(&arguments)
        .map(|(((it, resources), calls), arguments)| Action {
            operation: &it.operation,
            class: &it.class,
            class_without_calls: &it.class_without_calls,
            resources,
            calls,
            flags: &it.flags,
            arguments,
            unread: &it.unread,
            to_come: &it.to_come,
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
                && (words.calls || what.calls.is_empty())
                && (!words.arguments.is_empty()
                    || what.arguments.is_empty() && what.unread.is_empty())
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

    /// A rule that allows reads and names functions lets nothing through that calls another one,
    /// and one that names none lets nothing through that calls any.
    #[test]
    fn only_named_calls_are_reads(who in who(), what in what()) {
        let rule = "[[rule]]\nname = 'x'\neffect = 'allow'\nwhen = { class = 'read'";
        let named: Config = toml::from_str(&format!("{rule}, functions = ['s.f'] }}")).unwrap();
        let plain: Config = toml::from_str(&format!("{rule} }}")).unwrap();
        let unknown: Vec<&str> =
            what.calls.iter().filter(|(_, harmless)| !harmless).map(|(name, _)| &**name).collect();
        let read = what.class_without_calls == "read";
        let by = |config: &Config| {
            judge(&Policy::unchecked(config), &who, "sql", "a", std::slice::from_ref(&what))
        };
        prop_assert_eq!(by(&named).is_allow(), read && unknown.iter().all(|name| *name == "s.f"));
        prop_assert_eq!(by(&plain).is_allow(), read && unknown.is_empty());
    }

    /// No call takes an action out of reach of a rule that denies.
    #[test]
    fn calling_something_escapes_no_refusal(who in who(), what in what()) {
        let deny = |when: &str| -> Config {
            toml::from_str(&format!(
                "default = 'allow'\n[[rule]]\nname = 'x'\neffect = 'deny'\nwhen = {{ {when} }}"
            )).unwrap()
        };
        let by = |config: &Config| {
            judge(&Policy::unchecked(config), &who, "sql", "a", std::slice::from_ref(&what))
        };
        if what.class_without_calls == "read" {
            prop_assert!(!by(&deny("class = 'read'")).is_allow());
        }
        let f = what.calls.iter().any(|(name, _)| name == "f" || name == "s.f");
        prop_assert_eq!(by(&deny("functions = ['f']")).is_allow(), !f);
        let may = what.calls.iter().any(|(name, ok)| name == "s.f" || name == "f" && !ok);
        prop_assert_eq!(by(&deny("functions = ['s.f']")).is_allow(), !may);
    }

    /// Arguments that can't be read let nothing more through, whatever the rules are.
    #[test]
    fn what_is_not_read_is_the_worst(config in rules(), who in who(), what in what()) {
        let policy = Policy::unchecked(&config);
        let read = What { unread: Vec::new(), ..what.clone() };
        let by = |it: What| severity(&judge(&policy, &who, "ssh", "a", &[it]));
        prop_assert!(by(what) >= by(read));
    }

    /// What some arguments could be let through for, is let through while they are to come.
    #[test]
    fn a_list_shows_what_can_be_called(config in rules(), who in who(), what in what()) {
        let policy = Policy::unchecked(&config);
        let to_come = What { to_come: vec![""], ..what.clone() };
        let by = |it: What| severity(&judge(&policy, &who, "ssh", "a", &[it]));
        prop_assert!(by(to_come) <= by(what));
    }

    /// The same where only one is.
    #[test]
    fn what_is_let_through_with_one_is_let_through_before_it_comes(
        config in rules(), who in who(), what in what(), value in one_of(&["/a/b", "2", "x"]),
    ) {
        let policy = Policy::unchecked(&config);
        let mut with = what.clone();
        with.arguments.push(("arg.x".to_owned(), value));
        let before = What { to_come: vec!["arg.x"], ..what };
        let by = |it: What| severity(&judge(&policy, &who, "ssh", "a", &[it]));
        prop_assert!(by(before) <= by(with));
    }

    /// What is known already decides: a rule about another argument holds as ever.
    #[test]
    fn what_is_to_come_hides_no_other_argument(who in who(), value in one_of(&["2", "x"])) {
        let config: Config = toml::from_str(
            "default = 'allow'\n[[rule]]\nname = 'no'\neffect = 'deny'\n\
             when = { arguments = { 'env.x' = '2' } }\n[[rule]]\nname = 'port'\neffect = 'deny'\n\
             when = { arguments = { 'arg.port' = '*' } }",
        ).unwrap();
        let what = What {
            operation: "ls".into(),
            class: "read".into(),
            class_without_calls: "read".into(),
            resources: Vec::new(),
            calls: Vec::new(),
            flags: Vec::new(),
            arguments: vec![("env.x".into(), value.clone())],
            unread: Vec::new(),
            to_come: vec!["arg.port"],
        };
        let verdict = judge(&Policy::unchecked(&config), &who, "ssh", "a", &[what]);
        prop_assert_eq!(verdict.is_allow(), value != "2");
    }

    /// An allow rule wants its argument, and every occurrence of it; a deny rule any that may be.
    #[test]
    fn every_occurrence_or_any(who in who(), what in what()) {
        let by = |rule: &str| {
            let config: Config = toml::from_str(rule).unwrap();
            judge(&Policy::unchecked(&config), &who, "ssh", "a", std::slice::from_ref(&what))
                .is_allow()
        };
        let own: Vec<(&str, &str)> = what
            .arguments
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("arg.x"))
            .map(|(name, value)| (&**name, &**value))
            .collect();
        // The rule's name doesn't lie below `arg.x.`.
        let unread = what.unread.contains(&"arg.");
        let inside = |value: &str| value.starts_with("/a/") && !value.contains("..");
        let allowed = !unread
            && own.iter().any(|(name, _)| *name == "arg.x")
            && own.iter().all(|(_, value)| inside(value));
        let allow = "[[rule]]\nname = 'x'\neffect = 'allow'\n";
        prop_assert_eq!(by(&format!("{allow}when = {{ arguments = {{ 'arg.x' = '/a/*' }} }}")), allowed);
        let leads = |value: &str| value.starts_with("/a/") && value != "/a/../b" || value == "//a/c";
        let denied = unread || own.iter().any(|(_, value)| leads(value) || *value == "/a/../b");
        let deny = "default = 'allow'\n[[rule]]\nname = 'x'\neffect = 'deny'\n";
        prop_assert_eq!(by(&format!("{deny}when = {{ arguments = {{ 'arg.x' = '/a/*' }} }}")), !denied);
        let two = |value: &str| value == "2" || value == "0.2e1";
        let exactly = "when = { arguments = { 'arg.x' = { min = 2, max = 2 } } }";
        let allowed = !unread
            && own.iter().any(|(name, _)| *name == "arg.x")
            && own.iter().all(|(_, value)| two(value));
        prop_assert_eq!(by(&format!("{allow}{exactly}")), allowed);
        // What is no number may be any.
        let denied = unread || own.iter().any(|(_, value)| *value != "3.5");
        prop_assert_eq!(by(&format!("{deny}{exactly}")), !denied);
        // Two names: both must hold.
        let other = what.arguments.iter().any(|(name, _)| name == "arg.y");
        let denied = unread || !own.is_empty() && other;
        let both = "when = { arguments = { 'arg.x' = '*', 'arg.y' = '*' } }";
        prop_assert_eq!(by(&format!("{deny}{both}")), !denied);
    }

    /// The digest tells policies apart and is the same for the same rules.
    #[test]
    fn the_digest_names_the_rules(one in rules(), two in rules()) {
        let (a, b) = (Policy::unchecked(&one), Policy::unchecked(&two));
        prop_assert_eq!(a.digest() == b.digest(), one == two);
        prop_assert_eq!(a.digest().len(), 64);
    }
}
