//! From bursts to a table with ratios and goals.

use std::fmt::Write as _;

use crate::load::{Burst, Load, median};
use crate::peer::Kind;

/// Least part of the bare russh relay's rate for bulk.
const BULK_TO_RELAY: f64 = 0.8;
/// Least part of `ProxyJump`'s rate for bulk.
const BULK_TO_JUMP: f64 = 0.6;
/// Most memory of an idle session beyond the bare relay's, in KiB.
const IDLE_KIB: f64 = 64.0;
/// Handshakes that a proxied command may take more than a direct one.
const HANDSHAKES: f64 = 2.0;

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

    fn value(&self, load: Load, kind: Kind) -> Option<f64> {
        middle(self.of(load, kind).iter().map(|b| b.value))
    }

    /// The median of each round's ratio: what changes from round to round falls out of it.
    fn ratio(&self, load: Load, kind: Kind, to: Kind) -> Option<f64> {
        let pairs = self.of(load, kind).iter().zip(self.of(load, to));
        middle(pairs.map(|(mine, theirs)| mine.value / theirs.value))
    }

    /// The whole table in Markdown.
    pub(crate) fn table(&self) -> String {
        let mut text = "\n| load | peer | value | /direct | /relay | /ProxyJump | proxy CPU µs | \
                        peak MiB | busy | goals |\n|---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
        for (load, kind, bursts) in &self.0 {
            let (load, kind) = (*load, *kind);
            let cpu = middle(bursts.iter().filter_map(|b| b.cpu_us));
            let cpu = cpu.map_or_else(String::new, |us| format!("{}/{}", number(us), load.per()));
            let peak = bursts.iter().filter_map(|b| b.peak_mib).reduce(f64::max);
            let ratio = |to| self.ratio(load, kind, to).map_or_else(String::new, number);
            let _ = writeln!(
                text,
                "| {} | {} | {} {} | {} | {} | {} | {cpu} | {} | {} | {} |",
                load.name(),
                kind.name(),
                number(self.value(load, kind).unwrap_or(f64::NAN)),
                load.unit(),
                ratio(Kind::Direct),
                ratio(Kind::Relay),
                ratio(Kind::ProxyJump),
                peak.map_or_else(String::new, number),
                number(middle(bursts.iter().map(|b| b.busy)).unwrap_or(f64::NAN)),
                self.goals(load, kind).join("; "),
            );
        }
        text
    }

    fn goals(&self, load: Load, kind: Kind) -> Vec<String> {
        if kind != Kind::Greffier {
            return Vec::new();
        }
        let word = |met| if met { "met" } else { "**not met**" };
        let mut goals = Vec::new();
        if load.is_bulk() {
            for (to, least) in [(Kind::Relay, BULK_TO_RELAY), (Kind::ProxyJump, BULK_TO_JUMP)] {
                if let Some(ratio) = self.ratio(load, kind, to) {
                    let met = word(ratio >= least);
                    goals.push(format!("at least {least} of {}: {met}", to.name()));
                }
            }
        }
        let (mine, relay) = (self.value(load, kind), self.value(load, Kind::Relay));
        if let (Load::Idle, Some(mine), Some(relay)) = (load, mine, relay) {
            let met = word(mine - relay <= IDLE_KIB);
            goals.push(format!("at most {IDLE_KIB} KiB beyond the relay's: {met}"));
        }
        let (direct, one) =
            (self.value(load, Kind::Direct), self.value(Load::Handshake, Kind::Direct));
        if let (Load::Connect, Some(mine), Some(direct), Some(one)) = (load, mine, direct, one) {
            let met = word(mine <= direct + HANDSHAKES * one);
            goals.push(format!("at most direct and {HANDSHAKES} handshakes: {met}"));
        }
        goals
    }
}

fn middle(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    if figures.is_empty() { None } else { Some(median(&figures)) }
}

/// With as many digits as mean something.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
