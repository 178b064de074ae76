//! The client's leg: russh up to the login, whole packets afterwards.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use identity::Secret;
use russh::keys::Certificate;
use russh::server::{self, Auth, PublicKeyOffer, Response, VerifiedPublicKey};
use russh::{Disconnect, MethodKind, MethodSet, Preferred, SshId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::browser::{Browser, Round};
use crate::keys::{ALGORITHMS, HostCertificate, SecretKey};
use crate::login::{Door, Entry, NotIn};
use crate::refusal;
use crate::stream::Switch;

/// What we call ourselves, to clients and to targets. It must begin with OpenSSH's name: OpenSSH
/// sends some of its extensions (`eow@openssh.com` among them) only to itself.
pub(crate) const VERSION: &str = "SSH-2.0-OpenSSH_9.9 greffier";
/// Packets of one leg that wait for the relay.
pub(crate) const INBOX_PACKETS: usize = 64;
/// Packets that wait for a leg's transport.
pub(crate) const OUTBOX_PACKETS: usize = 64;
/// Most attempts to log in. Agents offer all their keys; the login's deadline is the real bound.
const MAX_ATTEMPTS: usize = 20;
/// How long a refused attempt takes at least.
const REJECTION_TIME: Duration = Duration::from_secs(1);
/// A peer from which nothing was heard for so long, keepalives answered or not, is gone.
pub(crate) const INACTIVITY: Duration = Duration::from_secs(120);
/// Keys are changed after so many bytes (what russh allows at the most), and this much time.
pub(crate) const REKEY_BYTES: usize = 1 << 30;
pub(crate) const REKEY_TIME: Duration = Duration::from_secs(3600);

/// Algorithms, the same for both legs: nothing with SHA-1, no compression.
pub(crate) fn preferred() -> Preferred {
    use russh::cipher;
    Preferred {
        // Announced to clients too, as signatures that are taken.
        key: Cow::Borrowed(ALGORITHMS),
        cipher: Cow::Borrowed(&[
            cipher::AES_128_GCM,
            cipher::AES_256_GCM,
            cipher::CHACHA20_POLY1305,
            cipher::AES_256_CTR,
            cipher::AES_128_CTR,
        ]),
        compression: Cow::Borrowed(&[russh::compression::NONE]),
        ..Preferred::DEFAULT
    }
}

pub(crate) fn config(
    host_keys: &[SecretKey],
    certificate: Option<&HostCertificate>,
    door: &Door,
) -> server::Config {
    let keys = host_keys.iter().map(|key| (*key.0).clone()).collect();
    server::Config {
        server_id: SshId::Standard(VERSION.into()),
        methods: methods(door),
        auth_rejection_time: REJECTION_TIME,
        // OpenSSH asks which ways there are by trying none.
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys,
        certificates: certificate.iter().map(|c| c.0.clone()).collect(),
        limits: russh::Limits::new(REKEY_BYTES, REKEY_BYTES, REKEY_TIME),
        // Has no use where the connection layer is ours, but for bounding what may wait during a
        // change of keys.
        window_size: u32::MAX / 4,
        event_buffer_size: OUTBOX_PACKETS,
        preferred: preferred(),
        max_auth_attempts: MAX_ATTEMPTS,
        inactivity_timeout: Some(INACTIVITY),
        // The relay sends its own: the answers to ours and to russh's could not be told apart.
        keepalive_interval: None,
        ..server::Config::default()
    }
}

fn methods(door: &Door) -> MethodSet {
    let mut methods = MethodSet::empty();
    let ways = door.credentials;
    if ways.certificate && door.authority.is_some() {
        methods.push(MethodKind::PublicKey);
    }
    if ways.keyboard_interactive {
        methods.push(MethodKind::KeyboardInteractive);
    }
    if ways.password {
        methods.push(MethodKind::Password);
    }
    methods
}

/// One client's connection, as russh calls it.
pub(crate) struct Handler {
    door: Arc<Door>,
    peer: SocketAddr,
    switch: Switch,
    /// Whom the last accepted attempt let in. Nothing but a proof sets it.
    entry: Option<Entry>,
    entered: Option<oneshot::Sender<Entry>>,
    inbox: mpsc::Sender<Vec<u8>>,
    /// Why the last token was not taken: the next prompt says it.
    told: Option<String>,
    /// A login by browser that is under way.
    browser: Option<Browser>,
    /// When this connection ends if nobody has logged in.
    deadline: Instant,
    /// Of this connection's own transport, once it runs.
    transport: Arc<OnceLock<server::Handle>>,
}

impl Handler {
    pub(crate) fn new(
        door: Arc<Door>,
        peer: SocketAddr,
        switch: Switch,
        entered: oneshot::Sender<Entry>,
        inbox: mpsc::Sender<Vec<u8>>,
        deadline: Instant,
        transport: Arc<OnceLock<server::Handle>>,
    ) -> Self {
        Handler {
            door,
            peer,
            switch,
            entry: None,
            entered: Some(entered),
            inbox,
            told: None,
            browser: None,
            deadline,
            transport,
        }
    }

    async fn token(&mut self, user: &str, token: Secret, how: &'static str) -> Auth {
        self.entry = None;
        let entry = self.door.by_token(user, &token, self.peer, how).await;
        self.decided(entry)
    }

    fn decided(&mut self, entry: Result<Entry, NotIn>) -> Auth {
        self.browser = None;
        match entry {
            Ok(entry) => {
                self.entry = Some(entry);
                Auth::Accept
            }
            Err(not_in) => {
                self.told = Some(not_in.told);
                self.reject()
            }
        }
    }

    /// One round of a login by browser: begins one, or asks whether it is done.
    async fn by_browser(&mut self, user: &str) -> Auth {
        self.entry = None;
        let browser = match self.browser.take() {
            Some(browser) => browser,
            None => match self.door.by_browser(user, self.peer).await {
                Ok(browser) => {
                    let instructions = browser.instructions();
                    self.browser = Some(browser);
                    return ask(instructions, vec![]);
                }
                Err(not_in) => return self.decided(Err(not_in)),
            },
        };
        match self.door.browser_round(user, browser, self.peer, self.deadline).await {
            Round::Waiting(browser) => {
                self.browser = Some(browser);
                // No prompt: a client answers at once, or is gone.
                ask(String::new(), vec![])
            }
            Round::Over(entry) => self.decided(*entry),
        }
    }

    /// Ends the connection with these words, behind the refusal of a password, which has no room for
    /// any. A client that asks its user once only has gone by then.
    async fn end_with(&self, words: &str) {
        if let Some(transport) = self.transport.get() {
            let (reason, words) = (Disconnect::ByApplication, words.trim_end().to_owned());
            // It has gone by itself, then.
            let _gone = transport.disconnect(reason, words, String::new()).await;
        }
    }

    fn reject(&self) -> Auth {
        Auth::Reject { proceed_with_methods: Some(methods(&self.door)), partial_success: false }
    }
}

fn ask(instructions: String, prompts: Vec<(Cow<'static, str>, bool)>) -> Auth {
    Auth::Partial { name: "".into(), instructions: instructions.into(), prompts: prompts.into() }
}

impl server::Handler for Handler {
    type Error = russh::Error;

    fn farewell(&self, error: &russh::Error) -> Option<(Disconnect, String)> {
        refusal::disconnect(error)
    }

    async fn auth_none(&mut self, _: &str) -> Result<Auth, russh::Error> {
        Ok(self.reject())
    }

    /// An offer proves nothing: it sets nothing, and is answered by the authority's name alone.
    async fn auth_publickey_offered(
        &mut self,
        _: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(match offer.certificate {
            Some(certificate) if self.door.may_try(certificate) => Auth::Accept,
            Some(_) | None => self.reject(),
        })
    }

    /// A key without a certificate is nobody's.
    async fn auth_publickey(
        &mut self,
        _: &str,
        _: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        self.entry = None;
        Ok(self.reject())
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, russh::Error> {
        self.entry = None;
        if !self.door.credentials.certificate {
            return Ok(self.reject());
        }
        let entry = self.door.by_certificate(user, certificate, self.peer).await;
        Ok(self.decided(entry))
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, russh::Error> {
        if !self.door.credentials.password {
            return Ok(self.reject());
        }
        self.entry = None;
        let entry = self.door.by_token(user, &Secret::from(password), self.peer, "password").await;
        if let Err(NotIn { told, is_cut: true }) = &entry {
            self.end_with(told).await;
        }
        Ok(self.decided(entry))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        if !self.door.credentials.keyboard_interactive {
            return Ok(self.reject());
        }
        let Some(mut response) = response else {
            self.browser = None;
            let browser = self.door.browser.is_some();
            let prompt = if browser { refusal::PROMPT_OR_BROWSER } else { refusal::PROMPT };
            let instructions = self.told.take().unwrap_or_default();
            return Ok(ask(instructions, vec![(prompt.into(), false)]));
        };
        if self.browser.is_some() {
            return Ok(self.by_browser(user).await);
        }
        let Some(answer) = response.next() else { return Ok(self.reject()) };
        let Ok(answer) = String::from_utf8(answer.to_vec()) else { return Ok(self.reject()) };
        if answer.is_empty() && self.door.browser.is_some() {
            return Ok(self.by_browser(user).await);
        }
        Ok(self.token(user, Secret::new(answer), "keyboard-interactive").await)
    }

    async fn auth_succeeded(&mut self, _: &mut server::Session) -> Result<(), russh::Error> {
        let (Some(entry), Some(entered)) = (self.entry.take(), self.entered.take()) else {
            // russh says so without a proof of ours: nobody is let in.
            return Err(russh::Error::NotAuthenticated);
        };
        self.switch.logged_in();
        entered.send(entry).map_err(|_| russh::Error::Disconnect)
    }

    fn owns_connection_layer(&self) -> bool {
        true
    }

    async fn connection_packet(&mut self, packet: Vec<u8>) -> Result<(), russh::Error> {
        // Nobody listens once the session is over. An error here would end the connection with
        // bytes unread, and a client that is reset loses the words that told it why; who ended
        // the session says when the connection ends, by its switch.
        let _over = self.inbox.send(packet).await;
        Ok(())
    }
}
