//! Which run of which agent a command belongs to (W3C Trace Context, W3C Baggage): one reading
//! for every protocol.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::hex;

/// Longest `traceparent` of a later version, bytes.
pub const MAX_TRACEPARENT_BYTES: usize = 256;
/// Longest `tracestate` that is kept, bytes (W3C Trace Context, 3.3.1.5).
pub const MAX_TRACESTATE_BYTES: usize = 512;
/// Longest `baggage` that is read, bytes (W3C Baggage, 3.3.2).
pub const MAX_BAGGAGE_BYTES: usize = 8192;
/// Most entries of `baggage` that are read (W3C Baggage, 3.3.2).
pub const MAX_BAGGAGE_ENTRIES: usize = 64;
/// The most of `baggage` that a command's entry keeps, keys and decoded values together, in
/// bytes: beside the longest text and parameters it must fit an entry.
pub const MAX_KEPT_BAGGAGE: usize = 1024;

/// Which run of which agent a command belongs to. The client's own words: to follow a chain of
/// commands by, not to trust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace<'a> {
    /// The whole chain's id, 32 hex digits.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// The id of the step that called, 16 hex digits.
    pub parent: Cow<'a, str>,
    /// Flags, 2 hex digits; `01`: sampled.
    pub flags: Cow<'a, str>,
    /// `tracestate`, masked for the record; absent when there was none, or none that may be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Cow<'a, str>>,
    /// Entries of `baggage` (an agent's run, turn and tool call, for example), values decoded and
    /// masked for the record.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub baggage: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// Entries of `baggage` beyond [`MAX_KEPT_BAGGAGE`] and [`MAX_BAGGAGE_ENTRIES`], not kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Trace<'_> {
    /// Reads what a client says: the values of `traceparent`, `tracestate` and `baggage`. None
    /// without a good `traceparent`: what is none is ignored, and `tracestate` with it, as W3C
    /// Trace Context (4.3) asks.
    #[must_use]
    pub fn read(
        parent: &str,
        state: Option<&str>,
        baggage: Option<&str>,
    ) -> Option<Trace<'static>> {
        let parent = TraceParent::parse(parent).ok()?;
        let printable = |it: &&str| {
            !it.is_empty()
                && it.len() <= MAX_TRACESTATE_BYTES
                && it.bytes().all(|it| matches!(it, b' '..=b'~'))
        };
        let (baggage, left_out) = baggage.map(kept).unwrap_or_default();
        Some(Trace {
            id: parent.trace_id_hex().into(),
            parent: parent.parent_id_hex().into(),
            flags: hex(&[parent.flags]).into(),
            state: state.filter(printable).map(|it| it.to_owned().into()),
            baggage,
            left_out,
        })
    }

    /// The same with every text that the client chose freely as the record may keep it. `mask`
    /// gives what stands in a text's place; none: it stays.
    #[must_use]
    pub fn masked(mut self, mut mask: impl FnMut(&str) -> Option<String>) -> Self {
        if let Some(masked) = self.state.as_deref().and_then(&mut mask) {
            self.state = Some(masked.into());
        }
        let baggage = std::mem::take(&mut self.baggage).into_iter().map(|(key, value)| {
            let key = mask(&key).map_or(key, Cow::Owned);
            let value = mask(&value).map_or(value, Cow::Owned);
            (key, value)
        });
        self.baggage = baggage.collect();
        self
    }
}

type Baggage = BTreeMap<Cow<'static, str>, Cow<'static, str>>;

/// What of a `baggage` is kept, and how many entries are not. Of a key twice the last counts.
fn kept(text: &str) -> (Baggage, u64) {
    let (mut all, mut bytes, mut left_out) = (Baggage::new(), 0, 0);
    if text.len() > MAX_BAGGAGE_BYTES {
        return (all, text.split(',').count() as u64);
    }
    for (key, value) in text.split(',').filter_map(entry) {
        bytes += key.len() + value.len();
        if bytes > MAX_KEPT_BAGGAGE || all.len() >= MAX_BAGGAGE_ENTRIES {
            left_out += 1;
            continue;
        }
        all.insert(key.into(), value.into());
    }
    (all, left_out)
}

/// A well-formed entry (W3C Baggage, 3.3.1), without its properties.
fn entry(text: &str) -> Option<(String, String)> {
    let member = text.split(';').next()?;
    let (key, value) = member.split_once('=')?;
    let blanks = |it: char| it == ' ' || it == '\t';
    let (key, value) = (key.trim_matches(blanks), value.trim_matches(blanks));
    // A token (RFC 9110, 5.6.2).
    let token = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
    let named = !key.is_empty() && key.bytes().all(token);
    let plain = value.bytes().all(|it| it.is_ascii_graphic() && !matches!(it, b'"' | b'\\'));
    (named && plain).then(|| (key.to_owned(), percent_decoded(value)))
}

/// Decodes `%41`; what is no such thing stays, and bytes that are no text become U+FFFD, as W3C
/// Baggage (3.3.1.3) asks.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let value = digits.and_then(|it| std::str::from_utf8(it).ok());
        let plain = value.filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()));
        match plain.and_then(|it| u8::from_str_radix(it, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A `traceparent` (W3C Trace Context, 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    /// The whole chain. Not all zero.
    pub trace_id: [u8; 16],
    /// The step that called. Not all zero.
    pub parent_id: [u8; 8],
    /// Flags; 1: sampled.
    pub flags: u8,
}

/// Why a `traceparent` is none. The client's fault, and to be ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct NotATraceParent;

impl TraceParent {
    /// Reads version 00, or what a later version has in common with it.
    ///
    /// # Errors
    /// Anything else; the sender's fault.
    pub fn parse(text: &str) -> Result<Self, NotATraceParent> {
        let bytes = text.as_bytes();
        if bytes.len() > MAX_TRACEPARENT_BYTES {
            return Err(NotATraceParent);
        }
        let (fields, later) = bytes.split_at_checked(55).ok_or(NotATraceParent)?;
        let mut fields = fields.split(|byte| *byte == b'-');
        let mut next = || fields.next().ok_or(NotATraceParent);
        let [version] = read_hex(next()?)?;
        let trace_id: [u8; 16] = read_hex(next()?)?;
        let parent_id: [u8; 8] = read_hex(next()?)?;
        let [flags] = read_hex(next()?)?;
        let ends = later.is_empty() || version > 0 && later.first() == Some(&b'-');
        if version == 0xff || !ends || trace_id == [0; 16] || parent_id == [0; 8] {
            return Err(NotATraceParent);
        }
        Ok(Self { trace_id, parent_id, flags })
    }

    /// The trace's id, 32 lower-case digits.
    #[must_use]
    pub fn trace_id_hex(&self) -> String {
        hex(&self.trace_id)
    }

    /// The calling step's id, 16 lower-case digits.
    #[must_use]
    pub fn parent_id_hex(&self) -> String {
        hex(&self.parent_id)
    }
}

impl fmt::Display for TraceParent {
    /// As version 00 writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id_hex(), self.parent_id_hex(), self.flags)
    }
}

/// Exactly `N` bytes in lower-case digits.
fn read_hex<const N: usize>(text: &[u8]) -> Result<[u8; N], NotATraceParent> {
    if text.len() != 2 * N {
        return Err(NotATraceParent);
    }
    let digit = |byte: Option<&u8>| match byte {
        Some(byte @ b'0'..=b'9') => Ok(byte - b'0'),
        Some(byte @ b'a'..=b'f') => Ok(byte - b'a' + 10),
        _ => Err(NotATraceParent),
    };
    let mut out = [0; N];
    for (place, pair) in out.iter_mut().zip(text.chunks(2)) {
        *place = digit(pair.first())? << 4 | digit(pair.get(1))?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_strictly() {
        let parent = TraceParent::parse(SAMPLE).unwrap();
        assert_eq!(parent.trace_id_hex(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(parent.parent_id_hex(), "00f067aa0ba902b7");
        assert_eq!((parent.flags, parent.to_string()), (1, SAMPLE.to_owned()));
        let later = SAMPLE.replacen("00", "cc", 1);
        for text in [later.clone(), format!("{later}-what-ever"), format!("{later}-")] {
            assert_eq!(TraceParent::parse(&text), Ok(parent), "{text}");
        }
        for text in [
            String::new(),
            format!("{SAMPLE}-"),
            format!("{SAMPLE} "),
            format!("{later}x"),
            SAMPLE.to_uppercase(),
            SAMPLE.replacen("00", "ff", 1),
            SAMPLE.replace('-', "_"),
            SAMPLE.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            SAMPLE.replace("00f067aa0ba902b7", &"0".repeat(16)),
            SAMPLE.replace("0af", "-0af").replace("-01", "-1"),
            SAMPLE.replace("b7", "é"),
            format!("{later}-{}", "x".repeat(MAX_TRACEPARENT_BYTES)),
        ] {
            assert_eq!(TraceParent::parse(&text), Err(NotATraceParent), "{text}");
        }
    }

    fn baggage(text: &str) -> (Vec<(String, String)>, u64) {
        let trace = Trace::read(SAMPLE, None, Some(text)).unwrap();
        let pairs = trace.baggage.into_iter().map(|(key, value)| (key.into(), value.into()));
        (pairs.collect(), trace.left_out)
    }

    #[test]
    fn baggage_is_read_as_w3c_writes_it() {
        let read = baggage("userId=alice,serverNode = DF%2028,isProduction=false;x=1;y , =no, bad");
        let want = [("isProduction", "false"), ("serverNode", "DF 28"), ("userId", "alice")];
        let want = want.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(read, (want.to_vec(), 0));
        assert_eq!(baggage("a=%ff%4"), (vec![("a".to_owned(), "\u{fffd}%4".to_owned())], 0));
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_rest_is_counted() {
        let long: Vec<String> = (0..100).map(|it| format!("k{it}=v")).collect();
        let (kept, left_out) = baggage(&long.join(","));
        assert_eq!((kept.len(), left_out), (MAX_BAGGAGE_ENTRIES, 36));
        let (kept, left_out) = baggage(&format!("a=1,b={},c=2", "x".repeat(MAX_KEPT_BAGGAGE)));
        assert_eq!((kept.len(), left_out), (1, 2));
        assert_eq!(baggage(&"a=b,".repeat(MAX_BAGGAGE_BYTES)), (vec![], 8193));
        let state = |text: &str| Trace::read(SAMPLE, Some(text), None).unwrap().state;
        assert_eq!(state("a=1,b=2").as_deref(), Some("a=1,b=2"));
        assert_eq!(state(&"x".repeat(MAX_TRACESTATE_BYTES + 1)), None);
        assert_eq!((state(""), state("a\n")), (None, None));
    }

    #[test]
    fn without_a_traceparent_there_is_nothing() {
        assert_eq!(Trace::read("", Some("a=1"), Some("b=2")), None);
        assert_eq!(Trace::read(&SAMPLE.to_uppercase(), Some("a=1"), None), None);
    }

    #[test]
    fn what_a_client_chose_is_masked() {
        let trace = Trace::read(SAMPLE, Some("s=secret"), Some("run=7,who=secret")).unwrap();
        let masked = trace.masked(|text| text.contains("secret").then(|| "***".to_owned()));
        assert_eq!(masked.state.as_deref(), Some("***"));
        assert_eq!((&*masked.baggage["run"], &*masked.baggage["who"]), ("7", "***"));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,80}", start in 0_usize..60) {
            let _ = Trace::read(SAMPLE, Some(&text), Some(&text));
            let mixed: String = SAMPLE.chars().take(start).chain(text.chars()).collect();
            if let Ok(parent) = TraceParent::parse(&mixed) {
                prop_assert_eq!(TraceParent::parse(&parent.to_string()), Ok(parent));
            }
        }
    }
}
