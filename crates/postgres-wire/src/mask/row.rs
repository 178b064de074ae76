//! Rows, errors and notices.

use super::CellOutcome;
use crate::backend::{DataRow, Diagnostic};
use crate::error::{WireError, WriteError};
use crate::frame::LARGE_MESSAGE_LIMIT;
use crate::read::Reader;
use crate::write;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOutcome {
    /// Nothing changed: forward the frame as it lies. Nothing was appended.
    Same,
    /// A whole new message was appended.
    Rewritten,
    /// It must not go out: the field at this index said so (or could not be replaced).
    Deny {
        /// Index of the field, from 0.
        field: usize,
    },
}

/// Rewrites DataRows, keeping its buffer from row to row.
#[derive(Debug, Default)]
pub struct RowRewriter {
    scratch: Vec<u8>,
}

impl RowRewriter {
    /// A rewriter with an empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Presents each field that is not NULL, with its index, to `f`. `f` usually calls
    /// [`super::rewrite_cell`] and maps `Opaque` and `Unfit` as its rules say; left
    /// unmapped, `Opaque` passes and `Unfit` denies.
    ///
    /// If a field changes, a new DataRow is appended to `out`, with all bytes of the
    /// others as they were.
    ///
    /// # Errors
    /// The body is not a DataRow; or it became too large, as a field that denies.
    pub fn rewrite(
        &mut self,
        body: &[u8],
        out: &mut Vec<u8>,
        mut f: impl FnMut(usize, &[u8], &mut Vec<u8>) -> CellOutcome,
    ) -> Result<RowOutcome, WireError> {
        let row = DataRow::read(body)?;
        let mut r = Reader::new("DataRow", body);
        r.u16("")?;
        let start = out.len();
        let mut changed = false;
        for field in 0..row.len() {
            let before = body.len() - r.rest().len();
            let value = r.value("")?;
            let after = body.len() - r.rest().len();
            self.scratch.clear();
            let outcome = value.map_or(CellOutcome::Same, |v| f(field, v, &mut self.scratch));
            let new = match outcome {
                CellOutcome::Same | CellOutcome::Opaque => {
                    if changed {
                        out.extend_from_slice(body.get(before..after).unwrap_or_default());
                    }
                    continue;
                }
                CellOutcome::Replaced => Some(self.scratch.as_slice()),
                CellOutcome::Null => None,
                CellOutcome::Deny | CellOutcome::Unfit => {
                    out.truncate(start);
                    return Ok(RowOutcome::Deny { field });
                }
            };
            if !changed {
                changed = true;
                out.extend_from_slice(&[b'D', 0, 0, 0, 0]);
                out.extend_from_slice(body.get(..before).unwrap_or_default());
            }
            if write::value(out, new).is_err() {
                out.truncate(start);
                return Ok(RowOutcome::Deny { field });
            }
        }
        if !changed {
            return Ok(RowOutcome::Same);
        }
        Ok(close(out, start, row.len()))
    }
}

/// Puts the length of the message that starts at `start` into its place.
fn close(out: &mut Vec<u8>, start: usize, fields: usize) -> RowOutcome {
    let length = out.len().saturating_sub(start + 1);
    let length = u32::try_from(length).ok().filter(|_| length <= LARGE_MESSAGE_LIMIT);
    if length.is_some_and(|n| write::patch(out, start + 1, n.to_be_bytes())) {
        return RowOutcome::Rewritten;
    }
    out.truncate(start);
    RowOutcome::Deny { field: fields.saturating_sub(1) }
}

/// Presents the fields of an ErrorResponse (`tag` `E`) or NoticeResponse (`N`) to `f`, by
/// their code; the message, detail, hint, context and internal query (`M D H W q`) may
/// hold values of rows. NULL as an answer empties the message and leaves other fields out.
///
/// # Errors
/// An answer holds a NUL byte or the message became too large: don't pass the original.
pub fn rewrite_diagnostic(
    tag: u8,
    diagnostic: &Diagnostic<'_>,
    out: &mut Vec<u8>,
    mut f: impl FnMut(u8, &[u8], &mut Vec<u8>) -> CellOutcome,
) -> Result<RowOutcome, WriteError> {
    let (mut changed, mut denied) = (false, None);
    let mut scratch = Vec::new();
    let start = out.len();
    write::message(out, tag, |out| {
        for (index, (code, text)) in diagnostic.fields().enumerate() {
            scratch.clear();
            let new: &[u8] = match f(code, text, &mut scratch) {
                CellOutcome::Same | CellOutcome::Opaque => text,
                CellOutcome::Replaced => {
                    changed = true;
                    &scratch
                }
                CellOutcome::Null => {
                    changed = true;
                    if code != b'M' {
                        continue;
                    }
                    b""
                }
                CellOutcome::Deny | CellOutcome::Unfit => {
                    denied = denied.or(Some(index));
                    text
                }
            };
            out.push(code);
            write::cstr(out, new, "a field's value")?;
        }
        out.push(0);
        Ok(())
    })?;
    if let Some(field) = denied {
        out.truncate(start);
        return Ok(RowOutcome::Deny { field });
    }
    if !changed {
        out.truncate(start);
        return Ok(RowOutcome::Same);
    }
    Ok(RowOutcome::Rewritten)
}
