//! `greffier audit list`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;
use records::Timestamp;
use trail::term::Table;
use trail::{Item, Joiner, Look, SessionClosed};

use super::{Filters, HEAD, cells, json_line, time};
use crate::error::Error;
use crate::place::{Place, block_on, style};

/// What `--help` adds at its end.
const AFTER_HELP: &str = "\
Every entry is proved against the signed checkpoint as it is read. Times are UTC.

Examples (with GREFFIER_STORE, GREFFIER_LOG_ID and GREFFIER_KEY set):
  greffier audit list --since 1d --verdict deny
  greffier audit list --principal alice          # what alice did, and what was done for her
  greffier audit list --sessions --target orders
  greffier audit list --json --last 0 | jq 'select(.outcome.rows > 1000) | .text'";

/// Lists commands, or sessions.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    filters: Filters,

    /// List sessions instead of commands.
    #[arg(long)]
    sessions: bool,

    /// The newest so many; 0: all. No more of the log is read than it takes to find them.
    #[arg(long, value_name = "N", default_value_t = 100)]
    last: usize,

    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Entries that the first look takes in for each line asked for: a command and its outcome make
/// two, long answers more.
const ENTRIES_A_LINE: u64 = 4;
/// Entries that the first look takes in at least.
const FIRST_LOOK: u64 = 1024;
/// Entries of sessions side by side need not be in the order of their times; no more than by
/// this, in microseconds.
const DISORDER: i64 = 60_000_000;

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let (log, key) = arguments.place.open()?;
    let filter = arguments.filters.filter()?;
    let last = arguments.last;
    let listed = |item: &Item| match item {
        Item::SessionStart(_) => arguments.sessions && filter.fits(item),
        Item::Exchange(_) | Item::Refused(_) => !arguments.sessions && filter.fits(item),
        _ => false,
    };
    let keep = |item: Item| {
        let end = arguments.sessions && matches!(item, Item::SessionEnd(_));
        (end || listed(&item)).then_some(item)
    };
    let enough = |look: &Look<'_>| {
        let before = |since: Timestamp, began: Timestamp| {
            began.unix_micros() < since.unix_micros().saturating_sub(DISORDER)
        };
        let old = filter.since.zip(look.began).is_some_and(|(since, began)| before(since, began));
        old || (last != 0 && look.items.iter().filter(|item| listed(item)).count() >= last)
    };
    let first = match (last, filter.since) {
        (0, None) => u64::MAX,
        (last, _) => FIRST_LOOK.max((last as u64).saturating_mul(ENTRIES_A_LINE)),
    };
    let mut items = block_on(async {
        Ok(trail::look_back(&log, &key, first, Joiner::new, keep, enough).await?)
    })?;
    // Outcomes come in another order than commands.
    items.sort_by_key(index);
    let (mut items, rest): (Vec<Item>, Vec<Item>) = items.into_iter().partition(listed);
    if last != 0 {
        items.drain(..items.len().saturating_sub(last));
    }
    let ends = rest.into_iter().filter_map(|item| match item {
        Item::SessionEnd(end) => Some((end.session.clone(), end)),
        _ => None,
    });
    let text = match (arguments.json, arguments.sessions) {
        (true, _) => items.iter().map(|item| json_line(item) + "\n").collect(),
        (false, true) => sessions(&items, &ends.collect()),
        (false, false) => commands(&items),
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(Error::Output)?;
    Ok(ExitCode::SUCCESS)
}

fn index(item: &Item) -> u64 {
    match item {
        Item::Exchange(exchange) => exchange.index,
        Item::Refused(refused) => refused.index,
        Item::SessionStart(start) => start.index,
        Item::SessionEnd(end) => end.index,
        Item::Instance(instance) => instance.index,
        Item::Unknown(unknown) => unknown.index,
    }
}

fn commands(items: &[Item]) -> String {
    let mut table = Table::new(HEAD);
    items.iter().filter_map(cells).for_each(|row| table.row(row));
    table.render(style())
}

fn sessions(items: &[Item], ends: &BTreeMap<String, SessionClosed>) -> String {
    let head = ["session", "began", "ended", "who", "for", "target", "from", "commands", "denied"];
    let mut table = Table::new(head);
    for item in items {
        let Item::SessionStart(start) = item else { continue };
        let (ended, commands, denied) = match ends.get(&start.session) {
            Some(end) => (time(end.time), end.commands.to_string(), end.denied.to_string()),
            None => ("-".to_owned(), String::new(), String::new()),
        };
        table.row([
            start.session.as_str(),
            &time(start.time),
            &ended,
            &start.principal.subject,
            &start.principal.for_whom(),
            &start.target,
            &start.peer,
            &commands,
            &denied,
        ]);
    }
    table.render(style())
}
