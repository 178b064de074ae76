//! Disks that are really full: small file systems in memory, of which only the proxy knows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what can't be set up fails its test"
)]

mod bench;

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bench::{Bench, PROXY, Proxy, count, text};

/// How long what was full may take to work again.
const AGAIN: Duration = Duration::from_secs(60);

/// A shell's command line that mounts a small file system and becomes the proxy there.
fn on_small_disk(folder: &Path, size: &str) -> Command {
    std::fs::create_dir_all(folder).unwrap();
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "--", "sh", "-c"]);
    command.arg(r#"mount -t tmpfs -o "size=$0" tmpfs "$1" && shift && exec "$@""#);
    command.arg(size).arg(folder).arg(PROXY);
    command
}

/// Where a folder of the proxy's own file systems is seen from outside.
fn seen(proxy: &Proxy, folder: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", proxy.program.id()));
    root.join(folder.strip_prefix("/").unwrap())
}

/// Takes all the room that is left.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [64 * 1024, 1] {
        let error = loop {
            if let Err(error) = file.write_all(&vec![0; size]) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}

fn works_again(bench: &Bench, proxy: &Proxy) {
    let begun = Instant::now();
    loop {
        let answer = bench.query(proxy, "select 'again'");
        if text(&answer.stdout) == "again\n" {
            return;
        }
        assert!(begun.elapsed() < AGAIN, "it stays full: {answer:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_full_disk_under_the_store_refuses_statements_until_there_is_room() {
    let Some(bench) = Bench::new() else { return };
    let folder = bench.dir.path().join("store");
    let mut proxy = bench.start_as(on_small_disk(&folder, "8m"));
    assert_eq!(text(&bench.query(&proxy, "select 'before'").stdout), "before\n");
    let store = seen(&proxy, &folder);
    fill(&store.join("filler"));

    // More than the ring holds; the first that is refused ends it.
    let mut psql = bench.psql(&proxy);
    psql.args(["-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=sqlstate"]);
    let mut psql =
        psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut script = psql.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        for number in 0..5_000 {
            let sql = format!("select 'fill {number}', '{}';\n", "x".repeat(3_000));
            // It has ended, as it should.
            if script.write_all(sql.as_bytes()).is_err() {
                break;
            }
        }
    });
    let out = psql.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(3), "ERROR:  53100\n"));
    let answered = text(&out.stdout).lines().count();
    assert!(answered > 100, "{answered}");
    // What was refused did not run.
    let log = bench.postgres.log().unwrap();
    assert!(log.contains(&format!("'fill {}'", answered - 1)));
    assert!(!log.contains(&format!("'fill {answered}'")));

    proxy.program.wait_for("the store does not take what is recorded").unwrap();
    std::fs::remove_file(store.join("filler")).unwrap();
    proxy.program.wait_for("the store takes what is recorded again").unwrap();
    works_again(&bench, &proxy);
    // Nothing that ran is missing, and the log is whole. An open folder outlives its mount.
    let folder = File::open(&store).unwrap();
    assert_eq!(proxy.end(), Some(0));
    let copy = tempfile::tempdir().unwrap();
    let from = format!("/proc/{}/fd/{}/.", std::process::id(), folder.as_raw_fd());
    let copied = Command::new("cp").args(["-r", &from]).arg(copy.path()).status();
    assert!(copied.unwrap().success());
    let kinds = bench.verified_at(copy.path());
    for number in 0..answered {
        let wanted = format!("'fill {number}'");
        assert!(kinds.iter().any(|kind| kind.contains(&wanted)), "{wanted}");
    }
    assert_eq!(count(&kinds, "response"), count(&kinds, "command allow"));
    assert_eq!(count(&kinds, "session_end"), count(&kinds, "session_start"));
    assert_eq!(kinds.last().unwrap(), "log_sealed");
}

#[test]
fn a_full_disk_under_long_answers_ends_their_sessions_and_no_others() {
    let Some(bench) = Bench::new() else { return };
    let folder = bench.dir.path().join("state");
    // The ring, and little more.
    let proxy = bench.start_as(on_small_disk(&folder, "8m"));
    let state = seen(&proxy, &folder);
    fill(&state.join("filler"));

    let out = bench.query(&proxy, "select repeat('y', 1000) from generate_series(1, 20000)");
    assert_eq!(out.status.code(), Some(2), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("FATAL"), "{}", text(&out.stderr));
    // What is not on record is not shown.
    assert!(out.stdout.is_empty(), "{} bytes", out.stdout.len());
    // A short answer needs no more room.
    assert_eq!(text(&bench.query(&proxy, "select 'short'").stdout), "short\n");

    std::fs::remove_file(state.join("filler")).unwrap();
    let out = bench.query(&proxy, "select repeat('z', 1000) from generate_series(1, 1000)");
    assert_eq!(out.stdout.len(), 1_001_000, "{}", text(&out.stderr));
    assert_eq!(proxy.end(), Some(0));
    let kinds = bench.verified();
    assert_eq!(count(&kinds, "command allow"), 3, "{kinds:#?}");
    assert_eq!(count(&kinds, "response"), 3, "{kinds:#?}");
    assert_eq!(kinds.last().unwrap(), "log_sealed", "{kinds:#?}");
}
