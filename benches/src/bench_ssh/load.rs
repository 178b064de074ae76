//! What is done to a peer, and what is measured while it is done.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::client::{handshakes, many, waiting};
use crate::peer::{Ground, Kind, Peer};
use crate::proc::{self, Used};

/// How long a proxy may work on after a burst before the next one begins.
const SETTLE: Duration = Duration::from_secs(60);
/// Channels at a time in `small`.
const AT_ONCE: u32 = 8;

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Bytes of a bulk transfer.
    pub(crate) bytes: u64,
    pub(crate) sessions: u32,
    pub(crate) execs: u32,
    pub(crate) connects: u32,
}

/// A load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// Connecting and logging in, by a client of ours.
    Handshake,
    /// OpenSSH's `ssh peer true`.
    Connect,
    /// OpenSSH's `ssh peer cat`.
    Down,
    /// OpenSSH's `sftp`, `get`.
    SftpGet,
    /// OpenSSH's `sftp`, `put`.
    SftpPut,
    /// OpenSSH's clients all at once, each with a command that takes a second.
    Sessions,
    /// Commands on one connection, eight at a time.
    Small,
    /// Connections that ran a command and wait.
    Idle,
}

impl Load {
    pub(crate) const ALL: [Load; 8] = [
        Load::Handshake,
        Load::Connect,
        Load::Down,
        Load::SftpGet,
        Load::SftpPut,
        Load::Sessions,
        Load::Small,
        Load::Idle,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Load::Handshake => "handshake",
            Load::Connect => "connect",
            Load::Down => "exec-down",
            Load::SftpGet => "sftp-get",
            Load::SftpPut => "sftp-put",
            Load::Sessions => "sessions",
            Load::Small => "small",
            Load::Idle => "idle",
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Load::Handshake | Load::Connect => "ms p50",
            Load::Down | Load::SftpGet | Load::SftpPut => "MB/s",
            Load::Sessions => "s for all",
            Load::Small => "execs/s",
            Load::Idle => "KiB/session",
        }
    }

    /// What the proxy's CPU time is counted for.
    pub(crate) fn per(self) -> &'static str {
        match self {
            Load::Down | Load::SftpGet | Load::SftpPut => "MB",
            Load::Small => "exec",
            _ => "session",
        }
    }

    /// Whether it is a rate of bytes.
    pub(crate) fn is_bulk(self) -> bool {
        matches!(self, Load::Down | Load::SftpGet | Load::SftpPut)
    }

    /// Whether there is a sense in measuring this peer: idle memory is a proxy's of ours.
    pub(crate) fn is_for(self, kind: Kind) -> bool {
        self != Load::Idle || matches!(kind, Kind::Relay | Kind::Greffier)
    }
}

/// One burst's figures.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Burst {
    /// In the load's unit.
    pub(crate) value: f64,
    /// The proxy's CPU time for each of what is counted, in microseconds.
    pub(crate) cpu_us: Option<f64>,
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
pub(crate) fn burst(load: Load, peer: &Peer, ground: &Ground, size: Size) -> Result<Burst, String> {
    peer.refresh(ground)?;
    if load == Load::Idle {
        return idle(peer.kind, ground, size);
    }
    let pid = peer.pid();
    if let Some(pid) = pid {
        proc::settle(pid, SETTLE);
        proc::forget_peak(pid);
    }
    let used = |pid: Option<u32>| pid.map_or_else(Used::default, proc::used);
    let (before, busy, begun) = (used(pid), proc::machine_busy(), Instant::now());
    let done = run(load, peer, ground, size)?;
    let span = begun.elapsed().as_secs_f64();
    let during = used(pid).since(before);
    Ok(Burst {
        value: done.value,
        cpu_us: pid.map(|_| during.cpu_ns() as f64 / 1e3 / done.count.max(1.0)),
        peak_mib: pid.and_then(proc::peak).map(|kib| kib as f64 / 1024.0),
        busy: proc::machine_busy().saturating_sub(busy) as f64 / 100.0 / span,
    })
}

fn run(load: Load, peer: &Peer, ground: &Ground, size: Size) -> Result<Done, String> {
    let door = peer.door(ground);
    let megabytes = size.bytes as f64 / 1e6;
    Ok(match load {
        Load::Handshake => {
            let waits = ground.block_on(handshakes(&door, size.connects))?;
            Done { value: median(&waits), count: waits.len() as f64 }
        }
        Load::Connect => {
            let mut waits = Vec::new();
            for _ in 0..size.connects {
                let begun = Instant::now();
                well(peer.command("ssh").args(["peer", "true"]))?;
                waits.push(begun.elapsed().as_secs_f64() * 1e3);
            }
            waits.sort_by(f64::total_cmp);
            Done { value: median(&waits), count: waits.len() as f64 }
        }
        Load::Down => {
            let begun = Instant::now();
            let file = ground.file.display().to_string();
            well(peer.command("ssh").args(["peer", "cat", &file]).stdout(Stdio::null()))?;
            Done { value: megabytes / begun.elapsed().as_secs_f64(), count: megabytes }
        }
        Load::SftpGet | Load::SftpPut => {
            let word = if load == Load::SftpGet { "get" } else { "put" };
            let batch = ground.dir.path().join("batch");
            let copy = ground.dir.path().join("copy");
            let line = format!("{word} {} {}\n", ground.file.display(), copy.display());
            std::fs::write(&batch, line).map_err(|e| e.to_string())?;
            let begun = Instant::now();
            well(
                peer.command("sftp")
                    .arg("-q")
                    .arg("-b")
                    .arg(&batch)
                    .arg("peer")
                    .stdout(Stdio::null()),
            )?;
            let span = begun.elapsed().as_secs_f64();
            let came = std::fs::metadata(&copy).map_or(0, |file| file.len());
            std::fs::remove_file(&copy).map_err(|e| e.to_string())?;
            if came != size.bytes {
                return Err(format!("sftp moved {came} bytes"));
            }
            Done { value: megabytes / span, count: megabytes }
        }
        Load::Sessions => {
            let begun = Instant::now();
            let start = |_| {
                let mut ssh = peer.command("ssh");
                ssh.args(["peer", "echo; sleep 1; echo"]).stdout(Stdio::null()).spawn()
            };
            let clients: Result<Vec<Child>, _> = (0..size.sessions).map(start).collect();
            for mut client in clients.map_err(|e| e.to_string())? {
                if !client.wait().map_err(|e| e.to_string())?.success() {
                    return Err("a session of many failed".to_owned());
                }
            }
            Done { value: begun.elapsed().as_secs_f64(), count: f64::from(size.sessions) }
        }
        Load::Small => {
            let span = ground.block_on(many(&door, size.execs, AT_ONCE))?;
            let count = f64::from(size.execs / AT_ONCE * AT_ONCE);
            Done { value: count / span, count }
        }
        Load::Idle => Done { value: 0.0, count: 0.0 },
    })
}

/// Runs a program that must do well.
fn well(command: &mut std::process::Command) -> Result<(), String> {
    let status = command.status().map_err(|e| e.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}")) }
}

/// A fresh proxy, so that no memory of another load is there to be used again.
fn idle(kind: Kind, ground: &Ground, size: Size) -> Result<Burst, String> {
    let peer = Peer::start(kind, ground)?;
    let pid = peer.pid().ok_or("there is no proxy")?;
    let door = peer.door(ground);
    drop(ground.block_on(waiting(&door, 2))?);
    proc::settle(pid, SETTLE);
    let resident = || proc::resident(pid).ok_or("the proxy is gone").map(|kib| kib as f64);
    let (before, used, busy, begun) =
        (resident()?, proc::used(pid), proc::machine_busy(), Instant::now());
    let open = ground.block_on(waiting(&door, size.sessions))?;
    proc::settle(pid, SETTLE);
    let count = open.len() as f64;
    let span = begun.elapsed().as_secs_f64();
    Ok(Burst {
        value: (resident()? - before) / count,
        cpu_us: Some(proc::used(pid).since(used).cpu_ns() as f64 / 1e3 / count),
        peak_mib: proc::peak(pid).map(|kib| kib as f64 / 1024.0),
        busy: proc::machine_busy().saturating_sub(busy) as f64 / 100.0 / span,
    })
}

/// The middle one of sorted figures; of two, the mean.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { at(half) } else { (at(half.wrapping_sub(1)) + at(half)) / 2.0 }
}
