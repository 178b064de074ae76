//! Refusals in Kubernetes' own words: `metav1.Status`, as clients read and print it.

use serde::Serialize;

/// The `Content-Type` of [`Status::to_bytes`]. Clients that ask for protobuf take it too.
pub const CONTENT_TYPE: &str = "application/json";

/// Why a request failed, in Kubernetes' words (`StatusReason` in apimachinery's
/// `pkg/apis/meta/v1/types.go`). Each has one HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Reason {
    /// 400.
    BadRequest,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 405.
    MethodNotAllowed,
    /// 406.
    NotAcceptable,
    /// 409.
    Conflict,
    /// 410: what was asked for is too old to be had.
    Expired,
    /// 413.
    RequestEntityTooLarge,
    /// 415.
    UnsupportedMediaType,
    /// 422.
    Invalid,
    /// 429.
    TooManyRequests,
    /// 500.
    InternalError,
    /// 503.
    ServiceUnavailable,
    /// 504.
    Timeout,
}

impl Reason {
    /// The HTTP status.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::Conflict => 409,
            Self::Expired => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::InternalError => 500,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    /// Of a resource it is the resource, in spite of its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<Cause>,
    #[serde(skip_serializing_if = "is_zero")]
    retry_after_seconds: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Cause {
    message: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(it: &u32) -> bool {
    *it == 0
}

/// A failure. kubectl prints `Error from server (REASON): MESSAGE` of most; of an
/// [`Unauthorized`](Reason::Unauthorized), `error: You must be logged in to the server (MESSAGE)`.
///
/// The messages are those that the API server builds (`pkg/api/errors` in apimachinery) around a
/// text of the caller's. Keep rules' patterns and secrets out of that text: people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    reason: Reason,
    message: String,
    details: Option<Details>,
}

impl Status {
    /// A failure with a message of its own.
    #[must_use]
    pub fn of(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), details: None }
    }

    /// 403: `pods "web" is forbidden: TEXT`, or `pods is forbidden: TEXT` without a name, or
    /// `forbidden: TEXT` without a resource. `group` is empty for the core group. `resource` may
    /// hold the subresource, as in `pods/exec`: the API server writes it so.
    #[must_use]
    pub fn forbidden(text: &str, group: &str, resource: &str, name: &str) -> Self {
        let what = qualified(group, resource);
        let message = match (what.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {text}"),
            (false, true) => format!("{what} is forbidden: {text}"),
            // As Go's %q writes a name: names hold nothing that it would escape otherwise.
            (false, false) => format!("{what} {name:?} is forbidden: {text}"),
        };
        Self::of(Reason::Forbidden, message).about(group, resource, name)
    }

    /// 409: `Operation cannot be fulfilled on pods "web": TEXT`.
    #[must_use]
    pub fn conflict(text: &str, group: &str, resource: &str, name: &str) -> Self {
        let what = qualified(group, resource);
        let message = format!("Operation cannot be fulfilled on {what} {name:?}: {text}");
        Self::of(Reason::Conflict, message).about(group, resource, name)
    }

    /// 422: `pods "web" is invalid: TEXT`. kubectl prints `The pods "web" is invalid: TEXT`, from
    /// the details. The API server has the kind, such as `Pod`, for the resource here.
    #[must_use]
    pub fn invalid(text: &str, group: &str, kind: &str, name: &str) -> Self {
        let message = format!("{} {name:?} is invalid: {text}", qualified(group, kind));
        let mut status = Self::of(Reason::Invalid, message).about(group, kind, name);
        status.details().causes.push(Cause { message: text.to_owned() });
        status
    }

    /// 401.
    #[must_use]
    pub fn unauthorized(text: &str) -> Self {
        Self::of(Reason::Unauthorized, text)
    }

    /// 400.
    #[must_use]
    pub fn bad_request(text: &str) -> Self {
        Self::of(Reason::BadRequest, text)
    }

    /// 406: no format that is asked for can be had.
    #[must_use]
    pub fn not_acceptable(text: &str) -> Self {
        Self::of(Reason::NotAcceptable, text)
    }

    /// 413: `Request entity too large: TEXT`.
    #[must_use]
    pub fn too_large(text: &str) -> Self {
        Self::of(Reason::RequestEntityTooLarge, format!("Request entity too large: {text}"))
    }

    /// 429: `Too many requests: TEXT`. `after`, seconds, is when to ask again. Clients look at
    /// the header `Retry-After` only, which is for the caller to set; with it they ask again by
    /// themselves.
    #[must_use]
    pub fn too_many_requests(text: &str, after: u32) -> Self {
        Self::of(Reason::TooManyRequests, format!("Too many requests: {text}")).retry_after(after)
    }

    /// 500: `Internal error occurred: TEXT`.
    #[must_use]
    pub fn internal(text: &str) -> Self {
        let message = format!("Internal error occurred: {text}");
        let mut status = Self::of(Reason::InternalError, message);
        status.details().causes.push(Cause { message: text.to_owned() });
        status
    }

    /// 503.
    #[must_use]
    pub fn unavailable(text: &str) -> Self {
        Self::of(Reason::ServiceUnavailable, text)
    }

    /// 504: `Timeout: TEXT`. What was asked for may still happen.
    #[must_use]
    pub fn timeout(text: &str) -> Self {
        Self::of(Reason::Timeout, format!("Timeout: {text}"))
    }

    /// Says what it is about: a group (empty for the core group), a resource and a name.
    #[must_use]
    pub fn about(mut self, group: &str, resource: &str, name: &str) -> Self {
        let details = self.details();
        group.clone_into(&mut details.group);
        resource.clone_into(&mut details.kind);
        name.clone_into(&mut details.name);
        self
    }

    /// Says when to ask again, seconds from now.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.details().retry_after_seconds = seconds;
        self
    }

    fn details(&mut self) -> &mut Details {
        self.details.get_or_insert_default()
    }

    /// The HTTP status.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.reason.code()
    }

    /// Kubernetes' word for it.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// What people read.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The body, JSON ([`CONTENT_TYPE`]).
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
            kind: &'static str,
            api_version: &'static str,
            metadata: Empty,
            status: &'static str,
            message: &'a str,
            reason: Reason,
            #[serde(skip_serializing_if = "Option::is_none")]
            details: Option<&'a Details>,
            code: u16,
        }
        #[derive(Serialize)]
        struct Empty {}
        let body = Body {
            kind: "Status",
            api_version: "v1",
            metadata: Empty {},
            status: "Failure",
            message: &self.message,
            reason: self.reason,
            details: self.details.as_ref(),
            code: self.code(),
        };
        // Text and numbers in memory: there is nothing that could fail.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

/// A resource and its group as kubectl writes them.
fn qualified(group: &str, resource: &str) -> String {
    match group {
        "" => resource.to_owned(),
        group => format!("{resource}.{group}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_what_clients_read() {
        let status = Status::forbidden("rule \"no\\secrets\"\nask", "", "secrets", "db");
        assert_eq!((status.code(), status.reason()), (403, Reason::Forbidden));
        assert_eq!(
            String::from_utf8(status.to_bytes()).unwrap(),
            concat!(
                r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","#,
                r#""message":"secrets \"db\" is forbidden: rule \"no\\secrets\"\nask","#,
                r#""reason":"Forbidden","details":{"name":"db","kind":"secrets"},"code":403}"#
            )
        );
    }

    #[test]
    fn each_reason_in_its_own_words() {
        for (status, code, reason, message) in [
            (Status::unauthorized("no token"), 401, "Unauthorized", "no token"),
            (Status::bad_request("x"), 400, "BadRequest", "x"),
            (Status::not_acceptable("x"), 406, "NotAcceptable", "x"),
            (Status::too_large("x"), 413, "RequestEntityTooLarge", "Request entity too large: x"),
            (Status::too_many_requests("x", 3), 429, "TooManyRequests", "Too many requests: x"),
            (Status::internal("x"), 500, "InternalError", "Internal error occurred: x"),
            (Status::unavailable("x"), 503, "ServiceUnavailable", "x"),
            (Status::timeout("x"), 504, "Timeout", "Timeout: x"),
            (Status::forbidden("x", "", "", ""), 403, "Forbidden", "forbidden: x"),
            (
                Status::forbidden("x", "apps", "deployments", ""),
                403,
                "Forbidden",
                "deployments.apps is forbidden: x",
            ),
            (
                Status::conflict("x", "apps", "deployments", "w"),
                409,
                "Conflict",
                "Operation cannot be fulfilled on deployments.apps \"w\": x",
            ),
            (Status::invalid("x", "", "Pod", "w"), 422, "Invalid", "Pod \"w\" is invalid: x"),
        ] {
            assert_eq!(status.code(), code);
            assert_eq!(status.message(), message);
            let body: serde_json::Value = serde_json::from_slice(&status.to_bytes()).unwrap();
            assert_eq!(body["reason"], reason);
            assert_eq!(body["code"], code);
            assert_eq!(body["message"], message);
        }
        let body = Status::too_many_requests("x", 3).to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["details"]["retryAfterSeconds"], 3);
    }
}
