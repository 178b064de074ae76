//! `greffier audit trace`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use audit_sink::store::LogStore;
use clap::Args;
use serde_json::json;
use tlog::Verifier;
use trail::term::{Style, sanitise};
use trail::{Exchange, Item, Joiner, Step};

use super::show::Wanted;
use crate::error::Error;
use crate::place::{block_on, open, style};

/// Most commands of a chain that are shown.
const MAX_STEPS: usize = 100_000;
/// The most of a command's text that a line shows, in characters.
const MAX_TEXT: usize = 100;

/// What `--help` adds at its end.
const AFTER_HELP: &str = "\
A command carries a trace id if its client said one (W3C Trace Context): HTTP's traceparent field,
MCP's _meta, a comment /*traceparent='…'*/ or a setting greffier.traceparent in SQL, the variable
TRACEPARENT of SSH. These are the client's own words. A command stands below the one that was under
way when it was asked for, by the clocks of the proxies' hosts.

Examples:
  greffier audit trace 4bf92f3577b34da6a3ce929d0e0e4736 \\
      --log s3://audit/greffier http-1 http-1.vkey --log s3://audit/greffier pg-1 pg-1.vkey
  greffier audit trace 0192c0de-…/3 --store DIR --log-id ID --key log.vkey";

/// Shows every command of a chain, from all of the logs named, as a tree in the order of time.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// The trace's id (32 hex digits), or a command that carries it: SESSION/NUMBER, or #INDEX of
    /// the first log.
    id: String,

    /// The first log's store: a folder, or s3://bucket/prefix.
    #[arg(long, value_name = "URL", env = "GREFFIER_STORE", requires_all = ["log_id", "key"])]
    store: Option<String>,

    /// Its name in the store.
    #[arg(long, value_name = "ID", env = "GREFFIER_LOG_ID")]
    log_id: Option<String>,

    /// Its public key, or a file that holds it.
    #[arg(long, value_name = "VKEY|FILE", env = "GREFFIER_KEY")]
    key: Option<String>,

    /// A log to look in: its store, its name there, and its key. As often as there are logs, with
    /// or without a first one.
    #[arg(long = "log", num_args = 3, value_names = ["STORE", "LOG_ID", "KEY"])]
    logs: Vec<String>,

    /// JSON: the whole chain as one object.
    #[arg(long)]
    json: bool,
}

/// A log, and what it is called here.
struct Opened {
    name: String,
    log: LogStore,
    key: Verifier,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let logs = arguments.logs()?;
    let text = block_on(async {
        let id = trace_id(&arguments.id, &logs).await?;
        let mut found = Vec::new();
        for Opened { name, log, key } in &logs {
            let fits =
                |exchange: &Exchange| exchange.trace.as_ref().is_some_and(|trace| trace.id == id);
            let (of_one, more) = exchanges(log, key, fits).await?;
            if more || found.len() + of_one.len() > MAX_STEPS {
                return Err(Error::Argument(format!("more than {MAX_STEPS} commands carry {id}")));
            }
            found.extend(of_one.into_iter().map(|exchange| (name.clone(), exchange)));
        }
        if found.is_empty() {
            return Err(Error::Argument(format!("{id}: no command carries it")));
        }
        let steps = trail::chain(found);
        Ok(match arguments.json {
            true => format!("{}\n", json!({ "trace": id, "steps": steps })),
            false => {
                let style = style();
                let mut out = format!("{} {id}\n", style.bold("trace"));
                tree(&mut out, style, &steps, "");
                out
            }
        })
    })?;
    std::io::stdout().write_all(text.as_bytes()).map_err(Error::Output)?;
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    fn logs(&self) -> Result<Vec<Opened>, Error> {
        let mut logs = Vec::new();
        if let (Some(store), Some(log_id), Some(key)) = (&self.store, &self.log_id, &self.key) {
            let (log, key) = open(store, log_id, key)?;
            logs.push(Opened { name: log_id.clone(), log, key });
        }
        for named in self.logs.chunks(3) {
            let [store, log_id, key] = named else {
                return Err(Error::Argument("--log: write STORE LOG_ID KEY".into()));
            };
            let (log, key) = open(store, log_id, key)?;
            logs.push(Opened { name: log_id.clone(), log, key });
        }
        match logs.is_empty() {
            true => Err(Error::Argument("name a log: --log STORE LOG_ID KEY".into())),
            false => Ok(logs),
        }
    }
}

/// The trace that an id means.
async fn trace_id(id: &str, logs: &[Opened]) -> Result<String, Error> {
    if id.len() == 32 && id.bytes().all(|it| it.is_ascii_hexdigit()) {
        return Ok(id.to_ascii_lowercase());
    }
    let wanted = Wanted::parse(id)?;
    let among = if matches!(wanted, Wanted::Entry(_)) { 1 } else { logs.len() };
    for Opened { log, key, .. } in logs.iter().take(among) {
        let fits = |exchange: &Exchange| wanted.is(&Item::Exchange(Box::new(exchange.clone())));
        let (found, _) = exchanges(log, key, fits).await?;
        let trace = found.iter().find_map(|exchange| exchange.trace.as_ref());
        if let Some(trace) = trace {
            return Ok(trace.id.to_string());
        }
    }
    Err(Error::Argument(format!("{id}: no such command carries a trace id")))
}

/// The exchanges of a log that fit, and whether there were more than can be shown.
async fn exchanges(
    log: &LogStore,
    key: &Verifier,
    fits: impl Fn(&Exchange) -> bool,
) -> Result<(Vec<Exchange>, bool), Error> {
    let (mut found, mut more) = (Vec::new(), false);
    let mut joiner = Joiner::new();
    let mut take = |item: Item| {
        if let Item::Exchange(exchange) = item
            && fits(&exchange)
        {
            match found.len() < MAX_STEPS {
                true => found.push(*exchange),
                false => more = true,
            }
        }
    };
    trail::read(log, key, 0, &mut joiner, &mut take).await?;
    joiner.finish().into_iter().for_each(take);
    Ok((found, more))
}

fn tree(out: &mut String, style: Style, steps: &[Step], before: &str) {
    for (at, step) in steps.iter().enumerate() {
        let last = at + 1 == steps.len();
        let (branch, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let _infallible = writeln!(out, "{before}{branch}{}", line(style, step));
        tree(out, style, &step.steps, &format!("{before}{below}"));
    }
}

/// One command on one line.
fn line(style: Style, step: &Step) -> String {
    let Step { log, exchange, .. } = step;
    let time = exchange.time.to_string();
    let clock = time.get(11..23).unwrap_or(&time);
    let text = exchange.text.as_deref().unwrap_or(&exchange.operation);
    let text: String = text.chars().take(MAX_TEXT).collect();
    let what = format!("{}/{} {}: {text}", exchange.target, exchange.via, exchange.operation);
    let verdict = match exchange.outcome_word() {
        "ok" => "ok".to_owned(),
        "refused" => style.bad(&format!("{} by {}", exchange.verdict, sanitise(&exchange.rule))),
        other => style.bad(other),
    };
    let parent = exchange.trace.as_ref().map_or("", |trace| &trace.parent);
    let who = match exchange.principal.on_behalf_of.is_empty() {
        true => exchange.principal.subject.clone(),
        false => format!("{} for {}", exchange.principal.subject, exchange.principal.for_whom()),
    };
    let place = format!("{log} {} from {parent}", exchange.id());
    let (what, who, place) = (sanitise(&what), sanitise(&who), sanitise(&place));
    format!("{clock} {} [{who}] {verdict} {}", style.bold(&what), style.dim(&place))
}
