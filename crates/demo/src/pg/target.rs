//! A small target that speaks PostgreSQL's protocol: pgwire's server over an SQLite file.
//!
//! For the demonstration only. It listens on loopback, trusts who connects, and answers SQL that
//! both engines understand; it has no `pg_catalog`, so psql's `\d` does not work on it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream;
use pgwire::api::auth::StartupHandler;
use pgwire::api::auth::noop::NoopStartupHandler;
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::results::{
    DataRowEncoder, DescribePortalResponse, DescribeStatementResponse, FieldInfo, QueryResponse,
    Response, Tag,
};
use pgwire::api::stmt::{NoopQueryParser, StoredStatement};
use pgwire::api::{ClientInfo, PgWireServerHandlers, Type};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::data::DataRow;
use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Batch, Connection, Statement};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::DemoError;

/// Most rows of one answer: the demonstration keeps answers in memory.
const MAX_ROWS: usize = 10_000;
/// How long a session waits for another's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// A running target; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct LittleTarget {
    pub(crate) port: u16,
    task: JoinHandle<()>,
}

impl LittleTarget {
    /// Makes the database from `seed` and starts to listen on a spare loopback port.
    pub(crate) async fn start(file: &Path, seed: &str) -> Result<Self, DemoError> {
        let made = Connection::open(file).and_then(|db| db.execute_batch(seed));
        made.map_err(|e| DemoError::Target(e.to_string()))?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let file = file.to_owned();
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serve(tcp, file.clone()));
            }
        });
        Ok(LittleTarget { port, task })
    }
}

impl Drop for LittleTarget {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(tcp: tokio::net::TcpStream, file: PathBuf) {
    // A connection of its own for each session, so that transactions are the session's.
    let opened = Connection::open(file).and_then(|db| db.busy_timeout(BUSY_TIMEOUT).map(|()| db));
    let handler = match opened {
        Ok(db) => Arc::new(Handler { db: Mutex::new(db), parser: Arc::new(NoopQueryParser) }),
        Err(error) => return tracing::error!(%error, "the demo's target can't open its database"),
    };
    if let Err(error) = pgwire::tokio::process_socket(tcp, None, Handlers(handler)).await {
        tracing::debug!(%error, "the demo's target");
    }
}

struct Handlers(Arc<Handler>);

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        self.0.clone()
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        self.0.clone()
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        self.0.clone()
    }
}

struct Handler {
    db: Mutex<Connection>,
    parser: Arc<NoopQueryParser>,
}

impl NoopStartupHandler for Handler {}

#[async_trait]
impl SimpleQueryHandler for Handler {
    async fn do_query<C>(&self, _client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let db = self.db();
        let mut responses = Vec::new();
        let mut batch = Batch::new(&db, query);
        while let Some(mut statement) = batch.next().map_err(refused)? {
            responses.push(run(&mut statement, &[], &Format::UnifiedText)?);
        }
        Ok(responses)
    }
}

#[async_trait]
impl ExtendedQueryHandler for Handler {
    type Statement = String;
    type QueryParser = NoopQueryParser;

    fn query_parser(&self) -> Arc<Self::QueryParser> {
        self.parser.clone()
    }

    async fn do_query<C>(
        &self,
        _client: &mut C,
        portal: &Portal<Self::Statement>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let db = self.db();
        let mut statement = db.prepare(&portal.statement.statement).map_err(refused)?;
        let values = (0..portal.parameter_len())
            .map(|index| parameter(portal, index))
            .collect::<PgWireResult<Vec<_>>>()?;
        run(&mut statement, &values, &portal.result_column_format)
    }

    async fn do_describe_statement<C>(
        &self,
        _client: &mut C,
        stored: &StoredStatement<Self::Statement>,
    ) -> PgWireResult<DescribeStatementResponse>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let db = self.db();
        let statement = db.prepare(&stored.statement).map_err(refused)?;
        let given = |index| stored.parameter_types.get(index).cloned().flatten();
        let types = (0..statement.parameter_count())
            .map(|index| given(index).unwrap_or(Type::TEXT))
            .collect();
        Ok(DescribeStatementResponse::new(types, columns(&statement, &Format::UnifiedText)))
    }

    async fn do_describe_portal<C>(
        &self,
        _client: &mut C,
        portal: &Portal<Self::Statement>,
    ) -> PgWireResult<DescribePortalResponse>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let db = self.db();
        let statement = db.prepare(&portal.statement.statement).map_err(refused)?;
        Ok(DescribePortalResponse::new(columns(&statement, &portal.result_column_format)))
    }
}

impl Handler {
    fn db(&self) -> MutexGuard<'_, Connection> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A column that is declared INTEGER is an int8; anything else is text.
fn columns(statement: &Statement<'_>, format: &Format) -> Vec<FieldInfo> {
    let field = |(index, column): (usize, rusqlite::Column<'_>)| {
        let integer = column.decl_type().is_some_and(|t| t.eq_ignore_ascii_case("integer"));
        let data_type = if integer { Type::INT8 } else { Type::TEXT };
        let name = column.name().to_owned();
        FieldInfo::new(name, None, None, data_type, format.format_for(index))
    };
    statement.columns().enumerate().map(field).collect()
}

fn run(statement: &mut Statement<'_>, values: &[Value], format: &Format) -> PgWireResult<Response> {
    // `$1` is a name to SQLite, numbered by its first use.
    for index in 1..=statement.parameter_count() {
        let name = statement.parameter_name(index).unwrap_or_default();
        let number = name.trim_start_matches('$').parse::<usize>().unwrap_or(index);
        let value = number.checked_sub(1).and_then(|at| values.get(at));
        let value = value.ok_or_else(|| failed("08P01", "a parameter has no value".into()))?;
        statement.raw_bind_parameter(index, value).map_err(refused)?;
    }
    let verb = verb(statement);
    if statement.column_count() == 0 {
        let changed = statement.raw_execute().map_err(refused)?;
        return Ok(match verb.as_str() {
            "BEGIN" => Response::TransactionStart(Tag::new("BEGIN")),
            "COMMIT" | "END" => Response::TransactionEnd(Tag::new("COMMIT")),
            "ROLLBACK" => Response::TransactionEnd(Tag::new("ROLLBACK")),
            "INSERT" => Response::Execution(Tag::new("INSERT").with_oid(0).with_rows(changed)),
            "UPDATE" | "DELETE" => Response::Execution(Tag::new(&verb).with_rows(changed)),
            _ => Response::Execution(Tag::new(&verb)),
        });
    }
    let header = Arc::new(columns(statement, format));
    let mut encoder = DataRowEncoder::new(header.clone());
    let mut rows: Vec<PgWireResult<DataRow>> = Vec::new();
    let mut found = statement.raw_query();
    while let Some(row) = found.next().map_err(refused)? {
        if rows.len() == MAX_ROWS {
            return Err(failed("54000", format!("more than {MAX_ROWS} rows")));
        }
        for (index, field) in header.iter().enumerate() {
            encode(&mut encoder, field, row.get_ref(index).map_err(refused)?)?;
        }
        rows.push(Ok(encoder.take_row()));
    }
    Ok(Response::Query(QueryResponse::new(header, stream::iter(rows))))
}

fn verb(statement: &Statement<'_>) -> String {
    let sql = statement.expanded_sql().unwrap_or_default();
    let word: String =
        sql.trim_start().chars().take_while(char::is_ascii_alphabetic).collect::<String>();
    word.to_ascii_uppercase()
}

fn encode(
    encoder: &mut DataRowEncoder,
    field: &FieldInfo,
    value: ValueRef<'_>,
) -> PgWireResult<()> {
    let text = match value {
        ValueRef::Null => return encoder.encode_field(&None::<String>),
        ValueRef::Integer(number) if *field.datatype() == Type::INT8 => {
            return encoder.encode_field(&number);
        }
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into(),
    };
    encoder.encode_field(&text)
}

fn parameter(portal: &Portal<String>, index: usize) -> PgWireResult<Value> {
    let declared = portal.statement.parameter_types.get(index).cloned().flatten();
    let declared = declared.unwrap_or(Type::TEXT);
    let integer = |number: Option<i64>| number.map_or(Value::Null, Value::Integer);
    Ok(match declared {
        Type::INT2 => integer(portal.parameter::<i16>(index, &declared)?.map(i64::from)),
        Type::INT4 => integer(portal.parameter::<i32>(index, &declared)?.map(i64::from)),
        Type::INT8 => integer(portal.parameter::<i64>(index, &declared)?),
        Type::BOOL => integer(portal.parameter::<bool>(index, &declared)?.map(i64::from)),
        Type::FLOAT8 => portal.parameter::<f64>(index, &declared)?.map_or(Value::Null, Value::Real),
        _ => match portal.parameters.get(index).and_then(Option::as_ref) {
            Some(bytes) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
            None => Value::Null,
        },
    })
}

fn failed(code: &str, message: String) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".into(), code.into(), message)))
}

fn refused(error: rusqlite::Error) -> PgWireError {
    let message = error.to_string();
    let code = match &message {
        m if m.contains("no such table") => "42P01",
        m if m.contains("no such column") => "42703",
        m if m.contains("syntax error") || m.contains("incomplete input") => "42601",
        m if m.contains("constraint") => "23000",
        _ => "XX000",
    };
    failed(code, message)
}
