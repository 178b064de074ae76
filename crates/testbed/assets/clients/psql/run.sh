#!/bin/sh
# The common script through psql. See ../README.md.
set -eu
here=$(dirname "$0")
export PGSSLMODE=verify-full PGCLIENTENCODING=UTF8
psql -XAtq -f "$here/script.sql" 2>&1 \
  | sed -E 's/^psql:[^ ]*: //; s/PID [0-9]+/PID n/' >"$CLIENT_TMP/out.txt"
diff "$here/expected.txt" "$CLIENT_TMP/out.txt" >&2
# A cancel request, as Ctrl-C makes it.
psql -XAtq -c 'select pg_sleep(30)' 2>"$CLIENT_TMP/cancel.txt" & pid=$!
sleep 1
kill -INT "$pid"
wait "$pid" && { echo 'pg_sleep was not cancelled' >&2; exit 1; }
grep -q 'canceling statement due to user request' "$CLIENT_TMP/cancel.txt" || { cat "$CLIENT_TMP/cancel.txt" >&2; exit 1; }
cat "$here/statements.jsonl"
