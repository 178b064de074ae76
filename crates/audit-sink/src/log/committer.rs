//! Making batches durable: one at a time, on whichever thread holds [`Committing`].
//!
//! While one flush runs, entries gather; when it is done they become the next
//! frame. Entries that nobody waits for begin no flush of their own: they gather
//! until somebody waits, or for a few milliseconds ([`GATHER`]). The committer has a
//! thread of its own, because a flush that has to queue behind other blocking work
//! takes many times as long; threads that serve may do its work (see `lead`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use tlog::{CompactRange, Hash, Signer};

use super::Shared;
use super::state::{Batch, GATHER, HeadState, Phase, Rest, State};
use crate::error::Failed;
use crate::frame::{self, Header};
use crate::io::write_all;
use crate::ring::{FrameRef, Place};

/// Where the chain of frames stands. Who holds it, and nobody else, writes to the ring.
pub(super) struct Committing {
    pub(super) signer: Arc<Signer>,
    pub(super) epoch: u64,
    pub(super) seq: u64,
    pub(super) link: [u8; 32],
    /// The `released` that the last durable frame carries.
    pub(super) released: u64,
    pub(super) text: String,
}

/// Those to be woken, with what they wait for: empty but while they are; kept for its room.
pub(super) type Woken = Vec<(u64, Waker)>;

/// If committing ends in any way but the orderly one (a bug), nobody must wait for ever.
struct Fuse<'a>(&'a Shared);

impl Drop for Fuse<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("the committer panicked".into());
            self.0.waiters.wake(u64::MAX, &mut Woken::default());
        }
    }
}

/// The committer's thread: commits what no thread that serves does, until the log ends.
pub(super) fn run(shared: &Shared) {
    let mut woken = Woken::default();
    while shared.rest_until_due() {
        shared.commit_queued(&mut shared.committing());
        shared.hand_on(&mut woken);
    }
    // A thread that serves may still be at the last frame.
    shared.commit_queued(&mut shared.committing());
    shared.end();
}

impl Shared {
    fn committing(&self) -> MutexGuard<'_, Committing> {
        self.committing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until something queued is due. False: nothing will be any more.
    fn rest_until_due(&self) -> bool {
        let mut state = self.lock();
        // Where entries come in a stream, those who append need not wake us for each.
        let mut rest = Rest::Light;
        loop {
            let patience = state.patience();
            if patience == Some(Duration::ZERO) {
                return true;
            }
            if patience.is_none() && state.phase != Phase::Running {
                return false;
            }
            state.rest = if patience.is_some() { Rest::Light } else { rest };
            let work = &self.work;
            if state.rest == Rest::Deep {
                state = work.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else {
                let pause = patience.unwrap_or(GATHER);
                let woken = work.wait_timeout(state, pause);
                let (after, over) = woken.unwrap_or_else(PoisonError::into_inner);
                state = after;
                if over.timed_out() {
                    rest = Rest::Deep;
                }
            }
            state.rest = Rest::No;
        }
    }

    /// Has the committer's thread look at the queue at once.
    pub(super) fn call_committer(&self) {
        let mut state = self.lock();
        state.rest = Rest::No;
        state.hurry |= !state.queue.is_empty();
        drop(state);
        self.work.notify_one();
    }

    /// Makes durable what is queued now. What is queued meanwhile waits for the next call.
    pub(super) fn commit_queued(&self, committing: &mut Committing) {
        let _fuse = Fuse(self);
        let batches = self.lock().queue.len();
        for _ in 0..batches {
            let taken = {
                let mut state = self.lock();
                let released = state.released;
                state.take().map(|(batch, tree)| (batch, tree, released))
            };
            let Some((batch, tree, released)) = taken else { return };
            if let Err(why) = committing.commit(self, batch, &tree, released) {
                return self.fail(why.into());
            }
        }
    }

    /// Nothing becomes durable any more, because of a fault. Who holds [`Committing`] gives it
    /// back and tells the waiters: they might come back here.
    fn fail(&self, why: Arc<str>) {
        self.lock().fail(Failed(why));
        self.ended.store(true, Ordering::Release);
        self.work.notify_one();
    }

    /// The end, orderly or not.
    fn end(&self) {
        self.lock().close();
        self.ended.store(true, Ordering::Release);
        self.waiters.wake(u64::MAX, &mut Woken::default());
    }
}

impl State {
    fn fail(&mut self, failed: Failed) {
        self.phase = Phase::Failed(failed);
        self.queue.clear();
        (self.hurry, self.led) = (false, false);
    }

    fn close(&mut self) {
        if !matches!(self.phase, Phase::Failed(_)) {
            self.phase = Phase::Closed;
        }
    }
}

impl Committing {
    fn commit(
        &mut self,
        shared: &Shared,
        batch: Batch,
        tree: &CompactRange,
        released: u64,
    ) -> Result<(), String> {
        let begun = Instant::now();
        if let Some(left) = batch.left
            && batch.overwrites > self.released
        {
            self.record_release(shared, left, &batch, released)?;
        }
        let Batch { place, base, first_index, count, mut buf, closing, .. } = batch;
        let root = tree.root();
        let signature = self.sign(tree.size(), &root);
        let header = Header {
            seq: self.seq + 1,
            epoch: self.epoch,
            first_index,
            count,
            released,
            closed: closing,
            log_id_hash: shared.ring.shape.log_id_hash,
            prev: self.link,
            root: root.0,
            signature,
        };
        let base: Option<Vec<[u8; 32]>> = base.map(|b| b.into_iter().map(|h| h.0).collect());
        self.write(shared, place, &header, base.as_deref(), &mut buf)?;
        let size = header.size();
        {
            let mut state = shared.lock();
            let offset = u32::try_from(place.offset).map_err(|_| "offset over 4 GiB")?;
            if count > 0
                && let Some(segment) = state.segments.get_mut(place.segment as usize)
            {
                segment.frames.push(FrameRef { first_index, count, offset });
            }
            state.head = Some(HeadState { size, root, signature });
            state.give_back(buf);
        }
        shared.durable.store(size, Ordering::Release);
        let counters = &shared.counters;
        counters.entries.fetch_add(u64::from(count), Ordering::Relaxed);
        counters.commit.record(begun.elapsed());
        Ok(())
    }

    /// Before a segment is overwritten, the ring must state that its entries are no longer
    /// needed: otherwise, if the overwriting frame is torn, recovery would miss them.
    fn record_release(
        &mut self,
        shared: &Shared,
        at: Place,
        next: &Batch,
        released: u64,
    ) -> Result<(), String> {
        let peaks = next.base.clone().unwrap_or_default();
        let tree = CompactRange::from_peaks(next.first_index, peaks).map_err(|e| e.to_string())?;
        let root = tree.root();
        let header = Header {
            seq: self.seq + 1,
            epoch: self.epoch,
            first_index: next.first_index,
            count: 0,
            released,
            closed: false,
            log_id_hash: shared.ring.shape.log_id_hash,
            prev: self.link,
            root: root.0,
            signature: self.sign(next.first_index, &root),
        };
        self.write(shared, at, &header, None, &mut vec![0; frame::records_offset(false)])
    }

    fn sign(&mut self, size: u64, root: &Hash) -> [u8; 64] {
        use std::fmt::Write as _;
        self.text.clear();
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{}\n{size}\n{}\n", self.signer.name(), root.to_base64());
        self.signer.sign(self.text.as_bytes())
    }

    fn write(
        &mut self,
        shared: &Shared,
        at: Place,
        header: &Header,
        base: Option<&[[u8; 32]]>,
        buf: &mut Vec<u8>,
    ) -> Result<(), String> {
        let link = frame::seal(buf, header, base).map_err(|e| e.to_string())?;
        let file = shared.ring.file(at.segment).map_err(|e| e.to_string())?;
        let counters = &shared.counters;
        let begun = Instant::now();
        write_all(file, buf, at.offset).map_err(|e| format!("write: {e}"))?;
        let written = Instant::now();
        counters.write.record(written - begun);
        // Never retried: after a failed flush the system may call lost pages clean.
        file.sync_data().map_err(|e| format!("fdatasync: {e}"))?;
        counters.flushed(written.elapsed());
        counters.frames.fetch_add(1, Ordering::Relaxed);
        counters.bytes.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.seq = header.seq;
        self.link = link;
        self.released = header.released;
        Ok(())
    }
}
