//! Keys that a parser may take for others.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::error::WireError;
use crate::value::Object;

/// A key as a parser sees it that takes letters of either case alike. Go's does so, and takes the
/// Kelvin sign for a k and a long s for an s.
#[must_use]
pub fn folded(key: &str) -> Cow<'_, str> {
    if key.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(key);
    }
    let fold = |it: char| it.to_uppercase().flat_map(char::to_lowercase);
    Cow::Owned(key.chars().flat_map(fold).collect())
}

/// Refuses members that differ from a known key, or from each other, in case only.
pub(crate) fn check(
    within: &'static str,
    object: &Object,
    known: &[&'static str],
) -> Result<(), WireError> {
    let mut seen: HashSet<Cow<'_, str>> = HashSet::with_capacity(object.len());
    for (key, _) in object.iter() {
        let fold = folded(key);
        let like = known.iter().find(|it| folded(it) == fold);
        if let Some(like) = like
            && *like != key
        {
            return Err(WireError::CaseVariant { within, key: like });
        }
        if !seen.insert(fold) {
            return Err(WireError::CaseVariant { within, key: "another" });
        }
    }
    Ok(())
}

/// A byte of a header's name (RFC 9110, 5.6.2).
pub(crate) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}
