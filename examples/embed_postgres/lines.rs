//! A place for entries of our own: a file of JSON lines. One thread writes; what arrives while
//! it flushes goes with the next flush, so sessions share the disk's waits.
//!
//! It shows what a [`Journal`] has to promise, and no more: it is not signed, not a tree, and
//! kept on one disk. A real one might hand entries to a database or a queue.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use aws_lc_rs::digest::{self, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gate::{Journal, JournalError, Mark, Object, Progress, Recording, Wait};

/// Bytes that may wait for the disk; beyond it nothing is taken, so nothing runs.
const MAX_QUEUE_BYTES: usize = 256 * 1024 * 1024;

#[derive(Clone)]
pub(crate) struct Lines(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    queue: Vec<u8>,
    taken: u64,
    durable: u64,
    failed: bool,
    recordings: u64,
    waiting: Vec<Waker>,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let mut file = File::options().create(true).append(true).open(path)?;
        let lines = Lines(Arc::default());
        let writer = lines.clone();
        std::thread::Builder::new().name("entries".into()).spawn(move || {
            while !writer.lock().failed {
                writer.write_some(&mut file);
            }
        })?;
        Ok(lines)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_some(&self, file: &mut File) {
        let (queue, taken) = {
            let idle = |state: &mut State| state.queue.is_empty();
            let waited = self.0.1.wait_while(self.lock(), idle);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner);
            (std::mem::take(&mut state.queue), state.taken)
        };
        let written = file.write_all(&queue).and_then(|()| file.sync_data());
        let mut state = self.lock();
        // A flush that failed is final: what the disk holds now is not known, and a second try
        // can succeed without having written what the first one lost.
        match written {
            Ok(()) => state.durable = taken,
            Err(_) => state.failed = true,
        }
        state.waiting.drain(..).for_each(Waker::wake);
    }

    /// Ready when the line with this index is on disk.
    fn poll(&self, index: u64, cx: &mut Context<'_>) -> Poll<Result<(), JournalError>> {
        let mut state = self.lock();
        if state.durable > index {
            return Poll::Ready(Ok(()));
        }
        if state.failed {
            return Poll::Ready(Err(JournalError::Failed));
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Journal for Lines {
    fn append(&self, entry: Vec<u8>) -> Result<u64, JournalError> {
        let mut state = self.lock();
        if state.failed {
            return Err(JournalError::Failed);
        }
        if state.queue.len() + entry.len() > MAX_QUEUE_BYTES {
            return Err(JournalError::Full);
        }
        state.queue.extend_from_slice(&entry); // one JSON object, without line breaks
        state.queue.push(b'\n');
        state.taken += 1;
        self.0.1.notify_one();
        Ok(state.taken - 1)
    }

    fn durable(&self) -> u64 {
        self.lock().durable
    }

    fn published(&self) -> u64 {
        self.durable() // there is no store behind the file
    }

    fn waiter(&self) -> Box<dyn Wait> {
        Box::new(self.clone())
    }

    fn recording(&self) -> Result<Box<dyn Recording>, JournalError> {
        let mut state = self.lock();
        state.recordings += 1;
        let last = Arc::new(Last { lines: self.clone(), index: AtomicU64::new(0) });
        let (number, hash) = (state.recordings, digest::Context::new(&SHA256));
        Ok(Box::new(Parts { number, last, hash, bytes: 0, object: None }))
    }
}

impl Wait for Lines {
    fn poll(&mut self, mark: Mark, cx: &mut Context<'_>) -> Poll<Result<(), JournalError>> {
        let (Mark::Durable(index) | Mark::Published(index)) = mark;
        Lines::poll(self, index, cx)
    }
}

/// What is too large for an entry: lines in the same file, and one that names the whole by hash.
struct Parts {
    number: u64,
    last: Arc<Last>,
    hash: digest::Context,
    bytes: u64,
    object: Option<Object>,
}

/// The last line of a recording so far.
struct Last {
    lines: Lines,
    index: AtomicU64,
}

impl Last {
    fn append(&self, line: String) -> Result<(), JournalError> {
        self.index.store(self.lines.append(line.into_bytes())?, Ordering::Release);
        Ok(())
    }
}

impl Recording for Parts {
    fn write(&mut self, bytes: &[u8]) -> Result<u64, JournalError> {
        let (number, data) = (self.number, STANDARD.encode(bytes));
        let line = format!(r#"{{"type":"part","recording":{number},"base64":"{data}"}}"#);
        self.last.append(line)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(self.bytes)
    }

    fn progress(&self) -> Arc<dyn Progress> {
        self.last.clone()
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<Object>, JournalError>> {
        let object = match self.object {
            Some(object) => object,
            None => {
                let mut object = Object { sha256: [0; 32], bytes: self.bytes };
                object.sha256.copy_from_slice(self.hash.clone().finish().as_ref());
                let (number, hex) = (self.number, hex::encode(object.sha256));
                self.last.append(format!(
                    r#"{{"type":"object","recording":{number},"sha256":"{hex}"}}"#
                ))?;
                *self.object.insert(object)
            }
        };
        std::task::ready!(self.last.poll_written(self.bytes, cx))?;
        Poll::Ready(Ok(vec![object]))
    }
}

impl Progress for Last {
    /// Waits for everything written so far, which is at least what was asked for.
    fn poll_written(&self, _: u64, cx: &mut Context<'_>) -> Poll<Result<(), JournalError>> {
        self.lines.poll(self.index.load(Ordering::Acquire), cx)
    }
}
