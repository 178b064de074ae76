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
/// Most questions answered in a login.
const MAX_QUESTIONS: usize = 4;

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
    pub token: &'a Secret,
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
    let traded = timeout(TIMEOUT, trade(wish));
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
    log_in(&mut handle, wish.token).await?;
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
        _ => {
            let told = String::from_utf8_lossy(&err);
            // It goes to a terminal: a proxy's words can't move its cursor.
            let plain = told.trim().chars().filter(|c| !c.is_control() || *c == '\n');
            Err(ObtainError::Refused(plain.collect()))
        }
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
