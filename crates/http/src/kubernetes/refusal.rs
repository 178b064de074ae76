//! A refusal as clients of Kubernetes read it: a `Status`. Which cause has which HTTP status is
//! decided where it is for everybody; here that is put into Kubernetes' words.

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use kubernetes_wire::status::{CONTENT_TYPE, Reason, Status};

use crate::answer::AnswerBody;
use crate::problem::Told;

/// The answer. `metadata` is where a client without a token reads how to get one (RFC 9728).
pub(crate) fn refusal(told: &Told, metadata: Option<&str>) -> Response<AnswerBody> {
    if matches!(told, Told::ToIssuer(_) | Told::Message { .. }) {
        return told.response(metadata);
    }
    let reason = reason(told.status());
    let message = match told {
        Told::Denied { rule, reason: Some(why) } => {
            Status::forbidden(&format!("rule {rule} of greffier: {why}"), "", "", "")
        }
        Told::Denied { rule, reason: None } => {
            Status::forbidden(&format!("rule {rule} of greffier"), "", "", "")
        }
        told => Status::of(reason, format!("greffier: {told}")),
    };
    let mut response = Response::new(AnswerBody::full(message.to_bytes().into()));
    *response.status_mut() =
        StatusCode::from_u16(reason.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in &told.fields(metadata) {
        fields.insert(name.clone(), value.clone());
    }
    response
}

/// Kubernetes' word for a status. What failed behind us is an error of the server's: a client can
/// do nothing else about it.
fn reason(status: StatusCode) -> Reason {
    match status {
        StatusCode::BAD_REQUEST | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Reason::BadRequest,
        StatusCode::UNAUTHORIZED => Reason::Unauthorized,
        StatusCode::FORBIDDEN => Reason::Forbidden,
        StatusCode::NOT_FOUND => Reason::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Reason::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => Reason::RequestEntityTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Reason::UnsupportedMediaType,
        StatusCode::SERVICE_UNAVAILABLE => Reason::ServiceUnavailable,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Reason::Timeout,
        _ => Reason::InternalError,
    }
}
