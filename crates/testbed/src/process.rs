//! One server process: started, watched, ended, its log kept on failure.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::dirs::Account;
use crate::{Error, logs_dir};

/// How long a server gets to end itself before it is killed.
const STOP_WAIT: Duration = Duration::from_secs(10);
/// How often a wait looks again.
const POLL: Duration = Duration::from_millis(20);

/// Ends and cleans up one server when our end of its standard input closes
/// without the word `done`: that is, when the test process died. It touches
/// the process only while its working folder is in the server's own folder,
/// so that a reused process id harms nobody.
const WATCHDOG: &str = r#"
read -r word || word=gone
[ "$word" = done ] && exit 0
ours() { case "$(readlink "/proc/$1/cwd")" in "$2"|"$2"/*) return 0;; esac; return 1; }
ours "$1" "$2" && kill -s "$3" "$1"
n=0
while ours "$1" "$2" && [ "$n" -lt 50 ]; do sleep 0.1; n=$((n + 1)); done
if ours "$1" "$2"; then kill -s KILL "$1"; sleep 0.5; fi
rm -rf "$2"
"#;

/// How a server is asked to end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    /// SIGTERM.
    Term,
    /// SIGINT: PostgreSQL's fast shutdown.
    Int,
    /// SIGQUIT: PostgreSQL's immediate shutdown.
    Quit,
    /// SIGKILL: what would take its time, and has nothing to keep.
    Kill,
}

impl Stop {
    fn signal(self) -> Signal {
        match self {
            Self::Term => Signal::TERM,
            Self::Int => Signal::INT,
            Self::Quit => Signal::QUIT,
            Self::Kill => Signal::KILL,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Quit => "QUIT",
            Self::Kill => "KILL",
        }
    }
}

/// A running server and its folder.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    child: Option<Child>,
    watchdog: Option<Child>,
    log: PathBuf,
    stop: Stop,
    dir: TempDir,
}

impl Server {
    /// A server that does not run yet, with its folder. Its log is
    /// `server.log` there.
    pub(crate) fn new(name: &'static str, dir: TempDir, stop: Stop) -> Self {
        let log = dir.path().join("server.log");
        Self { name, child: None, watchdog: None, log, stop, dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts `command` in the server's folder with a watchdog beside it.
    pub(crate) fn spawn(&mut self, mut command: Command, account: Account) -> Result<(), Error> {
        self.unwatch();
        let name = self.name;
        let fail = |e| Error::failed(format!("starting {name}"), e);
        let log = OpenOptions::new().create(true).append(true).open(&self.log).map_err(fail)?;
        command
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(fail)?)
            .stderr(log)
            .process_group(0);
        account.run(&mut command);
        let child = command.spawn().map_err(fail)?;
        let pid = child.id().to_string();
        self.child = Some(child);
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "testbed-watchdog", &pid])
            .arg(self.dir.path())
            .arg(self.stop.name())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(fail)?;
        self.watchdog = Some(watchdog);
        Ok(())
    }

    /// Waits until `ready` says so. Fails with the log's end when the server
    /// ended first, or when `limit` has passed.
    pub(crate) fn wait_until(
        &mut self,
        limit: Duration,
        mut ready: impl FnMut(&Self) -> bool,
    ) -> Result<(), Error> {
        let end = Instant::now() + limit;
        loop {
            if ready(self) {
                return Ok(());
            }
            if !self.alive() {
                return Err(self.failure("it ended while starting"));
            }
            if Instant::now() >= end {
                return Err(self.failure(&format!("not ready after {} s", limit.as_secs())));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Whether the process still runs.
    pub(crate) fn alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|c| matches!(c.try_wait(), Ok(None)))
    }

    /// An error that carries the end of the log and keeps the whole of it.
    pub(crate) fn failure(&self, reason: &str) -> Error {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut error = Error::failed(self.name, format!("{reason}; its log ends:\n{text}"));
        if let Error::Failed(f) = &mut error {
            f.log = self.keep_log();
        }
        error
    }

    /// Sends `signal` to the server, if it runs.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.pid().and_then(|p| i32::try_from(p).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // The only failure that can come is "no such process": as wished.
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills the server at once and waits for its end.
    pub(crate) fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.reap(STOP_WAIT);
    }

    /// Asks the server to end, kills it if it does not, and waits.
    pub(crate) fn end(&mut self) {
        if self.alive() {
            self.signal(self.stop.signal());
            if !self.reap(STOP_WAIT) {
                self.kill9();
            }
        }
        self.child = None;
    }

    fn reap(&mut self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while self.alive() {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(POLL);
        }
        true
    }

    /// Copies the log to a place that outlives the server's folder.
    fn keep_log(&self) -> Option<PathBuf> {
        let to = logs_dir();
        fs::create_dir_all(&to).ok()?;
        let folder = self.dir.path().file_name()?.to_string_lossy().into_owned();
        let to = to.join(format!("{folder}.log"));
        fs::copy(&self.log, &to).ok()?;
        Some(to)
    }

    fn unwatch(&mut self) {
        if let Some(mut w) = self.watchdog.take() {
            if let Some(mut stdin) = w.stdin.take() {
                let _ = stdin.write_all(b"done\n");
            }
            let _ = w.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(kept) = self.keep_log()
        {
            eprintln!("the log of {} is kept at {}", self.name, kept.display());
        }
        self.end();
        // Remove the folder while the watchdog still stands by: if we die in
        // the middle, it finishes the work.
        let _ = fs::remove_dir_all(self.dir.path());
        self.unwatch();
    }
}

/// Runs `command` to its end and gives its standard output.
pub(crate) fn output(what: &str, command: &mut Command) -> Result<String, Error> {
    let out = command.stdin(Stdio::null()).output().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::missing(command.get_program().to_string_lossy(), "it is not in PATH")
        }
        _ => Error::failed(what, e),
    })?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() {
        Ok(text)
    } else {
        let err = String::from_utf8_lossy(&out.stderr);
        Err(Error::failed(what, format!("{}\n{text}{err}", out.status)))
    }
}
