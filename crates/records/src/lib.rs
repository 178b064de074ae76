//! The schema of greffier's log: what every entry says, field by field.
//!
//! An entry is one JSON object in UTF-8, one leaf of the Merkle tree. The bytes that were
//! hashed are the bytes that were written: nothing is ever re-serialised, so fields may be
//! added without breaking a proof. Readers ignore fields they do not know; a change of
//! meaning raises [`VERSION`].
//!
//! | `type` | when | body |
//! |---|---|---|
//! | `log_opened`, `log_sealed` | a proxy instance starts or drains | [`Instance`] |
//! | `config_loaded` | a configuration takes effect | [`ConfigLoaded`] |
//! | `auth_failure` | a client was refused before a session existed | [`AuthFailure`] |
//! | `session_start`, `session_end` | a session begins or ends | [`SessionStart`], [`SessionEnd`] |
//! | `command` | **before** a command reaches its target, and for every refusal | [`Command`] |
//! | `output` | a part of an answer that was released before the answer's end, or names of its chunks | [`Output`] |
//! | `response` | a command's outcome | [`Response`] |
//!
//! A `command` is joined to its `response` by (`session`, `command`); `command` numbers rise
//! by one within a session. A command without a response was under way when the record ends:
//! its outcome is unknown, never "nothing happened".
//!
//! ```
//! use records::{Body, Entry, SessionEnd, Timestamp};
//! let end = SessionEnd { reason: "client closed".into(), commands: 3, denied: 1, ..SessionEnd::default() };
//! let bytes = Entry::new(Timestamp::from_unix_micros(0), [7; 16], "0192", Body::SessionEnd(end)).to_json();
//! let back = Entry::from_json(&bytes).unwrap();
//! assert_eq!(back.session, "0192");
//! assert!(matches!(back.body, Body::SessionEnd(e) if e.denied == 1));
//! ```

mod body;
mod text;
mod time;
mod trace;

pub use body::{
    AuthFailure, Body, Chunk, Column, Command, ConfigLoaded, Data, Instance, Output, Parameter,
    Principal, Response, SessionEnd, SessionStart, StatementResult, Subject,
};
pub use text::Text;
pub use time::Timestamp;
pub use trace::{
    MAX_BAGGAGE_BYTES, MAX_BAGGAGE_ENTRIES, MAX_KEPT_BAGGAGE, MAX_TRACEPARENT_BYTES,
    MAX_TRACESTATE_BYTES, NotATraceParent, Trace, TraceParent,
};

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The schema's version, the field `v` of every entry.
pub const VERSION: u32 = 1;

/// The longest entry in bytes: C2SP tlog-tiles gives an entry a 16-bit length.
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// The most answer bytes kept inside one entry, before base64. What is larger goes to chunk
/// objects. Base64 makes 48 KiB of this at most, which leaves room for the entry's other fields.
pub const MAX_INLINE_BYTES: usize = 16 * 1024;

/// The most chunks that one entry names of one stream. A name takes about 95 bytes of the entry,
/// and an entry may name those of two streams.
pub const MAX_CHUNKS: usize = 64;

/// One entry of the log.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// `v`: [`VERSION`] when this entry was written.
    pub v: u32,
    /// `time`: when the entry was made, by this host's clock (UTC). The index in the log gives
    /// the order, not this.
    pub time: Timestamp,
    /// `salt`: 16 random bytes in hex. An entry's hash may be published; without a salt, a
    /// short entry could be guessed from it.
    pub salt: Cow<'a, str>,
    /// `session`: the session this belongs to; empty for entries about the instance.
    pub session: Cow<'a, str>,
    /// What happened: `type` names it, the rest of the object are its fields.
    pub body: Body<'a>,
}

/// The bytes are not an entry of this schema.
#[derive(Debug, thiserror::Error)]
#[error("not an entry of schema version {VERSION}: {0}")]
pub struct NotAnEntry(#[from] serde_json::Error);

/// The fields that every entry has, beside its body's.
#[derive(Serialize, Deserialize)]
struct Header<'a> {
    v: u32,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    time: Timestamp,
    salt: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    session: Cow<'a, str>,
}

impl<'a> Entry<'a> {
    /// An entry of the current version.
    pub fn new(
        time: Timestamp,
        salt: [u8; 16],
        session: impl Into<Cow<'a, str>>,
        body: Body<'a>,
    ) -> Self {
        Entry { v: VERSION, time, salt: text::hex(&salt).into(), session: session.into(), body }
    }

    /// The entry's bytes, as they are hashed and stored.
    pub fn to_json(&self) -> Vec<u8> {
        let header = Header {
            v: self.v,
            kind: self.body.kind().into(),
            time: self.time,
            salt: Cow::Borrowed(&self.salt),
            session: Cow::Borrowed(&self.session),
        };
        let mut out = Vec::with_capacity(768);
        // Two objects are written one behind the other and joined: serde's `flatten` would
        // build each through a map. A `Vec` takes every write and no key here is anything but
        // a string: the two ways in which serde_json can fail don't exist.
        let _infallible = serde_json::to_writer(&mut out, &header);
        let seam = out.len();
        let _infallible = self.body.write_json(&mut out);
        match out.get(seam..) {
            Some(b"{}") => out.truncate(seam),
            _ => {
                out.splice(seam - 1..=seam, [b',']);
            }
        }
        out
    }

    /// Reads an entry back. Fields of a later version are ignored.
    ///
    /// # Errors
    /// [`NotAnEntry`] if the bytes are not JSON of this schema.
    pub fn from_json(bytes: &'a [u8]) -> Result<Self, NotAnEntry> {
        let header: Header<'a> = serde_json::from_slice(bytes)?;
        let body = Body::read_json(&header.kind, bytes)?;
        let Header { v, time, salt, session, .. } = header;
        Ok(Entry { v, time, salt, session, body })
    }
}

#[cfg(test)]
mod tests;
