//! Megabytes a second, one core.

use crate::corpus;
use masking::{Outcome, Policy, Receipt, Sink};
use regex::bytes::Regex;
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::sync::Arc;

const MIB: usize = 1 << 20;
const RUNS: usize = 9;

fn cpu() -> f64 {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

/// Median seconds of a run.
fn median(mut f: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = cpu();
            f();
            cpu() - start
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[RUNS / 2]
}

/// The same shapes as one regular expression, without checksums and context.
fn alternation() -> Regex {
    let parts = [
        r"\b(?:\d[ .-]?){12,18}\d\b",
        r"\b[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]{1,4}){3,8}\b",
        r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}\b",
        r"\+\d[\d .()-]{6,18}\d\b",
        r"\(?\b\d{3}\)?[ .-]\d{3}[ .-]\d{4}\b",
        r"\b\d{3}[ .-]\d{2}[ .-]\d{4}\b",
        r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b",
        r"\b(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{1,4}\b",
        r"\b[0-9A-F]{2}(?:[:-][0-9A-F]{2}){5}\b",
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
        r"\b(?:gh[pousr]_|npm_)[A-Za-z0-9]{36}",
    ];
    let joined = parts.map(|p| format!("(?:{p})")).join("|");
    regex::bytes::RegexBuilder::new(&joined).unicode(false).build().expect("a fixed expression")
}

struct Table {
    rows: Vec<(&'static str, [f64; 3])>,
}

impl Table {
    fn add(&mut self, name: &'static str, rates: [f64; 3]) {
        self.rows.push((name, rates));
    }

    fn print(&self) {
        println!("{:<44}{:>9}{:>9}{:>9}", "MB/s, one core, median", "text", "rows", "json");
        for (name, rates) in &self.rows {
            let cell = |r: f64| if r.is_nan() { "-".into() } else { format!("{r:.0}") };
            println!("{name:<44}{:>9}{:>9}{:>9}", cell(rates[0]), cell(rates[1]), cell(rates[2]));
        }
    }
}

pub(crate) fn report(policy: &Arc<Policy>) {
    let text = corpus::text(32 * MIB);
    let (rows, cells) = corpus::rows(32 * MIB);
    let json = corpus::json(16 * MIB);
    let corpora = [&text, &rows, &json];
    let rate = |data: &[u8], f: &mut dyn FnMut(&[u8])| data.len() as f64 / 1e6 / median(|| f(data));
    let all = |f: &mut dyn FnMut(&[u8])| corpora.map(|c| rate(c, f));
    let mut table = Table { rows: Vec::new() };

    let mut copy = Vec::with_capacity(33 * MIB);
    table.add(
        "memcpy",
        all(&mut |d| {
            copy.clear();
            copy.extend_from_slice(black_box(d));
            black_box(&copy);
        }),
    );
    let regex = alternation();
    table.add(
        "one regex alternation, unicode(false)",
        all(&mut |d| {
            black_box(regex.find_iter(black_box(d)).count());
        }),
    );
    table.add(
        "greffier: analyze, whole buffer",
        all(&mut |d| {
            black_box(policy.analyze(black_box(d)).count());
        }),
    );
    let mut out = Vec::with_capacity(34 * MIB);
    table.add(
        "greffier: mask_text into a new buffer",
        all(&mut |d| {
            out.clear();
            black_box(policy.mask_text(Sink::Client, black_box(d), &mut out, &mut Receipt::new()));
        }),
    );
    table.add(
        "greffier: stream, 16 KiB pieces",
        all(&mut |d| {
            out.clear();
            let mut s = policy.stream(Sink::Client);
            for piece in d.chunks(16 * 1024) {
                s.push(piece, &mut out);
            }
            s.finish(&mut out);
            black_box(&out);
        }),
    );

    let mut receipt = Receipt::new();
    let each = |receipt: &mut Receipt, out: &mut Vec<u8>| {
        *receipt = Receipt::new();
        for (a, b) in &cells {
            out.clear();
            if policy.mask_text(Sink::Client, &rows[*a..*b], out, receipt) == Outcome::Replaced {
                black_box(&out);
            }
        }
    };
    let seconds = median(|| each(&mut receipt, &mut out));
    let mb = rows.len() as f64 / 1e6;
    table.add("greffier: mask_text per cell", [f64::NAN, mb / seconds, f64::NAN]);
    // What a proxy does that knows the column types: only text is searched.
    let typed = median(|| {
        for (a, b) in cells.chunks(10).flat_map(|row| &row[8..]) {
            out.clear();
            black_box(policy.mask_text(Sink::Client, &rows[*a..*b], &mut out, &mut receipt));
        }
    });
    table.add("greffier: mask_text, text columns only", [f64::NAN, mb / typed, f64::NAN]);
    let regex_cells = median(|| {
        for (a, b) in &cells {
            black_box(regex.find(&rows[*a..*b]));
        }
    });
    table.add("one regex alternation per cell", [f64::NAN, mb / regex_cells, f64::NAN]);
    table.print();

    println!("per cell: {:.1} ns over {} cells", seconds * 1e9 / cells.len() as f64, cells.len());
    for (name, value) in [
        ("5 bytes, no digit", &b"hello"[..]),
        ("24 bytes of words", b"nothing to see here, ok?"),
        ("60 bytes of words", b"the quick brown fox jumps over the lazy dog and walks home."),
        ("8 digits", b"12345678"),
        ("a timestamp", b"2024-05-06 07:08:09.123456+00"),
        ("a uuid", b"0b8f1d2e-3c4d-4e5f-8a9b-0c1d2e3f4a5b"),
    ] {
        const N: usize = 200_000;
        let t = median(|| {
            for _ in 0..N {
                black_box(policy.mask_text(Sink::Client, black_box(value), &mut out, &mut receipt));
            }
        });
        println!("{name:<24}{:>7.1} ns a call", t * 1e9 / N as f64);
    }
}
