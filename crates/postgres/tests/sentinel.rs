//! Tables full of sentinel values under a column rule, asked for in every way that we could
//! think of: no sentinel reaches the client or the store, or the statement is refused.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test with its own small client"
)]

mod rig;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use postgres_wire::frame::{Framed, Limits, next_frame};
use postgres_wire::frontend::{Format, Target};
use postgres_wire::startup::{ProtocolVersion, write_startup};
use postgres_wire::{Side, write};
use rig::{Plan, Rig};
use testbed::{PgOptions, Postgres, require};

/// What must not be seen; letters that no error text holds by chance.
const SENTINEL: &str = "QXZJKVWQ";
/// The number in a protected int8 column.
const NUMBER: &str = "8675309867530911";

const SETUP: &str = "
    CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, ssn text UNIQUE,
        account int8, doc jsonb, tags text[]);
    INSERT INTO customers SELECT i, 'name' || i, 'QXZJKVWQ' || i, 8675309867530911,
        jsonb_build_object('s', 'QXZJKVWQ' || i), ARRAY['QXZJKVWQ' || i] FROM generate_series(1, 3) i;
    CREATE TABLE orders (id int, customer int, amount int);
    INSERT INTO orders VALUES (1, 1, 10), (2, 2, 20);
    CREATE TABLE spare (a text, b text);
    CREATE VIEW customer_view AS SELECT id, ssn AS renamed, name FROM customers;
    CREATE VIEW view_of_view AS SELECT renamed AS again FROM customer_view;
    CREATE MATERIALIZED VIEW customer_mat AS SELECT ssn AS m FROM customers;
    CREATE FUNCTION first_ssn() RETURNS text LANGUAGE sql AS 'SELECT ssn FROM customers LIMIT 1';
    CREATE FUNCTION all_rows() RETURNS SETOF customers LANGUAGE sql AS 'SELECT * FROM customers';
    CREATE FUNCTION whole(c customers) RETURNS text LANGUAGE sql AS 'SELECT c.ssn';
    CREATE FUNCTION says() RETURNS void LANGUAGE plpgsql AS
        $$BEGIN RAISE NOTICE '%', (SELECT ssn FROM customers LIMIT 1); END$$;
    CREATE FUNCTION notifies() RETURNS void LANGUAGE sql AS
        'SELECT pg_notify(''c'', ssn) FROM customers';
    CREATE FUNCTION names_itself() RETURNS text LANGUAGE sql AS
        'SELECT set_config(''application_name'', max(ssn), false) FROM customers';
    CREATE FUNCTION keeps(t text) RETURNS bool LANGUAGE sql AS
        'INSERT INTO spare VALUES (t, ''''); SELECT true';
    CREATE TABLE noisy (a text);
    INSERT INTO noisy VALUES ('x');
    CREATE FUNCTION tells() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN PERFORM pg_notify('c', max(ssn)) FROM customers; RETURN new; END$$;
    CREATE TRIGGER tells AFTER UPDATE ON noisy FOR EACH ROW EXECUTE FUNCTION tells();
    CREATE TABLE parted (id int, ssn text) PARTITION BY RANGE (id);
    CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (100);
    INSERT INTO parted SELECT i, 'QXZJKVWQ' || i FROM generate_series(1, 3) i;
    CREATE TABLE heir () INHERITS (customers);
    ANALYZE;
";

/// Every way of asking. `;;` parts statements that are sent one by one in one session.
const SHAPES: &[&str] = &[
    "SELECT ssn FROM customers",
    "SELECT ssn AS harmless FROM customers",
    "SELECT c.ssn FROM customers c",
    "SELECT c.ssn AS x FROM public.customers AS c",
    "SELECT * FROM customers",
    "SELECT c.* FROM customers c",
    "TABLE customers",
    "SELECT \"ssn\" FROM \"customers\"",
    "SELECT U&\"\\0073sn\" FROM customers",
    "SELECT ssn::varchar FROM customers",
    "SELECT CAST(ssn AS char(20)) FROM customers",
    "SELECT ssn::text FROM customers",
    "SELECT ssn || '' FROM customers",
    "SELECT 'x' || ssn FROM customers",
    "SELECT upper(ssn) FROM customers",
    "SELECT lower(ssn) FROM customers",
    "SELECT reverse(ssn) FROM customers",
    "SELECT md5(ssn), ssn FROM customers",
    "SELECT substr(ssn, 1, 4), substr(ssn, 5) FROM customers",
    "SELECT left(ssn, 8) FROM customers",
    "SELECT encode(ssn::bytea, 'hex') FROM customers",
    "SELECT encode(convert_to(ssn, 'UTF8'), 'base64') FROM customers",
    "SELECT ssn::bytea FROM customers",
    "SELECT concat(ssn, '-') FROM customers",
    "SELECT concat_ws('-', name, ssn) FROM customers",
    "SELECT format('%s', ssn) FROM customers",
    "SELECT quote_literal(ssn) FROM customers",
    "SELECT coalesce(ssn, '') FROM customers",
    "SELECT nullif(ssn, '') FROM customers",
    "SELECT greatest(ssn, '') FROM customers",
    "SELECT CASE WHEN true THEN ssn END FROM customers",
    "SELECT max(ssn) FROM customers",
    "SELECT min(ssn) FROM customers GROUP BY id",
    "SELECT string_agg(ssn, ',') FROM customers",
    "SELECT array_agg(ssn) FROM customers",
    "SELECT json_agg(ssn) FROM customers",
    "SELECT jsonb_agg(c) FROM customers c",
    "SELECT to_json(ssn) FROM customers",
    "SELECT to_jsonb(c) FROM customers c",
    "SELECT row_to_json(c) FROM customers c",
    "SELECT json_build_object('s', ssn) FROM customers",
    "SELECT jsonb_build_array(ssn) FROM customers",
    "SELECT hstore FROM (SELECT ssn AS hstore FROM customers) s",
    "SELECT ARRAY[ssn] FROM customers",
    "SELECT ARRAY(SELECT ssn FROM customers)",
    "SELECT ROW(ssn) FROM customers",
    "SELECT ROW(c.*) FROM customers c",
    "SELECT c FROM customers c",
    "SELECT customers FROM customers",
    "SELECT c::text FROM customers c",
    "SELECT (c).ssn FROM customers c",
    "SELECT (c).* FROM customers c",
    "SELECT upper(x) FROM (SELECT c::text AS x FROM customers c) s",
    "SELECT ssn FROM customers UNION SELECT 'x'",
    "SELECT 'x' UNION ALL SELECT ssn FROM customers",
    "SELECT ssn FROM customers EXCEPT SELECT 'x'",
    "SELECT ssn FROM customers INTERSECT SELECT ssn FROM customers",
    "SELECT (SELECT ssn FROM customers LIMIT 1)",
    "SELECT (SELECT c.ssn FROM customers c WHERE c.id = o.customer) FROM orders o",
    "SELECT x FROM (SELECT ssn AS x FROM customers) s",
    "SELECT upper(x) FROM (SELECT ssn AS x FROM customers) s",
    "SELECT x FROM customers AS c(a, b, x, d, e, f)",
    "SELECT upper(x) FROM customers AS c(a, b, x, d, e, f)",
    "WITH w AS (SELECT ssn FROM customers) SELECT * FROM w",
    "WITH w(x) AS (SELECT ssn FROM customers) SELECT x FROM w",
    "WITH w(x) AS (SELECT ssn FROM customers) SELECT upper(x) FROM w",
    "WITH w AS MATERIALIZED (SELECT ssn AS x FROM customers) SELECT x || '' FROM w",
    "WITH RECURSIVE w(x) AS (SELECT ssn FROM customers UNION SELECT x FROM w) SELECT * FROM w",
    "SELECT s.x FROM orders o, LATERAL (SELECT ssn AS x FROM customers WHERE id = o.customer) s",
    "SELECT c.ssn FROM orders o JOIN customers c ON c.id = o.customer",
    "SELECT * FROM orders o JOIN customers c ON c.id = o.customer",
    "SELECT ssn FROM customers NATURAL JOIN (SELECT 1 AS id) x",
    "SELECT ssn FROM customers a JOIN customers b USING (ssn)",
    "SELECT ssn FROM customers a FULL JOIN customers b USING (ssn)",
    "SELECT DISTINCT ssn FROM customers",
    "SELECT DISTINCT ON (ssn) ssn FROM customers",
    "SELECT ssn FROM customers GROUP BY ssn",
    "SELECT ssn, count(*) FROM customers GROUP BY ROLLUP(ssn)",
    "SELECT first_value(ssn) OVER (ORDER BY id) FROM customers",
    "SELECT lag(ssn) OVER (ORDER BY id) FROM customers",
    "SELECT ssn FROM customers ORDER BY ssn LIMIT 1",
    "SELECT ssn FROM customers FOR UPDATE",
    "SELECT ssn FROM ONLY customers",
    "SELECT ssn FROM customers TABLESAMPLE SYSTEM (100)",
    "SELECT unnest(ARRAY[ssn]) FROM customers",
    "SELECT * FROM unnest(ARRAY(SELECT ssn FROM customers)) u",
    "SELECT regexp_matches(ssn, '.*') FROM customers",
    "SELECT regexp_split_to_table(ssn, '') FROM customers",
    "SELECT ssn = 'x', ssn FROM customers",
    "VALUES ((SELECT ssn FROM customers LIMIT 1))",
    "SELECT account FROM customers",
    "SELECT account + 0 FROM customers",
    "SELECT account::text FROM customers",
    "SELECT account::numeric FROM customers",
    "SELECT sum(account) FROM customers",
    "SELECT doc FROM customers",
    "SELECT doc->>'s' FROM customers",
    "SELECT doc::text FROM customers",
    "SELECT jsonb_pretty(doc) FROM customers",
    "SELECT tags FROM customers",
    "SELECT tags[1] FROM customers",
    "SELECT array_to_string(tags, ',') FROM customers",
    "SELECT renamed FROM customer_view",
    "SELECT * FROM customer_view",
    "SELECT upper(renamed) FROM customer_view",
    "SELECT again FROM view_of_view",
    "SELECT m FROM customer_mat",
    "SELECT ssn FROM parted",
    "SELECT ssn FROM parted_low",
    "SELECT parted_low FROM parted_low",
    "SELECT ssn FROM heir UNION ALL SELECT ssn FROM customers",
    "SELECT ssn FROM heir",
    "SELECT c.whole FROM customers c",
    "SELECT c.to_jsonb FROM customers c",
    "SELECT first_ssn()",
    "SELECT * FROM first_ssn()",
    "SELECT * FROM all_rows()",
    "SELECT (all_rows()).ssn",
    "SELECT says()",
    "CALL nothing()",
    "DO $$BEGIN RAISE NOTICE '%', (SELECT ssn FROM customers LIMIT 1); END$$",
    "DO $$BEGIN RAISE EXCEPTION '%', (SELECT ssn FROM customers LIMIT 1); END$$",
    "DO $$BEGIN EXECUTE 'INSERT INTO spare SELECT ssn, ssn FROM customers'; END$$ ;; SELECT * FROM spare",
    "COPY customers TO STDOUT",
    "COPY customers (ssn) TO STDOUT",
    "COPY customers TO STDOUT WITH (FORMAT csv)",
    "COPY customers TO STDOUT WITH (FORMAT csv, HEADER, DELIMITER ';', QUOTE '''')",
    "COPY customers TO STDOUT WITH (FORMAT csv, FORCE_QUOTE *)",
    "COPY customers TO STDOUT WITH (FORMAT binary)",
    "COPY customers TO STDOUT BINARY",
    "COPY customers TO STDOUT CSV HEADER",
    "COPY (SELECT ssn FROM customers) TO STDOUT",
    "COPY (SELECT * FROM customers) TO STDOUT WITH (FORMAT csv)",
    "COPY (SELECT upper(ssn) FROM customers) TO STDOUT",
    "COPY (SELECT renamed FROM customer_view) TO STDOUT",
    "COPY parted_low TO STDOUT",
    "COPY (TABLE customers) TO STDOUT",
    "BEGIN ;; DECLARE k CURSOR FOR SELECT ssn FROM customers ;; FETCH ALL FROM k ;; COMMIT",
    "BEGIN ;; DECLARE k CURSOR FOR SELECT upper(ssn) FROM customers ;; FETCH ALL FROM k ;; COMMIT",
    "BEGIN ;; DECLARE k BINARY CURSOR FOR SELECT ssn, account FROM customers ;; FETCH 2 FROM k ;; COMMIT",
    "BEGIN ;; DECLARE k SCROLL CURSOR WITH HOLD FOR TABLE customers ;; COMMIT ;; FETCH LAST FROM k",
    "PREPARE p AS SELECT ssn FROM customers ;; EXECUTE p",
    "PREPARE p AS SELECT ssn || '' FROM customers ;; EXECUTE p",
    "PREPARE p AS SELECT upper(ssn) FROM customers ;; CREATE TABLE stolen AS EXECUTE p ;; TABLE stolen",
    "PREPARE p AS SELECT 1 ;; DEALLOCATE p ;; PREPARE p AS SELECT max(ssn) FROM customers ;; EXECUTE p",
    "INSERT INTO spare SELECT ssn, name FROM customers ;; SELECT * FROM spare",
    "INSERT INTO spare (a) SELECT upper(ssn) FROM customers ;; SELECT * FROM spare",
    "INSERT INTO spare TABLE customer_mat ;; SELECT * FROM spare",
    "WITH t AS (INSERT INTO spare SELECT ssn, '' FROM customers RETURNING a) SELECT a FROM t",
    "CREATE TABLE taken AS SELECT ssn AS s FROM customers ;; SELECT s FROM taken",
    "CREATE TEMP TABLE taken AS TABLE customers ;; SELECT * FROM taken",
    "SELECT ssn AS s INTO taken2 FROM customers ;; SELECT s FROM taken2",
    "CREATE VIEW mine AS SELECT ssn AS s FROM customers ;; SELECT s FROM mine",
    "CREATE TEMP VIEW mine AS SELECT upper(ssn) AS s FROM customers ;; SELECT s FROM mine",
    "CREATE MATERIALIZED VIEW mine2 AS SELECT ssn AS s FROM customers ;; SELECT s FROM mine2",
    "CREATE FUNCTION mine() RETURNS text LANGUAGE sql AS 'SELECT ssn FROM customers LIMIT 1' ;; SELECT mine()",
    "CREATE RULE r AS ON INSERT TO spare DO ALSO SELECT ssn FROM customers ;; INSERT INTO spare VALUES ('a')",
    "ALTER TABLE customers RENAME ssn TO open ;; SELECT open FROM customers",
    "ALTER TABLE customers RENAME TO open ;; SELECT ssn FROM open",
    "CREATE TABLE child2 () INHERITS (customers) ;; SELECT ssn FROM child2",
    "UPDATE customers SET name = ssn ;; SELECT name FROM customers",
    "UPDATE customers SET name = upper(ssn) WHERE id = 1 RETURNING name",
    "UPDATE spare SET a = (SELECT ssn FROM customers LIMIT 1) RETURNING a",
    "UPDATE orders o SET amount = length(c.ssn) FROM customers c WHERE c.id = o.customer RETURNING c.ssn",
    "UPDATE customers SET ssn = ssn RETURNING ssn",
    "UPDATE customers SET id = id RETURNING *",
    "UPDATE customers SET id = id RETURNING upper(ssn)",
    "DELETE FROM customers WHERE id = 3 RETURNING ssn",
    "DELETE FROM customers WHERE id = 2 RETURNING ssn || ''",
    "DELETE FROM customers c WHERE id = 2 RETURNING c",
    "INSERT INTO customers VALUES (99, 'n', 'QXZJKVWQ1')",
    "INSERT INTO customers VALUES (98, NULL, 'QXZJKVWQ98')",
    "INSERT INTO customers (id, name, ssn) VALUES (97, 'n', 'QXZJKVWQ97') RETURNING ssn",
    "INSERT INTO customers (id, name, ssn) VALUES (1, 'n', 'QXZJKVWQ5') ON CONFLICT (id) DO UPDATE SET name = excluded.ssn RETURNING name",
    "INSERT INTO customers (id, name, ssn) VALUES (1, 'n', 'x') ON CONFLICT (id) DO UPDATE SET name = customers.ssn RETURNING name",
    "SELECT ssn::int FROM customers",
    "SELECT ssn::date FROM customers",
    "SELECT 1 / (length(ssn) - length(ssn)) FROM customers",
    "SELECT ssn::uuid FROM customers WHERE id = 1",
    "ALTER TABLE customers ALTER ssn TYPE int USING ssn::int",
    "CREATE UNIQUE INDEX u ON customers ((left(ssn, 8)))",
    "ALTER TABLE customers ADD CHECK (ssn < 'A')",
    "EXPLAIN SELECT * FROM customers WHERE ssn = 'QXZJKVWQ1'",
    "EXPLAIN (ANALYZE, VERBOSE, COSTS OFF) SELECT ssn FROM customers",
    "SELECT most_common_vals FROM pg_stats WHERE tablename = 'customers'",
    "SELECT histogram_bounds::text FROM pg_stats WHERE attname = 'ssn'",
    "SELECT stavalues1::text FROM pg_statistic",
    "SELECT * FROM pg_catalog.pg_stats",
    "SELECT query FROM pg_stat_activity",
    "SELECT query_to_xml('SELECT ssn FROM customers', true, false, '')",
    "SELECT table_to_xml('customers', true, false, '')",
    "SELECT database_to_xml(true, false, '')",
    "SELECT schema_to_xml('public', true, false, '')",
    "SELECT * FROM ts_stat('SELECT to_tsvector(ssn) FROM customers')",
    "SELECT to_tsvector(ssn) FROM customers",
    "SELECT pg_notify('c', ssn) FROM customers",
    "LISTEN c ;; SELECT pg_notify('c', ssn) FROM customers ;; SELECT 1",
    "LISTEN c ;; SELECT pg_notify('c', x) FROM (SELECT ssn AS x FROM customers) s ;; SELECT 1",
    "LISTEN c ;; SELECT pg_notify('c', c::text) FROM customers c ;; SELECT 1",
    "LISTEN c ;; SELECT count(pg_notify('c', renamed)) FROM customer_view ;; SELECT 1",
    "LISTEN c ;; EXPLAIN ANALYZE SELECT pg_notify('c', ssn) FROM customers ;; SELECT 1",
    "LISTEN c ;; PREPARE p AS SELECT pg_notify('c', ssn) FROM customers ;; EXECUTE p ;; SELECT 1",
    "LISTEN c ;; WITH n AS MATERIALIZED (SELECT pg_notify('c', ssn) FROM customers) SELECT count(*) FROM n ;; SELECT 1",
    "LISTEN c ;; SELECT notifies() ;; SELECT 1",
    "LISTEN c ;; UPDATE noisy SET a = a ;; SELECT 1",
    "SELECT set_config('my.x', ssn, false) FROM customers ;; SHOW my.x",
    "SELECT set_config('application_name', ssn, false) FROM customers ;; SHOW application_name",
    "SELECT set_config('application_name', x, false) FROM (SELECT max(ssn) x FROM customers) s ;; SELECT current_setting('application_name')",
    "SELECT names_itself() ;; SELECT 1",
    "CREATE SEQUENCE numbers ;; SELECT setval('numbers', account) FROM customers ;; SELECT currval('numbers')",
    "CREATE SEQUENCE numbers2 ;; SELECT setval('numbers2', account) FROM customers ;; SELECT last_value FROM numbers2",
    "SELECT pg_advisory_lock(account) FROM customers ;; SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks WHERE locktype = 'advisory'",
    "SELECT pg_advisory_lock(account) FROM customers ;; SELECT (classid::bigint << 32) | objid::bigint FROM pg_lock_status() WHERE locktype = 'advisory'",
    "SELECT keeps(ssn) FROM customers ;; SELECT * FROM spare",
    "SELECT 1 FROM customers WHERE keeps(ssn) ;; SELECT * FROM spare",
    "SELECT 1 ORDER BY keeps((SELECT max(ssn) FROM customers)) ;; SELECT * FROM spare",
    "EXPLAIN ANALYZE INSERT INTO spare SELECT ssn, '' FROM customers ;; SELECT * FROM spare",
    "PREPARE p AS INSERT INTO spare SELECT ssn, '' FROM customers ;; EXECUTE p ;; SELECT * FROM spare",
    "SELECT lo_from_bytea(0, ssn::bytea) FROM customers",
    "SELECT xmlelement(name x, ssn) FROM customers",
    "SELECT xmlforest(ssn) FROM customers",
    "SELECT * FROM json_to_recordset((SELECT json_agg(c) FROM customers c)) AS x(ssn text)",
    "SELECT * FROM ROWS FROM (first_ssn(), generate_series(1, 2)) AS t(a, b)",
    "SELECT pg_typeof(ssn), ssn FROM customers",
    "SELECT ssn COLLATE \"C\" FROM customers",
    "SELECT overlay(ssn placing 'x' from 1 for 0) FROM customers",
    "SELECT trim(ssn) FROM customers",
    "SELECT ssn FROM customers WHERE ssn LIKE 'Q%'",
    "SELECT a.ssn, b.ssn FROM customers a, customers b",
    "SELECT 1; SELECT ssn FROM customers; SELECT upper(ssn) FROM customers",
    "SELECT json_object_agg(id, ssn) FROM customers",
    "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY ssn) FROM customers",
    "SELECT mode() WITHIN GROUP (ORDER BY ssn) FROM customers",
    "SELECT (ARRAY(SELECT c FROM customers c))[1].ssn",
    "SELECT s.* FROM (SELECT c.*, 1 AS one FROM customers c) s",
    "SELECT s.whole FROM (SELECT c AS whole FROM customers c) s",
    "MERGE INTO spare s USING customers c ON s.a = c.ssn WHEN NOT MATCHED THEN INSERT VALUES (c.ssn, '') ;; SELECT * FROM spare",
];

/// A client with no ideas of its own: it keeps every byte that it was sent.
struct Wire {
    tcp: TcpStream,
    seen: Vec<u8>,
}

impl Wire {
    fn connect(rig: &Rig) -> Wire {
        let mut tcp = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut out = Vec::new();
        write_startup(
            &mut out,
            ProtocolVersion::V3_0,
            &[(b"user", b"postgres"), (b"database", b"postgres")],
        )
        .unwrap();
        tcp.write_all(&out).unwrap();
        out.clear();
        write::password(&mut out, rig.long_token("alice").as_bytes()).unwrap();
        tcp.write_all(&out).unwrap();
        let mut wire = Wire { tcp, seen: Vec::new() };
        wire.until_ready("login");
        wire
    }

    /// Reads up to ReadyForQuery.
    fn until_ready(&mut self, doing: &str) {
        let start = self.seen.len();
        let mut at = start;
        loop {
            while let Framed::Frame { tag, total, .. } =
                next_frame(&self.seen[at..], Side::Backend, &Limits::DEFAULT).unwrap()
            {
                at += total;
                if tag == b'Z' {
                    return;
                }
            }
            let mut buf = [0; 16384];
            let n = match self.tcp.read(&mut buf) {
                // A read with a timeout is not taken up again after a signal.
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.unwrap_or_else(|e| panic!("{doing}: {e}")),
            };
            assert!(
                n > 0,
                "{doing}: the session ended: {:?}",
                String::from_utf8_lossy(&self.seen[start..])
            );
            self.seen.extend_from_slice(&buf[..n]);
        }
    }

    fn simple(&mut self, sql: &str) {
        let mut out = Vec::new();
        write::query(&mut out, sql.as_bytes()).unwrap();
        self.tcp.write_all(&out).unwrap();
        self.until_ready(sql);
    }

    /// Parse, Bind, (Describe,) Execute, Sync, with this result format.
    fn extended(&mut self, sql: &str, format: Format, describe: bool) {
        let mut out = Vec::new();
        write::parse(&mut out, b"", sql.as_bytes(), &[]).unwrap();
        write::bind(&mut out, b"", b"", &[], &[], &[format]).unwrap();
        if describe {
            write::describe(&mut out, Target::Portal(b"")).unwrap();
        }
        write::execute(&mut out, b"", 0).unwrap();
        write::sync(&mut out);
        self.tcp.write_all(&out).unwrap();
        self.until_ready(sql);
    }
}

/// The forms in which a sentinel may show.
fn needles() -> Vec<Vec<u8>> {
    let text = SENTINEL.as_bytes();
    let hex: String = text.iter().map(|b| format!("{b:02x}")).collect();
    let mut needles = vec![
        text.to_vec(),
        SENTINEL.to_lowercase().into_bytes(),
        text.iter().rev().copied().collect(),
        hex.clone().into_bytes(),
        base64::engine::general_purpose::STANDARD_NO_PAD.encode(&text[..6]).into_bytes(),
        // Halves, as substr would give them.
        text[..4].to_vec(),
        NUMBER.as_bytes().to_vec(),
        NUMBER.parse::<i64>().unwrap().to_be_bytes().to_vec(),
    ];
    needles.push(hex.to_uppercase().into_bytes());
    needles
}

fn leak(bytes: &[u8]) -> Option<String> {
    needles()
        .iter()
        .find(|needle| bytes.windows(needle.len()).any(|window| window == needle.as_slice()))
        .map(|needle| String::from_utf8_lossy(needle).into_owned())
}

fn protected() -> Plan {
    let masking = r#"
        version = 1
        [[rule]]
        columns = ["public.customers.ssn", "*.customers.account", "*.customers.doc",
            "*.customers.tags", "public.parted.ssn"]
        client = { operator = "replace", new_value = "hidden" }
        record = { operator = "redact" }
    "#;
    Plan { masking: masking.into(), ..Plan::default() }
}

#[test]
fn no_sentinel_reaches_client_or_store() {
    let Some(pg) = require(Postgres::start(PgOptions::default())) else { return };
    let rig = Rig::with(pg.port(), protected());
    let mut leaks = Vec::new();
    let mut tried = 0;
    for mode in ["simple", "text", "binary", "undescribed"] {
        // What the shapes of the last round did is undone.
        pg.psql("DROP SCHEMA public CASCADE; CREATE SCHEMA public").unwrap();
        pg.psql(SETUP).unwrap();
        for shape in SHAPES {
            let mut wire = Wire::connect(&rig);
            for sql in shape.split(" ;; ") {
                match mode {
                    "simple" => wire.simple(sql),
                    "text" => wire.extended(sql, Format::Text, true),
                    "binary" => wire.extended(sql, Format::Binary, true),
                    _ => wire.extended(sql, Format::Binary, false),
                }
            }
            tried += 1;
            if let Some(needle) = leak(&wire.seen) {
                leaks.push(format!("{mode}: {shape}: {needle}"));
            }
        }
    }
    assert!(SHAPES.len() >= 200, "{}", SHAPES.len());
    assert!(leaks.is_empty(), "{} of {tried} leaked:\n{}", leaks.len(), leaks.join("\n"));
    rig.settle();
    let mut entries = 0;
    for entry in rig.entries() {
        entries += 1;
        let text = entry.to_string();
        assert_eq!(leak(text.as_bytes()), None, "in the log: {text}");
        if let Some(data) = entry["data"]["base64"].as_str() {
            let data = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
            assert_eq!(leak(&data), None, "in a recorded answer to {text}");
        }
    }
    assert!(entries > tried);
}

/// The rules hide no more than they must: a statement that reads no protected column works.
#[test]
fn what_touches_nothing_protected_is_answered() {
    let Some(pg) = require(Postgres::start(PgOptions::default())) else { return };
    pg.psql(SETUP).unwrap();
    let rig = Rig::with(pg.port(), protected());
    for (sql, answer) in [
        ("SELECT name FROM customers ORDER BY id LIMIT 1", "name1\n"),
        ("SELECT count(*) FROM customers", "3\n"),
        ("SELECT upper(name) FROM customers WHERE id = 2", "NAME2\n"),
        ("SELECT ssn FROM customers LIMIT 1", "hidden\n"),
        (
            "SELECT o.amount + 1 FROM orders o JOIN customers c ON c.id = o.customer ORDER BY 1",
            "11\n21\n",
        ),
        ("SELECT sum(amount) FROM orders", "30\n"),
        ("COPY customers (id, ssn) TO STDOUT", "1\thidden\n2\thidden\n3\thidden\n"),
        ("CREATE TEMP TABLE t AS SELECT 7 AS a; SELECT a FROM t", "7\n"),
        ("UPDATE orders SET amount = amount + 1 WHERE id = 1 RETURNING amount", "11\n"),
        (
            "INSERT INTO customers (id, name, ssn) VALUES (50, 'n', 'secret') RETURNING id, ssn",
            "50|hidden\n",
        ),
    ] {
        let (out, err) = rig.psql(&["-c", sql]);
        assert_eq!((out.as_str(), err.as_str()), (answer, ""), "{sql}");
    }
}
