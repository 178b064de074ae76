//! A server's answer, message by message: what it asks of the client is judged, lists of tools are
//! filtered, and everything is masked.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use gate::{Draft, JournalError, Session, Submission};
use masking::{Policy, Receipt, Sink};
use mcp_wire::{Definition, Id, InputRequest, Limits, List, Message, Request, parse_one};
use policy::{Access, Action, Naming, Resource};
use records::Response;

use super::request::mask;
use super::{Mcp, class};
use crate::body::BodyError;
use crate::content::Pair;
use crate::proxy::Inner;

/// The longest message, or event of a stream, in bytes.
const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;

/// How messages are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// One message is the whole body.
    Json,
    /// An event stream (WHATWG HTML, 9.2).
    Events,
}

/// Reads an answer and writes what the client and the record get of it.
pub(crate) struct McpAnswer {
    framing: Framing,
    /// Of a message or an event that is not whole.
    held: Vec<u8>,
    inner: Arc<Inner>,
    at: usize,
    mcp: Mcp,
    session: Session,
    policy: Arc<Policy>,
    receipt: Receipt,
    lists_tools: bool,
    /// Names of tools that were taken out of a list: not allowed, or changed.
    hidden: Vec<String>,
    changed: Vec<String>,
}

impl McpAnswer {
    pub(crate) fn new(
        framing: Framing,
        (inner, at, mcp): (Arc<Inner>, usize, Mcp),
        session: Session,
        lists_tools: bool,
    ) -> Self {
        let policy = session.target().masking.clone();
        McpAnswer {
            framing,
            held: Vec::new(),
            inner,
            at,
            mcp,
            session,
            policy,
            receipt: Receipt::default(),
            lists_tools,
            hidden: Vec::new(),
            changed: Vec::new(),
        }
    }

    /// Takes a piece of the body.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<Pair, BodyError> {
        let mut pair = Pair::default();
        self.held.extend_from_slice(piece);
        if self.framing == Framing::Events {
            while let Some(end) = end_of_event(&self.held) {
                let event: Vec<u8> = self.held.drain(..end).collect();
                self.event(&event, &mut pair)?;
            }
        }
        match self.held.len() > MAX_EVENT_BYTES {
            true => Err(BodyError::TooLarge),
            false => Ok(pair),
        }
    }

    /// The body has ended.
    pub(crate) fn finish(&mut self) -> Result<Pair, BodyError> {
        let mut pair = Pair::default();
        let held = std::mem::take(&mut self.held);
        // An event that is cut off is none (9.2.6).
        if self.framing == Framing::Json
            && !held.is_empty()
            && let Some(client) = self.message(&held, &mut pair.record)?
        {
            pair.client = client;
        }
        Ok(pair)
    }

    /// What was masked for the client, by entity.
    pub(crate) fn counts(&self) -> BTreeMap<Cow<'static, str>, u64> {
        let name = |entity| Cow::Owned(self.policy.entity_name(entity).to_owned());
        self.receipt.counts().map(|(entity, count)| (name(entity), count)).collect()
    }

    /// What the record says beside: tools that the client was not shown.
    pub(crate) fn details(&self) -> Vec<(&'static str, String)> {
        let all = [("hidden", &self.hidden), ("changed", &self.changed)];
        let told = all.into_iter().filter(|(_, names)| !names.is_empty());
        told.map(|(name, names)| (name, names.join(" "))).collect()
    }

    /// One event with its blank line: its data is a message, its other fields stay.
    fn event(&mut self, event: &[u8], pair: &mut Pair) -> Result<(), BodyError> {
        let mut data: Option<Vec<u8>> = None;
        let mut rest = Vec::new();
        for line in lines(event) {
            match field(line) {
                Some(value) => match &mut data {
                    None => data = Some(value.to_vec()),
                    Some(data) => {
                        data.push(b'\n');
                        data.extend_from_slice(value);
                    }
                },
                None if line.is_empty() => {}
                None => {
                    rest.extend_from_slice(line);
                    rest.push(b'\n');
                }
            }
        }
        let client = match data.filter(|data| !data.is_empty()) {
            // A comment that keeps the connection alive, a time to wait, an id.
            None => Vec::new(),
            Some(data) => match self.message(&data, &mut pair.record)? {
                Some(message) => [b"data: ", message.as_slice(), b"\n"].concat(),
                // Not for the client; what else the event says of the stream is.
                None => Vec::new(),
            },
        };
        pair.client.extend_from_slice(&rest);
        pair.client.extend_from_slice(&client);
        pair.client.push(b'\n');
        Ok(())
    }

    /// One message: what the client gets, if anything; what is recorded is appended.
    fn message(
        &mut self,
        bytes: &[u8],
        record: &mut Vec<u8>,
    ) -> Result<Option<Vec<u8>>, BodyError> {
        let mut message = parse_one(bytes, Limits::default()).map_err(|error| {
            tracing::debug!(target = &*self.session.target().name, %error, "a message is none");
            BodyError::Broken
        })?;
        let mut answer = None;
        let passes = match &mut message {
            Message::Request(request) => self.asks(request)?,
            Message::Notification(_) => true,
            Message::Response(response) => {
                if self.lists_tools {
                    let (mut hidden, mut changed) = (Vec::new(), Vec::new());
                    response
                        .filter(List::Tools, |tool| self.shows(tool, &mut hidden, &mut changed))
                        .map_err(|_| BodyError::Broken)?;
                    self.hidden.append(&mut hidden);
                    self.changed.append(&mut changed);
                }
                let asked = response.input_requests().map_err(|_| BodyError::Broken)?;
                if let (Some(id), true) = (response.id(), self.asks_too_much(&asked)) {
                    answer = Some(off(id));
                }
                true
            }
        };
        let mut recorded = message.clone();
        mask(&mut recorded, &self.policy, Sink::Record, &mut Receipt::default());
        record.extend(recorded.to_bytes());
        record.push(b'\n');
        if !passes {
            return Ok(None);
        }
        if answer.is_some() {
            return Ok(answer);
        }
        mask(&mut message, &self.policy, Sink::Client, &mut self.receipt);
        Ok(Some(message.to_bytes()))
    }

    /// A server asks something of the client: a command in the other direction, on record.
    fn asks(&self, request: &Request) -> Result<bool, JournalError> {
        let method = request.method();
        let (class, _, _) = class(&method);
        let operation = request.method_name();
        let action = Action::plain(operation, class);
        let mut judgement = self.session.judge(&[action], Cow::Owned(operation.to_owned()), class);
        if !self.mcp.lets_ask(&method) {
            judgement = judgement.forbid("off", "the target's configuration does not allow it");
        }
        let draft = Draft {
            via: "from-target",
            text: Some(operation.to_owned().into()),
            text_bytes: operation.len() as u64,
            media: super::MEDIA,
            ..Draft::default()
        };
        match self.session.submit(&judgement, draft)? {
            Submission::Refused(_) => Ok(false),
            Submission::Admitted(mut exchange) => {
                // The answer comes as a command of the client's.
                let mut outcome = Response { outcome: "ok".into(), ..Response::default() };
                exchange.try_finish(&mut outcome).map(|_| true)
            }
        }
    }

    fn asks_too_much(&self, asked: &[InputRequest<'_>]) -> bool {
        asked.iter().any(|it| !self.mcp.lets_ask(&it.method()))
    }

    /// Whether the client is shown a tool: it could be allowed to call it, and it is what it was.
    fn shows(
        &self,
        tool: Definition<'_>,
        hidden: &mut Vec<String>,
        changed: &mut Vec<String>,
    ) -> bool {
        if !self.inner.memory.is_as_before(self.at, tool.name, tool.fingerprint()) {
            changed.push(tool.name.to_owned());
            return false;
        }
        let resource = [Resource { name: tool.name, naming: Naming::Whole, access: Access::Write }];
        let action = Action { resources: &resource, ..Action::plain("tools/call", "call") };
        let allowed = self.session.judge(&[action], "tools/call".into(), "call").allows();
        if !allowed {
            hidden.push(tool.name.to_owned());
        }
        allowed
    }
}

/// The answer in place of a result that asks what the server may not ask.
fn off(id: &Id) -> Vec<u8> {
    let reason = "the server asked for something of your client that is turned off for it";
    mcp_wire::answer::denial(id, "off", Some(reason), None)
}

/// Where an event ends: behind its blank line.
fn end_of_event(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut line = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte != b'\n' && byte != b'\r' {
            continue;
        }
        let empty = at - 1 == line;
        if byte == b'\r' {
            match bytes.get(at) {
                Some(b'\n') => at += 1,
                Some(_) => {}
                // A line feed may still come.
                None => return None,
            }
        }
        if empty {
            return Some(at);
        }
        line = at;
    }
    None
}

fn lines(event: &[u8]) -> impl Iterator<Item = &[u8]> {
    event
        .split(|byte| *byte == b'\n')
        .flat_map(|line| line.strip_suffix(b"\r").unwrap_or(line).split(|byte| *byte == b'\r'))
}

/// What stands in a line of `data`.
fn field(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"data")?;
    match rest.split_first() {
        None => Some(rest),
        Some((b':', value)) => Some(value.strip_prefix(b" ").unwrap_or(value)),
        Some(_) => None,
    }
}

/// How an answer's messages are divided, by its media type; none: it has no messages.
pub(crate) fn framing(media: Option<&str>) -> Option<Framing> {
    let word = media?.split(';').next()?.trim().to_ascii_lowercase();
    match word.as_str() {
        "application/json" => Some(Framing::Json),
        "text/event-stream" => Some(Framing::Events),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_end_at_blank_lines_however_lines_end() {
        for (bytes, wanted) in [
            (&b"data: 1\n\nx"[..], Some(9)),
            (b"data: 1\r\n\r\nx", Some(11)),
            (b"data: 1\r\rx", Some(9)),
            (b"data: 1\r\n\r", None),
            (b"data: 1\n", None),
            (b"\n", Some(1)),
            (b"", None),
        ] {
            assert_eq!(end_of_event(bytes), wanted, "{bytes:?}");
        }
        let event = b"id: 1\ndata: a\r\ndata:b\rdata\n\n";
        let data: Vec<_> = lines(event).filter_map(field).collect();
        assert_eq!(data, [&b"a"[..], b"b", b""]);
    }
}
