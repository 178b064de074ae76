//! tokio-postgres, in this process, playing the common script of `assets/clients/README.md`.

use std::error::Error as StdError;
use std::fmt::Display;
use std::fs;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt as _, TryStreamExt as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{AsyncMessage, Client, Connection, Row, SimpleQueryMessage, Socket};
use tokio_rustls::TlsConnector;

use crate::clients::{Login, Statement};

/// Whatever went wrong, in words.
type Failed = Box<dyn StdError + Send + Sync>;

const NAME: &str = "Zoë 雪 ☃ it's \"q\" \\ end";
const RAW: [u8; 5] = [0, 0xff, 0x27, 0x5c, 0x10];
const AMOUNT: &str = "12345678901234567890.0123456789";
/// 2024-02-29 12:34:56.789012 UTC.
const AT: Duration = Duration::from_micros(1_709_210_096_789_012);
const AT_TEXT: &str = "2024-02-29 12:34:56.789012+00";
const INSERT: &str = "insert into t_tokio values ($1, $2, $3, $4, $5)";
const SELECT: &str = "select name, raw, amount::text, at from t_tokio where id = $1";
/// How long an answer that must come may take.
const WAIT: Duration = Duration::from_secs(30);

/// Plays the script within `limit`. Gives what was executed, in order.
pub(crate) fn play(login: &Login, limit: Duration) -> Result<Vec<Statement>, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let played = async {
        let played = tokio::time::timeout(limit, script(login));
        played.await.map_err(|_| Failed::from(format!("not done after {} s", limit.as_secs())))?
    };
    runtime.block_on(played)
}

/// The connection, and what was said on it.
struct Played {
    client: Client,
    said: Vec<Statement>,
}

impl Played {
    /// Notes what is executed next.
    fn say(&mut self, sql: &str, params: &[Option<&str>]) {
        let params = params.iter().map(|param| param.map(str::to_owned)).collect();
        self.said.push(Statement { sql: sql.to_owned(), params });
    }

    /// A statement without parameters by the simple protocol.
    async fn run(&mut self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.say(sql, &[]);
        self.client.batch_execute(sql).await
    }

    /// The first row's first column by the simple protocol.
    async fn one(&mut self, sql: &str) -> Result<String, Failed> {
        self.say(sql, &[]);
        let messages = self.client.simple_query(sql).await?;
        let value = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        value.map(str::to_owned).ok_or_else(|| format!("{sql}: no row").into())
    }
}

async fn script(login: &Login) -> Result<Vec<Statement>, Failed> {
    let tls = Tls::trusting(&login.authority)?;
    let mut config = tokio_postgres::Config::new();
    config.host(&login.host).port(login.port).user(&login.user).password(&login.password);
    config.dbname(&login.database).ssl_mode(SslMode::Require);
    let (client, connection) = config.connect(tls.clone()).await?;
    let mut heard = drive(connection);
    let mut played = Played { client, said: Vec::new() };
    check(played.one("select 1").await?, "1", "simple query")?;
    values(&mut played).await?;
    prepared_and_failed(&mut played).await?;
    copies(&mut played).await?;
    portal(&mut played).await?;
    // Three on their way at once.
    let sql = "select $1::int";
    let select = played.client.prepare(sql).await?;
    for text in ["1", "2", "3"] {
        played.say(sql, &[Some(text)]);
    }
    let ask = async |n: i32| played.client.query_one(&select, &[&n]).await?.try_get::<_, i32>(0);
    let got = tokio::try_join!(ask(1), ask(2), ask(3))?;
    check(got, (1, 2, 3), "pipeline")?;
    played.run("listen ch_tokio").await?;
    played.run("notify ch_tokio, 'hello'").await?;
    let payload = tokio::time::timeout(WAIT, heard.recv()).await?.unwrap_or_default();
    check(payload, "hello".to_owned(), "notification")?;
    let cancel = played.client.cancel_token();
    let slept = {
        let sleep = pin!(played.run("select pg_sleep(30)"));
        let cancel = async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            cancel.cancel_query(tls).await
        };
        let (slept, cancelled) = tokio::join!(sleep, cancel);
        cancelled?;
        slept
    };
    check(code(slept), "57014".to_owned(), "SQLSTATE of what was cancelled")?;
    check(played.one("select 'alive'").await?, "alive", "after the cancel")?;
    played.run("drop table t_tokio").await?;
    Ok(played.said)
}

/// Steps 2 to 4: a table, and values in text and in binary.
async fn values(played: &mut Played) -> Result<(), Failed> {
    played.run("drop table if exists t_tokio").await?;
    let columns = "id int primary key, name text, raw bytea, amount numeric, at timestamptz";
    played.run(&format!("create table t_tokio ({columns})")).await?;
    let at = SystemTime::UNIX_EPOCH + AT;
    let raw = "\\x00ff275c10";
    played.say(INSERT, &[Some("1"), Some(NAME), Some(raw), Some(AMOUNT), Some(AT_TEXT)]);
    let row: [&(dyn ToSql + Sync); 5] = [&1i32, &NAME, &RAW.as_slice(), &AsText(AMOUNT), &at];
    played.client.execute(INSERT, &row).await?;
    played.say(INSERT, &[Some("2"), None, None, None, None]);
    let none: (Option<&str>, Option<&[u8]>, Option<SystemTime>) = (None, None, None);
    let row: [&(dyn ToSql + Sync); 5] = [&2i32, &none.0, &none.1, &None::<AsText<'_>>, &none.2];
    played.client.execute(INSERT, &row).await?;
    type Values = (Option<String>, Option<Vec<u8>>, Option<String>, Option<SystemTime>);
    let read = |row: Row| -> Result<Values, tokio_postgres::Error> {
        Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))
    };
    played.say(SELECT, &[Some("1")]);
    let first = read(played.client.query_one(SELECT, &[&1i32]).await?)?;
    let wanted = (Some(NAME.to_owned()), Some(RAW.to_vec()), Some(AMOUNT.to_owned()), Some(at));
    check(first, wanted, "values")?;
    played.say(SELECT, &[Some("2")]);
    let second = read(played.client.query_one(SELECT, &[&2i32]).await?)?;
    check(second, (None, None, None, None), "NULLs")
}

/// Steps 5 and 6.
async fn prepared_and_failed(played: &mut Played) -> Result<(), Failed> {
    let sql = "select $1::int * 2";
    let twice = played.client.prepare(sql).await?;
    for n in 1..=6i32 {
        played.say(sql, &[Some(&n.to_string())]);
        let got: i32 = played.client.query_one(&twice, &[&n]).await?.try_get(0)?;
        check(got, 2 * n, "prepared statement")?;
    }
    played.run("begin").await?;
    let insert = "insert into t_tokio (id) values ($1)";
    played.say(insert, &[Some("3")]);
    played.client.execute(insert, &[&3i32]).await?;
    played.say(insert, &[Some("3")]);
    let again = played.client.execute(insert, &[&3i32]).await;
    check(code(again), "23505".to_owned(), "SQLSTATE of a key that is there")?;
    played.run("rollback").await?;
    let rows = played.one("select count(*) from t_tokio").await?;
    check(rows, "2", "rows after the rollback")
}

/// Step 7.
async fn copies(played: &mut Played) -> Result<(), Failed> {
    let sql = "copy t_tokio (id, name) from stdin";
    played.say(sql, &[]);
    let mut sink = pin!(played.client.copy_in::<_, Bytes>(sql).await?);
    for n in 0..1000 {
        sink.send(Bytes::from(format!("{}\trow {n} ☃\n", 100 + n))).await?;
    }
    check(sink.finish().await?, 1000, "rows copied in")?;
    let sql = "copy t_tokio to stdout";
    played.say(sql, &[]);
    let stream = played.client.copy_out(sql).await?;
    let out: Vec<u8> = stream
        .try_fold(Vec::new(), async |mut all, part| {
            all.extend_from_slice(&part);
            Ok(all)
        })
        .await?;
    check(out.iter().filter(|b| **b == b'\n').count(), 1002, "rows copied out")
}

/// Step 8: a portal with a row limit of 100, in a transaction of the driver's.
async fn portal(played: &mut Played) -> Result<(), Failed> {
    let sql = "select generate_series(1, 1000)";
    played.say(sql, &[]);
    let transaction = played.client.transaction().await?;
    let portal = transaction.bind(sql, &[]).await?;
    let mut sum = 0;
    loop {
        let rows = transaction.query_portal(&portal, 100).await?;
        for row in &rows {
            sum += row.try_get::<_, i32>(0)?;
        }
        if rows.len() < 100 {
            break;
        }
    }
    transaction.commit().await?;
    check(sum, 500_500, "cursor")
}

/// Serves the connection; gives the payloads of its notifications.
fn drive(mut connection: Connection<Socket, Encrypted<Socket>>) -> UnboundedReceiver<String> {
    let (told, heard) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(it) = message
                && told.send(it.payload().to_owned()).is_err()
            {
                break;
            }
        }
    });
    heard
}

fn check<T, U>(got: T, wanted: U, what: &str) -> Result<(), Failed>
where
    T: PartialEq<U> + std::fmt::Debug,
    U: std::fmt::Debug,
{
    if got == wanted {
        return Ok(());
    }
    Err(format!("{what}: expected {wanted:?}, got {got:?}").into())
}

/// The SQLSTATE with which it failed, or that it did not.
fn code<T>(outcome: Result<T, tokio_postgres::Error>) -> String {
    match outcome {
        Ok(_) => "no error".to_owned(),
        Err(e) => e.code().map_or_else(|| e.to_string(), |code| code.code().to_owned()),
    }
}

/// A value that is sent in text.
#[derive(Debug)]
struct AsText<'a>(&'a str);

impl ToSql for AsText<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Failed> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// Full verification against one authority.
#[derive(Clone)]
struct Tls {
    connector: TlsConnector,
    name: Option<ServerName<'static>>,
}

impl Tls {
    fn trusting(authority: &Path) -> Result<Self, Failed> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&fs::read(authority)?)?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name: None })
    }
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Encrypted<Socket>;
    type TlsConnect = Self;
    type Error = Failed;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Self, Failed> {
        let name = ServerName::try_from(domain.to_owned())?;
        Ok(Self { connector: self.connector.clone(), name: Some(name) })
    }
}

impl TlsConnect<Socket> for Tls {
    type Stream = Encrypted<Socket>;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Encrypted<Socket>, Failed>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        Box::pin(async move {
            let name = self.name.ok_or("a connection without a name to verify")?;
            Ok(Encrypted(self.connector.connect(name, stream).await?))
        })
    }
}

/// A connection over TLS, without channel binding.
struct Encrypted<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// What an error says, with what caused it.
pub(crate) fn told(error: &Failed) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let add: &dyn Display = inner;
        text = format!("{text}: {add}");
        cause = inner.source();
    }
    text
}
