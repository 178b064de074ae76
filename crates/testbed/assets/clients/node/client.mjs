// The common script through node-postgres. See ../README.md.
import { readFileSync } from 'node:fs';
import { deepStrictEqual as same, fail } from 'node:assert';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import pg from 'pg';
import Cursor from 'pg-cursor';
import { from, to } from 'pg-copy-streams';

const env = process.env;
const settings = {
  host: env.PGHOST, port: Number(env.PGPORT), user: env.PGUSER, password: env.PGPASSWORD,
  database: env.PGDATABASE, ssl: { ca: readFileSync(env.PGSSLROOTCERT), rejectUnauthorized: true },
};
const NAME = 'Zoë 雪 ☃ it\'s "q" \\ end';
const RAW = Buffer.from([0, 0xff, 0x27, 0x5c, 0x10]);
const AMOUNT = '12345678901234567890.0123456789';
const AT = '2024-02-29 12:34:56.789012+00';

const client = new pg.Client(settings);
await client.connect();

const text = (v) => (v === null ? null : Buffer.isBuffer(v) ? `\\x${v.toString('hex')}` : String(v));
const say = (sql, params = []) => console.log(JSON.stringify({ sql, params: params.map(text) }));
const run = (sql, values, more) => {
  say(sql, values);
  return client.query({ text: sql, values, rowMode: 'array', ...more });
};

same((await run('select 1')).rows, [[1]]);
await run('drop table if exists t_node');
await run('create table t_node (id int primary key, name text, raw bytea, amount numeric, at timestamptz)');
const insert = 'insert into t_node values ($1, $2, $3, $4, $5)';
await run(insert, [1, NAME, RAW, AMOUNT, AT]);
await run(insert, [2, null, null, null, null]);
// The driver's Date has milliseconds only, so the server makes the text.
const select = "select name, raw, amount::text, (at at time zone 'UTC')::text from t_node where id = $1";
const values = [NAME, RAW, AMOUNT, '2024-02-29 12:34:56.789012'];
same((await run(select, [1])).rows, [values]);
same((await run(select, [2])).rows, [[null, null, null, null]]);
// The driver asks for binary when told, but reads only text from it.
const named = 'select name from t_node where id = $1';
same((await run(named, [1], { binary: true })).rows, [[NAME]]);

for (let n = 1; n <= 6; n += 1) {
  same((await run('select $1::int * 2', [n], { name: 'twice' })).rows, [[2 * n]]);
}

await run('begin');
await run('insert into t_node (id) values ($1)', [3]);
await run('insert into t_node (id) values ($1)', [3]).then(
  () => fail('the second key was accepted'), (e) => same(e.code, '23505'));
await run('rollback');
same((await run('select count(*)::int from t_node')).rows, [[2]]);

const rows = Array.from({ length: 1000 }, (_, n) => `${100 + n}\trow ${n} ☃\n`);
let sql = 'copy t_node (id, name) from stdin';
say(sql);
await pipeline(Readable.from(rows), client.query(from(sql)));
sql = 'copy t_node to stdout';
say(sql);
const out = [];
for await (const chunk of client.query(to(sql))) out.push(chunk);
same(Buffer.concat(out).toString().split('\n').length, 1003);

sql = 'select generate_series(1, 1000)';
say(sql);
const cursor = client.query(new Cursor(sql, [], { rowMode: 'array' }));
let sum = 0;
for (let got = await cursor.read(100); got.length; got = await cursor.read(100)) {
  for (const [n] of got) sum += n;
}
await cursor.close();
same(sum, 500500);

// Queued queries: the driver sends the next when the one before is done.
const queued = await Promise.all([1, 2, 3].map((n) => run('select $1::int', [n])));
same(queued.map((r) => r.rows[0][0]), [1, 2, 3]);

const heard = new Promise((resolve) => { client.once('notification', (m) => resolve(m.payload)); });
await run('listen ch_node');
await run("notify ch_node, 'hello'");
same(await heard, 'hello');

sql = 'select pg_sleep(30)';
say(sql);
const query = new pg.Query(sql);
const ended = new Promise((resolve) => { query.once('error', resolve); query.once('end', resolve); });
client.query(query);
setTimeout(() => new pg.Client({ ...settings, ssl: false }).cancel(client, query), 700);
same((await ended)?.code, '57014');
same((await run("select 'alive'")).rows, [['alive']]);
await run('drop table t_node');
await client.end();
