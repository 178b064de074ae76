//! Finding out, at open, what the ring holds.
//!
//! The committer writes one frame, flushes it, and only then writes the next. So
//! at most the very last frame may be torn, and was then never acknowledged: it
//! is dropped. Damage anywhere before it shows in one of three ways: a later
//! frame that is intact, a segment whose frames do not lead to the next segment,
//! or fewer entries kept than the last frame says are still to be published. All
//! three are errors.
//!
//! A damaged *last* frame looks like a torn one. Opening and closing a log each
//! write an empty frame, so this matters only to the last commit before a crash;
//! whoever remembers a head (the store, a witness) notices it even then.

use std::collections::VecDeque;

use tlog::{Checkpoint, CompactRange, Hash, Verifier, leaf_hash};

use super::{FIRST_FRAME, FrameRef, Place, Ring, SegmentState};
use crate::error::OpenError;
use crate::frame::{BLOCK, Frame, Header};

/// Bytes of a header that suffice to tell a later frame from a stale one.
const PEEK: usize = 72;

/// What the ring holds.
pub(crate) struct Recovery {
    pub(crate) tree: CompactRange,
    pub(crate) segments: Vec<SegmentState>,
    /// Where the next frame goes.
    pub(crate) next: Place,
    pub(crate) last: Option<Last>,
    /// Lowest index whose entry is in the ring.
    pub(crate) first_kept: u64,
    pub(crate) frames: u64,
    /// Whether an unfinished frame was dropped.
    pub(crate) torn: bool,
}

/// The last good frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Last {
    pub(crate) place: Place,
    pub(crate) header: Header,
    pub(crate) link: [u8; 32],
}

/// Reads the whole ring and checks every frame that counts: checksum, link,
/// indices, tree and signature.
pub(crate) fn recover(ring: &Ring, key: &Verifier) -> Result<Recovery, OpenError> {
    let mut scan = Scan {
        ring,
        key,
        buf: Vec::new(),
        tree: CompactRange::new(),
        segments: vec![SegmentState::default(); ring.files.len()],
        last: None,
        first_kept: 0,
        frames: 0,
    };
    let firsts = scan.first_frames()?;
    let latest = (0u32..)
        .zip(&firsts)
        .filter_map(|(n, h)| h.map(|h| (h.seq, n)))
        .max()
        .map(|(_, segment)| segment);
    let Some(latest) = latest else { return scan.unused() };
    let kept = kept_segments(ring, &firsts, latest);
    let mut next = Place { segment: latest, offset: FIRST_FRAME };
    for &segment in &kept {
        if scan.last.is_some() && !scan.follows(segment)? {
            return Err(corrupt(next, "the frames here do not lead to the next segment"));
        }
        next = scan.segment(segment)?;
    }
    scan.finish(next, &kept)
}

/// The segments in use, oldest first: those before the latest, in ring order, for as long as
/// their first frames get older.
fn kept_segments(ring: &Ring, firsts: &[Option<Header>], latest: u32) -> VecDeque<u32> {
    let seq = |n: u32| firsts.get(n as usize).copied().flatten().map(|h| h.seq);
    let mut kept = VecDeque::from([latest]);
    let mut at = latest;
    loop {
        let before = ring.shape.previous(at);
        if before == latest || seq(before).is_none() || seq(before) >= seq(at) {
            return kept;
        }
        kept.push_front(before);
        at = before;
    }
}

fn corrupt(at: Place, why: &'static str) -> OpenError {
    OpenError::Corrupt { segment: at.segment, offset: at.offset, why }
}

struct Scan<'a> {
    ring: &'a Ring,
    key: &'a Verifier,
    buf: Vec<u8>,
    tree: CompactRange,
    segments: Vec<SegmentState>,
    last: Option<Last>,
    first_kept: u64,
    frames: u64,
}

impl Scan<'_> {
    fn io(&self, segment: u32) -> impl FnOnce(std::io::Error) -> OpenError + use<> {
        let path = self.ring.segment_path(segment);
        move |source| OpenError::Io { action: "read", path, source }
    }

    /// Loads the frame at a place into the buffer.
    fn load(&mut self, at: Place) -> Result<bool, OpenError> {
        let mut buf = std::mem::take(&mut self.buf);
        let loaded = self.ring.read_frame(at, &mut buf);
        self.buf = buf;
        loaded.map_err(self.io(at.segment))
    }

    fn signed(&self, header: &Header) -> bool {
        let checkpoint = Checkpoint {
            origin: self.key.name().to_owned(),
            size: header.size(),
            root: Hash(header.root),
        };
        checkpoint.verify_signature(self.key, &header.signature).is_ok()
    }

    fn first_frames(&mut self) -> Result<Vec<Option<Header>>, OpenError> {
        let mut out = Vec::new();
        for segment in 0..self.ring.shape.segments {
            let at = Place { segment, offset: FIRST_FRAME };
            let header = if self.load(at)? {
                Frame::decode(&self.buf).ok().map(|f| *f.header())
            } else {
                None
            };
            if let Some(header) = &header {
                if header.log_id_hash != self.ring.shape.log_id_hash {
                    return Err(corrupt(at, "a frame of another log"));
                }
                if !self.signed(header) {
                    return Err(corrupt(at, "a frame not signed by this log's key"));
                }
            }
            out.push(header);
        }
        Ok(out)
    }

    /// No segment starts with a frame: the ring is new, or it was damaged.
    fn unused(mut self) -> Result<Recovery, OpenError> {
        let first = Place { segment: 0, offset: FIRST_FRAME };
        for segment in 0..self.ring.shape.segments {
            let mut offset = FIRST_FRAME;
            while let Some(peek) = self.peek(Place { segment, offset })? {
                let at = Place { segment, offset };
                if peek.starts_with(&crate::frame::MAGIC) && at != first {
                    return Err(corrupt(at, "a frame, but the segment's first one is damaged"));
                }
                offset += BLOCK as u64;
            }
        }
        let torn = self.load(first)?;
        Ok(Recovery {
            tree: self.tree,
            segments: self.segments,
            next: first,
            last: None,
            first_kept: 0,
            frames: 0,
            torn,
        })
    }

    fn peek(&self, at: Place) -> Result<Option<[u8; PEEK]>, OpenError> {
        if at.offset.saturating_add(BLOCK as u64) > self.ring.shape.segment_bytes {
            return Ok(None);
        }
        let mut bytes = [0; PEEK];
        self.ring
            .file(at.segment)
            .and_then(|f| crate::io::read_exact(f, &mut bytes, at.offset))
            .map_err(self.io(at.segment))?;
        Ok(Some(bytes))
    }

    /// Whether the first frame of a segment continues the chain.
    fn follows(&mut self, segment: u32) -> Result<bool, OpenError> {
        let there = self.load(Place { segment, offset: FIRST_FRAME })?;
        Ok(there && Frame::decode(&self.buf).is_ok_and(|f| self.chains(&f)))
    }

    fn chains(&self, frame: &Frame<'_>) -> bool {
        let h = frame.header();
        match &self.last {
            None => true,
            Some(last) => {
                h.prev == last.link
                    && Some(h.seq) == last.header.seq.checked_add(1)
                    && h.epoch >= last.header.epoch
                    && h.first_index == self.tree.size()
            }
        }
    }

    /// Goes through a segment's frames; returns the place behind the last one.
    fn segment(&mut self, segment: u32) -> Result<Place, OpenError> {
        let mut at = Place { segment, offset: FIRST_FRAME };
        while self.load(at)? {
            let buf = std::mem::take(&mut self.buf);
            let taken = match Frame::decode(&buf) {
                Ok(frame) if self.chains(&frame) => {
                    self.take(at, &frame)?;
                    Some(frame.len() as u64)
                }
                _ => None,
            };
            self.buf = buf;
            let Some(len) = taken else { break };
            at.offset += len;
        }
        Ok(at)
    }

    fn take(&mut self, at: Place, frame: &Frame<'_>) -> Result<(), OpenError> {
        let header = *frame.header();
        if header.log_id_hash != self.ring.shape.log_id_hash {
            return Err(corrupt(at, "a frame of another log"));
        }
        self.take_base(at, frame)?;
        for (_, entry) in frame.records() {
            self.tree.push(leaf_hash(entry));
        }
        if self.tree.root().0 != header.root {
            return Err(corrupt(at, "the entries do not give the root that was signed"));
        }
        if !self.signed(&header) {
            return Err(corrupt(at, "a frame not signed by this log's key"));
        }
        if let Some(state) = self.segments.get_mut(at.segment as usize) {
            state.used = true;
            state.end_index = header.size();
            if header.count > 0 {
                state.frames.push(FrameRef {
                    first_index: header.first_index,
                    count: header.count,
                    offset: u32::try_from(at.offset)
                        .map_err(|_| corrupt(at, "an impossible offset"))?,
                });
            }
        }
        self.frames += 1;
        self.last = Some(Last { place: at, header, link: frame.link() });
        Ok(())
    }

    fn take_base(&mut self, at: Place, frame: &Frame<'_>) -> Result<(), OpenError> {
        let base = frame.base().map(|peaks| peaks.into_iter().map(Hash).collect::<Vec<_>>());
        if base.is_some() != (at.offset == FIRST_FRAME) {
            return Err(corrupt(at, "the tree's base is missing, or where none belongs"));
        }
        match base {
            None => Ok(()),
            Some(peaks) if self.last.is_none() => {
                self.first_kept = frame.header().first_index;
                self.tree = CompactRange::from_peaks(self.first_kept, peaks)
                    .map_err(|_| corrupt(at, "the tree's base does not fit its size"))?;
                Ok(())
            }
            Some(peaks) if peaks == self.tree.peaks() => Ok(()),
            Some(_) => Err(corrupt(at, "the tree's base differs from the frames before it")),
        }
    }

    fn finish(mut self, next: Place, kept: &VecDeque<u32>) -> Result<Recovery, OpenError> {
        let Some(last) = self.last else {
            return Err(corrupt(next, "the segment's first frame is damaged"));
        };
        if self.first_kept > last.header.released {
            return Err(corrupt(next, "segments with entries still to be published are damaged"));
        }
        let stale = (0..self.ring.shape.segments)
            .filter(|n| !kept.contains(n))
            .map(|segment| Place { segment, offset: FIRST_FRAME });
        for from in stale.chain([next]) {
            if let Some(later) = self.later_frame(from)? {
                let why = "an acknowledged frame is damaged: a later one is intact";
                return Err(if from == next { corrupt(next, why) } else { corrupt(later, why) });
            }
        }
        let torn = self.load(next)? && Frame::decode(&self.buf).is_err();
        Ok(Recovery {
            tree: self.tree,
            segments: self.segments,
            next,
            last: Some(last),
            first_kept: self.first_kept,
            frames: self.frames,
            torn,
        })
    }

    /// Looks in the rest of a segment for a frame that can only have been written after the last
    /// one recovered: it states, under the log's signature, a larger tree. What an entry holds
    /// cannot be mistaken for it: nobody else can sign a size that was not reached yet.
    fn later_frame(&mut self, from: Place) -> Result<Option<Place>, OpenError> {
        let mut at = from;
        while let Some(peek) = self.peek(at)? {
            let size = peek.last_chunk::<16>().and_then(|c| c.first_chunk::<8>());
            let size = size.map_or(0, |s| u64::from_be_bytes(*s));
            let candidate = peek.starts_with(&crate::frame::MAGIC) && size > self.tree.size();
            if candidate && self.load(at)? {
                let header = Frame::decode(&self.buf).ok().map(|f| *f.header());
                if header.is_some_and(|h| h.size() > self.tree.size() && self.signed(&h)) {
                    return Ok(Some(at));
                }
            }
            at.offset += BLOCK as u64;
        }
        Ok(None)
    }
}
