//! The demonstration for SSH: a small server, and the proxy in front.

mod script;
mod target;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::ssh::{
    Allow, Authority, ChannelRules, Config, Credential, HostTrust, LoginRule, SecretKey, Target,
    Upstream,
};
use gate::{Durability, RecordingLevel};
use trail::Exchange;

use self::target::LittleServer;
use crate::show::PROGRAM;
use crate::stage::masking;
use crate::{DemoError, proof};

pub use self::script::Said;
pub(crate) use self::script::play;

/// The target's name, which clients write behind `+`.
const TARGET: &str = "web1";
/// The account on it.
pub(crate) const LOGIN: &str = "demo";
/// How long connecting to the target may take.
const CONNECTING: Duration = Duration::from_secs(10);
/// How long a certificate serves.
const LIFETIME: Duration = Duration::from_secs(600);

/// What agents and people may do.
pub(crate) const POLICY: &str = r#"
[[rule]]
name = "nobody-deletes"
effect = "deny"
when = { resources = ["rm *"] }
reason = "files are deleted by a deployment"

[[rule]]
name = "agents-are-understood"
effect = "deny"
principals = { kind = "agent" }
when = { class = ["unknown"] }
reason = "an agent writes its command plainly"

[[rule]]
name = "agents-run-commands"
effect = "allow"
principals = { kind = "agent", delegated = true }
when = { class = ["session", "read", "execute"] }

[[rule]]
name = "people-work"
effect = "allow"
principals = { kind = "human" }
when = { class = ["session", "read", "write", "execute", "shell"] }
"#;

/// What clients and the record see of cards, mailboxes and telephone numbers.
const MASKING: &str = r#"
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

/// What is behind the proxy, and the proxy's own keys.
#[derive(Debug)]
pub(crate) struct Behind {
    /// In words.
    pub(crate) words: String,
    server: LittleServer,
    host_key: SecretKey,
    authority: SecretKey,
}

impl Behind {
    pub(crate) async fn set() -> Result<Self, DemoError> {
        let server = LittleServer::start().await?;
        Ok(Behind {
            words: format!("embedded SSH server, 127.0.0.1:{}", server.port),
            server,
            host_key: SecretKey::generate()?,
            authority: SecretKey::generate()?,
        })
    }

    /// What the proxy in front is made of.
    pub(crate) fn proxy(&self) -> Result<Config, DemoError> {
        let target = Target {
            gate: Arc::new(gate::Target {
                name: TARGET.into(),
                recording: RecordingLevel::Full,
                durability: Durability::BeforeExecute,
                masking: masking(MASKING)?,
                operations: None,
            }),
            upstream: Upstream {
                host: "127.0.0.1".into(),
                port: self.server.port,
                trust: HostTrust { keys: vec![self.server.host_key.clone()], authorities: vec![] },
                credential: Credential::Key(self.server.client_key.clone()),
            },
            logins: vec![LoginRule {
                logins: vec![LOGIN.into()],
                default: Some(LOGIN.into()),
                ..LoginRule::default()
            }],
            rules: Arc::new(ChannelRules {
                allow: Allow { exec: true, shell: true, ..Allow::default() },
                env: vec!["LANG".into(), "LC_*".into()],
                ..ChannelRules::default()
            }),
            connect_timeout: CONNECTING,
        };
        let mut config = Config::new(vec![Arc::new(target)], self.host_key.clone());
        config.authority = Some(Authority {
            key: self.authority.clone(),
            trusted: Vec::new(),
            lifetime: LIFETIME,
        });
        Ok(config)
    }

    /// How to try it, as lines for a shell. Writes the files that they name.
    pub(crate) fn try_it(
        &self,
        port: u16,
        token: &str,
        dir: &Path,
    ) -> Result<Vec<String>, DemoError> {
        let (known, file, key) = (dir.join("known_hosts"), dir.join("token"), dir.join("agent"));
        fs::write(&known, format!("[127.0.0.1]:{port} {}\n", self.host_key.public().to_line()?))?;
        let mut private = fs::OpenOptions::new();
        private.write(true).create_new(true).mode(0o600);
        private.open(&file)?.write_all(token.as_bytes())?;
        let (known, file, key) = (known.display(), file.display(), key.display());
        Ok(vec![
            format!(
                "{PROGRAM} ssh-cert --gateway 127.0.0.1:{port} --known-hosts '{known}' \
                 --token-file '{file}' --identity '{key}'"
            ),
            format!(
                "ssh -F none -p {port} -i '{key}' -o IdentitiesOnly=yes \
                 -o UserKnownHostsFile='{known}' {LOGIN}+{TARGET}@127.0.0.1 cat customers.csv"
            ),
        ])
    }
}

/// A command of the agent for alice, and whether it ran; a terminal of the person's as `shell`.
fn done(exchange: &Exchange) -> Option<(String, bool)> {
    let ran = exchange.outcome_word() == "ok";
    let is_persons = exchange.principal.kind == "human" && exchange.principal.subject == "bob";
    match &*exchange.via {
        "exec" if proof::is_agents(&exchange.principal) => {
            Some((exchange.text.clone().unwrap_or_default(), ran))
        }
        "shell" if is_persons => Some(("shell".to_owned(), ran)),
        _ => None,
    }
}
