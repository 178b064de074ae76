//! One connection from its first byte to its last.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gate::{Arrival, Gate, Session};
use identity::DeviceLogin;
use russh::server::{Handle, RunningSession};
use russh::{Disconnect, server as transport};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{timeout, timeout_at};

use crate::PROTOCOL;
use crate::client::{self, Connected, UpstreamError};
use crate::keys::{HostCertificate, SecretKey};
use crate::login::{Authority, Credentials, Door, Entry, Place};
use crate::pump::Sender;
use crate::refusal;
use crate::relay::{Ended, Leg, Relay};
use crate::server::{self, Handler, INBOX_PACKETS};
use crate::side::Side;
use crate::stream::{Guarded, Switch};
use crate::target::Target;
use crate::{gone, issue};

/// How long a client may take from its first byte to being let in, unless configured. People type
/// and log in to browsers in this time.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(120);
/// Most clients that are not let in yet, unless configured.
pub const MAX_UNAUTHENTICATED: usize = 100;
/// How long last words may take to leave.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long a transport whose packets have ended may take to say why.
const WHY_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a client whose target can't be used may take to ask for something, and be told.
const TELL_TIMEOUT: Duration = Duration::from_secs(10);

/// What a proxy is made of.
#[derive(Debug)]
pub struct Config {
    /// The servers behind it.
    pub targets: Vec<Arc<Target>>,
    /// The keys that clients know it by: at least one.
    pub host_keys: Vec<SecretKey>,
    /// A certificate for one of them.
    pub host_certificate: Option<HostCertificate>,
    /// Signs certificates for clients, and is believed. `None`: there are none.
    pub authority: Option<Authority>,
    /// Ways to log in.
    pub credentials: Credentials,
    /// An empty answer to keyboard-interactive's prompt begins a login by browser there.
    pub device_login: Option<DeviceLogin>,
    /// See [`LOGIN_TIMEOUT`].
    pub login_timeout: Duration,
    /// See [`MAX_UNAUTHENTICATED`].
    pub max_unauthenticated: usize,
}

impl Config {
    /// A proxy with tokens alone and all limits as they come.
    pub fn new(targets: Vec<Arc<Target>>, host_key: SecretKey) -> Self {
        Config {
            targets,
            host_keys: vec![host_key],
            host_certificate: None,
            authority: None,
            credentials: Credentials::ALL,
            device_login: None,
            login_timeout: LOGIN_TIMEOUT,
            max_unauthenticated: MAX_UNAUTHENTICATED,
        }
    }
}

/// An SSH proxy: serves connections that somebody else accepts. Cheap to clone.
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

struct Inner {
    door: Arc<Door>,
    transport: Arc<transport::Config>,
    login_timeout: Duration,
    /// One permit for each client that is not let in yet.
    unauthenticated: Semaphore,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh::Proxy")
    }
}

/// A client that was let in, with its transport.
struct Client {
    entry: Entry,
    transport: Transport,
    leg: Leg,
    handle: Handle,
    switch: Off,
}

/// A client's transport, until its end is known.
struct Transport(Option<RunningSession<Handler>>);

impl Transport {
    /// Waits for its end; what went wrong, the first time that this is asked.
    async fn ended(&mut self) -> Option<russh::Error> {
        let ended = self.0.as_mut()?.await;
        self.0 = None;
        ended.err()
    }
}

/// Ends the transport when the task that serves it does, however that ends.
struct Off(Switch);

impl Drop for Off {
    fn drop(&mut self) {
        self.0.off();
    }
}

impl Proxy {
    /// A proxy behind this gate.
    pub fn new(gate: Gate, config: Config) -> Self {
        let door = Door::new(
            gate,
            &config.targets,
            config.authority,
            config.credentials,
            config.device_login,
        );
        let transport = server::config(&config.host_keys, config.host_certificate.as_ref(), &door);
        Proxy(Arc::new(Inner {
            door: Arc::new(door),
            transport: Arc::new(transport),
            login_timeout: config.login_timeout,
            unauthenticated: Semaphore::new(config.max_unauthenticated),
        }))
    }

    /// Serves one connection until it ends, or until `shutdown` is ready. Whatever happens is on
    /// record and told to the client; nothing is returned.
    pub async fn serve(
        &self,
        tcp: TcpStream,
        peer: SocketAddr,
        shutdown: impl Future<Output = ()>,
    ) {
        let inner = &*self.0;
        let mut shutdown = pin!(shutdown);
        let client = tokio::select! {
            client = inner.let_in(tcp, peer) => client,
            () = &mut shutdown => return,
        };
        if let Some(client) = client {
            Box::pin(inner.serve_client(client, peer, shutdown)).await;
        }
    }
}

impl Inner {
    /// From the first byte to a proven credential. `None`: there is nobody to serve.
    async fn let_in(&self, tcp: TcpStream, peer: SocketAddr) -> Option<Client> {
        let Ok(_unauthenticated) = self.unauthenticated.try_acquire() else {
            tracing::warn!(%peer, "too many clients that are not logged in: one is turned away");
            return None;
        };
        let deadline = tokio::time::Instant::now() + self.login_timeout;
        let (stream, switch) = Guarded::new(tcp);
        let switch = Off(switch);
        let (entered, entry) = oneshot::channel();
        let (packets, inbox) = mpsc::channel(INBOX_PACKETS);
        let door = self.door.clone();
        let own = Arc::new(OnceLock::new());
        let handler =
            Handler::new(door, peer, switch.0.clone(), entered, packets, deadline, own.clone());
        let started = transport::run_stream(self.transport.clone(), stream, handler);
        let Ok(started) = timeout_at(deadline, started).await else {
            self.stayed_out(peer, "login_timeout", "the client stalled in the handshake").await;
            return None;
        };
        let running = match started {
            Ok(running) => running,
            Err(error) => {
                self.failed(peer, &error).await;
                return None;
            }
        };
        let handle = running.handle();
        let _once = own.set(handle.clone());
        match timeout_at(deadline, entry).await {
            Ok(Ok(entry)) => {
                let leg = Leg { inbox, out: Sender::Client(handle.connection_sender()) };
                let transport = Transport(Some(running));
                Some(Client { entry, transport, leg, handle, switch })
            }
            Ok(Err(_)) => {
                if let Err(error) = running.await {
                    self.failed(peer, &error).await;
                }
                None
            }
            Err(_) => {
                let told = "greffier: nobody logged in in time".to_owned();
                let farewell = handle.disconnect(Disconnect::ByApplication, told, String::new());
                let _in_time = timeout(FAREWELL, farewell).await;
                self.stayed_out(peer, "login_timeout", "the client did not log in in time").await;
                None
            }
        }
    }

    /// The protocol failed before anybody had logged in. A client that just leaves does so without
    /// a record: it asked for nothing, and whoever watches a port does it all day.
    async fn failed(&self, peer: SocketAddr, error: &russh::Error) {
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        match error {
            russh::Error::Disconnect | russh::Error::HUP => {}
            russh::Error::IO(io)
                if matches!(io.kind(), BrokenPipe | ConnectionReset | UnexpectedEof) => {}
            error => self.stayed_out(peer, "handshake", &error.to_string()).await,
        }
    }

    async fn stayed_out(&self, peer: SocketAddr, cause: &str, message: &str) {
        tracing::debug!(%peer, cause, message, "no login");
        let peer = peer.to_string();
        let arrival = Arrival { protocol: PROTOCOL, peer: &peer, target: b"" };
        let recorded = self.door.gate.record_refusal(arrival, cause, message, None, None).await;
        if let Err(error) = recorded {
            tracing::error!(%error, "a refusal is not on record");
        }
    }

    async fn serve_client(
        &self,
        client: Client,
        peer: SocketAddr,
        shutdown: impl Future<Output = ()>,
    ) {
        let Client { entry, mut transport, leg, handle, switch } = client;
        let Entry { identified, place, user } = entry;
        let peer = peer.to_string();
        let arrival = Arrival { protocol: PROTOCOL, peer: &peer, target: user.as_bytes() };
        let told = match place {
            Place::Target { target, login } => {
                let opened =
                    self.door.gate.open_session(identified, target.gate.clone(), arrival).await;
                match opened {
                    Ok(session) => {
                        relay(&session, &target, login, leg, &mut transport, shutdown).await
                    }
                    Err(error) => deny_all(leg, refusal::unrecorded(error)).await,
                }
            }
            Place::Certificates => {
                issue::serve(&self.door, identified, arrival, leg, shutdown).await
            }
        };
        let farewell = async {
            if let Some(told) = told {
                let words = told.trim_end().to_owned();
                let _sent =
                    handle.disconnect(Disconnect::ByApplication, words, String::new()).await;
                let _ended = transport.ended().await;
            }
        };
        let _in_time = timeout(FAREWELL, farewell).await;
        drop(switch);
    }
}

/// Connects to the target and relays. What to tell the client when it is disconnected.
async fn relay(
    session: &Session,
    target: &Target,
    login: String,
    leg: Leg,
    transport: &mut Transport,
    shutdown: impl Future<Output = ()>,
) -> Option<String> {
    let mut shutdown = pin!(shutdown);
    let connected = tokio::select! {
        connected = client::connect(target, &login, session.id()) => connected,
        () = &mut shutdown => {
            record_end(session, "shutdown");
            return Some(refusal::SHUTDOWN.to_owned());
        }
    };
    let Connected { handle, inbox, switch, gone } = match connected {
        Ok(connected) => connected,
        Err(error) => return unreachable(session, target, &error, leg).await,
    };
    let switch = Off(switch);
    let upstream = Leg { inbox, out: Sender::Target(handle.connection_sender()) };
    let mut relay = Relay::new(session.clone(), target.rules.clone(), login, leg, upstream);
    let why_client = async {
        let error = timeout(WHY_TIMEOUT, transport.ended()).await.ok()??;
        gone::end(Side::Client, &error)
    };
    let why_target = async {
        let error = timeout(WHY_TIMEOUT, gone).await.ok()?.ok()?;
        gone::of_target(&error)
    };
    let Ended { reason, told } = relay.run(shutdown, why_client, why_target).await;
    // What is under way is recorded before the session's end is.
    drop(relay);
    record_end(session, &reason);
    let farewell = handle.disconnect(Disconnect::ByApplication, "", "");
    let _in_time = timeout(FAREWELL, farewell).await;
    drop(switch);
    told
}

async fn unreachable(
    session: &Session,
    target: &Target,
    error: &UpstreamError,
    leg: Leg,
) -> Option<String> {
    tracing::warn!(target = &*target.gate.name, %error, "the target");
    record_end(session, &format!("target: {error}"));
    deny_all(leg, refusal::unreachable(&target.gate.name, error)).await
}

/// Answers the client's first wish with the reason why nothing can be done for it.
async fn deny_all(mut leg: Leg, told: String) -> Option<String> {
    use ssh_wire::packet::{OpenFailure, Packet, parse, write};
    let answer = async {
        while let Some(packet) = leg.inbox.recv().await {
            match parse(&packet) {
                Ok(Packet::Open { sender, .. }) => {
                    let text = told.trim_end();
                    let no = write::open_failure(sender, OpenFailure::ConnectFailed, text);
                    say(&leg, no).await;
                    return;
                }
                Ok(Packet::GlobalRequest { want_reply: true, .. }) => {
                    say(&leg, write::request_failure()).await;
                }
                _ => {}
            }
        }
    };
    let _in_time = timeout(TELL_TIMEOUT, answer).await;
    Some(told)
}

/// Sends a packet of ours to the client, past the relay's queues: there is no relay, and what it
/// says is either no answer of a target or on record already. `false`: the client is gone.
pub(crate) async fn say(leg: &Leg, packet: bytes::Bytes) -> bool {
    match &leg.out {
        Sender::Client(sender) => sender.send(packet).await.is_ok(),
        _ => false,
    }
}

pub(crate) fn record_end(session: &Session, reason: &str) {
    if let Err(error) = session.end(reason) {
        tracing::error!(session = session.id(), %error, "a session's end is not on record");
    }
}
