//! A client without manners: whole packets of the connection layer, at any time.

use std::sync::Arc;

use bytes::Bytes;
use russh::client::{self, ConnectionSender, Handle};
use russh::keys::PublicKeyOrCertificate;
use tokio::sync::mpsc;

pub struct Raw {
    pub handle: Handle<Ears>,
    pub out: ConnectionSender,
    pub inbox: mpsc::UnboundedReceiver<Vec<u8>>,
}

pub struct Ears(mpsc::UnboundedSender<Vec<u8>>);

impl client::Handler for Ears {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }

    fn owns_connection_layer(&self) -> bool {
        true
    }

    async fn connection_packet(&mut self, packet: Vec<u8>) -> Result<(), russh::Error> {
        self.0.send(packet).map_err(|_| russh::Error::Disconnect)
    }
}

impl Raw {
    /// Connects, with no word of who it is.
    pub async fn connect(port: u16) -> Raw {
        let config = client::Config { window_size: u32::MAX / 4, ..client::Config::default() };
        let (packets, inbox) = mpsc::unbounded_channel();
        let address = ("127.0.0.1", port);
        let handle = client::connect(Arc::new(config), address, Ears(packets)).await.unwrap();
        Raw { out: handle.connection_sender(), handle, inbox }
    }

    /// Connects and logs in with a token as the password.
    pub async fn log_in(port: u16, user: &str, token: &str) -> Raw {
        let mut raw = Raw::connect(port).await;
        assert!(raw.handle.authenticate_password(user, token).await.unwrap().success());
        raw
    }

    /// Sends a packet; `false`: the proxy has ended the connection.
    pub async fn send(&self, packet: Bytes) -> bool {
        self.out.send(packet).await.is_ok()
    }

    /// The next packet; `None` when the connection has ended.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.inbox.recv().await
    }

    /// Goes away; all packets that came meanwhile.
    pub async fn leave(mut self) -> Vec<Vec<u8>> {
        let reason = russh::Disconnect::ByApplication;
        let _gone = self.handle.disconnect(reason, "", "").await;
        self.rest().await
    }

    /// All packets until the connection ends.
    pub async fn rest(&mut self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(packet) = self.next().await {
            all.push(packet);
        }
        all
    }
}
