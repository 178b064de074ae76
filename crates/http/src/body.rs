//! A request's body on its way to the target: recorded as it is polled, handed on when that is on
//! record.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use gate::{Admitted, JournalError, Wait};
use http_content::ContentError;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use identity::EndReason;
use tokio::time::{Instant, Sleep, timeout};

use crate::content::Kept;
use crate::problem::Told;
use crate::running::{Shared, Upload};

/// Bytes of a body that may wait for their record; beyond them the sender is not read.
pub(crate) const AHEAD: usize = 256 * 1024;
/// How long a body may stand still, unless the other side is what it waits for.
pub const BODY_STALL: Duration = Duration::from_secs(60);

/// How much of an unwanted body is read, in bytes, and for how long.
const LINGER_BYTES: usize = 4 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(2);

/// Why a body ends before its end; the connection ends with it, so that nobody takes it for whole.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It can't be recorded: our fault.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What must be masked can't be looked for in it.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The session's lease ended.
    #[error("the session has ended: {0}")]
    Over(EndReason),
    /// The other side broke off.
    #[error("the other side broke off")]
    Broken,
    /// The client's body is longer than the target takes.
    #[error("the body is too long")]
    TooLarge,
    /// Nothing came for too long.
    #[error("nothing came for too long")]
    Slow,
}

/// Reads a body whole, so that it is judged with its request; one that is longer is refused.
pub(crate) async fn read_whole(
    unread: &mut Option<Incoming>,
    most: usize,
) -> Result<Vec<u8>, Told> {
    let mut all = Vec::new();
    let Some(body) = unread else { return Ok(all) };
    let read = async {
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            let frame = frame.map_err(|_| Told::BadRequest("the body broke off"))?;
            all.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default());
            if all.len() > most {
                return Err(Told::TooLarge(most as u64));
            }
        }
        Ok(())
    };
    timeout(BODY_STALL, read).await.map_err(|_| Told::Slow)??;
    *unread = None;
    Ok(all)
}

/// A request's body on its way to the target.
pub(crate) struct RequestBody(Up);

enum Up {
    Done,
    Full(Bytes),
    Streaming(Box<Uploading>),
}

struct Uploading {
    /// None after a failure.
    source: Option<Incoming>,
    running: Shared,
    /// What the record may keep of it, if that is not all.
    kept: Kept,
    wait: Box<dyn Wait>,
    queue: VecDeque<(Frame<Bytes>, Admitted)>,
    held: usize,
    ended: bool,
    seen: u64,
    most: Option<u64>,
    stall: Pin<Box<Sleep>>,
}

/// A piece that may leave, or why there is none, and what the client is told then.
type Uploaded = Result<Frame<Bytes>, (BodyError, Upload)>;

impl RequestBody {
    /// One that was read already, and is in the command's entry.
    pub(crate) fn full(bytes: Bytes) -> Self {
        RequestBody(if bytes.is_empty() { Up::Done } else { Up::Full(bytes) })
    }

    /// One that is recorded on its way.
    pub(crate) fn streaming(
        source: Incoming,
        running: Shared,
        kept: Kept,
        most: Option<u64>,
    ) -> Self {
        let wait = running.borrow().waiter();
        RequestBody(Up::Streaming(Box::new(Uploading {
            source: Some(source),
            running,
            kept,
            wait,
            queue: VecDeque::new(),
            held: 0,
            ended: false,
            seen: 0,
            most,
            stall: Box::pin(tokio::time::sleep(BODY_STALL)),
        })))
    }
}

impl Uploading {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Uploaded>> {
        loop {
            if let Some((_, admitted)) = self.queue.front()
                && let Poll::Ready(cleared) = admitted.poll_cleared(&mut *self.wait, cx)
            {
                cleared.map_err(unrecorded)?;
                let frame = self.queue.pop_front().map(|(frame, _)| frame);
                self.held -= frame.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len);
                self.running.borrow_mut().moved = Some(Instant::now());
                return Poll::Ready(frame.map(Ok));
            }
            if self.ended && self.queue.is_empty() {
                return Poll::Ready(None);
            }
            if self.ended || self.held >= AHEAD {
                return Poll::Pending;
            }
            let Some(source) = &mut self.source else {
                return Poll::Ready(Some(Err((BodyError::Broken, self.running.borrow().upload))));
            };
            let frame = match Pin::new(source).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    if self.queue.is_empty() {
                        ready!(self.stall.as_mut().poll(cx));
                        return Poll::Ready(Some(Err((BodyError::Slow, Upload::Slow))));
                    }
                    return Poll::Pending;
                }
            };
            self.stall.as_mut().reset(Instant::now() + BODY_STALL);
            match frame {
                None => {
                    let kept = self.end()?;
                    let recorded = self.running.borrow_mut().exchange.input(&kept, 0);
                    recorded.map_err(unrecorded)?;
                }
                Some(Err(_)) => {
                    return Poll::Ready(Some(Err((BodyError::Broken, Upload::Broken))));
                }
                Some(Ok(frame)) => self.take(frame)?,
            }
        }
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), (BodyError, Upload)> {
        // Trailers, which few servers read, are not on record: they end here (RFC 9110, 6.5.1).
        if !frame.is_data() {
            return Ok(());
        }
        let data = frame.data_ref().map(Bytes::as_ref).unwrap_or_default();
        self.seen += data.len() as u64;
        if let Some(most) = self.most.filter(|most| self.seen > *most) {
            return Err((BodyError::TooLarge, Upload::TooLarge(most)));
        }
        self.held += data.len();
        let mut kept = self.kept.push(data).map_err(unsearchable)?;
        // Nobody may ask again behind the last byte: what was held back goes before it.
        if self.source.as_ref().is_some_and(Body::is_end_stream) {
            kept.to_mut().extend(self.end()?);
        }
        let admitted = self.running.borrow_mut().exchange.input(&kept, data.len());
        self.queue.push_back((frame, admitted.map_err(unrecorded)?));
        Ok(())
    }

    /// What was held back for the record.
    fn end(&mut self) -> Result<Vec<u8>, (BodyError, Upload)> {
        self.ended = true;
        let kept = self.kept.finish().map_err(unsearchable)?;
        self.running.borrow_mut().masked(self.kept.counts());
        Ok(kept)
    }
}

fn unsearchable(error: ContentError) -> (BodyError, Upload) {
    (error.into(), Upload::Unsearchable)
}

fn unrecorded(error: JournalError) -> (BodyError, Upload) {
    (error.into(), Upload::Unrecorded)
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Up::Done => Poll::Ready(None),
            Up::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Up::Done;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Up::Streaming(body) => {
                let frame = ready!(body.poll(cx));
                Poll::Ready(frame.map(|frame| {
                    frame.map_err(|(error, upload)| {
                        body.running.borrow_mut().upload = upload;
                        if let Some(source) = body.source.take() {
                            linger(source);
                        }
                        error
                    })
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Up::Done => true,
            Up::Full(_) => false,
            Up::Streaming(body) => {
                body.queue.is_empty() && body.source.as_ref().is_some_and(Body::is_end_stream)
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Up::Done => SizeHint::with_exact(0),
            Up::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Up::Streaming(body) => match &body.source {
                Some(source) if body.seen == 0 => source.size_hint(),
                _ => SizeHint::default(),
            },
        }
    }
}

/// Reads on in a body that nobody wants, within bounds, so that a client that is still sending
/// gets to read its refusal: closing at once would reset the connection.
pub(crate) fn linger(mut body: Incoming) {
    tokio::task::spawn_local(async move {
        let mut left = LINGER_BYTES;
        let read = async {
            while left > 0
                && let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
            {
                left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            }
        };
        let _late = tokio::time::timeout(LINGER, read).await;
    });
}
