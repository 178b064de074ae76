//! From verified claims to a principal, by the rules of the configuration.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::config::{ConditionConfig, Scalar};
use crate::limits::{MAX_DELEGATION_DEPTH, MAX_DISPLAY_BYTES, MAX_GROUP_BYTES, MAX_GROUPS};
use crate::plan::{IssuerPlan, RulePlan};
use crate::token::{Claims, is_id};
use crate::{Actor, ActorRole, AuthError, Principal};

/// The rule that matches and the principal it makes.
pub(crate) fn map<'p>(
    issuer: &'p IssuerPlan,
    claims: &Claims,
) -> Result<(&'p RulePlan, Principal), AuthError> {
    let mut matching = issuer.rules.iter().filter(|rule| matches(rule, &claims.all));
    let rule = matching.next().ok_or_else(|| AuthError::NoRule { issuer: issuer.name.clone() })?;
    if let Some(other) = matching.find(|other| other.kind != rule.kind) {
        return Err(AuthError::AmbiguousRules {
            first: rule.name.clone(),
            second: other.name.clone(),
        });
    }
    let principal = principal(issuer, rule, claims)?;
    Ok((rule, principal))
}

/// A claim by its top-level name, or by JSON pointer if it begins with `/`.
pub(crate) fn claim<'v>(all: &'v Map<String, Value>, path: &str) -> Option<&'v Value> {
    if !path.starts_with('/') {
        return all.get(path);
    }
    let mut steps = path.split('/').skip(1);
    let unescape = |step: &str| step.replace("~1", "/").replace("~0", "~");
    let mut value = all.get(&unescape(steps.next()?))?;
    for step in steps {
        value = value.as_object()?.get(&unescape(step))?;
    }
    Some(value)
}

fn matches(rule: &RulePlan, all: &Map<String, Value>) -> bool {
    rule.when.iter().all(|(path, condition)| holds(path, condition, claim(all, path)))
}

fn holds(path: &str, condition: &ConditionConfig, value: Option<&Value>) -> bool {
    // A condition we forget to read here must not be taken as met.
    let ConditionConfig { equals, one_of, contains_any, not_in, absent, present } = condition;
    let found = value.filter(|v| !v.is_null());
    let among = |list: &[Scalar]| found.is_some_and(|v| list.iter().any(|s| same(s, v)));
    equals.as_ref().is_none_or(|s| found.is_some_and(|v| same(s, v)))
        && one_of.as_ref().is_none_or(|list| among(list))
        && contains_any.as_ref().is_none_or(|list| contains(path, list, found))
        && not_in.as_ref().is_none_or(|list| found.is_some_and(is_scalar) && !among(list))
        && absent.is_none_or(|_| value.is_none())
        && present.is_none_or(|_| found.is_some())
}

fn contains(path: &str, list: &[Scalar], value: Option<&Value>) -> bool {
    match value {
        Some(Value::Array(items)) => items.iter().any(|v| list.iter().any(|s| same(s, v))),
        // RFC 8693 section 4.2: `scope` is one text of words.
        Some(Value::String(words)) if path == "scope" => words
            .split(' ')
            .any(|word| list.iter().any(|s| matches!(s, Scalar::Text(t) if t == word))),
        _ => false,
    }
}

fn is_scalar(value: &Value) -> bool {
    !value.is_array() && !value.is_object()
}

fn same(scalar: &Scalar, value: &Value) -> bool {
    match scalar {
        Scalar::Bool(b) => value.as_bool() == Some(*b),
        Scalar::Integer(i) => value.as_i64() == Some(*i),
        Scalar::Text(t) => value.as_str() == Some(t),
    }
}

fn principal(
    issuer: &IssuerPlan,
    rule: &RulePlan,
    claims: &Claims,
) -> Result<Principal, AuthError> {
    let all = &claims.all;
    let mut actors = actors(issuer, claims)?.into_iter();
    let (subject, on_behalf_of) = match actors.next() {
        None => (named(all, &rule.subject, "subject")?, Vec::new()),
        Some(_) if !rule.delegated => {
            return Err(AuthError::Delegation("no rule lets this issuer delegate here"));
        }
        Some(current) => {
            let party = |subject, role| Actor { issuer: issuer.iss.clone(), subject, role };
            let mut chain: Vec<Actor> =
                actors.map(|subject| party(subject, ActorRole::Intermediary)).collect();
            chain.push(party(named(all, &rule.on_behalf_of, "on_behalf_of")?, ActorRole::Subject));
            if chain.iter().any(|a| a.subject == current) {
                return Err(AuthError::Delegation("somebody acts for themselves"));
            }
            (current, chain)
        }
    };
    let display = rule.display.as_deref().and_then(|path| claim(all, path)?.as_str());
    Ok(Principal {
        issuer: issuer.iss.clone(),
        display: readable(display.unwrap_or(&subject)),
        subject,
        kind: rule.kind,
        groups: groups(rule, all)?,
        on_behalf_of,
        owner: rule.owner.as_deref().map(|path| named(all, path, "owner")).transpose()?,
        rule: format!("{}/{}", issuer.name, rule.name),
    })
}

/// A claim that names somebody. `what` is the rule's key for it: the claim's own
/// name is the operator's business.
fn named(all: &Map<String, Value>, path: &str, what: &'static str) -> Result<String, AuthError> {
    match claim(all, path) {
        None => Err(AuthError::MissingClaim(what)),
        Some(Value::String(text)) if is_id(text) => Ok(text.clone()),
        // Some platforms write their identifiers as numbers.
        Some(Value::Number(number)) if number.is_u64() => Ok(number.to_string()),
        Some(_) => Err(AuthError::BadClaim(what)),
    }
}

/// The subjects of the nested `act` claims (RFC 8693 section 4.1), the current
/// actor first. All must be of the issuer that signs, and different.
fn actors(issuer: &IssuerPlan, claims: &Claims) -> Result<Vec<String>, AuthError> {
    let mut seen: Vec<String> = Vec::new();
    let mut next = claims.all.get("act");
    while let Some(act) = next {
        let Value::Object(act) = act else {
            return Err(AuthError::Delegation("`act` is not an object"));
        };
        if seen.len() == MAX_DELEGATION_DEPTH {
            return Err(AuthError::Delegation("it goes through too many hands"));
        }
        match act.get("iss") {
            None => {}
            Some(Value::String(iss)) if *iss == issuer.iss => {}
            Some(_) => return Err(AuthError::Delegation("an actor is of another issuer")),
        }
        let Some(Value::String(subject)) = act.get("sub") else {
            return Err(AuthError::Delegation("an actor has no `sub`"));
        };
        if !is_id(subject) {
            return Err(AuthError::Delegation("an actor's `sub` is not a short text"));
        }
        if *subject == claims.sub || seen.contains(subject) {
            return Err(AuthError::Delegation("it goes in a circle"));
        }
        seen.push(subject.clone());
        next = act.get("act");
    }
    may_act(&claims.all, seen.first())?;
    Ok(seen)
}

/// `may_act` (RFC 8693 section 4.4) says who may become the actor. Beside an
/// `act` that names somebody else, one of the two is wrong.
fn may_act(all: &Map<String, Value>, current: Option<&String>) -> Result<(), AuthError> {
    match (all.get("may_act"), current) {
        (Some(may), Some(current)) if may.get("sub").and_then(Value::as_str) != Some(current) => {
            Err(AuthError::Delegation("`may_act` names somebody else than `act`"))
        }
        _ => Ok(()),
    }
}

fn groups(rule: &RulePlan, all: &Map<String, Value>) -> Result<BTreeSet<String>, AuthError> {
    let Some(path) = rule.groups.as_deref() else { return Ok(BTreeSet::new()) };
    let elsewhere = all.get("_claim_names").and_then(Value::as_object);
    if elsewhere.is_some_and(|names| names.contains_key(path)) || all.contains_key("hasgroups") {
        // A rule that denies a group would miss somebody whose groups are not listed.
        return Err(AuthError::GroupsOmitted);
    }
    let items = match claim(all, path) {
        None | Some(Value::Null) => return Ok(BTreeSet::new()),
        Some(Value::Array(items)) if items.len() <= MAX_GROUPS => items,
        Some(_) => return Err(AuthError::BadClaim("groups")),
    };
    items
        .iter()
        .map(|item| match item {
            Value::String(group) if is_id(group) && group.len() <= MAX_GROUP_BYTES => {
                Ok(group.clone())
            }
            _ => Err(AuthError::BadClaim("groups")),
        })
        .collect()
}

/// Text for people: no control characters, no characters that turn the
/// direction of writing, cut at [`MAX_DISPLAY_BYTES`].
fn readable(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut out = String::new();
    for c in text.chars().filter(|c| !c.is_control() && !turns(*c)) {
        if out.len() + c.len_utf8() > MAX_DISPLAY_BYTES {
            break;
        }
        out.push(c);
    }
    out
}
