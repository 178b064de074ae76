//! What a reader is shown: entries that belong together, joined.

use std::collections::BTreeMap;

use records::Timestamp;
use serde::Serialize;

/// Something that the record says.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Item {
    /// A command and what became of it.
    Exchange(Box<Exchange>),
    /// A client that got no session.
    Refused(Refused),
    /// A session began.
    SessionStart(SessionOpened),
    /// A session ended.
    SessionEnd(SessionClosed),
    /// The proxy instance itself: opened, sealed, configured.
    Instance(Instance),
    /// An entry of a kind that this version does not know.
    Unknown(Unknown),
}

/// Who acts, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Who {
    /// The issuer.
    pub issuer: String,
    /// The issuer's name for who acts.
    pub subject: String,
    /// `human`, `agent`, `workload` or `ci`.
    pub kind: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// For whom, nearest first: the subjects.
    pub on_behalf_of: Vec<String>,
}

impl Who {
    /// For whom, on one line; `-` for nobody.
    #[must_use]
    pub fn for_whom(&self) -> String {
        if self.on_behalf_of.is_empty() { "-".into() } else { self.on_behalf_of.join(" for ") }
    }
}

impl From<&records::Principal<'_>> for Who {
    fn from(principal: &records::Principal<'_>) -> Self {
        Who {
            issuer: principal.issuer.to_string(),
            subject: principal.subject.to_string(),
            kind: principal.kind.to_string(),
            groups: principal.groups.iter().map(ToString::to_string).collect(),
            on_behalf_of: principal.on_behalf_of.iter().map(|s| s.subject.to_string()).collect(),
        }
    }
}

/// A bound value.
#[derive(Debug, Clone, Serialize)]
pub struct Value {
    /// The type's name.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The value as text; none is NULL.
    pub value: Option<String>,
}

impl From<&records::Parameter<'_>> for Value {
    fn from(parameter: &records::Parameter<'_>) -> Self {
        Value {
            type_name: parameter.type_name.to_string(),
            value: parameter.value.as_ref().map(|value| value.display().to_owned()),
        }
    }
}

/// A part of recorded bytes.
#[derive(Debug, Clone)]
pub enum Part {
    /// Bytes that were inside an entry, with their media type.
    Inline {
        /// What the bytes are.
        media: String,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A chunk object.
    Chunk {
        /// Its SHA-256 in hex: its name.
        sha256: String,
        /// Its length in bytes.
        bytes: u64,
    },
}

/// The result of one statement.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ResultSet {
    /// The command tag.
    pub tag: String,
    /// Rows.
    pub rows: u64,
    /// Name and type of every column.
    pub columns: Vec<(String, String)>,
}

/// What became of a command.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The entry's index in the log.
    pub index: u64,
    /// When.
    pub time: Timestamp,
    /// `ok`, `error`, `skipped`, `lost` …
    pub outcome: String,
    /// The error's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The error's message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Rows in all.
    pub rows: u64,
    /// Bytes that the target sent.
    pub bytes: u64,
    /// Bytes that the client sent as COPY data.
    pub input_bytes: u64,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// One for each statement.
    pub results: Vec<ResultSet>,
    /// Values masked in the answer, by entity.
    pub masked: BTreeMap<String, u64>,
    /// What the protocol adds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
    /// The recorded answer in order, if the reader asked to keep it.
    #[serde(skip)]
    pub parts: Vec<Part>,
}

impl Outcome {
    /// Rows that came back, or that were changed where none came back: as the server's command
    /// tags say.
    #[must_use]
    pub fn rows_touched(&self) -> u64 {
        let touched = |result: &ResultSet| match result.columns.is_empty() {
            true => {
                result.tag.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(result.rows)
            }
            false => result.rows,
        };
        self.results.iter().map(touched).fold(0, u64::saturating_add)
    }
}

/// A command and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct Exchange {
    /// The command's entry.
    pub index: u64,
    /// When it was asked for.
    pub time: Timestamp,
    /// Its session.
    pub session: String,
    /// Its number there.
    pub command: u64,
    /// Who asked.
    pub principal: Who,
    /// The target's name.
    pub target: String,
    /// How it was asked for.
    pub via: String,
    /// What it does.
    pub operation: String,
    /// Its most dangerous class.
    pub class: String,
    /// The statement, as the record keeps it (its beginning, if there are chunks).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its length in bytes before masking.
    pub text_bytes: u64,
    /// SHA-256 of the chunks that hold the statement, when it is long.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub text_chunks: Vec<String>,
    /// The same, to be fetched.
    #[serde(skip)]
    pub text_parts: Vec<Part>,
    /// Bound values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Value>,
    /// SHA-256 of the chunks that hold the bound values, when they are long.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameter_chunks: Vec<String>,
    /// The same, to be fetched.
    #[serde(skip)]
    pub parameter_parts: Vec<Part>,
    /// `allow`, `deny` or `hold`.
    pub verdict: String,
    /// The rule that decided.
    pub rule: String,
    /// Its reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// SHA-256 of the policy.
    pub policy: String,
    /// Values masked in statement and parameters, by entity.
    pub masked: BTreeMap<String, u64>,
    /// Which run of which agent it belongs to, in the client's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<records::Trace<'static>>,
    /// What the protocol adds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
    /// Where there is no outcome (yet): what is recorded of the answer, if the reader asked to
    /// keep it.
    #[serde(skip)]
    pub unfinished: Vec<Part>,
    /// What the client sent after the command (COPY data, a long body), as chunks, if the reader
    /// asked to keep it.
    #[serde(skip)]
    pub input_parts: Vec<Part>,
    /// What became of it; none: denied, or still under way when the record ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

impl Exchange {
    /// Its name: session and number.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.session, self.command)
    }

    /// Values masked in command and answer, by entity.
    #[must_use]
    pub fn all_masked(&self) -> BTreeMap<&str, u64> {
        let mut all = BTreeMap::new();
        let answer = self.outcome.iter().flat_map(|outcome| &outcome.masked);
        for (entity, count) in self.masked.iter().chain(answer) {
            *all.entry(entity.as_str()).or_default() += count;
        }
        all
    }

    /// What became of it, in a word.
    #[must_use]
    pub fn outcome_word(&self) -> &str {
        match &self.outcome {
            Some(outcome) => &outcome.outcome,
            None if self.verdict == "allow" => "unknown",
            None => "refused",
        }
    }
}

/// A client that got no session.
#[derive(Debug, Clone, Serialize)]
pub struct Refused {
    /// The entry.
    pub index: u64,
    /// When.
    pub time: Timestamp,
    /// The protocol.
    pub protocol: String,
    /// The client's address.
    pub peer: String,
    /// The target asked for.
    pub target: String,
    /// A fixed word for the cause.
    pub cause: String,
    /// The cause in a sentence.
    pub message: String,
    /// Who, where the credential was good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<Who>,
}

/// A session began.
#[derive(Debug, Clone, Serialize)]
pub struct SessionOpened {
    /// The entry.
    pub index: u64,
    /// When.
    pub time: Timestamp,
    /// Its id.
    pub session: String,
    /// The protocol.
    pub protocol: String,
    /// The target's name.
    pub target: String,
    /// Who.
    pub principal: Who,
    /// The identity mapping rule.
    pub identity_rule: String,
    /// The token's `jti`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// When the lease ends, in Unix seconds.
    pub lease_until: u64,
    /// The client's address.
    pub peer: String,
    /// What the protocol adds.
    pub details: BTreeMap<String, String>,
}

/// A session ended.
#[derive(Debug, Clone, Serialize)]
pub struct SessionClosed {
    /// The entry.
    pub index: u64,
    /// When.
    pub time: Timestamp,
    /// Its id.
    pub session: String,
    /// Why.
    pub reason: String,
    /// Commands asked for.
    pub commands: u64,
    /// Commands denied.
    pub denied: u64,
    /// Commands let through without an entry of their own.
    pub unrecorded: u64,
    /// What the protocol adds.
    pub details: BTreeMap<String, String>,
}

/// The proxy instance itself.
#[derive(Debug, Clone, Serialize)]
pub struct Instance {
    /// The entry.
    pub index: u64,
    /// When.
    pub time: Timestamp,
    /// `log_opened`, `log_sealed` or `config_loaded`.
    pub event: String,
    /// The particulars on one line.
    pub text: String,
}

/// An entry that this version can't read.
#[derive(Debug, Clone, Serialize)]
pub struct Unknown {
    /// The entry.
    pub index: u64,
    /// Why.
    pub why: String,
}
