//! The target's leg: connect, know the host, log in; whole packets afterwards.

use std::borrow::Cow;
use std::sync::Arc;

use russh::client::{self, AuthResult, DisconnectReason, Handle};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Preferred, SshId};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::cert;
use crate::keys::{ALGORITHMS, KeyError, SecretKey};
use crate::login::now;
use crate::server::{
    INACTIVITY, INBOX_PACKETS, OUTBOX_PACKETS, REKEY_BYTES, REKEY_TIME, VERSION, preferred,
};
use crate::stream::{Guarded, Switch};
use crate::target::{Credential, HostTrust, Target};

/// A target that let us in.
pub(crate) struct Connected {
    pub(crate) handle: Handle<Handler>,
    /// Its packets of the connection layer.
    pub(crate) inbox: mpsc::Receiver<Vec<u8>>,
    pub(crate) switch: Switch,
    /// Why its transport failed, once it has.
    pub(crate) gone: oneshot::Receiver<HandlerError>,
}

/// Why a target can't be used. None of it is the client's fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("it can't be reached: {0}")]
    Unreachable(std::io::Error),
    #[error("it did not answer in time")]
    TimedOut,
    #[error("its host key is not the one that is configured ({0})")]
    HostKey(String),
    #[error("it does not let greffier log in as {0}")]
    LoginRefused(String),
    #[error("a certificate for it could not be made: {0}")]
    Certificate(#[from] KeyError),
    #[error("{0}")]
    Protocol(HandlerError),
}

/// What ends a connection to a target.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandlerError {
    #[error(transparent)]
    Russh(#[from] russh::Error),
    #[error("host key {0}")]
    HostKey(String),
}

impl From<HandlerError> for UpstreamError {
    fn from(error: HandlerError) -> Self {
        match error {
            HandlerError::HostKey(shown) => UpstreamError::HostKey(shown),
            HandlerError::Russh(russh::Error::NoCommonAlgo { kind, theirs, .. }) => {
                UpstreamError::HostKey(format!("no common {kind:?}; it offers {theirs:?}"))
            }
            other => UpstreamError::Protocol(other),
        }
    }
}

impl From<russh::Error> for UpstreamError {
    fn from(error: russh::Error) -> Self {
        HandlerError::from(error).into()
    }
}

/// Connects to a target and logs in.
pub(crate) async fn connect(
    target: &Target,
    login: &str,
    session: &str,
) -> Result<Connected, UpstreamError> {
    timeout(target.connect_timeout, log_in(target, login, session))
        .await
        .map_err(|_| UpstreamError::TimedOut)?
}

async fn log_in(target: &Target, login: &str, session: &str) -> Result<Connected, UpstreamError> {
    let upstream = &target.upstream;
    let tcp = TcpStream::connect((&*upstream.host, upstream.port))
        .await
        .map_err(UpstreamError::Unreachable)?;
    let (stream, switch) = Guarded::new(tcp);
    let (packets, inbox) = mpsc::channel(INBOX_PACKETS);
    let (tell, gone) = oneshot::channel();
    let (trust, host) = (upstream.trust.clone(), upstream.host.clone());
    let handler = Handler { trust, host, packets, gone: Some(tell) };
    // Dropped on the way, the connection must not live on by itself.
    let mut guard = Guard(Some(switch));
    let mut handle =
        client::connect_stream(Arc::new(config(&upstream.trust)), stream, handler).await?;
    let answer = authenticate(&mut handle, &upstream.credential, login, session).await?;
    if !answer.success() {
        return Err(UpstreamError::LoginRefused(login.to_owned()));
    }
    match guard.0.take() {
        Some(switch) => {
            switch.logged_in();
            Ok(Connected { handle, inbox, switch, gone })
        }
        None => Err(UpstreamError::TimedOut),
    }
}

struct Guard(Option<Switch>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(switch) = &self.0 {
            switch.off();
        }
    }
}

async fn authenticate(
    handle: &mut Handle<Handler>,
    credential: &Credential,
    login: &str,
    session: &str,
) -> Result<AuthResult, UpstreamError> {
    Ok(match credential {
        Credential::Key(key) => {
            let key = PrivateKeyWithHashAlg::new(key.0.clone(), None);
            handle.authenticate_publickey(login, key).await?
        }
        Credential::Certificate { authority, lifetime } => {
            let key = SecretKey::generate()?;
            let public = key.public();
            let certificate =
                cert::mint_upstream(authority, &public, login, session, now(), *lifetime)?;
            handle.authenticate_openssh_cert(login, key.0, certificate).await?
        }
        Credential::Password(password) => {
            handle.authenticate_password(login, password.expose()).await?
        }
    })
}

fn config(trust: &HostTrust) -> client::Config {
    let certificates = if trust.authorities.is_empty() { &[][..] } else { ALGORITHMS };
    client::Config {
        client_id: SshId::Standard(VERSION.into()),
        limits: russh::Limits::new(REKEY_BYTES, REKEY_BYTES, REKEY_TIME),
        window_size: u32::MAX / 4,
        channel_buffer_size: OUTBOX_PACKETS,
        preferred: Preferred {
            host_key_certificates: Cow::Borrowed(certificates),
            ..pinned(trust)
        },
        inactivity_timeout: Some(INACTIVITY),
        keepalive_interval: None,
        ..client::Config::default()
    }
}

/// A server has several host keys and shows the first that we ask for: so the types that are
/// pinned come first.
pub(crate) fn pinned(trust: &HostTrust) -> Preferred {
    let is_pinned = |a: &russh::keys::Algorithm| trust.keys.iter().any(|k| k.0.algorithm() == *a);
    let (first, then): (Vec<_>, Vec<_>) = ALGORITHMS.iter().cloned().partition(is_pinned);
    Preferred { key: Cow::Owned([first, then].concat()), ..preferred() }
}

impl HostTrust {
    /// Whether the host that shows this is to be believed.
    pub(crate) fn check(
        &self,
        shown: &PublicKeyOrCertificate,
        host: &str,
    ) -> Result<bool, HandlerError> {
        let trusted = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                self.keys.iter().any(|pinned| pinned.is(key.key_data()))
            }
            PublicKeyOrCertificate::Certificate(certificate) => {
                cert::is_host(certificate, &self.authorities, host, now())
            }
        };
        if trusted {
            return Ok(true);
        }
        let fingerprint = shown.public_key().fingerprint(russh::keys::HashAlg::Sha256);
        Err(HandlerError::HostKey(format!("it shows {fingerprint}")))
    }
}

/// One connection to a target, as russh calls it.
pub(crate) struct Handler {
    trust: HostTrust,
    host: String,
    packets: mpsc::Sender<Vec<u8>>,
    gone: Option<oneshot::Sender<HandlerError>>,
}

impl client::Handler for Handler {
    type Error = HandlerError;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, HandlerError> {
        self.trust.check(shown, &self.host)
    }

    fn owns_connection_layer(&self) -> bool {
        true
    }

    async fn connection_packet(&mut self, packet: Vec<u8>) -> Result<(), HandlerError> {
        self.packets.send(packet).await.map_err(|_| russh::Error::Disconnect.into())
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<HandlerError>,
    ) -> Result<(), HandlerError> {
        if let (DisconnectReason::Error(error), Some(gone)) = (reason, self.gone.take()) {
            // Who ended the connection does not listen any more.
            let _over = gone.send(error);
        }
        Ok(())
    }
}
