//! `greffier audit`.

mod har;
mod list;
mod player;
mod replay;
mod show;
mod tail;
mod trace;

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use records::Timestamp;
use trail::{Exchange, Filter, Item};

use crate::error::Error;

/// Ways to read the record.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List commands (or sessions) that fit, oldest first.
    List(list::Arguments),
    /// Show one session, or one command with its statement, values, verdict, outcome and rows.
    Show(show::Arguments),
    /// Play a recorded shell or program again, list the commands typed in it, or export it.
    Replay(replay::Arguments),
    /// Show every command that carries a trace id, from several logs, as a tree.
    Trace(trace::Arguments),
    /// Write recorded HTTP exchanges as an HTTP Archive (HAR 1.2).
    Har(har::Arguments),
    /// Follow the record as it is published.
    Tail(tail::Arguments),
}

pub(crate) fn run(command: Command) -> Result<ExitCode, Error> {
    match command {
        Command::List(arguments) => list::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Trace(arguments) => trace::run(&arguments),
        Command::Har(arguments) => har::run(&arguments),
        Command::Tail(arguments) => tail::run(&arguments),
    }
}

/// Which exchanges.
#[derive(Debug, Args)]
struct Filters {
    /// Who acted, or for whom: the subject.
    #[arg(long, value_name = "SUBJECT")]
    principal: Option<String>,

    /// The target's name.
    #[arg(long, value_name = "NAME")]
    target: Option<String>,

    /// Not before: 15m, 2h, 3d (ago), 2026-11-23, or 2026-11-23T16:00:00Z.
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,

    /// What was decided. Clients that got no session count as denied.
    #[arg(long)]
    verdict: Option<Verdict>,

    /// The session's id, or its beginning.
    #[arg(long, value_name = "ID")]
    session: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Verdict {
    Allow,
    Deny,
    Hold,
}

impl Filters {
    fn filter(&self) -> Result<Filter, Error> {
        let moment = |text: &String| trail::moment(text, Timestamp::now());
        let since = self.since.as_ref().map(moment).transpose();
        let verdict = |verdict| match verdict {
            Verdict::Allow => "allow",
            Verdict::Deny => "deny",
            Verdict::Hold => "hold",
        };
        Ok(Filter {
            principal: self.principal.clone(),
            target: self.target.clone(),
            since: since.map_err(|e| Error::Argument(format!("--since: {e}")))?,
            verdict: self.verdict.map(|v| verdict(v).to_owned()),
            session: self.session.clone(),
        })
    }
}

/// The headings of [`cells`].
const HEAD: [&str; 10] =
    ["id", "time", "who", "for", "target", "statement", "verdict", "rule", "rows", "masked"];

/// One line about an item; none about what is no exchange and no refusal.
fn cells(item: &Item) -> Option<[String; 10]> {
    match item {
        Item::Exchange(exchange) => Some(exchange_cells(exchange)),
        Item::Refused(refused) => {
            let (who, whom) = match &refused.principal {
                Some(who) => (who.subject.clone(), who.for_whom()),
                None => ("?".to_owned(), "-".to_owned()),
            };
            Some([
                format!("#{}", refused.index),
                time(refused.time),
                who,
                whom,
                refused.target.clone(),
                format!("(connect from {})", refused.peer),
                "refused".to_owned(),
                refused.cause.clone(),
                String::new(),
                String::new(),
            ])
        }
        _ => None,
    }
}

fn exchange_cells(exchange: &Exchange) -> [String; 10] {
    let masked = exchange.all_masked();
    let masked: Vec<String> = masked.iter().map(|(e, count)| format!("{e} {count}")).collect();
    let verdict = match exchange.outcome_word() {
        "ok" | "refused" => exchange.verdict.clone(),
        other => format!("{}, {other}", exchange.verdict),
    };
    [
        exchange.id(),
        time(exchange.time),
        exchange.principal.subject.clone(),
        exchange.principal.for_whom(),
        exchange.target.clone(),
        exchange.text.clone().unwrap_or_else(|| exchange.operation.clone()),
        verdict,
        exchange.rule.clone(),
        exchange.outcome.as_ref().map_or(String::new(), |o| o.rows_touched().to_string()),
        masked.join(", "),
    ]
}

/// A time to the second, without the `T`.
fn time(time: Timestamp) -> String {
    let text = time.to_string();
    text.get(..19).unwrap_or(&text).replace('T', " ")
}

/// One line of JSON about an item.
fn json_line(item: &Item) -> String {
    // Made of strings, numbers and maps with string keys: it can't fail.
    serde_json::to_string(item).unwrap_or_default()
}
