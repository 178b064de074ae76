//! `greffier audit tail`.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use audit_sink::store::Reader;
use clap::Args;
use trail::term::sanitise;
use trail::{Item, Joiner, ReadError};

use super::{Filters, cells, json_line};
use crate::error::Error;
use crate::place::{Place, block_on, style};

/// Pause between two looks at the store.
const PAUSE: Duration = Duration::from_secs(1);
/// How far before the end reading begins, in entries, so that commands under way are known.
const RUN_UP: u64 = 1024;

/// Follows the record until Ctrl-C. What a proxy does shows when it is published: after about a
/// second, unless configured otherwise.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  greffier audit tail --verdict deny --store DIR --log-id ID --key log.vkey"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    filters: Filters,

    /// Begin with the first entry instead of the next.
    #[arg(long)]
    from_start: bool,

    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let (log, key) = arguments.place.open()?;
    let filter = arguments.filters.filter()?;
    block_on(async {
        let head = Reader::open(&log, &key).await?.map_or(0, |reader| reader.head().size);
        let shown_from = if arguments.from_start { 0 } else { head };
        let mut next = shown_from.saturating_sub(RUN_UP);
        let mut joiner = Joiner::new();
        if next > 0 {
            joiner = joiner.from_middle();
        }
        loop {
            let mut lines = Vec::new();
            let each = |item: Item| {
                if newest_entry(&item) >= shown_from && filter.fits(&item) {
                    lines.extend(line(&item, arguments.json));
                }
            };
            match trail::read(&log, &key, next, &mut joiner, each).await {
                Ok(size) => next = size,
                // The store is away for a moment, or for longer: it is asked again. Anything
                // else is wrong with the log, and going on would hide it.
                Err(ReadError::Store(error)) if !error.is_fatal() => {
                    tracing_line(&error.to_string())?;
                }
                Err(error) => return Err(error.into()),
            }
            let mut out = std::io::stdout().lock();
            for line in lines {
                writeln!(out, "{line}").map_err(Error::Output)?;
            }
            out.flush().map_err(Error::Output)?;
            drop(out);
            tokio::time::sleep(PAUSE).await;
        }
    })
}

fn tracing_line(message: &str) -> Result<(), Error> {
    writeln!(std::io::stderr(), "greffier: {}", sanitise(message)).map_err(Error::Output)
}

/// The entry that completed an item.
fn newest_entry(item: &Item) -> u64 {
    match item {
        Item::Exchange(exchange) => {
            exchange.outcome.as_ref().map_or(exchange.index, |outcome| outcome.index)
        }
        Item::Refused(refused) => refused.index,
        Item::SessionStart(start) => start.index,
        Item::SessionEnd(end) => end.index,
        Item::Instance(instance) => instance.index,
        Item::Unknown(unknown) => unknown.index,
    }
}

fn line(item: &Item, json: bool) -> Option<String> {
    if json {
        return Some(json_line(item));
    }
    let style = style();
    if let Some([id, time, who, whom, target, text, verdict, rule, rows, masked]) = cells(item) {
        let mut line = format!("{time} {who} for {whom} on {target}: {text} -> {verdict} ({rule})");
        for (count, word) in [(rows, "rows"), (masked, "masked")] {
            if !count.is_empty() {
                line.push_str(&format!(", {word}: {count}"));
            }
        }
        let line = sanitise(&line).into_owned();
        let line = if verdict.starts_with("allow") { line } else { style.bad(&line) };
        return Some(format!("{line}  {}", style.dim(&sanitise(&id))));
    }
    let text = match item {
        Item::SessionStart(s) => format!(
            "{} {} for {} began session {} on {}",
            super::time(s.time),
            s.principal.subject,
            s.principal.for_whom(),
            s.session,
            s.target
        ),
        Item::SessionEnd(s) => format!(
            "{} session {} ended: {}; {} commands, {} denied",
            super::time(s.time),
            s.session,
            s.reason,
            s.commands,
            s.denied
        ),
        Item::Instance(i) => format!("{} {}: {}", super::time(i.time), i.event, i.text),
        Item::Unknown(u) => format!("entry {} can't be read: {}", u.index, u.why),
        Item::Exchange(_) | Item::Refused(_) => return None,
    };
    Some(style.dim(&sanitise(&text)))
}
