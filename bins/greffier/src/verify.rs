//! `greffier verify`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use tlog::Checkpoint;
use trail::Checked;
use trail::term::sanitise;

use crate::error::Error;
use crate::place::{Place, block_on, small_file, style};

/// What `--help` adds at its end.
const AFTER_HELP: &str = "\
What it can't tell without --remembered: that the end of the log was cut off, or that the whole
store is an older copy. Keep a checkpoint somewhere else now and then (the object `checkpoint` of
the log is one) and name it here.

Exit status: 0 the log is whole, 1 it is not, 2 it could not be checked.

Example:
  greffier verify --store /var/lib/greffier/store --log-id pg-1 --key log.vkey --remembered yesterday";

/// Recomputes every hash of a log from its entries, checks every signature, and looks for every
/// object that an entry names. The store is not trusted.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,

    /// A checkpoint of this log that you kept: the log must still hold all that it held then.
    #[arg(long, value_name = "FILE")]
    remembered: Option<PathBuf>,

    /// Report as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let (log, key) = arguments.place.open()?;
    let remembered = match &arguments.remembered {
        None => None,
        Some(file) => {
            let note = small_file(file)?;
            let opened = Checkpoint::open(note.as_bytes(), &key);
            let bad = |e| Error::Argument(format!("--remembered {}: {e}", file.display()));
            Some(opened.map_err(bad)?)
        }
    };
    let checked = block_on(async { Ok(trail::check(&log, &key, remembered).await?) })?;
    if checked.report.head.is_none() && checked.is_ok() {
        let id = arguments.place.log_id();
        return Err(Error::Argument(format!("there is no log {id} in this store")));
    }
    let text = if arguments.json { as_json(&checked) } else { as_text(&checked) };
    std::io::stdout().write_all(text.as_bytes()).map_err(Error::Output)?;
    Ok(if checked.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_json(checked: &Checked) -> String {
    let failures: Vec<_> = checked
        .failures()
        .map(|f| json!({ "object": f.object, "entry": f.entry, "fault": f.fault.to_string() }))
        .collect();
    let report = &checked.report;
    let head = report.head.as_ref();
    let object = json!({
        "ok": checked.is_ok(),
        "origin": head.map(|head| &head.origin),
        "size": head.map(|head| head.size),
        "root": head.map(|head| head.root.to_base64()),
        "entries": report.entries,
        "checkpoints": report.checkpoints,
        "tiles": report.tiles,
        "epochs": report.epochs,
        "chunks": checked.chunks,
        "unread_entries": checked.unread,
        "failures": failures,
        "failure_count": report.failure_count + checked.chunk_failures.len() as u64,
        "notes": report.notes,
    });
    format!("{object}\n")
}

fn as_text(checked: &Checked) -> String {
    let style = style();
    let report = &checked.report;
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    if let Some(head) = &report.head {
        line(format!("log      {}", sanitise(&head.origin)));
        line(format!("head     {} entries, root {}", head.size, head.root.to_base64()));
    }
    line(format!(
        "checked  {} entries, {} checkpoints, {} tiles and bundles, {} epochs, {} chunks",
        report.entries, report.checkpoints, report.tiles, report.epochs, checked.chunks
    ));
    for note in &report.notes {
        line(format!("note     {}", sanitise(note)));
    }
    if checked.unread > 0 {
        line(format!(
            "note     {} entries can't be read by this version, or are in broken bundles: chunks \
             that they name were not looked for",
            checked.unread
        ));
    }
    for failure in checked.failures() {
        line(style.bad(&format!("wrong    {}", sanitise(&failure.to_string()))));
    }
    let hidden = report.failure_count.saturating_sub(report.failures.len() as u64);
    if hidden > 0 {
        line(style.bad(&format!("wrong    and {hidden} more")));
    }
    if checked.is_ok() {
        line(style.good("ok       the log is whole"));
    } else {
        line(style.bad("NOT OK   the log, or what it names, was changed or damaged"));
    }
    out
}
