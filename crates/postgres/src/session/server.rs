//! What the server answers: each message is matched to what it answers, masked, put on record,
//! and held until the record allows it to leave.

use std::sync::Arc;
use std::task::{Context, Poll};

use masking::Sink;
use postgres_grammar::Detail;
use postgres_wire::backend::{self, Diagnostic, Message, ParameterStatus, TransactionStatus};
use postgres_wire::{Format, write};

use super::columns::Columns;
use super::mask::{HIDDEN, Out};
use super::protect::Exposure;
use super::queue::{Answering, Failure, Item};
use super::{End, Flow, Machine};

/// Client encodings in which a byte of ASCII can be part of another character: what our parser
/// reads and what the server reads could differ (`pg_wchar.h`, client-only encodings).
const UNSAFE_ENCODINGS: [&[u8]; 9] = [
    b"SJIS",
    b"BIG5",
    b"GBK",
    b"UHC",
    b"GB18030",
    b"JOHAB",
    b"SHIFT_JIS_2004",
    b"MSKANJI",
    b"WIN949",
];

/// Whether the proxy can follow SQL in this client encoding.
pub(crate) fn is_safe_encoding(name: &[u8]) -> bool {
    !UNSAFE_ENCODINGS.iter().any(|bad| name.eq_ignore_ascii_case(bad))
}

impl Machine {
    /// Takes one whole message of the server. `frame` is the message with its header.
    ///
    /// [`Flow::Blocked`]: the message was taken, but the next must wait until
    /// [`Machine::poll_blocked`] has got on.
    pub(crate) fn on_server(
        &mut self,
        tag: u8,
        body: &[u8],
        frame: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<Flow, End> {
        // The hot path first: a row is only looked into where its plan says so.
        if tag == b'D' {
            return self.on_row(body, frame).map(|()| Flow::Next);
        }
        let message = backend::parse(tag, body)?;
        match message {
            Message::NoticeResponse(notice) => self.on_notice(&notice, frame),
            Message::ParameterStatus(status) => self.on_parameter(&status, frame)?,
            Message::Notification(notification) => {
                let mut receipt = masking::Receipt::new();
                let payload = match self.protection.is_active() && !notification.payload.is_empty()
                {
                    // Whoever sent it, a trigger perhaps, may have had it from any column.
                    true => HIDDEN.as_bytes().into(),
                    false => self.masker.text(Sink::Client, notification.payload, &mut receipt),
                };
                let (pid, channel) = (notification.process_id, notification.channel);
                write::notification(&mut self.held, pid, channel, &payload)?;
            }
            Message::ErrorResponse(error) => return self.on_error(&error, frame, cx),
            Message::ReadyForQuery(status) => return self.on_ready(status, frame, cx),
            Message::CommandComplete(tag) => return self.on_complete(tag, frame, cx),
            Message::EmptyQuery => return self.on_complete(b"", frame, cx),
            Message::PortalSuspended => return self.on_suspended(frame, cx),
            Message::RowDescription(_) | Message::NoData | Message::ParameterDescription(_) => {
                self.on_description(&message, frame)?;
            }
            Message::ParseComplete => return self.on_parse_complete(frame, cx),
            Message::BindComplete => {
                self.expect(frame, |item| matches!(item, Item::Bind { .. }))?
            }
            Message::CloseComplete => self.expect(frame, |item| {
                matches!(item, Item::CloseStatement { .. } | Item::ClosePortal { .. })
            })?,
            Message::CopyInResponse(_) => {
                let extended = matches!(self.queue.front(), Some(Item::Execute(_)));
                self.pass(frame)?;
                self.begin_copy_in(extended);
            }
            Message::CopyOutResponse(response) => {
                self.begin_copy_out(response.columns.len())?;
                self.pass(frame)?;
            }
            Message::CopyData(data) => self.on_copy_data_out(data, frame)?,
            Message::CopyDone => self.on_copy_done(frame)?,
            Message::FunctionCallResponse(value) => self.on_function_result(value, frame)?,
            Message::CopyBothResponse(_) => {
                return Err(End::Refused("replication is not served"));
            }
            Message::DataRow(_)
            | Message::Authentication(_)
            | Message::BackendKeyData(_)
            | Message::NegotiateProtocolVersion(_) => {
                return Err(End::Target(format!("unexpected {message:?}")));
            }
        }
        Ok(Flow::Next)
    }

    /// To be called when everything that was read has been taken: what waits may leave as soon
    /// as it is on record.
    pub(crate) fn end_of_server_batch(&mut self) -> Result<(), End> {
        if self.held.is_empty() || self.finishing.is_some() {
            return Ok(());
        }
        let release = match self.queue.front_mut().and_then(Item::answering) {
            Some(answering) => answering.exchange.release()?,
            None => self.session.release(),
        };
        self.release(&release);
        Ok(())
    }

    fn front(&mut self) -> Result<&mut Answering, End> {
        self.queue
            .front_mut()
            .and_then(Item::answering)
            .ok_or_else(|| End::Target("an answer to nothing".into()))
    }

    /// Passes a message on as it is, on the record of the command it answers.
    pub(crate) fn pass(&mut self, frame: &[u8]) -> Result<(), End> {
        let answering = self.front()?;
        answering.exchange.count(frame.len());
        answering.exchange.answer(frame)?;
        self.held.extend_from_slice(frame);
        Ok(())
    }

    /// Passes on the answer to the message at the front, which must be of this kind.
    fn expect(&mut self, frame: &[u8], kind: impl Fn(&Item) -> bool) -> Result<(), End> {
        match self.queue.pop_front() {
            Some(item) if kind(&item) => {
                self.held.extend_from_slice(frame);
                Ok(())
            }
            _ => Err(End::Target("an answer out of order".into())),
        }
    }

    fn on_row(&mut self, body: &[u8], frame: &[u8]) -> Result<(), End> {
        let answering = self
            .queue
            .front_mut()
            .and_then(Item::answering)
            .ok_or_else(|| End::Target("a row in answer to nothing".into()))?;
        if answering.plan.is_none() {
            self.plan_portal()?;
            self.describe_for_record()?;
        }
        let answering = self.queue.front_mut().and_then(Item::answering);
        let Some(Answering { plan: Some(plan), exchange, receipt, rows, .. }) = answering else {
            return Err(End::Target("a row without a description".into()));
        };
        exchange.count(frame.len());
        *rows += 1;
        if plan.passes {
            backend::DataRow::read(body)?;
            exchange.answer(frame)?;
            self.held.extend_from_slice(frame);
            return Ok(());
        }
        let mut kept = std::mem::take(&mut self.kept);
        kept.clear();
        let record = exchange.keeps_data().then_some(&mut kept);
        let mut out = Out { client: &mut self.held, record, receipt };
        self.masker.row(plan, body, frame, &mut out)?;
        let kept_all = exchange.answer(&kept);
        self.kept = kept;
        Ok(kept_all?)
    }

    /// The plan for the rows of the portal at the front.
    fn plan_portal(&mut self) -> Result<(), End> {
        let Machine { queue, masker, protection, .. } = self;
        let Some(answering) = queue.front_mut().and_then(Item::answering) else { return Ok(()) };
        let portal = answering.portal.clone();
        let Some(statement) = portal.as_ref().and_then(|portal| portal.statement.as_ref()) else {
            return Ok(());
        };
        let formats = portal.as_ref().map_or(&[][..], |portal| &portal.result_formats);
        answering.columns = statement.columns().flatten();
        let exposure = answering.exposure;
        answering.plan = statement.plan(formats, |columns| {
            let format = |index: usize| match formats {
                [] => Format::Text,
                [one] => *one,
                many => many.get(index).copied().unwrap_or_default(),
            };
            protection.plan(masker, columns, exposure, &statement.analysis, format)
        });
        Ok(())
    }

    /// Puts before a portal's first row, in the record, what its columns are.
    fn describe_for_record(&mut self) -> Result<(), End> {
        let answering = self.front()?;
        if let (true, Some(columns), Some(plan)) =
            (answering.exchange.keeps_data(), &answering.columns, &answering.plan)
        {
            let description = columns.described(plan)?;
            answering.exchange.answer(&description)?;
        }
        Ok(())
    }

    fn on_notice(&mut self, notice: &Diagnostic<'_>, frame: &[u8]) {
        let (exposure, keeps) = match self.queue.front_mut().and_then(Item::answering) {
            Some(answering) => (answering.exposure, answering.exchange.keeps_data()),
            None => (self.protection.unknown(), false),
        };
        let mut receipt = masking::Receipt::new();
        let masker = self.masker.clone();
        masker.diagnostic(Sink::Client, b'N', notice, exposure, &mut receipt, &mut self.held);
        if keeps {
            let mut kept = Vec::new();
            masker.diagnostic(Sink::Record, b'N', notice, exposure, &mut receipt, &mut kept);
            if let Some(answering) = self.queue.front_mut().and_then(Item::answering) {
                answering.exchange.count(frame.len());
                // A journal that takes nothing more shows at the next release.
                let _shown_later = answering.exchange.answer(&kept);
            }
        }
    }

    fn on_parameter(&mut self, status: &ParameterStatus<'_>, frame: &[u8]) -> Result<(), End> {
        match status.name {
            b"standard_conforming_strings" => {
                self.lexer.standard_conforming_strings = status.value == b"on";
            }
            b"client_encoding" if !is_safe_encoding(status.value) => {
                return Err(End::Refused("this client encoding can't be followed; use UTF8"));
            }
            _ => {}
        }
        let mut receipt = masking::Receipt::new();
        let value = match self.protection.is_active() && is_free_text(status.name) {
            true => HIDDEN.as_bytes().into(),
            false => self.masker.text(Sink::Client, status.value, &mut receipt),
        };
        if *value == *status.value {
            self.held.extend_from_slice(frame);
        } else {
            write::parameter_status(&mut self.held, status.name, &value)?;
        }
        Ok(())
    }

    fn on_error(
        &mut self,
        error: &Diagnostic<'_>,
        frame: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<Flow, End> {
        self.copy_in = false;
        self.fatal |= error.is_fatal();
        if let Some(Item::Refused { told, release, simple, answered }) = self.queue.front_mut()
            && !*answered
            && !error.is_fatal()
        {
            *answered = true;
            let (frame, release, simple) = (told.frame(), release.clone(), *simple);
            self.held.extend_from_slice(&frame);
            self.release(&release);
            if !simple {
                self.queue.pop_front();
                return self.skip(cx);
            }
            return Ok(Flow::Next);
        }
        let exposure = match self.queue.front_mut() {
            Some(Item::Parse { statement, .. } | Item::Describe { statement, .. }) => {
                statement.exposure
            }
            Some(item) => match item.answering() {
                Some(answering) => answering.exposure,
                None => self.protection.unknown(),
            },
            None => self.protection.unknown(),
        };
        self.note_error(error, exposure, frame)?;
        match self.queue.front() {
            // A simple query goes on to its ReadyForQuery; so does what nobody asked for.
            Some(Item::Query(_) | Item::Function(_) | Item::Refused { .. } | Item::Sync) | None => {
                Ok(Flow::Next)
            }
            Some(_) => {
                let failed = self.queue.pop_front();
                let answering = failed.and_then(|item| item.undo(&mut self.names));
                let flow = match answering {
                    Some(answering) => self.finish(answering, "error", cx)?,
                    None => Flow::Next,
                };
                if self.skip(cx)? == Flow::Blocked { Ok(Flow::Blocked) } else { Ok(flow) }
            }
        }
    }

    /// Masks an error for client and record.
    fn note_error(
        &mut self,
        error: &Diagnostic<'_>,
        exposure: Exposure,
        frame: &[u8],
    ) -> Result<(), End> {
        let masker = self.masker.clone();
        let mut receipt = masking::Receipt::new();
        masker.diagnostic(Sink::Client, b'E', error, exposure, &mut receipt, &mut self.held);
        let code = error.sqlstate().unwrap_or(*b"XX000");
        let code = String::from_utf8_lossy(&code).into_owned();
        let message = if exposure.withholds_diagnostics() {
            b"withheld: the statement touches masked columns".to_vec()
        } else {
            let text = error.get(b'M').unwrap_or_default();
            masker.text(Sink::Record, text, &mut masking::Receipt::new()).into_owned()
        };
        // An error of a Parse, Bind or Describe that has no entry of its own is the outcome of the
        // command that it was sent for.
        let answering = match self.queue.front_mut() {
            Some(Item::Parse { answering: Some(answering), .. }) => Some(&mut **answering),
            _ => self
                .queue
                .iter_mut()
                .take_while(|item| !matches!(item, Item::Sync))
                .find_map(Item::answering),
        };
        let Some(answering) = answering else { return Ok(()) };
        answering.receipt.merge(&receipt);
        answering.exchange.count(frame.len());
        answering.error = Some(Failure { code, message });
        if answering.exchange.keeps_data() {
            let mut kept = Vec::new();
            let mut receipt = masking::Receipt::new();
            masker.diagnostic(Sink::Record, b'E', error, exposure, &mut receipt, &mut kept);
            answering.exchange.answer(&kept)?;
        }
        Ok(())
    }

    /// After an error the server ignores everything up to the next Sync: so was never run what
    /// waits in the queue up to there.
    fn skip(&mut self, cx: &mut Context<'_>) -> Result<Flow, End> {
        let until = self.queue.iter().position(|item| matches!(item, Item::Sync));
        if until.is_none() {
            self.skip_to_sync = true;
        }
        // Names are taken back in reverse, so that each gets the value it had at first.
        let tail = self.queue.split_off(until.unwrap_or(self.queue.len()));
        let mut skipped = std::mem::replace(&mut self.queue, tail);
        let mut commands = Vec::new();
        while let Some(item) = skipped.pop_back() {
            commands.extend(item.undo(&mut self.names));
        }
        for mut answering in commands.into_iter().rev() {
            let failed = answering.error.is_some();
            let mut response = answering.response(if failed { "error" } else { "skipped" });
            // Nothing of such a command was recorded beside entries, so this is ready at once.
            if let Poll::Ready(release) = answering.exchange.poll_finish(&mut response, cx)?
                && failed
            {
                self.release(&release);
            }
        }
        Ok(Flow::Next)
    }

    fn on_ready(
        &mut self,
        status: TransactionStatus,
        frame: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<Flow, End> {
        self.status = status;
        self.copy_in = false;
        let item = self.queue.pop_front().filter(Item::ends_with_ready);
        let Some(item) = item else {
            return Err(End::Target("ReadyForQuery out of order".into()));
        };
        self.settling = false;
        if !self.queue.iter().any(|item| !matches!(item, Item::Sync)) {
            self.unsettled = false;
        }
        self.held.extend_from_slice(frame);
        let flow = match item {
            Item::Query(answering) | Item::Function(answering) => {
                let outcome = if answering.error.is_some() { "error" } else { "ok" };
                self.finish(answering, outcome, cx)?
            }
            _ => Flow::Next,
        };
        if self.queue.is_empty() && status == TransactionStatus::Idle {
            self.names.transaction_ended();
        }
        Ok(flow)
    }

    fn on_complete(&mut self, tag: &[u8], frame: &[u8], cx: &mut Context<'_>) -> Result<Flow, End> {
        if self.front()?.columns.is_none() {
            self.plan_portal()?;
        }
        self.pass(frame)?;
        self.copy_in = false;
        let answering = self.front()?;
        let done = answering.sql.clone();
        let number = answering.statement;
        answering.end_result(tag);
        self.names.completed(tag);
        match done.statements.get(number).map(|statement| &statement.detail) {
            Some(Detail::Deallocate { name: Some(name) }) => self.names.forget(false, name),
            Some(Detail::CloseCursor { name: Some(name) }) => self.names.forget(true, name),
            _ => {}
        }
        match self.queue.pop_front() {
            Some(Item::Execute(answering)) => self.finish(answering, "ok", cx),
            Some(other) => {
                self.queue.push_front(other);
                Ok(Flow::Next)
            }
            None => Ok(Flow::Next),
        }
    }

    fn on_suspended(&mut self, frame: &[u8], cx: &mut Context<'_>) -> Result<Flow, End> {
        self.pass(frame)?;
        self.front()?.end_result(b"PORTAL SUSPENDED");
        match self.queue.pop_front() {
            Some(Item::Execute(answering)) => self.finish(answering, "ok", cx),
            _ => Err(End::Target("a suspended portal out of order".into())),
        }
    }

    fn on_parse_complete(&mut self, frame: &[u8], cx: &mut Context<'_>) -> Result<Flow, End> {
        let Some(Item::Parse { answering, .. }) = self.queue.pop_front() else {
            return Err(End::Target("ParseComplete out of order".into()));
        };
        self.held.extend_from_slice(frame);
        match answering {
            Some(answering) => self.finish(answering, "ok", cx),
            None => Ok(Flow::Next),
        }
    }

    fn on_description(&mut self, message: &Message<'_>, frame: &[u8]) -> Result<(), End> {
        match self.queue.front_mut() {
            Some(Item::Describe { statement, ours }) => {
                let (statement, ours) = (statement.clone(), *ours);
                match message {
                    Message::ParameterDescription(oids) => statement.learn_parameters(oids.iter()),
                    Message::RowDescription(description) => {
                        let columns = Columns::read(description, &self.masker);
                        statement.learn_columns(Some(Arc::new(columns)));
                    }
                    _ => statement.learn_columns(None),
                }
                if !ours {
                    self.held.extend_from_slice(frame);
                }
                // Describe of a statement is answered by two messages; the second ends it.
                if !matches!(message, Message::ParameterDescription(_)) {
                    self.queue.pop_front();
                }
                Ok(())
            }
            Some(Item::Query(answering)) => {
                let Message::RowDescription(description) = message else {
                    return Err(End::Target("a description out of order".into()));
                };
                let columns = Arc::new(Columns::read(description, &self.masker));
                let plan = self.protection.plan(
                    &self.masker,
                    &columns,
                    answering.exposure,
                    &answering.sql,
                    |index| columns.list.get(index).map_or(Format::Text, |c| c.format),
                );
                let kept = if columns.labels_are_plain() {
                    frame.to_vec()
                } else {
                    columns.described(&plan)?
                };
                answering.columns = Some(columns);
                answering.plan = Some(Arc::new(plan));
                answering.exchange.count(frame.len());
                answering.exchange.answer(&kept)?;
                self.held.extend_from_slice(frame);
                Ok(())
            }
            _ => Err(End::Target("a description out of order".into())),
        }
    }

    fn on_function_result(&mut self, value: Option<&[u8]>, frame: &[u8]) -> Result<(), End> {
        let Machine { masker, queue, held, .. } = self;
        let answering = queue
            .front_mut()
            .and_then(Item::answering)
            .ok_or_else(|| End::Target("a function's result out of order".into()))?;
        answering.exchange.count(frame.len());
        let receipt = &mut answering.receipt;
        let mut kept = Vec::new();
        for (sink, out) in [(Sink::Client, held), (Sink::Record, &mut kept)] {
            let masked = value.map(|value| masker.text(sink, value, receipt));
            write::message(out, b'V', |out| write::value(out, masked.as_deref()))?;
        }
        answering.exchange.answer(&kept)?;
        answering.end_result(b"FUNCTION CALL");
        Ok(())
    }
}

/// Settings that are reported to clients and can have any value: what a function puts there may be
/// a column's.
fn is_free_text(setting: &[u8]) -> bool {
    matches!(setting, b"application_name" | b"search_path")
}
