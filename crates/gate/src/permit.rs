//! Proofs that something is on record.
//!
//! Their fields are private and nothing outside this crate makes them: a protocol crate that
//! forgets to record has nothing to hand to an [outbox](crate::outbox), and doesn't compile.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::journal::{JournalError, Mark, Progress, Wait};

/// What must have happened before bytes may move on.
#[derive(Clone, Default)]
pub(crate) struct Hold {
    /// This entry must be durable, or published.
    pub(crate) mark: Option<Mark>,
    /// So much of a recording must be written.
    pub(crate) recording: Option<(Arc<dyn Progress>, u64)>,
}

impl Hold {
    pub(crate) fn until(mark: Mark) -> Self {
        Hold { mark: Some(mark), recording: None }
    }

    pub(crate) fn poll(
        &self,
        wait: &mut dyn Wait,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), JournalError>> {
        if let Some(mark) = self.mark {
            std::task::ready!(wait.poll(mark, cx))?;
        }
        match &self.recording {
            Some((progress, offset)) => progress.poll_written(*offset, cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Whether waiting for `later` is waiting for this too.
    pub(crate) fn is_implied_by(&self, later: &Hold) -> bool {
        if self.recording.is_some() || later.recording.is_some() {
            return false;
        }
        match (self.mark, later.mark) {
            (None, None) => true,
            (Some(Mark::Durable(a)), Some(Mark::Durable(b)))
            | (Some(Mark::Published(a)), Some(Mark::Published(b))) => a == b,
            _ => false,
        }
    }
}

/// Proof that a command is on record and was allowed: the right to send its bytes to the target.
///
/// Only [`Session::submit`](crate::Session::submit) and the start of a session make one.
#[derive(Clone)]
pub struct Admitted {
    pub(crate) hold: Hold,
}

/// Proof that an answer is on record: the right to send its bytes to the client.
#[derive(Clone)]
pub struct Release {
    pub(crate) hold: Hold,
}

/// Proof that a [`Release`] or [`Admitted`] has been waited for, for protocols whose library
/// does the writing.
#[derive(Debug)]
pub struct Cleared(());

impl Admitted {
    /// Waits until the command may be sent.
    ///
    /// # Errors
    /// If the record can't be made durable: the command must not be sent.
    pub async fn cleared(&self, wait: &mut dyn Wait) -> Result<Cleared, JournalError> {
        std::future::poll_fn(|cx| self.poll_cleared(wait, cx)).await
    }

    /// The same for a body that is polled.
    ///
    /// # Errors
    /// As [`cleared`](Admitted::cleared).
    pub fn poll_cleared(
        &self,
        wait: &mut dyn Wait,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Cleared, JournalError>> {
        self.hold.poll(wait, cx).map_ok(Cleared)
    }
}

impl Release {
    /// Waits until the answer may be sent.
    ///
    /// # Errors
    /// If the record can't be made durable: the answer must not be sent.
    pub async fn cleared(&self, wait: &mut dyn Wait) -> Result<Cleared, JournalError> {
        std::future::poll_fn(|cx| self.poll_cleared(wait, cx)).await
    }

    /// The same for a body that is polled.
    ///
    /// # Errors
    /// As [`cleared`](Release::cleared).
    pub fn poll_cleared(
        &self,
        wait: &mut dyn Wait,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Cleared, JournalError>> {
        self.hold.poll(wait, cx).map_ok(Cleared)
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recording = self.recording.as_ref().map(|(_, offset)| offset);
        f.debug_struct("Hold").field("mark", &self.mark).field("recording", &recording).finish()
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Admitted").field(&self.hold).finish()
    }
}

impl fmt::Debug for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Release").field(&self.hold).finish()
    }
}
