//! COPY streams, row by row, however they are cut into CopyData messages.
//!
//! A [`CopyRewriter`] takes the payloads of a COPY ... TO STDOUT in order, presents each
//! field of each whole row to the caller's function, and gives back what may go on:
//! unchanged rows byte for byte, changed rows with the field put back in the stream's
//! own quoting. A row that is not complete yet is kept until it is.
//!
//! The stream carries no names or types: which column is what, the caller must
//! know from the statement. Text formats are read as an encoding in which a byte
//! below 0x80 is always an ASCII character (UTF-8, LATIN1, ...; not SJIS, BIG5, GBK).
//!
//! ```
//! use postgres_wire::{copy::{CopyFormat, CopyRewriter}, mask::CellOutcome};
//!
//! let mut rows = CopyRewriter::new(CopyFormat::text());
//! let mut hide_second = |column: usize, _: &[u8], out: &mut Vec<u8>| match column {
//!     1 => { out.push(b'*'); CellOutcome::Replaced }
//!     _ => CellOutcome::Same,
//! };
//! let mut out = Vec::new();
//! rows.push(b"1\tone\n2\tt", &mut hide_second, &mut out)?;
//! assert_eq!(out, b"1\t*\n");
//! rows.push(b"wo\n", &mut hide_second, &mut out)?;
//! rows.finish()?;
//! assert_eq!(out, b"1\t*\n2\t*\n");
//! # Ok::<(), postgres_wire::copy::CopyError>(())
//! ```

mod binary;
mod csv;
mod text;

use crate::mask::CellOutcome;

/// Longest row (or binary header) by default, in bytes: as long as a message may be
/// that has to be held whole.
pub const DEFAULT_MAX_ROW: usize = 64 * 1024 * 1024;
/// Most fields in a row; a table has at most 1,600 columns, a query 1,664.
pub const MAX_FIELDS: usize = 1_664;

/// How the rows are written. From the options of the COPY statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyFormat {
    /// `FORMAT text`.
    Text {
        /// `DELIMITER`, a tab by default.
        delimiter: u8,
        /// `NULL`, `\N` by default.
        null: Vec<u8>,
        /// `HEADER` (PostgreSQL 15): the first row holds names and is not presented.
        header: bool,
    },
    /// `FORMAT csv`.
    Csv {
        /// `DELIMITER`, a comma by default.
        delimiter: u8,
        /// `QUOTE`, `"` by default.
        quote: u8,
        /// `ESCAPE`, the quote by default.
        escape: u8,
        /// `NULL`, empty by default.
        null: Vec<u8>,
        /// `HEADER`: the first row holds names and is not presented.
        header: bool,
    },
    /// `FORMAT binary`.
    Binary,
}

impl CopyFormat {
    /// `FORMAT text` with the default options.
    pub fn text() -> Self {
        Self::Text { delimiter: b'\t', null: b"\\N".to_vec(), header: false }
    }

    /// `FORMAT csv` with the default options.
    pub const fn csv() -> Self {
        let (delimiter, quote) = (b',', b'"');
        Self::Csv { delimiter, quote, escape: quote, null: Vec::new(), header: false }
    }
}

/// The stream can't be followed: end the session, pass nothing on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// A row is longer than the limit (a matter of configuration).
    #[error("a row of COPY is longer than {0} bytes")]
    RowTooLong(usize),
    /// More than [`MAX_FIELDS`] fields. The fault is the server's, or the options are wrong.
    #[error("a row of COPY has more than {MAX_FIELDS} fields")]
    TooManyFields,
    /// The stream is not in the format that was said.
    #[error("the COPY stream is malformed: {0}")]
    Malformed(&'static str),
    /// The stream ended within a row.
    #[error("the COPY stream ended within a row")]
    Incomplete,
    /// The caller's function denied, or answered with something that the format or
    /// column can't hold.
    #[error("column {column} of the COPY stream must not be passed on")]
    Denied {
        /// Index of the column, from 0.
        column: usize,
    },
}

/// Looks at a field that is not NULL: column (from 0), content without quoting, and a
/// buffer for what takes its place. Answers as in [`crate::mask`]; `Opaque` passes,
/// `Unfit` denies. For binary format the content is the type's binary form.
pub type FieldFn<'f> = dyn FnMut(usize, &[u8], &mut Vec<u8>) -> CellOutcome + 'f;

/// Follows one COPY stream. After an error it must not be used again.
pub struct CopyRewriter {
    format: CopyFormat,
    max_row: usize,
    /// The beginning of a row that is not complete yet.
    pending: Vec<u8>,
    scanner: Scanner,
    rows: u64,
    /// True before the header row or the binary header.
    at_start: bool,
    /// True behind a binary stream's trailer.
    at_end: bool,
    buffers: Buffers,
}

impl std::fmt::Debug for CopyRewriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CopyRewriter({} rows, {} bytes pending)", self.rows, self.pending.len())
    }
}

/// Reused from field to field.
#[derive(Default)]
struct Buffers {
    content: Vec<u8>,
    new: Vec<u8>,
}

/// Where looking for a row's end has got to: nothing is looked at twice.
#[derive(Default, Clone, Copy)]
struct Scanner {
    /// Bytes of the row looked at.
    at: usize,
    in_quotes: bool,
    after_escape: bool,
    /// Binary: fields still to come, once the row's count is known.
    fields_left: Option<u16>,
}

impl CopyRewriter {
    /// A rewriter for a stream in this format, with [`DEFAULT_MAX_ROW`].
    pub fn new(format: CopyFormat) -> Self {
        Self::with_max_row(format, DEFAULT_MAX_ROW)
    }

    /// A rewriter that holds at most `max_row` bytes of a row.
    pub fn with_max_row(format: CopyFormat, max_row: usize) -> Self {
        let at_start = match &format {
            CopyFormat::Text { header, .. } | CopyFormat::Csv { header, .. } => *header,
            CopyFormat::Binary => true,
        };
        Self {
            format,
            max_row,
            pending: Vec::new(),
            scanner: Scanner::default(),
            rows: 0,
            at_start,
            at_end: false,
            buffers: Buffers::default(),
        }
    }

    /// Rows passed so far, headers not counted.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether whole rows were taken so far, and a header row if there is one: what comes next
    /// begins a row.
    pub const fn is_between_rows(&self) -> bool {
        self.pending.is_empty() && !self.at_start
    }

    /// Takes the payload of one CopyData and appends to `out` what may go on: whole
    /// rows, possibly none. Where messages began and ended means nothing in COPY.
    ///
    /// # Errors
    /// See [`CopyError`]; `out` then ends with the last good row.
    pub fn push(
        &mut self,
        payload: &[u8],
        f: &mut FieldFn<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), CopyError> {
        if self.pending.is_empty() {
            // The usual case: the payload is whole rows and is not copied.
            let used = self.rows_in(payload, f, out)?;
            self.pending.extend_from_slice(payload.get(used..).unwrap_or_default());
        } else {
            let mut buffer = std::mem::take(&mut self.pending);
            buffer.extend_from_slice(payload);
            let used = self.rows_in(&buffer, f, out)?;
            buffer.drain(..used);
            self.pending = buffer;
        }
        if self.pending.len() > self.max_row {
            return Err(CopyError::RowTooLong(self.max_row));
        }
        Ok(())
    }

    /// The stream has ended (CopyDone).
    ///
    /// # Errors
    /// Part of a row, or of a binary stream's header or trailer, is missing.
    pub const fn finish(&self) -> Result<(), CopyError> {
        let binary_cut = matches!(self.format, CopyFormat::Binary) && !self.at_end;
        if binary_cut || !self.pending.is_empty() {
            return Err(CopyError::Incomplete);
        }
        Ok(())
    }

    /// Handles the whole rows of `data`; gives how many bytes they take.
    fn rows_in(
        &mut self,
        data: &[u8],
        f: &mut FieldFn<'_>,
        out: &mut Vec<u8>,
    ) -> Result<usize, CopyError> {
        let mut used = 0;
        loop {
            let rest = data.get(used..).unwrap_or_default();
            let Some(len) = self.find_end(rest)? else { return Ok(used) };
            if len > self.max_row {
                return Err(CopyError::RowTooLong(self.max_row));
            }
            self.scanner = Scanner::default();
            let row = rest.get(..len).unwrap_or_default();
            let start = out.len();
            if let Err(error) = self.row(row, f, out) {
                out.truncate(start);
                return Err(error);
            }
            used += len;
        }
    }

    /// Length of the row at the front of `data`, once it is complete.
    fn find_end(&mut self, data: &[u8]) -> Result<Option<usize>, CopyError> {
        match &self.format {
            CopyFormat::Text { .. } => Ok(self.scanner.text_end(data)),
            CopyFormat::Csv { quote, escape, .. } => {
                Ok(self.scanner.csv_end(data, *quote, *escape))
            }
            CopyFormat::Binary if data.is_empty() => Ok(None),
            CopyFormat::Binary if self.at_end => {
                Err(CopyError::Malformed("bytes follow the trailer"))
            }
            CopyFormat::Binary if self.at_start => binary::header_end(data),
            CopyFormat::Binary => self.scanner.binary_end(data),
        }
    }

    fn row(&mut self, row: &[u8], f: &mut FieldFn<'_>, out: &mut Vec<u8>) -> Result<(), CopyError> {
        if std::mem::take(&mut self.at_start) {
            out.extend_from_slice(row);
            return Ok(());
        }
        let changed = match &self.format {
            CopyFormat::Text { delimiter, null, .. } => {
                text::row(row, *delimiter, null, f, &mut self.buffers, out)?
            }
            CopyFormat::Csv { delimiter, quote, escape, null, .. } => {
                let style =
                    csv::Style { delimiter: *delimiter, quote: *quote, escape: *escape, null };
                csv::row(row, style, f, &mut self.buffers, out)?
            }
            CopyFormat::Binary if row == binary::TRAILER => {
                self.at_end = true;
                out.extend_from_slice(row);
                return Ok(());
            }
            CopyFormat::Binary => binary::row(row, f, &mut self.buffers, out)?,
        };
        if !changed {
            out.extend_from_slice(row);
        }
        self.rows += 1;
        Ok(())
    }
}

/// Asks `f` about one field; `Some` with the new content (`None` inside is NULL) if it changes.
fn ask<'b>(
    column: usize,
    content: &[u8],
    f: &mut FieldFn<'_>,
    new: &'b mut Vec<u8>,
) -> Result<Option<Option<&'b [u8]>>, CopyError> {
    new.clear();
    match f(column, content, new) {
        CellOutcome::Same | CellOutcome::Opaque => Ok(None),
        CellOutcome::Replaced => Ok(Some(Some(new))),
        CellOutcome::Null => Ok(Some(None)),
        CellOutcome::Deny | CellOutcome::Unfit => Err(CopyError::Denied { column }),
    }
}

/// Puts a changed row together lazily: nothing is copied until a field changes.
struct RowOut<'a> {
    row: &'a [u8],
    /// Bytes of `row` that are already in `out`.
    copied: usize,
    changed: bool,
}

impl<'a> RowOut<'a> {
    const fn new(row: &'a [u8]) -> Self {
        Self { row, copied: 0, changed: false }
    }

    /// The bytes `from..to` of the row are about to be replaced by what is appended next.
    fn replace(&mut self, from: usize, to: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self.row.get(self.copied..from).unwrap_or_default());
        self.copied = to;
        self.changed = true;
    }

    /// Copies the rest, if anything changed; says whether it did.
    fn finish(self, out: &mut Vec<u8>) -> bool {
        if self.changed {
            out.extend_from_slice(self.row.get(self.copied..).unwrap_or_default());
        }
        self.changed
    }
}
