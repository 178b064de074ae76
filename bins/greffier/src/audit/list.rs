//! `greffier audit list`.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;
use trail::term::Table;
use trail::{Item, Joiner};

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

    /// The newest so many; 0: all.
    #[arg(long, value_name = "N", default_value_t = 100)]
    last: usize,

    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let (log, key) = arguments.place.open()?;
    let filter = arguments.filters.filter()?;
    let mut newest = Newest { items: VecDeque::new(), limit: arguments.last };
    let mut ends: BTreeMap<String, Item> = BTreeMap::new();
    block_on(async {
        let mut joiner = Joiner::new();
        let each = |item: Item| match &item {
            Item::SessionEnd(end) if arguments.sessions => {
                ends.insert(end.session.clone(), item);
            }
            Item::SessionStart(_) if arguments.sessions && filter.fits(&item) => newest.add(item),
            Item::Exchange(_) | Item::Refused(_) if !arguments.sessions && filter.fits(&item) => {
                newest.add(item);
            }
            _ => {}
        };
        trail::read(&log, &key, 0, &mut joiner, each).await?;
        if !arguments.sessions {
            joiner
                .finish()
                .into_iter()
                .filter(|item| filter.fits(item))
                .for_each(|i| newest.add(i));
        }
        Ok(())
    })?;
    let mut items = Vec::from(newest.items);
    // Outcomes come in another order than commands.
    items.sort_by_key(index);
    let text = match (arguments.json, arguments.sessions) {
        (true, _) => items.iter().map(|item| json_line(item) + "\n").collect(),
        (false, true) => sessions(&items, &ends),
        (false, false) => commands(&items),
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(Error::Output)?;
    Ok(ExitCode::SUCCESS)
}

struct Newest {
    items: VecDeque<Item>,
    limit: usize,
}

impl Newest {
    fn add(&mut self, item: Item) {
        self.items.push_back(item);
        if self.limit != 0 && self.items.len() > self.limit {
            self.items.pop_front();
        }
    }
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

fn sessions(items: &[Item], ends: &BTreeMap<String, Item>) -> String {
    let head = ["session", "began", "ended", "who", "for", "target", "from", "commands", "denied"];
    let mut table = Table::new(head);
    for item in items {
        let Item::SessionStart(start) = item else { continue };
        let (ended, commands, denied) = match ends.get(&start.session) {
            Some(Item::SessionEnd(end)) => {
                (time(end.time), end.commands.to_string(), end.denied.to_string())
            }
            _ => ("-".to_owned(), String::new(), String::new()),
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
