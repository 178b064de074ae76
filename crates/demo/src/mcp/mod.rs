//! The demonstration for the Model Context Protocol: a small server with tools, and the proxy in
//! front.

mod script;
mod target;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use http_proxy::mcp::Mcp;
use http_proxy::{Config, Credential};
use serde_json::json;

use self::target::LittleServer;
use crate::{DemoError, web};

pub(crate) use self::script::play;

/// The target's name, and the server's in a client's configuration.
const TARGET: &str = "shop-tools";
/// The newest of the eras with sessions, which every client speaks.
const VERSION: &str = "2025-06-18";

/// What agents may do.
pub(crate) const POLICY: &str = r#"
[[rule]]
name = "agents-delete-nothing"
effect = "deny"
principals = { kind = "agent" }
when = { operations = ["tools/call"], resources = ["delete_*"] }
reason = "customers are deleted by a person"

[[rule]]
name = "small-refunds"
effect = "deny"
principals = { kind = "agent" }
when = { operations = ["tools/call"], resources = ["refund"], arguments = { "arg.cents" = { min = 5000 } } }
reason = "refunds from 50.00 on need a person"

[[rule]]
name = "agents-work"
effect = "allow"
principals = { kind = "agent", delegated = true }
when = { class = ["list", "read", "call", "tell"] }
"#;

/// What is behind the proxy.
#[derive(Debug)]
pub(crate) struct Behind {
    /// In words.
    pub(crate) words: String,
    server: LittleServer,
}

impl Behind {
    pub(crate) async fn set() -> Result<Self, DemoError> {
        let server = LittleServer::start().await?;
        let words = format!("embedded MCP server, http://127.0.0.1:{}/mcp", server.port);
        Ok(Behind { words, server })
    }

    /// What the proxy in front is made of.
    pub(crate) fn proxy(&self) -> Result<Config, DemoError> {
        web::target(TARGET, self.server.port, Credential::None, Some(Mcp::default()))
    }

    /// How to try it, as lines for a shell. Writes the file that one of them names.
    pub(crate) fn try_it(port: u16, token: &str, dir: &Path) -> Result<Vec<String>, DemoError> {
        let (file, url) = (dir.join("mcp.json"), format!("http://127.0.0.1:{port}/mcp"));
        let bearer = format!("Bearer {token}");
        let server = json!({"type": "http", "url": url, "headers": {"Authorization": bearer}});
        let client = json!({ "mcpServers": { TARGET: server } });
        let mut private = fs::OpenOptions::new();
        private.write(true).create_new(true).mode(0o600);
        private.open(&file)?.write_all(format!("{client:#}\n").as_bytes())?;
        let call = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "find_customer", "arguments": {"id": 3}},
        });
        Ok(vec![
            format!("cat '{}'   # what an MCP client wants to be told", file.display()),
            format!(
                "npx -y @modelcontextprotocol/inspector --cli --config '{}' --server {TARGET} \
                 --method tools/list",
                file.display()
            ),
            format!(
                "curl -sS -H 'Authorization: {bearer}' -H 'Content-Type: application/json' \
                 -H 'Accept: application/json, text/event-stream' -d '{call}' {url}"
            ),
        ])
    }
}
