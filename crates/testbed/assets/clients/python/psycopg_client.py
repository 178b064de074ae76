"""The common script through psycopg 3 (libpq). See ../README.md."""
import os
import re
import sys
import threading

import psycopg

from common import AMOUNT, AT, NAME, RAW, check, say

conn = psycopg.connect(
    host=os.environ["PGHOST"], port=os.environ["PGPORT"], user=os.environ["PGUSER"],
    password=os.environ["PGPASSWORD"], dbname=os.environ["PGDATABASE"],
    sslmode="verify-full", sslrootcert=os.environ["PGSSLROOTCERT"], autocommit=True,
)


def run(sql, params=None, **how):
    count = iter(range(1, 100))
    say(re.sub("%s", lambda _: f"${next(count)}", sql), params or ())
    return conn.execute(sql, params, **how)


check(run("select 1").fetchone(), (1,), "simple query")
run("drop table if exists t_psycopg")
run("create table t_psycopg (id int primary key, name text, raw bytea, amount numeric, at timestamptz)")
insert = "insert into t_psycopg values (%s, %s, %s, %s, %s)"
run(insert, (1, NAME, RAW, AMOUNT, AT))
run(insert, (2, None, None, None, None))
for binary in (False, True):
    got = run("select name, raw, amount, at from t_psycopg where id = %s", (1,), binary=binary)
    check(got.fetchone(), (NAME, RAW, AMOUNT, AT), f"values, binary={binary}")
    got = run("select name, raw, amount, at from t_psycopg where id = %s", (2,), binary=binary)
    check(got.fetchone(), (None, None, None, None), f"NULLs, binary={binary}")

for n in range(1, 7):
    got = run("select %s::int * 2", (n,), prepare=True).fetchone()
    check(got, (2 * n,), "prepared statement")

conn.autocommit = False
run("insert into t_psycopg (id) values (3)")
try:
    run("insert into t_psycopg (id) values (3)")
    sys.exit("the second key was accepted")
except psycopg.errors.UniqueViolation as e:
    check(e.sqlstate, "23505", "SQLSTATE")
conn.rollback()
conn.autocommit = True
check(run("select count(*) from t_psycopg").fetchone(), (2,), "rows after the rollback")

sql = "copy t_psycopg (id, name) from stdin"
say(sql)
with conn.cursor().copy(sql) as copy:
    for n in range(1000):
        copy.write_row((100 + n, f"row {n} ☃"))
for sql in ("copy t_psycopg to stdout", "copy t_psycopg to stdout (format binary)"):
    say(sql)
    with conn.cursor().copy(sql) as copy:
        got = b"".join(copy)
    check("row 999 ☃".encode() in got, True, "COPY out")
check(run("select count(*) from t_psycopg").fetchone(), (1002,), "rows after COPY")

with conn.transaction(), conn.cursor(name="c") as cursor:
    cursor.itersize = 100
    # The driver declares the cursor around our text and fetches from it.
    cursor.execute("select generate_series(1, 1000)")
    check(sum(n for (n,) in cursor), 500500, "cursor")

with conn.pipeline():
    got = [run("select %s::int", (n,)) for n in (1, 2, 3)]
check([c.fetchone()[0] for c in got], [1, 2, 3], "pipeline")

run("listen ch_psycopg")
run("notify ch_psycopg, 'hello'")
got = [n.payload for n in conn.notifies(timeout=10, stop_after=1)]
check(got, ["hello"], "notification")

threading.Timer(0.7, conn.cancel_safe).start()
try:
    run("select pg_sleep(30)")
    sys.exit("pg_sleep was not cancelled")
except psycopg.errors.QueryCanceled:
    pass
check(run("select 'alive'").fetchone(), ("alive",), "after the cancel")
run("drop table t_psycopg")
conn.close()
