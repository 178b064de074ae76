//! One request from its head to its place on record. What then goes to the target, and what comes
//! back, is in `forward`.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use gate::{Arrival, Draft, Exchange, Grow, Session, Submission};
use http::header::{self, HeaderMap};
use http::request::Parts;
use http::{Method, Request, Response, Version};
use hyper::body::{Body as _, Incoming};
use identity::Secret;
use masking::Policy;
use policy::{Access, Action, Argument, Naming, Resource};
use records::Parameter;
use terminal::frames;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;

use crate::PROTOCOL;
use crate::answer::AnswerBody;
use crate::arguments::Arguments;
use crate::body::{BODY_STALL, RequestBody, linger};
use crate::content::Kept;
use crate::headers;
use crate::kubernetes;
use crate::metadata;
use crate::problem::{Challenge, Told};
use crate::proxy::Inner;
use crate::record::{self, Counted};
use crate::running::{Running, Shared, Upload};
use crate::sessions::{InUse, Who};
use crate::target::{Target, route};
use crate::upgrade::{self, Next, Wish};
use crate::uri::Path;

/// The longest body that is read before its request is judged, and kept in the command's entry,
/// in bytes. A longer one is recorded on its way.
pub const MAX_JUDGED_BODY: u64 = gate::MAX_INLINE_TEXT as u64;

/// What of a connection its requests need.
pub(crate) struct Connection {
    pub(crate) inner: std::sync::Arc<Inner>,
    pub(crate) peer: SocketAddr,
    pub(crate) secure: bool,
    /// What goes on when requests are answered.
    pub(crate) jobs: UnboundedSender<Job>,
}

/// What a connection does beside its requests, and behind the last.
pub(crate) enum Job {
    /// A client went away: its request's outcome is to be recorded.
    Orphan(Shared),
    /// The connection is another protocol's.
    Tunnel(Pin<Box<dyn Future<Output = ()>>>),
}

/// Where a request is to go.
pub(crate) struct Routed<'a> {
    pub(crate) at: usize,
    pub(crate) target: &'a Target,
    pub(crate) path: Path,
    /// What the client called us.
    pub(crate) host: String,
}

/// A request that is on record, and may leave.
pub(crate) struct Begun<'a> {
    pub(crate) routed: Routed<'a>,
    pub(crate) body: RequestBody,
    pub(crate) running: Shared,
    pub(crate) wish: Option<Wish>,
    pub(crate) dialect: Dialect,
}

/// What kind of conversation a request belongs to.
pub(crate) enum Dialect {
    /// HTTP, and nothing else.
    Http,
    /// The Model Context Protocol.
    Mcp {
        /// Whether the answer is a list of tools.
        lists_tools: bool,
    },
    /// Kubernetes.
    Kubernetes(Box<kubernetes::Answers>),
}

impl Dialect {
    /// What is looked for in an answer.
    pub(crate) fn masking<'a>(&'a self, session: &'a Session) -> &'a Arc<Policy> {
        match self {
            Dialect::Kubernetes(answers) => &answers.masking,
            Dialect::Http | Dialect::Mcp { .. } => &session.target().masking,
        }
    }
}

impl Connection {
    /// Answers a request, whatever becomes of it.
    pub(crate) async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Response<AnswerBody> {
        let mut request = request;
        let wish = upgrade::wish(&mut request);
        let (mut parts, body) = request.into_parts();
        let servers = &self.inner.config.authorization_servers;
        let public = metadata::answer(self.secure, &parts, servers)
            .or_else(|| metadata::keys(&parts, &self.inner.config.targets));
        if let Some(response) = public {
            return response;
        }
        if let Some(response) = self.own_page(&mut parts).await {
            linger(body);
            return response;
        }
        let url = metadata::url(self.secure, &parts).filter(|_| !servers.is_empty());
        let kubernetes = self.is_for_kubernetes(&parts);
        match self.try_answer(parts, body, wish).await {
            Ok(response) => response,
            Err(told) if kubernetes => kubernetes::refusal(&told, url.as_deref()),
            Err(told) => told.response(url.as_deref()),
        }
    }

    async fn try_answer(
        &self,
        mut parts: Parts,
        body: Incoming,
        wish: Option<Wish>,
    ) -> Result<Response<AnswerBody>, Told> {
        let mut unread = Some(body);
        match self.begin(&mut parts, &mut unread, wish).await {
            Ok(begun) => {
                let running = begun.running.clone();
                match self.forward(begun, parts).await {
                    Ok(response) => Ok(response),
                    Err(told) => Err(self.failed(running, told).await),
                }
            }
            Err(told) => {
                if let Some(body) = unread {
                    linger(body);
                }
                Err(told)
            }
        }
    }

    /// Everything before the target: where to, who, whether, on record.
    async fn begin(
        &self,
        parts: &mut Parts,
        unread: &mut Option<Incoming>,
        wish: Option<Wish>,
    ) -> Result<Begun<'_>, Told> {
        let routed = match self.route(parts) {
            Ok(routed) => routed,
            Err(told) => return Err(self.turned_away(parts, b"", told).await),
        };
        let name = &routed.target.gate.name;
        let kubernetes = routed.target.kubernetes.is_some();
        let wish = wish.filter(|it| it.next == Next::WebSocket || kubernetes);
        if wish.is_some() && !routed.target.upgrades {
            return Err(self.turned_away(parts, name.as_bytes(), Told::Upgrade).await);
        }
        let who = match self.who(parts, &routed, wish.is_some()).await {
            Ok(who) => Rc::new(who),
            Err(told) => return Err(self.turned_away(parts, name.as_bytes(), told).await),
        };
        let session = self.enter(&routed, &who).await?;
        let target = routed.target;
        if let Some(mcp) = &target.mcp {
            return self.begin_mcp(parts, unread, routed, session, mcp).await;
        }
        if let Some(kubernetes) = &target.kubernetes {
            let place = (routed, session);
            return self.begin_kubernetes(parts, unread, place, kubernetes, wish).await;
        }
        if let (Some(most), Some(body)) = (routed.target.max_body, &unread)
            && body.size_hint().lower() > most
        {
            // It says so itself: the target need not see the beginning of it.
            return Err(self.turned_away(parts, name.as_bytes(), Told::TooLarge(most)).await);
        }
        let judged = read_short(unread, &parts.headers).await?;
        let masking = session.target().masking.clone();
        let mut kept = match Kept::of(&masking, &parts.headers) {
            Ok(kept) => kept,
            Err(told) => return Err(self.turned_away(parts, name.as_bytes(), told).await),
        };
        // A short body is kept in the command's entry.
        let short = match (kept.push(&judged), unread.is_some()) {
            (Ok(_), true) => Some(Vec::new()),
            (Ok(part), false) => {
                let part = part.into_owned();
                kept.finish().ok().map(|rest| [part, rest].concat())
            }
            (Err(_), _) => None,
        };
        let Some(short) = short else {
            return Err(self.turned_away(parts, name.as_bytes(), Told::Coded).await);
        };
        let recorded = (short, kept.counts());
        let readable = unread.is_none().then_some(judged.as_ref());
        let arguments = Arguments::of(&parts.headers, parts.uri.query(), readable);
        let exchange =
            self.submit(&session, &routed, parts, recorded, (&arguments, wish.is_some())).await?;
        let running = Running::new(exchange, session);
        let body = match unread.take() {
            None => RequestBody::full(judged),
            Some(body) => {
                RequestBody::streaming(body, running.clone(), kept, routed.target.max_body)
            }
        };
        Ok(Begun { routed, body, running, wish, dialect: Dialect::Http })
    }

    /// Reads the head: one path, one host, nothing that belongs to the connection.
    fn route(&self, parts: &mut Parts) -> Result<Routed<'_>, Told> {
        if parts.method == Method::CONNECT || parts.method == Method::TRACE {
            return Err(Told::Method);
        }
        if parts.uri.scheme().is_some() && parts.version < Version::HTTP_2 {
            return Err(Told::BadRequest("the request's target must be a path, not a URL"));
        }
        let authority = parts.uri.authority().map(http::uri::Authority::as_str);
        let host = headers::host(&parts.headers, authority)?.to_owned();
        let path = match (&parts.method, parts.uri.path()) {
            (&Method::OPTIONS, "*") => Path::parse("/")?,
            (_, path) => Path::parse(path)?,
        };
        if parts.uri.query().is_some_and(|it| it.len() > crate::uri::MAX_TARGET_BYTES) {
            return Err(crate::uri::PathError::TooLong.into());
        }
        headers::check_transfer_encoding(&parts.headers)?;
        headers::strip_hop_by_hop(&mut parts.headers)?;
        // The trailers of a request end here: see `body`.
        parts.headers.remove(header::TRAILER);
        headers::join_cookies(&mut parts.headers);
        self.target_of(host, &path)
    }

    /// Where a path of a host leads to.
    pub(crate) fn target_of(&self, host: String, path: &Path) -> Result<Routed<'_>, Told> {
        let targets = &self.inner.config.targets;
        let (at, target, path) = route(targets, &host, path).ok_or(Told::NoTarget)?;
        Ok(Routed { at, target, path, host })
    }

    /// Whether a request is for an API server of Kubernetes, whose clients read refusals of its own
    /// kind only.
    fn is_for_kubernetes(&self, parts: &Parts) -> bool {
        let is_one = |target: &Arc<Target>| target.kubernetes.is_some();
        let targets = &self.inner.config.targets;
        // Where there is nothing else, a path need not be understood to know it.
        match (targets.iter().any(is_one), targets.iter().all(is_one)) {
            (false, _) => return false,
            (true, true) => return true,
            (true, false) => {}
        }
        let authority = parts.uri.authority().map(http::uri::Authority::as_str);
        let host = headers::host(&parts.headers, authority);
        let (Ok(host), Ok(path)) = (host, Path::parse(parts.uri.path())) else { return false };
        let routed = self.target_of(host.to_owned(), &path);
        routed.is_ok_and(|it| it.target.kubernetes.is_some())
    }

    /// Who asks: a session, on record.
    pub(crate) async fn enter(&self, routed: &Routed<'_>, who: &Rc<Who>) -> Result<InUse, Told> {
        let peer = self.peer.to_string();
        let target = routed.target.gate.name.as_bytes();
        let arrival = Arrival { protocol: routed.target.protocol(), peer: &peer, target };
        let Inner { sessions, gate, .. } = &*self.inner;
        sessions.enter(gate, who, routed.at, routed.target, arrival).await
    }

    /// Judges a request and puts it on record.
    async fn submit(
        &self,
        session: &InUse,
        routed: &Routed<'_>,
        parts: &Parts,
        body: (Vec<u8>, Counted),
        (arguments, upgrades): (&Arguments, bool),
    ) -> Result<Exchange, Told> {
        let (class, access) = match upgrades {
            true => ("upgrade", Access::Write),
            false => record::class(&parts.method),
        };
        let others = routed.path.other_readings();
        let names = std::iter::once(routed.path.as_str()).chain(others.iter().map(String::as_str));
        let resources: Vec<Resource<'_>> =
            names.map(|name| Resource { name, naming: Naming::Whole, access }).collect();
        let operation = parts.method.as_str();
        let unread: Vec<&str> = arguments.unread.iter().map(String::as_str).collect();
        let arguments: Vec<Argument<'_>> =
            arguments.all.iter().map(|(name, value)| Argument { name, value }).collect();
        let action = Action {
            resources: &resources,
            arguments: &arguments,
            unread: &unread,
            ..Action::plain(operation, class)
        };
        let judgement = session.judge(&[action], Cow::Owned(operation.to_owned()), class);
        let (mut body, masked) = body;
        // What was short before it was decoded, or masked, may not be any more.
        let mut objects = Vec::new();
        if body.len() > gate::MAX_INLINE_TEXT {
            let mut spill = session.spill(&std::mem::take(&mut body))?;
            objects = poll_fn(|cx| spill.poll(cx)).await?;
        }
        let mut draft = self.draft(session, routed, parts, (body, masked));
        draft.parameter_objects = &objects;
        if upgrades {
            // Its answer has no end of its own, and is to be read while it goes on.
            (draft.media, draft.grow) = (frames::MEDIA, Grow::Entries);
        }
        match session.submit(&judgement, draft)? {
            Submission::Admitted(exchange) => Ok(*exchange),
            Submission::Refused(refusal) => {
                refusal.release.cleared(&mut *session.waiter()).await?;
                Err(refusal.cause.into())
            }
        }
    }

    pub(crate) fn draft<'d>(
        &self,
        session: &Session,
        routed: &Routed<'_>,
        parts: &Parts,
        (body, mut masked): (Vec<u8>, Counted),
    ) -> Draft<'d> {
        let masking = &session.target().masking;
        let mut details = record::fields(masking, &parts.headers, &mut masked);
        details.insert("host".into(), routed.host.clone().into());
        details.insert("peer".into(), self.peer.to_string().into());
        let scheme = if self.secure { "https" } else { "http" };
        details.insert("scheme".into(), scheme.into());
        let trace = record::trace(masking, &parts.headers, None, &mut masked);
        let (path, query) = (routed.path.as_str(), parts.uri.query());
        let text = record::line(masking, &parts.method, path, query, &mut masked);
        let length =
            parts.method.as_str().len() + 1 + path.len() + query.map_or(0, |it| it.len() + 1);
        let parameters = match body.is_empty() {
            true => Vec::new(),
            false => vec![Parameter { type_name: "body".into(), value: Some(record::text(&body)) }],
        };
        Draft {
            via: record::via(parts.version),
            text_bytes: length as u64,
            text: Some(text),
            parameters,
            masked,
            media: record::MEDIA,
            trace,
            details,
            ..Draft::default()
        }
    }

    /// Puts on record that a request got no session, and gives back what to tell it.
    pub(crate) async fn turned_away(&self, parts: &Parts, target: &[u8], told: Told) -> Told {
        let peer = self.peer.to_string();
        let named = |it: &&Arc<Target>| it.gate.name.as_bytes() == target;
        let found = self.inner.config.targets.iter().find(named);
        let protocol = found.map_or(PROTOCOL, |it| it.protocol());
        let arrival = Arrival { protocol, peer: &peer, target };
        let message = format!("{}: {told}", parts.method);
        let recorded = self.inner.gate.record_refusal(arrival, told.code(), &message, None, None);
        match recorded.await {
            Ok(()) => told,
            Err(error) => error.into(),
        }
    }

    /// Puts on record that an admitted request got no answer.
    async fn failed(&self, running: Shared, told: Told) -> Told {
        let told = match running.borrow().upload {
            Upload::Well => told,
            Upload::TooLarge(most) => Told::TooLarge(most),
            Upload::Slow => Told::Slow,
            Upload::Broken => Told::BadRequest("the body broke off, or its chunks can't be read"),
            Upload::Unrecorded => Told::Unrecorded,
            Upload::Unsearchable => Told::Coded,
        };
        running.borrow_mut().failed("error", told.code());
        let mut wait = running.borrow().waiter();
        // A body that was partly sent has objects that are still being sealed.
        let finished = poll_fn(|cx| running.borrow_mut().poll_finish(cx)).await;
        let cleared = match finished {
            Ok(release) => release.cleared(&mut *wait).await.map(drop),
            Err(error) => Err(error),
        };
        match cleared {
            Ok(()) => told,
            Err(error) => error.into(),
        }
    }
}

/// The token, taken out of the fields: it is for us, not for the target.
pub(crate) fn bearer(fields: &mut HeaderMap) -> Result<Secret, Told> {
    let missing = Told::Unauthenticated(Challenge::Missing);
    let malformed = Told::Unauthenticated(Challenge::Malformed);
    if fields.get_all(header::AUTHORIZATION).iter().nth(1).is_some() {
        return Err(headers::FieldError::Authorization.into());
    }
    let value = fields.remove(header::AUTHORIZATION).ok_or(missing)?;
    let text = value.to_str().map_err(|_| malformed.clone())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(|| malformed.clone())?;
    let token = token.trim_start_matches(' ');
    if !scheme.eq_ignore_ascii_case("Bearer") || token.is_empty() || token.contains(' ') {
        return Err(malformed);
    }
    Ok(Secret::new(token.to_owned()))
}

/// Reads a body that says it is short, so that it is judged and recorded with its request. Any
/// other stays, to be recorded on its way; so does one that waits for a go-ahead.
async fn read_short(unread: &mut Option<Incoming>, fields: &HeaderMap) -> Result<Bytes, Told> {
    let Some(body) = unread else { return Ok(Bytes::new()) };
    if !body.is_end_stream() {
        let upper = body.size_hint().upper();
        if upper.is_none_or(|it| it > MAX_JUDGED_BODY) || fields.contains_key(header::EXPECT) {
            return Ok(Bytes::new());
        }
    }
    let mut all = Vec::new();
    let read = async {
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            let frame = frame.map_err(|_| Told::BadRequest("the body broke off"))?;
            all.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default());
        }
        Ok::<(), Told>(())
    };
    timeout(BODY_STALL, read).await.map_err(|_| Told::Slow)??;
    *unread = None;
    Ok(all.into())
}
