//! The Model Context Protocol's official Python SDK: a server and a client.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::dirs::{Account, find_program, server_dir, spare_port};
use crate::process::{Server, Stop, output};
use crate::{Error, install};

/// How long the server may take until it listens: Python loads a good deal first.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The SDK's server with a few tools, on a spare loopback port; ended when dropped.
#[derive(Debug)]
pub struct McpServer {
    server: Server,
    port: u16,
}

impl McpServer {
    /// Starts it. Its answers are event streams, or JSON.
    ///
    /// # Errors
    /// [`Error::Missing`] without Python; [`Error::Failed`] if the SDK can't be installed, or the
    /// server does not start to listen.
    pub fn start(json: bool) -> Result<Self, Error> {
        let (dir, port) = (server_dir("mcp-", Account::Ours)?, spare_port()?);
        let mut command = script("server.py")?;
        command.arg(port.to_string()).arg(dir.path().join("deleted"));
        if json {
            command.arg("json");
        }
        let mut server = Server::new("mcp", dir, Stop::Term);
        server.spawn(command, Account::Ours)?;
        server.wait_until(START_LIMIT, |_| TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(Self { server, port })
    }

    /// The TCP port on 127.0.0.1. The endpoint is `/mcp`.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What its tool `delete_customer` was called with, so far: a side effect to look for.
    #[must_use]
    pub fn deleted(&self) -> String {
        fs::read_to_string(self.server.dir().join("deleted")).unwrap_or_default()
    }
}

/// The SDK's client, which uses everything of [`McpServer`] once and prints what came of it as
/// JSON. To be given a URL, a mode (`legacy`, `auto`, `2026-07-28`), and perhaps a token.
///
/// # Errors
/// As [`McpServer::start`].
pub fn mcp_client() -> Result<Command, Error> {
    script("client.py")
}

fn script(name: &str) -> Result<Command, Error> {
    let mut python = Command::new(python()?);
    python.arg("-B").arg(install::assets().join("mcp").join(name));
    Ok(python)
}

/// A Python with the SDK, installed once into the cache folder.
fn python() -> Result<PathBuf, Error> {
    if find_program("python3", &[]).is_none() {
        return Err(Error::missing("python3", "apt-get install python3 python3-venv"));
    }
    let recipe = install::recipe("mcp", &["requirements.txt"])?;
    let dir = install::once("mcp", &recipe, |dir| {
        let venv = dir.join("venv");
        output("python3 -m venv", Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let mut pip = Command::new(venv.join("bin/pip"));
        pip.args(["install", "--quiet", "--only-binary", ":all:"]).arg("-r");
        pip.arg(install::assets().join("mcp/requirements.txt"));
        output("pip install", &mut pip).map(drop)
    })?;
    Ok(dir.join("venv/bin/python"))
}
