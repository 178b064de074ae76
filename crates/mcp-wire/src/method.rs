//! What requests ask for.

use crate::error::WireError;
use crate::eyes::is_invisible;
use crate::keys;
use crate::value::{Object, Value};

/// Longest name of a tool or prompt, bytes.
pub const MAX_NAME_BYTES: usize = 256;
/// Longest URI of a resource, bytes.
pub const MAX_URI_BYTES: usize = 8 << 10;

/// What a request asks for, with the parameters that rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method<'a> {
    /// `initialize` (before 2026-07-28).
    Initialize {
        /// The version that the client wants.
        version: &'a str,
    },
    /// `ping` (before 2026-07-28).
    Ping,
    /// `server/discover` (2026-07-28).
    Discover,
    /// `tools/list`.
    ListTools,
    /// `tools/call`.
    CallTool(Call<'a>),
    /// `resources/list`.
    ListResources,
    /// `resources/templates/list`.
    ListResourceTemplates,
    /// `resources/read`.
    ReadResource {
        /// Which.
        uri: &'a str,
    },
    /// `resources/subscribe` (before 2026-07-28).
    Subscribe {
        /// To which.
        uri: &'a str,
    },
    /// `resources/unsubscribe` (before 2026-07-28).
    Unsubscribe {
        /// From which.
        uri: &'a str,
    },
    /// `prompts/list`.
    ListPrompts,
    /// `prompts/get`.
    GetPrompt(Call<'a>),
    /// `completion/complete`.
    Complete(Reference<'a>),
    /// `logging/setLevel` (before 2026-07-28).
    SetLevel {
        /// The least that is logged.
        level: &'a str,
    },
    /// `sampling/createMessage`: the server asks the client's model.
    CreateMessage,
    /// `elicitation/create`: the server asks the user.
    Elicit {
        /// Where the user is sent, in URL mode.
        url: Option<&'a str>,
    },
    /// `roots/list`: the server asks for the client's folders.
    ListRoots,
    /// `subscriptions/listen` (2026-07-28).
    Listen,
    /// `tasks/…`.
    Task {
        /// What stands behind the slash: `get`, `result`, `cancel`, `update`, `list`.
        operation: &'a str,
        /// The task, unless all are meant.
        id: Option<&'a str>,
    },
    /// Any other.
    Other(&'a str),
}

/// A tool or prompt, and what it is called with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is called with.
    pub arguments: Option<&'a Object>,
}

/// What `completion/complete` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference<'a> {
    /// An argument of this prompt.
    Prompt(&'a str),
    /// A part of this resource template.
    Resource(&'a str),
}

/// Methods whose names some server might take in another case. Theirs is refused.
const METHODS: &[&str] = &[
    "initialize",
    "ping",
    "server/discover",
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "logging/setLevel",
    "sampling/createMessage",
    "elicitation/create",
    "roots/list",
    "subscriptions/listen",
    "tasks/get",
    "tasks/result",
    "tasks/cancel",
    "tasks/list",
    "tasks/update",
];

/// Members of parameters that some method knows. A member in another case than any of them is
/// refused whatever the method is.
const PARAMS: &[&str] = &[
    "_meta",
    "name",
    "arguments",
    "uri",
    "cursor",
    "ref",
    "argument",
    "context",
    "level",
    "protocolVersion",
    "capabilities",
    "clientInfo",
    "inputResponses",
    "requestState",
    "messages",
    "systemPrompt",
    "modelPreferences",
    "includeContext",
    "maxTokens",
    "tools",
    "toolChoice",
    "message",
    "requestedSchema",
    "mode",
    "url",
    "elicitationId",
    "task",
    "taskId",
    "notifications",
    "progressToken",
    "progress",
    "total",
    "requestId",
    "reason",
    "data",
];

/// Members of `_meta` that the specification or its extensions know.
const META: &[&str] = &[
    "progressToken",
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/logLevel",
    "io.modelcontextprotocol/subscriptionId",
    "io.modelcontextprotocol/serverInfo",
    "io.modelcontextprotocol/related-task",
    "traceparent",
    "tracestate",
    "baggage",
];

/// Members of results that some method knows.
const RESULTS: &[&str] = &[
    "_meta",
    "resultType",
    "tools",
    "resources",
    "resourceTemplates",
    "prompts",
    "nextCursor",
    "content",
    "structuredContent",
    "isError",
    "contents",
    "messages",
    "description",
    "inputRequests",
    "requestState",
    "completion",
    "supportedVersions",
    "protocolVersion",
    "capabilities",
    "serverInfo",
    "instructions",
    "task",
    "tasks",
    "role",
    "model",
    "stopReason",
    "action",
    "roots",
];

/// Refuses parameters that a parser may take for others.
pub(crate) fn check_keys(params: &Object) -> Result<(), WireError> {
    keys::check("params", params, PARAMS)?;
    check_meta(params, "`params._meta` is no object")
}

/// Refuses results that a parser may take for others.
pub(crate) fn check_result_keys(result: &Object) -> Result<(), WireError> {
    keys::check("result", result, RESULTS)?;
    check_meta(result, "`result._meta` is no object")
}

fn check_meta(holder: &Object, wrong: &'static str) -> Result<(), WireError> {
    match holder.get("_meta") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(meta)) => keys::check("_meta", meta, META),
        Some(_) => Err(WireError::Params(wrong)),
    }
}

/// Refuses a known method with other parameters than its own.
pub(crate) fn check(method: &str, params: Option<&Object>) -> Result<(), WireError> {
    let named = |name: &str| match name {
        name if name.is_empty() || name.len() > MAX_NAME_BYTES => {
            Err(WireError::Params("a name is empty or too long"))
        }
        name if name.chars().any(is_invisible) => {
            Err(WireError::Params("a name has invisible characters"))
        }
        _ => Ok(()),
    };
    let located = |uri: &str| match uri {
        uri if uri.is_empty() || uri.len() > MAX_URI_BYTES => {
            Err(WireError::Params("a URI is empty or too long"))
        }
        uri if uri.chars().any(is_invisible) => {
            Err(WireError::Params("a URI has invisible characters"))
        }
        _ => Ok(()),
    };
    if let Some(key) = METHODS.iter().find(|it| method != **it && method.eq_ignore_ascii_case(it)) {
        return Err(WireError::CaseVariant { within: "method", key });
    }
    match read(method, params)? {
        Method::CallTool(Call { name, .. })
        | Method::GetPrompt(Call { name, .. })
        | Method::Complete(Reference::Prompt(name))
        | Method::Initialize { version: name }
        | Method::SetLevel { level: name }
        | Method::Task { id: Some(name), .. } => named(name),
        Method::ReadResource { uri }
        | Method::Subscribe { uri }
        | Method::Unsubscribe { uri }
        | Method::Elicit { url: Some(uri) }
        | Method::Complete(Reference::Resource(uri)) => located(uri),
        _ => Ok(()),
    }
}

/// What a method with these parameters asks for.
pub(crate) fn read<'a>(
    method: &'a str,
    params: Option<&'a Object>,
) -> Result<Method<'a>, WireError> {
    let optional = |key: &str, wrong| match params.and_then(|it| it.get(key)) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(&**text)),
        Some(_) => Err(WireError::Params(wrong)),
    };
    let text = |key: &str, wrong| optional(key, wrong)?.ok_or(WireError::Params(wrong));
    let uri = || text("uri", "`uri` is no string");
    let call = || -> Result<Call<'a>, WireError> {
        let name = text("name", "`name` is no string")?;
        let arguments = match params.and_then(|it| it.get("arguments")) {
            // Some clients write what they leave out.
            None | Some(Value::Null) => None,
            Some(Value::Object(arguments)) => Some(arguments),
            Some(_) => return Err(WireError::Params("`arguments` is no object")),
        };
        Ok(Call { name, arguments })
    };
    Ok(match method {
        "initialize" => {
            Method::Initialize { version: text("protocolVersion", "`protocolVersion` is missing")? }
        }
        "ping" => Method::Ping,
        "server/discover" => Method::Discover,
        "tools/list" => Method::ListTools,
        "tools/call" => Method::CallTool(call()?),
        "resources/list" => Method::ListResources,
        "resources/templates/list" => Method::ListResourceTemplates,
        "resources/read" => Method::ReadResource { uri: uri()? },
        "resources/subscribe" => Method::Subscribe { uri: uri()? },
        "resources/unsubscribe" => Method::Unsubscribe { uri: uri()? },
        "prompts/list" => Method::ListPrompts,
        "prompts/get" => Method::GetPrompt(call()?),
        "completion/complete" => Method::Complete(reference(params)?),
        "logging/setLevel" => Method::SetLevel { level: text("level", "`level` is no string")? },
        "sampling/createMessage" => Method::CreateMessage,
        "elicitation/create" => Method::Elicit { url: optional("url", "`url` is no string")? },
        "roots/list" => Method::ListRoots,
        "subscriptions/listen" => Method::Listen,
        other => match other.strip_prefix("tasks/") {
            Some(operation) => {
                Method::Task { operation, id: optional("taskId", "`taskId` is no string")? }
            }
            None => Method::Other(other),
        },
    })
}

fn reference(params: Option<&Object>) -> Result<Reference<'_>, WireError> {
    const WRONG: WireError = WireError::Params("`ref` names neither prompt nor resource");
    let named = params.and_then(|it| it.get("ref")).and_then(Value::as_object).ok_or(WRONG)?;
    keys::check("ref", named, &["type", "name", "uri"])?;
    let text = |key: &str| named.get(key).and_then(Value::as_str);
    match (text("type"), text("name"), text("uri")) {
        (Some("ref/prompt"), Some(name), None) => Ok(Reference::Prompt(name)),
        (Some("ref/resource"), None, Some(uri)) => Ok(Reference::Resource(uri)),
        _ => Err(WRONG),
    }
}
