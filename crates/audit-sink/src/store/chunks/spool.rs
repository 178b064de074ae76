//! The two threads of a chunk folder.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use aws_lc_rs::digest;
use tlog::Hash;

use super::writer::WriterShared;
use super::{CHUNK_BYTES, ChunkError, ChunkRef, Job, SealJob, Shared, TEMP_PREFIX, lock};

/// Cut chunks that may wait for the sealer; each holds an open file. At the limit the spooler
/// waits, its queue fills, and the writers see that.
const MAX_WAITING_SEALS: usize = 256;
/// Files flushed at the same time: the file system's journal then commits once for all of them,
/// not once for each.
const PARALLEL_SYNCS: usize = 4;
/// The spooler gives room back to writers in steps of this many bytes.
const RELEASE_STEP: usize = 256 * 1024;

/// The chunk that a response is being written into.
pub(crate) struct OpenChunk {
    file: File,
    temp: PathBuf,
    hash: digest::Context,
    len: usize,
}

/// Writes and hashes. Ends when the folder is closed and the queue is empty.
pub(crate) fn spool_loop(shared: &Shared) {
    loop {
        let jobs = {
            let mut queue = lock(&shared.queue);
            while queue.jobs.is_empty() && !queue.stop {
                queue = shared.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::take(&mut queue.jobs)
        };
        if jobs.is_empty() {
            break;
        }
        let mut done = 0;
        for job in jobs {
            match job {
                Job::Data(writer, bytes) => {
                    done += bytes.len();
                    write(shared, &writer, &bytes);
                }
                Job::Finish(writer) => finish(shared, &writer),
                Job::Abandon(writer) => abandon(shared, &writer),
            }
            if done >= RELEASE_STEP {
                release(shared, std::mem::take(&mut done));
            }
        }
        release(shared, done);
    }
    lock(&shared.seals).stop = true;
    shared.seal_work.notify_all();
}

fn release(shared: &Shared, bytes: usize) {
    let mut queue = lock(&shared.queue);
    queue.bytes = queue.bytes.saturating_sub(bytes);
    if shared.has_room(&queue) {
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        waiting.into_values().for_each(std::task::Waker::wake);
    }
}

fn write(shared: &Shared, writer: &Arc<WriterShared>, bytes: &[u8]) {
    if lock(&writer.state).error.is_some() {
        return;
    }
    match write_all(shared, writer, bytes) {
        Ok(()) => writer.update(|state| state.written += bytes.len() as u64),
        Err(e) => {
            abandon(shared, writer);
            writer.fail(ChunkError::Write(e.to_string()));
        }
    }
}

fn write_all(shared: &Shared, writer: &Arc<WriterShared>, bytes: &[u8]) -> io::Result<()> {
    let mut slot = lock(&writer.open);
    let mut rest = bytes;
    while !rest.is_empty() {
        let mut chunk = match slot.take() {
            Some(chunk) => chunk,
            None => create(shared)?,
        };
        let (now, later) = rest.split_at(rest.len().min(CHUNK_BYTES - chunk.len));
        let written = chunk.file.write_all(now);
        chunk.hash.update(now);
        chunk.len += now.len();
        shared.local_bytes.fetch_add(now.len() as u64, Ordering::Relaxed);
        rest = later;
        if written.is_ok() && chunk.len == CHUNK_BYTES {
            cut(shared, writer, chunk);
        } else {
            *slot = Some(chunk);
        }
        written?;
    }
    Ok(())
}

fn create(shared: &Shared) -> io::Result<OpenChunk> {
    let number = shared.next_id.fetch_add(1, Ordering::Relaxed);
    let temp = shared.path.join(format!("{TEMP_PREFIX}{number}"));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp)?;
    Ok(OpenChunk { file, temp, hash: digest::Context::new(&digest::SHA256), len: 0 })
}

fn cut(shared: &Shared, writer: &Arc<WriterShared>, chunk: OpenChunk) {
    let digest = chunk.hash.finish();
    let Some(sha256) = Hash::from_slice(digest.as_ref()) else { return };
    let chunk_ref = ChunkRef { sha256, len: u32::try_from(chunk.len).unwrap_or(u32::MAX) };
    push_seal(
        shared,
        SealJob::Chunk {
            writer: Arc::clone(writer),
            file: chunk.file,
            temp: chunk.temp,
            chunk: chunk_ref,
        },
    );
}

fn push_seal(shared: &Shared, job: SealJob) {
    let mut seals = lock(&shared.seals);
    while seals.jobs.len() >= MAX_WAITING_SEALS {
        seals = shared.seal_room.wait(seals).unwrap_or_else(PoisonError::into_inner);
    }
    seals.jobs.push_back(job);
    drop(seals);
    shared.seal_work.notify_one();
}

fn finish(shared: &Shared, writer: &Arc<WriterShared>) {
    let last = lock(&writer.open).take();
    if let Some(chunk) = last {
        cut(shared, writer, chunk);
    }
    push_seal(shared, SealJob::Done(Arc::clone(writer)));
}

fn abandon(shared: &Shared, writer: &WriterShared) {
    if let Some(chunk) = lock(&writer.open).take() {
        // If it can't be removed now, the next start removes it.
        let _ = fs::remove_file(&chunk.temp);
        shared.freed(chunk.len as u64);
    }
}

/// Makes cut chunks durable under their names. One flush of the folder serves all that were cut
/// meanwhile.
pub(crate) fn seal_loop(shared: &Shared) {
    loop {
        let jobs = {
            let mut seals = lock(&shared.seals);
            while seals.jobs.is_empty() && !seals.stop {
                seals = shared.seal_work.wait(seals).unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::take(&mut seals.jobs)
        };
        shared.seal_room.notify_all();
        if jobs.is_empty() {
            return;
        }
        let failed = shared.failed.load(Ordering::Acquire)
            || sync_all(&jobs).is_err()
            || jobs.iter().try_for_each(|job| seal(shared, job)).is_err()
            || File::open(&shared.path).and_then(|dir| dir.sync_all()).is_err();
        if failed {
            shared.failed.store(true, Ordering::Release);
            shared.wake_waiting();
        }
        for job in jobs {
            match job {
                SealJob::Chunk { writer, .. } | SealJob::Done(writer) if failed => {
                    writer.fail(ChunkError::Failed);
                }
                SealJob::Chunk { writer, chunk, .. } => {
                    writer.update(|state| state.chunks.push(chunk));
                }
                SealJob::Done(writer) => writer.update(|state| state.done = true),
            }
        }
    }
}

/// Flushes the bytes of all chunks in `jobs`, several at a time.
fn sync_all(jobs: &VecDeque<SealJob>) -> io::Result<()> {
    let files: Vec<&File> = jobs
        .iter()
        .filter_map(|job| match job {
            SealJob::Chunk { file, .. } => Some(file),
            SealJob::Done(_) => None,
        })
        .collect();
    let sync = |part: &[&File]| part.iter().try_for_each(|file| file.sync_data());
    if files.len() < 2 {
        return sync(&files);
    }
    std::thread::scope(|scope| {
        let parts = files.chunks(files.len().div_ceil(PARALLEL_SYNCS));
        let threads: Vec<_> = parts
            .map(|part| std::thread::Builder::new().spawn_scoped(scope, move || sync(part)))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread?.join().unwrap_or_else(|_| Err(io::Error::other("a flush thread panicked")))
        })
    })
}

/// Gives a flushed chunk its name.
fn seal(shared: &Shared, job: &SealJob) -> io::Result<()> {
    let SealJob::Chunk { temp, chunk, .. } = job else { return Ok(()) };
    let name = shared.path.join(chunk.sha256.to_hex());
    if name.exists() {
        // The same bytes once more: now counted twice.
        shared.freed(u64::from(chunk.len));
    }
    fs::rename(temp, name)
}
