//! `greffier audit show`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use audit_sink::store::Store;
use clap::Args;
use serde_json::json;
use trail::term::{CELL_WIDTH, Style, Table, sanitise};
use trail::{Answer, Exchange, Filter, Item, Joiner, Look, Part, SessionOpened};

use super::{HEAD, cells, json_line, time};
use crate::error::Error;
use crate::place::{Place, block_on, style};

/// The most of a recorded answer that is fetched to show it, in bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// The most of a long statement that is shown unless all of it is asked for, in bytes.
const MAX_TEXT: usize = 16 * 1024;
/// Entries that the first look takes in.
pub(super) const FIRST_LOOK: u64 = 1024;
/// The length of a session's whole id.
const WHOLE_ID: usize = 36;
/// What recorded answers of PostgreSQL are.
const POSTGRES: &str = "postgres-backend";

/// Shows one session (its id, or the id's beginning), one command (`SESSION/NUMBER`), or what an
/// entry is about (`#INDEX`).
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  greffier audit show 0192c0de\n  greffier audit show 0192c0de-1111-7222-8333-444455556666/3 --rows 500\n  greffier audit show '#17'"
)]
pub(crate) struct Arguments {
    /// SESSION, SESSION/NUMBER, or #INDEX.
    id: String,

    #[command(flatten)]
    place: Place,

    /// The most rows shown.
    #[arg(long, value_name = "N", default_value_t = 50)]
    rows: usize,

    /// The whole statement, every value and every row, however long (up to 64 MiB of each).
    #[arg(long)]
    full: bool,

    /// JSON: the command with its rows, or one object a line for a session.
    #[arg(long)]
    json: bool,
}

/// What an id names.
pub(super) enum Wanted {
    Session(String),
    Command(String, u64),
    Entry(u64),
}

impl Wanted {
    pub(super) fn parse(id: &str) -> Result<Self, Error> {
        let bad = || Error::Argument(format!("{id}: write SESSION, SESSION/NUMBER or #INDEX"));
        if let Some(index) = id.strip_prefix('#') {
            return Ok(Wanted::Entry(index.parse().map_err(|_| bad())?));
        }
        match id.split_once('/') {
            Some((session, number)) if !session.is_empty() => {
                Ok(Wanted::Command(session.to_owned(), number.parse().map_err(|_| bad())?))
            }
            None if !id.is_empty() => Ok(Wanted::Session(id.to_owned())),
            _ => Err(bad()),
        }
    }

    pub(super) fn is(&self, item: &Item) -> bool {
        match (self, item) {
            (Wanted::Session(beginning), item) => {
                let filter = Filter { session: Some(beginning.clone()), ..Filter::default() };
                filter.fits(item)
            }
            (Wanted::Command(session, number), Item::Exchange(exchange)) => {
                exchange.command == *number && exchange.session.starts_with(session.as_str())
            }
            (Wanted::Command(..), _) => false,
            (Wanted::Entry(index), Item::Exchange(exchange)) => {
                let outcome = exchange.outcome.as_ref().map(|outcome| outcome.index);
                exchange.index == *index || outcome == Some(*index)
            }
            (Wanted::Entry(index), Item::Refused(refused)) => refused.index == *index,
            (Wanted::Entry(index), Item::SessionStart(start)) => start.index == *index,
            (Wanted::Entry(index), Item::SessionEnd(end)) => end.index == *index,
            (Wanted::Entry(index), Item::Instance(instance)) => instance.index == *index,
            (Wanted::Entry(index), Item::Unknown(unknown)) => unknown.index == *index,
        }
    }
}

impl Wanted {
    /// Whether nothing older can belong to it.
    pub(super) fn is_whole(&self, items: &[Item]) -> bool {
        match self {
            // A beginning may be another session's, too: all of the log is looked at.
            Wanted::Session(id) | Wanted::Command(id, _) if id.len() < WHOLE_ID => false,
            Wanted::Session(_) => items.iter().any(|item| matches!(item, Item::SessionStart(_))),
            Wanted::Command(..) | Wanted::Entry(_) => !items.is_empty(),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let (log, key) = arguments.place.open()?;
    let wanted = Wanted::parse(&arguments.id)?;
    let text = block_on(async {
        // A session's answers are not shown, and may be large.
        let lean = matches!(wanted, Wanted::Session(_));
        let keep = |item: Item| wanted.is(&item).then(|| if lean { bare(item) } else { item });
        let enough = |look: &Look<'_>| wanted.is_whole(look.items);
        let mut found =
            trail::look_back(&log, &key, FIRST_LOOK, Joiner::with_answers, keep, enough).await?;
        if let ([Item::Exchange(exchange)], false) = (found.as_mut_slice(), lean) {
            return shown(log.store(), exchange, arguments).await;
        }
        match found.as_slice() {
            [] => {
                Err(Error::Argument(format!("{}: nothing of the kind is on record", arguments.id)))
            }
            items if arguments.json => Ok(items.iter().map(|i| json_line(i) + "\n").collect()),
            items => session(&arguments.id, items),
        }
    })?;
    std::io::stdout().write_all(text.as_bytes()).map_err(Error::Output)?;
    Ok(ExitCode::SUCCESS)
}

/// One command with what is kept beside its entries.
async fn shown(
    store: &Store,
    exchange: &mut Exchange,
    arguments: &Arguments,
) -> Result<String, Error> {
    let (text, rows) = match arguments.full {
        true => (MAX_ANSWER, usize::MAX),
        false => (MAX_TEXT, arguments.rows),
    };
    let mut notes = Vec::new();
    if let Some((whole, more)) = trail::spilled_text(store, exchange, text).await? {
        exchange.text = Some(whole);
        if more > 0 {
            notes.push(format!("… and {more} more bytes of the statement{}", see(arguments)));
        }
    }
    match trail::spilled_values(store, exchange, MAX_ANSWER).await? {
        Some(values) => exchange.parameters = values,
        None if exchange.parameter_parts.is_empty() => {}
        None => notes.push(format!("the values are longer than {MAX_ANSWER} bytes: not shown")),
    }
    let long = |value: &trail::Value| {
        value.value.as_ref().is_some_and(|text| text.chars().count() > CELL_WIDTH)
    };
    if !arguments.full && exchange.parameters.iter().any(long) {
        notes.push("values are cut (see --full)".to_owned());
    }
    let answer = answer(store, exchange, rows).await?;
    let shown = Shown {
        exchange,
        notes: &notes,
        answer: answer.as_ref(),
        width: if arguments.full { usize::MAX } else { CELL_WIDTH },
    };
    Ok(command(&shown, arguments.json))
}

fn see(arguments: &Arguments) -> &'static str {
    if arguments.full { "" } else { " (see --full)" }
}

fn bare(mut item: Item) -> Item {
    if let Item::Exchange(exchange) = &mut item
        && let Some(outcome) = &mut exchange.outcome
    {
        outcome.parts.clear();
    }
    item
}

/// The recorded answer, fetched and read; none if none was kept.
async fn answer(store: &Store, exchange: &Exchange, rows: usize) -> Result<Option<Answer>, Error> {
    let Some(outcome) = &exchange.outcome else { return Ok(None) };
    let mut bytes = Vec::new();
    let mut cut = false;
    for part in &outcome.parts {
        match part {
            Part::Inline { media, .. } if media != POSTGRES => return Ok(None),
            _ if bytes.len() > MAX_ANSWER => cut = true,
            part => bytes.extend(trail::part_bytes(store, part).await?),
        }
    }
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut answer = trail::answer(&bytes, &outcome.results, rows);
    if cut {
        answer.broken = Some(format!("only the first {MAX_ANSWER} bytes were looked at"));
    }
    Ok(Some(answer))
}

fn session(id: &str, items: &[Item]) -> Result<String, Error> {
    let starts: Vec<&SessionOpened> = items
        .iter()
        .filter_map(|item| if let Item::SessionStart(start) = item { Some(start) } else { None })
        .collect();
    if starts.len() > 1 {
        let ids: Vec<&str> = starts.iter().map(|start| start.session.as_str()).collect();
        return Err(Error::Argument(format!("{id} is the beginning of {}", ids.join(", "))));
    }
    let style = style();
    let mut out = String::new();
    if let [start] = starts.as_slice() {
        field(&mut out, style, "session", &start.session);
        field(&mut out, style, "began", &time(start.time));
        field(&mut out, style, "who", &who(&start.principal));
        field(&mut out, style, "identity", &start.identity_rule);
        field(&mut out, style, "target", &format!("{} ({})", start.target, start.protocol));
        field(&mut out, style, "from", &start.peer);
        for (name, value) in &start.details {
            field(&mut out, style, name, value);
        }
    }
    let mut table = Table::new(HEAD);
    items.iter().filter_map(cells).for_each(|row| table.row(row));
    if !table.is_empty() {
        out.push_str(&table.render(style));
    }
    for item in items {
        match item {
            Item::SessionEnd(end) => {
                let text = format!("{} ({})", time(end.time), end.reason);
                field(&mut out, style, "ended", &text);
                for (name, value) in &end.details {
                    field(&mut out, style, name, value);
                }
            }
            Item::Instance(i) => field(&mut out, style, &i.event, &i.text),
            Item::Unknown(u) => field(&mut out, style, "unread", &u.why),
            Item::Refused(refused) => field(&mut out, style, "because", &refused.message),
            _ => {}
        }
    }
    Ok(out)
}

fn who(who: &trail::Who) -> String {
    let mut text = format!("{} ({}, {})", who.subject, who.kind, who.issuer);
    if !who.on_behalf_of.is_empty() {
        let _infallible = write!(text, " for {}", who.for_whom());
    }
    text
}

fn field(out: &mut String, style: Style, name: &str, value: &str) {
    let name = format!("{:<14}", sanitise(name));
    let _infallible = writeln!(out, "{} {}", style.bold(&name), sanitise(value));
}

/// A command, with what is kept beside its entries.
struct Shown<'a> {
    exchange: &'a Exchange,
    notes: &'a [String],
    answer: Option<&'a Answer>,
    /// The most characters of a value.
    width: usize,
}

fn command(shown: &Shown<'_>, json: bool) -> String {
    let Shown { exchange, notes, answer, width } = *shown;
    if json {
        return format!("{}\n", json!({ "exchange": exchange, "notes": notes, "answer": answer }));
    }
    let style = style();
    let mut out = String::new();
    field(&mut out, style, "command", &exchange.id());
    field(&mut out, style, "entry", &format!("#{}", exchange.index));
    field(&mut out, style, "time", &exchange.time.to_string());
    field(&mut out, style, "who", &who(&exchange.principal));
    field(&mut out, style, "target", &exchange.target);
    let kind = format!("{} ({}), {}", exchange.operation, exchange.class, exchange.via);
    field(&mut out, style, "operation", &kind);
    let reason = exchange.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
    let verdict = format!("{} by {}{reason}", exchange.verdict, exchange.rule);
    field(&mut out, style, "verdict", &verdict);
    field(&mut out, style, "policy", &exchange.policy);
    field(&mut out, style, "statement", "");
    match &exchange.text {
        Some(text) => {
            for line in text.lines() {
                let _infallible = writeln!(out, "  {}", sanitise(line));
            }
        }
        None => out.push_str("  (not kept)\n"),
    }
    if !exchange.parameters.is_empty() {
        let mut table = Table::new(["value", "type", "is"]).indent(2).cell_width(width);
        for (number, value) in (1..).zip(&exchange.parameters) {
            let text = value.value.as_deref().unwrap_or("NULL");
            table.row([&format!("${number}"), value.type_name.as_str(), text]);
        }
        out.push_str(&table.render(style));
    }
    for note in notes {
        let _infallible = writeln!(out, "  {}", sanitise(note));
    }
    outcome(&mut out, style, shown);
    out
}

fn outcome(out: &mut String, style: Style, shown: &Shown<'_>) {
    let Shown { exchange, answer, width, .. } = *shown;
    let Some(outcome) = &exchange.outcome else {
        return field(out, style, "outcome", exchange.outcome_word());
    };
    let word = match (&outcome.code, &outcome.message) {
        (Some(code), Some(message)) => format!("{} {code}: {message}", outcome.outcome),
        (Some(code), None) => format!("{} {code}", outcome.outcome),
        _ => outcome.outcome.clone(),
    };
    field(out, style, "outcome", &word);
    let tags: Vec<&str> = outcome.results.iter().map(|result| result.tag.as_str()).collect();
    let size = format!(
        "{} rows, {} bytes, {} µs: {}",
        outcome.rows,
        outcome.bytes,
        outcome.duration_us,
        tags.join("; ")
    );
    field(out, style, "answer", &size);
    let masked = exchange.all_masked();
    if !masked.is_empty() {
        let masked: Vec<String> = masked.iter().map(|(e, count)| format!("{e} {count}")).collect();
        field(out, style, "masked", &masked.join(", "));
    }
    let Some(answer) = answer else { return };
    for set in &answer.sets {
        let mut table = Table::new(&set.columns).indent(2).cell_width(width);
        for row in &set.rows {
            table.row(row.iter().map(|cell| cell.as_deref().unwrap_or("NULL")));
        }
        out.push_str(&table.render(style));
        if set.more > 0 {
            let _infallible = writeln!(out, "  … and {} more rows (see --rows)", set.more);
        }
    }
    for line in &answer.copy {
        let _infallible = writeln!(out, "  {}", sanitise(line));
    }
    if answer.more_copy > 0 {
        let _infallible = writeln!(out, "  … and {} more (see --rows)", answer.more_copy);
    }
    for line in answer.diagnostics.iter().chain(&answer.broken) {
        let _infallible = writeln!(out, "  {}", sanitise(line));
    }
}
