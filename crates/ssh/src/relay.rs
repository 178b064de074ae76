//! One session's relay: one task between two legs. It awaits nothing but its own `select!`, so
//! both inboxes always drain and no channel can hold up another.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gate::{ClientQueue, JournalError, Session, TargetQueue};
use ssh_wire::packet::{self, OpenFailure, Packet, write};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use crate::channel::{Channel, Opening, Room, Shared, forward};
use crate::global::Global;
use crate::pump::{Outlet, Sender, Stuck};
use crate::refusal;
use crate::rules::{ChannelRules, MAX_CHANNELS};
use crate::side::{Both, Side};

/// Packets taken from one inbox before the other gets its turn.
const TURN: usize = 32;
/// Bytes of packets that no window bounds which may wait for one leg; above it the leg that they
/// come from is not read.
const MAX_CONTROL_BYTES: usize = 256 * 1024;
/// How often a leg is asked whether somebody is there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How long last words may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// Opens that may wait until the number they use is free.
const MAX_DEFERRED: usize = 64;

/// One connection, as packets of the connection layer.
pub(crate) struct Leg {
    /// Whole packets from the peer, message number first; closed when the connection is.
    pub(crate) inbox: mpsc::Receiver<Vec<u8>>,
    /// Packets to the peer.
    pub(crate) out: Sender,
}

/// Why a relay ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// The client is gone.
    #[error("client closed")]
    ClientClosed,
    /// The target is gone.
    #[error("target closed")]
    TargetClosed,
    /// The principal's right to go on has ended.
    #[error("{0}")]
    Lease(identity::EndReason),
    /// The proxy stops.
    #[error("shutdown")]
    Shutdown,
    /// A side broke the protocol.
    #[error("the {by} broke the protocol: {what}")]
    Violation {
        /// Who.
        by: Side,
        /// How.
        what: String,
    },
    /// A side answers no more.
    #[error("the {0} does not answer")]
    Silent(Side),
    /// What must be recorded can't be.
    #[error("{0}")]
    Journal(#[from] JournalError),
}

impl End {
    pub(crate) fn violation(by: Side, what: impl Into<String>) -> Self {
        End::Violation { by, what: what.into() }
    }

    /// What the client is told on each channel, and when it is disconnected.
    fn told(&self) -> Option<String> {
        match self {
            End::ClientClosed => None,
            End::TargetClosed | End::Silent(Side::Target) => Some(refusal::TARGET_LOST.into()),
            End::Silent(Side::Client) => None,
            End::Lease(reason) => Some(refusal::lease_over(reason)),
            End::Shutdown => Some(refusal::SHUTDOWN.into()),
            End::Violation { .. } => Some(format!("greffier: {self}.\n")),
            End::Journal(error) => Some(refusal::unrecorded(*error)),
        }
    }

    /// What became of what was under way.
    fn outcome(&self) -> &'static str {
        match self {
            End::ClientClosed | End::Silent(Side::Client) => "cancelled",
            End::Lease(_) | End::Shutdown => "ended",
            _ => "lost",
        }
    }
}

/// How a session ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// For the session's last entry.
    pub(crate) reason: String,
    /// For the client's disconnect message, if it is to have one.
    pub(crate) told: Option<String>,
}

/// One session's relay.
pub(crate) struct Relay {
    client: mpsc::Receiver<Vec<u8>>,
    target: mpsc::Receiver<Vec<u8>>,
    core: Core,
}

/// All but the inboxes.
struct Core {
    shared: Shared,
    global: Global,
    out: Both<Option<Outlet>>,
    channels: BTreeMap<u64, Channel>,
    next_id: u64,
    /// Channels by the number in packets *from* a side: the one that the other side gave.
    routes: Both<HashMap<u32, u64>>,
    /// The channel that sent last to a side.
    last: Both<u64>,
    /// Opens of the client that use a number which the target still uses.
    deferred: VecDeque<Vec<u8>>,
    keepalive: Instant,
}

impl Relay {
    /// A relay between two legs whose transports are up and logged in.
    pub(crate) fn new(
        session: Session,
        rules: std::sync::Arc<ChannelRules>,
        login: String,
        client: Leg,
        target: Leg,
    ) -> Self {
        let shared = Shared {
            masking: session.target().masking.clone(),
            to_client: ClientQueue::new(session.waiter()),
            to_target: TargetQueue::new(session.waiter()),
            session,
            rules,
            login,
            grants: std::collections::BTreeSet::new(),
            agent: false,
            x11: false,
            room: Room::default(),
        };
        let out =
            Both { client: Some(Outlet::new(client.out)), target: Some(Outlet::new(target.out)) };
        let core = Core {
            shared,
            global: Global::default(),
            out,
            channels: BTreeMap::new(),
            next_id: 1,
            routes: Both::default(),
            last: Both::default(),
            deferred: VecDeque::new(),
            keepalive: Instant::now() + KEEPALIVE,
        };
        Relay { client: client.inbox, target: target.inbox, core }
    }

    /// Relays until a side closes, the lease ends, or `shutdown` is ready. Of a side that is gone
    /// its transport is asked why, the client's or the target's.
    pub(crate) async fn run(
        &mut self,
        shutdown: impl Future<Output = ()>,
        why_client: impl Future<Output = Option<End>>,
        why_target: impl Future<Output = Option<End>>,
    ) -> Ended {
        let end = match self.relay(shutdown).await {
            End::ClientClosed => why_client.await.unwrap_or(End::ClientClosed),
            End::TargetClosed => why_target.await.unwrap_or(End::TargetClosed),
            end => end,
        };
        let ended = Ended { reason: end.to_string(), told: end.told() };
        let _in_time = timeout(FAREWELL, self.core.farewell(&end)).await;
        ended
    }

    async fn relay(&mut self, shutdown: impl Future<Output = ()>) -> End {
        let lease = self.core.shared.session.lease().clone();
        let mut lease = pin!(lease.ended());
        let mut shutdown = pin!(shutdown);
        let Relay { client, target, core } = self;
        loop {
            let due = core.due();
            let (takes_client, takes_target) = (core.takes(Side::Client), core.takes(Side::Target));
            let (side, packet) = tokio::select! {
                biased;
                reason = &mut lease => return End::Lease(reason),
                () = &mut shutdown => return End::Shutdown,
                moved = poll_fn(|cx| core.poll(cx)) => match moved {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
                packet = client.recv(), if takes_client => (Side::Client, packet),
                packet = target.recv(), if takes_target => (Side::Target, packet),
                () = sleep_until(due.into()) => match core.on_time() {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
            };
            let inbox = match side {
                Side::Client => &mut *client,
                Side::Target => &mut *target,
            };
            let mut next = packet;
            for turn in 0.. {
                let Some(packet) = next else {
                    return match side {
                        Side::Client => End::ClientClosed,
                        Side::Target => End::TargetClosed,
                    };
                };
                if let Err(end) = core.on_packet(side, packet) {
                    return end;
                }
                if turn >= TURN || !core.takes(side) {
                    break;
                }
                match inbox.try_recv() {
                    Ok(packet) => next = Some(packet),
                    // A closed one says so at the next turn.
                    Err(_) => break,
                }
            }
        }
    }
}

impl Core {
    /// Whether packets of a side may be taken.
    fn takes(&self, side: Side) -> bool {
        // What waits for a side that is gone waits for ever.
        if self.out.client.is_none() || self.out.target.is_none() {
            return true;
        }
        let waiting = self.shared.to_target.bytes() + self.shared.to_client.bytes();
        let in_channels: usize = self.channels.values().map(|c| c.control_bytes(side)).sum();
        waiting + in_channels < MAX_CONTROL_BYTES && self.deferred.len() < MAX_DEFERRED
    }

    fn due(&self) -> Instant {
        let channels = self.channels.values().filter_map(Channel::due);
        channels.min().map_or(self.keepalive, |due| due.min(self.keepalive))
    }

    fn on_time(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.keepalive <= now {
            self.keepalive = now + KEEPALIVE;
            for side in [Side::Client, Side::Target] {
                if !self.global.ask(side, &mut self.shared) {
                    return Err(End::Silent(side));
                }
            }
        }
        // What a channel waits for is looked at in `poll`.
        Ok(())
    }

    /// Moves what may move. Ready if anything did, so that what is taken is looked at anew.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let now = Instant::now();
        for channel in self.channels.values_mut() {
            channel.poll(cx, now, &mut self.shared)?;
        }
        let mut moved = false;
        for side in [Side::Client, Side::Target] {
            moved |= self.poll_out(side, cx)?;
        }
        moved |= self.forget()?;
        if moved { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_out(&mut self, side: Side, cx: &mut Context<'_>) -> Result<bool, End> {
        let Some(mut outlet) = self.out.of_mut(side).take() else { return Ok(false) };
        let sent = outlet.poll_send(cx, |cx| self.next_packet(side, cx));
        match sent {
            Ok(moved) => {
                *self.out.of_mut(side) = Some(outlet);
                Ok(moved)
            }
            Err(Stuck::Journal(error)) => Err(error.into()),
            // Its inbox closes too, behind what it said last: that is read first.
            Err(Stuck::Gone) => Ok(true),
        }
    }

    /// The next packet to a side: housekeeping first, then the channels in turn.
    fn next_packet(
        &mut self,
        side: Side,
        cx: &mut Context<'_>,
    ) -> Result<Option<Bytes>, JournalError> {
        let housekeeping = match side {
            Side::Client => self.shared.to_client.poll_pop(cx),
            Side::Target => self.shared.to_target.poll_pop(cx),
        };
        if let Poll::Ready(packet) = housekeeping
            && let Some(packet) = packet?
        {
            return Ok(Some(packet));
        }
        let last = *self.last.of(side);
        let behind = self.channels.range(last.saturating_add(1)..).map(|(id, _)| *id).next();
        let Some(first) = behind.or_else(|| self.channels.keys().next().copied()) else {
            return Ok(None);
        };
        let Core { channels, shared, .. } = self;
        let mut from = |id: u64, channel: &mut Channel| {
            let next = match side {
                Side::Client => channel.to_client.poll_next(cx),
                Side::Target => channel.to_target.poll_next(cx),
            };
            match next {
                Poll::Ready(Ok(Some(packet))) => {
                    channel.pass_credit(side, shared);
                    Some(Ok((id, packet)))
                }
                Poll::Ready(Err(error)) => Some(Err(error)),
                Poll::Ready(Ok(None)) | Poll::Pending => None,
            }
        };
        let found = channels
            .range_mut(first..)
            .find_map(|(id, channel)| from(*id, channel))
            .or_else(|| channels.range_mut(..first).find_map(|(id, channel)| from(*id, channel)));
        match found {
            None => Ok(None),
            Some(Err(error)) => Err(error),
            Some(Ok((id, packet))) => {
                *self.last.of_mut(side) = id;
                Ok(Some(packet))
            }
        }
    }

    /// Lets go of channels that are gone; opens that waited for their numbers go on.
    /// `true`: one did.
    fn forget(&mut self) -> Result<bool, End> {
        self.channels.retain(|_, channel| !channel.is_gone());
        let waiting = self.deferred.len();
        for _ in 0..self.deferred.len() {
            let Some(packet) = self.deferred.pop_front() else { break };
            self.on_packet(Side::Client, packet)?;
        }
        Ok(self.deferred.len() < waiting)
    }

    fn on_packet(&mut self, from: Side, packet: Vec<u8>) -> Result<(), End> {
        let bad = |what: String| End::Violation { by: from, what };
        match packet::parse(&packet).map_err(|e| bad(e.to_string()))? {
            Packet::GlobalRequest { kind, want_reply, rest } => {
                self.global.on_request(from, kind, want_reply, rest, &mut self.shared)
            }
            Packet::RequestSuccess { rest } => {
                self.global.on_answer(from, true, rest, &mut self.shared)
            }
            Packet::RequestFailure => self.global.on_answer(from, false, b"", &mut self.shared),
            Packet::Open { .. } => self.on_open(from, packet),
            Packet::OpenConfirmation { recipient, sender, window, max_packet, rest } => {
                let opening = Opening { number: sender, window, max_packet };
                if self.routes.of(from.other()).contains_key(&sender) {
                    return Err(bad(format!("channel number {sender} is in use")));
                }
                let id = self.opening(from, recipient)?;
                let Some(channel) = self.channels.get_mut(&id) else { return Ok(()) };
                channel.confirm(opening, rest, &mut self.shared)?;
                self.routes.of_mut(from.other()).insert(sender, id);
                Ok(())
            }
            Packet::OpenFailure { recipient, code, text, .. } => {
                let text: String = String::from_utf8_lossy(text).chars().take(512).collect();
                let id = self.opening(from, recipient)?;
                self.routes.of_mut(from).remove(&recipient);
                let Some(channel) = self.channels.get_mut(&id) else { return Ok(()) };
                channel.refuse_open(failure(code), &text, &mut self.shared)
            }
            Packet::Unknown(number) => Err(bad(format!("message number {number}"))),
            read => self.on_channel(from, read.recipient(), is_harmless(&read), packet),
        }
    }

    /// The channel that a side's confirmation or refusal is about.
    fn opening(&self, from: Side, recipient: u32) -> Result<u64, End> {
        let id = self.routes.of(from).get(&recipient).copied();
        let waits = |id: &u64| {
            self.channels.get(id).is_some_and(|c| !c.is_open() && c.opener() == from.other())
        };
        id.filter(waits).ok_or_else(|| End::violation(from, "an answer to no channel open"))
    }

    fn on_channel(
        &mut self,
        from: Side,
        recipient: Option<u32>,
        harmless: bool,
        packet: Vec<u8>,
    ) -> Result<(), End> {
        let recipient = recipient.unwrap_or(u32::MAX);
        let Some(&id) = self.routes.of(from).get(&recipient) else {
            if harmless {
                return Ok(());
            }
            return Err(End::violation(from, format!("channel {recipient} does not exist")));
        };
        let closes = packet.first() == Some(&packet::CHANNEL_CLOSE);
        let Some(channel) = self.channels.get_mut(&id) else { return Ok(()) };
        channel.on_packet(from, packet, &mut self.shared)?;
        if closes {
            *channel.closed.of_mut(from) = true;
            self.routes.of_mut(from).remove(&recipient);
        }
        Ok(())
    }

    fn on_open(&mut self, from: Side, packet: Vec<u8>) -> Result<(), End> {
        let bad = |what: String| End::Violation { by: from, what };
        let Ok(Packet::Open { kind, sender, window, max_packet, rest }) = packet::parse(&packet)
        else {
            return Ok(());
        };
        let opening = Opening { number: sender, window, max_packet };
        if from == Side::Target {
            return self.on_target_open(opening, kind, rest);
        }
        // The number in packets from the target. The client may use it again once it has seen
        // both ends of the channel before; the target may still be about to say its own.
        if let Some(old) = self.routes.target.get(&sender) {
            let ended = self.channels.get(old).is_none_or(|c| c.closed.client);
            if !ended {
                return Err(bad(format!("channel number {sender} is in use")));
            }
            self.deferred.push_back(packet);
            return Ok(());
        }
        if let Some(told) = self.has_no_room() {
            let packet = write::open_failure(sender, OpenFailure::ResourceShortage, &told);
            self.shared.housekeeping(Side::Client, packet);
            return Ok(());
        }
        let channel = match kind {
            b"session" if self.global.no_more_sessions => {
                return Err(bad("a session after no-more-sessions".into()));
            }
            b"session" => Some(Channel::session(opening, rest, &mut self.shared)),
            kind => forward::from_client(opening, kind, rest, &mut self.shared)?,
        };
        self.keep(Side::Target, sender, channel);
        Ok(())
    }

    /// A channel that the target opens: a connection of a kind that was asked for.
    fn on_target_open(&mut self, opening: Opening, kind: &[u8], rest: &[u8]) -> Result<(), End> {
        let number = opening.number;
        if self.routes.client.contains_key(&number) {
            return Err(End::violation(Side::Target, format!("channel number {number} is in use")));
        }
        if let Some(told) = self.has_no_room() {
            let packet = write::open_failure(number, OpenFailure::ResourceShortage, &told);
            self.shared.housekeeping(Side::Target, packet);
            return Ok(());
        }
        let channel = forward::from_target(opening, kind, rest, &mut self.shared)?;
        self.keep(Side::Client, number, channel);
        Ok(())
    }

    /// A new channel, by the number that packets from a side will carry.
    fn keep(&mut self, from: Side, number: u32, channel: Option<Channel>) {
        let Some(channel) = channel else { return };
        let id = self.next_id;
        self.next_id += 1;
        self.routes.of_mut(from).insert(number, id);
        self.channels.insert(id, channel);
    }

    fn has_no_room(&self) -> Option<String> {
        let most = self.shared.rules.max_channels.min(MAX_CHANNELS);
        (self.channels.len() >= most)
            .then(|| format!("greffier: at most {most} channels at a time"))
    }

    /// The end: what is under way is recorded, the client is told on each channel, and what
    /// waits for it goes out.
    async fn farewell(&mut self, end: &End) {
        let (told, reason, outcome) = (end.told(), end.to_string(), end.outcome());
        for channel in self.channels.values_mut() {
            if let Err(error) = channel.end(told.as_deref(), &reason, outcome, &mut self.shared) {
                tracing::debug!(%error, "a channel's end is not on record");
            }
        }
        poll_fn(|cx| {
            let now = Instant::now();
            for channel in self.channels.values_mut() {
                if channel.poll(cx, now, &mut self.shared).is_err() {
                    return Poll::Ready(());
                }
            }
            for side in [Side::Client, Side::Target] {
                if self.poll_out(side, cx).is_err() {
                    return Poll::Ready(());
                }
            }
            if self.is_said() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Whether nothing is left to say or to record.
    fn is_said(&self) -> bool {
        let out = |side: Side| self.out.of(side).as_ref().is_none_or(Outlet::is_empty);
        let client = self.out.client.is_none()
            || (self.shared.to_client.is_empty()
                && self.channels.values().all(|c| c.to_client.is_empty()));
        self.channels.values().all(Channel::is_recorded)
            && client
            && out(Side::Client)
            && out(Side::Target)
    }
}

/// What may come for a channel that is gone, from a peer that has not heard of its end yet.
fn is_harmless(packet: &Packet<'_>) -> bool {
    matches!(
        packet,
        Packet::WindowAdjust { .. }
            | Packet::Request { want_reply: false, .. }
            | Packet::Success { .. }
            | Packet::Failure { .. }
    )
}

fn failure(code: u32) -> OpenFailure {
    match code {
        2 => OpenFailure::ConnectFailed,
        3 => OpenFailure::UnknownChannelType,
        4 => OpenFailure::ResourceShortage,
        _ => OpenFailure::AdministrativelyProhibited,
    }
}
