//! Connections that become another protocol's (RFC 9110, 7.8): WebSocket. Both directions are
//! recorded in the order in which they came, before they are handed on ([`crossing`]); but for keys
//! of a terminal, which are recorded by their echo.
//!
//! What crosses is recorded in frames of media [`terminal::frames::MEDIA`]: as it is, what the
//! target said as output, what the client said as input; or, of exec in Kubernetes, taken apart
//! ([`Streams`]).

mod ahead;
mod crossing;

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use gate::{JournalError, Refusal};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use kubernetes_wire::streams::Side;
use terminal::frames::{self, Kind};
use tokio::time::timeout;

use self::crossing::Crossing;
use crate::kubernetes::{Garbled, PortError, Streams};
use crate::running::Shared;

/// How long a side may go on that takes nothing more.
const LAST_WORDS: Duration = Duration::from_secs(5);

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
    let crossing = Crossing::new(&running, streams);
    let both = async {
        let up = pin!(crossing.relay(Side::Client, from_client, to_target));
        let down = pin!(crossing.relay(Side::Server, from_target, to_client));
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
    let ended = async {
        match select(pin!(both), pin!(crossing.give_up_tails())).await {
            Either::Left((ended, _)) | Either::Right((ended, _)) => ended,
        }
    };
    let (outcome, cause) = tokio::select! {
        ended = ended => match ended {
            Ok(()) | Err(Broken::Io) => crossing.outcome(),
            Err(Broken::Garbled(error)) => {
                tracing::warn!(%error, "what crosses can't be read, so nothing more does");
                ("cut", "garbled")
            }
            Err(Broken::Denied(refusal)) => {
                // Who is refused learns it when that is on record.
                let mut wait = running.borrow().waiter();
                if let Err(error) = refusal.release.cleared(&mut *wait).await {
                    tracing::error!(%error, "a refusal is not on record");
                }
                ("cut", "denied")
            }
            Err(Broken::Journal(error)) => {
                tracing::error!(%error, "an upgraded connection can't be recorded");
                ("cut", "unrecorded")
            }
        },
        why = lease.ended() => ("cut", why.code()),
    };
    crossing.end((outcome, cause));
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
    /// A rule does not let what it asks for.
    Denied(Box<Refusal>),
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

impl From<PortError> for Broken {
    fn from(error: PortError) -> Self {
        match error {
            PortError::Refused(refusal) => Broken::Denied(refusal),
            PortError::Journal(error) => Broken::Journal(error),
        }
    }
}

impl From<JournalError> for Broken {
    fn from(error: JournalError) -> Self {
        Broken::Journal(error)
    }
}
