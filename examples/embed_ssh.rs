//! The SSH proxy in somebody else's program: its own listener, its own policy (code, not rules),
//! its own place for entries (a file of JSON lines). All else is as in greffier-ssh.
//!
//! ```text
//! $ embed_ssh issuers.toml deploy@10.0.0.7:22 server_key.pub login_key entries.jsonl
//! 127.0.0.1:40123 ssh-ed25519 AAAA…
//! $ ssh -p 40123 deploy+main@127.0.0.1 uptime      # the token is the password
//! ```
use std::{error::Error, fs::File, fs::read_to_string, future::pending, io::Write, sync::Arc};

use policy::{Command, Subject, Verdict};
use tokio::net::TcpListener;

/// Our policy: people may do what the server lets them; programs may only run what is understood.
struct Understood;

impl gate::Judge for Understood {
    fn judge(&self, subject: &Subject<'_>, command: &Command<'_>) -> Verdict {
        let known = command.actions.iter().all(|a| matches!(a.class, "execute" | "session"));
        if subject.kind == "human" || known {
            return Verdict::Allow { rule: "understood".into() };
        }
        Verdict::Deny { rule: "understood".into(), reason: Some("write it plainly".into()) }
    }
    fn digest(&self) -> &str {
        "understood 1" // what the record says judged: a version, if it is no file
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [issuers, server, host_key, login_key, entries] = args.as_slice() else {
        return Err("usage: embed_ssh ISSUERS.toml LOGIN@HOST:PORT HOST_KEY KEY ENTRIES".into());
    };
    let issuers: identity::Config = toml::from_str(&read_to_string(issuers)?)?;
    let verifier = identity::Verifier::new(&issuers, identity::HttpFetcher::new(&issuers)?)?;
    let mut file = File::options().create(true).append(true).open(entries)?;
    let journal = gate::JsonLines::start(move |lines| {
        file.write_all(lines)?;
        file.sync_data() // only what is durable counts as recorded
    })?;
    let gate = gate::Gate::new(Arc::new(verifier), Arc::new(Understood), Arc::new(journal));

    let (login, place) = server.split_once('@').ok_or("LOGIN@HOST:PORT, please")?;
    let (host, port) = place.rsplit_once(':').ok_or("LOGIN@HOST:PORT, please")?;
    let key = ssh::SecretKey::parse(&read_to_string(login_key)?)?;
    let upstream = ssh::Upstream::by_key(host, port.parse()?, &read_to_string(host_key)?, key)?;
    let main = gate::Target::new("main", masking::Policy::empty());
    let mut target = ssh::Target::new(Arc::new(main), upstream, login);
    Arc::make_mut(&mut target.rules).allow.exec = true; // and nothing else: no shell, no forwarding
    let (own, listener) = (ssh::SecretKey::generate()?, TcpListener::bind("127.0.0.1:0").await?);
    println!("{} {}", listener.local_addr()?, own.public().to_line()?);
    let proxy = ssh::Proxy::new(gate, ssh::Config::new(vec![Arc::new(target)], own));
    loop {
        let ((tcp, peer), proxy) = (listener.accept().await?, proxy.clone());
        tokio::spawn(async move { proxy.serve(tcp, peer, pending()).await });
    }
}
