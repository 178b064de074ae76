//! What the target sends on a channel.

use std::time::Instant;

use bytes::Bytes;
use ssh_wire::packet::{self, ExitSignal, ExitStatus, Packet, STDERR};

use super::stream::Exit;
use super::{Answer, Channel, EXIT_PATIENCE, Run, Shared, data_len};
use crate::pump::Item;
use crate::relay::End;
use crate::side::Side;

impl Channel {
    pub(super) fn on_target(&mut self, packet: Vec<u8>, shared: &mut Shared) -> Result<(), End> {
        let bad = |error: &dyn ToString| End::violation(Side::Target, error.to_string());
        match packet::parse(&packet).map_err(|e| bad(&e))? {
            Packet::Data { .. } if self.transfers() => {
                self.transfer_data(Side::Target, packet, shared)
            }
            Packet::Data { data, .. } => {
                let masked = self.on_output(false, data)?;
                self.pass_output(false, packet, masked, shared)
            }
            Packet::ExtendedData { code: STDERR, data, .. } => {
                let masked = self.on_output(true, data)?;
                self.pass_output(true, packet, masked, shared)
            }
            // RFC 4254 names no other kind; what nobody can record nobody gets.
            Packet::ExtendedData { .. } => Err(bad(&"extended data of an unknown kind")),
            Packet::Eof { .. } => {
                if let Run::Running(running) = &mut self.run {
                    let tails = running.tails(None);
                    self.say(tails);
                }
                self.pass_to_client(packet, shared)
            }
            Packet::Close { .. } => {
                let cut = match (self.closed.client, self.kind) {
                    (_, super::Kind::Forward) => Some("ok"),
                    (true, _) => Some("cancelled"),
                    (false, _) => None,
                };
                self.finish(cut, shared)?;
                if matches!(self.run, Run::Over | Run::Idle)
                    && !std::mem::replace(&mut self.close_queued.client, true)
                {
                    self.taken.target.push_back(Item::Packet(Bytes::from(packet)));
                    self.flush_output(shared)?;
                }
                if matches!(self.run, Run::Spilling(_) | Run::Refusing(..)) {
                    self.run = Run::Over;
                }
                Ok(())
            }
            Packet::Request { kind, want_reply, rest, .. } => {
                let (kind, rest) = (kind.to_vec(), rest.to_vec());
                self.on_target_request(packet, &kind, want_reply, &rest, shared)
            }
            Packet::Success { .. } => self.on_answer(Side::Target, Answer::Success, shared),
            Packet::Failure { .. } => self.on_answer(Side::Target, Answer::Failure, shared),
            _ => Err(bad(&"a packet that belongs to no open channel")),
        }
    }

    /// What was said, as the client is to see it if that differs.
    fn on_output(&mut self, stderr: bool, data: &[u8]) -> Result<Option<Vec<u8>>, End> {
        match &mut self.run {
            Run::Running(running) => Ok(running.output(stderr, data)),
            Run::Idle => Err(End::violation(Side::Target, "data before a program")),
            _ => Ok(Some(Vec::new())),
        }
    }

    fn pass_output(
        &mut self,
        stderr: bool,
        packet: Vec<u8>,
        masked: Option<Vec<u8>>,
        shared: &mut Shared,
    ) -> Result<(), End> {
        match masked {
            Some(masked) => self.say_one(stderr, &masked),
            None => {
                let packet = Bytes::from(packet);
                let bytes = data_len(&packet);
                self.take_data(Side::Target, packet, bytes);
            }
        }
        self.flush_output(shared)
    }

    fn pass_to_client(&mut self, packet: Vec<u8>, shared: &mut Shared) -> Result<(), End> {
        if !self.close_queued.client {
            self.taken.target.push_back(Item::Packet(Bytes::from(packet)));
        }
        self.flush_output(shared)
    }

    fn on_target_request(
        &mut self,
        packet: Vec<u8>,
        kind: &[u8],
        want_reply: bool,
        rest: &[u8],
        shared: &mut Shared,
    ) -> Result<(), End> {
        let bad = |error: &dyn ToString| End::violation(Side::Target, error.to_string());
        let exit = match kind {
            b"exit-status" => {
                Some(Exit::Status(ExitStatus::parse(rest).map_err(|e| bad(&e))?.status))
            }
            b"exit-signal" => {
                let read = ExitSignal::parse(rest).map_err(|e| bad(&e))?;
                let name = String::from_utf8_lossy(read.name).chars().take(32).collect();
                Some(Exit::Signal { name, core_dumped: read.core_dumped })
            }
            b"eow@openssh.com" | b"keepalive@openssh.com" | b"xon-xoff" => None,
            // What is not known is not passed on: it could mean anything to the client.
            _ => {
                if want_reply {
                    self.answers.target.answered(Answer::Failure).map_err(|e| bad(&e))?;
                    self.flush_answers(shared)?;
                }
                return Ok(());
            }
        };
        match (exit, &mut self.run) {
            (Some(exit), Run::Running(running)) if running.exit.is_none() => {
                running.exited(exit);
                self.exits.push(Bytes::from(packet));
                self.exit_due = Some(Instant::now() + EXIT_PATIENCE);
                self.flush_output(shared)
            }
            (Some(_), _) => Ok(()),
            (None, _) => {
                if want_reply {
                    self.answers.target.forwarded().map_err(|e| bad(&e))?;
                }
                self.pass_to_client(packet, shared)
            }
        }
    }
}
