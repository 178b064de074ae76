//! A terminal's recording where what it shows is masked: bytes wait until they are judged, and
//! what came behind them waits with them, each with the time at which it came.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use masking::{Entity, Policy, Receipt, Sink, StreamMasker};
use terminal::frames::Kind;
use terminal::vtmap::{Find, Masker, Span};

use crate::frames::Frames;

/// The most of what needs no masking that waits behind what does, in bytes: beyond that what is there
/// is judged as it is.
const MAX_READY_BYTES: usize = 64 * 1024;
/// What a piece that waits takes beside its bytes.
const PIECE_BYTES: usize = 64;

/// The masking policy, asked about what a screen shows.
pub(crate) struct Finder {
    stream: StreamMasker,
    spans: Vec<masking::Span>,
    receipt: Receipt,
}

impl Finder {
    /// A masker of what a terminal shows, if the policy looks for anything on the way to a sink.
    pub(crate) fn masker(policy: &Arc<Policy>, sink: Sink) -> Option<Masker<Finder>> {
        policy.scans(sink).then(|| {
            let stream = policy.stream(sink);
            Masker::new(Finder { stream, spans: Vec::new(), receipt: Receipt::new() })
        })
    }

    /// What was masked.
    pub(crate) fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    fn tell(&mut self, found: &mut Vec<Span<Entity>>) {
        let told = self.spans.drain(..);
        found.extend(told.map(|span| Span { bytes: span.bytes, kind: span.entity }));
    }
}

impl Find for Finder {
    type Kind = Entity;

    fn push(&mut self, text: &[u8], found: &mut Vec<Span<Entity>>) {
        self.stream.push_spans(text, &mut self.spans);
        self.tell(found);
    }

    fn finish(&mut self, found: &mut Vec<Span<Entity>>) {
        self.stream.finish_spans(&mut self.spans);
        self.tell(found);
    }

    fn masked(&mut self, entity: Entity) {
        self.receipt.add(entity);
    }
}

/// What waits for its turn in the recording.
enum Piece {
    /// So many bytes that the masker holds.
    Held { kind: Kind, at: Instant, left: usize },
    /// What needs no masking.
    Ready { kind: Kind, at: Instant, bytes: Vec<u8> },
}

fn weight(bytes: &[u8]) -> usize {
    bytes.len() + PIECE_BYTES
}

/// The recording of what a terminal shows, masked.
pub(crate) struct Screen {
    masker: Masker<Finder>,
    order: VecDeque<Piece>,
    /// What those that need no masking hold, with what holds them.
    ready: usize,
    /// When the last output came, if it is to be judged yet.
    shown: Option<Instant>,
}

impl Screen {
    /// None where nothing is masked on the way to the record.
    pub(crate) fn new(policy: &Arc<Policy>) -> Option<Screen> {
        let masker = Finder::masker(policy, Sink::Record)?;
        Some(Screen { masker, order: VecDeque::new(), ready: 0, shown: None })
    }

    /// The terminal's size, for wraps. Its frame is the caller's.
    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        self.masker.resize(columns, rows);
    }

    /// Takes what happened, in order.
    pub(crate) fn push(&mut self, kind: Kind, bytes: &[u8]) {
        let at = Instant::now();
        match kind {
            Kind::Output => {
                self.shown = Some(at);
                self.masker.output(bytes);
            }
            Kind::Input => self.masker.keys(bytes),
            _ => {
                let bytes = bytes.to_vec();
                self.ready += weight(&bytes);
                return self.order.push_back(Piece::Ready { kind, at, bytes });
            }
        }
        self.order.push_back(Piece::Held { kind, at, left: bytes.len() });
    }

    /// When the last output came, if any of it waits to be judged.
    pub(crate) fn waits_since(&self) -> Option<Instant> {
        self.shown.filter(|_| !self.order.is_empty())
    }

    /// Judges all that waits as if nothing followed.
    pub(crate) fn settle(&mut self) {
        self.masker.settle();
        // A character that is cut still waits, but not for the time.
        self.shown = None;
    }

    /// Whether more waits behind what is judged late than may.
    pub(crate) fn is_full(&self) -> bool {
        self.ready > MAX_READY_BYTES
    }

    /// What was masked.
    pub(crate) fn receipt(&self) -> &Receipt {
        self.masker.finder().receipt()
    }

    /// Frames of what is judged (of all, at the end), each of so many bytes at most.
    pub(crate) fn drain(
        &mut self,
        frames: &mut Frames,
        most: usize,
        all: bool,
        out: &mut VecDeque<Vec<u8>>,
    ) {
        while let Some(piece) = self.order.front_mut() {
            match piece {
                Piece::Ready { kind, at, bytes } => {
                    self.ready -= weight(bytes);
                    out.push_back(frames.frame_at(*at, *kind, bytes));
                }
                Piece::Held { kind, at, left } => {
                    // At the end there may be a character that is cut.
                    let ready = if all { *left } else { self.masker.ready() };
                    let now = ready.min(*left);
                    let mut shown = Vec::with_capacity(now);
                    self.masker.take(now, &mut shown);
                    for part in shown.chunks(most) {
                        out.push_back(frames.frame_at(*at, *kind, part));
                    }
                    *left -= now;
                    if *left > 0 {
                        return;
                    }
                }
            }
            self.order.pop_front();
        }
        self.shown = None;
    }
}
