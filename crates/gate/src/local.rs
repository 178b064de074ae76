//! greffier's own log as a [`Journal`]: the segment ring, its publisher and its chunk folder.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use audit_sink::store::{ChunkDir, ChunkError, ChunkRef, ChunkWriter, Publisher};
use audit_sink::{AppendError, Log, Ticket, WaitError, Waiter};
use bytes::{Bytes, BytesMut};

use crate::journal::{Journal, JournalError, Mark, Object, Progress, Recording, Wait};

/// The log of this instance.
#[derive(Debug, Clone)]
pub struct LocalJournal {
    log: Log,
    publisher: Arc<Publisher>,
    chunks: ChunkDir,
}

impl LocalJournal {
    /// Joins an open log, its publisher and its chunk folder.
    pub fn new(log: Log, publisher: Arc<Publisher>, chunks: ChunkDir) -> Self {
        LocalJournal { log, publisher, chunks }
    }

    fn still_works(&self) -> Result<(), JournalError> {
        if self.chunks.has_failed() || self.publisher.has_stopped() {
            return Err(JournalError::Failed);
        }
        Ok(())
    }
}

fn taken(answer: Result<Ticket, AppendError>) -> Result<u64, JournalError> {
    match answer {
        Ok(ticket) => Ok(ticket.index),
        Err(AppendError::RingFull | AppendError::QueueFull) => Err(JournalError::Full),
        Err(AppendError::TooLarge { len, .. }) => Err(JournalError::TooLarge { bytes: len }),
        Err(AppendError::Failed(_)) => Err(JournalError::Failed),
        Err(AppendError::Closed) => Err(JournalError::Closed),
    }
}

impl Journal for LocalJournal {
    fn append(&self, entry: Vec<u8>) -> Result<u64, JournalError> {
        self.still_works()?;
        taken(self.log.append(entry))
    }

    fn append_soon(&self, entry: Vec<u8>) -> Result<u64, JournalError> {
        self.still_works()?;
        taken(self.log.append_soon(entry))
    }

    fn durable(&self) -> u64 {
        self.log.durable()
    }

    fn published(&self) -> u64 {
        self.publisher.published()
    }

    fn waiter(&self) -> Box<dyn Wait> {
        Box::new(LocalWait {
            waiter: self.log.waiter(),
            publisher: self.publisher.clone(),
            publishing: None,
        })
    }

    fn recording(&self) -> Result<Box<dyn Recording>, JournalError> {
        let writer = self.chunks.writer();
        let spool = Spool(Mutex::new(Inner { writer, backlog: BytesMut::new(), taken: 0 }));
        Ok(Box::new(LocalRecording { spool: Arc::new(spool), journal: self.clone() }))
    }
}

type Publishing = (u64, Pin<Box<dyn Future<Output = Result<(), JournalError>> + Send>>);

struct LocalWait {
    waiter: Waiter,
    publisher: Arc<Publisher>,
    /// The wait for the store that is under way, and the index it is for.
    publishing: Option<Publishing>,
}

impl Wait for LocalWait {
    fn poll(&mut self, mark: Mark, cx: &mut Context<'_>) -> Poll<Result<(), JournalError>> {
        match mark {
            Mark::Durable(index) => {
                Poll::Ready(ready!(self.waiter.poll_durable(index, cx)).map_err(|e| match e {
                    WaitError::Failed(_) => JournalError::Failed,
                    WaitError::Closed => JournalError::Closed,
                }))
            }
            Mark::Published(index) => {
                if self.publisher.published() > index {
                    return Poll::Ready(Ok(()));
                }
                let publisher = &self.publisher;
                let (wanted, wait) = self.publishing.get_or_insert_with(|| {
                    let publisher = publisher.clone();
                    let wait = async move {
                        publisher.wait_published(index + 1).await.map_err(|_| JournalError::Failed)
                    };
                    (index, Box::pin(wait))
                });
                let (wanted, done) = (*wanted, ready!(wait.as_mut().poll(cx)));
                self.publishing = None;
                if wanted < index { self.poll(mark, cx) } else { Poll::Ready(done) }
            }
        }
    }
}

/// A recording's chunk writer, shared by who writes it and who waits for it.
struct Spool(Mutex<Inner>);

struct Inner {
    writer: ChunkWriter,
    /// Bytes that the spooler had no room for. The session that wrote them is not read until
    /// they are written, so there are no more than it may hold back.
    backlog: BytesMut,
    taken: u64,
}

impl Spool {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), JournalError>> {
        if self.backlog.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.writer.poll_ready(cx)).map_err(failed)?;
        match self.writer.append(self.backlog.split().freeze()) {
            Ok(_) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(failed(error))),
        }
    }
}

struct LocalRecording {
    spool: Arc<Spool>,
    journal: LocalJournal,
}

impl Recording for LocalRecording {
    fn write(&mut self, bytes: &[u8]) -> Result<u64, JournalError> {
        // Chunks alone are no record: without entries that name them nothing more passes.
        self.journal.still_works()?;
        if self.journal.log.has_ended() {
            return Err(JournalError::Failed);
        }
        let mut inner = self.spool.lock();
        inner.taken += bytes.len() as u64;
        if inner.backlog.is_empty() {
            match inner.writer.append(Bytes::copy_from_slice(bytes)) {
                Ok(_) => return Ok(inner.taken),
                Err(ChunkError::Busy) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        inner.backlog.extend_from_slice(bytes);
        Ok(inner.taken)
    }

    fn progress(&self) -> Arc<dyn Progress> {
        self.spool.clone()
    }

    fn sealed(&mut self) -> Vec<Object> {
        self.spool.lock().writer.take_sealed().iter().map(object).collect()
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<Object>, JournalError>> {
        let mut inner = self.spool.lock();
        ready!(inner.poll_drain(cx))?;
        inner.writer.finish();
        let chunks = ready!(inner.writer.poll_finished(cx)).map_err(failed)?;
        Poll::Ready(Ok(chunks.iter().map(object).collect()))
    }
}

impl Progress for Spool {
    fn poll_written(&self, offset: u64, cx: &mut Context<'_>) -> Poll<Result<(), JournalError>> {
        let mut inner = self.lock();
        ready!(inner.poll_drain(cx))?;
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
