//! A target's answer on its way to the client: recorded as it is polled, handed on when that is on
//! record, its end when the outcome is.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gate::{JournalError, Release, Wait};
use http::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use identity::EndReason;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::body::{AHEAD, BodyError};
use crate::content::{Content, forget_the_bytes};
use crate::pool;
use crate::relay::Job;
use crate::running::{Running, Shared};
use crate::stall::{Busy, Taking};

/// The most that is handed over at once on a stream of HTTP/2, in bytes: so much of an answer may
/// stay behind in its connection when the client takes no more.
pub const MAX_PIECE: usize = 16 * 1024;

/// What an answer brings within this time goes on together, unless it is [`PACE_BYTES`]: API servers
/// of Kubernetes send 4 KiB at a time, and each way to the disk's thread and to the client has its
/// price. What comes more seldom goes on at once.
const PACE: Duration = Duration::from_millis(1);
/// So much goes on at once, in bytes.
const PACE_BYTES: usize = 2 * MAX_PIECE;

/// How long the end of an answer whose lines come one by one is held back to be searched with what
/// follows, when nothing does: behind the end of a line, and within one.
const TAIL: Duration = Duration::from_millis(40);
const CUT_TAIL: Duration = Duration::from_secs(1);

/// Pieces of an answer that may be held, however short they are.
const MAX_PIECES: usize = 1024;

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
    /// What was read since the last release.
    fresh: Vec<Piece>,
    /// When that was.
    released: Option<Instant>,
    pace: Option<Pin<Box<Sleep>>>,
    /// What waits for its record.
    queue: VecDeque<(Piece, Release)>,
    /// Bytes of both, and of those of them that are fresh.
    held: usize,
    held_fresh: usize,
    /// The end: it waits for the outcome's record.
    tail: Option<Vec<Piece>>,
    /// It broke off: the client is told behind what came before.
    broken: Option<BodyError>,
    /// The head waits, or went.
    gathered: bool,
    over: Pin<Box<dyn Future<Output = EndReason>>>,
    /// Whether it may end between any two of its lines, and be whole; whether it stands there.
    by_lines: bool,
    between: bool,
    /// Whether its lines come one by one; and when what is held back of them is given up.
    gives_tails: bool,
    held_back: Option<Pin<Box<Sleep>>>,
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
            fresh: Vec::new(),
            released: None,
            pace: None,
            queue: VecDeque::new(),
            held: 0,
            held_fresh: 0,
            tail: None,
            broken: None,
            gathered: false,
            over: Box::pin(async move { lease.ended().await }),
            by_lines: false,
            between: true,
            gives_tails: false,
            held_back: None,
            patience,
            still: None,
            taking: Taking::here(),
            jobs,
        }))
    }

    /// It is a sequence of lines that ends at any time, as its client knows: where the caller's
    /// right ends, so does it, in order. The record says why.
    pub(crate) fn ends_between_lines(&mut self) {
        self.by_lines = true;
    }

    /// Its lines come one by one, each at its time: none is held back until another comes.
    pub(crate) fn gives_tails(&mut self) {
        self.gives_tails = true;
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
        self.fresh.insert(0, Piece::Head);
        self.release_fresh()
    }

    /// What was read since the last time waits for its record from here on. The rest of a short
    /// answer goes with its outcome.
    fn release_fresh(&mut self) -> Result<(), BodyError> {
        let short = self.held <= gate::MAX_ANSWER_IN_ENTRIES;
        match (&mut self.tail, &self.running) {
            (Some(tail), _) if short => {
                tail.splice(0..0, self.fresh.drain(..));
            }
            (_, Some(running)) => {
                let release = running.borrow_mut().exchange.release()?;
                self.queue.extend(self.fresh.drain(..).map(|piece| (piece, release.clone())));
            }
            (_, None) => {}
        }
        self.held_fresh = 0;
        self.released = Some(Instant::now());
        Ok(())
    }

    /// Reads the next piece from the target.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, BodyError> {
        let (Some(source), Some(running)) = (&mut self.source, &self.running) else {
            return Ok(Poll::Pending);
        };
        if let Poll::Ready(why) = self.over.as_mut().poll(cx) {
            let mut running = running.borrow_mut();
            running.failed("cut", why.code());
            if self.by_lines && self.between {
                tell(&mut running, &self.content);
                self.source = None;
                self.tail = Some(Vec::new());
                return Ok(Poll::Ready(()));
            }
            return Err(BodyError::Over(why));
        }
        let Poll::Ready(frame) = Pin::new(&mut source.body).poll_frame(cx) else {
            if self.held_back.as_mut().is_some_and(|it| it.as_mut().poll(cx).is_ready()) {
                self.held_back = None;
                let pair = self.content.settle();
                running.borrow_mut().exchange.answer(&pair.record)?;
                self.take(pair.client.into());
                return Ok(Poll::Ready(()));
            }
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
                if self.gives_tails {
                    let wait = if data.ends_with(b"\n") { TAIL } else { CUT_TAIL };
                    self.held_back = Some(Box::pin(sleep(wait)));
                }
                let data = self.record(data)?;
                if ends {
                    return self.close(Some(Piece::Data(data)));
                }
                self.take(data);
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

    /// What the client is to get; nothing where all is held back to be searched with what follows.
    fn take(&mut self, data: Bytes) {
        if let Some(last) = data.last() {
            self.between = *last == b'\n';
            self.held += data.len();
            self.held_fresh += data.len();
            self.fresh.push(Piece::Data(data));
        }
    }

    /// Puts a part on record as the record may have it; what the client is to get of it.
    fn record(&mut self, data: Bytes) -> Result<Bytes, BodyError> {
        let Some(running) = &self.running else { return Ok(Bytes::new()) };
        // Counted also where it can't be searched.
        running.borrow_mut().exchange.count(data.len());
        let pair = self.content.push(&data)?;
        let exchange = &mut running.borrow_mut().exchange;
        Ok(match pair {
            None => {
                exchange.answer(&data)?;
                data
            }
            Some(pair) => {
                exchange.answer(&pair.record)?;
                pair.client.into()
            }
        })
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
            self.read_ahead(cx)?;
            if let Some((_, release)) = self.queue.front()
                && let Poll::Ready(cleared) = release.poll_cleared(&mut *self.wait, cx)
            {
                cleared?;
                match self.queue.pop_front() {
                    Some((Piece::Data(data), release)) => {
                        let data = self.of_a_size(data, release, cx);
                        self.held -= data.len();
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    Some((Piece::Trailers(trailers), _)) => {
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                    Some((Piece::Head, _)) | None => continue,
                }
            }
            match (&self.tail, &self.running) {
                (None, _) if self.queue.is_empty() && self.broken.is_some() => {
                    return Poll::Ready(self.broken.take().map(Err));
                }
                (None, _) => return Poll::Pending,
                (Some(_), Some(_)) => ready!(self.poll_end(cx))?,
                (Some(_), None) if self.queue.is_empty() => return Poll::Ready(None),
                (Some(_), None) => return Poll::Pending,
            }
        }
    }

    /// Reads what the target has said by now, as far as there is room; and, when it is time, has it
    /// wait for its record.
    fn read_ahead(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        while self.tail.is_none() && self.broken.is_none() && self.has_room() {
            match self.poll_source(cx) {
                Ok(Poll::Ready(())) => {}
                Ok(Poll::Pending) => break,
                Err(error @ (BodyError::Broken | BodyError::Slow)) => self.broken = Some(error),
                Err(error) => return Err(error),
            }
        }
        let due = self.tail.is_some()
            || self.broken.is_some()
            || self.held_fresh >= PACE_BYTES
            || self.is_time(cx);
        if due && !self.fresh.is_empty() {
            self.release_fresh()?;
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.held < AHEAD && self.queue.len() + self.fresh.len() < MAX_PIECES
    }

    /// Whether what is fresh need not wait for more.
    fn is_time(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(due) = self.released.filter(|_| !self.fresh.is_empty()).map(|at| at + PACE) else {
            return true;
        };
        if due <= Instant::now() {
            return true;
        }
        let pace = self.pace.get_or_insert_with(|| Box::pin(sleep_until(due)));
        pace.as_mut().reset(due);
        pace.as_mut().poll(cx).is_ready()
    }

    /// A piece that was cleared, joined with those behind it that are, or cut: each that is handed
    /// over costs a record of TLS and a call of the operating system.
    fn of_a_size(&mut self, mut data: Bytes, release: Release, cx: &mut Context<'_>) -> Bytes {
        if data.len() >= MAX_PIECE {
            if self.taking.is_some() && data.len() > MAX_PIECE {
                let rest = data.split_off(MAX_PIECE);
                self.queue.push_front((Piece::Data(rest), release));
            }
            return data;
        }
        let mut joined = BytesMut::new();
        while let Some((Piece::Data(next), release)) = self.queue.front_mut() {
            let room = MAX_PIECE - data.len().max(joined.len());
            let cleared = release.poll_cleared(&mut *self.wait, cx);
            if room == 0 || !matches!(cleared, Poll::Ready(Ok(_))) {
                break;
            }
            if joined.is_empty() {
                joined.reserve(MAX_PIECE);
                joined.extend_from_slice(&data);
            }
            joined.extend_from_slice(&next.split_to(next.len().min(room)));
            if next.is_empty() {
                self.queue.pop_front();
            }
        }
        if joined.is_empty() { data } else { joined.freeze() }
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
            if self.tail.is_none() {
                tell(&mut running.borrow_mut(), &self.content);
            }
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
