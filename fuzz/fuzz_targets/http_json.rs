//! JSON and sequences of it, in any pieces.
#![no_main]

use http_content::media::{Charset, Kind};
use http_content::{BodyMasker, ContentError, Sides};
use libfuzzer_sys::fuzz_target;
use masking::{Config, OperatorConfig, Policy, RuleConfig};
use std::sync::{Arc, OnceLock};

fn policy() -> &'static Arc<Policy> {
    static POLICY: OnceLock<Arc<Policy>> = OnceLock::new();
    POLICY.get_or_init(|| {
        let all = RuleConfig {
            entity: vec!["ALL".into()],
            client: Some(OperatorConfig::named("mask")),
            record: Some(OperatorConfig::named("replace")),
            ..RuleConfig::default()
        };
        Arc::new(
            Policy::compile(&Config { rules: vec![all], ..Config::default() }, None)
                .expect("a fixed policy"),
        )
    })
}

fn masked(kind: &Kind, body: &[u8], sizes: &[u8]) -> Result<(Vec<u8>, Vec<u8>), ContentError> {
    let mut masker = BodyMasker::new(kind, Charset::Ascii, policy(), Sides::Both)?;
    let (mut client, mut record) = (Vec::new(), Vec::new());
    let mut rest = body;
    let mut turn = sizes.iter().map(|s| usize::from(*s) + 1).cycle();
    while !rest.is_empty() {
        let (a, b) = rest.split_at(turn.next().unwrap_or(rest.len()).min(rest.len()));
        masker.push(a, &mut client, &mut record)?;
        rest = b;
    }
    masker.finish(&mut client, &mut record)?;
    Ok((client, record))
}

// The first byte is how many bytes are sizes of pieces; the rest is the body.
fuzz_target!(|data: &[u8]| {
    let Some((n, rest)) = data.split_first() else { return };
    let (sizes, body) = rest.split_at(usize::from(*n % 16).min(rest.len()));
    for kind in [Kind::Json, Kind::Ndjson, Kind::Text, Kind::Unknown] {
        assert!(masked(&kind, body, sizes) == masked(&kind, body, &[]), "pieces and whole differ");
    }
});
