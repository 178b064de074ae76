//! Streamable HTTP on the one side, a process on the other.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use gate::Session;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body, Frame, Incoming};
use mcp_wire::{Limits, Message, parse_one};
use tokio::sync::mpsc;

use super::process::{Process, Unsent, failure};
use super::{Launcher, StartError};
use crate::mcp::relay::SESSION;

/// The longest message of a client, in bytes. The proxy before has the same limit.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Events of a process on their way to a client, or one text.
pub(super) enum Events {
    Some(mpsc::Receiver<Bytes>),
    Text(Option<Bytes>),
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match &mut *self {
            Events::Text(text) => Poll::Ready(text.take()),
            Events::Some(events) => events.poll_recv(cx),
        };
        bytes.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Events::Text(None))
    }
}

impl Launcher {
    /// Answers a request that is judged and on record.
    pub(super) async fn answer(
        self: &Arc<Self>,
        session: &Session,
        request: Request<Incoming>,
    ) -> Response<Events> {
        let (parts, body) = request.into_parts();
        let named = match named(&parts.headers) {
            None => None,
            Some(key) => match self.find(&key).filter(|it| it.is_of(session)) {
                Some(process) => Some(process),
                // It ended: the client is to begin anew (2025-06-18, *Session Management*).
                None => return text(StatusCode::NOT_FOUND, None),
            },
        };
        match (parts.method, named) {
            (Method::POST, named) => self.post(session, &parts.headers, named, body).await,
            (Method::GET, Some(process)) => events(process.listen()),
            (Method::DELETE, Some(process)) => {
                process.stop();
                text(StatusCode::NO_CONTENT, None)
            }
            _ => text(StatusCode::METHOD_NOT_ALLOWED, None),
        }
    }

    async fn post(
        self: &Arc<Self>,
        session: &Session,
        fields: &HeaderMap,
        named: Option<Arc<Process>>,
        body: Incoming,
    ) -> Response<Events> {
        let message = read(body).await.and_then(|it| parse_one(&it, Limits::default()).ok());
        let Some(message) = message else { return text(StatusCode::BAD_REQUEST, None) };
        let (id, begins) = match &message {
            Message::Request(request) => {
                (Some(request.id().clone()), request.method_name() == "initialize")
            }
            Message::Notification(_) | Message::Response(_) => (None, false),
        };
        let accepts = fields.get_all(header::ACCEPT).iter().filter_map(|it| it.to_str().ok());
        let streams = accepts.flat_map(|it| it.split(',')).any(|it| {
            let media = it.split(';').next().unwrap_or_default().trim();
            matches!(media, "text/event-stream" | "text/*" | "*/*")
        });
        if id.is_some() && !streams {
            return text(StatusCode::NOT_ACCEPTABLE, None);
        }
        let process = match self.process(session, named, begins) {
            Ok(process) => process,
            Err(error) => {
                tracing::warn!(%error, "a program");
                let status = match error {
                    StartError::Crowded => StatusCode::SERVICE_UNAVAILABLE,
                    StartError::Io(_) => StatusCode::BAD_GATEWAY,
                };
                return text(
                    status,
                    id.as_ref().map(|id| failure(id, "the server can't be started").into()),
                );
            }
        };
        match process.send(message).await {
            Ok(None) => text(StatusCode::ACCEPTED, None),
            Ok(Some(answers)) => {
                let key = begins.then(|| process.key.clone());
                let mut response = events(answers);
                let name = key.and_then(|key| HeaderValue::from_str(&key).ok());
                if let Some(name) = name {
                    response.headers_mut().insert(SESSION, name);
                }
                response
            }
            Err(why) => {
                let (status, why) = match why {
                    Unsent::Over => (StatusCode::NOT_FOUND, "the server has ended"),
                    Unsent::Busy => (StatusCode::SERVICE_UNAVAILABLE, "too many requests"),
                };
                text(status, id.as_ref().map(|id| failure(id, why).into()))
            }
        }
    }

    /// The process that a message is for: the session's; a new one for a message that begins a
    /// session; the bearer's own for one that names none.
    fn process(
        self: &Arc<Self>,
        session: &Session,
        named: Option<Arc<Process>>,
        begins: bool,
    ) -> Result<Arc<Process>, StartError> {
        if let (Some(process), false) = (named, begins) {
            return Ok(process);
        }
        if begins {
            let mut key = [0; 16];
            let random = aws_lc_rs::rand::fill(&mut key);
            random.map_err(|_| std::io::Error::other("no random numbers"))?;
            return self.start(hex::encode(key), session);
        }
        // No id of a session of ours has a dot.
        let key = format!("bearer.{}", session.id());
        match self.find(&key).filter(|it| it.is_of(session)) {
            Some(process) => Ok(process),
            None => self.start(key, session),
        }
    }
}

/// The session that a request names. Those of bearers are not to be named.
fn named(fields: &HeaderMap) -> Option<String> {
    let named = fields.get(SESSION)?.to_str().unwrap_or_default();
    Some(named.replace('.', " "))
}

async fn read(mut body: Incoming) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.ok()?;
        all.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default());
        if all.len() > MAX_MESSAGE_BYTES {
            return None;
        }
    }
    Some(all)
}

fn text(status: StatusCode, body: Option<Bytes>) -> Response<Events> {
    let json = body.is_some();
    let mut response = Response::new(Events::Text(body));
    *response.status_mut() = status;
    if json {
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
    }
    response
}

fn events(events: mpsc::Receiver<Bytes>) -> Response<Events> {
    let mut response = Response::new(Events::Some(events));
    let media = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response
}
