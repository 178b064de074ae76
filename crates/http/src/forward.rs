//! A request that is on record, on its way: what the target gets, and how its answer begins.

use std::future::poll_fn;

use bytes::Bytes;
use gate::Session;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};
use identity::Statement;
use terminal::frames;

use crate::answer::{AnswerBody, Answering, Source};
use crate::body::BodyError;
use crate::content::{Content, ask_plainly, forget_the_bytes, is_coded, looks};
use crate::headers::{self, Introduction};
use crate::kubernetes;
use crate::login::cookies;
use crate::mcp::{self, McpAnswer};
use crate::problem::{Challenge, Told};
use crate::record;
use crate::relay::{Begun, Connection, Dialect, Job, Routed};
use crate::running::Shared;
use crate::send::send;
use crate::target::Assertion;
use crate::upgrade::{self, Wish};

impl Connection {
    /// Sends the request, and gives the answer's head when it may be handed on.
    pub(crate) async fn forward(
        &self,
        begun: Begun<'_>,
        parts: Parts,
    ) -> Result<Response<AnswerBody>, Told> {
        let Begun { routed, body, running, wish, mut dialect } = begun;
        let running = &running;
        let method = parts.method.clone();
        let credential = routed.target.upstream.credential.field().await?;
        let mut head = self.upstream_head(&routed, parts, running, (&dialect, credential))?;
        if let Some(wish) = &wish {
            upgrade::ask(&mut head.headers, wish.next);
        }
        // The right to send: the command is on record.
        let (admitted, mut wait) = {
            let running = running.borrow();
            (running.exchange.admitted().clone(), running.waiter())
        };
        admitted.cleared(&mut *wait).await?;
        let key = (self.inner.number, routed.at);
        let sent_fields = head.headers.clone();
        // Unasked, the library sends no body of unknown length with a GET.
        if body.size_hint().exact().is_none() {
            head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let request = Request::from_parts(head, body);
        let (sent, connected) = send(routed.target, key, request, running, wish.is_some()).await?;
        if let Some(wish) = wish
            && upgrade::is_granted(wish.next, sent.status(), sent.headers())
        {
            let streams = match &mut dialect {
                Dialect::Kubernetes(answers) => {
                    answers.streams(wish.next, sent.headers(), &running.borrow().exchange)?
                }
                Dialect::Http | Dialect::Mcp { .. } => None,
            };
            return self.switch(wish, sent, running, streams).await;
        }
        // Nobody asked for it, or not for this: a client must not take it for granted.
        if sent.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Told::TargetBroke);
        }
        // Who follows a redirect shows its token to whom an aggregated API or a node names.
        let moved = sent.status().is_redirection() && sent.status() != StatusCode::NOT_MODIFIED;
        if moved && matches!(dialect, Dialect::Kubernetes(_)) {
            return Err(Told::TargetBroke);
        }
        let media = running.borrow().exchange.media();
        let (mut parts, body) = sent.into_parts();
        headers::strip_hop_by_hop(&mut parts.headers).map_err(|_| Told::TargetBroke)?;
        cookies::guard(&mut parts.headers);
        let source =
            Source { body, sender: connected.sender, key, idle: routed.target.idle_connections() };
        let patience = match &dialect {
            Dialect::Kubernetes(answers) if answers.silent => None,
            _ => routed.target.patience(&parts.headers),
        };
        {
            let mut running = running.borrow_mut();
            running.answered(parts.status);
            running.called(&parts.headers);
        }
        let short = source.body.size_hint().upper();
        let short = short.is_some_and(|upper| upper < gate::MAX_ANSWER_IN_ENTRIES as u64);
        let session = running.borrow().exchange.session().clone();
        let mut head = record::head(&session.target().masking, parts.status, &parts.headers);
        let mut content = match &dialect {
            Dialect::Http => {
                Content::of(&session.target().masking, parts.status, &mut parts.headers)?
            }
            Dialect::Kubernetes(answers) => answers.content(parts.status, &mut parts.headers)?,
            Dialect::Mcp { lists_tools } => {
                let asked = (&method, &sent_fields);
                self.remember(routed.at, &session, asked, parts.status, &parts.headers)?;
                self.messages(&routed, session, *lists_tools, &mut parts)?
            }
        };
        match media {
            frames::MEDIA => {
                head = upgrade::head_frame(&head, frames::Kind::Output);
                content = content.framed();
            }
            mcp::MEDIA => head.clear(),
            _ => {}
        }
        let jobs = self.jobs.clone();
        let mut answering =
            Answering::new(source, &head, content, running.clone(), jobs, patience)?;
        let sequence = matches!(&dialect, Dialect::Kubernetes(answers) if answers.sequence);
        if sequence && !is_coded(&parts.headers) {
            answering.ends_between_lines();
        }
        if matches!(&dialect, Dialect::Kubernetes(answers) if answers.silent && !sequence) {
            answering.gives_tails();
        }
        poll_fn(|cx| answering.poll_head(short, cx)).await.map_err(told)?;
        parts.version = Version::default();
        parts.extensions.clear();
        Ok(Response::from_parts(parts, AnswerBody::answering(answering)))
    }

    /// What is to be done with an answer of a server that speaks MCP.
    fn messages(
        &self,
        routed: &Routed<'_>,
        session: Session,
        lists_tools: bool,
        parts: &mut http::response::Parts,
    ) -> Result<Content, Told> {
        let media = parts.headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
        let (Some(framing), Some(mcp)) = (mcp::framing(media), &routed.target.mcp) else {
            return Content::of(&session.target().masking, parts.status, &mut parts.headers);
        };
        if is_coded(&parts.headers) {
            return Err(Told::Unmaskable);
        }
        forget_the_bytes(&mut parts.headers);
        let target = (self.inner.clone(), routed.at, mcp.clone());
        Ok(Content::Mcp(Box::new(McpAnswer::new(framing, target, session, lists_tools))))
    }

    /// Makes the connection another protocol's, once its head is on record.
    async fn switch(
        &self,
        wish: Wish,
        mut sent: Response<Incoming>,
        running: &Shared,
        streams: Option<kubernetes::Streams>,
    ) -> Result<Response<AnswerBody>, Told> {
        let target = hyper::upgrade::on(&mut sent);
        let (mut parts, _) = sent.into_parts();
        headers::strip_hop_by_hop(&mut parts.headers).map_err(|_| Told::TargetBroke)?;
        cookies::guard(&mut parts.headers);
        upgrade::ask(&mut parts.headers, wish.next);
        let (release, mut wait) = {
            let mut running = running.borrow_mut();
            let masking = &running.exchange.session().target().masking;
            let head = record::head(masking, parts.status, &parts.headers);
            running.answered(parts.status);
            let kind = match &streams {
                Some(_) => frames::Kind::Mark,
                None => frames::Kind::Output,
            };
            running.exchange.answer(&upgrade::head_frame(&head, kind))?;
            (running.exchange.release()?, running.waiter())
        };
        release.cleared(&mut *wait).await?;
        let tunnel = Box::pin(upgrade::tunnel(wish, target, running.clone(), streams));
        // Who would run it is gone only with the connection.
        self.jobs.send(Job::Tunnel(tunnel)).map_err(|_| Told::TargetBroke)?;
        parts.extensions.clear();
        Ok(Response::from_parts(parts, AnswerBody::full(Bytes::new())))
    }

    /// The head as the target gets it: our host, our credential, who asks.
    fn upstream_head(
        &self,
        routed: &Routed<'_>,
        mut parts: Parts,
        running: &Shared,
        (dialect, credential): (&Dialect, Option<(HeaderName, HeaderValue)>),
    ) -> Result<Parts, Told> {
        let upstream = &routed.target.upstream;
        let running = running.borrow();
        let session = running.exchange.session();
        let principal = session.principal();
        headers::strip_identity(&mut parts.headers);
        if looks(dialect.masking(session)) {
            ask_plainly(&mut parts.headers);
        }
        let assertion = routed.target.assertion.as_ref();
        let assertion = assertion.map(|it| assert(it, session)).transpose()?;
        let introduction = Introduction {
            peer: self.peer.ip(),
            secure: self.secure,
            host: &routed.host,
            session: session.id(),
            subject: &principal.subject,
            issuer: &principal.issuer,
            kind: principal.kind.as_str(),
            on_behalf_of: principal.acts_for().map(|it| it.subject.as_str()),
            assertion: assertion.as_deref(),
        };
        headers::introduce(&mut parts.headers, &introduction);
        if let Dialect::Kubernetes(answers) = dialect {
            answers.introduce(&mut parts.headers);
        }
        parts.headers.remove(header::HOST);
        if let Some((name, value)) = credential {
            parts.headers.insert(name, value);
        }
        let mut target = format!("{}{}", upstream.path, routed.path.as_str());
        if let Some(query) = parts.uri.query() {
            target.push('?');
            target.push_str(query);
        }
        let target: PathAndQuery =
            target.parse().map_err(|_| Told::BadRequest("the path can't be passed on"))?;
        parts.uri = Uri::from(target);
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        Ok(parts)
    }
}

/// What a target is told, signed, of who asks.
fn assert(assertion: &Assertion, session: &Session) -> Result<String, Told> {
    let statement = Statement {
        issuer: &assertion.issuer,
        audience: &assertion.audience,
        session: session.id(),
        lifetime: assertion.lifetime.min(session.lease().remaining()),
    };
    assertion.key.state(session.principal(), &statement).map_err(|_| Told::Unsigned)
}

fn told(error: BodyError) -> Told {
    match error {
        BodyError::Journal(error) => error.into(),
        BodyError::Over(why) => Told::Unauthenticated(Challenge::Invalid(why.to_string())),
        BodyError::Broken | BodyError::TooLarge => Told::TargetBroke,
        BodyError::Content(_) => Told::Unmaskable,
        BodyError::Slow => Told::TargetSlow,
    }
}
