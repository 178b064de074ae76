//! Queues of packets that leave only when what must be on record is on record.
//!
//! For protocols whose library does the writing, packet by packet. A channel has one queue a
//! direction, each with a waiter of its own: a waiter wakes for the last mark it was asked for
//! only, and with one queue for all, a channel would wait for another one's record.

use std::collections::VecDeque;
use std::fmt;
use std::task::{Context, Poll};

use crate::journal::{JournalError, Wait};
use crate::permit::{Admitted, Hold, Release};

/// Packets on their way to a target. Each needs an [`Admitted`].
pub struct TargetQueue<T>(Queue<T>);

/// Packets on their way to a client. Each needs a [`Release`].
pub struct ClientQueue<T>(Queue<T>);

struct Queue<T> {
    wait: Box<dyn Wait>,
    /// Each with its length in bytes and what it waits for.
    items: VecDeque<(T, usize, Hold)>,
    bytes: usize,
}

macro_rules! queue {
    ($name:ident, $proof:ident, $what:literal) => {
        impl<T> $name<T> {
            /// An empty queue; see [`Session::waiter`](crate::Session::waiter).
            pub fn new(wait: Box<dyn Wait>) -> Self {
                Self(Queue { wait, items: VecDeque::new(), bytes: 0 })
            }

            #[doc = concat!("Adds a packet of ", $what, ". `bytes` is what it counts for.")]
            pub fn push(&mut self, proof: &$proof, bytes: usize, item: T) {
                self.0.bytes = self.0.bytes.saturating_add(bytes);
                self.0.items.push_back((item, bytes, proof.hold.clone()));
            }

            /// The next packet, when it may leave. `None`: there is none.
            ///
            /// # Errors
            /// If its record can't be made durable: nothing of this queue may ever leave.
            pub fn poll_pop(
                &mut self,
                cx: &mut Context<'_>,
            ) -> Poll<Result<Option<T>, JournalError>> {
                self.0.poll_pop(cx)
            }

            /// The next packet, whether it may leave yet or not, with its bytes: to look at.
            pub fn front(&self) -> Option<(&T, usize)> {
                self.0.items.front().map(|(item, bytes, _)| (item, *bytes))
            }

            /// What all packets count for, in bytes.
            pub fn bytes(&self) -> usize {
                self.0.bytes
            }

            /// How many packets wait.
            pub fn len(&self) -> usize {
                self.0.items.len()
            }

            /// Whether nothing waits.
            pub fn is_empty(&self) -> bool {
                self.0.items.is_empty()
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("packets", &self.0.items.len())
                    .field("bytes", &self.0.bytes)
                    .finish()
            }
        }
    };
}

queue!(TargetQueue, Admitted, "an admitted command");
queue!(ClientQueue, Release, "a recorded answer");

impl<T> Queue<T> {
    fn poll_pop(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<T>, JournalError>> {
        let Some((_, _, hold)) = self.items.front() else { return Poll::Ready(Ok(None)) };
        std::task::ready!(hold.poll(&mut *self.wait, cx))?;
        let Some((item, bytes, _)) = self.items.pop_front() else { return Poll::Ready(Ok(None)) };
        self.bytes = self.bytes.saturating_sub(bytes);
        Poll::Ready(Ok(Some(item)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Waker;

    use super::*;
    use crate::journal::Mark;

    /// Durable up to what the test says; beyond [`BROKEN`] never.
    #[derive(Clone, Default)]
    struct UpTo(Arc<AtomicU64>);

    const BROKEN: u64 = 1000;

    impl Wait for UpTo {
        fn poll(&mut self, mark: Mark, _: &mut Context<'_>) -> Poll<Result<(), JournalError>> {
            match mark {
                Mark::Durable(index) if index < self.0.load(Ordering::Relaxed) => {
                    Poll::Ready(Ok(()))
                }
                Mark::Durable(BROKEN) => Poll::Ready(Err(JournalError::Failed)),
                _ => Poll::Pending,
            }
        }
    }

    fn durable(index: u64) -> Release {
        Release { hold: Hold::until(Mark::Durable(index)) }
    }

    #[test]
    fn packets_leave_in_order_each_when_it_is_on_record() {
        let mut cx = Context::from_waker(Waker::noop());
        let log = UpTo::default();
        let mut queue = ClientQueue::new(Box::new(log.clone()));
        queue.push(&durable(0), 3, "one");
        queue.push(&durable(5), 3, "two");
        // Waits for nothing itself, and still does not overtake.
        queue.push(&Release { hold: Hold::default() }, 5, "three");
        assert_eq!((queue.bytes(), queue.len()), (11, 3));
        assert!(queue.poll_pop(&mut cx).is_pending());
        log.0.store(1, Ordering::Relaxed);
        assert_eq!(queue.poll_pop(&mut cx), Poll::Ready(Ok(Some("one"))));
        assert!(queue.poll_pop(&mut cx).is_pending());
        assert_eq!(queue.front(), Some((&"two", 3)));
        log.0.store(6, Ordering::Relaxed);
        assert_eq!(queue.poll_pop(&mut cx), Poll::Ready(Ok(Some("two"))));
        assert_eq!(queue.poll_pop(&mut cx), Poll::Ready(Ok(Some("three"))));
        assert_eq!(queue.poll_pop(&mut cx), Poll::Ready(Ok(None)));
        assert!(queue.is_empty() && queue.bytes() == 0);
    }

    #[test]
    fn a_failed_record_stops_all_that_stands_behind_it() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut queue = TargetQueue::new(Box::new(UpTo::default()));
        queue.push(&Admitted { hold: Hold::until(Mark::Durable(BROKEN)) }, 1, 'a');
        queue.push(&Admitted { hold: Hold::default() }, 1, 'b');
        for _ in 0..2 {
            assert_eq!(queue.poll_pop(&mut cx), Poll::Ready(Err(JournalError::Failed)));
        }
        assert_eq!(queue.len(), 2);
    }
}
