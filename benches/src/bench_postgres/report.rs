//! From bursts to rows with ratios and goals.

use std::fmt::Write as _;

use serde::Serialize;

use crate::load::{Burst, Load, Work, median};
use crate::peer::Kind;

/// Most memory a proxy may have resident whatever an answer's size, in MiB.
const BULK_MEMORY_MIB: f64 = 96.0;
/// Most memory an idle session may take, in KiB.
const IDLE_MEMORY_KIB: f64 = 48.0;
/// Least part of the bare relay's rate for large answers.
const BULK_RATE: f64 = 0.7;
/// Least part of `PgBouncer`'s throughput at eight clients, by level.
const RATE_BEFORE_RESPONSE: f64 = 1.0;
const RATE_BEFORE_EXECUTE: f64 = 0.7;

/// One peer under one load.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) load: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) peer: &'static str,
    /// Medians over the rounds.
    pub(crate) value: f64,
    /// Medians of each round's ratio.
    pub(crate) to_direct: Option<f64>,
    pub(crate) to_relay: Option<f64>,
    pub(crate) to_pgbouncer: Option<f64>,
    /// What the proxy's figures are counted for.
    pub(crate) per: &'static str,
    pub(crate) cpu_us: Option<f64>,
    pub(crate) cpu_us_later: Option<f64>,
    pub(crate) wakeups: Option<f64>,
    pub(crate) peak_mib: Option<f64>,
    /// Processors busy in the burst, with what others did.
    pub(crate) busy: f64,
    pub(crate) goals: Vec<Goal>,
    /// Every round's figure, in order.
    pub(crate) rounds: Vec<f64>,
}

/// A goal, and whether it is met.
#[derive(Debug, Serialize)]
pub(crate) struct Goal {
    pub(crate) goal: String,
    pub(crate) measured: f64,
    pub(crate) met: bool,
}

/// All bursts of one load.
pub(crate) struct Bursts {
    pub(crate) load: Load,
    pub(crate) peers: Vec<(Kind, Vec<Burst>)>,
}

impl Bursts {
    pub(crate) fn new(load: Load) -> Self {
        let kinds = Kind::ALL.into_iter().filter(|kind| load.is_for(*kind));
        Bursts { load, peers: kinds.map(|kind| (kind, Vec::new())).collect() }
    }

    pub(crate) fn push(&mut self, kind: Kind, burst: Burst) {
        if let Some((_, bursts)) = self.peers.iter_mut().find(|(k, _)| *k == kind) {
            bursts.push(burst);
        }
    }

    fn of(&self, kind: Kind) -> &[Burst] {
        self.peers.iter().find(|(k, _)| *k == kind).map_or(&[], |(_, bursts)| bursts)
    }

    /// The median of each round's ratio: what changes from round to round (others' load) falls
    /// out of it.
    fn ratio(&self, kind: Kind, to: Kind) -> Option<f64> {
        let pairs = self.of(kind).iter().zip(self.of(to));
        middle(pairs.map(|(mine, theirs)| mine.value / theirs.value))
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.peers.iter().map(|(kind, bursts)| self.row(*kind, bursts)).collect()
    }

    fn row(&self, kind: Kind, bursts: &[Burst]) -> Row {
        let of = |part: fn(&Burst) -> Option<f64>| middle(bursts.iter().filter_map(part));
        let mut row = Row {
            load: self.load.name,
            unit: self.load.unit(),
            peer: kind.name(),
            value: of(|b| Some(b.value)).unwrap_or(f64::NAN),
            to_direct: self.ratio(kind, Kind::Direct),
            to_relay: self.ratio(kind, Kind::Relay),
            to_pgbouncer: self.ratio(kind, Kind::PgBouncer),
            per: self.load.per(),
            cpu_us: of(|b| b.cpu_us),
            cpu_us_later: of(|b| b.cpu_us_later),
            wakeups: of(|b| b.wakeups),
            // A limit on memory is one for every round.
            peak_mib: bursts.iter().filter_map(|b| b.peak_mib).reduce(f64::max),
            busy: of(|b| Some(b.busy)).unwrap_or(f64::NAN),
            goals: Vec::new(),
            rounds: bursts.iter().map(|b| b.value).collect(),
        };
        row.goals = goals(self.load, kind, &row);
        row
    }
}

fn goals(load: Load, kind: Kind, row: &Row) -> Vec<Goal> {
    let least = |measured: Option<f64>, limit: f64, of: &str| {
        let goal = format!("at least {limit} of {of}");
        measured.map(|measured| Goal { goal, measured, met: measured >= limit })
    };
    let most = |measured: Option<f64>, limit: f64, of: &str| {
        let goal = format!("at most {limit} {of}");
        measured.map(|measured| Goal { goal, measured, met: measured <= limit })
    };
    let found = match (load.work, kind) {
        (_, Kind::Direct | Kind::Relay | Kind::PgBouncer) => [None, None],
        (Work::Pgbench { clients: 8, .. }, Kind::BeforeResponse) => {
            [least(row.to_pgbouncer, RATE_BEFORE_RESPONSE, "PgBouncer"), None]
        }
        (Work::Pgbench { clients: 8, .. }, Kind::BeforeExecute) => {
            [least(row.to_pgbouncer, RATE_BEFORE_EXECUTE, "PgBouncer"), None]
        }
        (Work::Drain { .. }, _) => [
            least(row.to_relay, BULK_RATE, "the bare relay"),
            most(row.peak_mib, BULK_MEMORY_MIB, "MiB resident"),
        ],
        (Work::Idle, _) => [most(Some(row.value), IDLE_MEMORY_KIB, "KiB/session"), None],
        _ => [None, None],
    };
    found.into_iter().flatten().collect()
}

fn middle(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    if figures.is_empty() { None } else { Some(median(&figures)) }
}

/// The rows of one load as a table in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    let Some(first) = rows.first() else { return text };
    let (load, unit, per) = (first.load, first.unit, first.per);
    let _ = writeln!(
        text,
        "\n| {load} | {unit} | /direct | /relay | /PgBouncer | CPU µs/{per} | with later work \
         | wake-ups/{per} | peak MiB | goals |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    for row in rows {
        let goals: Vec<String> = row.goals.iter().map(goal).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.peer,
            number(Some(row.value)),
            number(row.to_direct),
            number(row.to_relay),
            number(row.to_pgbouncer),
            number(row.cpu_us),
            number(row.cpu_us_later),
            number(row.wakeups),
            number(row.peak_mib),
            goals.join("; "),
        );
    }
    text
}

fn goal(goal: &Goal) -> String {
    let word = if goal.met { "met" } else { "**not met**" };
    format!("{}: {word} ({})", goal.goal, number(Some(goal.measured)))
}

/// With as many digits as mean something.
fn number(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(v) if v.abs() >= 100.0 => format!("{v:.0}"),
        Some(v) if v.abs() >= 10.0 => format!("{v:.1}"),
        Some(v) => format!("{v:.2}"),
    }
}
