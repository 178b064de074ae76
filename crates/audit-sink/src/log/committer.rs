//! The thread that makes batches durable.
//!
//! While one flush runs, entries gather; when it is done they become the next
//! frame. Entries that nobody waits for begin no flush of their own: they gather
//! until somebody waits, or for a few milliseconds ([`GATHER`]). It is a thread of
//! its own, because a flush that has to queue behind other blocking work takes
//! many times as long.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant};

use tlog::{CompactRange, Hash, Signer};

use super::Shared;
use super::state::{Batch, GATHER, HeadState, Phase, Rest};
use crate::error::Failed;
use crate::frame::{self, Header};
use crate::io::write_all;
use crate::ring::{FrameRef, Place};

pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) signer: Arc<Signer>,
    pub(super) epoch: u64,
    pub(super) seq: u64,
    pub(super) link: [u8; 32],
    /// The `released` that the last durable frame carries.
    pub(super) released: u64,
    pub(super) wakers: Vec<(u64, Waker)>,
    pub(super) text: String,
}

/// If the thread ends in any way but the orderly one (a bug), nobody must wait for ever.
struct Fuse(Arc<Shared>);

impl Drop for Fuse {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("the committer panicked".into(), &mut Vec::new());
        }
    }
}

impl Committer {
    pub(super) fn run(mut self) {
        let _fuse = Fuse(self.shared.clone());
        while let Some((batch, tree, released)) = self.next_batch() {
            if let Err(why) = self.commit(batch, &tree, released) {
                self.shared.fail(why.into(), &mut self.wakers);
                return;
            }
        }
        self.shared.finish(&mut self.wakers);
    }

    fn next_batch(&self) -> Option<(Batch, CompactRange, u64)> {
        let mut state = self.shared.lock();
        // Where entries come in a stream, those who append need not wake us for each.
        let mut rest = Rest::Light;
        loop {
            let patience = state.patience();
            if patience == Some(Duration::ZERO) {
                let (batch, tree) = state.take()?;
                return Some((batch, tree, state.released));
            }
            if patience.is_none() && state.phase != Phase::Running {
                return None;
            }
            state.rest = if patience.is_some() { Rest::Light } else { rest };
            let work = &self.shared.work;
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

    fn commit(&mut self, batch: Batch, tree: &CompactRange, released: u64) -> Result<(), String> {
        let begun = Instant::now();
        if let Some(left) = batch.left
            && batch.overwrites > self.released
        {
            self.record_release(left, &batch, released)?;
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
            log_id_hash: self.shared.ring.shape.log_id_hash,
            prev: self.link,
            root: root.0,
            signature,
        };
        let base: Option<Vec<[u8; 32]>> = base.map(|b| b.into_iter().map(|h| h.0).collect());
        self.write(place, &header, base.as_deref(), &mut buf)?;
        let size = header.size();
        {
            let mut state = self.shared.lock();
            let offset = u32::try_from(place.offset).map_err(|_| "offset over 4 GiB")?;
            if count > 0
                && let Some(segment) = state.segments.get_mut(place.segment as usize)
            {
                segment.frames.push(FrameRef { first_index, count, offset });
            }
            state.head = Some(HeadState { size, root, signature });
            state.give_back(buf);
        }
        self.shared.durable.store(size, Ordering::Release);
        self.shared.waiters.wake(size, &mut self.wakers);
        let counters = &self.shared.counters;
        counters.entries.fetch_add(u64::from(count), Ordering::Relaxed);
        counters.commit.record(begun.elapsed());
        Ok(())
    }

    /// Before a segment is overwritten, the ring must state that its entries are no longer
    /// needed: otherwise, if the overwriting frame is torn, recovery would miss them.
    fn record_release(&mut self, at: Place, next: &Batch, released: u64) -> Result<(), String> {
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
            log_id_hash: self.shared.ring.shape.log_id_hash,
            prev: self.link,
            root: root.0,
            signature: self.sign(next.first_index, &root),
        };
        self.write(at, &header, None, &mut vec![0; frame::records_offset(false)])
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
        at: Place,
        header: &Header,
        base: Option<&[[u8; 32]]>,
        buf: &mut Vec<u8>,
    ) -> Result<(), String> {
        let link = frame::seal(buf, header, base).map_err(|e| e.to_string())?;
        let file = self.shared.ring.file(at.segment).map_err(|e| e.to_string())?;
        let counters = &self.shared.counters;
        let begun = Instant::now();
        write_all(file, buf, at.offset).map_err(|e| format!("write: {e}"))?;
        let written = Instant::now();
        counters.write.record(written - begun);
        // Never retried: after a failed flush the system may call lost pages clean.
        file.sync_data().map_err(|e| format!("fdatasync: {e}"))?;
        counters.sync.record(written.elapsed());
        counters.frames.fetch_add(1, Ordering::Relaxed);
        counters.bytes.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.seq = header.seq;
        self.link = link;
        self.released = header.released;
        Ok(())
    }
}

impl Shared {
    pub(super) fn fail(&self, why: Arc<str>, scratch: &mut Vec<(u64, Waker)>) {
        {
            let mut state = self.lock();
            state.phase = Phase::Failed(Failed(why));
            state.queue.clear();
        }
        self.ended.store(true, Ordering::Release);
        self.waiters.wake(u64::MAX, scratch);
    }

    fn finish(&self, scratch: &mut Vec<(u64, Waker)>) {
        self.lock().phase = Phase::Closed;
        self.ended.store(true, Ordering::Release);
        self.waiters.wake(u64::MAX, scratch);
    }
}
