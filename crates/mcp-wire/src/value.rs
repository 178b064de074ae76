//! A JSON value as it was written: order of members and text of numbers kept.

use std::fmt;

/// A JSON value.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string, without its escapes.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(Object),
}

/// A number, as its text: nothing is rounded.
#[derive(Clone, PartialEq, Eq)]
pub struct Number(Box<str>);

/// An object's members in the order in which they were written; no key twice.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Object {
    members: Vec<(String, Value)>,
}

impl Value {
    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// An object.
    #[must_use]
    pub const fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// An array's elements.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// A whole number that is written as one (`7`, not `7.0`) and fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Number(number) => number.text().parse().ok(),
            _ => None,
        }
    }

    /// The value as JSON, without blanks.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// As [`Value::to_bytes`], keys sorted by their UTF-16 code units as in RFC 8785, so that the
    /// same members in another order are the same bytes. Numbers keep their text: `1.0` is not `1`.
    #[must_use]
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_canonical(&mut out);
        out
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Array(elements) => {
                list(out, (b'[', b']'), elements, |element, out| element.write(out));
            }
            Self::Object(object) => object.write(out),
            leaf => leaf.write_leaf(out),
        }
    }

    fn write_canonical(&self, out: &mut Vec<u8>) {
        match self {
            Self::Array(elements) => {
                list(out, (b'[', b']'), elements, |element, out| element.write_canonical(out));
            }
            Self::Object(object) => object.write_canonical(out),
            leaf => leaf.write_leaf(out),
        }
    }

    fn write_leaf(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Number(number) => out.extend_from_slice(number.text().as_bytes()),
            Self::String(text) => write_string(text, out),
            Self::Null | Self::Array(_) | Self::Object(_) => out.extend_from_slice(b"null"),
        }
    }
}

impl Number {
    /// From text that the parser found to be a number.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl From<i64> for Number {
    fn from(number: i64) -> Self {
        Self(number.to_string().into())
    }
}

impl Object {
    /// How many members.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.members.iter().find(|(own, _)| own == key).map(|(_, value)| value)
    }

    /// The members in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.members.iter().map(|(key, value)| (&**key, value))
    }

    /// Sets a member: in its place if there is one of that key, else at the end.
    pub fn insert(&mut self, key: &str, value: Value) {
        match self.members.iter_mut().find(|(own, _)| own == key) {
            Some((_, place)) => *place = value,
            None => self.members.push((key.to_owned(), value)),
        }
    }

    /// Takes a member out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.members.iter().position(|(own, _)| own == key)?;
        Some(self.members.remove(at).1)
    }

    /// The object as JSON, without blanks.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// See [`Value::to_canonical`].
    #[must_use]
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_canonical(&mut out);
        out
    }

    /// From members of which the caller knows that no key occurs twice.
    pub(crate) const fn from_unique(members: Vec<(String, Value)>) -> Self {
        Self { members }
    }

    pub(crate) const fn members_mut(&mut self) -> &mut Vec<(String, Value)> {
        &mut self.members
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.members.iter_mut().find(|(own, _)| own == key).map(|(_, value)| value)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        list(out, (b'{', b'}'), &self.members, |(key, value), out| {
            write_string(key, out);
            out.push(b':');
            value.write(out);
        });
    }

    fn write_canonical(&self, out: &mut Vec<u8>) {
        let mut sorted: Vec<&(String, Value)> = self.members.iter().collect();
        sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
        list(out, (b'{', b'}'), &sorted, |(key, value), out| {
            write_string(key, out);
            out.push(b':');
            value.write_canonical(out);
        });
    }
}

fn list<T>(
    out: &mut Vec<u8>,
    (open, close): (u8, u8),
    items: &[T],
    mut write: impl FnMut(&T, &mut Vec<u8>),
) {
    out.push(open);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(close);
}

/// A string with the escapes that JSON asks for and no other (RFC 8259, 7; as RFC 8785, 3.2.2.2).
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|it| matches!(it, b'"' | b'\\' | 0..=0x1f)) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, after)) = special.split_first() else { break };
        rest = after;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control => {
                let digit = |at: u8| HEX.get(usize::from(at)).copied().unwrap_or(b'0');
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[digit(control >> 4), digit(control & 0xf)]);
            }
        }
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

// Values may hold anything, secrets too: what they are is shown, not what they say.

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(_) => f.write_str("bool"),
            Self::Number(number) => number.fmt(f),
            Self::String(text) => write!(f, "string of {} bytes", text.len()),
            Self::Array(elements) => write!(f, "array of {}", elements.len()),
            Self::Object(object) => object.fmt(f),
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("number")
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "object of {}", self.members.len())
    }
}
