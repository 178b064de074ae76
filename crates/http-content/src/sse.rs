//! Server-sent events (WHATWG HTML, section 9.2.5), event by event: an event is
//! given out with its blank line, and nothing is held across it.

use crate::error::ContentError;
use crate::eyes::{Counts, Eyes, Outs, TextMask};
use crate::json::Walker;
use masking::Sink;
use memchr::memchr2;

/// Longest event that is held whole, in bytes. A longer one is masked as text
/// while it streams; where path rules are in force it is refused.
pub const MAX_EVENT: usize = 1024 * 1024;

/// Masks events.
pub(crate) struct Events {
    eyes: Eyes,
    event: Vec<u8>,
    /// Nothing of the current line has come.
    fresh: bool,
    /// The last byte was CR: an LF belongs to it.
    cr: bool,
    first: bool,
    long: Option<Box<TextMask>>,
    walker: Box<Walker>,
    counts: Counts,
}

impl Events {
    pub(crate) fn new(eyes: &Eyes) -> Self {
        Self {
            eyes: eyes.clone(),
            event: Vec::new(),
            fresh: true,
            cr: false,
            first: true,
            long: None,
            walker: Box::new(Walker::new(eyes, false, true)),
            counts: Counts::default(),
        }
    }

    pub(crate) fn counts(&self, counts: &mut Counts) {
        counts.merge(&self.counts);
        self.walker.counts(counts);
        if let Some(long) = &self.long {
            long.counts(counts);
        }
    }

    pub(crate) fn push(&mut self, piece: &[u8], outs: &mut Outs<'_>) -> Result<(), ContentError> {
        let mut rest = piece;
        while let Some(b) = rest.first() {
            if std::mem::take(&mut self.cr) && *b == b'\n' {
                if self.event.is_empty() && self.long.is_none() {
                    outs.keep(b"\n");
                } else {
                    self.take(b"\n", outs)?;
                }
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let end = memchr2(b'\n', b'\r', rest);
            let n = end.map_or(rest.len(), |end| end + 1);
            let blank = end == Some(0) && self.fresh;
            self.take(rest.get(..n).unwrap_or_default(), outs)?;
            self.fresh = end.is_some();
            self.cr = end.is_some_and(|end| rest.get(end) == Some(&b'\r'));
            rest = rest.get(n..).unwrap_or_default();
            if blank {
                self.end_event(outs)?;
            }
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self, outs: &mut Outs<'_>) -> Result<(), ContentError> {
        self.end_event(outs)
    }

    fn take(&mut self, bytes: &[u8], outs: &mut Outs<'_>) -> Result<(), ContentError> {
        if let Some(long) = &mut self.long {
            long.push(bytes, outs);
            return Ok(());
        }
        self.event.extend_from_slice(bytes);
        if self.event.len() <= MAX_EVENT {
            return Ok(());
        }
        let paths = |sink| self.eyes.wants(sink) && self.eyes.policy.paths_mask(sink);
        if paths(Sink::Client) || paths(Sink::Record) {
            return Err(ContentError::TooLong { what: "an event", limit: MAX_EVENT });
        }
        let mut long = Box::new(TextMask::new(&self.eyes));
        long.push(&std::mem::take(&mut self.event), outs);
        self.long = Some(long);
        Ok(())
    }

    fn end_event(&mut self, outs: &mut Outs<'_>) -> Result<(), ContentError> {
        if let Some(mut long) = self.long.take() {
            long.finish(outs);
            long.counts(&mut self.counts);
            return Ok(());
        }
        let event = std::mem::take(&mut self.event);
        let done = self.event(&event, outs);
        self.event = event;
        self.event.clear();
        done
    }

    fn event(&mut self, event: &[u8], outs: &mut Outs<'_>) -> Result<(), ContentError> {
        let mut event = event;
        if std::mem::take(&mut self.first)
            && let Some(rest) = event.strip_prefix(b"\xEF\xBB\xBF")
        {
            outs.keep(b"\xEF\xBB\xBF");
            event = rest;
        }
        let mut data = Vec::new();
        let mut has_data = false;
        for line in lines(event) {
            if let Some(value) = data_of(line.text) {
                if has_data {
                    data.push(b'\n');
                }
                data.extend_from_slice(value);
                has_data = true;
            }
        }
        let (mut client, mut record) = (Vec::new(), Vec::new());
        let mut inner = Outs {
            client: outs.client.is_some().then_some(&mut client),
            record: outs.record.is_some().then_some(&mut record),
        };
        self.walk(&data, &mut inner)?;
        let same = |made: &Vec<u8>, on: bool| !on || *made == data;
        let client_same = same(&client, outs.client.is_some());
        let record_same = same(&record, outs.record.is_some());
        let mut first = true;
        for line in lines(event) {
            if data_of(line.text).is_none() {
                self.other(line.text, outs);
                outs.keep(line.end);
                continue;
            }
            let first = std::mem::take(&mut first);
            for (sink, made, same) in
                [(Sink::Client, &client, client_same), (Sink::Record, &record, record_same)]
            {
                let Some(out) = outs.side(sink) else { continue };
                if same {
                    out.extend_from_slice(line.text);
                    out.extend_from_slice(line.end);
                } else if first {
                    put_data(made, line.end, out);
                }
            }
        }
        Ok(())
    }

    /// Masks an event's data: JSON if it looks so, else text.
    fn walk(&mut self, data: &[u8], outs: &mut Outs<'_>) -> Result<(), ContentError> {
        if matches!(data.trim_ascii_start().first(), Some(b'{' | b'[' | b'"')) {
            self.walker.push(data, outs)?;
            return self.walker.finish(outs);
        }
        self.eyes.text(data, outs, &mut self.counts);
        Ok(())
    }

    /// Masks a comment, an id or another field.
    fn other(&mut self, line: &[u8], outs: &mut Outs<'_>) {
        let policy = &self.eyes.policy;
        self.eyes.each(line, outs, &mut self.counts, |sink, out, receipt| {
            let start = out.len();
            let done = policy.mask_text(sink, line, out, receipt) == masking::Outcome::Replaced;
            // No mask ends a line.
            for b in out.get_mut(start..).unwrap_or_default() {
                if matches!(b, b'\n' | b'\r') {
                    *b = b' ';
                }
            }
            done
        });
    }
}

struct Line<'e> {
    text: &'e [u8],
    end: &'e [u8],
}

fn lines(mut rest: &[u8]) -> impl Iterator<Item = Line<'_>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let (text, behind) = rest.split_at(at);
        let n = if behind.starts_with(b"\r\n") { 2 } else { behind.len().min(1) };
        let (end, more) = behind.split_at(n);
        rest = more;
        Some(Line { text, end })
    })
}

/// The value of a `data` field.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"data")?;
    if rest.is_empty() {
        return Some(rest);
    }
    let value = rest.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

/// Writes data as fields, the last one ended as the first one was.
fn put_data(data: &[u8], end: &[u8], out: &mut Vec<u8>) {
    let between = if end.is_empty() { b"\n" } else { end };
    for (n, line) in data.split(|b| matches!(b, b'\n' | b'\r')).enumerate() {
        if n > 0 {
            out.extend_from_slice(between);
        }
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
    }
    out.extend_from_slice(end);
}
