//! The client's side of trading a token for a certificate.

use std::sync::Arc;
use std::time::Duration;

use identity::Secret;
use russh::client::{self, Handle, KeyboardInteractiveAuthResponse as Answer};
use russh::keys::{Certificate, PublicKeyOrCertificate};
use russh::{ChannelMsg, Disconnect};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cert;
use crate::client::{HandlerError, UpstreamError, pinned};
use crate::keys::{KeyError, PublicKey};
use crate::login::CERTIFICATES;
use crate::target::HostTrust;

/// How long it may take, from connecting to the certificate.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer read, in bytes: certificates of this authority are below 8 KiB.
const MAX_ANSWER: usize = 64 * 1024;
/// How long it may take if a person is to log in with a browser.
const BROWSER_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Most questions answered in a login by token.
const MAX_QUESTIONS: usize = 4;
/// Most rounds of a login by browser; each takes a second at least, unless the proxy errs.
const MAX_ROUNDS: usize = 1000;
/// The longest instructions shown, in bytes.
const MAX_INSTRUCTIONS: usize = 4096;

/// How to say who is asking.
#[derive(Clone, Copy)]
pub enum Proof<'a> {
    /// By a token.
    Token(&'a Secret),
    /// By a browser, if the proxy has a login by device flow: this is called with what the person
    /// is to do there, as lines without control characters.
    Browser(&'a (dyn Fn(&str) + Sync)),
}

impl std::fmt::Debug for Proof<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Proof::Token(_) => "Token(***)",
            Proof::Browser(_) => "Browser",
        })
    }
}

/// What to ask, and where.
#[derive(Debug)]
pub struct Wish<'a> {
    /// The proxy's name or address.
    pub host: &'a str,
    /// Its TCP port.
    pub port: u16,
    /// How to know that it is the one. A token goes to nobody else.
    pub trust: HostTrust,
    /// Who is asking.
    pub proof: Proof<'a>,
    /// The key that the certificate is for.
    pub key: &'a PublicKey,
    /// The user names it is for, `LOGIN+TARGET`; none: every target.
    pub names: &'a [String],
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum ObtainError {
    /// The proxy can't be reached, or is another one: the network's fault, or somebody's.
    #[error("{0}")]
    Gateway(String),
    /// The proxy let nobody in with this token.
    #[error("the token was refused")]
    Token,
    /// The proxy has no login by browser, or nobody was let in by it.
    #[error("nobody was let in by browser")]
    Browser,
    /// The proxy's own words.
    #[error("{0}")]
    Refused(String),
    /// What came is no certificate for the key.
    #[error("what came is no certificate for this key")]
    Answer,
    /// The key can't be written as text.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl From<russh::Error> for ObtainError {
    fn from(error: russh::Error) -> Self {
        ObtainError::Gateway(error.to_string())
    }
}

/// A certificate that lets its holder in.
#[derive(Debug, Clone)]
pub struct UserCertificate(Certificate);

impl UserCertificate {
    /// Reads one line of OpenSSH's format.
    ///
    /// # Errors
    /// [`KeyError`]; also for a host's certificate.
    pub fn parse(line: &str) -> Result<Self, KeyError> {
        let certificate = Certificate::from_openssh(line.trim())
            .map_err(|error| KeyError::Unreadable(error.to_string()))?;
        if !certificate.cert_type().is_user() {
            return Err(KeyError::Unreadable("it is a host's certificate".into()));
        }
        Ok(UserCertificate(certificate))
    }

    /// The one line of OpenSSH's format.
    ///
    /// # Errors
    /// [`KeyError::Unreadable`] if it can't be written.
    pub fn to_line(&self) -> Result<String, KeyError> {
        let line = self.0.to_openssh().map_err(|e| KeyError::Unreadable(e.to_string()))?;
        Ok(line.trim_end().to_owned())
    }

    /// Until when it serves, in seconds since 1970.
    #[must_use]
    pub fn valid_before(&self) -> u64 {
        self.0.valid_before()
    }

    /// Whether it is for this key and serves for these user names (none: for every target).
    #[must_use]
    pub fn serves(&self, key: &PublicKey, names: &[String]) -> bool {
        let has = |name: &str| self.0.valid_principals().iter().any(|p| p == name);
        let all = has(cert::ANY_TARGET);
        key.is(self.0.public_key()) && (all || !names.is_empty() && names.iter().all(|n| has(n)))
    }
}

/// Trades a token for a certificate.
///
/// # Errors
/// [`ObtainError`].
pub async fn certificate(wish: &Wish<'_>) -> Result<UserCertificate, ObtainError> {
    let limit = match wish.proof {
        Proof::Token(_) => TIMEOUT,
        Proof::Browser(_) => BROWSER_TIMEOUT,
    };
    let traded = timeout(limit, trade(wish));
    traded.await.map_err(|_| ObtainError::Gateway("it did not answer in time".into()))?
}

async fn trade(wish: &Wish<'_>) -> Result<UserCertificate, ObtainError> {
    let tcp = TcpStream::connect((wish.host, wish.port))
        .await
        .map_err(|error| ObtainError::Gateway(format!("it can't be reached: {error}")))?;
    let handler = Handler { trust: wish.trust.clone(), host: wish.host.to_owned() };
    let config = client::Config { preferred: pinned(&wish.trust), ..client::Config::default() };
    let connected = client::connect_stream(Arc::new(config), tcp, handler).await;
    let mut handle =
        connected.map_err(|error| ObtainError::Gateway(UpstreamError::from(error).to_string()))?;
    match wish.proof {
        Proof::Token(token) => log_in(&mut handle, token).await?,
        Proof::Browser(show) => by_browser(&mut handle, show).await?,
    }
    let mut line = format!("issue {}", wish.key.to_line()?);
    for name in wish.names {
        line.push(' ');
        line.push_str(name);
    }
    let answer = ask(&handle, line).await?;
    // What is left of the connection is of no use to anybody.
    let _closed = handle.disconnect(Disconnect::ByApplication, "", "").await;
    let certificate = UserCertificate::parse(&answer).map_err(|_| ObtainError::Answer)?;
    if !certificate.serves(wish.key, wish.names) {
        return Err(ObtainError::Answer);
    }
    Ok(certificate)
}

async fn log_in(handle: &mut Handle<Handler>, token: &Secret) -> Result<(), ObtainError> {
    let mut answer = handle.authenticate_keyboard_interactive_start(CERTIFICATES, None).await?;
    for _ in 0..MAX_QUESTIONS {
        match answer {
            Answer::Success => return Ok(()),
            Answer::Failure { .. } => return Err(ObtainError::Token),
            Answer::InfoRequest { prompts, .. } => {
                let answers = prompts.iter().map(|_| token.expose().to_owned()).collect();
                answer = handle.authenticate_keyboard_interactive_respond(answers).await?;
            }
        }
    }
    Err(ObtainError::Token)
}

/// Answers the first prompt with nothing and shows what the proxy then says, until somebody has
/// logged in.
async fn by_browser(
    handle: &mut Handle<Handler>,
    show: &(dyn Fn(&str) + Sync),
) -> Result<(), ObtainError> {
    let mut answer = handle.authenticate_keyboard_interactive_start(CERTIFICATES, None).await?;
    let mut begun = false;
    for _ in 0..MAX_ROUNDS {
        let (instructions, prompts) = match answer {
            Answer::Success => return Ok(()),
            Answer::Failure { .. } => break,
            Answer::InfoRequest { instructions, prompts, .. } => (instructions, prompts.len()),
        };
        if begun && prompts > 0 {
            break;
        }
        if !instructions.is_empty() {
            show(&plain(instructions.get(..MAX_INSTRUCTIONS).unwrap_or(&instructions)));
        }
        begun = true;
        let nothing = vec![String::new(); prompts.min(MAX_QUESTIONS)];
        answer = handle.authenticate_keyboard_interactive_respond(nothing).await?;
    }
    Err(ObtainError::Browser)
}

/// What goes to a terminal: a proxy's words can't move its cursor.
fn plain(told: &str) -> String {
    told.trim().chars().filter(|c| !c.is_control() || *c == '\n').collect()
}

/// Runs the one command, and gives what it printed.
async fn ask(handle: &Handle<Handler>, line: String) -> Result<String, ObtainError> {
    let mut channel = handle.channel_open_session().await?;
    channel.exec(true, line).await?;
    let (mut out, mut err, mut status) = (Vec::new(), Vec::new(), None);
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } => out.extend_from_slice(&data),
            ChannelMsg::ExtendedData { data, .. } => err.extend_from_slice(&data),
            ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
            _ => {}
        }
        if out.len() + err.len() > MAX_ANSWER {
            return Err(ObtainError::Answer);
        }
    }
    match status {
        Some(0) => String::from_utf8(out).map_err(|_| ObtainError::Answer),
        _ => Err(ObtainError::Refused(plain(&String::from_utf8_lossy(&err)))),
    }
}

/// The connection to the proxy, as russh calls it: only the host key matters.
struct Handler {
    trust: HostTrust,
    host: String,
}

impl client::Handler for Handler {
    type Error = HandlerError;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, HandlerError> {
        self.trust.check(shown, &self.host)
    }
}
