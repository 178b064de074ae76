//! A request under way, shared by the two bodies that belong to it. Both are polled on one thread.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use gate::{Exchange, JournalError, Release, Wait};
use http::{HeaderMap, StatusCode};
use records::Response;
use tokio::time::Instant;

use crate::record;
use crate::sessions::InUse;

/// What of a request's record its bodies need.
pub(crate) struct Running {
    pub(crate) exchange: Exchange,
    /// The session's place, kept while the request is under way.
    _in_use: InUse,
    /// What the request's body did, if it ended the request.
    pub(crate) upload: Upload,
    /// When the target last took a piece of it.
    pub(crate) moved: Option<Instant>,
    outcome: Response<'static>,
    failed: bool,
}

/// What became of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Upload {
    /// Nothing wrong.
    #[default]
    Well,
    /// It is longer than the target takes.
    TooLarge(u64),
    /// The client stalled.
    Slow,
    /// The client left in the middle of it, or framed it wrongly.
    Broken,
    /// It can't be recorded.
    Unrecorded,
    /// It can't be searched for what the record must not have.
    Unsearchable,
}

pub(crate) type Shared = Rc<RefCell<Running>>;

impl Running {
    pub(crate) fn new(exchange: Exchange, in_use: InUse) -> Shared {
        let outcome = Response { outcome: "lost".into(), ..Response::default() };
        let upload = Upload::default();
        let moved = None;
        let running = Running { exchange, _in_use: in_use, upload, moved, outcome, failed: false };
        Rc::new(RefCell::new(running))
    }

    /// A waiter of its own for each body.
    pub(crate) fn waiter(&self) -> Box<dyn Wait> {
        self.exchange.session().waiter()
    }

    /// The target's answer has begun.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.outcome.outcome = record::outcome(status).into();
        self.outcome.code = Some(status.as_str().to_owned().into());
    }

    /// What was masked in a body, by entity.
    pub(crate) fn masked(&mut self, counts: record::Counted) {
        record::add(&mut self.outcome.masked, counts);
    }

    /// Adds to what the outcome says.
    pub(crate) fn detail(&mut self, name: &'static str, value: String) {
        self.outcome.details.insert(name.into(), value.into());
    }

    /// What an answer says behind its body, for the record.
    pub(crate) fn trailers(&mut self, all: &HeaderMap) {
        let mut counts = record::Counted::new();
        let told = record::fields(&self.exchange.session().target().masking, all, &mut counts);
        for (name, value) in told {
            let name = name.replacen("field.", "trailer.", 1);
            self.outcome.details.insert(name.into(), value);
        }
        self.called(all);
    }

    /// What became of a call of gRPC: it says so in a field of its own, behind its answer or, if
    /// there is none, in the head.
    pub(crate) fn called(&mut self, fields: &HeaderMap) {
        let Some(status) = fields.get("grpc-status").and_then(|it| it.to_str().ok()) else {
            return;
        };
        if !self.failed {
            self.outcome.outcome = if status == "0" { "ok" } else { "error" }.into();
        }
        let known = status.len() <= 3 && status.bytes().all(|it| it.is_ascii_digit());
        let status = if known { status } else { "unknown" };
        self.outcome.details.insert("grpc-status".into(), status.to_owned().into());
    }

    /// It ended otherwise than with the answer's end; what was said first stays.
    pub(crate) fn failed(&mut self, outcome: &'static str, cause: &'static str) {
        if !std::mem::replace(&mut self.failed, true) {
            self.outcome.outcome = outcome.into();
            self.outcome.details.insert("cause".into(), cause.into());
        }
    }

    /// Puts the outcome on record.
    pub(crate) fn poll_finish(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Release, JournalError>> {
        self.exchange.poll_finish(&mut self.outcome, cx)
    }
}
