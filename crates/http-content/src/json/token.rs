//! JSON's grammar, one member at a time.

use super::leaf::Named;
use super::{Expect, Frame, MAX_DEPTH, MAX_GAP, MAX_NAME, MAX_NUMBER, MAX_STRING, Mode, Walker};
use crate::eyes::Outs;
use crate::recode::Recode;
use masking::PathStep;
use memchr::memchr2;

/// How far a walk came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// On to the next.
    Done,
    /// The rest has not come.
    Need,
    /// Another way of reading begins.
    Mode,
    /// This is no JSON.
    Bad(&'static str),
}

/// Where a walk stands in its buffer.
pub(super) struct Cursor<'b> {
    pub(super) buffer: &'b [u8],
    pub(super) at: usize,
    /// Given out up to here.
    pub(super) flushed: usize,
    last: bool,
}

impl<'b> Cursor<'b> {
    fn peek(&self) -> Option<u8> {
        self.buffer.get(self.at).copied()
    }

    pub(super) fn slice(&self, from: usize, to: usize) -> &'b [u8] {
        self.buffer.get(from..to).unwrap_or_default()
    }

    fn blank(&mut self, more: bool) {
        while let Some(b) = self.peek() {
            // RS stands before each text of a sequence (RFC 7464).
            if !(matches!(b, b' ' | b'\t' | b'\n' | b'\r') || more && b == 0x1E) {
                break;
            }
            self.at += 1;
        }
    }

    /// Gives out what is unchanged before `to`.
    pub(super) fn flush(&mut self, to: usize, outs: &mut Outs<'_>) {
        outs.keep(self.slice(self.flushed, to));
        self.flushed = to;
    }
}

/// A string whose opening quote is at `start`: where its closing quote is, and
/// whether there are escapes.
enum Quoted {
    Ends(usize, bool),
    Open,
}

fn quoted(buffer: &[u8], start: usize) -> Quoted {
    let mut at = start + 1;
    let mut escapes = false;
    loop {
        let rest = buffer.get(at..).unwrap_or_default();
        match memchr2(b'"', b'\\', rest) {
            Some(n) if rest.get(n) == Some(&b'"') => return Quoted::Ends(at + n, escapes),
            Some(n) => {
                escapes = true;
                at += n + 2;
            }
            None => return Quoted::Open,
        }
    }
}

/// How much of `rest` is inside a string, and whether its closing quote follows.
pub(super) fn inside(rest: &[u8], last: bool) -> (usize, bool) {
    let mut at = 0;
    loop {
        let more = rest.get(at..).unwrap_or_default();
        match memchr2(b'"', b'\\', more) {
            Some(n) if more.get(n) == Some(&b'"') => return (at + n, true),
            // A backslash stays with what it escapes.
            Some(n) if more.len() < n + 2 => {
                return (if last { rest.len() } else { at + n }, false);
            }
            Some(n) => at += n + 2,
            None => return (rest.len(), false),
        }
    }
}

/// Bytes of a long string without a blank that let it pass for base64.
const BASE64_HEAD: usize = 64;

/// What a value is, before it is masked.
#[derive(Clone, Copy)]
pub(super) struct Name {
    /// Between its quotes.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) escapes: bool,
}

impl Walker {
    /// Walks on through documents; how much of `rest` is dealt with.
    pub(super) fn documents(
        &mut self,
        rest: &[u8],
        last: bool,
        outs: &mut Outs<'_>,
    ) -> (usize, Token) {
        let mut cursor = Cursor { buffer: rest, at: 0, flushed: 0, last };
        let token = loop {
            cursor.blank(self.many);
            let unit = cursor.at;
            let Some(b) = cursor.peek() else { break Token::Done };
            match self.token(b, &mut cursor, outs) {
                Token::Done => {}
                Token::Mode => break Token::Mode,
                other => {
                    cursor.at = unit;
                    break other;
                }
            }
        };
        let at = cursor.at;
        cursor.flush(at, outs);
        (at, token)
    }

    fn token(&mut self, b: u8, cursor: &mut Cursor<'_>, outs: &mut Outs<'_>) -> Token {
        match (self.expect, b) {
            (Expect::Done, 0xEF | 0xBB | 0xBF) => Token::Bad("something follows the document"),
            (Expect::Done, _) if self.many => {
                self.restart();
                Token::Done
            }
            (Expect::Done, _) => Token::Bad("something follows the document"),
            (Expect::Value, 0xEF) if self.stack.is_empty() && cursor.at == 0 => {
                // A byte order mark.
                match cursor.slice(0, 3) {
                    b"\xEF\xBB\xBF" => {
                        cursor.at += 3;
                        Token::Done
                    }
                    part if part.len() < 3 && !cursor.last => Token::Need,
                    _ => Token::Bad("a value is missing"),
                }
            }
            (Expect::CommaOrEnd, b',') => {
                let array = self.stack.last().is_some_and(|f| f.array);
                self.expect = if array { Expect::Value } else { Expect::Name };
                if let Some(frame) = self.stack.last_mut() {
                    frame.index = frame.index.saturating_add(1);
                }
                cursor.at += 1;
                Token::Done
            }
            (Expect::CommaOrEnd | Expect::ValueOrEnd | Expect::NameOrEnd, b']' | b'}') => {
                match self.stack.last() {
                    Some(frame) if frame.array == (b == b']') => self.close(cursor),
                    _ => Token::Bad("a bracket closes what it did not open"),
                }
            }
            (Expect::NameOrEnd | Expect::Name, b'"') => self.member(cursor, outs),
            (Expect::Value | Expect::ValueOrEnd, _) => self.value(b, None, cursor, outs),
            (Expect::NameOrEnd | Expect::Name, _) => Token::Bad("a name is missing"),
            (Expect::CommaOrEnd, _) => Token::Bad("a comma is missing"),
        }
    }

    fn close(&mut self, cursor: &mut Cursor<'_>) -> Token {
        if let Some(frame) = self.stack.pop() {
            self.names.truncate(frame.name);
        }
        if self.paths {
            self.walk.leave();
        }
        self.behind_value();
        cursor.at += 1;
        Token::Done
    }

    pub(super) fn behind_value(&mut self) {
        self.expect = if self.stack.is_empty() { Expect::Done } else { Expect::CommaOrEnd };
    }

    fn member(&mut self, cursor: &mut Cursor<'_>, outs: &mut Outs<'_>) -> Token {
        let start = cursor.at + 1;
        let (end, escapes) = match quoted(cursor.buffer, cursor.at) {
            Quoted::Ends(end, escapes) if end - start <= MAX_NAME => (end, escapes),
            Quoted::Open if cursor.buffer.len() - start <= MAX_NAME => return Token::Need,
            _ => return Token::Bad("a name is too long"),
        };
        cursor.at = end + 1;
        let gap = cursor.at;
        cursor.blank(false);
        match cursor.peek() {
            _ if cursor.at - gap > MAX_GAP => return Token::Bad("too much white space"),
            None => return Token::Need,
            Some(b':') => cursor.at += 1,
            Some(_) => return Token::Bad("a colon is missing"),
        }
        let gap = cursor.at;
        cursor.blank(false);
        match cursor.peek() {
            _ if cursor.at - gap > MAX_GAP => Token::Bad("too much white space"),
            None => Token::Need,
            Some(b) => self.value(b, Some(Name { start, end, escapes }), cursor, outs),
        }
    }

    fn value(
        &mut self,
        b: u8,
        name: Option<Name>,
        cursor: &mut Cursor<'_>,
        outs: &mut Outs<'_>,
    ) -> Token {
        match b {
            b'{' | b'[' => self.open(b == b'[', name, cursor, outs),
            b'"' => self.string(name, cursor, outs),
            b'-' | b'0'..=b'9' => self.number(name, cursor, outs),
            b't' => self.literal(b"true", name, cursor, outs),
            b'f' => self.literal(b"false", name, cursor, outs),
            b'n' => self.literal(b"null", name, cursor, outs),
            _ => Token::Bad("a value is missing"),
        }
    }

    fn open(
        &mut self,
        array: bool,
        name: Option<Name>,
        cursor: &mut Cursor<'_>,
        outs: &mut Outs<'_>,
    ) -> Token {
        if self.stack.len() == MAX_DEPTH {
            return Token::Bad("it is nested too deep");
        }
        let rule = self.rule_for(name, cursor);
        if self.paths {
            self.walk.enter();
        }
        let at = self.names.len();
        if array {
            self.keep_name(name, cursor);
        }
        if let Some(name) = name {
            self.mask_name(name, cursor, outs);
        }
        self.stack.push(Frame { array, index: 0, name: at, rule });
        self.expect = if array { Expect::ValueOrEnd } else { Expect::NameOrEnd };
        cursor.at += 1;
        Token::Done
    }

    fn string(
        &mut self,
        name: Option<Name>,
        cursor: &mut Cursor<'_>,
        outs: &mut Outs<'_>,
    ) -> Token {
        let start = cursor.at + 1;
        match quoted(cursor.buffer, cursor.at) {
            Quoted::Ends(end, escapes) if end - start <= MAX_STRING => {
                cursor.at = end + 1;
                let named = self.named(name, cursor);
                self.masked_once(&named, cursor, outs, |walker, cursor, outs| {
                    walker.mask_string(&named, (start, end, escapes), cursor, outs)
                });
                self.behind_value();
                Token::Done
            }
            Quoted::Open if cursor.buffer.len() - start <= MAX_STRING && !cursor.last => {
                Token::Need
            }
            Quoted::Open if cursor.last && cursor.buffer.len() - start <= MAX_STRING => {
                Token::Bad("a string does not end")
            }
            _ => {
                let named = self.named(name, cursor);
                if let Some(name) = name {
                    self.mask_name(name, cursor, outs);
                }
                cursor.at = start;
                self.behind_value();
                self.mode = self.long(&named, cursor, outs);
                Token::Mode
            }
        }
    }

    /// A long string: hidden whole by a path rule, or masked as it streams.
    fn long(&mut self, named: &Named, cursor: &mut Cursor<'_>, outs: &mut Outs<'_>) -> Mode {
        let hides = named.rule.and_then(|n| self.eyes.policy.path_rule(n)).is_some_and(|rule| {
            [masking::Sink::Client, masking::Sink::Record]
                .into_iter()
                .any(|sink| self.eyes.wants(sink) && !rule.operator(sink).is_keep())
        });
        if hides {
            cursor.flush(cursor.at - 1, outs);
            cursor.flushed = cursor.at;
            outs.keep(b"\"<MASKED>\"");
            for sink in self.eyes.lanes() {
                let receipt = self.counts.of(sink);
                receipt.masked += 1;
                receipt.by_column += 1;
            }
            return Mode::Hidden;
        }
        // Base64 of any length has no blanks at its beginning.
        let head = cursor.slice(cursor.at, cursor.at + BASE64_HEAD);
        if head.contains(&b' ') {
            Mode::Long(Recode::new(&self.eyes))
        } else {
            Mode::Long(Recode::with_base64(&self.eyes))
        }
    }

    fn number(
        &mut self,
        name: Option<Name>,
        cursor: &mut Cursor<'_>,
        outs: &mut Outs<'_>,
    ) -> Token {
        let start = cursor.at;
        while let Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E') = cursor.peek() {
            cursor.at += 1;
        }
        if cursor.at - start > MAX_NUMBER {
            return Token::Bad("a number is too long");
        }
        if cursor.peek().is_none() && !cursor.last {
            return Token::Need;
        }
        let named = self.named(name, cursor);
        self.masked_once(&named, cursor, outs, |walker, cursor, outs| {
            walker.mask_number(&named, start, cursor, outs)
        });
        self.behind_value();
        Token::Done
    }

    fn literal(
        &mut self,
        word: &[u8],
        name: Option<Name>,
        cursor: &mut Cursor<'_>,
        outs: &mut Outs<'_>,
    ) -> Token {
        let start = cursor.at;
        let have = cursor.slice(start, cursor.buffer.len().min(start + word.len()));
        if have != word {
            let more = word.starts_with(have) && !cursor.last;
            return if more { Token::Need } else { Token::Bad("an unknown word") };
        }
        cursor.at += word.len();
        let named = self.named(name, cursor);
        if let Some(name) = name {
            self.mask_name(name, cursor, outs);
        }
        self.mask_literal(&named, start, cursor, outs);
        self.behind_value();
        Token::Done
    }

    /// The path rule for the value that is about to be read.
    pub(super) fn rule_for(&mut self, name: Option<Name>, cursor: &Cursor<'_>) -> Option<usize> {
        if !self.paths {
            return None;
        }
        let Some(frame) = self.stack.last().copied() else { return self.root_rule };
        let own = match name {
            Some(name) => {
                let raw = cursor.slice(name.start, name.end);
                let text = self.leaf.decoded_name(raw, name.escapes);
                self.walk.child(&self.eyes.policy, PathStep::Member(text))
            }
            None => self.walk.child(&self.eyes.policy, PathStep::Element(frame.index)),
        };
        match (own, frame.rule) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}
