//! How the server quotes elements of arrays, fields of records and bounds of ranges.

/// Appends one element of an array in text format, quoted if it must be.
pub(crate) fn array_element(out: &mut Vec<u8>, text: &[u8]) {
    let special = |b: &u8| matches!(b, b'{' | b'}' | b',' | b'"' | b'\\') || is_space(*b);
    if !text.is_empty() && !text.eq_ignore_ascii_case(b"NULL") && !text.iter().any(special) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for &b in text {
        if matches!(b, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(b);
    }
    out.push(b'"');
}

/// Appends one field of a record in text format, quoted if it must be.
pub(crate) fn record_field(out: &mut Vec<u8>, text: &[u8]) {
    doubled(out, text, |b| matches!(b, b'(' | b')' | b',' | b'"' | b'\\') || is_space(b));
}

/// Appends a bound of a range in text format, quoted if it must be.
pub(crate) fn range_bound(out: &mut Vec<u8>, text: &[u8]) {
    let special = |b| matches!(b, b'(' | b')' | b'[' | b']' | b',' | b'"' | b'\\') || is_space(b);
    doubled(out, text, special);
}

/// The server's `isspace` for quoting: ASCII white space.
pub(crate) const fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn doubled(out: &mut Vec<u8>, text: &[u8], special: impl Fn(u8) -> bool) {
    if !text.is_empty() && !text.iter().any(|b| special(*b)) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for &b in text {
        if matches!(b, b'"' | b'\\') {
            out.push(b);
        }
        out.push(b);
    }
    out.push(b'"');
}

/// Appends what `quote` makes of `text` to a `String`: quoting only adds ASCII.
pub(crate) fn push_str(out: &mut String, text: &str, quote: fn(&mut Vec<u8>, &[u8])) {
    let mut bytes = Vec::with_capacity(text.len() + 2);
    quote(&mut bytes, text.as_bytes());
    out.push_str(&String::from_utf8_lossy(&bytes));
}
