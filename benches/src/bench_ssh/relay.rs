//! The floor for any proxy on russh: the same two legs and the same packets passed on whole, with
//! no look at them, no rule and no record.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Certificate, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Preferred, client, server};
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

/// Packets that wait for the other leg.
const QUEUE: usize = 64;
/// What is read from a socket at once, in bytes.
const BUFFER: usize = 64 * 1024;
/// As greffier says it: OpenSSH's programs behave alike then.
const BANNER: &str = "SSH-2.0-OpenSSH_9.9 relay";

/// Relays until the process that started us ends. Prints its port first.
pub(crate) fn serve(upstream: u16, user: String, key: &str) -> Result<(), String> {
    let fail = |e: io::Error| format!("the relay: {e}");
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|e| fail(e.into()))?;
    let key = russh::keys::load_secret_key(key, None).map_err(|e| format!("the relay: {e}"))?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().map_err(fail)?;
    runtime.block_on(accept(upstream, user, Arc::new(key))).map_err(fail)
}

async fn accept(upstream: u16, user: String, key: Arc<PrivateKey>) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("port {}", listener.local_addr()?.port());
    let server = Arc::new(server::Config {
        server_id: russh::SshId::Standard(BANNER.into()),
        keys: vec![(*key).clone()],
        window_size: u32::MAX / 4,
        event_buffer_size: QUEUE,
        inactivity_timeout: None,
        auth_rejection_time_initial: Some(Duration::ZERO),
        preferred: preferred(),
        ..server::Config::default()
    });
    let client = Arc::new(client::Config {
        client_id: russh::SshId::Standard(BANNER.into()),
        window_size: u32::MAX / 4,
        channel_buffer_size: QUEUE,
        preferred: preferred(),
        ..client::Config::default()
    });
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        let (server, client) = (server.clone(), client.clone());
        let (user, key) = (user.clone(), key.clone());
        tokio::spawn(async move {
            let (ready, packets) = oneshot::channel();
            let tcp = BufReader::with_capacity(BUFFER, tcp);
            let near = Near { ready: Some(ready), out: None };
            let Ok(run) = server::run_stream(server, tcp, near).await else { return };
            let back = run.handle().connection_sender();
            let pump = tokio::spawn(async move {
                // What ends, ends: there is nobody to be told.
                let _end = pump(packets, back, upstream, client, user, key).await;
            });
            let _end = run.await;
            pump.abort();
        });
    }
}

async fn pump(
    packets: oneshot::Receiver<mpsc::Receiver<Vec<u8>>>,
    back: server::ConnectionSender,
    upstream: u16,
    config: Arc<client::Config>,
    user: String,
    key: Arc<PrivateKey>,
) -> Option<()> {
    let mut from_client = packets.await.ok()?;
    let (out, mut from_target) = mpsc::channel(QUEUE);
    let tcp = TcpStream::connect(("127.0.0.1", upstream)).await.ok()?;
    tcp.set_nodelay(true).ok()?;
    let tcp = BufReader::with_capacity(BUFFER, tcp);
    let mut far = client::connect_stream(config, tcp, Far(out)).await.ok()?;
    far.authenticate_publickey(user, PrivateKeyWithHashAlg::new(key, None)).await.ok()?;
    let there = far.connection_sender();
    let up = tokio::spawn(async move {
        while let Some(packet) = from_client.recv().await {
            if there.send(packet.into()).await.is_err() {
                return;
            }
        }
    });
    while let Some(packet) = from_target.recv().await {
        if back.send(packet.into()).await.is_err() {
            break;
        }
    }
    up.abort();
    Some(())
}

/// The ciphers in the order of greffier's own leg to the target.
pub(crate) fn preferred() -> Preferred {
    use russh::cipher::{AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305};
    let cipher = Cow::Borrowed(&[AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305][..]);
    Preferred { cipher, ..Preferred::DEFAULT }
}

struct Near {
    ready: Option<oneshot::Sender<mpsc::Receiver<Vec<u8>>>>,
    out: Option<mpsc::Sender<Vec<u8>>>,
}

impl server::Handler for Near {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        _: &str,
        _: server::VerifiedPublicKey<'_>,
    ) -> Result<server::Auth, russh::Error> {
        Ok(server::Auth::Accept)
    }

    async fn auth_openssh_certificate(
        &mut self,
        _: &str,
        _: &Certificate,
    ) -> Result<server::Auth, russh::Error> {
        Ok(server::Auth::Accept)
    }

    async fn auth_succeeded(&mut self, _: &mut server::Session) -> Result<(), russh::Error> {
        let (out, packets) = mpsc::channel(QUEUE);
        self.out = Some(out);
        let ready = self.ready.take().ok_or(russh::Error::Disconnect)?;
        ready.send(packets).map_err(|_| russh::Error::Disconnect)
    }

    fn owns_connection_layer(&self) -> bool {
        true
    }

    async fn connection_packet(&mut self, packet: Vec<u8>) -> Result<(), russh::Error> {
        let out = self.out.as_ref().ok_or(russh::Error::Disconnect)?;
        out.send(packet).await.map_err(|_| russh::Error::Disconnect)
    }
}

struct Far(mpsc::Sender<Vec<u8>>);

impl client::Handler for Far {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }

    fn owns_connection_layer(&self) -> bool {
        true
    }

    async fn connection_packet(&mut self, packet: Vec<u8>) -> Result<(), russh::Error> {
        self.0.send(packet).await.map_err(|_| russh::Error::Disconnect)
    }
}
