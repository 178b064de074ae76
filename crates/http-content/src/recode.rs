//! Long text inside other text, masked while it streams: the text is decoded
//! for the detectors, and what they leave stays written as it was.

use crate::escape::{JsonBase64, Writing};
use crate::eyes::{Counts, Eyes, Outs};
use masking::{Edits, Sink, StreamMasker};
use std::marker::PhantomData;

/// A string that is too long to be held, for each side.
pub(crate) struct Recode<W> {
    lanes: Vec<Lane<W>>,
    copy: bool,
}

struct Lane<W> {
    sink: Sink,
    /// Masks what is in base64 first.
    coded: Option<Box<Lane<JsonBase64>>>,
    masker: StreamMasker,
    /// As written, not yet given out.
    raw: Vec<u8>,
    /// Of `raw`: shown to the masker.
    shown: usize,
    /// Decoded bytes that may stay, and are part of a unit not given out yet.
    kept: usize,
    /// Decoded bytes to come that belong to a unit that is already gone.
    gone: usize,
    text: Vec<u8>,
    edits: Edits,
    writing: PhantomData<W>,
}

impl<W: Writing> Recode<W> {
    pub(crate) fn new(eyes: &Eyes) -> Self {
        let lanes = eyes.lanes().map(|sink| Lane::new(eyes, sink)).collect();
        Self { lanes, copy: eyes.client && eyes.same }
    }

    /// As [`new`](Self::new), for a text that may be base64 as a whole.
    pub(crate) fn with_base64(eyes: &Eyes) -> Self {
        let mut all = Self::new(eyes);
        for lane in &mut all.lanes {
            lane.coded = Some(Box::new(Lane::new(eyes, lane.sink)));
        }
        all
    }

    pub(crate) fn push(&mut self, raw: &[u8], outs: &mut Outs<'_>) {
        self.each(outs, |lane, out| lane.push(raw, false, out));
    }

    pub(crate) fn finish(mut self, outs: &mut Outs<'_>, counts: &mut Counts) {
        self.each(outs, |lane, out| lane.push(b"", true, out));
        for lane in &self.lanes {
            counts.of(lane.sink).merge(lane.masker.receipt());
            if let Some(coded) = &lane.coded {
                counts.of(lane.sink).merge(coded.masker.receipt());
            }
        }
    }

    fn each(&mut self, outs: &mut Outs<'_>, mut put: impl FnMut(&mut Lane<W>, &mut Vec<u8>)) {
        for lane in &mut self.lanes {
            let Some(out) = outs.side(lane.sink) else { continue };
            let start = out.len();
            put(lane, out);
            if self.copy
                && let (Some(client), Some(record)) =
                    (outs.client.as_deref(), outs.record.as_deref_mut())
            {
                record.extend_from_slice(client.get(start..).unwrap_or_default());
            }
        }
    }
}

impl<W: Writing> Lane<W> {
    fn new(eyes: &Eyes, sink: Sink) -> Self {
        Self {
            sink,
            coded: None,
            masker: eyes.policy.stream(sink),
            raw: Vec::new(),
            shown: 0,
            kept: 0,
            gone: 0,
            text: Vec::new(),
            edits: Edits::default(),
            writing: PhantomData,
        }
    }

    fn push(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) {
        match &mut self.coded {
            Some(coded) => coded.push(piece, last, &mut self.raw),
            None => self.raw.extend_from_slice(piece),
        }
        self.text.clear();
        loop {
            let rest = self.raw.get(self.shown..).unwrap_or_default();
            let run = W::special(rest).unwrap_or(rest.len());
            self.text.extend_from_slice(rest.get(..run).unwrap_or_default());
            self.shown += run;
            if run == rest.len() {
                break;
            }
            let Some(unit) = W::unit(rest.get(run..).unwrap_or_default(), last) else { break };
            self.text.extend_from_slice(unit.bytes());
            self.shown += unit.raw;
        }
        self.edits.clear();
        self.masker.push_edits(&self.text, &mut self.edits);
        if last {
            self.masker.finish_edits(&mut self.edits);
        }
        let done = self.apply(out);
        self.raw.drain(..done.min(self.raw.len()));
        self.shown = self.shown.saturating_sub(done);
    }

    /// Gives out what the edits are about; how much of `raw` that is.
    fn apply(&mut self, out: &mut Vec<u8>) -> usize {
        let mut done = 0;
        for edit in &self.edits.edits {
            let mut bytes = edit.bytes;
            let gone = self.gone.min(bytes);
            self.gone -= gone;
            bytes -= gone;
            let masked = edit.put.clone();
            bytes += std::mem::take(&mut self.kept);
            while bytes > 0 {
                let rest = self.raw.get(done..self.shown).unwrap_or_default();
                let run = W::special(rest).unwrap_or(rest.len()).min(bytes);
                let (raw, stands_for) = if run > 0 {
                    (run, run)
                } else if let Some(unit) = W::unit(rest, true).filter(|_| !rest.is_empty()) {
                    (unit.raw, unit.stands_for)
                } else {
                    break;
                };
                if stands_for > bytes && masked.is_none() {
                    self.kept = bytes;
                    break;
                }
                if masked.is_none() {
                    out.extend_from_slice(rest.get(..raw).unwrap_or_default());
                }
                self.gone += stands_for.saturating_sub(bytes);
                bytes = bytes.saturating_sub(stands_for);
                done += raw;
            }
            if let Some(put) = masked {
                W::write(self.edits.text.get(put).unwrap_or_default(), out);
            }
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Sides;
    use crate::escape::{FormText, JsonText, decode};
    use masking::{Config, OperatorConfig, Policy, RuleConfig};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn eyes(entity: &str) -> Eyes {
        let rule = RuleConfig {
            entity: vec![entity.into()],
            client: Some(OperatorConfig::named("replace")),
            ..RuleConfig::default()
        };
        let config = Config { rules: vec![rule], ..Config::default() };
        Eyes::new(Arc::new(Policy::compile(&config, None).unwrap()), Sides::Client)
    }

    fn run<W: Writing>(mut recode: Recode<W>, raw: &[u8], size: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut outs = Outs { client: Some(&mut out), record: None };
        for piece in raw.chunks(size) {
            recode.push(piece, &mut outs);
        }
        recode.finish(&mut outs, &mut Counts::default());
        out
    }

    fn raw() -> impl Strategy<Value = Vec<u8>> {
        let word = prop::sample::select(vec![
            "amFuZUBleGFtcGxlLmNvbQ",
            "jane@example.com",
            "jane\\u0040example.com",
            "%40",
            "+",
            "jane%40example.com",
            " ",
            "\\n",
            "\\u00",
            "\\",
            "\\ud83d",
            "\\ude00",
            "é",
            "A",
            "=",
            "QUJD",
            "\\/",
            "\n",
            "%",
            "%4",
            "4111111111111111",
        ]);
        let filler = (0..900usize).prop_map(|n| "x".repeat(n));
        let part = prop_oneof![4 => word.prop_map(str::to_owned), 1 => filler];
        prop::collection::vec(part, 0..25).prop_map(|parts| parts.concat().into_bytes())
    }

    fn laws<W: Writing>(raw: &[u8], size: usize) {
        let (all, none) = (eyes("ALL"), eyes("CRYPTO"));
        let want = run::<W>(Recode::new(&all), raw, raw.len().max(1));
        assert_eq!(run::<W>(Recode::new(&all), raw, size), want);
        assert_eq!(run::<W>(Recode::new(&none), raw, size), raw);
        assert_eq!(run::<W>(Recode::with_base64(&none), raw, size), raw);
        let coded = run::<W>(Recode::with_base64(&all), raw, raw.len().max(1));
        assert_eq!(run::<W>(Recode::with_base64(&all), raw, size), coded);
        // What was masked is what a whole text's mask would be.
        let (mut text, mut masked, mut made) = (Vec::new(), Vec::new(), Vec::new());
        decode::<W>(raw, &mut text);
        decode::<W>(&want, &mut made);
        let outcome =
            all.policy.mask_text(Sink::Client, &text, &mut masked, &mut masking::Receipt::new());
        let masked = if outcome == masking::Outcome::Same { &text } else { &masked };
        // Half a surrogate pair may find its other half where something is gone.
        if !raw.windows(4).any(|w| w == br"\ud8" || w == br"\ude") {
            assert_eq!(String::from_utf8_lossy(&made), String::from_utf8_lossy(masked));
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(raw in raw(), size in 1..40usize) {
            laws::<JsonText>(&raw, size);
            laws::<FormText>(&raw, size);
        }
    }
}
