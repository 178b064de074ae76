//! What targets of every protocol write alike: operations, and kinds of principals.

use std::sync::Arc;

use identity::Kind;

use crate::document::Document;
use crate::sections::Operation;

/// A target's `[[…operation]]` tables: what `recording = "operations"` names.
pub(crate) fn compile(
    document: &mut Document<'_>,
    path: &str,
    recording: gate::RecordingLevel,
    operations: &[Operation],
    vocabulary: policy::Vocabulary,
) -> Option<Arc<policy::Policy>> {
    let wanted = recording == gate::RecordingLevel::Operations;
    let key = format!("{path}.operation");
    match (wanted, operations.is_empty()) {
        (true, true) => {
            let message = "is missing; `recording = \"operations\"` records what [[…operation]] \
                           tables name, so nothing would be";
            document.problem(key, message);
            return None;
        }
        (false, false) => {
            document.problem(key, "has no use without `recording = \"operations\"`");
            return None;
        }
        (false, true) => return None,
        (true, false) => {}
    }
    let rule = |operation: &Operation| policy::Rule {
        name: operation.name.clone().unwrap_or_default(),
        effect: policy::Effect::Allow,
        principals: policy::Principals::default(),
        targets: None,
        when: operation.when.clone(),
        reason: None,
    };
    let config = policy::Config {
        default: policy::Fallback::Deny,
        rules: operations.iter().map(rule).collect(),
    };
    let known = policy::Known { vocabularies: &[vocabulary], targets: None, kinds: None };
    match policy::Policy::compile(&config, &known) {
        Ok(compiled) => Some(Arc::new(compiled)),
        Err(problems) => {
            for problem in problems {
                let below = problem.path.replace("policy.rule", &key);
                document.problem(below, problem.message.replace("policy.rule", &key));
            }
            None
        }
    }
}

/// Kinds of principals, as some issuer gives them out.
pub(crate) fn kinds(
    document: &mut Document<'_>,
    path: &str,
    words: &[String],
    known: &[&str],
) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for word in words {
        match Kind::parse(word) {
            Some(kind) if known.contains(&word.as_str()) => kinds.push(kind),
            _ => {
                let there = known.join(", ");
                let message = format!("no issuer gives out the kind `{word}`; there are: {there}");
                document.problem(format!("{path}.kinds"), message);
            }
        }
    }
    kinds
}
