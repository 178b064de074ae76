//! The only way out: packets leave a lane when their record is there and the window has room,
//! and nothing else holds a sender.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use gate::{Admitted, ClientQueue, JournalError, Release, TargetQueue, Wait};
use ssh_wire::packet::{self, Packet, write};

use crate::channel::ledger::Ledger;

/// What a lane carries.
#[derive(Debug)]
pub(crate) enum Item {
    /// A packet that no window holds back.
    Packet(Bytes),
    /// A data packet, with how many bytes of the window it takes.
    Data(Bytes, usize),
}

/// One direction of one channel, and the books of its window.
#[derive(Debug)]
pub(crate) struct Lane<Q> {
    queue: Q,
    /// Cleared, and waiting for the receiver's window alone.
    held: Option<(Bytes, usize)>,
    pub(crate) ledger: Ledger,
    /// Bytes that no window bounds: of packets that are no data, and what short data takes beside
    /// its bytes.
    control: usize,
}

/// What a packet takes of memory, at the least.
const PACKET_BYTES: usize = 128;

/// What data takes of memory beside its own bytes, where those are few: a window's worth of them,
/// a byte in a packet, would be a hundred times the window.
pub(crate) fn overhead(bytes: usize) -> usize {
    PACKET_BYTES.saturating_sub(bytes)
}

/// A queue of either direction.
pub(crate) trait Queue {
    type Proof;
    fn new(wait: Box<dyn Wait>) -> Self;
    fn push(&mut self, proof: &Self::Proof, bytes: usize, item: Item);
    fn poll_pop(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Item>, JournalError>>;
    fn is_empty(&self) -> bool;
}

macro_rules! queue {
    ($queue:ident, $proof:ident) => {
        impl Queue for $queue<Item> {
            type Proof = $proof;

            fn new(wait: Box<dyn Wait>) -> Self {
                $queue::new(wait)
            }

            fn push(&mut self, proof: &$proof, bytes: usize, item: Item) {
                $queue::push(self, proof, bytes, item);
            }

            fn poll_pop(
                &mut self,
                cx: &mut Context<'_>,
            ) -> Poll<Result<Option<Item>, JournalError>> {
                $queue::poll_pop(self, cx)
            }

            fn is_empty(&self) -> bool {
                $queue::is_empty(self)
            }
        }
    };
}

queue!(ClientQueue, Release);
queue!(TargetQueue, Admitted);

/// A lane to the client.
pub(crate) type ToClient = Lane<ClientQueue<Item>>;
/// A lane to the target.
pub(crate) type ToTarget = Lane<TargetQueue<Item>>;

impl<Q: Queue> Lane<Q> {
    pub(crate) fn new(wait: Box<dyn Wait>, ledger: Ledger) -> Self {
        Lane { queue: Q::new(wait), held: None, ledger, control: 0 }
    }

    /// Adds a packet that is no data.
    pub(crate) fn packet(&mut self, proof: &Q::Proof, packet: Bytes) {
        self.control += packet.len();
        self.queue.push(proof, packet.len(), Item::Packet(packet));
    }

    /// Adds a data packet that holds so many bytes of data.
    pub(crate) fn data(&mut self, proof: &Q::Proof, packet: Bytes, bytes: usize) {
        self.ledger.queued(bytes);
        self.control += overhead(bytes);
        self.queue.push(proof, bytes, Item::Data(packet, bytes));
    }

    /// The next packet that may leave. Ready with `None`: there is none.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, JournalError>> {
        let (packet, bytes) = match self.held.take() {
            Some(held) => held,
            None => match std::task::ready!(self.queue.poll_pop(cx))? {
                None => return Poll::Ready(Ok(None)),
                Some(Item::Packet(packet)) => {
                    self.control = self.control.saturating_sub(packet.len());
                    return Poll::Ready(Ok(Some(packet)));
                }
                Some(Item::Data(packet, bytes)) => {
                    self.control = self.control.saturating_sub(overhead(bytes));
                    (packet, bytes)
                }
            },
        };
        let room = self.ledger.may_send();
        if bytes <= room {
            self.ledger.sent(bytes);
            return Poll::Ready(Ok(Some(packet)));
        }
        // Only a new grant of the receiver helps, and that comes as a packet.
        if room == 0 {
            self.held = Some((packet, bytes));
            return Poll::Pending;
        }
        let (now, later) = split(&packet, room);
        self.held = Some((later, bytes - room));
        self.ledger.sent(room);
        Poll::Ready(Ok(Some(now)))
    }

    /// Bytes that no window bounds.
    pub(crate) fn control_bytes(&self) -> usize {
        self.control
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_none() && self.queue.is_empty()
    }
}

/// Two data packets in place of one, the first with so many bytes of data.
fn split(packet: &Bytes, at: usize) -> (Bytes, Bytes) {
    match packet::parse(packet) {
        Ok(Packet::Data { recipient, data }) => {
            let (now, later) = data.split_at(at.min(data.len()));
            (write::data(recipient, now), write::data(recipient, later))
        }
        Ok(Packet::ExtendedData { recipient, code, data }) => {
            let (now, later) = data.split_at(at.min(data.len()));
            (
                write::extended_data(recipient, code, now),
                write::extended_data(recipient, code, later),
            )
        }
        // Nothing else is added as data.
        _ => (packet.clone(), Bytes::new()),
    }
}

/// How packets reach a leg's transport.
#[derive(Debug, Clone)]
pub(crate) enum Sender {
    /// The client's connection.
    Client(russh::server::ConnectionSender),
    /// The target's connection.
    Target(russh::client::ConnectionSender),
    /// A test's.
    #[cfg(test)]
    Test(tokio::sync::mpsc::Sender<Bytes>),
}

/// The leg's transport is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

impl Sender {
    /// Gives the packet back if there is no room.
    fn try_send(&self, packet: Bytes) -> Result<Option<Bytes>, Gone> {
        match self {
            Sender::Client(sender) => sender.try_send(packet).map_err(|_| Gone),
            Sender::Target(sender) => sender.try_send(packet).map_err(|_| Gone),
            #[cfg(test)]
            Sender::Test(sender) => {
                use tokio::sync::mpsc::error::TrySendError;
                match sender.try_send(packet) {
                    Ok(()) => Ok(None),
                    Err(TrySendError::Full(packet)) => Ok(Some(packet)),
                    Err(TrySendError::Closed(_)) => Err(Gone),
                }
            }
        }
    }

    async fn ready(self) -> Result<(), Gone> {
        match self {
            Sender::Client(sender) => sender.ready().await.map_err(|_| Gone),
            Sender::Target(sender) => sender.ready().await.map_err(|_| Gone),
            #[cfg(test)]
            Sender::Test(sender) => sender.reserve().await.map(drop).map_err(|_| Gone),
        }
    }
}

/// A wait for room in a leg's transport.
type Ready = Pin<Box<dyn Future<Output = Result<(), Gone>> + Send>>;

/// The end of the pump: one packet at a time into a leg's transport.
pub(crate) struct Outlet {
    sender: Sender,
    staged: Option<Bytes>,
    ready: Option<Ready>,
}

impl Outlet {
    pub(crate) fn new(sender: Sender) -> Self {
        Outlet { sender, staged: None, ready: None }
    }

    /// Sends what `next` gives until it has no more or the transport has no room. `true`: some
    /// packets went.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        mut next: impl FnMut(&mut Context<'_>) -> Result<Option<Bytes>, JournalError>,
    ) -> Result<bool, Stuck> {
        let mut sent = false;
        loop {
            if let Some(ready) = &mut self.ready {
                match ready.as_mut().poll(cx) {
                    Poll::Pending => return Ok(sent),
                    Poll::Ready(result) => {
                        self.ready = None;
                        result?;
                    }
                }
            }
            let packet = match self.staged.take() {
                Some(packet) => packet,
                None => match next(cx)? {
                    Some(packet) => packet,
                    None => return Ok(sent),
                },
            };
            match self.sender.try_send(packet)? {
                None => sent = true,
                Some(packet) => {
                    self.staged = Some(packet);
                    self.ready = Some(Box::pin(self.sender.clone().ready()));
                }
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.staged.is_none()
    }
}

/// Why nothing more can leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// The record failed: our fault.
    Journal(JournalError),
    /// The transport is gone.
    Gone,
}

impl From<JournalError> for Stuck {
    fn from(error: JournalError) -> Self {
        Stuck::Journal(error)
    }
}

impl From<Gone> for Stuck {
    fn from(Gone: Gone) -> Self {
        Stuck::Gone
    }
}
