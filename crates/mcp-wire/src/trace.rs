//! Which run of which agent a message belongs to (W3C Trace Context, W3C Baggage).
//!
//! The sender's own words: to follow a chain of calls by, not to trust.

use std::fmt;

use crate::keys;
use crate::message::{Id, Message};
use crate::value::Value;

/// Longest `baggage`, bytes (W3C Baggage, 3.3.2).
pub const MAX_BAGGAGE_BYTES: usize = 8192;
/// Most entries of `baggage` (W3C Baggage, 3.3.2); more are left out.
pub const MAX_BAGGAGE_ENTRIES: usize = 64;
/// Longest `tracestate` that is kept, bytes (W3C Trace Context, 3.3.1.5).
pub const MAX_TRACESTATE_BYTES: usize = 512;
/// Longest `traceparent` of a later version, bytes.
pub const MAX_TRACEPARENT_BYTES: usize = 256;

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

/// What a message says of the run that it belongs to. The fields are the sender's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// `traceparent`.
    pub parent: Option<TraceParent>,
    /// `tracestate`, as it was written.
    pub state: Option<String>,
    /// Entries of `baggage`, key and decoded value.
    pub baggage: Vec<(String, String)>,
    /// The token that progress of this request is told with.
    pub progress_token: Option<Id>,
}

/// Why a `traceparent` is none. To be ignored, as W3C Trace Context (4.3) asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct NotATraceParent;

impl TraceParent {
    /// Reads a header's value or a member of `_meta`: version 00, or what a later version has in
    /// common with it.
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
        write!(f, "00-{}-{}-{:02x}", hex(&self.trace_id), hex(&self.parent_id), self.flags)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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

/// The entries of a `baggage` (W3C Baggage, 3.3.1) that are well formed, without their properties;
/// nothing of one that is too long.
#[must_use]
pub fn baggage(text: &str) -> Vec<(String, String)> {
    if text.len() > MAX_BAGGAGE_BYTES {
        return Vec::new();
    }
    text.split(',').filter_map(entry).take(MAX_BAGGAGE_ENTRIES).collect()
}

fn entry(text: &str) -> Option<(String, String)> {
    let member = text.split(';').next()?;
    let (key, value) = member.split_once('=')?;
    let blanks = |it: char| it == ' ' || it == '\t';
    let (key, value) = (key.trim_matches(blanks), value.trim_matches(blanks));
    let token = !key.is_empty() && key.bytes().all(keys::is_token);
    let plain = value.bytes().all(|it| it.is_ascii_graphic() && !matches!(it, b'"' | b'\\'));
    (token && plain).then(|| (key.to_owned(), percent_decoded(value)))
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

/// What a message's `_meta` says of the run that it belongs to; none if it says nothing that can be
/// read.
#[must_use]
pub fn trace_of(message: &Message) -> Option<Trace> {
    let meta = message.meta()?;
    let text = |key: &str| meta.get(key).and_then(Value::as_str);
    let state = text("tracestate").filter(|it| {
        it.len() <= MAX_TRACESTATE_BYTES && it.bytes().all(|it| matches!(it, 0x20..=0x7e))
    });
    let trace = Trace {
        parent: text("traceparent").and_then(|it| TraceParent::parse(it).ok()),
        state: state.map(str::to_owned),
        baggage: text("baggage").map(baggage).unwrap_or_default(),
        progress_token: meta.get("progressToken").and_then(Id::from_value),
    };
    (trace != Trace::default()).then_some(trace)
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

    #[test]
    fn baggage_is_read_as_w3c_writes_it() {
        let read = baggage("userId=alice,serverNode = DF%2028,isProduction=false;x=1;y , =no, bad");
        let want = [("userId", "alice"), ("serverNode", "DF 28"), ("isProduction", "false")];
        let read: Vec<(&str, &str)> = read.iter().map(|(key, value)| (&**key, &**value)).collect();
        assert_eq!(read, want);
        assert_eq!(baggage("a=%ff%4"), [("a".to_owned(), "\u{fffd}%4".to_owned())]);
        assert_eq!(baggage(&"a=b,".repeat(100)).len(), MAX_BAGGAGE_ENTRIES);
        assert_eq!(baggage(&"a".repeat(MAX_BAGGAGE_BYTES + 1)), []);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,80}", start in 0_usize..60) {
            let _ = (TraceParent::parse(&text), baggage(&text));
            let mixed: String = SAMPLE.chars().take(start).chain(text.chars()).collect();
            if let Ok(parent) = TraceParent::parse(&mixed) {
                prop_assert_eq!(TraceParent::parse(&parent.to_string()), Ok(parent));
            }
        }
    }
}
