//! The few file operations the segment ring needs, behind a trait.
//!
//! [`FileIo`] is the real one. Tests put a wrapper in its place to make a flush
//! fail, a write fall short or the disk be full at a chosen moment.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Opens and creates segment files.
pub trait Io: Send + Sync + 'static {
    /// Creates the file, or empties it if it exists. Only the owner may read it.
    ///
    /// # Errors
    /// Those of the operating system.
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// Those of the operating system.
    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;
}

/// One segment file. Positioned reads and writes only: any thread may call it.
pub trait SegmentFile: Send + Sync {
    /// Writes at an offset; returns how many bytes were taken, which may be fewer than given.
    ///
    /// # Errors
    /// Those of the operating system.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Reads at an offset; returns how many bytes were read, 0 at the end of the file.
    ///
    /// # Errors
    /// Those of the operating system.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// `fdatasync`: what was written, and the size needed to read it, is on the device.
    ///
    /// # Errors
    /// Those of the operating system. After one, nothing is known about what was written.
    fn sync_data(&self) -> io::Result<()>;

    /// Bytes in the file.
    ///
    /// # Errors
    /// Those of the operating system.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds nothing.
    ///
    /// # Errors
    /// Those of the operating system.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileIo;

/// Entries may hold what users typed: nobody but the owner reads segments.
const SEGMENT_MODE: u32 = 0o600;

impl Io for FileIo {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(SEGMENT_MODE);
        Ok(Box::new(options.open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(path)?))
    }
}

impl SegmentFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(self, bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// Writes all of `bytes`. A signal in between is no failure; everything else is.
pub(crate) fn write_all(file: &dyn SegmentFile, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = bytes.get(n..).unwrap_or_default();
                at = at.saturating_add(n as u64);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Fills `bytes`, or fails with `UnexpectedEof`.
pub(crate) fn read_exact(
    file: &dyn SegmentFile,
    mut bytes: &mut [u8],
    mut at: u64,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.read_at(bytes, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                bytes = bytes.get_mut(n..).unwrap_or_default();
                at = at.saturating_add(n as u64);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
