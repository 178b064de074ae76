//! A small SSH server whose commands are pretended: nothing of this machine is shown or run.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::ssh::{PublicKey, SecretKey};
use russh::keys::PrivateKey;
use russh::server::{
    self, Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, Pty};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::{LOGIN, TARGET};
use crate::{DemoError, data};

/// The longest line that is typed, in bytes; what is longer is dropped.
const MAX_LINE: usize = 1024;
/// Most channels of a connection.
const MAX_CHANNELS: usize = 64;
/// What the shell shows when it waits.
const PROMPT: &str = "demo@web1:~$ ";

/// The server. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct LittleServer {
    pub(crate) port: u16,
    /// What it is known by.
    pub(crate) host_key: PublicKey,
    /// What it lets in: this key, as the one account that there is.
    pub(crate) client_key: SecretKey,
    task: JoinHandle<()>,
}

impl Drop for LittleServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl LittleServer {
    pub(crate) async fn start() -> Result<Self, DemoError> {
        let (host, client_key) = (SecretKey::generate()?, SecretKey::generate()?);
        let config = Arc::new(server::Config {
            keys: vec![private(&host)?],
            auth_rejection_time: Duration::from_millis(100),
            nodelay: true,
            ..server::Config::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let accepted = client_key.public();
        let files = Files::default();
        let task = tokio::spawn(async move {
            let mut sessions = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                while sessions.try_join_next().is_some() {}
                let visitor = Visitor {
                    accepted: accepted.clone(),
                    files: files.clone(),
                    shells: HashMap::new(),
                    channels: 0,
                };
                let config = config.clone();
                sessions.spawn(async move {
                    // A proxy that goes away is no concern of the target's.
                    if let Ok(running) = server::run_stream(config, tcp, visitor).await {
                        let _gone = running.await;
                    }
                });
            }
        });
        Ok(LittleServer { port, host_key: host.public(), client_key, task })
    }
}

/// The key as russh wants it.
pub(super) fn private(key: &SecretKey) -> Result<PrivateKey, DemoError> {
    let text = key.expose()?;
    russh::keys::decode_secret_key(text.expose(), None).map_err(DemoError::settings)
}

/// The pretended files, by name.
#[derive(Debug, Clone)]
struct Files(Arc<Mutex<BTreeMap<String, String>>>);

impl Default for Files {
    fn default() -> Self {
        let mut csv = String::from("id,name,email,card,phone\n");
        for person in data::customers() {
            let data::Customer { id, name, email, card, phone } = person;
            csv.push_str(&format!("{id},{name},{email},{card},{phone}\n"));
        }
        let files = [("customers.csv", csv), ("motd", "Welcome to web1.\n".to_owned())];
        let files = files.map(|(name, text)| (name.to_owned(), text));
        Files(Arc::new(Mutex::new(files.into())))
    }
}

/// What a command says, and how it ends.
struct Ended {
    out: String,
    err: String,
    status: u32,
}

fn said(out: impl Into<String>) -> Ended {
    Ended { out: out.into(), err: String::new(), status: 0 }
}

fn failed(err: String, status: u32) -> Ended {
    Ended { out: String::new(), err, status }
}

impl Files {
    /// Runs a line of plain words. This is no shell: nothing is quoted, joined or substituted.
    fn run(&self, line: &str) -> Ended {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match words.as_slice() {
            [] => said(""),
            ["whoami"] => said(format!("{LOGIN}\n")),
            ["hostname"] => said(format!("{TARGET}\n")),
            ["echo", rest @ ..] => said(format!("{}\n", rest.join(" "))),
            ["ls"] => said(files.keys().map(|name| format!("{name}\n")).collect::<String>()),
            ["cat", name] => match files.get(*name) {
                Some(text) => said(text.clone()),
                None => failed(format!("cat: {name}: No such file or directory\n"), 1),
            },
            ["rm", "-rf", "/" | "/*"] => {
                files.clear();
                said("")
            }
            ["rm", name] if files.remove(*name).is_some() => said(""),
            ["rm", ..] => failed("rm: No such file or directory\n".into(), 1),
            ["help"] => said("whoami, hostname, echo, ls, cat FILE, rm FILE, exit\n"),
            [word, ..] => failed(format!("sh: {word}: not found (try help)\n"), 127),
        }
    }
}

/// A shell that waits for a line.
#[derive(Default)]
struct Shell {
    terminal: bool,
    line: Vec<u8>,
    status: u32,
}

/// One connection.
struct Visitor {
    accepted: PublicKey,
    files: Files,
    shells: HashMap<ChannelId, Shell>,
    channels: usize,
}

impl Visitor {
    fn knows(&self, user: &str, key: &russh::keys::PublicKey) -> bool {
        let shown = key.to_openssh().ok().and_then(|line| PublicKey::parse(&line).ok());
        user == LOGIN && shown.as_ref() == Some(&self.accepted)
    }

    /// Takes what was typed; `true` if the shell ends by it.
    fn typed(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<bool, russh::Error> {
        let Some(shell) = self.shells.get_mut(&channel) else { return Ok(false) };
        let mut shown = String::new();
        for byte in data {
            match byte {
                b'\r' | b'\n' => {
                    let line = String::from_utf8_lossy(&shell.line).into_owned();
                    shell.line.clear();
                    if shell.terminal {
                        shown.push('\n');
                    }
                    match line.split_ascii_whitespace().next() {
                        Some("exit" | "logout") => {
                            show(channel, shell, &shown, session)?;
                            return Ok(true);
                        }
                        _ => {
                            let result = self.files.run(&line);
                            shell.status = result.status;
                            shown.push_str(&result.out);
                            shown.push_str(&result.err);
                        }
                    }
                    if shell.terminal {
                        shown.push_str(PROMPT);
                    }
                }
                0x03 => {
                    shell.line.clear();
                    shown.push_str("^C\n");
                    shown.push_str(PROMPT);
                }
                0x04 if shell.line.is_empty() => {
                    show(channel, shell, &shown, session)?;
                    return Ok(true);
                }
                0x08 | 0x7f if shell.line.pop().is_some() => shown.push_str("\x08 \x08"),
                0x08 | 0x7f => {}
                0x20.. if shell.line.len() < MAX_LINE => {
                    shell.line.push(*byte);
                    if shell.terminal && byte.is_ascii() {
                        shown.push(char::from(*byte));
                    }
                }
                _ => {}
            }
        }
        show(channel, shell, &shown, session)?;
        Ok(false)
    }

    fn end(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        let status = self.shells.remove(&channel).map_or(0, |shell| shell.status);
        finish(channel, status, session)
    }
}

fn show(
    channel: ChannelId,
    shell: &Shell,
    text: &str,
    session: &mut Session,
) -> Result<(), russh::Error> {
    if text.is_empty() {
        return Ok(());
    }
    let text = if shell.terminal { text.replace('\n', "\r\n") } else { text.to_owned() };
    session.data(channel, text.into_bytes())
}

fn finish(channel: ChannelId, status: u32, session: &mut Session) -> Result<(), russh::Error> {
    session.exit_status_request(channel, status)?;
    session.eof(channel)?;
    session.close(channel)
}

impl Handler for Visitor {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        let known = self.knows(user, offer.public_key);
        Ok(if known { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        let known = self.knows(user, key.public_key);
        Ok(if known { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        // The events come to this handler, too; the channel's own queue is not read.
        drop(channel);
        if self.channels < MAX_CHANNELS {
            self.channels += 1;
            reply.accept().await;
        }
        Ok(())
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.shells.remove(&channel);
        self.channels = self.channels.saturating_sub(1);
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.shells.insert(channel, Shell { terminal: true, ..Shell::default() });
        session.channel_success(channel)
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(channel)?;
        let shell = self.shells.entry(channel).or_default();
        let greeting = if shell.terminal { PROMPT } else { "" };
        show(channel, shell, greeting, session)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        line: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(channel)?;
        self.shells.remove(&channel);
        let result = self.files.run(&String::from_utf8_lossy(line));
        if !result.out.is_empty() {
            session.data(channel, result.out.into_bytes())?;
        }
        if !result.err.is_empty() {
            session.extended_data(channel, 1, result.err.into_bytes())?;
        }
        finish(channel, result.status, session)
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(channel)
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.typed(channel, data, session)? {
            self.end(channel, session)?;
        }
        Ok(())
    }

    async fn channel_eof(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.shells.contains_key(&channel) {
            self.end(channel, session)?;
        }
        Ok(())
    }
}
