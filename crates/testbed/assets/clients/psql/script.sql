select 1;
drop table if exists t_psql;
create table t_psql (id int primary key, name text, raw bytea, amount numeric, at timestamptz);
insert into t_psql values (1, 'Zoë 雪 ☃ it''s "q" \ end', '\x00ff275c10', 12345678901234567890.0123456789, '2024-02-29 12:34:56.789012+00');
insert into t_psql values (2, null, null, null, null);
select name, raw, amount, at at time zone 'UTC' from t_psql order by id;
prepare twice(int) as select $1 * 2;
execute twice(1);
execute twice(6);
begin;
insert into t_psql (id) values (3);
insert into t_psql (id) values (3);
rollback;
select count(*) from t_psql;
copy t_psql (id, name) from stdin;
100	row 0 ☃
101	row 1 ☃
\.
copy t_psql (id, name) to stdout;
begin;
declare c cursor for select generate_series(1, 1000);
fetch 3 from c;
commit;
select 1\; select 2;
listen ch_psql;
notify ch_psql, 'hello';
select 'alive';
drop table t_psql;
