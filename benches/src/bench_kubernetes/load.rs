//! What is done to a peer, and what is measured while it is done.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::client::{Client, JSON};
use crate::exec;
use crate::ground::{BLOB, BLOB_BYTES, Ground, NAMESPACE, TEXT};
use crate::peer::{Kind, Peer};
use crate::proc::{self, Used};
use crate::sockets::Count;
use crate::watch::{Watches, Writers};

/// How long a proxy may work on after a burst before the next one begins.
const SETTLE: Duration = Duration::from_secs(60);
/// How long the API server gets for the same: it never rests quite.
const PAUSE: Duration = Duration::from_millis(500);
/// Requests before what is measured, so that each thread of a proxy has its connections.
const WARM_UP: usize = 6;
/// The least number of runs in a burst, however long one takes.
const LEAST: usize = 3;
/// What kubectl asks for when it prints a table.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// How much of everything.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Size {
    /// Length of a burst.
    pub(crate) seconds: u32,
    /// Pods in a list.
    pub(crate) pods: usize,
    /// Watches at once.
    pub(crate) watches: usize,
    /// Changes in a second, in all.
    pub(crate) events: u32,
    /// MiB through exec.
    pub(crate) mib: u64,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Work {
    /// kubectl prints one object; it knows what the API has.
    Get,
    /// The same, and it does not.
    GetCold,
    /// One object, again and again on one connection.
    Small,
    /// All pods as JSON.
    List,
    /// All pods as a table.
    Table,
    /// How long changes take to those who watch.
    Watch,
    /// What a watch that sees nothing takes of memory.
    Idle,
    /// A command that prints nothing.
    Exec,
    /// A command that prints much that is no text.
    Bulk,
    /// A command that prints much text.
    Text,
}

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load(pub(crate) Work);

impl Load {
    pub(crate) const ALL: [Load; 10] = [
        Load(Work::Get),
        Load(Work::GetCold),
        Load(Work::Small),
        Load(Work::List),
        Load(Work::Table),
        Load(Work::Watch),
        Load(Work::Idle),
        Load(Work::Exec),
        Load(Work::Bulk),
        Load(Work::Text),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            Work::Get => "get",
            Work::GetCold => "get-cold",
            Work::Small => "small",
            Work::List => "list",
            Work::Table => "list-table",
            Work::Watch => "watch",
            Work::Idle => "idle",
            Work::Exec => "exec",
            Work::Bulk => "exec-bulk",
            Work::Text => "exec-text",
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self.0 {
            Work::Get | Work::GetCold | Work::Small | Work::Exec => "ms p50",
            Work::List | Work::Table | Work::Bulk | Work::Text => "MB/s",
            Work::Watch => "ms p99",
            Work::Idle => "KiB/watch",
        }
    }

    /// What stands beside the value.
    pub(crate) fn beside(self) -> &'static str {
        match self.0 {
            Work::List | Work::Table => "ms a list",
            Work::Watch => "ms p50",
            _ => "",
        }
    }

    /// What the proxy's CPU time and connections are counted for.
    pub(crate) fn per(self) -> &'static str {
        match self.0 {
            Work::Get | Work::GetCold => "kubectl",
            Work::Small => "request",
            Work::List | Work::Table => "list",
            Work::Watch => "event",
            Work::Idle => "watch",
            Work::Exec | Work::Bulk | Work::Text => "exec",
        }
    }

    /// Whether there is a sense in measuring this peer.
    pub(crate) fn is_for(self, kind: Kind) -> bool {
        match self.0 {
            Work::Idle => !matches!(kind, Kind::Direct | Kind::BeforeResponse | Kind::Unmasked),
            Work::List | Work::Table | Work::Watch => true,
            _ => kind != Kind::Unmasked,
        }
    }
}

/// One burst's figures.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Burst {
    /// In the load's unit.
    pub(crate) value: f64,
    /// What stands beside it.
    pub(crate) beside: Option<f64>,
    /// The proxy's CPU time for each of what is counted, in microseconds.
    pub(crate) cpu_us: Option<f64>,
    /// Its most resident memory in the burst, in MiB.
    pub(crate) peak_mib: Option<f64>,
    /// New connections to the API server for each of what is counted.
    pub(crate) connects: Option<f64>,
    /// Processors that were busy in the burst, in all.
    pub(crate) busy: f64,
}

/// What is read before and after.
struct Meter {
    pid: Option<u32>,
    used: Used,
    connects: Count,
    busy: u64,
    begun: Instant,
}

impl Meter {
    /// Waits until the proxy has come to rest, and begins.
    fn start(peer: &Peer, ground: &Ground) -> Meter {
        let pid = peer.pid();
        std::thread::sleep(PAUSE);
        if let Some(pid) = pid {
            proc::settle(pid, SETTLE);
            proc::forget_peak(pid);
        }
        Meter {
            pid,
            used: pid.map(proc::used).unwrap_or_default(),
            connects: Count::start(ground.cluster.port()),
            busy: proc::machine_busy(),
            begun: Instant::now(),
        }
    }

    /// The figures that are the same for all work, for so many.
    fn stop(self, count: usize) -> Burst {
        let (span, count) = (self.begun.elapsed().as_secs_f64(), count.max(1) as f64);
        let cpu = self.pid.map(|pid| proc::used(pid).since(self.used).cpu_ns());
        let busy = proc::machine_busy().saturating_sub(self.busy) as f64 / 100.0 / span;
        Burst {
            cpu_us: cpu.map(|ns| ns as f64 / 1e3 / count),
            peak_mib: self.pid.and_then(proc::peak).map(|kib| kib as f64 / 1024.0),
            connects: self.connects.stop().map(|new| new as f64 / count),
            busy,
            ..Burst::default()
        }
    }
}

/// Runs one burst.
pub(crate) fn burst(load: Load, peer: &Peer, ground: &Ground, size: Size) -> Result<Burst, String> {
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    match load.0 {
        Work::Get => kubectl(peer, ground, size, false),
        Work::GetCold => kubectl(peer, ground, size, true),
        Work::Small => ground.runtime.block_on(small(peer, ground, size)),
        Work::List => ground.runtime.block_on(list(peer, ground, size, (&pods, JSON))),
        Work::Table => ground.runtime.block_on(list(peer, ground, size, (&pods, TABLE))),
        Work::Watch => ground.runtime.block_on(watch(peer, ground, size)),
        Work::Idle => ground.runtime.block_on(idle(peer.kind, ground, size)),
        Work::Exec => ground.runtime.block_on(command(peer, ground, size)),
        Work::Bulk => ground.runtime.block_on(bulk(peer, ground, (size, BLOB))),
        Work::Text => ground.runtime.block_on(bulk(peer, ground, (size, TEXT))),
    }
}

/// Whether a burst goes on.
fn goes_on(done: usize, begun: Instant, size: Size) -> bool {
    done < LEAST || begun.elapsed() < Duration::from_secs(u64::from(size.seconds))
}

/// `kubectl get configmap`, from its process's start to its end.
fn kubectl(peer: &Peer, ground: &Ground, size: Size, cold: bool) -> Result<Burst, String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let door = peer.door(ground, 0)?;
    let mut get = ground.kubectl(&door)?;
    get.args(["get", "configmap", "config-0", "--namespace", NAMESPACE]);
    for _ in 0..WARM_UP {
        said(&mut get)?;
    }
    let meter = Meter::start(peer, ground);
    let mut waits = Vec::new();
    while goes_on(waits.len(), meter.begun, size) {
        let cache = ground.dir.path().join(format!("c{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        if cold {
            get.env("KUBECACHEDIR", &cache);
        }
        let begun = Instant::now();
        said(&mut get)?;
        waits.push(millis(begun));
        // Only there if it was empty at first.
        let _kept = fs::remove_dir_all(cache);
    }
    let burst = meter.stop(waits.len());
    Ok(Burst { value: middle(waits.into_iter()).unwrap_or(f64::NAN), ..burst })
}

fn said(command: &mut Command) -> Result<(), String> {
    let out = command.output().map_err(|e| format!("kubectl: {e}"))?;
    match out.status.success() {
        true => Ok(()),
        false => Err(format!("kubectl: {}", String::from_utf8_lossy(&out.stderr))),
    }
}

/// A connection of one person's, on which something was asked, as on others that are gone.
async fn warm(peer: &Peer, ground: &Ground, path: &str) -> Result<Client, String> {
    let door = peer.door(ground, 0)?;
    let mut client = door.connect().await?;
    client.get(path, JSON).await?;
    for _ in 1..WARM_UP {
        door.connect().await?.get(path, JSON).await?;
    }
    Ok(client)
}

async fn small(peer: &Peer, ground: &Ground, size: Size) -> Result<Burst, String> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/config-0");
    let mut client = warm(peer, ground, &path).await?;
    let meter = Meter::start(peer, ground);
    let mut waits = Vec::new();
    while goes_on(waits.len(), meter.begun, size) {
        let begun = Instant::now();
        client.get(&path, JSON).await?;
        waits.push(millis(begun));
    }
    let burst = meter.stop(waits.len());
    Ok(Burst { value: middle(waits.into_iter()).unwrap_or(f64::NAN), ..burst })
}

async fn list(
    peer: &Peer,
    ground: &Ground,
    size: Size,
    (path, accept): (&str, &str),
) -> Result<Burst, String> {
    let config = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/config-0");
    let mut client = warm(peer, ground, &config).await?;
    client.get(path, accept).await?;
    let meter = Meter::start(peer, ground);
    let (mut rates, mut waits) = (Vec::new(), Vec::new());
    while goes_on(waits.len(), meter.begun, size) {
        let begun = Instant::now();
        let bytes = client.get(path, accept).await?;
        let wait = millis(begun);
        rates.push(bytes as f64 / 1e3 / wait);
        waits.push(wait);
    }
    let burst = meter.stop(waits.len());
    let value = middle(rates.into_iter()).unwrap_or(f64::NAN);
    Ok(Burst { value, beside: middle(waits.into_iter()), ..burst })
}

/// Changes, written past the proxy, and when those who watch through it see them.
async fn watch(peer: &Peer, ground: &Ground, size: Size) -> Result<Burst, String> {
    let writers = Writers::connect(&ground.direct()).await?;
    let mut watches = Watches::open(peer, ground, size.watches).await?;
    let second = size.events as usize;
    let first = writers.write(size.watches, size.events, second).await?;
    watches.waits(first).await?;
    let meter = Meter::start(peer, ground);
    let count = second * 2 * size.seconds as usize;
    let written = writers.write(size.watches, size.events, count).await?;
    let waits = watches.waits(written).await?;
    let burst = meter.stop(count);
    let at = |part: f64| waits.get((waits.len() as f64 * part) as usize).copied();
    Ok(Burst { value: at(0.99).unwrap_or(f64::NAN), beside: at(0.5), ..burst })
}

/// What each watch adds to a fresh proxy.
async fn idle(kind: Kind, ground: &Ground, size: Size) -> Result<Burst, String> {
    let fresh = Peer::start(kind, ground)?;
    let config = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/config-0");
    drop(warm(&fresh, ground, &config).await?);
    let pid = fresh.pid().ok_or("no proxy, no memory")?;
    let meter = Meter::start(&fresh, ground);
    let resident = || proc::resident(pid).ok_or_else(|| "the proxy has ended".to_owned());
    let before = resident()?;
    let watches = Watches::open(&fresh, ground, size.watches).await?;
    let burst = meter.stop(size.watches);
    proc::settle(pid, SETTLE);
    let more = resident()?.saturating_sub(before);
    drop(watches);
    Ok(Burst { value: more as f64 / size.watches as f64, ..burst })
}

/// `true` in a pod, each time on a new connection, as kubectl does it.
async fn command(peer: &Peer, ground: &Ground, size: Size) -> Result<Burst, String> {
    let door = peer.door(ground, 0)?;
    for _ in 0..WARM_UP {
        exec::run(&door, &["true"]).await?;
    }
    let meter = Meter::start(peer, ground);
    let mut waits = Vec::new();
    while goes_on(waits.len(), meter.begun, size) {
        let begun = Instant::now();
        exec::run(&door, &["true"]).await?;
        waits.push(millis(begun));
    }
    let burst = meter.stop(waits.len());
    Ok(Burst { value: middle(waits.into_iter()).unwrap_or(f64::NAN), ..burst })
}

async fn bulk(peer: &Peer, ground: &Ground, (size, file): (Size, &str)) -> Result<Burst, String> {
    let door = peer.door(ground, 0)?;
    exec::run(&door, &["true"]).await?;
    let bytes = size.mib * 1024 * 1024;
    let times = bytes.div_ceil(BLOB_BYTES);
    let mut words = vec!["cat"];
    words.extend((0..times).map(|_| file));
    let meter = Meter::start(peer, ground);
    let begun = Instant::now();
    let printed = exec::run(&door, &words).await?;
    let wait = millis(begun);
    let burst = meter.stop(1);
    match printed == times * BLOB_BYTES {
        true => Ok(Burst { value: printed as f64 / 1e3 / wait, ..burst }),
        false => Err(format!("{printed} bytes came")),
    }
}

fn millis(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

/// The middle one of figures.
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
