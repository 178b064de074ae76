//! Missing things: loud in CI, a named skip elsewhere.

use std::io::Write as _;

use crate::Error;

/// Gives what was asked for; or, when the machine lacks it, prints
/// `SKIPPED <test>: <what> is missing: <how to get it>` and gives `None`.
///
/// The test's name is the thread's, which is how libtest names its threads.
/// The line goes past libtest's capture, so that it shows in a passing run.
///
/// # Panics
/// When `CI=true` and the thing is missing, and always when it is there but
/// failed: a test must not pass because its server could not start.
#[track_caller]
#[allow(clippy::panic, reason = "this is the test's own verdict")]
pub fn require<T>(wanted: Result<T, Error>) -> Option<T> {
    match wanted {
        Ok(t) => Some(t),
        Err(Error::Missing(m)) => {
            let thread = std::thread::current();
            let test = thread.name().unwrap_or("a test");
            let ci = std::env::var("CI").is_ok_and(|v| v == "true" || v == "1");
            assert!(!ci, "{test}: {m}");
            // Nobody may be listening; the skip stands all the same.
            let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {m}");
            None
        }
        Err(Error::Failed(f)) => panic!("{f}"),
    }
}
