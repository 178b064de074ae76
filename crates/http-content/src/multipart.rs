//! `multipart/…` (RFC 2046 section 5.1), part by part, each masked as its own
//! Content-Type says.

use crate::body::Part;
use crate::error::ContentError;
use crate::eyes::{Counts, Eyes, Outs};
use crate::field;
use crate::json::MAX_STRING;
use crate::media::{Charset, Kind, parameter};
use memchr::{memchr, memmem};

/// Longest head of a part, in bytes.
pub const MAX_PART_HEAD: usize = 16 * 1024;
/// Most white space behind a delimiter, in bytes.
pub const MAX_PADDING: usize = 256;

/// Masks the parts.
pub(crate) struct Multipart {
    eyes: Eyes,
    /// `\n--boundary`.
    delimiter: Vec<u8>,
    carry: Vec<u8>,
    state: State,
    /// Nothing was read: a delimiter needs no line before it.
    start: bool,
    counts: Counts,
}

enum State {
    Head,
    Body(Content),
}

enum Content {
    Part(Box<Part>),
    /// A form's field, held so that its name can say what it is.
    Field {
        name: Vec<u8>,
        value: Vec<u8>,
    },
    /// A long field that a path rule hides.
    Hidden,
}

/// What a delimiter turned out to be.
enum Delimiter {
    Next(usize),
    Last(usize),
    None,
    Need,
}

impl Multipart {
    pub(crate) fn new(eyes: &Eyes, boundary: &[u8]) -> Self {
        Self {
            eyes: eyes.clone(),
            delimiter: [b"\n--", boundary].concat(),
            carry: Vec::new(),
            // What stands before the first delimiter is text.
            state: State::Body(Content::text(eyes)),
            start: true,
            counts: Counts::default(),
        }
    }

    pub(crate) fn counts(&self, counts: &mut Counts) {
        counts.merge(&self.counts);
        if let State::Body(Content::Part(part)) = &self.state {
            part.counts(counts);
        }
    }

    pub(crate) fn push(&mut self, piece: &[u8], outs: &mut Outs<'_>) -> Result<(), ContentError> {
        let mut buffer = std::mem::take(&mut self.carry);
        buffer.extend_from_slice(piece);
        let used = self.run(&buffer, false, outs)?;
        buffer.drain(..used.min(buffer.len()));
        self.carry = buffer;
        Ok(())
    }

    pub(crate) fn finish(&mut self, outs: &mut Outs<'_>) -> Result<(), ContentError> {
        let buffer = std::mem::take(&mut self.carry);
        let used = self.run(&buffer, true, outs)?;
        let rest = buffer.get(used..).unwrap_or_default();
        match &mut self.state {
            // A head that does not end.
            State::Head => self.eyes.text(rest, outs, &mut self.counts),
            State::Body(_) => {
                self.content(rest, outs)?;
                self.end_part(outs)?;
            }
        }
        Ok(())
    }

    fn run(
        &mut self,
        buffer: &[u8],
        last: bool,
        outs: &mut Outs<'_>,
    ) -> Result<usize, ContentError> {
        let mut at = 0;
        loop {
            let rest = buffer.get(at..).unwrap_or_default();
            let used = match self.state {
                State::Head => self.head(rest, outs)?,
                State::Body(_) => self.body(rest, last, outs)?,
            };
            match used {
                Some(n) => at += n,
                None => return Ok(at),
            }
            if let State::Body(_) = self.state
                && at >= buffer.len()
            {
                return Ok(at);
            }
        }
    }

    fn head(&mut self, rest: &[u8], outs: &mut Outs<'_>) -> Result<Option<usize>, ContentError> {
        let Some(end) = end_of_head(rest) else {
            if rest.len() > MAX_PART_HEAD {
                return Err(ContentError::TooLong { what: "a part's head", limit: MAX_PART_HEAD });
            }
            return Ok(None);
        };
        if end > MAX_PART_HEAD {
            return Err(ContentError::TooLong { what: "a part's head", limit: MAX_PART_HEAD });
        }
        let head = rest.get(..end).unwrap_or_default();
        for line in head.split_inclusive(|b| *b == b'\n') {
            let text = line.trim_ascii_end();
            self.eyes.text(text, outs, &mut self.counts);
            outs.keep(line.get(text.len()..).unwrap_or_default());
        }
        self.state = State::Body(self.content_of(head)?);
        Ok(Some(end))
    }

    /// What a part's head says of it.
    fn content_of(&self, head: &[u8]) -> Result<Content, ContentError> {
        let unfolded = String::from_utf8_lossy(head)
            .replace("\r\n ", " ")
            .replace("\r\n\t", " ")
            .replace("\n ", " ")
            .replace("\n\t", " ");
        let (mut kind, mut disposition) = (None, None);
        for line in unfolded.lines() {
            let Some((name, value)) = line.split_once(':') else { continue };
            match name.trim().to_ascii_lowercase().as_str() {
                "content-type" => kind = Some(value.trim().to_owned()),
                "content-disposition" => disposition = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        let named = |what| disposition.as_deref().and_then(|d| parameter(d, what));
        let is_file = named("filename").is_some() || named("filename*").is_some();
        let text = kind.as_deref().is_none_or(|k| Kind::of(Some(k)) == Kind::Text);
        if let (Some(name), true, false) = (named("name"), text, is_file)
            && Charset::of(kind.as_deref()) == Charset::Ascii
        {
            return Ok(Content::Field { name, value: Vec::new() });
        }
        let kind_of = match Kind::of(kind.as_deref()) {
            // One level: what is inside another multipart is text.
            Kind::Multipart { .. } => Kind::Text,
            other => other,
        };
        let part = Part::new(&kind_of, Charset::of(kind.as_deref()), self.eyes.clone())?;
        Ok(Content::Part(Box::new(part)))
    }

    fn body(
        &mut self,
        rest: &[u8],
        last: bool,
        outs: &mut Outs<'_>,
    ) -> Result<Option<usize>, ContentError> {
        let bare = self.delimiter.get(1..).unwrap_or_default();
        if self.start {
            if rest.len() < bare.len() && bare.starts_with(rest) && !last {
                return Ok(None);
            }
            if rest.starts_with(bare) {
                match self.delimiter_at(rest, bare.len(), last) {
                    Delimiter::Need => return Ok(None),
                    Delimiter::None => {}
                    found => return self.between(rest, 0, found, outs).map(Some),
                }
            }
            self.start = false;
        }
        let Some(at) = memmem::find(rest, &self.delimiter) else {
            // What may be the beginning of a delimiter, with the CR before it.
            let tail = if last { 0 } else { rest.len().min(self.delimiter.len() + 1) };
            let sure = rest.len() - tail;
            if sure == 0 {
                return Ok(None);
            }
            self.content(rest.get(..sure).unwrap_or_default(), outs)?;
            return Ok(Some(sure));
        };
        let end = if at > 0 && rest.get(at - 1) == Some(&b'\r') { at - 1 } else { at };
        match self.delimiter_at(rest, at + self.delimiter.len(), last) {
            Delimiter::Need => {
                if end == 0 {
                    return Ok(None);
                }
                self.content(rest.get(..end).unwrap_or_default(), outs)?;
                Ok(Some(end))
            }
            Delimiter::None => {
                self.content(rest.get(..=at).unwrap_or_default(), outs)?;
                Ok(Some(at + 1))
            }
            found => {
                self.content(rest.get(..end).unwrap_or_default(), outs)?;
                self.between(rest, end, found, outs).map(Some)
            }
        }
    }

    /// What follows `--boundary`, which ends at `at`.
    fn delimiter_at(&self, rest: &[u8], at: usize, last: bool) -> Delimiter {
        let behind = rest.get(at..).unwrap_or_default();
        let line = memchr(b'\n', behind.get(..behind.len().min(MAX_PADDING)).unwrap_or_default());
        let text = match line {
            Some(end) => behind.get(..end).unwrap_or_default(),
            None if behind.len() < MAX_PADDING && !last => return Delimiter::Need,
            None => behind,
        };
        match (text.trim_ascii(), line) {
            (b"", Some(end)) => Delimiter::Next(at + end + 1),
            (b"--", Some(end)) => Delimiter::Last(at + end + 1),
            (b"--", None) if behind.len() < MAX_PADDING => Delimiter::Last(at + behind.len()),
            _ => Delimiter::None,
        }
    }

    /// Ends a part at a delimiter that begins at `from`.
    fn between(
        &mut self,
        rest: &[u8],
        from: usize,
        found: Delimiter,
        outs: &mut Outs<'_>,
    ) -> Result<usize, ContentError> {
        self.end_part(outs)?;
        self.start = false;
        let to = match found {
            Delimiter::Next(to) => {
                self.state = State::Head;
                to
            }
            // What follows the last part is text; a delimiter there opens one again.
            Delimiter::Last(to) => {
                self.state = State::Body(Content::text(&self.eyes));
                // The line's end may begin the next delimiter.
                to
            }
            Delimiter::None | Delimiter::Need => from,
        };
        outs.keep(rest.get(from..to).unwrap_or_default());
        Ok(to)
    }

    fn content(&mut self, bytes: &[u8], outs: &mut Outs<'_>) -> Result<(), ContentError> {
        let State::Body(content) = &mut self.state else { return Ok(()) };
        match content {
            Content::Part(part) => part.push(bytes, outs),
            Content::Hidden => Ok(()),
            Content::Field { name, value } => {
                value.extend_from_slice(bytes);
                if value.len() <= MAX_STRING {
                    return Ok(());
                }
                let value = std::mem::take(value);
                if field::hides(&self.eyes, field::rule(&self.eyes, name)) {
                    outs.keep(b"<MASKED>");
                    *content = Content::Hidden;
                    return Ok(());
                }
                *content = Content::text(&self.eyes);
                self.content(&value, outs)
            }
        }
    }

    fn end_part(&mut self, outs: &mut Outs<'_>) -> Result<(), ContentError> {
        let State::Body(content) = &mut self.state else { return Ok(()) };
        match content {
            Content::Part(part) => {
                part.finish(outs)?;
                part.counts(&mut self.counts);
            }
            Content::Hidden => {}
            Content::Field { name, value } => {
                let rule = field::rule(&self.eyes, name);
                let policy = &self.eyes.policy;
                self.eyes.each(value, outs, &mut self.counts, |sink, out, receipt| {
                    let mut made = Vec::new();
                    let done = field::mask(policy, sink, rule, (name, value), &mut made, receipt);
                    if done {
                        out.extend_from_slice(&made);
                    }
                    done
                });
            }
        }
        *content = Content::Hidden;
        Ok(())
    }
}

impl Content {
    fn text(eyes: &Eyes) -> Self {
        Content::Part(Box::new(Part::text(eyes.clone())))
    }
}

/// Where the body behind a head begins.
fn end_of_head(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = rest.get(at..).unwrap_or_default();
        let end = memchr(b'\n', line)?;
        let blank = line.get(..end).is_some_and(|l| l.is_empty() || l == b"\r");
        at += end + 1;
        if blank {
            return Some(at);
        }
    }
}
