// The common script through pgjdbc. See ../README.md.
import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.math.BigDecimal;
import java.sql.*;
import java.time.OffsetDateTime;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Objects;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGStatement;

public class Client {
  static final String NAME = "Zoë 雪 ☃ it's \"q\" \\ end";
  static final byte[] RAW = {0, (byte) 0xff, 0x27, 0x5c, 0x10};
  static final BigDecimal AMOUNT = new BigDecimal("12345678901234567890.0123456789");
  static final OffsetDateTime AT = OffsetDateTime.parse("2024-02-29T12:34:56.789012Z");
  static Connection connection;

  static String json(Object value) {
    if (value == null) return "null";
    String text = value instanceof byte[] raw ? "\\x" + HexFormat.of().formatHex(raw)
        : value instanceof OffsetDateTime ? "2024-02-29 12:34:56.789012+00" : value.toString();
    return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
  }

  /** The driver writes $1, $2 for the question marks. */
  static void say(String sql, Object... values) {
    for (int n = 1; sql.contains("?"); n++) sql = sql.replaceFirst("\\?", "\\$" + n);
    String list = String.join(",", Arrays.stream(values).map(Client::json).toList());
    System.out.println("{\"sql\":" + json(sql) + ",\"params\":[" + list + "]}");
  }

  static void check(Object got, Object wanted, String what) {
    if (!Objects.deepEquals(got, wanted)) {
      System.err.println(what + ": expected " + wanted + ", got " + got);
      System.exit(1);
    }
  }

  static void run(String sql) throws SQLException {
    say(sql);
    try (Statement s = connection.createStatement()) { s.execute(sql); }
  }

  static void set(PreparedStatement s, Object... values) throws SQLException {
    for (int n = 0; n < values.length; n++) s.setObject(n + 1, values[n]);
  }

  static Object one(String sql, Object... values) throws SQLException {
    say(sql, values);
    try (PreparedStatement s = connection.prepareStatement(sql)) {
      set(s, values);
      ResultSet r = s.executeQuery();
      check(r.next(), true, "a row");
      return r.getObject(1);
    }
  }

  static void row(int id, int threshold, Object... wanted) throws SQLException {
    String sql = "select name, raw, amount, at from t_jdbc where id = ?";
    say(sql, id);
    try (PreparedStatement s = connection.prepareStatement(sql)) {
      s.unwrap(PGStatement.class).setPrepareThreshold(threshold);
      s.setInt(1, id);
      ResultSet r = s.executeQuery();
      check(r.next(), true, "a row");
      Object[] got = {r.getString(1), r.getBytes(2), r.getBigDecimal(3), r.getObject(4, OffsetDateTime.class)};
      check(got, wanted, "values");
    }
  }

  public static void main(String[] args) throws Exception {
    var env = System.getenv();
    Properties p = new Properties();
    p.setProperty("user", env.get("PGUSER"));
    p.setProperty("password", env.get("PGPASSWORD"));
    p.setProperty("sslmode", "verify-full");
    p.setProperty("sslrootcert", env.get("PGSSLROOTCERT"));
    connection = DriverManager.getConnection(
        "jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT") + "/" + env.get("PGDATABASE"), p);
    PGConnection pg = connection.unwrap(PGConnection.class);

    check(one("select 1"), 1, "query");
    run("drop table if exists t_jdbc");
    run("create table t_jdbc (id int primary key, name text, raw bytea, amount numeric, at timestamptz)");
    String insert = "insert into t_jdbc values (?, ?, ?, ?, ?)";
    say(insert, 1, NAME, RAW, AMOUNT, AT);
    try (PreparedStatement s = connection.prepareStatement(insert)) {
      set(s, 1, NAME, RAW, AMOUNT, AT);
      s.executeUpdate();
    }
    say(insert, 2, null, null, null, null);
    try (PreparedStatement s = connection.prepareStatement(insert)) {
      int[] types = {Types.VARCHAR, Types.BINARY, Types.NUMERIC, Types.TIMESTAMP_WITH_TIMEZONE};
      s.setInt(1, 2);
      for (int n = 0; n < 4; n++) s.setNull(n + 2, types[n]);
      s.executeUpdate();
    }
    // -1: binary transfer at once, and a named statement.
    for (int threshold : new int[] {0, -1}) {
      row(1, threshold, NAME, RAW, AMOUNT, AT);
      row(2, threshold, null, null, null, null);
    }

    String twice = "select ?::int * 2";
    try (PreparedStatement s = connection.prepareStatement(twice)) {
      s.unwrap(PGStatement.class).setPrepareThreshold(2);
      for (int n = 1; n <= 6; n++) {
        say(twice, n);
        s.setInt(1, n);
        ResultSet r = s.executeQuery();
        r.next();
        check(r.getInt(1), 2 * n, "prepared statement");
      }
    }

    connection.setAutoCommit(false);
    run("insert into t_jdbc (id) values (3)");
    try {
      run("insert into t_jdbc (id) values (3)");
      check("accepted", "refused", "the second key");
    } catch (SQLException e) {
      check(e.getSQLState(), "23505", "SQLSTATE");
    }
    connection.rollback();
    connection.setAutoCommit(true);
    check(one("select count(*) from t_jdbc"), 2L, "rows after the rollback");

    StringBuilder rows = new StringBuilder();
    for (int n = 0; n < 1000; n++) rows.append(100 + n).append("\trow ").append(n).append(" ☃\n");
    say("copy t_jdbc (id, name) from stdin");
    pg.getCopyAPI().copyIn("copy t_jdbc (id, name) from stdin", new StringReader(rows.toString()));
    say("copy t_jdbc to stdout");
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    check(pg.getCopyAPI().copyOut("copy t_jdbc to stdout", out), 1002L, "COPY out");

    connection.setAutoCommit(false);
    say("select generate_series(1, 1000)");
    try (Statement s = connection.createStatement()) {
      s.setFetchSize(100);
      ResultSet r = s.executeQuery("select generate_series(1, 1000)");
      int sum = 0;
      while (r.next()) sum += r.getInt(1);
      check(sum, 500500, "fetch size");
    }
    connection.commit();
    connection.setAutoCommit(true);

    String update = "update t_jdbc set name = ? where id = ?";
    try (PreparedStatement s = connection.prepareStatement(update)) {
      for (int n = 0; n < 3; n++) {
        say(update, "batch " + n, 100 + n);
        s.setString(1, "batch " + n);
        s.setInt(2, 100 + n);
        s.addBatch();
      }
      check(s.executeBatch(), new int[] {1, 1, 1}, "batch");
    }

    run("listen ch_jdbc");
    run("notify ch_jdbc, 'hello'");
    check(pg.getNotifications(10_000)[0].getParameter(), "hello", "notification");

    say("select pg_sleep(30)");
    try (Statement s = connection.createStatement()) {
      new Thread(() -> {
        try { Thread.sleep(700); s.cancel(); } catch (Exception e) { e.printStackTrace(); }
      }).start();
      s.execute("select pg_sleep(30)");
      check("finished", "cancelled", "pg_sleep");
    } catch (SQLException e) {
      check(e.getSQLState(), "57014", "SQLSTATE");
    }
    check(one("select 'alive'"), "alive", "after the cancel");
    run("drop table t_jdbc");
    connection.close();
  }
}
