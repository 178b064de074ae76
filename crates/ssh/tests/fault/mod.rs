//! Files whose flush fails on demand.
#![allow(unreachable_pub, reason = "a test's own module")]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use audit_sink::io::{FileIo, Io, SegmentFile};

/// Opens files whose flush fails while this is set.
pub struct Faulty(pub Arc<AtomicBool>);

impl Io for Faulty {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(FaultyFile(FileIo.create(path)?, self.0.clone())))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(FaultyFile(FileIo.open(path)?, self.0.clone())))
    }
}

struct FaultyFile(Box<dyn SegmentFile>, Arc<AtomicBool>);

impl SegmentFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.1.load(SeqCst) {
            return Err(io::Error::other("the disk is gone"));
        }
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}
