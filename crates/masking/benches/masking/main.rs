//! Speed and quality of the detectors, as one table.
//!
//! `cargo bench -p masking`: corpora are made in this process from a fixed
//! seed; times are thread CPU time, median of several runs, one core. Quality
//! is measured on the development cases when they are there (see `quality`).
//!
//! Arguments: `speed`, `quality`, `misses ENTITY` (prints what was missed).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a benchmark over data it made itself; a surprise should stop it"
)]

mod corpus;
mod quality;
mod speed;

use masking::{Config, OperatorConfig, Policy, RuleConfig};
use std::sync::Arc;

/// A policy that masks every entity.
fn all_entities() -> Arc<Policy> {
    let config = Config {
        rules: vec![RuleConfig {
            entity: vec!["ALL".into()],
            client: Some(OperatorConfig {
                masking_char: Some("*".into()),
                ..OperatorConfig::named("mask")
            }),
            ..RuleConfig::default()
        }],
        ..Config::default()
    };
    Arc::new(Policy::compile(&config, None).expect("the policy of this benchmark is right"))
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let policy = all_entities();
    match args.first().map(String::as_str) {
        Some("speed") => speed::report(&policy),
        Some("quality") => quality::report(&policy),
        Some("misses") => quality::misses(&policy, args.get(1).map_or("CREDIT_CARD", |s| s)),
        _ => {
            speed::report(&policy);
            quality::report(&policy);
        }
    }
}
