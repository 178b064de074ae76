//! How a channel ends: by its program, by a refusal, or with the session.

use std::task::{Context, Poll};
use std::time::Instant;

use gate::{JournalError, Release};
use ssh_wire::packet::write;

use super::{Channel, Kind, RETRY, Run, Shared};
use crate::pump::Item;
use crate::refusal;
use crate::relay::End;
use crate::side::Both;

impl Channel {
    pub(super) fn poll_finishing(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
    ) -> Result<(), End> {
        let Run::Finishing(running, response) = &mut self.run else {
            if matches!(self.run, Run::Over | Run::Idle) && !self.exits.is_empty() {
                let release = shared.session.release();
                self.let_go(&release);
            }
            return Ok(());
        };
        if !self.taken.target.is_empty() || !running.is_fed() {
            return Ok(());
        }
        if self.transfer.as_ref().is_some_and(|transfer| transfer.has_unfinished()) {
            // They are tried when the journal is asked again.
            return Ok(());
        }
        let full = match running.exchange.poll_finish(response, cx) {
            Poll::Pending => return Ok(()),
            Poll::Ready(Ok(release)) => {
                self.run = Run::Over;
                self.let_go(&release);
                return Ok(());
            }
            Poll::Ready(Err(error)) => error,
        };
        match full {
            JournalError::Full => {
                self.retry = Some(Instant::now() + RETRY);
                Ok(())
            }
            error => Err(error.into()),
        }
    }

    /// The end of the answer may go: the exit status, and the channel's.
    pub(super) fn let_go(&mut self, release: &Release) {
        for packet in self.exits.drain(..) {
            self.to_client.packet(release, packet);
        }
        self.exit_due = None;
        if !std::mem::replace(&mut self.close_queued.client, true) {
            self.to_client.packet(release, write::close(self.number.client));
        }
    }

    /// The program's end is on its way: what is held comes out, and its outcome is recorded.
    pub(super) fn finish(&mut self, cut: Option<&'static str>, shared: &Shared) -> Result<(), End> {
        let Run::Running(running) = &mut self.run else { return Ok(()) };
        running.end_of_output();
        running.end_of_input();
        let tails = running.tails(None);
        self.say(tails);
        self.flush_output(shared)?;
        if let Run::Running(running) = std::mem::replace(&mut self.run, Run::Over) {
            let mut response = running.response(cut);
            if let Some(transfer) = &mut self.transfer {
                transfer.end(cut.unwrap_or("lost"));
                transfer.describe(&mut response);
            }
            self.run = Run::Finishing(running, Box::new(response));
        }
        self.flush_transfer()
    }

    /// The whole session ends: the client is told on this channel, the program's outcome is
    /// recorded, and both sides are sent the channel's end.
    pub(crate) fn end(
        &mut self,
        text: Option<&str>,
        reason: &str,
        outcome: &'static str,
        shared: &mut Shared,
    ) -> Result<(), End> {
        self.to_client.ledger.close_source();
        self.backlog = Both::default();
        self.taken.client.clear();
        if let (Some(text), Run::Running(_), Kind::Session, false) =
            (text, &self.run, self.kind, self.close_queued.client)
        {
            // A terminal in raw mode does not begin a line by itself.
            let line_end = if self.setup.pty.is_some() { "\r\n" } else { "\n" };
            let text = text.replace('\n', line_end);
            let room = self.to_client.ledger.spare().min(text.len());
            self.say_one(true, text.as_bytes().get(..room).unwrap_or_default());
        }
        if let Run::Running(running) = &mut self.run {
            running.ended_by = Some(reason.to_owned());
        }
        self.finish(Some(outcome), shared)?;
        if let Run::Spilling(_) | Run::Refusing(..) = self.run {
            self.run = Run::Over;
        }
        if self.open && !std::mem::replace(&mut self.close_queued.target, true) {
            self.to_target.packet(&shared.session.admitted(), write::close(self.number.target));
        }
        Ok(())
    }

    /// What runs here can't go on, through no fault of the connection's: the client is told why,
    /// and both sides are sent the channel's end. What they say until they know is thrown away.
    pub(super) fn break_off(&mut self, reason: &str, shared: &mut Shared) -> Result<(), End> {
        tracing::debug!(session = shared.session.id(), reason, "a channel is ended");
        self.to_target.ledger.close_source();
        self.end(Some(&refusal::broken_off(reason)), reason, "lost", shared)
    }

    /// Whether the record of what ran here is complete.
    pub(crate) fn is_recorded(&self) -> bool {
        !matches!(self.run, Run::Finishing(..) | Run::Running(_))
    }

    /// The client is told that its program was refused.
    pub(super) fn tell_refusal(&mut self) {
        let Run::Refusing(text, release) = std::mem::replace(&mut self.run, Run::Over) else {
            return;
        };
        self.to_client.ledger.close_source();
        let room = self.to_client.ledger.spare().min(text.len());
        self.say_one(true, text.as_bytes().get(..room).unwrap_or_default());
        for item in self.taken.target.drain(..) {
            if let Item::Data(packet, bytes) = item {
                self.to_client.ledger.unparked(bytes);
                self.to_client.data(&release, packet, bytes);
            }
        }
        let number = self.number.client;
        self.to_client.packet(&release, write::exit_status(number, refusal::EXIT_REFUSED));
        self.to_client.packet(&release, write::eof(number));
        if !std::mem::replace(&mut self.close_queued.client, true) {
            self.to_client.packet(&release, write::close(number));
        }
    }
}
