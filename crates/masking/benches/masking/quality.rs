//! Recall and false positives on third-party cases.
//!
//! The cases are not part of this repository. They are looked for in
//! `../shared/data/masking-dev.jsonl` beside the workspace, then at
//! `GREFFIER_MASKING_EVAL`. A case is scored only on the types it speaks of; a
//! gold span is caught only if every letter and digit of it lies under some
//! reported span of that type; cases flagged weak, ambiguous, needs_region,
//! exotic or soft_neg are left out.

use masking::{Finding, Policy};
use serde_json::Value;
use std::path::PathBuf;

const FLAGS: [&str; 5] = ["weak", "ambiguous", "needs_region", "exotic", "soft_neg"];
/// Entity and the recall Presidio's pattern recognizers reach on the held-out part.
const BARS: [(&str, Option<f64>); 10] = [
    ("CREDIT_CARD", Some(0.893)),
    ("IBAN_CODE", Some(0.860)),
    ("EMAIL_ADDRESS", Some(0.943)),
    ("PHONE_NUMBER", Some(0.776)),
    ("US_SSN", Some(1.0)),
    ("IP_ADDRESS", Some(0.992)),
    ("MAC_ADDRESS", Some(0.800)),
    ("CRYPTO", Some(0.759)),
    ("JWT", None),
    ("SECRET", None),
];

fn cases() -> Option<Vec<Value>> {
    let beside =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/masking-dev.jsonl");
    let named = std::env::var_os("GREFFIER_MASKING_EVAL").map(PathBuf::from);
    let path = if named.is_some() { named? } else { beside };
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect())
}

fn is(finding: &Finding, kind: &str) -> bool {
    finding.entity.name() == kind || (kind == "SECRET" && finding.entity.is_secret())
}

fn caught(text: &str, span: &Value, found: &[&Finding]) -> bool {
    let at = |k: &str| usize::try_from(span[k].as_u64().unwrap()).unwrap();
    let (start, end) = (at("bstart"), at("bend"));
    text[start..end]
        .char_indices()
        .filter(|(_, c)| c.is_alphanumeric())
        .all(|(i, _)| found.iter().any(|f| f.start <= start + i && start + i < f.end))
}

#[derive(Default)]
struct Score {
    pos: u32,
    hit: u32,
    neg: u32,
    wrong: u32,
}

fn visit(policy: &Policy, kind: &str, mut each: impl FnMut(&str, bool, &Value)) -> Option<Score> {
    let mut score = Score::default();
    for case in cases()? {
        let about = case["about"].as_array().unwrap();
        let flagged = FLAGS.iter().any(|f| case.get(*f).is_some_and(|v| v != &Value::Bool(false)));
        if flagged || !about.iter().any(|t| t == kind) {
            continue;
        }
        let text = case["text"].as_str().unwrap();
        let all: Vec<Finding> = policy.analyze(text.as_bytes()).collect();
        let found: Vec<&Finding> = all.iter().filter(|f| is(f, kind)).collect();
        let spans = case["spans"].as_array().unwrap();
        let gold: Vec<&Value> = spans.iter().filter(|s| s["type"] == kind).collect();
        if case["label"] == "pos" && !gold.is_empty() {
            let ok = gold.iter().all(|s| caught(text, s, &found));
            score.pos += 1;
            score.hit += u32::from(ok);
            each(text, ok, &case);
        } else {
            score.neg += 1;
            score.wrong += u32::from(!found.is_empty());
            each(text, found.is_empty(), &case);
        }
    }
    Some(score)
}

pub(crate) fn report(policy: &Policy) {
    println!("\nquality on the development cases (positive = a text with the entity in it)");
    println!("{:<16}{:>7}{:>9}{:>9}{:>7}{:>9}", "entity", "pos", "recall", "bar", "neg", "FPR");
    for (kind, bar) in BARS {
        let Some(s) = visit(policy, kind, |_, _, _| {}) else {
            println!("the cases are missing: set GREFFIER_MASKING_EVAL to a masking-*.jsonl");
            return;
        };
        let rate = |a: u32, b: u32| f64::from(a) / f64::from(b.max(1));
        let bar = bar.map_or("-".to_owned(), |b| format!("{b:.3}"));
        println!(
            "{kind:<16}{:>7}{:>9.3}{bar:>9}{:>7}{:>9.3}",
            s.pos,
            rate(s.hit, s.pos),
            s.neg,
            rate(s.wrong, s.neg)
        );
    }
}

pub(crate) fn misses(policy: &Policy, kind: &str) {
    visit(policy, kind, |text, ok, case| {
        if !ok {
            let gold: Vec<&str> = case["spans"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|s| s["type"] == kind)
                .map(|s| {
                    let at = |k: &str| usize::try_from(s[k].as_u64().unwrap()).unwrap();
                    &text[at("bstart")..at("bend")]
                })
                .collect();
            println!("{} {gold:?} in {text:?}", case["source"]);
        }
    });
}
