//! From bursts to a table with ratios and goals.

use std::fmt::Write as _;

use serde::Serialize;

use crate::load::{Burst, Load, Work, middle};
use crate::peer::Kind;

/// Least part of direct's rate for long lists.
const LIST_TO_DIRECT: f64 = 0.8;
/// Most that an event may take longer than directly, of a hundred all but one, in milliseconds.
const WATCH_MS: f64 = 5.0;
/// Most memory of a watch that sees nothing, in KiB.
const IDLE_KIB: f64 = 48.0;

/// One peer under one load.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    load: &'static str,
    peer: &'static str,
    unit: &'static str,
    /// Medians over the rounds.
    value: Option<f64>,
    /// What the figure beside it is.
    beside_unit: &'static str,
    beside: Option<f64>,
    /// Medians of each round's ratio.
    to_direct: Option<f64>,
    to_kubectl_proxy: Option<f64>,
    /// What the proxy's figures are counted for.
    per: &'static str,
    cpu_us: Option<f64>,
    /// The most of all rounds.
    connects: Option<f64>,
    peak_mib: Option<f64>,
    busy: Option<f64>,
    goals: Vec<Goal>,
    /// Every round's figures, in order.
    rounds: Vec<Burst>,
}

/// A goal, and whether it is met.
#[derive(Debug, Serialize)]
struct Goal {
    goal: String,
    measured: f64,
    met: bool,
}

/// All bursts, by load and peer.
#[derive(Default)]
pub(crate) struct Results(Vec<(Load, Kind, Vec<Burst>)>);

impl Results {
    pub(crate) fn push(&mut self, load: Load, kind: Kind, burst: Burst) {
        match self.0.iter_mut().find(|(l, k, _)| (*l, *k) == (load, kind)) {
            Some((_, _, bursts)) => bursts.push(burst),
            None => self.0.push((load, kind, vec![burst])),
        }
    }

    fn of(&self, load: Load, kind: Kind) -> &[Burst] {
        let found = self.0.iter().find(|(l, k, _)| (*l, *k) == (load, kind));
        found.map_or(&[], |(_, _, bursts)| bursts)
    }

    /// The median of what each round says of two peers: what changes from round to round falls
    /// out of it.
    fn pairs(
        &self,
        load: Load,
        (kind, to): (Kind, Kind),
        said: fn(f64, f64) -> f64,
    ) -> Option<f64> {
        let pairs = self.of(load, kind).iter().zip(self.of(load, to));
        middle(pairs.map(|(mine, theirs)| said(mine.value, theirs.value)))
    }

    fn ratio(&self, load: Load, kind: Kind, to: Kind) -> Option<f64> {
        self.pairs(load, (kind, to), |mine, theirs| mine / theirs)
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.0.iter().map(|(load, kind, bursts)| self.row(*load, *kind, bursts)).collect()
    }

    fn row(&self, load: Load, kind: Kind, bursts: &[Burst]) -> Row {
        let of = |part: fn(&Burst) -> Option<f64>| middle(bursts.iter().filter_map(part));
        let most =
            |part: fn(&Burst) -> Option<f64>| bursts.iter().filter_map(part).reduce(f64::max);
        let mut row = Row {
            load: load.name(),
            peer: kind.name(),
            unit: load.unit(),
            value: of(|it| Some(it.value)),
            beside_unit: load.beside(),
            beside: of(|it| it.beside),
            to_direct: self.ratio(load, kind, Kind::Direct),
            to_kubectl_proxy: self.ratio(load, kind, Kind::KubectlProxy),
            per: load.per(),
            cpu_us: of(|it| it.cpu_us),
            connects: most(|it| it.connects),
            peak_mib: most(|it| it.peak_mib),
            busy: of(|it| Some(it.busy)),
            goals: Vec::new(),
            rounds: bursts.to_vec(),
        };
        if kind.is_ours() {
            row.goals = self.goals(load, kind, &row);
        }
        row
    }

    fn goals(&self, load: Load, kind: Kind, row: &Row) -> Vec<Goal> {
        let most = |measured: Option<f64>, limit: f64, of: &str| {
            let goal = format!("at most {limit} {of}");
            measured.map(|measured| Goal { goal, measured, met: measured <= limit })
        };
        let least = |measured: Option<f64>, limit: f64| {
            let goal = format!("at least {limit} of direct");
            measured.map(|measured| Goal { goal, measured, met: measured >= limit })
        };
        let own = match load.0 {
            Work::List => least(row.to_direct, LIST_TO_DIRECT),
            Work::Watch => {
                let more = self.pairs(load, (kind, Kind::Direct), |mine, theirs| mine - theirs);
                most(more, WATCH_MS, "ms more than directly")
            }
            Work::Idle => most(row.value, IDLE_KIB, "KiB/watch"),
            _ => None,
        };
        let connects = match load.0 {
            Work::Get | Work::Small | Work::List | Work::Table | Work::Watch => {
                let goal = "no new connections".to_owned();
                row.connects.map(|measured| Goal { goal, measured, met: measured == 0.0 })
            }
            Work::GetCold | Work::Idle | Work::Exec | Work::Bulk | Work::Text => None,
        };
        own.into_iter().chain(connects).collect()
    }
}

/// The whole table in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = "\n| load | peer | value | beside | /direct | /kubectl proxy | proxy CPU µs \
                    | new connections | peak MiB | busy | goals |\n\
                    |---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        let shown = |figure: Option<f64>, unit: &str, between: &str| {
            figure.map_or_else(String::new, |it| format!("{}{between}{unit}", number(it)))
        };
        let goals: Vec<String> = row.goals.iter().map(goal).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.load,
            row.peer,
            shown(row.value, row.unit, " "),
            shown(row.beside, row.beside_unit, " "),
            shown(row.to_direct, "", ""),
            shown(row.to_kubectl_proxy, "", ""),
            shown(row.cpu_us, row.per, "/"),
            shown(row.connects, row.per, "/"),
            shown(row.peak_mib, "", ""),
            shown(row.busy, "", ""),
            goals.join("; "),
        );
    }
    text
}

fn goal(goal: &Goal) -> String {
    let word = if goal.met { "met" } else { "**not met**" };
    format!("{}: {word} ({})", goal.goal, number(goal.measured))
}

/// With as many digits as mean something.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        0.02.. => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
