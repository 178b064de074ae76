//! Fields of a form: a name and a value, whatever they are written in.

use crate::eyes::Eyes;
use crate::json::mask_value;
use masking::{Applied, PathStep, PathWalk, Policy, Receipt, Sink};

/// Which path rule a form's field falls under; the form is one object.
pub(crate) fn rule(eyes: &Eyes, name: &[u8]) -> Option<usize> {
    if !eyes.policy.has_path_rules() {
        return None;
    }
    let mut walk = PathWalk::default();
    let all = walk.start(&eyes.policy);
    walk.enter();
    let own = walk.child(&eyes.policy, PathStep::Member(name));
    match (all, own) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Whether a rule hides what it names from any side.
pub(crate) fn hides(eyes: &Eyes, rule: Option<usize>) -> bool {
    let Some(rule) = rule.and_then(|n| eyes.policy.path_rule(n)) else { return false };
    [Sink::Client, Sink::Record]
        .into_iter()
        .any(|sink| eyes.wants(sink) && !rule.operator(sink).is_keep())
}

/// Masks a field's value, decoded; false: it stays as it is.
pub(crate) fn mask(
    policy: &Policy,
    sink: Sink,
    rule: Option<usize>,
    (name, value): (&[u8], &[u8]),
    out: &mut Vec<u8>,
    receipt: &mut Receipt,
) -> bool {
    let Some(rule) = rule.and_then(|n| policy.path_rule(n)) else {
        return mask_value(policy, sink, (name, value), &mut Vec::new(), out, receipt);
    };
    let operator = rule.operator(sink);
    if operator.is_keep() {
        return false;
    }
    receipt.scanned += 1;
    receipt.by_column += 1;
    match operator.apply(value, out) {
        Applied::Text => receipt.masked += 1,
        // A form has no null: an empty value.
        Applied::Null => receipt.nulled += 1,
    }
    true
}
