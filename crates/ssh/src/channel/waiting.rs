//! What can't move on now: for want of the journal's room, or behind what waits itself. Its data
//! counts against the window, so that nobody is granted more because of it; the rest counts as
//! what no window bounds.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use gate::{Admitted, JournalError};

use super::{Channel, RETRY, Run, Shared, data_len};
use crate::pump::{Item, overhead};
use crate::relay::End;
use crate::side::Side;

/// The most packets of one side that may wait behind one. Long before that the side is read no
/// more.
const MAX_BACKLOG: usize = 16 * 1024;

/// Packets that wait behind what can't move on.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    packets: VecDeque<Vec<u8>>,
    /// Bytes of them that no window bounds.
    pub(super) control: usize,
}

/// What a packet takes of the memory that no window bounds.
fn control(packet: &[u8], data: usize) -> usize {
    match data {
        0 => packet.len() + overhead(packet.len()),
        data => overhead(data),
    }
}

impl Channel {
    /// Whether packets from a side must wait behind one that can't move on.
    pub(super) fn is_blocked(&self, from: Side) -> bool {
        !self.taken.of(from).is_empty()
            || match from {
                Side::Client => {
                    matches!(self.run, Run::Spilling(_))
                        || (self.transfers()
                            && self.transfer.as_ref().is_some_and(|t| t.holds_client()))
                        || self.is_client_slow()
                        || self.is_unrecorded()
                }
                Side::Target => self.transfer.as_ref().is_some_and(|t| t.has_unfinished()),
            }
    }

    /// Whether something that was said or done here could not be recorded yet.
    fn is_unrecorded(&self) -> bool {
        self.retry.is_some() && matches!(&self.run, Run::Running(running) if !running.is_fed())
    }

    /// A packet waits behind another.
    pub(super) fn hold_back(&mut self, from: Side, packet: Vec<u8>) -> Result<(), End> {
        let backlog = self.backlog.of_mut(from);
        if backlog.packets.len() >= MAX_BACKLOG {
            return Err(End::violation(from, "too many packets behind one that waits"));
        }
        let data = data_len(&packet);
        backlog.control += control(&packet, data);
        backlog.packets.push_back(packet);
        self.ledger(from).parked(data);
        Ok(())
    }

    /// The next packet that waited.
    pub(super) fn next_held(&mut self, from: Side) -> Option<Vec<u8>> {
        let backlog = self.backlog.of_mut(from);
        let packet = backlog.packets.pop_front()?;
        let data = data_len(&packet);
        backlog.control = backlog.control.saturating_sub(control(&packet, data));
        self.ledger(from).unparked(data);
        Some(packet)
    }

    /// Data of a side that goes on when the journal has it.
    pub(super) fn take_data(&mut self, from: Side, packet: Bytes, bytes: usize) {
        self.ledger(from).parked(bytes);
        self.taken.of_mut(from).push_back(Item::Data(packet, bytes));
    }

    /// Moves what was taken from the target into the client's lane, if the journal has it.
    pub(super) fn flush_output(&mut self, shared: &Shared) -> Result<(), End> {
        let release = match &mut self.run {
            Run::Running(running) | Run::Finishing(running, _) => match running.feed() {
                Err(JournalError::Full) => {
                    self.retry = Some(Instant::now() + RETRY);
                    return Ok(());
                }
                other => other?,
            },
            _ if self.taken.target.is_empty() => return Ok(()),
            _ => shared.session.release(),
        };
        for item in self.taken.target.drain(..) {
            match item {
                Item::Packet(packet) => self.to_client.packet(&release, packet),
                Item::Data(packet, bytes) => {
                    self.to_client.ledger.unparked(bytes);
                    self.to_client.data(&release, packet, bytes);
                }
            }
        }
        Ok(())
    }

    /// Moves what was taken from the client into the target's lane, if the journal has it.
    pub(super) fn flush_input(&mut self, shared: &Shared) -> Result<(), End> {
        if self.taken.client.is_empty() {
            return Ok(());
        }
        let admitted: Admitted = match &mut self.run {
            Run::Running(running) => match running.feed_input() {
                Err(JournalError::Full) => {
                    self.retry = Some(Instant::now() + RETRY);
                    return Ok(());
                }
                other => other?,
            },
            _ => shared.session.admitted(),
        };
        for item in self.taken.client.drain(..) {
            match item {
                Item::Packet(packet) => self.to_target.packet(&admitted, packet),
                Item::Data(packet, bytes) => {
                    self.to_target.ledger.unparked(bytes);
                    self.to_target.data(&admitted, packet, bytes);
                }
            }
        }
        Ok(())
    }
}
