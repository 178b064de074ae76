//! The SSH File Transfer Protocol, version 3 (draft-ietf-secsh-filexfer-02) with OpenSSH's
//! extensions, as a [`Machine`] that sees both directions of one session.
//!
//! Whole packets are found where they lie; the contents of `WRITE` and `DATA`, which may be large,
//! are passed in pieces as they come ([`Step::Content`]) and never gathered.
//!
//! ```
//! use ssh_wire::sftp::{Machine, Op, Step};
//!
//! let mut machine = Machine::new();
//! let init = [0, 0, 0, 5, 1, 0, 0, 0, 3];
//! let Step::Packet { bytes: 9, packet } = machine.client(&init)? else { panic!() };
//! assert_eq!(packet.op, Op::Init { version: 3 });
//! # Ok::<(), ssh_wire::sftp::SftpError>(())
//! ```

mod answer;
mod op;
mod version;

use std::collections::HashSet;

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::{Reader, WireError};

pub use answer::{Answer, Reply};
pub use op::{Attributes, Extension, Op, OpenFlags, Request};
pub use version::{EXTENSIONS, plain_version};

/// The longest request besides `WRITE`, in bytes (draft section 3: 34,000).
pub const MAX_PACKET_BYTES: usize = 34_000;
/// The longest answer besides `DATA`, in bytes: what OpenSSH takes. Its server's lists of a
/// hundred long names are beyond 34,000.
pub const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// The longest content of a `WRITE` or `DATA`, in bytes. OpenSSH takes 256 KiB, asyncssh this. It
/// is never gathered.
pub const MAX_CONTENT_BYTES: u32 = 4 * 1024 * 1024;
/// The most requests without an answer.
pub const MAX_REQUESTS: usize = 1024;
/// The longest handle, in bytes (draft section 6.3).
pub const MAX_HANDLE_BYTES: usize = 256;
/// The version spoken.
pub const VERSION: u32 = 3;

/// `SSH_FX_PERMISSION_DENIED`.
pub const PERMISSION_DENIED: u32 = 3;
/// `SSH_FX_OP_UNSUPPORTED`.
pub const OP_UNSUPPORTED: u32 = 8;

pub(crate) const WRITE: u8 = 6;
pub(crate) const STATUS: u8 = 101;
pub(crate) const DATA: u8 = 103;

/// What goes on is not version 3 of the protocol; the session can't be followed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SftpError {
    /// A packet is not what its number promises.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Longer than [`MAX_PACKET_BYTES`], [`MAX_ANSWER_BYTES`] or [`MAX_CONTENT_BYTES`].
    #[error("an sftp packet has {0} bytes: too long")]
    TooLong(u64),
    /// A packet type that the sender does not send.
    #[error("sftp packet type {0} is not known here")]
    Unknown(u8),
    /// `INIT` or `VERSION` is missing, or comes twice.
    #[error("sftp begins with one INIT and one VERSION")]
    Order,
    /// Another version.
    #[error("sftp version {0} is not spoken, only 3")]
    Version(u32),
    /// A request with the number of one that has no answer yet. The client's fault.
    #[error("sftp request {0} has no answer yet, and another has its number")]
    Twice(u32),
    /// An answer to nothing, or to what was refused. The target's fault.
    #[error("an sftp answer to {0}, which nobody asked")]
    Unasked(u32),
    /// More than [`MAX_REQUESTS`]. The client's fault.
    #[error("too many sftp requests without an answer")]
    TooMany,
}

/// What comes next in a direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<'a, P> {
    /// Nothing whole: more bytes are needed.
    NeedMore,
    /// A packet; of a `WRITE` or `DATA`, all before its content.
    Packet {
        /// How many bytes of the buffer it is.
        bytes: usize,
        /// What it says.
        packet: P,
    },
    /// The next bytes of the content of the `WRITE` or `DATA` before.
    Content(&'a [u8]),
}

/// One session's two directions.
#[derive(Debug, Default)]
pub struct Machine {
    begun: bool,
    answered: bool,
    /// Content yet to come, from the client and from the server.
    client_content: u32,
    server_content: u32,
    open: HashSet<u32>,
}

/// A packet's type and body, the body without the content of a `WRITE` or `DATA`.
struct Framed<'a> {
    kind: u8,
    body: &'a [u8],
    /// Bytes of the buffer.
    bytes: usize,
    /// Bytes of content behind.
    content: u32,
}

impl Machine {
    /// One at the beginning of a session.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is next in the client's stream; the caller drops `bytes` (or the content) from the
    /// buffer's beginning, and asks again.
    ///
    /// # Errors
    /// The client does not speak version 3, or breaks a limit.
    pub fn client<'a>(&mut self, buffer: &'a [u8]) -> Result<Step<'a, Request<'a>>, SftpError> {
        if let Some(content) = content(&mut self.client_content, buffer) {
            return Ok(content);
        }
        let Some(framed) = frame(buffer, WRITE, MAX_PACKET_BYTES)? else {
            return Ok(Step::NeedMore);
        };
        let packet = op::parse(framed.kind, framed.body, framed.content)?;
        match packet.op {
            Op::Init { .. } if self.begun => return Err(SftpError::Order),
            Op::Init { version } if version < VERSION => return Err(SftpError::Version(version)),
            Op::Init { .. } => self.begun = true,
            _ if !self.begun => return Err(SftpError::Order),
            _ if self.open.len() >= MAX_REQUESTS => return Err(SftpError::TooMany),
            _ if !self.open.insert(packet.id) => return Err(SftpError::Twice(packet.id)),
            _ => {}
        }
        self.client_content = framed.content;
        Ok(Step::Packet { bytes: framed.bytes, packet })
    }

    /// What is next in the server's stream.
    ///
    /// # Errors
    /// The server does not speak version 3, breaks a limit, or answers what was not asked.
    pub fn server<'a>(&mut self, buffer: &'a [u8]) -> Result<Step<'a, Reply<'a>>, SftpError> {
        if let Some(content) = content(&mut self.server_content, buffer) {
            return Ok(content);
        }
        let Some(framed) = frame(buffer, DATA, MAX_ANSWER_BYTES)? else {
            return Ok(Step::NeedMore);
        };
        let packet = answer::parse(framed.kind, framed.body, framed.content)?;
        match packet.answer {
            Answer::Version { .. } if self.answered || !self.begun => return Err(SftpError::Order),
            Answer::Version { version } if version != VERSION => {
                return Err(SftpError::Version(version));
            }
            Answer::Version { .. } => self.answered = true,
            _ if !self.answered => return Err(SftpError::Order),
            _ if !self.open.remove(&packet.id) => return Err(SftpError::Unasked(packet.id)),
            _ => {}
        }
        self.server_content = framed.content;
        Ok(Step::Packet { bytes: framed.bytes, packet })
    }

    /// Whether an answer of ours may stand at this place of the server's stream: not inside the
    /// content of a `DATA`.
    #[must_use]
    pub fn between_answers(&self) -> bool {
        self.server_content == 0
    }

    /// Answers a request in the server's place: it counts as answered, and must not be forwarded
    /// (a `WRITE`'s content neither).
    ///
    /// # Errors
    /// [`SftpError::Unasked`]: it has an answer already. Our own fault.
    pub fn refuse(&mut self, id: u32, code: u32, text: &str) -> Result<Bytes, SftpError> {
        if !self.open.remove(&id) {
            return Err(SftpError::Unasked(id));
        }
        let text: String = text.chars().take(MAX_REFUSAL_CHARS).collect();
        let mut body = BytesMut::new();
        body.put_u8(STATUS);
        body.put_u32(id);
        body.put_u32(code);
        put_string(&mut body, text.as_bytes());
        put_string(&mut body, b"en");
        let mut out = BytesMut::new();
        put_string(&mut out, &body);
        Ok(out.freeze())
    }
}

/// The longest text of a refusal, in characters.
const MAX_REFUSAL_CHARS: usize = 1024;

fn put_string(out: &mut BytesMut, bytes: &[u8]) {
    // What is written here is a few KiB.
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

/// The next piece of content that is due.
fn content<'a, P>(due: &mut u32, buffer: &'a [u8]) -> Option<Step<'a, P>> {
    if *due == 0 {
        return None;
    }
    let length = buffer.len().min(usize::try_from(*due).unwrap_or(usize::MAX));
    let piece = buffer.get(..length).unwrap_or_default();
    *due = due.saturating_sub(u32::try_from(length).unwrap_or(u32::MAX));
    Some(if piece.is_empty() { Step::NeedMore } else { Step::Content(piece) })
}

/// Finds the next packet, of at most so many bytes; of one of type `streamed`, what is before its
/// content.
fn frame(buffer: &[u8], streamed: u8, most: usize) -> Result<Option<Framed<'_>>, SftpError> {
    let Some((length, rest)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length);
    let Some((&kind, body)) = rest.split_first() else {
        return if length == 0 { Err(WireError::Empty.into()) } else { Ok(None) };
    };
    if length == 0 {
        return Err(WireError::Empty.into());
    }
    let size = usize::try_from(length).map_err(|_| SftpError::TooLong(length.into()))? - 1;
    if kind != streamed {
        if size >= most {
            return Err(SftpError::TooLong(length.into()));
        }
        let Some(body) = body.get(..size) else { return Ok(None) };
        return Ok(Some(Framed { kind, body, bytes: size + 5, content: 0 }));
    }
    // The fields before the content: the id; of a WRITE handle and offset; the content's length.
    let mut reader = Reader::new(body.get(..size.min(body.len())).unwrap_or_default());
    let whole = body.len() >= size;
    let fields = (|| {
        reader.uint32()?;
        if streamed == WRITE {
            let handle = reader.uint32()?;
            let handle = usize::try_from(handle).unwrap_or(usize::MAX);
            if handle > MAX_HANDLE_BYTES {
                return Err(WireError::Invalid("handle"));
            }
            reader.take(handle)?;
            reader.uint64()?;
        }
        reader.uint32()
    })();
    let content = match fields {
        Ok(content) => content,
        Err(WireError::Short) if !whole => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if content > MAX_CONTENT_BYTES {
        return Err(SftpError::TooLong(content.into()));
    }
    let head = size.min(body.len()) - reader.left();
    if head as u64 + u64::from(content) != size as u64 {
        return Err(WireError::Invalid("length").into());
    }
    let body = body.get(..head).unwrap_or_default();
    Ok(Some(Framed { kind, body, bytes: head + 5, content }))
}
