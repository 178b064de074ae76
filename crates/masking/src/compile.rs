//! From [`Config`] to [`Policy`]: every check, all problems at once.

use crate::column::{ColumnPattern, ColumnRule};
use crate::config::{
    Config, MAX_NAMES_PER_RULE, MAX_NEW_VALUE, MAX_RULES, MIN_KEY_BYTES, OnUnmaskable,
    OperatorConfig, Problem, RuleConfig, VERSION,
};
use crate::custom::Recognizer;
use crate::detect::{Engine, Wanted};
use crate::entity::{Entity, MAX_RECOGNIZERS, SLOTS};
use crate::operator::{Key, Operator};
use crate::path::{JsonPath, MAX_PATHS, PathRule};
use crate::policy::{EntityRule, Policy, Sink};
use aws_lc_rs::digest;

/// Collects problems.
struct Check<'k> {
    key: Option<&'k [u8]>,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn problem(&mut self, path: &str, message: impl Into<String>) {
        self.problems.push(Problem { path: path.to_owned(), message: message.into() });
    }
}

pub(crate) fn empty() -> Policy {
    assemble(OnUnmaskable::Deny, no_rules(), Named::default(), Vec::new(), [0; 32])
}

fn no_rules() -> Vec<Vec<EntityRule>> {
    (0..SLOTS).map(|_| Vec::new()).collect()
}

/// Rules by what a value is called.
#[derive(Default)]
struct Named {
    columns: Vec<ColumnRule>,
    path_rules: Vec<PathRule>,
    /// Each path with the place of its rule.
    paths: Vec<(usize, JsonPath)>,
}

fn assemble(
    on_unmaskable: OnUnmaskable,
    by_entity: Vec<Vec<EntityRule>>,
    named: Named,
    recognizers: Vec<Recognizer>,
    digest: [u8; 32],
) -> Policy {
    let wanted = |sinks: &[Sink]| -> Wanted { Policy::wanted_of(&by_entity, sinks) };
    Policy {
        on_unmaskable,
        wanted_client: wanted(&[Sink::Client]),
        wanted_record: wanted(&[Sink::Record]),
        wanted_any: wanted(&[Sink::Client, Sink::Record]),
        by_entity,
        columns: named.columns,
        path_rules: named.path_rules,
        paths: named.paths,
        recognizers,
        digest,
        engine: Engine::detect(),
    }
}

pub(crate) fn compile(config: &Config, key: Option<&[u8]>) -> Result<Policy, Vec<Problem>> {
    let mut check = Check { key, problems: Vec::new() };
    if config.version.is_some_and(|v| v != VERSION) {
        check.problem("masking.version", format!("is not supported; this is version {VERSION}"));
    }
    if key.is_some_and(|k| k.len() < MIN_KEY_BYTES) {
        check.problem("masking.key", format!("is shorter than {MIN_KEY_BYTES} bytes"));
    }
    if config.rules.len() > MAX_RULES {
        check.problem("masking.rule", format!("has more than {MAX_RULES} rules"));
    }
    let recognizers = recognizers(config, &mut check);
    let mut by_entity = no_rules();
    let mut named = Named::default();
    for (i, rule) in config.rules.iter().enumerate().take(MAX_RULES) {
        let path = format!("masking.rule[{i}]");
        match (rule.entity.is_empty(), rule.columns.is_empty(), rule.paths.is_empty()) {
            (false, true, true) => entity_rule(rule, &path, config, &mut by_entity, &mut check),
            (true, false, true) => named.columns.extend(column_rule(rule, i, &path, &mut check)),
            (true, true, false) => path_rule(rule, i, &path, &mut named, &mut check),
            (true, true, true) => {
                check.problem(&path, "names neither `entity` nor `columns` nor `paths`");
            }
            (false, false, true) => {
                check.problem(&path, "names both `entity` and `columns`; write two rules");
            }
            (_, _, false) => {
                check.problem(&path, "names `paths` and something else; write two rules");
            }
        }
    }
    if named.paths.len() > MAX_PATHS {
        check.problem("masking.rule", format!("names more than {MAX_PATHS} `paths` in all"));
    }
    if !check.problems.is_empty() {
        return Err(check.problems);
    }
    let canonical = serde_json::to_vec(config).unwrap_or_default();
    let sum = digest::digest(&digest::SHA256, &canonical);
    let digest = <[u8; 32]>::try_from(sum.as_ref()).unwrap_or_default();
    Ok(assemble(config.on_unmaskable, by_entity, named, recognizers, digest))
}

fn recognizers(config: &Config, check: &mut Check<'_>) -> Vec<Recognizer> {
    if config.recognizers.len() > MAX_RECOGNIZERS {
        check.problem("masking.recognizer", format!("has more than {MAX_RECOGNIZERS} entries"));
    }
    let mut out: Vec<Recognizer> = Vec::new();
    for (i, c) in config.recognizers.iter().enumerate().take(MAX_RECOGNIZERS) {
        let path = format!("masking.recognizer[{i}]");
        let mut problems = Vec::new();
        if out.iter().any(|r| r.name == c.name) {
            problems.push((".name", format!("`{}` is defined twice", c.name)));
        }
        out.push(Recognizer::compile(c, &mut problems));
        for (field, message) in problems {
            check.problem(&format!("{path}{field}"), message);
        }
    }
    out
}

/// Entities of a name: one, or a group.
fn entities(name: &str, config: &Config) -> Vec<Entity> {
    match name {
        "ALL" => Entity::ALL.to_vec(),
        "SECRET" => Entity::ALL.into_iter().filter(|e| e.is_secret()).collect(),
        _ => {
            let custom = || {
                let n = config.recognizers.iter().position(|r| r.name == name)?;
                u8::try_from(n).ok().map(Entity::Custom)
            };
            Entity::from_name(name).or_else(custom).into_iter().collect()
        }
    }
}

fn entity_rule(
    rule: &RuleConfig,
    path: &str,
    config: &Config,
    by_entity: &mut [Vec<EntityRule>],
    check: &mut Check<'_>,
) {
    if rule.entity.len() > MAX_NAMES_PER_RULE {
        check.problem(
            &format!("{path}.entity"),
            format!("has more than {MAX_NAMES_PER_RULE} names"),
        );
    }
    let threshold = rule.score_threshold.unwrap_or(0.5);
    if !(0.0..=1.0).contains(&threshold) {
        check.problem(&format!("{path}.score_threshold"), "is not between 0 and 1");
    }
    let (client, record) = operators(rule, path, check);
    for (which, op) in [("client", &client), ("record", &record)] {
        if matches!(op, Operator::Null) {
            check.problem(
                &format!("{path}.{which}.operator"),
                "`null` is for whole values; use it in a rule with `columns` or `paths`",
            );
        }
    }
    for (n, name) in rule.entity.iter().enumerate() {
        let entities = entities(name, config);
        if entities.is_empty() {
            check
                .problem(&format!("{path}.entity[{n}]"), format!("`{name}` is not a known entity"));
        }
        for e in entities {
            if let Some(rules) = by_entity.get_mut(e.slot()) {
                let (client, record) = (client.clone(), record.clone());
                rules.push(EntityRule { threshold, client, record });
            }
        }
    }
}

fn column_rule(
    rule: &RuleConfig,
    index: usize,
    path: &str,
    check: &mut Check<'_>,
) -> Option<ColumnRule> {
    if rule.score_threshold.is_some() {
        check.problem(&format!("{path}.score_threshold"), "does not apply to `columns`");
    }
    if rule.columns.len() > MAX_NAMES_PER_RULE {
        check.problem(
            &format!("{path}.columns"),
            format!("has more than {MAX_NAMES_PER_RULE} names"),
        );
    }
    let mut columns = Vec::new();
    for (n, c) in rule.columns.iter().enumerate() {
        match ColumnPattern::parse(c) {
            Ok(p) => columns.push(p),
            Err(why) => check.problem(&format!("{path}.columns[{n}]"), format!("`{c}` {why}")),
        }
    }
    let (client, record) = operators(rule, path, check);
    let name = rule.name.clone().unwrap_or_else(|| format!("rule {index}"));
    Some(ColumnRule { name, columns, client, record })
}

fn path_rule(
    rule: &RuleConfig,
    index: usize,
    path: &str,
    named: &mut Named,
    check: &mut Check<'_>,
) {
    if rule.score_threshold.is_some() {
        check.problem(&format!("{path}.score_threshold"), "does not apply to `paths`");
    }
    let place = named.path_rules.len();
    for (n, text) in rule.paths.iter().enumerate().take(MAX_PATHS + 1) {
        match JsonPath::parse(text) {
            Ok(p) => named.paths.push((place, p)),
            Err(why) => check.problem(&format!("{path}.paths[{n}]"), format!("`{text}` {why}")),
        }
    }
    let (client, record) = operators(rule, path, check);
    let name = rule.name.clone().unwrap_or_else(|| format!("rule {index}"));
    named.path_rules.push(PathRule { name, client, record });
}

/// The two operators of a rule. An absent `record` is the same as `client`:
/// a record must not know more than was asked for.
fn operators(rule: &RuleConfig, path: &str, check: &mut Check<'_>) -> (Operator, Operator) {
    if rule.client.is_none() && rule.record.is_none() {
        check.problem(path, "has neither a `client` nor a `record` operator: it does nothing");
    }
    let client = rule.client.as_ref().map(|c| operator(c, &format!("{path}.client"), check));
    let record = rule.record.as_ref().map(|c| operator(c, &format!("{path}.record"), check));
    let client_op = client.unwrap_or(Operator::Keep);
    (client_op.clone(), record.unwrap_or(client_op))
}

fn operator(c: &OperatorConfig, path: &str, check: &mut Check<'_>) -> Operator {
    let known = ["keep", "replace", "redact", "mask", "hash", "pseudonymize", "null"];
    if !known.contains(&c.operator.as_str()) {
        check.problem(
            &format!("{path}.operator"),
            format!("`{}` is none of {}", c.operator, known.join(", ")),
        );
        return Operator::Redact;
    }
    let used = |field: &str, set: bool, of: &str, check: &mut Check<'_>| {
        if set && c.operator != of {
            check.problem(&format!("{path}.{field}"), format!("belongs to the operator `{of}`"));
        }
    };
    used("new_value", c.new_value.is_some(), "replace", check);
    used("masking_char", c.masking_char.is_some(), "mask", check);
    used("chars_to_mask", c.chars_to_mask.is_some(), "mask", check);
    used("from_end", c.from_end.is_some(), "mask", check);
    used("hash_type", c.hash_type.is_some(), "hash", check);
    match c.operator.as_str() {
        "keep" => Operator::Keep,
        "replace" => {
            if c.new_value.as_ref().is_some_and(|v| v.len() > MAX_NEW_VALUE || v.contains('\0')) {
                check.problem(
                    &format!("{path}.new_value"),
                    format!("is longer than {MAX_NEW_VALUE} bytes or holds a NUL"),
                );
            }
            Operator::Replace { new_value: c.new_value.clone() }
        }
        "mask" => mask(c, path, check),
        "hash" => {
            if c.hash_type.as_deref().is_some_and(|t| t != "hmac-sha256") {
                check.problem(&format!("{path}.hash_type"), "only `hmac-sha256` is supported");
            }
            keyed(path, "hash", check).map_or(Operator::Redact, Operator::Hash)
        }
        "pseudonymize" => {
            keyed(path, "pseudonymize", check).map_or(Operator::Redact, Operator::Pseudonymize)
        }
        "null" => Operator::Null,
        _ => Operator::Redact,
    }
}

fn mask(c: &OperatorConfig, path: &str, check: &mut Check<'_>) -> Operator {
    let text = c.masking_char.as_deref().unwrap_or("*");
    let mut chars = text.chars();
    let masking_char = match (chars.next(), chars.next()) {
        (Some(c), None) if !c.is_control() => c,
        _ => {
            check.problem(&format!("{path}.masking_char"), "is not one printable character");
            '*'
        }
    };
    if c.chars_to_mask == Some(0) {
        check.problem(&format!("{path}.chars_to_mask"), "is 0: nothing would be masked");
    }
    let all = usize::MAX;
    let chars_to_mask = c.chars_to_mask.map_or(all, |n| usize::try_from(n).unwrap_or(all));
    Operator::Mask { masking_char, chars_to_mask, from_end: c.from_end.unwrap_or(false) }
}

fn keyed(path: &str, operator: &str, check: &mut Check<'_>) -> Option<Key> {
    match check.key {
        Some(k) => Some(Key::derive(k, &format!("greffier masking v1 {operator}"))),
        None => {
            check.problem(
                &format!("{path}.operator"),
                format!("`{operator}` needs a key; set masking.key"),
            );
            None
        }
    }
}
