//! A failed test gets a second try, alone.
//!
//! Over a thousand tests talk to real servers on a machine of which we know nothing. One that
//! fails by chance should not cost a day's work, and one that fails for a reason must not pass:
//! so at most [`MOST`] targets are tried again, once, with nothing beside them, and what passes
//! only then is named at the end of the run. That is a defect, of the test or of what it tests,
//! and is mended as one.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use crate::stage::{root, show};

/// As many failed targets as may be chance. More are none.
const MOST: usize = 2;

/// How a run of `cargo test --no-fail-fast` ended.
enum Ended {
    Passed,
    /// The targets that failed, as cargo names them (`-p http-proxy --test logins`).
    Failed(Vec<String>),
    /// Something else, such as that it did not compile or took too long.
    Broken(String),
}

/// Runs `first`, then what failed in it once more, each a command of `make`'s with the arguments
/// that choose the target.
pub(crate) fn tests(first: &mut Command, make: &dyn Fn(&[&str]) -> Command) -> Result<(), String> {
    let failed = match watched(first)? {
        Ended::Passed => return Ok(()),
        Ended::Broken(why) => return Err(why),
        Ended::Failed(failed) => failed,
    };
    if failed.len() > MOST {
        return Err(format!("{} targets failed, too many for chance", failed.len()));
    }
    for target in &failed {
        println!("\n== once more, alone: {target}");
        let chosen = choice(target).ok_or_else(|| format!("what is the target {target:?}?"))?;
        show(&mut make(&chosen)).map_err(|e| format!("{target}, failed twice: {e}"))?;
    }
    for target in &failed {
        println!("PASSED AT THE SECOND TRY ONLY, a defect to be mended: {target}");
    }
    Ok(())
}

/// The arguments that choose a target without its package: with it cargo would choose other
/// features, and build anew.
fn choice(target: &str) -> Option<Vec<&str>> {
    let words: Vec<&str> = target.split(' ').collect();
    match *words.as_slice() {
        ["-p", _, kind @ ("--lib" | "--doc")] => Some(vec![kind]),
        ["-p", _, kind @ ("--test" | "--bin"), name] => Some(vec![kind, name]),
        _ => None,
    }
}

/// Runs it, its output shown, and listens to what cargo says last.
fn watched(command: &mut Command) -> Result<Ended, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let told = |e: std::io::Error| format!("{name}: {e}");
    let mut child = command.current_dir(root()).stderr(Stdio::piped()).spawn().map_err(told)?;
    let mut failed = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let mut listing = false;
        for line in BufReader::new(stderr).split(b'\n') {
            let line = line.map_err(told)?;
            let mut out = std::io::stderr().lock();
            out.write_all(&line).and_then(|()| out.write_all(b"\n")).map_err(told)?;
            let line = String::from_utf8_lossy(&line);
            if heads_list(&line) {
                // Tests may print such lists, these below among them; cargo's is the last.
                failed.clear();
            }
            listing = heads_list(&line) || (listing && line.starts_with("    `"));
            failed.extend(listing.then(|| target(&line)).flatten());
        }
    }
    let status = child.wait().map_err(told)?;
    Ok(if status.success() {
        Ended::Passed
    } else if failed.is_empty() {
        Ended::Broken(format!("{name} ended with {status}"))
    } else {
        Ended::Failed(failed)
    })
}

/// Whether this is the line before cargo's list of targets that failed.
fn heads_list(line: &str) -> bool {
    line.starts_with("error: ")
        && (line.ends_with(" target failed:") || line.ends_with(" targets failed:"))
}

/// A target of that list.
fn target(line: &str) -> Option<String> {
    Some(line.strip_prefix("    `")?.strip_suffix('`')?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What this shell script prints and how it ends, as cargo's.
    fn script(text: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", text]);
        command
    }

    const TWO: &str = "echo 'error: test failed, to rerun pass `-p a --lib`' >&2
        echo 'error: 2 targets failed:
    `-p a --lib`
    `-p b --test c`' >&2; exit 101";

    #[test]
    fn what_failed_is_tried_again_alone_and_must_pass() {
        let asked = std::cell::RefCell::new(Vec::new());
        let again = |code: &'static str| {
            let asked = &asked;
            move |chosen: &[&str]| {
                asked.borrow_mut().push(chosen.join(" "));
                script(code)
            }
        };
        assert_eq!(tests(&mut script(TWO), &again("exit 0")), Ok(()));
        assert_eq!(*asked.borrow(), ["--lib", "--test c"]);
        let said = tests(&mut script(TWO), &again("exit 101")).unwrap_err();
        assert!(said.contains("-p a --lib, failed twice"), "{said}");
        assert_eq!(asked.borrow().len(), 3);
    }

    #[test]
    fn lists_that_tests_print_are_none_of_cargo_s() {
        let asked = std::cell::RefCell::new(Vec::new());
        let again = |chosen: &[&str]| {
            asked.borrow_mut().push(chosen.join(" "));
            script("exit 0")
        };
        let printed = TWO.replace("b --test c", "x --test y").replace("; exit 101", "");
        let whole = format!("{printed}; echo '    running' >&2; {TWO}");
        assert_eq!(tests(&mut script(&whole), &again), Ok(()));
        assert_eq!(*asked.borrow(), ["--lib", "--test c"]);
    }

    #[test]
    fn what_did_not_compile_or_failed_often_is_not() {
        let never = |_: &[&str]| -> Command { panic!("tried again") };
        let three = TWO
            .replace("2 targets", "3 targets")
            .replace("b --test c`", "b --doc`\n    `-p d --bin e`");
        for text in ["echo 'error: could not compile `a`' >&2; exit 101", "exit 124", &three] {
            tests(&mut script(text), &never).unwrap_err();
        }
        tests(&mut script("exit 0"), &never).unwrap();
    }
}
