//! One authenticated client connection to one target.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use identity::{EndReason, Lease, Principal};
use policy::{Action, Verdict};
use records::{Body, Command, Entry, Parameter, Response, SessionEnd, Text, Timestamp, Trace};
use serde_json::value::RawValue;

use crate::Judge;
use crate::exchange::{Exchange, Kept, chunk};
use crate::journal::{Journal, JournalError, Mark, Object, Pace, Recording, Wait};
use crate::permit::{Admitted, Hold, Release};
use crate::target::{Durability, RecordingLevel, Target};

/// The longest statement text, and the most bound values together, that are kept inside a
/// command's entry, in bytes. JSON writes a byte as six at the worst, so both fit an entry.
/// What is longer is [spilled](Session::spill) first.
pub const MAX_INLINE_TEXT: usize = 4 * 1024;

/// A session that is on record. Cheap to clone; the clones are one session.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    id: String,
    protocol: &'static str,
    target: Arc<Target>,
    principal: Principal,
    /// The principal's groups, and whom it acts for, as rules read them.
    groups: Vec<String>,
    on_behalf_of: Vec<String>,
    /// The principal as every command's entry carries it.
    principal_json: Box<RawValue>,
    lease: Lease,
    judge: Arc<dyn Judge>,
    policy_digest: Arc<str>,
    journal: Arc<dyn Journal>,
    /// The index of the entry that opened the session.
    opened: u64,
    commands: AtomicU64,
    denied: AtomicU64,
    unrecorded: AtomicU64,
    ended: std::sync::atomic::AtomicBool,
    /// Which run all its commands belong to, unless one says otherwise.
    trace: OnceLock<Trace<'static>>,
    /// What the session's last entry says beside the counts.
    notes: Mutex<BTreeMap<Cow<'static, str>, Text<'static>>>,
}

/// What opening a session needs; made by [`Gate::open_session`](crate::Gate::open_session).
pub(crate) struct Opened {
    pub(crate) id: String,
    pub(crate) protocol: &'static str,
    pub(crate) target: Arc<Target>,
    pub(crate) principal: Principal,
    pub(crate) principal_json: Box<RawValue>,
    pub(crate) lease: Lease,
    pub(crate) judge: Arc<dyn Judge>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) opened: u64,
}

/// What a command does and what was decided about it. Only [`Session::judge`] makes one, so
/// the verdict on the wire and the verdict in the record are the same value.
#[derive(Debug, Clone)]
pub struct Judgement {
    verdict: Verdict,
    operation: Cow<'static, str>,
    class: &'static str,
    /// At recording level `operations`: the operation's name, if the command is one.
    named: Option<Arc<str>>,
}

impl Judgement {
    /// What was decided.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The same command, forbidden for a reason beyond the rules. A judgement can be made
    /// stricter by anyone; more lenient by nobody.
    #[must_use]
    pub fn forbid(mut self, rule: &str, reason: &str) -> Self {
        if self.allows() {
            self.verdict = Verdict::Deny { rule: rule.into(), reason: Some(reason.into()) };
        }
        self
    }

    /// Whether the command may run.
    pub fn allows(&self) -> bool {
        matches!(self.verdict, Verdict::Allow { .. })
    }
}

/// A command as it is recorded.
#[derive(Debug, Default)]
pub struct Draft<'a> {
    /// How it was asked for: `simple`, `extended` …
    pub via: &'static str,
    /// The text, masked for the record; at most [`MAX_INLINE_TEXT`] bytes.
    pub text: Option<Text<'a>>,
    /// The text's length before masking, in bytes.
    pub text_bytes: u64,
    /// The objects of a text that was [spilled](Session::spill).
    pub text_objects: &'a [Object],
    /// Bound values, masked for the record; together at most [`MAX_INLINE_TEXT`] bytes.
    pub parameters: Vec<Parameter<'a>>,
    /// The objects of parameters that were spilled.
    pub parameter_objects: &'a [Object],
    /// What was masked in text and parameters.
    pub masked: BTreeMap<Cow<'a, str>, u64>,
    /// What the bytes of the answer are, `postgres-backend`.
    pub media: &'static str,
    /// What the protocol adds (see [`records::Command::details`]), masked for the record. With
    /// the text and the parameters it must fit an entry, or the command is refused.
    pub details: BTreeMap<Cow<'a, str>, Text<'a>>,
    /// Which run of which agent it belongs to, masked for the record; none: the session's, if
    /// that has one ([`Session::belongs_to`]).
    pub trace: Option<Trace<'a>>,
    /// Whether the answer's bytes are kept.
    pub keep: Keep,
    /// Where a long answer goes.
    pub grow: Grow,
}

/// Whether the bytes of an answer, and of what the client sends after its command, are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// As the target's recording level says.
    #[default]
    AsTarget,
    /// Never: they are counted. For what is not the principal's conversation with the target
    /// (a forwarded connection, a pack of git's, a file's content).
    Counted,
    /// Nothing of it is, no entry either: for what an operator does not want to know, as at level
    /// `operations` what no operation names. It is counted in the session's end, and waits for its
    /// beginning; what is refused has its entry all the same.
    Nothing,
}

/// Where a long answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grow {
    /// Into a recording beside the log, once it has outgrown a few entries.
    #[default]
    Chunks,
    /// Never: every release makes an `output` entry of at most [`records::MAX_INLINE_BYTES`], so
    /// that it can be read while the command runs, and is whole after a crash (a terminal).
    Entries,
}

/// What became of a command.
#[derive(Debug)]
#[must_use]
pub enum Submission {
    /// It may be sent to the target.
    Admitted(Box<Exchange>),
    /// It must not be.
    Refused(Refusal),
}

/// A command that is on record as refused.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Why.
    pub cause: RefusalCause,
    /// The right to tell the client so.
    pub release: Release,
}

/// Why a command was refused.
#[derive(Debug, Clone)]
pub enum RefusalCause {
    /// A rule denies it, or no rule allows it.
    Denied {
        /// The rule's name; `default` if none decided.
        rule: Arc<str>,
        /// The reason that the rule gives.
        reason: Option<Arc<str>>,
    },
    /// It waits for an approval. (Approvals come later; nothing makes this yet.)
    Held {
        /// The rule's name.
        rule: Arc<str>,
    },
    /// The principal's right to go on has ended; so does the session.
    LeaseOver(EndReason),
}

impl Session {
    pub(crate) fn new(opened: Opened) -> Self {
        let policy_digest = opened.judge.digest().into();
        Session(Arc::new(Inner {
            id: opened.id,
            protocol: opened.protocol,
            target: opened.target,
            groups: opened.principal.groups.iter().cloned().collect(),
            on_behalf_of: opened
                .principal
                .on_behalf_of
                .iter()
                .map(|actor| actor.subject.clone())
                .collect(),
            principal: opened.principal,
            principal_json: opened.principal_json,
            lease: opened.lease,
            judge: opened.judge,
            policy_digest,
            journal: opened.journal,
            opened: opened.opened,
            commands: AtomicU64::new(0),
            denied: AtomicU64::new(0),
            unrecorded: AtomicU64::new(0),
            ended: std::sync::atomic::AtomicBool::new(false),
            trace: OnceLock::new(),
            notes: Mutex::default(),
        }))
    }

    /// The session's id: the `session` of its entries.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Who acts.
    pub fn principal(&self) -> &Principal {
        &self.0.principal
    }

    /// The target.
    pub fn target(&self) -> &Target {
        &self.0.target
    }

    /// The principal's right to go on.
    pub fn lease(&self) -> &Lease {
        &self.0.lease
    }

    /// The right to send what belongs to the session and to no command: the handshake, the
    /// protocol's housekeeping (Sync, Flush, Terminate).
    pub fn admitted(&self) -> Admitted {
        Admitted { hold: self.hold_for(self.0.opened) }
    }

    /// The right to pass on what the target says of its own accord: parameter reports, and
    /// the protocol's housekeeping.
    pub fn release(&self) -> Release {
        Release { hold: self.hold_for(self.0.opened) }
    }

    /// Judges a command by its actions; all of them count. `operation` and `class` are what the
    /// record shows.
    pub fn judge(
        &self,
        actions: &[Action<'_>],
        operation: Cow<'static, str>,
        class: &'static str,
    ) -> Judgement {
        let inner = &*self.0;
        let command =
            policy::Command { protocol: inner.protocol, target: &inner.target.name, actions };
        // A command is the operation that any of its actions is.
        let named = match (&inner.target.operations, inner.target.recording) {
            (Some(operations), RecordingLevel::Operations) => {
                actions.iter().find_map(|action| self.named_by(operations, action))
            }
            _ => None,
        };
        let verdict = inner.judge.judge(&self.subject(), &command);
        Judgement { verdict, operation, class, named }
    }

    /// The name of the first of these rules that fits an action, if it is one that allows: for
    /// rules that say what something is called, or how it is kept, and not whether it may be.
    pub fn named_by(&self, rules: &policy::Policy, action: &Action<'_>) -> Option<Arc<str>> {
        let inner = &*self.0;
        let command = policy::Command {
            protocol: inner.protocol,
            target: &inner.target.name,
            actions: std::slice::from_ref(action),
        };
        match rules.judge(&self.subject(), &command) {
            Verdict::Allow { rule, .. } => Some(rule),
            Verdict::Deny { .. } | Verdict::Hold { .. } => None,
        }
    }

    fn subject(&self) -> policy::Subject<'_> {
        let inner = &*self.0;
        policy::Subject {
            kind: inner.principal.kind.as_str(),
            issuer: &inner.principal.issuer,
            subject: &inner.principal.subject,
            groups: &inner.groups,
            on_behalf_of: &inner.on_behalf_of,
        }
    }

    /// Starts to keep a text (or parameters) too long for an entry, as objects that the
    /// command's entry will name.
    ///
    /// # Errors
    /// If the journal can't take it: the command must not run.
    pub fn spill(&self, bytes: &[u8]) -> Result<Spill, JournalError> {
        let mut recording = self.0.journal.recording()?;
        recording.write(bytes)?;
        Ok(Spill(recording))
    }

    /// Puts a command on record and gives the right to run it, or the refusal.
    ///
    /// # Errors
    /// If the journal can't take it: the command must not run, whatever the verdict.
    pub fn submit(
        &self,
        judgement: &Judgement,
        draft: Draft<'_>,
    ) -> Result<Submission, JournalError> {
        let inner = &*self.0;
        let number = inner.commands.fetch_add(1, Ordering::Relaxed) + 1;
        let over = inner.lease.is_over();
        let allowed = over.is_none() && judgement.allows();
        let level = inner.target.recording;
        let unnamed = level == RecordingLevel::Operations && judgement.named.is_none();
        if allowed && (unnamed || draft.keep == Keep::Nothing) {
            inner.unrecorded.fetch_add(1, Ordering::Relaxed);
            let kept = Kept { keep_data: false, grow: draft.grow, media: draft.media };
            let exchange = Exchange::new(self.clone(), number, self.admitted(), None, kept);
            return Ok(Submission::Admitted(Box::new(exchange)));
        }
        let keep_data = level == RecordingLevel::Full && draft.keep == Keep::AsTarget;
        let kept = Kept { keep_data, grow: draft.grow, media: draft.media };
        let index = self.append_command(number, judgement, over.as_ref(), draft)?;
        if !allowed {
            inner.denied.fetch_add(1, Ordering::Relaxed);
            let release = Release { hold: self.hold_for(index) };
            return Ok(Submission::Refused(Refusal { cause: cause(judgement, over), release }));
        }
        let hold = match inner.target.durability {
            Durability::BeforeResponse => Hold::default(),
            _ => self.hold_for(index),
        };
        let exchange = Exchange::new(self.clone(), number, Admitted { hold }, Some(index), kept);
        Ok(Submission::Admitted(Box::new(exchange)))
    }

    fn append_command(
        &self,
        number: u64,
        judgement: &Judgement,
        over: Option<&EndReason>,
        draft: Draft<'_>,
    ) -> Result<u64, JournalError> {
        let inner = &*self.0;
        let secret = inner.target.recording == RecordingLevel::Operations;
        let (verdict, rule, reason) = match (over, &judgement.verdict) {
            (Some(reason), _) => ("deny", "lease", Some(reason.to_string().into())),
            (None, Verdict::Allow { rule, .. }) => ("allow", &**rule, None),
            (None, Verdict::Deny { rule, reason, .. }) => {
                ("deny", &**rule, reason.as_deref().map(Cow::Borrowed))
            }
            (None, Verdict::Hold { rule, .. }) => ("hold", &**rule, None),
        };
        self.append(Body::Command(Command {
            command: number,
            principal: Cow::Borrowed(&inner.principal_json),
            target: Cow::Borrowed(&inner.target.name),
            via: draft.via.into(),
            operation: judgement.named.as_deref().unwrap_or(&judgement.operation).into(),
            class: judgement.class.into(),
            text: draft.text.filter(|_| !secret),
            text_bytes: draft.text_bytes,
            text_chunks: draft.text_objects.iter().map(chunk).collect(),
            parameters: if secret { Vec::new() } else { draft.parameters },
            parameter_chunks: draft.parameter_objects.iter().map(chunk).collect(),
            verdict: verdict.into(),
            rule: rule.into(),
            reason,
            policy: Cow::Borrowed(&inner.policy_digest),
            masked: draft.masked,
            trace: draft
                .trace
                .or_else(|| inner.trace.get().cloned())
                .map(|trace| Box::new(told(trace, secret))),
            details: if secret { BTreeMap::new() } else { draft.details },
        }))
    }

    /// A waiter for one queue or task: it wakes for the last mark it was asked for only.
    pub fn waiter(&self) -> Box<dyn Wait> {
        self.0.journal.waiter()
    }

    /// Says which run of which agent the session's commands belong to, masked for the record.
    /// What is said first counts.
    pub fn belongs_to(&self, trace: Trace<'static>) {
        // Said twice: the first stays.
        let _second = self.0.trace.set(trace);
    }

    /// Keeps something for the session's last entry.
    pub fn note(&self, name: &'static str, value: String) {
        let mut notes = self.0.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.insert(name.into(), value.into());
    }

    /// Records the session's end, once; later calls say nothing more.
    ///
    /// # Errors
    /// If the journal can't take it.
    pub fn end(&self, reason: &str) -> Result<(), JournalError> {
        let inner = &*self.0;
        if inner.ended.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let end = Body::SessionEnd(inner.last_words(reason));
        let entry = Entry::new(Timestamp::now(), crate::salt()?, &*inner.id, end);
        inner.journal.append_end(entry.to_json(), Pace::Now).map(drop)
    }

    pub(crate) fn append(&self, body: Body<'_>) -> Result<u64, JournalError> {
        let entry = Entry::new(Timestamp::now(), crate::salt()?, &*self.0.id, body);
        self.0.journal.append(entry.to_json())
    }

    /// Appends an outcome, which is then empty; one that the journal has no room for stays what
    /// it is, to be tried again.
    pub(crate) fn append_outcome(
        &self,
        response: &mut Response<'_>,
        pace: Pace,
    ) -> Result<u64, JournalError> {
        let salt = crate::salt()?;
        let body = Body::Response(std::mem::take(response));
        // An id of its own: the entry must live as long as what it may give back.
        let entry = Entry::new(Timestamp::now(), salt, self.0.id.clone(), body);
        let appended = self.0.journal.append_end(entry.to_json(), pace);
        if appended.is_err()
            && let Body::Response(kept) = entry.body
        {
            *response = kept;
        }
        appended
    }

    pub(crate) fn journal(&self) -> &dyn Journal {
        &*self.0.journal
    }

    /// What "on record" means for an entry at this target's durability level.
    pub(crate) fn hold_for(&self, index: u64) -> Hold {
        Hold::until(match self.0.target.durability {
            Durability::Store => Mark::Published(index),
            Durability::BeforeExecute | Durability::BeforeResponse | Durability::BeforeRelease => {
                Mark::Durable(index)
            }
        })
    }
}

impl Inner {
    fn last_words<'a>(&self, reason: &'a str) -> SessionEnd<'a> {
        SessionEnd {
            reason: reason.into(),
            commands: self.commands.load(Ordering::Relaxed),
            denied: self.denied.load(Ordering::Relaxed),
            unrecorded: self.unrecorded.load(Ordering::Relaxed),
            details: std::mem::take(
                &mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner),
            ),
        }
    }
}

impl Drop for Inner {
    /// A session whose task was cut has an end too.
    fn drop(&mut self) {
        if self.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        let end = self.last_words("cut");
        let recorded = crate::salt().and_then(|salt| {
            let entry = Entry::new(Timestamp::now(), salt, &*self.id, Body::SessionEnd(end));
            self.journal.append_end(entry.to_json(), Pace::Now)
        });
        if let Err(error) = recorded {
            tracing::error!(session = self.id, %error, "a session's end is not on record");
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&self.0.id).finish()
    }
}

/// A trace as the recording level lets it be told.
fn told(trace: Trace<'_>, secret: bool) -> Trace<'_> {
    match secret {
        true => Trace { state: None, baggage: BTreeMap::new(), left_out: 0, ..trace },
        false => trace,
    }
}

fn cause(judgement: &Judgement, over: Option<EndReason>) -> RefusalCause {
    if let Some(reason) = over {
        return RefusalCause::LeaseOver(reason);
    }
    match &judgement.verdict {
        Verdict::Deny { rule, reason, .. } => {
            RefusalCause::Denied { rule: rule.clone(), reason: reason.clone() }
        }
        Verdict::Hold { rule, .. } => RefusalCause::Held { rule: rule.clone() },
        // `submit` refuses an allowed command for its lease alone, which is answered above.
        Verdict::Allow { rule, .. } => RefusalCause::Denied { rule: rule.clone(), reason: None },
    }
}

/// A long text on its way to objects of its own.
pub struct Spill(Box<dyn Recording>);

impl Spill {
    /// Ready when the objects are durable.
    ///
    /// # Errors
    /// If they can't be kept: the command must not run.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<Object>, JournalError>> {
        self.0.poll_finish(cx)
    }
}

impl fmt::Debug for Spill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spill")
    }
}
