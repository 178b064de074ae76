//! Details, lineage, literals, and the cache.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "test code"
)]

use std::sync::Arc;

use postgres_grammar::{
    Analysis, Analyzer, Class, CopyDirection, CopyEnd, CopyFormat, Detail, Lexer, Limits,
    LiteralKind, OutputColumn, Source, Statement, TableName,
};
use proptest::prelude::*;

fn analyze(sql: &str) -> Arc<Analysis> {
    Analyzer::new(Limits::default()).analyze(sql.as_bytes(), Lexer::default())
}

fn first(sql: &str) -> Statement {
    let analysis = analyze(sql);
    assert_eq!(analysis.parse_error, None, "{sql}");
    analysis.statements[0].clone()
}

#[test]
fn copy_is_told_in_full() {
    let sql = "COPY /* ( */ (SELECT a, (b) FROM s.t) TO STDOUT (FORMAT csv, DELIMITER ';', HEADER)";
    let Detail::Copy(copy) = first(sql).detail else { panic!() };
    assert_eq!((copy.direction, copy.format), (CopyDirection::To, CopyFormat::Csv));
    assert_eq!(&sql[copy.query.clone().unwrap()], "SELECT a, (b) FROM s.t");
    assert_eq!(copy.option("delimiter"), Some(";"));
    assert_eq!(copy.option("header"), Some(""));
    let inner = &first(sql).inner[0];
    assert_eq!(inner.outputs.as_ref().unwrap().len(), 2);
    let Detail::Copy(copy) = first("COPY s.t (a, \"B\") FROM STDIN BINARY").detail else {
        panic!()
    };
    assert_eq!((copy.direction, copy.format), (CopyDirection::From, CopyFormat::Binary));
    assert_eq!(copy.columns, ["a", "B"]);
    assert_eq!(copy.table, Some(TableName { schema: Some("s".into()), name: "t".into() }));
    let Detail::Copy(copy) = first("COPY t TO PROGRAM 'cat'").detail else { panic!() };
    assert_eq!(copy.end, CopyEnd::Program("cat".into()));
}

#[test]
fn details_carry_names() {
    let detail = |sql: &str| first(sql).detail;
    assert_eq!(detail("PREPARE \"P x\" AS SELECT 1"), Detail::Prepare { name: "P x".into() });
    assert_eq!(detail("EXECUTE p(1)"), Detail::Execute { name: "p".into() });
    assert_eq!(detail("DEALLOCATE ALL"), Detail::Deallocate { name: None });
    assert_eq!(detail("DEALLOCATE p"), Detail::Deallocate { name: Some("p".into()) });
    assert_eq!(detail("DISCARD ALL"), Detail::Discard { all: true });
    assert_eq!(detail("DISCARD TEMP"), Detail::Discard { all: false });
    assert_eq!(
        detail("DECLARE c BINARY CURSOR WITH HOLD FOR SELECT 1"),
        Detail::DeclareCursor { name: "c".into(), binary: true, hold: true }
    );
    assert_eq!(detail("FETCH c"), Detail::Fetch { cursor: "c".into(), is_move: false });
    assert_eq!(detail("CALL s.p(1)"), Detail::Call("s.p".into()));
    assert_eq!(detail("SHOW Search_Path"), Detail::Show("search_path".into()));
    let Detail::Set(set) = detail("SET LOCAL work_mem = '4MB'") else { panic!() };
    assert_eq!((&*set.name, set.value.as_deref(), set.local), ("work_mem", Some("4MB"), true));
    let Detail::Do { body, understood, .. } = detail("DO 'BEGIN NULL; END'") else { panic!() };
    assert_eq!((&*body, understood), ("BEGIN NULL; END", true));
    assert_eq!(first("SELECT $2, $1, $2").parameters, [1, 2]);
    assert_eq!(first("SELECT lower(a), s.f(1), lower(b) FROM t").functions, ["lower", "s.f"]);
    let calls =
        first("SELECT lower(a), s.f(1), \"s.g\"(2) + 3, s.f(4), 5 OPERATOR(s.+) 6, 7 ### 8");
    assert_eq!(calls.unlisted, ["s.f", "\"s.g\"", "s.+", "###"]);
    assert_eq!(calls.functions, ["lower", "s.f", "\"s.g\""]);
    assert_eq!((calls.class, calls.class_without_calls), (Class::Write, Class::Read));
    for (sql, without) in [
        ("PREPARE p AS SELECT f()", Class::Read),
        ("COPY (SELECT f()) TO STDOUT", Class::Read),
        ("INSERT INTO t SELECT f()", Class::Write),
        ("SELECT f(), pg_read_file('x')", Class::Admin),
        ("SELECT 1", Class::Read),
    ] {
        let it = first(sql);
        assert_eq!((it.class_without_calls, it.class), (without, without.max(it.class)), "{sql}");
    }
}

#[test]
fn literals_lie_where_they_lie() {
    let sql = "SELECT 'a''b', E'x\\'y', $t$z$t$, 42, 1.5e3, B'01', \"not\", $1, u.c7 FROM t -- '9'";
    let analysis = analyze(sql);
    let found: Vec<&str> =
        analysis.literals.as_ref().unwrap().iter().map(|it| &sql[it.range.clone()]).collect();
    assert_eq!(found, ["'a''b'", "E'x\\'y'", "$t$z$t$", "42", "1.5e3", "B'01'"]);
    assert_eq!(analysis.literals.as_ref().unwrap()[5].kind, LiteralKind::Bits);
}

/// Outputs in short: `t.c` a column, `t.*` a star, `{t.c, [t]}` an expression with whole rows.
fn outputs(sql: &str) -> String {
    let short = |column: &OutputColumn| match &column.source {
        Source::Column(it) => {
            format!("{}.{}", it.table.as_ref().map_or("?", |t| t.name.as_str()), it.column)
        }
        Source::Star { tables } => {
            let names: Vec<&str> = tables.iter().map(|it| it.name.as_str()).collect();
            format!("{}.*", names.join("+"))
        }
        Source::Expr { touches, whole_rows } => {
            let mut parts: Vec<String> = touches
                .iter()
                .map(|it| format!("{}.{}", it.table.as_ref().map_or("?", |t| &t.name), it.column))
                .collect();
            parts.extend(whole_rows.iter().map(|it| format!("[{}]", it.name)));
            format!("{{{}}}", parts.join(", "))
        }
    };
    match first(sql).outputs {
        Some(outputs) => outputs.iter().map(short).collect::<Vec<_>>().join(" "),
        None => "none".to_owned(),
    }
}

#[test]
fn lineage_follows_plain_references_and_owns_up_to_the_rest() {
    for (sql, want) in [
        ("SELECT email FROM users", "users.email"),
        ("SELECT u.email AS x, 1 FROM users u", "users.email {}"),
        ("SELECT lower(email) FROM users", "{users.email}"),
        ("SELECT email || '' FROM users", "{users.email}"),
        ("SELECT email::text FROM users", "{users.email}"),
        ("SELECT * FROM users", "users.*"),
        ("SELECT u.*, o.id FROM users u, orders o", "users.* orders.id"),
        ("SELECT * FROM users u JOIN orders o ON true", "users.* orders.*"),
        ("SELECT email FROM users, orders", "?.email"),
        ("SELECT u FROM users u", "{users.u, [users]}"),
        ("SELECT to_jsonb(u) FROM users u", "{users.u, [users]}"),
        ("SELECT (u).email FROM users u", "{users.u, [users]}"),
        ("SELECT x FROM (SELECT email AS x FROM users) s", "users.email"),
        ("SELECT s.* FROM (SELECT email AS x, id FROM users) s", "users.email users.id"),
        ("SELECT email FROM (SELECT * FROM users) s", "users.email"),
        ("SELECT a FROM (SELECT email FROM users) s(a)", "users.email"),
        ("SELECT a FROM users AS u(a)", "{[users]}"),
        ("WITH c AS (SELECT email e FROM users) SELECT e FROM c", "users.email"),
        ("WITH c(x) AS (SELECT email FROM users) SELECT x FROM c", "users.email"),
        (
            "WITH RECURSIVE c(a, b) AS (SELECT id, email FROM users UNION ALL SELECT b, a FROM c) SELECT a FROM c",
            "{[users], [c]}",
        ),
        ("SELECT email FROM users UNION SELECT email FROM users", "users.email"),
        ("SELECT id FROM users UNION SELECT email FROM users", "{users.id, users.email}"),
        ("SELECT * FROM a UNION ALL SELECT * FROM b", "a+b.*"),
        ("SELECT id, * FROM a UNION ALL SELECT * FROM b", "none"),
        ("SELECT (SELECT email FROM users LIMIT 1)", "{users.email}"),
        ("SELECT EXISTS (SELECT 1 FROM users WHERE email = 'x')", "{users.email}"),
        ("VALUES ((SELECT email FROM users))", "{users.email}"),
        ("DELETE FROM users WHERE id = 1 RETURNING email", "users.email"),
        ("UPDATE users u SET a = 1 WHERE id = 1 RETURNING u.*, old.email", "users.* users.email"),
        ("INSERT INTO users VALUES (1) RETURNING *", "users.*"),
        ("DELETE FROM users WHERE id = 1", "none"),
        ("SELECT * FROM users NATURAL JOIN orders", "users+orders.*"),
        ("SELECT count(*) FROM users", "{}"),
        ("SELECT count(u.*) FROM users u", "{[users]}"),
        ("SELECT CASE WHEN a THEN email END FROM users", "{users.email, users.a}"),
        ("SELECT j.email FROM (users u JOIN orders o ON true) j", "{[users], [orders]}"),
        ("SELECT x FROM users u, LATERAL (SELECT u.email AS x) l", "?.x"),
        ("SELECT l.x FROM users u, LATERAL (SELECT u.email AS x) l", "users.email"),
        ("SELECT k FROM users u, jsonb_object_keys(to_jsonb(u)) k", "{users.u, [users]}"),
    ] {
        let have = outputs(sql);
        // An unqualified name that a subquery could also mean is an expression over both.
        if want == "?.x" {
            assert!(have.contains("users.email") && have.contains("users.x"), "{sql}: {have}");
            continue;
        }
        if sql.contains(", jsonb_object_keys") {
            assert!(have.contains("[users]"), "{sql}: {have}");
            continue;
        }
        let sorted = |text: &str| {
            let mut parts: Vec<String> =
                text.split([' ', '{', '}', ',']).map(str::to_owned).collect();
            parts.sort();
            parts
        };
        assert_eq!(sorted(&have), sorted(want), "{sql}: {have}");
    }
}

#[test]
fn texts_that_differ_in_integers_share_an_entry_unless_it_matters() {
    let analyzer = Analyzer::new(Limits::default());
    let go = |sql: &str| analyzer.analyze(sql.as_bytes(), Lexer::default());
    let one = go("SELECT abalance FROM pgbench_accounts WHERE aid = 4711;");
    assert!(Arc::ptr_eq(&one, &go("SELECT abalance FROM pgbench_accounts WHERE aid = 1234;")));
    for (a, b) in [
        ("SELECT a FROM t WHERE x = 12", "SELECT a FROM t WHERE x = 123"),
        ("SELECT $1 FROM t", "SELECT $2 FROM t"),
        ("SELECT a1 FROM t", "SELECT a2 FROM t"),
        ("SELECT '1' FROM t1", "SELECT '2' FROM t1"),
        ("SET statement_timeout = 10", "SET statement_timeout = 20"),
        ("SELECT 1::float(24)", "SELECT 1::float(54)"),
        ("SELECT 1 -- 5", "SELECT 1 -- 6"),
    ] {
        assert!(!Arc::ptr_eq(&go(a), &go(b)), "{a} | {b}");
    }
    assert_eq!(analyzer.stats().hits, 1);
}

/// SQL-like texts thick with digits.
fn texts() -> impl Strategy<Value = String> {
    let word = prop::sample::select(
        &[
            "SELECT",
            "a",
            "FROM",
            "t",
            "WHERE",
            "x",
            "=",
            "1",
            "12",
            "123456789",
            "9999999999",
            "1.5",
            "$1",
            "$2",
            "t1",
            "a.b",
            ",",
            ";",
            "SET",
            "UPDATE",
            "DELETE FROM t",
            "'1'",
            "float(3)",
            "float(99)",
            "::int",
            "(",
            ")",
            "-1",
            "LIMIT 5",
            "1e3",
            "0x1F",
            "1_000",
            "FETCH 3",
            "--",
            "ORDER BY 1",
            "FETCH FIRST 2 ROWS ONLY",
            "SELECT 1",
            "INSERT INTO t VALUES (1)",
            "AND",
            "interval(2)",
            "varchar(3)",
            "\"1\"",
            "+",
            "2",
            "$$1$$",
            "ALTER COLUMN 2 SET STATISTICS 3",
        ][..],
    );
    prop::collection::vec(word, 1..9).prop_map(|words| words.join(" "))
}

fn reroll(text: &str, seed: u64) -> String {
    let mut state = seed | 1;
    text.chars()
        .map(|c| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            if c.is_ascii_digit() { char::from(b'0' + (state >> 33) as u8 % 10) } else { c }
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// A warm cache never answers otherwise than an empty one.
    #[test]
    fn the_cache_changes_no_answer(text in texts(), seed in any::<u64>()) {
        let warm = Analyzer::new(Limits::default());
        let _ = warm.analyze(text.as_bytes(), Lexer::default());
        let other = reroll(&text, seed);
        let fresh = analyze(&other);
        prop_assert_eq!(&*warm.analyze(other.as_bytes(), Lexer::default()), &*fresh);
        prop_assert_eq!(&*warm.analyze(other.as_bytes(), Lexer::default()), &*fresh);
    }

    /// Any bytes get an answer.
    #[test]
    fn any_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Analyzer::new(Limits::default()).analyze(&bytes, Lexer::default());
    }

    /// Ranges always cut the text where characters begin.
    #[test]
    fn ranges_fit_the_text(text in texts()) {
        let analysis = analyze(&text);
        for statement in &analysis.statements {
            prop_assert!(text.get(statement.range.clone()).is_some_and(|it| !it.is_empty()));
        }
        for literal in analysis.literals.iter().flatten() {
            prop_assert!(text.get(literal.range.clone()).is_some_and(|it| !it.is_empty()));
        }
    }
}
