//! What each kind of entry says.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Text, Trace};

type Str<'a> = Cow<'a, str>;

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// An entry's kind and its fields.
#[derive(Debug, Clone)]
pub enum Body<'a> {
    /// A proxy instance opened the log.
    LogOpened(Instance<'a>),
    /// A proxy instance drained and closed the log. A log that was opened and never sealed
    /// ended in a crash.
    LogSealed(Instance<'a>),
    /// A configuration took effect.
    ConfigLoaded(ConfigLoaded<'a>),
    /// A client was refused before a session existed.
    AuthFailure(AuthFailure<'a>),
    /// A session began.
    SessionStart(SessionStart<'a>),
    /// A session ended.
    SessionEnd(SessionEnd<'a>),
    /// A principal asked for something.
    Command(Command<'a>),
    /// A part of an answer, recorded before its release.
    Output(Output<'a>),
    /// A command's outcome.
    Response(Response<'a>),
}

macro_rules! kinds {
    ($($variant:ident = $name:literal),* $(,)?) => {
        impl<'a> Body<'a> {
            /// The entry's `type`.
            pub fn kind(&self) -> &'static str {
                match self { $(Body::$variant(_) => $name),* }
            }

            pub(crate) fn write_json(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
                match self { $(Body::$variant(body) => serde_json::to_writer(out, body)),* }
            }

            pub(crate) fn read_json(kind: &str, bytes: &'a [u8]) -> serde_json::Result<Self> {
                match kind {
                    $($name => serde_json::from_slice(bytes).map(Body::$variant),)*
                    other => Err(serde::de::Error::unknown_variant(other, &[$($name),*])),
                }
            }
        }
    };
}

kinds! {
    LogOpened = "log_opened",
    LogSealed = "log_sealed",
    ConfigLoaded = "config_loaded",
    AuthFailure = "auth_failure",
    SessionStart = "session_start",
    SessionEnd = "session_end",
    Command = "command",
    Output = "output",
    Response = "response",
}

/// Which proxy instance wrote this log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Instance<'a> {
    /// The program's name and version, `greffier-postgres 0.1.0`.
    #[serde(borrow)]
    pub program: Str<'a>,
    /// The host's name.
    pub host: Str<'a>,
    /// The process id.
    pub pid: u32,
    /// The log's epoch: rises by one each time the log is opened.
    pub epoch: u64,
}

/// A configuration took effect.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConfigLoaded<'a> {
    /// SHA-256 of the file's bytes, hex.
    #[serde(borrow)]
    pub sha256: Str<'a>,
    /// SHA-256 of the policy in its canonical form, hex: the `policy` of commands.
    pub policy: Str<'a>,
    /// SHA-256 of the masking rules in their canonical form, hex.
    pub masking: Str<'a>,
    /// The names of the configured targets.
    pub targets: Vec<Str<'a>>,
}

/// A person or program, named by its issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject<'a> {
    /// The issuer (`iss`).
    #[serde(borrow)]
    pub issuer: Str<'a>,
    /// The issuer's name for it (`sub`, or the claim that the mapping rule names).
    pub subject: Str<'a>,
}

/// Who acts, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal<'a> {
    /// The issuer (`iss`).
    #[serde(borrow)]
    pub issuer: Str<'a>,
    /// The issuer's name for the one who acts.
    pub subject: Str<'a>,
    /// `human`, `agent`, `workload` or `ci`.
    pub kind: Str<'a>,
    /// Groups that the mapping rule took from the token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Str<'a>>,
    /// For whom: the delegation chain, nearest first (RFC 8693 `act`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_behalf_of: Vec<Subject<'a>>,
}

/// A client was refused before a session existed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuthFailure<'a> {
    /// The protocol, `postgres`.
    #[serde(borrow)]
    pub protocol: Str<'a>,
    /// The client's address.
    pub peer: Str<'a>,
    /// The target asked for, as the client wrote it (cut at 256 bytes).
    pub target: Text<'a>,
    /// A fixed word for the cause: `expired`, `audience`, `unknown_issuer`, `no_rule` …
    pub cause: Str<'a>,
    /// The cause in a sentence; never holds the credential.
    pub message: Str<'a>,
    /// SHA-256 of the credential, hex, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_sha256: Option<Str<'a>>,
    /// The principal, when the credential was good and something else was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal<'a>>,
}

/// A session began: one authenticated client connection to one target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionStart<'a> {
    /// The protocol, `postgres`.
    #[serde(borrow)]
    pub protocol: Str<'a>,
    /// The target's configured name.
    pub target: Str<'a>,
    /// Who acts.
    pub principal: Principal<'a>,
    /// The identity mapping rule that made the principal.
    pub identity_rule: Str<'a>,
    /// SHA-256 of the token, hex. The token itself is never stored.
    pub credential_sha256: Str<'a>,
    /// The token's `jti`, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<Str<'a>>,
    /// When the lease ends by itself, in Unix seconds.
    pub lease_until: u64,
    /// The client's address.
    pub peer: Str<'a>,
    /// What the protocol adds: for PostgreSQL `database`, `upstream_role`, `user_asked`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<Str<'a>, Text<'a>>,
}

/// A session ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SessionEnd<'a> {
    /// Why: `client closed`, `lease expired`, `target closed`, `shutdown` …
    #[serde(borrow)]
    pub reason: Str<'a>,
    /// How many commands were asked for.
    pub commands: u64,
    /// How many of them were denied.
    pub denied: u64,
    /// How many were let through without an entry of their own, because the target records
    /// `operations` only and no operation's rule named them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unrecorded: u64,
    /// What the protocol learnt on the way: for PostgreSQL `backend_pid`, `server_version`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<Str<'a>, Text<'a>>,
}

/// A bound parameter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Parameter<'a> {
    /// The type's name (`int8`), or `oid 12345` where the name is not known, or empty where
    /// the client left the type open.
    #[serde(rename = "type", borrow)]
    pub type_name: Str<'a>,
    /// The value as text; `null` is SQL's NULL.
    pub value: Option<Text<'a>>,
}

/// A principal asked for something. Durable before it reaches the target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Command<'a> {
    /// The command's number in its session, from 1.
    pub command: u64,
    /// Who acts: an object of the shape of [`Principal`], made once a session.
    #[serde(borrow)]
    pub principal: Cow<'a, RawValue>,
    /// The target's configured name.
    pub target: Str<'a>,
    /// How it was asked for: for PostgreSQL `simple`, `extended`, `function_call`; for SSH
    /// `exec`, `shell`, `subsystem`, `sftp`, `scp`, `direct-tcpip`, `forwarded-tcpip`,
    /// `direct-streamlocal`, `forwarded-streamlocal`, `tcpip-forward`, `agent`, `x11`,
    /// `certificate`.
    pub via: Str<'a>,
    /// What it does, in the protocol's words: `SELECT`, or `SELECT; DELETE` for several.
    pub operation: Str<'a>,
    /// The most dangerous class of its actions.
    pub class: Str<'a>,
    /// The statement, masked for the record. Absent at recording level `operations`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text<'a>>,
    /// The statement's length in bytes before masking.
    pub text_bytes: u64,
    /// Where the text is too long for an entry: its chunks, `text` then holds the beginning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub text_chunks: Vec<Chunk<'a>>,
    /// Bound parameters, masked for the record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter<'a>>,
    /// Where the parameters are too long for an entry: their chunks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameter_chunks: Vec<Chunk<'a>>,
    /// `allow`, `deny` or `hold`.
    pub verdict: Str<'a>,
    /// The rule that decided; `default` if none did.
    pub rule: Str<'a>,
    /// The reason that the rule gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Str<'a>>,
    /// SHA-256 of the policy that judged, hex (see [`ConfigLoaded::policy`]).
    pub policy: Str<'a>,
    /// Values masked in `text` and `parameters`, by entity.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub masked: BTreeMap<Str<'a>, u64>,
    /// Which run of which agent it belongs to, where the client says so: HTTP's fields, MCP's
    /// `_meta`, a comment in SQL or a setting of the session, variables of SSH. Its own words.
    /// At recording level `operations` without `state` and `baggage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Box<Trace<'a>>>,
    /// What the protocol adds. For SSH, as far as they apply: `channel` (the number of the
    /// command that opened it), `login`, `pty`, `term`, `size`, `env.NAME`, `program`, `parsed`
    /// (`words` or `unknown`), `path`, `path2`, `flags`, `mode`, `host`, `port`, `origin`; of an
    /// issued certificate `serial`, `fingerprint`, `principals`, `valid_before`. Not kept at
    /// recording level `operations`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<Str<'a>, Text<'a>>,
}

/// A part of a recording kept as an object of its own, bound by its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk<'a> {
    /// SHA-256 of the object, hex: its name under `blobs/`.
    #[serde(borrow)]
    pub sha256: Str<'a>,
    /// Its length in bytes.
    pub bytes: u64,
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column<'a> {
    /// The result's label.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// The type's name, or `oid N`.
    #[serde(rename = "type")]
    pub type_name: Str<'a>,
}

/// Recorded bytes inside an entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Data<'a> {
    /// What the bytes are: `postgres-backend` for whole backend messages of protocol 3,
    /// `greffier-frames` for what crosses an SSH channel (crate `terminal`).
    #[serde(borrow)]
    pub media: Str<'a>,
    /// The bytes, masked for the record, in standard base64.
    pub base64: Str<'a>,
}

/// A part of an answer: recorded before its release, or the names of chunks that are full.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Output<'a> {
    /// The command it answers.
    pub command: u64,
    /// The part's number within the answer, from 0.
    pub part: u64,
    /// The part.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data<'a>>,
    /// The answer's next chunks, in order; no `data` follows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<Chunk<'a>>,
    /// The next chunks of what the client sent as COPY data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub input_chunks: Vec<Chunk<'a>>,
}

/// The result of one statement of a command.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct StatementResult<'a> {
    /// The server's command tag, `SELECT 5`; empty for an empty query.
    #[serde(borrow)]
    pub tag: Str<'a>,
    /// Rows (or COPY rows) that were sent.
    pub rows: u64,
    /// A JSON array of [`Column`]; absent where the answer has no columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Cow<'a, RawValue>>,
}

/// A command's outcome.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Response<'a> {
    /// The command it answers.
    pub command: u64,
    /// `ok`, `error`, `skipped` (an earlier command of the same pipeline failed, so the target
    /// never ran it), or `lost` (the connection ended first: unknown). A command that was denied
    /// has no response.
    #[serde(borrow)]
    pub outcome: Str<'a>,
    /// One for each statement that answered, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<StatementResult<'a>>,
    /// The protocol's error code: SQLSTATE; for SSH the exit status, or a file operation's status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Str<'a>>,
    /// The error's message, masked for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Text<'a>>,
    /// Rows in all.
    pub rows: u64,
    /// Bytes that the target sent in answer.
    pub bytes: u64,
    /// Bytes that the client sent after the command, as COPY data.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub input_bytes: u64,
    /// From forwarding the command to the end of its answer, in microseconds.
    pub duration_us: u64,
    /// Values masked, by entity; `COLUMN` counts cells under a column rule.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub masked: BTreeMap<Str<'a>, u64>,
    /// The answer (its last part, if `output` entries came before), masked for the record.
    /// Only at recording level `full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data<'a>>,
    /// The answer's (last) chunks, in order, where it is too large for entries. More than
    /// [`MAX_CHUNKS`](crate::MAX_CHUNKS) are named by `output` entries before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<Chunk<'a>>,
    /// The (last) chunks of what the client sent as COPY data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub input_chunks: Vec<Chunk<'a>>,
    /// What the protocol adds. For SSH, as far as they apply: `exit_status`, `signal`,
    /// `core_dumped`, `stdout_bytes`, `stderr_bytes`, `stdin_sha256`, `stdout_sha256`,
    /// `stderr_sha256`, `read_bytes`, `read_sha256`, `written_bytes`, `written_sha256`, `whole`
    /// (`true`: from the file's beginning, in order, to its end), `size`, `commands_from`
    /// (`osc133` or `screen`), `ended_by`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<Str<'a>, Text<'a>>,
}
