//! Which ports of a pod a forwarded connection reaches, as its client says stream by stream: by SPDY/3.1,
//! or by SPDY inside a WebSocket (KEP-4006); or in its query, by an older WebSocket. Each port is a command of its own, judged and on record
//! before the target hears of it. What crosses itself is counted, not kept.

use std::collections::BTreeSet;
use std::rc::Rc;

use gate::{Admitted, Draft, Exchange, JournalError, Keep, Refusal, Session, Submission};
use http::header::{self, HeaderMap};
use kubernetes_wire::spdy::{SpdyEvent, SpdyFrames};
use kubernetes_wire::streams::{Side, WebSocketEvent, WebSocketFrames};
use records::Response;

use super::call::Call;
use super::{Garbled, Kubernetes};
use crate::upgrade::Next;

/// The subprotocol of a WebSocket that has SPDY inside.
const TUNNEL: &[u8] = b"SPDY/3.1+portforward.k8s.io";
/// Most ports of one connection: there are more in no command line.
const MAX_PORTS: usize = 256;

/// Why a port is not reached.
pub(crate) enum PortError {
    /// A rule does not let it, or the caller's right is over.
    Refused(Box<Refusal>),
    Journal(JournalError),
}

impl From<JournalError> for PortError {
    fn from(error: JournalError) -> Self {
        PortError::Journal(error)
    }
}

/// The ports of a call that forwards some.
pub(crate) struct Ports {
    call: Rc<Call>,
    target: Kubernetes,
    session: Session,
    way: Way,
    /// That were said.
    seen: BTreeSet<u16>,
    /// Of them: not asked for yet.
    fresh: Vec<u16>,
    /// A command for each that was let through.
    open: Vec<(u16, Exchange)>,
}

/// Where a client says more ports.
enum Way {
    /// Nowhere: all are in the query.
    Query,
    Spdy(SpdyFrames),
    /// By SPDY inside a WebSocket.
    Tunnel(WebSocketFrames, SpdyFrames),
}

impl Ports {
    /// Of this call, with those that its query says.
    pub(super) fn new(call: Rc<Call>, target: Kubernetes, session: Session) -> Ports {
        let seen: BTreeSet<u16> = call.ports().iter().copied().collect();
        let fresh = seen.iter().copied().collect();
        Ports { call, target, session, way: Way::Query, seen, fresh, open: Vec::new() }
    }

    /// Looks for more in a connection that was granted by an answer with these fields. False: it
    /// says ports in no way that is known.
    pub(super) fn follow(&mut self, next: Next, fields: &HeaderMap) -> bool {
        let chosen = fields.get(header::SEC_WEBSOCKET_PROTOCOL);
        let is_tunnel = chosen.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(TUNNEL));
        self.way = match next {
            Next::Spdy => Way::Spdy(SpdyFrames::new()),
            Next::WebSocket if is_tunnel => {
                Way::Tunnel(WebSocketFrames::new(Side::Client), SpdyFrames::new())
            }
            Next::WebSocket => Way::Query,
        };
        !matches!(self.way, Way::Query) || !self.call.ports().is_empty()
    }

    /// Takes what the client sent. It may be passed on once [`ask`](Ports::ask) lets it.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), Garbled> {
        let Ports { way, seen, fresh, .. } = self;
        match way {
            Way::Query => Ok(()),
            Way::Spdy(spdy) => look(spdy, seen, fresh, bytes),
            Way::Tunnel(websocket, spdy) => {
                let mut wrong = None;
                websocket.push(bytes, &mut |event| {
                    if let (WebSocketEvent::Data(piece), None) = (event, wrong) {
                        wrong = look(spdy, seen, fresh, piece.bytes).err();
                    }
                })?;
                wrong.map_or(Ok(()), Err)
            }
        }
    }

    /// Asks for each port that was said since: the right to pass on what says them, if there are
    /// any.
    pub(super) fn ask(&mut self) -> Result<Option<Admitted>, PortError> {
        let mut right = None;
        for port in std::mem::take(&mut self.fresh) {
            let Ports { call, target, session, .. } = &*self;
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
                    self.open.push((port, *exchange));
                }
                Submission::Refused(refusal) => return Err(PortError::Refused(Box::new(refusal))),
            }
        }
        Ok(right)
    }

    /// Nothing more crosses, for it ended so: and with it each port's command.
    pub(super) fn end(&mut self, outcome: &'static str, cause: &'static str) {
        for (_, exchange) in &mut self.open {
            let mut response = Response { outcome: outcome.into(), ..Response::default() };
            if outcome != "ok" {
                response.details.insert("cause".into(), cause.into());
            }
            if let Err(error) = exchange.try_finish(&mut response) {
                tracing::error!(%error, "the end of a forwarded port is not on record");
            }
        }
    }

    /// Those that were let through, with a blank between them.
    pub(super) fn said(&self) -> String {
        let open: BTreeSet<u16> = self.open.iter().map(|(port, _)| *port).collect();
        open.iter().map(u16::to_string).collect::<Vec<_>>().join(" ")
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
