//! A client in our own process, for many commands on one connection and many connections.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_openssh_certificate};
use russh::{ChannelMsg, client};

use crate::relay::preferred;

/// How a client gets in.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) key: PathBuf,
    /// Where a plain key is not enough.
    pub(crate) certificate: Option<PathBuf>,
    /// Another door to go through first, as `ProxyJump` does.
    pub(crate) jump: Option<Box<Door>>,
}

/// Whoever is there, is right: it is all ours.
pub(crate) struct Anyone;

impl client::Handler for Anyone {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

/// A connection that is logged in.
pub(crate) struct Client {
    handle: client::Handle<Anyone>,
    /// What it goes through; it lives as long.
    _jump: Option<Box<Client>>,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Client {
    pub(crate) async fn connect(door: &Door) -> Result<Client, String> {
        let config = Arc::new(client::Config {
            preferred: preferred(),
            nodelay: true,
            ..client::Config::default()
        });
        let (mut handle, jump) = match &door.jump {
            None => {
                let address = ("127.0.0.1", door.port);
                (client::connect(config, address, Anyone).await.map_err(text)?, None)
            }
            Some(first) => {
                let first = Box::pin(Client::connect(first)).await?;
                let port = u32::from(door.port);
                let channel =
                    first.handle.channel_open_direct_tcpip("127.0.0.1", port, "127.0.0.1", 0);
                let stream = channel.await.map_err(text)?.into_stream();
                let handle = client::connect_stream(config, stream, Anyone).await.map_err(text)?;
                (handle, Some(Box::new(first)))
            }
        };
        let key = Arc::new(russh::keys::load_secret_key(&door.key, None).map_err(text)?);
        let answer = match &door.certificate {
            None => {
                let key = PrivateKeyWithHashAlg::new(key, None);
                handle.authenticate_publickey(&door.user, key).await
            }
            Some(path) => {
                let certificate = load_openssh_certificate(path).map_err(text)?;
                handle.authenticate_openssh_cert(&door.user, key, certificate).await
            }
        };
        if !answer.map_err(text)?.success() {
            return Err("the login was refused".to_owned());
        }
        Ok(Client { handle, _jump: jump })
    }

    /// Runs one command to its end, which must be a good one.
    pub(crate) async fn exec(&self, line: &str) -> Result<(), String> {
        let mut channel = self.handle.channel_open_session().await.map_err(text)?;
        channel.exec(true, line).await.map_err(text)?;
        let mut status = None;
        while let Some(message) = channel.wait().await {
            if let ChannelMsg::ExitStatus { exit_status } = message {
                status = Some(exit_status);
            }
        }
        if status == Some(0) { Ok(()) } else { Err(format!("{line:?} ended with {status:?}")) }
    }
}

/// Connects and logs in so many times; each wait in milliseconds, sorted.
pub(crate) async fn handshakes(door: &Door, count: u32) -> Result<Vec<f64>, String> {
    let mut waits = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        drop(Client::connect(door).await?);
        waits.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    waits.sort_by(f64::total_cmp);
    Ok(waits)
}

/// Runs `true` so often on one connection, some at a time; the seconds it took.
pub(crate) async fn many(door: &Door, count: u32, at_once: u32) -> Result<f64, String> {
    let client = Arc::new(Client::connect(door).await?);
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..at_once {
        let client = client.clone();
        let share = count / at_once;
        tasks.spawn(async move {
            for _ in 0..share {
                client.exec("true").await?;
            }
            Ok::<_, String>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(text)??;
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// So many connections that ran a command and wait.
pub(crate) async fn waiting(door: &Door, count: u32) -> Result<Vec<Client>, String> {
    let mut open = Vec::new();
    for _ in 0..count {
        let client = Client::connect(door).await?;
        client.exec("true").await?;
        open.push(client);
    }
    // What is freed late is not theirs.
    tokio::time::sleep(Duration::from_secs(2)).await;
    Ok(open)
}
