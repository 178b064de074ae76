//! The open log: appending, waiting, closing.
//!
//! Over 600 lines, most of them what the public handle says of itself; how it works lies in the
//! modules below.

mod committer;
mod lead;
mod read;
mod state;
mod waiters;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{JoinHandle, Thread};

use tlog::{Hash, Signer, Verifier, leaf_hash};

pub use lead::Lead;
pub use read::MAX_READ_ENTRIES;

use crate::error::{AppendError, OpenError, WaitError};
use crate::frame::MAX_ENTRY;
use crate::io::{FileIo, Io};
use crate::ring::{Progress, Recovery, Ring, RingFiles, Shape, open_ring, recover};
use crate::stats::{Counters, Stats};
use committer::Committing;
use state::{HeadState, Pace, Phase, Rest, Room, State};
use waiters::Waiters;

/// Segments, unless configured.
pub const DEFAULT_SEGMENTS: u32 = 8;
/// Bytes in a segment, unless configured.
pub const DEFAULT_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes that may wait for the disk, unless configured.
pub const DEFAULT_QUEUE_BYTES: usize = 16 * 1024 * 1024;

/// Where the log lies and how large it may grow.
#[derive(Clone)]
pub struct LogConfig {
    /// The log's own folder; created if absent. On a disk with a working `fdatasync`.
    pub dir: PathBuf,
    /// Name of this log, for ever: one instance's, never shared. 1 to 255 bytes.
    pub log_id: String,
    /// Segment files in the ring, 2 to 999. Fixed when the ring is created.
    pub segments: u32,
    /// Bytes in each, 256 KiB to 4 GiB, a multiple of 4096. Fixed when the ring is created.
    pub segment_bytes: u64,
    /// Longest entry taken, in bytes; at most 65,535 (C2SP tlog-tiles).
    pub max_entry_bytes: usize,
    /// Bytes of entries that may wait for the disk; beyond it appending is refused.
    pub max_queue_bytes: usize,
    /// Entries that are known to have been durable (from the store, a witness). A ring that ends
    /// before is refused. Zero: nothing is known.
    pub remembered_size: u64,
    /// Told how far the filling of a new ring has come.
    pub progress: Option<Progress>,
    /// How files are opened; tests put faults here.
    pub io: Arc<dyn Io>,
}

impl LogConfig {
    /// The defaults: 8 segments of 64 MiB.
    pub fn new(dir: impl Into<PathBuf>, log_id: impl Into<String>) -> Self {
        Self {
            dir: dir.into(),
            log_id: log_id.into(),
            segments: DEFAULT_SEGMENTS,
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            max_entry_bytes: MAX_ENTRY,
            max_queue_bytes: DEFAULT_QUEUE_BYTES,
            remembered_size: 0,
            progress: None,
            io: Arc::new(FileIo),
        }
    }
}

impl std::fmt::Debug for LogConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogConfig")
            .field("dir", &self.dir)
            .field("log_id", &self.log_id)
            .field("segments", &self.segments)
            .field("segment_bytes", &self.segment_bytes)
            .finish_non_exhaustive()
    }
}

/// What was found when the log was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Entries in the log: the next one gets this index.
    pub size: u64,
    /// Root of the tree with these entries.
    pub root: Hash,
    /// Lowest index that can still be read from the ring (equals `size` if none).
    pub first_kept: u64,
    /// Entries below this index were in the store when the last frame was written.
    pub released: u64,
    /// The epoch that begins now: one more than the last one written.
    pub epoch: u64,
    /// Frames read and verified.
    pub frames: u64,
    /// Whether the start of an unfinished, never acknowledged frame was seen and dropped. (One
    /// whose first bytes did not reach the disk leaves no trace.)
    pub torn: bool,
    /// Whether the log was closed in order before.
    pub clean: bool,
}

/// Where an entry will be found. The entry is on record only once it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Index of the leaf.
    pub index: u64,
    /// RFC 6962 leaf hash of the entry.
    pub leaf_hash: Hash,
}

/// The signed head of the durable log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Entries in the tree.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// Ed25519 signature over the checkpoint's text (see [`tlog::Checkpoint::encode`]).
    pub signature: [u8; 64],
}

/// A handle to the open log. Cloning is cheap; any thread may use it. When the last handle is
/// dropped, the log is closed as by [`Log::close`].
#[derive(Clone)]
pub struct Log {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    ring: Ring,
    key: Verifier,
    max_entry: usize,
    epoch: u64,
    state: Mutex<State>,
    /// Held while a frame is written and flushed; taken before `state`, never after.
    committing: Mutex<Committing>,
    work: Condvar,
    /// Entries below this are durable.
    durable: AtomicU64,
    /// Entries below this are durable or will be flushed without delay.
    wanted: AtomicU64,
    /// Nothing more becomes durable.
    ended: AtomicBool,
    waiters: Waiters,
    counters: Counters,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody waits for this entry.
    fn want(&self, index: u64) {
        if self.wanted.load(Ordering::Acquire) > index {
            return;
        }
        let state = self.lock();
        self.wanted.fetch_max(index.saturating_add(1), Ordering::AcqRel);
        if state.is_queued(index) {
            self.see_to(state, Pace::Now);
        }
    }

    /// Somebody queued an entry or waits for it: sees to it that it becomes durable in time.
    fn see_to(&self, mut state: MutexGuard<'_, State>, pace: Pace) {
        if pace == Pace::Now
            && let Some(seat) = lead::seat_here(self)
        {
            state.lead();
            drop(state);
            return seat.call();
        }
        let wake = state.pace(pace);
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// The answer for an index, if there is one yet.
    fn answer(&self, index: u64) -> Option<Result<(), WaitError>> {
        // In this order: whoever sees the end also sees all that became durable before it.
        let ended = self.ended.load(Ordering::Acquire);
        if self.durable.load(Ordering::Acquire) > index {
            return Some(Ok(()));
        }
        if !ended {
            return None;
        }
        Some(Err(match &self.lock().phase {
            Phase::Failed(failed) => WaitError::Failed(failed.clone()),
            _ => WaitError::Closed,
        }))
    }
}

impl Log {
    /// Opens the log, or creates it: takes the folder's lock, reads and verifies the ring, and
    /// starts the committer. Blocks; a new ring of 512 MiB takes seconds to fill.
    ///
    /// # Errors
    /// See [`OpenError`]. The process must not serve without its log.
    pub fn open(config: LogConfig, signer: Signer) -> Result<(Self, Recovered), OpenError> {
        let shape = Shape::new(&config.log_id, config.segments, config.segment_bytes)?;
        if config.max_entry_bytes == 0 || config.max_entry_bytes > MAX_ENTRY {
            return Err(OpenError::Config("max_entry_bytes must be 1 to 65535"));
        }
        let ring = open_ring(RingFiles {
            dir: &config.dir,
            shape,
            io: &*config.io,
            progress: config.progress.as_ref(),
        })?;
        let found = recover(&ring, signer.verifier())?;
        if found.tree.size() < config.remembered_size {
            return Err(OpenError::Behind {
                size: found.tree.size(),
                remembered: config.remembered_size,
            });
        }
        flush_last(&ring, &found)?;
        let recovered = summary(&found);
        let log = start(config, signer, ring, found, &recovered)?;
        Ok((log, recovered))
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// Takes an entry and says where it will be. Does not block, and does not wait for the disk:
    /// nothing may rely on the entry before [`Log::wait_durable`] has answered for its index.
    ///
    /// # Errors
    /// See [`AppendError`]; the entry is then not in the log.
    pub fn append(&self, entry: impl AsRef<[u8]>) -> Result<Ticket, AppendError> {
        self.append_one(entry.as_ref(), Pace::Now, Room::Begin)
    }

    /// As [`Log::append`], for an entry that nobody waits for now: it begins no flush of its own,
    /// but is durable with the next one, within 5 ms at the latest. Waiting for it makes it
    /// urgent.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_soon(&self, entry: impl AsRef<[u8]>) -> Result<Ticket, AppendError> {
        self.append_one(entry.as_ref(), Pace::Soon, Room::Begin)
    }

    /// As [`Log::append`], for the end of what other entries began. Half a segment is kept for
    /// such entries: when the others are refused already, what was begun still finds room.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_end(&self, entry: impl AsRef<[u8]>) -> Result<Ticket, AppendError> {
        self.append_one(entry.as_ref(), Pace::Now, Room::End)
    }

    /// As [`Log::append_end`], as soon as [`Log::append_soon`].
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_end_soon(&self, entry: impl AsRef<[u8]>) -> Result<Ticket, AppendError> {
        self.append_one(entry.as_ref(), Pace::Soon, Room::End)
    }

    fn append_one(&self, entry: &[u8], pace: Pace, room: Room) -> Result<Ticket, AppendError> {
        self.check_len(entry)?;
        let leaf = leaf_hash(entry);
        let index = self.push(&[entry], &[leaf], pace, room)?;
        Ok(Ticket { index, leaf_hash: leaf })
    }

    /// Takes several entries, which get consecutive indices: all of them or none. The tickets
    /// are added to `tickets`, in order.
    ///
    /// # Errors
    /// See [`AppendError`]; none of the entries is then in the log.
    pub fn append_all<E: AsRef<[u8]>>(
        &self,
        entries: &[E],
        tickets: &mut Vec<Ticket>,
    ) -> Result<(), AppendError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut leaves = Vec::with_capacity(entries.len());
        for entry in entries {
            self.check_len(entry.as_ref())?;
            leaves.push(leaf_hash(entry.as_ref()));
        }
        let first = self.push(entries, &leaves, Pace::Now, Room::Begin)?;
        let all = (first..).zip(leaves).map(|(index, leaf_hash)| Ticket { index, leaf_hash });
        tickets.extend(all);
        Ok(())
    }

    fn check_len(&self, entry: &[u8]) -> Result<(), AppendError> {
        let max = self.shared().max_entry;
        if entry.len() > max {
            return Err(AppendError::TooLarge { len: entry.len(), max });
        }
        Ok(())
    }

    fn push<E: AsRef<[u8]>>(
        &self,
        entries: &[E],
        leaves: &[Hash],
        pace: Pace,
        room: Room,
    ) -> Result<u64, AppendError> {
        let shared = self.shared();
        let mut state = shared.lock();
        let first = state.append(entries, leaves, room)?;
        if pace == Pace::Now {
            shared.wanted.fetch_max(state.tree.size(), Ordering::AcqRel);
        }
        shared.see_to(state, pace);
        Ok(first)
    }

    /// Entries with an index below this are durable, and signed for.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.shared().durable.load(Ordering::Acquire)
    }

    /// Entries that have a ticket, durable or not.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.shared().lock().tree.size()
    }

    /// The head of the last durable frame. `None` only until the first frame of a new log.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        let head = self.shared().lock().head;
        head.map(|HeadState { size, root, signature }| Head { size, root, signature })
    }

    /// The key that signs the log's heads. Its name is the checkpoints' origin.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.shared().key
    }

    /// How many times the log has been opened, this time included.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.shared().epoch
    }

    /// Counters and times since the log was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared().counters.snapshot()
    }

    /// A task for a thread that serves many connections: while it is polled there, entries that
    /// are appended on that thread are flushed by it, as long as the disk is fast; other threads'
    /// with them. It is to stand in one queue with the connections' tasks (a `LocalSet`, a
    /// runtime of one thread) and blocks the thread while a flush runs, half a millisecond on the
    /// average at most. Without one, the log's own thread flushes.
    #[must_use]
    pub fn lead(&self) -> Lead {
        Lead::new(self.handle.shared.clone())
    }

    /// A place to wait from: one a connection or task, used again for every wait.
    #[must_use]
    pub fn waiter(&self) -> Waiter {
        Waiter { slot: self.handle.shared.waiters.take_slot(), shared: self.handle.shared.clone() }
    }

    /// Whether the entry with this index is durable; if not yet, `cx` is woken when it is, or
    /// when it never will be. A waiter waits for one index at a time: the last one asked for.
    pub fn poll_durable(
        &self,
        index: u64,
        waiter: &mut Waiter,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), WaitError>> {
        waiter.poll_durable(index, cx)
    }

    /// Waits until the entry with this index is durable.
    ///
    /// # Errors
    /// [`WaitError`]: it never will be, in this process.
    pub async fn wait_durable(&self, index: u64) -> Result<(), WaitError> {
        if let Some(answer) = self.shared().answer(index) {
            return answer;
        }
        let mut waiter = self.waiter();
        waiter.wait_durable(index).await
    }

    /// [`Log::wait_durable`] for a thread without an async runtime: blocks it.
    ///
    /// # Errors
    /// [`WaitError`]: it never will be, in this process.
    pub fn wait_durable_blocking(&self, index: u64) -> Result<(), WaitError> {
        if let Some(answer) = self.shared().answer(index) {
            return answer;
        }
        self.waiter().wait_durable_blocking(index)
    }

    /// Whether nothing more will become durable in this process: the log has failed or is
    /// closed. Cheap.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.shared().ended.load(Ordering::Acquire)
    }

    /// Takes no more entries, makes durable what was taken, and ends the committer. Other
    /// handles then answer `Closed`. Blocks for a flush or two.
    ///
    /// # Errors
    /// [`WaitError::Failed`] if not everything could be made durable.
    pub fn close(&self) -> Result<(), WaitError> {
        self.handle.close();
        match &self.shared().lock().phase {
            Phase::Failed(failed) => Err(WaitError::Failed(failed.clone())),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("log_id", &self.shared().ring.shape.log_id)
            .field("epoch", &self.epoch())
            .field("durable", &self.durable())
            .finish_non_exhaustive()
    }
}

impl Handle {
    fn close(&self) {
        {
            let mut state = self.shared.lock();
            if state.phase == Phase::Running {
                state.mark(true);
                state.phase = Phase::Closing;
            }
        }
        self.shared.work.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last handle may be dropped by a task that the committer itself woke.
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

/// A place to wait from. See [`Log::waiter`]. It does not keep the log open.
pub struct Waiter {
    shared: Arc<Shared>,
    slot: usize,
}

impl Waiter {
    /// See [`Log::poll_durable`].
    pub fn poll_durable(
        &mut self,
        index: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), WaitError>> {
        let shared = &self.shared;
        if let Some(answer) = shared.answer(index) {
            return Poll::Ready(answer);
        }
        match shared.waiters.arm(self.slot, index, cx.waker(), || shared.answer(index)) {
            Some(answer) => Poll::Ready(answer),
            None => {
                shared.want(index);
                Poll::Pending
            }
        }
    }

    /// See [`Log::wait_durable`].
    ///
    /// # Errors
    /// [`WaitError`]: it never will be, in this process.
    pub async fn wait_durable(&mut self, index: u64) -> Result<(), WaitError> {
        std::future::poll_fn(|cx| self.poll_durable(index, cx)).await
    }

    /// See [`Log::wait_durable_blocking`].
    ///
    /// # Errors
    /// [`WaitError`]: it never will be, in this process.
    pub fn wait_durable_blocking(&mut self, index: u64) -> Result<(), WaitError> {
        thread_local! {
            static UNPARK: Waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        }
        UNPARK.with(|waker| {
            let mut cx = Context::from_waker(waker);
            loop {
                match self.poll_durable(index, &mut cx) {
                    Poll::Ready(answer) => return answer,
                    Poll::Pending => {
                        if lead::any_seat_here(&self.shared).is_some() {
                            // A thread that sleeps here can't flush.
                            self.shared.call_committer();
                        }
                        std::thread::park();
                    }
                }
            }
        })
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.shared.waiters.return_slot(self.slot);
    }
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiter").finish_non_exhaustive()
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Writes the last frame again and flushes it. It may be the one frame whose flush was not seen
/// to succeed; after a failed flush the system may hold it in memory, marked as written.
fn flush_last(ring: &Ring, found: &Recovery) -> Result<(), OpenError> {
    let Some(last) = &found.last else { return Ok(()) };
    let again = || -> std::io::Result<()> {
        let mut buf = Vec::new();
        ring.read_frame(last.place, &mut buf)?;
        let file = ring.file(last.place.segment)?;
        crate::io::write_all(file, &buf, last.place.offset)?;
        file.sync_data()
    };
    again().map_err(|source| OpenError::Io {
        action: "flush",
        path: ring.segment_path(last.place.segment),
        source,
    })
}

fn summary(found: &Recovery) -> Recovered {
    let header = found.last.map(|l| l.header);
    Recovered {
        size: found.tree.size(),
        root: found.tree.root(),
        first_kept: found.first_kept,
        released: header.map_or(0, |h| h.released),
        epoch: header.map_or(0, |h| h.epoch).saturating_add(1),
        frames: found.frames,
        torn: found.torn,
        clean: header.is_none_or(|h| h.closed) && !found.torn,
    }
}

fn start(
    config: LogConfig,
    signer: Signer,
    ring: Ring,
    found: Recovery,
    recovered: &Recovered,
) -> Result<Log, OpenError> {
    let key = signer.verifier().clone();
    let mut state = State {
        shape: Arc::new(ring.shape.clone()),
        phase: Phase::Running,
        tree: found.tree,
        queue: std::collections::VecDeque::new(),
        queued: 0,
        max_queue: config.max_queue_bytes,
        next: found.next,
        released: recovered.released,
        segments: found.segments,
        head: found.last.map(|l| HeadState {
            size: l.header.size(),
            root: Hash(l.header.root),
            signature: l.header.signature,
        }),
        rest: Rest::No,
        hurry: false,
        led: false,
        gathering: None,
        spare: Vec::new(),
        heirs: Vec::new(),
    };
    // The first frame states the new epoch. A full ring opens without it, to be drained.
    state.mark(false);
    let committing = Committing {
        signer: Arc::new(signer),
        epoch: recovered.epoch,
        seq: found.last.map_or(0, |l| l.header.seq),
        link: found.last.map_or([0; 32], |l| l.link),
        released: recovered.released,
        text: String::new(),
    };
    let shared = Arc::new(Shared {
        ring,
        key,
        max_entry: config.max_entry_bytes,
        epoch: recovered.epoch,
        state: Mutex::new(state),
        committing: Mutex::new(committing),
        work: Condvar::new(),
        durable: AtomicU64::new(recovered.size),
        wanted: AtomicU64::new(recovered.size),
        ended: AtomicBool::new(false),
        waiters: Waiters::default(),
        counters: Counters::new(),
    });
    let committer = shared.clone();
    let thread = std::thread::Builder::new()
        .name("audit-log".into())
        .spawn(move || committer::run(&committer))
        .map_err(OpenError::Thread)?;
    Ok(Log { handle: Arc::new(Handle { shared, thread: Mutex::new(Some(thread)) }) })
}
