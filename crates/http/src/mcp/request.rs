//! A client's message: read, checked against its headers, and told in the gate's words.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use gate::{Judgement, MAX_INLINE_TEXT, Session};
use http::StatusCode;
use http::header::{self, HeaderMap};
use http_content::media::{Charset, Kind};
use http_content::{BodyMasker, ContentError, Sides};
use masking::{Outcome, Policy, Receipt, Sink};
use mcp_wire::{
    Headers, Id, Leaf, Limits, Message, Method, check_headers, parse_one, version_over_http,
};
use policy::{Access, Action, Argument, Naming, Resource};

use super::{Mcp, Memory, class};
use crate::problem::Told;
use crate::record;
use crate::target::{Route, without_port};

/// A message of a client that is fit to be judged.
pub(crate) struct Asked {
    pub(crate) message: Message,
    /// The request's id, for an answer of ours.
    pub(crate) id: Option<Id>,
    /// What is recorded as the command's text.
    pub(crate) text: String,
    /// Whether the answer is a list of tools.
    pub(crate) lists_tools: bool,
}

/// Reads a message.
pub(crate) fn read(fields: &HeaderMap, body: &[u8]) -> Result<Asked, Told> {
    let json = fields.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let json = json.and_then(|it| it.split(';').next()).map(str::trim);
    if !json.is_some_and(|it| it.eq_ignore_ascii_case("application/json")) {
        return Err(Told::NotJson);
    }
    let answer = |bytes: Vec<u8>| Told::Message {
        status: StatusCode::BAD_REQUEST,
        code: "message",
        bytes: bytes.into(),
    };
    let message = parse_one(body, Limits::default()).map_err(|error| answer(error.answer(None)))?;
    let id = match &message {
        Message::Request(request) => Some(request.id().clone()),
        Message::Notification(_) | Message::Response(_) => None,
    };
    let named = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let headers = Headers::collect(named).map_err(|error| answer(error.answer(id.as_ref())))?;
    let version = version_over_http(headers.version(), &message)
        .map_err(|error| answer(error.answer(id.as_ref(), &[])))?;
    check_headers(&headers, &message, version, None)
        .map_err(|error| answer(error.answer(id.as_ref())))?;
    let (text, lists_tools) = match &message {
        Message::Request(request) => {
            let method = request.method();
            let text = match class(&method) {
                (_, Some(name), _) => format!("{} {name}", request.method_name()),
                (_, None, _) => request.method_name().to_owned(),
            };
            (text, method == Method::ListTools)
        }
        Message::Notification(notification) => (notification.method_name().to_owned(), false),
        Message::Response(_) => ("response".to_owned(), false),
    };
    Ok(Asked { message, id, text, lists_tools })
}

impl Asked {
    /// Judges the message.
    pub(crate) fn judge(&self, session: &Session, memory: &Memory, target: usize) -> Judgement {
        let Message::Request(request) = &self.message else {
            let operation = self.text.clone();
            let action = Action::plain(&operation, "tell");
            return session.judge(&[action], Cow::Owned(operation.clone()), "tell");
        };
        let method = request.method();
        let (class, name, access) = class(&method);
        let resource = name.map(|name| Resource { name, naming: Naming::Whole, access });
        let fields = request.flatten_arguments();
        let arguments: Vec<Argument<'_>> = fields
            .fields
            .iter()
            .map(|field| Argument { name: &field.name, value: field.value })
            .collect();
        let unread: Vec<&str> = fields.unread.iter().map(String::as_str).collect();
        let action = Action {
            resources: resource.as_slice(),
            arguments: &arguments,
            unread: &unread,
            ..Action::plain(request.method_name(), class)
        };
        let operation = Cow::Owned(request.method_name().to_owned());
        let judgement = session.judge(&[action], operation, class);
        match (method, access) {
            (Method::CallTool(call), Access::Write) if memory.has_changed(target, call.name) => {
                let reason = "its definition has changed since it was first seen";
                judgement.forbid("changed-definition", reason)
            }
            _ => judgement,
        }
    }

    /// The message as the record may keep it.
    pub(crate) fn recorded(
        &self,
        policy: &Arc<Policy>,
        counts: &mut record::Counted,
    ) -> Result<Vec<u8>, Told> {
        let mut receipt = Receipt::default();
        let kept = masked(self.message.clone(), policy, Sink::Record, &mut receipt);
        record::add(counts, record::counted(policy, &receipt));
        kept.map_err(|_| Told::Coded)
    }

    /// The message as the target gets it.
    pub(crate) fn forwarded(&self) -> Bytes {
        self.message.to_bytes().into()
    }
}

/// Whether a recorded message fits its command's entry.
pub(crate) fn fits(recorded: &[u8]) -> bool {
    recorded.len() <= MAX_INLINE_TEXT
}

/// A message with every text and number masked, its keys for the record, and what path rules name:
/// their root is the message.
pub(super) fn masked(
    mut message: Message,
    policy: &Arc<Policy>,
    sink: Sink,
    receipt: &mut Receipt,
) -> Result<Vec<u8>, ContentError> {
    let mut text = |text: &str| {
        let mut out = Vec::new();
        match policy.mask_text(sink, text.as_bytes(), &mut out, receipt) {
            Outcome::Same => None,
            Outcome::Replaced => Some(String::from_utf8_lossy(&out).into_owned()),
        }
    };
    if policy.scans(sink) {
        message.for_each_leaf(|_, leaf| {
            let (Leaf::Text(leaf) | Leaf::Number(leaf)) = leaf;
            text(leaf)
        });
        if sink == Sink::Record {
            message.for_each_key(|_, key| text(key));
        }
    }
    let bytes = message.to_bytes();
    if !policy.paths_mask(sink) {
        return Ok(bytes);
    }
    let sides = if sink == Sink::Client { Sides::Client } else { Sides::Record };
    let mut masker = BodyMasker::new(&Kind::Json, Charset::Ascii, policy, sides)?;
    let (mut client, mut kept) = (Vec::new(), Vec::new());
    masker.push(&bytes, &mut client, &mut kept)?;
    masker.finish(&mut client, &mut kept)?;
    let counts = masker.counts();
    receipt.merge(if sink == Sink::Client { &counts.client } else { &counts.record });
    Ok(if sink == Sink::Client { client } else { kept })
}

/// A page that a browser shows may use a target only if it is ours, or named. A name that nobody
/// configured may be anybody's, made to lead to us (DNS rebinding): only by one of the target's own
/// names, or by an address, is a page ours.
pub(crate) fn check_origin(
    mcp: &Mcp,
    route: &Route,
    fields: &HeaderMap,
    host: &str,
) -> Result<(), Told> {
    let Some(origin) = fields.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().map_err(|_| Told::Origin)?;
    let known = !route.hosts.is_empty() || is_address(without_port(host));
    let own =
        known && origin.split_once("://").is_some_and(|(_, it)| it.eq_ignore_ascii_case(host));
    match own || mcp.origins.iter().any(|it| it.eq_ignore_ascii_case(origin)) {
        true => Ok(()),
        false => Err(Told::Origin),
    }
}

/// Whether a host is no name that a name server was asked for.
fn is_address(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn attack_30_a_page_is_ours_only_by_a_name_that_is_ours() {
        let check = |hosts: &[&str], host: &str, origin: &'static str| {
            let hosts = hosts.iter().map(|it| (*it).to_owned()).collect();
            let route = Route { hosts, path: None };
            let mcp = Mcp { origins: vec!["https://app.test".into()], ..Mcp::default() };
            let mut fields = HeaderMap::new();
            fields.insert(header::ORIGIN, HeaderValue::from_static(origin));
            check_origin(&mcp, &route, &fields, host).is_ok()
        };
        // The request came to us by its host: whether that is a name of ours is the question.
        assert!(!check(&[], "evil.test", "http://evil.test"));
        assert!(!check(&[], "evil.test:80", "http://evil.test:80"));
        assert!(!check(&[], "localhost.evil.test", "http://localhost.evil.test"));
        assert!(!check(&[], "127.0.0.1.evil.test", "http://127.0.0.1.evil.test"));
        assert!(check(&["tools.test"], "tools.test", "https://tools.test"));
        assert!(!check(&["tools.test"], "tools.test", "https://evil.test"));
        for local in ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "LOCALHOST"] {
            let origin = String::leak(format!("http://{local}"));
            assert!(check(&[], local, origin), "{local}");
        }
        assert!(check(&[], "evil.test", "https://app.test"));
        assert!(!check(&[], "127.0.0.1", "null"));
    }
}
