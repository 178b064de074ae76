//! The real programs, by the lines that `greffier demo --serve` prints: psql, and
//! `greffier audit tail`, which follows.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use testbed::{Error, Missing, Program, require};

const PATIENCE: Duration = Duration::from_secs(60);

/// A line as it is printed for a shell, as a process of its own.
fn shell(line: &str) -> Program {
    let exec = format!("exec {}", line.trim());
    Program::heard_on_stdout(Command::new("sh").args(["-c", &exec])).unwrap()
}

fn demo(dir: &Path) -> Program {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_greffier"));
    demo.args(["demo", "--serve", "--dir"]).arg(dir).env_remove("GREFFIER_DEMO_UPSTREAM");
    Program::heard_on_stdout(&mut demo).unwrap()
}

fn psql_is_there() -> Option<()> {
    let found = Command::new("psql").arg("--version").output();
    let missing = Missing { what: "psql".into(), how: "apt-get install postgresql-client".into() };
    require(found.map(drop).map_err(|_| Error::from(missing)))
}

/// Runs a line as it is printed, from where it was printed; what it says, and whether it went well.
fn run(line: &str) -> (bool, String) {
    let out = Command::new("sh").args(["-c", line.trim()]).stdin(Stdio::null()).output().unwrap();
    let said = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn the_lines_that_the_demonstration_prints_work_and_tail_follows() {
    let Some(()) = psql_is_there() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut demo = demo(&dir.path().join("demo"));
    let psql = demo.wait_for(" psql ").unwrap();
    let tail = demo.wait_for(" audit tail ").unwrap();
    for name in ["GREFFIER_STORE", "GREFFIER_LOG_ID", "GREFFIER_KEY"] {
        assert!(std::env::var_os(name).is_none(), "{name} would change what the lines mean");
    }

    let (good, said) = run(&psql);
    assert!(good && said.contains("Ada Winter") && said.contains("rows)"), "{said}");
    assert!(said.contains("<EMAIL_ADDRESS>") && !said.contains('@'), "{said}");

    // It begins with the next entry, so the first statement is asked again until it is seen.
    let mut following = shell(&tail);
    let mut denied = shell(&format!("{} --verdict deny --json", tail.trim()));
    let forbidden = psql.replace("SELECT * FROM customers", "DELETE FROM customers");
    assert_ne!(forbidden, psql);
    let begun = Instant::now();
    let line = loop {
        assert!(run(&psql).0);
        if let Some(line) = following.within(Duration::from_secs(3), "SELECT * FROM customers") {
            break line;
        }
        assert!(begun.elapsed() < PATIENCE, "tail shows nothing");
    };
    assert!(line.contains("invoice-agent for alice on ") && line.contains("-> allow"), "{line}");
    let (good, said) = run(&forbidden);
    assert!(!good && said.contains("ERROR"), "{said}");
    let line = following.wait_for("DELETE FROM customers").unwrap();
    assert!(line.contains("-> deny ("), "{line}");
    following.wait_for("ended: ").unwrap();
    // With a filter and as JSON: nothing but that.
    let begun = Instant::now();
    let first = loop {
        if let Some(line) = denied.within(Duration::from_secs(3), "") {
            break line;
        }
        assert!(!run(&forbidden).0 && begun.elapsed() < PATIENCE, "tail shows no denial");
    };
    let item: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(item["verdict"], "deny", "{item}");
    assert_eq!(item["text"], "DELETE FROM customers", "{item}");

    // Whoever comes later may see it all from the start.
    let mut later = shell(&format!("{} --from-start", tail.trim()));
    later.wait_for("DELETE FROM customers").unwrap();

    demo.signal(Signal::INT);
    assert_eq!(demo.wait().unwrap().code(), Some(0));
}
