//! The PostgreSQL proxy in somebody else's program: its own listener, its own policy (code, not
//! rules), its own place for entries (a file of JSON lines). All else is as in greffier-postgres:
//! tokens are checked, and nothing runs or is shown before it is on record.
//!
//! ```text
//! $ embed_postgres issuers.toml localhost:5432 entries.jsonl
//! listening on 127.0.0.1:40123
//! $ PGPASSWORD="$TOKEN" psql "host=127.0.0.1 port=40123 user=alice dbname=postgres"
//! ```
use std::{error::Error, fs, future::pending, io::Write as _, sync::Arc};

use policy::{Command, Subject, Verdict};

/// Our policy: people may do what the database lets them; programs may only read.
struct PeopleWrite;

impl gate::Judge for PeopleWrite {
    fn judge(&self, subject: &Subject<'_>, command: &Command<'_>) -> Verdict {
        let reads = command.actions.iter().all(|a| matches!(a.class, "read" | "session"));
        if subject.kind == "human" || reads {
            return Verdict::Allow { rule: "people-write".into() };
        }
        Verdict::Deny { rule: "people-write".into(), reason: Some("ask a person".into()) }
    }
    fn digest(&self) -> &str {
        "people-write 1" // what the record says judged: a version, if it is no file
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [issuers, server, entries] = args.as_slice() else {
        return Err("usage: embed_postgres ISSUERS.toml HOST:PORT ENTRIES.jsonl".into());
    };
    let issuers: identity::Config = toml::from_str(&fs::read_to_string(issuers)?)?;
    let verifier = identity::Verifier::new(&issuers, identity::HttpFetcher::new(&issuers)?)?;
    let mut file = fs::File::options().create(true).append(true).open(entries)?;
    let journal = gate::JsonLines::start(move |lines| {
        file.write_all(lines)?;
        file.sync_data() // only what is durable counts as recorded
    })?;
    let gate = gate::Gate::new(Arc::new(verifier), Arc::new(PeopleWrite), Arc::new(journal));

    let rules = "[[rule]]\nentity = [\"EMAIL_ADDRESS\"]\nclient = { operator = \"replace\" }";
    let masking = masking::Policy::compile(&toml::from_str(rules)?, None);
    let main = gate::Target::new("main", masking.map_err(|problems| format!("{problems:?}"))?);
    let (host, port) = server.rsplit_once(':').ok_or("HOST:PORT, please")?;
    let role = postgres::Role::Named("postgres".into());
    let target = postgres::Target::local(Arc::new(main), host, port.parse()?, role);
    let proxy = postgres::Proxy::new(gate, postgres::Config::loopback(vec![Arc::new(target)]));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (tcp, peer) = listener.accept().await?;
        let proxy = proxy.clone();
        tokio::spawn(async move { proxy.serve(tcp, peer, pending()).await });
    }
}
