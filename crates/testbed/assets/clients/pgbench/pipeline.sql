\startpipeline
select 1;
select count(*) from pgbench_branches;
update pgbench_branches set bbalance = bbalance + 1 where bid = 1;
select 3;
\endpipeline
