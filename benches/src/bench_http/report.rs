//! From bursts to a table with ratios and goals.

use std::fmt::Write as _;

use crate::load::{Burst, Load, Work, middle};
use crate::peer::Kind;

/// Least part of nginx's rate for small answers on 64 connections, before-response.
const SMALL_TO_NGINX: f64 = 0.7;
/// Least part of the bare relay's rate for bodies of 1 MiB.
const BULK_TO_RELAY: f64 = 0.7;
/// Most that a call of a tool may take longer than directly at the median, in microseconds.
const CALL_US: f64 = 1000.0;
/// Most memory while a body passes that is longer than it, in MiB.
const ENDLESS_MIB: f64 = 128.0;

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

    /// The median of each round's ratio: what changes from round to round falls out of it.
    fn ratio(&self, load: Load, kind: Kind, to: Kind) -> Option<f64> {
        let pairs = self.of(load, kind).iter().zip(self.of(load, to));
        middle(pairs.map(|(mine, theirs)| mine.value / theirs.value))
    }

    fn wait(&self, load: Load, kind: Kind) -> Option<f64> {
        middle(self.of(load, kind).iter().filter_map(|it| it.wait_us))
    }

    fn peak(&self, load: Load, kind: Kind) -> Option<f64> {
        self.of(load, kind).iter().filter_map(|it| it.peak_mib).reduce(f64::max)
    }

    /// The whole table in Markdown.
    pub(crate) fn table(&self) -> String {
        let mut text =
            "\n| load | peer | value | wait µs p50 | /direct | /relay | /nginx | /HAProxy \
                        | proxy CPU µs | peak MiB | busy | goals |\n\
                        |---|---|---|---|---|---|---|---|---|---|---|---|\n"
                .to_owned();
        for (load, kind, bursts) in &self.0 {
            let (load, kind) = (*load, *kind);
            let shown = |figure: Option<f64>| figure.map_or_else(String::new, number);
            let cpu = middle(bursts.iter().filter_map(|it| it.cpu_us));
            let cpu = cpu.map_or_else(String::new, |us| format!("{}/{}", number(us), load.per()));
            let ratio = |to| shown(self.ratio(load, kind, to));
            let _ = writeln!(
                text,
                "| {} | {} | {} {} | {} | {} | {} | {} | {} | {cpu} | {} | {} | {} |",
                load.name(),
                kind.name(),
                shown(middle(bursts.iter().map(|it| it.value))),
                load.unit(),
                shown(self.wait(load, kind)),
                ratio(Kind::Direct),
                ratio(Kind::Relay),
                ratio(Kind::Nginx),
                ratio(Kind::Haproxy),
                shown(self.peak(load, kind)),
                shown(middle(bursts.iter().map(|it| it.busy))),
                self.goals(load, kind).join("; "),
            );
        }
        text
    }

    fn goals(&self, load: Load, kind: Kind) -> Vec<String> {
        let word = |met| if met { "met" } else { "**not met**" };
        let mut goals = Vec::new();
        if !kind.is_ours() {
            return goals;
        }
        match load.work {
            Work::Small if load.clients == 64 && kind == Kind::BeforeResponse => {
                if let Some(ratio) = self.ratio(load, kind, Kind::Nginx) {
                    let met = word(ratio >= SMALL_TO_NGINX);
                    goals.push(format!("at least {SMALL_TO_NGINX} of nginx: {met}"));
                }
            }
            Work::Get | Work::Post => {
                if let Some(ratio) = self.ratio(load, kind, Kind::Relay) {
                    let met = word(ratio >= BULK_TO_RELAY);
                    goals.push(format!("at least {BULK_TO_RELAY} of the bare relay: {met}"));
                }
            }
            Work::Call if load.clients == 1 => {
                let (mine, direct) = (self.wait(load, kind), self.wait(load, Kind::Direct));
                if let (Some(mine), Some(direct)) = (mine, direct) {
                    let met = word(mine - direct <= CALL_US);
                    goals.push(format!("at most {CALL_US} µs more than directly: {met}"));
                }
            }
            Work::Endless => {
                if let Some(peak) = self.peak(load, kind) {
                    let met = word(peak <= ENDLESS_MIB);
                    goals.push(format!("at most {ENDLESS_MIB} MiB resident: {met}"));
                }
            }
            _ => {}
        }
        goals
    }
}

/// With as many digits as mean something.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
