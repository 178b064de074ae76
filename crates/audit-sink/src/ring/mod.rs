//! The ring of segment files: their shape, their creation, and recovery.
//!
//! A folder holds `lock` (an `flock` for as long as the log is open), `ring` (a
//! text that states log id and sizes, written last at creation) and
//! `segment-000`, `segment-001`, … Each segment starts with one block of header;
//! frames follow, each starting at a multiple of [`BLOCK`]. Segments are written
//! one after the other and, once everything in them is in the object store,
//! again from the first.

mod create;
mod recover;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use create::open_ring;
pub(crate) use recover::{Recovery, recover};

use crate::error::OpenError;
use crate::frame::{self, BLOCK};
use crate::io::{Io, SegmentFile};

/// Fewest segments: one is written while the other waits to be published.
pub const MIN_SEGMENTS: u32 = 2;
/// Most segments.
pub const MAX_SEGMENTS: u32 = 999;
/// Smallest segment, in bytes (for tests; room for a few frames of the longest entry).
pub const MIN_SEGMENT_BYTES: u64 = 256 * 1024;
/// Largest segment, in bytes.
pub const MAX_SEGMENT_BYTES: u64 = 4 * 1024 * 1024 * 1024 - BLOCK as u64;
/// Longest frame the committer writes. Beyond this a longer frame gains nothing, and those who
/// wait for its first entry wait for its last.
pub const MAX_COMMIT_FRAME: usize = 1024 * 1024;
/// Longest log id, in bytes.
pub const MAX_LOG_ID: usize = 255;

/// Where the first frame of a segment starts.
pub(crate) const FIRST_FRAME: u64 = BLOCK as u64;
/// Kept free at the end of every segment for the frame that records a release (see `log::plan`).
pub(crate) const RESERVE: u64 = BLOCK as u64;

/// The ring's fixed numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) log_id: String,
    pub(crate) log_id_hash: [u8; 32],
    pub(crate) segments: u32,
    pub(crate) segment_bytes: u64,
}

impl Shape {
    pub(crate) fn new(log_id: &str, segments: u32, segment_bytes: u64) -> Result<Self, OpenError> {
        let bad = |why| Err(OpenError::Config(why));
        if log_id.is_empty() || log_id.len() > MAX_LOG_ID || log_id.contains(char::is_control) {
            return bad("the log id must be 1 to 255 bytes without control characters");
        }
        if !(MIN_SEGMENTS..=MAX_SEGMENTS).contains(&segments) {
            return bad("segments must be 2 to 999");
        }
        if !(MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&segment_bytes) {
            return bad("segment_bytes must be 256 KiB to 4 GiB");
        }
        if !segment_bytes.is_multiple_of(BLOCK as u64) {
            return bad("segment_bytes must be a multiple of 4096");
        }
        let log_id_hash = tlog::sha256(log_id.as_bytes()).0;
        Ok(Self { log_id: log_id.to_owned(), log_id_hash, segments, segment_bytes })
    }

    /// Longest frame: a small ring's frames are shorter, so that little is lost at a segment's end.
    pub(crate) fn max_frame(&self) -> usize {
        let third = (self.segment_bytes - FIRST_FRAME - RESERVE) / 3;
        let third = usize::try_from(third).unwrap_or(MAX_COMMIT_FRAME);
        (third - third % BLOCK).min(MAX_COMMIT_FRAME)
    }

    /// Content of the file `ring`.
    pub(crate) fn describe(&self) -> String {
        format!(
            "greffier ring 1\nlog {}\nsegments {}\nsegment-bytes {}\n",
            self.log_id, self.segments, self.segment_bytes
        )
    }

    /// The block every segment starts with.
    pub(crate) fn segment_header(&self, number: u32) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK);
        block.extend_from_slice(b"GRSEGMT1");
        block.extend_from_slice(&self.log_id_hash);
        block.extend_from_slice(&number.to_be_bytes());
        block.extend_from_slice(&self.segments.to_be_bytes());
        block.extend_from_slice(&self.segment_bytes.to_be_bytes());
        let crc = crc32c::crc32c(&block);
        block.extend_from_slice(&crc.to_be_bytes());
        block.resize(BLOCK, 0);
        block
    }

    pub(crate) fn next(&self, segment: u32) -> u32 {
        if segment + 1 >= self.segments { 0 } else { segment + 1 }
    }

    pub(crate) fn previous(&self, segment: u32) -> u32 {
        if segment == 0 { self.segments - 1 } else { segment - 1 }
    }
}

/// The open files.
pub(crate) struct Ring {
    pub(crate) shape: Shape,
    pub(crate) dir: PathBuf,
    pub(crate) files: Vec<Box<dyn SegmentFile>>,
    /// Held, not read: closing it ends the `flock`.
    _lock: std::fs::File,
}

impl Ring {
    pub(crate) fn file(&self, segment: u32) -> std::io::Result<&dyn SegmentFile> {
        self.files
            .get(segment as usize)
            .map(|f| &**f)
            .ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    /// Reads the frame at a place into `buf`. `Ok(false)`: there is none.
    pub(crate) fn read_frame(&self, at: Place, buf: &mut Vec<u8>) -> std::io::Result<bool> {
        let file = self.file(at.segment)?;
        if at.offset.saturating_add(BLOCK as u64) > self.shape.segment_bytes {
            return Ok(false);
        }
        buf.resize(BLOCK, 0);
        crate::io::read_exact(file, buf, at.offset)?;
        let Ok(len) = frame::Frame::stated_len(buf) else { return Ok(false) };
        if at.offset.saturating_add(len as u64) > self.shape.segment_bytes {
            return Ok(false);
        }
        buf.resize(len, 0);
        let rest = buf.get_mut(BLOCK..).unwrap_or_default();
        crate::io::read_exact(file, rest, at.offset + BLOCK as u64)?;
        Ok(true)
    }

    pub(crate) fn segment_path(&self, segment: u32) -> PathBuf {
        segment_path(&self.dir, segment)
    }
}

pub(crate) fn segment_path(dir: &Path, segment: u32) -> PathBuf {
    dir.join(format!("segment-{segment:03}"))
}

/// A position in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) offset: u64,
}

/// A frame with entries, as `read` finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameRef {
    pub(crate) first_index: u64,
    pub(crate) count: u32,
    pub(crate) offset: u32,
}

/// What is known of one segment while the log is open.
#[derive(Debug, Clone, Default)]
pub(crate) struct SegmentState {
    /// Tree size after the last frame in it (also of frames planned but not yet written).
    pub(crate) end_index: u64,
    /// Whether it holds frames that count.
    pub(crate) used: bool,
    /// Its durable frames with entries, in order.
    pub(crate) frames: Vec<FrameRef>,
}

/// How far the filling of new segments has come: bytes done, bytes in all.
pub type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

pub(crate) struct RingFiles<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) shape: Shape,
    pub(crate) io: &'a dyn Io,
    pub(crate) progress: Option<&'a Progress>,
}
