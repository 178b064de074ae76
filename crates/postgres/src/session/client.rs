//! What the client sends: each message is followed, judged where it is a command, and put on
//! record before it may leave for the server.

use std::sync::Arc;

use gate::{Judgement, Refusal, RefusalCause, Release, Submission};
use masking::Sink;
use postgres_grammar::{Analysis, Detail, Lexer, Statement};
use postgres_wire::frontend::{self, Bind, Message, Parse, Target};
use postgres_wire::write;

use super::judge::{FUNCTION_CALL, with_actions};
use super::names::{Portal, Prepared};
use super::queue::{Answering, Item};
use super::reading::is_unread;
use super::record::{Recorded, stranger};
use super::{End, Flow, Machine};
use crate::refusal::{self, Told};

/// What is sent in place of a refused statement. It must fail, so that the server is in the
/// state that a failed statement leaves; its error never reaches the client.
const REFUSED_SQL: &[u8] = b"greffier refused this statement";

impl Machine {
    /// Takes one whole message of the client. `frame` is the message with its header.
    ///
    /// [`Flow::Blocked`]: nothing was done; the same message is to be given again when
    /// [`Machine::poll_blocked`] has got on.
    pub(crate) fn on_client(&mut self, tag: u8, body: &[u8], frame: &[u8]) -> Result<Flow, End> {
        let flow = self.follow(tag, body, frame)?;
        if flow == Flow::Next {
            self.reading.clear();
        }
        Ok(flow)
    }

    fn follow(&mut self, tag: u8, body: &[u8], frame: &[u8]) -> Result<Flow, End> {
        let message = frontend::parse(tag, body).map_err(End::client)?;
        if self.skip_to_sync && !matches!(message, Message::Sync | Message::Terminate) {
            // The server would read and ignore it.
            return Ok(Flow::Next);
        }
        match message {
            Message::Query(sql) => return self.on_query(sql, frame),
            Message::Parse(parse) => return self.on_parse(&parse, frame),
            Message::Bind(bind) => self.on_bind(&bind, body, frame)?,
            Message::Describe(target) => self.on_describe(target, frame),
            Message::Execute(execute) => return self.on_execute(execute.portal, frame),
            Message::Close(target) => self.on_close(target, frame),
            Message::Flush => self.batch.extend_from_slice(frame),
            Message::Sync => self.on_sync(frame),
            Message::FunctionCall(call) => return self.on_function(call.function, frame),
            Message::CopyData(data) => self.on_copy_data(data, frame)?,
            Message::CopyDone | Message::CopyFail(_) => self.on_copy_end(frame)?,
            Message::Terminate => {
                self.batch.extend_from_slice(frame);
                return Err(End::Closed);
            }
            Message::Password(_) => {
                return Err(End::Client("a password where none was asked for".into()));
            }
        }
        Ok(Flow::Next)
    }

    /// To be called when everything that was read has been taken: what waits leaves.
    pub(crate) fn end_of_client_batch(&mut self) -> Result<(), End> {
        if self.batch.is_empty() || self.spilling.is_some() {
            return Ok(());
        }
        let mut last = None;
        while let Some(statement) = self.unshown.first().cloned() {
            match self.show(&statement)? {
                Some(admitted) => last = Some(admitted),
                // Its text is long and has to wait; nothing leaves meanwhile.
                None => return Ok(()),
            }
            self.unshown.remove(0);
        }
        // Entries are durable in order: the last one's proof covers those before it.
        let admitted = last.unwrap_or_else(|| self.session.admitted());
        self.send(&admitted);
        Ok(())
    }

    /// Judges texts; column rules may forbid what the policy allows.
    pub(crate) fn judge(&self, analyses: &[&Analysis]) -> Judgement {
        let judgement = with_actions(analyses, &self.names, |actions, operation, class| {
            self.session.judge(actions, operation, class)
        });
        match analyses.iter().find_map(|analysis| self.protection.forbids(analysis)) {
            Some(why) => judgement.forbid(super::protect::RULE, why),
            None => judgement,
        }
    }

    /// Whether a text has to wait until the server has answered what was sent before: a setting
    /// changed there would change how the text is read. The server is asked to answer now.
    fn must_settle(&mut self, sql: &[u8]) -> bool {
        let plain = |byte: &u8| byte.is_ascii() && *byte != b'\\';
        if !self.unsettled || sql.iter().all(plain) {
            return false;
        }
        // Reports of changed settings come with ReadyForQuery, so one must be on its way.
        let ready_will_come = self.queue.iter().any(Item::ends_with_ready);
        if ready_will_come {
            self.settling = true;
            write::flush(&mut self.batch);
        }
        ready_will_come
    }

    /// A text's analysis, or `None` if it takes a while: the message is to be given again then.
    fn analysis(&mut self, sql: &[u8], lexer: Lexer) -> Option<Arc<Analysis>> {
        let found = self.reading.get(sql, lexer);
        self.unpolled |= found.is_none();
        found
    }

    /// A text, and the judgement on it; `None` as in [`Machine::analysis`]. What may be read in
    /// two ways, sent where the server's settings can't be known, is forbidden.
    fn read(&mut self, sql: &[u8]) -> Option<(Arc<Analysis>, Judgement)> {
        let analysis = self.analysis(sql, self.lexer)?;
        let mut ambiguous = false;
        if self.unsettled && sql.contains(&b'\\') {
            let mut other = self.lexer;
            other.standard_conforming_strings = !other.standard_conforming_strings;
            ambiguous = differs(&*self.analysis(sql, other)?, &analysis);
        }
        let mut judgement = self.judge(&[&analysis]);
        if is_unread(&analysis) {
            judgement = judgement.forbid("unread", "the proxy could not analyse it; send it again");
        }
        if ambiguous {
            let why = "its strings may be read in two ways here; send it after a Sync";
            judgement = judgement.forbid("ambiguous", why);
        }
        Some((analysis, judgement))
    }

    fn on_query(&mut self, sql: &[u8], frame: &[u8]) -> Result<Flow, End> {
        if self.must_settle(sql) {
            return Ok(Flow::Blocked);
        }
        let Some((analysis, judgement)) = self.read(sql) else { return Ok(Flow::Blocked) };
        let exposure = self.protection.exposure(&analysis, &self.names);
        let recorded = Recorded::statement(&self.masker, sql, &analysis, exposure);
        let submitted =
            self.draft("simple", recorded, |machine, draft| machine.submit(&judgement, draft))?;
        let Some(submitted) = submitted else { return Ok(Flow::Blocked) };
        match submitted {
            Submitted::Admitted(exchange) => {
                self.note_definitions(&analysis)?;
                self.batch.extend_from_slice(frame);
                let admitted = exchange.admitted().clone();
                self.send_if_shown(&admitted);
                let answering = Answering::new(exchange, exposure, analysis, None);
                self.queue.push_back(Item::Query(answering));
            }
            Submitted::Refused(told, release) => {
                write::query(&mut self.batch, REFUSED_SQL)?;
                self.refuse(naming_calls(told, &analysis), release, true);
            }
        }
        Ok(Flow::Next)
    }

    fn on_parse(&mut self, parse: &Parse<'_>, frame: &[u8]) -> Result<Flow, End> {
        if self.must_settle(parse.query) {
            return Ok(Flow::Blocked);
        }
        let Some((analysis, judgement)) = self.read(parse.query) else { return Ok(Flow::Blocked) };
        let exposure = self.protection.exposure(&analysis, &self.names);
        if !judgement.allows() {
            let recorded = Recorded::statement(&self.masker, parse.query, &analysis, exposure);
            let submitted =
                self.draft("parse", recorded, |machine, draft| machine.submit(&judgement, draft))?;
            let Some(submitted) = submitted else { return Ok(Flow::Blocked) };
            if let Submitted::Refused(told, release) = submitted {
                self.refuse_extended(naming_calls(told, &analysis), release)?;
            }
            return Ok(Flow::Next);
        }
        if self.names.is_full() || self.names.is_too_heavy(parse.query.len()) {
            let told = Told::error("53000", "greffier: too many prepared statements and portals");
            let release = self.session.release();
            self.refuse_extended(told, release)?;
            return Ok(Flow::Next);
        }
        let types = parse.types.iter().collect();
        let statement = Arc::new(Prepared::new(parse.query, analysis, judgement, exposure, types));
        let previous = self.names.statements.insert(parse.name.to_vec(), statement.clone());
        self.unshown.push(statement.clone());
        self.batch.extend_from_slice(frame);
        self.queue.push_back(Item::Parse {
            name: parse.name.to_vec(),
            statement,
            previous,
            answering: None,
        });
        Ok(Flow::Next)
    }

    fn on_bind(&mut self, bind: &Bind<'_>, body: &[u8], frame: &[u8]) -> Result<(), End> {
        // A name that SQL has prepared too may mean that: then it is judged by all it may mean.
        let statement = match self.names.statements.get(bind.statement) {
            Some(statement) if !self.names.sql_prepared.contains_key(bind.statement) => {
                statement.clone()
            }
            _ => self.stranger(bind.statement, false),
        };
        if self.names.is_full() || self.names.is_too_heavy(body.len()) {
            let told = Told::error("53000", "greffier: too many prepared statements and portals");
            let release = self.session.release();
            return self.refuse_extended(told, release);
        }
        let portal = Arc::new(Portal::new(Some(statement), bind, body));
        let previous = self.names.portals.insert(bind.portal.to_vec(), portal);
        self.batch.extend_from_slice(frame);
        self.queue.push_back(Item::Bind { name: bind.portal.to_vec(), previous });
        Ok(())
    }

    /// What runs under a name that no Parse or Bind gave.
    fn stranger(&self, name: &[u8], cursor: bool) -> Arc<Prepared> {
        let known = if cursor { &self.names.cursors } else { &self.names.sql_prepared };
        let mut definitions = known.get(name).cloned().unwrap_or_default();
        if !cursor && let Some(statement) = self.names.statements.get(name) {
            definitions.push(statement.analysis.clone());
        }
        if definitions.is_empty() {
            // No text at all stands for the unknown: it can't be parsed.
            definitions.push(self.reading.nothing(b"\0"));
        }
        stranger(self, &definitions, name)
    }

    fn on_describe(&mut self, target: Target<'_>, frame: &[u8]) {
        self.batch.extend_from_slice(frame);
        let statement = match target {
            Target::Statement(name) => match self.names.statements.get(name) {
                Some(statement) => statement.clone(),
                None => self.stranger(name, false),
            },
            Target::Portal(name) => {
                match self.names.portals.get(name).and_then(|portal| portal.statement.clone()) {
                    Some(statement) => statement,
                    None => self.stranger(name, true),
                }
            }
        };
        statement.set_describing();
        self.queue.push_back(Item::Describe { statement, ours: false });
    }

    fn on_execute(&mut self, name: &[u8], frame: &[u8]) -> Result<Flow, End> {
        let known = self.names.portals.get(name).cloned();
        let portal = match known {
            Some(portal) => portal,
            None => {
                // A cursor that SQL declared: portals and cursors share their names.
                let statement = self.stranger(name, true);
                let portal = Arc::new(Portal::unbound(statement));
                self.names.portals.insert(name.to_vec(), portal.clone());
                portal
            }
        };
        let Some(statement) = portal.statement.clone() else { return Ok(Flow::Next) };
        let via = if portal.runs_again() { "continue" } else { "extended" };
        let recorded = Recorded::statement(
            &self.masker,
            &statement.sql,
            &statement.analysis,
            statement.exposure,
        )
        .with_parameters(&self.masker, &portal);
        let submitted = self
            .draft(via, recorded, |machine, draft| machine.submit(&statement.judgement, draft))?;
        let Some(submitted) = submitted else { return Ok(Flow::Blocked) };
        portal.set_run();
        match submitted {
            Submitted::Admitted(exchange) => {
                self.note_definitions(&statement.analysis)?;
                if !statement.described() {
                    // Rows would come whose columns nobody has named: we ask, and keep the
                    // answer to ourselves.
                    write::describe(&mut self.batch, Target::Portal(name))?;
                    statement.set_describing();
                    let statement = statement.clone();
                    self.queue.push_back(Item::Describe { statement, ours: true });
                }
                self.unshown.retain(|unshown| !Arc::ptr_eq(unshown, &statement));
                self.batch.extend_from_slice(frame);
                let admitted = exchange.admitted().clone();
                self.send_if_shown(&admitted);
                let (exposure, analysis) = (statement.exposure, statement.analysis.clone());
                let answering = Answering::new(exchange, exposure, analysis, Some(portal));
                self.queue.push_back(Item::Execute(answering));
            }
            Submitted::Refused(told, release) => self.refuse_extended(told, release)?,
        }
        Ok(Flow::Next)
    }

    fn on_close(&mut self, target: Target<'_>, frame: &[u8]) {
        self.batch.extend_from_slice(frame);
        self.queue.push_back(match target {
            Target::Statement(name) => {
                let previous = self.names.statements.remove(name);
                Item::CloseStatement { name: name.to_vec(), previous }
            }
            Target::Portal(name) => {
                let previous = self.names.portals.remove(name);
                Item::ClosePortal { name: name.to_vec(), previous }
            }
        });
    }

    fn on_function(&mut self, function: u32, frame: &[u8]) -> Result<Flow, End> {
        let text = format!("function {function}");
        let resource = policy::Resource {
            name: &text,
            naming: policy::Naming::Whole,
            access: policy::Access::Write,
        };
        let class = postgres_grammar::Class::Admin.name();
        let action = policy::Action {
            resources: &[resource],
            ..policy::Action::plain(FUNCTION_CALL, class)
        };
        let mut judgement = self.session.judge(&[action], FUNCTION_CALL.into(), class);
        if self.protection.is_active() {
            judgement = judgement
                .forbid(super::protect::RULE, "a function call can't be followed to its columns");
        }
        let nothing = self.reading.nothing(b"");
        let exposure = self.protection.unknown();
        let recorded = Recorded::statement(&self.masker, text.as_bytes(), &nothing, exposure);
        let submitted = self
            .draft("function_call", recorded, |machine, draft| machine.submit(&judgement, draft))?;
        let Some(submitted) = submitted else { return Ok(Flow::Blocked) };
        match submitted {
            Submitted::Admitted(exchange) => {
                self.batch.extend_from_slice(frame);
                let admitted = exchange.admitted().clone();
                self.send_if_shown(&admitted);
                let answering = Answering::new(exchange, exposure, nothing, None);
                self.queue.push_back(Item::Function(answering));
            }
            Submitted::Refused(told, release) => {
                write::query(&mut self.batch, REFUSED_SQL)?;
                self.refuse(told, release, true);
            }
        }
        Ok(Flow::Next)
    }

    fn on_copy_data(&mut self, data: &[u8], frame: &[u8]) -> Result<(), End> {
        let target = self.session.clone();
        let masks = self.masker.policy().scans(Sink::Record);
        // Outside COPY the server ignores such messages; so do we.
        let Some(answering) = self.copying_in() else { return Ok(()) };
        let mut kept = Vec::new();
        if answering.exchange.keeps_data() && !answering.exposure.hides_literals() {
            if masks {
                let masking = &target.target().masking;
                let masker = answering.input.get_or_insert_with(|| masking.stream(Sink::Record));
                masker.push(data, &mut kept);
            } else {
                kept.extend_from_slice(data);
            }
        }
        let admitted = answering.exchange.input(&kept, data.len())?;
        self.batch.extend_from_slice(frame);
        self.send_if_shown(&admitted);
        Ok(())
    }

    fn on_copy_end(&mut self, frame: &[u8]) -> Result<(), End> {
        let Some(answering) = self.copying_in() else { return Ok(()) };
        let mut rest = Vec::new();
        if let Some(masker) = &mut answering.input {
            masker.finish(&mut rest);
        }
        answering.input = None;
        answering.inputs_ended += 1;
        let admitted = answering.exchange.input(&rest, 0)?;
        self.batch.extend_from_slice(frame);
        self.send_if_shown(&admitted);
        Ok(())
    }

    /// The command that COPY data belongs to: the one that the server takes data for, or the
    /// last that was sent, if it will (some clients don't wait to be asked).
    fn copying_in(&mut self) -> Option<&mut Answering> {
        let copy_in = self.copy_in;
        let index = if copy_in {
            0
        } else {
            self.queue.iter().rposition(|item| !matches!(item, Item::Sync))?
        };
        let answering = self.queue.get_mut(index).and_then(Item::answering)?;
        answering.takes_input().then_some(answering)
    }

    fn on_sync(&mut self, frame: &[u8]) {
        self.skip_to_sync = false;
        self.batch.extend_from_slice(frame);
        let in_copy = self.copy_in;
        match self.copying_in() {
            // While the server takes COPY data it ignores Sync.
            Some(answering) if in_copy && answering.inputs_ended < answering.inputs_begun => return,
            Some(answering) => answering.syncs += 1,
            None => {}
        }
        self.queue.push_back(Item::Sync);
    }

    /// The server began to take COPY data. A Sync that was sent before the data's end reaches it
    /// while it does, and is ignored (libpq sends another when the data has ended).
    pub(crate) fn begin_copy_in(&mut self, extended: bool) {
        self.copy_in = true;
        let ignored = match self.queue.front_mut().and_then(Item::answering) {
            Some(answering) => {
                answering.inputs_begun += 1;
                if extended { std::mem::take(&mut answering.syncs) } else { 0 }
            }
            None => 0,
        };
        for _ in 0..ignored {
            if matches!(self.queue.get(1), Some(Item::Sync)) {
                self.queue.remove(1);
            }
        }
    }

    fn submit(&mut self, judgement: &Judgement, draft: gate::Draft<'_>) -> Result<Submitted, End> {
        match self.session.submit(judgement, draft) {
            Ok(Submission::Admitted(exchange)) => {
                self.unsettled = true;
                Ok(Submitted::Admitted(exchange))
            }
            Ok(Submission::Refused(Refusal { cause: RefusalCause::LeaseOver(reason), .. })) => {
                Err(End::Lease(reason))
            }
            Ok(Submission::Refused(Refusal { cause, release })) => {
                Ok(Submitted::Refused(refusal::refused(&cause), release))
            }
            Err(error @ (gate::JournalError::Full | gate::JournalError::TooLarge { .. })) => {
                Ok(Submitted::Refused(refusal::unrecorded(error), self.session.release()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Puts a statement on record that was parsed but not run with what was read. `None`: it is
    /// long, and has to wait.
    fn show(&mut self, statement: &Arc<Prepared>) -> Result<Option<gate::Admitted>, End> {
        let (sql, analysis) = (&statement.sql, &statement.analysis);
        let recorded = Recorded::statement(&self.masker, sql, analysis, statement.exposure);
        let submitted = self.draft("parse", recorded, |machine, draft| {
            machine.submit(&statement.judgement, draft)
        })?;
        match submitted {
            None => Ok(None),
            Some(Submitted::Admitted(exchange)) => {
                let admitted = exchange.admitted().clone();
                let made = Answering::new(exchange, statement.exposure, analysis.clone(), None);
                let item = self.queue.iter_mut().rev().find_map(|item| match item {
                    Item::Parse { statement: parsed, answering, .. }
                        if Arc::ptr_eq(parsed, statement) =>
                    {
                        Some(answering)
                    }
                    _ => None,
                });
                if let Some(answering) = item {
                    *answering = Some(made);
                }
                Ok(Some(admitted))
            }
            // It was allowed when it was parsed: only a full log refuses it now. The messages
            // that wait have not left, but the queue counts on them.
            Some(Submitted::Refused(..)) => Err(gate::JournalError::Full.into()),
        }
    }

    fn refuse_extended(&mut self, told: Told, release: Release) -> Result<(), End> {
        write::parse(&mut self.batch, b"", REFUSED_SQL, &[])?;
        self.refuse(told, release, false);
        // Whatever follows up to the next Sync would be ignored by the server.
        self.skip_to_sync = true;
        Ok(())
    }

    fn refuse(&mut self, told: Told, release: Release, simple: bool) {
        self.queue.push_back(Item::Refused {
            told: Box::new(told),
            release,
            simple,
            answered: false,
        });
        if simple {
            let admitted = self.session.admitted();
            self.send_if_shown(&admitted);
        }
    }

    /// Sends what waits, unless it holds a Parse that no entry shows: then it waits for the end
    /// of what was read.
    fn send_if_shown(&mut self, admitted: &gate::Admitted) {
        if self.unshown.is_empty() {
            self.send(admitted);
        }
    }

    /// Keeps what SQL-level PREPARE and DECLARE CURSOR define, and drops what a lone DEALLOCATE
    /// or DISCARD ends.
    fn note_definitions(&mut self, analysis: &Arc<Analysis>) -> Result<(), End> {
        for statement in &analysis.statements {
            self.note_definition(statement, analysis);
        }
        if self.names.is_full() {
            return Err(End::Refused("too many prepared statements and cursors"));
        }
        Ok(())
    }

    fn note_definition(&mut self, statement: &Statement, analysis: &Arc<Analysis>) {
        match &statement.detail {
            Detail::Prepare { name } => {
                self.names.define(false, name, definition(statement, analysis));
            }
            Detail::DeclareCursor { name, .. } => {
                self.names.define(true, name, definition(statement, analysis));
                self.names.portals.remove(name.as_bytes());
            }
            // What a portal's name means afterwards is not what was bound.
            Detail::CloseCursor { .. } | Detail::Transaction(_) | Detail::Discard { .. } => {
                self.names.portals.clear();
            }
            _ => self.protection.note_own(statement),
        }
    }
}

/// Says of a refused statement what it calls that makes it a write: its text may not look like one.
fn naming_calls(mut told: Told, analysis: &Analysis) -> Told {
    if let (Some(detail), Some(name)) =
        (&mut told.detail, analysis.statements.iter().find_map(|it| it.unlisted.first()))
    {
        detail.push_str(&format!(" It calls {name}, which may write."));
    }
    told
}

/// Whether two readings of a text tell of different statements.
fn differs(one: &Analysis, other: &Analysis) -> bool {
    let tags = |analysis: &Analysis| -> Vec<&'static str> {
        analysis.statements.iter().map(|statement| statement.tag).collect()
    };
    one.parse_error.is_some() != other.parse_error.is_some()
        || tags(one) != tags(other)
        || one.class != other.class
}

/// The statement that a PREPARE or DECLARE defines, as a text of its own.
fn definition(statement: &Statement, outer: &Analysis) -> Analysis {
    Analysis {
        statements: statement.inner.clone(),
        parse_error: None,
        class: statement.class,
        literals: outer.literals.clone(),
    }
}

/// What became of a draft.
pub(crate) enum Submitted {
    Admitted(Box<gate::Exchange>),
    Refused(Told, Release),
}
