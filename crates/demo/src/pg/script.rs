//! What the agent does, through a real client library, and what it must get.

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls, Row, SimpleQueryMessage};

use super::{Behind, TARGET, done};
use crate::data::{self, Customer};
use crate::stage::Stage;
use crate::{Check, DemoError, Event, Narrator, Played};

/// How long the agent's token is good for.
const TOKEN_LIFETIME: Duration = Duration::from_secs(300);
/// Whom the agent looks up, and whose orders.
const CUSTOMER: u32 = 3;
/// The order that it changes.
const ORDER: u32 = 5;

/// A refusal, as a client sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// SQLSTATE.
    pub code: String,
    /// What the proxy says.
    pub message: String,
    /// The rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What a client got for a statement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Got {
    /// Labels.
    pub columns: Vec<String>,
    /// Values as text.
    pub rows: Vec<Vec<Option<String>>>,
    /// Rows that a statement without rows changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<u64>,
}

struct Agent<'a> {
    client: Client,
    narrator: &'a mut dyn Narrator,
    played: Played,
}

pub(crate) async fn play(
    stage: &Stage,
    behind: &Behind,
    narrator: &mut dyn Narrator,
) -> Result<Played, DemoError> {
    narrator.tell(&Event::Part { title: "The agent works, for alice" });
    let token = stage.agent_token(TOKEN_LIFETIME)?;
    let (client, connection) = connect(stage, &token).await.map_err(DemoError::client)?;
    let connection = tokio::spawn(connection);
    let customers = data::customers();
    let secrets = customers.iter().flat_map(|c| [c.card.clone(), c.email.clone(), c.phone.clone()]);
    let played =
        Played { noun: "statement", done, statements: Vec::new(), secrets: secrets.collect() };
    let mut agent = Agent { client, narrator, played };
    let customer = customers.iter().find(|c| c.id == CUSTOMER);
    let customer = customer.ok_or_else(|| DemoError::Settings("there are no customers".into()))?;
    agent.statements(&behind.prefix, customer).await?;
    let Agent { client, narrator, played } = agent;
    drop(client);
    // The session is over; what the connection says after that is of no use.
    let _ended = connection.await;
    expired(stage, narrator).await?;
    Ok(played)
}

type Connection =
    tokio_postgres::Connection<tokio_postgres::Socket, tokio_postgres::tls::NoTlsStream>;

async fn connect(
    stage: &Stage,
    token: &str,
) -> Result<(Client, Connection), tokio_postgres::Error> {
    tokio_postgres::Config::new()
        .host("127.0.0.1")
        .port(stage.port)
        .user("invoice-agent")
        .password(token)
        .dbname(TARGET)
        .application_name("demo-agent")
        .connect(NoTls)
        .await
}

impl Agent<'_> {
    async fn statements(&mut self, prefix: &str, customer: &Customer) -> Result<(), DemoError> {
        let Customer { id, name, email, card, phone } = customer;
        let sql =
            format!("SELECT id, name, email, card, phone FROM {prefix}customers WHERE id = {id}");
        let row = self.simple("SELECT", &sql).await?;
        let shown = row.map(|got| got.rows.concat().into_iter().flatten().collect::<Vec<_>>());
        let shown = shown.unwrap_or_default();
        let clear = |value: &String| shown.iter().any(|cell| cell.contains(value.as_str()));
        let last_digits: String = card.chars().skip(15).collect();
        let held = shown.iter().any(|cell| cell == name)
            && shown.iter().any(|cell| cell.ends_with(&last_digits))
            && ![card, email, phone].into_iter().any(clear);
        self.check("card, e-mail and telephone number are masked on the wire", held);

        let sql = format!(
            "SELECT id, item, cents FROM {prefix}orders WHERE customer_id = $1 ORDER BY id"
        );
        let orders = self.extended("SELECT", &sql, i64::from(*id)).await?;
        self.check("a prepared statement with a bound value works", orders == Some(2));

        let sql = format!("SELECT id FROM {prefix}customers WHERE email = '{email}'");
        let found = self.simple("SELECT", &sql).await?;
        let held = found.is_ok_and(|got| got.rows == [[Some(id.to_string())]]);
        self.check("what a statement says reaches the target unchanged", held);

        let sql = format!("UPDATE {prefix}orders SET status = 'paid' WHERE id = {ORDER}");
        let changed = self.simple("UPDATE", &sql).await?;
        self.check("a change that names its row runs", changed.is_ok_and(|g| g.changed == Some(1)));

        self.denied("DELETE", &format!("DELETE FROM {prefix}orders"), "agents-name-their-rows")
            .await?;
        let drop_table = format!("DROP TABLE {prefix}customers");
        self.denied("DROP TABLE", &drop_table, "agents-change-no-schema").await?;

        let sql = format!("SELECT count(*) AS orders FROM {prefix}orders");
        let left = self.simple("SELECT", &sql).await?;
        let held = left.is_ok_and(|got| got.rows == [[Some(data::orders().to_string())]]);
        self.check("every order is still there, and the session goes on", held);
        Ok(())
    }

    async fn denied(
        &mut self,
        operation: &'static str,
        sql: &str,
        rule: &str,
    ) -> Result<(), DemoError> {
        let refused = self.simple(operation, sql).await?;
        let held = refused.is_err_and(|refusal| {
            refusal.code == "42501" && refusal.detail.is_some_and(|detail| detail.contains(rule))
        });
        self.check(&format!("{operation} is denied by {rule}"), held);
        Ok(())
    }

    async fn simple(
        &mut self,
        operation: &'static str,
        sql: &str,
    ) -> Result<Result<Got, Refusal>, DemoError> {
        self.narrator.tell(&Event::Sent { sql, values: &[] });
        let answer = self.client.simple_query(sql).await;
        self.played.statements.push((operation.to_owned(), answer.is_ok()));
        let messages = match answer {
            Ok(messages) => messages,
            Err(error) => return self.refused(error).map(Err),
        };
        let mut got = Got::default();
        for message in &messages {
            match message {
                SimpleQueryMessage::RowDescription(columns) => {
                    got.columns = columns.iter().map(|c| c.name().to_owned()).collect();
                }
                SimpleQueryMessage::Row(row) => {
                    let cell = |at| row.get(at).map(str::to_owned);
                    got.rows.push((0..row.len()).map(cell).collect());
                }
                SimpleQueryMessage::CommandComplete(rows) if got.columns.is_empty() => {
                    got.changed = Some(*rows);
                }
                _ => {}
            }
        }
        self.narrator.tell(&Event::Got(&got));
        Ok(Ok(got))
    }

    /// How many rows came, if any did.
    async fn extended(
        &mut self,
        operation: &'static str,
        sql: &str,
        value: i64,
    ) -> Result<Option<usize>, DemoError> {
        self.narrator.tell(&Event::Sent { sql, values: &[value.to_string()] });
        let answer = self.client.query_typed(sql, &[(&value, Type::INT8)]).await;
        self.played.statements.push((operation.to_owned(), answer.is_ok()));
        let rows = match answer {
            Ok(rows) => rows,
            Err(error) => return self.refused(error).map(|_| None),
        };
        let columns = rows.first().map(|row| row.columns()).unwrap_or_default();
        let got = Got {
            columns: columns.iter().map(|column| column.name().to_owned()).collect(),
            rows: rows.iter().map(cells).collect(),
            changed: None,
        };
        self.narrator.tell(&Event::Got(&got));
        Ok(Some(rows.len()))
    }

    fn refused(&mut self, error: tokio_postgres::Error) -> Result<Refusal, DemoError> {
        let refusal = refusal(&error).ok_or_else(|| DemoError::client(error))?;
        self.narrator.tell(&Event::Refused(&refusal));
        Ok(refusal)
    }

    fn check(&mut self, name: &str, held: bool) {
        self.narrator.check(Check { name: name.to_owned(), held });
    }
}

fn cells(row: &Row) -> Vec<Option<String>> {
    let number = |at| row.try_get::<_, Option<i64>>(at).ok().flatten().map(|n| n.to_string());
    let text = |at| row.try_get::<_, Option<String>>(at).ok().flatten();
    (0..row.len()).map(|at| text(at).or_else(|| number(at))).collect()
}

fn refusal(error: &tokio_postgres::Error) -> Option<Refusal> {
    let error = error.as_db_error()?;
    Some(Refusal {
        code: error.code().code().to_owned(),
        message: error.message().to_owned(),
        detail: error.detail().map(str::to_owned),
        hint: error.hint().map(str::to_owned),
    })
}

/// The same agent comes back with a token that has ended.
async fn expired(stage: &Stage, narrator: &mut dyn Narrator) -> Result<(), DemoError> {
    narrator.tell(&Event::Part { title: "It comes back with a token that expired" });
    let token = stage.expired_token()?;
    let held = match connect(stage, &token).await {
        Ok(_) => false,
        Err(error) => {
            let refusal = refusal(&error).ok_or_else(|| DemoError::client(error))?;
            narrator.tell(&Event::Refused(&refusal));
            refusal.code.starts_with("28")
        }
    };
    narrator.check(Check { name: "an expired token opens no session".into(), held });
    Ok(())
}
