//! Connections that become another protocol's (RFC 9110, 7.8): WebSocket. Both directions are
//! recorded in the order in which they came, before they are handed on.
//!
//! What crosses is recorded in frames of media [`terminal::frames::MEDIA`]: as it is, what the
//! target said as output, what the client said as input; or, of exec in Kubernetes, taken apart
//! ([`Streams`]).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use gate::{Admitted, JournalError, Release, Wait};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Version};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use kubernetes_wire::streams::Side;
use terminal::frames::{self, Kind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::body::AHEAD;
use crate::kubernetes::{Garbled, Part, Streams};
use crate::running::Shared;

/// How long a side may go on that takes nothing more.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// What is read of one side at once, in bytes.
const PIECE_BYTES: usize = 16 * 1024;
/// What the shortest piece counts for towards [`AHEAD`], in bytes.
const LEAST_WEIGHT: usize = 256;

/// A protocol that a connection may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// RFC 6455.
    WebSocket,
    /// SPDY/3.1, as API servers of Kubernetes still speak it for exec.
    Spdy,
}

impl Next {
    /// Its name in `Upgrade`.
    const fn name(self) -> &'static str {
        match self {
            Next::WebSocket => "websocket",
            Next::Spdy => "SPDY/3.1",
        }
    }

    fn is_named(self, value: &HeaderValue) -> bool {
        value.as_bytes().eq_ignore_ascii_case(self.name().as_bytes())
    }
}

/// A client's wish that its connection become another protocol's.
pub(crate) struct Wish {
    client: OnUpgrade,
    pub(crate) next: Next,
}

/// Takes the wish out of a request. Any other than for these protocols is not heard, as RFC 9110
/// allows: its fields end here, and the request is answered as what it is.
pub(crate) fn wish<B>(request: &mut http::Request<B>) -> Option<Wish> {
    let mut words = request.headers().get_all(header::UPGRADE).iter();
    let (Some(word), None) = (words.next(), words.next()) else { return None };
    let next = match *request.method() {
        Method::GET if Next::WebSocket.is_named(word) => Next::WebSocket,
        Method::GET | Method::POST if Next::Spdy.is_named(word) => Next::Spdy,
        _ => return None,
    };
    let heard = request.version() == Version::HTTP_11;
    heard.then(|| Wish { client: hyper::upgrade::on(request), next })
}

/// The fields that ask the target for the same, where the client's own were taken out.
pub(crate) fn ask(fields: &mut HeaderMap, next: Next) {
    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static(next.name()));
    // What is recorded must be what was said, so nothing is compressed.
    fields.remove(header::SEC_WEBSOCKET_EXTENSIONS);
}

/// Whether a target's answer grants it.
pub(crate) fn is_granted(next: Next, status: StatusCode, fields: &HeaderMap) -> bool {
    let word = fields.get(header::UPGRADE);
    status == StatusCode::SWITCHING_PROTOCOLS && word.is_some_and(|it| next.is_named(it))
}

/// The frame of a recording that tells of a head: part of what was said, or a mark beside what a
/// program prints.
pub(crate) fn head_frame(head: &[u8], kind: Kind) -> Vec<u8> {
    let mut frame = Vec::with_capacity(head.len() + 8);
    frames::write(&mut frame, 0, kind, head);
    frame
}

/// Both sides of a connection that is another protocol's now, until one ends, or the lease.
pub(crate) async fn tunnel(
    wish: Wish,
    target: OnUpgrade,
    running: Shared,
    streams: Option<Streams>,
) {
    let sides = futures_util::future::try_join(wish.client, target).await;
    let (client, target) = match sides {
        Ok(sides) => sides,
        Err(error) => {
            tracing::debug!(%error, "an upgrade came to nothing");
            return finish(&running, "lost", "upgrade").await;
        }
    };
    let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
    let (from_target, to_target) = tokio::io::split(TokioIo::new(target));
    let lease = running.borrow().exchange.session().lease().clone();
    let recorder = Recorder {
        running: &running,
        clock: Cell::new(Instant::now()),
        streams: RefCell::new(streams),
    };
    let both = async {
        let up = Way { recorder: &recorder, from: Side::Client };
        let down = Way { recorder: &recorder, from: Side::Server };
        let up = pin!(up.relay(from_client, to_target));
        let down = pin!(down.relay(from_target, to_client));
        match select(up, down).await {
            Either::Left((Ok(()), down)) => down.await,
            // Who takes no more input may have more to say.
            Either::Left((Err(Broken::Io), down)) => {
                timeout(LAST_WORDS, down).await.unwrap_or(Err(Broken::Io))
            }
            // Nobody is there any more for what the client says.
            Either::Right((Ok(()), up)) => timeout(LAST_WORDS, up).await.unwrap_or(Ok(())),
            Either::Left((Err(broken), _)) | Either::Right((Err(broken), _)) => Err(broken),
        }
    };
    let (outcome, cause) = tokio::select! {
        ended = both => match ended {
            Ok(()) | Err(Broken::Io) => recorder.outcome(),
            Err(Broken::Garbled(error)) => {
                tracing::warn!(%error, "what crosses can't be read, so nothing more does");
                ("cut", "garbled")
            }
            Err(Broken::Journal(error)) => {
                tracing::error!(%error, "an upgraded connection can't be recorded");
                ("cut", "unrecorded")
            }
        },
        why = lease.ended() => ("cut", why.code()),
    };
    recorder.end();
    finish(&running, outcome, cause).await;
}

/// Puts the outcome on record.
fn finish<'a>(
    running: &'a Shared,
    outcome: &'static str,
    cause: &'static str,
) -> impl Future<Output = ()> + 'a {
    if outcome != "ok" {
        running.borrow_mut().failed(outcome, cause);
    }
    async move {
        let finished = std::future::poll_fn(|cx| running.borrow_mut().poll_finish(cx)).await;
        if let Err(error) = finished {
            tracing::error!(%error, "the outcome of a request is not on record");
        }
    }
}

/// Why one way ends both.
enum Broken {
    Io,
    Garbled(Garbled),
    Journal(JournalError),
}

impl From<std::io::Error> for Broken {
    fn from(_: std::io::Error) -> Self {
        Broken::Io
    }
}

impl From<Garbled> for Broken {
    fn from(error: Garbled) -> Self {
        Broken::Garbled(error)
    }
}

impl From<JournalError> for Broken {
    fn from(error: JournalError) -> Self {
        Broken::Journal(error)
    }
}

/// One direction.
struct Way<'a> {
    recorder: &'a Recorder<'a>,
    from: Side,
}

impl Way<'_> {
    /// Reads and records; writes what is on record, while more is read.
    async fn relay(
        self,
        mut from: ReadHalf<TokioIo<Upgraded>>,
        mut to: WriteHalf<TokioIo<Upgraded>>,
    ) -> Result<(), Broken> {
        let ahead = Ahead::default();
        let read = pin!(self.read(&mut from, &ahead));
        let write = pin!(self.write(&mut to, &ahead));
        match select(write, read).await {
            Either::Left((written, _)) => written,
            Either::Right((Ok(()), write)) => write.await,
            // What was read before it broke is passed on, if that is taken.
            Either::Right((broken, write)) => {
                timeout(LAST_WORDS, write).await.unwrap_or(Ok(())).and(broken)
            }
        }
    }

    async fn read(
        &self,
        from: &mut ReadHalf<TokioIo<Upgraded>>,
        ahead: &Ahead,
    ) -> Result<(), Broken> {
        let read = async {
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                ahead.room().await;
                let read = from.read(&mut piece).await?;
                let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else {
                    return Ok(());
                };
                let pass = self.recorder.record(self.from, bytes)?;
                ahead.push(bytes.into(), pass);
            }
        };
        let ended = read.await;
        ahead.end(ended.is_ok());
        ended
    }

    async fn write(
        &self,
        to: &mut WriteHalf<TokioIo<Upgraded>>,
        ahead: &Ahead,
    ) -> Result<(), Broken> {
        let mut wait = self.recorder.running.borrow().waiter();
        while let Some((bytes, pass)) = ahead.next().await {
            pass.cleared(&mut *wait).await?;
            to.write_all(&bytes).await?;
            // What follows may wait for its record for long.
            to.flush().await?;
            ahead.written(bytes.len());
        }
        if ahead.is_whole() {
            to.shutdown().await?;
        }
        Ok(())
    }
}

/// What one side said and the other has not got yet.
#[derive(Default)]
struct Ahead {
    queue: RefCell<Queue>,
    more: Notify,
    less: Notify,
}

#[derive(Default)]
struct Queue {
    pieces: VecDeque<(Box<[u8]>, Pass)>,
    /// What those count for, and the one that is being written.
    held: usize,
    /// Nothing more comes; whether in order.
    end: Option<bool>,
}

impl Ahead {
    /// Waits until more may be read.
    async fn room(&self) {
        while self.queue.borrow().held >= AHEAD {
            self.less.notified().await;
        }
    }

    fn push(&self, bytes: Box<[u8]>, pass: Pass) {
        let mut queue = self.queue.borrow_mut();
        queue.held += weight(bytes.len());
        queue.pieces.push_back((bytes, pass));
        self.more.notify_one();
    }

    fn end(&self, in_order: bool) {
        self.queue.borrow_mut().end = Some(in_order);
        self.more.notify_one();
    }

    /// The next piece; none at the end.
    async fn next(&self) -> Option<(Box<[u8]>, Pass)> {
        loop {
            {
                let mut queue = self.queue.borrow_mut();
                let next = queue.pieces.pop_front();
                if next.is_some() || queue.end.is_some() {
                    return next;
                }
            }
            self.more.notified().await;
        }
    }

    /// So much was written.
    fn written(&self, bytes: usize) {
        self.queue.borrow_mut().held -= weight(bytes);
        self.less.notify_one();
    }

    fn is_whole(&self) -> bool {
        self.queue.borrow().end == Some(true)
    }
}

/// What a piece of so many bytes counts for: what holds it takes room as well.
fn weight(bytes: usize) -> usize {
    bytes.max(LEAST_WEIGHT)
}

/// What a piece waits for.
enum Pass {
    Admitted(Admitted),
    Release(Release),
}

impl Pass {
    async fn cleared(&self, wait: &mut dyn Wait) -> Result<(), JournalError> {
        match self {
            Pass::Admitted(admitted) => admitted.cleared(wait).await.map(drop),
            Pass::Release(release) => release.cleared(wait).await.map(drop),
        }
    }
}

/// Puts on record what crosses, in the order in which it came.
struct Recorder<'a> {
    running: &'a Shared,
    /// When the last frame was made.
    clock: Cell<Instant>,
    streams: RefCell<Option<Streams>>,
}

impl Recorder<'_> {
    /// Records a piece; it may be passed on when that is on record.
    fn record(&self, from: Side, bytes: &[u8]) -> Result<Pass, Broken> {
        let taken = match &mut *self.streams.borrow_mut() {
            Some(streams) => streams.take(from, bytes)?,
            None if from == Side::Client => vec![(Kind::Input, bytes.to_vec())],
            None => vec![(Kind::Output, bytes.to_vec())],
        };
        let frames = self.frames(&taken);
        let mut running = self.running.borrow_mut();
        if from == Side::Client {
            return Ok(Pass::Admitted(running.exchange.interleave(&frames, bytes.len())?));
        }
        running.exchange.count(bytes.len());
        running.exchange.answer(&frames)?;
        Ok(Pass::Release(running.exchange.release()?))
    }

    fn frames(&self, parts: &[Part]) -> Vec<u8> {
        let mut frames = Vec::new();
        for (kind, bytes) in parts {
            let now = Instant::now();
            let after = now - self.clock.replace(now);
            let after = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
            frames::write(&mut frames, after, *kind, bytes);
        }
        frames
    }

    /// What became of it when a side has closed. A command of which nobody said how it ended may
    /// run on.
    fn outcome(&self) -> (&'static str, &'static str) {
        match &*self.streams.borrow() {
            Some(streams) if streams.ports().is_none() && streams.exit().is_none() => {
                ("lost", "closed")
            }
            Some(_) | None => ("ok", "closed"),
        }
    }

    /// How it ended.
    fn end(&self) {
        let ports = self.streams.borrow().as_ref().and_then(Streams::ports);
        if let Some(ports) = ports.filter(|it| !it.is_empty()) {
            self.running.borrow_mut().detail("ports", ports);
        }
        let exit = self.streams.borrow().as_ref().and_then(Streams::exit);
        let Some(exit) = exit else { return };
        let frames = self.frames(&[(Kind::Exit, exit.clone().into_bytes())]);
        let mut running = self.running.borrow_mut();
        running.detail("exit_status", exit);
        if let Err(error) = running.exchange.answer(&frames) {
            tracing::error!(%error, "the end of an upgraded connection is not on record");
        }
    }
}
