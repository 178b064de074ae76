//! A server's answer, message by message: what it asks of the client is judged, lists of tools are
//! filtered, and everything is masked.

use std::borrow::Cow;
use std::sync::Arc;

use gate::{Draft, JournalError, Session, Submission};
use masking::{Policy, Receipt, Sink};
use mcp_wire::{Definition, Events, Id, InputRequest, Limits, List, Message, Request, parse_one};
use policy::{Access, Action, Naming, Resource};
use records::Response;

use super::request::masked;
use super::{Mcp, class};
use crate::body::BodyError;
use crate::content::Pair;
use crate::proxy::Inner;
use crate::record;

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
    /// Of a message that is not whole.
    held: Vec<u8>,
    events: Events,
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
            events: Events::new(MAX_EVENT_BYTES),
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
        if self.framing == Framing::Json {
            self.held.extend_from_slice(piece);
            return match self.held.len() > MAX_EVENT_BYTES {
                true => Err(BodyError::TooLarge),
                false => Ok(pair),
            };
        }
        self.events.push(piece);
        while let Some(mut event) = self.events.next_event().map_err(|error| self.none(&error))? {
            if let Some(data) = event.data.take()
                && !data.is_empty()
            {
                // A message that is not for the client leaves what else the event says: its id.
                let message = self.message(data.as_bytes(), &mut pair.record)?;
                event.data = message.and_then(|bytes| String::from_utf8(bytes).ok());
            }
            pair.client.extend(event.to_bytes());
        }
        Ok(pair)
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
    pub(crate) fn counts(&self) -> record::Counted {
        record::counted(&self.policy, &self.receipt)
    }

    /// What the record says beside: tools that the client was not shown.
    pub(crate) fn details(&self) -> Vec<(&'static str, String)> {
        let all = [("hidden", &self.hidden), ("changed", &self.changed)];
        let told = all.into_iter().filter(|(_, names)| !names.is_empty());
        told.map(|(name, names)| (name, names.join(" "))).collect()
    }

    /// What came is no message, or no stream of them: the server's fault.
    fn none(&self, error: &mcp_wire::WireError) -> BodyError {
        tracing::debug!(target = &*self.session.target().name, %error, "a message is none");
        BodyError::Broken
    }

    /// One message: what the client gets, if anything; what is recorded is appended.
    fn message(
        &mut self,
        bytes: &[u8],
        record: &mut Vec<u8>,
    ) -> Result<Option<Vec<u8>>, BodyError> {
        let mut message = parse_one(bytes, Limits::default()).map_err(|error| self.none(&error))?;
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
        let kept = &mut Receipt::default();
        record.extend(masked(message.clone(), &self.policy, Sink::Record, kept)?);
        record.push(b'\n');
        if !passes {
            return Ok(None);
        }
        if answer.is_some() {
            return Ok(answer);
        }
        Ok(Some(masked(message, &self.policy, Sink::Client, &mut self.receipt)?))
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
        // A text for the model that no person sees.
        if tool.hides() {
            hidden.push(tool.name.to_owned());
            return false;
        }
        let resource = [Resource { name: tool.name, naming: Naming::Whole, access: Access::Write }];
        let plain = Action::plain("tools/call", "call");
        let action = Action { resources: &resource, to_come: &[""], ..plain };
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

/// How an answer's messages are divided, by its media type; none: it has no messages.
pub(crate) fn framing(media: Option<&str>) -> Option<Framing> {
    let word = media?.split(';').next()?.trim().to_ascii_lowercase();
    match word.as_str() {
        "application/json" => Some(Framing::Json),
        "text/event-stream" => Some(Framing::Events),
        _ => None,
    }
}
