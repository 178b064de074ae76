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

impl Shared {
    /// The frame that holds an entry.
    fn find(&self, index: u64) -> Option<(Place, FrameRef)> {
        let state = self.lock();
        for (number, segment) in (0u32..).zip(&state.segments) {
            let after = segment.frames.partition_point(|f| f.first_index <= index);
            let Some(frame) = after.checked_sub(1).and_then(|i| segment.frames.get(i)) else {
                continue;
            };
            if index - frame.first_index < u64::from(frame.count) {
                let place = Place { segment: number, offset: u64::from(frame.offset) };
                return Some((place, *frame));
            }
        }
        None
    }

    fn read_entries(&self, from: u64, max_bytes: usize) -> io::Result<Vec<(u64, Bytes)>> {
        let durable = self.durable.load(Ordering::Acquire);
        let mut out = Vec::new();
        let (mut next, mut bytes) = (from, 0usize);
        while next < durable && bytes < max_bytes && out.len() < MAX_READ_ENTRIES {
            let gone = || io::Error::new(io::ErrorKind::NotFound, "no longer in the ring");
            let (place, frame) = self.find(next).ok_or_else(gone)?;
            let mut buf = Vec::new();
            if !self.ring.read_frame(place, &mut buf)? {
                return Err(gone());
            }
            let buf = Bytes::from(buf);
            // A segment may be overwritten while we read it, if its entries were released: then
            // this is another frame, or half of one.
            let decoded = Frame::decode(&buf).map_err(|_| gone())?;
            if decoded.header().first_index != frame.first_index {
                return Err(gone());
            }
            let skip = next - frame.first_index;
            for (at, entry) in decoded.records().skip(usize::try_from(skip).unwrap_or(usize::MAX)) {
                let full = !out.is_empty() && bytes.saturating_add(entry.len()) > max_bytes;
                if full || out.len() >= MAX_READ_ENTRIES {
                    return Ok(out);
                }
                bytes += entry.len();
                out.push((next, buf.slice(at..at + entry.len())));
                next += 1;
            }
        }
        Ok(out)
    }
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
