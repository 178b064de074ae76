//! What is done to a peer, and what is measured while it is done.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::peer::{Ground, Kind, Peer, found};
use crate::proc::{self, Used};
use crate::upstream::{LONG, prose};

/// How long a proxy may work on after a burst before the next one begins.
const SETTLE: Duration = Duration::from_secs(60);

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Length of a burst.
    pub(crate) seconds: u32,
    /// Bytes of the body that is longer than memory should be.
    pub(crate) endless: u64,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// A few bytes.
    Small,
    /// 1 MiB of prose.
    Get,
    /// The same the other way.
    Post,
    /// 16 KiB of JSON, 200 values of it masked.
    Json,
    /// A call of a tool.
    Call,
    /// One long body.
    Endless,
}

/// A load: what, and on how many connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) work: Work,
    pub(crate) clients: u32,
}

impl Load {
    pub(crate) fn all() -> Vec<Load> {
        let works = [Work::Small, Work::Get, Work::Post, Work::Json, Work::Call];
        let each = works.into_iter().flat_map(|work| [1, 64].map(|clients| Load { work, clients }));
        each.chain([Load { work: Work::Endless, clients: 1 }]).collect()
    }

    pub(crate) fn name(self) -> String {
        let work = match self.work {
            Work::Small => "get-small",
            Work::Get => "get-1m",
            Work::Post => "post-1m",
            Work::Json => "json",
            Work::Call => "mcp-call",
            Work::Endless => return "endless".to_owned(),
        };
        format!("{work}-{}", self.clients)
    }

    pub(crate) fn unit(self) -> &'static str {
        if self.is_bulk() { "MB/s" } else { "requests/s" }
    }

    /// What the proxy's CPU time is counted for.
    pub(crate) fn per(self) -> &'static str {
        if self.is_bulk() { "MB" } else { "request" }
    }

    /// Whether it is a rate of bytes.
    pub(crate) fn is_bulk(self) -> bool {
        matches!(self.work, Work::Get | Work::Post | Work::Endless)
    }

    fn path(self, size: Size) -> String {
        match self.work {
            Work::Small => "/small".into(),
            Work::Get => "/long".into(),
            Work::Post => "/taken".into(),
            Work::Json => "/people".into(),
            Work::Call => "/mcp".into(),
            Work::Endless => format!("/endless?{}", size.endless),
        }
    }

    /// wrk's script: what it sends.
    fn script(self, ground: &Ground) -> Result<String, String> {
        Ok(match self.work {
            Work::Post => {
                let file = ground.dir.path().join("prose");
                fs::write(&file, prose(LONG)).map_err(|e| e.to_string())?;
                format!(
                    "wrk.method = \"POST\"\nwrk.headers[\"Content-Type\"] = \"text/plain\"\n\
                     local file = io.open(\"{}\", \"rb\")\nwrk.body = file:read(\"*a\")\n",
                    file.display()
                )
            }
            Work::Call => "wrk.method = \"POST\"\n\
                 wrk.headers[\"Content-Type\"] = \"application/json\"\n\
                 wrk.headers[\"Accept\"] = \"application/json, text/event-stream\"\n\
                 wrk.body = [[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\
                 \"params\":{\"name\":\"change\",\"arguments\":{\"table\":\"orders\",\"rows\":3}}}]]\n"
                .to_owned(),
            _ => String::new(),
        })
    }
}

/// One burst's figures.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Burst {
    /// In the load's unit.
    pub(crate) value: f64,
    /// The median wait for an answer, in microseconds.
    pub(crate) wait_us: Option<f64>,
    /// The proxy's CPU time for each of what is counted, in microseconds.
    pub(crate) cpu_us: Option<f64>,
    /// Its most resident memory in the burst, in MiB.
    pub(crate) peak_mib: Option<f64>,
    /// Processors that were busy in the burst, in all.
    pub(crate) busy: f64,
}

/// Runs one burst.
pub(crate) fn burst(load: Load, peer: &Peer, ground: &Ground, size: Size) -> Result<Burst, String> {
    let pids = peer.pids();
    for pid in pids.iter().chain([&ground.service()]) {
        proc::settle(*pid, SETTLE);
        proc::forget_peak(*pid);
    }
    let used = || -> Vec<Used> { pids.iter().map(|pid| proc::used(*pid)).collect() };
    let (before, busy, begun) = (used(), proc::machine_busy(), Instant::now());
    let (count, wait_us) = match load.work {
        Work::Endless => (endless(peer, &load.path(size))?, None),
        _ => wrk(load, peer, ground, size)?,
    };
    let span = begun.elapsed().as_secs_f64();
    let cpu: u64 = used().iter().zip(before).map(|(now, then)| now.since(then).cpu_ns()).sum();
    let peak: u64 = pids.iter().filter_map(|pid| proc::peak(*pid)).sum();
    let proxied = !pids.is_empty();
    Ok(Burst {
        value: count / span,
        wait_us,
        cpu_us: proxied.then(|| cpu as f64 / 1e3 / count.max(1.0)),
        peak_mib: proxied.then(|| peak as f64 / 1024.0),
        busy: proc::machine_busy().saturating_sub(busy) as f64 / 100.0 / span,
    })
}

/// What wrk counted: requests or megabytes, and the median wait.
fn wrk(load: Load, peer: &Peer, ground: &Ground, size: Size) -> Result<(f64, Option<f64>), String> {
    let script = ground.dir.path().join("script.lua");
    fs::write(&script, load.script(ground)?).map_err(|e| e.to_string())?;
    let mut wrk = Command::new(found("wrk")?);
    wrk.args(["--latency", "--timeout", "30s", "-t1", "-c", &load.clients.to_string()]);
    wrk.arg("-d").arg(format!("{}s", size.seconds)).arg("-s").arg(&script);
    if let Some(field) = peer.authorization() {
        wrk.args(["-H", &field]);
    }
    let out = wrk.arg(peer.url(&load.path(size))).output().map_err(|e| format!("wrk: {e}"))?;
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() || said.contains("Non-2xx") || said.contains("Socket errors") {
        return Err(format!("wrk: {said} {}", String::from_utf8_lossy(&out.stderr)));
    }
    let requests = said.lines().find_map(|line| line.trim().split_once(" requests in "));
    let requests: f64 = requests.and_then(|it| it.0.parse().ok()).ok_or_else(|| said.clone())?;
    let half = said.lines().find_map(|line| line.trim().strip_prefix("50%"));
    let count = if load.is_bulk() { requests * LONG as f64 / 1e6 } else { requests };
    Ok((count, half.and_then(|it| micros(it.trim()))))
}

/// A time as wrk writes it.
fn micros(text: &str) -> Option<f64> {
    for (unit, factor) in [("us", 1.0), ("ms", 1e3), ("s", 1e6)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Some(number.parse::<f64>().ok()? * factor);
        }
    }
    None
}

/// The megabytes of one long body.
fn endless(peer: &Peer, path: &str) -> Result<f64, String> {
    let mut curl = Command::new(found("curl")?);
    curl.args(["-q", "-sS", "-f", "-o", "/dev/null", "-w", "%{size_download}"]);
    if let Some(field) = peer.authorization() {
        curl.args(["-H", &field]);
    }
    let out = curl.arg(peer.url(path)).output().map_err(|e| format!("curl: {e}"))?;
    let bytes = String::from_utf8_lossy(&out.stdout).parse::<f64>();
    match bytes {
        Ok(bytes) if out.status.success() => Ok(bytes / 1e6),
        _ => Err(format!("curl: {}", String::from_utf8_lossy(&out.stderr))),
    }
}

/// The middle one of sorted figures.
pub(crate) fn middle(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let half = figures.len() / 2;
    match (figures.get(half.wrapping_sub(1)), figures.get(half)) {
        (Some(below), Some(above)) if figures.len().is_multiple_of(2) => {
            Some((below + above) / 2.0)
        }
        (_, middle) => middle.copied(),
    }
}

impl Load {
    /// Whether there is a sense in measuring this peer.
    pub(crate) fn is_for(self, kind: Kind) -> bool {
        self.work != Work::Endless || kind.is_ours() || kind == Kind::Relay
    }
}
