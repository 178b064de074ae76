//! One cell.

use super::json::{is_json, repair};
use super::tokens::{ArrayTokens, Malformed, RecordTokens, Token, well_formed};
use super::{CellFn, CellOutcome};
use crate::frontend::Format;
use crate::oid::{self, TypeClass, class};
use crate::read::Reader;
use crate::value::{ArrayHeader, MAX_DEPTH, binary_text, can_encode, encode_binary, push_unhex};
use crate::write::patch;

/// Presents the text (or texts) of a value that is not NULL to `f`, and appends to `out`
/// the value with the answers put back, if there were any.
///
/// What `f` sees: text types, json, jsonb and values of unknown type in text format
/// their text; arrays each element; records each field (unknown types in text format
/// that are written like an array or a record, too); numbers their decimal digits;
/// bytea its bytes; any other built-in type its text, also from binary format.
///
/// What it may answer: for text anything without a NUL; for json a text that is json,
/// or was before a number in it was masked: what is no value any more becomes a string;
/// for numbers a number, or a text of the same length in which some digits are
/// something else (a mask character): those become `1`; for other types a text that
/// is a value of the type.
///
/// `out` has grown only if the answer is [`CellOutcome::Replaced`].
pub fn rewrite_cell(
    type_oid: u32,
    format: Format,
    value: &[u8],
    f: &mut CellFn<'_>,
    out: &mut Vec<u8>,
) -> CellOutcome {
    let start = out.len();
    let outcome = cell(type_oid, format, value, f, out, 0);
    if outcome != CellOutcome::Replaced {
        out.truncate(start);
    }
    outcome
}

fn cell(
    type_oid: u32,
    format: Format,
    value: &[u8],
    f: &mut CellFn<'_>,
    out: &mut Vec<u8>,
    depth: usize,
) -> CellOutcome {
    if depth > MAX_DEPTH {
        return CellOutcome::Opaque;
    }
    match (class(type_oid), format) {
        (TypeClass::Text, _) if type_oid != oid::JSONPATH => plain(type_oid, value, f, out),
        (TypeClass::Json, Format::Text) => json(value, f, out),
        (TypeClass::Json, Format::Binary) if type_oid == oid::JSON => json(value, f, out),
        (TypeClass::Json, Format::Binary) => match value.strip_prefix(&[1]) {
            Some(text) => {
                out.push(1);
                json(text, f, out)
            }
            None => CellOutcome::Opaque,
        },
        (TypeClass::Bytes, Format::Binary) => f(value, out),
        (TypeClass::Bytes, Format::Text) => bytea(value, f, out),
        (TypeClass::Array(element), Format::Text) => text_array(element, value, f, out, depth),
        (TypeClass::Array(_), Format::Binary) => binary_array(value, f, out, depth),
        (TypeClass::Record, Format::Text) => text_record(value, f, out, depth),
        (TypeClass::Record, Format::Binary) => binary_record(value, f, out, depth),
        (TypeClass::Unknown, Format::Text) => unknown(value, f, out, depth),
        (TypeClass::Unknown, Format::Binary) => CellOutcome::Opaque,
        _ => typed(type_oid, format, value, f, out),
    }
}

/// Text as it is.
#[inline]
fn plain(type_oid: u32, value: &[u8], f: &mut CellFn<'_>, out: &mut Vec<u8>) -> CellOutcome {
    let start = out.len();
    let outcome = f(value, out);
    if outcome != CellOutcome::Replaced {
        return outcome;
    }
    let new = out.get(start..).unwrap_or_default();
    let limit = match type_oid {
        oid::CHAR => 1,
        oid::NAME => 63,
        _ => usize::MAX,
    };
    fits(new.len() <= limit && memchr::memchr(0, new).is_none())
}

const fn fits(yes: bool) -> CellOutcome {
    if yes { CellOutcome::Replaced } else { CellOutcome::Unfit }
}

fn json(value: &[u8], f: &mut CellFn<'_>, out: &mut Vec<u8>) -> CellOutcome {
    let start = out.len();
    let outcome = f(value, out);
    if outcome != CellOutcome::Replaced {
        return outcome;
    }
    let new = out.get(start..).unwrap_or_default();
    if is_json(new) {
        return CellOutcome::Replaced;
    }
    let repaired = repair(new);
    out.truncate(start);
    fits(repaired.is_some_and(|made| {
        out.extend_from_slice(&made);
        true
    }))
}

/// `\x` and digits, or the old escape format.
fn bytea(value: &[u8], f: &mut CellFn<'_>, out: &mut Vec<u8>) -> CellOutcome {
    let mut raw = Vec::new();
    let understood = match value.strip_prefix(b"\\x") {
        Some(digits) => push_unhex(&mut raw, digits),
        None => unescape_bytea(value, &mut raw),
    };
    if understood.is_none() {
        return CellOutcome::Opaque;
    }
    let mut new = Vec::new();
    let outcome = f(&raw, &mut new);
    if outcome == CellOutcome::Replaced {
        let mut text = String::from("\\x");
        crate::value::push_hex(&mut text, &new);
        out.extend_from_slice(text.as_bytes());
    }
    outcome
}

fn unescape_bytea(value: &[u8], raw: &mut Vec<u8>) -> Option<()> {
    let mut rest = value;
    while let Some((&b, tail)) = rest.split_first() {
        rest = tail;
        if b != b'\\' {
            raw.push(b);
            continue;
        }
        match tail {
            [b'\\', tail @ ..] => {
                raw.push(b'\\');
                rest = tail;
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                raw.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = tail;
            }
            _ => return None,
        }
    }
    Some(())
}

/// A built-in type that is neither text nor nested: by its text.
fn typed(
    type_oid: u32,
    format: Format,
    value: &[u8],
    f: &mut CellFn<'_>,
    out: &mut Vec<u8>,
) -> CellOutcome {
    let mut decoded = String::new();
    let old = match format {
        Format::Text => value,
        Format::Binary => match binary_text(type_oid, value, &mut decoded, 0) {
            Some(()) => decoded.as_bytes(),
            None => return CellOutcome::Opaque,
        },
    };
    let mut new = Vec::new();
    let outcome = f(old, &mut new);
    if outcome != CellOutcome::Replaced {
        return outcome;
    }
    let number =
        matches!(class(type_oid), TypeClass::Integer | TypeClass::Numeric) || type_oid == oid::INT2;
    let as_given = put_typed(type_oid, format, &new, out);
    if as_given || !number {
        return fits(as_given);
    }
    fits(digits_in_place(old, &new).is_some_and(|n| put_typed(type_oid, format, &n, out)))
}

/// Appends `text` in the format, if it is a value of the type.
fn put_typed(type_oid: u32, format: Format, text: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(text) = std::str::from_utf8(text).ok().filter(|_| can_encode(type_oid)) else {
        return false;
    };
    let start = out.len();
    let ok = encode_binary(type_oid, text, out).is_ok();
    if ok && format == Format::Text {
        out.truncate(start);
        out.extend_from_slice(text.as_bytes());
    }
    ok
}

/// `new` with sign and point of `old` put back and every other non-digit a `1`: as many
/// digits as before, and not zeros, which a number would lose in front.
fn digits_in_place(old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    (old.len() == new.len()).then(|| {
        let pairs = old.iter().zip(new);
        pairs
            .map(|(o, n)| match (o.is_ascii_digit(), n.is_ascii_digit()) {
                (true, true) => *n,
                (true, false) => b'1',
                (false, _) => *o,
            })
            .collect()
    })
}

/// A type we don't know, in text format: perhaps a composite or an array of some type.
fn unknown(value: &[u8], f: &mut CellFn<'_>, out: &mut Vec<u8>, depth: usize) -> CellOutcome {
    match (value.first(), value.last()) {
        (Some(b'('), Some(b')')) if well_formed(RecordTokens::new(value)) => {
            text_record(value, f, out, depth)
        }
        (Some(b'{' | b'['), Some(b'}')) if well_formed(ArrayTokens::new(value)) => {
            text_array(oid::UNSPECIFIED, value, f, out, depth)
        }
        _ => plain(oid::UNSPECIFIED, value, f, out),
    }
}

fn text_array(
    element: u32,
    value: &[u8],
    f: &mut CellFn<'_>,
    out: &mut Vec<u8>,
    depth: usize,
) -> CellOutcome {
    if !well_formed(ArrayTokens::new(value)) {
        return CellOutcome::Opaque;
    }
    let quote = crate::quote::array_element;
    text_parts(element, ArrayTokens::new(value), (quote, b"NULL"), f, out, depth)
}

fn text_record(value: &[u8], f: &mut CellFn<'_>, out: &mut Vec<u8>, depth: usize) -> CellOutcome {
    if !well_formed(RecordTokens::new(value)) {
        return CellOutcome::Opaque;
    }
    let quote = crate::quote::record_field;
    text_parts(oid::UNSPECIFIED, RecordTokens::new(value), (quote, b""), f, out, depth)
}

type Quoting<'a> = (fn(&mut Vec<u8>, &[u8]), &'a [u8]);

fn text_parts<'a>(
    part: u32,
    tokens: impl Iterator<Item = Result<Token<'a>, Malformed>>,
    (quote, null): Quoting<'_>,
    f: &mut CellFn<'_>,
    out: &mut Vec<u8>,
    depth: usize,
) -> CellOutcome {
    let (mut sum, mut new) = (Sum::default(), Vec::new());
    for token in tokens {
        match token {
            Err(Malformed) => return CellOutcome::Opaque,
            Ok(Token::Verbatim(raw)) => out.extend_from_slice(raw),
            Ok(Token::Element(raw, text)) => {
                new.clear();
                let outcome = cell(part, Format::Text, &text, f, &mut new, depth + 1);
                match outcome {
                    CellOutcome::Replaced => quote(out, &new),
                    CellOutcome::Null => out.extend_from_slice(null),
                    CellOutcome::Same | CellOutcome::Opaque => out.extend_from_slice(raw),
                    CellOutcome::Deny | CellOutcome::Unfit => return outcome,
                }
                sum.add(outcome);
            }
        }
    }
    sum.outcome()
}

/// What the parts of a value add up to.
#[derive(Default)]
struct Sum {
    replaced: bool,
    opaque: bool,
}

impl Sum {
    const fn add(&mut self, outcome: CellOutcome) {
        match outcome {
            CellOutcome::Opaque => self.opaque = true,
            CellOutcome::Same => {}
            _ => self.replaced = true,
        }
    }

    const fn outcome(&self) -> CellOutcome {
        match (self.replaced, self.opaque) {
            (false, false) => CellOutcome::Same,
            (true, false) => CellOutcome::Replaced,
            (false, true) => CellOutcome::Opaque,
            // One part had to change and another could not be seen: not to be passed.
            (true, true) => CellOutcome::Unfit,
        }
    }
}

fn binary_array(value: &[u8], f: &mut CellFn<'_>, out: &mut Vec<u8>, depth: usize) -> CellOutcome {
    let mut r = Reader::new("array", value);
    let Some(header) = ArrayHeader::read(&mut r) else { return CellOutcome::Opaque };
    let head = out.len();
    out.extend_from_slice(value.get(..value.len() - r.rest().len()).unwrap_or_default());
    let mut sum = Sum::default();
    for _ in 0..header.count {
        match binary_part(header.element, &mut r, f, out, depth, &mut sum) {
            Some(Ok(())) => {}
            Some(Err(stop)) => return stop,
            None => return malformed(&sum),
        }
    }
    // There may be a NULL now that was none: the flag says "has NULLs".
    if sum.replaced && !patch(out, head + 4, 1u32.to_be_bytes()) {
        return CellOutcome::Unfit;
    }
    if r.finish().is_err() { malformed(&sum) } else { sum.outcome() }
}

fn binary_record(value: &[u8], f: &mut CellFn<'_>, out: &mut Vec<u8>, depth: usize) -> CellOutcome {
    let mut r = Reader::new("record", value);
    let Ok(count) = r.u32("") else { return CellOutcome::Opaque };
    out.extend_from_slice(&count.to_be_bytes());
    let mut sum = Sum::default();
    for _ in 0..count {
        let Ok(type_oid) = r.u32("") else { return malformed(&sum) };
        out.extend_from_slice(&type_oid.to_be_bytes());
        match binary_part(type_oid, &mut r, f, out, depth, &mut sum) {
            Some(Ok(())) => {}
            Some(Err(stop)) => return stop,
            None => return malformed(&sum),
        }
    }
    if r.finish().is_err() { malformed(&sum) } else { sum.outcome() }
}

/// A value that turns out malformed: if something in it had to go, it can't pass.
const fn malformed(sum: &Sum) -> CellOutcome {
    if sum.replaced { CellOutcome::Unfit } else { CellOutcome::Opaque }
}

/// One element or field behind its length. `None` if it is malformed.
fn binary_part(
    type_oid: u32,
    r: &mut Reader<'_>,
    f: &mut CellFn<'_>,
    out: &mut Vec<u8>,
    depth: usize,
    sum: &mut Sum,
) -> Option<Result<(), CellOutcome>> {
    let at = out.len();
    let Some(value) = r.value("").ok()? else {
        out.extend_from_slice(&(-1i32).to_be_bytes());
        return Some(Ok(()));
    };
    out.extend_from_slice(&[0; 4]);
    let outcome = cell(type_oid, Format::Binary, value, f, out, depth + 1);
    match outcome {
        CellOutcome::Replaced => {}
        CellOutcome::Same | CellOutcome::Opaque => {
            out.truncate(at + 4);
            out.extend_from_slice(value);
        }
        CellOutcome::Null => out.truncate(at + 4),
        CellOutcome::Deny | CellOutcome::Unfit => return Some(Err(outcome)),
    }
    sum.add(outcome);
    let length = match outcome {
        CellOutcome::Null => -1,
        _ => match i32::try_from(out.len().saturating_sub(at + 4)) {
            Ok(length) => length,
            Err(_) => return Some(Err(CellOutcome::Unfit)),
        },
    };
    patch(out, at, length.to_be_bytes()).then_some(Ok(()))
}
