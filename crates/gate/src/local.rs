//! greffier's own log as a [`Journal`]: the segment ring, its publisher and its chunk folder.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use audit_sink::store::{ChunkDir, Publisher};
use audit_sink::{AppendError, Log, Ticket, WaitError, Waiter};
use bytes::Bytes;

use crate::journal::{Journal, JournalError, Mark, Object, Pace, Progress, Recording, Wait};
use crate::spool::Spool;

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

    fn append_end(&self, entry: Vec<u8>, pace: Pace) -> Result<u64, JournalError> {
        self.still_works()?;
        taken(match pace {
            Pace::Now => self.log.append_end(entry),
            Pace::Soon => self.log.append_end_soon(entry),
        })
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
        let spool = Arc::new(Spool::new(self.chunks.writer()));
        Ok(Box::new(LocalRecording { spool, journal: self.clone() }))
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

struct LocalRecording {
    spool: Arc<Spool>,
    journal: LocalJournal,
}

impl LocalRecording {
    /// Chunks alone are no record: without entries that name them nothing more passes.
    fn still_counts(&self) -> Result<(), JournalError> {
        self.journal.still_works()?;
        if self.journal.log.has_ended() {
            return Err(JournalError::Failed);
        }
        Ok(())
    }
}

impl Recording for LocalRecording {
    fn write(&mut self, bytes: &[u8]) -> Result<u64, JournalError> {
        self.still_counts()?;
        self.spool.write(bytes)
    }

    fn write_whole(&mut self, bytes: Bytes) -> Result<u64, JournalError> {
        self.still_counts()?;
        self.spool.write_whole(bytes)
    }

    fn progress(&self) -> Arc<dyn Progress> {
        self.spool.clone()
    }

    fn sealed(&mut self) -> Vec<Object> {
        self.spool.sealed()
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<Object>, JournalError>> {
        self.spool.poll_finish(cx)
    }
}
