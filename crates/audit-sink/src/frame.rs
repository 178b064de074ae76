//! The frame codec: how one group commit looks on disk. Pure, no I/O.
//!
//! A frame is written by one `pwrite` and made durable by one `fdatasync`. It
//! holds the entries of that commit and the signed head of the tree after them,
//! so nothing is ever durable without a signature over it.
//!
//! ```text
//! offset size  field (integers big-endian)
//!      0    8  magic "GRFRAME1"
//!      8    4  CRC32C of everything behind this field, padding included
//!     12    4  frame length in bytes, a multiple of 4096
//!     16    4  number of entries
//!     20    4  bytes of records
//!     24    2  flags: 1 = carries the tree's base, 2 = the log was closed here
//!     26    2  number of base peaks (only with flag 1)
//!     28    4  zero
//!     32    8  frame sequence number, one more than the frame before it
//!     40    8  epoch: one more at every open of the log
//!     48    8  index of the first entry
//!     56    8  tree size after this frame (= first index + number of entries)
//!     64    8  released: entries below this index are in the object store
//!     72    8  zero
//!     80   32  SHA-256 of the log id
//!    112   32  link to the frame before: SHA-256 of its header (bytes 12..240)
//!    144   32  root of the tree at the new size (RFC 6962)
//!    176   64  Ed25519 signature over the checkpoint note body (size, root)
//!    240 2048  with flag 1: up to 64 peaks (32 bytes each) of the tree before
//!              this frame, widest subtree first; the rest zero
//!      …       records: u16 length + bytes each, as in a C2SP entry bundle
//!      …       zero padding
//! ```
//!
//! The link covers the header only: the header's root commits to every record,
//! and its signature to the root. The first frame of a segment carries the base
//! because older segments are used again once they are published; whoever reads
//! the oldest kept segment needs the tree's state at its start.

/// Every frame starts at, and is padded to, a multiple of this many bytes.
pub const BLOCK: usize = 4096;
/// First bytes of every frame.
pub const MAGIC: [u8; 8] = *b"GRFRAME1";
/// Bytes of the fixed header.
pub const HEADER: usize = 240;
/// Most peaks a tree of at most 2^64 leaves has.
pub const MAX_PEAKS: usize = 64;
/// Bytes reserved for the base in a frame that carries one.
pub const BASE_AREA: usize = MAX_PEAKS * HASH;
/// Longest entry: the u16 length of a C2SP entry bundle.
pub const MAX_ENTRY: usize = u16::MAX as usize;
/// Longest frame a reader accepts, in bytes.
pub const MAX_FRAME: usize = 8 * 1024 * 1024;
/// Bytes of length before each record.
pub const RECORD_PREFIX: usize = 2;

const HASH: usize = 32;
const FLAG_BASE: u16 = 1;
const FLAG_CLOSED: u16 = 2;

/// Why bytes are not a frame. The fault is the disk's (or whoever wrote to it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Fewer bytes than the frame says it has.
    #[error("frame is cut short")]
    Short,
    /// The first eight bytes are not a frame's.
    #[error("no frame here")]
    Magic,
    /// The checksum does not fit the bytes.
    #[error("frame checksum does not match")]
    Checksum,
    /// The checksum fits but the fields contradict each other.
    #[error("frame fields are malformed: {0}")]
    Malformed(&'static str),
}

/// The fixed fields of a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Position in the chain of frames, counted from 1.
    pub seq: u64,
    /// How many times the log has been opened, counted from 1.
    pub epoch: u64,
    /// Index of the first entry in this frame.
    pub first_index: u64,
    /// Number of entries; zero in a frame that only opens or closes an epoch.
    pub count: u32,
    /// Entries below this index were in the object store when this was written.
    pub released: u64,
    /// Whether this is the last frame of an orderly close.
    pub closed: bool,
    /// SHA-256 of the log id.
    pub log_id_hash: [u8; HASH],
    /// [`Frame::link`] of the frame before; zero for the first.
    pub prev: [u8; HASH],
    /// Root of the tree with all entries up to and including this frame's.
    pub root: [u8; HASH],
    /// Ed25519 signature over the checkpoint note body for `size()` and `root`.
    pub signature: [u8; 64],
}

impl Header {
    /// Tree size after this frame.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.first_index.saturating_add(u64::from(self.count))
    }
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Header")
            .field("seq", &self.seq)
            .field("epoch", &self.epoch)
            .field("first_index", &self.first_index)
            .field("count", &self.count)
            .field("released", &self.released)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// Where records begin in a frame.
#[must_use]
pub const fn records_offset(base: bool) -> usize {
    if base { HEADER + BASE_AREA } else { HEADER }
}

/// Length on disk of a frame with this many bytes of records.
#[must_use]
pub const fn frame_len(base: bool, record_bytes: usize) -> usize {
    records_offset(base).saturating_add(record_bytes).next_multiple_of(BLOCK)
}

/// Appends one record (length and bytes) to a buffer that will become a frame.
///
/// Returns false, and appends nothing, if the entry is over [`MAX_ENTRY`].
pub fn push_record(buf: &mut Vec<u8>, entry: &[u8]) -> bool {
    let Ok(len) = u16::try_from(entry.len()) else { return false };
    buf.extend_from_slice(&len.to_be_bytes());
    buf.extend_from_slice(entry);
    true
}

/// Turns a buffer into a frame in place, without copying the records.
///
/// `buf` starts with [`records_offset`] bytes of room, records follow (made with
/// [`push_record`]). `base` must be given exactly when room for it was left. The
/// peaks are those of the tree before this frame, widest first. Returns the link
/// that the next frame carries.
pub fn seal(
    buf: &mut Vec<u8>,
    header: &Header,
    base: Option<&[[u8; HASH]]>,
) -> Result<[u8; HASH], FrameError> {
    let offset = records_offset(base.is_some());
    let record_bytes = buf.len().checked_sub(offset).ok_or(FrameError::Short)?;
    let total = frame_len(base.is_some(), record_bytes);
    let (Ok(total32), Ok(records32)) = (u32::try_from(total), u32::try_from(record_bytes)) else {
        return Err(FrameError::Malformed("too long"));
    };
    if total > MAX_FRAME {
        return Err(FrameError::Malformed("too long"));
    }
    let peaks = base.unwrap_or(&[]);
    if peaks.len() > MAX_PEAKS {
        return Err(FrameError::Malformed("too many peaks"));
    }
    buf.resize(total, 0);
    let flags =
        if base.is_some() { FLAG_BASE } else { 0 } | if header.closed { FLAG_CLOSED } else { 0 };
    let (head, rest) = buf.split_at_mut_checked(HEADER).ok_or(FrameError::Short)?;
    let mut out = Writer(head);
    out.put(&MAGIC);
    out.put(&[0; 4]);
    out.put(&total32.to_be_bytes());
    out.put(&header.count.to_be_bytes());
    out.put(&records32.to_be_bytes());
    out.put(&flags.to_be_bytes());
    out.put(&(peaks.len() as u16).to_be_bytes());
    out.put(&[0; 4]);
    out.put(&header.seq.to_be_bytes());
    out.put(&header.epoch.to_be_bytes());
    out.put(&header.first_index.to_be_bytes());
    out.put(&header.size().to_be_bytes());
    out.put(&header.released.to_be_bytes());
    out.put(&[0; 8]);
    out.put(&header.log_id_hash);
    out.put(&header.prev);
    out.put(&header.root);
    out.put(&header.signature);
    if base.is_some() {
        let area = rest.get_mut(..BASE_AREA).ok_or(FrameError::Short)?;
        area.fill(0);
        let mut out = Writer(area);
        for peak in peaks {
            out.put(peak);
        }
    }
    let crc = crc32c::crc32c(buf.get(12..).unwrap_or_default());
    if let Some(place) = buf.get_mut(8..12) {
        place.copy_from_slice(&crc.to_be_bytes());
    }
    Ok(link_of(buf))
}

fn link_of(frame: &[u8]) -> [u8; HASH] {
    tlog::sha256(frame.get(12..HEADER).unwrap_or_default()).0
}

/// A decoded frame; it borrows the bytes it was read from.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    bytes: &'a [u8],
    header: Header,
    peaks: Option<&'a [u8]>,
    records: &'a [u8],
    records_at: usize,
}

impl<'a> Frame<'a> {
    /// Reads the frame that `bytes` starts with; bytes behind it are ignored.
    ///
    /// Checks the checksum, every length, that padding is zero and that records
    /// fill exactly the space stated. It does not check the signature, the link
    /// or the root: that takes the key and the frame before.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let total = Self::stated_len(bytes)?;
        let bytes = bytes.get(..total).ok_or(FrameError::Short)?;
        let mut input = Reader(bytes);
        input.skip(8)?;
        let crc = input.u32()?;
        if crc != crc32c::crc32c(bytes.get(12..).unwrap_or_default()) {
            return Err(FrameError::Checksum);
        }
        input.skip(4)?;
        let count = input.u32()?;
        let record_bytes = input.u32()? as usize;
        let flags = input.u16()?;
        let peak_count = usize::from(input.u16()?);
        let zero_a = input.u32()?;
        let seq = input.u64()?;
        let epoch = input.u64()?;
        let first_index = input.u64()?;
        let size = input.u64()?;
        let released = input.u64()?;
        let zero_b = input.u64()?;
        let header = Header {
            seq,
            epoch,
            first_index,
            count,
            released,
            closed: flags & FLAG_CLOSED != 0,
            log_id_hash: input.array()?,
            prev: input.array()?,
            root: input.array()?,
            signature: input.array()?,
        };
        let base = flags & FLAG_BASE != 0;
        if flags & !(FLAG_BASE | FLAG_CLOSED) != 0 || zero_a != 0 || zero_b != 0 {
            return Err(FrameError::Malformed("unknown flags"));
        }
        if first_index.checked_add(u64::from(count)) != Some(size) || released > size {
            return Err(FrameError::Malformed("indices do not add up"));
        }
        if frame_len(base, record_bytes) != total {
            return Err(FrameError::Malformed("length does not fit the records"));
        }
        let peaks = read_base(&mut input, base, peak_count, first_index)?;
        let records = input.take(record_bytes)?;
        if input.0.iter().any(|b| *b != 0) {
            return Err(FrameError::Malformed("padding is not zero"));
        }
        check_records(records, count)?;
        Ok(Frame { bytes, header, peaks, records, records_at: records_offset(base) })
    }

    /// Length the frame at the start of `bytes` claims, checked only for magic
    /// and bounds. Needs 16 bytes.
    pub fn stated_len(bytes: &[u8]) -> Result<usize, FrameError> {
        let mut input = Reader(bytes);
        if input.array::<8>()? != MAGIC {
            return Err(FrameError::Magic);
        }
        input.skip(4)?;
        let total = input.u32()? as usize;
        if !(BLOCK..=MAX_FRAME).contains(&total) || !total.is_multiple_of(BLOCK) {
            return Err(FrameError::Malformed("impossible length"));
        }
        Ok(total)
    }

    /// The fixed fields.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes on disk.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Always false: a frame has at least a header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What the next frame carries as `prev`.
    #[must_use]
    pub fn link(&self) -> [u8; HASH] {
        link_of(self.bytes)
    }

    /// Peaks of the tree before this frame, widest first, if it carries them.
    #[must_use]
    pub fn base(&self) -> Option<Vec<[u8; HASH]>> {
        self.peaks.map(|p| p.as_chunks::<HASH>().0.to_vec())
    }

    /// The entries, in order.
    #[must_use]
    pub fn records(&self) -> Records<'a> {
        Records { rest: self.records, at: self.records_at }
    }
}

impl std::fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.header.fmt(f)
    }
}

fn read_base<'a>(
    input: &mut Reader<'a>,
    base: bool,
    peak_count: usize,
    first_index: u64,
) -> Result<Option<&'a [u8]>, FrameError> {
    if !base {
        return if peak_count == 0 { Ok(None) } else { Err(FrameError::Malformed("stray peaks")) };
    }
    if peak_count != first_index.count_ones() as usize {
        return Err(FrameError::Malformed("peaks do not fit the first index"));
    }
    let area = input.take(BASE_AREA)?;
    let (peaks, rest) = area.split_at_checked(peak_count * HASH).ok_or(FrameError::Short)?;
    if rest.iter().any(|b| *b != 0) {
        return Err(FrameError::Malformed("padding is not zero"));
    }
    Ok(Some(peaks))
}

fn check_records(records: &[u8], count: u32) -> Result<(), FrameError> {
    let mut input = Reader(records);
    for _ in 0..count {
        let len = input.u16().map_err(|_| FrameError::Malformed("records are cut short"))?;
        input.skip(usize::from(len)).map_err(|_| FrameError::Malformed("records are cut short"))?;
    }
    if input.0.is_empty() { Ok(()) } else { Err(FrameError::Malformed("bytes behind records")) }
}

/// Iterator over a frame's entries: (offset of the entry in the frame, entry).
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut input = Reader(self.rest);
        let len = usize::from(input.u16().ok()?);
        let entry = input.take(len).ok()?;
        let at = self.at + RECORD_PREFIX;
        self.at = at + len;
        self.rest = input.0;
        Some((at, entry))
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], FrameError> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(FrameError::Short)?;
        self.0 = rest;
        Ok(head)
    }
    fn skip(&mut self, n: usize) -> Result<(), FrameError> {
        self.take(n).map(|_| ())
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(FrameError::Short)?;
        self.0 = rest;
        Ok(*head)
    }
    fn u16(&mut self) -> Result<u16, FrameError> {
        self.array().map(u16::from_be_bytes)
    }
    fn u32(&mut self) -> Result<u32, FrameError> {
        self.array().map(u32::from_be_bytes)
    }
    fn u64(&mut self) -> Result<u64, FrameError> {
        self.array().map(u64::from_be_bytes)
    }
}

/// Writes fields one behind the other; what does not fit is a caller's mistake
/// that the codec's own tests would show (the layout is fixed).
struct Writer<'a>(&'a mut [u8]);

impl Writer<'_> {
    fn put(&mut self, field: &[u8]) {
        let taken = std::mem::take(&mut self.0);
        if let Some((head, rest)) = taken.split_at_mut_checked(field.len()) {
            head.copy_from_slice(field);
            self.0 = rest;
        }
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
