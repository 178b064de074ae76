//! Any text, in both lexer modes: an answer whose ranges fit the text, the same from a warm cache.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postgres_grammar::{Analyzer, Lexer, Limits};

fuzz_target!(|data: &[u8]| {
    for standard_conforming_strings in [true, false] {
        let lexer = Lexer { standard_conforming_strings };
        let analyzer = Analyzer::new(Limits { max_sql_bytes: 1 << 16, ..Limits::default() });
        let analysis = analyzer.analyze(data, lexer);
        for statement in &analysis.statements {
            assert!(data.get(statement.range.clone()).is_some());
        }
        for literal in analysis.literals.iter().flatten() {
            assert!(data.get(literal.range.clone()).is_some_and(|it| !it.is_empty()));
        }
        assert_eq!(*analyzer.analyze(data, lexer), *analysis);
    }
});
