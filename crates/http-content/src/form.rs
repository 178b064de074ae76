//! `application/x-www-form-urlencoded` (WHATWG URL, section 5), pair by pair.

use crate::escape::{FormText, Writing, decode};
use crate::eyes::{Counts, Eyes, Outs};
use crate::field;
use crate::json::MAX_STRING;
use crate::recode::Recode;
use masking::Outcome;
use memchr::memchr;

/// Masks a form. A pair is held whole up to [`MAX_STRING`]; what is longer streams.
pub(crate) struct Form {
    eyes: Eyes,
    pair: Vec<u8>,
    long: Long,
    counts: Counts,
}

enum Long {
    No,
    Streams(Recode<FormText>),
    /// A path rule hides it.
    Hidden,
}

impl Form {
    pub(crate) fn new(eyes: &Eyes) -> Self {
        let counts = Counts::default();
        Self { eyes: eyes.clone(), pair: Vec::new(), long: Long::No, counts }
    }

    pub(crate) fn counts(&self, counts: &mut Counts) {
        counts.merge(&self.counts);
    }

    pub(crate) fn push(&mut self, piece: &[u8], outs: &mut Outs<'_>) {
        let mut rest = piece;
        while !rest.is_empty() {
            let end = memchr(b'&', rest);
            let part = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            self.take(part, outs);
            let Some(end) = end else { return };
            self.end_pair(outs);
            outs.keep(b"&");
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }

    pub(crate) fn finish(&mut self, outs: &mut Outs<'_>) {
        self.end_pair(outs);
    }

    fn take(&mut self, part: &[u8], outs: &mut Outs<'_>) {
        match &mut self.long {
            Long::No => {
                self.pair.extend_from_slice(part);
                if self.pair.len() > MAX_STRING {
                    self.go_long(outs);
                }
            }
            Long::Streams(long) => long.push(part, outs),
            Long::Hidden => {}
        }
    }

    fn go_long(&mut self, outs: &mut Outs<'_>) {
        let pair = std::mem::take(&mut self.pair);
        // A name that does not end within the limit is part of the value.
        let split = memchr(b'=', pair.get(..MAX_STRING).unwrap_or_default());
        let (raw_name, value) = match split {
            Some(at) => pair.split_at(at + 1),
            None => (&[][..], pair.as_slice()),
        };
        let mut name = Vec::new();
        decode::<FormText>(raw_name.strip_suffix(b"=").unwrap_or(raw_name), &mut name);
        self.mask_name(raw_name.strip_suffix(b"=").unwrap_or(raw_name), &name, outs);
        outs.keep(if split.is_some() { b"=" } else { b"" });
        if field::hides(&self.eyes, field::rule(&self.eyes, &name)) {
            outs.keep(b"%3CMASKED%3E");
            for sink in self.eyes.lanes() {
                let receipt = self.counts.of(sink);
                receipt.masked += 1;
                receipt.by_column += 1;
            }
            self.long = Long::Hidden;
            return;
        }
        let mut long = Recode::new(&self.eyes);
        long.push(value, outs);
        self.long = Long::Streams(long);
    }

    fn end_pair(&mut self, outs: &mut Outs<'_>) {
        match std::mem::replace(&mut self.long, Long::No) {
            Long::No => {
                let pair = std::mem::take(&mut self.pair);
                self.whole(&pair, outs);
                self.pair = pair;
                self.pair.clear();
            }
            Long::Streams(long) => long.finish(outs, &mut self.counts),
            Long::Hidden => {}
        }
    }

    fn whole(&mut self, pair: &[u8], outs: &mut Outs<'_>) {
        let split = memchr(b'=', pair);
        // A lone name may be a value as well.
        let (raw_name, raw) = match split {
            Some(at) => (pair.get(..at), pair.get(at + 1..)),
            None => (Some(&[][..]), Some(pair)),
        };
        let (raw_name, raw) = (raw_name.unwrap_or_default(), raw.unwrap_or_default());
        let (mut name, mut value) = (Vec::new(), Vec::new());
        decode::<FormText>(raw_name, &mut name);
        decode::<FormText>(raw, &mut value);
        if split.is_some() {
            self.mask_name(raw_name, &name, outs);
            outs.keep(b"=");
        }
        let rule = field::rule(&self.eyes, &name);
        let policy = &self.eyes.policy;
        self.eyes.each(raw, outs, &mut self.counts, |sink, out, receipt| {
            let mut made = Vec::new();
            let done = field::mask(policy, sink, rule, (&name, &value), &mut made, receipt);
            if done {
                FormText::write(&made, out);
            }
            done
        });
    }

    fn mask_name(&mut self, raw: &[u8], name: &[u8], outs: &mut Outs<'_>) {
        let policy = &self.eyes.policy;
        self.eyes.each(raw, outs, &mut self.counts, |sink, out, receipt| {
            let mut made = Vec::new();
            let done = policy.mask_text(sink, name, &mut made, receipt) == Outcome::Replaced;
            if done {
                FormText::write(&made, out);
            }
            done
        });
    }
}
