//! Rules, sinks, columns, problems; and that nothing sensitive survives.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use masking::*;

fn config(text: &str) -> Config {
    #[derive(serde::Deserialize)]
    struct File {
        masking: Config,
    }
    toml::from_str::<File>(text).unwrap().masking
}

#[test]
fn no_sample_survives_any_operator() {
    for op in ["replace", "redact", "mask", "hash", "pseudonymize"] {
        let policy = common::all(OperatorConfig::named(op));
        for (text, secrets) in common::samples() {
            let out = common::masked(&policy, text.as_bytes());
            for s in secrets {
                let hit = out.windows(s.len()).any(|w| w == s.as_bytes());
                assert!(!hit, "{op} left {s:?} of {:.80}", text);
            }
        }
    }
}

#[test]
fn masking_twice_changes_nothing_more() {
    for op in ["replace", "redact", "mask"] {
        let policy = common::all(OperatorConfig::named(op));
        for (text, _) in common::samples() {
            let once = common::masked(&policy, text.as_bytes());
            assert_eq!(common::masked(&policy, &once), once, "{op}");
        }
    }
}

#[test]
fn sinks_thresholds_and_order() {
    let policy = Policy::compile(
        &config(
            r#"
            [[masking.rule]]
            entity = ["EMAIL_ADDRESS"]
            client = { operator = "keep" }
            record = { operator = "hash" }
            [[masking.rule]]
            entity = ["CREDIT_CARD"]
            score_threshold = 0.95
            client = { operator = "replace", new_value = "sure" }
            [[masking.rule]]
            entity = ["CREDIT_CARD"]
            client = { operator = "mask", chars_to_mask = 12 }
            "#,
        ),
        Some(&[1; 16]),
    )
    .unwrap();
    let run = |sink, text: &str| {
        let (mut out, mut r) = (Vec::new(), Receipt::new());
        match policy.mask_text(sink, text.as_bytes(), &mut out, &mut r) {
            Outcome::Same => {
                assert!(out.is_empty());
                text.to_owned()
            }
            Outcome::Replaced => String::from_utf8(out).unwrap(),
        }
    };
    assert_eq!(run(Sink::Client, "a@example.com"), "a@example.com");
    assert_eq!(run(Sink::Record, "a@example.com").len(), 64);
    assert_eq!(run(Sink::Client, "5555 5555 5555 4444"), "sure");
    assert_eq!(run(Sink::Record, "4111111111111111"), "************1111");
    assert!(policy.scans(Sink::Client) && policy.scans(Sink::Record));
    assert!(!Policy::empty().scans(Sink::Client));
}

#[test]
fn columns() {
    let policy = Policy::compile(
        &config(
            r#"
            [[masking.rule]]
            name = "ssn"
            columns = ["public.customers.ssn", "*.*.*mail*"]
            client = { operator = "null" }
            record = { operator = "redact" }
            "#,
        ),
        None,
    )
    .unwrap();
    let at = |schema, table, column, label| ColumnName { schema, table, column, label };
    let rule = policy.column_rule(at(Some("public"), Some("customers"), Some("ssn"), "x")).unwrap();
    assert_eq!(rule.name(), "ssn");
    let mut out = Vec::new();
    assert_eq!(rule.operator(Sink::Client).apply(b"1", &mut out), Applied::Null);
    assert_eq!(rule.operator(Sink::Record).apply(b"1", &mut out), Applied::Text);
    assert!(out.is_empty());
    assert!(policy.column_rule(at(None, None, None, "user_email")).is_some());
    assert!(policy.column_rule(at(Some("public"), Some("t"), Some("id"), "email")).is_none());
    assert!(policy.has_column_rules() && !policy.scans(Sink::Client));
    assert!(policy.protects_table(Some("any"), Some("table")), "because of *.*.*mail*");
}

#[test]
fn all_problems_at_once() {
    let bad = config(
        r#"
        version = 9
        [[masking.rule]]
        entity = ["CREDIT_CARDS"]
        score_threshold = 2.0
        client = { operator = "masc" }
        [[masking.rule]]
        columns = ["ssn"]
        client = { operator = "hash", from_end = true }
        [[masking.rule]]
        entity = ["US_SSN"]
        client = { operator = "null" }
        [[masking.rule]]
        client = { operator = "mask", masking_char = "ab", chars_to_mask = 0 }
        [[masking.recognizer]]
        name = "low"
        patterns = ["(", "x*"]
        validate = "crc"
        "#
        .replacen("version", "[masking]\nversion", 1)
        .as_str(),
    );
    let problems = Policy::compile(&bad, None).unwrap_err();
    let paths: Vec<&str> = problems.iter().map(|p| p.path.as_str()).collect();
    for want in [
        "masking.version",
        "masking.rule[0].entity[0]",
        "masking.rule[0].score_threshold",
        "masking.rule[0].client.operator",
        "masking.rule[1].columns[0]",
        "masking.rule[1].client.from_end",
        "masking.rule[1].client.operator",
        "masking.rule[2].client.operator",
        "masking.rule[3]",
        "masking.recognizer[0].name",
        "masking.recognizer[0].patterns",
        "masking.recognizer[0].validate",
    ] {
        assert!(paths.contains(&want), "{want} is not among {paths:?}");
    }
    assert!(Policy::compile(&Config::default(), Some(b"short")).is_err());
}

#[test]
fn digest_tells_policies_apart() {
    let one = config("[[masking.rule]]\nentity=[\"US_SSN\"]\nclient={operator=\"redact\"}");
    let mut two = one.clone();
    two.rules[0].entity[0] = "CREDIT_CARD".into();
    let digest = |c: &Config| Policy::compile(c, None).unwrap().digest();
    assert_eq!(digest(&one), digest(&one));
    assert_ne!(digest(&one), digest(&two));
}

#[test]
fn numbers() {
    let policy = common::all(OperatorConfig::named("pseudonymize"));
    let mut receipt = Receipt::new();
    let mut run = |t: &str| policy.mask_digits(Sink::Client, t, &mut receipt);
    let made = run("4111111111111111").unwrap();
    assert!(made.len() == 16 && made != "4111111111111111");
    assert!(run(&made).is_none(), "a stand-in is no card");
    assert!(run("-4111111111111111.50").is_some_and(|m| m.starts_with('-') && m.ends_with(".50")));
    for none in ["4111111111111112", "42", "", "-", ".", "NaN", "1e30"] {
        assert_eq!(run(none), None, "{none}");
    }
    assert_eq!(receipt.count(Entity::CreditCard), 2);
}

#[test]
fn a_key_never_shows() {
    let policy = common::all(OperatorConfig::named("hash"));
    let shown = format!("{policy:?}");
    assert!(shown.contains("***") && !shown.contains("[7, 7"));
}

#[test]
fn custom_recognizers() {
    let policy = Policy::compile(
        &config(
            r#"
            [[masking.rule]]
            entity = ["EMPLOYEE"]
            client = { operator = "replace" }
            [[masking.recognizer]]
            name = "EMPLOYEE"
            patterns = [{ regex = 'E\d{6}', score = 0.7 }]
            "#,
        ),
        None,
    )
    .unwrap();
    assert_eq!(common::masked(&policy, b"by E123456, E7"), b"by <EMPLOYEE>, E7");
}

#[test]
fn path_rules_are_checked_and_walked() {
    let text = r#"
        [[masking.rule]]
        name = "people"
        paths = ["$.user.ssn", "$..password", "$.list[0,2:]"]
        client = { operator = "null" }
        [[masking.rule]]
        paths = ["$.user.*"]
        client = { operator = "keep" }
        record = { operator = "redact" }
    "#;
    let policy = Policy::compile(&config(text), None).unwrap();
    assert!(policy.has_path_rules() && policy.paths_mask(Sink::Client));
    assert!(!policy.sinks_agree() && policy.record_hides_more());
    assert_eq!(policy.path_rule(0).unwrap().name(), "people");
    let mut walk = PathWalk::default();
    let at = |walk: &mut PathWalk, steps: &[PathStep<'_>]| {
        let mut rule = walk.start(&policy);
        for step in steps {
            walk.enter();
            rule = walk.child(&policy, *step);
        }
        rule
    };
    use PathStep::{Element, Member};
    for (steps, rule) in [
        (&[][..], None),
        (&[Member(b"user")][..], None),
        (&[Member(b"user"), Member(b"ssn")][..], Some(0)),
        (&[Member(b"user"), Member(b"name")][..], Some(1)),
        (&[Member(b"user"), Member(b"password")][..], Some(0)),
        (&[Element(7), Member(b"a"), Member(b"password")][..], Some(0)),
        (&[Member(b"list"), Element(0)][..], Some(0)),
        (&[Member(b"list"), Element(1)][..], None),
        (&[Member(b"list"), Element(9)][..], Some(0)),
        (&[Member(b"Password")][..], None),
    ] {
        assert_eq!(at(&mut walk, steps), rule, "{steps:?}");
    }
    // Leaving a level brings its siblings back.
    let mut walk = PathWalk::default();
    walk.start(&policy);
    walk.enter();
    walk.child(&policy, Member(b"user"));
    walk.enter();
    walk.leave();
    assert_eq!(walk.child(&policy, Member(b"ssn")), None);
    assert_eq!(walk.child(&policy, Member(b"password")), Some(0));
}

#[test]
fn path_rule_problems_have_their_paths() {
    let text = r#"
        [[masking.rule]]
        paths = ["$.a[?@.b]", "$.a", "a"]
        client = { operator = "redact" }
        [[masking.rule]]
        paths = ["$.a"]
        entity = ["ALL"]
        score_threshold = 0.5
        client = { operator = "redact" }
        [[masking.rule]]
        paths = ["$.a"]
        score_threshold = 0.5
        client = { operator = "redact" }
    "#;
    let problems = Policy::compile(&config(text), None).unwrap_err();
    let paths: Vec<&str> = problems.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "masking.rule[0].paths[0]",
            "masking.rule[0].paths[2]",
            "masking.rule[1]",
            "masking.rule[2].score_threshold",
        ]
    );
    assert!(problems[0].message.contains("filter"), "{}", problems[0]);
}

#[test]
fn a_part_is_masked_for_what_stands_beside_it() {
    let policy = common::all(OperatorConfig::named("replace"));
    let text = b"\"password\": \"hunter\"";
    let mut out = Vec::new();
    let part = policy.mask_part(Sink::Client, text, 13..19, &mut out, &mut Receipt::new());
    assert_eq!((part, out.as_slice()), (Outcome::Replaced, &b"<AUTH_SECRET>"[..]));
    assert!(policy.may_mask([Sink::Client], b"db_Password", b"hunter"));
    assert!(!policy.may_mask([Sink::Client], b"name", b"hunter"));
    assert!(policy.may_mask([Sink::Client], b"phone", b"4155551234"));
    let mut out = Vec::new();
    let mask =
        common::all(OperatorConfig { chars_to_mask: Some(1), ..OperatorConfig::named("mask") });
    let (plain, coded) = (b"jane@example.com", b"amFuZUBleGFtcGxlLmNvbQ");
    let done = mask.mask_encoded(Sink::Client, plain, coded, &mut out, &mut Receipt::new());
    assert_eq!((done, out), (Outcome::Replaced, vec![b'*'; coded.len()]));
}

#[test]
fn edits_say_what_becomes_of_a_text() {
    let policy = common::all(OperatorConfig::named("replace"));
    let text = b"write to jane@example.com today";
    let (mut stream, mut made) = (policy.stream(Sink::Client), Edits::default());
    stream.push_edits(text, &mut made);
    stream.finish_edits(&mut made);
    let (mut at, mut out) = (0, Vec::new());
    for edit in &made.edits {
        match edit.put.clone() {
            Some(put) => out.extend_from_slice(&made.text[put]),
            None => out.extend_from_slice(&text[at..at + edit.bytes]),
        }
        at += edit.bytes;
    }
    assert_eq!((at, out.as_slice()), (text.len(), &b"write to <EMAIL_ADDRESS> today"[..]));
}
