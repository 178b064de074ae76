//! How it is told: for people, or as JSON lines.

use std::io::Write;

use serde::Serialize;
use trail::term::{Style, Table, sanitise};
use trail::{Checked, Exchange, Item};

use crate::{Answered, Check, Got, Outcome, Refusal, Said};

/// Stands in [`Event::Serving`]'s commands for how the reader calls the operator's command.
pub(crate) const PROGRAM: &str = "{greffier}";

/// Something to tell.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A new part begins.
    Part {
        /// Its title.
        title: &'a str,
    },
    /// Something is up.
    Ready {
        /// What.
        what: &'a str,
        /// Where.
        place: &'a str,
    },
    /// The agent sends a statement, a command, a request or a message.
    Sent {
        /// The statement.
        sql: &'a str,
        /// Bound values.
        values: &'a [String],
    },
    /// It got an answer.
    Got(&'a Got),
    /// It was refused.
    Refused(&'a Refusal),
    /// What a command over SSH said.
    Said(&'a Said),
    /// A request over HTTP was answered.
    Answered(&'a Answered),
    /// The trail.
    Trail {
        /// What it holds.
        items: &'a [Item],
        /// What a command is called.
        noun: &'static str,
    },
    /// The log was verified.
    Verified(&'a Checked),
    /// A bit of the copy was flipped.
    Flipped {
        /// The object in the store.
        object: &'a str,
        /// Where in it.
        offset: usize,
        /// The entry that stands there.
        entry: u64,
    },
    /// Where things are.
    Kept(&'a Outcome),
    /// It stays up.
    Serving {
        /// The proxy's port.
        port: u16,
        /// A token that is good there.
        token: &'a str,
        /// How to try it, as lines for a shell.
        commands: &'a [String],
        /// Where the log is.
        outcome: &'a Outcome,
    },
    /// It is over.
    Done(&'a Outcome),
}

/// Who tells it.
pub trait Narrator: Send {
    /// Tells something.
    fn tell(&mut self, event: &Event<'_>);
    /// Tells whether an expectation held.
    fn check(&mut self, check: Check);
}

/// For people. A reader who goes away (a closed pipe) does not end the demonstration.
#[derive(Debug)]
pub struct Text<W> {
    out: W,
    style: Style,
    program: String,
}

impl<W: Write + Send> Text<W> {
    /// Writes there, in this style. `program` is how the reader calls the operator's command.
    pub fn new(out: W, style: Style, program: &str) -> Self {
        Text { out, style, program: program.to_owned() }
    }

    fn line(&mut self, line: &str) {
        let _reader_gone = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
    }

    fn table(&mut self, table: &Table) {
        let text = table.render(self.style);
        self.line(text.trim_end_matches('\n'));
    }

    fn got(&mut self, got: &Got) {
        if let Some(changed) = got.changed {
            let plural = if changed == 1 { "" } else { "s" };
            return self.line(&format!("  {changed} row{plural} changed"));
        }
        let mut table = Table::new(&got.columns).indent(2);
        for row in &got.rows {
            table.row(row.iter().map(|cell| cell.as_deref().unwrap_or("NULL")));
        }
        self.table(&table);
    }

    fn refused(&mut self, refusal: &Refusal) {
        let text = format!("  {}: {}", refusal.code, sanitise(&refusal.message));
        self.line(&self.style.bad(&text));
        for (word, more) in [("detail", &refusal.detail), ("hint", &refusal.hint)] {
            if let Some(more) = more {
                self.line(&format!("  {word}: {}", sanitise(more)));
            }
        }
    }

    fn said(&mut self, said: &Said) {
        for (text, bad) in [(&said.out, false), (&said.err, true)] {
            for line in text.lines() {
                let line = format!("  {}", sanitise(line));
                let line = if bad { self.style.bad(&line) } else { line };
                self.line(&line);
            }
        }
        if let Some(status) = said.status.filter(|status| *status != 0) {
            self.line(&self.style.dim(&format!("  exit status {status}")));
        }
    }

    fn answered(&mut self, answered: &Answered) {
        let status = format!("  {} {}", answered.status, answered.reason);
        let status = if answered.status < 400 { status } else { self.style.bad(&status) };
        self.line(&status);
        for line in answered.body.lines() {
            self.line(&format!("  {}", sanitise(line)));
        }
    }

    fn trail(&mut self, items: &[Item], noun: &str) {
        let last = match noun {
            "statement" => "rows",
            "command" => "exit",
            _ => "status",
        };
        let head = ["time", "who", "for", noun, "verdict", "rule", last, "masked"];
        let mut table = Table::new(head).indent(2).cell_width(44);
        for item in items {
            match item {
                Item::Exchange(exchange) => table.row(exchange_cells(exchange)),
                Item::Refused(refused) => {
                    let why = format!("token {}", refused.cause);
                    let time = clock(&refused.time.to_string());
                    table.row([&time, "?", "-", "(connect)", "refused", &why, "", ""]);
                }
                _ => {}
            }
        }
        self.table(&table);
    }

    fn verified(&mut self, checked: &Checked) {
        let report = &checked.report;
        self.line(&format!(
            "  recomputed from {} entries; checkpoints: {}, tiles and bundles: {}",
            report.entries, report.checkpoints, report.tiles
        ));
        if let Some(head) = &report.head {
            let root = head.root.to_base64();
            self.line(&format!("  signed head: {} entries, root {root}", head.size));
        }
        for failure in checked.failures() {
            let text = format!("  {}", sanitise(&failure.to_string()));
            self.line(&self.style.bad(&text));
        }
    }

    fn serving(&mut self, event: &Event<'_>) {
        let Event::Serving { commands, outcome, .. } = event else { return };
        self.line("");
        self.line(&self.style.bold("Serving until Ctrl-C. Try it as the agent (token: one hour)"));
        for command in *commands {
            self.line(&format!("  {}", command.replace(PROGRAM, &self.program)));
        }
        self.line("See the trail meanwhile");
        self.line(&format!(
            "  {} audit tail --store {} --log-id {} --key {}",
            self.program,
            outcome.store.display(),
            outcome.log_id,
            outcome.key.display()
        ));
    }

    fn kept(&mut self, outcome: &Outcome) {
        self.line("");
        self.line(&self.style.bold("It is all still there"));
        let store = outcome.store.display();
        let rest =
            format!("--store {store} --log-id {} --key {}", outcome.log_id, outcome.key.display());
        self.line(&format!("  {} audit list {rest}", self.program));
        if let Some(recording) = &outcome.replay {
            self.line(&format!("  {} audit replay {recording} {rest}", self.program));
        }
        self.line(&format!("  {} verify {rest}", self.program));
    }

    fn done(&mut self, outcome: &Outcome) {
        let held = outcome.checks.iter().filter(|check| check.held).count();
        let text = format!("{held} of {} expectations held", outcome.checks.len());
        let text = if outcome.is_ok() { self.style.good(&text) } else { self.style.bad(&text) };
        self.line("");
        self.line(&text);
    }
}

impl<W: Write + Send> Narrator for Text<W> {
    fn tell(&mut self, event: &Event<'_>) {
        match event {
            Event::Part { title } => {
                self.line("");
                self.line(&self.style.bold(title));
            }
            Event::Ready { what, place } => self.line(&format!("  {what:<8}{}", sanitise(place))),
            Event::Sent { sql, values } => {
                let bound = if values.is_empty() {
                    String::new()
                } else {
                    format!("   [{}]", values.join(", "))
                };
                self.line(&format!("{} {sql}{bound}", self.style.dim(">")));
            }
            Event::Got(got) => self.got(got),
            Event::Refused(refusal) => self.refused(refusal),
            Event::Said(said) => self.said(said),
            Event::Answered(answered) => self.answered(answered),
            Event::Trail { items, noun } => self.trail(items, noun),
            Event::Verified(checked) => self.verified(checked),
            Event::Flipped { object, offset, entry } => {
                self.line(&format!("  byte {offset} of {object}, in entry {entry}"));
            }
            Event::Kept(outcome) => self.kept(outcome),
            Event::Serving { .. } => self.serving(event),
            Event::Done(outcome) => self.done(outcome),
        }
    }

    fn check(&mut self, check: Check) {
        let text = if check.held {
            self.style.good(&format!("  ok: {}", check.name))
        } else {
            self.style.bad(&format!("  NOT SO: {}", check.name))
        };
        self.line(&text);
    }
}

fn exchange_cells(exchange: &Exchange) -> [String; 8] {
    let masked = exchange.all_masked();
    let masked: Vec<String> = masked.iter().map(|(e, count)| format!("{e} {count}")).collect();
    let rows = exchange.outcome.as_ref().map_or(String::new(), |outcome| {
        let web = matches!(exchange.via.as_str(), "http/1.1" | "h2");
        let status = outcome.code.as_ref().filter(|_| web);
        let status = outcome.details.get("exit_status").or(status).cloned();
        status.unwrap_or_else(|| outcome.rows_touched().to_string())
    });
    [
        clock(&exchange.time.to_string()),
        exchange.principal.subject.clone(),
        exchange.principal.for_whom(),
        exchange.text.clone().unwrap_or_else(|| exchange.operation.clone()),
        exchange.verdict.clone(),
        exchange.rule.clone(),
        rows,
        masked.join(", "),
    ]
}

/// The time of day of a time of RFC 3339, to milliseconds.
fn clock(time: &str) -> String {
    time.get(11..23).unwrap_or(time).to_owned()
}

/// One JSON object a line.
#[derive(Debug)]
pub struct Json<W>(W);

impl<W: Write + Send> Json<W> {
    /// Writes there.
    pub fn new(out: W) -> Self {
        Json(out)
    }

    fn line(&mut self, event: &str, body: impl Serialize) {
        let line = serde_json::json!({ "event": event, "data": body });
        let _reader_gone = writeln!(self.0, "{line}").and_then(|()| self.0.flush());
    }
}

impl<W: Write + Send> Narrator for Json<W> {
    fn tell(&mut self, event: &Event<'_>) {
        use serde_json::json;
        match event {
            Event::Part { title } => self.line("part", title),
            Event::Ready { what, place } => {
                self.line("ready", json!({ "what": what, "place": place }));
            }
            Event::Sent { sql, values } => {
                self.line("sent", json!({ "sql": sql, "values": values }));
            }
            Event::Got(got) => self.line("got", got),
            Event::Refused(refusal) => self.line("refused", refusal),
            Event::Said(said) => self.line("said", said),
            Event::Answered(answered) => self.line("answered", answered),
            Event::Trail { items, .. } => self.line("trail", items),
            Event::Verified(checked) => {
                let failures: Vec<String> = checked.failures().map(ToString::to_string).collect();
                let head = checked.report.head.as_ref().map(|head| head.encode());
                self.line(
                    "verified",
                    json!({
                        "ok": checked.is_ok(), "head": head, "entries": checked.report.entries,
                        "chunks": checked.chunks, "failures": failures,
                    }),
                );
            }
            Event::Flipped { object, offset, entry } => {
                self.line("flipped", json!({ "object": object, "offset": offset, "entry": entry }));
            }
            Event::Kept(outcome) => self.line("kept", outcome),
            Event::Serving { port, token, commands, .. } => {
                self.line("serving", json!({ "port": port, "token": token, "commands": commands }));
            }
            Event::Done(outcome) => {
                self.line("done", json!({ "ok": outcome.is_ok(), "outcome": outcome }));
            }
        }
    }

    fn check(&mut self, check: Check) {
        self.line("check", check);
    }
}
