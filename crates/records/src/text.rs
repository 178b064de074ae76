//! Text that may not be UTF-8, and hex.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Bytes that are usually text: a JSON string when they are UTF-8, else `{"hex": "…"}`, so
/// that no byte is lost and none is invented.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Text<'a> {
    /// UTF-8, as it was.
    Utf8(#[serde(borrow)] Cow<'a, str>),
    /// Anything else, in hex.
    Bytes {
        /// The bytes in lower-case hex.
        hex: Cow<'a, str>,
    },
}

impl<'a> Text<'a> {
    /// Borrows the bytes if they are UTF-8.
    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Text::Utf8(text.into()),
            Err(_) => Text::Bytes { hex: hex(bytes).into() },
        }
    }

    /// The text, or the hex of what is not text: for people.
    pub fn display(&self) -> &str {
        match self {
            Text::Utf8(text) => text,
            Text::Bytes { hex } => hex,
        }
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Text::Utf8(text.into())
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Text::Utf8(text.into())
    }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).map_or('0', |&d| char::from(d));
    bytes.iter().flat_map(|&b| [digit(b >> 4), digit(b & 15)]).collect()
}
