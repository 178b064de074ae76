//! A call's way to its command: the parts of a request that only Kubernetes has.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use gate::{Draft, Exchange, Grow, Keep, Session, Submission};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{StatusCode, Uri};
use http_content::media::Kind;
use hyper::body::{Body as _, Incoming};
use masking::Policy;
use records::{Parameter, Response};
use stdio_recorder::{Options, Recorder, Stdin};
use terminal::frames;

use super::acting::Wanted;
use super::call::Call;
use super::helm::{Releases, is_release};
use super::ports::{PortError, Ports};
use super::{Kubernetes, Level, RecordInput, Streams, impersonate, streams};
use crate::body::{RequestBody, read_whole};
use crate::content::{Content, Kept, ask_uncoded, is_coded};
use crate::problem::Told;
use crate::record;
use crate::relay::{Begun, Connection, Dialect, Routed};
use crate::running::{Running, Shared};
use crate::sessions::InUse;
use crate::upgrade::{Next, Wish};

/// The longest object of a client, in bytes: it is read whole, to be judged. An API server takes
/// 3 MiB.
const MAX_OBJECT_BYTES: usize = 4 * 1024 * 1024;
/// By which a client may name the event in the cluster's own log.
const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
/// Forms of objects in which nothing is searched.
const CODED: [&str; 3] =
    ["application/vnd.kubernetes.protobuf", "application/cbor", "application/cbor-seq"];
/// How the word begins by which a page in a browser says its token where it can't say
/// `Authorization`.
const BEARER_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// What is to be done with a call's answer, and who the API server is told asks.
pub(crate) struct Answers {
    /// What is looked for in it.
    pub(crate) masking: Arc<Policy>,
    /// What is looked for in an error that may repeat the object.
    errors: Option<Arc<Policy>>,
    /// What is looked for in it if it is one of Helm's releases, which may be seen.
    release: Option<Arc<Policy>>,
    /// Whether it has values of Secrets.
    secret: bool,
    /// Whether it is a sequence of events, each a line.
    pub(crate) sequence: bool,
    /// Whether it may be silent for as long as it likes.
    pub(crate) silent: bool,
    /// What crosses after an upgrade, if it is the streams of a command.
    program: Option<Options>,
    /// What is judged port by port, if it is connections to ports.
    ports: Option<Ports>,
    /// The caller.
    impersonation: HeaderMap,
}

impl Connection {
    /// Everything before the target, for a target that is an API server.
    pub(crate) async fn begin_kubernetes<'a>(
        &self,
        parts: &mut Parts,
        unread: &mut Option<Incoming>,
        (routed, session): (Routed<'a>, InUse),
        kubernetes: &Kubernetes,
        wish: Option<Wish>,
    ) -> Result<Begun<'a>, Told> {
        let name = routed.target.gate.name.clone();
        let read = self.read_call(parts, unread, (&routed, &session), kubernetes, wish.as_ref());
        let (call, impersonation) = match read.await {
            Ok((call, impersonation)) => (Rc::new(call), impersonation),
            Err(told) => return Err(self.turned_away(parts, name.as_bytes(), told).await),
        };
        let masking = match call.attributes.is_discovery() {
            true => Arc::new(Policy::empty()),
            false => masking(&call, kubernetes, &session).clone(),
        };
        let mut exchange = self.submit_call(&session, &routed, parts, (&call, kubernetes)).await?;
        let ports = match call.forwards_ports() {
            true => {
                let ports = Ports::new(call.clone(), kubernetes.clone(), session.clone());
                Some(ask_for_ports(ports, &session, &mut exchange).await?)
            }
            false => None,
        };
        let rule = call.reviewed().and_then(|asked| asked.refused_by(&session, kubernetes));
        if let Some(rule) = rule {
            let running = Running::new(exchange, session);
            return Err(answer_review(running, call.sent.readable(), &rule).await);
        }
        let answers = Answers {
            errors: call.is_secret().then(|| kubernetes.masks.errors.clone()),
            release: match (&kubernetes.releases, call.releases()) {
                (Some(seen), Some(Releases::One)) => Some(seen.secrets.clone()),
                _ => None,
            },
            secret: call.is_secret() || call.is_token(),
            sequence: call.attributes.watches(),
            silent: call.attributes.watches() || call.attributes.follows_logs(),
            masking,
            program: call.has_streams().then(|| program(&call, kubernetes)),
            ports,
            impersonation,
        };
        if call.attributes.is_resource && !call.is_proxied() {
            ask_for_json(&mut parts.headers, answers.secret);
        }
        if answers.release.is_some() {
            ask_uncoded(&mut parts.headers);
        }
        if kubernetes.releases.is_some() {
            narrow(&call, parts)?;
        }
        let body = RequestBody::full(call.sent.body().clone());
        let running = Running::new(exchange, session);
        let dialect = Dialect::Kubernetes(Box::new(answers));
        Ok(Begun { routed, body, running, wish, dialect })
    }

    async fn read_call(
        &self,
        parts: &mut Parts,
        unread: &mut Option<Incoming>,
        (routed, session): (&Routed<'_>, &InUse),
        kubernetes: &Kubernetes,
        wish: Option<&Wish>,
    ) -> Result<(Call, HeaderMap), Told> {
        if !kubernetes.impersonation && impersonate::is_asked(&parts.headers) {
            return Err(Told::Impersonation);
        }
        let mut impersonation = HeaderMap::new();
        impersonate::say(&mut impersonation, kubernetes, session.principal(), session.id())?;
        let wanted = Wanted::take(&mut parts.headers)?;
        if let Some(wanted) = &wanted {
            let key = (self.inner.number, routed.at);
            wanted.check(routed.target, key, &impersonation).await?;
            impersonation.clear();
            wanted.say(&mut impersonation)?;
            impersonate::say_actors(&mut impersonation, session.principal(), session.id())?;
        }
        forget_bearer(&mut parts.headers);
        // It would choose the name of the event in the cluster's own log.
        parts.headers.remove(AUDIT_ID);
        if is_coded(&parts.headers) {
            return Err(Told::Coded);
        }
        let (method, query) = (parts.method.as_str(), parts.uri.query());
        let mut call = Call::read(method, routed.path.as_str(), query, wish.is_some())?;
        call.wanted = wanted;
        if wish.is_some() && !call.may_upgrade() {
            return Err(Told::Upgrade);
        }
        let by_websocket = wish.is_some_and(|it| it.next == Next::WebSocket);
        if by_websocket && call.has_streams() && !streams::offer(&mut parts.headers) {
            return Err(Told::BadRequest("the WebSocket must speak v5.channel.k8s.io or v4"));
        }
        if wish.is_some() && unread.as_ref().is_some_and(|body| !body.is_end_stream()) {
            return Err(Told::BadRequest("what asks for an upgrade has no body"));
        }
        if wish.is_some() {
            parts.headers.remove(header::CONTENT_LENGTH);
        } else {
            let media = content_type(&parts.headers)?;
            call.take(read_whole(unread, MAX_OBJECT_BYTES).await?.into(), media);
        }
        Ok((call, impersonation))
    }

    /// Judges a call and puts it on record.
    async fn submit_call(
        &self,
        session: &InUse,
        routed: &Routed<'_>,
        parts: &Parts,
        (call, kubernetes): (&Call, &Kubernetes),
    ) -> Result<Exchange, Told> {
        let judgement = call.judge(session, kubernetes);
        let level = call.level(session, kubernetes);
        let (kept, masked) = match level {
            Level::None | Level::Metadata => (None, record::Counted::new()),
            Level::Request | Level::RequestResponse => {
                match kept(masking(call, kubernetes, session), call, &parts.headers) {
                    Ok(kept) => kept,
                    Err(told) => {
                        let name = routed.target.gate.name.as_bytes();
                        return Err(self.turned_away(parts, name, told).await);
                    }
                }
            }
        };
        let mut objects = Vec::new();
        let mut draft: Draft<'_> = self.draft(session, routed, parts, (Vec::new(), masked));
        call.tell(&mut draft.details);
        if kept.is_none() && !call.sent.is_empty() {
            let mut said = format!("not kept: {} bytes", call.sent.body().len());
            if !call.is_secret() && !call.is_token() {
                // Of a Secret it would help who guesses.
                let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, call.sent.body());
                said.push_str(&format!(", sha256:{}", hex::encode(hash)));
            }
            draft.details.insert("object".into(), said.into());
        }
        match kept {
            Some(kept) if kept.len() > gate::MAX_INLINE_TEXT => {
                let mut spill = session.spill(&kept)?;
                objects = poll_fn(|cx| spill.poll(cx)).await?;
            }
            Some(kept) if !kept.is_empty() => {
                let value = Some(record::text(&kept));
                draft.parameters = vec![Parameter { type_name: "object".into(), value }];
            }
            _ => {}
        }
        draft.parameter_objects = &objects;
        // What crosses after an upgrade is the call itself, typed on and on.
        let kept_whole = level == Level::RequestResponse || call.has_streams();
        if !kept_whole || call.forwards_ports() {
            draft.keep = if level == Level::None { Keep::Nothing } else { Keep::Counted };
        }
        if call.attributes.upgrade {
            draft.media = frames::MEDIA;
            draft.grow = if call.has_terminal() { Grow::Entries } else { Grow::Chunks };
            if call.has_streams() {
                // As the same is called where it comes by SSH, so that it is found and replayed.
                draft.via = if call.has_terminal() { "shell" } else { "exec" };
            }
        }
        match session.submit(&judgement, draft)? {
            Submission::Admitted(exchange) => Ok(*exchange),
            Submission::Refused(refusal) => {
                refusal.release.cleared(&mut *session.waiter()).await?;
                Err(refusal.cause.into())
            }
        }
    }
}

impl Answers {
    /// Says who asks.
    pub(crate) fn introduce(&self, fields: &mut HeaderMap) {
        for (name, value) in &self.impersonation {
            fields.append(name.clone(), value.clone());
        }
    }

    /// What takes apart what crosses after an upgrade that was granted by an answer with these
    /// fields, if it is to be.
    pub(crate) fn streams(
        &mut self,
        next: Next,
        fields: &HeaderMap,
        exchange: &Exchange,
    ) -> Result<Option<Streams>, Told> {
        if let Some(ports) = self.ports.take() {
            return Streams::of_ports(next, fields, ports).map(Some).ok_or(Told::TargetBroke);
        }
        let Some(program) = self.program else { return Ok(None) };
        let options = Options { digest_only: !exchange.keeps_data(), ..program };
        let recorder = Recorder::new(&self.masking, options);
        Streams::of(next, fields, recorder).map(Some).ok_or(Told::TargetBroke)
    }

    /// What is to be done with an answer; its fields are changed accordingly.
    pub(crate) fn content(
        &self,
        status: StatusCode,
        fields: &mut HeaderMap,
    ) -> Result<Content, Told> {
        let media = fields.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
        let kind = match Kind::of(media) {
            Kind::Json if self.sequence => Kind::Ndjson,
            kind => kind,
        };
        let is_json = matches!(kind, Kind::Json | Kind::Ndjson);
        if self.secret && status.is_success() && !is_json && status != StatusCode::NO_CONTENT {
            return Err(Told::Unmaskable);
        }
        // What is missing or forbidden is said by its name alone.
        let by_name = [
            StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN,
            StatusCode::NOT_FOUND,
            StatusCode::CONFLICT,
        ];
        let masking = match &self.errors {
            Some(errors) if !status.is_success() && !by_name.contains(&status) => errors,
            _ => &self.masking,
        };
        let Some(release) = self.release.as_ref().filter(|_| status.is_success()) else {
            return Content::of_kind(masking, status, fields, &kind);
        };
        let ways = [masking, release].map(|it| Content::of_kind(it, status, fields, &kind));
        let [masked, seen] = ways;
        Ok(Content::chosen([masked?, seen?], is_release))
    }
}

/// Asks for the ports that a call's query says: the API server reaches them at once.
async fn ask_for_ports(
    mut ports: Ports,
    session: &Session,
    exchange: &mut Exchange,
) -> Result<Ports, Told> {
    match ports.ask() {
        Ok(None) => Ok(ports),
        Ok(Some(right)) => {
            right.cleared(&mut *session.waiter()).await?;
            Ok(ports)
        }
        Err(PortError::Journal(error)) => Err(error.into()),
        Err(PortError::Refused(refusal)) => {
            ports.end("cut", "denied");
            let details = [("cause".into(), "denied".into())].into();
            let mut denied = Response { outcome: "cut".into(), details, ..Response::default() };
            exchange.try_finish(&mut denied)?;
            refusal.release.cleared(&mut *session.waiter()).await?;
            Err(refusal.cause.into())
        }
    }
}

/// What a command is to its recorder. Without a terminal it may be `tar`: that is how `kubectl cp`
/// copies.
fn program(call: &Call, kubernetes: &Kubernetes) -> Options {
    let terminal = call.has_terminal();
    // What is attached to has a terminal or not, whatever the client says; and where its output is
    // not asked for, there is no echo.
    let record_input = match kubernetes.record_input {
        RecordInput::Echoed if !call.has_echo() => RecordInput::All,
        asked => asked,
    };
    Options {
        terminal,
        record_input,
        mask_client: !terminal || kubernetes.mask_terminal,
        binary_passes: true,
        stdin: Stdin::Among,
        digest_only: false,
    }
}

/// Says to who asks what it may do that rules of ours do not let it: the cluster does not know them.
async fn answer_review(running: Shared, review: &[u8], rule: &str) -> Told {
    let review: Option<serde_json::Value> = serde_json::from_slice(review).ok();
    let spec = review.as_ref().and_then(|it| it.get("spec")).cloned();
    let answer = serde_json::json!({
        "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {},
        "spec": spec.unwrap_or(serde_json::json!({})),
        "status": {"allowed": false, "denied": true, "reason": format!("rule {rule} of greffier")},
    });
    let bytes = Bytes::from(answer.to_string());
    let (status, mut wait) = (StatusCode::CREATED, running.borrow().waiter());
    let recorded = async {
        {
            let mut running = running.borrow_mut();
            running.answered(status);
            running.detail("answered_by", format!("greffier, by rule {rule}"));
            running.exchange.answer(&bytes)?;
        }
        let release = poll_fn(|cx| running.borrow_mut().poll_finish(cx)).await?;
        release.cleared(&mut *wait).await
    };
    match recorded.await {
        Ok(_) => Told::Message { status, code: "review", bytes },
        Err(error) => error.into(),
    }
}

/// What a body says that it is, if all who read that read the same.
fn content_type(fields: &HeaderMap) -> Result<Option<&str>, Told> {
    let mut all = fields.get_all(header::CONTENT_TYPE).iter();
    let (first, None) = (all.next(), all.next()) else {
        return Err(Told::BadRequest("there is more than one Content-Type"));
    };
    let text = first.map(|it| it.to_str().map_err(|_| ())).transpose();
    text.map_err(|()| Told::BadRequest("Content-Type must be visible ASCII"))
}

/// Asks the cluster for Helm's releases only, where those may be seen and others may not.
fn narrow(call: &Call, parts: &mut Parts) -> Result<(), Told> {
    let Some(query) = &call.for_releases else { return Ok(()) };
    let told = || Told::BadRequest("the query can't be passed on");
    let path = format!("{}?{query}", parts.uri.path());
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.path_and_query = Some(path.parse().map_err(|_| told())?);
    parts.uri = Uri::from_parts(uri).map_err(|_| told())?;
    Ok(())
}

/// What is looked for in a call's object and its answer.
fn masking<'a>(call: &Call, target: &'a Kubernetes, session: &'a Session) -> &'a Arc<Policy> {
    match (call.is_secret(), call.is_token()) {
        (true, _) => match (&target.releases, call.releases()) {
            (Some(seen), Some(Releases::Many)) => &seen.secrets,
            _ => &target.masks.secrets,
        },
        (false, true) => &target.masks.tokens,
        (false, false) => &session.target().masking,
    }
}

/// What of an object the record may keep, and what was masked in it. None: it can't be told which
/// of it are a Secret's values. What else can't be searched is refused, so that nobody keeps
/// anything from the record.
fn kept(
    policy: &Arc<Policy>,
    call: &Call,
    fields: &HeaderMap,
) -> Result<(Option<Vec<u8>>, record::Counted), Told> {
    let media = fields.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let of_secrets = call.is_secret() || call.is_token();
    if of_secrets && !call.is_plain() {
        return Ok((None, record::Counted::new()));
    }
    let text = call.sent.readable();
    let begins = text.iter().find(|it| !it.is_ascii_whitespace());
    let is_json = of_secrets || matches!(begins, Some(b'{' | b'['));
    let masked = |kind: &Kind| -> Result<_, Told> {
        let mut masker = Kept::of_kind(policy, fields, kind)?;
        let mut whole = masker.push(text).map_err(|_| Told::Coded)?.into_owned();
        whole.extend(masker.finish().map_err(|_| Told::Coded)?);
        Ok((Some(whole), masker.counts()))
    };
    match is_json {
        true if of_secrets || call.sent.is_decoded() => masked(&Kind::Json),
        // What begins so may be YAML all the same.
        true => masked(&Kind::Json).or_else(|_| masked(&Kind::of(media))),
        false => masked(&Kind::of(media)),
    }
}

/// Asks for JSON, in which values can be told from names and texts searched, in place of the coded
/// forms (protobuf, CBOR): whoever takes those takes JSON. With `only`, in place of all others.
fn ask_for_json(fields: &mut HeaderMap, only: bool) {
    let coded = |value: &HeaderValue| CODED.iter().any(|it| holds(value, it));
    if !only && !fields.get_all(header::ACCEPT).iter().any(coded) {
        return;
    }
    let all = fields.get_all(header::ACCEPT);
    let words = all.iter().filter_map(|value| value.to_str().ok()).flat_map(|it| it.split(','));
    let (mut wanted, mut in_place) = (Vec::new(), Vec::new());
    for word in words.map(str::trim).filter(|it| !it.is_empty()) {
        let (media, parameters) = match word.find(';') {
            Some(at) => word.split_at(at),
            None => (word, ""),
        };
        let media = media.trim().to_ascii_lowercase();
        match media.as_str() {
            "application/json" => wanted.push(word.to_owned()),
            _ if CODED.contains(&media.as_str()) => {
                in_place.push(format!("application/json{parameters}"));
            }
            _ if only => {}
            _ => wanted.push(word.to_owned()),
        }
    }
    if !wanted.iter().any(|it| it.to_ascii_lowercase().starts_with("application/json")) {
        // What it is to be (a table, metadata alone) is said beside the form.
        wanted.splice(0..0, in_place);
    }
    if wanted.is_empty() {
        wanted.push("application/json".to_owned());
    }
    if let Ok(value) = HeaderValue::from_str(&wanted.join(", ")) {
        fields.insert(header::ACCEPT, value);
    }
}

/// Whether a field's value has a word, upper and lower case alike.
fn holds(value: &HeaderValue, word: &str) -> bool {
    let mut windows = value.as_bytes().windows(word.len());
    windows.any(|it| it.eq_ignore_ascii_case(word.as_bytes()))
}

/// Takes out a token that stands among a WebSocket's protocols.
fn forget_bearer(fields: &mut HeaderMap) {
    let all: Vec<HeaderValue> =
        fields.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().cloned().collect();
    fields.remove(header::SEC_WEBSOCKET_PROTOCOL);
    let words = all.iter().filter_map(|value| value.to_str().ok()).flat_map(|it| it.split(','));
    let plain = words.map(str::trim).filter(|word| {
        let begins = word.get(..BEARER_PROTOCOL.len());
        !word.is_empty() && !begins.is_some_and(|it| it.eq_ignore_ascii_case(BEARER_PROTOCOL))
    });
    let plain = plain.collect::<Vec<_>>().join(", ");
    if let (false, Ok(value)) = (plain.is_empty(), HeaderValue::from_str(&plain)) {
        fields.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_values_is_not_asked_for() {
        let table = ";as=Table;v=v1;g=meta.k8s.io";
        let proto = "application/vnd.kubernetes.protobuf";
        for (said, only, wanted) in [
            (proto.to_owned(), false, "application/json".to_owned()),
            (format!("{proto}, application/json"), false, "application/json".to_owned()),
            (format!("{proto},*/*"), false, "application/json, */*".to_owned()),
            (format!("{proto};stream=watch"), false, "application/json;stream=watch".to_owned()),
            (format!("{proto}{table}"), true, format!("application/json{table}")),
            ("*/*".to_owned(), true, "application/json".to_owned()),
            ("*/*".to_owned(), false, "*/*".to_owned()),
            ("application/yaml".to_owned(), true, "application/json".to_owned()),
            ("application/yaml".to_owned(), false, "application/yaml".to_owned()),
            (
                format!("application/json{table},application/cbor,application/json"),
                true,
                format!("application/json{table}, application/json"),
            ),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(header::ACCEPT, HeaderValue::from_str(&said).unwrap());
            ask_for_json(&mut fields, only);
            assert_eq!(fields[header::ACCEPT], wanted, "{said}");
        }
        let mut silent = HeaderMap::new();
        ask_for_json(&mut silent, false);
        assert!(silent.is_empty());
        ask_for_json(&mut silent, true);
        assert_eq!(silent[header::ACCEPT], "application/json");
    }

    #[test]
    fn a_body_is_what_one_field_says_in_ascii() {
        let of = |values: &[&[u8]]| {
            let mut fields = HeaderMap::new();
            for value in values {
                fields.append(header::CONTENT_TYPE, HeaderValue::from_bytes(value).unwrap());
            }
            content_type(&fields).map(|it| it.map(str::to_owned)).ok()
        };
        assert_eq!(of(&[]), Some(None));
        assert_eq!(of(&[b"application/json"]), Some(Some("application/json".to_owned())));
        // A server looks at what stands before the semicolon alone.
        assert_eq!(of(&[b"application/json-patch+json;\xff"]), None);
        assert_eq!(of(&[b"application/json", b"application/json-patch+json"]), None);
    }

    #[test]
    fn a_token_among_protocols_ends_here() {
        let mut fields = HeaderMap::new();
        for value in ["base64url.bearer.authorization.k8s.io.c2VjcmV0, v5.channel.k8s.io", "x"] {
            fields.append(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(value));
        }
        forget_bearer(&mut fields);
        let left: Vec<_> = fields.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().collect();
        assert_eq!(left, ["v5.channel.k8s.io, x"]);
    }
}
