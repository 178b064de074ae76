//! What an [`Analysis`] says: statements, tables, flags, and where the literals lie.

use std::ops::Range;

/// How dangerous a statement can be, least first; `Ord` follows danger.
///
/// See the crate page for the table of which statement has which class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Touches the session only: SET of a harmless setting, SHOW, BEGIN, DEALLOCATE, FETCH.
    Session,
    /// Reads data: SELECT, TABLE, VALUES, COPY … TO STDOUT.
    Read,
    /// Changes rows: INSERT, UPDATE, DELETE, MERGE, COPY … FROM STDIN (TRUNCATE is
    /// [`Class::Ddl`]); or may, by calling what isn't known to be harmless.
    Write,
    /// Changes the schema: CREATE, ALTER, DROP, TRUNCATE, SELECT INTO, REINDEX, VACUUM.
    Ddl,
    /// Changes who may do what, reaches outside the database, or runs hidden code: roles, grants,
    /// ALTER SYSTEM, COPY with a file or program, DO, CALL, LOAD, SET ROLE, dangerous functions.
    Admin,
    /// Could not be understood: the most dangerous thing it could be.
    Unknown,
}

impl Class {
    /// Every class, least dangerous first.
    pub const ALL: [Self; 6] =
        [Self::Session, Self::Read, Self::Write, Self::Ddl, Self::Admin, Self::Unknown];

    /// The class's name in rules and records: `session`, `read`, `write`, `ddl`, `admin`,
    /// `unknown`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Read => "read",
            Self::Write => "write",
            Self::Ddl => "ddl",
            Self::Admin => "admin",
            Self::Unknown => "unknown",
        }
    }
}

/// How a statement uses a table; `Write` is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Rows are read.
    Read,
    /// Rows or the definition are changed.
    Write,
}

/// A table's name as written (identifiers folded to lower case by the parser unless quoted).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The schema, when the text names one; otherwise `search_path` decides on the server.
    pub schema: Option<String>,
    /// The table's (view's, sequence's, …) own name.
    pub name: String,
}

/// One table and how a statement uses it. A table used both ways is listed once, as `Write`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableUse {
    /// The schema, when written.
    pub schema: Option<String>,
    /// The name.
    pub name: String,
    /// The strongest use.
    pub access: Access,
}

/// What a rule or a record may want to know beside the class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// UPDATE or DELETE without a WHERE, or with one that names no column (`WHERE true`,
    /// `WHERE 1 = 1`): it hits every row or none.
    pub missing_where: bool,
    /// EXPLAIN (ANALYZE): the inner statement is executed.
    pub explain_analyze: bool,
    /// One of several statements in the same text.
    pub multi: bool,
    /// A CTE, or another nested place, holds an INSERT, UPDATE, DELETE or MERGE.
    pub cte_dml: bool,
    /// SELECT INTO or CREATE TABLE AS: the result becomes a table.
    pub select_into: bool,
    /// FOR UPDATE / SHARE / NO KEY UPDATE / KEY SHARE.
    pub locking: bool,
    /// A function on the dangerous list is called (see `functions::DANGEROUS`).
    pub dangerous_function: bool,
    /// Runs text made at run time (plpgsql EXECUTE, `query_to_xml`), which can't be judged.
    pub dynamic_sql: bool,
    /// COPY with a file or a program on the server.
    pub server_file: bool,
    /// Something is called that may write: see [`Statement::unlisted`].
    pub unlisted_function: bool,
}

impl Flags {
    /// Every flag's name, for a policy vocabulary.
    pub const NAMES: [&'static str; 10] = [
        "missing_where",
        "explain_analyze",
        "multi",
        "cte_dml",
        "select_into",
        "locking",
        "dangerous_function",
        "dynamic_sql",
        "server_file",
        "unlisted_function",
    ];

    /// The names of the flags that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let set = [
            self.missing_where,
            self.explain_analyze,
            self.multi,
            self.cte_dml,
            self.select_into,
            self.locking,
            self.dangerous_function,
            self.dynamic_sql,
            self.server_file,
            self.unlisted_function,
        ];
        Self::NAMES.into_iter().zip(set).filter_map(|(name, on)| on.then_some(name))
    }
}

/// Which way COPY moves data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyDirection {
    /// COPY … FROM: rows enter the table.
    From,
    /// COPY … TO: rows leave.
    To,
}

/// The far end of a COPY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyEnd {
    /// STDIN or STDOUT: the data passes over this connection.
    Client,
    /// A file on the server.
    File(String),
    /// A program on the server.
    Program(String),
}

/// The format of COPY data, as PostgreSQL's COPY reference names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyFormat {
    /// Tab-separated with backslash escapes.
    Text,
    /// Comma-separated with quotes.
    Csv,
    /// PGCOPY binary.
    Binary,
    /// A format word this crate doesn't know.
    Other,
}

/// A COPY's details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// In or out.
    pub direction: CopyDirection,
    /// Client, file or program.
    pub end: CopyEnd,
    /// The table, for `COPY table`; none for `COPY (query)`.
    pub table: Option<TableName>,
    /// The written column list; empty means every column.
    pub columns: Vec<String>,
    /// The data's format.
    pub format: CopyFormat,
    /// Every option as written: lower-case name and value (empty for a bare word).
    pub options: Vec<(String, String)>,
    /// The inner query of `COPY (query)`, in the text, without the parentheses.
    pub query: Option<Range<usize>>,
}

impl Copy {
    /// The value of an option, by lower-case name (`delimiter`, `null`, `header`, `quote`, …).
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// SET, RESET, SET LOCAL, SET TRANSACTION and friends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// The setting's name, lower case (`role`, `search_path`, `session_authorization`, …);
    /// `all` for RESET ALL; `TRANSACTION`-like forms keep the parser's own name.
    pub name: String,
    /// The value, several joined by `, `; none for RESET and SET … TO DEFAULT.
    pub value: Option<String>,
    /// SET LOCAL.
    pub local: bool,
}

/// Transaction control, as PostgreSQL's grammar names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transaction {
    /// BEGIN.
    Begin,
    /// START TRANSACTION.
    Start,
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, ABORT.
    Rollback,
    /// SAVEPOINT.
    Savepoint,
    /// RELEASE.
    Release,
    /// ROLLBACK TO.
    RollbackTo,
    /// PREPARE TRANSACTION.
    Prepare,
    /// COMMIT PREPARED.
    CommitPrepared,
    /// ROLLBACK PREPARED.
    RollbackPrepared,
}

/// What the statement is, beyond the facts that every statement has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Detail {
    /// Nothing more to say.
    #[default]
    None,
    /// COPY.
    Copy(Copy),
    /// SET / RESET.
    Set(Set),
    /// SHOW name (lower case; `all`).
    Show(String),
    /// Transaction control.
    Transaction(Transaction),
    /// PREPARE name AS …: the inner statement's facts are in [`Statement::inner`].
    Prepare {
        /// The prepared statement's name; it shares its namespace with protocol-level names.
        name: String,
    },
    /// EXECUTE name (also inside CREATE TABLE AS EXECUTE and EXPLAIN EXECUTE): what it does is in
    /// the PREPARE that made it.
    Execute {
        /// The prepared statement's name.
        name: String,
    },
    /// DEALLOCATE; none means ALL.
    Deallocate {
        /// The prepared statement's name.
        name: Option<String>,
    },
    /// DISCARD; `all` drops prepared statements, cursors, settings.
    Discard {
        /// DISCARD ALL.
        all: bool,
    },
    /// DECLARE name CURSOR FOR …: the query's facts are in [`Statement::inner`].
    DeclareCursor {
        /// The cursor's (portal's) name.
        name: String,
        /// BINARY: the rows of a simple-query FETCH come in binary format.
        binary: bool,
        /// WITH HOLD: lives on after the transaction.
        hold: bool,
    },
    /// FETCH or MOVE.
    Fetch {
        /// The cursor's name.
        cursor: String,
        /// MOVE: no rows come back.
        is_move: bool,
    },
    /// CLOSE; none means ALL.
    CloseCursor {
        /// The cursor's name.
        name: Option<String>,
    },
    /// LISTEN channel.
    Listen(String),
    /// UNLISTEN channel; none means `*`.
    Unlisten(Option<String>),
    /// NOTIFY channel.
    Notify(String),
    /// EXPLAIN: the inner statement's facts are in [`Statement::inner`].
    Explain {
        /// ANALYZE: it is executed.
        analyze: bool,
    },
    /// DO: what could be read of the body is in [`Statement::inner`] and in the tables.
    Do {
        /// The language, `plpgsql` when not written.
        language: String,
        /// The body as the server would run it.
        body: String,
        /// The body was understood (plpgsql, every expression parsed, no dynamic EXECUTE).
        understood: bool,
    },
    /// CALL of a procedure, `schema.name` as written.
    Call(String),
}

/// A table, named by alias or not, a column comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnName {
    /// The table, when the FROM list settles it; none means any table of the query could be it.
    pub table: Option<TableName>,
    /// The column as written.
    pub column: String,
}

/// Where an output column's value comes from, as far as the text alone says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A plain reference, also through simple subqueries and CTEs: `a.email`.
    Column(ColumnName),
    /// `*` or `t.*`: every column of these tables, in place.
    Star {
        /// The tables that the star spans; empty when they are not plain tables.
        tables: Vec<TableName>,
    },
    /// Anything else.
    Expr {
        /// Every column the expression names, directly or in a subquery.
        touches: Vec<ColumnName>,
        /// Tables whose whole row the expression uses (`SELECT u FROM u`, `to_jsonb(u)`,
        /// `(u).*`, `count(u.*)`).
        whole_rows: Vec<TableName>,
    },
}

/// One output column of a query, in order. A [`Source::Star`] stands for one or more columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputColumn {
    /// The label as PostgreSQL would give it, when written or taken from a plain reference.
    pub label: Option<String>,
    /// Where it comes from.
    pub source: Source,
}

/// Which columns a statement names anywhere, nested statements included, and by what other ways it
/// can reach columns without naming them.
///
/// For the question: can a given column's value come out where the server's RowDescription names
/// no origin, or go into another table? It can't if the column's name is not in
/// [`expression_columns`](Self::expression_columns) and none of [`star`](Self::star),
/// [`whole_row`](Self::whole_row) and [`renames`](Self::renames) is set. When in doubt, the walk
/// says yes. What the text does not tell: what views and functions read. And `t.f` is the call
/// `f(t)` if `t` has no column `f`: PostgreSQL's own functions that take a row count as
/// `whole_row`; a name in `columns` that is a function of a user's has to be looked up.
///
/// Targets (INSERT's column list, names set by UPDATE) are writes and not listed. Of DDL only what
/// stands in expressions and queries is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reads {
    /// The last part of every column reference, the field names of `(x).a.b`, and the columns of
    /// JOIN … USING, ON CONFLICT (…), COPY … TO, SEARCH and CYCLE; once each, in order of first
    /// use, as the server would fold and unescape them.
    pub columns: Vec<String>,
    /// Those of `columns` referenced anywhere but as a plain output (`a`, `t.a AS b`) of the
    /// outermost SELECT or RETURNING: in expressions, casts, conditions, ORDER BY, subqueries,
    /// CTEs, UNION, sources of writes, COPY, EXPLAIN. An ON CONFLICT target alone is not among
    /// them: its value goes nowhere.
    pub expression_columns: Vec<String>,
    /// `*`, `t.*` or `(x).*` anywhere but as a plain output of the outermost SELECT or RETURNING;
    /// COPY of a table without a column list. `count(*)` is none.
    pub star: bool,
    /// `*` or `t.*` as a plain output of the outermost SELECT or RETURNING.
    pub output_star: bool,
    /// A reference that is, or may be, the row of a table, subquery, CTE or join: `to_jsonb(t)`,
    /// `t::text`, `SELECT t FROM t`, `t.to_jsonb`, `excluded`. A column that has its table's name
    /// counts too.
    pub whole_row: bool,
    /// Columns get other names by position: `customers c(a, b)`, `WITH c(a, b) AS`,
    /// `CREATE VIEW v(a, b)`, a function's column definitions, XMLTABLE, JSON_TABLE.
    pub renames: bool,
}

/// One SQL statement's facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The statement's bytes in the text, white space and comments at either end cut off,
    /// without the `;`.
    pub range: Range<usize>,
    /// PostgreSQL's command tag where it has one (`SELECT`, `CREATE TABLE`, …), without counts.
    pub tag: &'static str,
    /// How dangerous. At least [`Class::Write`] if anything is [`unlisted`](Self::unlisted).
    pub class: Class,
    /// The class if everything that is [`unlisted`](Self::unlisted) were harmless.
    pub class_without_calls: Class,
    /// Every table, view or sequence named, once each, in order of first use. CTE names are not
    /// tables.
    pub tables: Vec<TableUse>,
    /// Every function and procedure called, `schema.name` as written, once each, in order. A part
    /// with a dot in it stands in double quotes.
    pub functions: Vec<String>,
    /// Of the functions and operators, those that are not known to be
    /// [harmless](crate::functions::effect), nor dangerous and so [`Class::Admin`]: they may
    /// write. An operator is its symbol, `schema.###` or `###`.
    pub unlisted: Vec<String>,
    /// What else a rule may ask for.
    pub flags: Flags,
    /// Parameter numbers (`$n`) used, ascending, once each.
    pub parameters: Vec<u16>,
    /// The statement's own particulars.
    pub detail: Detail,
    /// Statements inside: of PREPARE, EXPLAIN, DECLARE CURSOR, COPY (query), CREATE TABLE AS,
    /// rules, functions with a SQL body, DO. Their tables, functions and flags are also in ours.
    pub inner: Vec<Statement>,
    /// Output columns of a statement that answers with rows; none when it can't be told (EXECUTE,
    /// FETCH, EXPLAIN, SHOW, CALL) or when no rows come.
    pub outputs: Option<Vec<OutputColumn>>,
    /// Columns named anywhere in it, nested statements and those in [`inner`](Self::inner)
    /// included.
    pub reads: Reads,
}

/// What a literal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiteralKind {
    /// `'…'`, `E'…'`, `$$…$$`, `U&'…'`, `N'…'`.
    String,
    /// `B'…'`, `X'…'`.
    Bits,
    /// An integer, decimal or float constant.
    Number,
}

/// A literal's place in the text, quotes and prefix included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal {
    /// Byte range.
    pub range: Range<usize>,
    /// What it is.
    pub kind: LiteralKind,
}

/// Why a text could not be analysed. The fault is always the client's text, or its size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// PostgreSQL's parser refused it; the message is the parser's own (it may quote the text).
    #[error("{0}")]
    Syntax(String),
    /// Longer than [`crate::Limits::max_sql_bytes`].
    #[error("the statement text has {len} bytes, more than the {max} that are analysed")]
    TooLong {
        /// The text's length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// Nested deeper than [`crate::Limits::max_depth`].
    #[error("the statement is nested deeper than {max} levels")]
    TooDeep {
        /// The limit in levels.
        max: usize,
    },
    /// A NUL byte inside the text.
    #[error("the statement text holds a NUL byte")]
    Nul,
    /// Not UTF-8.
    #[error("the statement text is not valid UTF-8")]
    Encoding,
    /// A backslash in a text that must be read with `standard_conforming_strings = off`, together
    /// with something this crate can't lex in that mode.
    #[error("the statement text can't be analysed with standard_conforming_strings off")]
    Lexer,
    /// The analysing thread could not be started (no memory or threads left), or died: ours, not
    /// the client's. Never cached.
    #[error("the statement could not be analysed: no thread for the parser")]
    NoThread,
}

/// All that is known about one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analysis {
    /// The statements in order; empty for an empty text and when it could not be parsed.
    pub statements: Vec<Statement>,
    /// Why there are no facts, if so.
    pub parse_error: Option<ParseError>,
    /// The most dangerous class of all statements; [`Class::Unknown`] with a parse error,
    /// [`Class::Session`] for an empty text.
    pub class: Class,
    /// Every literal of the text in order, or none when they can't be told (then all of the text
    /// must be treated as one literal).
    pub literals: Option<Vec<Literal>>,
}
