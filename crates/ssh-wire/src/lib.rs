//! SSH's connection layer (RFC 4254) as bytes, without I/O.
//!
//! For programs that stand between a client and a server: a packet's fields are found where
//! they lie, and the packet is forwarded verbatim by the caller. Only what must change is
//! written anew. Nothing here reads outside a packet, panics on input, or turns bytes into text
//! and back.
//!
//! Words, as in the RFC: a *packet* is what the transport layer carried, message number first;
//! a *channel* is one stream pair, named on each side by a number of that side's own
//! (*sender* in an open, *recipient* ever after); a *request* is a packet that may want a reply.
//!
//! - [`packet`]: readers of packets and of what kinds of open and request say.
//!   [`packet::write`]: writers.
//! - [`login`]: the user name `LOGIN+TARGET`.
//! - [`rcp`]: the protocol of `scp -O`, which runs in a channel too.
//! - [`sftp`]: the file transfer protocol that runs in a channel.
//!
//! ```
//! use ssh_wire::packet::{self, Packet};
//!
//! let bytes = packet::write::data(7, b"hello");
//! assert_eq!(packet::parse(&bytes)?, Packet::Data { recipient: 7, data: b"hello" });
//! # Ok::<(), ssh_wire::WireError>(())
//! ```

pub mod login;
pub mod packet;
pub mod rcp;
mod read;
pub mod sftp;

pub use read::{Reader, WireError};
