//! Attacks by what a statement calls: under a rule that allows reads, nothing that may write runs,
//! whatever place in a statement it hides in; and what only reads still does. Item 9 of the list
//! of attacks that other proxies fell to.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod rig;
mod wire;

use rig::{Plan, Rig};
use testbed::{PgOptions, Postgres, require};
use wire::{Wire, bind, codes, describe, execute, firsts, parse, q, sync};

const READ_ONLY: &str = r#"
    default = "deny"
    [[rule]]
    name = "reads"
    effect = "allow"
    when = { class = ["read", "session"] }
"#;

/// As above, with a function that its author vouches for, and an operator.
const WITH_NAMES: &str = r#"
    default = "deny"
    [[rule]]
    name = "reads"
    effect = "allow"
    when = { class = ["read", "session"], functions = ["app.price", "nextval", "<%%>"] }
"#;

const SETUP: &str = "
    CREATE TABLE keep(id int, v text);
    INSERT INTO keep VALUES (1, 'a'), (2, 'b'), (3, 'c');
    CREATE SEQUENCE seq;
    CREATE FUNCTION wipe() RETURNS int LANGUAGE sql AS 'DELETE FROM keep; SELECT 1';
    CREATE FUNCTION wipe(int) RETURNS int LANGUAGE sql AS 'DELETE FROM keep; SELECT 1';
    CREATE FUNCTION wipe_op(int, int) RETURNS int LANGUAGE sql AS 'DELETE FROM keep; SELECT 1';
    CREATE FUNCTION wipe_bool(int, int) RETURNS bool LANGUAGE sql AS 'DELETE FROM keep; SELECT true';
    CREATE FUNCTION wipe_rows() RETURNS SETOF int LANGUAGE sql AS 'DELETE FROM keep RETURNING id';
    CREATE FUNCTION wipe_now() RETURNS int IMMUTABLE LANGUAGE plpgsql AS
        'BEGIN PERFORM nextval(''seq''); RETURN 1; END';
    CREATE OPERATOR ### (LEFTARG = int, RIGHTARG = int, FUNCTION = wipe_op);
    CREATE OPERATOR <%%> (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl);
    CREATE AGGREGATE wipe_all(int) (SFUNC = wipe_op, STYPE = int, INITCOND = '0');
    CREATE SCHEMA app;
    CREATE FUNCTION app.price(int) RETURNS int LANGUAGE sql AS 'SELECT 10 * $1';
    CREATE FUNCTION app.lower(text) RETURNS text LANGUAGE sql AS 'DELETE FROM keep; SELECT $1';
    CREATE FUNCTION \"pg_catalog.now\"() RETURNS int LANGUAGE sql AS 'DELETE FROM keep; SELECT 1';
    CREATE FUNCTION \"app.price\"(int) RETURNS int LANGUAGE sql AS 'DELETE FROM keep; SELECT 1';
    CREATE OPERATOR app.+ (LEFTARG = int, RIGHTARG = int, FUNCTION = wipe_op);
";

/// Statements that write by what they call.
const WRITES: &[&str] = &[
    "SELECT wipe()",
    "SELECT public.wipe()",
    "SELECT \"wipe\"()",
    "SELECT wipe() FROM keep WHERE false OR true",
    "SELECT * FROM wipe()",
    "SELECT * FROM wipe_rows()",
    "SELECT * FROM ROWS FROM (wipe_rows(), generate_series(1, 2)) x",
    "SELECT * FROM keep, LATERAL wipe(keep.id)",
    "SELECT 1 FROM keep WHERE wipe(id) = 1",
    "SELECT 1 FROM keep ORDER BY wipe(id)",
    "SELECT 1 FROM keep GROUP BY wipe(id)",
    "SELECT 1 FROM keep HAVING wipe() = 1",
    "SELECT 1 LIMIT wipe()",
    "SELECT 1 OFFSET wipe()",
    "SELECT CASE WHEN wipe() = 1 THEN 1 END",
    "SELECT coalesce(NULL, wipe())",
    "SELECT ARRAY[wipe()], ROW(wipe())",
    "SELECT (SELECT wipe())",
    "SELECT wipe()::text",
    "SELECT count(*) FILTER (WHERE wipe(id) = 1) FROM keep",
    "SELECT wipe_all(id) FROM keep",
    "SELECT wipe_all(id) OVER (ORDER BY id) FROM keep",
    "SELECT sum(id) OVER (PARTITION BY wipe(id)) FROM keep",
    "SELECT 1 ### 2",
    "SELECT 1 OPERATOR(app.+) 2",
    "SELECT 1 OPERATOR(public.###) 2",
    "SELECT app.lower('x')",
    "SET search_path = app, pg_catalog; SELECT lower('x'::text)",
    "SELECT set_config('search_path', 'app, \"pg_catalog\"', false)",
    "SELECT \"pg_catalog.now\"()",
    "SELECT \"app.price\"(1)",
    "WITH w AS (SELECT wipe()) SELECT * FROM w",
    "WITH w AS MATERIALIZED (SELECT wipe()) SELECT 1 FROM w",
    "VALUES (wipe())",
    "SELECT 1 UNION ALL SELECT wipe()",
    "SELECT 1; SELECT wipe()",
    "COPY (SELECT wipe()) TO STDOUT",
    "EXPLAIN ANALYZE SELECT wipe()",
    // The planner runs what calls itself IMMUTABLE.
    "EXPLAIN SELECT wipe_now()",
    "BEGIN; DECLARE c CURSOR FOR SELECT wipe(); FETCH c; COMMIT",
    "PREPARE p AS SELECT wipe(); EXECUTE p",
    "SELECT nextval('seq')",
    "SELECT pg_catalog.nextval('seq'::regclass)",
    "SELECT setval('seq', 7)",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_notify('a', 'b')",
    "SELECT lo_create(0)",
    "SELECT lo_unlink(1)",
    "SELECT lo_export(1, '/tmp/greffier')",
    "SELECT pg_terminate_backend(pg_backend_pid())",
    "SELECT pg_cancel_backend(pg_backend_pid())",
    "SELECT pg_reload_conf()",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT query_to_xml('SELECT wipe()', true, true, '')",
    "SELECT set_config('session_replication_role', 'replica', false)",
    "SELECT dblink_exec('', 'DELETE FROM keep')",
];

fn server() -> Option<Postgres> {
    let pg = require(Postgres::start(PgOptions::default()))?;
    pg.psql(SETUP).unwrap();
    Some(pg)
}

fn plan(policy: &str) -> Plan {
    Plan { policy: policy.into(), ..Plan::default() }
}

/// Everything that the attacks would change.
fn kept(pg: &Postgres) -> String {
    pg.psql(
        "SELECT (SELECT count(*) FROM keep), (SELECT is_called FROM seq), \
         (SELECT count(*) FROM pg_largeobject_metadata), \
         (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')",
    )
    .unwrap()
}

const ALL_KEPT: &str = "3|f|0|0";

#[test]
fn attack_09_functions_that_write_are_no_reads() {
    let Some(pg) = server() else { return };
    for policy in [READ_ONLY, WITH_NAMES] {
        let rig = Rig::with(pg.port(), plan(policy));
        let mut wire = Wire::session(rig.port, &rig.token("alice"));
        for sql in WRITES {
            if policy == WITH_NAMES && sql.starts_with("SELECT nextval") {
                continue;
            }
            assert_eq!(codes(&wire.query(sql)), ["42501"], "{sql}");
            assert_eq!(kept(&pg), ALL_KEPT, "{sql}");
        }
        assert_eq!(firsts(&wire.query("SELECT 'alive'")), ["alive"]);
        wire.bye();
        rig.settle();
        let denied = |e: &&serde_json::Value| e["verdict"] == "deny";
        let commands = rig.entries_of("command");
        assert_eq!(commands.iter().filter(denied).count() + 1, commands.len());
        assert!(commands.iter().filter(denied).all(|e| e["class"] != "read"));
    }
}

#[test]
fn attack_09_functions_hide_in_no_message() {
    let Some(pg) = server() else { return };
    let rig = Rig::with(pg.port(), plan(READ_ONLY));
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    for sql in ["SELECT wipe()", "SELECT nextval('seq')", "SELECT * FROM wipe_rows()"] {
        let run = |name: &str| [bind("", name, &[], 0), execute("", 0), sync()].concat();
        let ways: Vec<Vec<Vec<u8>>> = vec![
            vec![[parse("", sql), run("")].concat()],
            vec![[parse("a", sql), sync()].concat(), run("a")],
            vec![[parse("b", sql), describe(b'S', "b"), sync()].concat(), run("b")],
            // In a pipeline behind what is allowed, and before it.
            vec![
                [
                    parse("", "SELECT 1"),
                    bind("", "", &[], 0),
                    execute("", 0),
                    parse("", sql),
                    bind("", "", &[], 0),
                    execute("", 0),
                    parse("", "SELECT 2"),
                    run(""),
                ]
                .concat(),
            ],
            vec![[q("SELECT 1"), q(sql), q("SELECT 2")].concat()],
            vec![q(format!("PREPARE x AS {sql}")), q("EXECUTE x"), run("x")],
            vec![q(format!("BEGIN; DECLARE c CURSOR WITH HOLD FOR {sql}; COMMIT")), q("FETCH c")],
        ];
        for (number, way) in ways.iter().enumerate() {
            let mut refused = 0;
            for sent in way {
                wire.send(sent);
                refused += codes(&wire.until_ready(answers(sent))).len();
            }
            assert!(refused > 0, "{sql}, way {number}");
            assert_eq!(kept(&pg), ALL_KEPT, "{sql}, way {number}");
            wire.query("ROLLBACK");
        }
    }
    // The fast path calls by OID: refused whatever it is.
    let body = [&1574u32.to_be_bytes()[..], &[0; 6]].concat();
    assert_eq!(codes(&wire.ask(&[wire::msg(b'F', &body)])), ["42501"]);
    assert_eq!(kept(&pg), ALL_KEPT);
    let log = pg.log().unwrap();
    assert!(!log.contains("SELECT wipe()") && !log.contains("fastpath"), "{log}");
}

/// How many ReadyForQuery these messages ask for.
fn answers(mut bytes: &[u8]) -> usize {
    let mut n = 0;
    while let [tag, a, b, c, d, ..] = *bytes {
        n += usize::from(matches!(tag, b'S' | b'Q'));
        bytes = &bytes[u32::from_be_bytes([a, b, c, d]) as usize + 1..];
    }
    n
}

#[test]
fn attack_09_functions_that_a_rule_names_are_reads() {
    let Some(pg) = server() else { return };
    let rig = Rig::with(pg.port(), plan(WITH_NAMES));
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    assert_eq!(firsts(&wire.query("SELECT app.price(4)")), ["40"]);
    assert_eq!(firsts(&wire.query("SELECT app.price(id) <%%> 1 FROM keep")), ["11", "21", "31"]);
    // Beside one that is not named, none is allowed; nor does the name lift a write.
    for sql in [
        "SELECT app.price(4), wipe()",
        "SELECT price(4)",
        "SELECT app.\"Price\"(4)",
        "DELETE FROM keep WHERE app.price(id) > 0",
        "WITH d AS (DELETE FROM keep RETURNING id) SELECT app.price(id) FROM d",
        "DO 'BEGIN PERFORM app.price(1); END'",
        "SELECT app.price(lo_create(0)::int)",
    ] {
        assert_eq!(codes(&wire.query(sql)), ["42501"], "{sql}");
    }
    let answer = wire.query("SELECT app.price(4), wipe()");
    let detail = answer.iter().find(|m| m.tag == b'E').unwrap().field(b'D');
    assert!(detail.contains("app.price") && detail.contains("may write"), "{detail}");
    assert_eq!(kept(&pg), ALL_KEPT);
    assert_eq!(firsts(&wire.query("SELECT nextval('seq')")), ["1"]);
    assert_eq!(codes(&wire.query("SELECT setval('seq', 9)")), ["42501"]);
}

#[test]
fn attack_09_functions_open_no_way_around_a_refusal_of_reads() {
    let Some(pg) = server() else { return };
    let policy = r#"
        default = "allow"
        [[rule]]
        name = "not-this"
        effect = "deny"
        when = { class = ["read"], resources = ["*.keep"] }
        [[rule]]
        name = "no-sleep"
        effect = "deny"
        when = { functions = ["pg_sleep*", "app.p*"] }
        [[rule]]
        name = "calls"
        effect = "deny"
        principals = { subjects = ["bob"] }
        when = { flags = ["unlisted_function"] }
    "#;
    let rig = Rig::with(pg.port(), plan(policy));
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    for sql in [
        "SELECT v FROM keep",
        "SELECT v, wipe() FROM keep",
        "SELECT nextval('seq'), v FROM public.keep",
        "SELECT pg_sleep(0)",
        "SELECT pg_catalog.pg_sleep(0)",
        "SELECT app.price(1)",
        "SET search_path = app, public; SELECT price(1)",
    ] {
        assert_eq!(codes(&wire.query(sql)), ["42501"], "{sql}");
    }
    assert_eq!(kept(&pg), ALL_KEPT);
    let mut bob = Wire::session(rig.port, &rig.token("bob"));
    assert_eq!(codes(&bob.query("SELECT wipe()")), ["42501"]);
    let answer = bob.query("SELECT lower('A')");
    assert_eq!(firsts(&answer), ["a"], "{answer:?}");
    assert_eq!(kept(&pg), ALL_KEPT);
}

/// What people and programs ask who only read.
const READS: &[&str] = &[
    "SELECT count(*), count(DISTINCT v), sum(id), avg(id), min(v), max(v) FROM keep",
    "SELECT string_agg(v, ',' ORDER BY id), array_agg(id), bool_and(true), stddev(id) FROM keep",
    "SELECT to_char(now(), 'YYYY-MM-DD'), to_date('2026', 'YYYY'), to_timestamp(0), age(now())",
    "SELECT now(), clock_timestamp(), current_timestamp, localtime, current_date, timeofday()",
    "SELECT extract(year FROM now()), date_trunc('day', now()), date_part('hour', now())",
    "SELECT now() AT TIME ZONE 'UTC', (now(), now()) OVERLAPS (now(), now()), make_interval(1)",
    "SELECT current_user, session_user, current_role, current_catalog, current_schema",
    "SELECT current_database(), current_schemas(true), version(), pg_backend_pid()",
    "SELECT coalesce(v, 'x'), nullif(v, 'a'), greatest(id, 2), least(id, 2) FROM keep",
    "SELECT jsonb_build_object('a', 1) -> 'a', '{\"a\":[1]}'::jsonb @> '{}', jsonb_path_query('[1]', '$[*]')",
    "SELECT jsonb_agg(k), jsonb_object_agg(k.v, k.id), to_jsonb(k), row_to_json(k) FROM keep k GROUP BY k",
    "SELECT * FROM jsonb_to_recordset('[{\"a\":1}]') AS x(a int), jsonb_array_elements('[1]') e",
    "SELECT * FROM generate_series(1, 3) g, unnest(ARRAY[1, 2]) WITH ORDINALITY u",
    "SELECT row_number() OVER w, rank() OVER w, lag(id) OVER w, ntile(2) OVER w FROM keep WINDOW w AS (ORDER BY id)",
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY id), mode() WITHIN GROUP (ORDER BY v) FROM keep",
    "SELECT lower(v), upper(v), substring(v FROM 1 FOR 1), trim(both FROM v), position('a' IN v), overlay(v PLACING 'x' FROM 1) FROM keep",
    "SELECT v || 'x', v LIKE 'a%', v ILIKE 'A%', v SIMILAR TO 'a', v ~ 'a', id BETWEEN 1 AND 2, id NOT BETWEEN SYMMETRIC 1 AND 2 FROM keep",
    "SELECT regexp_replace(v, 'a', 'b'), split_part(v, ',', 1), format('%s', v), md5(v), encode(sha256(v::bytea), 'hex') FROM keep",
    "SELECT id IN (1, 2), id = ANY (ARRAY[1]), id <> ALL (SELECT 1), id IS DISTINCT FROM 2 FROM keep ORDER BY id USING <",
    "SELECT random(), gen_random_uuid(), setseed(0.5), pg_sleep(0), abs(-1), round(1.5), ceil(1.2), 5 % 2, 2 ^ 3, |/ 4",
    "SELECT to_tsvector('english', 'a cat') @@ plainto_tsquery('cat'), ts_rank('cat'::tsvector, 'cat')",
    "SELECT int4range(1, 2) && int4range(1, 3), point(1, 1) <-> point(2, 2), '10.0.0.1'::inet << '10.0.0.0/8'",
    "SELECT xmlelement(name a, 'b'), xpath('/a', '<a/>'), array_to_string(ARRAY[1], ','), 'x' IS NORMALIZED",
    "SELECT pg_size_pretty(pg_total_relation_size('keep')), pg_table_size('keep'), pg_database_size('postgres')",
    "SELECT has_table_privilege('keep', 'SELECT'), pg_get_viewdef('pg_tables'::regclass), obj_description('keep'::regclass)",
    "SELECT pg_get_serial_sequence('keep', 'id'), pg_get_constraintdef(oid), pg_get_expr(conbin, conrelid) FROM pg_constraint",
    "SELECT to_regclass('keep'), 'keep'::regclass, format_type(23, NULL), col_description('keep'::regclass, 1)",
    "SELECT * FROM pg_settings LIMIT 1",
    "SELECT * FROM pg_stat_activity LIMIT 1",
    "SELECT * FROM pg_locks LIMIT 1",
    "SELECT * FROM pg_stat_user_tables",
    "SELECT * FROM information_schema.columns WHERE table_name = 'keep'",
    "SELECT (information_schema._pg_expandarray(i.indkey)).n FROM pg_index i LIMIT 1",
    "SELECT pg_catalog.set_config('search_path', '', false), current_setting('search_path')",
    "SELECT set_config('search_path', 'public', false)",
    "SELECT pg_is_in_recovery(), pg_current_wal_lsn(), txid_current(), pg_current_snapshot(), pg_postmaster_start_time()",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT * FROM r",
    "SELECT grouping(v), count(*) FROM keep GROUP BY ROLLUP (v)",
    "SELECT * FROM keep TABLESAMPLE bernoulli(50)",
    "COPY (SELECT lower(v) FROM keep) TO STDOUT",
    "EXPLAIN ANALYZE SELECT count(*) FROM keep",
    "BEGIN; DECLARE c CURSOR FOR SELECT upper(v) FROM keep; FETCH ALL FROM c; COMMIT",
    "SHOW server_version",
];

#[test]
fn attack_09_functions_that_only_read_go_on() {
    let Some(pg) = server() else { return };
    let rig = Rig::with(pg.port(), plan(READ_ONLY));
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    for sql in READS {
        let answer = wire.query(sql);
        assert!(codes(&answer).is_empty(), "{sql}: {:?}", codes(&answer));
    }
    let commands = [
        "\\d",
        "\\d+",
        "\\d keep",
        "\\d+ keep",
        "\\dt+",
        "\\di+",
        "\\ds+",
        "\\dv+",
        "\\dm+",
        "\\l",
        "\\l+",
        "\\df",
        "\\df+",
        "\\da",
        "\\do",
        "\\dT+",
        "\\dn+",
        "\\du+",
        "\\dp",
        "\\dx+",
        "\\dc",
        "\\dC",
        "\\dd",
        "\\dD+",
        "\\ddp",
        "\\dE",
        "\\dew",
        "\\dF+",
        "\\dFd",
        "\\dFp",
        "\\dFt",
        "\\dL+",
        "\\dO+",
        "\\dP+",
        "\\dRp+",
        "\\dy",
        "\\dA+",
        "\\dAc",
        "\\dAf",
        "\\dAo",
        "\\dAp",
        "\\dX",
        "\\db+",
        "\\drds",
        "\\dconfig",
        "\\sf app.price",
        "\\sv pg_tables",
        "\\encoding",
    ];
    for command in commands {
        let (_, err) = rig.psql(&["-c", command]);
        assert_eq!(err, "", "{command}");
    }
    assert_eq!(kept(&pg), ALL_KEPT);
}

/// The lists against the server that is there, whatever its version: what counts as harmless and
/// is VOLATILE here was looked at by somebody.
#[test]
fn attack_09_functions_that_are_volatile_are_harmless_by_name_only() {
    use postgres_grammar::functions::{Effect, effect, harmless::VOLATILE};
    let Some(pg) = require(Postgres::start(PgOptions::default())) else { return };
    let sql = "SELECT DISTINCT proname FROM pg_proc WHERE provolatile = 'v' \
               AND pronamespace = 'pg_catalog'::regnamespace";
    let volatile = pg.psql(sql).unwrap();
    assert!(volatile.lines().count() > 100);
    for name in volatile.lines().filter(|name| effect(&[name]) == Effect::Harmless) {
        assert!(VOLATILE.contains(&name), "{name}");
    }
    // The list is what its query makes on the version that it was made on.
    if pg.psql("SELECT current_setting('server_version_num')::int / 10000").unwrap() == "15" {
        let query = include_str!("../../postgres-grammar/src/functions/harmless.sql");
        let list = include_str!("../../postgres-grammar/src/functions/harmless.txt");
        assert!(pg.psql(query).unwrap().lines().eq(list.lines()));
    }
    // And every operator of the system's is one that the grammar takes for such.
    let sql = "SELECT count(*) FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode \
               WHERE p.provolatile = 'v' AND o.oprnamespace = 'pg_catalog'::regnamespace";
    assert_eq!(pg.psql(sql).unwrap(), "0");
}
