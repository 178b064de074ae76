//! Arrays, ranges and records in binary format.

use crate::read::Reader;

/// Most dimensions of an array (`MAXDIM` of the server).
pub const MAX_DIMENSIONS: u32 = 6;

const EMPTY: u8 = 0x01;
const LOWER_INCLUSIVE: u8 = 0x02;
const UPPER_INCLUSIVE: u8 = 0x04;
const LOWER_INFINITE: u8 = 0x08;
const UPPER_INFINITE: u8 = 0x10;

/// What precedes the elements of a binary array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrayHeader {
    /// Type of the elements.
    pub element: u32,
    /// Length and lower bound of each dimension.
    pub dimensions: Vec<(u32, i32)>,
    /// Number of elements.
    pub count: usize,
}

impl ArrayHeader {
    /// Reads the header, leaving the reader at the first element. `None` if malformed:
    /// every element takes at least its length's four bytes, so the count is bounded
    /// by the value's size.
    pub fn read(r: &mut Reader<'_>) -> Option<Self> {
        let dims = r.u32("").ok()?;
        let _has_nulls = r.u32("").ok()?;
        let element = r.u32("").ok()?;
        if dims > MAX_DIMENSIONS {
            return None;
        }
        let mut dimensions = Vec::new();
        let mut count = usize::from(dims > 0);
        for _ in 0..dims {
            let (len, lower) = (r.u32("").ok()?, r.i32("").ok()?);
            count = count.checked_mul(usize::try_from(len).ok()?)?;
            dimensions.push((len, lower));
        }
        (count <= r.rest().len() / 4).then_some(Self { element, dimensions, count })
    }
}

/// Appends the text of an array.
pub(super) fn decode(bytes: &[u8], out: &mut String, depth: usize) -> Option<()> {
    use std::fmt::Write as _;
    let mut r = Reader::new("array", bytes);
    let header = ArrayHeader::read(&mut r)?;
    if header.count == 0 {
        out.push_str("{}");
        return r.finish().ok();
    }
    if header.dimensions.iter().any(|(_, lower)| *lower != 1) {
        for (len, lower) in &header.dimensions {
            let upper = i64::from(*lower) + i64::from(*len) - 1;
            write!(out, "[{lower}:{upper}]").ok()?;
        }
        out.push('=');
    }
    let mut element = String::new();
    for i in 0..header.count {
        // Braces open and close where a dimension begins and ends.
        let (mut block, mut opens, mut closes) = (1, 0, 0);
        for (len, _) in header.dimensions.iter().rev() {
            block *= usize::try_from(*len).ok()?;
            opens += usize::from(i % block == 0);
            closes += usize::from((i + 1) % block == 0);
        }
        if i > 0 {
            out.push(',');
        }
        out.extend(std::iter::repeat_n('{', opens));
        match r.value("").ok()? {
            None => out.push_str("NULL"),
            Some(value) => {
                element.clear();
                super::binary_text(header.element, value, &mut element, depth + 1)?;
                crate::quote::push_str(out, &element, crate::quote::array_element);
            }
        }
        out.extend(std::iter::repeat_n('}', closes));
        if out.len() > super::MAX_TEXT {
            return None;
        }
    }
    r.finish().ok()
}

/// Appends the text of a record.
pub(super) fn decode_record(bytes: &[u8], out: &mut String, depth: usize) -> Option<()> {
    let mut r = Reader::new("record", bytes);
    let count = r.u32("").ok()?;
    out.push('(');
    let mut field = String::new();
    for i in 0..count {
        if i > 0 {
            out.push(',');
        }
        let oid = r.u32("").ok()?;
        if let Some(value) = r.value("").ok()? {
            field.clear();
            super::binary_text(oid, value, &mut field, depth + 1)?;
            crate::quote::push_str(out, &field, crate::quote::record_field);
        }
    }
    out.push(')');
    r.finish().ok()
}

/// Appends the text of a range over `element`.
pub(super) fn decode_range(
    element: u32,
    bytes: &[u8],
    out: &mut String,
    depth: usize,
) -> Option<()> {
    let mut r = Reader::new("range", bytes);
    let flags = r.u8("").ok()?;
    if flags & EMPTY != 0 {
        out.push_str("empty");
        return r.finish().ok();
    }
    let mut bound = |out: &mut String| {
        let mut text = String::new();
        super::binary_text(element, r.value("").ok()??, &mut text, depth + 1)?;
        crate::quote::push_str(out, &text, crate::quote::range_bound);
        Some(())
    };
    out.push(if flags & LOWER_INCLUSIVE != 0 { '[' } else { '(' });
    if flags & LOWER_INFINITE == 0 {
        bound(out)?;
    }
    out.push(',');
    if flags & UPPER_INFINITE == 0 {
        bound(out)?;
    }
    out.push(if flags & UPPER_INCLUSIVE != 0 { ']' } else { ')' });
    r.finish().ok()
}
