//! What a client is told when it doesn't get an answer: the one place where causes become status
//! codes (RFC 9110) and `application/problem+json` (RFC 9457).

use std::sync::Arc;

use bytes::Bytes;
use gate::{JournalError, RefusalCause, Refused};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use identity::{AuthError, CodeError, Fault};

use crate::answer::AnswerBody;
use crate::headers::FieldError;
use crate::kubernetes::{CallError, NameError};
use crate::login::Sent;
use crate::uri::PathError;

/// The longest text of a rule, a reason or an error that is passed on, in bytes.
const MAX_TEXT: usize = 512;

/// Why a request is not answered by its target.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Told {
    // The client's fault.
    #[error("{0}")]
    Path(#[from] PathError),
    #[error("{0}")]
    Field(#[from] FieldError),
    #[error("{0}")]
    BadRequest(&'static str),
    #[error("no target answers to this host and path")]
    NoTarget,
    #[error("{0}")]
    Unauthenticated(Challenge),
    #[error("{0}")]
    Login(LoginError),
    #[error("sent to the issuer to log in")]
    ToIssuer(Sent),
    #[error("the method is not one that is passed on")]
    Method,
    #[error("an upgrade of the connection is not allowed for this target")]
    Upgrade,
    #[error("the request's body did not come in time")]
    Slow,
    #[error("the request's body is longer than {0} bytes")]
    TooLarge(u64),
    #[error("the request's fields are too large to be recorded")]
    Fields,
    #[error("the request's body is coded, and can't be searched for what must be masked")]
    Coded,
    #[error("the message must be application/json")]
    NotJson,
    #[error("the page's origin may not use this target")]
    Origin,
    #[error("there is no such session of yours; begin a new one")]
    NoSession,
    #[error("{0}")]
    Call(#[from] CallError),
    #[error("who asks is what the token says: Impersonate-* is not the client's to say")]
    Impersonation,
    #[error("the cluster does not let you act as whom Impersonate-* names")]
    MayNotImpersonate,
    #[error("{0}")]
    Name(#[from] NameError),
    #[error("the message is refused")]
    Message { status: StatusCode, code: &'static str, bytes: Bytes },
    // The rules'.
    #[error("denied by rule {rule:?}")]
    Denied { rule: Arc<str>, reason: Option<Arc<str>> },
    #[error("rule {rule:?} asks for an approval, which is not available yet")]
    Held { rule: Arc<str> },
    // Ours.
    #[error("the request can't be recorded, so it is not sent")]
    Unrecorded,
    #[error("the record is full for now; try again later")]
    Full,
    #[error("too many sessions are open")]
    Crowded,
    #[error("the target can't be told who asks, so the request is not sent")]
    Unsigned,
    #[error("our credential towards the target can't be had at the moment")]
    NoCredential,
    // The target's.
    #[error("the target can't be reached")]
    Unreachable,
    #[error("the target did not answer in time")]
    TargetSlow,
    #[error("the target broke off")]
    TargetBroke,
    #[error("the target's answer can't be searched for what must be masked")]
    Unmaskable,
}

/// Why a browser is not logged in, or its cookie does not count.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum LoginError {
    #[error("this browser did not begin this login, or too long ago; open the page again")]
    State,
    #[error("the page of another site may not use your login here")]
    CrossSite,
    #[error(transparent)]
    Flow(CodeError),
}

impl LoginError {
    fn code(&self) -> &'static str {
        match self {
            LoginError::State => "login_state",
            LoginError::CrossSite => "cross_site",
            LoginError::Flow(error) => error.code(),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            LoginError::State => StatusCode::BAD_REQUEST,
            LoginError::CrossSite => StatusCode::FORBIDDEN,
            LoginError::Flow(CodeError::Busy) => StatusCode::SERVICE_UNAVAILABLE,
            LoginError::Flow(error) => match error.fault() {
                Fault::Client => StatusCode::FORBIDDEN,
                Fault::Operator => StatusCode::INTERNAL_SERVER_ERROR,
                Fault::Issuer => StatusCode::BAD_GATEWAY,
            },
        }
    }
}

/// What a client without a good token is told (RFC 6750, 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Missing,
    Malformed,
    Invalid(String),
    /// Nobody can check tokens at the moment: not the client's fault.
    Unavailable(String),
}

impl std::fmt::Display for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Challenge::Missing => f.write_str("a token is needed: Authorization: Bearer …"),
            Challenge::Malformed => f.write_str("Authorization must be Bearer and one token"),
            Challenge::Invalid(why) | Challenge::Unavailable(why) => f.write_str(why),
        }
    }
}

impl From<JournalError> for Told {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Full => Told::Full,
            JournalError::TooLarge { .. } => Told::Fields,
            JournalError::Failed | JournalError::Closed => Told::Unrecorded,
        }
    }
}

impl From<Refused> for Told {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Credential(error @ AuthError::KeysUnavailable { .. }) => {
                Told::Unauthenticated(Challenge::Unavailable(error.to_string()))
            }
            Refused::Credential(error) => {
                Told::Unauthenticated(Challenge::Invalid(error.to_string()))
            }
            Refused::Journal(error) => error.into(),
        }
    }
}

impl From<RefusalCause> for Told {
    fn from(cause: RefusalCause) -> Self {
        match cause {
            RefusalCause::Denied { rule, reason } => Told::Denied { rule, reason },
            RefusalCause::Held { rule } => Told::Held { rule },
            RefusalCause::LeaseOver(why) => {
                Told::Unauthenticated(Challenge::Invalid(why.to_string()))
            }
        }
    }
}

impl Told {
    /// A stable word for records.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Told::Path(_) => "path",
            Told::Field(_) => "field",
            Told::BadRequest(_) => "request",
            Told::NoTarget => "no_target",
            Told::Unauthenticated(Challenge::Missing | Challenge::Malformed) => "no_token",
            Told::Unauthenticated(_) => "token",
            Told::Login(error) => error.code(),
            Told::ToIssuer(_) => "login",
            Told::Method => "method",
            Told::Upgrade => "upgrade",
            Told::Slow => "slow",
            Told::TooLarge(_) => "too_large",
            Told::Fields => "fields",
            Told::NotJson => "not_json",
            Told::Origin => "origin",
            Told::NoSession => "no_session",
            Told::Message { code, .. } => code,
            Told::Call(_) => "call",
            Told::Impersonation | Told::MayNotImpersonate => "impersonation",
            Told::Name(_) => "name",
            Told::Coded => "coded",
            Told::Unmaskable => "unmaskable",
            Told::Denied { .. } => "denied",
            Told::Held { .. } => "held",
            Told::Unrecorded => "unrecorded",
            Told::Full => "full",
            Told::Crowded => "crowded",
            Told::Unsigned => "unsigned",
            Told::NoCredential => "no_credential",
            Told::Unreachable => "unreachable",
            Told::TargetSlow => "target_slow",
            Told::TargetBroke => "target_broke",
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Told::Path(_) | Told::Field(_) | Told::BadRequest(_) | Told::Call(_) => {
                StatusCode::BAD_REQUEST
            }
            Told::NoTarget => StatusCode::NOT_FOUND,
            Told::Unauthenticated(Challenge::Unavailable(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Told::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Told::Login(error) => error.status(),
            Told::ToIssuer(_) => StatusCode::SEE_OTHER,
            Told::Method => StatusCode::METHOD_NOT_ALLOWED,
            Told::Upgrade
            | Told::Origin
            | Told::Impersonation
            | Told::MayNotImpersonate
            | Told::Name(_)
            | Told::Denied { .. }
            | Told::Held { .. } => StatusCode::FORBIDDEN,
            Told::NoSession => StatusCode::NOT_FOUND,
            Told::Message { status, .. } => *status,
            Told::Slow => StatusCode::REQUEST_TIMEOUT,
            Told::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Told::Fields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Told::Unrecorded | Told::Full | Told::Crowded | Told::Unsigned | Told::NoCredential => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Told::Coded | Told::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Told::Unreachable | Told::TargetBroke | Told::Unmaskable => StatusCode::BAD_GATEWAY,
            Told::TargetSlow => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The answer. `metadata` is where a client without a token reads how to get one (RFC 9728).
    pub(crate) fn response(&self, metadata: Option<&str>) -> Response<AnswerBody> {
        let status = self.status();
        if let Told::ToIssuer(sent) = self {
            return sent.response();
        }
        if let Told::Message { bytes, .. } = self {
            let mut response = Response::new(AnswerBody::full(bytes.clone()));
            *response.status_mut() = status;
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            return response;
        }
        let mut problem = serde_json::Map::new();
        let mut say = |name: &str, value: &str| {
            problem.insert(name.to_owned(), short(value).into());
        };
        say("type", &format!("https://greffier.dev/problems/{}", self.code()));
        say("title", status.canonical_reason().unwrap_or("refused"));
        say("detail", &self.to_string());
        if let Told::Denied { rule, .. } | Told::Held { rule } = self {
            say("rule", rule);
        }
        if let Told::Denied { reason: Some(reason), .. } = self {
            say("reason", reason);
        }
        problem.insert("status".to_owned(), status.as_u16().into());
        let json = serde_json::Value::Object(problem).to_string();
        let mut response = Response::new(AnswerBody::full(json.into()));
        *response.status_mut() = status;
        let fields = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        fields.insert(header::CONTENT_TYPE, json);
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        fields.extend(self.fields(metadata));
        response
    }

    /// What an answer says in its fields, whatever its body is.
    pub(crate) fn fields(&self, metadata: Option<&str>) -> HeaderMap {
        let mut fields = HeaderMap::new();
        if self.status() == StatusCode::UNAUTHORIZED
            && let Told::Unauthenticated(challenge) = self
            && let Ok(value) = HeaderValue::from_str(&challenge.field(metadata))
        {
            fields.insert(header::WWW_AUTHENTICATE, value);
        }
        if matches!(self, Told::Full | Told::Crowded) {
            fields.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        fields
    }
}

impl Challenge {
    /// RFC 6750, 3, and RFC 9728, 5.1.
    fn field(&self, metadata: Option<&str>) -> String {
        let mut field = String::from("Bearer realm=\"greffier\"");
        if let Some(url) = metadata {
            field.push_str(&format!(", resource_metadata=\"{url}\""));
        }
        let error = match self {
            Challenge::Missing => return field,
            Challenge::Malformed => "invalid_request",
            Challenge::Invalid(_) | Challenge::Unavailable(_) => "invalid_token",
        };
        field.push_str(&format!(", error=\"{error}\", error_description=\"{}\"", quoted(self)));
        field
    }
}

/// What RFC 6750 lets stand in `error_description`.
fn quoted(text: &dyn std::fmt::Display) -> String {
    let plain = |c: char| matches!(c, ' '..='~') && c != '"' && c != '\\';
    short(&text.to_string()).chars().map(|c| if plain(c) { c } else { '\'' }).collect()
}

fn short(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
