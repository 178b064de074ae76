//! Connections that become another protocol's (RFC 9110, 7.8): WebSocket. Both directions are
//! recorded in the order in which they came, before they are handed on.
//!
//! What crosses is recorded as it is, in frames of media [`terminal::frames::MEDIA`]: what the
//! target said is output, what the client said is input. Nothing is masked.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use gate::{JournalError, Wait};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Version};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use terminal::frames::{self, Kind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::time::Instant;

use crate::running::Shared;

/// What is read of one side at once, in bytes; as much may wait for its record.
const PIECE_BYTES: usize = 16 * 1024;
/// The protocols that a connection may become.
const PROTOCOL: &str = "websocket";

/// A client's wish that its connection become another protocol's.
pub(crate) struct Wish {
    client: OnUpgrade,
}

/// Takes the wish out of a request. Any other than for WebSocket is not heard, as RFC 9110 allows:
/// its fields end here, and the request is answered as what it is.
pub(crate) fn wish<B>(request: &mut http::Request<B>) -> Option<Wish> {
    let mut words = request.headers().get_all(header::UPGRADE).iter();
    let (Some(word), None) = (words.next(), words.next()) else { return None };
    let heard = request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && word.as_bytes().eq_ignore_ascii_case(PROTOCOL.as_bytes());
    heard.then(|| Wish { client: hyper::upgrade::on(request) })
}

/// The fields that ask the target for the same, where the client's own were taken out.
pub(crate) fn ask(fields: &mut HeaderMap) {
    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
    // What is recorded must be what was said, so nothing is compressed.
    fields.remove(header::SEC_WEBSOCKET_EXTENSIONS);
}

/// Whether a target's answer grants it.
pub(crate) fn is_granted(status: StatusCode, fields: &HeaderMap) -> bool {
    let word = fields.get(header::UPGRADE);
    status == StatusCode::SWITCHING_PROTOCOLS
        && word.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(PROTOCOL.as_bytes()))
}

/// The frame of a recording that tells of a head.
pub(crate) fn head_frame(head: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(head.len() + 8);
    frames::write(&mut frame, 0, Kind::Output, head);
    frame
}

/// Both sides of a connection that is another protocol's now, until one ends, or the lease.
pub(crate) async fn tunnel(wish: Wish, target: OnUpgrade, running: Shared) {
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
    let clock = Rc::new(RefCell::new(Instant::now()));
    let both = async {
        let up = Way { running: &running, clock: &clock, kind: Kind::Input };
        let down = Way { running: &running, clock: &clock, kind: Kind::Output };
        futures_util::future::try_join(
            up.relay(from_client, to_target),
            down.relay(from_target, to_client),
        )
        .await
    };
    tokio::select! {
        ended = both => match ended {
            Ok(_) | Err(Broken::Io) => finish(&running, "ok", "closed").await,
            Err(Broken::Journal(error)) => {
                tracing::error!(%error, "an upgraded connection can't be recorded");
                finish(&running, "cut", "unrecorded").await;
            }
        },
        why = lease.ended() => finish(&running, "cut", why.code()).await,
    }
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
    Journal(JournalError),
}

impl From<std::io::Error> for Broken {
    fn from(_: std::io::Error) -> Self {
        Broken::Io
    }
}

impl From<JournalError> for Broken {
    fn from(error: JournalError) -> Self {
        Broken::Journal(error)
    }
}

/// One direction.
struct Way<'a> {
    running: &'a Shared,
    clock: &'a RefCell<Instant>,
    kind: Kind,
}

impl Way<'_> {
    /// Reads, records, waits for the record, and only then writes.
    async fn relay(
        self,
        mut from: ReadHalf<TokioIo<Upgraded>>,
        mut to: WriteHalf<TokioIo<Upgraded>>,
    ) -> Result<(), Broken> {
        let mut wait = self.running.borrow().waiter();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = from.read(&mut piece).await?;
            let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else {
                to.shutdown().await?;
                return Ok(());
            };
            self.record(bytes, &mut *wait).await?;
            to.write_all(bytes).await?;
            to.flush().await?;
        }
    }

    async fn record(&self, bytes: &[u8], wait: &mut dyn Wait) -> Result<(), JournalError> {
        let mut frame = Vec::with_capacity(bytes.len() + 16);
        let now = Instant::now();
        let after = now - self.clock.replace(now);
        let after = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        frames::write(&mut frame, after, self.kind, bytes);
        if self.kind == Kind::Input {
            let admitted = {
                let mut running = self.running.borrow_mut();
                running.exchange.interleave(&frame, bytes.len())?
            };
            return admitted.cleared(wait).await.map(drop);
        }
        let release = {
            let mut running = self.running.borrow_mut();
            running.exchange.count(bytes.len());
            running.exchange.answer(&frame)?;
            running.exchange.release()?
        };
        release.cleared(wait).await.map(drop)
    }
}
