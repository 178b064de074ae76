//! The device flow (RFC 8628): codes, the person's yes or no, and answers that lie.

use std::collections::{BTreeMap, VecDeque};

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde_json::json;

use crate::server::{Answer, MAX_BODY_BYTES, form, json_answer, status};
use crate::{Claims, DevIssuer, Shared, random_id};

/// The grant's name at the token endpoint.
pub(crate) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// How long a code lives, in seconds.
const LIFETIME: u64 = 600;
/// Most codes kept: a test's.
const MAX_CODES: usize = 10_000;

/// For tests: an answer of the device or token endpoint, whatever it is.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    /// The status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// An error as RFC 6749 section 5.2 has it.
    #[must_use]
    pub fn error(word: &str) -> Self {
        RawAnswer::json(400, &json!({ "error": word }).to_string())
    }

    /// This status and text, as JSON.
    #[must_use]
    pub fn json(status: u16, body: &str) -> Self {
        RawAnswer { status, content_type: "application/json", body: body.into() }
    }

    fn answer(self) -> Answer {
        let mut answer = Response::new(self.body.into());
        *answer.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = HeaderValue::from_static(self.content_type);
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        answer
    }
}

/// Where logins by device stand.
#[derive(Default)]
pub(crate) struct Devices {
    /// By device code.
    codes: BTreeMap<String, Code>,
    begun: u64,
    interval: Option<u64>,
    /// Answers in place of the next ones.
    device: VecDeque<RawAnswer>,
    token: VecDeque<RawAnswer>,
}

struct Code {
    user_code: String,
    decided: Option<Decision>,
}

enum Decision {
    Approved(Box<Claims>),
    Denied,
}

impl DevIssuer {
    /// A person enters a code and logs in: whoever asked gets a token with these claims. Whether
    /// there is such a code.
    pub fn approve_device(&self, user_code: &str, claims: Claims) -> bool {
        self.decide(user_code, Decision::Approved(Box::new(claims)))
    }

    /// A person enters a code and says no. Whether there is such a code.
    pub fn deny_device(&self, user_code: &str) -> bool {
        self.decide(user_code, Decision::Denied)
    }

    fn decide(&self, user_code: &str, decision: Decision) -> bool {
        let mut state = self.shared.state();
        let code = state.devices.codes.values_mut().find(|code| code.user_code == user_code);
        code.map(|code| code.decided = Some(decision)).is_some()
    }

    /// The codes that wait for a person.
    #[must_use]
    pub fn user_codes(&self) -> Vec<String> {
        let state = self.shared.state();
        let waiting = state.devices.codes.values().filter(|code| code.decided.is_none());
        waiting.map(|code| code.user_code.clone()).collect()
    }

    /// The interval that the device endpoint states, in seconds. Default: 1.
    pub fn set_device_interval(&self, seconds: u64) {
        self.shared.state().devices.interval = Some(seconds);
    }

    /// For tests: the device endpoint's next answer.
    pub fn answer_device(&self, answer: RawAnswer) {
        self.shared.state().devices.device.push_back(answer);
    }

    /// For tests: the token endpoint's next answer to a device code.
    pub fn answer_device_token(&self, answer: RawAnswer) {
        self.shared.state().devices.token.push_back(answer);
    }
}

/// RFC 8628 section 3.1.
pub(crate) async fn authorization(request: Request<Incoming>, shared: &Shared) -> Answer {
    let Ok(body) = Limited::new(request.into_body(), MAX_BODY_BYTES).collect().await else {
        return status(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let fields = form(&body.to_bytes());
    let mut state = shared.state();
    let devices = &mut state.devices;
    if let Some(raw) = devices.device.pop_front() {
        return raw.answer();
    }
    let (Some(_), Ok(device_code)) = (fields.get("client_id"), random_id()) else {
        return json_answer(StatusCode::BAD_REQUEST, &json!({ "error": "invalid_request" }));
    };
    if devices.codes.len() >= MAX_CODES {
        return status(StatusCode::SERVICE_UNAVAILABLE);
    }
    devices.begun += 1;
    let user_code = format!("CODE-{:04}", devices.begun);
    let iss = &shared.iss;
    let answer = json!({
        "device_code": device_code,
        "user_code": user_code,
        "verification_uri": format!("{iss}/device"),
        "verification_uri_complete": format!("{iss}/device?user_code={user_code}"),
        "expires_in": LIFETIME,
        "interval": devices.interval.unwrap_or(1),
    });
    devices.codes.insert(device_code, Code { user_code, decided: None });
    json_answer(StatusCode::OK, &answer)
}

/// RFC 8628 section 3.4 and 3.5.
pub(crate) fn token(fields: &BTreeMap<String, String>, shared: &Shared) -> Answer {
    let refuse = |error: &str| json_answer(StatusCode::BAD_REQUEST, &json!({ "error": error }));
    let claims = {
        let mut state = shared.state();
        let devices = &mut state.devices;
        if let Some(raw) = devices.token.pop_front() {
            return raw.answer();
        }
        let device_code = fields.get("device_code").cloned().unwrap_or_default();
        match devices.codes.get(&device_code).map(|code| &code.decided) {
            None => return refuse("invalid_grant"),
            Some(None) => return refuse("authorization_pending"),
            Some(Some(_)) => {}
        }
        match devices.codes.remove(&device_code).and_then(|code| code.decided) {
            Some(Decision::Approved(claims)) => *claims,
            _ => return refuse("access_denied"),
        }
    };
    let lifetime = claims.lifetime.as_secs();
    match shared.mint(claims) {
        Ok(token) => json_answer(
            StatusCode::OK,
            &json!({"access_token": token, "token_type": "Bearer", "expires_in": lifetime}),
        ),
        Err(_) => refuse("server_error"),
    }
}
