"""The common script through asyncpg (its own protocol code, binary throughout). See ../README.md."""
import asyncio
import os
import ssl
import sys

import asyncpg

from common import AMOUNT, AT, NAME, RAW, check, say


async def main():
    conn = await asyncpg.connect(
        host=os.environ["PGHOST"], port=int(os.environ["PGPORT"]), user=os.environ["PGUSER"],
        password=os.environ["PGPASSWORD"], database=os.environ["PGDATABASE"],
        ssl=ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"]),
    )

    async def row(sql, *params):
        say(sql, params)
        return await conn.fetchrow(sql, *params)

    async def run(sql, *params):
        say(sql, params)
        return await conn.execute(sql, *params)

    check(tuple(await row("select 1")), (1,), "query")
    await run("drop table if exists t_asyncpg")
    await run("create table t_asyncpg (id int primary key, name text, raw bytea, amount numeric, at timestamptz)")
    insert = "insert into t_asyncpg values ($1, $2, $3, $4, $5)"
    await run(insert, 1, NAME, RAW, AMOUNT, AT)
    await run(insert, 2, None, None, None, None)
    select = "select name, raw, amount, at from t_asyncpg where id = $1"
    check(tuple(await row(select, 1)), (NAME, RAW, AMOUNT, AT), "values")
    check(tuple(await row(select, 2)), (None, None, None, None), "NULLs")

    prepared = await conn.prepare("select $1::int * 2")
    for n in range(1, 7):
        say("select $1::int * 2", [n])
        check(await prepared.fetchval(n), 2 * n, "prepared statement")

    transaction = conn.transaction()
    await transaction.start()
    await run("insert into t_asyncpg (id) values (3)")
    try:
        await run("insert into t_asyncpg (id) values (3)")
        sys.exit("the second key was accepted")
    except asyncpg.UniqueViolationError as e:
        check(e.sqlstate, "23505", "SQLSTATE")
    await transaction.rollback()
    check((await row("select count(*) from t_asyncpg"))[0], 2, "rows after the rollback")

    # The driver writes these statements; this is its text.
    say('COPY "t_asyncpg"("id", "name") FROM STDIN (FORMAT binary) ')
    records = [(100 + n, f"row {n} ☃") for n in range(1000)]
    await conn.copy_records_to_table("t_asyncpg", records=records, columns=["id", "name"])
    got = bytearray()

    async def keep(data):
        got.extend(data)

    say("COPY (select name from t_asyncpg where id > 99) TO STDOUT ")
    await conn.copy_from_query("select name from t_asyncpg where id > 99", output=keep)
    check("row 999 ☃".encode() in got, True, "COPY out")
    check((await row("select count(*) from t_asyncpg"))[0], 1002, "rows after COPY")

    async with conn.transaction():
        # A portal with a row limit of 100.
        say("select generate_series(1, 1000)")
        total = 0
        async for record in conn.cursor("select generate_series(1, 1000)", prefetch=100):
            total += record[0]
        check(total, 500500, "cursor")

    for n in (1, 2, 3):
        say("select $1::int", [n])
    got = await conn.fetchmany("select $1::int", [(1,), (2,), (3,)])
    check([r[0] for r in got], [1, 2, 3], "pipeline")

    heard = asyncio.get_running_loop().create_future()
    # LISTEN is the driver's own statement.
    await conn.add_listener("ch_asyncpg", lambda *a: heard.set_result(a[3]))
    await run("notify ch_asyncpg, 'hello'")
    check(await asyncio.wait_for(heard, 10), "hello", "notification")

    say("select pg_sleep(30)")
    try:
        await conn.fetch("select pg_sleep(30)", timeout=0.7)
        sys.exit("pg_sleep was not cancelled")
    except asyncio.TimeoutError:
        pass
    check((await row("select 'alive'"))[0], "alive", "after the cancel")
    await run("drop table t_asyncpg")
    await conn.close()


asyncio.run(main())
