//! What becomes of a body's bytes on their way: as they are, or masked for the client and for the
//! record.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, StatusCode};
use http_content::coding::{ACCEPTED, CodingError, Codings, Decoder, Limits};
use http_content::media::{Charset, Kind};
use http_content::{BodyMasker, ContentError, Sides};
use masking::{Policy, Sink};
use terminal::frames;

use crate::body::BodyError;
use crate::mcp::McpAnswer;
use crate::problem::Told;
use crate::record;

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
    /// What is masked in them depends on what they are, which their end tells.
    Chosen(Box<Chosen>),
    /// The same as another, in a recording of frames: an upgrade was asked for, and not granted.
    Framed(Box<Content>),
}

/// The longest body that is held to see what it is, in bytes: objects of Kubernetes have 1.5 MiB.
const MAX_HELD_BYTES: usize = 4 * 1024 * 1024;

/// A body that is held until it is whole.
pub(crate) struct Chosen {
    held: Vec<u8>,
    /// Whether it is to be treated as the second.
    choose: fn(&[u8]) -> bool,
    ways: [Content; 2],
}

impl Chosen {
    fn push(&mut self, piece: &[u8]) -> Result<(), BodyError> {
        if self.held.len() + piece.len() > MAX_HELD_BYTES {
            return Err(BodyError::TooLarge);
        }
        self.held.extend_from_slice(piece);
        Ok(())
    }

    fn finish(&mut self) -> Result<Pair, BodyError> {
        let held = std::mem::take(&mut self.held);
        let [first, second] = &mut self.ways;
        let way = match (self.choose)(&held) {
            true => second,
            false => first,
        };
        let pair = way.push(&held)?;
        let mut pair = pair.unwrap_or_else(|| Pair { client: held.clone(), record: held });
        let rest = way.finish()?;
        pair.client.extend(rest.client);
        pair.record.extend(rest.record);
        Ok(pair)
    }
}

/// What a piece became.
#[derive(Debug, Default)]
pub(crate) struct Pair {
    pub(crate) client: Vec<u8>,
    pub(crate) record: Vec<u8>,
}

/// A body, searched as it passes: its codings are taken off, for good.
pub(crate) struct Masked {
    policy: Arc<Policy>,
    decoder: Option<Decoder>,
    masker: BodyMasker,
}

impl Masked {
    /// For a body with these fields, if anything is looked for in it.
    fn of(
        policy: &Arc<Policy>,
        fields: &HeaderMap,
        kind: &Kind,
        sides: Sides,
    ) -> Result<Option<Masked>, ContentError> {
        let codings = codings(fields)?;
        let masker = BodyMasker::new(kind, Charset::of(media(fields)), policy, sides)?;
        if masker.changes_nothing() {
            return Ok(None);
        }
        let decoder = (!codings.is_identity()).then(|| Decoder::new(&codings, Limits::default()));
        Ok(Some(Masked { policy: policy.clone(), decoder, masker }))
    }

    fn push(&mut self, piece: &[u8], pair: &mut Pair) -> Result<(), ContentError> {
        let Some(decoder) = &mut self.decoder else {
            return self.masker.push(piece, &mut pair.client, &mut pair.record);
        };
        let mut decoded = Vec::new();
        decoder.push(piece, &mut decoded)?;
        self.masker.push(&decoded, &mut pair.client, &mut pair.record)
    }

    fn finish(&mut self, pair: &mut Pair) -> Result<(), ContentError> {
        if let Some(decoder) = self.decoder.take() {
            decoder.finish()?;
        }
        self.masker.finish(&mut pair.client, &mut pair.record)
    }
}

/// What a body says that it is.
fn media(fields: &HeaderMap) -> Option<&str> {
    fields.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok())
}

/// The codings that a body's fields name.
fn codings(fields: &HeaderMap) -> Result<Codings, ContentError> {
    let all: Vec<&str> = fields
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .map(|value| value.to_str().map_err(|_| CodingError::Header))
        .collect::<Result<_, _>>()?;
    Ok(Codings::parse(&all.join(","))?)
}

/// What of a request's body the record may keep, as it passes to the target unchanged.
pub(crate) struct Kept(Option<Masked>);

impl Kept {
    /// For a body with these fields. What can't be searched may not be kept, so it is refused.
    pub(crate) fn of(policy: &Arc<Policy>, fields: &HeaderMap) -> Result<Kept, Told> {
        Kept::of_kind(policy, fields, &Kind::of(media(fields)))
    }

    /// The same, for a body of which it is known what it is.
    pub(crate) fn of_kind(
        policy: &Arc<Policy>,
        fields: &HeaderMap,
        kind: &Kind,
    ) -> Result<Kept, Told> {
        Masked::of(policy, fields, kind, Sides::Record).map(Kept).map_err(|_| Told::Coded)
    }

    /// What of a piece is to be kept.
    pub(crate) fn push<'a>(&mut self, piece: &'a [u8]) -> Result<Cow<'a, [u8]>, ContentError> {
        let Some(masked) = &mut self.0 else { return Ok(Cow::Borrowed(piece)) };
        let mut pair = Pair::default();
        masked.push(piece, &mut pair)?;
        Ok(Cow::Owned(pair.record))
    }

    /// What was held back until the end.
    pub(crate) fn finish(&mut self) -> Result<Vec<u8>, ContentError> {
        let mut pair = Pair::default();
        if let Some(masked) = &mut self.0 {
            masked.finish(&mut pair)?;
        }
        Ok(pair.record)
    }

    /// What was masked, by entity.
    pub(crate) fn counts(&self) -> BTreeMap<Cow<'static, str>, u64> {
        let count =
            |masked: &Masked| record::counted(&masked.policy, &masked.masker.counts().record);
        self.0.as_ref().map(count).unwrap_or_default()
    }
}

/// Whether anything is looked for in what passes.
pub(crate) fn looks(policy: &Policy) -> bool {
    policy.scans(Sink::Client) || policy.scans(Sink::Record) || policy.has_path_rules()
}

/// Asks the target for what can be masked: all of it, in codings that can be taken off.
pub(crate) fn ask_plainly(fields: &mut HeaderMap) {
    // An answer in which nothing is masked goes on as it came, so it must be one for the client.
    let known = |word: &&str| {
        let name = word.split(';').next().unwrap_or_default().trim();
        ACCEPTED.split(',').any(|it| it.trim().eq_ignore_ascii_case(name))
    };
    let both: Vec<String> = fields
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').filter(known).map(|word| word.trim().to_owned()))
        .collect();
    let both = HeaderValue::from_str(&both.join(", ")).ok().filter(|it| !it.is_empty());
    let wanted = both.unwrap_or(HeaderValue::from_static("identity"));
    fields.insert(header::ACCEPT_ENCODING, wanted);
    for name in [header::RANGE, header::IF_RANGE, header::IF_NONE_MATCH, header::IF_MATCH] {
        fields.remove(name);
    }
}

/// Asks the target for what is read here at once: not coded.
pub(crate) fn ask_uncoded(fields: &mut HeaderMap) {
    ask_plainly(fields);
    fields.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// Whether a body is coded.
pub(crate) fn is_coded(fields: &HeaderMap) -> bool {
    !codings(fields).is_ok_and(|codings| codings.is_identity())
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
        let kind = Kind::of(media(fields));
        Content::of_kind(policy, status, fields, &kind)
    }

    /// The same, for an answer of which it is known what it is.
    pub(crate) fn of_kind(
        policy: &Arc<Policy>,
        status: StatusCode,
        fields: &mut HeaderMap,
        kind: &Kind,
    ) -> Result<Content, Told> {
        if !looks(policy) {
            return Ok(Content::AsIs);
        }
        if status == StatusCode::PARTIAL_CONTENT {
            return Err(Told::Unmaskable);
        }
        match Masked::of(policy, fields, kind, Sides::Both) {
            Err(_) => Err(Told::Unmaskable),
            Ok(None) => Ok(Content::AsIs),
            Ok(Some(masked)) => {
                forget_the_bytes(fields);
                fields.remove(header::CONTENT_ENCODING);
                Ok(Content::Masked(Box::new(masked)))
            }
        }
    }

    /// The first, or, for a body of which that is so, the second.
    pub(crate) fn chosen(ways: [Content; 2], choose: fn(&[u8]) -> bool) -> Content {
        Content::Chosen(Box::new(Chosen { held: Vec::new(), choose, ways }))
    }

    /// The same, as part of a recording of frames.
    pub(crate) fn framed(self) -> Content {
        Content::Framed(Box::new(self))
    }

    /// Takes a piece. None: it stays as it is.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<Option<Pair>, BodyError> {
        match self {
            Content::AsIs => Ok(None),
            Content::Masked(masked) => {
                let mut pair = Pair::default();
                masked.push(piece, &mut pair)?;
                Ok(Some(pair))
            }
            Content::Mcp(answer) => answer.push(piece).map(Some),
            Content::Chosen(chosen) => chosen.push(piece).map(|()| Some(Pair::default())),
            Content::Framed(content) => {
                let pair = content.push(piece)?;
                let whole = || Pair { client: piece.to_vec(), record: piece.to_vec() };
                Ok(Some(frame(pair.unwrap_or_else(whole))))
            }
        }
    }

    /// What was held back until the end.
    pub(crate) fn finish(&mut self) -> Result<Pair, BodyError> {
        let mut pair = Pair::default();
        match self {
            Content::AsIs => {}
            Content::Masked(masked) => masked.finish(&mut pair)?,
            Content::Mcp(answer) => return answer.finish(),
            Content::Chosen(chosen) => return chosen.finish(),
            Content::Framed(content) => return content.finish().map(frame),
        }
        Ok(pair)
    }

    /// What is held back of lines that come one by one, judged as if none followed.
    pub(crate) fn settle(&mut self) -> Pair {
        let mut pair = Pair::default();
        match self {
            Content::Masked(masked) => {
                masked.masker.settle(&mut pair.client, &mut pair.record);
                pair
            }
            Content::Framed(content) => frame(content.settle()),
            Content::AsIs | Content::Mcp(_) | Content::Chosen(_) => pair,
        }
    }

    /// What the record says of it beside.
    pub(crate) fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Content::AsIs | Content::Masked(_) | Content::Chosen(_) => Vec::new(),
            Content::Mcp(answer) => answer.details(),
            Content::Framed(content) => content.details(),
        }
    }

    /// What was masked for the client, by entity.
    pub(crate) fn counts(&self) -> BTreeMap<Cow<'static, str>, u64> {
        match self {
            Content::AsIs => BTreeMap::new(),
            Content::Mcp(answer) => answer.counts(),
            // One of them saw nothing.
            Content::Chosen(chosen) => {
                let mut counts = BTreeMap::new();
                chosen.ways.iter().for_each(|way| counts.extend(way.counts()));
                counts
            }
            Content::Framed(content) => content.counts(),
            Content::Masked(masked) => {
                record::counted(&masked.policy, &masked.masker.counts().client)
            }
        }
    }
}

/// What is recorded of a piece, as a frame of what was printed.
fn frame(pair: Pair) -> Pair {
    let mut record = Vec::new();
    if !pair.record.is_empty() {
        frames::write(&mut record, 0, frames::Kind::Output, &pair.record);
    }
    Pair { record, ..pair }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codings_that_both_can_read_are_asked_for() {
        for (said, wanted) in [
            ("gzip, deflate, br;q=0.5, compress, *", "gzip, deflate, br;q=0.5"),
            ("compress", "identity"),
            ("", "identity"),
            ("GZIP", "GZIP"),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(header::ACCEPT_ENCODING, HeaderValue::from_str(said).unwrap());
            fields.insert(header::RANGE, HeaderValue::from_static("bytes=0-1"));
            ask_plainly(&mut fields);
            assert_eq!(fields[header::ACCEPT_ENCODING], wanted);
            assert!(!fields.contains_key(header::RANGE));
        }
    }
}
