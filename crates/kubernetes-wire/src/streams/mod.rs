//! What an exec, an attach or a forward carries once its connection speaks another protocol.
//!
//! - [`WebSocketFrames`]: WebSocket's frames (RFC 6455) of one direction.
//! - [`Channels`]: what the messages say in `v5.channel.k8s.io` and its kin.
//! - [`ExitStatus`], [`Sizes`]: what the error and resize channels say.
//!
//! - [`write_message`], [`write_control`]: the same, written.
//!
//! The readers read what also passes on to the far side. So what that could read differently is an
//! error: close the connection then.

mod channels;
mod exit;
mod utf8;
mod websocket;
mod write;

pub use channels::{Channel, ChannelEvent, Channels, Subprotocol};
pub use exit::{Exit, ExitStatus, MAX_RESIZE_BYTES, MAX_STATUS_BYTES, Size, Sizes};
pub use websocket::{
    MAX_CONTROL_BYTES, MAX_FRAME_BYTES, MAX_PIECE_BYTES, Piece, Side, WebSocketEvent,
    WebSocketFrames,
};
pub use write::{write_control, write_message};

/// The first byte of a message that closes a channel (KEP-4006).
const CLOSE_SIGNAL: u8 = 255;

/// Why a stream can't be read on. It shows nothing of what the stream carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// A frame that RFC 6455 forbids.
    #[error("a WebSocket frame is wrong: {why}")]
    Frame {
        /// What is wrong with it.
        why: &'static str,
    },
    /// A frame longer than [`MAX_FRAME_BYTES`].
    #[error("a WebSocket frame is longer than {MAX_FRAME_BYTES} bytes")]
    TooLong,
    /// A message in several frames: see [`Channels`].
    #[error("a message comes in several frames")]
    Fragmented,
    /// A channel that the subprotocol does not have.
    #[error("there is no channel {0}")]
    NoChannel(u8),
    /// A message that closes a channel is not two bytes long.
    #[error("a message that closes a channel is not two bytes long")]
    CloseSignal,
    /// What should be base64 is not.
    #[error("a message is not base64")]
    NotBase64,
    /// The error channel holds more than [`MAX_STATUS_BYTES`], or no Status.
    #[error("the error channel holds no Status")]
    Status,
    /// The resize channel holds something that is no size.
    #[error("the resize channel holds something that is no size")]
    Resize,
}
