//! What the error channel and the resize channel hold.

use serde::Deserialize;

use super::StreamError;

/// The most that is kept of an error channel, bytes.
pub const MAX_STATUS_BYTES: usize = 64 << 10;
/// The most that is kept of a size, bytes.
pub const MAX_RESIZE_BYTES: usize = 1024;

/// How a command ended.
#[derive(Clone, PartialEq, Eq)]
pub enum Exit {
    /// It ran and ended with this code; 0 is success.
    Code(u8),
    /// It did not run, or nobody knows how it ended.
    Failed {
        /// Kubernetes' word for it; may be empty.
        reason: String,
        /// For people. It may hold the command.
        message: String,
    },
}

// A message may hold the command, and that a password.
impl std::fmt::Debug for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "Code({code})"),
            Self::Failed { message, .. } => write!(f, "Failed, {} bytes", message.len()),
        }
    }
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    causes: Vec<Cause>,
}

#[derive(Deserialize)]
struct Cause {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

impl Exit {
    /// Reads the Status at the end of an exec or attach (client-go's
    /// `tools/remotecommand/v4.go`): `Success`; or `NonZeroExitCode` with the code as the message
    /// of the cause `ExitCode`; or another failure.
    ///
    /// # Errors
    /// What is no such Status: the server's fault.
    pub fn parse(bytes: &[u8]) -> Result<Self, StreamError> {
        let status: Status = serde_json::from_slice(bytes).map_err(|_| StreamError::Status)?;
        match status.status.as_str() {
            "Success" => Ok(Self::Code(0)),
            "Failure" if status.reason == "NonZeroExitCode" => {
                let causes = status.details.map(|it| it.causes).unwrap_or_default();
                let code = causes.into_iter().find(|it| it.reason == "ExitCode");
                let code = code.and_then(|it| it.message.parse().ok());
                code.map(Self::Code).ok_or(StreamError::Status)
            }
            "Failure" => Ok(Self::Failed { reason: status.reason, message: status.message }),
            _ => Err(StreamError::Status),
        }
    }
}

/// Gathers the error channel, which holds one Status in however many messages.
#[derive(Default)]
pub struct ExitStatus {
    bytes: Vec<u8>,
    overflowed: bool,
}

impl std::fmt::Debug for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ExitStatus of {} bytes", self.bytes.len())
    }
}

impl ExitStatus {
    /// Adds what the channel carried.
    pub fn push(&mut self, bytes: &[u8]) {
        self.overflowed |= self.bytes.len() + bytes.len() > MAX_STATUS_BYTES;
        if !self.overflowed {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// How it ended; none if the channel carried nothing, as when the connection broke.
    ///
    /// # Errors
    /// More than [`MAX_STATUS_BYTES`], or no Status: the server's fault.
    pub fn exit(&self) -> Result<Option<Exit>, StreamError> {
        match (self.overflowed, self.bytes.is_empty()) {
            (true, _) => Err(StreamError::Status),
            (false, true) => Ok(None),
            (false, false) => Exit::parse(&self.bytes).map(Some),
        }
    }
}

/// A terminal's size, characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Size {
    /// Columns.
    #[serde(rename = "Width", alias = "width", default)]
    pub width: u16,
    /// Lines.
    #[serde(rename = "Height", alias = "height", default)]
    pub height: u16,
}

/// Reads the resize channel: JSON objects one behind the other, wherever they are cut
/// (`TerminalSize` in client-go's `tools/remotecommand/resize.go`).
#[derive(Default)]
pub struct Sizes {
    bytes: Vec<u8>,
    failed: bool,
}

impl std::fmt::Debug for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sizes with {} bytes", self.bytes.len())
    }
}

impl Sizes {
    /// Adds what the channel carried; the sizes that are whole now.
    ///
    /// # Errors
    /// What is no size, or one longer than [`MAX_RESIZE_BYTES`]: the client's fault. Kubernetes
    /// takes no further size then, and so it is here.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Size>, StreamError> {
        let mut out = Vec::new();
        // In parts, so that little is kept of a long message, too.
        for part in bytes.chunks(MAX_RESIZE_BYTES) {
            if self.failed {
                break;
            }
            self.bytes.extend_from_slice(part);
            let mut sizes = serde_json::Deserializer::from_slice(&self.bytes).into_iter();
            let mut read = 0;
            loop {
                match sizes.next() {
                    Some(Ok(size)) => {
                        out.push(size);
                        self.failed |= sizes.byte_offset() - read > MAX_RESIZE_BYTES;
                        read = sizes.byte_offset();
                    }
                    Some(Err(e)) if !e.is_eof() => {
                        self.failed = true;
                        break;
                    }
                    _ => break,
                }
            }
            drop(self.bytes.drain(..read));
            self.failed |= self.bytes.len() > MAX_RESIZE_BYTES;
        }
        if self.failed {
            return Err(StreamError::Resize);
        }
        Ok(out)
    }
}
