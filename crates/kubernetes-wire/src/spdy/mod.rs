//! SPDY/3.1, as Kubernetes speaks it: exec and attach of older clients, and every port forward
//! (which newer clients put into binary WebSocket messages: give their payload to
//! [`SpdyFrames::push`]).
//!
//! - [`SpdyFrames`]: the frames of one direction.
//! - [`SpdyChannels`]: which stream of an exec is which channel.
//!
//! The API server's reader (github.com/moby/spdystream) passes over some lengths and flags that
//! the protocol fixes. What it would read differently from the length of a frame is refused here.

mod channels;
mod dictionary;
mod frames;
mod headers;

pub use channels::{MAX_EXEC_STREAMS, SpdyChannels};
pub use dictionary::DICTIONARY;
pub use frames::{
    MAX_CONTROL_FRAME_BYTES, MAX_DATA_FRAME_BYTES, MAX_SETTINGS, Setting, SpdyEvent, SpdyFrames,
    SpdyPart, write_data,
};
pub use headers::{MAX_HEADER_BLOCK_BYTES, MAX_HEADERS, StreamHeaders};

/// Why a stream of frames can't be read on. It shows nothing of what it carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpdyError {
    /// A control frame of another version of SPDY.
    #[error("a control frame is not of SPDY/3")]
    Version,
    /// A known control frame that is longer than [`MAX_CONTROL_FRAME_BYTES`].
    #[error("a control frame is longer than {MAX_CONTROL_FRAME_BYTES} bytes")]
    TooLong,
    /// A control frame whose length, flags or numbers are not those of its kind.
    #[error("a control frame of type {kind} is not well formed")]
    Malformed {
        /// Its type (2.6).
        kind: u16,
    },
    /// A frame of the stream 0, or of one whose number has 32 bits.
    #[error("a stream's number is zero, or has 32 bits")]
    StreamId,
    /// Headers that can't be inflated, or are more than [`MAX_HEADER_BLOCK_BYTES`] then.
    #[error("headers can't be inflated, or are longer than {MAX_HEADER_BLOCK_BYTES} bytes")]
    Inflate,
    /// Headers that are not as the protocol wants them (2.6.10), or more than [`MAX_HEADERS`].
    #[error("headers are not well formed, or more than {MAX_HEADERS}")]
    Headers,
    /// A stream of an exec that has no known `streamType`, has one that another stream has, or
    /// begins twice; or more than [`MAX_EXEC_STREAMS`].
    #[error("a stream begins that is none of an exec, or begins twice")]
    StreamType,
    /// Data of a stream that has not begun.
    #[error("data of a stream that has not begun")]
    NoStream,
}
