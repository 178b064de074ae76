//! PostgreSQL's frontend/backend protocol (3.0 and 3.2) as bytes, without I/O.
//!
//! For programs that stand between a client and a server: messages are found
//! where they lie, read lazily where they lie, and forwarded verbatim by the
//! caller. Only what must change is written anew. Nothing here reads outside a
//! frame's body, panics on input, or turns bytes into text and back.
//!
//! Words, as in the manual's protocol chapter: *frontend* is the client,
//! *backend* the server; a *frame* is `type(1) length(4) body`.
//!
//! - [`frame`]: where a message ends. [`startup`]: the packets before the first frame.
//! - [`frontend`], [`backend`]: readers. [`write`](mod@write): writers.
//! - [`auth`]: logging in to a server; reading a client's bearer token.
//! - [`oid`], [`value`]: types, and values as text.
//! - [`mask`]: rewriting cells, rows, errors. [`copy`]: rewriting COPY streams.
//!
//! ```
//! use postgres_wire::{Side, frame::{Framed, Limits, next_frame}, frontend, write};
//!
//! let mut stream = Vec::new();
//! write::query(&mut stream, b"SELECT 1")?;
//! write::sync(&mut stream);
//!
//! let Framed::Frame { tag, body, total } =
//!     next_frame(&stream, Side::Frontend, &Limits::DEFAULT)? else { panic!() };
//! assert_eq!(frontend::parse(tag, body)?, frontend::Message::Query(b"SELECT 1"));
//! assert_eq!(&stream[total..], b"S\0\0\0\x04");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod auth;
pub mod backend;
pub mod copy;
pub mod error;
pub mod frame;
pub mod frontend;
pub mod mask;
pub mod oid;
mod quote;
pub mod read;
pub mod startup;
pub mod value;
pub mod write;

pub use error::{Side, WireError, WriteError};
pub use frontend::Format;
