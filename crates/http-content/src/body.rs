//! A body on its way, whatever it is.

use crate::error::{ContentError, Sides};
use crate::eyes::{Counts, Eyes, Outs, TextMask};
use crate::form::Form;
use crate::json::{MAX_GAP, MAX_NAME, MAX_STRING, Walker};
use crate::media::{Charset, Kind};
use crate::multipart::{MAX_PART_HEAD, Multipart};
use crate::sse::{Events, MAX_EVENT};
use masking::{Policy, Receipt, Sink};
use std::sync::Arc;

/// How far into a body of an unknown type a control character says that it is
/// no text, in bytes.
pub const SNIFF: usize = 512;

/// Masks a body that arrives in pieces, for the client and for the record.
///
/// However a body is cut, what comes out is the same. After an error nothing
/// more comes out: the exchange is to be broken off.
pub struct BodyMasker {
    sides: Sides,
    part: Part,
    given_up: bool,
}

/// A body, or a part of one, of a kind of its own.
pub(crate) struct Part {
    eyes: Eyes,
    inner: Inner,
    counts: Counts,
    /// The first bytes, which tell a charset nobody declared.
    head: Head,
}

/// How many bytes of a text tell its charset.
const HEAD: usize = 4;

/// The first bytes of a text.
struct Head {
    bytes: [u8; HEAD],
    seen: usize,
    /// A NUL tells something: the type says that it is text.
    nul: bool,
}

impl Head {
    /// Whether a text that begins so may be UTF-16 or UTF-32: a byte order mark
    /// (no UTF-8 text begins so), or a NUL among the first four (RFC 4627 section 3).
    fn is_wide(&mut self, piece: &[u8]) -> bool {
        for b in piece {
            let Some(place) = self.bytes.get_mut(self.seen) else { break };
            *place = *b;
            self.seen += 1;
        }
        let head = self.bytes.get(..self.seen).unwrap_or_default();
        matches!(head, [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]) || self.nul && head.contains(&0)
    }
}

enum Inner {
    /// Nothing is masked.
    Pass,
    Text(TextMask),
    /// Text, or JSON under another name: the first byte that is no blank decides.
    Sniff {
        unknown: bool,
    },
    /// Text so far, as long as no control character comes within [`SNIFF`] bytes.
    Unknown {
        text: TextMask,
        seen: usize,
    },
    Json(Box<Walker>),
    Events(Box<Events>),
    Form(Box<Form>),
    Multipart(Box<Multipart>),
}

impl std::fmt::Debug for BodyMasker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What is held is not masked yet.
        f.debug_struct("BodyMasker").field("sides", &self.sides).finish_non_exhaustive()
    }
}

impl BodyMasker {
    /// A masker for a body of this kind.
    ///
    /// # Errors
    /// [`ContentError::Charset`], if there is anything to mask.
    pub fn new(
        kind: &Kind,
        charset: Charset,
        policy: &Arc<Policy>,
        sides: Sides,
    ) -> Result<Self, ContentError> {
        let part = Part::new(kind, charset, Eyes::new(Arc::clone(policy), sides))?;
        Ok(Self { sides, part, given_up: false })
    }

    /// Whether both outputs will be the input: pass the bytes on without a masker.
    #[must_use]
    pub fn changes_nothing(&self) -> bool {
        matches!(self.part.inner, Inner::Pass)
    }

    /// Whether what `sink` gets may differ from the input. If not for
    /// [`Sink::Client`], Content-Length, ETag and the like stay true.
    #[must_use]
    pub fn changes(&self, sink: Sink) -> bool {
        self.part.eyes.wants(sink)
    }

    /// Most bytes held back between two pushes, of the body; what is held is at
    /// most twice as much where client and record are masked apart. The named
    /// limits of this crate make it up; a [`StreamMasker`](masking::StreamMasker)
    /// holds up to [`MAX_OPERAND`](masking::MAX_OPERAND) of a key, or a line of
    /// [`MAX_CUSTOM_LINE`](masking::MAX_CUSTOM_LINE).
    #[must_use]
    pub fn max_held(&self) -> usize {
        let text = masking::MAX_OPERAND.max(masking::MAX_CUSTOM_LINE);
        let document = MAX_NAME + 2 * MAX_GAP + MAX_STRING + text;
        match &self.part.inner {
            Inner::Pass => 0,
            Inner::Text(_) | Inner::Unknown { .. } => text,
            Inner::Json(_) | Inner::Form(_) | Inner::Sniff { .. } => document,
            Inner::Events(_) => MAX_EVENT + document,
            Inner::Multipart(_) => MAX_PART_HEAD.max(MAX_EVENT) + document,
        }
    }

    /// Takes the next piece; appends what is certain by now.
    ///
    /// # Errors
    /// See [`ContentError`]. What was appended before is masked.
    pub fn push(
        &mut self,
        bytes: &[u8],
        client: &mut Vec<u8>,
        record: &mut Vec<u8>,
    ) -> Result<(), ContentError> {
        self.step(Some(bytes), client, record)
    }

    /// Ends the body; appends the rest.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(
        &mut self,
        client: &mut Vec<u8>,
        record: &mut Vec<u8>,
    ) -> Result<(), ContentError> {
        self.step(None, client, record)
    }

    /// Gives up what is held back of a text, judged as if nothing followed it; more may follow. For
    /// a body whose lines come one by one, each at its time. Of a body of another kind, nothing: what
    /// is held of it is no end of anything.
    pub fn settle(&mut self, client: &mut Vec<u8>, record: &mut Vec<u8>) {
        let mut outs = Outs {
            client: self.sides.has(Sink::Client).then_some(client),
            record: self.sides.has(Sink::Record).then_some(record),
        };
        if !self.given_up {
            self.part.settle(&mut outs);
        }
    }

    /// What was masked so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.part.counts(&mut counts);
        if !self.sides.has(Sink::Client) {
            counts.client = Receipt::new();
        }
        counts
    }

    fn step(
        &mut self,
        piece: Option<&[u8]>,
        client: &mut Vec<u8>,
        record: &mut Vec<u8>,
    ) -> Result<(), ContentError> {
        if self.given_up {
            return Err(ContentError::GivenUp);
        }
        let mut outs = Outs {
            client: self.sides.has(Sink::Client).then_some(client),
            record: self.sides.has(Sink::Record).then_some(record),
        };
        let done = match piece {
            Some(piece) => self.part.push(piece, &mut outs),
            None => self.part.finish(&mut outs),
        };
        self.given_up = done.is_err() || piece.is_none();
        done
    }
}

impl Part {
    pub(crate) fn new(kind: &Kind, charset: Charset, mut eyes: Eyes) -> Result<Self, ContentError> {
        if *kind == Kind::Binary {
            eyes.client = false;
        }
        let idle = !eyes.client && !eyes.record;
        if !idle && *kind != Kind::Binary && charset != Charset::Ascii {
            return Err(ContentError::Charset);
        }
        let inner = match kind {
            _ if idle => Inner::Pass,
            Kind::Json => Inner::Json(Box::new(Walker::new(&eyes, false, false))),
            Kind::Ndjson => Inner::Json(Box::new(Walker::new(&eyes, true, false))),
            Kind::EventStream => Inner::Events(Box::new(Events::new(&eyes))),
            Kind::Form => Inner::Form(Box::new(Form::new(&eyes))),
            Kind::Multipart { boundary } => {
                Inner::Multipart(Box::new(Multipart::new(&eyes, boundary)))
            }
            Kind::Unknown => Inner::Sniff { unknown: true },
            Kind::Binary => Inner::Text(TextMask::new(&eyes)),
            Kind::Text => Inner::Sniff { unknown: false },
        };
        let seen = if *kind == Kind::Binary { HEAD } else { 0 };
        let head = Head { bytes: [0; HEAD], seen, nul: *kind != Kind::Unknown };
        Ok(Self { eyes, inner, counts: Counts::default(), head })
    }

    /// Text, whatever it looks like.
    pub(crate) fn text(eyes: Eyes) -> Self {
        let inner = Inner::Text(TextMask::new(&eyes));
        // Searched as bytes, so its head tells nothing.
        let head = Head { bytes: [0; HEAD], seen: HEAD, nul: false };
        Self { eyes, inner, counts: Counts::default(), head }
    }

    pub(crate) fn counts(&self, all: &mut Counts) {
        let mut counts = self.counts.clone();
        match &self.inner {
            Inner::Text(text) | Inner::Unknown { text, .. } => text.counts(&mut counts),
            Inner::Json(walker) => walker.counts(&mut counts),
            Inner::Events(events) => events.counts(&mut counts),
            Inner::Form(form) => form.counts(&mut counts),
            Inner::Multipart(parts) => parts.counts(&mut counts),
            Inner::Pass | Inner::Sniff { .. } => {}
        }
        if self.eyes.same && self.eyes.client && self.eyes.record {
            counts.record = counts.client;
        }
        all.merge(&counts);
    }

    pub(crate) fn push(&mut self, piece: &[u8], outs: &mut Outs<'_>) -> Result<(), ContentError> {
        let told = matches!(self.inner, Inner::Pass);
        if !told && self.head.seen < HEAD && self.head.is_wide(piece) {
            return Err(ContentError::Charset);
        }
        let mut masked = self.masked_sides(piece, outs);
        self.take(piece, &mut masked)
    }

    pub(crate) fn finish(&mut self, outs: &mut Outs<'_>) -> Result<(), ContentError> {
        let mut masked = self.masked_sides(b"", outs);
        self.end(&mut masked)
    }

    /// The sides that are masked; the others get the bytes as they are.
    fn masked_sides<'o>(&self, piece: &[u8], outs: &'o mut Outs<'_>) -> Outs<'o> {
        let side = |on: bool, out: Option<&'o mut Vec<u8>>| {
            let out = out?;
            if on {
                return Some(out);
            }
            out.extend_from_slice(piece);
            None
        };
        Outs {
            client: side(self.eyes.client, outs.client.as_deref_mut()),
            record: side(self.eyes.record, outs.record.as_deref_mut()),
        }
    }

    fn take(&mut self, piece: &[u8], outs: &mut Outs<'_>) -> Result<(), ContentError> {
        match &mut self.inner {
            Inner::Pass => Ok(()),
            Inner::Text(text) => {
                text.push(piece, outs);
                Ok(())
            }
            Inner::Json(walker) => walker.push(piece, outs),
            Inner::Events(events) => events.push(piece, outs),
            Inner::Form(form) => {
                form.push(piece, outs);
                Ok(())
            }
            Inner::Multipart(parts) => parts.push(piece, outs),
            Inner::Sniff { unknown } => {
                let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
                let Some(n) = piece.iter().position(|b| !blank(b)) else {
                    outs.keep(piece);
                    return Ok(());
                };
                let rest = piece.get(n..).unwrap_or_default();
                outs.keep(piece.get(..n).unwrap_or_default());
                self.inner = match (rest.first(), *unknown) {
                    (Some(b'{' | b'['), _) => {
                        Inner::Json(Box::new(Walker::new(&self.eyes, true, true)))
                    }
                    (_, true) => Inner::Unknown { text: TextMask::new(&self.eyes), seen: 0 },
                    (_, false) => Inner::Text(TextMask::new(&self.eyes)),
                };
                self.take(rest, outs)
            }
            Inner::Unknown { text, seen } => {
                let head = piece.get(..piece.len().min(SNIFF.saturating_sub(*seen)));
                let odd = head.and_then(|h| h.iter().position(is_control));
                let Some(odd) = odd else {
                    *seen = seen.saturating_add(piece.len());
                    text.push(piece, outs);
                    return Ok(());
                };
                text.push(piece.get(..odd).unwrap_or_default(), outs);
                text.finish(outs);
                text.counts(&mut self.counts);
                // From here on the client gets what there is, the record what it may keep.
                let rest = piece.get(odd..).unwrap_or_default();
                if let Some(client) = outs.client.take() {
                    client.extend_from_slice(rest);
                }
                if self.eyes.same && self.eyes.client {
                    self.counts.record = self.counts.client;
                }
                self.eyes.client = false;
                if !self.eyes.record {
                    self.inner = Inner::Pass;
                    return Ok(());
                }
                self.inner = Inner::Text(TextMask::new(&self.eyes));
                self.take(rest, outs)
            }
        }
    }

    fn settle(&mut self, outs: &mut Outs<'_>) {
        let mut outs = self.masked_sides(&[], outs);
        if let Inner::Text(text) | Inner::Unknown { text, .. } = &mut self.inner {
            text.finish(&mut outs);
        }
    }

    fn end(&mut self, outs: &mut Outs<'_>) -> Result<(), ContentError> {
        match &mut self.inner {
            Inner::Pass | Inner::Sniff { .. } => Ok(()),
            Inner::Text(text) | Inner::Unknown { text, .. } => {
                text.finish(outs);
                Ok(())
            }
            Inner::Json(walker) => walker.finish(outs),
            Inner::Events(events) => events.finish(outs),
            Inner::Form(form) => {
                form.finish(outs);
                Ok(())
            }
            Inner::Multipart(parts) => parts.finish(outs),
        }
    }
}

/// What no text holds.
fn is_control(b: &u8) -> bool {
    *b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r' | 0x0B | 0x0C | 0x1B | 0x08)
}
