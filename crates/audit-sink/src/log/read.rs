//! Reading entries back from the ring: for the publisher, and for whoever looks
//! at what is not published yet.

use std::io;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tlog::Hash;

use super::{Log, Shared};
use crate::frame::Frame;
use crate::ring::{FrameRef, Place};
use crate::store::Source;

/// Most entries that one call to `read` returns.
pub const MAX_READ_ENTRIES: usize = 65_536;

/// Most bytes of the ring that are read at once, unless one frame alone is longer.
const RUN_BYTES: u32 = 1024 * 1024;

/// Frames that lie one after the other in a segment, and are read at once.
struct Run {
    segment: u32,
    frames: Vec<FrameRef>,
    /// Bytes from the first frame's beginning to the last one's end. `None`: there is one frame,
    /// and only itself says how long it is.
    len: Option<usize>,
}

impl Shared {
    /// The frame that holds an entry, and those behind it that are read with it.
    fn find(&self, index: u64) -> Option<Run> {
        let state = self.lock();
        for (segment, found) in (0u32..).zip(&state.segments) {
            let after = found.frames.partition_point(|f| f.first_index <= index);
            let Some(behind) = after.checked_sub(1).and_then(|i| found.frames.get(i..)) else {
                continue;
            };
            let Some(first) = behind.first() else { continue };
            if index - first.first_index >= u64::from(first.count) {
                continue;
            }
            let span = |frame: &FrameRef| frame.offset.saturating_sub(first.offset);
            let ends = behind.partition_point(|f| span(f) <= RUN_BYTES);
            // A frame's end is known from the beginning of the next.
            return Some(match behind.get(..ends.saturating_sub(1)) {
                Some(frames) if frames.len() > 1 => Run {
                    segment,
                    len: behind.get(frames.len()).map(|next| span(next) as usize),
                    frames: frames.to_vec(),
                },
                _ => Run { segment, frames: vec![*first], len: None },
            });
        }
        None
    }

    fn read_run(&self, run: &Run) -> io::Result<Bytes> {
        let first = run.frames.first().ok_or_else(gone)?;
        let place = Place { segment: run.segment, offset: u64::from(first.offset) };
        let mut buf = Vec::new();
        if let Some(len) = run.len {
            buf.resize(len, 0);
            crate::io::read_exact(self.ring.file(place.segment)?, &mut buf, place.offset)?;
        } else if !self.ring.read_frame(place, &mut buf)? {
            return Err(gone());
        }
        Ok(Bytes::from(buf))
    }

    fn read_entries(&self, from: u64, max_bytes: usize) -> io::Result<Vec<(u64, Bytes)>> {
        let durable = self.durable.load(Ordering::Acquire);
        let mut out = Vec::new();
        let (mut next, mut bytes) = (from, 0usize);
        while next < durable && bytes < max_bytes && out.len() < MAX_READ_ENTRIES {
            let run = self.find(next).ok_or_else(gone)?;
            let buf = self.read_run(&run)?;
            let begin = run.frames.first().map_or(0, |f| f.offset);
            for frame in &run.frames {
                let at = (frame.offset - begin) as usize;
                let rest = buf.get(at..).ok_or_else(gone)?;
                let len = Frame::stated_len(rest).map_err(|_| gone())?;
                let bytes_of_frame = rest.get(..len).ok_or_else(gone)?;
                // A segment may be overwritten while we read it, if its entries were released:
                // then this is another frame, or half of one.
                let decoded = Frame::decode(bytes_of_frame).map_err(|_| gone())?;
                if decoded.header().first_index != frame.first_index {
                    return Err(gone());
                }
                let skip = usize::try_from(next - frame.first_index).unwrap_or(usize::MAX);
                for (offset, entry) in decoded.records().skip(skip) {
                    let full = !out.is_empty() && bytes.saturating_add(entry.len()) > max_bytes;
                    if full || out.len() >= MAX_READ_ENTRIES {
                        return Ok(out);
                    }
                    bytes += entry.len();
                    out.push((next, buf.slice(at + offset..at + offset + entry.len())));
                    next += 1;
                }
            }
        }
        Ok(out)
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no longer in the ring")
}

impl Log {
    /// Durable entries from `from` on, in order: at least one if there is one, then as many as
    /// fit `max_bytes` (and [`MAX_READ_ENTRIES`]). Their bytes share the frame's buffer.
    ///
    /// # Errors
    /// `NotFound` if the entry was released and overwritten; others from the operating system.
    pub fn read(&self, from: u64, max_bytes: usize) -> io::Result<Vec<(u64, Bytes)>> {
        self.shared().read_entries(from, max_bytes)
    }

    /// States that all entries below `up_to` are kept elsewhere: their segments may be used
    /// again. Takes back nothing: a lower value than before does nothing.
    pub fn release(&self, up_to: u64) {
        let durable = self.durable();
        let mut state = self.shared().lock();
        state.released = state.released.max(up_to.min(durable));
    }
}

impl Source for Log {
    fn durable_size(&self) -> u64 {
        self.durable()
    }

    fn read(&self, from_index: u64, max_bytes: usize) -> io::Result<Vec<(u64, Bytes)>> {
        Log::read(self, from_index, max_bytes)
    }

    fn release(&self, up_to_index: u64) {
        Log::release(self, up_to_index);
    }

    fn head(&self) -> Option<(u64, Hash)> {
        Log::head(self).map(|head| (head.size, head.root))
    }
}
