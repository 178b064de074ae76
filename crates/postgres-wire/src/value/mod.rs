//! Values as text: for the record, for detectors, and back.
//!
//! [`decode`] gives the text a value would have in text format, as the server
//! writes it with its default settings (`DateStyle` ISO, `IntervalStyle`
//! postgres, `bytea_output` hex, time zone UTC). [`encode_binary`] goes back.

mod array;
mod datetime;
mod encode;
mod float;
mod net;
mod numeric;

pub use array::{ArrayHeader, MAX_DIMENSIONS};
pub(crate) use encode::can_encode;
pub use encode::{EncodeError, encode_binary};

use crate::frontend::Format;
use crate::oid::{self, TypeClass};
use crate::read::Reader;

/// Deepest nesting of arrays, ranges and records that is followed.
pub const MAX_DEPTH: usize = 8;
/// Longest text made from a binary value, in bytes: a `numeric` of ten bytes can
/// stand for 130,000 digits, an array for a million of those. Longer ones are
/// given as hex of what came over the wire.
pub const MAX_TEXT: usize = 16 * 1024 * 1024;

/// A value made readable.
#[derive(Clone, PartialEq, Eq)]
pub enum Decoded {
    /// Its text.
    Text(String),
    /// Not decodable (unknown type in binary format, malformed, not UTF-8): the bytes
    /// in hexadecimal. The caller has the OID.
    Hex(String),
}

impl std::fmt::Debug for Decoded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be secrets.
        f.write_str(match self {
            Self::Text(_) => "Text(***)",
            Self::Hex(_) => "Hex(***)",
        })
    }
}

impl Decoded {
    /// The text or the hex digits.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(s) | Self::Hex(s) => s,
        }
    }

    /// True if the value was understood.
    pub const fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }
}

/// Makes a value (not NULL) readable. Never fails: what is not understood comes as hex.
///
/// ```
/// use postgres_wire::{Format, oid, value::decode};
///
/// assert_eq!(decode(oid::INT8, Format::Binary, &[0, 0, 0, 0, 0, 0, 0, 42]).as_str(), "42");
/// assert_eq!(decode(oid::DATE, Format::Binary, &[0, 0, 0, 0]).as_str(), "2000-01-01");
/// assert!(!decode(99999, Format::Binary, &[1]).is_text());
/// ```
pub fn decode(oid: u32, format: Format, bytes: &[u8]) -> Decoded {
    let mut text = String::new();
    let understood = match format {
        Format::Text => std::str::from_utf8(bytes).ok().map(|t| text.push_str(t)),
        Format::Binary => binary_text(oid, bytes, &mut text, 0),
    };
    if understood.is_some() {
        return Decoded::Text(text);
    }
    text.clear();
    push_hex(&mut text, bytes);
    Decoded::Hex(text)
}

/// Appends the text of a binary value; `None` if it is not understood (then `out`
/// holds rubbish at its end).
pub(crate) fn binary_text(oid: u32, bytes: &[u8], out: &mut String, depth: usize) -> Option<()> {
    if depth > MAX_DEPTH || out.len() > MAX_TEXT {
        return None;
    }
    match oid::class(oid) {
        TypeClass::Text if oid == oid::JSONPATH => {
            // a version byte, then text
            out.push_str(std::str::from_utf8(bytes.strip_prefix(&[1])?).ok()?);
        }
        TypeClass::Text => out.push_str(std::str::from_utf8(bytes).ok()?),
        TypeClass::Json => {
            let text = if oid == oid::JSONB { bytes.strip_prefix(&[1])? } else { bytes };
            out.push_str(std::str::from_utf8(text).ok()?);
        }
        TypeClass::Bytes => {
            out.push_str("\\x");
            push_hex(out, bytes);
        }
        TypeClass::Numeric => numeric::decode(bytes, out)?,
        TypeClass::Address => net::decode(oid, bytes, out)?,
        TypeClass::Array(_) => array::decode(bytes, out, depth)?,
        TypeClass::Record => array::decode_record(bytes, out, depth)?,
        TypeClass::Range(element) => array::decode_range(element, bytes, out, depth)?,
        TypeClass::Integer | TypeClass::Fixed => fixed(oid, bytes, out)?,
        TypeClass::Unknown => return None,
    }
    (out.len() <= MAX_TEXT).then_some(())
}

fn fixed(type_oid: u32, bytes: &[u8], out: &mut String) -> Option<()> {
    use std::fmt::Write as _;
    let mut r = Reader::new("value", bytes);
    match type_oid {
        oid::BOOL => out.push_str(match r.u8("").ok()? {
            0 => "f",
            1 => "t",
            _ => return None,
        }),
        oid::INT2 => write!(out, "{}", r.i16("").ok()?).ok()?,
        oid::INT4 => write!(out, "{}", r.i32("").ok()?).ok()?,
        oid::INT8 => write!(out, "{}", int8(&mut r)?).ok()?,
        oid::OID | oid::XID | oid::CID | oid::REGPROC | oid::REGCLASS | oid::REGTYPE => {
            write!(out, "{}", r.u32("").ok()?).ok()?;
        }
        oid::FLOAT4 => float::decode4(f32::from_bits(r.u32("").ok()?), out),
        oid::FLOAT8 => float::decode8(f64::from_bits(int8(&mut r)?.cast_unsigned()), out),
        oid::TID => {
            let (block, item) = (r.u32("").ok()?, r.u16("").ok()?);
            write!(out, "({block},{item})").ok()?;
        }
        oid::PG_LSN => write!(out, "{:X}/{:X}", r.u32("").ok()?, r.u32("").ok()?).ok()?,
        oid::UUID => {
            for (i, byte) in r.take(16, "").ok()?.iter().enumerate() {
                if matches!(i, 4 | 6 | 8 | 10) {
                    out.push('-');
                }
                push_hex(out, &[*byte]);
            }
        }
        oid::BIT | oid::VARBIT => {
            let bits = usize::try_from(r.i32("").ok()?).ok()?;
            let bytes = r.take(bits.div_ceil(8), "").ok()?;
            if out.len() + bits > MAX_TEXT {
                return None;
            }
            let all = bytes.iter().flat_map(|b| (0..8).rev().map(move |i| (b >> i) & 1));
            out.extend(all.take(bits).map(|bit| if bit == 1 { '1' } else { '0' }));
        }
        oid::DATE => datetime::date(r.i32("").ok()?, out)?,
        oid::TIME => datetime::time(int8(&mut r)?, out)?,
        oid::TIMETZ => {
            datetime::time(int8(&mut r)?, out)?;
            datetime::zone(r.i32("").ok()?, out)?;
        }
        oid::TIMESTAMP => datetime::timestamp(int8(&mut r)?, "", out)?,
        oid::TIMESTAMPTZ => datetime::timestamp(int8(&mut r)?, "+00", out)?,
        oid::INTERVAL => {
            let (micros, days, months) = (int8(&mut r)?, r.i32("").ok()?, r.i32("").ok()?);
            datetime::interval(micros, days, months, out)?;
        }
        _ => return None,
    }
    r.finish().ok()
}

fn int8(r: &mut Reader<'_>) -> Option<i64> {
    r.take(8, "").ok()?.first_chunk().map(|b| i64::from_be_bytes(*b))
}

/// Appends bytes as lower-case hexadecimal digits.
pub fn push_hex(out: &mut String, bytes: &[u8]) {
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.extend(char::from_digit(u32::from(nibble), 16));
        }
    }
}

/// Reads hexadecimal digits (an even number, either case) and appends the bytes.
pub(crate) fn push_unhex(out: &mut Vec<u8>, digits: &[u8]) -> Option<()> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    for [high, low] in pairs {
        let digit = |b: u8| char::from(b).to_digit(16);
        out.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
    }
    Some(())
}

/// Appends a JSON string, quotes included.
pub(crate) fn push_json_string(out: &mut String, text: &str) {
    use std::fmt::Write as _;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c)); // a String takes everything
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
