//! What this disk asks for one durable write.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Instant;

/// The file, in bytes: zero-filled before, as greffier's segments are.
const FILE: usize = 4 * 1024 * 1024;
/// One write, in bytes.
const WRITE: usize = 4096;
/// Writes in one probe.
const WRITES: u64 = 100;

/// Writes and syncs one block after the other; each wait in microseconds.
pub(crate) fn probe(dir: &Path) -> io::Result<Vec<f64>> {
    let path = dir.join("probe");
    let file = File::create(&path)?;
    file.write_all_at(&vec![0; FILE], 0)?;
    file.sync_all()?;
    let block = vec![0x5a; WRITE];
    let mut waits = Vec::new();
    for at in 0..WRITES {
        let begun = Instant::now();
        file.write_all_at(&block, at * WRITE as u64)?;
        file.sync_data()?;
        waits.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_file(path)?;
    Ok(waits)
}
