//! What an agent and a person do, through a real client library, and what they must get.

use std::sync::Arc;
use std::time::Duration;

use ::ssh::obtain::{Proof, Wish, certificate};
use ::ssh::{HostTrust, PublicKey, SecretKey};
use identity::Secret;
use russh::client::{self, Handle, KeyboardInteractiveAuthResponse as Answer};
use russh::keys::{Certificate, PublicKeyOrCertificate};
use russh::{ChannelMsg, Disconnect};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::target::private;
use super::{Behind, LOGIN, TARGET, done};
use crate::data;
use crate::stage::Stage;
use crate::{Check, DemoError, Event, Narrator, Played};

/// How long the tokens are good for.
const TOKEN_LIFETIME: Duration = Duration::from_secs(300);
/// How long one command may take.
const TAKING: Duration = Duration::from_secs(20);
/// How long a connection may take to end; one that is asked something may not end by itself.
const LEAVING: Duration = Duration::from_secs(1);
/// The longest answer kept, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;
/// The customer whose line is looked at.
const CUSTOMER: u32 = 3;

/// What a client got for a command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Said {
    /// Standard output, or what a terminal showed.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// The exit status, if one came.
    pub status: Option<u32>,
}

struct Player<'a> {
    stage: &'a Stage,
    host_key: PublicKey,
    narrator: &'a mut dyn Narrator,
    played: Played,
}

pub(crate) async fn play(
    stage: &Stage,
    behind: &Behind,
    narrator: &mut dyn Narrator,
) -> Result<Played, DemoError> {
    let customers = data::customers();
    let secrets = customers.into_iter().flat_map(|c| [c.card, c.email, c.phone]);
    let (noun, statements, secrets) = ("command", Vec::new(), secrets.collect());
    let played = Played { noun, done, statements, secrets };
    let mut player = Player { stage, host_key: behind.host_key.public(), narrator, played };
    player.agent().await?;
    player.person().await?;
    player.expired().await?;
    Ok(player.played)
}

impl Player<'_> {
    /// An agent that acts for a person, with a token in place of a password.
    async fn agent(&mut self) -> Result<(), DemoError> {
        self.narrator.tell(&Event::Part { title: "The agent works, for alice" });
        let token = self.stage.agent_token(TOKEN_LIFETIME)?;
        let mut handle = self.connect().await?;
        let let_in = handle.authenticate_password(user(), token).await?.success();
        self.check("a token in place of a password lets the agent in", let_in);
        if !let_in {
            return Err(DemoError::Lost("the agent is not let in".into()));
        }
        let whoami = self.exec(&handle, "whoami", true).await?;
        self.check("the target knows its own account only", whoami.out.trim() == LOGIN);

        let customers = data::customers();
        let of_interest = customers.into_iter().find(|c| c.id == CUSTOMER);
        let customer =
            of_interest.ok_or_else(|| DemoError::Settings("there are no customers".into()))?;
        let shown = self.exec(&handle, "cat customers.csv", true).await?.out;
        let line = shown.lines().find(|line| line.contains(customer.name)).unwrap_or_default();
        let last_digits: String = customer.card.chars().skip(15).collect();
        let clear = self.played.secrets.iter().any(|secret| shown.contains(secret.as_str()));
        self.check(
            "cards, e-mails and telephone numbers are masked on their way",
            line.contains(&last_digits) && !clear,
        );

        for line in ["rm -rf /", "sh -c 'ls; rm -rf /'"] {
            let said = self.exec(&handle, line, false).await?;
            let held = said.status == Some(126) && said.err.contains("nobody-deletes");
            self.check(&format!("{line} is denied by nobody-deletes, exit status 126"), held);
        }
        let said = self.exec(&handle, "eval \"$(cat motd)\"", false).await?;
        let held = said.status == Some(126) && said.err.contains("agents-are-understood");
        self.check("what can't be understood is denied, too", held);

        let left = self.exec(&handle, "ls", true).await?;
        let held = left.out == "customers.csv\nmotd\n" && left.status == Some(0);
        self.check("every file is still there, and the connection goes on", held);
        bye(handle).await;
        Ok(())
    }

    /// A person, who trades a token for a certificate and opens a terminal.
    async fn person(&mut self) -> Result<(), DemoError> {
        self.narrator.tell(&Event::Part { title: "A person, bob, opens a terminal" });
        let token = Secret::from(self.stage.person_token("bob", TOKEN_LIFETIME)?);
        let key = SecretKey::generate()?;
        let wish = Wish {
            host: "127.0.0.1",
            port: self.stage.port,
            trust: HostTrust { keys: vec![self.host_key.clone()], authorities: vec![] },
            proof: Proof::Token(&token),
            key: &key.public(),
            names: &[user()],
        };
        let certified = certificate(&wish).await?;
        let line = certified.to_line()?;
        let certified = Certificate::from_openssh(&line).map_err(DemoError::settings)?;
        let mut handle = self.connect().await?;
        let key = Arc::new(private(&key)?);
        let let_in = handle.authenticate_openssh_cert(user(), key, certified).await?.success();
        self.check("a certificate that a token bought lets bob in", let_in);
        if !let_in {
            return Err(DemoError::Lost("bob is not let in".into()));
        }
        self.narrator.tell(&Event::Sent { sql: "(a terminal)", values: &[] });
        let mut channel = handle.channel_open_session().await?;
        channel.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await?;
        channel.request_shell(true).await?;
        channel.data(&b"whoami\rls\rexit\r"[..]).await?;
        let said = timeout(TAKING, listen(&mut channel)).await?;
        self.narrator.tell(&Event::Said(&said));
        self.played.statements.push(("shell".into(), said.status == Some(0)));
        let held = said.out.contains("\ndemo\r") && said.out.contains("customers.csv\r");
        self.check("the terminal works, and shows what was typed and said", held);
        bye(handle).await;
        Ok(())
    }

    /// The agent comes back with a token that has ended.
    async fn expired(&mut self) -> Result<(), DemoError> {
        self.narrator
            .tell(&Event::Part { title: "The agent comes back with a token that expired" });
        let token = self.stage.expired_token()?;
        let mut handle = self.connect().await?;
        let mut answer = handle.authenticate_keyboard_interactive_start(user(), None).await?;
        if let Answer::InfoRequest { .. } = answer {
            answer = handle.authenticate_keyboard_interactive_respond(vec![token]).await?;
        }
        let refused = matches!(answer, Answer::Failure { .. });
        // The next prompt says why.
        let mut said = Said::default();
        if let Answer::InfoRequest { instructions, .. } =
            handle.authenticate_keyboard_interactive_start(user(), None).await?
        {
            said.err = instructions;
        }
        self.narrator.tell(&Event::Said(&said));
        let held = refused && said.err.contains("expired");
        self.check("an expired token opens no session", held);
        bye(handle).await;
        Ok(())
    }

    async fn connect(&self) -> Result<Handle<Pinned>, DemoError> {
        let tcp = TcpStream::connect(("127.0.0.1", self.stage.port)).await?;
        let config = Arc::new(client::Config { nodelay: true, ..client::Config::default() });
        Ok(client::connect_stream(config, tcp, Pinned(self.host_key.clone())).await?)
    }

    /// Runs a command. `runs`: whether it is expected to.
    async fn exec(
        &mut self,
        handle: &Handle<Pinned>,
        line: &str,
        runs: bool,
    ) -> Result<Said, DemoError> {
        self.narrator.tell(&Event::Sent { sql: line, values: &[] });
        let mut channel = handle.channel_open_session().await?;
        channel.exec(true, line).await?;
        let said = timeout(TAKING, listen(&mut channel)).await?;
        self.narrator.tell(&Event::Said(&said));
        self.played.statements.push((line.to_owned(), runs));
        Ok(said)
    }

    fn check(&mut self, name: &str, held: bool) {
        self.narrator.check(Check { name: name.to_owned(), held });
    }
}

/// `demo+web1`.
fn user() -> String {
    format!("{LOGIN}+{TARGET}")
}

/// Everything that a channel says until it ends.
async fn listen(channel: &mut russh::Channel<client::Msg>) -> Said {
    let (mut out, mut err, mut status) = (Vec::new(), Vec::new(), None);
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } if out.len() < MAX_ANSWER => out.extend_from_slice(&data),
            ChannelMsg::ExtendedData { data, .. } if err.len() < MAX_ANSWER => {
                err.extend_from_slice(&data);
            }
            ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
            _ => {}
        }
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { out: text(&out), err: text(&err), status }
}

async fn bye(handle: Handle<Pinned>) {
    // What is left of the connection is of no use to anybody.
    let _sent = handle.disconnect(Disconnect::ByApplication, "", "").await;
    let _ended = timeout(LEAVING, handle).await;
}

/// A client that talks to one proxy only.
struct Pinned(PublicKey);

impl client::Handler for Pinned {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else { return Ok(false) };
        let key = key.to_openssh().ok().and_then(|line| PublicKey::parse(&line).ok());
        Ok(key.as_ref() == Some(&self.0))
    }
}
