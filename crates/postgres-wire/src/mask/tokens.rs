//! Arrays and records in text format, as streams of tokens.

use std::borrow::Cow;

use crate::quote::is_space;
use crate::value::MAX_DIMENSIONS;

/// A piece of an array or record in text format.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Braces, commas, bounds, NULLs: to be copied as they are.
    Verbatim(&'a [u8]),
    /// An element or field: as written and what it stands for.
    Element(&'a [u8], Cow<'a, [u8]>),
}

/// The text is not an array (or record).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// True if `text` is well formed: no token of it fails.
pub(super) fn well_formed<'a>(
    mut tokens: impl Iterator<Item = Result<Token<'a>, Malformed>>,
) -> bool {
    tokens.all(|t| t.is_ok())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// An element or an opening brace.
    Value,
    /// The same, or a closing brace: just behind an opening one.
    ValueOrClose,
    /// A comma or a closing brace.
    Separator,
    /// Nothing more.
    End,
}

/// Tokens of an array: `{a,"b c",NULL,{...}}`, perhaps behind `[2:3]=`.
#[derive(Debug)]
pub(super) struct ArrayTokens<'a> {
    rest: &'a [u8],
    depth: u32,
    expect: Expect,
    failed: bool,
}

impl<'a> ArrayTokens<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self { rest: text, depth: 0, expect: Expect::Value, failed: false }
    }

    /// Takes `n` bytes that are known to be there.
    fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, tail) = self.rest.split_at_checked(n).unwrap_or((self.rest, &[]));
        self.rest = tail;
        head
    }

    fn step(&mut self) -> Result<Token<'a>, Malformed> {
        let first = *self.rest.first().ok_or(Malformed)?;
        match first {
            b if is_space(b) => Ok(Token::Verbatim(self.take(1))),
            b'[' if self.depth == 0 && self.expect == Expect::Value => self.bounds(),
            b'{' if matches!(self.expect, Expect::Value | Expect::ValueOrClose) => {
                self.depth += 1;
                self.expect = Expect::ValueOrClose;
                if self.depth > MAX_DIMENSIONS {
                    return Err(Malformed);
                }
                Ok(Token::Verbatim(self.take(1)))
            }
            b'}' if matches!(self.expect, Expect::Separator | Expect::ValueOrClose) => {
                self.depth = self.depth.checked_sub(1).ok_or(Malformed)?;
                self.expect = if self.depth == 0 { Expect::End } else { Expect::Separator };
                Ok(Token::Verbatim(self.take(1)))
            }
            b',' if self.expect == Expect::Separator => {
                self.expect = Expect::Value;
                Ok(Token::Verbatim(self.take(1)))
            }
            b'}' | b',' | b'{' => Err(Malformed),
            _ if self.depth > 0 && matches!(self.expect, Expect::Value | Expect::ValueOrClose) => {
                self.expect = Expect::Separator;
                if first == b'"' { self.quoted() } else { self.unquoted() }
            }
            _ => Err(Malformed),
        }
    }

    fn bounds(&mut self) -> Result<Token<'a>, Malformed> {
        let eq = memchr::memchr(b'=', self.rest).ok_or(Malformed)?;
        let bounds = self.take(eq + 1);
        let ok = |b: &u8| b.is_ascii_digit() || b"[]:+-=".contains(b);
        if bounds.iter().all(ok) { Ok(Token::Verbatim(bounds)) } else { Err(Malformed) }
    }

    fn quoted(&mut self) -> Result<Token<'a>, Malformed> {
        let mut text = Vec::new();
        let mut bytes = self.rest.iter().enumerate().skip(1);
        while let Some((i, &b)) = bytes.next() {
            match b {
                b'"' => return Ok(Token::Element(self.take(i + 1), Cow::Owned(text))),
                b'\\' => text.push(*bytes.next().ok_or(Malformed)?.1),
                b => text.push(b),
            }
        }
        Err(Malformed)
    }

    fn unquoted(&mut self) -> Result<Token<'a>, Malformed> {
        let end = self.rest.iter().position(|b| matches!(b, b',' | b'}' | b'{' | b'"'));
        let raw = self.rest.get(..end.ok_or(Malformed)?).unwrap_or_default();
        let raw = self.take(raw.trim_ascii_end().len());
        if raw.eq_ignore_ascii_case(b"NULL") {
            return Ok(Token::Verbatim(raw));
        }
        if memchr::memchr(b'\\', raw).is_none() {
            return Ok(Token::Element(raw, Cow::Borrowed(raw)));
        }
        let mut text = Vec::with_capacity(raw.len());
        let mut bytes = raw.iter();
        while let Some(&b) = bytes.next() {
            text.push(if b == b'\\' { *bytes.next().ok_or(Malformed)? } else { b });
        }
        Ok(Token::Element(raw, Cow::Owned(text)))
    }
}

impl<'a> Iterator for ArrayTokens<'a> {
    type Item = Result<Token<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || (self.rest.is_empty() && self.expect == Expect::End) {
            return None;
        }
        let step = self.step();
        self.failed = step.is_err();
        Some(step)
    }
}

/// Tokens of a record: `(a,"b ""c""",)`; an empty field is NULL.
#[derive(Debug)]
pub(super) struct RecordTokens<'a> {
    rest: &'a [u8],
    state: RecordState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RecordState {
    Open,
    Field,
    Separator,
    Done,
}

impl<'a> RecordTokens<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self { rest: text, state: RecordState::Open }
    }

    fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, tail) = self.rest.split_at_checked(n).unwrap_or((self.rest, &[]));
        self.rest = tail;
        head
    }

    fn step(&mut self) -> Result<Token<'a>, Malformed> {
        match (self.state, self.rest.first().ok_or(Malformed)?) {
            (RecordState::Open, b'(') => {
                self.state = RecordState::Field;
                Ok(Token::Verbatim(self.take(1)))
            }
            (RecordState::Field, _) => {
                self.state = RecordState::Separator;
                self.field()
            }
            (RecordState::Separator, b',') => {
                self.state = RecordState::Field;
                Ok(Token::Verbatim(self.take(1)))
            }
            (RecordState::Separator, b')') if self.rest.len() == 1 => {
                self.state = RecordState::Done;
                Ok(Token::Verbatim(self.take(1)))
            }
            _ => Err(Malformed),
        }
    }

    fn field(&mut self) -> Result<Token<'a>, Malformed> {
        let mut text = Vec::new();
        let mut in_quotes = false;
        let mut bytes = self.rest.iter().enumerate().peekable();
        while let Some((i, &b)) = bytes.next() {
            match b {
                b',' | b')' if !in_quotes => {
                    let raw = self.take(i);
                    return Ok(if raw.is_empty() {
                        Token::Verbatim(raw)
                    } else {
                        Token::Element(raw, Cow::Owned(text))
                    });
                }
                b'(' if !in_quotes => return Err(Malformed),
                b'\\' => text.push(*bytes.next().ok_or(Malformed)?.1),
                b'"' if in_quotes && bytes.next_if(|(_, b)| **b == b'"').is_some() => {
                    text.push(b'"');
                }
                b'"' => in_quotes = !in_quotes,
                b => text.push(b),
            }
        }
        Err(Malformed)
    }
}

impl<'a> Iterator for RecordTokens<'a> {
    type Item = Result<Token<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == RecordState::Done {
            return None;
        }
        let step = self.step();
        if step.is_err() {
            self.state = RecordState::Done;
        }
        Some(step)
    }
}
