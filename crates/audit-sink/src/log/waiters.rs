//! Who waits for which entry: a slab of wakers, one slot a waiter.
//!
//! A connection keeps one [`crate::Waiter`] for its whole life and arms it in
//! place, so waiting allocates nothing. Only armed slots are looked at when a
//! frame becomes durable.

use std::sync::{Mutex, PoisonError};
use std::task::Waker;

#[derive(Debug, Default)]
pub(crate) struct Waiters {
    slab: Mutex<Slab>,
}

#[derive(Debug, Default)]
struct Slab {
    slots: Vec<Slot>,
    free: Vec<usize>,
    armed: Vec<usize>,
}

#[derive(Debug, Default)]
struct Slot {
    index: u64,
    waker: Option<Waker>,
    /// Position in `armed`, if it is there.
    armed_at: Option<usize>,
}

impl Waiters {
    fn lock(&self) -> std::sync::MutexGuard<'_, Slab> {
        self.slab.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take_slot(&self) -> usize {
        let mut slab = self.lock();
        if let Some(slot) = slab.free.pop() {
            return slot;
        }
        slab.slots.push(Slot::default());
        slab.slots.len() - 1
    }

    pub(crate) fn return_slot(&self, slot: usize) {
        let mut slab = self.lock();
        let waker = slab.disarm(slot);
        slab.free.push(slot);
        drop(slab);
        // Dropping a waker may run a task's destructor, which may come back here.
        drop(waker);
    }

    /// Arms a slot unless `ready` gives an answer. `ready` is asked under the same lock that
    /// [`Waiters::wake`] takes after the state changed, so no wake-up is lost.
    pub(crate) fn arm<T>(
        &self,
        slot: usize,
        index: u64,
        waker: &Waker,
        ready: impl FnOnce() -> Option<T>,
    ) -> Option<T> {
        let mut slab = self.lock();
        if let Some(answer) = ready() {
            let old = slab.disarm(slot);
            drop(slab);
            drop(old);
            return Some(answer);
        }
        let armed = slab.armed.len();
        let entry = slab.slots.get_mut(slot)?;
        entry.index = index;
        let mut old = None;
        if !entry.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
            old = entry.waker.replace(waker.clone());
        }
        if entry.armed_at.is_none() {
            entry.armed_at = Some(armed);
            slab.armed.push(slot);
        }
        drop(slab);
        drop(old);
        None
    }

    /// Wakes those who wait for an index below `durable`, lowest first: what was recorded first
    /// is released first. `scratch` is empty before and after.
    pub(crate) fn wake(&self, durable: u64, scratch: &mut Vec<(u64, Waker)>) {
        {
            let mut slab = self.lock();
            let mut at = 0;
            while let Some(&slot) = slab.armed.get(at) {
                let index = slab.slots.get(slot).map_or(0, |s| s.index);
                if index >= durable {
                    at += 1;
                } else if let Some(waker) = slab.disarm(slot) {
                    scratch.push((index, waker));
                }
            }
        }
        scratch.sort_unstable_by_key(|(index, _)| *index);
        for (_, waker) in scratch.drain(..) {
            waker.wake();
        }
    }
}

impl Slab {
    /// Takes a slot off the armed list, whose last element moves into its place.
    fn disarm(&mut self, slot: usize) -> Option<Waker> {
        let entry = self.slots.get_mut(slot)?;
        let waker = entry.waker.take();
        if let Some(at) = entry.armed_at.take() {
            self.armed.swap_remove(at);
            if let Some(moved) = self.armed.get(at).copied()
                && let Some(moved) = self.slots.get_mut(moved)
            {
                moved.armed_at = Some(at);
            }
        }
        waker
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Count(AtomicUsize);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn only_those_below_are_woken_and_only_once() {
        let waiters = Waiters::default();
        let counts: Vec<_> = (0..10).map(|_| Arc::new(Count(AtomicUsize::new(0)))).collect();
        for (i, c) in counts.iter().enumerate() {
            let slot = waiters.take_slot();
            let waker = Waker::from(c.clone());
            for _ in 0..2 {
                assert_eq!(waiters.arm(slot, i as u64, &waker, || None::<()>), None);
            }
        }
        let mut scratch = Vec::new();
        for durable in [0, 3, 3, 7, 10, 10] {
            waiters.wake(durable, &mut scratch);
            for (i, c) in counts.iter().enumerate() {
                assert_eq!(c.0.load(Ordering::SeqCst), usize::from((i as u64) < durable));
            }
        }
    }

    #[test]
    fn a_returned_slot_is_not_woken_and_is_used_again() {
        let waiters = Waiters::default();
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let (a, b) = (waiters.take_slot(), waiters.take_slot());
        for slot in [a, b] {
            waiters.arm(slot, 0, &Waker::from(count.clone()), || None::<()>);
        }
        waiters.return_slot(a);
        waiters.wake(1, &mut Vec::new());
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(waiters.take_slot(), a);
        assert_eq!(waiters.arm(a, 0, &Waker::from(count), || Some(5)), Some(5));
    }
}
