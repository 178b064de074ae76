//! JSON that streams by (RFC 8259): strings, numbers and names are masked where
//! they lie; the rest of the document is not touched.
//!
//! A member is looked at when all of it (name and value) is there, so that the
//! name can say what the value is. Strings longer than [`MAX_STRING`] stream.

mod clean;
mod leaf;
mod token;

use crate::error::ContentError;
use crate::escape::JsonText;
use crate::eyes::{Counts, Eyes, Outs, TextMask};
use crate::recode::Recode;
use clean::Clean;
use masking::{OnUnmaskable, PathWalk, Sink};
use token::Token;

pub(crate) use leaf::mask_value;

/// Most objects and arrays inside one another.
pub const MAX_DEPTH: usize = 128;
/// Longest string that is held whole, in bytes as written. A longer one is
/// masked while it streams; of what is encoded once more, only base64 is read.
pub const MAX_STRING: usize = 64 * 1024;
/// Longest name, in bytes as written.
pub const MAX_NAME: usize = 16 * 1024;
/// Longest number, in bytes.
pub const MAX_NUMBER: usize = 1024;
/// Most white space between a name and its value, in bytes.
pub const MAX_GAP: usize = 1024;

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Value,
    /// Behind `[`.
    ValueOrEnd,
    /// Behind `{`.
    NameOrEnd,
    Name,
    CommaOrEnd,
    /// Behind the document.
    Done,
}

/// An open object or array.
#[derive(Clone, Copy, Debug)]
struct Frame {
    array: bool,
    index: u64,
    /// Where the array's name begins in `names`.
    name: usize,
    /// The path rule for all of it.
    rule: Option<usize>,
}

/// What is done with the bytes now.
enum Mode {
    Json,
    /// Inside a string that streams; at its end, `"` goes on.
    Long(Recode<JsonText>),
    /// Inside a long string that a path rule hides: dropped up to its end.
    Hidden,
    /// No JSON: text, of a sequence up to the end of the line.
    Text(Box<TextMask>),
    /// No JSON, and path rules say `null`: nothing more is given out.
    Withheld,
}

/// Masks JSON documents.
pub(crate) struct Walker {
    eyes: Eyes,
    /// Documents one behind the other.
    many: bool,
    /// What is no JSON is text, whatever the path rules say.
    lenient: bool,
    mode: Mode,
    carry: Vec<u8>,
    expect: Expect,
    stack: Vec<Frame>,
    /// Names of open arrays, one behind the other.
    names: Vec<u8>,
    walk: PathWalk,
    paths: bool,
    clean: Clean,
    root_rule: Option<usize>,
    leaf: leaf::Scratch,
    counts: Counts,
}

impl Walker {
    pub(crate) fn new(eyes: &Eyes, many: bool, lenient: bool) -> Self {
        let mut walker = Self {
            eyes: eyes.clone(),
            many,
            lenient,
            mode: Mode::Json,
            carry: Vec::new(),
            expect: Expect::Value,
            stack: Vec::new(),
            names: Vec::new(),
            walk: PathWalk::default(),
            paths: eyes.policy.has_path_rules(),
            clean: Clean::default(),
            root_rule: None,
            leaf: leaf::Scratch::default(),
            counts: Counts::default(),
        };
        walker.restart();
        walker
    }

    pub(crate) fn counts(&self, counts: &mut Counts) {
        counts.merge(&self.counts);
        if let Mode::Text(text) = &self.mode {
            text.counts(counts);
        }
    }

    /// Before a document.
    fn restart(&mut self) {
        self.expect = Expect::Value;
        self.stack.clear();
        self.names.clear();
        if self.paths {
            self.root_rule = self.walk.start(&self.eyes.policy);
        }
    }

    pub(crate) fn push(&mut self, piece: &[u8], outs: &mut Outs<'_>) -> Result<(), ContentError> {
        if self.carry.is_empty() {
            let used = self.run(piece, false, outs)?;
            self.carry.extend_from_slice(piece.get(used..).unwrap_or_default());
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.carry);
        buffer.extend_from_slice(piece);
        let used = self.run(&buffer, false, outs)?;
        buffer.drain(..used.min(buffer.len()));
        self.carry = buffer;
        Ok(())
    }

    /// Ends the text: what is not complete is masked as text.
    pub(crate) fn finish(&mut self, outs: &mut Outs<'_>) -> Result<(), ContentError> {
        let buffer = std::mem::take(&mut self.carry);
        let used = self.run(&buffer, true, outs)?;
        let rest = buffer.get(used..).unwrap_or_default();
        if !rest.is_empty() {
            self.give_up("it ends too early", outs)?;
            self.run(rest, true, outs)?;
        }
        match std::mem::replace(&mut self.mode, Mode::Json) {
            Mode::Long(long) => long.finish(outs, &mut self.counts),
            Mode::Text(mut text) => {
                text.finish(outs);
                text.counts(&mut self.counts);
            }
            Mode::Json | Mode::Hidden | Mode::Withheld => {}
        }
        self.restart();
        Ok(())
    }

    /// Deals with what it can; how much of `buffer` that is.
    fn run(
        &mut self,
        buffer: &[u8],
        last: bool,
        outs: &mut Outs<'_>,
    ) -> Result<usize, ContentError> {
        let mut at = 0;
        loop {
            let rest = buffer.get(at..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(at);
            }
            match &mut self.mode {
                Mode::Json => {
                    let (used, token) = self.documents(rest, last, outs);
                    at += used;
                    match token {
                        Token::Done | Token::Need => return Ok(at),
                        Token::Mode => {}
                        Token::Bad(why) => self.give_up(why, outs)?,
                    }
                }
                Mode::Long(long) => {
                    let (inside, ended) = token::inside(rest, last);
                    long.push(rest.get(..inside).unwrap_or_default(), outs);
                    at += inside;
                    if !ended {
                        return Ok(at);
                    }
                    if let Mode::Long(long) = std::mem::replace(&mut self.mode, Mode::Json) {
                        long.finish(outs, &mut self.counts);
                    }
                    outs.keep(b"\"");
                    at += 1;
                }
                Mode::Hidden => {
                    let (inside, ended) = token::inside(rest, last);
                    at += inside;
                    if !ended {
                        return Ok(at);
                    }
                    at += 1;
                    self.mode = Mode::Json;
                }
                Mode::Text(text) => {
                    let line = self.many.then(|| memchr::memchr(b'\n', rest)).flatten();
                    text.push(rest.get(..line.unwrap_or(rest.len())).unwrap_or_default(), outs);
                    let Some(line) = line else { return Ok(buffer.len()) };
                    text.finish(outs);
                    text.counts(&mut self.counts);
                    at += line;
                    self.mode = Mode::Json;
                    self.restart();
                }
                Mode::Withheld => {
                    let line = self.many.then(|| memchr::memchr(b'\n', rest)).flatten();
                    let Some(line) = line else { return Ok(buffer.len()) };
                    at += line;
                    self.mode = Mode::Json;
                    self.restart();
                }
            }
        }
    }

    /// What follows is no JSON.
    fn give_up(&mut self, why: &'static str, outs: &mut Outs<'_>) -> Result<(), ContentError> {
        let protects = |sink| self.eyes.wants(sink) && self.eyes.policy.paths_mask(sink);
        if self.lenient || !(protects(Sink::Client) || protects(Sink::Record)) {
            self.mode = Mode::Text(Box::new(TextMask::new(&self.eyes)));
            return Ok(());
        }
        match self.eyes.policy.on_unmaskable() {
            OnUnmaskable::Deny => Err(ContentError::NotJson(why)),
            OnUnmaskable::Null => {
                outs.keep(b"null");
                self.mode = Mode::Withheld;
                Ok(())
            }
        }
    }
}
