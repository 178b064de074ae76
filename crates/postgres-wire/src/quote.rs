//! How the server quotes elements of arrays, fields of records and bounds of ranges.

/// Appends one element of an array in text format, quoted if it must be.
pub(crate) fn push_array_element(out: &mut String, text: &str) {
    let special = |b: u8| matches!(b, b'{' | b'}' | b',' | b'"' | b'\\') || is_space(b);
    if text.is_empty() || text.eq_ignore_ascii_case("NULL") || text.bytes().any(special) {
        push_backslashed(out, text);
    } else {
        out.push_str(text);
    }
}

/// Appends one field of a record in text format, quoted if it must be.
pub(crate) fn push_record_field(out: &mut String, text: &str) {
    let special = |b: u8| matches!(b, b'(' | b')' | b',' | b'"' | b'\\') || is_space(b);
    if text.is_empty() || text.bytes().any(special) {
        push_doubled(out, text);
    } else {
        out.push_str(text);
    }
}

/// Appends a bound of a range in text format, quoted if it must be.
pub(crate) fn push_range_bound(out: &mut String, text: &str) {
    let special =
        |b: u8| matches!(b, b'(' | b')' | b'[' | b']' | b',' | b'"' | b'\\') || is_space(b);
    if text.is_empty() || text.bytes().any(special) {
        push_doubled(out, text);
    } else {
        out.push_str(text);
    }
}

/// The server's `isspace` for quoting: ASCII white space.
pub(crate) const fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn push_backslashed(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

fn push_doubled(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push(c);
        }
        out.push(c);
    }
    out.push('"');
}
