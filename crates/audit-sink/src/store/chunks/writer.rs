//! The side of the chunk folder that a response sees.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::spool::OpenChunk;
use super::{ChunkDir, ChunkError, ChunkRef, Job, lock};

/// What writer and threads share about one response.
#[derive(Default)]
pub(crate) struct WriterShared {
    pub(crate) state: Mutex<WriterState>,
    /// The spooler's alone; apart from `state` so that no poll ever waits for the disk.
    pub(crate) open: Mutex<Option<OpenChunk>>,
}

#[derive(Default)]
pub(crate) struct WriterState {
    pub(crate) written: u64,
    pub(crate) chunks: Vec<ChunkRef>,
    pub(crate) done: bool,
    pub(crate) error: Option<ChunkError>,
    pub(crate) waker: Option<Waker>,
}

impl WriterShared {
    /// Changes the state and wakes who waits for it.
    pub(crate) fn update(&self, change: impl FnOnce(&mut WriterState)) {
        let waker = {
            let mut state = lock(&self.state);
            change(&mut state);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn fail(&self, error: ChunkError) {
        self.update(|state| {
            state.error.get_or_insert(error);
        });
    }
}

/// Writes one response into chunks. Dropped before [`ChunkWriter::finish`], it leaves only the
/// chunks that were full already, to which nothing refers.
pub struct ChunkWriter {
    dir: ChunkDir,
    id: u64,
    shared: Arc<WriterShared>,
    appended: u64,
    finished: bool,
}

impl std::fmt::Debug for ChunkWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (id, appended) = (self.id, self.appended);
        f.debug_struct("ChunkWriter").field("id", &id).field("appended", &appended).finish()
    }
}

impl ChunkWriter {
    pub(crate) fn new(dir: ChunkDir, id: u64) -> Self {
        Self { dir, id, shared: Arc::default(), appended: 0, finished: false }
    }

    /// Bytes appended so far: the offset of the next byte.
    #[must_use]
    pub const fn appended(&self) -> u64 {
        self.appended
    }

    /// Ready when there is room to append. Memory is bounded by the queue's limit plus one
    /// append a writer.
    ///
    /// # Errors
    /// What ended this writer or the folder.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), ChunkError>> {
        self.check()?;
        let shared = self.dir.shared();
        let mut queue = lock(&shared.queue);
        if queue.stop {
            return Poll::Ready(Err(ChunkError::Closed));
        }
        if shared.has_room(&queue) {
            return Poll::Ready(Ok(()));
        }
        queue.waiting.insert(self.id, cx.waker().clone());
        Poll::Pending
    }

    /// Hands over bytes and returns the offset of their end, for [`ChunkWriter::poll_written`].
    /// Never waits.
    ///
    /// # Errors
    /// [`ChunkError::Busy`] when [`ChunkWriter::poll_ready`] was not asked; nothing is then taken.
    pub fn append(&mut self, bytes: Bytes) -> Result<u64, ChunkError> {
        self.check()?;
        if self.finished {
            return Err(ChunkError::Closed);
        }
        if bytes.is_empty() {
            return Ok(self.appended);
        }
        let len = bytes.len();
        let shared = self.dir.shared();
        {
            let mut queue = lock(&shared.queue);
            if queue.stop {
                return Err(ChunkError::Closed);
            }
            if !shared.has_room(&queue) {
                return Err(ChunkError::Busy);
            }
            queue.bytes += len;
            queue.jobs.push_back(Job::Data(Arc::clone(&self.shared), bytes));
        }
        shared.work.notify_one();
        self.appended += len as u64;
        Ok(self.appended)
    }

    /// Ready when all bytes below `offset` are in files: written, not yet flushed (they survive
    /// the end of this process, not of the machine).
    ///
    /// # Errors
    /// What ended this writer or the folder.
    pub fn poll_written(&self, offset: u64, cx: &mut Context<'_>) -> Poll<Result<(), ChunkError>> {
        let mut state = lock(&self.shared.state);
        if state.written >= offset {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = &state.error {
            return Poll::Ready(Err(error.clone()));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether anything that was appended is not in files yet.
    ///
    /// # Errors
    /// What ended this writer or the folder.
    pub fn is_writing(&self) -> Result<bool, ChunkError> {
        self.check()?;
        Ok(lock(&self.shared.state).written < self.appended)
    }

    /// States that the response is complete. Does nothing the second time.
    pub fn finish(&mut self) {
        if !std::mem::replace(&mut self.finished, true) {
            self.send(Job::Finish(Arc::clone(&self.shared)));
        }
    }

    /// Takes the references of the chunks that are sealed and durable by now, in order, each
    /// once.
    pub fn take_sealed(&mut self) -> Vec<ChunkRef> {
        std::mem::take(&mut lock(&self.shared.state).chunks)
    }

    /// After [`ChunkWriter::finish`]: ready when every chunk is sealed and durable, with the
    /// references that were not [taken](ChunkWriter::take_sealed), in order.
    ///
    /// # Errors
    /// What ended this writer or the folder: the response is then not on record.
    pub fn poll_finished(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Vec<ChunkRef>, ChunkError>> {
        let mut state = lock(&self.shared.state);
        if let Some(error) = &state.error {
            return Poll::Ready(Err(error.clone()));
        }
        if state.done {
            return Poll::Ready(Ok(state.chunks.clone()));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// [`ChunkWriter::finish`] and [`ChunkWriter::poll_finished`] in one.
    ///
    /// # Errors
    /// As [`ChunkWriter::poll_finished`].
    pub async fn finished(&mut self) -> Result<Vec<ChunkRef>, ChunkError> {
        self.finish();
        std::future::poll_fn(|cx| self.poll_finished(cx)).await
    }

    fn check(&self) -> Result<(), ChunkError> {
        if self.dir.shared().failed.load(Ordering::Acquire) {
            return Err(ChunkError::Failed);
        }
        lock(&self.shared.state).error.clone().map_or(Ok(()), Err)
    }

    fn send(&self, job: Job) {
        let stopped = {
            let mut queue = lock(&self.dir.shared().queue);
            if !queue.stop {
                queue.jobs.push_back(job);
            }
            queue.stop
        };
        if stopped {
            self.shared.fail(ChunkError::Closed);
        }
        self.dir.shared().work.notify_one();
    }
}

impl Drop for ChunkWriter {
    fn drop(&mut self) {
        lock(&self.dir.shared().queue).waiting.remove(&self.id);
        if !self.finished {
            self.send(Job::Abandon(Arc::clone(&self.shared)));
        }
    }
}
