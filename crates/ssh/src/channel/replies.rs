//! Answers in the order of their questions.
//!
//! SSH's requests carry no number: the n-th answer belongs to the n-th request that wanted one
//! (RFC 4254 sections 4 and 5.4). Some requests go on to the other side and are answered there,
//! some are answered here; what is answered here must wait for its turn.

use std::collections::VecDeque;

/// Most requests of one channel, or of one connection, that may be without an answer.
pub(crate) const MAX_UNANSWERED: usize = 256;

/// An answer came that nobody asked for, or too many questions are open: the peer's fault, and
/// the connection's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unordered {
    /// No request waits for an answer.
    #[error("an answer to no request")]
    Unasked,
    /// [`MAX_UNANSWERED`] requests wait already.
    #[error("more than {MAX_UNANSWERED} requests without an answer")]
    TooMany,
}

/// The answers that one side waits for; `T` is an answer.
#[derive(Debug)]
pub(crate) struct Replies<T>(VecDeque<Option<T>>);

impl<T> Default for Replies<T> {
    fn default() -> Self {
        Replies(VecDeque::new())
    }
}

impl<T> Replies<T> {
    /// A request went on; its answer will come from the other side.
    pub(crate) fn forwarded(&mut self) -> Result<(), Unordered> {
        self.push(None)
    }

    /// A request was answered here.
    pub(crate) fn answered(&mut self, answer: T) -> Result<(), Unordered> {
        self.push(Some(answer))
    }

    fn push(&mut self, slot: Option<T>) -> Result<(), Unordered> {
        if self.0.len() >= MAX_UNANSWERED {
            return Err(Unordered::TooMany);
        }
        self.0.push_back(slot);
        Ok(())
    }

    /// The other side answered the oldest request that went on to it.
    pub(crate) fn resolve(&mut self, answer: T) -> Result<(), Unordered> {
        let slot = self.0.iter_mut().find(|slot| slot.is_none()).ok_or(Unordered::Unasked)?;
        *slot = Some(answer);
        Ok(())
    }

    /// Whether every request has its answer.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next answer whose turn it is.
    pub(crate) fn next(&mut self) -> Option<T> {
        match self.0.front() {
            Some(Some(_)) => self.0.pop_front().flatten(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ours_waits_for_theirs() {
        let mut replies = Replies::default();
        replies.forwarded().unwrap();
        replies.answered("ours").unwrap();
        assert_eq!(replies.next(), None);
        replies.resolve("theirs").unwrap();
        assert_eq!(replies.next(), Some("theirs"));
        assert_eq!(replies.next(), Some("ours"));
        assert_eq!(replies.next(), None);
        assert_eq!(replies.resolve("more"), Err(Unordered::Unasked));
    }

    #[test]
    fn questions_are_bounded() {
        let mut replies = Replies::<()>::default();
        for _ in 0..MAX_UNANSWERED {
            replies.forwarded().unwrap();
        }
        assert_eq!(replies.forwarded(), Err(Unordered::TooMany));
        assert_eq!(replies.answered(()), Err(Unordered::TooMany));
    }

    proptest! {
        #[test]
        fn every_answer_comes_in_the_questions_order(forwarded in prop::collection::vec(any::<bool>(), 0..100)) {
            let mut replies = Replies::default();
            let mut asked = Vec::new();
            for (number, &goes_on) in forwarded.iter().enumerate() {
                if goes_on {
                    replies.forwarded().unwrap();
                    asked.push(number);
                } else {
                    replies.answered(number).unwrap();
                }
            }
            let mut got = Vec::new();
            let mut drain = |replies: &mut Replies<usize>| {
                while let Some(answer) = replies.next() {
                    got.push(answer);
                }
            };
            drain(&mut replies);
            for number in asked {
                replies.resolve(number).unwrap();
                drain(&mut replies);
            }
            prop_assert_eq!(got, (0..forwarded.len()).collect::<Vec<_>>());
        }
    }
}
