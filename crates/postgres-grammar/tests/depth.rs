//! Deep, long and broken texts: an answer, never a crash.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use postgres_grammar::{
    Analyzer, Class, INLINE_MAX_DEPTH, INLINE_STACK_BYTES, Lexer, Limits, ParseError,
    QUICK_SQL_BYTES,
};

/// One text for each way of nesting, `n` deep.
fn shapes(n: usize) -> Vec<String> {
    let around = |open: &str, middle: &str, close: &str| {
        format!("SELECT {}{middle}{}", open.repeat(n), close.repeat(n))
    };
    vec![
        around("1+", "1", ""),
        around("NOT ", "true", ""),
        around("- ", "1", ""),
        around("(", "1", ")"),
        around("", "1", " UNION ALL SELECT 1 WHERE a AND b"),
        around("(SELECT ", "1", ")"),
        around("* FROM (SELECT ", "1", ") x"),
        around("", "1 FROM t", " JOIN t ON a AND b"),
        around("", "1 FROM t", " CROSS JOIN t"),
        around("CASE WHEN a THEN ", "1", " END"),
        around("CASE WHEN 1 THEN 1 ELSE ", "1", " END"),
        around("", "1", "::int"),
        around("f(", "1", ")"),
        around("ARRAY[", "1", "]"),
        around("", "1", " IS NULL"),
        around("", "a", " COLLATE b"),
        around("", "a", " AT TIME ZONE 'x'"),
        around("", "1 WHERE a = 1", " AND a = 1"),
        around("", "1 WHERE a = 1", " OR a = 1 AND b = 2"),
        around("ROW(", "1", ")"),
        around("", "a", "[1]"),
        around("a IN (", "1", ")"),
        around("EXISTS (SELECT ", "1", ")"),
        around("1 FROM (", "t", ")"),
        around("", "1", ","),
        format!("{}SELECT 1{}", "WITH x AS (".repeat(n), ") SELECT 1".repeat(n)),
        format!("{}SELECT 1{}", "EXPLAIN ".repeat(n), ""),
        format!("VALUES (1){}", ",(1)".repeat(n)),
        format!("SELECT 1{}", ";SELECT 1".repeat(n)),
        format!("CREATE TABLE t (a int{})", "[]".repeat(n)),
        format!("{}{}", "/*".repeat(n), "*/".repeat(n)),
    ]
}

fn analyze_all(stack: usize, texts: Vec<String>) -> Vec<Option<ParseError>> {
    let run = move || {
        let analyzer = Analyzer::new(Limits::default());
        let error =
            |it: &String| analyzer.analyze(it.as_bytes(), Lexer::default()).parse_error.clone();
        texts.iter().map(error).collect()
    };
    std::thread::Builder::new().stack_size(stack).spawn(run).unwrap().join().unwrap()
}

#[test]
fn inline_texts_fit_the_stack() {
    for n in 1..=INLINE_MAX_DEPTH + 2 {
        analyze_all(INLINE_STACK_BYTES, shapes(n));
    }
}

#[test]
fn deep_texts_get_an_answer_on_a_small_stack() {
    for n in [50, 90, 160] {
        for (text, error) in shapes(n).iter().zip(analyze_all(INLINE_STACK_BYTES, shapes(n))) {
            let fine = !text.contains("EXPLAIN EXPLAIN")
                && !text.ends_with(',')
                && !text.contains("IS NULL IS");
            if fine && n <= 90 {
                assert!(!matches!(error, Some(ParseError::TooDeep { .. })), "{n} {text}");
            }
        }
    }
    for n in [490, 3_000] {
        analyze_all(INLINE_STACK_BYTES, shapes(n));
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    let analyzer = Analyzer::new(Limits { max_sql_bytes: 100, ..Limits::default() });
    let why = |sql: &[u8]| {
        let analysis = analyzer.analyze(sql, Lexer::default());
        assert_eq!(analysis.class, Class::Unknown);
        assert!(analysis.statements.is_empty() && analysis.literals.is_none());
        analysis.parse_error.clone().unwrap()
    };
    assert_eq!(why(&[b' '; 101]), ParseError::TooLong { len: 101, max: 100 });
    assert_eq!(why(b"SELECT 1\0; DROP TABLE t"), ParseError::Nul);
    assert_eq!(why(b"SELECT '\xe9'"), ParseError::Encoding);
    assert!(matches!(why(b"SELEC 1"), ParseError::Syntax(_)));
    assert!(matches!(why(b"SELECT 'open"), ParseError::Syntax(_)));
}

#[test]
fn an_empty_text_is_harmless() {
    let analyzer = Analyzer::new(Limits::default());
    for sql in ["", " ", ";", " ; ; ", "-- nothing", "/* a /* b */ c */"] {
        let analysis = analyzer.analyze(sql.as_bytes(), Lexer::default());
        assert_eq!((analysis.class, analysis.statements.len()), (Class::Session, 0), "{sql}");
        assert_eq!(analysis.parse_error, None);
    }
}

/// Texts made to be costly: exponential by nesting, quadratic by width. They end (a hang would fail
/// the run) and own up to not knowing.
#[test]
fn costly_texts_end() {
    let analyzer = Analyzer::new(Limits { max_sql_bytes: 1 << 20, ..Limits::default() });
    for sql in costly() {
        let analysis = analyzer.analyze(sql.as_bytes(), Lexer::default());
        assert_eq!(analysis.parse_error, None, "{}", sql.get(..60).unwrap_or_default());
    }
}

fn costly() -> Vec<String> {
    let list = |each: &dyn Fn(usize) -> String| (0..20_000).map(each).collect::<Vec<_>>().join(",");
    let nested = format!("SELECT {}1{}", "(SELECT 1 FROM (SELECT ".repeat(40), ") x)".repeat(40));
    let looping = "WITH RECURSIVE r AS (".repeat(60);
    let ends = ") SELECT 1 FROM r".repeat(60);
    vec![
        nested,
        format!("SELECT * FROM {}", list(&|at| format!("(SELECT a{at}) x{at}"))),
        // One name that may be of any table.
        format!("SELECT f(a), g(b) FROM {}", list(&|at| format!("t{at}"))),
        format!(
            "WITH {} SELECT * FROM {}",
            list(&|at| format!("w{at} AS (SELECT 1)")),
            list(&|at| format!("w{at}"))
        ),
        // Every level looks for its own name in all that is below.
        format!("{looping}SELECT {}{ends}", list(&|at| format!("c{at}"))),
        format!("SELECT f({}) FROM t", list(&|at| format!("c{at}"))),
        format!("SELECT * FROM (SELECT {} FROM t) a NATURAL JOIN b", list(&|at| format!("c{at}"))),
    ]
}

#[test]
fn short_texts_are_quick_and_so_is_a_refusal() {
    let analyzer = Analyzer::new(Limits::default());
    assert!(analyzer.is_quick(b"SELECT 1"));
    assert!(!analyzer.is_quick(&[b' '; QUICK_SQL_BYTES + 1]));
    assert!(analyzer.is_quick(&vec![b' '; Limits::default().max_sql_bytes + 1]));
    assert!(analyzer.cached(b"SELECT 1", Lexer::default()).is_none());
    let analysis = analyzer.analyze(b"SELECT 1", Lexer::default());
    assert_eq!(analyzer.cached(b"SELECT 2", Lexer::default()), Some(analysis));
    assert_eq!((analyzer.stats().hits, analyzer.stats().misses), (1, 1));
}
