//! `FORMAT text`: a line a row; the delimiter, line ends and backslashes in content are
//! escaped by a backslash.

use super::{Buffers, CopyError, FieldFn, MAX_FIELDS, RowOut, Scanner, ask};

impl Scanner {
    /// A row ends at a newline: one in content is always written `\n`.
    pub(super) fn text_end(&mut self, data: &[u8]) -> Option<usize> {
        let found = memchr::memchr(b'\n', data.get(self.at..)?).map(|i| self.at + i + 1);
        self.at = data.len();
        found
    }
}

/// Rewrites one row with its line end; says whether anything changed.
pub(super) fn row(
    row: &[u8],
    delimiter: u8,
    null: &[u8],
    f: &mut FieldFn<'_>,
    buffers: &mut Buffers,
    out: &mut Vec<u8>,
) -> Result<bool, CopyError> {
    let line = row.strip_suffix(b"\n").ok_or(CopyError::Incomplete)?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut rewritten = RowOut::new(row);
    let mut start = 0;
    for column in 0.. {
        if column >= MAX_FIELDS {
            return Err(CopyError::TooManyFields);
        }
        let end = field_end(line, start, delimiter);
        let raw = line.get(start..end).unwrap_or_default();
        if raw != null {
            let content = if memchr::memchr(b'\\', raw).is_none() {
                raw
            } else {
                unescape(raw, &mut buffers.content)?;
                &buffers.content
            };
            if let Some(new) = ask(column, content, f, &mut buffers.new)? {
                rewritten.replace(start, end, out);
                match new {
                    Some(new) => escape(new, delimiter, out),
                    None => out.extend_from_slice(null),
                }
            }
        }
        if end >= line.len() {
            break;
        }
        // If the line ends with the delimiter, a last, empty field follows.
        start = end + 1;
    }
    Ok(rewritten.finish(out))
}

/// Where the field that begins at `start` ends: at a delimiter without a backslash.
fn field_end(line: &[u8], start: usize, delimiter: u8) -> usize {
    let mut at = start;
    while let Some(i) =
        line.get(at..).and_then(|rest| memchr::memchr2(delimiter, b'\\', rest)).map(|i| at + i)
    {
        if line.get(i) == Some(&delimiter) {
            return i;
        }
        at = i + 2;
    }
    line.len()
}

fn unescape(raw: &[u8], content: &mut Vec<u8>) -> Result<(), CopyError> {
    content.clear();
    let mut rest = raw;
    while let Some((&b, tail)) = rest.split_first() {
        rest = tail;
        if b != b'\\' {
            content.push(b);
            continue;
        }
        let (&b, tail) = tail.split_first().ok_or(CopyError::Malformed("a lone backslash"))?;
        rest = tail;
        content.push(match b {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'0'..=b'7' => digits(b, &mut rest, 8, 2),
            b'x' if rest.first().is_some_and(u8::is_ascii_hexdigit) => {
                digits(b'0', &mut rest, 16, 2)
            }
            b => b,
        });
    }
    Ok(())
}

/// The number that begins with `first` and goes on for up to `more` digits; the server
/// keeps the low eight bits.
fn digits(first: u8, rest: &mut &[u8], radix: u32, more: usize) -> u8 {
    let digit = |b: u8| char::from(b).to_digit(radix);
    let mut value = digit(first).unwrap_or(0);
    for _ in 0..more {
        let Some((d, tail)) = rest.split_first().and_then(|(b, t)| Some((digit(*b)?, t))) else {
            break;
        };
        value = value * radix + d;
        *rest = tail;
    }
    (value & 0xff) as u8
}

fn escape(content: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    for &b in content {
        let letter = match b {
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x0b => b'v',
            b'\\' => b'\\',
            b if b == delimiter => b,
            b => {
                out.push(b);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', letter]);
    }
}
