//! The log against the bare group-commit loop: durable 1 KiB entries, same disk, same run.
//!
//! The bare loop has the same shape (a queue, a committer thread, `pwrite` and `fdatasync` on a
//! zero-filled file, wakers) and none of the substance: no tree, no signature, no framing, no
//! checksum. What the log costs on top of the disk is the ratio. Rounds alternate, medians count.
//!
//! `GREFFIER_BENCH_DIR` chooses the disk, `GREFFIER_BENCH_ROUNDS` how many rounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a measuring tool

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use audit_sink::{AppendError, Log, LogConfig};
use tlog::Signer;

const ENTRY: usize = 1024;
const SEGMENT: u64 = 64 << 20;
const ROUND: Duration = Duration::from_millis(700);
const DEFAULT_ROUNDS: usize = 7;
const BLOCK: u64 = 4096;

fn main() {
    // `cargo test --benches` runs this too: one short round shows that it works.
    let quick = !std::env::args().any(|a| a == "--bench");
    let rounds = match std::env::var("GREFFIER_BENCH_ROUNDS") {
        Ok(n) => n.parse().expect("a number of rounds"),
        Err(_) if quick => 1,
        Err(_) => DEFAULT_ROUNDS,
    };
    let place = std::env::var("GREFFIER_BENCH_DIR");
    let place = place.unwrap_or_else(|_| env!("CARGO_TARGET_TMPDIR").to_owned());
    let dir = tempfile::tempdir_in(place).expect("a folder");
    let bare = Bare::start(dir.path());
    let log = open_log(dir.path());
    println!("durable entries of {ENTRY} bytes, {rounds} alternating rounds of {ROUND:?}, medians");
    println!("load average {}", load());
    println!(
        "{:<18}{:>12}{:>12}{:>8}{:>22}{:>22}",
        "writers", "bare/s", "log/s", "ratio", "bare p50/p99 us", "log p50/p99 us"
    );
    for (name, writers, tasks) in [
        ("1 thread", 1, false),
        ("8 threads", 8, false),
        ("64 threads", 64, false),
        ("64 tasks, 1 thread", 64, true),
    ] {
        let mut rows: [Vec<Measured>; 2] = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            rows[0].push(measure(&Sink::Bare(bare.clone()), writers, tasks));
            rows[1].push(measure(&Sink::Log(log.clone()), writers, tasks));
        }
        let [b, l] = rows;
        let of = |v: &[Measured], f: fn(&Measured) -> f64| median(v.iter().map(f).collect());
        // The ratio of each pair of neighbours: a slow moment of the machine hits both.
        let ratio = median(b.iter().zip(&l).map(|(b, l)| l.rate / b.rate).collect());
        let times = |v: &[Measured]| format!("{:.0} / {:.0}", of(v, |m| m.p50), of(v, |m| m.p99));
        println!(
            "{name:<18}{:>12.0}{:>12.0}{ratio:>8.2}{:>22}{:>22}",
            of(&b, |m| m.rate),
            of(&l, |m| m.rate),
            times(&b),
            times(&l)
        );
    }
    let stats = log.stats();
    println!("load average {}", load());
    println!(
        "log: {} frames, {:.1} entries a frame; a frame p50: write {:?}, fdatasync {:?}, whole {:?}",
        stats.frames,
        stats.entries as f64 / stats.frames as f64,
        stats.write.quantile(0.5),
        stats.sync.quantile(0.5),
        stats.commit.quantile(0.5)
    );
    bare.stop.store(true, Ordering::SeqCst);
    bare.work.notify_one();
    log.close().expect("the log closes");
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

fn open_log(dir: &Path) -> Log {
    let mut config = LogConfig::new(dir.join("log"), "bench");
    config.segments = 4;
    config.segment_bytes = SEGMENT;
    Log::open(config, Signer::generate("bench.example/log").unwrap()).unwrap().0
}

struct Measured {
    rate: f64,
    p50: f64,
    p99: f64,
}

#[derive(Clone)]
enum Sink {
    Bare(Arc<Bare>),
    Log(Log),
}

/// One writer's view: appends an entry, and is polled until it is durable.
struct Writer {
    sink: Sink,
    waiter: Option<audit_sink::Waiter>,
    waker: Option<Waker>,
}

impl Writer {
    fn new(sink: &Sink) -> Self {
        let waiter = match sink {
            Sink::Log(log) => Some(log.waiter()),
            Sink::Bare(_) => None,
        };
        Self { sink: sink.clone(), waiter, waker: None }
    }

    fn append(&mut self, entry: &[u8], waker: &Waker) -> u64 {
        match &self.sink {
            Sink::Bare(bare) => bare.append(entry, self.waker.get_or_insert_with(|| waker.clone())),
            Sink::Log(log) => loop {
                match log.append(entry) {
                    Ok(ticket) => {
                        // Stands in for the publisher.
                        if ticket.index.is_multiple_of(4096) {
                            log.release(log.durable());
                        }
                        return ticket.index;
                    }
                    Err(AppendError::RingFull) => log.release(log.durable()),
                    Err(e) => panic!("{e}"),
                }
            },
        }
    }

    fn poll(&mut self, index: u64, cx: &mut Context<'_>) -> Poll<()> {
        match (&self.sink, &mut self.waiter) {
            (Sink::Log(_), Some(waiter)) => waiter.poll_durable(index, cx).map(|r| r.unwrap()),
            (Sink::Bare(bare), _) if bare.durable.load(Ordering::Acquire) > index => {
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn measure(sink: &Sink, writers: usize, tasks: bool) -> Measured {
    let end = Instant::now() + ROUND;
    let begun = Instant::now();
    let mut times: Vec<Duration> =
        if tasks { run_tasks(sink, writers, end) } else { run_threads(sink, writers, end) };
    let took = begun.elapsed();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    Measured { rate: times.len() as f64 / took.as_secs_f64(), p50: at(0.5), p99: at(0.99) }
}

fn run_threads(sink: &Sink, writers: usize, end: Instant) -> Vec<Duration> {
    let threads: Vec<_> = (0..writers)
        .map(|_| {
            let sink = sink.clone();
            std::thread::spawn(move || {
                let mut writer = Writer::new(&sink);
                let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
                let mut cx = Context::from_waker(&waker);
                let (entry, mut times) = ([7u8; ENTRY], Vec::new());
                while Instant::now() < end {
                    let begun = Instant::now();
                    let index = writer.append(&entry, &waker);
                    while writer.poll(index, &mut cx).is_pending() {
                        std::thread::park();
                    }
                    times.push(begun.elapsed());
                }
                times
            })
        })
        .collect();
    threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
}

fn run_tasks(sink: &Sink, writers: usize, end: Instant) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let tasks: Vec<_> = (0..writers)
            .map(|_| {
                let mut writer = Writer::new(sink);
                tokio::task::spawn_local(async move {
                    let (entry, mut times) = ([7u8; ENTRY], Vec::new());
                    while Instant::now() < end {
                        let begun = Instant::now();
                        let mut index = None;
                        std::future::poll_fn(|cx| {
                            let i = *index.get_or_insert_with(|| writer.append(&entry, cx.waker()));
                            writer.poll(i, cx)
                        })
                        .await;
                        times.push(begun.elapsed());
                    }
                    times
                })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        all
    })
}

/// The bare loop.
struct Bare {
    queue: Mutex<Queue>,
    work: Condvar,
    durable: AtomicU64,
    stop: AtomicBool,
}

#[derive(Default)]
struct Queue {
    buf: Vec<u8>,
    wakers: Vec<Waker>,
    next: u64,
    idle: bool,
}

impl Bare {
    fn start(dir: &Path) -> Arc<Self> {
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let file = options.open(dir.join("bare")).unwrap();
        for at in (0..SEGMENT).step_by(1 << 20) {
            file.write_all_at(&vec![0; 1 << 20], at).unwrap();
        }
        file.sync_all().unwrap();
        let bare = Arc::new(Self {
            queue: Mutex::default(),
            work: Condvar::new(),
            durable: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let committer = bare.clone();
        std::thread::spawn(move || committer.run(&file));
        bare
    }

    fn append(&self, entry: &[u8], waker: &Waker) -> u64 {
        let mut queue = self.queue.lock().unwrap();
        queue.buf.extend_from_slice(entry);
        queue.wakers.push(waker.clone());
        let index = queue.next;
        queue.next += 1;
        let wake = std::mem::take(&mut queue.idle);
        drop(queue);
        if wake {
            self.work.notify_one();
        }
        index
    }

    fn run(&self, file: &std::fs::File) {
        let (mut buf, mut wakers, mut at) = (Vec::new(), Vec::new(), 0u64);
        loop {
            let size = {
                let mut queue = self.queue.lock().unwrap();
                while queue.buf.is_empty() {
                    if self.stop.load(Ordering::SeqCst) {
                        return;
                    }
                    queue.idle = true;
                    queue = self.work.wait(queue).unwrap();
                }
                std::mem::swap(&mut buf, &mut queue.buf);
                std::mem::swap(&mut wakers, &mut queue.wakers);
                queue.next
            };
            if at + buf.len() as u64 > SEGMENT {
                at = 0;
            }
            file.write_all_at(&buf, at).unwrap();
            file.sync_data().unwrap();
            at += (buf.len() as u64).next_multiple_of(BLOCK);
            self.durable.store(size, Ordering::Release);
            wakers.drain(..).for_each(Waker::wake);
            buf.clear();
        }
    }
}
