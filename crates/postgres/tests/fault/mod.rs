//! Files whose flush fails, or waits, on demand.
#![allow(dead_code, unreachable_pub, reason = "a test's own module; each test uses its part")]

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};

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

/// Opens files whose flush waits while this is held.
#[derive(Clone, Default)]
pub struct Held(Arc<(Mutex<bool>, Condvar)>);

impl Held {
    /// From now on no flush ends.
    pub fn hold(&self) {
        *self.0.0.lock().unwrap() = true;
    }

    pub fn let_go(&self) {
        *self.0.0.lock().unwrap() = false;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let held = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(held, |held| *held).unwrap());
    }
}

impl Io for Held {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(HeldFile(FileIo.create(path)?, self.clone())))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(HeldFile(FileIo.open(path)?, self.clone())))
    }
}

struct HeldFile(Box<dyn SegmentFile>, Held);

impl SegmentFile for HeldFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.1.pass();
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}
