//! Requests, notifications and responses.

use crate::error::WireError;
use crate::json::{self, Limits};
use crate::keys;
use crate::method::{self, Method};
use crate::value::{Number, Object, Value, write_string};

/// Longest id that is a string, bytes.
pub const MAX_ID_BYTES: usize = 256;
/// Largest id that is a number, either sign: beyond it JavaScript rounds, and the answer would be
/// to another id (ECMA-262, 21.1.2.6).
pub const MAX_ID_NUMBER: u64 = (1 << 53) - 1;
/// Longest name of a method, bytes.
pub const MAX_METHOD_BYTES: usize = 128;
/// Most messages in a batch.
pub const MAX_BATCH: usize = 64;
/// Longest name or version of a client or server that is given out, bytes; the rest is cut.
pub const MAX_PEER_BYTES: usize = 128;
/// How the method of a notification begins, and of no request.
const NOTIFICATIONS: &str = "notifications/";

/// What bytes hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// One message.
    One(Message),
    /// A batch: allowed in 2025-03-26 only. At least one message.
    Batch(Vec<Message>),
}

/// A JSON-RPC message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Asks for something.
    Request(Request),
    /// Says something.
    Notification(Notification),
    /// Answers a request.
    Response(Response),
}

/// A request's id, as given: `1` and `"1"` are two.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Id {
    /// A string of at most [`MAX_ID_BYTES`].
    Text(String),
    /// A whole number of at most [`MAX_ID_NUMBER`], either sign.
    Number(i64),
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub(crate) id: Id,
    method: String,
    pub(crate) params: Option<Object>,
}

/// A notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    method: String,
    pub(crate) params: Option<Object>,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub(crate) id: Option<Id>,
    /// Without an id: whether `null` stands in its place. Versions differ about it.
    null: bool,
    pub(crate) outcome: Outcome,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With a result.
    Result(Object),
    /// With an error: at least `code`, a whole number, and `message`, a string.
    Error(Object),
}

/// What a result is to its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultType<'a> {
    /// The answer.
    Complete,
    /// Questions to the client, who then asks again (2026-07-28).
    InputRequired,
    /// An extension's.
    Other(&'a str),
}

/// A question to the client within a result (2026-07-28): what was a request of the server's
/// before.
#[derive(Debug, Clone, Copy)]
pub struct InputRequest<'a> {
    /// The server's name for it; the client's answer has the same.
    pub key: &'a str,
    /// The method's name: `sampling/createMessage`, `elicitation/create`, `roots/list`.
    pub method_name: &'a str,
    /// Its parameters.
    pub params: Option<&'a Object>,
}

/// Reads a message or a batch.
///
/// # Errors
/// The sender's; see [`WireError`].
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Body, WireError> {
    match json::parse(bytes, limits)? {
        Value::Array(elements) => {
            if elements.is_empty() {
                return Err(WireError::NotAMessage("an empty batch"));
            }
            if elements.len() > MAX_BATCH {
                return Err(WireError::TooMany { at: 0, most: MAX_BATCH });
            }
            elements.into_iter().map(Message::read).collect::<Result<_, _>>().map(Body::Batch)
        }
        one => Message::read(one).map(Body::One),
    }
}

/// Reads one message, and no batch.
///
/// # Errors
/// The sender's; see [`WireError`].
pub fn parse_one(bytes: &[u8], limits: Limits) -> Result<Message, WireError> {
    match parse(bytes, limits)? {
        Body::One(message) => Ok(message),
        Body::Batch(_) => Err(WireError::NotAMessage("a batch")),
    }
}

impl Body {
    /// The bytes to forward.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::One(message) => message.to_bytes(),
            Self::Batch(messages) => {
                let mut out = vec![b'['];
                for (at, message) in messages.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    message.write(&mut out);
                }
                out.push(b']');
                out
            }
        }
    }
}

impl Message {
    fn read(value: Value) -> Result<Self, WireError> {
        const KEYS: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
        let Value::Object(mut envelope) = value else {
            return Err(WireError::NotAMessage("no object"));
        };
        keys::check("message", &envelope, KEYS)?;
        if envelope.iter().any(|(key, _)| !KEYS.contains(&key)) {
            return Err(WireError::NotAMessage("a member that JSON-RPC does not know"));
        }
        if envelope.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Err(WireError::NotAMessage("`jsonrpc` is not \"2.0\""));
        }
        let id = envelope.remove("id");
        let params = match envelope.remove("params") {
            None => None,
            Some(Value::Object(params)) => Some(params),
            Some(_) => return Err(WireError::Params("`params` is no object")),
        };
        let result = envelope.remove("result");
        let error = envelope.remove("error");
        let Some(method) = envelope.remove("method") else {
            if params.is_some() {
                return Err(WireError::NotAMessage("`params` without `method`"));
            }
            return Response::read(id, result, error).map(Self::Response);
        };
        if result.is_some() || error.is_some() {
            return Err(WireError::NotAMessage("a method and an outcome"));
        }
        let method = method_name(method)?;
        if let Some(params) = &params {
            method::check_keys(params)?;
        }
        let notifies = method.starts_with(NOTIFICATIONS);
        match id {
            None if notifies => Ok(Self::Notification(Notification { method, params })),
            // Whoever takes it would act and not answer: it would have no outcome.
            None => Err(WireError::NotAMessage("a request without an id")),
            Some(_) if notifies => Err(WireError::NotAMessage("a notification with an id")),
            Some(id) => {
                let request = Request { id: Id::read(id)?, method, params };
                method::check(&request.method, request.params.as_ref())?;
                Ok(Self::Request(request))
            }
        }
    }

    /// The bytes to forward: what was read, written again.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"jsonrpc":"2.0""#);
        match self {
            Self::Request(request) => {
                out.extend_from_slice(br#","id":"#);
                request.id.write(out);
                write_call(&request.method, request.params.as_ref(), out);
            }
            Self::Notification(it) => write_call(&it.method, it.params.as_ref(), out),
            Self::Response(response) => {
                match &response.id {
                    Some(id) => {
                        out.extend_from_slice(br#","id":"#);
                        id.write(out);
                    }
                    None if response.null => out.extend_from_slice(br#","id":null"#),
                    None => {}
                }
                let (key, object) = match &response.outcome {
                    Outcome::Result(result) => (&br#","result":"#[..], result),
                    Outcome::Error(error) => (&br#","error":"#[..], error),
                };
                out.extend_from_slice(key);
                object.write(out);
            }
        }
        out.push(b'}');
    }

    /// The parameters of a request or notification.
    #[must_use]
    pub const fn params(&self) -> Option<&Object> {
        match self {
            Self::Request(request) => request.params.as_ref(),
            Self::Notification(notification) => notification.params.as_ref(),
            Self::Response(_) => None,
        }
    }

    /// The `_meta` of parameters or of a result.
    #[must_use]
    pub fn meta(&self) -> Option<&Object> {
        let holder = match self {
            Self::Response(Response { outcome: Outcome::Result(result), .. }) => Some(result),
            other => other.params(),
        };
        holder?.get("_meta")?.as_object()
    }
}

/// Name and version of an implementation.
fn peer(value: &Value) -> Option<(&str, &str)> {
    let text = |key: &str| {
        let text = value.as_object()?.get(key)?.as_str()?;
        text.get(..text.floor_char_boundary(MAX_PEER_BYTES))
    };
    Some((text("name")?, text("version")?))
}

fn write_call(method: &str, params: Option<&Object>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","method":"#);
    write_string(method, out);
    if let Some(params) = params {
        out.extend_from_slice(br#","params":"#);
        params.write(out);
    }
}

fn method_name(value: Value) -> Result<String, WireError> {
    let Value::String(name) = value else {
        return Err(WireError::NotAMessage("`method` is no string"));
    };
    if name.is_empty() || name.len() > MAX_METHOD_BYTES {
        return Err(WireError::NotAMessage("`method` is empty or too long"));
    }
    if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(WireError::NotAMessage("`method` has more than visible ASCII"));
    }
    Ok(name)
}

impl Id {
    fn read(value: Value) -> Result<Self, WireError> {
        match value {
            Value::String(text) if text.len() > MAX_ID_BYTES => {
                Err(WireError::NotAMessage("`id` is too long"))
            }
            Value::String(text) if text.chars().any(char::is_control) => {
                Err(WireError::NotAMessage("`id` has control characters"))
            }
            Value::String(text) => Ok(Self::Text(text)),
            Value::Number(number) => match number.text().parse::<i64>() {
                // `-0` is 0 to some and -0 to others.
                Ok(id) if id.unsigned_abs() <= MAX_ID_NUMBER && id.to_string() == number.text() => {
                    Ok(Self::Number(id))
                }
                _ => Err(WireError::NotAMessage("`id` is no whole number, or too large")),
            },
            _ => Err(WireError::NotAMessage("`id` is neither string nor whole number")),
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => write_string(text, out),
            Self::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        }
    }

    /// The id as a value: a progress token, an id within parameters.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.clone()),
            Self::Number(number) => Value::Number(Number::from(*number)),
        }
    }

    /// An id from a value.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<Self> {
        Self::read(value.clone()).ok()
    }
}

impl std::fmt::Display for Id {
    /// As JSON: a string has its quotes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = Vec::new();
        self.write(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

impl Request {
    /// The id.
    #[must_use]
    pub const fn id(&self) -> &Id {
        &self.id
    }

    /// The method's name.
    #[must_use]
    pub fn method_name(&self) -> &str {
        &self.method
    }

    /// What is asked for. Its names and URIs are bounded and have no invisible characters.
    #[must_use]
    pub fn method(&self) -> Method<'_> {
        // It was read once, and texts are all that changes afterwards.
        method::read(&self.method, self.params.as_ref()).unwrap_or(Method::Other(&self.method))
    }

    /// The parameters.
    #[must_use]
    pub const fn params(&self) -> Option<&Object> {
        self.params.as_ref()
    }

    /// The client's answers to what a result asked it (2026-07-28).
    #[must_use]
    pub fn input_responses(&self) -> Option<&Object> {
        self.params.as_ref()?.get("inputResponses")?.as_object()
    }

    /// What the client calls itself, name and version, at most [`MAX_PEER_BYTES`] each: in
    /// `initialize`, and in the `_meta` of every request since 2026-07-28. Its own words.
    #[must_use]
    pub fn client(&self) -> Option<(&str, &str)> {
        let params = self.params.as_ref()?;
        let meta = params.get("_meta").and_then(Value::as_object);
        let stated = meta.and_then(|it| it.get("io.modelcontextprotocol/clientInfo"));
        peer(stated.or_else(|| params.get("clientInfo"))?)
    }

    /// The state that the server gave with its questions, unread (2026-07-28).
    #[must_use]
    pub fn request_state(&self) -> Option<&str> {
        self.params.as_ref()?.get("requestState")?.as_str()
    }
}

impl Notification {
    /// The method's name: it begins with `notifications/`.
    #[must_use]
    pub fn method_name(&self) -> &str {
        &self.method
    }

    /// The parameters.
    #[must_use]
    pub const fn params(&self) -> Option<&Object> {
        self.params.as_ref()
    }

    /// The request that `notifications/cancelled` is about.
    #[must_use]
    pub fn cancels(&self) -> Option<Id> {
        if self.method != "notifications/cancelled" {
            return None;
        }
        Id::from_value(self.params.as_ref()?.get("requestId")?)
    }

    /// The token that `notifications/progress` is about: the `progressToken` of a request.
    #[must_use]
    pub fn progress_token(&self) -> Option<Id> {
        if self.method != "notifications/progress" {
            return None;
        }
        Id::from_value(self.params.as_ref()?.get("progressToken")?)
    }
}

impl Response {
    fn read(
        id: Option<Value>,
        result: Option<Value>,
        error: Option<Value>,
    ) -> Result<Self, WireError> {
        let outcome = match (result, error) {
            (Some(Value::Object(result)), None) => {
                method::check_result_keys(&result)?;
                Outcome::Result(result)
            }
            (Some(_), None) => return Err(WireError::Result("`result` is no object")),
            (None, Some(Value::Object(error))) => {
                keys::check("error", &error, &["code", "message", "data"])?;
                let told = error.get("message").is_some_and(|it| it.as_str().is_some());
                if !told || error.get("code").and_then(Value::as_i64).is_none() {
                    return Err(WireError::Result("an error needs a code and a message"));
                }
                Outcome::Error(error)
            }
            (None, Some(_)) => return Err(WireError::Result("`error` is no object")),
            (Some(_), Some(_)) => return Err(WireError::NotAMessage("a result and an error")),
            (None, None) => return Err(WireError::NotAMessage("neither method nor outcome")),
        };
        let null = id == Some(Value::Null);
        let id = match id {
            None | Some(Value::Null) if matches!(outcome, Outcome::Error(_)) => None,
            None => return Err(WireError::NotAMessage("a result without an id")),
            Some(id) => Some(Id::read(id)?),
        };
        Ok(Self { id, null, outcome })
    }

    /// The id of the request; none if the other side could not read it.
    #[must_use]
    pub const fn id(&self) -> Option<&Id> {
        self.id.as_ref()
    }

    /// How it ended.
    #[must_use]
    pub const fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The result, if it is one.
    #[must_use]
    pub const fn result(&self) -> Option<&Object> {
        match &self.outcome {
            Outcome::Result(result) => Some(result),
            Outcome::Error(_) => None,
        }
    }

    /// The error's code and message, if it is one.
    #[must_use]
    pub fn error(&self) -> Option<(i64, &str)> {
        match &self.outcome {
            Outcome::Error(error) => {
                Some((error.get("code")?.as_i64()?, error.get("message")?.as_str()?))
            }
            Outcome::Result(_) => None,
        }
    }

    /// What the result is; servers before 2026-07-28 don't say, and mean [`ResultType::Complete`].
    #[must_use]
    pub fn result_type(&self) -> Option<ResultType<'_>> {
        Some(match self.result()?.get("resultType") {
            None => ResultType::Complete,
            Some(said) => match said.as_str().unwrap_or_default() {
                "complete" => ResultType::Complete,
                "input_required" => ResultType::InputRequired,
                other => ResultType::Other(other),
            },
        })
    }

    /// What the server calls itself, as [`Request::client`].
    #[must_use]
    pub fn server(&self) -> Option<(&str, &str)> {
        let result = self.result()?;
        let meta = result.get("_meta").and_then(Value::as_object);
        let stated = meta.and_then(|it| it.get("io.modelcontextprotocol/serverInfo"));
        peer(stated.or_else(|| result.get("serverInfo"))?)
    }

    /// Whether a tool says that it failed (`isError`).
    #[must_use]
    pub fn is_tool_error(&self) -> bool {
        self.result().and_then(|it| it.get("isError")) == Some(&Value::Bool(true))
    }

    /// The questions to the client that the result asks (2026-07-28), also if its type is another:
    /// a client might answer them all the same.
    ///
    /// # Errors
    /// The server's: a question that is none.
    pub fn input_requests(&self) -> Result<Vec<InputRequest<'_>>, WireError> {
        let Some(asked) = self.result().and_then(|it| it.get("inputRequests")) else {
            return Ok(Vec::new());
        };
        asked.as_object().ok_or(NO_REQUESTS)?.iter().map(InputRequest::read).collect()
    }
}

const NO_REQUESTS: WireError = WireError::Result("`inputRequests` holds no requests");

impl<'a> InputRequest<'a> {
    fn read((key, value): (&'a str, &'a Value)) -> Result<Self, WireError> {
        let object = value.as_object().ok_or(NO_REQUESTS)?;
        keys::check("inputRequests", object, &["method", "params"])?;
        let method = object.get("method").and_then(Value::as_str).ok_or(NO_REQUESTS)?;
        let params = match object.get("params") {
            None => None,
            Some(params) => Some(params.as_object().ok_or(NO_REQUESTS)?),
        };
        if let Some(params) = params {
            method::check_keys(params)?;
        }
        method::check(method, params)?;
        Ok(Self { key, method_name: method, params })
    }

    /// What is asked.
    #[must_use]
    pub fn method(&self) -> Method<'a> {
        method::read(self.method_name, self.params).unwrap_or(Method::Other(self.method_name))
    }
}
