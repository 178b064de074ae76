//! The PostgreSQL proxy inside somebody else's program: its own listener, its own policy (code,
//! not rules), and its own place for entries (a file of JSON lines).
//!
//! ```text
//! $ embed_postgres issuers.toml localhost:5432 entries.jsonl
//! listening on 127.0.0.1:40123
//! $ PGPASSWORD="$TOKEN" psql "host=127.0.0.1 port=40123 user=alice dbname=postgres"
//! ```
//!
//! Everything that is not this program's own is the same as in greffier-postgres: tokens are
//! checked, statements are read by PostgreSQL's grammar, nothing runs or is shown before it is on
//! record, e-mail addresses are masked.

mod lines;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use gate::{Durability, Gate, Judge, RecordingLevel};
use policy::{Command, Subject, Verdict};
use postgres::{ApplicationName, Carrier, ClientTls, Config, Databases, Proxy, Role, RoleRule};
use postgres::{Target, Upstream};
use postgres_wire::auth::Methods;

/// Our policy: people may do what the database lets them; programs may only read.
struct PeopleWrite;

impl Judge for PeopleWrite {
    fn judge(&self, subject: &Subject<'_>, command: &Command<'_>) -> Verdict {
        let reads = command.actions.iter().all(|a| matches!(a.class, "read" | "session"));
        if subject.kind == "human" || reads {
            return Verdict::Allow { rule: "people-write".into() };
        }
        // Both words reach the client and the record: this value is the only one there is.
        Verdict::Deny { rule: "people-write".into(), reason: Some("ask a person".into()) }
    }

    fn digest(&self) -> &str {
        "people-write 1" // what the record says judged: a version, if it is no file
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [issuers, server, entries] = args.as_slice() else {
        return Err("usage: embed_postgres ISSUERS.toml HOST:PORT ENTRIES.jsonl".into());
    };
    // Who may come in: issuers, and rules that make a principal of a token.
    let issuers: identity::Config = toml::from_str(&std::fs::read_to_string(issuers)?)?;
    let verifier = identity::Verifier::new(&issuers, identity::HttpFetcher::new(&issuers)?)?;
    let gate = Gate::new(
        Arc::new(verifier),
        Arc::new(PeopleWrite),
        Arc::new(lines::Lines::open(entries.as_ref())?),
    );
    let proxy = Proxy::new(gate, config(server)?);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (tcp, peer) = listener.accept().await?;
        let proxy = proxy.clone();
        // In place of `pending`: a future that is ready when the program wants to end.
        tokio::spawn(async move { proxy.serve(tcp, peer, pending()).await });
    }
}

fn config(server: &str) -> Result<Config, Box<dyn std::error::Error>> {
    let (host, port) = server.rsplit_once(':').ok_or("HOST:PORT, please")?;
    let rules = "[[rule]]\nentity = [\"EMAIL_ADDRESS\"]\nclient = { operator = \"replace\" }";
    let masking = masking::Policy::compile(&toml::from_str(rules)?, None);
    let target = Target {
        gate: Arc::new(gate::Target {
            name: "main".into(), // `dbname=main/sales` names target and database
            recording: RecordingLevel::Full,
            durability: Durability::BeforeExecute,
            masking: Arc::new(masking.map_err(|problems| format!("{problems:?}"))?),
            operations: None,
        }),
        upstream: Upstream {
            host: host.into(),
            port: port.parse()?,
            tls: None, // Some((name, rustls::ClientConfig)) for a server that is not on this host
            methods: Methods::ANY,
        },
        databases: Databases::Any,
        roles: vec![RoleRule {
            kinds: vec![],
            groups: vec![],
            subjects: vec![],
            role: Role::Named("postgres".into()),
            password: None,
        }],
        application_name: ApplicationName::Principal,
        connect_timeout: Duration::from_secs(10),
        trusted_functions: vec![],
    };
    Ok(Config {
        targets: vec![Arc::new(target)],
        default_target: Some("main".into()),
        tls: ClientTls::PlainText, // loopback only: a token must not cross a network readable
        carrier: Carrier::Password,
        handshake_timeout: postgres::HANDSHAKE_TIMEOUT,
        max_message_bytes: postgres::MAX_MESSAGE_BYTES,
    })
}
