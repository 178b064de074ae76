//! Any text, in both lexer modes: an answer whose ranges fit the text, the same from a warm cache;
//! and a statement that calls what may write is never a read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postgres_grammar::{Analyzer, Class, Lexer, Limits};

fuzz_target!(|data: &[u8]| {
    for standard_conforming_strings in [true, false] {
        let lexer = Lexer { standard_conforming_strings };
        let analyzer = Analyzer::new(Limits { max_sql_bytes: 1 << 16, ..Limits::default() });
        let analysis = analyzer.analyze(data, lexer);
        for statement in &analysis.statements {
            assert!(data.get(statement.range.clone()).is_some());
            // What may write is no read; what it calls can only make it worse.
            assert!(statement.class >= statement.class_without_calls);
            assert!(statement.unlisted.is_empty() || statement.class >= Class::Write);
            assert_eq!(statement.flags.unlisted_function, !statement.unlisted.is_empty());
            assert!(analysis.class >= statement.class);
        }
        for literal in analysis.literals.iter().flatten() {
            assert!(data.get(literal.range.clone()).is_some_and(|it| !it.is_empty()));
        }
        assert_eq!(*analyzer.analyze(data, lexer), *analysis);
    }
});
