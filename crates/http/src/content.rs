//! What becomes of an answer's bytes on their way: as they are, or masked for the client and for
//! the record.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, StatusCode};
use masking::{Policy, Sink, StreamMasker};

use crate::body::BodyError;
use crate::mcp::McpAnswer;
use crate::problem::Told;

/// Fields that say something of bytes which masking may change.
const OF_THE_BYTES: [HeaderName; 4] =
    [header::CONTENT_LENGTH, header::ETAG, header::ACCEPT_RANGES, header::CONTENT_RANGE];
/// The same, that the library has no names for (RFC 9530, RFC 1864).
const WORDS_OF_THE_BYTES: [&str; 5] =
    ["content-md5", "digest", "content-digest", "repr-digest", "x-checksum-sha256"];

/// What becomes of an answer's bytes.
pub(crate) enum Content {
    /// Nothing.
    AsIs,
    /// They are masked, twice.
    Masked(Box<Masked>),
    /// They are messages of MCP.
    Mcp(Box<McpAnswer>),
}

/// What a piece became.
#[derive(Debug, Default)]
pub(crate) struct Pair {
    pub(crate) client: Vec<u8>,
    pub(crate) record: Vec<u8>,
}

/// Text, searched as it passes.
pub(crate) struct Masked {
    policy: Arc<Policy>,
    client: StreamMasker,
    record: StreamMasker,
}

/// Whether anything is looked for in what passes.
pub(crate) fn looks(policy: &Policy) -> bool {
    policy.scans(Sink::Client) || policy.scans(Sink::Record)
}

/// Asks the target for what can be masked: all of it, and not coded.
pub(crate) fn ask_plainly(fields: &mut HeaderMap) {
    fields.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for name in [header::RANGE, header::IF_RANGE, header::IF_NONE_MATCH, header::IF_MATCH] {
        fields.remove(name);
    }
}

/// Whether a body is coded, so that nothing would be found in it.
pub(crate) fn is_coded(fields: &HeaderMap) -> bool {
    fields.get_all(header::CONTENT_ENCODING).iter().any(|value| {
        let words = value.to_str().unwrap_or("unknown");
        words.split(',').any(|word| !word.trim().eq_ignore_ascii_case("identity"))
    })
}

/// Takes out fields that say something of bytes which will be others.
pub(crate) fn forget_the_bytes(fields: &mut HeaderMap) {
    for name in &OF_THE_BYTES {
        fields.remove(name);
    }
    for name in WORDS_OF_THE_BYTES {
        fields.remove(name);
    }
}

impl Content {
    /// What is to be done with an answer; its fields are changed accordingly.
    pub(crate) fn of(
        policy: &Arc<Policy>,
        status: StatusCode,
        fields: &mut HeaderMap,
    ) -> Result<Content, Told> {
        if !looks(policy) {
            return Ok(Content::AsIs);
        }
        if is_coded(fields) || status == StatusCode::PARTIAL_CONTENT {
            return Err(Told::Unmaskable);
        }
        forget_the_bytes(fields);
        let (client, record) = (policy.stream(Sink::Client), policy.stream(Sink::Record));
        Ok(Content::Masked(Box::new(Masked { policy: policy.clone(), client, record })))
    }

    /// Takes a piece. None: it stays as it is.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<Option<Pair>, BodyError> {
        match self {
            Content::AsIs => Ok(None),
            Content::Masked(masked) => {
                let mut pair = Pair::default();
                masked.client.push(piece, &mut pair.client);
                masked.record.push(piece, &mut pair.record);
                Ok(Some(pair))
            }
            Content::Mcp(answer) => answer.push(piece).map(Some),
        }
    }

    /// What was held back until the end.
    pub(crate) fn finish(&mut self) -> Result<Pair, BodyError> {
        let mut pair = Pair::default();
        match self {
            Content::AsIs => {}
            Content::Masked(masked) => {
                masked.client.finish(&mut pair.client);
                masked.record.finish(&mut pair.record);
            }
            Content::Mcp(answer) => return answer.finish(),
        }
        Ok(pair)
    }

    /// What the record says of it beside.
    pub(crate) fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Content::AsIs | Content::Masked(_) => Vec::new(),
            Content::Mcp(answer) => answer.details(),
        }
    }

    /// What was masked for the client, by entity.
    pub(crate) fn counts(&self) -> BTreeMap<Cow<'static, str>, u64> {
        match self {
            Content::AsIs => BTreeMap::new(),
            Content::Mcp(answer) => answer.counts(),
            Content::Masked(masked) => {
                let name = |entity| Cow::Owned(masked.policy.entity_name(entity).to_owned());
                let counts = masked.client.receipt().counts();
                counts.map(|(entity, count)| (name(entity), count)).collect()
            }
        }
    }
}
