//! A client without manners: whole packets of the connection layer, at any time.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use russh::client::{self, ConnectionSender, DisconnectReason, Handle};
use russh::keys::PublicKeyOrCertificate;
use tokio::sync::mpsc;

pub struct Raw {
    pub handle: Handle<Ears>,
    pub out: ConnectionSender,
    pub inbox: mpsc::UnboundedReceiver<Vec<u8>>,
    /// The words with which the proxy ended the connection.
    pub told: Arc<Mutex<Option<String>>>,
}

pub struct Ears {
    packets: mpsc::UnboundedSender<Vec<u8>>,
    told: Arc<Mutex<Option<String>>>,
}

impl client::Handler for Ears {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }

    fn owns_connection_layer(&self) -> bool {
        true
    }

    async fn connection_packet(&mut self, packet: Vec<u8>) -> Result<(), russh::Error> {
        self.packets.send(packet).map_err(|_| russh::Error::Disconnect)
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<russh::Error>,
    ) -> Result<(), russh::Error> {
        if let DisconnectReason::ReceivedDisconnect(info) = reason {
            *self.told.lock().unwrap() = Some(info.message);
        }
        Ok(())
    }
}

impl Raw {
    /// Connects, with no word of who it is.
    pub async fn connect(port: u16) -> Raw {
        let config = client::Config { window_size: u32::MAX / 4, ..client::Config::default() };
        let (packets, inbox) = mpsc::unbounded_channel();
        let address = ("127.0.0.1", port);
        let told = Arc::default();
        let ears = Ears { packets, told: Arc::clone(&told) };
        let handle = client::connect(Arc::new(config), address, ears).await.unwrap();
        Raw { out: handle.connection_sender(), handle, inbox, told }
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

    /// The words with which the proxy ended the connection, once it has.
    pub fn told(&self) -> String {
        self.told.lock().unwrap().clone().unwrap_or_default()
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
