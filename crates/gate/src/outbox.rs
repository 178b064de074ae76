//! Buffers whose bytes leave only when what must be on record is on record.
//!
//! A relay puts bytes in with the proof that covers them and goes on reading; the bytes leave
//! when the proof's entry is durable. So one task serves both directions of a connection, many
//! commands can be under way, and no wait for the disk stops a read.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;

use crate::journal::{JournalError, Wait};
use crate::permit::{Admitted, Hold, Release};

/// Above this many bytes a buffer that has become empty is given back, so that an idle
/// connection keeps little.
const KEEP_CAPACITY: usize = 8 * 1024;

/// Bytes on their way to a target. Each needs an [`Admitted`].
#[derive(Debug, Default)]
pub struct TargetOutbox(Queue);

/// Bytes on their way to a client. Each needs a [`Release`].
#[derive(Debug, Default)]
pub struct ClientOutbox(Queue);

impl TargetOutbox {
    /// Adds bytes of an admitted command.
    pub fn push(&mut self, admitted: &Admitted, bytes: &[u8]) {
        self.0.push(&admitted.hold, bytes);
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.0.buf.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.buf.is_empty()
    }

    /// Writes what may leave. Ready when nothing waits any more.
    ///
    /// # Errors
    /// [`OutboxError`]: the connection can't go on.
    pub fn poll_flush<W: AsyncWrite + Unpin + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        wait: &mut dyn Wait,
        io: &mut W,
    ) -> Poll<Result<(), OutboxError>> {
        self.0.poll_flush(cx, wait, io)
    }
}

impl ClientOutbox {
    /// Adds bytes of a recorded answer.
    pub fn push(&mut self, release: &Release, bytes: &[u8]) {
        self.0.push(&release.hold, bytes);
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.0.buf.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.buf.is_empty()
    }

    /// Throws away what is not known to be on record: after a failure of the record, so that the
    /// client can be told of it. What is left ends where some [`push`](Self::push) ended.
    pub fn drop_held(&mut self) {
        self.0.drop_held();
    }

    /// Writes what may leave. Ready when nothing waits any more.
    ///
    /// # Errors
    /// [`OutboxError`]: the connection can't go on.
    pub fn poll_flush<W: AsyncWrite + Unpin + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        wait: &mut dyn Wait,
        io: &mut W,
    ) -> Poll<Result<(), OutboxError>> {
        self.0.poll_flush(cx, wait, io)
    }
}

/// Why bytes can't leave.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The record failed: our fault.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The peer's connection failed: the peer's fault, or the network's.
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Debug, Default)]
struct Queue {
    buf: BytesMut,
    /// Offset of `buf`'s first byte since the beginning.
    start: u64,
    /// Bytes before this offset may leave.
    cleared: u64,
    /// For each run of bytes behind `cleared`: where it ends, and what it waits for.
    holds: VecDeque<(u64, Hold)>,
    /// Something was written and the writer has not been flushed since.
    unflushed: bool,
}

impl Queue {
    fn push(&mut self, hold: &Hold, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.buf.extend_from_slice(bytes);
        let end = self.start + self.buf.len() as u64;
        match self.holds.back_mut() {
            Some((last, held)) if held.is_implied_by(hold) => *last = end,
            _ => self.holds.push_back((end, hold.clone())),
        }
    }

    fn drop_held(&mut self) {
        self.holds.clear();
        self.buf.truncate(usize::try_from(self.cleared - self.start).unwrap_or(usize::MAX));
    }

    fn poll_clear(
        &mut self,
        cx: &mut Context<'_>,
        wait: &mut dyn Wait,
    ) -> Poll<Result<(), JournalError>> {
        while let Some((end, hold)) = self.holds.front() {
            std::task::ready!(hold.poll(wait, cx))?;
            self.cleared = *end;
            self.holds.pop_front();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush<W: AsyncWrite + Unpin + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        wait: &mut dyn Wait,
        io: &mut W,
    ) -> Poll<Result<(), OutboxError>> {
        let waiting = self.poll_clear(cx, wait)?.is_pending();
        loop {
            let may_leave = usize::try_from(self.cleared - self.start).unwrap_or(usize::MAX);
            let Some(ready) = self.buf.get(..may_leave).filter(|ready| !ready.is_empty()) else {
                break;
            };
            let written = std::task::ready!(Pin::new(&mut *io).poll_write(cx, ready))?;
            if written == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            self.buf.advance(written);
            self.start += written as u64;
            self.unflushed = true;
        }
        if self.unflushed {
            std::task::ready!(Pin::new(&mut *io).poll_flush(cx))?;
            self.unflushed = false;
        }
        if waiting {
            return Poll::Pending;
        }
        if self.buf.capacity() > KEEP_CAPACITY {
            self.buf = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::journal::Mark;

    /// A journal that is durable up to what the test says.
    struct UpTo(u64);

    impl Wait for UpTo {
        fn poll(&mut self, mark: Mark, _: &mut Context<'_>) -> Poll<Result<(), JournalError>> {
            match mark {
                Mark::Durable(index) if index < self.0 => Poll::Ready(Ok(())),
                _ => Poll::Pending,
            }
        }
    }

    fn durable(index: u64) -> Admitted {
        Admitted { hold: Hold::until(Mark::Durable(index)) }
    }

    #[test]
    fn nothing_leaves_before_its_entry_is_durable() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut outbox = TargetOutbox::default();
        let mut wire = Vec::new();
        outbox.push(&durable(0), b"one ");
        outbox.push(&durable(0), b"two ");
        outbox.push(&durable(1), b"three");
        assert!(outbox.poll_flush(&mut cx, &mut UpTo(0), &mut wire).is_pending());
        assert_eq!(wire, b"");
        assert!(outbox.poll_flush(&mut cx, &mut UpTo(1), &mut wire).is_pending());
        assert_eq!(wire, b"one two ");
        assert!(outbox.poll_flush(&mut cx, &mut UpTo(2), &mut wire).is_ready());
        assert_eq!(wire, b"one two three");
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_failed_record_stops_the_bytes() {
        struct Broken;
        impl Wait for Broken {
            fn poll(&mut self, _: Mark, _: &mut Context<'_>) -> Poll<Result<(), JournalError>> {
                Poll::Ready(Err(JournalError::Failed))
            }
        }
        let mut cx = Context::from_waker(Waker::noop());
        let mut outbox = TargetOutbox::default();
        let mut wire = Vec::new();
        outbox.push(&durable(0), b"x");
        let Poll::Ready(Err(OutboxError::Journal(JournalError::Failed))) =
            outbox.poll_flush(&mut cx, &mut Broken, &mut wire)
        else {
            panic!("must fail")
        };
        assert!(wire.is_empty());
    }
    #[test]
    fn after_a_failed_record_only_what_was_cleared_and_the_goodbye_leave() {
        /// Its first entry is durable, and no other ever will be.
        struct Half;
        impl Wait for Half {
            fn poll(&mut self, mark: Mark, _: &mut Context<'_>) -> Poll<Result<(), JournalError>> {
                Poll::Ready(if mark == Mark::Durable(0) {
                    Ok(())
                } else {
                    Err(JournalError::Failed)
                })
            }
        }
        let release = |index| Release { hold: Hold::until(Mark::Durable(index)) };
        let mut cx = Context::from_waker(Waker::noop());
        let mut outbox = ClientOutbox::default();
        let mut wire = Vec::new();
        outbox.push(&release(0), b"shown ");
        outbox.push(&release(1), b"secret");
        assert!(matches!(outbox.poll_flush(&mut cx, &mut Half, &mut wire), Poll::Ready(Err(_))));
        outbox.drop_held();
        outbox.push(&release(0), b"goodbye");
        assert!(matches!(outbox.poll_flush(&mut cx, &mut Half, &mut wire), Poll::Ready(Ok(()))));
        assert_eq!(wire, b"shown goodbye");
    }
}
