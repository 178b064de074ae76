//! One recording's way into the chunk folder.
//!
//! Answers come in small reads, and every hand-over to the folder's thread costs two wake-ups. So
//! there is one hand-over under way at a time, and none of a few bytes: what comes meanwhile is
//! gathered and goes with the next (Nagle's rule, RFC 896, with the disk in the network's place).
//! Nothing waits for a clock: who waits for bytes to be written sends on those that were gathered
//! before.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use audit_sink::store::{ChunkError, ChunkRef, ChunkWriter};
use bytes::{Bytes, BytesMut};

use crate::journal::{JournalError, Object, Progress};

/// Gathered bytes that are handed over before anybody waits for them, if nothing is under way.
const EAGER_BYTES: usize = 32 * 1024;
/// Gathered bytes that are handed over though an earlier hand-over is still under way.
const GATHER_BYTES: usize = 128 * 1024;

/// A recording's chunk writer, shared by who writes it and who waits for it.
pub(crate) struct Spool(Mutex<Inner>);

struct Inner {
    writer: ChunkWriter,
    /// Bytes that were not handed over yet: fewer than [`GATHER_BYTES`], or what the folder had no
    /// room for. The session that wrote those is not read until they are written, so there are no
    /// more than it may hold back.
    backlog: BytesMut,
    taken: u64,
}

impl Spool {
    pub(crate) fn new(writer: ChunkWriter) -> Self {
        Spool(Mutex::new(Inner { writer, backlog: BytesMut::new(), taken: 0 }))
    }

    /// Takes bytes, and says how many there are now.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<u64, JournalError> {
        let mut inner = self.lock();
        let under_way = inner.writer.is_writing().map_err(failed)?;
        inner.taken += bytes.len() as u64;
        inner.backlog.extend_from_slice(bytes);
        let enough = if under_way { GATHER_BYTES } else { EAGER_BYTES };
        if inner.backlog.len() >= enough {
            inner.hand_over()?;
        }
        Ok(inner.taken)
    }

    /// As [`write`](Self::write), of bytes that need no copy if they can be handed over at once.
    pub(crate) fn write_whole(&self, bytes: Bytes) -> Result<u64, JournalError> {
        let mut inner = self.lock();
        let small = bytes.len() < EAGER_BYTES || !inner.backlog.is_empty();
        if small || inner.writer.is_writing().map_err(failed)? {
            drop(inner);
            return self.write(&bytes);
        }
        inner.taken += bytes.len() as u64;
        match inner.writer.append(bytes.clone()) {
            Ok(_) => {}
            Err(ChunkError::Busy) => inner.backlog.extend_from_slice(&bytes),
            Err(error) => return Err(failed(error)),
        }
        Ok(inner.taken)
    }

    /// As [`Recording::sealed`](crate::journal::Recording::sealed).
    pub(crate) fn sealed(&self) -> Vec<Object> {
        self.lock().writer.take_sealed().iter().map(object).collect()
    }

    /// As [`Recording::poll_finish`](crate::journal::Recording::poll_finish).
    pub(crate) fn poll_finish(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Vec<Object>, JournalError>> {
        let mut inner = self.lock();
        ready!(inner.poll_drain(cx))?;
        inner.writer.finish();
        let chunks = ready!(inner.writer.poll_finished(cx)).map_err(failed)?;
        Poll::Ready(Ok(chunks.iter().map(object).collect()))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Hands over what was gathered. False if there is no room for it now.
    fn hand_over(&mut self) -> Result<bool, JournalError> {
        let bytes = self.backlog.split().freeze();
        match self.writer.append(bytes.clone()) {
            Ok(_) => Ok(true),
            // Ours alone again, so this copies nothing.
            Err(ChunkError::Busy) => {
                self.backlog = bytes.into();
                Ok(false)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), JournalError>> {
        while !self.backlog.is_empty() {
            ready!(self.writer.poll_ready(cx)).map_err(failed)?;
            // Another recording may have been quicker: then it waits again.
            self.hand_over()?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Progress for Spool {
    fn poll_written(&self, offset: u64, cx: &mut Context<'_>) -> Poll<Result<(), JournalError>> {
        let mut inner = self.lock();
        let handed_over = inner.writer.appended();
        if offset > handed_over {
            ready!(inner.writer.poll_written(handed_over, cx)).map_err(failed)?;
            ready!(inner.poll_drain(cx))?;
        }
        inner.writer.poll_written(offset, cx).map_err(failed)
    }
}

fn object(chunk: &ChunkRef) -> Object {
    Object { sha256: *chunk.sha256.as_bytes(), bytes: u64::from(chunk.len) }
}

fn failed(error: ChunkError) -> JournalError {
    match error {
        ChunkError::Closed => JournalError::Closed,
        ChunkError::Busy | ChunkError::Write(_) | ChunkError::Failed => JournalError::Failed,
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spool")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::future::poll_fn;

    use audit_sink::store::{ChunkConfig, ChunkDir};

    use super::*;

    /// The bytes of a recording, from its objects.
    fn content(chunks: &ChunkDir, objects: &[Object]) -> Vec<u8> {
        let sealed = chunks.sealed().unwrap();
        let mut all = Vec::new();
        for object in objects {
            let chunk = sealed.iter().find(|c| *c.sha256.as_bytes() == object.sha256).unwrap();
            all.extend(std::fs::read(chunks.file(chunk)).unwrap());
        }
        all
    }

    fn byte(at: usize) -> u8 {
        (at * 7 + at / 251) as u8
    }

    #[tokio::test]
    async fn pieces_of_every_size_are_written_in_order_and_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let chunks = ChunkDir::open(dir.path(), ChunkConfig::default()).unwrap();
        for step in [1, 100, 8 * 1024, GATHER_BYTES - 1, GATHER_BYTES, GATHER_BYTES + 1] {
            let all: Vec<u8> = (0..(3 * GATHER_BYTES).min(step * 300)).map(byte).collect();
            let spool = Spool::new(chunks.writer());
            for (nth, piece) in all.chunks(step).enumerate() {
                let end = match nth % 3 {
                    0 => spool.write(piece).unwrap(),
                    _ => spool.write_whole(Bytes::copy_from_slice(piece)).unwrap(),
                };
                assert_eq!(end, all.len().min((nth + 1) * step) as u64);
                // Some wait for each piece, and most for many at once.
                if nth % 7 == 3 {
                    poll_fn(|cx| spool.poll_written(end, cx)).await.unwrap();
                    assert!(spool.lock().backlog.is_empty());
                }
            }
            let objects = poll_fn(|cx| spool.poll_finish(cx)).await.unwrap();
            assert!(content(&chunks, &objects) == all, "step {step}");
        }
    }

    #[tokio::test]
    async fn recordings_that_meet_a_full_queue_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        // Room for one hand-over at a time: they meet a full queue again and again.
        let config = ChunkConfig { queue_bytes: 1, ..ChunkConfig::default() };
        let chunks = ChunkDir::open(dir.path(), config).unwrap();
        let spools = [Spool::new(chunks.writer()), Spool::new(chunks.writer())];
        let mut wanted = [Vec::new(), Vec::new()];
        for at in 0..2_000 {
            for (spool, wanted) in spools.iter().zip(&mut wanted) {
                let piece = [byte(at); 100];
                wanted.extend(piece);
                let end = spool.write_whole(Bytes::copy_from_slice(&piece)).unwrap();
                if at % 500 == 499 {
                    poll_fn(|cx| spool.poll_written(end, cx)).await.unwrap();
                }
            }
        }
        for (spool, wanted) in spools.iter().zip(&wanted) {
            let objects = poll_fn(|cx| spool.poll_finish(cx)).await.unwrap();
            assert!(content(&chunks, &objects) == *wanted);
        }
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_fails_the_recording_and_who_waits_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let chunks = ChunkDir::open(&dir.path().join("c"), ChunkConfig::default()).unwrap();
        let spool = Spool::new(chunks.writer());
        std::fs::remove_dir(dir.path().join("c")).unwrap();
        let end = spool.write(b"lost").unwrap();
        let waited = poll_fn(|cx| spool.poll_written(end, cx)).await;
        assert_eq!(waited, Err(JournalError::Failed));
        assert_eq!(spool.write(b"more"), Err(JournalError::Failed));
        assert_eq!(poll_fn(|cx| spool.poll_written(end + 4, cx)).await, Err(JournalError::Failed));
    }
}
