//! A message's way to its command: the parts of a request that only MCP has.

use std::collections::BTreeMap;
use std::future::poll_fn;

use bytes::Bytes;
use gate::{Draft, Exchange, Object, RefusalCause, Session, Submission};
use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::{Method, StatusCode};
use hyper::body::Incoming;
use mcp_wire::Id;
use policy::Action;
use records::Parameter;

use super::memory::Owner;
use super::request::{Asked, check_origin, fits, read};
use super::{MEDIA, Mcp};
use crate::body::{RequestBody, read_whole};
use crate::content::ask_uncoded;
use crate::problem::Told;
use crate::record;
use crate::relay::{Begun, Connection, Dialect, Routed};
use crate::running::Running;
use crate::sessions::InUse;

/// The longest message of a client, in bytes: it is read whole, to be judged.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Names a session of the eras before 2026-07-28.
pub(crate) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

impl Connection {
    /// Everything before the target, for a target that speaks MCP.
    pub(crate) async fn begin_mcp<'a>(
        &self,
        parts: &mut Parts,
        unread: &mut Option<Incoming>,
        routed: Routed<'a>,
        session: InUse,
        mcp: &Mcp,
    ) -> Result<Begun<'a>, Told> {
        let name = routed.target.gate.name.clone();
        let asked = match self.read_message(parts, unread, &routed, &session, mcp).await {
            Ok(asked) => asked,
            Err(told) => return Err(self.turned_away(parts, name.as_bytes(), told).await),
        };
        let exchange = self.submit_message(&session, &routed, parts, asked.as_ref()).await?;
        ask_uncoded(&mut parts.headers);
        parts.headers.remove(header::CONTENT_LENGTH);
        let lists_tools = asked.as_ref().is_some_and(|it| it.lists_tools);
        let body = asked.map_or_else(Bytes::new, |asked| asked.forwarded());
        let running = Running::new(exchange, session);
        let body = RequestBody::full(body);
        Ok(Begun { routed, body, running, wish: None, dialect: Dialect::Mcp { lists_tools } })
    }

    /// The message of a POST; none for GET, which listens, and DELETE, which ends a session.
    async fn read_message(
        &self,
        parts: &Parts,
        unread: &mut Option<Incoming>,
        routed: &Routed<'_>,
        session: &Session,
        mcp: &Mcp,
    ) -> Result<Option<Asked>, Told> {
        check_origin(mcp, &routed.target.route, &parts.headers, &routed.host)?;
        if let Some(id) = session_id(&parts.headers)?
            && !self.inner.memory.is_bound(routed.at, id, &owner(session))
        {
            return Err(Told::NoSession);
        }
        match parts.method {
            Method::GET | Method::DELETE => Ok(None),
            Method::POST => {
                let body = read_whole(unread, MAX_MESSAGE_BYTES).await?;
                read(&parts.headers, &body).map(Some)
            }
            _ => Err(Told::Method),
        }
    }

    /// Judges a message and puts it on record.
    async fn submit_message(
        &self,
        session: &InUse,
        routed: &Routed<'_>,
        parts: &Parts,
        asked: Option<&Asked>,
    ) -> Result<Exchange, Told> {
        let mut masked = BTreeMap::new();
        let policy = &session.target().masking;
        let mut details = record::fields(policy, &parts.headers, &mut masked);
        details.insert("host".into(), routed.host.clone().into());
        details.insert("peer".into(), self.peer.to_string().into());
        let meta = asked.and_then(|it| it.message.meta());
        let trace = record::trace(policy, &parts.headers, meta, &mut masked);
        let mut draft = Draft {
            trace,
            via: record::via(parts.version),
            media: MEDIA,
            details,
            ..Draft::default()
        };
        let Some(asked) = asked else {
            let operation = parts.method.as_str();
            let judgement = session.judge(
                &[Action::plain(operation, "list")],
                operation.to_owned().into(),
                "list",
            );
            draft.text = Some(operation.to_owned().into());
            return admitted(session, session.submit(&judgement, draft)?, None).await;
        };
        let judgement = asked.judge(session, &self.inner.memory, routed.at);
        draft.text = Some(record::masked(policy, asked.text.as_bytes(), &mut masked));
        draft.text_bytes = asked.text.len() as u64;
        let recorded = asked.recorded(policy, &mut masked)?;
        draft.masked = masked;
        let objects: Vec<Object>;
        if fits(&recorded) {
            let value = String::from_utf8_lossy(&recorded).into_owned();
            draft.parameters =
                vec![Parameter { type_name: "message".into(), value: Some(value.into()) }];
        } else {
            let mut spill = session.spill(&recorded)?;
            objects = poll_fn(|cx| spill.poll(cx)).await?;
            draft.parameter_objects = &objects;
        }
        let submission = session.submit(&judgement, draft)?;
        admitted(session, submission, asked.id.as_ref()).await
    }

    /// Remembers whose session a target began or ended.
    pub(crate) fn remember(
        &self,
        at: usize,
        session: &Session,
        asked: (&Method, &HeaderMap),
        status: StatusCode,
        fields: &HeaderMap,
    ) -> Result<(), Told> {
        let (method, sent) = asked;
        if *method == Method::DELETE
            && status.is_success()
            && let Some(id) = session_id(sent)?
        {
            self.inner.memory.unbind(at, id);
        }
        // A session that the target does not know any more is nobody's.
        if status == StatusCode::NOT_FOUND
            && let Some(id) = session_id(sent)?
        {
            self.inner.memory.unbind(at, id);
        }
        match session_id(fields).map_err(|_| Told::TargetBroke)? {
            Some(id) if !self.inner.memory.bind(at, id, owner(session)) => Err(Told::Crowded),
            _ => Ok(()),
        }
    }
}

/// The right to send, or the refusal in words that a model can read.
async fn admitted(
    session: &Session,
    submission: Submission,
    id: Option<&Id>,
) -> Result<Exchange, Told> {
    let refusal = match submission {
        Submission::Admitted(exchange) => return Ok(*exchange),
        Submission::Refused(refusal) => refusal,
    };
    refusal.release.cleared(&mut *session.waiter()).await?;
    let ask = Some("ask whoever runs this gateway if you need it");
    let bytes = match (&refusal.cause, id) {
        (RefusalCause::Denied { rule, reason }, Some(id)) => {
            mcp_wire::answer::denial(id, rule, reason.as_deref(), ask)
        }
        (RefusalCause::Held { rule }, Some(id)) => mcp_wire::answer::held(id, rule, None, ask),
        _ => return Err(refusal.cause.into()),
    };
    Err(Told::Message { status: StatusCode::OK, code: "denied", bytes: bytes.into() })
}

fn owner(session: &Session) -> Owner {
    let principal = session.principal();
    Owner { issuer: principal.issuer.clone(), subject: principal.subject.clone() }
}

fn session_id(fields: &HeaderMap) -> Result<Option<&str>, Told> {
    let mut all = fields.get_all(SESSION).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(id), None) => {
            mcp_wire::read_session_id(id.as_bytes()).map(Some).ok_or(Told::NoSession)
        }
        (Some(_), Some(_)) => Err(Told::NoSession),
    }
}
