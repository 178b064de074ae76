//! Servers of the Model Context Protocol over streamable HTTP: each message is a command.
//!
//! A message is read strictly (`mcp_wire`), judged by its method, what it names and what that is
//! called with, put on record, and forwarded re-serialised: what the target reads is what was
//! judged. Answers are read message by message, in JSON or in an event stream.

mod answer;
mod memory;
mod relay;
mod request;
mod stdio;

pub(crate) use answer::{McpAnswer, framing};
pub(crate) use memory::Memory;
pub use stdio::{Launcher, MAX_PROCESSES, Program};

use std::sync::Arc;

use mcp_wire::Method;
use policy::{Access, Vocabulary};

/// The protocol's name in rules and records.
pub const PROTOCOL: &str = "mcp";
/// What the bytes of a recorded answer are: messages, one a line.
pub const MEDIA: &str = "application/jsonl";

/// The classes of messages. `list` is what shows what there is; `read` gets a resource or a
/// prompt; `call` runs a tool or works on its task; `ask` is what a server asks of the client's
/// model or user; `tell` are notifications and answers of the client; anything else is `unknown`.
pub const VOCABULARY: Vocabulary = Vocabulary {
    protocol: PROTOCOL,
    classes: &["list", "read", "call", "ask", "tell", "unknown"],
    operations: &[],
    flags: &[],
    calls: false,
    arguments: &["arg."],
};

/// What is particular to a target that speaks MCP.
#[derive(Debug, Clone, Default)]
pub struct Mcp {
    /// Whether its server may ask the client's model (`sampling/createMessage`).
    pub sampling: bool,
    /// Whether its server may ask the client's user (`elicitation/create`).
    pub elicitation: bool,
    /// Origins of web pages that may use it, beside our own host (if its [`Route`](crate::Route)
    /// names it, or it is an address): `https://app.example.org`.
    pub origins: Vec<String>,
    /// A program that is the server, in place of one that listens; then there is no upstream.
    pub program: Option<Arc<Launcher>>,
}

impl Mcp {
    /// Whether a server may ask this of a client.
    fn lets_ask(&self, method: &Method<'_>) -> bool {
        match method {
            Method::CreateMessage => self.sampling,
            Method::Elicit { .. } => self.elicitation,
            Method::ListRoots | Method::Ping => true,
            _ => false,
        }
    }
}

/// A request's class, what it names, and how that is used.
fn class<'a>(method: &Method<'a>) -> (&'static str, Option<&'a str>, Access) {
    match *method {
        Method::Initialize { .. }
        | Method::Ping
        | Method::Discover
        | Method::ListTools
        | Method::ListResources
        | Method::ListResourceTemplates
        | Method::ListPrompts
        | Method::SetLevel { .. }
        | Method::Listen => ("list", None, Access::Read),
        Method::Complete(reference) => {
            let (mcp_wire::Reference::Prompt(name) | mcp_wire::Reference::Resource(name)) =
                reference;
            ("list", Some(name), Access::Read)
        }
        Method::ReadResource { uri } | Method::Subscribe { uri } | Method::Unsubscribe { uri } => {
            ("read", Some(uri), Access::Read)
        }
        Method::GetPrompt(call) => ("read", Some(call.name), Access::Read),
        Method::CallTool(call) => ("call", Some(call.name), Access::Write),
        Method::Task { id, .. } => ("call", id, Access::Write),
        Method::CreateMessage | Method::Elicit { .. } | Method::ListRoots => {
            ("ask", None, Access::Read)
        }
        Method::Other(_) => ("unknown", None, Access::Write),
    }
}
