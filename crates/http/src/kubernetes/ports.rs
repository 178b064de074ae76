//! Which ports of a pod a forwarded connection reaches, as its client says stream by stream: by SPDY/3.1,
//! or by SPDY inside a WebSocket (KEP-4006). Each port is a command of its own, judged and on record
//! before the target hears of it. What crosses itself is counted, not kept.

use std::collections::BTreeSet;

use gate::{Admitted, Draft, Exchange, JournalError, Keep, Session, Submission};
use http::header::{self, HeaderMap};
use kubernetes_wire::spdy::{SpdyEvent, SpdyFrames};
use kubernetes_wire::streams::{Side, WebSocketEvent, WebSocketFrames};
use records::Response;

use super::call::Call;
use super::{Garbled, Kubernetes};
use crate::upgrade::Next;

/// The subprotocol of a WebSocket that has SPDY inside.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// Most ports of one connection: there are more in no command line.
const MAX_PORTS: usize = 256;

/// A call that forwards ports, and who makes it.
pub(super) struct Forward {
    pub(super) call: Call,
    pub(super) target: Kubernetes,
    pub(super) session: Session,
}

/// Why a port is not reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PortError {
    #[error("a rule does not let it")]
    Refused,
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Looks for ports in what a client sends.
pub(crate) struct Ports {
    /// If SPDY is inside a WebSocket.
    websocket: Option<WebSocketFrames>,
    spdy: SpdyFrames,
    seen: BTreeSet<u16>,
    /// Of them: not asked for yet.
    fresh: Vec<u16>,
    forward: Forward,
    /// A command for each that was let through.
    open: Vec<Exchange>,
}

impl Ports {
    /// For a connection that was granted by an answer with these fields. None: it says ports in no
    /// way that is known.
    pub(super) fn of(next: Next, fields: &HeaderMap, forward: Forward) -> Option<Ports> {
        let websocket = match next {
            Next::Spdy => None,
            Next::WebSocket => {
                let chosen = fields.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
                chosen.eq_ignore_ascii_case(TUNNEL).then_some(())?;
                Some(WebSocketFrames::new(Side::Client))
            }
        };
        let (spdy, seen) = (SpdyFrames::new(), BTreeSet::new());
        Some(Ports { websocket, spdy, seen, fresh: Vec::new(), forward, open: Vec::new() })
    }

    /// Takes what the client sent. It may be passed on once [`ask`](Ports::ask) lets it.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), Garbled> {
        let Ports { websocket, spdy, seen, fresh, .. } = self;
        let mut look = |bytes: &[u8]| look(spdy, seen, fresh, bytes);
        let Some(websocket) = websocket else { return look(bytes) };
        let mut wrong = None;
        websocket.push(bytes, &mut |event| {
            if let (WebSocketEvent::Data(piece), None) = (event, wrong) {
                wrong = look(piece.bytes).err();
            }
        })?;
        wrong.map_or(Ok(()), Err)
    }

    /// Asks for each port that was said since: the right to pass on what says them, if there are
    /// any.
    pub(super) fn ask(&mut self) -> Result<Option<Admitted>, PortError> {
        let mut right = None;
        for port in self.fresh.drain(..) {
            let Forward { call, target, session } = &self.forward;
            let text = format!("portforward {} {port}", call.attributes.name);
            let judgement = call.judge_port(session, target, port);
            let mut draft = Draft {
                via: "portforward",
                text_bytes: text.len() as u64,
                text: Some(text.into()),
                keep: Keep::Counted,
                ..Draft::default()
            };
            call.tell(&mut draft.details);
            draft.details.insert("port".into(), port.to_string().into());
            match session.submit(&judgement, draft)? {
                Submission::Admitted(exchange) => {
                    right = Some(exchange.admitted().clone());
                    self.open.push(*exchange);
                }
                Submission::Refused(_) => return Err(PortError::Refused),
            }
        }
        Ok(right)
    }

    /// Nothing more crosses: so each port's command ended.
    pub(super) fn end(&mut self, outcome: &'static str) {
        for mut exchange in self.open.drain(..) {
            let mut response = Response { outcome: outcome.into(), ..Response::default() };
            if let Err(error) = exchange.try_finish(&mut response) {
                tracing::error!(%error, "the end of a forwarded port is not on record");
            }
        }
    }

    /// Those that were said, with a blank between them.
    pub(super) fn said(&self) -> String {
        self.seen.iter().map(u16::to_string).collect::<Vec<_>>().join(" ")
    }
}

fn look(
    spdy: &mut SpdyFrames,
    seen: &mut BTreeSet<u16>,
    fresh: &mut Vec<u16>,
    bytes: &[u8],
) -> Result<(), Garbled> {
    let mut wrong = Ok(());
    spdy.push(bytes, &mut |event| {
        let SpdyEvent::SynStream { headers, .. } = event else { return };
        match headers.port() {
            Some(port) if seen.contains(&port) => {}
            Some(port) if seen.len() < MAX_PORTS => {
                seen.insert(port);
                fresh.push(port);
            }
            // Nobody could say what it reaches.
            _ => wrong = Err(Garbled::Port),
        }
    })?;
    wrong
}
