//! The one way through: authenticate, open a session, admit a command, record the exchange.
//!
//! > No byte of a command reaches a target, and no byte of its answer reaches a client, unless
//! > a durable record says who sent it, what it was, what was decided and why.
//!
//! A protocol crate reads its client's bytes, finds the command in them, and then:
//!
//! 1. [`Gate::authenticate`] and [`Gate::open_session`]: who it is, on record.
//! 2. [`Session::judge`]: the verdict, from the command's actions.
//! 3. [`Session::submit`]: the command's entry. Gives an [`Exchange`] (admitted) or a
//!    [`Refusal`]; both stem from the same [`Judgement`] that the entry shows.
//! 4. [`TargetOutbox::push`] with the exchange's [`Admitted`]: the bytes leave when the entry
//!    is durable.
//! 5. [`Exchange::answer`], [`Exchange::release`], [`Exchange::poll_finish`]: the answer is
//!    recorded, and [`ClientOutbox::push`] with the [`Release`] lets it out when it is.
//!
//! Steps 2 to 4 of a protocol that knows only reads:
//!
//! ```
//! use gate::{Draft, Exchange, JournalError, Session, Submission, TargetOutbox};
//! use policy::Action;
//! use records::Text;
//!
//! /// `line` is on record when this returns, and its bytes wait in `target` until it is so
//! /// durably. What is given is for the answer; nothing if it was refused.
//! fn ask(
//!     session: &Session,
//!     line: &[u8],
//!     target: &mut TargetOutbox,
//! ) -> Result<Option<Box<Exchange>>, JournalError> {
//!     let action = Action::plain("GET", "read");
//!     let judgement = session.judge(&[action], "GET".into(), "read");
//!     let draft = Draft {
//!         via: "line",
//!         text: Some(Text::from_bytes(line)), // masked first, where there is something to mask
//!         text_bytes: line.len() as u64,
//!         ..Draft::default()
//!     };
//!     Ok(match session.submit(&judgement, draft)? {
//!         Submission::Admitted(exchange) => {
//!             target.push(exchange.admitted(), line);
//!             Some(exchange)
//!         }
//!         Submission::Refused(_) => None,
//!     })
//! }
//! ```
//!
//! [`Admitted`] and [`Release`] can't be made outside this crate. So what forgot to record has
//! nothing to send with:
//!
//! ```compile_fail
//! let forged = gate::Admitted { hold: Default::default() };
//! ```
//!
//! Nothing here knows a protocol. Exchanges do not borrow their session and many may be under
//! way at once, which is what pipelining, SSH channels and HTTP/2 streams need; a protocol
//! whose library does the writing waits with [`Admitted::cleared`], or keeps its packets in a
//! [`TargetQueue`] and a [`ClientQueue`] for each channel, in place of an outbox.

mod exchange;
mod gate;
mod journal;
mod lines;
pub mod local;
mod outbox;
mod permit;
mod queue;
mod session;
mod spool;
mod target;

pub use exchange::{Exchange, MAX_ANSWER_IN_ENTRIES};
pub use gate::{Arrival, Authenticate, Gate, Identified, Judge, Refused};
pub use journal::{Journal, JournalError, Mark, Object, Pace, Progress, Recording, Wait};
pub use lines::{JsonLines, MAX_WAITING_BYTES};
pub use outbox::{ClientOutbox, OutboxError, TargetOutbox};
pub use permit::{Admitted, Cleared, Release};
pub use queue::{ClientQueue, TargetQueue};
pub use session::{
    Draft, Grow, Judgement, Keep, MAX_INLINE_TEXT, Refusal, RefusalCause, Session, Spill,
    Submission,
};
pub use target::{Durability, RecordingLevel, Target};

/// Bytes of salt that are drawn at once: a draw costs more than the bytes do.
const SALT_POOL: usize = 4096;

/// 16 random bytes, each used once. A generator that gives none counts as a journal that can't
/// be written: an entry without a salt must not exist.
fn salt() -> Result<[u8; 16], JournalError> {
    thread_local! {
        static POOL: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    POOL.with_borrow_mut(|pool| {
        if pool.len() < 16 {
            pool.resize(SALT_POOL, 0);
            if aws_lc_rs::rand::fill(pool).is_err() {
                pool.clear();
                return Err(JournalError::Failed);
            }
        }
        let rest = pool.len() - 16;
        let salt = pool.get(rest..).and_then(|tail| <[u8; 16]>::try_from(tail).ok());
        pool.truncate(rest);
        salt.ok_or(JournalError::Failed)
    })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // A `String` takes every write.
        let _infallible = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod exchange_tests;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn no_salt_is_used_twice() {
        let salts: HashSet<_> = (0..2000).map(|_| super::salt().unwrap()).collect();
        assert_eq!(salts.len(), 2000);
        assert!(!salts.contains(&[0; 16]));
    }
}
