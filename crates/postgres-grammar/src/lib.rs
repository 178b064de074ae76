//! What a SQL text does, by PostgreSQL's own grammar.
//!
//! The parser is the server's (libpg_query 18, the `pg_query` crate), so that there is no second
//! opinion on where a statement ends or what it is. What it can't parse is [`Class::Unknown`], the
//! most dangerous class there is. The parser knows no catalog: which schema an unqualified name
//! means, what a view reads or a function does is not in the text, and not in an [`Analysis`].
//! Of functions and operators the names are known: PostgreSQL's own that change nothing are
//! listed ([`functions::harmless`]), and a statement that calls any other may write.
//!
//! # Which statement has which class
//!
//! | class | statements |
//! |---|---|
//! | session | BEGIN…ROLLBACK PREPARED, SET/RESET/SHOW of settings not named below, DEALLOCATE, DISCARD, FETCH, MOVE, CLOSE, LISTEN, UNLISTEN, NOTIFY, CHECKPOINT is admin, SET CONSTRAINTS, EXECUTE (judge the PREPARE it names) |
//! | read | SELECT, TABLE, VALUES, COPY … TO STDOUT, DECLARE CURSOR, LOCK |
//! | write | INSERT, UPDATE, DELETE, MERGE, COPY … FROM STDIN, a CTE with one of them; whatever calls a function or operator that is not known to be harmless ([`Statement::unlisted`]) |
//! | ddl | CREATE/ALTER/DROP of tables, views, indexes, types, functions, …, TRUNCATE, SELECT INTO, CREATE TABLE AS, COMMENT, REINDEX, CLUSTER, VACUUM, ANALYZE, REFRESH |
//! | admin | roles, GRANT/REVOKE, policies, ALTER SYSTEM, databases, tablespaces, extensions, languages, foreign data, publications, subscriptions, event triggers, COPY with file or PROGRAM, DO, CALL, LOAD, CHECKPOINT, SET ROLE / SESSION AUTHORIZATION / the settings in [`functions::GUARDED_SETTINGS`], the functions in [`functions::DANGEROUS`] |
//! | unknown | what does not parse, is too long, too deep, or not UTF-8; a node this crate has no row for |
//!
//! PREPARE, EXPLAIN, DECLARE CURSOR, COPY (query) and CREATE TABLE AS take at least the class of
//! what they hold, with or without ANALYZE; a statement takes at least the class of every nested
//! one.
//!
//! ```
//! use postgres_grammar::{Analyzer, Class, Lexer, Limits};
//!
//! let analyzer = Analyzer::new(Limits::default());
//! let analysis = analyzer.analyze(
//!     b"WITH gone AS (DELETE FROM orders RETURNING *) SELECT count(*) FROM gone",
//!     Lexer::default(),
//! );
//! let statement = &analysis.statements[0];
//! assert_eq!((statement.tag, statement.class), ("SELECT", Class::Write));
//! assert!(statement.flags.cte_dml && statement.flags.missing_where);
//! assert_eq!(statement.tables[0].name, "orders");
//! ```

mod analyzer;
mod cache;
mod classify;
mod collect;
mod depth;
pub mod functions;
mod lineage;
mod parse;
mod plpgsql;
mod prescan;
mod reads;
mod tags;
mod tree;
mod types;

pub use analyzer::{
    Analyzer, DEFAULT_CACHE_BYTES, DEFAULT_CACHE_ENTRIES, DEFAULT_MAX_DEPTH, DEFAULT_MAX_SQL_BYTES,
    INLINE_MAX_DEPTH, INLINE_STACK_BYTES, Lexer, Limits, PARSER_STACK_BYTES, QUICK_SQL_BYTES,
    Stats,
};
pub use types::{
    Access, Analysis, Class, ColumnName, Copy, CopyDirection, CopyEnd, CopyFormat, Detail, Flags,
    Literal, LiteralKind, OutputColumn, ParseError, Reads, Set, Source, Statement, TableName,
    TableUse, Transaction,
};
