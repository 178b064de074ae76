//! Mistakes in a configuration, and what is said about them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "test code")]

use policy::{Config, Known, Policy, Problem, ProblemKind, Vocabulary, check};

const WORDS: &[Vocabulary] = &[
    Vocabulary {
        protocol: "postgres",
        classes: &["session", "read", "write", "ddl"],
        operations: &["SELECT", "DELETE", "COPY", "DROP TABLE"],
        flags: &["missing_where"],
        calls: true,
        arguments: &[],
    },
    Vocabulary {
        protocol: "ssh",
        classes: &["exec"],
        operations: &[],
        flags: &["pty"],
        calls: false,
        arguments: &[],
    },
    Vocabulary {
        protocol: "mcp",
        classes: &["tool"],
        operations: &[],
        flags: &[],
        calls: false,
        arguments: &["arg.", "header."],
    },
];

fn problems(rules: &str) -> Vec<Problem> {
    let config: Config = toml::from_str(rules).unwrap();
    let known = Known {
        vocabularies: WORDS,
        targets: Some(&["orders-eu", "orders-us", "hr"]),
        kinds: Some(&["human", "agent"]),
    };
    let problems = check(&config, &known);
    assert_eq!(Policy::compile(&config, &known).is_err(), !problems.is_empty());
    problems
}

fn rule(name: &str, effect: &str, rest: &str) -> String {
    format!("[[rule]]\nname = '{name}'\neffect = '{effect}'\n{rest}\n")
}

#[test]
fn each_mistake_is_named_with_its_place() {
    use ProblemKind::{Duplicate, Empty, NotAvailable, TooLarge, UnknownWord, Unreachable};
    let long = format!("targets = ['{}']", "*".repeat(300));
    let many = format!("when = {{ arguments = {{ 'arg.x' = '{}' }} }}", "x".repeat(300));
    let table: &[(&str, &str, ProblemKind, &str)] = &[
        ("allow", "when = { class = 'raed' }", UnknownWord, ".when.class"),
        ("allow", "when = { class = ['read', 'x'] }", UnknownWord, ".when.class"),
        (
            "deny",
            "when = { protocol = 'postgres', operations = ['DELET'] }",
            UnknownWord,
            ".when.operations",
        ),
        ("deny", "when = { flags = ['no_where'] }", UnknownWord, ".when.flags"),
        ("deny", "when = { protocol = 'mysql' }", UnknownWord, ".when.protocol"),
        ("deny", "principals = { kind = 'robot' }", UnknownWord, ".principals.kind"),
        ("deny", "when = { class = [] }", Empty, ".when.class"),
        ("deny", "targets = []", Empty, ".targets"),
        ("deny", "principals = { groups = [] }", Empty, ".principals.groups"),
        ("deny", "when = { resources = [''] }", Empty, ".when.resources"),
        ("hold", "", NotAvailable, ".effect"),
        ("deny", "targets = ['payments']", Unreachable, ".targets"),
        ("deny", "targets = ['hr', 'payments']", Unreachable, ".targets"),
        (
            "deny",
            "principals = { delegated = false, on_behalf_of = ['*'] }",
            Unreachable,
            ".principals",
        ),
        ("deny", "when = { class = 'exec', flags = ['missing_where'] }", Unreachable, ".when"),
        ("deny", "when = { protocol = 'ssh', class = 'ddl' }", UnknownWord, ".when.class"),
        ("deny", "when = { protocol = 'ssh', functions = ['f'] }", Unreachable, ".when.functions"),
        ("deny", "when = { class = 'exec', functions = ['f'] }", Unreachable, ".when"),
        ("allow", "when = { protocol = 'ssh', functions = ['f'] }", Unreachable, ".when.functions"),
        ("allow", "when = { functions = [] }", Empty, ".when.functions"),
        ("deny", &long, TooLarge, ".targets"),
        ("deny", "when = { arguments = {} }", Empty, ".when.arguments"),
        ("deny", "when = { arguments = { 'arg.x' = [] } }", Empty, ".when.arguments"),
        ("deny", "when = { arguments = { 'arg.x' = {} } }", Empty, ".when.arguments"),
        ("deny", "when = { arguments = { 'args.x' = 'y' } }", UnknownWord, ".when.arguments"),
        ("deny", "when = { arguments = { 'x' = 'y' } }", UnknownWord, ".when.arguments"),
        ("deny", &many, TooLarge, ".when.arguments"),
        (
            "allow",
            "when = { arguments = { 'arg.x' = { min = 2, max = 1 } } }",
            Unreachable,
            ".when.arguments",
        ),
        (
            "deny",
            "when = { protocol = 'ssh', arguments = { 'arg.x' = 'y' } }",
            Unreachable,
            ".when.arguments",
        ),
        ("allow", "when = { class = 'exec', arguments = { 'arg.x' = 'y' } }", Unreachable, ".when"),
    ];
    for (effect, rest, kind, path) in table {
        let found = problems(&rule("r", effect, rest));
        let path = format!("policy.rule[0]{path}");
        assert!(found.iter().any(|it| it.kind == *kind && it.path == path), "{rest}: {found:?}");
    }
    let found = problems(&(rule("r", "deny", "targets = ['hr']") + &rule("r", "allow", "")));
    assert_eq!(
        (found.len(), found[0].kind, &*found[0].path),
        (1, Duplicate, "policy.rule[1].name")
    );
    assert_eq!(problems(&rule("default", "deny", ""))[0].kind, Duplicate);
    assert_eq!(problems(&rule(" ", "deny", ""))[0].kind, Empty);
}

#[test]
fn all_mistakes_at_once() {
    let text = rule("a", "hold", "when = { class = 'x' }") + &rule("a", "deny", "targets = ['zz']");
    let paths: Vec<String> = problems(&text).into_iter().map(|it| it.path).collect();
    let want = [
        "policy.rule[0].effect",
        "policy.rule[0].when.class",
        "policy.rule[1].name",
        "policy.rule[1].targets",
    ];
    assert_eq!(paths, want);
}

#[test]
fn a_shadowed_rule_is_reported_with_what_shadows_it() {
    let dead = |rules: String| {
        problems(&rules).into_iter().find_map(|it| it.dead_rule.map(|at| (at, it.message)))
    };
    let same = rule("all", "deny", "") + &rule("x", "allow", "when = { class = 'read' }");
    let (at, message) = dead(same).expect("dead");
    assert_eq!(at, 1);
    assert!(message.contains("`all`"), "{message}");
    // Two rules that cover the third only together.
    let both = rule("h", "deny", "principals = { kind = 'human' }")
        + &rule("a", "allow", "principals = { kind = 'agent' }")
        + &rule("x", "deny", "principals = { kind = ['human', 'agent'] }\ntargets = ['orders-*']");
    assert_eq!(dead(both).expect("dead").0, 2);
    // All of a folder is a path; the name in it is a program's, in whatever folder.
    let alive = rule("x", "deny", "when = { resources = ['/opt/x/*'] }")
        + &rule("y", "deny", "when = { resources = ['/opt/x/rm *'] }");
    assert_eq!(dead(alive), None);
    // An allow rule for some resources leaves the deny rule its work: every against any.
    let alive = rule("x", "allow", "when = { resources = ['*'] }")
        + &rule("y", "deny", "when = { resources = ['hr.*'] }");
    assert_eq!(dead(alive), None);
    let alive = rule("x", "deny", "when = { class = 'read', resources = ['hr.*'] }")
        + &rule("y", "deny", "when = { resources = ['hr.pay'] }");
    assert_eq!(dead(alive), None);
    let covered = rule("x", "deny", "when = { resources = ['hr.*'] }")
        + &rule("y", "allow", "when = { resources = ['hr.pay', 'hr.a?'] }");
    assert_eq!(dead(covered).expect("dead").0, 1);
    // Reads that call something are not reads to the first rule.
    let alive = rule("x", "allow", "when = { class = 'read' }")
        + &rule("y", "allow", "when = { class = 'read', functions = ['app.*'] }");
    assert_eq!(dead(alive), None);
    let alive = rule("x", "allow", "when = { class = 'read' }")
        + &rule("y", "deny", "when = { class = 'read' }");
    assert_eq!(dead(alive), None);
    let covered = rule("x", "allow", "when = { class = 'read', functions = ['app.*'] }")
        + &rule("y", "allow", "when = { class = 'read', functions = ['app.f'] }");
    assert_eq!(dead(covered).expect("dead").0, 1);
    let covered = rule("x", "deny", "when = { functions = ['f', 'g'] }")
        + &rule("y", "deny", "when = { functions = ['g', 'f'] }");
    assert_eq!(dead(covered).expect("dead").0, 1);
}

#[test]
fn a_rule_about_arguments_is_shadowed_by_a_wider_one() {
    let dead = |wide: &str, narrow: &str| {
        let of = |name: &str, (effect, arguments): (&str, &str)| {
            rule(name, effect, &format!("when = {{ arguments = {{ {arguments} }} }}"))
        };
        let split = |it: &'static str| it.split_once(' ').unwrap();
        let (wide, narrow) = (wide.to_owned().leak(), narrow.to_owned().leak());
        let found = problems(&(of("w", split(wide)) + &of("n", split(narrow))));
        found.iter().any(|it| it.dead_rule == Some(1))
    };
    for (wide, narrow, want) in [
        ("allow 'arg.x' = '/srv/*'", "allow 'arg.x' = ['/srv/a', '/srv/b*']", true),
        ("deny 'arg.x' = '/srv/*'", "allow 'arg.x' = '/srv/a'", true),
        ("deny 'arg.*' = '*'", "deny 'ARG.x' = { min = 1 }", true),
        ("deny 'arg.x' = { min = 1 }", "deny 'arg.x' = { min = 2, max = 3 }, 'arg.y' = '*'", true),
        // Some occurrence is not every occurrence, and what is not read is no occurrence.
        ("allow 'arg.x' = '*'", "deny 'arg.x' = '/srv/a'", false),
        ("allow 'arg.*' = '/srv/*'", "allow 'arg.x' = '/srv/a'", false),
        ("allow 'arg.x' = '/srv/*'", "allow 'arg.x' = '/srv/../etc'", false),
        ("allow 'arg.x' = '/srv/*', 'arg.y' = '*'", "allow 'arg.x' = '/srv/a'", false),
        ("deny 'arg.x' = { min = 2 }", "deny 'arg.x' = { min = 1 }", false),
        ("deny 'arg.x' = { max = 2 }", "deny 'arg.x' = '1'", false),
    ] {
        assert_eq!(dead(wide, narrow), want, "{wide} / {narrow}");
    }
}

#[test]
fn unknown_keys_are_refused() {
    for text in [
        "defualt = 'allow'",
        "[[rule]]\nname = 'a'\neffect = 'deny'\nwhere = 1",
        "[[rule]]\nname = 'a'\neffect = 'maybe'",
        "[[rule]]\nname = 'a'\neffect = 'deny'\nwhen = { klass = 'read' }",
        "[[rule]]\nname = 'a'\neffect = 'deny'\nprincipals = { group = ['x'] }",
        "[[rule]]\neffect = 'deny'",
        "[[rule]]\nname = 'a'\neffect = 'deny'\nwhen = { arguments = { x = { most = 1 } } }",
        "[[rule]]\nname = 'a'\neffect = 'deny'\nwhen = { arguments = { x = { max = 1.5 } } }",
        "[[rule]]\nname = 'a'\neffect = 'deny'\nwhen = { arguments = ['x'] }",
    ] {
        assert!(toml::from_str::<Config>(text).is_err(), "{text}");
    }
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let text = rule("no-payroll", "deny", "when = { resources = ['*.payroll*'] }")
        + &rule("no-wide", "deny", "when = { flags = ['missing_where'] }")
        + &rule("drops", "deny", "when = { operations = ['drop *'] }")
        + &rule("read", "allow", "principals = { kind = 'agent' }\nwhen = { class = 'read' }")
        + &rule("tool", "allow", "when = { arguments = { 'arg.path' = ['/srv/*', ''] } }")
        + &rule("amount", "deny", "when = { arguments = { 'arg.n' = { min = 100 } } }")
        + &rule("dba", "allow", "principals = { groups = ['dba'] }\ntargets = ['orders-*']");
    assert_eq!(problems(&text), Vec::new());
}
