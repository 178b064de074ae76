//! What is asked about the connection and no channel: RFC 4254 section 4.
//!
//! Keep-alives are answered here, on each leg for itself. What a target says of its host keys
//! is not passed on and never learnt. Everything else is refused.

use bytes::Bytes;
use ssh_wire::packet::write;

use crate::channel::Shared;
use crate::channel::replies::{Replies, Unordered};
use crate::side::{Both, Side};

/// Global requests under way.
#[derive(Default)]
pub(crate) struct Global {
    /// The answers that a side waits for.
    answers: Both<Replies<Bytes>>,
    /// Our own questions that a side has not answered.
    asked: Both<usize>,
    /// The client wants no more sessions.
    pub(crate) no_more_sessions: bool,
}

/// The question whether somebody is there.
const KEEPALIVE: &[u8] = b"keepalive@openssh.com";
/// Most of our own questions that may be without an answer: after this many the peer is dead.
const MAX_ASKED: usize = 3;

impl Global {
    /// Takes a request.
    pub(crate) fn on_request(
        &mut self,
        from: Side,
        kind: &[u8],
        want_reply: bool,
        shared: &mut Shared,
    ) -> Result<(), Unordered> {
        if from == Side::Client && kind == b"no-more-sessions@openssh.com" {
            self.no_more_sessions = true;
            shared.housekeeping(Side::Target, write::global_request(kind, false, b""));
        }
        if want_reply {
            // OpenSSH answers keep-alives with a failure too.
            self.answers.of_mut(from).answered(write::request_failure())?;
        }
        self.flush(from, shared);
        Ok(())
    }

    /// Takes an answer of a side: ours alone are asked.
    pub(crate) fn on_answer(&mut self, from: Side) -> Result<(), Unordered> {
        let asked = self.asked.of_mut(from);
        *asked = asked.checked_sub(1).ok_or(Unordered::Unasked)?;
        Ok(())
    }

    fn flush(&mut self, to: Side, shared: &mut Shared) {
        while let Some(answer) = self.answers.of_mut(to).next() {
            shared.housekeeping(to, answer);
        }
    }

    /// Asks a side whether it is there. `false`: it has left too many such questions unanswered.
    pub(crate) fn ask(&mut self, side: Side, shared: &mut Shared) -> bool {
        let asked = self.asked.of_mut(side);
        if *asked >= MAX_ASKED {
            return false;
        }
        *asked += 1;
        shared.housekeeping(side, write::global_request(KEEPALIVE, true, b""));
        true
    }
}
