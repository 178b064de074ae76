//! Recovery over a ring with arbitrary changes: never panics, never hangs, and what it accepts is
//! a prefix of what was written.
//!
//! Input: changes of 8 bytes each (segment, kind, offset in units, value).
#![no_main]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use audit_sink::io::{Io, SegmentFile};
use audit_sink::{Log, LogConfig};
use libfuzzer_sys::fuzz_target;
use tlog::{CompactRange, Hash, Signer, leaf_hash};

const SEGMENT: u64 = 256 * 1024;
const SEGMENTS: u32 = 2;

type Files = Arc<Mutex<Vec<Vec<u8>>>>;

/// Segments in memory; they never fail.
struct Memory(Files);
struct MemoryFile(Files, usize);

fn number(path: &Path) -> usize {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    name.trim_start_matches("segment-").parse().unwrap()
}

impl Io for Memory {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        let number = number(path);
        let mut files = self.0.lock().unwrap();
        let count = files.len().max(number + 1);
        files.resize(count, Vec::new());
        files[number].clear();
        Ok(Box::new(MemoryFile(self.0.clone(), number)))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        let number = number(path);
        if number >= self.0.lock().unwrap().len() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Box::new(MemoryFile(self.0.clone(), number)))
    }
}

impl SegmentFile for MemoryFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let file = &mut self.0.lock().unwrap()[self.1];
        let at = offset as usize;
        let len = file.len().max(at + bytes.len());
        file.resize(len, 0);
        file[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let file = &self.0.lock().unwrap()[self.1];
        let rest = file.get(offset as usize..).unwrap_or_default();
        let n = rest.len().min(bytes.len());
        bytes[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap()[self.1].len() as u64)
    }
}

struct Sample {
    dir: PathBuf,
    files: Vec<Vec<u8>>,
    /// Root at each size.
    roots: Vec<Hash>,
}

fn config(dir: &Path, files: &Files) -> LogConfig {
    let mut config = LogConfig::new(dir, "fuzz");
    config.segments = SEGMENTS;
    config.segment_bytes = SEGMENT;
    config.io = Arc::new(Memory(files.clone()));
    config
}

fn signer() -> Signer {
    Signer::from_seed("fuzz.example/log", &[7; 32]).unwrap()
}

/// A ring that went around once, so that stale frames lie behind the live ones.
fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("ring-recover-{}", std::process::id()));
        let files = Files::default();
        let (log, _) = Log::open(config(&dir, &files), signer()).unwrap();
        let (mut tree, mut roots) = (CompactRange::new(), vec![Hash::EMPTY_ROOT]);
        for i in 0..700u32 {
            let entry = vec![i as u8; (i as usize * 37) % 2000];
            tree.push(leaf_hash(&entry));
            roots.push(tree.root());
            let ticket = log.append(&entry).unwrap();
            log.wait_durable_blocking(ticket.index).unwrap();
            log.release(log.durable().saturating_sub(20));
        }
        // A copy from before closing: the last frame holds an entry.
        let files = files.lock().unwrap().clone();
        Sample { dir, files, roots }
    })
}

fuzz_target!(|data: &[u8]| {
    let sample = sample();
    let mut files = sample.files.clone();
    for change in data.chunks_exact(8).take(64) {
        let file = &mut files[usize::from(change[0]) % SEGMENTS as usize];
        let offset = u32::from_be_bytes([0, change[2], change[3], change[4]]) as usize;
        match change[1] % 5 {
            0 => file[offset % SEGMENT as usize] ^= change[5].max(1),
            1 => file[(offset * 4096) % SEGMENT as usize + usize::from(change[5])] = change[6],
            2 => {
                let at = (offset * 4096) % SEGMENT as usize;
                file[at..at + 4096].fill(change[5]);
            }
            3 => {
                // A block copied to another place: an old frame where it does not belong.
                let from = (usize::from(change[5]) * 4096) % SEGMENT as usize;
                let to = (offset * 4096) % SEGMENT as usize;
                file.copy_within(from..from + 4096, to);
            }
            _ => {
                let len = file.len();
                let at = (offset * 4096) % len;
                file[at..].fill(0);
            }
        }
    }
    let files = Arc::new(Mutex::new(files));
    if let Ok((_log, found)) = Log::open(config(&sample.dir, &files), signer()) {
        assert_eq!(sample.roots.get(found.size as usize), Some(&found.root));
        assert!(found.first_kept <= found.released.max(found.size));
    }
});
