//! One channel: both its halves, what runs in it, and when each end of it is gone.
//!
//! Packets go through as they came, channel numbers included: a packet from the client carries
//! the target's number, and the other way round. What can't move on now (a journal without
//! room, a long text on its way to the log) waits in the channel and keeps what is behind it
//! waiting, so order is never lost; the window bounds how much that can be.

mod client;
mod ending;
mod files;
pub(crate) mod forward;
mod judge;
pub(crate) mod ledger;
pub(crate) mod replies;
pub(crate) mod requests;
mod start;
mod stream;
mod target;
mod waiting;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gate::{ClientQueue, Release, Session, TargetQueue};
use masking::{Policy, Receipt, Sink};
use ssh_wire::packet::{self, OpenFailure, Packet, write};

pub use judge::VOCABULARY;

use crate::pump::{Item, ToClient, ToTarget};
use crate::relay::End;
use crate::rules::ChannelRules;
use crate::side::{Both, Side};
use files::Transfer;
pub(crate) use files::flow::Room;
use ledger::Ledger;
use replies::Replies;
use requests::Setup;
use stream::Running;
use waiting::Backlog;

/// The longest data in one packet that either side may be told to send, in bytes: what RFC 4253
/// section 6.1 has every implementation take.
const MAX_PACKET: u32 = 32 * 1024;
/// How long a program's exit status waits for its channel's end, so that it goes out behind the
/// outcome's record. After that it goes out behind the stream's.
const EXIT_PATIENCE: Duration = Duration::from_millis(200);
/// How soon a journal without room is asked again.
const RETRY: Duration = Duration::from_millis(100);

/// What all channels of a connection share.
pub(crate) struct Shared {
    pub(crate) session: Session,
    pub(crate) rules: Arc<ChannelRules>,
    pub(crate) masking: Arc<Policy>,
    /// Who the principal is on the target.
    pub(crate) login: String,
    /// What the target listens on for the client, as rules name it.
    pub(crate) grants: BTreeSet<String>,
    /// The target may reach the client's key agent.
    pub(crate) agent: bool,
    /// The target may reach the client's display.
    pub(crate) x11: bool,
    /// For content of files that comes before its turn.
    pub(crate) room: Room,
    /// Packets about no channel, or that no channel's data may hold up.
    pub(crate) to_client: ClientQueue<Bytes>,
    pub(crate) to_target: TargetQueue<Bytes>,
}

impl Shared {
    /// Queues a packet of the session's own housekeeping.
    pub(crate) fn housekeeping(&mut self, to: Side, packet: Bytes) {
        match to {
            Side::Client => {
                let release = self.session.release();
                self.to_client.push(&release, packet.len(), packet);
            }
            Side::Target => {
                let admitted = self.session.admitted();
                self.to_target.push(&admitted, packet.len(), packet);
            }
        }
    }

    /// A text as the record may keep it.
    pub(crate) fn recorded<'a>(&self, text: &'a [u8], receipt: &mut Receipt) -> Cow<'a, [u8]> {
        let mut out = Vec::new();
        match self.masking.mask_text(Sink::Record, text, &mut out, receipt) {
            masking::Outcome::Same => Cow::Borrowed(text),
            masking::Outcome::Replaced => Cow::Owned(out),
        }
    }
}

/// What was masked, by entity.
fn masked(receipt: &Receipt, policy: Option<&Policy>) -> BTreeMap<Cow<'static, str>, u64> {
    let name = |entity| match policy {
        Some(policy) => Cow::Owned(policy.entity_name(entity).to_owned()),
        None => Cow::Borrowed(masking::Entity::name(entity)),
    };
    receipt.counts().map(|(entity, count)| (name(entity), count)).collect()
}

/// An answer to a channel request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Success,
    Failure,
}

/// What a channel is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A program.
    Session,
    /// A forwarded connection.
    Forward,
}

/// Where a channel is between its program's start and its record's end.
enum Run {
    /// No program yet.
    Idle,
    /// A command line too long for an entry is on its way to the log.
    Spilling(Box<start::Spilling>),
    /// It runs.
    Running(Box<Running>),
    /// It has ended, and its outcome is on its way to the log.
    Finishing(Box<Running>, Box<records::Response<'static>>),
    /// It was refused; the client is told when earlier answers are given.
    Refusing(String, Release),
    /// Nothing runs any more.
    Over,
}

/// A channel.
pub(crate) struct Channel {
    kind: Kind,
    opener: Side,
    open: bool,
    /// The number that each side gave it.
    pub(crate) number: Both<u32>,
    max_packet: Both<u32>,
    pub(crate) to_client: ToClient,
    pub(crate) to_target: ToTarget,
    setup: Setup,
    /// Answers that a side waits for.
    answers: Both<Replies<Answer>>,
    run: Run,
    /// What runs is a transfer of files.
    transfer: Option<Box<Transfer>>,
    /// Packets from a side that wait behind what can't move on.
    backlog: Both<Backlog>,
    /// What was taken from a side and waits for the journal's room.
    taken: Both<VecDeque<Item>>,
    eof: Both<bool>,
    /// A side sent its last packet.
    pub(crate) closed: Both<bool>,
    /// A side was sent its last packet (or it is in its lane).
    close_queued: Both<bool>,
    exits: Vec<Bytes>,
    exit_due: Option<Instant>,
    retry: Option<Instant>,
}

/// What an open packet says of its sender.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) number: u32,
    pub(crate) window: u32,
    pub(crate) max_packet: u32,
}

impl Channel {
    /// A channel that one side asked for. Gives what to offer the other side: window and
    /// longest packet.
    fn new(kind: Kind, opener: Side, opening: Opening, shared: &Shared) -> (Self, u32, u32) {
        let cap = shared.rules.channel_window;
        let (ledger, window) = open_ledger(kind, opener, opening.window, cap);
        let (none, _) = Ledger::open(0, cap);
        let (to_client, to_target) = match opener {
            Side::Client => (ledger, none),
            Side::Target => (none, ledger),
        };
        let mut channel = Channel {
            kind,
            opener,
            open: false,
            number: Both::default(),
            max_packet: Both::default(),
            to_client: ToClient::new(shared.session.waiter(), to_client),
            to_target: ToTarget::new(shared.session.waiter(), to_target),
            setup: Setup::default(),
            answers: Both::default(),
            run: Run::Idle,
            transfer: None,
            backlog: Both::default(),
            taken: Both::default(),
            eof: Both::default(),
            closed: Both::default(),
            close_queued: Both::default(),
            exits: Vec::new(),
            exit_due: None,
            retry: None,
        };
        *channel.number.of_mut(opener) = opening.number;
        *channel.max_packet.of_mut(opener) = opening.max_packet;
        (channel, window, opening.max_packet.min(MAX_PACKET))
    }

    /// A program's channel, asked for by the client. It is passed on at once.
    pub(crate) fn session(opening: Opening, rest: &[u8], shared: &mut Shared) -> Self {
        let (channel, window, max_packet) =
            Channel::new(Kind::Session, Side::Client, opening, shared);
        let packet = write::open(b"session", opening.number, window, max_packet, rest);
        shared.housekeeping(Side::Target, packet);
        channel
    }

    /// The other side takes the channel.
    pub(crate) fn confirm(
        &mut self,
        opening: Opening,
        rest: &[u8],
        shared: &mut Shared,
    ) -> Result<(), End> {
        let by = self.opener.other();
        if self.open {
            return Err(End::violation(by, "a channel was confirmed twice"));
        }
        self.open = true;
        *self.number.of_mut(by) = opening.number;
        *self.max_packet.of_mut(by) = opening.max_packet;
        let cap = shared.rules.channel_window;
        let (ledger, window) = open_ledger(self.kind, by, opening.window, cap);
        match by {
            Side::Client => self.to_client.ledger = ledger,
            Side::Target => self.to_target.ledger = ledger,
        }
        let recipient = *self.number.of(self.opener);
        let max = opening.max_packet.min(MAX_PACKET);
        let packet = write::open_confirmation(recipient, opening.number, window, max, rest);
        match self.opener {
            Side::Client => {
                let release = self.release_now(shared)?;
                shared.to_client.push(&release, packet.len(), packet);
            }
            Side::Target => shared.housekeeping(Side::Target, packet),
        }
        Ok(())
    }

    /// The other side does not take the channel.
    pub(crate) fn refuse_open(
        &mut self,
        code: OpenFailure,
        text: &str,
        shared: &mut Shared,
    ) -> Result<(), End> {
        let packet = write::open_failure(*self.number.of(self.opener), code, text);
        if let Run::Running(running) = std::mem::replace(&mut self.run, Run::Over) {
            let mut response = running.response(Some("error"));
            response.code = Some(format!("{}", code as u32).into());
            self.run = Run::Finishing(running, Box::new(response));
        }
        self.closed = Both { client: true, target: true };
        self.close_queued = self.closed;
        match self.opener {
            // It waits for the outcome's record, if there is one.
            Side::Client => self.exits.push(packet),
            Side::Target => shared.housekeeping(Side::Target, packet),
        }
        Ok(())
    }

    /// Whether both sides know the channel.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    pub(crate) fn opener(&self) -> Side {
        self.opener
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_gone(&self) -> bool {
        self.closed.client
            && self.closed.target
            && matches!(self.run, Run::Over | Run::Idle)
            && self.exits.is_empty()
            && self.to_client.is_empty()
            && self.to_target.is_empty()
    }

    /// Bytes from a side that wait here and that no window bounds.
    pub(crate) fn control_bytes(&self, from: Side) -> usize {
        let lane = match from {
            Side::Client => self.to_target.control_bytes(),
            Side::Target => self.to_client.control_bytes(),
        };
        lane + self.backlog.of(from).control
    }

    /// Takes a packet that is about this channel.
    pub(crate) fn on_packet(
        &mut self,
        from: Side,
        packet: Vec<u8>,
        shared: &mut Shared,
    ) -> Result<(), End> {
        if !self.open {
            return Err(End::violation(from, "a packet for a channel that is not open yet"));
        }
        let read = packet::parse(&packet).map_err(|e| End::violation(from, e.to_string()))?;
        match read {
            Packet::WindowAdjust { bytes, .. } => return self.on_grant(from, bytes, shared),
            Packet::Data { data, .. } | Packet::ExtendedData { data, .. } => {
                if *self.eof.of(from) {
                    return Err(End::violation(from, "data behind the end of data"));
                }
                let (bytes, most) = (data.len(), self.longest(from.other()));
                if bytes > most {
                    let what = format!("{bytes} bytes of data, longer than the channel's {most}");
                    return Err(End::violation(from, what));
                }
                let lane = self.ledger(from);
                lane.received(data.len()).map_err(|e| End::violation(from, e.to_string()))?;
                if data.is_empty() || lane.is_source_closed() {
                    return Ok(());
                }
            }
            Packet::Eof { .. } if std::mem::replace(self.eof.of_mut(from), true) => {
                return Err(End::violation(from, "two ends of data"));
            }
            _ => {}
        }
        if self.is_blocked(from) {
            return self.hold_back(from, packet);
        }
        self.take(from, packet, shared)
    }

    fn take(&mut self, from: Side, packet: Vec<u8>, shared: &mut Shared) -> Result<(), End> {
        match from {
            Side::Client => self.on_client(packet, shared),
            Side::Target => self.on_target(packet, shared),
        }
    }

    /// The longest data in one packet to a side: what it said that it takes (RFC 4254 section
    /// 5.2), as far as the other was told so.
    fn longest(&self, to: Side) -> usize {
        usize::try_from((*self.max_packet.of(to)).min(MAX_PACKET)).unwrap_or(usize::MAX)
    }

    /// The books of what a side sends.
    fn ledger(&mut self, from: Side) -> &mut Ledger {
        match from {
            Side::Client => &mut self.to_target.ledger,
            Side::Target => &mut self.to_client.ledger,
        }
    }

    /// A side takes so many bytes more: so may the other send.
    fn on_grant(&mut self, by: Side, bytes: u32, shared: &mut Shared) -> Result<(), End> {
        let ledger = match by {
            Side::Client => &mut self.to_client.ledger,
            Side::Target => &mut self.to_target.ledger,
        };
        ledger.granted(bytes).map_err(|e| End::violation(by, e.to_string()))?;
        self.pass_credit(by, shared);
        Ok(())
    }

    /// Grants the other side what there is room for in the lane to this one.
    pub(crate) fn pass_credit(&mut self, to: Side, shared: &mut Shared) {
        let source = to.other();
        let silent = !self.open
            || *self.close_queued.of(source)
            || *self.eof.of(source)
            || *self.closed.of(source);
        let ledger = match to {
            Side::Client => &mut self.to_client.ledger,
            Side::Target => &mut self.to_target.ledger,
        };
        if !silent && let Some(more) = ledger.next_grant() {
            let packet = write::window_adjust(*self.number.of(source), more);
            shared.housekeeping(source, packet);
        }
    }

    /// The right to tell the client what is not part of the answer's stream.
    fn release_now(&mut self, shared: &Shared) -> Result<Release, End> {
        match &mut self.run {
            Run::Running(running) | Run::Finishing(running, _) => {
                running.exchange.release().map_err(End::from)
            }
            _ => Ok(shared.session.release()),
        }
    }

    /// Answers whose turn it is go out; then, if it was refused, the program's refusal.
    fn flush_answers(&mut self, shared: &Shared) -> Result<(), End> {
        while let Some(answer) = self.answers.client.next() {
            let packet = answer_packet(answer, self.number.client);
            self.taken.target.push_back(Item::Packet(packet));
        }
        self.flush_output(shared)?;
        while let Some(answer) = self.answers.target.next() {
            let packet = answer_packet(answer, self.number.target);
            self.taken.client.push_back(Item::Packet(packet));
        }
        self.flush_input(shared)?;
        if self.answers.client.is_empty() && matches!(self.run, Run::Refusing(..)) {
            self.tell_refusal();
        }
        Ok(())
    }

    /// Everything that waited for a moment, a journal's room or a log's disk. Sets what is to
    /// be waited for next.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        shared: &mut Shared,
    ) -> Result<(), End> {
        self.poll_spilling(cx, shared)?;
        if self.retry.is_some_and(|at| at <= now) {
            self.retry = None;
            self.flush_transfer()?;
            self.flush_output(shared)?;
            self.flush_input(shared)?;
        }
        self.on_time(now, shared)?;
        for side in [Side::Client, Side::Target] {
            while !self.is_blocked(side)
                && let Some(packet) = self.next_held(side)
            {
                self.take(side, packet, shared)?;
            }
        }
        self.poll_finishing(cx, shared)
    }

    fn on_time(&mut self, now: Instant, shared: &Shared) -> Result<(), End> {
        if self.exit_due.is_some_and(|at| at <= now)
            && let Run::Running(running) = &mut self.run
        {
            self.exit_due = None;
            let tails = running.tails(None);
            running.record_exit();
            self.say(tails);
            self.taken.target.extend(self.exits.drain(..).map(Item::Packet));
            self.flush_output(shared)?;
        }
        // Nobody is silent whose words wait here.
        let waits = self.is_blocked(Side::Target) || self.to_client.ledger.waiting() > 0;
        if let Run::Running(running) = &mut self.run
            && running.tail_due().is_some_and(|at| at <= now)
        {
            if waits {
                running.postpone();
            }
            let tails = running.tails(Some(now));
            self.say(tails);
            self.flush_output(shared)?;
        }
        Ok(())
    }

    /// Bytes for the client as data packets, each as long as it takes at most.
    fn say(&mut self, spoken: [(bool, Vec<u8>); 2]) {
        for (stderr, bytes) in spoken {
            self.say_one(stderr, &bytes);
        }
    }

    fn say_one(&mut self, stderr: bool, bytes: &[u8]) {
        for piece in bytes.chunks(self.longest(Side::Client).max(1)) {
            let packet = match stderr {
                true => write::stderr(self.number.client, piece),
                false => write::data(self.number.client, piece),
            };
            self.take_data(Side::Target, packet, piece.len());
        }
    }

    /// When [`poll`](Channel::poll) has something to do, at the latest.
    pub(crate) fn due(&self) -> Option<Instant> {
        let (tail, exit) = match &self.run {
            Run::Running(running) => (running.tail_due(), self.exit_due),
            _ => (None, None),
        };
        [self.retry, tail, exit].into_iter().flatten().min()
    }
}

/// The books of what a side takes, and the window to offer the other.
fn open_ledger(kind: Kind, receiver: Side, window: u32, cap: u32) -> (Ledger, u32) {
    match (kind, receiver) {
        // We may have to say why a program ends.
        (Kind::Session, Side::Client) => Ledger::open_with_words(window, cap),
        _ => Ledger::open(window, cap),
    }
}

/// How much of a window a packet takes.
fn data_len(packet: &[u8]) -> usize {
    match packet::parse(packet) {
        Ok(Packet::Data { data, .. } | Packet::ExtendedData { data, .. }) => data.len(),
        _ => 0,
    }
}

fn answer_packet(answer: Answer, recipient: u32) -> Bytes {
    match answer {
        Answer::Success => write::success(recipient),
        Answer::Failure => write::failure(recipient),
    }
}

/// For the fuzzer.
pub(crate) fn fuzz_requests(data: &[u8]) -> bool {
    requests::fuzz(data, start::fuzz)
}

/// For the fuzzer: a byte says what the rest is, two are a port.
pub(crate) fn fuzz_places(data: &[u8]) -> bool {
    match data {
        [0, high, low, host @ ..] => {
            forward::place::fuzz_port(host, u16::from_be_bytes([*high, *low]).into())
        }
        [1, path @ ..] => forward::place::fuzz_socket(path),
        [2, path @ ..] => files::paths::fuzz(path),
        _ => true,
    }
}
