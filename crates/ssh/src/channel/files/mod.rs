//! Channels that transfer files: each file operation is a command of its own, judged and
//! recorded, while the protocol's packets go through in line.
//!
//! The channel itself stays one command (`subsystem` or `exec`). What goes on in its stream is
//! followed by [`sftp`] or [`scp`]; here is what they share: how an operation is asked for, how
//! it ends, and how bytes get into the channel's lanes.

mod file;
pub(super) mod flow;
mod outcome;
pub(super) mod paths;
mod ruling;
pub(super) mod scp;
mod sftp;
mod wish;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use gate::{Admitted, Draft, Exchange, JournalError, Keep, MAX_INLINE_TEXT, Release, Submission};
use masking::Receipt;
use records::{Response, Text, Trace};
use ssh_wire::packet::{self, Packet, write};
use ssh_wire::sftp::{MAX_ANSWER_BYTES, MAX_PACKET_BYTES};

use super::{Channel, RETRY, Run, Shared, judge};
use crate::refusal;
use crate::relay::End;
use crate::side::Side;
use wish::Wish;

/// The rule's name in a verdict that no rule can overturn.
const OWN_RULE: &str = "files";
/// Refusals that are told on standard error too, where people see them: OpenSSH shows the
/// status of a refused operation and not its text. More could fill a window that nobody reads.
const MAX_TOLD: u32 = 16;
/// Answers of ours that may wait for a client that does not read, in bytes; then its requests
/// are not taken.
const MAX_INSERTED_BYTES: u64 = 64 * 1024;

/// Which protocol a channel's stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Protocol {
    Sftp,
    Scp(scp::Line),
}

/// The rights of the channel's own command, for what is no operation.
struct Own {
    /// Its number.
    number: u64,
    admitted: Admitted,
    release: Release,
    /// Which run of which agent it belongs to, masked for the record.
    trace: Option<Trace<'static>>,
}

/// What follows the stream.
enum Session {
    Sftp(sftp::Sftp),
    Scp(scp::Scp),
}

impl Session {
    /// Follows a side's stream. Gives how much of it is done with.
    fn follow(&mut self, side: Side, stream: &[u8], cx: &mut Cx<'_>) -> Result<usize, End> {
        match (self, side) {
            (Session::Sftp(sftp), Side::Client) => sftp.client(stream, cx),
            (Session::Sftp(sftp), Side::Target) => sftp.target(stream, cx),
            (Session::Scp(scp), side) => scp.follow(side, stream, cx),
        }
    }

    /// The protocol's name.
    fn name(&self) -> &'static str {
        match self {
            Session::Sftp(_) => "sftp",
            Session::Scp(_) => "rcp",
        }
    }

    /// Whether people are told on standard error what is refused: not where the client's own
    /// program says it.
    fn tells(&self) -> bool {
        !matches!(self, Session::Scp(scp) if scp.is_source(Side::Client))
    }
}

/// A channel's transfer of files.
pub(super) struct Transfer {
    own: Own,
    session: Session,
    /// Beginnings of packets, from each side.
    from_client: Vec<u8>,
    from_target: Vec<u8>,
    /// Outcomes that the journal had no room for.
    endings: VecDeque<Ending>,
    told: u32,
    received: u64,
    /// Bytes that may wait for the client beside our own.
    window: u64,
}

/// An operation whose outcome is known, and the answer that waits for its record.
struct Ending {
    exchange: Box<Exchange>,
    response: Response<'static>,
    answer: Option<Vec<u8>>,
}

impl Ending {
    /// Records the outcome. `None`: the journal has no room now.
    fn record(&mut self) -> Result<Option<Release>, JournalError> {
        match self.exchange.try_finish(&mut self.response) {
            Err(JournalError::Full) => Ok(None),
            other => other,
        }
    }
}

/// Bytes on their way: part of the stream that is looked at, or others.
enum What {
    Span(usize, usize),
    Other(Vec<u8>),
}

/// Bytes with the right to move on. Neighbours under one command's rights are one.
struct Piece<P> {
    command: u64,
    proof: P,
    what: What,
}

/// What became of a stretch of a stream.
struct Cx<'a> {
    shared: &'a Shared,
    own: &'a Own,
    endings: &'a mut VecDeque<Ending>,
    to_target: Vec<Piece<Admitted>>,
    to_client: Vec<Piece<Release>>,
    /// What people are told.
    told: Vec<(Release, String)>,
}

impl Cx<'_> {
    /// Passes on a stretch of the client's stream.
    fn pass_up(&mut self, command: u64, admitted: &Admitted, span: (usize, usize)) {
        extend(&mut self.to_target, command, admitted, span);
    }

    /// Passes on a stretch of the target's stream.
    fn pass_down(&mut self, command: u64, release: &Release, span: (usize, usize)) {
        extend(&mut self.to_client, command, release, span);
    }

    /// Asks the target something of ours.
    fn ask_target(&mut self, bytes: Vec<u8>) {
        let (command, proof) = (self.own.number, self.own.admitted.clone());
        self.to_target.push(Piece { command, proof, what: What::Other(bytes) });
    }

    /// Says something of ours to the client.
    fn insert(&mut self, release: Release, bytes: Vec<u8>) {
        self.to_client.push(Piece { command: 0, proof: release, what: What::Other(bytes) });
    }

    /// An operation has ended: its outcome is recorded, and the answer goes out behind it.
    fn end(&mut self, mut ending: Ending) -> Result<(), End> {
        let released = match self.endings.is_empty() {
            true => ending.record()?,
            false => None,
        };
        match (released, ending.answer.take()) {
            (Some(release), Some(answer)) => self.insert(release, answer),
            (Some(_), None) => {}
            (None, answer) => {
                ending.answer = answer;
                self.endings.push_back(ending);
            }
        }
        Ok(())
    }

    /// Judges an operation and puts it on record.
    fn ask(&mut self, via: &'static str, wish: Wish) -> Result<Asked, End> {
        let asked = ask(via, wish, self.own, self.shared)?;
        if let Asked::No { release, text, .. } = &asked {
            self.told.push((release.clone(), text.clone()));
        }
        Ok(asked)
    }
}

fn extend<P: Clone>(
    pieces: &mut Vec<Piece<P>>,
    command: u64,
    proof: &P,
    (start, end): (usize, usize),
) {
    if let Some(Piece { command: same, what: What::Span(_, last), .. }) = pieces.last_mut()
        && *same == command
        && *last == start
    {
        *last = end;
        return;
    }
    pieces.push(Piece { command, proof: proof.clone(), what: What::Span(start, end) });
}

/// What became of a wish.
enum Asked {
    Yes(Box<Exchange>),
    No {
        release: Release,
        /// One line for the client.
        text: String,
        /// A verdict refused it; else it can't be recorded.
        denied: bool,
    },
}

fn ask(via: &'static str, wish: Wish, own: &Own, shared: &Shared) -> Result<Asked, End> {
    let Wish { operation, class, actions, path, path2, mut details, forbidden } = wish;
    let mut judgement = judge::file(&shared.session, actions, operation, class);
    if let Some(reason) = forbidden {
        judgement = judgement.forbid(OWN_RULE, reason);
    }
    let mut receipt = Receipt::new();
    let mut kept = |path: &[u8]| {
        let cut = path.get(..MAX_INLINE_TEXT).unwrap_or(path);
        Text::from(String::from_utf8_lossy(&shared.recorded(cut, &mut receipt)).into_owned())
    };
    let text = kept(&path);
    if let Some(path2) = &path2 {
        details.insert("path2".into(), kept(path2));
    }
    details.insert("path".into(), text.clone());
    details.insert("channel".into(), own.number.to_string().into());
    let draft = Draft {
        via,
        text: Some(text),
        text_bytes: path.len() as u64,
        masked: super::masked(&receipt, Some(&shared.masking)),
        keep: Keep::Counted,
        trace: own.trace.clone(),
        details,
        ..Draft::default()
    };
    match shared.session.submit(&judgement, draft) {
        Ok(Submission::Admitted(exchange)) => Ok(Asked::Yes(exchange)),
        Ok(Submission::Refused(refused)) => {
            let text = refusal::refused_open(&refused.cause);
            Ok(Asked::No { release: refused.release, text, denied: true })
        }
        Err(error @ (JournalError::Full | JournalError::TooLarge { .. })) => {
            let text = refusal::unrecorded(error).trim_end().to_owned();
            Ok(Asked::No { release: shared.session.release(), text, denied: false })
        }
        Err(error) => Err(error.into()),
    }
}

impl Transfer {
    pub(super) fn new(
        protocol: Protocol,
        (exchange, trace): (&mut Exchange, Option<Trace<'static>>),
        shared: &Shared,
    ) -> Result<Self, JournalError> {
        let session = match protocol {
            Protocol::Sftp => Session::Sftp(sftp::Sftp::new(shared.room.clone())),
            Protocol::Scp(line) => Session::Scp(scp::Scp::new(line, shared.room.clone())),
        };
        let own = Own {
            number: exchange.number(),
            admitted: exchange.admitted().clone(),
            release: exchange.release()?,
            trace,
        };
        Ok(Transfer {
            own,
            session,
            from_client: Vec::new(),
            from_target: Vec::new(),
            endings: VecDeque::new(),
            told: 0,
            received: 0,
            window: shared.rules.channel_window.into(),
        })
    }

    /// What a side sent that is not done with.
    fn rest(&mut self, from: Side) -> &mut Vec<u8> {
        match from {
            Side::Client => &mut self.from_client,
            Side::Target => &mut self.from_target,
        }
    }

    /// Whether the client's packets must wait.
    pub(super) fn holds_client(&self) -> bool {
        matches!(&self.session, Session::Sftp(sftp) if sftp.waits())
    }

    /// Whether an outcome waits for the journal.
    pub(super) fn has_unfinished(&self) -> bool {
        !self.endings.is_empty()
    }

    /// The channel's record: its stream is its files' bytes, which have hashes of their own.
    pub(super) fn describe(&self, response: &mut Response<'static>) {
        for name in ["stdout_sha256", "stdin_sha256"] {
            response.details.remove(name);
        }
        response.details.insert("stdout_bytes".into(), self.received.to_string().into());
    }

    /// The channel ends: so does what is under way.
    pub(super) fn end(&mut self, outcome: &'static str) {
        let endings = match &mut self.session {
            Session::Sftp(sftp) => sftp.end(outcome),
            Session::Scp(scp) => scp.end(outcome),
        };
        self.endings.extend(endings);
    }
}

/// What of it is more than the beginning of a packet: it counts as not taken, so that its sender
/// can't go on for ever.
fn excess(from: Side, rest: &[u8]) -> usize {
    rest.len().saturating_sub(match from {
        Side::Client => MAX_PACKET_BYTES,
        Side::Target => MAX_ANSWER_BYTES,
    })
}

/// A stream's next bytes behind those that did not make a packet yet.
fn stream<'a>(before: &mut Vec<u8>, data: &'a [u8]) -> Cow<'a, [u8]> {
    if before.is_empty() {
        return Cow::Borrowed(data);
    }
    let mut all = std::mem::take(before);
    all.extend_from_slice(data);
    Cow::Owned(all)
}

/// The data of a packet.
fn data(packet: &Bytes) -> Bytes {
    match packet::parse(packet) {
        Ok(Packet::Data { data, .. }) => packet.slice_ref(data),
        _ => Bytes::new(),
    }
}

impl Channel {
    /// Whether what runs is a transfer of files.
    pub(super) fn transfers(&self) -> bool {
        self.transfer.is_some() && matches!(self.run, Run::Running(_))
    }

    /// Data of the client, or standard output of the target, in a channel that transfers files.
    pub(super) fn transfer_data(
        &mut self,
        from: Side,
        packet: Vec<u8>,
        shared: &mut Shared,
    ) -> Result<(), End> {
        let Some(mut transfer) = self.transfer.take() else { return Ok(()) };
        let mut done = self.follow(from, &mut transfer, packet.into(), shared);
        // What the other side said may have waited for this.
        if done.is_ok() && !transfer.rest(from.other()).is_empty() && !transfer.holds_client() {
            done = self.follow(from.other(), &mut transfer, Bytes::new(), shared);
        }
        if transfer.has_unfinished() {
            self.retry = Some(Instant::now() + RETRY);
        }
        let what = transfer.session.name();
        self.transfer = Some(transfer);
        match done {
            // It is this channel's stream that can't be followed: the connection has others.
            Err(End::Violation { by, what: why }) => {
                let reason = format!("the {by}'s stream can't be followed as {what}: {why}");
                return self.break_off(&reason, shared);
            }
            done => done?,
        }
        // What is withheld, its sender may send again.
        self.pass_credit(Side::Target, shared);
        self.pass_credit(Side::Client, shared);
        Ok(())
    }

    fn follow(
        &mut self,
        from: Side,
        transfer: &mut Transfer,
        packet: Bytes,
        shared: &Shared,
    ) -> Result<(), End> {
        let data = data(&packet);
        if let Run::Running(running) = &mut self.run {
            match from {
                Side::Client => drop(running.exchange.input(&[], data.len())?),
                Side::Target => running.exchange.count(data.len()),
            }
        }
        let rest = transfer.rest(from);
        let before = excess(from, rest);
        let stream = stream(rest, &data);
        let mut cx = Cx {
            shared,
            own: &transfer.own,
            endings: &mut transfer.endings,
            to_target: Vec::new(),
            to_client: Vec::new(),
            told: Vec::new(),
        };
        let taken = transfer.session.follow(from, &stream, &mut cx);
        // What came before a fault is on record, and goes on.
        let (taken, fault) = match taken {
            Ok(taken) => (taken, None),
            Err(fault) => (stream.len(), Some(fault)),
        };
        let Cx { to_target, to_client, told, .. } = cx;
        let rest = transfer.rest(from);
        rest.extend_from_slice(stream.get(taken..).unwrap_or_default());
        let after = excess(from, rest);
        let ledger = self.ledger(from);
        ledger.unparked(before);
        ledger.parked(after);
        // The packet as it came, where all of its data passes.
        let is_data = matches!(stream, Cow::Borrowed(_)) && !data.is_empty();
        let whole = is_data.then_some(packet);
        match from {
            Side::Client => {
                self.send_to_target(to_target, &stream, whole);
                self.send_to_client(to_client, &[], None);
            }
            Side::Target => {
                transfer.received += data.len() as u64;
                self.send_to_client(to_client, &stream, whole);
                self.send_to_target(to_target, &[], None);
            }
        }
        if transfer.session.tells() {
            self.tell(transfer, told);
        }
        fault.map_or(Ok(()), Err)
    }

    /// Outcomes that waited for the journal.
    pub(super) fn flush_transfer(&mut self) -> Result<(), End> {
        let Some(mut transfer) = self.transfer.take() else { return Ok(()) };
        let done = self.flush_endings(&mut transfer);
        self.transfer = Some(transfer);
        done
    }

    fn flush_endings(&mut self, transfer: &mut Transfer) -> Result<(), End> {
        while let Some(mut ending) = transfer.endings.pop_front() {
            match ending.record()? {
                Some(release) => {
                    let what = What::Other(ending.answer.unwrap_or_default());
                    self.send_to_client(
                        vec![Piece { command: 0, proof: release, what }],
                        &[],
                        None,
                    );
                }
                None => {
                    transfer.endings.push_front(ending);
                    self.retry = Some(Instant::now() + RETRY);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether as much of ours waits for the client as may.
    pub(super) fn is_client_slow(&self) -> bool {
        let waiting = self.to_client.ledger.waiting();
        let most = |transfer: &Transfer| transfer.window + MAX_INSERTED_BYTES;
        self.transfer.as_ref().is_some_and(|transfer| waiting > most(transfer))
    }

    fn send_to_target(
        &mut self,
        pieces: Vec<Piece<Admitted>>,
        stream: &[u8],
        whole: Option<Bytes>,
    ) {
        let most = self.longest(Side::Target).max(1);
        for Piece { proof, what, .. } in pieces {
            let bytes = match &what {
                What::Span(start, end) => stream.get(*start..*end).unwrap_or_default(),
                What::Other(bytes) => bytes,
            };
            match &whole {
                Some(packet) if is_all(&what, stream) => {
                    self.to_target.data(&proof, packet.clone(), bytes.len());
                }
                _ => {
                    for piece in bytes.chunks(most) {
                        let packet = write::data(self.number.target, piece);
                        self.to_target.data(&proof, packet, piece.len());
                    }
                }
            }
        }
    }

    fn send_to_client(&mut self, pieces: Vec<Piece<Release>>, stream: &[u8], whole: Option<Bytes>) {
        let most = self.longest(Side::Client).max(1);
        for Piece { proof, what, .. } in pieces {
            let bytes = match &what {
                What::Span(start, end) => stream.get(*start..*end).unwrap_or_default(),
                What::Other(bytes) => bytes,
            };
            match &whole {
                Some(packet) if is_all(&what, stream) => {
                    self.to_client.data(&proof, packet.clone(), bytes.len());
                }
                _ => {
                    for piece in bytes.chunks(most) {
                        let packet = write::data(self.number.client, piece);
                        self.to_client.data(&proof, packet, piece.len());
                    }
                }
            }
        }
    }

    /// Tells people why something was refused.
    fn tell(&mut self, transfer: &mut Transfer, told: Vec<(Release, String)>) {
        for (release, text) in told {
            if transfer.told >= MAX_TOLD {
                return;
            }
            transfer.told += 1;
            let line = format!("{text}\n");
            for piece in line.as_bytes().chunks(self.longest(Side::Client).max(1)) {
                let packet = write::stderr(self.number.client, piece);
                self.to_client.data(&release, packet, piece.len());
            }
        }
    }
}

fn is_all(what: &What, stream: &[u8]) -> bool {
    matches!(what, What::Span(0, end) if *end == stream.len())
}
