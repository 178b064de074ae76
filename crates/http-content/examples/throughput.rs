//! How fast bodies are searched, on one core: `cargo run --release -p
//! http-content --example throughput`. Prints MB/s; the best of some rounds.
#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use http_content::media::{Charset, Kind};
use http_content::{BodyMasker, ContentError, Sides};
use masking::{Config, OperatorConfig, Policy, RuleConfig};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: usize = 15;
/// As a relay reads them.
const PIECE: usize = 16 * 1024;

/// Records as an API lists them; `mail` in every n-th.
fn listing(mail: usize) -> String {
    let mut out = String::from("{\"items\":[");
    for n in 0..12_000 {
        let who = if n % mail == 0 { "jane@example.com" } else { "nobody in particular" };
        let _ = writeln!(
            out,
            "{{\"id\":{n},\"uid\":\"6f1c{n:04x}-77aa-4b0e-9d6a-00f3c0{n:06x}\",\"name\":\"service-{n}\",\
             \"created_at\":\"2026-07-28T10:{:02}:{:02}Z\",\"labels\":{{\"app\":\"web\",\"tier\":\"front end\"}},\
             \"owner\":\"{who}\",\"replicas\":{},\"ready\":true,\"load\":{}.25,\"note\":null}},",
            n / 60 % 60,
            n % 60,
            n % 7,
            n % 90
        );
    }
    out.push_str("{}]}");
    out
}

fn once(kind: &Kind, policy: &Arc<Policy>, body: &[u8]) -> Result<usize, ContentError> {
    let mut masker = BodyMasker::new(kind, Charset::Ascii, policy, Sides::Both)?;
    let (mut client, mut record) = (Vec::new(), Vec::new());
    let mut total = 0;
    for piece in body.chunks(PIECE) {
        masker.push(piece, &mut client, &mut record)?;
        total += client.len() + record.len();
        client.clear();
        record.clear();
    }
    masker.finish(&mut client, &mut record)?;
    Ok(total + client.len() + record.len())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rule = |record: &str, path: bool| RuleConfig {
        entity: if path { vec![] } else { vec!["ALL".into()] },
        paths: if path {
            vec!["$.items[*].labels.secret".into(), "$..password".into()]
        } else {
            vec![]
        },
        client: Some(OperatorConfig::named("mask")),
        record: Some(OperatorConfig::named(record)),
        ..RuleConfig::default()
    };
    let policy = |rules| {
        let config = Config { rules, ..Config::default() };
        Policy::compile(&config, None).map(Arc::new).map_err(|p| format!("{p:?}"))
    };
    let same = policy(vec![rule("mask", false)])?;
    let two = policy(vec![rule("replace", false)])?;
    let paths = policy(vec![rule("mask", true), rule("mask", false)])?;
    let (clean, some) = (listing(usize::MAX), listing(100));
    let events: String = clean
        .lines()
        .map(|record| format!("data: {{\"items\":[{}]}}\n\n", record.trim_end_matches(',')))
        .collect();
    let form = clean.replace("\",\"", "&").replace("\":\"", "=");
    for (what, kind, policy, body) in [
        ("json, nothing found, one mask", Kind::Json, &same, &clean),
        ("json, nothing found, two masks", Kind::Json, &two, &clean),
        ("json, a mailbox in 100 records, two masks", Kind::Json, &two, &some),
        ("json, with path rules", Kind::Json, &paths, &clean),
        ("ndjson", Kind::Ndjson, &same, &clean),
        ("events", Kind::EventStream, &same, &events),
        ("form", Kind::Form, &same, &form),
        ("text", Kind::Binary, &same, &clean),
    ] {
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            once(&kind, policy, body.as_bytes())?;
            best = best.min(start.elapsed());
        }
        let speed = body.len() as f64 / best.as_secs_f64() / 1e6;
        println!("{what}: {speed:.0} MB/s");
    }
    Ok(())
}
