//! Rules that name places in JSON documents: paths as RFC 9535 writes them.
//!
//! What can be decided while a document streams by is understood: names,
//! wildcards, indexes and slices from the front, and descendants. What needs
//! the rest of the document (filters, negative indexes and steps) is refused
//! when the rule is compiled.

use crate::operator::Operator;
use crate::policy::{Policy, Sink};

/// Most paths in one policy, all rules together.
pub const MAX_PATHS: usize = 256;
/// Most segments of one path.
pub const MAX_SEGMENTS: usize = 32;

/// A rule for what stands at a place in a JSON document, with all below it.
#[derive(Clone, Debug)]
pub struct PathRule {
    pub(crate) name: String,
    pub(crate) client: Operator,
    pub(crate) record: Operator,
}

impl PathRule {
    /// The rule's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What to do with a value on its way to `sink`.
    #[must_use]
    pub fn operator(&self, sink: Sink) -> &Operator {
        match sink {
            Sink::Client => &self.client,
            Sink::Record => &self.record,
        }
    }
}

/// A compiled path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonPath {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    /// `..`: any number of levels may lie before what is selected.
    descendants: bool,
    selectors: Vec<Selector>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Selector {
    Name(String),
    Any,
    Index(u64),
    Slice { start: u64, end: Option<u64>, step: u64 },
}

/// One step down a document.
#[derive(Clone, Copy, Debug)]
pub enum PathStep<'a> {
    /// To the member of this name (decoded).
    Member(&'a [u8]),
    /// To the element with this index, from 0.
    Element(u64),
}

impl Selector {
    fn selects(&self, step: PathStep<'_>) -> bool {
        match (self, step) {
            (Selector::Any, _) => true,
            (Selector::Name(name), PathStep::Member(m)) => name.as_bytes() == m,
            (Selector::Index(i), PathStep::Element(e)) => *i == e,
            (Selector::Slice { start, end, step }, PathStep::Element(e)) => {
                e >= *start && end.is_none_or(|end| e < end) && (e - start).is_multiple_of(*step)
            }
            _ => false,
        }
    }
}

/// Where in a document a walk stands, as the path rules of a [`Policy`] see
/// it. Ask [`child`](Self::child) at each member and element, then
/// [`enter`](Self::enter) if it is an object or array, and
/// [`leave`](Self::leave) at its end.
#[derive(Clone, Debug, Default)]
pub struct PathWalk {
    /// Of all open levels: (path, segments matched so far).
    active: Vec<(u16, u8)>,
    /// Where each level's share of `active` begins.
    levels: Vec<usize>,
    /// The share of the child last asked for.
    child: Vec<(u16, u8)>,
}

impl PathWalk {
    /// A walk that stands before a document's root. Answers, as
    /// [`child`](Self::child) does, the rule for the root itself (`$`).
    pub fn start(&mut self, policy: &Policy) -> Option<usize> {
        self.active.clear();
        self.levels.clear();
        self.child.clear();
        let mut rule = None;
        for (n, (of, path)) in policy.paths.iter().enumerate() {
            match u16::try_from(n) {
                Ok(n) if !path.segments.is_empty() => self.child.push((n, 0)),
                Ok(_) if rule.is_none() => rule = Some(*of),
                _ => {}
            }
        }
        rule
    }

    /// The first rule (an index for [`Policy::path_rule`]) one of whose paths
    /// ends at this child of the value that was entered last.
    pub fn child(&mut self, policy: &Policy, step: PathStep<'_>) -> Option<usize> {
        self.child.clear();
        let from = self.levels.last().copied().unwrap_or(0);
        let mut rule: Option<usize> = None;
        for (path, segment) in self.active.get(from..).unwrap_or_default() {
            let Some((of, known)) = policy.paths.get(usize::from(*path)) else { continue };
            let Some(next) = known.segments.get(usize::from(*segment)) else { continue };
            if next.descendants && !self.child.contains(&(*path, *segment)) {
                self.child.push((*path, *segment));
            }
            if !next.selectors.iter().any(|s| s.selects(step)) {
                continue;
            }
            let behind = (*path, segment.saturating_add(1));
            if usize::from(behind.1) == known.segments.len() {
                rule = Some(rule.map_or(*of, |r| r.min(*of)));
            } else if !self.child.contains(&behind) {
                self.child.push(behind);
            }
        }
        rule
    }

    /// Goes into the child last asked for.
    pub fn enter(&mut self) {
        self.levels.push(self.active.len());
        self.active.append(&mut self.child);
    }

    /// Goes back to the parent.
    pub fn leave(&mut self) {
        if let Some(at) = self.levels.pop() {
            self.active.truncate(at);
        }
    }
}

impl JsonPath {
    /// Reads a path.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut read = Read { rest: text };
        if !read.eat("$") {
            return Err("does not begin with `$`".to_owned());
        }
        let mut segments = Vec::new();
        loop {
            read.blank();
            if read.rest.is_empty() {
                return Ok(Self { segments });
            }
            segments.push(read.segment()?);
            if segments.len() > MAX_SEGMENTS {
                return Err(format!("has more than {MAX_SEGMENTS} segments"));
            }
        }
    }
}

/// What of a path is still to be read.
struct Read<'t> {
    rest: &'t str,
}

impl Read<'_> {
    fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        Some(c)
    }

    fn blank(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn segment(&mut self) -> Result<Segment, String> {
        let descendants = self.eat("..");
        if self.eat("[") {
            return Ok(Segment { descendants, selectors: self.bracketed()? });
        }
        if !descendants && !self.eat(".") {
            return Err(format!("has `{}` where `.` or `[` should stand", self.near()));
        }
        let selector = if self.eat("*") { Selector::Any } else { Selector::Name(self.name()?) };
        Ok(Segment { descendants, selectors: vec![selector] })
    }

    fn near(&self) -> String {
        self.rest.chars().take(12).collect()
    }

    /// A name without quotes: RFC 9535 section 2.5.1.1, member-name-shorthand.
    fn name(&mut self) -> Result<String, String> {
        let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
        let end = self.rest.find(|c| !part(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at_checked(end).unwrap_or_default();
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!(
                "has no name at `{}`; a name with other signs is written ['like this']",
                self.near()
            ));
        }
        self.rest = rest;
        Ok(name.to_owned())
    }

    fn bracketed(&mut self) -> Result<Vec<Selector>, String> {
        let mut selectors = Vec::new();
        loop {
            self.blank();
            selectors.push(self.selector()?);
            self.blank();
            if self.eat("]") {
                return Ok(selectors);
            }
            if !self.eat(",") {
                return Err(format!("has `{}` where `,` or `]` should stand", self.near()));
            }
        }
    }

    fn selector(&mut self) -> Result<Selector, String> {
        match self.rest.chars().next() {
            Some('*') => {
                self.rest = self.rest.strip_prefix('*').unwrap_or_default();
                Ok(Selector::Any)
            }
            Some(quote @ ('\'' | '"')) => {
                self.next();
                Ok(Selector::Name(self.quoted(quote)?))
            }
            Some('?') => Err("has a filter; what a filter selects is not known while the \
                document streams by: name the places"
                .to_owned()),
            Some('-' | '0'..='9' | ':') => self.index_or_slice(),
            _ => Err(format!("has no selector at `{}`", self.near())),
        }
    }

    fn index_or_slice(&mut self) -> Result<Selector, String> {
        let start = self.number()?;
        self.blank();
        if !self.eat(":") {
            return start.map(Selector::Index).ok_or_else(|| "has an empty index".to_owned());
        }
        self.blank();
        let end = self.number()?;
        self.blank();
        let step = if self.eat(":") {
            self.blank();
            self.number()?.unwrap_or(1)
        } else {
            1
        };
        if step == 0 {
            return Err("has a slice with step 0, which selects nothing".to_owned());
        }
        Ok(Selector::Slice { start: start.unwrap_or(0), end, step })
    }

    fn number(&mut self) -> Result<Option<u64>, String> {
        if self.rest.starts_with('-') {
            return Err("counts from the end of an array; how long it is, is not known while \
                the document streams by: count from the front"
                .to_owned());
        }
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at_checked(end).unwrap_or_default();
        if digits.is_empty() {
            return Ok(None);
        }
        if digits.len() > 1 && digits.starts_with('0') {
            return Err(format!("has a number with a leading zero, `{digits}`"));
        }
        self.rest = rest;
        digits.parse().map(Some).map_err(|_| format!("has too large a number, `{digits}`"))
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let mut name = String::new();
        loop {
            match self.next() {
                None => return Err("has an unclosed quote".to_owned()),
                Some(c) if c == quote => return Ok(name),
                Some('\\') => name.push(self.escaped(quote)?),
                Some(c) if c.is_control() => {
                    return Err("has a control character in a name".to_owned());
                }
                Some(c) => name.push(c),
            }
        }
    }

    fn escaped(&mut self, quote: char) -> Result<char, String> {
        Ok(match self.next() {
            Some('b') => '\u{8}',
            Some('t') => '\t',
            Some('n') => '\n',
            Some('f') => '\u{c}',
            Some('r') => '\r',
            Some(c @ ('/' | '\\')) => c,
            Some(c) if c == quote => c,
            Some('u') => {
                let first = self.hex()?;
                let code = match first {
                    0xD800..=0xDBFF if self.eat("\\u") => {
                        let low = self.hex()?.wrapping_sub(0xDC00);
                        if low < 0x400 { 0x10000 + ((first - 0xD800) << 10) + low } else { first }
                    }
                    other => other,
                };
                char::from_u32(code).ok_or("has half a surrogate pair in a name")?
            }
            _ => return Err("has an unknown escape in a name".to_owned()),
        })
    }

    fn hex(&mut self) -> Result<u32, String> {
        let (digits, rest) = self.rest.split_at_checked(4).unwrap_or_default();
        self.rest = rest;
        let all = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        all.then(|| u32::from_str_radix(digits, 16).ok())
            .flatten()
            .ok_or_else(|| "has \\u without four hex digits".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        JsonPath::parse(text).unwrap_err()
    }

    #[test]
    fn what_cannot_stream_is_refused_in_words() {
        assert!(refused("$.a[-1]").contains("count from the front"));
        assert!(refused("$.a[-2:]").contains("count from the front"));
        assert!(refused("$.a[:-1]").contains("count from the front"));
        assert!(refused("$.a[::-1]").contains("count from the front"));
        assert!(refused("$.a[?@.b == 1]").contains("filter"));
        assert!(refused("$.a[0:9:0]").contains("step 0"));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "",
            "a",
            ".a",
            "$a",
            "$.",
            "$..",
            "$.a.",
            "$.1a",
            "$[",
            "$[]",
            "$['a'",
            "$['a]",
            "$[a]",
            "$[01]",
            "$[1,]",
            "$['\\x']",
            "$['\\ud800']",
            "$['\\u12']",
            "$.a b",
            "$[99999999999999999999]",
        ] {
            assert!(JsonPath::parse(text).is_err(), "{text}");
        }
        assert!(JsonPath::parse(&format!("${}", ".a".repeat(MAX_SEGMENTS))).is_ok());
        assert!(JsonPath::parse(&format!("${}", ".a".repeat(MAX_SEGMENTS + 1))).is_err());
    }

    #[test]
    fn names_are_decoded() {
        let same = |a: &str, b: &str| {
            assert_eq!(JsonPath::parse(a).unwrap(), JsonPath::parse(b).unwrap(), "{a} {b}");
        };
        same("$.a", "$['a']");
        same("$.a", "$[ \"\\u0061\" ]");
        same("$['\\uD83D\\uDE00']", "$['😀']");
        same("$..b[*]", "$..['b'].*");
        same("$[1:]", "$[1::1]");
    }
}
