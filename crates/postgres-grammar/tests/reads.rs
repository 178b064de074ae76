//! What a statement reads: every name it refers to, and the ways around names.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use postgres_grammar::{Analyzer, Lexer, Limits, Reads};

/// The reads of a text's only statement.
fn reads(sql: &str) -> Reads {
    let analysis = Analyzer::new(Limits::default()).analyze(sql.as_bytes(), Lexer::default());
    assert_eq!(analysis.parse_error, None, "{sql}");
    assert_eq!(analysis.statements.len(), 1, "{sql}");
    analysis.statements[0].reads.clone()
}

/// In one word each, for a table that can be read.
fn flags(reads: &Reads) -> String {
    let set = [
        ("star", reads.star),
        ("output", reads.output_star),
        ("row", reads.whole_row),
        ("renames", reads.renames),
    ];
    let names: Vec<&str> = set.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    names.join(" ")
}

/// Statement; names only referred to as plain outputs; names referred to elsewhere; flags.
type Row = (&'static str, &'static str, &'static str, &'static str);

fn check(rows: &[Row]) {
    for (sql, plain, inside, set) in rows {
        let reads = reads(sql);
        let sorted = |names: Vec<&str>| {
            let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            names.sort();
            names.join(" ")
        };
        let elsewhere = sorted(reads.expression_columns.iter().map(String::as_str).collect());
        let outputs: Vec<&str> = reads
            .columns
            .iter()
            .filter(|name| !reads.expression_columns.contains(*name))
            .map(String::as_str)
            .collect();
        assert_eq!(sorted(outputs), *plain, "plain outputs of {sql}");
        assert_eq!(elsewhere, *inside, "references of {sql}");
        assert_eq!(flags(&reads), *set, "flags of {sql}");
        for name in &reads.expression_columns {
            assert!(reads.columns.contains(name), "{name} of {sql}");
        }
    }
}

#[test]
fn plain_outputs_are_told_apart() {
    check(&[
        ("SELECT 1", "", "", ""),
        ("SELECT name, c.ssn FROM customers c", "name ssn", "", ""),
        ("SELECT ssn AS x FROM public.customers", "ssn", "", ""),
        ("SELECT public.customers.ssn FROM public.customers", "ssn", "", ""),
        ("SELECT (ssn) FROM customers", "ssn", "", ""),
        (r#"SELECT U&"\0073sn" FROM customers"#, "ssn", "", ""),
        (r#"SELECT U&"!0073sn" UESCAPE '!' FROM customers"#, "ssn", "", ""),
        (r#"SELECT SSN, "Ssn", "s n" FROM customers"#, "Ssn s n ssn", "", ""),
        ("SELECT ssn, ssn || '' FROM customers", "", "ssn", ""),
        ("SELECT name FROM customers WHERE ssn = $1", "name", "ssn", ""),
        ("SELECT name FROM customers GROUP BY ssn, name", "", "name ssn", ""),
        ("SELECT name FROM customers ORDER BY ssn LIMIT 1", "name", "ssn", ""),
        ("SELECT DISTINCT ON (ssn) name FROM customers", "name", "ssn", ""),
        ("SELECT * FROM customers", "", "", "output"),
        ("SELECT c.*, 1 FROM customers c", "", "", "output"),
        ("TABLE customers", "", "", "output"),
        ("SELECT count(*) FROM customers", "", "", ""),
        ("VALUES ((SELECT ssn FROM customers))", "", "ssn", ""),
        ("SELECT name FROM customers FOR UPDATE", "name", "", ""),
    ]);
}

#[test]
fn nested_and_computed_places_count() {
    check(&[
        ("SELECT upper(x) FROM (SELECT c::text AS x FROM customers c) s", "", "c x", "row"),
        ("SELECT x FROM (SELECT ssn AS x FROM customers) s", "x", "ssn", ""),
        ("SELECT ssn::varchar FROM customers", "", "ssn", ""),
        ("SELECT (SELECT ssn FROM customers)", "", "ssn", ""),
        ("SELECT ARRAY(SELECT ssn FROM customers)", "", "ssn", ""),
        ("SELECT 1 WHERE EXISTS (SELECT FROM customers WHERE ssn LIKE '1%')", "", "ssn", ""),
        ("SELECT ssn FROM a UNION SELECT name FROM b", "", "name ssn", ""),
        ("SELECT * FROM a UNION ALL TABLE b", "", "", "star"),
        ("(SELECT ssn FROM a) EXCEPT SELECT 'x'", "", "ssn", ""),
        ("SELECT name FROM a, LATERAL (SELECT a.ssn) s(v)", "name", "ssn", "renames"),
        ("SELECT v FROM a, LATERAL (SELECT a.ssn AS v) s", "v", "ssn", ""),
        ("WITH x AS (SELECT * FROM customers) SELECT ssn FROM x", "ssn", "", "star"),
        ("WITH x AS (SELECT ssn FROM customers) SELECT * FROM x", "", "ssn", "output"),
        ("WITH x(a, b) AS (TABLE customers) SELECT b FROM x", "b", "", "star renames"),
        (
            "WITH RECURSIVE r AS (SELECT id, ssn FROM c UNION SELECT r.id, r.ssn FROM r) \
             SEARCH DEPTH FIRST BY ssn SET o CYCLE id SET f USING p SELECT o, p FROM r",
            "o p",
            "id ssn",
            "",
        ),
        ("SELECT max(ssn) OVER (PARTITION BY a ORDER BY b) FROM c", "", "a b ssn", ""),
        ("SELECT rank() OVER w FROM c WINDOW w AS (ORDER BY ssn)", "", "ssn", ""),
        ("SELECT count(*) FILTER (WHERE ssn > '5') FROM c", "", "ssn", ""),
        ("SELECT string_agg(a, b ORDER BY ssn) FROM c", "", "a b ssn", ""),
        ("SELECT a FROM c GROUP BY ROLLUP (a, b) HAVING min(ssn) > ''", "", "a b ssn", ""),
        ("SELECT a FROM c LIMIT (SELECT ssn::int FROM d)", "a", "ssn", ""),
        ("SELECT a FROM unnest(ARRAY(SELECT ssn FROM c)) AS u", "a", "ssn", ""),
        ("SELECT CASE WHEN ssn = '1' THEN a END FROM c", "", "a ssn", ""),
        ("SELECT f(x => ssn) FROM c", "", "ssn", ""),
        ("SELECT a[i].f FROM c", "", "a f i", ""),
    ]);
}

#[test]
fn joins_that_merge_columns() {
    check(&[
        ("SELECT ssn FROM a JOIN b USING (ssn)", "", "ssn", ""),
        ("SELECT name FROM a FULL JOIN b USING (ssn, id)", "name", "id ssn", ""),
        ("SELECT * FROM a JOIN b USING (ssn) AS j", "", "ssn", "output"),
        ("SELECT name FROM a JOIN b ON a.ssn = b.note", "name", "note ssn", ""),
        // What NATURAL merges is not in the text: a merged column has no origin.
        ("SELECT ssn FROM a NATURAL FULL JOIN b", "", "ssn", ""),
        ("SELECT * FROM x, (a JOIN (b NATURAL JOIN c) ON true)", "", "", "star"),
        ("DELETE FROM t USING a NATURAL JOIN b RETURNING name", "", "name", ""),
    ]);
}

#[test]
fn whole_rows_and_renames() {
    check(&[
        ("SELECT c FROM customers c", "c", "", "row"),
        ("SELECT customers FROM customers", "customers", "", "row"),
        ("SELECT customers FROM customers c", "customers", "", ""),
        ("SELECT to_jsonb(c) FROM customers c", "", "c", "row"),
        ("SELECT c::text FROM customers c", "", "c", "row"),
        ("SELECT ROW(c.*) FROM customers c", "", "", "star"),
        ("SELECT count(c.*) FROM customers c", "", "", "star"),
        ("SELECT (c).ssn FROM customers c", "", "c ssn", "row"),
        ("SELECT (c).* FROM customers c", "", "c", "star row"),
        ("SELECT (a.b).c.d FROM t a", "", "b c d", ""),
        // f(t) may be written t.f.
        ("SELECT c.to_jsonb FROM customers c", "to_jsonb", "", "row"),
        ("SELECT to_jsonb FROM customers c", "to_jsonb", "", ""),
        ("SELECT s FROM (SELECT 1) s", "s", "", "row"),
        ("WITH w AS (SELECT 1) SELECT w FROM w", "w", "", "row"),
        ("SELECT j FROM (a CROSS JOIN b) j", "j", "", "row"),
        ("SELECT c = x FROM customers c, y x", "", "c x", "row"),
        ("SELECT (SELECT c) FROM customers c", "", "c", "row"),
        ("SELECT g FROM generate_series(1, 9) g", "g", "", ""),
        ("SELECT x FROM customers c(a, b, x)", "x", "", "renames"),
        ("SELECT x FROM f() AS c(x int)", "x", "", "renames"),
        (
            "SELECT v FROM c, XMLTABLE('/r' PASSING c.ssn COLUMNS v text PATH '.')",
            "v",
            "ssn",
            "renames",
        ),
        (
            "SELECT v FROM c, JSON_TABLE(c.doc, '$' COLUMNS (v text PATH '$.ssn'))",
            "v",
            "doc",
            "renames",
        ),
    ]);
}

#[test]
fn writes_and_their_sources() {
    check(&[
        ("INSERT INTO customers (ssn) VALUES ($1)", "", "", ""),
        ("INSERT INTO t SELECT ssn FROM customers", "", "ssn", ""),
        ("INSERT INTO t SELECT * FROM customers", "", "", "star"),
        ("INSERT INTO t TABLE customers", "", "", "star"),
        ("INSERT INTO t VALUES (1) RETURNING ssn, *", "ssn", "", "output"),
        ("INSERT INTO t VALUES (1) RETURNING upper(ssn)", "", "ssn", ""),
        ("INSERT INTO t VALUES (1) RETURNING t", "t", "", "row"),
        ("INSERT INTO t VALUES (1) ON CONFLICT (ssn) DO NOTHING", "ssn", "", ""),
        (
            "INSERT INTO t (ssn) VALUES (1) ON CONFLICT (id) DO UPDATE SET a = excluded.ssn",
            "id",
            "ssn",
            "",
        ),
        (
            "INSERT INTO t VALUES (1) ON CONFLICT (lower(n)) DO UPDATE SET a = excluded::text",
            "",
            "excluded n",
            "row",
        ),
        ("UPDATE t SET ssn = $1", "", "", ""),
        ("UPDATE t SET name = ssn", "", "ssn", ""),
        ("UPDATE t SET (a, b) = (SELECT ssn, 1 FROM c)", "", "ssn", ""),
        ("UPDATE t SET a[i].f = 1", "", "i", ""),
        ("UPDATE t SET a = 1 RETURNING old.ssn, new.a, new", "a new ssn", "", "row"),
        ("UPDATE t SET a = 1 RETURNING WITH (OLD AS o) o, o.ssn", "o ssn", "", "row"),
        ("UPDATE t SET a = c.ssn FROM c WHERE t.id = c.id", "", "id ssn", ""),
        ("DELETE FROM t WHERE ssn = '1' RETURNING name", "name", "ssn", ""),
        (
            "MERGE INTO t USING c ON t.id = c.id WHEN MATCHED THEN UPDATE SET a = c.ssn \
             WHEN NOT MATCHED THEN INSERT (b) VALUES (c.d) RETURNING t.e",
            "e",
            "d id ssn",
            "",
        ),
        ("WITH x AS (DELETE FROM t RETURNING *) INSERT INTO u SELECT a FROM x", "", "a", "star"),
        ("SELECT ssn INTO u FROM t", "", "ssn", ""),
        ("CREATE TABLE u AS SELECT * FROM t", "", "", "star"),
        ("CREATE TABLE u (a) AS SELECT ssn FROM t", "", "ssn", "renames"),
        ("CREATE VIEW v (a) AS SELECT ssn FROM t", "", "ssn", "renames"),
    ]);
}

#[test]
fn statements_that_hold_statements() {
    check(&[
        ("PREPARE p AS SELECT ssn, * FROM t WHERE a = $1", "ssn", "a", "output"),
        ("PREPARE p AS INSERT INTO u SELECT ssn FROM t", "", "ssn", ""),
        ("DECLARE c CURSOR FOR SELECT ssn FROM t ORDER BY a", "ssn", "a", ""),
        ("EXPLAIN SELECT ssn, * FROM t", "", "ssn", "star"),
        ("EXPLAIN ANALYZE UPDATE t SET a = ssn", "", "ssn", ""),
        ("COPY (SELECT ssn FROM t) TO STDOUT", "", "ssn", ""),
        ("COPY (TABLE t) TO STDOUT", "", "", "star"),
        ("COPY t TO STDOUT", "", "", "star"),
        ("COPY t (a, ssn) TO STDOUT", "", "a ssn", ""),
        ("COPY t (a, ssn) FROM STDIN WHERE a > b", "", "a b", ""),
        ("CALL p((SELECT ssn FROM t))", "", "ssn", ""),
        ("DO 'BEGIN PERFORM ssn FROM t; INSERT INTO u TABLE t; END'", "", "ssn", "star"),
        ("CREATE FUNCTION f() RETURNS text BEGIN ATOMIC SELECT ssn FROM t; END", "", "ssn", ""),
        ("CREATE RULE r AS ON INSERT TO t DO INSERT INTO u SELECT new.ssn", "", "ssn", ""),
    ]);
}
