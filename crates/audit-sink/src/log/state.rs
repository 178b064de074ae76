//! What the appenders and the committer share: the queue, and where it will go.
//!
//! An appender decides, under the lock, in which frame and at which place in the
//! ring its entry will lie. So a full ring is refused at once, and every entry
//! that got a ticket has its room.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tlog::{CompactRange, Hash};

use crate::error::{AppendError, Failed};
use crate::frame::{self, RECORD_PREFIX, frame_len, records_offset};
use crate::ring::{FIRST_FRAME, Place, RESERVE, SegmentState, Shape};

use super::lead::Seat;

/// How long entries that nobody waits for may gather before they are flushed.
pub(crate) const GATHER: Duration = Duration::from_millis(5);
/// Above so many bytes they are flushed though nobody waits, in bytes.
const GATHER_BYTES: usize = 256 * 1024;
/// Buffers kept for the next batches.
const SPARE_BUFFERS: usize = 4;

/// Entries that become one frame.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) place: Place,
    /// Peaks before the first entry, when the frame is its segment's first.
    pub(crate) base: Option<Vec<Hash>>,
    pub(crate) first_index: u64,
    pub(crate) count: u32,
    /// Room for the header, then the records.
    pub(crate) buf: Vec<u8>,
    /// What the segment held before up to, when the frame is its first: must be known as
    /// released on disk before it is overwritten.
    pub(crate) overwrites: u64,
    /// Where the segment before ended, when the frame is its segment's first.
    pub(crate) left: Option<Place>,
    pub(crate) closing: bool,
    /// The tree after the last entry, once no more can join.
    tree_after: Option<CompactRange>,
}

impl Batch {
    pub(crate) fn record_bytes(&self) -> usize {
        self.buf.len().saturating_sub(records_offset(self.base.is_some()))
    }

    fn len_with(&self, more: usize) -> usize {
        frame_len(self.base.is_some(), self.record_bytes().saturating_add(more))
    }

    fn end(&self) -> Place {
        Place { offset: self.place.offset + self.len_with(0) as u64, ..self.place }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    /// No more entries are taken; what is queued is committed.
    Closing,
    Closed,
    Failed(Failed),
}

/// The signed head as of the last durable frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadState {
    pub(crate) size: u64,
    pub(crate) root: Hash,
    pub(crate) signature: [u8; 64],
}

pub(crate) struct State {
    pub(crate) shape: Arc<Shape>,
    pub(crate) phase: Phase,
    /// The tree with all entries that have a ticket.
    pub(crate) tree: CompactRange,
    pub(crate) queue: VecDeque<Batch>,
    /// Bytes of records in the queue.
    pub(crate) queued: usize,
    pub(crate) max_queue: usize,
    /// Where the frame after the last one taken by the committer goes.
    pub(crate) next: Place,
    pub(crate) released: u64,
    pub(crate) segments: Vec<SegmentState>,
    pub(crate) head: Option<HeadState>,
    pub(crate) rest: Rest,
    /// Somebody relies on what is queued: it is to be flushed without delay.
    pub(crate) hurry: bool,
    /// Somebody relies on it, and a thread that serves was called to flush it. If none of them
    /// gets round to it, the committer does, when it looks at the queue anyway.
    pub(crate) led: bool,
    /// When the first entry came to the empty queue.
    pub(crate) gathering: Option<Instant>,
    pub(crate) spare: Vec<Vec<u8>>,
    /// Threads that serve and wait for the end of the flush under way, to begin the next.
    pub(crate) heirs: Vec<Arc<Seat>>,
}

/// What the committer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// It works, or has been woken: it will look at the queue.
    No,
    /// It sleeps, and looks at the queue within [`GATHER`].
    Light,
    /// It sleeps until it is woken.
    Deep,
}

/// How soon an entry is to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// With the next flush, which begins at once if none is under way.
    Now,
    /// With the next flush that somebody waits for, within [`GATHER`] at the latest.
    Soon,
}

/// What an entry may take of a ring, or a queue, that is nearly full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// It leaves half a segment: for the ends of what was begun.
    Begin,
    /// It may take the last room there is, and as much of memory again as the others.
    End,
}

/// Where the next entry goes.
#[derive(Clone, Copy)]
enum Slot {
    /// Into the last batch of the queue.
    Join,
    /// Into a new batch.
    New(Place),
}

impl State {
    fn check_phase(&self) -> Result<(), AppendError> {
        match &self.phase {
            Phase::Running => Ok(()),
            Phase::Failed(failed) => Err(AppendError::Failed(failed.clone())),
            Phase::Closing | Phase::Closed => Err(AppendError::Closed),
        }
    }

    /// Takes all entries or none. `leaves` are their hashes, in the same order.
    pub(crate) fn append<E: AsRef<[u8]>>(
        &mut self,
        entries: &[E],
        leaves: &[Hash],
        room: Room,
    ) -> Result<u64, AppendError> {
        self.check_phase()?;
        let first = self.tree.size();
        if first.saturating_add(entries.len() as u64) > tlog::MAX_TREE_SIZE {
            return Err(AppendError::RingFull);
        }
        if let [entry] = entries {
            let slot = self.slot_for(entry.as_ref().len() + RECORD_PREFIX)?;
            self.check_room(slot, entry.as_ref().len() + RECORD_PREFIX, room)?;
            self.check_queue(entry.as_ref().len(), room)?;
            self.put(slot, entry.as_ref(), leaves.first().copied());
            return Ok(first);
        }
        self.check_all(entries)?;
        for (entry, leaf) in entries.iter().zip(leaves) {
            let slot = self.slot_for(entry.as_ref().len() + RECORD_PREFIX)?;
            self.put(slot, entry.as_ref(), Some(*leaf));
        }
        Ok(first)
    }

    fn check_queue(&self, more: usize, room: Room) -> Result<(), AppendError> {
        let most = match room {
            Room::Begin => self.max_queue,
            Room::End => self.max_queue.saturating_mul(2),
        };
        // An empty queue takes anything: a limit below one entry must not block for ever.
        if self.queued > 0 && self.queued.saturating_add(more) > most {
            return Err(AppendError::QueueFull);
        }
        Ok(())
    }

    /// Walks through the places of several entries without taking them.
    fn check_all<E: AsRef<[u8]>>(&self, entries: &[E]) -> Result<(), AppendError> {
        self.check_queue(entries.iter().map(|e| e.as_ref().len()).sum(), Room::Begin)?;
        let mut planned: Option<(Place, usize)> =
            self.queue.back().map(|b| (b.place, b.record_bytes()));
        let mut laps = 0;
        for entry in entries {
            let need = entry.as_ref().len() + RECORD_PREFIX;
            if let Some((place, bytes)) = planned
                && self.fits(place, bytes + need)
            {
                planned = Some((place, bytes + need));
                continue;
            }
            let after = planned.map_or(self.next, |(place, bytes)| Place {
                offset: place.offset + frame_len(place.offset == FIRST_FRAME, bytes) as u64,
                ..place
            });
            let place = self.place_for(after, need)?;
            laps += u32::from(place.segment != after.segment);
            if laps >= self.shape.segments {
                return Err(AppendError::RingFull);
            }
            planned = Some((place, need));
        }
        // Several at once are nobody's end.
        match planned {
            Some((place, bytes)) if !self.leaves_half(place, bytes, laps) => {
                Err(AppendError::RingFull)
            }
            _ => Ok(()),
        }
    }

    /// Whether an entry leaves what it has to.
    fn check_room(&self, slot: Slot, need: usize, room: Room) -> Result<(), AppendError> {
        let (place, bytes) = match (slot, self.queue.back()) {
            (Slot::New(place), _) => (place, need),
            (Slot::Join, Some(last)) => (last.place, last.record_bytes() + need),
            (Slot::Join, None) => return Ok(()),
        };
        match room {
            Room::Begin if !self.leaves_half(place, bytes, 0) => Err(AppendError::RingFull),
            Room::Begin | Room::End => Ok(()),
        }
    }

    /// Whether half a segment is left behind a frame with so many bytes of records, when `laps`
    /// segments are to be begun before it.
    fn leaves_half(&self, place: Place, record_bytes: usize, laps: u32) -> bool {
        let end = place.offset + frame_len(place.offset == FIRST_FRAME, record_bytes) as u64;
        let half = self.shape.segment_bytes / 2;
        end + half + RESERVE <= self.shape.segment_bytes
            || (laps + 1 < self.shape.segments && self.is_free(self.shape.next(place.segment)))
    }

    /// Whether a frame with so many bytes of records may lie at a place.
    fn fits(&self, place: Place, record_bytes: usize) -> bool {
        let len = frame_len(place.offset == FIRST_FRAME, record_bytes);
        len <= self.shape.max_frame()
            && place.offset + len as u64 + RESERVE <= self.shape.segment_bytes
    }

    fn slot_for(&self, need: usize) -> Result<Slot, AppendError> {
        let after = match self.queue.back() {
            Some(last) if !last.closing && self.fits(last.place, last.record_bytes() + need) => {
                return Ok(Slot::Join);
            }
            Some(last) => last.end(),
            None => self.next,
        };
        self.place_for(after, need).map(Slot::New)
    }

    fn place_for(&self, after: Place, need: usize) -> Result<Place, AppendError> {
        if self.fits(after, need) {
            return Ok(after);
        }
        let segment = self.shape.next(after.segment);
        let place = Place { segment, offset: FIRST_FRAME };
        let found = self.is_free(segment) && self.fits(place, need);
        if found { Ok(place) } else { Err(AppendError::RingFull) }
    }

    fn is_free(&self, segment: u32) -> bool {
        let state = self.segments.get(segment as usize);
        state.is_some_and(|s| !s.used || s.end_index <= self.released)
    }

    fn put(&mut self, slot: Slot, entry: &[u8], leaf: Option<Hash>) {
        if let Slot::New(place) = slot {
            self.start_batch(place);
        }
        let Some(batch) = self.queue.back_mut() else { return };
        let before = batch.buf.len();
        if !frame::push_record(&mut batch.buf, entry) {
            return;
        }
        self.queued += batch.buf.len() - before;
        batch.count += 1;
        if let Some(leaf) = leaf {
            self.tree.push(leaf);
        }
        let segment = batch.place.segment as usize;
        if let Some(state) = self.segments.get_mut(segment) {
            state.end_index = self.tree.size();
        }
    }

    fn start_batch(&mut self, place: Place) {
        let after = self.queue.back().map_or(self.next, Batch::end);
        if let Some(last) = self.queue.back_mut() {
            last.tree_after = Some(self.tree.clone());
        }
        let first = place.offset == FIRST_FRAME;
        let mut buf = self.spare.pop().unwrap_or_default();
        buf.clear();
        buf.resize(records_offset(first), 0);
        let mut overwrites = 0;
        if first && let Some(state) = self.segments.get_mut(place.segment as usize) {
            overwrites = if state.used { state.end_index } else { 0 };
            state.used = true;
            state.end_index = self.tree.size();
            state.frames.clear();
        }
        self.queue.push_back(Batch {
            place,
            base: first.then(|| self.tree.peaks().to_vec()),
            first_index: self.tree.size(),
            count: 0,
            buf,
            overwrites,
            left: (first && after != place).then_some(after),
            closing: false,
            tree_after: None,
        });
    }

    /// Queues a frame without entries, if there is room for one.
    pub(crate) fn mark(&mut self, closing: bool) {
        let after = self.queue.back().map_or(self.next, Batch::end);
        if let Ok(place) = self.place_for(after, 0) {
            self.start_batch(place);
            if let Some(batch) = self.queue.back_mut() {
                batch.closing = closing;
            }
            self.hurry = true;
        }
    }

    /// Notes how soon what was just appended is to be durable. Returns whether the committer
    /// must be woken.
    pub(crate) fn pace(&mut self, pace: Pace) -> bool {
        self.hurry |= pace == Pace::Now || self.queued >= GATHER_BYTES;
        if !self.hurry {
            self.gathering.get_or_insert_with(Instant::now);
        }
        let wake = match self.rest {
            Rest::No => false,
            // What somebody else waits for, is seen to already.
            Rest::Light => pace == Pace::Now || self.queued >= GATHER_BYTES,
            Rest::Deep => true,
        };
        if wake {
            self.rest = Rest::No;
        }
        wake
    }

    /// Notes that a thread that serves is called to flush what was just appended.
    pub(crate) fn lead(&mut self) {
        self.led = true;
        self.gathering.get_or_insert_with(Instant::now);
    }

    /// Whether somebody relies on what is queued.
    pub(crate) fn is_wanted(&self) -> bool {
        self.hurry || self.led
    }

    /// Whether an entry is still queued.
    pub(crate) fn is_queued(&self, index: u64) -> bool {
        self.queue.front().is_some_and(|batch| batch.first_index <= index)
    }

    /// For how long the queue may be left alone; `None` if there is nothing in it.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.queue.front()?;
        match self.gathering {
            Some(since) if !self.hurry && self.phase == Phase::Running => {
                Some(GATHER.saturating_sub(since.elapsed()))
            }
            _ => Some(Duration::ZERO),
        }
    }

    /// The next batch for the committer, and the tree after it.
    pub(crate) fn take(&mut self) -> Option<(Batch, CompactRange)> {
        let mut batch = self.queue.pop_front()?;
        if self.queue.is_empty() {
            self.hurry = false;
            self.led = false;
            self.gathering = None;
        }
        self.queued = self.queued.saturating_sub(batch.record_bytes());
        self.next = batch.end();
        let tree = batch.tree_after.take().unwrap_or_else(|| self.tree.clone());
        Some((batch, tree))
    }

    pub(crate) fn give_back(&mut self, buf: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS {
            self.spare.push(buf);
        }
    }
}
