//! The Model Context Protocol's official SDKs (Python, TypeScript): servers and clients; and its
//! conformance suite.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::dirs::{Account, server_dir, spare_port};
use crate::mcp_node::{self, NodeServer};
use crate::process::{Server, Stop};
use crate::{Error, install};

/// How long the server may take until it listens: Python loads a good deal first.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A server on a spare loopback port; ended when dropped.
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
        Self::run(|dir, port| {
            let mut command = script("server.py")?;
            command.arg(port.to_string()).arg(dir.join("deleted"));
            if json {
                command.arg("json");
            }
            Ok(command)
        })
    }

    /// Starts one of the servers in JavaScript.
    ///
    /// # Errors
    /// [`Error::Missing`] without Node.js or on another platform than theirs; [`Error::Failed`] if
    /// the packages can't be installed, or the server does not start to listen.
    pub fn node(which: NodeServer) -> Result<Self, Error> {
        let node = mcp_node::installed()?;
        Self::run(|dir, port| which.command(&node, dir, port))
    }

    fn run(make: impl FnOnce(&Path, u16) -> Result<Command, Error>) -> Result<Self, Error> {
        let (dir, port) = (server_dir("mcp-", Account::Ours)?, spare_port()?);
        let command = make(dir.path(), port)?;
        let mut server = Server::new("mcp", dir, Stop::Term);
        server.spawn(command, Account::Ours)?;
        server.wait_until(START_LIMIT, |_| TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(Self { server, port })
    }

    /// The server's own folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.server.dir()
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

/// The command line of the same server over its standard input and output; it tells this file who
/// was deleted. Its first word is a whole path.
///
/// # Errors
/// As [`McpServer::start`].
pub fn mcp_stdio(deleted: &std::path::Path) -> Result<Vec<String>, Error> {
    let words = [install::python("mcp")?.join("python"), install::assets().join("mcp/server.py")];
    let mut words: Vec<String> = words.iter().map(|it| it.display().to_string()).collect();
    words.insert(1, "-B".to_owned());
    words.extend(["stdio".to_owned(), deleted.display().to_string()]);
    Ok(words)
}

/// The Python SDK's client, which uses everything of [`McpServer::start`]'s once and prints what came of it as
/// JSON. To be given a URL, a mode (`legacy`, `auto`, `2026-07-28`), and perhaps a token.
///
/// # Errors
/// As [`McpServer::start`].
pub fn mcp_client() -> Result<Command, Error> {
    script("client.py")
}

/// The Python SDK's client, which plays a plan: to be given a URL, the plan (see `mcp-node`'s
/// `client.mjs`), and perhaps a token.
///
/// # Errors
/// As [`McpServer::start`].
pub fn mcp_plan_python() -> Result<Command, Error> {
    script("plan.py")
}

fn script(name: &str) -> Result<Command, Error> {
    let mut python = Command::new(install::python("mcp")?.join("python"));
    python.arg("-B").arg(install::assets().join("mcp").join(name));
    Ok(python)
}
