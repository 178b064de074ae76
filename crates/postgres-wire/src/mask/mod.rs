//! Rewriting cells, rows and diagnostics, whatever their type and format.
//!
//! The caller brings a function that looks at text and says what becomes of it;
//! this module finds the text in a value of any type and format and puts the
//! answer back so that the client still gets a value of that type. It knows
//! nothing of rules.
//!
//! ```
//! use postgres_wire::{Format, mask::{CellOutcome, rewrite_cell}, oid};
//!
//! let mut stars = |text: &[u8], out: &mut Vec<u8>| {
//!     if !text.contains(&b'@') {
//!         return CellOutcome::Same;
//!     }
//!     out.extend(text.iter().map(|&b| if b == b'@' { b } else { b'*' }));
//!     CellOutcome::Replaced
//! };
//! let mut out = Vec::new();
//! let cell = br#"{plain,"a b@c",NULL}"#;
//! let outcome = rewrite_cell(oid::TEXT_ARRAY, Format::Text, cell, &mut stars, &mut out);
//! assert_eq!(outcome, CellOutcome::Replaced);
//! assert_eq!(out, br#"{plain,***@*,NULL}"#);
//! ```

mod cell;
mod json;
mod row;
mod tokens;

pub use cell::rewrite_cell;
pub use row::{RowOutcome, RowRewriter, rewrite_diagnostic};

/// What becomes of a cell, or of a text inside one.
///
/// A caller's function answers with one of the first four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CellOutcome {
    /// Leave it as it is; nothing was appended.
    Same,
    /// The new content was appended to the buffer.
    Replaced,
    /// Put NULL in its place.
    Null,
    /// The whole answer must not go out.
    Deny,
    /// Only from [`rewrite_cell`]: the value could not be looked into (unknown type in
    /// binary format, malformed, too deep) and nothing was replaced. Under a rule for
    /// the column this must become NULL or a denial.
    Opaque,
    /// Only from [`rewrite_cell`]: something had to be replaced and the type can't hold
    /// the replacement. The value must not go out: NULL or a denial.
    Unfit,
}

/// Looks at a text; if it answers [`CellOutcome::Replaced`] it has appended what takes
/// the text's place. It must append nothing otherwise (what it did append is cut off).
pub type CellFn<'f> = dyn FnMut(&[u8], &mut Vec<u8>) -> CellOutcome + 'f;
