//! What is done to a peer, and what is measured while it is done.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::peer::{Door, Ground, Kind, Peer};
use crate::proc::{self, Used};

/// Sessions that only wait, in the load of this name.
pub(crate) const IDLE_SESSIONS: usize = 1000;
/// How long a proxy may work on after a burst before the next one begins.
const SETTLE: Duration = Duration::from_secs(20);

/// A load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// `pgbench -S` in a query mode with so many clients.
    Pgbench { mode: &'static str, clients: u32 },
    /// `pgbench -S -C`: a connection for every transaction.
    Connect { clients: u32 },
    /// One client that waits for each answer: the median wait.
    Wait,
    /// One large answer, read as fast as it comes.
    Drain { sql: &'static str },
    /// Sessions that did one query and wait: the proxy's memory for each.
    Idle,
}

/// A load and its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) work: Work,
}

impl Load {
    const fn new(name: &'static str, work: Work) -> Self {
        Load { name, work }
    }

    pub(crate) const ALL: [Load; 13] = [
        Load::new("simple-1", Work::Pgbench { mode: "simple", clients: 1 }),
        Load::new("extended-1", Work::Pgbench { mode: "extended", clients: 1 }),
        Load::new("prepared-1", Work::Pgbench { mode: "prepared", clients: 1 }),
        Load::new("simple-8", Work::Pgbench { mode: "simple", clients: 8 }),
        Load::new("extended-8", Work::Pgbench { mode: "extended", clients: 8 }),
        Load::new("prepared-8", Work::Pgbench { mode: "prepared", clients: 8 }),
        Load::new("wait", Work::Wait),
        Load::new("select-1m", Work::Drain { sql: "SELECT * FROM pgbench_accounts LIMIT 1000000" }),
        Load::new("select-1m-text", Work::Drain { sql: "SELECT * FROM bulk LIMIT 1000000" }),
        Load::new("copy-2m", Work::Drain { sql: "COPY bulk TO STDOUT" }),
        Load::new("connect-1", Work::Connect { clients: 1 }),
        Load::new("connect-8", Work::Connect { clients: 8 }),
        Load::new("idle", Work::Idle),
    ];

    pub(crate) fn unit(self) -> &'static str {
        match self.work {
            Work::Pgbench { .. } => "tps",
            Work::Connect { .. } => "connects/s",
            Work::Wait => "µs p50",
            Work::Drain { .. } => "MB/s",
            Work::Idle => "KiB/session",
        }
    }

    /// What the proxy's CPU time is counted for.
    pub(crate) fn per(self) -> &'static str {
        match self.work {
            Work::Drain { .. } => "MB",
            Work::Idle => "session",
            _ => "exchange",
        }
    }

    /// Whether there is a sense in measuring this peer.
    pub(crate) fn is_for(self, kind: Kind) -> bool {
        match self.work {
            // One process serves both levels; direct has no proxy.
            Work::Idle => !matches!(kind, Kind::Direct | Kind::BeforeResponse),
            _ => true,
        }
    }
}

/// One burst's figures.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Burst {
    /// In the load's unit.
    pub(crate) value: f64,
    /// The proxy's CPU time for each exchange (or MB) in the burst, in microseconds.
    pub(crate) cpu_us: Option<f64>,
    /// The same with what it did afterwards until it was at rest.
    pub(crate) cpu_us_later: Option<f64>,
    /// How often one of its threads slept and was woken, for each exchange (or MB).
    pub(crate) wakeups: Option<f64>,
    /// Its most resident memory in the burst, in MiB.
    pub(crate) peak_mib: Option<f64>,
    /// Processors that were busy in the burst, in all.
    pub(crate) busy: f64,
}

/// What was done, in number, and the figure in the load's unit.
struct Done {
    value: f64,
    count: f64,
}

/// Runs one burst.
pub(crate) fn burst(
    load: Load,
    peer: &Peer,
    ground: &Ground,
    seconds: u32,
) -> Result<Burst, String> {
    if load.work == Work::Idle {
        return idle(peer.kind, ground);
    }
    let pid = peer.pid();
    if let Some(pid) = pid {
        proc::settle(pid, SETTLE);
        proc::forget_peak(pid);
    }
    let used = |pid: Option<u32>| pid.map_or_else(Used::default, proc::used);
    let (before, busy, begun) = (used(pid), proc::machine_busy(), Instant::now());
    let door = &peer.door;
    let done = match load.work {
        Work::Pgbench { mode, clients } => {
            let clients = clients.to_string();
            let args = ["-M", mode, "-c", clients.as_str()];
            pgbench(ground.postgres.bin_dir(), door, &args, seconds)?
        }
        Work::Connect { clients } => {
            let clients = clients.to_string();
            pgbench(ground.postgres.bin_dir(), door, &["-C", "-c", clients.as_str()], seconds)?
        }
        Work::Wait => {
            let mut client = Client::connect(door)?;
            let mut waits = client.waits(Duration::from_secs(u64::from(seconds)))?;
            waits.sort_by(f64::total_cmp);
            Done { value: median(&waits), count: waits.len() as f64 }
        }
        Work::Drain { sql } => drain(door, sql)?,
        Work::Idle => Done { value: 0.0, count: 0.0 },
    };
    let span = begun.elapsed().as_secs_f64();
    let busy = proc::machine_busy().saturating_sub(busy) as f64 / 100.0 / span;
    let during = used(pid).since(before);
    let peak_mib = pid.and_then(proc::peak).map(|kib| kib as f64 / 1024.0);
    if let Some(pid) = pid {
        proc::settle(pid, SETTLE);
    }
    let all = used(pid).since(before);
    let each = |n: u64, unit: f64| pid.map(|_| n as f64 / unit / done.count.max(1.0));
    Ok(Burst {
        value: done.value,
        cpu_us: each(during.cpu_ns(), 1e3),
        cpu_us_later: each(all.cpu_ns(), 1e3),
        wakeups: each(during.wakeups, 1.0),
        peak_mib,
        busy,
    })
}

fn drain(door: &Door, sql: &str) -> Result<Done, String> {
    let mut client = Client::connect(door)?;
    let begun = Instant::now();
    let answer = client.ask(sql)?;
    let span = begun.elapsed().as_secs_f64();
    if answer.rows < 1000 {
        return Err(format!("{sql}: only {} rows came", answer.rows));
    }
    let megabytes = answer.bytes as f64 / 1e6;
    Ok(Done { value: megabytes / span, count: megabytes })
}

/// Runs `pgbench -S` for a while; its own count of transactions a second.
fn pgbench(bin: &Path, door: &Door, args: &[&str], seconds: u32) -> Result<Done, String> {
    let mut command = Command::new(bin.join("pgbench"));
    command
        .args(["-n", "-S", "-T", &seconds.to_string(), "-h", "127.0.0.1"])
        .args(["-p", &door.port.to_string(), "-U", "postgres"])
        .args(args)
        .arg(&door.database)
        .env("PGPASSWORD", &door.password)
        .env("PGSSLMODE", "disable")
        .env("PGGSSENCMODE", "disable");
    let out = command.output().map_err(|e| format!("pgbench: {e}"))?;
    let text = String::from_utf8_lossy(&out.stdout);
    if !out.status.success() {
        return Err(format!("pgbench: {text}{}", String::from_utf8_lossy(&out.stderr)));
    }
    let number = |name: &str| {
        let rest = text.lines().find_map(|l| l.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse::<f64>().ok()
    };
    match (number("tps = "), number("number of transactions actually processed: ")) {
        (Some(value), Some(count)) => Ok(Done { value, count }),
        _ => Err(format!("pgbench said something new: {text}")),
    }
}

/// A fresh proxy, so that no memory of another load is there to be used again.
fn idle(kind: Kind, ground: &Ground) -> Result<Burst, String> {
    let peer = Peer::start(kind, ground)?;
    let Some(pid) = peer.pid() else { return Err("direct has no proxy".to_owned()) };
    let session = || {
        let mut client = Client::small(&peer.door)?;
        client.ask("SELECT abalance FROM pgbench_accounts WHERE aid = 1")?;
        Ok::<_, String>(client)
    };
    for _ in 0..4 {
        session()?;
    }
    proc::settle(pid, SETTLE);
    let resident = || proc::resident(pid).ok_or("the proxy is gone").map(|kib| kib as f64);
    let (before, used, busy, begun) =
        (resident()?, proc::used(pid), proc::machine_busy(), Instant::now());
    let mut open = Vec::with_capacity(IDLE_SESSIONS);
    while open.len() < IDLE_SESSIONS {
        open.push(session()?);
    }
    proc::settle(pid, SETTLE);
    let count = IDLE_SESSIONS as f64;
    let used = proc::used(pid).since(used);
    let busy =
        proc::machine_busy().saturating_sub(busy) as f64 / 100.0 / begun.elapsed().as_secs_f64();
    Ok(Burst {
        value: (resident()? - before) / count,
        cpu_us: Some(used.cpu_ns() as f64 / 1e3 / count),
        cpu_us_later: None,
        wakeups: Some(used.wakeups as f64 / count),
        peak_mib: proc::peak(pid).map(|kib| kib as f64 / 1024.0),
        busy,
    })
}

/// The middle one of sorted figures; of two, the mean.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { at(half) } else { (at(half.wrapping_sub(1)) + at(half)) / 2.0 }
}
