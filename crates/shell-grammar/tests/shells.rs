//! Real shells run generated lines: whatever they start must have been read.
//!
//! `SHELL_LINES=100000 cargo test --workspace --test shells` looks further.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use shell_grammar::{Simple, Word, read};

/// Shells of the machine; `sh` is everywhere.
const SHELLS: [&str; 3] = ["/bin/sh", "/bin/bash", "/bin/dash"];

/// Commands that tell their words, each process in a file of its own, and do nothing else.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for name in ["a", "b", "rm"] {
        let path = place.path().join(name);
        let text = format!(
            "#!/bin/sh\n{{ printf '%s\\037' {name} \"$@\"; printf '\\036'; }} >>\"$LOG\"/$$\n"
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::create_dir(place.path().join("work")).unwrap();
    place
}

/// What `shell` ran of `text`.
fn ran(place: &Path, shell: &str, text: &str) -> Vec<Vec<Vec<u8>>> {
    // One of its own: what ran in the background may be later than the shell's end.
    let log = tempfile::tempdir_in(place).unwrap();
    let mut child = Command::new(shell)
        .args(["-c", text])
        .env_clear()
        .env("PATH", place)
        .env("LOG", log.path())
        .current_dir(place.join("work"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever still runs holds the other end.
    let mut told = child.stderr.take().unwrap();
    std::io::copy(&mut told, &mut std::io::sink()).unwrap();
    child.wait().unwrap();
    let files = fs::read_dir(&log).unwrap();
    let log_text: Vec<u8> = files.flat_map(|it| fs::read(it.unwrap().path()).unwrap()).collect();
    log_text
        .split(|&it| it == 0o36)
        .filter(|it| !it.is_empty())
        .map(|it| {
            let mut words: Vec<_> = it.split(|&it| it == 0o37).map(<[u8]>::to_vec).collect();
            words.pop();
            words
        })
        .collect()
}

/// Whether the command can have been started with these words.
fn explains(simple: &Simple, words: &[Vec<u8>]) -> bool {
    let Some((first, rest)) = words.split_first() else { return true };
    if simple.words.first().and_then(Word::plain) != Some(first) {
        return false;
    }
    let own = simple.words.get(1..).unwrap_or_default();
    if own.iter().any(|it| it.plain().is_none()) {
        return true;
    }
    own.iter().map(Word::bytes).eq(rest.iter().map(Vec::as_slice))
}

/// Pieces that make lines with all that divides words and commands.
fn line() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => prop::sample::select(vec!["a", "b", "rm", "x", "7", "a b", "rm x"]),
        4 => prop::sample::select(vec![" ", " ", "\n", "\t", "\\\n"]),
        3 => prop::sample::select(vec![";", "|", "||", "&&", "; ", "! "]),
        2 => prop::sample::select(vec!["'", "\"", "\\", "$", "#", "=", "`", "''"]),
        2 => prop::sample::select(vec!["$(", ")", "(", " { ", "; }", "\"$(", ")\"", "`a`"]),
        1 => prop::sample::select(vec![">", "<", "2>&1", ">&2", "$'", "*", "{", "}", "~", "[", "]"]),
        1 => prop::sample::select(vec!["\"$\\\n(", "&\\\n", "|\\\n", "(\\\n", "7\\\n>", "x\\\n=", "`'a\\\nb'`"]),
        1 => prop::sample::select(vec!["eval ", "command ", "exec ", "X=1 ", "$X", "${X}", "if", "\\'"]),
    ];
    prop::collection::vec(piece, 1..12).prop_map(|pieces| pieces.concat())
}

fn every_started_command_was_read(cases: u32, texts: impl Strategy<Value = String>) -> u32 {
    let place = place();
    let mut runner = TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let understood = std::cell::Cell::new(0);
    let check = |text: String| {
        let line = read(text.as_bytes());
        if line.unparsed.is_some() {
            return Ok(());
        }
        understood.set(understood.get() + 1);
        for shell in SHELLS.iter().filter(|it| Path::new(it).exists()) {
            for words in ran(place.path(), shell, &text) {
                let known = line.commands.iter().any(|it| explains(it, &words));
                prop_assert!(
                    known,
                    "{shell} ran {:?} of {text:?}, read {:?}",
                    words.iter().map(|it| String::from_utf8_lossy(it)).collect::<Vec<_>>(),
                    line.commands
                );
            }
        }
        Ok(())
    };
    runner.run(&texts, check).unwrap();
    understood.get()
}

#[test]
fn shells_start_nothing_that_was_not_read() {
    let cases = std::env::var("SHELL_LINES").map_or(600, |it| it.parse().unwrap());
    let understood = every_started_command_was_read(cases, line());
    assert!(understood > cases / 12, "of {cases} lines too few were understood: {understood}");
}

#[test]
fn written_lines_run_as_read() {
    let texts = vec![
        "a 'b c' \"d\" e\\ f; rm x | b y && a z || rm no",
        "a \"$(rm x; b `a y`)\" && (b; { rm z; })",
        "X=1 eval 'a \"$X\"; rm' '; b'",
        "exec a x >f 2>&1",
        "a $'t\\tu' \"$\" x$ '' # rm",
        "command a -- x\\\ny",
    ];
    let texts = texts.into_iter().map(String::from).collect::<Vec<_>>();
    let understood = every_started_command_was_read(60, prop::sample::select(texts));
    assert_eq!(understood, 60);
}
