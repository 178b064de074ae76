//! A program, or a forwarded connection, on its way through the gate.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::task::{Context, Poll};

use bytes::Bytes;
use gate::{
    Draft, Grow, JournalError, Judgement, MAX_INLINE_TEXT, Object, Release, Spill, Submission,
};
use masking::Receipt;
use policy::Access;
use records::{Text, Trace};

use super::files::{Protocol, Transfer, scp};
use super::requests::Start;
use super::stream::{Recording, Running};
use super::{Answer, Channel, Run, Shared, judge};
use crate::refusal;
use crate::relay::End;
use crate::side::Side;

/// How much of a text that is kept as objects stands in its entry too, in bytes.
const TEXT_BEGINNING: usize = 512;

/// A program that was judged, and what else its entry says.
struct Asked {
    via: &'static str,
    /// The line or the subsystem's name, masked for the record; none for a shell.
    text: Option<Vec<u8>>,
    text_bytes: usize,
    receipt: Receipt,
    judgement: Judgement,
    parsed: Option<bool>,
    packet: Bytes,
    want_reply: bool,
    /// What it transfers files by.
    transfer: Option<Protocol>,
}

/// A program whose text is too long for an entry.
pub(super) struct Spilling {
    asked: Asked,
    spill: Spill,
}

impl Channel {
    /// Judges a program and puts it on record; then it is started, or refused.
    pub(super) fn start(
        &mut self,
        start: Start<'_>,
        want_reply: bool,
        shared: &mut Shared,
    ) -> Result<(), End> {
        let asked = self.asked(start, want_reply, shared);
        let is_long = asked.text.as_ref().is_some_and(|text| text.len() > MAX_INLINE_TEXT);
        if !is_long {
            return self.submit(asked, &[], shared);
        }
        match shared.session.spill(asked.text.as_deref().unwrap_or_default()) {
            Ok(spill) => {
                self.run = Run::Spilling(Box::new(Spilling { asked, spill }));
                Ok(())
            }
            Err(error) => self.unrecorded(error, want_reply, shared),
        }
    }

    fn asked(&self, start: Start<'_>, want_reply: bool, shared: &Shared) -> Asked {
        let session = &shared.session;
        let allow = shared.rules.allow;
        let pty = self.setup.pty.is_some();
        let flags: &[&'static str] = if pty { &["pty"] } else { &[] };
        let mut receipt = Receipt::new();
        let mut transfer = None;
        let (via, line, judgement, parsed) = match start {
            Start::Exec(line) => {
                let judged = judge::exec(session, line, pty);
                // A terminal changes what passes: nobody transfers files by one.
                let program = if pty { Program::Other } else { program(line) };
                let (allowed, what) = match program {
                    Program::Scp(_) => (allow.scp, "scp of the old protocol (scp -O)"),
                    Program::Sftp => (allow.sftp, "sftp"),
                    Program::Other => (allow.exec, "command lines (exec)"),
                };
                transfer = match program {
                    Program::Scp(line) => Some(Protocol::Scp(line)),
                    Program::Sftp => Some(Protocol::Sftp),
                    Program::Other => None,
                };
                let judgement = judge::gated(judged.judgement, allowed, what);
                ("exec", Some(line), judgement, Some(judged.parsed))
            }
            Start::Shell => {
                let judgement = judge::one(session, "shell", "shell", None, flags);
                ("shell", None, judge::gated(judgement, allow.shell, "shells"), None)
            }
            Start::Subsystem(name) => {
                let known = name == b"sftp" && !pty;
                if known {
                    transfer = Some(Protocol::Sftp);
                }
                let class = if known { "session" } else { "unknown" };
                let text = String::from_utf8_lossy(name);
                let resource = Some((text.as_ref(), Access::Write));
                let judgement = judge::one(session, "subsystem", class, resource, flags);
                let judgement = judge::gated(judgement, known && allow.sftp, "such subsystem");
                ("subsystem", Some(name), judgement, None)
            }
        };
        Asked {
            via,
            text: line.map(|line| shared.recorded(line, &mut receipt).into_owned()),
            text_bytes: line.map_or(0, <[u8]>::len),
            receipt,
            judgement,
            parsed,
            packet: self.start_packet(via.as_bytes(), want_reply, line),
            want_reply,
            transfer,
        }
    }

    pub(super) fn poll_spilling(
        &mut self,
        cx: &mut Context<'_>,
        shared: &mut Shared,
    ) -> Result<(), End> {
        let Run::Spilling(spilling) = &mut self.run else { return Ok(()) };
        let Poll::Ready(spilled) = spilling.spill.poll(cx) else { return Ok(()) };
        let Run::Spilling(spilling) = std::mem::replace(&mut self.run, Run::Idle) else {
            return Ok(());
        };
        let Spilling { asked, .. } = *spilling;
        match spilled {
            Ok(objects) => self.submit(asked, &objects, shared),
            Err(error) => self.unrecorded(error, asked.want_reply, shared),
        }
    }

    fn submit(&mut self, asked: Asked, objects: &[Object], shared: &mut Shared) -> Result<(), End> {
        let terminal = self.setup.pty.is_some();
        let draft = self.draft(&asked, objects, shared);
        let mut exchange = match shared.session.submit(&asked.judgement, draft) {
            Ok(Submission::Admitted(exchange)) => exchange,
            Ok(Submission::Refused(refusal)) => {
                let text = refusal::refused(&refusal.cause);
                return self.refuse(text, refusal.release, asked.want_reply, shared);
            }
            Err(error) => return self.unrecorded(error, asked.want_reply, shared),
        };
        let recording = Recording {
            terminal,
            record_input: shared.rules.record_input,
            mask_client: if terminal { shared.rules.mask_terminal } else { asked.via == "exec" },
        };
        let admitted = exchange.admitted().clone();
        self.transfer = match asked.transfer.clone() {
            Some(protocol) => {
                let trace = self.trace(&mut Receipt::new(), shared);
                Some(Box::new(Transfer::new(protocol, (&mut exchange, trace), shared)?))
            }
            None => None,
        };
        let mut running = Running::new(exchange, &shared.masking, recording);
        if let Some(pty) = &self.setup.pty {
            running.resize(pty.columns, pty.rows);
        }
        self.run = Run::Running(Box::new(running));
        if asked.want_reply {
            let answers = &mut self.answers.client;
            answers.forwarded().map_err(|e| End::violation(Side::Client, e.to_string()))?;
        }
        self.to_target.packet(&admitted, asked.packet);
        Ok(())
    }

    fn draft<'a>(&self, asked: &'a Asked, objects: &'a [Object], shared: &Shared) -> Draft<'a> {
        let mut receipt = asked.receipt;
        let mut details: BTreeMap<Cow<'a, str>, Text<'a>> = BTreeMap::new();
        details.insert("login".into(), shared.login.clone().into());
        if let Some(parsed) = asked.parsed {
            details.insert("parsed".into(), if parsed { "words" } else { "unknown" }.into());
        }
        if let Some(pty) = &self.setup.pty {
            let term = shared.recorded(&pty.term, &mut receipt);
            details.insert("pty".into(), "true".into());
            details.insert("term".into(), text(&term));
            details.insert("size".into(), format!("{}x{}", pty.columns, pty.rows).into());
        }
        for (name, value) in &self.setup.env {
            let value = shared.recorded(value, &mut receipt);
            let name = format!("env.{}", String::from_utf8_lossy(name));
            details.insert(name.into(), text(&value));
        }
        let trace = self.trace(&mut receipt, shared);
        let kept = asked.text.as_deref().map(|text| {
            let inline = if objects.is_empty() { text.len() } else { TEXT_BEGINNING };
            Text::from_bytes(text.get(..inline).unwrap_or(text))
        });
        Draft {
            via: asked.via,
            text: kept,
            text_bytes: asked.text_bytes as u64,
            text_objects: objects,
            masked: super::masked(&receipt, Some(&shared.masking)),
            media: terminal::frames::MEDIA,
            trace,
            details,
            grow: if self.setup.pty.is_some() { Grow::Entries } else { Grow::Chunks },
            ..Draft::default()
        }
    }

    /// Which run of which agent the program belongs to, as the record may keep it.
    fn trace(&self, receipt: &mut Receipt, shared: &Shared) -> Option<Trace<'static>> {
        let trace = self.setup.trace()?;
        Some(trace.masked(|text| {
            let kept = shared.recorded(text.as_bytes(), receipt);
            (*kept != *text.as_bytes()).then(|| String::from_utf8_lossy(&kept).into_owned())
        }))
    }

    /// The program does not run; the client is told when its turn has come.
    fn refuse(
        &mut self,
        text: String,
        release: Release,
        want_reply: bool,
        shared: &mut Shared,
    ) -> Result<(), End> {
        if want_reply {
            let answers = &mut self.answers.client;
            answers
                .answered(Answer::Success)
                .map_err(|e| End::violation(Side::Client, e.to_string()))?;
        }
        self.run = Run::Refusing(text, release);
        self.flush_answers(shared)
    }

    /// The program can't be put on record, so it does not run.
    fn unrecorded(
        &mut self,
        error: JournalError,
        want_reply: bool,
        shared: &mut Shared,
    ) -> Result<(), End> {
        match error {
            JournalError::Full | JournalError::TooLarge { .. } => {
                let release = shared.session.release();
                self.refuse(refusal::unrecorded(error), release, want_reply, shared)
            }
            JournalError::Failed | JournalError::Closed => Err(error.into()),
        }
    }
}

fn text(bytes: &[u8]) -> Text<'static> {
    String::from_utf8_lossy(bytes).into_owned().into()
}

/// What a command line runs, as far as it says what the channel's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Program {
    /// The far end of `scp` of the old protocol, and nothing else.
    Scp(scp::Line),
    /// An sftp server, and nothing else: what OpenSSH's `sftp -s PATH` and old clients ask for.
    Sftp,
    Other,
}

fn program(line: &[u8]) -> Program {
    let read = shell_grammar::read(line);
    let [command] = read.commands.as_slice() else { return Program::Other };
    let Some((program, words)) = command.words.split_first() else { return Program::Other };
    let program = program.bytes();
    let name = program.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let alone =
        read.unparsed.is_none() && command.redirects.is_empty() && command.assignments.is_empty();
    match name {
        b"scp" if alone => scp::Line::read(words).map_or(Program::Other, Program::Scp),
        b"sftp-server" if alone => Program::Sftp,
        _ => Program::Other,
    }
}

/// For the fuzzer.
pub(super) fn fuzz(line: &[u8]) {
    if let Program::Scp(line) = program(line) {
        scp::fuzz(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lone_scp_is_scp() {
        for line in ["sftp-server", "/usr/lib/openssh/sftp-server -R"] {
            assert_eq!(program(line.as_bytes()), Program::Sftp, "{line}");
        }
        for line in ["scp -t /tmp/x", "scp -r -v -f .", "/usr/bin/scp -p -t -- /tmp"] {
            assert!(matches!(program(line.as_bytes()), Program::Scp(_)), "{line}");
        }
        for line in [
            "scp a b:",
            "scp -t x; id",
            "scp -t x > y",
            "X=1 scp -t x",
            "scp -t $(id)",
            "sh -c 'scp -t x'",
            "sftp-server; id",
            "sh -c sftp-server",
        ] {
            assert_eq!(program(line.as_bytes()), Program::Other, "{line}");
        }
    }
}
