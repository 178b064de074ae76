//! `FORMAT csv`: fields may be quoted, and quoted ones may hold line ends.

use super::{Buffers, CopyError, FieldFn, MAX_FIELDS, RowOut, Scanner, ask};

/// The options a row is written with.
#[derive(Clone, Copy)]
pub(super) struct Style<'a> {
    pub(super) delimiter: u8,
    pub(super) quote: u8,
    pub(super) escape: u8,
    pub(super) null: &'a [u8],
}

impl Scanner {
    /// A row ends at a newline that is not inside quotes.
    pub(super) fn csv_end(&mut self, data: &[u8], quote: u8, escape: u8) -> Option<usize> {
        for (i, &b) in data.iter().enumerate().skip(self.at) {
            self.at = i + 1;
            if std::mem::take(&mut self.after_escape) {
                // Only a quote or the escape itself is escaped; the rest is as it is.
                if b == quote || b == escape {
                    continue;
                }
            }
            if self.in_quotes && b == escape && escape != quote {
                self.after_escape = true;
            } else if b == quote {
                // A doubled quote closes and opens again.
                self.in_quotes = !self.in_quotes;
            } else if b == b'\n' && !self.in_quotes {
                return Some(i + 1);
            }
        }
        None
    }
}

/// Rewrites one row with its line end; says whether anything changed.
pub(super) fn row(
    row: &[u8],
    style: Style<'_>,
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
        let (end, quoted) = field(line, start, style, &mut buffers.content)?;
        let raw = line.get(start..end).unwrap_or_default();
        // Only a field without quotes is NULL.
        if (quoted || raw != style.null)
            && let Some(new) = ask(column, &buffers.content, f, &mut buffers.new)?
        {
            rewritten.replace(start, end, out);
            match new {
                Some(new) => put(new, quoted, style, out),
                None => out.extend_from_slice(style.null),
            }
        }
        if end >= line.len() {
            break;
        }
        start = end + 1;
    }
    Ok(rewritten.finish(out))
}

/// Reads the field at `start` into `content`; gives its end and whether it had quotes.
fn field(
    line: &[u8],
    start: usize,
    style: Style<'_>,
    content: &mut Vec<u8>,
) -> Result<(usize, bool), CopyError> {
    content.clear();
    let (mut in_quotes, mut quoted) = (false, false);
    let mut bytes = line.iter().copied().enumerate().skip(start).peekable();
    while let Some((i, b)) = bytes.next() {
        let next = bytes.peek().map(|(_, b)| *b);
        if in_quotes
            && b == style.escape
            && let Some(next) = next.filter(|n| *n == style.quote || *n == style.escape)
        {
            content.push(next);
            bytes.next();
        } else if b == style.quote {
            in_quotes = !in_quotes;
            quoted = true;
        } else if b == style.delimiter && !in_quotes {
            return Ok((i, quoted));
        } else {
            content.push(b);
        }
    }
    if in_quotes {
        return Err(CopyError::Malformed("a quote is not closed"));
    }
    Ok((line.len(), quoted))
}

fn put(content: &[u8], was_quoted: bool, style: Style<'_>, out: &mut Vec<u8>) {
    let special = |b: &u8| {
        *b == style.delimiter
            || *b == style.quote
            || *b == style.escape
            || matches!(b, b'\n' | b'\r')
    };
    // `\.` alone on a line would end the data for older clients.
    let quote =
        was_quoted || content == style.null || content == b"\\." || content.iter().any(special);
    if !quote {
        out.extend_from_slice(content);
        return;
    }
    out.push(style.quote);
    for &b in content {
        if b == style.quote || b == style.escape {
            out.push(style.escape);
        }
        out.push(b);
    }
    out.push(style.quote);
}
