//! A target's answer on its way to the client: recorded as it is polled, handed on when that is on
//! record, its end when the outcome is.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use gate::{JournalError, Release, Wait};
use http::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use identity::EndReason;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Sleep, sleep};

use crate::body::{AHEAD, BodyError};
use crate::content::{Content, forget_the_bytes};
use crate::pool;
use crate::relay::Job;
use crate::running::{Running, Shared};
use crate::stall::{Busy, Taking};

/// The most that is handed over at once on a stream of HTTP/2, in bytes: so much of an answer may
/// stay behind in its connection when the client takes no more.
pub const MAX_PIECE: usize = 16 * 1024;

/// An answer's body on its way to the client.
pub struct AnswerBody {
    down: Down,
    /// On HTTP/2.
    taking: Option<Rc<Taking>>,
    /// Its connection has something to do as long as this is there.
    _busy: Option<Busy>,
}

enum Down {
    Done,
    Full(Bytes),
    Streaming(Box<Answering>),
}

/// What an answer consists of.
enum Piece {
    /// Everything before the body, which is not polled here.
    Head,
    Data(Bytes),
    Trailers(HeaderMap),
}

/// A target's answer, recorded piece by piece.
pub(crate) struct Answering {
    source: Option<Source>,
    content: Content,
    /// None when its outcome is on record.
    running: Option<Shared>,
    wait: Box<dyn Wait>,
    queue: VecDeque<(Piece, Release)>,
    held: usize,
    /// The end: it waits for the outcome's record.
    tail: Option<Vec<Piece>>,
    /// The head waits, or went.
    gathered: bool,
    over: Pin<Box<dyn Future<Output = EndReason>>>,
    /// How long it may stand still, and since when it does.
    patience: Option<Duration>,
    still: Option<Pin<Box<Sleep>>>,
    /// On HTTP/2.
    taking: Option<Rc<Taking>>,
    jobs: UnboundedSender<Job>,
}

/// Where an answer comes from.
pub(crate) struct Source {
    pub(crate) body: Incoming,
    pub(crate) sender: pool::Sender,
    pub(crate) key: pool::Key,
    pub(crate) idle: usize,
}

impl Answering {
    /// One that begins with this head, as it is recorded.
    pub(crate) fn new(
        source: Source,
        head: &[u8],
        content: Content,
        running: Shared,
        jobs: UnboundedSender<Job>,
        patience: Option<Duration>,
    ) -> Result<Box<Answering>, JournalError> {
        let (wait, lease) = {
            let mut running = running.borrow_mut();
            running.exchange.answer(head)?;
            (running.waiter(), running.exchange.session().lease().clone())
        };
        Ok(Box::new(Answering {
            source: Some(source),
            content,
            running: Some(running),
            wait,
            queue: VecDeque::new(),
            held: 0,
            tail: None,
            gathered: false,
            over: Box::pin(async move { lease.ended().await }),
            patience,
            still: None,
            taking: Taking::here(),
            jobs,
        }))
    }

    /// Waits until the head may be handed on. Before that, what there is of the body is read: all
    /// of it if it is known to be short.
    pub(crate) fn poll_head(
        &mut self,
        known_short: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BodyError>> {
        let room =
            if known_short { gate::MAX_ANSWER_IN_ENTRIES } else { records::MAX_INLINE_BYTES };
        while !self.gathered && self.tail.is_none() && self.held < room {
            match self.poll_source(cx)? {
                Poll::Ready(()) => {}
                Poll::Pending if known_short => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        if !std::mem::replace(&mut self.gathered, true) {
            self.release_head()?;
        }
        loop {
            match self.queue.front() {
                Some((Piece::Head, release)) => {
                    ready!(release.poll_cleared(&mut *self.wait, cx))?;
                    self.queue.pop_front();
                    return Poll::Ready(Ok(()));
                }
                Some(_) => return Poll::Ready(Ok(())),
                None => ready!(self.poll_end(cx))?,
            }
        }
    }

    /// Puts the head before what waits, unless the whole answer is there: then all of it goes
    /// with the outcome.
    fn release_head(&mut self) -> Result<(), BodyError> {
        match (&mut self.tail, &self.running) {
            (Some(tail), _) => {
                let data = self.queue.drain(..).map(|(piece, _)| piece);
                let whole: Vec<Piece> = std::iter::once(Piece::Head).chain(data).collect();
                tail.splice(0..0, whole);
            }
            (None, Some(running)) => {
                let release = running.borrow_mut().exchange.release()?;
                for (_, held) in &mut self.queue {
                    *held = release.clone();
                }
                self.queue.push_front((Piece::Head, release));
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// Reads the next piece from the target.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, BodyError> {
        let (Some(source), Some(running)) = (&mut self.source, &self.running) else {
            return Ok(Poll::Pending);
        };
        if let Poll::Ready(why) = self.over.as_mut().poll(cx) {
            running.borrow_mut().failed("cut", why.code());
            return Err(BodyError::Over(why));
        }
        let Poll::Ready(frame) = Pin::new(&mut source.body).poll_frame(cx) else {
            if let Some(patience) = self.patience {
                let still = self.still.get_or_insert_with(|| Box::pin(sleep(patience)));
                if still.as_mut().poll(cx).is_ready() {
                    running.borrow_mut().failed("lost", "target_slow");
                    return Err(BodyError::Slow);
                }
            }
            return Ok(Poll::Pending);
        };
        self.still = None;
        let frame = match frame {
            None => return self.close(None),
            Some(Err(error)) => {
                tracing::debug!(%error, "a target broke off");
                running.borrow_mut().failed("lost", "target_broke");
                return Err(BodyError::Broken);
            }
            Some(Ok(frame)) => frame,
        };
        let ends = source.body.is_end_stream();
        match frame.into_data() {
            Ok(data) => {
                running.borrow_mut().exchange.count(data.len());
                let data = match self.content.push(&data)? {
                    None => {
                        running.borrow_mut().exchange.answer(&data)?;
                        data
                    }
                    Some(pair) => {
                        running.borrow_mut().exchange.answer(&pair.record)?;
                        pair.client.into()
                    }
                };
                if ends {
                    return self.close(Some(Piece::Data(data)));
                }
                let release = running.borrow().exchange.session().release();
                self.hold(Piece::Data(data), release);
                Ok(Poll::Ready(()))
            }
            Err(frame) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    if !matches!(self.content, Content::AsIs) {
                        forget_the_bytes(&mut trailers);
                    }
                    running.borrow_mut().trailers(&trailers);
                    self.close(Some(Piece::Trailers(trailers)))
                }
                Err(_) => Ok(Poll::Ready(())),
            },
        }
    }

    fn hold(&mut self, piece: Piece, release: Release) {
        if let Piece::Data(data) = &piece {
            self.held += data.len();
        }
        self.queue.push_back((piece, release));
    }

    /// The target has said all: what is left waits for the outcome.
    fn close(&mut self, last: Option<Piece>) -> Result<Poll<()>, BodyError> {
        let rest = self.content.finish()?;
        if let Some(running) = &self.running {
            let mut running = running.borrow_mut();
            running.exchange.answer(&rest.record)?;
            tell(&mut running, &self.content);
        }
        let rest = Piece::Data(rest.client.into());
        let tail = match last {
            None => vec![rest],
            Some(last @ Piece::Trailers(_)) => vec![rest, last],
            Some(last) => vec![last, rest],
        };
        let tail =
            tail.into_iter().filter(|it| !matches!(it, Piece::Data(data) if data.is_empty()));
        let tail: Vec<Piece> = tail.collect();
        for piece in &tail {
            if let Piece::Data(data) = piece {
                self.held += data.len();
            }
        }
        self.tail = Some(tail);
        Ok(Poll::Ready(()))
    }

    /// Puts the outcome on record, which the answer's end waits for.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let Some(running) = &self.running else { return Poll::Ready(Ok(())) };
        let release = ready!(running.borrow_mut().poll_finish(cx))?;
        self.running = None;
        let tail = self.tail.take().unwrap_or_default();
        self.queue.extend(tail.into_iter().map(|piece| (piece, release.clone())));
        self.tail = Some(Vec::new());
        if let Some(Source { sender, key, idle, .. }) = self.source.take() {
            pool::give_back(key, idle, sender);
        }
        Poll::Ready(Ok(()))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some((_, release)) = self.queue.front()
                && let Poll::Ready(cleared) = release.poll_cleared(&mut *self.wait, cx)
            {
                cleared?;
                match self.queue.pop_front() {
                    Some((Piece::Data(mut data), release)) => {
                        if self.taking.is_some() && data.len() > MAX_PIECE {
                            let rest = data.split_off(MAX_PIECE);
                            self.queue.push_front((Piece::Data(rest), release));
                        }
                        self.held -= data.len();
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    Some((Piece::Trailers(trailers), _)) => {
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                    Some((Piece::Head, _)) | None => continue,
                }
            }
            if self.tail.is_some() {
                match self.running {
                    Some(_) => ready!(self.poll_end(cx))?,
                    None if self.queue.is_empty() => return Poll::Ready(None),
                    None => return Poll::Pending,
                }
                continue;
            }
            if self.held >= AHEAD {
                return Poll::Pending;
            }
            match self.poll_source(cx)? {
                Poll::Ready(()) => self.release_last()?,
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// What was just read waits for its own record.
    fn release_last(&mut self) -> Result<(), BodyError> {
        if let (Some((_, held)), Some(running), None) =
            (self.queue.back_mut(), &self.running, &self.tail)
        {
            *held = running.borrow_mut().exchange.release()?;
        }
        Ok(())
    }
}

/// What the outcome says of what became of the bytes.
fn tell(running: &mut Running, content: &Content) {
    running.masked(content.counts());
    for (name, value) in content.details() {
        running.detail(name, value);
    }
}

impl Drop for Answering {
    /// A client that went away: the outcome is recorded even so.
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            tell(&mut running.borrow_mut(), &self.content);
            let slow = self.taking.as_ref().is_some_and(|it| it.is_over());
            let cause = if slow { "client_slow" } else { "client_left" };
            running.borrow_mut().failed("cut", cause);
            // The connection's task is gone with the process: the exchange records itself.
            let _gone = self.jobs.send(Job::Orphan(running));
        }
    }
}

impl AnswerBody {
    pub(crate) fn full(bytes: Bytes) -> Self {
        AnswerBody::of(if bytes.is_empty() { Down::Done } else { Down::Full(bytes) })
    }

    pub(crate) fn answering(answering: Box<Answering>) -> Self {
        AnswerBody::of(Down::Streaming(answering))
    }

    fn of(down: Down) -> Self {
        let taking = Taking::here();
        if let Some(taking) = &taking {
            taking.handed();
        }
        AnswerBody { down, taking, _busy: None }
    }

    /// The same, as long as its connection has something to do.
    pub(crate) fn while_busy(self, busy: Busy) -> Self {
        AnswerBody { _busy: Some(busy), ..self }
    }

    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.down {
            Down::Done => Poll::Ready(None),
            Down::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.down = Down::Done;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Down::Streaming(body) => body.poll(cx),
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(taking) = self.taking.clone() else { return self.poll_down(cx) };
        taking.asked();
        let polled = self.poll_down(cx);
        if polled.is_ready() {
            taking.handed();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.down {
            Down::Done => true,
            Down::Full(_) => false,
            Down::Streaming(body) => body.running.is_none() && body.queue.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.down {
            Down::Done => SizeHint::with_exact(0),
            Down::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Down::Streaming(body) if body.running.is_none() => {
                SizeHint::with_exact(body.held as u64)
            }
            Down::Streaming(_) => SizeHint::default(),
        }
    }
}

impl std::fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AnswerBody")
    }
}
