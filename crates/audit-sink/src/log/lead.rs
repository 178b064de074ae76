//! Flushing on the threads that serve.
//!
//! Where the disk answers within a fraction of a millisecond, waking another thread for a flush,
//! and being woken by it, costs as much as the flush. A thread that serves many connections
//! therefore keeps a [`Lead`] among its tasks. An entry that is appended on that thread and that
//! somebody waits for wakes the `Lead`, which runs behind the tasks that were ready before it: so
//! what all of them appended becomes one frame. If another thread is flushing, the `Lead` is
//! handed on to when that is done. While the disk is slower than [`LEAD_BELOW`], entries go to
//! the committer's thread as if there were no `Lead`.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::Shared;
use super::committer::{Committing, Woken};

/// Threads that serve flush by themselves while a flush takes less than this on the average.
/// Beyond it, a thread that waits for the disk would keep its other connections waiting.
pub(super) const LEAD_BELOW: Duration = Duration::from_micros(500);

/// A thread's place among those that may flush.
pub(super) struct Seat {
    /// The `Lead` has been woken, or will be: there is no need to wake it again.
    called: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Seat {
    /// Wakes the `Lead`, whatever it was told before.
    pub(super) fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What it was called for is done. To be said under the state's lock, so that who appends
    /// after that calls again.
    pub(super) fn dismiss(&self) {
        self.called.store(false, Ordering::Release);
    }

    /// An entry that somebody waits for was queued by this thread.
    pub(super) fn call(&self) {
        if !self.called.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }
}

thread_local! {
    /// The seats of this thread, each with the log that it is for (by the address of what its
    /// handles share, which lives as long as the seat): hardly ever more than one.
    static SEATS: RefCell<Vec<(*const Shared, Arc<Seat>)>> = const { RefCell::new(Vec::new()) };
}

/// The seat of this thread for a log, if it has one and the disk is fast enough to use it.
pub(super) fn seat_here(shared: &Shared) -> Option<Arc<Seat>> {
    if shared.counters.flush_average() > LEAD_BELOW {
        return None;
    }
    any_seat_here(shared)
}

/// The seat of this thread for a log, however fast the disk is.
pub(super) fn any_seat_here(shared: &Shared) -> Option<Arc<Seat>> {
    let find = |seats: &RefCell<Vec<(*const Shared, Arc<Seat>)>>| {
        let seats = seats.try_borrow().ok()?;
        let of_this_log = seats.iter().find(|(log, _)| std::ptr::eq(*log, shared));
        of_this_log.map(|(_, seat)| Arc::clone(seat))
    };
    // A thread that is ending has none.
    SEATS.try_with(find).ok().flatten()
}

/// Flushes what is appended on the thread that polls it: see [`Log::lead`](super::Log::lead).
/// Never ready.
pub struct Lead {
    shared: Arc<Shared>,
    seat: Option<Arc<Seat>>,
    woken: Woken,
    /// It belongs to the thread that polled it first.
    _thread: PhantomData<*const ()>,
}

impl Lead {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Lead { shared, seat: None, woken: Woken::default(), _thread: PhantomData }
    }
}

impl Future for Lead {
    type Output = Infallible;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Infallible> {
        let this = self.get_mut();
        let shared = &this.shared;
        let seat = this.seat.get_or_insert_with(|| {
            let seat = Arc::new(Seat { called: AtomicBool::new(false), waker: Mutex::new(None) });
            let entry = (Arc::as_ptr(shared), Arc::clone(&seat));
            SEATS.with(|seats| seats.borrow_mut().push(entry));
            seat
        });
        {
            let mut waker = seat.waker.lock().unwrap_or_else(PoisonError::into_inner);
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        if seat.called.load(Ordering::Acquire) {
            shared.commit_as(seat, &mut this.woken);
        }
        Poll::Pending
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let Some(seat) = &self.seat else { return };
        let _ending = SEATS
            .try_with(|seats| seats.borrow_mut().retain(|(_, other)| !Arc::ptr_eq(other, seat)));
        self.shared.lock().heirs.retain(|other| !Arc::ptr_eq(other, seat));
        // What it was called for must not wait for nobody.
        self.shared.call_committer();
    }
}

impl std::fmt::Debug for Lead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lead").finish_non_exhaustive()
    }
}

impl Shared {
    /// Makes durable what is queued; or, if another thread is at it, has it wake `seat` when it
    /// is done and more is queued.
    fn commit_as(&self, seat: &Arc<Seat>, woken: &mut Woken) {
        let Some(mut committing) = self.try_committing(seat) else { return };
        seat.dismiss();
        self.commit_queued(&mut committing);
        drop(committing);
        self.hand_on(woken);
    }

    fn try_committing(&self, seat: &Arc<Seat>) -> Option<std::sync::MutexGuard<'_, Committing>> {
        let attempt = || match self.committing.try_lock() {
            Ok(committing) => Some(committing),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(committing) = attempt() {
            return Some(committing);
        }
        self.lock().heirs.push(Arc::clone(seat));
        // Who has it looks for heirs after giving it back: if that was in between, nobody will.
        let committing = attempt()?;
        self.lock().heirs.retain(|other| !Arc::ptr_eq(other, seat));
        Some(committing)
    }

    /// After a flush: wakes those whose entries are durable, and a thread that waits to flush.
    pub(super) fn hand_on(&self, woken: &mut Woken) {
        let heir = {
            let mut state = self.lock();
            if state.is_wanted() {
                state.heirs.pop()
            } else {
                state.heirs.drain(..).for_each(|seat| seat.dismiss());
                None
            }
        };
        if let Some(heir) = heir {
            heir.wake();
        }
        let ended = self.ended.load(Ordering::Acquire);
        let below = if ended { u64::MAX } else { self.durable.load(Ordering::Acquire) };
        self.waiters.wake(below, woken);
    }
}
