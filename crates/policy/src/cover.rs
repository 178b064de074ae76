//! Which rules an earlier rule makes useless.
//!
//! A rule is cut into cells, one for each combination of a word from each of its lists; it can
//! never fire if every cell is covered by one earlier rule. "Covered" is decided list by list and
//! may say no where the answer is yes: what is reported is certain, what is not may still be dead.

use crate::config::{AccessWord, Effect, OneOrMany, Rule};
use crate::{arguments, glob};

/// Most cells a rule is cut into; a rule with more is compared as a whole.
const MAX_CELLS: usize = 1024;

/// The earlier rules that together leave nothing for `rule`, by index; none if it may fire.
pub(crate) fn shadowed(rule: &Rule, earlier: &[Rule]) -> Option<Vec<usize>> {
    let mut by: Vec<usize> = Vec::new();
    for cell in cells(rule) {
        let at = earlier.iter().position(|wide| covers(wide, &cell))?;
        if !by.contains(&at) {
            by.push(at);
        }
    }
    by.sort_unstable();
    Some(by)
}

/// The rule with each list cut down to one word, in all combinations.
fn cells(rule: &Rule) -> Vec<Rule> {
    type Slot = fn(&mut Rule) -> Option<&mut Vec<String>>;
    let mut whole = rule.clone();
    let lists = [&mut whole.principals.kind, &mut whole.when.protocol, &mut whole.when.class];
    for words in lists.into_iter().flatten() {
        *words = OneOrMany::Many(words.words().to_vec());
    }
    fn many(words: &mut Option<OneOrMany>) -> Option<&mut Vec<String>> {
        match words {
            Some(OneOrMany::Many(words)) => Some(words),
            _ => None,
        }
    }
    let slots: [Slot; 12] = [
        |it| many(&mut it.principals.kind),
        |it| it.principals.groups.as_mut(),
        |it| it.principals.subjects.as_mut(),
        |it| it.principals.issuers.as_mut(),
        |it| it.principals.on_behalf_of.as_mut(),
        |it| it.targets.as_mut(),
        |it| many(&mut it.when.protocol),
        |it| many(&mut it.when.class),
        |it| it.when.operations.as_mut(),
        |it| it.when.flags.as_mut(),
        // An allow rule's resources hold together: all must fit.
        |it| if it.effect == Effect::Allow { None } else { it.when.resources.as_mut() },
        |it| if it.effect == Effect::Allow { None } else { it.when.functions.as_mut() },
    ];
    let mut out = vec![whole];
    for slot in slots {
        let Some(words) = out.first_mut().and_then(slot).map(|words| words.clone()) else {
            continue;
        };
        if out.len().saturating_mul(words.len()) > MAX_CELLS {
            continue;
        }
        let mut next = Vec::with_capacity(out.len() * words.len());
        for cell in out {
            for word in &words {
                let mut cut = cell.clone();
                if let Some(list) = slot(&mut cut) {
                    *list = vec![word.clone()];
                }
                next.push(cut);
            }
        }
        out = next;
    }
    out
}

/// Whether everything that matches `narrow` matches `wide`.
fn covers(wide: &Rule, narrow: &Rule) -> bool {
    let equal = |a: &str, b: &str| a == b;
    let (a, b) = (&wide.principals, &narrow.principals);
    let (x, y) = (&wide.when, &narrow.when);
    let delegated = match a.delegated {
        None => true,
        Some(true) => b.delegated == Some(true) || b.on_behalf_of.is_some(),
        Some(false) => b.delegated == Some(false),
    };
    delegated
        && words(a.kind.as_ref(), b.kind.as_ref(), equal)
        && lists(a.groups.as_deref(), b.groups.as_deref(), equal)
        && lists(a.subjects.as_deref(), b.subjects.as_deref(), glob::covers)
        && lists(a.issuers.as_deref(), b.issuers.as_deref(), equal)
        && lists(a.on_behalf_of.as_deref(), b.on_behalf_of.as_deref(), glob::covers)
        && lists(wide.targets.as_deref(), narrow.targets.as_deref(), glob::covers)
        && words(x.protocol.as_ref(), y.protocol.as_ref(), equal)
        && classes(wide, narrow)
        && lists(x.operations.as_deref(), y.operations.as_deref(), |wide, narrow| {
            glob::covers(&wide.to_ascii_uppercase(), &narrow.to_ascii_uppercase())
        })
        && lists(x.flags.as_deref(), y.flags.as_deref(), equal)
        && functions(wide, narrow)
        && resources(wide, narrow)
        && arguments(wide, narrow)
}

/// A rule that goes by the class as it stands takes less than one that goes by two.
fn classes(wide: &Rule, narrow: &Rule) -> bool {
    let strict = |rule: &Rule| rule.effect == Effect::Allow && rule.when.functions.is_none();
    let (x, y) = (wide.when.class.as_ref(), narrow.when.class.as_ref());
    words(x, y, |a, b| a == b) && (x.is_none() || !strict(wide) || strict(narrow))
}

/// An allow rule asks for every call that isn't harmless, and there may be none; a deny rule for
/// any.
fn functions(wide: &Rule, narrow: &Rule) -> bool {
    let (x, y) = (wide.when.functions.as_deref(), narrow.when.functions.as_deref());
    let alike = (wide.effect == Effect::Allow) == (narrow.effect == Effect::Allow);
    x.is_none() || alike && lists(x, y, glob::covers)
}

/// Every word of `narrow` is covered by one of `wide`; a missing list is everything.
fn lists(
    wide: Option<&[String]>,
    narrow: Option<&[String]>,
    covers: impl Fn(&str, &str) -> bool,
) -> bool {
    match (wide, narrow) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => {
            narrow.iter().all(|narrow| wide.iter().any(|wide| covers(wide, narrow)))
        }
    }
}

fn words(
    wide: Option<&OneOrMany>,
    narrow: Option<&OneOrMany>,
    covers: impl Fn(&str, &str) -> bool,
) -> bool {
    lists(wide.map(OneOrMany::words), narrow.map(OneOrMany::words), covers)
}

/// An allow rule asks for every resource, a deny rule for any.
fn resources(wide: &Rule, narrow: &Rule) -> bool {
    let asks = |rule: &Rule| rule.when.resources.is_some() || rule.when.access.is_some();
    if !asks(wide) {
        return true;
    }
    if !asks(narrow) || wide.effect == Effect::Allow && narrow.effect != Effect::Allow {
        return false;
    }
    let used =
        |access: Option<AccessWord>| wide.when.access.is_none() || wide.when.access == access;
    let all = ["*".to_owned()];
    let (x, y) = (wide.when.resources.as_deref(), narrow.when.resources.as_deref());
    let covers = |wide: &str, narrow: &str| {
        glob::covers(wide, narrow) && (glob::has_last_name(wide) || !glob::has_last_name(narrow))
    };
    used(narrow.when.access) && lists(Some(x.unwrap_or(&all)), Some(y.unwrap_or(&all)), covers)
}

/// An allow rule asks for every occurrence, a deny rule for any; every name that is written holds.
fn arguments(wide: &Rule, narrow: &Rule) -> bool {
    let Some(named) = &wide.when.arguments else { return true };
    let Some(less) = &narrow.when.arguments else { return false };
    let (wide_allows, narrow_allows) =
        (wide.effect == Effect::Allow, narrow.effect == Effect::Allow);
    if wide_allows && !narrow_allows {
        return false;
    }
    // What an allow rule says of all of many names, one of fewer names does not say.
    let same = |wide: &str, narrow: &str| match wide_allows {
        true => wide == narrow,
        false => arguments::names_cover(wide, narrow),
    };
    named.iter().all(|(name, expected)| {
        less.iter().any(|(own, value)| same(name, own) && expected.covers(value, wide_allows))
    })
}
