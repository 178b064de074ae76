//! What the kernel says about a process and the machine.

use std::fs;
use std::time::{Duration, Instant};

/// How often a settling process is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// CPU time in one look below which a process counts as at rest.
const AT_REST_NS: u64 = 4_000_000;

/// Used so far by all threads of a process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    /// CPU time of the threads there are, in nanoseconds.
    threads_ns: u64,
    /// CPU time of the process with the threads that have ended, in hundredths of a second.
    ticks: u64,
    /// How often a thread slept and was woken.
    pub(crate) wakeups: u64,
}

impl Used {
    pub(crate) fn since(self, before: Used) -> Used {
        Used {
            threads_ns: self.threads_ns.saturating_sub(before.threads_ns),
            ticks: self.ticks.saturating_sub(before.ticks),
            wakeups: self.wakeups.saturating_sub(before.wakeups),
        }
    }

    /// CPU time, in nanoseconds. The threads' sum is exact but falls when a thread ends; then
    /// the coarse figure is the larger one.
    pub(crate) fn cpu_ns(self) -> u64 {
        self.threads_ns.max(self.ticks.saturating_sub(1) * 10_000_000)
    }
}

pub(crate) fn used(pid: u32) -> Used {
    let mut used = Used::default();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let read = |name: &str| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        let first = read("schedstat").split(' ').next().and_then(|n| n.parse::<u64>().ok());
        used.threads_ns += first.unwrap_or(0);
        used.wakeups += field(&read("status"), "voluntary_ctxt_switches:").unwrap_or(0);
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name in brackets, which may hold anything: utime and stime are the 12th and 13th.
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
    used.ticks = fields.skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    used
}

/// Resident memory now, in KiB.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    field(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

/// The most resident memory since [`forget_peak`], in KiB.
pub(crate) fn peak(pid: u32) -> Option<u64> {
    field(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmHWM:")
}

/// Begins a new peak. Where that is not allowed, the peak is that of the process's whole life.
pub(crate) fn forget_peak(pid: u32) {
    let _not_ours = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// Waits until a process is at rest, so that what it does later (publishing) does not disturb
/// the next burst. Not longer than `limit`.
pub(crate) fn settle(pid: u32, limit: Duration) {
    let end = Instant::now() + limit;
    let mut last = used(pid).threads_ns;
    while Instant::now() < end {
        std::thread::sleep(LOOK);
        let now = used(pid).threads_ns;
        if now.saturating_sub(last) < AT_REST_NS {
            return;
        }
        last = now;
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// One, five and fifteen minutes.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// CPU time of the whole machine so far: busy and stolen, in hundredths of a second.
pub(crate) fn machine_busy() -> u64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let Some(line) = text.lines().next() else { return 0 };
    let fields: Vec<u64> = line.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let part = |at: usize| fields.get(at).copied().unwrap_or(0);
    part(0) + part(1) + part(2) + part(5) + part(6) + part(7)
}

/// The model of the first processor.
pub(crate) fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| "unknown".to_owned(), |(_, m)| m.to_owned())
}
