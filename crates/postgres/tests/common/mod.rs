//! What several files of attacks share: a server with something to lose, and the policies
//! that guard it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a server that can't be set up fails its test")]

use testbed::{PgOptions, Postgres, require};

use crate::rig::Plan;

/// Reading and no more.
pub const READ_ONLY: &str = r#"
    default = "deny"
    [[rule]]
    name = "reads"
    effect = "allow"
    when = { class = ["read", "session"] }
"#;

/// What an operator writes who forbids operations by their names.
pub const NO_DELETE: &str = r#"
    default = "allow"
    [[rule]]
    name = "no-delete"
    effect = "deny"
    when = { operations = ["DELETE", "TRUNCATE*", "DROP *", "COPY*", "FUNCTION CALL"] }
"#;

/// Something to lose, and ways to lose it that do not look it.
pub const SETUP: &str = "
    CREATE TABLE keep(id int, v text);
    INSERT INTO keep VALUES (1, 'a'), (2, 'b'), (3, 'c');
    CREATE SEQUENCE seq;
    CREATE ROLE evil SUPERUSER LOGIN;
    CREATE PROCEDURE wipe_proc() LANGUAGE sql AS 'DELETE FROM keep';
    CREATE FUNCTION wipe() RETURNS int LANGUAGE sql AS 'DELETE FROM keep; SELECT 1';
    CREATE FUNCTION wipe_op(int, int) RETURNS int LANGUAGE sql AS 'DELETE FROM keep; SELECT 1';
    CREATE OPERATOR ### (LEFTARG = int, RIGHTARG = int, FUNCTION = wipe_op);
    CREATE VIEW wiper AS SELECT wipe() AS w;
";

/// A server with [`SETUP`].
pub fn server() -> Option<Postgres> {
    let pg = require(Postgres::start(PgOptions::default()))?;
    pg.psql(SETUP).unwrap();
    Some(pg)
}

/// What must not change: rows, tables, sequences, large objects, roles.
pub fn state(pg: &Postgres) -> String {
    pg.psql(
        "SELECT (SELECT string_agg(id || v, ',' ORDER BY id) FROM keep),
            (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace),
            (SELECT last_value || is_called::text FROM seq),
            (SELECT count(*) FROM pg_largeobject_metadata),
            (SELECT count(*) FROM pg_roles), (SELECT count(*) FROM pg_proc),
            (SELECT count(*) FROM pg_db_role_setting)",
    )
    .unwrap()
}

/// Puts back what a statement changed.
pub fn repair(pg: &Postgres) {
    let _may_fail = pg.psql("ALTER TABLE gone RENAME TO keep");
    let _may_fail = pg.psql("CREATE TABLE keep(id int, v text)");
    pg.psql("TRUNCATE keep; INSERT INTO keep VALUES (1, 'a'), (2, 'b'), (3, 'c')").unwrap();
    pg.psql("ALTER SEQUENCE seq RESTART; DROP TABLE IF EXISTS k2, k3, k9").unwrap();
    pg.psql("SELECT lo_unlink(oid) FROM pg_largeobject_metadata").unwrap();
}

/// One statement to who reads backslashes as themselves, two to who does not.
pub const DOUBLE: &str = r"SELECT 'a\', '; DELETE FROM keep; --'";

/// A plan with this policy.
pub fn plan(policy: &str) -> Plan {
    Plan { policy: policy.into(), ..Plan::default() }
}

/// What is left in the table `keep`; [`ALL_KEPT`] if nothing is lost.
pub fn kept(pg: &Postgres) -> String {
    pg.psql("SELECT count(*), coalesce(max(v), '') FROM keep").unwrap()
}

/// See [`kept`].
pub const ALL_KEPT: &str = "3|c";

/// How many ReadyForQuery these messages are answered with.
pub fn syncs(bytes: &[u8]) -> usize {
    let (mut rest, mut n) = (bytes, 0);
    while !rest.is_empty() {
        n += usize::from(rest[0] == b'S' || rest[0] == b'Q');
        let len = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
        rest = &rest[len + 1..];
    }
    n
}
