//! gRPC's own Python library: a server and a client.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::dirs::{Account, server_dir, spare_port};
use crate::process::{Server, Stop};
use crate::{Error, install};

/// How long the server may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A gRPC service without TLS (HTTP/2 by prior knowledge); ended when dropped.
#[derive(Debug)]
pub struct GrpcServer {
    _server: Server,
    port: u16,
}

impl GrpcServer {
    /// Starts it on a spare loopback port. It has `/test.Echo/{Say,Count,Add,Chat}`, one of each
    /// kind of call.
    ///
    /// # Errors
    /// [`Error::Missing`] without Python; [`Error::Failed`] if gRPC can't be installed, or the
    /// server does not start to listen.
    pub fn start() -> Result<Self, Error> {
        let (dir, port) = (server_dir("grpc-", Account::Ours)?, spare_port()?);
        let mut command = script("server.py")?;
        command.arg(port.to_string());
        let mut server = Server::new("grpc", dir, Stop::Term);
        server.spawn(command, Account::Ours)?;
        server.wait_until(START_LIMIT, |_| TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(Self { _server: server, port })
    }

    /// The TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// A client that calls everything of [`GrpcServer`] once and prints what came of it as JSON. To
/// be given a port, and perhaps a token.
///
/// # Errors
/// As [`GrpcServer::start`].
pub fn grpc_client() -> Result<Command, Error> {
    script("client.py")
}

fn script(name: &str) -> Result<Command, Error> {
    let mut python = Command::new(install::python("grpc")?.join("python"));
    python.arg("-B").arg(install::assets().join("grpc").join(name));
    // It asks the environment for a proxy.
    python.env_remove("http_proxy").env_remove("https_proxy").env_remove("grpc_proxy");
    Ok(python)
}
