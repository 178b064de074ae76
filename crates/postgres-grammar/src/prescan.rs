//! The cache key: texts that differ only in integer literals of the same length share one.
//!
//! Why that is sound. A text is collapsed only when it is printable ASCII and white space without
//! quotes, backslash, comments or a `$` other than `$n`: then a run of digits with no identifier
//! character, `.` or `$` on either side is an integer token whatever its digits. Runs over nine
//! digits stay as they are (over `i32` the scanner makes another token). Digits are overwritten by
//! `0` one for one, so byte ranges don't move. The grammar looks at an integer's value only in
//! `float(n)` (left out by word) and in utility statements; so an answer is shared only when
//! [`free_of_values`]: parsed, and nothing but SELECT, INSERT, UPDATE, DELETE or MERGE.

use std::cell::RefCell;

use crate::types::{Analysis, Detail};

/// Texts longer than this are not collapsed (a copy of them costs more than it gains). Bytes.
const MAX_COLLAPSED: usize = 4096;
/// Longest run of digits that is certainly an `i32`.
const MAX_DIGITS: usize = 9;

/// How to look up a text.
pub(crate) enum Key<'a> {
    /// By the collapsed text.
    Shared(&'a [u8]),
    /// By the text itself.
    Exact,
}

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Calls `with` with the text's key.
pub(crate) fn with_key<T>(sql: &[u8], with: impl FnOnce(Key<'_>) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        if collapse(sql, scratch) { with(Key::Shared(scratch)) } else { with(Key::Exact) }
    })
}

/// Writes the collapsed text to `out`; false if the text must be looked up as it is.
fn collapse(sql: &[u8], out: &mut Vec<u8>) -> bool {
    if sql.len() > MAX_COLLAPSED {
        return false;
    }
    out.extend_from_slice(sql);
    let mut word = false; // the byte before belongs to a word, a number, or is `.` or `$`
    let mut at = 0;
    let mut changed = false;
    while let Some(&byte) = out.get(at) {
        let next = out.get(at + 1).copied();
        match byte {
            b'\'' | b'"' | b'\\' | 0..=8 | 11..=12 | 14..=31 | 127.. => return false,
            b'-' if next == Some(b'-') => return false,
            b'/' if next == Some(b'*') => return false,
            b'$' if !next.is_some_and(|next| next.is_ascii_digit()) => return false,
            b'0'..=b'9' if !word => {
                let rest = out.get_mut(at..).unwrap_or_default();
                let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let whole = !rest.get(len).copied().is_some_and(is_word);
                if whole && len <= MAX_DIGITS {
                    rest.iter_mut().take(len).for_each(|digit| *digit = b'0');
                    changed = true;
                }
                at += len;
                word = true;
                continue;
            }
            _ => word = is_word(byte),
        }
        at += 1;
    }
    changed && !has_float(out)
}

/// A byte that can't stand beside a whole integer token.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$')
}

fn has_float(text: &[u8]) -> bool {
    memchr::memchr2_iter(b'f', b'F', text)
        .any(|at| text.get(at..at + 5).is_some_and(|word| word.eq_ignore_ascii_case(b"float")))
}

/// No fact in the answer can depend on the value of an integer literal.
pub(crate) fn free_of_values(analysis: &Analysis) -> bool {
    analysis.parse_error.is_none()
        && analysis.statements.iter().all(|statement| {
            matches!(statement.tag, "SELECT" | "INSERT" | "UPDATE" | "DELETE" | "MERGE")
                && statement.detail == Detail::None
        })
}
