//! Masking text that arrives in pieces.
//!
//! The law: however the text is cut, the output is the same, and the same as
//! [`Policy::mask_text`] gives for the whole. It rests on what `detect`
//! promises: a detector reads a bounded stretch around its position, so a
//! position is looked at once all of that stretch is there, in order, exactly
//! once. Text is released when no position still to come can claim it.

use crate::custom::{self, MAX_CUSTOM_LINE};
use crate::detect::{Finding, LOOK_AHEAD, LOOK_BEHIND, Secret, State, sort};
use crate::entity::Entity;
use crate::operator::Operator;
use crate::policy::{MAX_OPERAND, Policy, Sink};
use crate::receipt::Receipt;
use std::sync::Arc;

/// Positions looked at together, so that a text that comes byte by byte is not
/// scanned anew for each.
const BATCH: usize = 256;

/// A stretch of text as a [`StreamMasker`] judges it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its length in bytes.
    pub bytes: usize,
    /// What it is, if it is to be masked.
    pub entity: Option<Entity>,
}

/// What becomes of a stretch of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// How many bytes of the text it is about.
    pub bytes: usize,
    /// What takes their place, as a range of [`Edits::text`]; `None`: they stay.
    pub put: Option<std::ops::Range<usize>>,
}

/// What a [`StreamMasker`] did to a text that the caller has in another form
/// (with escapes, say): which bytes stay, and what takes the others' place.
#[derive(Default)]
pub struct Edits {
    /// In the order of the text, none of it left out.
    pub edits: Vec<Edit>,
    /// What is put in.
    pub text: Vec<u8>,
}

impl Edits {
    /// Forgets all, keeping the room.
    pub fn clear(&mut self) {
        self.edits.clear();
        self.text.clear();
    }
}

impl Output for Edits {
    fn plain(&mut self, text: &[u8]) {
        if !text.is_empty() {
            self.edits.push(Edit { bytes: text.len(), put: None });
        }
    }

    fn masked(&mut self, (policy, sink): (&Policy, Sink), finding: &Finding, value: &[u8]) {
        let start = self.text.len();
        policy.put(sink, finding.entity, finding.score, value, &mut self.text);
        self.edits.push(Edit { bytes: value.len(), put: Some(start..self.text.len()) });
    }

    fn swallowed(&mut self, _: Entity, bytes: usize) {
        if bytes > 0 {
            let end = self.text.len();
            self.edits.push(Edit { bytes, put: Some(end..end) });
        }
    }
}

/// Where what is certain goes.
trait Output {
    /// Text that stays as it is.
    fn plain(&mut self, text: &[u8]);
    /// A finding, or its beginning.
    fn masked(&mut self, masker: (&Policy, Sink), finding: &Finding, value: &[u8]);
    /// More of a secret that was masked already.
    fn swallowed(&mut self, entity: Entity, bytes: usize);
}

impl Output for Vec<u8> {
    fn plain(&mut self, text: &[u8]) {
        self.extend_from_slice(text);
    }

    fn masked(&mut self, (policy, sink): (&Policy, Sink), finding: &Finding, value: &[u8]) {
        policy.put(sink, finding.entity, finding.score, value, self);
    }

    fn swallowed(&mut self, _: Entity, _: usize) {}
}

impl Output for Vec<Span> {
    fn plain(&mut self, text: &[u8]) {
        if !text.is_empty() {
            self.push(Span { bytes: text.len(), entity: None });
        }
    }

    fn masked(&mut self, (policy, sink): (&Policy, Sink), finding: &Finding, value: &[u8]) {
        let operator = policy.operator_for(sink, finding.entity, finding.score);
        let keeps = operator.is_some_and(Operator::is_keep);
        self.push(Span { bytes: value.len(), entity: (!keeps).then_some(finding.entity) });
    }

    fn swallowed(&mut self, entity: Entity, bytes: usize) {
        if bytes > 0 {
            self.push(Span { bytes, entity: Some(entity) });
        }
    }
}

/// Masks a stream of text with bounded memory: it holds back less than 1.5 KiB
/// (with custom recognizers, up to a line of [`MAX_CUSTOM_LINE`]; inside a key
/// or token, up to [`MAX_OPERAND`] of it) besides the piece just pushed.
///
/// However the text is cut into pieces, the output is the same. End with
/// [`StreamMasker::finish`]: what is held back is lost otherwise, never leaked.
pub struct StreamMasker {
    policy: Arc<Policy>,
    sink: Sink,
    /// Text not yet released, and some before it that detectors may read.
    buffer: Vec<u8>,
    /// Of `buffer`: already in the output.
    done: usize,
    /// Of `buffer`: the next position to look at.
    next: usize,
    /// Of `buffer`: the start of the line custom patterns have not seen.
    line: usize,
    state: State,
    /// Findings not yet in the output; offsets into `buffer`.
    pending: Vec<Finding>,
    /// A secret whose end has not come: with how much of it was seen.
    open: Option<(Secret, usize)>,
    /// The open secret is longer than an operand: already masked, swallow the rest.
    swallowing: bool,
    receipt: Receipt,
}

impl std::fmt::Debug for StreamMasker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The buffer holds what is to be masked.
        f.debug_struct("StreamMasker")
            .field("sink", &self.sink)
            .field("held", &(self.buffer.len() - self.done.min(self.buffer.len())))
            .finish_non_exhaustive()
    }
}

impl StreamMasker {
    pub(crate) fn new(policy: Arc<Policy>, sink: Sink) -> Self {
        let mut receipt = Receipt::new();
        receipt.scanned = 1;
        Self {
            policy,
            sink,
            buffer: Vec::new(),
            done: 0,
            next: 0,
            line: 0,
            state: State::default(),
            pending: Vec::new(),
            open: None,
            swallowing: false,
            receipt,
        }
    }

    /// Takes the next piece; appends to `out` what is certain by now.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        self.take(piece, out);
    }

    /// As [`push`](Self::push), for a caller that masks in a way of its own: appends which parts
    /// of the text are certain by now, in order, none left out. Whatever operator a rule names,
    /// what it does not keep is to be masked.
    pub fn push_spans(&mut self, piece: &[u8], out: &mut Vec<Span>) {
        self.take(piece, out);
    }

    /// As [`push`](Self::push), for a caller that has the text in another form.
    pub fn push_edits(&mut self, piece: &[u8], out: &mut Edits) {
        self.take(piece, out);
    }

    fn take<O: Output>(&mut self, piece: &[u8], out: &mut O) {
        if self.policy.wanted(self.sink).is_empty() {
            out.plain(piece);
            return;
        }
        let rest = self.swallow(piece, out);
        self.buffer.extend_from_slice(rest);
        if !self.swallowing {
            self.advance(false, out);
        }
    }

    /// Ends the text: appends the rest. The masker can then be used for
    /// another text; counts go on.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.end(out);
    }

    /// As [`finish`](Self::finish), behind [`push_spans`](Self::push_spans).
    pub fn finish_spans(&mut self, out: &mut Vec<Span>) {
        self.end(out);
    }

    /// As [`finish`](Self::finish), behind [`push_edits`](Self::push_edits).
    pub fn finish_edits(&mut self, out: &mut Edits) {
        self.end(out);
    }

    fn end<O: Output>(&mut self, out: &mut O) {
        if !self.swallowing {
            self.advance(true, out);
        }
        self.restart(0);
        self.done = 0;
        self.buffer.clear();
        self.open = None;
        self.swallowing = false;
    }

    /// Counts so far: a stream counts as one value scanned.
    #[must_use]
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// How many bytes of what was pushed are held back: the last ones.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buffer.len().saturating_sub(self.done)
    }

    /// Drops what belongs to a secret that is already masked.
    fn swallow<'p>(&mut self, piece: &'p [u8], out: &mut impl Output) -> &'p [u8] {
        let Some((secret, _)) = self.open.as_mut().filter(|_| self.swallowing) else {
            return piece;
        };
        let n = secret.run.length(piece);
        out.swallowed(secret.entity, n);
        if n < piece.len() {
            self.open = None;
            self.swallowing = false;
        }
        piece.get(n..).unwrap_or_default()
    }

    fn advance<O: Output>(&mut self, last: bool, out: &mut O) {
        loop {
            if self.open.is_some() {
                if !self.close(last, out) {
                    return;
                }
                continue;
            }
            let len = self.buffer.len();
            let to = if last { len } else { len.saturating_sub(LOOK_AHEAD) };
            if !last && to < self.next + BATCH {
                return;
            }
            let policy = Arc::clone(&self.policy);
            let secret = policy.engine.scan(
                &self.buffer,
                policy.wanted(self.sink),
                &mut self.state,
                &mut self.pending,
                (self.next, to),
            );
            let Some(secret) = secret else {
                self.next = to.max(self.next);
                let sure = if last { len } else { to.saturating_sub(LOOK_BEHIND) };
                self.lines(if last { Some(len) } else { None });
                let sure = if self.has_custom() { sure.min(self.line) } else { sure };
                self.release(sure, out);
                self.trim();
                return;
            };
            self.lines(Some(secret.start));
            self.release(secret.start, out);
            self.open = Some((secret, 0));
        }
    }

    /// Looks for the end of the open secret; false when it has not come.
    fn close<O: Output>(&mut self, last: bool, out: &mut O) -> bool {
        let Some((mut secret, seen)) = self.open.take() else { return true };
        let behind = self.buffer.get(secret.start + seen..).unwrap_or_default();
        let fresh = secret.run.length(behind);
        let ended = fresh < behind.len() || last;
        let end = secret.start + (seen + fresh).max(1);
        let start = secret.start.max(self.done);
        if !ended && end.saturating_sub(start) <= MAX_OPERAND {
            self.open = Some((secret, seen + fresh));
            return false;
        }
        let (entity, score) = (secret.entity, secret.score);
        self.pending.push(Finding { entity, start: secret.start, end, score });
        self.release(end, out);
        self.restart(end);
        if !ended {
            self.open = Some((secret, 0));
            self.swallowing = true;
        }
        ended
    }

    fn has_custom(&self) -> bool {
        self.policy.wanted(self.sink).custom
    }

    /// Shows custom patterns the lines that are complete; up to `end` if the
    /// text ends there.
    fn lines(&mut self, end: Option<usize>) {
        if !self.has_custom() {
            return;
        }
        let limit = end.unwrap_or(self.buffer.len());
        while self.line < limit {
            let most = limit.min(self.line + MAX_CUSTOM_LINE);
            let Some(rest) = self.buffer.get(self.line..most) else { return };
            let cut = rest.iter().position(|b| *b == b'\n').map(|n| n + 1);
            let whole = rest.len() == MAX_CUSTOM_LINE || end.is_some();
            let Some(n) = cut.or(whole.then_some(rest.len())) else { return };
            let line = rest.get(..n).unwrap_or_default();
            let wanted = self.policy.wanted(self.sink);
            custom::find_in_line(
                &self.policy.recognizers,
                line,
                wanted,
                self.line,
                &mut self.pending,
            );
            self.line += n;
        }
    }

    /// Writes everything before `sure`; nothing found later can begin there.
    fn release<O: Output>(&mut self, sure: usize, out: &mut O) {
        if self.pending.len() > 1 {
            sort(&mut self.pending);
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.retain(|f| {
            if f.start >= sure {
                return true;
            }
            let start = f.start.max(self.done);
            if start < f.end {
                out.plain(self.buffer.get(self.done..start).unwrap_or_default());
                let value = self.buffer.get(start..f.end).unwrap_or_default();
                out.masked((&self.policy, self.sink), f, value);
                self.receipt.masked = 1;
                self.receipt.add(f.entity);
                self.done = f.end;
            }
            false
        });
        self.pending = pending;
        if self.done < sure {
            out.plain(self.buffer.get(self.done..sure).unwrap_or_default());
            self.done = sure;
        }
    }

    /// Forgets what no detector will read again.
    fn trim(&mut self) {
        let mut n = self.done.min(self.next.saturating_sub(LOOK_BEHIND));
        if self.has_custom() {
            n = n.min(self.line);
        }
        self.buffer.drain(..n.min(self.buffer.len()));
        self.done -= n;
        self.next -= n;
        self.line = self.line.saturating_sub(n);
        self.state.trim(n);
        for f in &mut self.pending {
            f.start -= n;
            f.end -= n;
        }
    }

    /// What is behind `end` is another text.
    fn restart(&mut self, end: usize) {
        let end = end.min(self.buffer.len());
        self.buffer.drain(..end);
        self.done = self.done.saturating_sub(end);
        self.pending.retain_mut(|f| {
            f.start = f.start.saturating_sub(end);
            f.end = f.end.saturating_sub(end);
            f.start < f.end
        });
        self.next = 0;
        self.line = 0;
        self.state = State::default();
    }
}
