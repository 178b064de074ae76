//! JSON (RFC 8259), read so that no two parsers can differ about it.
//!
//! What is ambiguous is refused: a key twice in one object, a lone surrogate, a byte order mark,
//! bytes behind the value. What is left is written again with [`Value::to_bytes`], and that is
//! what is forwarded.

use std::collections::HashSet;

use memchr::memchr2;

use crate::error::WireError;
use crate::value::{Number, Object, Value};

/// Longest message, bytes, unless the caller says otherwise.
pub const MAX_BYTES: usize = 4 << 20;
/// Deepest that lists and objects may lie in each other, whatever the caller says: reading and
/// writing call themselves once a level.
pub const MAX_DEPTH: usize = 128;
/// Longest string, bytes, unless the caller says otherwise: a picture in base64 is one.
pub const MAX_STRING_BYTES: usize = 4 << 20;
/// Longest key, bytes.
pub const MAX_KEY_BYTES: usize = 1024;
/// Longest number, bytes of its text.
pub const MAX_NUMBER_BYTES: usize = 128;
/// Most values in a message, lists and objects counted too: each takes some 60 bytes of memory.
pub const MAX_VALUES: usize = 100_000;
/// From how many members on an object's keys are looked up in a set.
const MANY_MEMBERS: usize = 16;

/// How large a message may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes.
    pub bytes: usize,
    /// Levels of lists and objects; at most [`MAX_DEPTH`] whatever is written here.
    pub depth: usize,
    /// Bytes of one string.
    pub string_bytes: usize,
    /// Values, lists and objects counted too.
    pub values: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: MAX_BYTES,
            depth: MAX_DEPTH / 2,
            string_bytes: MAX_STRING_BYTES,
            values: MAX_VALUES,
        }
    }
}

/// Reads one value; nothing but blanks may stand around it.
///
/// # Errors
/// The sender's: everything that is not JSON, is ambiguous, or is beyond the limits.
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Value, WireError> {
    if bytes.len() > limits.bytes {
        return Err(WireError::TooLong { most: limits.bytes });
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(WireError::ByteOrderMark);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| WireError::NotUtf8 { at: error.valid_up_to() })?;
    let depth = limits.depth.min(MAX_DEPTH);
    let mut parser = Parser { text, at: 0, depth, most_deep: depth, left: limits.values, limits };
    let value = parser.value()?;
    parser.blanks();
    if parser.at < text.len() {
        return Err(parser.expected("the end"));
    }
    Ok(value)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// Levels that may still be opened.
    depth: usize,
    most_deep: usize,
    /// Values that may still come.
    left: usize,
    limits: Limits,
}

impl<'a> Parser<'a> {
    const fn expected(&self, expected: &'static str) -> WireError {
        WireError::Syntax { at: self.at, expected }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Result<Value, WireError> {
        self.blanks();
        self.left = self
            .left
            .checked_sub(1)
            .ok_or(WireError::TooMany { at: self.at, most: self.limits.values })?;
        match self.peek() {
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'"') => {
                let most = self.limits.string_bytes;
                self.string(most, "string").map(Value::String)
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => Err(self.expected("a value")),
        }
    }

    fn word(&mut self, word: &'static str, value: Value) -> Result<Value, WireError> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.expected(word));
        }
        self.at += word.len();
        Ok(value)
    }

    fn open(&mut self) -> Result<(), WireError> {
        self.depth = self
            .depth
            .checked_sub(1)
            .ok_or(WireError::TooDeep { at: self.at, most: self.most_deep })?;
        self.at += 1;
        self.blanks();
        Ok(())
    }

    /// Whether another item follows; else the closing byte was read.
    fn more(&mut self, close: u8, expected: &'static str) -> Result<bool, WireError> {
        self.blanks();
        let byte = self.peek();
        if byte == Some(b',') || byte == Some(close) {
            self.at += 1;
            self.depth += usize::from(byte == Some(close));
            return Ok(byte == Some(b','));
        }
        Err(self.expected(expected))
    }

    /// Whether nothing is in it: then the closing byte was read.
    fn empty(&mut self, close: u8) -> bool {
        let empty = self.peek() == Some(close);
        self.at += usize::from(empty);
        self.depth += usize::from(empty);
        empty
    }

    fn array(&mut self) -> Result<Value, WireError> {
        self.open()?;
        let mut elements = Vec::new();
        if self.empty(b']') {
            return Ok(Value::Array(elements));
        }
        loop {
            elements.push(self.value()?);
            if !self.more(b']', "`,` or `]`")? {
                return Ok(Value::Array(elements));
            }
        }
    }

    fn object(&mut self) -> Result<Value, WireError> {
        self.open()?;
        let mut members: Vec<(String, Value)> = Vec::new();
        let mut seen: HashSet<String> = HashSet::new();
        if self.empty(b'}') {
            return Ok(Value::Object(Object::from_unique(members)));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(self.expected("a key"));
            }
            let key = self.string(MAX_KEY_BYTES, "key")?;
            if key.contains('\0') {
                return Err(WireError::NulInKey { at: self.at });
            }
            let twice = if members.len() < MANY_MEMBERS {
                members.iter().any(|(own, _)| *own == key)
            } else {
                if seen.is_empty() {
                    seen.extend(members.iter().map(|(own, _)| own.clone()));
                }
                !seen.insert(key.clone())
            };
            if twice {
                return Err(WireError::DuplicateKey { at: self.at });
            }
            self.blanks();
            if self.peek() != Some(b':') {
                return Err(self.expected("`:`"));
            }
            self.at += 1;
            let value = self.value()?;
            members.push((key, value));
            if !self.more(b'}', "`,` or `}`")? {
                return Ok(Value::Object(Object::from_unique(members)));
            }
        }
    }

    /// A string, from its opening quote on.
    fn string(&mut self, most: usize, what: &'static str) -> Result<String, WireError> {
        let start = self.at;
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let run = memchr2(b'"', b'\\', rest).ok_or(self.expected("`\"`"))?;
            let plain = rest.get(..run).unwrap_or_default();
            if let Some(control) = plain.iter().position(|byte| *byte < 0x20) {
                self.at += control;
                return Err(self.expected("a control character with its escape"));
            }
            if out.len() + run > most {
                return Err(WireError::TooLongValue { at: start, what, most });
            }
            // Quotes and backslashes are no part of a longer character.
            out.push_str(self.text.get(self.at..self.at + run).unwrap_or_default());
            self.at += run + 1;
            if rest.get(run) == Some(&b'"') {
                return Ok(out);
            }
            out.push(self.escape()?);
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<char, WireError> {
        let byte = self.peek().ok_or(self.expected("an escape"))?;
        let plain = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.expected("an escape")),
        };
        self.at += 1;
        Ok(plain)
    }

    fn unicode(&mut self) -> Result<char, WireError> {
        let at = self.at;
        let first = self.four_digits()?;
        if let Some(plain) = char::from_u32(first) {
            return Ok(plain);
        }
        let lone = WireError::Surrogate { at };
        if !(0xd800..0xdc00).contains(&first) || !self.rest().starts_with(b"\\u") {
            return Err(lone);
        }
        self.at += 2;
        let second = self.four_digits()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(lone);
        }
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(lone)
    }

    fn four_digits(&mut self) -> Result<u32, WireError> {
        let digits = self.rest().get(..4).unwrap_or_default();
        let mut value = 0;
        for byte in digits {
            let digit = char::from(*byte).to_digit(16).ok_or(self.expected("four digits"))?;
            value = value << 4 | digit;
        }
        if digits.len() < 4 {
            return Err(self.expected("four digits"));
        }
        self.at += 4;
        Ok(value)
    }

    fn digits(&mut self) -> Result<(), WireError> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.expected("a digit"));
        }
        self.at += count;
        Ok(())
    }

    fn number(&mut self) -> Result<Value, WireError> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        if self.at - start > MAX_NUMBER_BYTES {
            let (what, most) = ("number", MAX_NUMBER_BYTES);
            return Err(WireError::TooLongValue { at: start, what, most });
        }
        Ok(Value::Number(Number::new(self.text.get(start..self.at).unwrap_or_default())))
    }
}

/// Whether a text is a number as JSON writes it.
pub(crate) fn is_number(text: &str) -> bool {
    let limits = Limits { bytes: MAX_NUMBER_BYTES, ..Limits::default() };
    let plain = text.bytes().all(|byte| !byte.is_ascii_whitespace());
    plain && matches!(parse(text.as_bytes(), limits), Ok(Value::Number(_)))
}
