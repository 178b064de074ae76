//! Which version of the protocol a message is of.

use crate::code;
use crate::headers::{HeaderMismatch, MismatchKind};
use crate::message::Message;
use crate::method::Method;
use crate::value::{Object, Value};

/// The header that names the version, since 2025-06-18.
pub const VERSION_HEADER: &str = "mcp-protocol-version";
/// The header that names a session, before 2026-07-28.
pub const SESSION_HEADER: &str = "mcp-session-id";
/// Longest id of a session, bytes.
pub const MAX_SESSION_BYTES: usize = 256;
/// The member of `_meta` that names the version, since 2026-07-28.
pub const VERSION_META: &str = "io.modelcontextprotocol/protocolVersion";

/// A version of the protocol that is known here, the older the less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Two endpoints and SSE; not over Streamable HTTP.
    V2024_11_05,
    /// Streamable HTTP, batches.
    V2025_03_26,
    /// The version in a header, no batches.
    V2025_06_18,
    /// Tasks, URL mode of elicitation.
    V2025_11_25,
    /// Stateless: no `initialize`, no session, headers that say what the body says.
    V2026_07_28,
}

/// What the versions differ in most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// `initialize`, then a session; server and client both ask. Before 2026-07-28.
    Sessions,
    /// Every request stands for itself. Since 2026-07-28.
    Stateless,
}

impl Version {
    /// All, the oldest first.
    pub const ALL: [Self; 5] = [
        Self::V2024_11_05,
        Self::V2025_03_26,
        Self::V2025_06_18,
        Self::V2025_11_25,
        Self::V2026_07_28,
    ];

    /// From its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// Its name: a date.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Its era.
    #[must_use]
    pub fn era(self) -> Era {
        if self >= Self::V2026_07_28 { Era::Stateless } else { Era::Sessions }
    }

    /// Whether a batch may be sent.
    #[must_use]
    pub fn allows_batches(self) -> bool {
        self == Self::V2025_03_26
    }
}

/// The id of a session out of [`SESSION_HEADER`]: visible ASCII, not empty, at most
/// [`MAX_SESSION_BYTES`] (2025-06-18, Session Management).
#[must_use]
pub fn read_session_id(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    let right = !text.is_empty() && text.bytes().all(|it| it.is_ascii_graphic());
    (right && text.len() <= MAX_SESSION_BYTES).then_some(text)
}

/// Why no version could be told. The fault is the client's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// A version that isn't known here; over HTTP 400.
    #[error("the protocol version is not supported")]
    Unsupported {
        /// What was asked for, cut to 32 characters of visible ASCII.
        requested: String,
    },
    /// Header and body differ, or one is missing; over HTTP 400.
    #[error(transparent)]
    Mismatch(#[from] HeaderMismatch),
    /// A request of 2026-07-28 without what its `_meta` must have; over HTTP 400.
    #[error("`_meta` lacks what {} asks for", Version::V2026_07_28.name())]
    Incomplete,
}

impl VersionError {
    /// The JSON-RPC code.
    #[must_use]
    pub const fn code(&self) -> i64 {
        match self {
            Self::Unsupported { .. } => code::UNSUPPORTED_VERSION,
            Self::Mismatch(_) => code::HEADER_MISMATCH,
            Self::Incomplete => code::INVALID_PARAMS,
        }
    }
}

/// The version of a message that came over HTTP with this [`VERSION_HEADER`].
///
/// A request without header and `_meta` is of 2025-03-26, as the specification says, unless the
/// session knows better; an `initialize` is of the era of sessions whatever it asks for.
///
/// # Errors
/// The client's; see [`VersionError`].
pub fn version_over_http(
    header: Option<&[u8]>,
    message: &Message,
) -> Result<Version, VersionError> {
    let mismatch =
        |kind| VersionError::Mismatch(HeaderMismatch { header: VERSION_HEADER.to_owned(), kind });
    let header = match header {
        None => None,
        Some(bytes) => {
            let text = std::str::from_utf8(bytes.trim_ascii())
                .map_err(|_| mismatch(MismatchKind::Malformed))?;
            Some(Version::parse(text).ok_or_else(|| unsupported(text))?)
        }
    };
    let stated = stated(message)?;
    let asks = match message {
        Message::Request(request) => Some(request.method()),
        Message::Notification(_) | Message::Response(_) => None,
    };
    if let Some(Method::Initialize { version }) = asks {
        // Were both to be believed, the request would be of two eras.
        if header.is_some_and(|it| it.era() == Era::Stateless) || stated.is_some() {
            return Err(mismatch(MismatchKind::Differs));
        }
        let asked = Version::parse(version).filter(|it| it.era() == Era::Sessions);
        return Ok(header.or(asked).unwrap_or(Version::V2025_11_25));
    }
    match (header, stated) {
        (Some(header), Some(stated)) if header != stated => Err(mismatch(MismatchKind::Differs)),
        (None, Some(_)) => Err(mismatch(MismatchKind::Missing)),
        (Some(header), None) if header.era() == Era::Stateless && asks.is_some() => {
            Err(VersionError::Incomplete)
        }
        (header, _) => Ok(header.unwrap_or(Version::V2025_03_26)),
    }
}

/// The version of a message over stdio, if it says one; else it is of the era of sessions.
///
/// # Errors
/// The client's; see [`VersionError`].
pub fn version_over_stdio(message: &Message) -> Result<Option<Version>, VersionError> {
    stated(message)
}

/// The version that a request's `_meta` states. A request of the stateless era has its
/// capabilities beside it.
fn stated(message: &Message) -> Result<Option<Version>, VersionError> {
    let Message::Request(request) = message else { return Ok(None) };
    let meta = request.params().and_then(|it| it.get("_meta")).and_then(Value::as_object);
    let Some(said) = meta.and_then(|it| it.get(VERSION_META)) else { return Ok(None) };
    let name = said.as_str().ok_or(VersionError::Incomplete)?;
    let version = Version::parse(name).ok_or_else(|| unsupported(name))?;
    let able = |it: &Object| {
        let own = it.get("io.modelcontextprotocol/clientCapabilities");
        own.is_some_and(|it| it.as_object().is_some())
    };
    if version.era() == Era::Stateless && !meta.is_some_and(able) {
        return Err(VersionError::Incomplete);
    }
    Ok(Some(version))
}

fn unsupported(name: &str) -> VersionError {
    let requested = name.chars().filter(char::is_ascii_graphic).take(32).collect();
    VersionError::Unsupported { requested }
}
