//! A program of ours, run as its users do: its lines are read as they come.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Error;

/// How long a program may take to say what is waited for: a proxy fills a new ring first, and
/// tests run side by side.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a wait for its end looks again.
const POLL: Duration = Duration::from_millis(10);

/// A running program, killed when it is dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Program {
    /// Starts it and listens to its standard error, which is shown as well. The rest goes nowhere.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`], if it can't be started.
    pub fn heard_on_stderr(command: &mut Command) -> Result<Self, Error> {
        let mut child = spawn(command.stdout(Stdio::null()).stderr(Stdio::piped()))?;
        let lines = listen(child.stderr.take(), |line| eprintln!("program: {line}"));
        Ok(Self { child, lines, heard: Vec::new() })
    }

    /// Starts it and listens to its standard output; its standard error is the test's.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`], if it can't be started.
    pub fn heard_on_stdout(command: &mut Command) -> Result<Self, Error> {
        let mut child = spawn(command.stdout(Stdio::piped()))?;
        let lines = listen(child.stdout.take(), |_| {});
        Ok(Self { child, lines, heard: Vec::new() })
    }

    /// The next line that has `text` in it; those before it are passed by.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] after a minute, or when the program has closed its end.
    pub fn wait_for(&mut self, text: &str) -> Result<String, Error> {
        self.within(PATIENCE, text).ok_or_else(|| {
            Error::failed(format!("waiting for `{text}`"), format!("heard {:#?}", self.heard))
        })
    }

    /// As [`Program::wait_for`], for no longer than this.
    pub fn within(&mut self, time: Duration, text: &str) -> Option<String> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).ok()?;
            self.heard.push(line.clone());
            if line.contains(text) {
                return Some(line);
            }
        }
    }

    /// The line by which a proxy says that it is ready, and its first loopback port.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`], as [`Program::wait_for`], or if the line names no port.
    pub fn ready(&mut self) -> Result<(String, u16), Error> {
        let line = self.wait_for(" is ready ")?;
        let digits = line.split("127.0.0.1:").nth(1).unwrap_or_default();
        let port = digits.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        let port = port.parse().map_err(|_| Error::failed("no port in", &line))?;
        Ok((line, port))
    }

    /// All lines that were waited for or passed by.
    #[must_use]
    pub fn heard(&self) -> &[String] {
        &self.heard
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal; one that has ended gets none.
    pub fn signal(&self, signal: Signal) {
        let _ended = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] after a minute.
    pub fn wait(&mut self) -> Result<ExitStatus, Error> {
        let failed =
            |why: &dyn std::fmt::Display| Error::failed("waiting for a program's end", why);
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().map_err(|e| failed(&e))? {
                return Ok(status);
            }
            std::thread::sleep(POLL);
        }
        Err(failed(&format!("heard {:#?}", self.heard)))
    }

    /// Asks it to end, by SIGTERM, and waits; its exit code, if no signal ended it.
    ///
    /// # Errors
    ///
    /// As [`Program::wait`].
    pub fn end(mut self) -> Result<Option<i32>, Error> {
        self.signal(Signal::TERM);
        self.wait().map(|status| status.code())
    }

    /// Kills it, by SIGKILL, and waits.
    ///
    /// # Errors
    ///
    /// As [`Program::wait`].
    pub fn kill(mut self) -> Result<(), Error> {
        self.signal(Signal::KILL);
        self.wait().map(drop)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn spawn(command: &mut Command) -> Result<Child, Error> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).spawn().map_err(|e| Error::failed(format!("starting {name}"), e))
}

/// The lines of a pipe, read by a thread of their own so that the program never waits for us.
fn listen(
    pipe: Option<impl Read + Send + 'static>,
    show: impl Fn(&str) + Send + 'static,
) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    if let Some(pipe) = pipe {
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                show(&line);
                let _test_is_over = sender.send(line);
            }
        });
    }
    lines
}
