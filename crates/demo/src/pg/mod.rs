//! The demonstration for PostgreSQL: a target that speaks it, and the proxy in front.

mod script;
mod target;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::postgres::{
    ApplicationName, Carrier, ClientTls, Config, Databases, HANDSHAKE_TIMEOUT, MAX_MESSAGE_BYTES,
    MAX_SQL_BYTES, Role, RoleRule, Target, Upstream,
};
use gate::{Durability, RecordingLevel};
use postgres_wire::auth::{Methods, Secret};
use tokio_postgres::NoTls;
use trail::Exchange;

use self::target::LittleTarget;
use crate::stage::masking;
use crate::{DemoError, data};

pub(crate) use self::script::play;
pub use self::script::{Got, Refusal};

/// The target's name, which clients give as the database.
pub(crate) const TARGET: &str = "shop";
/// How long connecting to the target may take.
const CONNECTING: Duration = Duration::from_secs(10);

/// What agents and people may do.
pub(crate) const POLICY: &str = r#"
[[rule]]
name = "agents-name-their-rows"
effect = "deny"
principals = { kind = "agent" }
when = { flags = ["missing_where"] }
reason = "an agent must say which rows it means"

[[rule]]
name = "agents-change-no-schema"
effect = "deny"
principals = { kind = "agent" }
when = { class = ["ddl", "admin", "unknown"] }
reason = "schema changes go through a person"

[[rule]]
name = "agents-work"
effect = "allow"
principals = { kind = "agent", delegated = true }
when = { class = ["session", "read", "write"] }
"#;

/// What clients and the record see of cards, mailboxes and telephone numbers.
pub(crate) const MASKING: &str = r#"
[[rule]]
name = "cards"
entity = ["CREDIT_CARD"]
client = { operator = "mask", chars_to_mask = 14 }
record = { operator = "replace" }

[[rule]]
name = "contacts"
entity = ["EMAIL_ADDRESS", "PHONE_NUMBER"]
client = { operator = "replace" }
record = { operator = "hash" }
"#;

/// What is behind the proxy.
#[derive(Debug)]
pub(crate) struct Behind {
    /// What precedes a table's name in statements: nothing, or the demonstration's schema.
    pub(crate) prefix: String,
    /// In words.
    pub(crate) words: String,
    user: String,
    database: String,
    host: String,
    port: u16,
    password: Option<String>,
    _little: Option<LittleTarget>,
    real: Option<tokio_postgres::Config>,
}

impl Behind {
    /// A real PostgreSQL's, or a target of our own.
    pub(crate) async fn set(dir: &Path, upstream: Option<&str>) -> Result<Self, DemoError> {
        match upstream {
            Some(url) => real(url).await,
            None => little(dir).await,
        }
    }

    /// What the proxy in front is made of.
    pub(crate) fn proxy(&self) -> Result<Config, DemoError> {
        config(self)
    }

    /// Takes away what was made in a real database.
    pub(crate) async fn close(self) -> Result<(), DemoError> {
        let Some(real) = &self.real else { return Ok(()) };
        let schema = self.prefix.trim_end_matches('.');
        run_directly(real, &format!("DROP SCHEMA {schema} CASCADE")).await
    }

    /// How to try it, as lines for a shell.
    pub(crate) fn try_it(&self, port: u16, token: &str) -> Vec<String> {
        let table = format!("{}customers", self.prefix);
        vec![format!(
            "PGPASSWORD={token} psql 'host=127.0.0.1 port={port} user=invoice-agent \
             dbname={TARGET} sslmode=disable' -c 'SELECT * FROM {table}'"
        )]
    }
}

/// A statement of the agent for alice, and whether it ran.
pub(crate) fn done(exchange: &Exchange) -> Option<(String, bool)> {
    // What the client library sets as it connects is on record too; the script did not ask for it.
    if exchange.via == "startup" {
        return None;
    }
    crate::proof::is_agents(&exchange.principal)
        .then(|| (exchange.operation.clone(), exchange.outcome_word() == "ok"))
}

/// A target of our own.
async fn little(dir: &Path) -> Result<Behind, DemoError> {
    let file = dir.join("target.sqlite");
    let target = LittleTarget::start(&file, &data::seed("", "INTEGER")).await?;
    Ok(Behind {
        prefix: String::new(),
        words: format!("embedded target (pgwire over SQLite), 127.0.0.1:{}", target.port),
        user: "demo".into(),
        database: "shop".into(),
        host: "127.0.0.1".into(),
        port: target.port,
        password: None,
        _little: Some(target),
        real: None,
    })
}

/// A schema of our own in a real PostgreSQL.
async fn real(url: &str) -> Result<Behind, DemoError> {
    use tokio_postgres::config::{Host, SslMode};
    let bad = |why: &str| DemoError::Upstream(why.to_owned());
    let config: tokio_postgres::Config =
        url.parse().map_err(|_| bad("write postgres://user:password@host:port/database"))?;
    if config.get_ssl_mode() == SslMode::Require {
        return Err(bad("the demonstration connects without TLS; use greffier-postgres for TLS"));
    }
    let Some(Host::Tcp(host)) = config.get_hosts().first() else {
        return Err(bad("it needs a host name or address"));
    };
    let user = config.get_user().ok_or_else(|| bad("it needs a user"))?.to_owned();
    let mut random = [0; 4];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| bad("there are no random numbers"))?;
    let schema = format!("greffier_demo_{}", hex::encode(random));
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let behind = Behind {
        prefix: format!("{schema}."),
        words: format!("PostgreSQL at {host}:{port}, schema {schema}"),
        database: config.get_dbname().unwrap_or(&user).to_owned(),
        user,
        host: host.clone(),
        port,
        password: config.get_password().map(|p| String::from_utf8_lossy(p).into_owned()),
        _little: None,
        real: Some(config.clone()),
    };
    let seed = data::seed(&behind.prefix, "bigint");
    run_directly(&config, &format!("CREATE SCHEMA {schema};\n{seed}")).await?;
    Ok(behind)
}

async fn run_directly(config: &tokio_postgres::Config, sql: &str) -> Result<(), DemoError> {
    let refused = |e: tokio_postgres::Error| DemoError::Upstream(e.to_string());
    let (client, connection) = config.connect(NoTls).await.map_err(refused)?;
    let connection = tokio::spawn(connection);
    let done = client.batch_execute(sql).await.map_err(refused);
    drop(client);
    // What the connection says after its last answer is of no use.
    let _ended = connection.await;
    done
}

fn config(behind: &Behind) -> Result<Config, DemoError> {
    let target = Target {
        gate: Arc::new(gate::Target {
            name: TARGET.into(),
            recording: RecordingLevel::Full,
            durability: Durability::BeforeExecute,
            masking: masking(MASKING)?,
            operations: None,
        }),
        upstream: Upstream {
            host: behind.host.clone(),
            port: behind.port,
            tls: None,
            methods: Methods::ANY,
        },
        databases: Databases::Only(behind.database.clone()),
        roles: vec![RoleRule {
            kinds: vec![],
            groups: vec![],
            subjects: vec![],
            role: Role::Named(behind.user.clone()),
            password: behind.password.clone().map(Secret::new),
        }],
        application_name: ApplicationName::Principal,
        connect_timeout: CONNECTING,
        trusted_functions: vec![],
    };
    Ok(Config {
        targets: vec![Arc::new(target)],
        default_target: Some(TARGET.into()),
        tls: ClientTls::PlainText,
        carrier: Carrier::Password,
        handshake_timeout: HANDSHAKE_TIMEOUT,
        max_message_bytes: MAX_MESSAGE_BYTES,
        max_sql_bytes: MAX_SQL_BYTES,
    })
}
