//! `FORMAT binary`: a header, rows of counted fields, a trailer.

use super::{Buffers, CopyError, FieldFn, MAX_FIELDS, RowOut, Scanner, ask};
use crate::read::Reader;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags, length of the extension.
const FIXED_HEADER: usize = SIGNATURE.len() + 8;
/// Bits 16 to 31 of the flags are critical; the server sets none of them.
const CRITICAL_FLAGS: u32 = 0xffff_0000;
/// Longest header extension; the server writes none.
const MAX_EXTENSION: usize = 4_096;

/// Ends the rows: a field count of −1.
pub(super) const TRAILER: [u8; 2] = [0xff, 0xff];

/// Length of the header at the front of `data`, once it is complete.
pub(super) fn header_end(data: &[u8]) -> Result<Option<usize>, CopyError> {
    let seen = data.get(..SIGNATURE.len()).unwrap_or(data);
    if !SIGNATURE.starts_with(seen) {
        return Err(CopyError::Malformed("no binary signature"));
    }
    let Some((header, _)) = data.split_first_chunk::<FIXED_HEADER>() else { return Ok(None) };
    let mut r = Reader::new("COPY header", header.get(SIGNATURE.len()..).unwrap_or_default());
    let bad = |_| CopyError::Malformed("the header");
    let flags = r.u32("").map_err(bad)?;
    if flags & CRITICAL_FLAGS != 0 {
        return Err(CopyError::Malformed("a header flag that is not known"));
    }
    let extension = usize::try_from(r.u32("").map_err(bad)?).unwrap_or(usize::MAX);
    if extension > MAX_EXTENSION {
        return Err(CopyError::Malformed("the header is too long"));
    }
    let end = FIXED_HEADER + extension;
    Ok((data.len() >= end).then_some(end))
}

impl Scanner {
    /// Length of the row at the front of `data`, once it is complete.
    pub(super) fn binary_end(&mut self, data: &[u8]) -> Result<Option<usize>, CopyError> {
        let mut left = match self.fields_left {
            Some(left) => left,
            None => {
                let Some((count, _)) = data.split_first_chunk::<2>() else { return Ok(None) };
                if *count == TRAILER {
                    return Ok(Some(2));
                }
                let count = u16::from_be_bytes(*count);
                if usize::from(count) > MAX_FIELDS {
                    return Err(CopyError::TooManyFields);
                }
                self.at = 2;
                count
            }
        };
        while left > 0 {
            self.fields_left = Some(left);
            let rest = data.get(self.at..).and_then(|rest| rest.first_chunk::<4>());
            let Some(length) = rest else { return Ok(None) };
            let length = match i32::from_be_bytes(*length) {
                -1 => 0,
                n => usize::try_from(n).map_err(|_| CopyError::Malformed("a field's length"))?,
            };
            // May lie beyond what is here: then nothing more is looked at until it comes.
            self.at = self.at.saturating_add(4 + length);
            left -= 1;
        }
        self.fields_left = Some(0);
        Ok((data.len() >= self.at).then_some(self.at))
    }
}

/// Rewrites one row; says whether anything changed.
pub(super) fn row(
    row: &[u8],
    f: &mut FieldFn<'_>,
    buffers: &mut Buffers,
    out: &mut Vec<u8>,
) -> Result<bool, CopyError> {
    const BAD: CopyError = CopyError::Malformed("a row");
    let mut r = Reader::new("COPY row", row);
    let count = r.u16("").map_err(|_| BAD)?;
    let mut rewritten = RowOut::new(row);
    for column in 0..usize::from(count) {
        let start = row.len() - r.rest().len();
        let Some(value) = r.value("").map_err(|_| BAD)? else { continue };
        let end = row.len() - r.rest().len();
        if let Some(new) = ask(column, value, f, &mut buffers.new)? {
            rewritten.replace(start, end, out);
            crate::write::value(out, new).map_err(|_| CopyError::Denied { column })?;
        }
    }
    r.finish().map_err(|_| BAD)?;
    Ok(rewritten.finish(out))
}
