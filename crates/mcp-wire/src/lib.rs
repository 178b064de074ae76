//! JSON-RPC 2.0 as the Model Context Protocol uses it, read strictly, without I/O.
//!
//! For programs that stand between a client and a server and decide about what passes. Such a
//! program is of use only if it sees what the server will see. So: [`parse`] refuses whatever two
//! parsers may take for different things (a key twice, a key in another case, a lone surrogate),
//! and what is forwarded is [`Message::to_bytes`], written from what was read, never the bytes
//! that came. The order of members and the text of numbers are kept.
//!
//! Words, as in the specification: a *message* is a request, a notification or a response; an
//! *era* is before or since 2026-07-28, when sessions and `initialize` went; an *input request* is
//! a question of the server's within a result.
//!
//! - [`json`]: reading and its [`Limits`]; [`Value`], [`flatten`]. Of use for any JSON body.
//! - [`Message`]: [`Request::method`] says what is asked for; [`Request::flatten_arguments`] gives
//!   a tool's arguments to rules; [`Message::for_each_leaf`] shows every text to a masker.
//! - [`version_over_http`], [`check_headers`]: which version it is, and whether `Mcp-Method`,
//!   `Mcp-Name` and `Mcp-Param-*` say what the body says.
//! - [`Response::filter`], [`Definition::fingerprint`]: what a server offers, and whether it has
//!   changed. [`Response::input_requests`]: what it asks.
//! - [`answer`]: refusals that a model can read. [`code`]: JSON-RPC's codes, MCP's and ours.
//! - [`Lines`]: messages over stdio. [`Events`]: messages in an event stream.
//!
//! A size, count or depth has a limit, each a named constant. No error and no `Debug` shows
//! anything of a message but names of methods, tools, prompts and URIs.
//!
//! ```
//! use mcp_wire::{Limits, Message, Method, answer, parse_one};
//!
//! let bytes = br#"{"jsonrpc":"2.0","id":7,"method":"tools/call",
//!     "params":{"name":"read_file","arguments":{"path":"/etc/shadow"}}}"#;
//! let Message::Request(request) = parse_one(bytes, Limits::default())? else { panic!() };
//! let Method::CallTool(call) = request.method() else { panic!() };
//! assert_eq!(call.name, "read_file");
//! let arguments = request.flatten_arguments();
//! assert!(arguments.is_complete());
//! assert_eq!(arguments.fields[0].name, "arg.path");
//! assert_eq!(arguments.fields[0].value, "/etc/shadow");
//!
//! let refusal = answer::denial(request.id(), "below-srv", None, Some("Ask ops@example.org"));
//! let want = r#"{"jsonrpc":"2.0","id":7,"error":{"code":403,"message":"#;
//! assert!(refusal.starts_with(want.as_bytes()));
//!
//! // Which of the two would the server take?
//! let twice = br#"{"jsonrpc":"2.0","id":7,"method":"ping","Method":"tools/call"}"#;
//! assert!(parse_one(twice, Limits::default()).is_err());
//! # Ok::<(), mcp_wire::WireError>(())
//! ```

pub mod answer;
pub mod code;
mod error;
mod events;
mod eyes;
mod flatten;
pub mod headers;
pub mod json;
mod keys;
mod lines;
mod message;
mod method;
mod renumber;
mod tools;
mod value;
mod version;
mod visit;

pub use error::WireError;
pub use events::{Event, Events};
pub use eyes::{hides, is_invisible};
pub use flatten::{
    ARGUMENTS, Field, Fields, MAX_FIELD_BYTES, MAX_FIELD_TEXT_BYTES, MAX_FIELDS, flatten,
};
pub use headers::{HeaderMismatch, Headers, MismatchKind, check_headers};
pub use json::Limits;
pub use keys::folded;
pub use lines::Lines;
pub use message::{
    Body, Id, InputRequest, MAX_BATCH, MAX_ID_BYTES, MAX_ID_NUMBER, MAX_METHOD_BYTES,
    MAX_PEER_BYTES, Message, Notification, Outcome, Request, Response, ResultType, parse,
    parse_one,
};
pub use method::{Call, MAX_NAME_BYTES, MAX_URI_BYTES, Method, Reference};
pub use tools::{Definition, List, MAX_SCHEMA_DEPTH, ParamHeaders};
pub use value::{Number, Object, Value};
pub use version::{
    Era, MAX_SESSION_BYTES, SESSION_HEADER, VERSION_HEADER, VERSION_META, Version, VersionError,
    read_session_id, version_over_http, version_over_stdio,
};
pub use visit::{Leaf, Path, Step};
