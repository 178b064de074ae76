//! One session's relay: one task, both sockets, no hop between them.
//!
//! Each turn reads what is there, takes every whole message, and writes what may leave. A read
//! goes into a buffer that all sessions of a thread share; only a message that is not whole yet
//! is kept by the session, so an idle session keeps no read buffer.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use gate::{OutboxError, Wait};
use postgres_wire::Side;
use postgres_wire::frame::{Framed, Limits, next_frame};
use tokio::io::{AsyncRead, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;

use crate::session::{End, Flow, Machine};
use crate::stream::Stream;

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// A side is not read while more than this waits to leave for the other, in bytes: what bounds
/// a session's memory beside its largest message.
const HIGH_WATER: usize = 256 * 1024;
/// How long the last words to a client may take.
const FAREWELL: Duration = Duration::from_secs(5);
/// Turns that one session may take before others get theirs.
const MAX_TURNS: usize = 16;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// A session's two connections.
pub(crate) struct Relay {
    pub(crate) client: Half,
    pub(crate) target: Half,
    pub(crate) machine: Machine,
    pub(crate) limits: Limits,
}

/// One connection, and the part of a message that was read from it and is not whole.
pub(crate) struct Half {
    pub(crate) stream: Stream,
    pub(crate) rest: BytesMut,
    pub(crate) wait: Box<dyn Wait>,
    closed: bool,
}

impl Half {
    pub(crate) fn new(stream: Stream, rest: BytesMut, wait: Box<dyn Wait>) -> Self {
        Half { stream, rest, wait, closed: false }
    }
}

/// How a session ended.
pub(crate) struct Ended {
    pub(crate) reason: String,
    pub(crate) end: Option<End>,
}

impl Relay {
    /// Relays until one side closes, the lease ends, or `shutdown` is ready and the session is
    /// at rest.
    pub(crate) async fn run(&mut self, shutdown: impl Future<Output = ()>) -> Ended {
        let lease = self.machine.session.lease().clone();
        let mut lease = pin!(lease.ended());
        let mut shutdown = pin!(shutdown);
        let mut draining = false;
        let end = poll_fn(|cx| {
            if let Poll::Ready(reason) = lease.as_mut().poll(cx) {
                return Poll::Ready(Err(Stop::End(End::Lease(reason))));
            }
            if !draining {
                draining = shutdown.as_mut().poll(cx).is_ready();
            }
            match self.poll(cx) {
                Poll::Pending if draining && self.machine.is_at_rest() => {
                    Poll::Ready(Err(Stop::Shutdown))
                }
                other => other,
            }
        })
        .await;
        match end {
            Ok(()) | Err(Stop::End(End::Closed)) => ended("client closed", Some(End::Closed)),
            Err(Stop::TargetClosed) => {
                ended("target closed", (!self.machine.fatal).then_some(End::TargetGone))
            }
            Err(Stop::Shutdown) => ended("shutdown", None),
            Err(Stop::Io(side, error)) => ended(&format!("{side}: {error}"), None),
            Err(Stop::End(end)) => ended(&end.to_string(), Some(end)),
        }
    }

    /// One task's turn. Ready when the session is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        for _ in 0..MAX_TURNS {
            self.machine.poll_blocked(cx)?;
            self.machine.end_of_client_batch()?;
            let mut progress = self.poll_target(cx)?;
            progress |= self.poll_client(cx)?;
            // What leaves makes room, and room may be what a read waits for.
            progress |= self.poll_writes(cx)?;
            progress |= self.machine.is_unpolled();
            if self.client.closed {
                return Poll::Ready(Ok(()));
            }
            if self.target.closed && self.machine.to_client.is_empty() {
                return Poll::Ready(Err(Stop::TargetClosed));
            }
            if !progress {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what may leave. True if a side that was too full to be read for has room again.
    fn poll_writes(&mut self, cx: &mut Context<'_>) -> Result<bool, Stop> {
        let Relay { client, target, machine, .. } = self;
        let is_full = |machine: &Machine| {
            machine.to_target.len() > HIGH_WATER || machine.to_client.len() > HIGH_WATER
        };
        let was_full = is_full(machine);
        if let Poll::Ready(Err(error)) =
            machine.to_target.poll_flush(cx, &mut *target.wait, &mut target.stream)
        {
            match error {
                OutboxError::Journal(error) => return Err(Stop::End(error.into())),
                // The server may have said why before it closed: that is read first.
                OutboxError::Io(_) => target.closed = machine.to_client.is_empty(),
            }
        }
        match machine.to_client.poll_flush(cx, &mut *client.wait, &mut client.stream) {
            Poll::Ready(Err(OutboxError::Journal(error))) => Err(Stop::End(error.into())),
            Poll::Ready(Err(OutboxError::Io(error))) => Err(Stop::Io("client", error)),
            _ => Ok(was_full && !is_full(machine)),
        }
    }

    fn poll_client(&mut self, cx: &mut Context<'_>) -> Result<bool, Stop> {
        let Relay { client, machine, limits, target } = self;
        if target.closed || !machine.takes_more() || machine.to_target.len() > HIGH_WATER {
            return Ok(false);
        }
        let limits = *limits;
        take(client, cx, "client", |buf, _| {
            let mut used = 0;
            while machine.takes_more() {
                let Some(rest) = buf.get(used..) else { break };
                let Framed::Frame { tag, body, total } =
                    next_frame(rest, Side::Frontend, &limits).map_err(End::from)?
                else {
                    break;
                };
                let frame = rest.get(..total).unwrap_or_default();
                match machine.on_client(tag, body, frame) {
                    Ok(Flow::Next) => used += total,
                    Ok(Flow::Blocked) => break,
                    Err(End::Closed) => {
                        machine.end_of_client_batch()?;
                        return Err(End::Closed);
                    }
                    Err(end) => return Err(end),
                }
            }
            machine.end_of_client_batch()?;
            Ok(used)
        })
    }

    fn poll_target(&mut self, cx: &mut Context<'_>) -> Result<bool, Stop> {
        let Relay { target, machine, limits, .. } = self;
        if machine.is_finishing() || machine.to_client.len() > HIGH_WATER {
            return Ok(false);
        }
        let limits = *limits;
        take(target, cx, "target", |buf, cx| {
            let mut used = 0;
            while !machine.is_finishing() {
                let Some(rest) = buf.get(used..) else { break };
                let Framed::Frame { tag, body, total } =
                    next_frame(rest, Side::Backend, &limits).map_err(End::from)?
                else {
                    break;
                };
                let frame = rest.get(..total).unwrap_or_default();
                used += total;
                if machine.on_server(tag, body, frame, cx)? == Flow::Blocked {
                    break;
                }
            }
            machine.end_of_server_batch()?;
            Ok(used)
        })
    }

    /// Says goodbye: the client is told why, what was under way is recorded, the target's
    /// connection is closed.
    pub(crate) async fn farewell(&mut self, ended: &Ended) {
        poll_fn(|cx| self.machine.poll_abandon(cx)).await;
        if matches!(ended.end, Some(End::Journal(_))) {
            // It would never leave, and what the client is told would wait behind it.
            self.machine.to_client.drop_held();
        }
        if let Some(told) = ended.end.as_ref().and_then(End::told) {
            self.machine.say(&told);
        } else if ended.reason == "shutdown" {
            self.machine.say(&crate::refusal::Told::fatal("57P01", "greffier is shutting down"));
        }
        let Relay { client, target, machine, .. } = self;
        let last_words = async {
            let write = poll_fn(|cx| {
                machine.to_client.poll_flush(cx, &mut *client.wait, &mut client.stream)
            });
            let _told = write.await;
            let _closed = client.stream.shutdown().await;
        };
        let _in_time = timeout(FAREWELL, last_words).await;
        let goodbye = async {
            let write = poll_fn(|cx| {
                machine.to_target.poll_flush(cx, &mut *target.wait, &mut target.stream)
            });
            let _sent = write.await;
            let _closed = target.stream.shutdown().await;
        };
        let _in_time = timeout(FAREWELL, goodbye).await;
    }
}

/// Why the loop stops.
enum Stop {
    End(End),
    TargetClosed,
    Shutdown,
    Io(&'static str, io::Error),
}

impl From<End> for Stop {
    fn from(end: End) -> Self {
        Stop::End(end)
    }
}

fn ended(reason: &str, end: Option<End>) -> Ended {
    Ended { reason: reason.to_owned(), end }
}

/// Gives `on_bytes` what is there to take from a connection: what was kept, or else a new read.
/// It says how many bytes it used; the rest is kept. True if anything moved.
fn take(
    side: &mut Half,
    cx: &mut Context<'_>,
    name: &'static str,
    mut on_bytes: impl FnMut(&[u8], &mut Context<'_>) -> Result<usize, End>,
) -> Result<bool, Stop> {
    let mut moved = false;
    if !side.rest.is_empty() {
        let used = on_bytes(&side.rest, cx)?;
        side.rest.advance(used);
        moved = used > 0;
    }
    if side.closed {
        return Ok(moved);
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buf = ReadBuf::new(scratch);
        match Pin::new(&mut side.stream).poll_read(cx, &mut buf) {
            Poll::Pending => return Ok(moved),
            Poll::Ready(Err(error)) if name == "target" => {
                tracing::debug!(%error, "the target's connection failed");
                side.closed = true;
                return Ok(true);
            }
            Poll::Ready(Err(error)) => return Err(Stop::Io(name, error)),
            Poll::Ready(Ok(())) if buf.filled().is_empty() => {
                side.closed = true;
                return Ok(true);
            }
            Poll::Ready(Ok(())) => {}
        }
        if side.rest.is_empty() {
            let used = on_bytes(buf.filled(), cx)?;
            let kept = buf.filled().get(used..).unwrap_or_default();
            if kept.is_empty() {
                side.rest = BytesMut::new();
            } else {
                side.rest.extend_from_slice(kept);
            }
        } else {
            side.rest.extend_from_slice(buf.filled());
            let used = on_bytes(&side.rest, cx)?;
            side.rest.advance(used);
        }
        Ok(true)
    })
}
