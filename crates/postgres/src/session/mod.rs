//! One session's state: what the client has asked for, what the server owes an answer to, and
//! what may leave in either direction. No I/O here: bytes come in as whole frames and leave
//! through outboxes.

pub(crate) mod client;
pub(crate) mod columns;
pub(crate) mod copy;
pub(crate) mod judge;
pub(crate) mod mask;
pub(crate) mod names;
pub(crate) mod protect;
pub(crate) mod queue;
pub(crate) mod reading;
pub(crate) mod record;
pub(crate) mod server;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use gate::{
    Admitted, ClientOutbox, Exchange, JournalError, Object, Release, Session, Spill, TargetOutbox,
};
use postgres_grammar::Lexer;
use postgres_wire::backend::TransactionStatus;
use postgres_wire::frame::FrameError;
use postgres_wire::write::Severity;
use postgres_wire::{WireError, WriteError, write};
use records::Response;
use smallvec::SmallVec;

use self::mask::Masker;
use self::names::{Names, Prepared};
use self::queue::{Answering, Item};
use self::reading::{Readers, Reading};
use crate::refusal::{self, Told};

/// Most messages that may wait for the server's answer; a client that pipelines more waits
/// itself, unread.
pub(crate) const MAX_QUEUE: usize = 16 * 1024;

/// Whether the next frame may be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Yes.
    Next,
    /// Not before [`Machine::poll_blocked`] is ready.
    Blocked,
}

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// The client said goodbye.
    #[error("the client closed")]
    Closed,
    /// The client's message can't be followed: the client's fault.
    #[error("the client broke the protocol: {0}")]
    Client(String),
    /// The target's message can't be followed: the target's fault.
    #[error("the target broke the protocol: {0}")]
    Target(String),
    /// The target went away without a word, or with less than a whole message: its fault.
    #[error("target closed")]
    TargetGone,
    /// The principal's lease is over.
    #[error("lease: {0}")]
    Lease(identity::EndReason),
    /// The session's state does not allow it to go on.
    #[error("{0}")]
    Refused(&'static str),
    /// What must be recorded can't be: our fault.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl End {
    pub(crate) fn client(error: impl ToString) -> Self {
        End::Client(error.to_string())
    }

    pub(crate) fn target(error: impl ToString) -> Self {
        End::Target(error.to_string())
    }

    /// What the client is told, if anything.
    pub(crate) fn told(&self) -> Option<Told> {
        match self {
            End::Closed => None,
            End::Client(_) => Some(Told::fatal("08P01", format!("greffier: {self}"))),
            End::Target(_) => Some(Told::fatal("08006", format!("greffier: {self}"))),
            End::TargetGone => Some(
                Told::fatal("08006", "greffier: the target closed the connection")
                    .hint("Whether what was under way was done is not known."),
            ),
            End::Lease(reason) => Some(refusal::lease_over(reason)),
            End::Refused(why) => Some(Told::fatal("0A000", format!("greffier: {why}"))),
            // A command that meets a full log is refused; an answer that does ends the session.
            End::Journal(error) => {
                Some(Told { severity: Severity::Fatal, ..refusal::unrecorded(*error) })
            }
        }
    }
}

impl From<WriteError> for End {
    /// What we write we have read before, or made ourselves; that it can't be written means
    /// that it can't be passed on.
    fn from(error: WriteError) -> Self {
        End::Target(error.to_string())
    }
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> Self {
        match error.side() {
            postgres_wire::Side::Frontend => End::client(error),
            postgres_wire::Side::Backend => End::target(error),
        }
    }
}

impl From<WireError> for End {
    fn from(error: WireError) -> Self {
        End::target(error)
    }
}

/// A long text or long parameters on their way to objects of their own.
enum Spilling {
    Text(u64, Spill),
    Parameters(u64, Spill),
}

/// Objects that hold a long text or parameters, and the hash of what they hold.
struct Kept {
    of: u64,
    objects: Vec<Object>,
}

/// One session's state.
pub(crate) struct Machine {
    pub(crate) session: Session,
    pub(crate) to_target: TargetOutbox,
    pub(crate) to_client: ClientOutbox,
    pub(crate) status: TransactionStatus,
    reading: Reading,
    masker: Masker,
    protection: protect::Protection,
    names: Names,
    queue: VecDeque<Item>,
    /// Messages of the client that no entry covers yet: they go with the next entry, or at the
    /// end of what was read.
    batch: Vec<u8>,
    /// Statements parsed in `batch` whose text no entry shows yet.
    unshown: SmallVec<[Arc<Prepared>; 2]>,
    /// Messages for the client that wait for the entry that covers them.
    held: Vec<u8>,
    /// The server ignores everything up to the next Sync, and so do we.
    skip_to_sync: bool,
    /// The server takes COPY data.
    copy_in: bool,
    /// How the server reads string constants now.
    lexer: Lexer,
    /// An outcome that waits for its recording to be durable.
    finishing: Option<(Box<Exchange>, Response<'static>)>,
    /// A command that waits for its long text or parameters to be durable: its frame is looked
    /// at again then.
    spilling: Option<Spilling>,
    /// `spilling` or `reading` has not been polled yet, so nothing will wake the session for it.
    unpolled: bool,
    text_objects: Option<Kept>,
    parameter_objects: Option<Kept>,
    /// A command has been sent since the server last was ready: it may change how text is read.
    unsettled: bool,
    /// A text waits until the server is ready again; the client is not read meanwhile.
    settling: bool,
    /// The server has said itself why it closes.
    pub(crate) fatal: bool,
    /// Room for a row as the record keeps it.
    kept: Vec<u8>,
}

/// What a machine is made of.
pub(crate) struct Parts {
    pub(crate) session: Session,
    pub(crate) readers: Readers,
    pub(crate) protection: protect::Protection,
    pub(crate) standard_conforming_strings: bool,
}

impl Machine {
    pub(crate) fn new(parts: Parts) -> Self {
        let masker = Masker::new(parts.session.target().masking.clone());
        let mut machine = Machine {
            session: parts.session,
            to_target: TargetOutbox::default(),
            to_client: ClientOutbox::default(),
            status: TransactionStatus::Idle,
            reading: Reading::new(parts.readers),
            masker,
            protection: parts.protection,
            names: Names::default(),
            queue: VecDeque::new(),
            batch: Vec::new(),
            unshown: SmallVec::new(),
            held: Vec::new(),
            skip_to_sync: false,
            copy_in: false,
            lexer: Lexer::default(),
            finishing: None,
            spilling: None,
            unpolled: false,
            text_objects: None,
            parameter_objects: None,
            unsettled: false,
            settling: false,
            fatal: false,
            kept: Vec::new(),
        };
        machine.lexer.standard_conforming_strings = parts.standard_conforming_strings;
        machine
    }

    /// What a client is told when its session begins.
    pub(crate) fn welcome(
        &mut self,
        reports: &[u8],
        key: postgres_wire::startup::CancelKey<'_>,
    ) -> Result<(), End> {
        write::authentication_ok(&mut self.held);
        self.held.extend_from_slice(reports);
        write::backend_key_data(&mut self.held, key)?;
        write::ready_for_query(&mut self.held, TransactionStatus::Idle);
        let release = self.session.release();
        self.release(&release);
        Ok(())
    }

    /// Nothing is under way: no answer is owed, no transaction is open.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.queue.is_empty()
            && self.finishing.is_none()
            && !self.reading.is_running()
            && self.status == TransactionStatus::Idle
            && self.to_client.is_empty()
    }

    /// Whether the client may be read: the server owes not too many answers, and no message waits.
    pub(crate) fn takes_more(&self) -> bool {
        self.queue.len() < MAX_QUEUE
            && self.spilling.is_none()
            && !self.reading.is_running()
            && !self.settling
    }

    /// Whether frames of the server can't be looked at now.
    pub(crate) fn is_finishing(&self) -> bool {
        self.finishing.is_some()
    }

    /// Whether [`Machine::poll_blocked`] must be called before the session may rest.
    pub(crate) fn is_unpolled(&self) -> bool {
        self.unpolled
    }

    /// Goes on with what blocks the session, if anything does.
    pub(crate) fn poll_blocked(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        self.unpolled = false;
        self.reading.poll(cx);
        if let Some((mut exchange, mut response)) = self.finishing.take() {
            match exchange.poll_finish(&mut response, cx)? {
                Poll::Ready(release) => self.release(&release),
                Poll::Pending => self.finishing = Some((exchange, response)),
            }
        }
        match &mut self.spilling {
            Some(Spilling::Text(of, spill)) => {
                if let Poll::Ready(objects) = spill.poll(cx)? {
                    self.text_objects = Some(Kept { of: *of, objects });
                    self.spilling = None;
                }
            }
            Some(Spilling::Parameters(of, spill)) => {
                if let Poll::Ready(objects) = spill.poll(cx)? {
                    self.parameter_objects = Some(Kept { of: *of, objects });
                    self.spilling = None;
                }
            }
            None => {}
        }
        Ok(())
    }

    /// Sends the client what waits, under this proof.
    fn release(&mut self, release: &Release) {
        self.to_client.push(release, &self.held);
        self.held.clear();
    }

    /// Sends the server what waits, under this proof.
    fn send(&mut self, admitted: &Admitted) {
        self.to_target.push(admitted, &self.batch);
        self.batch.clear();
    }

    /// Ends a command: its outcome goes on record, and then its answer's end to the client.
    fn finish(
        &mut self,
        mut answering: Box<Answering>,
        outcome: &'static str,
        cx: &mut Context<'_>,
    ) -> Result<Flow, End> {
        let mut response = answering.response(outcome);
        match answering.exchange.poll_finish(&mut response, cx)? {
            Poll::Ready(release) => {
                self.release(&release);
                Ok(Flow::Next)
            }
            Poll::Pending => {
                self.finishing = Some((answering.exchange, response));
                Ok(Flow::Blocked)
            }
        }
    }

    /// Ends every command that is still under way; the session is over.
    pub(crate) fn poll_abandon(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_blocked(cx).is_err() {
            self.finishing = None;
        }
        while self.finishing.is_none() {
            let Some(item) = self.queue.pop_front() else { break };
            if let Some(answering) = item.undo(&mut self.names)
                && self.finish(answering, "lost", cx).is_err()
            {
                self.finishing = None;
            }
        }
        if self.finishing.is_some() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Tells the client why the session ends.
    pub(crate) fn say(&mut self, told: &Told) {
        let release = self.session.release();
        // What waits for its record does not leave with the goodbye.
        self.held.clear();
        self.held.extend_from_slice(&told.frame());
        self.release(&release);
    }
}
