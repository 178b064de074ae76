// The common script through pgx. See ../README.md.
package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

const name = "Zoë 雪 ☃ it's \"q\" \\ end"

var (
	ctx    = context.Background()
	raw    = []byte{0, 0xff, 0x27, 0x5c, 0x10}
	amount = "12345678901234567890.0123456789"
	at     = time.Date(2024, 2, 29, 12, 34, 56, 789012000, time.UTC)
	conn   *pgx.Conn
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(got, wanted any, what string) {
	if !reflect.DeepEqual(got, wanted) {
		must(fmt.Errorf("%s: expected %v, got %v", what, wanted, got))
	}
}

func text(v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case []byte:
		return "\\x" + hex.EncodeToString(v)
	case time.Time:
		return v.Format("2006-01-02 15:04:05.000000") + "+00"
	default:
		return fmt.Sprint(v)
	}
}

func say(sql string, params ...any) {
	line := struct {
		SQL    string `json:"sql"`
		Params []any  `json:"params"`
	}{sql, []any{}}
	for _, p := range params {
		if _, how := p.(pgx.QueryExecMode); !how {
			if n, ok := p.(pgtype.Numeric); ok {
				v, err := n.Value()
				must(err)
				p = v
			}
			line.Params = append(line.Params, text(p))
		}
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	must(out.Encode(line))
}

func run(sql string, params ...any) error {
	say(sql, params...)
	_, err := conn.Exec(ctx, sql, params...)
	return err
}

func one[T any](sql string, params ...any) T {
	say(sql, params...)
	var v T
	must(conn.QueryRow(ctx, sql, params...).Scan(&v))
	return v
}

func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return fmt.Sprint(err)
}

func row(id int, wanted []any, how ...any) {
	sql := "select name, raw, amount::text, at from t_pgx where id = $1"
	say(sql, id)
	var n, a *string
	var r []byte
	var t *time.Time
	must(conn.QueryRow(ctx, sql, append(how, id)...).Scan(&n, &r, &a, &t))
	if wanted == nil {
		check(n == nil && r == nil && a == nil && t == nil, true, "NULLs")
		return
	}
	check([]any{*n, r, *a, t.UTC()}, wanted, "values")
}

func main() {
	env := os.Getenv
	config, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%s user=%s dbname=%s sslmode=verify-full sslrootcert=%s",
		env("PGHOST"), env("PGPORT"), env("PGUSER"), env("PGDATABASE"), env("PGSSLROOTCERT")))
	must(err)
	config.Password = env("PGPASSWORD")
	conn, err = pgx.ConnectConfig(ctx, config)
	must(err)

	check(one[int]("select 1", pgx.QueryExecModeSimpleProtocol), 1, "simple query")
	must(run("drop table if exists t_pgx"))
	must(run("create table t_pgx (id int primary key, name text, raw bytea, amount numeric, at timestamptz)"))
	insert := "insert into t_pgx values ($1, $2, $3, $4, $5)"
	var exact pgtype.Numeric
	must(exact.Scan(amount))
	must(run(insert, 1, name, raw, exact, at))
	must(run(insert, 2, nil, nil, nil, nil))
	values := []any{name, raw, amount, at}
	row(1, values)
	row(2, nil)
	row(1, values, pgx.QueryResultFormats{pgx.TextFormatCode})
	row(1, values, pgx.QueryResultFormats{pgx.BinaryFormatCode})

	_, err = conn.Prepare(ctx, "twice", "select $1::int * 2")
	must(err)
	for n := 1; n <= 6; n++ {
		say("select $1::int * 2", n)
		var got int
		must(conn.QueryRow(ctx, "twice", n).Scan(&got))
		check(got, 2*n, "prepared statement")
	}

	must(run("begin"))
	must(run("insert into t_pgx (id) values ($1)", 3))
	check(code(run("insert into t_pgx (id) values ($1)", 3)), "23505", "SQLSTATE")
	must(run("rollback"))
	check(one[int]("select count(*) from t_pgx"), 2, "rows after the rollback")

	rows := [][]any{}
	for n := range 1000 {
		rows = append(rows, []any{int32(100 + n), fmt.Sprintf("row %d ☃", n)})
	}
	// The driver writes this statement; this is its text.
	say(`copy "t_pgx" ( "id", "name" ) from stdin binary;`)
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"t_pgx"}, []string{"id", "name"}, pgx.CopyFromRows(rows))
	must(err)
	var out bytes.Buffer
	say("copy t_pgx to stdout")
	_, err = conn.PgConn().CopyTo(ctx, &out, "copy t_pgx to stdout")
	must(err)
	check(strings.Count(out.String(), "\n"), 1002, "COPY out")

	must(run("begin"))
	must(run("declare c cursor for select generate_series(1, 1000)"))
	sum := 0
	for range 10 {
		say("fetch 100 from c")
		r, err := conn.Query(ctx, "fetch 100 from c")
		must(err)
		got, err := pgx.CollectRows(r, pgx.RowTo[int])
		must(err)
		for _, n := range got {
			sum += n
		}
	}
	must(run("commit"))
	check(sum, 500500, "cursor")

	batch := &pgx.Batch{}
	for n := 1; n <= 3; n++ {
		say("select $1::int", n)
		batch.Queue("select $1::int", n)
	}
	results := conn.SendBatch(ctx, batch)
	for n := 1; n <= 3; n++ {
		var got int
		must(results.QueryRow().Scan(&got))
		check(got, n, "batch")
	}
	must(results.Close())

	must(run("listen ch_pgx"))
	must(run("notify ch_pgx, 'hello'"))
	limited, stop := context.WithTimeout(ctx, 10*time.Second)
	note, err := conn.WaitForNotification(limited)
	stop()
	must(err)
	check(note.Payload, "hello", "notification")

	time.AfterFunc(700*time.Millisecond, func() { must(conn.PgConn().CancelRequest(ctx)) })
	check(code(run("select pg_sleep(30)")), "57014", "SQLSTATE")
	check(one[string]("select 'alive'"), "alive", "after the cancel")
	must(run("drop table t_pgx"))
	must(conn.Close(ctx))
}
