//! What the client sends on a channel.

use bytes::Bytes;
use ssh_wire::packet::{self, Packet, write};

use super::requests::Ask;
use super::{Answer, Channel, Run, Shared};
use crate::pump::Item;
use crate::relay::End;
use crate::side::Side;

impl Channel {
    pub(super) fn on_client(&mut self, packet: Vec<u8>, shared: &mut Shared) -> Result<(), End> {
        let bad = |error: &dyn ToString| End::violation(Side::Client, error.to_string());
        match packet::parse(&packet).map_err(|e| bad(&e))? {
            Packet::Data { .. } if self.transfers() => {
                self.transfer_data(Side::Client, packet, shared)
            }
            Packet::Data { data, .. } => {
                let bytes = data.len();
                match &mut self.run {
                    Run::Running(running) => running.input(data),
                    Run::Idle => return Err(bad(&"data before a program")),
                    // Nobody is there to read it.
                    _ => return Ok(()),
                }
                self.take_data(Side::Client, Bytes::from(packet), bytes);
                self.flush_input(shared)
            }
            Packet::Eof { .. } => {
                if let Run::Running(running) = &mut self.run {
                    running.end_of_input();
                }
                self.pass_to_target(packet, shared)
            }
            Packet::Close { .. } => {
                if !std::mem::replace(&mut self.close_queued.target, true) {
                    self.taken.client.push_back(Item::Packet(Bytes::from(packet)));
                    self.flush_input(shared)?;
                }
                Ok(())
            }
            Packet::Request { kind, want_reply, rest, .. } => {
                let (kind, rest) = (kind.to_vec(), rest.to_vec());
                self.on_client_request(packet, &kind, want_reply, &rest, shared)
            }
            Packet::Success { .. } => self.on_answer(Side::Client, Answer::Success, shared),
            Packet::Failure { .. } => self.on_answer(Side::Client, Answer::Failure, shared),
            Packet::ExtendedData { .. } => Err(bad(&"extended data from a client")),
            _ => Err(bad(&"a packet that belongs to no open channel")),
        }
    }

    pub(super) fn pass_to_target(
        &mut self,
        packet: Vec<u8>,
        shared: &mut Shared,
    ) -> Result<(), End> {
        // A program that was refused, or a channel that has ended there, gets nothing more.
        if self.close_queued.target || matches!(self.run, Run::Refusing(..) | Run::Over) {
            return Ok(());
        }
        self.taken.client.push_back(Item::Packet(Bytes::from(packet)));
        self.flush_input(shared)
    }

    /// A side answered a request that went on to it.
    pub(super) fn on_answer(
        &mut self,
        by: Side,
        answer: Answer,
        shared: &mut Shared,
    ) -> Result<(), End> {
        let waiting = self.answers.of_mut(by.other());
        waiting.resolve(answer).map_err(|e| End::violation(by, e.to_string()))?;
        self.flush_answers(shared)
    }

    fn on_client_request(
        &mut self,
        packet: Vec<u8>,
        kind: &[u8],
        want_reply: bool,
        rest: &[u8],
        shared: &mut Shared,
    ) -> Result<(), End> {
        if matches!(self.run, Run::Refusing(..) | Run::Over) || self.close_queued.client {
            return Ok(());
        }
        if self.kind == super::Kind::Forward {
            return self.refuse_request(want_reply, shared);
        }
        let rules = shared.rules.clone();
        let ask = self
            .setup
            .ask(&rules, kind, rest)
            .map_err(|e| End::violation(Side::Client, e.to_string()))?;
        match ask {
            Ask::Refuse(why) => {
                tracing::debug!(session = shared.session.id(), why, "a channel request is refused");
                self.refuse_request(want_reply, shared)
            }
            Ask::Start(start) => self.start(start, want_reply, shared),
            Ask::Agent => self.reach("agent", packet, want_reply, shared),
            Ask::X11 => self.reach("x11", packet, want_reply, shared),
            Ask::Resize { columns, rows } => {
                if let Run::Running(running) = &mut self.run {
                    running.resize(columns, rows);
                }
                self.flush_output(shared)?;
                self.forward_request(packet, want_reply, shared)
            }
            Ask::Signal(name) => {
                if let Run::Running(running) = &mut self.run {
                    running.signal(name);
                }
                self.flush_output(shared)?;
                self.forward_request(packet, want_reply, shared)
            }
            Ask::Forward => self.forward_request(packet, want_reply, shared),
        }
    }

    /// The target wants the means to reach the client's agent or display.
    fn reach(
        &mut self,
        via: &'static str,
        packet: Vec<u8>,
        want_reply: bool,
        shared: &mut Shared,
    ) -> Result<(), End> {
        let Some(admitted) = super::forward::reach(via, shared)? else {
            return self.refuse_request(want_reply, shared);
        };
        if want_reply {
            let answers = &mut self.answers.client;
            answers.forwarded().map_err(|e| End::violation(Side::Client, e.to_string()))?;
        }
        self.to_target.packet(&admitted, Bytes::from(packet));
        Ok(())
    }

    fn forward_request(
        &mut self,
        packet: Vec<u8>,
        want_reply: bool,
        shared: &mut Shared,
    ) -> Result<(), End> {
        if want_reply {
            let answers = &mut self.answers.client;
            answers.forwarded().map_err(|e| End::violation(Side::Client, e.to_string()))?;
        }
        self.pass_to_target(packet, shared)
    }

    pub(super) fn refuse_request(
        &mut self,
        want_reply: bool,
        shared: &mut Shared,
    ) -> Result<(), End> {
        if want_reply {
            let answers = &mut self.answers.client;
            answers
                .answered(Answer::Failure)
                .map_err(|e| End::violation(Side::Client, e.to_string()))?;
            self.flush_answers(shared)?;
        }
        Ok(())
    }

    /// The packet that starts a program, as the client sent it.
    pub(super) fn start_packet(&self, kind: &[u8], want_reply: bool, line: Option<&[u8]>) -> Bytes {
        match line {
            Some(line) => write::line_request(self.number.target, kind, want_reply, line),
            None => write::request(self.number.target, kind, want_reply, b""),
        }
    }
}
