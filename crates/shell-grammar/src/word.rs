//! One word: quotes, escapes and expansions (XCU 2.2, 2.6).

use crate::reader::Reader;
use crate::{Unparsed, Why, Word};

/// A word and how it was written.
pub(crate) struct Lexed {
    pub(crate) word: Word,
    /// Whether any part was quoted, so that it is no keyword and no number.
    pub(crate) quoted: bool,
    /// Where in the word's bytes the `=` is, if it begins as an assignment does.
    pub(crate) equals: Option<usize>,
    /// Whether it may be a descriptor or an assignment, or not, because a line is continued in
    /// it: POSIX joins the lines first, not every shell does.
    pub(crate) differs: bool,
}

#[derive(Default)]
struct Parts {
    value: Vec<u8>,
    quoted: bool,
    dynamic: bool,
}

impl Reader<'_, '_> {
    /// The word that begins here; the caller has seen that one does.
    pub(crate) fn word(&mut self) -> Result<Lexed, Unparsed> {
        let start = self.at;
        let mut parts = Parts::default();
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' => break,
                b'\'' => self.single(&mut parts)?,
                b'"' => self.double(&mut parts)?,
                b'\\' => self.escape(&mut parts),
                b'$' => self.dollar(&mut parts, false)?,
                b'`' => self.backquotes(&mut parts, false)?,
                _ => {
                    let expands = match byte {
                        b'*' | b'?' | b'[' | b'~' | b'{' | b'^' => true,
                        // zsh: the path of a command.
                        b'=' => self.at == start,
                        _ => false,
                    };
                    parts.dynamic |= expands;
                    parts.value.push(byte);
                    self.at += 1;
                }
            }
        }
        let raw = self.text.get(start..self.at).unwrap_or_default();
        // A bracket, or a pair of braces, that is all of the word is itself.
        let alone = !parts.quoted && matches!(raw, b"[" | b"{" | b"{}");
        let equals = assigns(raw);
        let differs = find(raw, CONTINUED).is_some_and(|at| {
            let joined = without(raw, CONTINUED);
            joined.iter().all(u8::is_ascii_digit) || assigns(&joined).is_some_and(|it| at <= it)
        });
        let word = if parts.dynamic && !alone {
            Word::Dynamic(raw.to_vec())
        } else {
            Word::Plain(parts.value)
        };
        Ok(Lexed { word, quoted: parts.quoted, equals, differs })
    }

    fn single(&mut self, parts: &mut Parts) -> Result<(), Unparsed> {
        parts.quoted = true;
        let rest = self.text.get(self.at + 1..).unwrap_or_default();
        let end = rest.iter().position(|&it| it == b'\'');
        let Some(end) = end else { return Err(self.stop(Why::Unclosed)) };
        parts.value.extend_from_slice(rest.get(..end).unwrap_or_default());
        self.at += end + 2;
        Ok(())
    }

    /// A backslash outside quotes.
    fn escape(&mut self, parts: &mut Parts) {
        match self.ahead(1) {
            Some(b'\n') => {}
            Some(byte) => {
                parts.quoted = true;
                parts.value.push(byte);
            }
            None => {
                parts.quoted = true;
                parts.value.push(b'\\');
                self.at += 1;
                return;
            }
        }
        self.at += 2;
    }

    fn double(&mut self, parts: &mut Parts) -> Result<(), Unparsed> {
        parts.quoted = true;
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(self.stop(Why::Unclosed)),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'$') => self.dollar(parts, true)?,
                Some(b'`') => self.backquotes(parts, true)?,
                Some(b'\\') => {
                    match self.ahead(1) {
                        Some(b'\n') => {}
                        Some(byte @ (b'$' | b'`' | b'"' | b'\\')) => parts.value.push(byte),
                        Some(_) => {
                            parts.value.push(b'\\');
                            self.at += 1;
                            continue;
                        }
                        None => return Err(self.stop(Why::Unclosed)),
                    }
                    self.at += 2;
                }
                Some(byte) => {
                    parts.value.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    /// `$` and what it begins.
    fn dollar(&mut self, parts: &mut Parts, in_double: bool) -> Result<(), Unparsed> {
        match self.ahead(1) {
            Some(b'(') if self.ahead(2) == Some(b'(') => Err(self.stop(Why::Arithmetic)),
            Some(b'(') => {
                parts.dynamic = true;
                self.at += 2;
                self.substitution()
            }
            Some(b'{') => {
                parts.dynamic = true;
                self.parameter()
            }
            Some(b'[') => Err(self.stop(Why::Arithmetic)),
            Some(b'\'') if !in_double => self.ansi(parts),
            Some(b'"') if !in_double => {
                // bash translates it; elsewhere the dollar stays.
                parts.dynamic = true;
                self.at += 1;
                Ok(())
            }
            Some(b'\\') if self.ahead(2) == Some(b'\n') => Err(self.stop(Why::Differs)),
            None | Some(b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b')' | b'"') => {
                parts.value.push(b'$');
                self.at += 1;
                Ok(())
            }
            Some(b'\\' | b'`' | b'\'') if in_double => {
                parts.value.push(b'$');
                self.at += 1;
                Ok(())
            }
            // A dollar and what shells take for different things: let none surprise us.
            Some(b'\\' | b'`') => Err(self.stop(Why::Differs)),
            Some(_) => {
                parts.dynamic = true;
                self.at += 2;
                Ok(())
            }
        }
    }

    /// `${NAME}`, `${#NAME}`, or a name, an operator and a word without anything special.
    fn parameter(&mut self) -> Result<(), Unparsed> {
        let rest = self.text.get(self.at + 2..).unwrap_or_default();
        let end = rest.iter().position(|&it| it == b'}');
        let Some(end) = end else { return Err(self.stop(Why::Unclosed)) };
        let body = rest.get(..end).unwrap_or_default();
        if !simple_parameter(body) {
            return Err(self.stop(Why::Parameter));
        }
        self.at += 2 + end + 1;
        Ok(())
    }

    /// `$'…'`: quotes with escapes; in a shell that does not know them, a dollar before quotes.
    /// Both end at the same place as long as no quote stands behind a backslash.
    fn ansi(&mut self, parts: &mut Parts) -> Result<(), Unparsed> {
        parts.quoted = true;
        parts.dynamic = true;
        self.at += 2;
        loop {
            match (self.peek(), self.ahead(1)) {
                (None, _) => return Err(self.stop(Why::Unclosed)),
                (Some(b'\''), _) => {
                    self.at += 1;
                    return Ok(());
                }
                (Some(b'\\'), Some(b'n' | b't' | b'r' | b'\\')) => self.at += 2,
                (Some(b'\\'), _) => return Err(self.stop(Why::Differs)),
                (Some(_), _) => self.at += 1,
            }
        }
    }

    /// `` ` … ` ``: the text between, with one level of backslashes removed, is a text of its own.
    fn backquotes(&mut self, parts: &mut Parts, in_double: bool) -> Result<(), Unparsed> {
        parts.dynamic = true;
        let start = self.at;
        let mut body = Vec::new();
        self.at += 1;
        loop {
            match (self.peek(), self.ahead(1)) {
                (None, _) | (Some(b'\\'), None) => return Err(self.stop(Why::Unclosed)),
                (Some(b'`'), _) => break,
                // Where a comment ends, and what a quote is in quotes, shells don't agree on.
                (Some(b'#'), _) => return Err(self.stop(Why::Differs)),
                // The lines are joined even where single quotes inside would keep them apart.
                (Some(b'\\'), Some(b'\n')) => return Err(self.stop(Why::Differs)),
                (Some(b'\\'), Some(b'"')) if in_double => return Err(self.stop(Why::Differs)),
                (Some(b'\\'), Some(byte @ (b'`' | b'\\' | b'$'))) => {
                    body.push(byte);
                    self.at += 2;
                }
                (Some(byte), _) => {
                    body.push(byte);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        self.substituted = true;
        let place = self.place.inner(start)?;
        crate::reader::text(&body, self.out, place)
    }
}

/// A line that goes on in the next (XCU 2.2.1).
const CONTINUED: &[u8] = b"\\\n";

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|it| it == part)
}

fn without(mut text: &[u8], part: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    while let Some((before, after)) =
        find(text, part).and_then(|at| Some((text.get(..at)?, text.get(at + part.len()..)?)))
    {
        out.extend_from_slice(before);
        text = after;
    }
    out.extend_from_slice(text);
    out
}

/// Where the `=` is, if the word begins with an unquoted `NAME=`, `NAME+=` or `NAME[…]=`.
pub(crate) fn assigns(raw: &[u8]) -> Option<usize> {
    let equals = raw.iter().position(|&it| it == b'=')?;
    let name = raw.get(..equals)?;
    let name = name.strip_suffix(b"+").unwrap_or(name);
    let (name, index) = match name.iter().position(|&it| it == b'[') {
        Some(at) => name.split_at_checked(at)?,
        None => (name, &b""[..]),
    };
    let indexed = index.is_empty() || index.ends_with(b"]");
    (is_name(name) && indexed).then_some(equals)
}

/// A variable's name (XBD 3.216).
pub(crate) fn is_name(name: &[u8]) -> bool {
    name.first().is_some_and(|it| it.is_ascii_alphabetic() || *it == b'_')
        && name.iter().all(|it| it.is_ascii_alphanumeric() || *it == b'_')
}

fn simple_parameter(body: &[u8]) -> bool {
    let named = |name: &[u8]| is_name(name) || name.iter().all(u8::is_ascii_digit);
    if let Some(name) = body.strip_prefix(b"#") {
        return !name.is_empty() && named(name);
    }
    let end = body.iter().position(|it| !it.is_ascii_alphanumeric() && *it != b'_');
    let (name, rest) = body.split_at_checked(end.unwrap_or(body.len())).unwrap_or_default();
    if name.is_empty() || !named(name) {
        return false;
    }
    let rest = rest.strip_prefix(b":").map_or(rest, |after| match after.first() {
        Some(b'-' | b'=' | b'?' | b'+') => after,
        _ => rest,
    });
    let word = match rest.split_first() {
        None => return true,
        Some((b'-' | b'=' | b'?' | b'+', word)) => word,
        Some((b'#', word)) => word.strip_prefix(b"#").unwrap_or(word),
        Some((b'%', word)) => word.strip_prefix(b"%").unwrap_or(word),
        Some(_) => return false,
    };
    word.iter().all(|it| it.is_ascii_alphanumeric() || b"_./,:@+=*?-".contains(it))
}
