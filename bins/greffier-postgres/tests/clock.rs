//! A host whose clock is set back while the program runs: to the program alone, by a function of
//! ours in front of the C library's.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what can't be set up fails its test"
)]

mod bench;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};

use bench::{Bench, PROXY, count, text};

/// How far the clock is set back: tokens of now are from far in the future then.
const BACK: i64 = 86_400;

/// `clock_gettime` that gives an earlier time of day, by as many seconds as a file says. Durations
/// are measured on another clock, which nobody can set.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static volatile int64_t *back;
__attribute__((constructor)) static void begin(void) {
    int file = open(getenv("CLOCK_BACK"), O_RDONLY);
    void *at = mmap(0, sizeof *back, PROT_READ, MAP_SHARED, file, 0);
    if (at == MAP_FAILED) abort();
    back = at;
}
int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = syscall(SYS_clock_gettime, clock, time);
    if (!failed && clock == CLOCK_REALTIME && back) time->tv_sec -= *back;
    return failed;
}
"#;

/// A command for the proxy whose clock is set back by what is written to the file.
fn with_a_clock(bench: &Bench) -> (Command, File) {
    let dir = bench.dir.path();
    let (source, library, back) = (dir.join("clock.c"), dir.join("clock.so"), dir.join("back"));
    std::fs::write(&source, SHIM).unwrap();
    std::fs::write(&back, 0i64.to_ne_bytes()).unwrap();
    // A C compiler is there: the proxy was built with it.
    let mut built = Command::new("cc");
    built.args(["-shared", "-fPIC", "-o"]).args([&library, &source]);
    assert!(built.status().unwrap().success());
    let mut proxy = Command::new(PROXY);
    proxy.env("LD_PRELOAD", &library).env("CLOCK_BACK", &back);
    (proxy, File::options().write(true).open(back).unwrap())
}

#[test]
fn attack_35_a_clock_that_is_set_back_neither_reorders_the_record_nor_extends_a_lease() {
    let Some(bench) = Bench::new() else { return };
    let config = bench.dir.path().join("greffier.toml");
    let settings = std::fs::read_to_string(&config).unwrap();
    let limited = settings.replace("kind = \"human\"", "kind = \"human\"\nmax_session = \"10s\"");
    assert_ne!(limited, settings);
    std::fs::write(&config, limited).unwrap();
    let (command, clock) = with_a_clock(&bench);
    let proxy = bench.start_as(command);

    let mut psql = bench.psql(&proxy);
    let mut psql =
        psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(psql.stdout.take().unwrap()).lines();
    let mut script = psql.stdin.take().unwrap();
    let mut ask = |name: &str| {
        script.write_all(format!("SELECT '{name}';\n").as_bytes()).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), name);
    };
    ask("earlier");
    clock.write_all_at(&BACK.to_ne_bytes(), 0).unwrap();
    ask("later");
    // Who comes now shows a token that was issued tomorrow.
    let refused = bench.query(&proxy, "SELECT 'too early'");
    assert!(!refused.status.success(), "{refused:?}");
    // A session's time is up when it is up.
    script.write_all(b"SELECT pg_sleep(60);\n").unwrap();
    let out = psql.wait_with_output().unwrap();
    assert!(text(&out.stderr).contains("the session's time is over"), "{out:?}");
    clock.write_all_at(&0i64.to_ne_bytes(), 0).unwrap();
    assert!(bench.query(&proxy, "SELECT 'again'").status.success());
    assert_eq!(proxy.end(), Some(0));

    let kinds = bench.verified();
    assert_eq!(count(&kinds, "auth_failure"), 1, "{kinds:#?}");
    assert_eq!(count(&kinds, "session_start"), count(&kinds, "session_end"), "{kinds:#?}");
    let entries = bench.entries();
    let commands: Vec<_> = entries.iter().filter(|it| it["type"] == "command").collect();
    let names = ["'earlier'", "'later'", "pg_sleep", "'again'"];
    assert_eq!(commands.len(), names.len(), "{commands:?}");
    for (command, name) in commands.iter().zip(names) {
        assert!(command["text"].as_str().unwrap().contains(name), "{commands:?}");
    }
    // The order is the log's; what the clock said stands beside it.
    let times: Vec<_> = commands.iter().map(|it| it["time"].as_str().unwrap()).collect();
    assert!(!times.is_sorted(), "the clock was not set back: {times:?}");
}
