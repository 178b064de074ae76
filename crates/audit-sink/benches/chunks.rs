//! How fast responses go into chunks, beside a bare write of the same bytes to the same disk.
//!
//! `GREFFIER_BENCH_DIR` chooses the disk.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a measuring tool

use std::future::poll_fn;
use std::io::Write as _;
use std::time::Instant;

use audit_sink::store::{ChunkConfig, ChunkDir};
use bytes::Bytes;

/// What the proxy hands over at a time.
const FRAME: usize = 64 * 1024;

fn main() {
    // `cargo test --benches` runs this too: a little shows that it works.
    let quick = !std::env::args().any(|arg| arg == "--bench");
    let frames = if quick { 256 } else { 8 * 1024 };
    let place = std::env::var("GREFFIER_BENCH_DIR");
    let place = place.unwrap_or_else(|_| env!("CARGO_TARGET_TMPDIR").to_owned());
    let dir = tempfile::tempdir_in(place).unwrap();
    let mib = (frames * FRAME) as f64 / f64::from(1 << 20);

    // No two chunks may be alike, or the second would cost nothing.
    let frame = |i: usize| -> Vec<u8> {
        let mut bytes = vec![0x5a; FRAME];
        bytes[..8].copy_from_slice(&(i as u64).to_be_bytes());
        bytes
    };
    let begin = Instant::now();
    let mut file = std::fs::File::create(dir.path().join("bare")).unwrap();
    for i in 0..frames {
        file.write_all(&frame(i)).unwrap();
    }
    file.sync_data().unwrap();
    let bare = begin.elapsed();

    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let begin = Instant::now();
    let (written, sealed) = runtime.block_on(async {
        let chunks = ChunkDir::open(&dir.path().join("chunks"), ChunkConfig::default()).unwrap();
        let mut writer = chunks.writer();
        let mut end = 0;
        for i in 0..frames {
            poll_fn(|cx| writer.poll_ready(cx)).await.unwrap();
            end = writer.append(Bytes::from(frame(i))).unwrap();
        }
        poll_fn(|cx| writer.poll_written(end, cx)).await.unwrap();
        let written = begin.elapsed();
        writer.finished().await.unwrap();
        (written, begin.elapsed())
    });
    for (what, took) in [
        ("bare write and one fdatasync", bare),
        ("chunks, hashed and written", written),
        ("chunks, sealed and durable", sealed),
    ] {
        println!("{what:<30} {:>8.0} MiB/s ({mib} MiB)", mib / took.as_secs_f64());
    }
}
