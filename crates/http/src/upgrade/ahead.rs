//! What was read of one side and not yet written to the other.

use std::cell::RefCell;
use std::collections::VecDeque;

use gate::{Admitted, JournalError, Release, Wait};
use tokio::sync::Notify;

use crate::body::AHEAD;

/// What the shortest piece counts for towards [`AHEAD`], in bytes.
const LEAST_WEIGHT: usize = 256;

/// What one side said and the other has not got yet.
#[derive(Default)]
pub(super) struct Ahead {
    queue: RefCell<Queue>,
    more: Notify,
    less: Notify,
}

#[derive(Default)]
struct Queue {
    pieces: VecDeque<(Box<[u8]>, Pass)>,
    /// What those count for, and the one that is being written.
    held: usize,
    /// Nothing more comes; whether in order.
    end: Option<bool>,
}

impl Ahead {
    /// Waits until more may be read.
    pub(super) async fn room(&self) {
        while self.is_full() {
            self.less.notified().await;
        }
    }

    /// Whether no more may be read.
    pub(super) fn is_full(&self) -> bool {
        self.queue.borrow().held >= AHEAD
    }

    pub(super) fn push(&self, bytes: Box<[u8]>, pass: Pass) {
        let mut queue = self.queue.borrow_mut();
        queue.held += weight(bytes.len());
        queue.pieces.push_back((bytes, pass));
        self.more.notify_one();
    }

    pub(super) fn end(&self, in_order: bool) {
        self.queue.borrow_mut().end = Some(in_order);
        self.more.notify_one();
    }

    /// The next piece; none at the end.
    pub(super) async fn next(&self) -> Option<(Box<[u8]>, Pass)> {
        loop {
            {
                let mut queue = self.queue.borrow_mut();
                let next = queue.pieces.pop_front();
                if next.is_some() || queue.end.is_some() {
                    return next;
                }
            }
            self.more.notified().await;
        }
    }

    /// So much was written.
    pub(super) fn written(&self, bytes: usize) {
        self.queue.borrow_mut().held -= weight(bytes);
        self.less.notify_one();
    }

    pub(super) fn is_whole(&self) -> bool {
        self.queue.borrow().end == Some(true)
    }
}

/// What a piece of so many bytes counts for: what holds it takes room as well.
pub(super) fn weight(bytes: usize) -> usize {
    bytes.max(LEAST_WEIGHT)
}

/// What a piece waits for.
pub(super) enum Pass {
    Admitted(Admitted),
    Release(Release),
}

impl Pass {
    pub(super) async fn cleared(&self, wait: &mut dyn Wait) -> Result<(), JournalError> {
        match self {
            Pass::Admitted(admitted) => admitted.cleared(wait).await.map(drop),
            Pass::Release(release) => release.cleared(wait).await.map(drop),
        }
    }
}
