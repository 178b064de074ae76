//! Which ports of a pod a forwarded connection reaches, as its client says stream by stream: by SPDY/3.1,
//! or by SPDY inside a WebSocket (KEP-4006). What crosses itself is counted, not kept.

use std::collections::BTreeSet;

use http::header::{self, HeaderMap};
use kubernetes_wire::spdy::{SpdyEvent, SpdyFrames};
use kubernetes_wire::streams::{Side, WebSocketEvent, WebSocketFrames};

use super::Garbled;
use crate::upgrade::Next;

/// The subprotocol of a WebSocket that has SPDY inside.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// Most ports that the record names: there are more in no command line.
const MAX_PORTS: usize = 256;

/// Looks for ports in what a client sends.
pub(crate) struct Ports {
    /// If SPDY is inside a WebSocket.
    websocket: Option<WebSocketFrames>,
    spdy: SpdyFrames,
    seen: BTreeSet<u16>,
}

impl Ports {
    /// For a connection that was granted by an answer with these fields. None: it says ports in no
    /// way that is known.
    pub(super) fn of(next: Next, fields: &HeaderMap) -> Option<Ports> {
        let websocket = match next {
            Next::Spdy => None,
            Next::WebSocket => {
                let chosen = fields.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
                chosen.eq_ignore_ascii_case(TUNNEL).then_some(())?;
                Some(WebSocketFrames::new(Side::Client))
            }
        };
        Some(Ports { websocket, spdy: SpdyFrames::new(), seen: BTreeSet::new() })
    }

    /// Takes what the client sent.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), Garbled> {
        let Ports { websocket, spdy, seen } = self;
        let Some(websocket) = websocket else { return look(spdy, seen, bytes) };
        let mut wrong = None;
        websocket.push(bytes, &mut |event| {
            if let (WebSocketEvent::Data(piece), None) = (event, wrong) {
                wrong = look(spdy, seen, piece.bytes).err();
            }
        })?;
        wrong.map_or(Ok(()), Err)
    }

    /// Those that were said, with a blank between them.
    pub(super) fn said(&self) -> String {
        self.seen.iter().map(u16::to_string).collect::<Vec<_>>().join(" ")
    }
}

fn look(spdy: &mut SpdyFrames, seen: &mut BTreeSet<u16>, bytes: &[u8]) -> Result<(), Garbled> {
    spdy.push(bytes, &mut |event| {
        if let SpdyEvent::SynStream { headers, .. } = event
            && let Some(port) = headers.get("port").and_then(|it| it.parse().ok())
            && seen.len() < MAX_PORTS
        {
            seen.insert(port);
        }
    })?;
    Ok(())
}
