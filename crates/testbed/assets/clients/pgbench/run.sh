#!/bin/sh
# pgbench's own transactions in each protocol mode. See ../README.md.
set -eu
here=$(dirname "$0")
export PGSSLMODE=verify-full
pgbench -q -i -s 1 2>&1 >/dev/null | grep -i error >&2 && exit 1
for mode in simple extended prepared; do
  for clients in 1 4; do
    pgbench -n -S -M "$mode" -c "$clients" -t 50 >"$CLIENT_TMP/out.txt" 2>&1 || { cat "$CLIENT_TMP/out.txt" >&2; exit 1; }
    grep -q "number of failed transactions: 0 " "$CLIENT_TMP/out.txt" || { cat "$CLIENT_TMP/out.txt" >&2; exit 1; }
  done
done
for mode in extended prepared; do
  pgbench -n -M "$mode" -c 2 -t 20 -f "$here/pipeline.sql" >"$CLIENT_TMP/out.txt" 2>&1 || { cat "$CLIENT_TMP/out.txt" >&2; exit 1; }
done
pgbench -q -i -I d 2>&1 >/dev/null | grep -i error >&2 && exit 1
exit 0
