//! Making and opening the files of a ring.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::{FIRST_FRAME, Ring, RingFiles, segment_path};
use crate::error::OpenError;
use crate::frame::{BLOCK, MAGIC};
use crate::io::{SegmentFile, read_exact, write_all};

/// Zeros are written this many bytes at a time.
const FILL_CHUNK: usize = 1024 * 1024;
/// The description is a few lines; more is not ours.
const MAX_DESCRIPTION: u64 = 4096;

fn io_error<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> OpenError + use<'a> {
    move |source| OpenError::Io { action, path: path.to_owned(), source }
}

/// Takes the lock, creates the ring if there is none, and opens its files.
pub(crate) fn open_ring(wanted: RingFiles<'_>) -> Result<Ring, OpenError> {
    let dir = wanted.dir;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(io_error("create", dir))?;
    let lock = take_lock(dir)?;
    let described = dir.join("ring");
    match read_description(&described) {
        Ok(found) => compare(dir, &wanted.shape.describe(), &found)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => create_ring(&wanted)?,
        Err(e) => return Err(io_error("read", &described)(e)),
    }
    let mut files = Vec::new();
    for number in 0..wanted.shape.segments {
        files.push(open_segment(&wanted, number)?);
    }
    Ok(Ring { dir: dir.to_owned(), files, _lock: lock, shape: wanted.shape })
}

fn take_lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.open(&path).map_err(io_error("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(e)) => Err(io_error("lock", &path)(e)),
    }
}

fn read_description(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = File::open(path)?;
    std::io::Read::read_to_string(&mut std::io::Read::take(file, MAX_DESCRIPTION), &mut text)?;
    Ok(text)
}

fn compare(dir: &Path, expected: &str, found: &str) -> Result<(), OpenError> {
    if expected == found {
        return Ok(());
    }
    let mut pairs = expected.lines().zip(found.lines().chain(std::iter::repeat("")));
    let (expected, found) = pairs.find(|(e, f)| e != f).unwrap_or(("end", "more"));
    Err(OpenError::OtherRing {
        dir: dir.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    })
}

/// Creates all segments, then the description. Without a description the segments were never
/// used, unless someone deleted it: a segment that holds a frame is never overwritten here.
fn create_ring(wanted: &RingFiles<'_>) -> Result<(), OpenError> {
    for number in 0..wanted.shape.segments {
        refuse_used(wanted, number)?;
    }
    let total = wanted.shape.segment_bytes.saturating_mul(u64::from(wanted.shape.segments));
    let mut done = 0;
    for number in 0..wanted.shape.segments {
        let path = segment_path(wanted.dir, number);
        let made = fill_segment(wanted, &path, number, &mut done, total);
        if let Err(source) = made {
            // A half-made ring only takes up the space that was missing.
            for n in 0..=number {
                let _ = fs::remove_file(segment_path(wanted.dir, n));
            }
            return Err(OpenError::Io { action: "create", path, source });
        }
    }
    sync_dir(wanted.dir)?;
    let (temporary, path) = (wanted.dir.join("ring.new"), wanted.dir.join("ring"));
    let text = wanted.shape.describe();
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    };
    write().map_err(io_error("write", &path))?;
    sync_dir(wanted.dir)
}

fn refuse_used(wanted: &RingFiles<'_>, number: u32) -> Result<(), OpenError> {
    let path = segment_path(wanted.dir, number);
    let file = match wanted.io.open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io_error("open", &path)(e)),
    };
    let mut magic = [0; MAGIC.len()];
    if read_exact(&*file, &mut magic, FIRST_FRAME).is_ok() && magic == MAGIC {
        return Err(OpenError::Corrupt {
            segment: number,
            offset: FIRST_FRAME,
            why: "the segment holds frames, but the file `ring` is gone",
        });
    }
    Ok(())
}

fn fill_segment(
    wanted: &RingFiles<'_>,
    path: &Path,
    number: u32,
    done: &mut u64,
    total: u64,
) -> std::io::Result<()> {
    let file = wanted.io.create(path)?;
    let zeros = vec![0u8; FILL_CHUNK];
    let mut at = 0;
    while at < wanted.shape.segment_bytes {
        let n = (wanted.shape.segment_bytes - at).min(FILL_CHUNK as u64);
        let chunk = zeros.get(..usize::try_from(n).unwrap_or(FILL_CHUNK)).unwrap_or(&zeros);
        write_all(&*file, chunk, at)?;
        at += n;
        *done += n;
        if let Some(progress) = wanted.progress {
            progress(*done, total);
        }
    }
    write_all(&*file, &wanted.shape.segment_header(number), 0)?;
    file.sync_data()
}

fn sync_dir(dir: &Path) -> Result<(), OpenError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(io_error("flush", dir))
}

fn open_segment(wanted: &RingFiles<'_>, number: u32) -> Result<Box<dyn SegmentFile>, OpenError> {
    let path = segment_path(wanted.dir, number);
    let file = wanted.io.open(&path).map_err(io_error("open", &path))?;
    let len = file.len().map_err(io_error("measure", &path))?;
    let corrupt = |offset, why| Err(OpenError::Corrupt { segment: number, offset, why });
    if len != wanted.shape.segment_bytes {
        return corrupt(len, "the segment file has the wrong length");
    }
    let mut block = vec![0; BLOCK];
    read_exact(&*file, &mut block, 0).map_err(io_error("read", &path))?;
    if block != wanted.shape.segment_header(number) {
        return corrupt(0, "the segment's header was changed");
    }
    Ok(file)
}
