//! Any bytes, in any pieces, give what the whole gives; and nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use masking::{
    Config, OperatorConfig, Outcome, PatternConfig, Policy, Receipt, RecognizerConfig, RuleConfig,
    Sink,
};
use std::sync::{Arc, OnceLock};

fn policies() -> &'static [Arc<Policy>; 2] {
    static POLICIES: OnceLock<[Arc<Policy>; 2]> = OnceLock::new();
    POLICIES.get_or_init(|| {
        ["ALL", "EMPLOYEE"].map(|more| {
            let config = Config {
                rules: vec![RuleConfig {
                    entity: vec!["ALL".into(), more.into()],
                    score_threshold: Some(0.0),
                    client: Some(OperatorConfig::named("pseudonymize")),
                    ..RuleConfig::default()
                }],
                recognizers: vec![RecognizerConfig {
                    name: "EMPLOYEE".into(),
                    patterns: vec![PatternConfig::Regex(r"\bE\d{6}\b".into())],
                    validate: None,
                }],
                ..Config::default()
            };
            Arc::new(Policy::compile(&config, Some(&[7; 32])).expect("a fixed policy"))
        })
    })
}

// The first byte is how many bytes are sizes of pieces; the rest is text.
fuzz_target!(|data: &[u8]| {
    let Some((n, rest)) = data.split_first() else { return };
    let (sizes, text) = rest.split_at(usize::from(*n % 16).min(rest.len()));
    for policy in policies() {
        let mut whole = Vec::new();
        let one = policy.mask_text(Sink::Client, text, &mut whole, &mut Receipt::new());
        if one == Outcome::Same {
            assert!(whole.is_empty());
            whole.extend_from_slice(text);
        }
        let mut end = 0;
        for f in policy.analyze(text) {
            assert!(end <= f.start && f.start < f.end && f.end <= text.len());
            end = f.end;
        }
        let mut out = Vec::new();
        let mut stream = policy.stream(Sink::Client);
        let mut rest = text;
        let mut turn = sizes.iter().map(|s| usize::from(*s) * 3 + 1).cycle();
        while !rest.is_empty() {
            let (a, b) = rest.split_at(turn.next().unwrap_or(rest.len()).min(rest.len()));
            stream.push(a, &mut out);
            rest = b;
        }
        stream.finish(&mut out);
        assert!(out == whole, "pieces and whole differ");
    }
});
