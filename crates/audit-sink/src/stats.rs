//! Counters of the committer: cheap to write, read as a snapshot.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Four buckets for each power of two of nanoseconds, up to 2^40 (18 minutes).
const BUCKETS: usize = 160;

/// A histogram of durations with a relative error of at most 25 %.
#[derive(Debug)]
pub(crate) struct Timer {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

impl Timer {
    pub(crate) fn new() -> Self {
        Self { buckets: std::array::from_fn(|_| AtomicU64::new(0)), sum_ns: AtomicU64::new(0) }
    }

    pub(crate) fn record(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(ns, Relaxed);
        if let Some(bucket) = self.buckets.get(bucket_of(ns)) {
            bucket.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn snapshot(&self) -> Times {
        let counts: Vec<u64> = self.buckets.iter().map(|b| b.load(Relaxed)).collect();
        let count = counts.iter().sum();
        Times { counts, count, total: Duration::from_nanos(self.sum_ns.load(Relaxed)) }
    }
}

fn bucket_of(ns: u64) -> usize {
    if ns < 4 {
        return 0;
    }
    let log = ns.ilog2();
    let quarter = (ns >> (log - 2)) & 3;
    ((log as usize * 4) + quarter as usize).min(BUCKETS - 1)
}

/// Upper edge of a bucket.
fn edge_of(bucket: usize) -> u64 {
    let (log, quarter) = (bucket / 4, bucket as u64 % 4);
    if log < 2 { 4 } else { (5 + quarter) << (log - 2) }
}

/// Durations counted since the log was opened.
#[derive(Debug, Clone)]
pub struct Times {
    counts: Vec<u64>,
    /// How many were counted.
    pub count: u64,
    /// Their sum.
    pub total: Duration,
}

impl Times {
    /// The duration that the given share of all (0.5: the median) did not exceed, at most 25 %
    /// too high. Zero if nothing was counted.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (share.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0u64;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen = seen.saturating_add(*count);
            if seen >= wanted {
                return Duration::from_nanos(edge_of(bucket));
            }
        }
        Duration::ZERO
    }
}

/// What the committer has done since the log was opened.
#[derive(Debug, Clone)]
pub struct Stats {
    /// Frames made durable.
    pub frames: u64,
    /// Entries made durable.
    pub entries: u64,
    /// Bytes written, padding included.
    pub bytes: u64,
    /// Time in `pwrite`, one value a frame.
    pub write: Times,
    /// Time in `fdatasync`.
    pub sync: Times,
    /// From taking a batch to having woken those who wait for it.
    pub commit: Times,
}

#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) frames: AtomicU64,
    pub(crate) entries: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) write: Timer,
    pub(crate) sync: Timer,
    pub(crate) commit: Timer,
    /// The moving average of `sync`, in nanoseconds.
    average: AtomicU64,
}

/// A flush counts for so much in the average, at most: one hiccup is no slow disk.
const AVERAGE_MAX: Duration = Duration::from_millis(2);
/// A flush counts for one part in so many in the average.
const AVERAGE_OVER: u64 = 8;

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            frames: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            write: Timer::new(),
            sync: Timer::new(),
            commit: Timer::new(),
            average: AtomicU64::new(0),
        }
    }

    /// A flush has taken so long. Called by one thread at a time.
    pub(crate) fn flushed(&self, took: Duration) {
        self.sync.record(took);
        let took = u64::try_from(took.min(AVERAGE_MAX).as_nanos()).unwrap_or(0);
        let before = self.average.load(Relaxed);
        self.average.store(before - before / AVERAGE_OVER + took / AVERAGE_OVER, Relaxed);
    }

    /// What a flush took of late, on the average.
    pub(crate) fn flush_average(&self) -> Duration {
        Duration::from_nanos(self.average.load(Relaxed))
    }

    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            frames: self.frames.load(Relaxed),
            entries: self.entries.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            write: self.write.snapshot(),
            sync: self.sync.snapshot(),
            commit: self.commit.snapshot(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_at_most_a_quarter_too_high() {
        for ns in [5u64, 100, 1_000, 145_000, 999_999, 5_000_000_000] {
            let timer = Timer::new();
            timer.record(Duration::from_nanos(ns));
            let q = timer.snapshot().quantile(0.5).as_nanos() as u64;
            assert!(q >= ns && q <= ns + ns / 4 + 1, "{ns}: {q}");
        }
        assert_eq!(Timer::new().snapshot().quantile(0.5), Duration::ZERO);
    }
}
