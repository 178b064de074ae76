//! What the ring's tests share: a small ring, entries by index, files with faults.
#![allow(dead_code, unreachable_pub)] // not every test file uses all of it

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use audit_sink::io::{FileIo, Io, SegmentFile};
use audit_sink::{Log, LogConfig, Recovered};
use tlog::Signer;

/// Bytes in a segment of the tests' ring.
pub const SEGMENT: u64 = 256 * 1024;

/// The key of all test logs: fixed, so that every process of a test has it. It guards nothing.
pub fn signer() -> Signer {
    Signer::from_seed("test.example/log", &[7; 32]).unwrap()
}

pub fn config(dir: &Path) -> LogConfig {
    let mut config = LogConfig::new(dir, "a");
    config.segments = 4;
    config.segment_bytes = SEGMENT;
    config
}

pub fn open(dir: &Path) -> (Log, Recovered) {
    Log::open(config(dir), signer()).unwrap()
}

/// The entry that belongs at an index: its length and bytes follow from it.
pub fn entry(index: u64) -> Vec<u8> {
    let len = 8 + (index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54) as usize;
    let mut out = index.to_be_bytes().to_vec();
    out.resize(len, index as u8);
    out
}

/// Real files that fail on demand.
#[derive(Default)]
pub struct FaultyIo(Arc<Faults>);

#[derive(Default)]
pub struct Faults {
    pub fail_sync: AtomicBool,
    pub fail_write: AtomicBool,
    pub short_writes: AtomicBool,
    /// Bytes that may be written before the disk is full; 0: no limit.
    pub room: AtomicU64,
    pub written: AtomicU64,
    pub syncs: AtomicU64,
    /// Whoever holds it holds up every flush.
    pub gate: std::sync::Mutex<()>,
    /// How long each flush takes at least, in milliseconds.
    pub slow: AtomicU64,
    /// Flushes are not handed to the disk, which other work may keep busy.
    pub no_disk: AtomicBool,
    /// Which threads have flushed, one element a flush.
    pub by: std::sync::Mutex<Vec<std::thread::ThreadId>>,
}

impl std::ops::Deref for FaultyIo {
    type Target = Faults;
    fn deref(&self) -> &Faults {
        &self.0
    }
}

struct FaultyFile(Box<dyn SegmentFile>, Arc<Faults>);

impl Io for FaultyIo {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(FaultyFile(FileIo.create(path)?, self.0.clone())))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(FaultyFile(FileIo.open(path)?, self.0.clone())))
    }
}

impl SegmentFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if self.1.fail_write.load(SeqCst) {
            return Err(io::Error::other("injected EIO"));
        }
        let written = self.1.written.fetch_add(bytes.len() as u64, SeqCst) + bytes.len() as u64;
        let room = self.1.room.load(SeqCst);
        if room > 0 && written > room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let take =
            if self.1.short_writes.load(SeqCst) { bytes.len().div_ceil(2) } else { bytes.len() };
        self.0.write_at(&bytes[..take], offset)
    }
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        drop(self.1.gate.lock().unwrap());
        self.1.by.lock().unwrap().push(std::thread::current().id());
        std::thread::sleep(std::time::Duration::from_millis(self.1.slow.load(SeqCst)));
        self.1.syncs.fetch_add(1, SeqCst);
        if self.1.fail_sync.load(SeqCst) {
            return Err(io::Error::other("injected EIO"));
        }
        if self.1.no_disk.load(SeqCst) {
            return Ok(());
        }
        self.0.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}
