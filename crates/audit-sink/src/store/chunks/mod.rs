//! Chunks: responses too large for an entry, kept beside the ring until they are in the store.
//!
//! A response is written through a [`ChunkWriter`], which cuts it into pieces of
//! [`CHUNK_BYTES`], hashes each, and names each file by its SHA-256. Nothing here blocks an async
//! task: one thread (the *spooler*) writes and hashes, another (the *sealer*) flushes and renames.
//! When they fall behind, [`ChunkWriter::poll_ready`] says so, and the caller stops reading.

mod spool;
mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use tlog::Hash;

pub use writer::ChunkWriter;
use writer::WriterShared;

/// The size of every chunk but a response's last, in bytes.
pub const CHUNK_BYTES: usize = 1024 * 1024;
/// Beginning of the names of files that are not sealed yet.
const TEMP_PREFIX: &str = "tmp-";

/// A sealed piece of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkRef {
    /// SHA-256 of the bytes: the object's name.
    pub sha256: Hash,
    /// Their number, 1 to [`CHUNK_BYTES`].
    pub len: u32,
}

/// Why a response cannot be kept. Ours (or the disk's), never the client's or the target's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// More was appended than [`ChunkWriter::poll_ready`] allowed.
    #[error("the chunk queue is full")]
    Busy,
    /// The file could not be written.
    #[error("writing a chunk failed: {0}")]
    Write(String),
    /// A chunk could not be made durable. Final, for every writer: it is never tried again.
    #[error("making a chunk durable failed earlier; no more are taken")]
    Failed,
    /// The folder is closed, or the writer has been finished.
    #[error("the chunk folder is closed")]
    Closed,
}

/// Limits of a [`ChunkDir`].
#[derive(Debug, Clone, Copy)]
pub struct ChunkConfig {
    /// Bytes that may wait in memory for the spooler, over all writers.
    pub queue_bytes: usize,
    /// Bytes that may lie in the folder, waiting for the store. At the limit writers wait.
    pub max_local_bytes: u64,
}

impl Default for ChunkConfig {
    fn default() -> Self {
        Self { queue_bytes: 32 << 20, max_local_bytes: 4 << 30 }
    }
}

/// A local folder of chunks with its two threads. Clones share it; the threads end when
/// [`ChunkDir::close`] is called or the last clone is gone (writers count).
#[derive(Clone, Debug)]
pub struct ChunkDir {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

pub(crate) struct Shared {
    path: PathBuf,
    config: ChunkConfig,
    queue: Mutex<Queue>,
    work: Condvar,
    seals: Mutex<Seals>,
    seal_work: Condvar,
    seal_room: Condvar,
    local_bytes: AtomicU64,
    failed: AtomicBool,
    next_id: AtomicU64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkDir").field("path", &self.path).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
    /// Writers that wait for room, by writer id: one waker each.
    waiting: BTreeMap<u64, Waker>,
    stop: bool,
}

enum Job {
    Data(Arc<WriterShared>, Bytes),
    Finish(Arc<WriterShared>),
    Abandon(Arc<WriterShared>),
}

#[derive(Default)]
struct Seals {
    jobs: VecDeque<SealJob>,
    stop: bool,
}

enum SealJob {
    Chunk { writer: Arc<WriterShared>, file: File, temp: PathBuf, chunk: ChunkRef },
    Done(Arc<WriterShared>),
}

/// A lock whose holder panicked guards plain counters and queues here: still usable.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ChunkDir {
    /// Opens (and makes, for the owner only) the folder, removes what a crash left unfinished,
    /// and starts the threads. Sealed chunks that are there stay, for the publisher.
    ///
    /// # Errors
    /// When the folder or the threads can't be made.
    pub fn open(path: &Path, config: ChunkConfig) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let mut local = 0;
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(TEMP_PREFIX) {
                fs::remove_file(entry.path())?;
            } else {
                local += entry.metadata()?.len();
            }
        }
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            config,
            queue: Mutex::default(),
            work: Condvar::new(),
            seals: Mutex::default(),
            seal_work: Condvar::new(),
            seal_room: Condvar::new(),
            local_bytes: AtomicU64::new(local),
            failed: AtomicBool::new(false),
            next_id: AtomicU64::new(0),
        });
        let handle = Arc::new(Handle { shared: Arc::clone(&shared) });
        let sealer = Arc::clone(&shared);
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        thread("chunk-sealer").spawn(move || spool::seal_loop(&sealer))?;
        thread("chunk-spooler").spawn(move || spool::spool_loop(&shared))?;
        Ok(Self { handle })
    }

    /// A writer for one response.
    #[must_use]
    pub fn writer(&self) -> ChunkWriter {
        let id = self.shared().next_id.fetch_add(1, Ordering::Relaxed);
        ChunkWriter::new(self.clone(), id)
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared().path
    }

    /// Bytes in the folder, sealed or not.
    #[must_use]
    pub fn local_bytes(&self) -> u64 {
        self.shared().local_bytes.load(Ordering::Relaxed)
    }

    /// Whether a flush has failed: no more chunks are taken, and the process should end.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared().failed.load(Ordering::Acquire)
    }

    /// The sealed, durable chunks in the folder.
    ///
    /// # Errors
    /// When the folder can't be listed.
    pub fn sealed(&self) -> io::Result<Vec<ChunkRef>> {
        let mut chunks = Vec::new();
        for entry in fs::read_dir(self.path())? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(sha256) = name.to_str().and_then(Hash::from_hex) else { continue };
            let Ok(len) = u32::try_from(entry.metadata()?.len()) else { continue };
            chunks.push(ChunkRef { sha256, len });
        }
        Ok(chunks)
    }

    /// The file of a sealed chunk.
    #[must_use]
    pub fn file(&self, chunk: &ChunkRef) -> PathBuf {
        self.path().join(chunk.sha256.to_hex())
    }

    /// Deletes chunks that are in the store.
    ///
    /// # Errors
    /// When a file can't be deleted; one that is gone already is no error.
    pub fn remove(&self, chunks: &[ChunkRef]) -> io::Result<()> {
        for chunk in chunks {
            match fs::remove_file(self.file(chunk)) {
                Ok(()) => self.shared().freed(u64::from(chunk.len)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Ends the threads once they have done all that is queued. Writers get
    /// [`ChunkError::Closed`] from then on.
    pub fn close(&self) {
        self.shared().stop();
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }
}

impl Shared {
    fn stop(&self) {
        lock(&self.queue).stop = true;
        self.work.notify_all();
        self.wake_waiting();
    }

    /// Bytes left the folder: writers that wait may go on.
    fn freed(&self, bytes: u64) {
        // Saturating: a chunk may be sealed a second time while the first is being deleted, and
        // then be subtracted twice. A little too low is harmless; wrapped around is not.
        let less = |local: u64| Some(local.saturating_sub(bytes));
        let before = self.local_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        if before.unwrap_or_else(|local| local) >= self.config.max_local_bytes {
            self.wake_waiting();
        }
    }

    fn wake_waiting(&self) {
        let waiting = std::mem::take(&mut lock(&self.queue).waiting);
        waiting.into_values().for_each(Waker::wake);
    }

    fn has_room(&self, queue: &Queue) -> bool {
        queue.bytes < self.config.queue_bytes
            && self.local_bytes.load(Ordering::Relaxed) < self.config.max_local_bytes
    }
}
