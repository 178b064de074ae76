//! What analysing a text costs, by shape and length, and what a cache hit costs. Prints; asserts
//! nothing. `cargo run --release -p postgres-grammar --example cost`
#![allow(clippy::print_stdout, reason = "it is for reading")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use postgres_grammar::{Analyzer, Lexer, Limits};

/// Lookups per measurement.
const ROUNDS: u32 = 200_000;

fn parse(sql: &str) -> Duration {
    let analyzer = Analyzer::new(Limits { cache_entries: 0, ..Limits::default() });
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let begun = Instant::now();
        let analysis = analyzer.analyze(sql.as_bytes(), Lexer::default());
        best = best.min(begun.elapsed());
        black_box(analysis);
    }
    best
}

fn hit(sql: &str) -> Duration {
    let analyzer = Analyzer::new(Limits::default());
    black_box(analyzer.analyze(sql.as_bytes(), Lexer::default()));
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        black_box(analyzer.analyze(black_box(sql.as_bytes()), Lexer::default()));
    }
    begun.elapsed() / ROUNDS
}

fn shapes(n: usize) -> Vec<(&'static str, String)> {
    let list = |each: &dyn Fn(usize) -> String| (0..n).map(each).collect::<Vec<_>>().join(",");
    vec![
        (
            "IN list of numbers",
            format!("SELECT a FROM t WHERE b IN ({})", list(&|i| i.to_string())),
        ),
        ("rows of VALUES", format!("INSERT INTO t VALUES {}", list(&|i| format!("({i}, 'x')")))),
        ("output columns", format!("SELECT {} FROM t", list(&|i| format!("c{i}")))),
        ("output sums", format!("SELECT {} FROM t", list(&|i| format!("c{i} + 1")))),
        ("tables", format!("SELECT * FROM {}", list(&|i| format!("t{i}")))),
        ("subqueries", format!("SELECT * FROM {}", list(&|i| format!("(SELECT a{i}) x{i}")))),
        ("arguments", format!("SELECT f({}) FROM t", list(&|i| format!("c{i}")))),
        ("terms of OR", format!("SELECT 1 FROM t WHERE a = 1{}", " OR a = 1".repeat(n))),
        ("statements", "SELECT a FROM t WHERE b = 1;".repeat(n)),
        ("CTEs", format!("WITH {} SELECT 1", list(&|i| format!("x{i} AS (SELECT 1)")))),
    ]
}

fn main() {
    for n in [10, 100, 1_000, 10_000] {
        for (name, sql) in shapes(n) {
            println!("{n:>6} {name:<20} {:>8} bytes {:>12.1?}", sql.len(), parse(&sql));
        }
    }
    for sql in [
        "SELECT 1",
        "SELECT abalance FROM pgbench_accounts WHERE aid = 12345",
        "SELECT id, name FROM customers WHERE email = 'a@example.org' AND active",
    ] {
        println!("hit {:>10.1?}  {sql}", hit(sql));
    }
}
