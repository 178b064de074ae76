//! Which stream of an exec or attach is which channel.

use super::{SpdyError, SpdyEvent};
use crate::streams::{Channel, ChannelEvent};

/// The most streams of one exec or attach: one of each type.
pub const MAX_EXEC_STREAMS: usize = 5;

/// The streams of an exec or attach, both directions. The client begins each stream and says by
/// `streamType` what it is; data goes by the stream's number, both ways. So show it the events of
/// both directions, the client's SYN_STREAM before what answers it.
#[derive(Debug, Default)]
pub struct SpdyChannels {
    streams: Vec<(u32, Channel)>,
}

impl SpdyChannels {
    /// Before the first stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What the stream is, if it has begun.
    #[must_use]
    pub fn channel(&self, stream: u32) -> Option<Channel> {
        self.streams.iter().find(|(it, _)| *it == stream).map(|(_, channel)| *channel)
    }

    /// The stream that is this channel, or the one that is closed, if it has begun.
    #[must_use]
    pub fn stream(&self, channel: Channel) -> Option<u32> {
        let found = self.streams.iter().find(|(_, it)| it.number() == channel.number());
        found.map(|(stream, _)| *stream)
    }

    /// Reads an event and gives what it says to `on`: data, and [`Channel::Close`] where a
    /// direction of a stream ends (of both directions, at a RST_STREAM). Each piece of data is
    /// `last`.
    ///
    /// # Errors
    /// Streams that are none of an exec, and data of such: the sender's fault. Close the
    /// connection then.
    pub fn read(
        &mut self,
        event: &SpdyEvent<'_>,
        on: &mut dyn FnMut(ChannelEvent<'_>),
    ) -> Result<(), SpdyError> {
        let (stream, fin) = match event {
            SpdyEvent::SynStream { stream, fin, headers, .. } => {
                let channel = match headers.stream_type() {
                    Some("stdin") => Channel::Stdin,
                    Some("stdout") => Channel::Stdout,
                    Some("stderr") => Channel::Stderr,
                    Some("error") => Channel::Error,
                    Some("resize") => Channel::Resize,
                    _ => return Err(SpdyError::StreamType),
                };
                // One of each type, so never more than MAX_EXEC_STREAMS.
                if self.streams.iter().any(|it| it.0 == *stream || it.1 == channel) {
                    return Err(SpdyError::StreamType);
                }
                self.streams.push((*stream, channel));
                (*stream, *fin)
            }
            SpdyEvent::Data { stream, fin, bytes } => {
                let channel = self.channel(*stream).ok_or(SpdyError::NoStream)?;
                if !bytes.is_empty() {
                    on(ChannelEvent { channel, bytes, last: true });
                }
                (*stream, *fin)
            }
            SpdyEvent::SynReply { stream, fin, .. } | SpdyEvent::Headers { stream, fin, .. } => {
                (*stream, *fin)
            }
            SpdyEvent::RstStream { stream, .. } => (*stream, true),
            _ => return Ok(()),
        };
        if let Some(channel) = self.channel(stream).filter(|_| fin) {
            let channel = Channel::Close(channel.number());
            on(ChannelEvent { channel, bytes: &[], last: true });
        }
        Ok(())
    }
}
