//! A place for entries of an embedder's own, in one function: lines of JSON.
//!
//! [`JsonLines`] hands whole lines to a function that makes them durable: appends them to a
//! file, sends them to a queue, inserts them into a table. One thread calls it; what arrives
//! while it works goes with the next call, so sessions share its waits.
//!
//! | line | is |
//! |---|---|
//! | `{"v":1,"type":…}` | an entry, as described in crate `records` |
//! | `{"type":"part","recording":n,"base64":…}` | a part of what is too large for an entry |
//! | `{"type":"object","recording":n,"sha256":…}` | the end of that: the entry names this hash |
//!
//! It is not signed and no tree: who can change the lines can change the record. Greffier's
//! own log is [`crate::local`].

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use aws_lc_rs::digest::{self, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::journal::{Journal, JournalError, Mark, Object, Progress, Recording, Wait};

/// Most bytes of lines that may wait for the function while it works, in bytes; beyond it
/// nothing is taken, so nothing runs. As much again may be in its hands.
pub const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// Entries as lines of JSON, made durable by a function.
///
/// ```
/// use std::io::Write as _;
/// # fn example() -> std::io::Result<()> {
/// let mut file = std::fs::File::options().create(true).append(true).open("entries.jsonl")?;
/// let journal = gate::JsonLines::start(move |lines| {
///     file.write_all(lines)?;
///     file.sync_data()
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// Dropped, it hands over what waits; whoever waits for it then is told that the log is closed.
pub struct JsonLines(Arc<Shared>);

impl fmt::Debug for JsonLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JsonLines").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    queue: Vec<u8>,
    taken: u64,
    durable: u64,
    ended: Option<JournalError>,
    recordings: u64,
    waiting: Vec<Waker>,
}

impl JsonLines {
    /// Starts the thread that calls `write` with one line or more, each with its line break.
    /// When `write` returns `Ok` they must survive a crash of the machine. After an error it is
    /// never called again, and no command runs any more: what a disk holds after a failed flush
    /// isn't known, and a second try can succeed without having written what the first lost.
    ///
    /// # Errors
    /// No thread can be had from the operating system.
    pub fn start(
        mut write: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let last = Last(shared.clone());
        std::thread::Builder::new().name("entries".into()).spawn(move || {
            while let Some((lines, taken)) = last.0.next() {
                match write(&lines) {
                    Ok(()) => last.0.written(taken),
                    Err(error) => return tracing::error!(%error, "entries can't be written"),
                }
            }
        })?;
        Ok(JsonLines(shared))
    }
}

impl Drop for JsonLines {
    fn drop(&mut self) {
        self.0.lock().ended.get_or_insert(JournalError::Closed);
        self.0.filled.notify_one();
    }
}

/// Lives on the writing thread: however it ends, also by a panic of the function, nobody waits
/// for it for ever.
struct Last(Arc<Shared>);

impl Drop for Last {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.ended.get_or_insert(JournalError::Failed);
        state.waiting.drain(..).for_each(Waker::wake);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lines to write now, and how many there were in all with them. `None`: no more.
    fn next(&self) -> Option<(Vec<u8>, u64)> {
        let idle = |state: &mut State| state.queue.is_empty() && state.ended.is_none();
        let waited = self.filled.wait_while(self.lock(), idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let lines = std::mem::take(&mut state.queue);
        (!lines.is_empty()).then_some((lines, state.taken))
    }

    fn written(&self, taken: u64) {
        let mut state = self.lock();
        state.durable = taken;
        state.waiting.drain(..).for_each(Waker::wake);
    }

    fn append(&self, line: &[u8]) -> Result<u64, JournalError> {
        let mut state = self.lock();
        if let Some(error) = state.ended {
            return Err(error);
        }
        if state.queue.len().saturating_add(line.len()) >= MAX_WAITING_BYTES {
            let bytes = line.len();
            let ever = bytes < MAX_WAITING_BYTES;
            return Err(if ever { JournalError::Full } else { JournalError::TooLarge { bytes } });
        }
        if line.contains(&b'\n') {
            return Err(JournalError::Failed); // it would be two lines to whoever reads them
        }
        state.queue.extend_from_slice(line);
        state.queue.push(b'\n');
        let index = state.taken;
        state.taken = index.saturating_add(1);
        self.filled.notify_one();
        Ok(index)
    }

    /// Ready when the line with this index is durable.
    fn poll(&self, index: u64, cx: &mut Context<'_>) -> Poll<Result<(), JournalError>> {
        let mut state = self.lock();
        if state.durable > index {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = state.ended {
            return Poll::Ready(Err(error));
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Journal for JsonLines {
    fn append(&self, entry: Vec<u8>) -> Result<u64, JournalError> {
        self.0.append(&entry)
    }

    fn durable(&self) -> u64 {
        self.0.lock().durable
    }

    /// There is no store behind the function.
    fn published(&self) -> u64 {
        self.durable()
    }

    fn waiter(&self) -> Box<dyn Wait> {
        Box::new(Waiting(self.0.clone()))
    }

    fn recording(&self) -> Result<Box<dyn Recording>, JournalError> {
        let mut state = self.0.lock();
        if let Some(error) = state.ended {
            return Err(error);
        }
        state.recordings = state.recordings.saturating_add(1);
        let tail = Arc::new(Tail { shared: self.0.clone(), index: AtomicU64::new(0) });
        let (number, hash) = (state.recordings, digest::Context::new(&SHA256));
        Ok(Box::new(Parts { number, tail, hash, bytes: 0, object: None }))
    }
}

struct Waiting(Arc<Shared>);

impl Wait for Waiting {
    fn poll(&mut self, mark: Mark, cx: &mut Context<'_>) -> Poll<Result<(), JournalError>> {
        let (Mark::Durable(index) | Mark::Published(index)) = mark;
        self.0.poll(index, cx)
    }
}

/// What is too large for an entry.
struct Parts {
    number: u64,
    tail: Arc<Tail>,
    hash: digest::Context,
    bytes: u64,
    object: Option<Object>,
}

/// The last line of a recording so far.
struct Tail {
    shared: Arc<Shared>,
    index: AtomicU64,
}

impl Tail {
    fn append(&self, line: &str) -> Result<(), JournalError> {
        self.index.store(self.shared.append(line.as_bytes())?, Ordering::Release);
        Ok(())
    }
}

impl Recording for Parts {
    fn write(&mut self, bytes: &[u8]) -> Result<u64, JournalError> {
        let (number, data) = (self.number, STANDARD.encode(bytes));
        let line = format!(r#"{{"type":"part","recording":{number},"base64":"{data}"}}"#);
        self.tail.append(&line)?;
        self.hash.update(bytes);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        Ok(self.bytes)
    }

    fn progress(&self) -> Arc<dyn Progress> {
        self.tail.clone()
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<Object>, JournalError>> {
        let object = match self.object {
            Some(object) => object,
            None => {
                let mut object = Object { sha256: [0; 32], bytes: self.bytes };
                object.sha256.copy_from_slice(self.hash.clone().finish().as_ref());
                let (number, hex) = (self.number, crate::hex(&object.sha256));
                let line = format!(r#"{{"type":"object","recording":{number},"sha256":"{hex}"}}"#);
                self.tail.append(&line)?;
                *self.object.insert(object)
            }
        };
        std::task::ready!(self.tail.poll_written(self.bytes, cx))?;
        Poll::Ready(Ok(vec![object]))
    }
}

impl Progress for Tail {
    /// Waits for everything written so far, which is at least what was asked for.
    fn poll_written(&self, _: u64, cx: &mut Context<'_>) -> Poll<Result<(), JournalError>> {
        self.shared.poll(self.index.load(Ordering::Acquire), cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn lines_are_durable_when_the_function_says_so() {
        let (lines, seen) = mpsc::channel();
        let journal =
            JsonLines::start(move |batch| lines.send(batch.to_vec()).map_err(io::Error::other))
                .unwrap();
        assert_eq!(journal.append(b"{}".to_vec()), Ok(0));
        let mut waiter = journal.waiter();
        poll_fn(|cx| waiter.poll(Mark::Durable(0), cx)).await.unwrap();
        assert_eq!(journal.durable(), 1);

        let mut recording = journal.recording().unwrap();
        assert_eq!(recording.write(b"abc"), Ok(3));
        let objects = poll_fn(|cx| recording.poll_finish(cx)).await.unwrap();
        assert_eq!(objects.first().unwrap().bytes, 3);
        assert_eq!(journal.append(b"{\n}".to_vec()), Err(JournalError::Failed));
        drop((journal, recording, waiter));

        let text = String::from_utf8(seen.iter().flatten().collect()).unwrap();
        // SHA-256("abc") from FIPS 180-4's examples.
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let part = r#"{"type":"part","recording":1,"base64":"YWJj"}"#;
        let object = format!(r#"{{"type":"object","recording":1,"sha256":"{sha256}"}}"#);
        assert_eq!(text, format!("{{}}\n{part}\n{object}\n"));
    }

    #[tokio::test]
    async fn a_function_that_fails_or_panics_ends_it_for_good() {
        for panics in [false, true] {
            let journal = JsonLines::start(move |_| {
                assert!(!panics, "the embedder's mistake");
                Err(io::ErrorKind::StorageFull.into())
            })
            .unwrap();
            assert_eq!(journal.append(b"{}".to_vec()), Ok(0));
            let mut waiter = journal.waiter();
            let waited = poll_fn(|cx| waiter.poll(Mark::Durable(0), cx)).await;
            assert_eq!(waited, Err(JournalError::Failed));
            assert_eq!(journal.append(b"{}".to_vec()), Err(JournalError::Failed));
            assert_eq!(journal.recording().err(), Some(JournalError::Failed));
        }
    }

    #[test]
    fn what_waits_is_bounded() {
        let (go, gate) = mpsc::channel::<()>();
        let journal = JsonLines::start(move |_| gate.recv().map_err(io::Error::other)).unwrap();
        let half = vec![b'x'; MAX_WAITING_BYTES / 2];
        let full = std::iter::repeat_with(|| journal.append(half.clone())).take(6);
        assert!(full.into_iter().any(|taken| taken == Err(JournalError::Full)));
        let huge = vec![b'x'; MAX_WAITING_BYTES];
        let bytes = huge.len();
        assert_eq!(journal.append(huge), Err(JournalError::TooLarge { bytes }));
        drop(go);
    }
}
