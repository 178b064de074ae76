//! The operating system's side of a program: how it is started, its pipes, its end.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use masking::Policy;
use rustix::io::retry_on_intr;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, waitid, waitpid,
};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::time::sleep;

use super::Program;
use crate::record;

/// What is read at once, in bytes.
pub(super) const PIECE_BYTES: usize = 16 * 1024;
/// What of its standard error goes to our log, in bytes; the rest is read and dropped.
const MAX_STDERR: usize = 64 * 1024;
/// A value of its environment that is shorter may be any word: it is not looked for in what the
/// program complains of.
const MIN_SECRET_BYTES: usize = 4;
/// How often it is looked whether it still runs: what it started may hold its pipes open.
const LOOK: Duration = Duration::from_secs(1);

/// Our ends of its pipes.
pub(super) struct Pipes {
    pub(super) input: pipe::Sender,
    pub(super) output: pipe::Receiver,
    pub(super) complaints: pipe::Receiver,
}

/// A program and whatever it started: killed when this goes.
pub(super) struct Group {
    pid: Pid,
}

impl Group {
    /// Starts a program: its words as they are, its environment what is named, its folder, three
    /// pipes, and a process group of its own.
    pub(super) fn spawn(program: &Program) -> io::Result<(Group, Pipes)> {
        let (name, arguments) = program
            .command
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "there is no command"))?;
        let mut command = Command::new(name);
        command
            .args(arguments)
            .current_dir(&program.directory)
            .env_clear()
            .envs(program.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Whatever it starts ends with it.
            .process_group(0);
        let mut child = command.spawn()?;
        let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
            child.kill()?;
            return Err(io::Error::other("its number is none"));
        };
        // From here on it is killed if anything fails.
        let group = Group { pid };
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("there are no pipes"));
        };
        let pipes = Pipes {
            input: pipe::Sender::from_owned_fd(OwnedFd::from(stdin))?,
            output: pipe::Receiver::from_owned_fd(OwnedFd::from(stdout))?,
            complaints: pipe::Receiver::from_owned_fd(OwnedFd::from(stderr))?,
        };
        Ok((group, pipes))
    }

    /// Waits until the program itself has ended. It is not taken leave of yet, so its number
    /// stays its own.
    pub(super) async fn ended(&self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::Pid(self.pid), options), Ok(None)) {
            sleep(LOOK).await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let pid = self.pid;
        // Nobody is left of it: as well.
        let _nobody = kill_process_group(pid, Signal::KILL);
        // Only then is it waited for: until then its number is nobody else's. What is killed may
        // take its time, so nobody else waits for it.
        let wait = move || retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty())).map(drop);
        if let Err(error) = Builder::new().name("mcp-reap".into()).spawn(wait) {
            tracing::warn!(%error, "a program's end is waited for here");
            let _gone = wait();
        }
    }
}

/// Puts the beginning of what a program complains of into our log, masked as for the record and
/// without what its environment holds, and drops the rest.
pub(super) async fn complain(mut from: pipe::Receiver, policy: Arc<Policy>, program: Program) {
    let (mut piece, mut held, mut left) = (vec![0; PIECE_BYTES], Vec::new(), MAX_STDERR);
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        let kept = read.min(left);
        left -= kept;
        held.extend_from_slice(piece.get(..kept).unwrap_or_default());
        while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = held.drain(..=end).collect();
            say(&line, &policy, &program);
        }
        if left == 0 && !held.is_empty() {
            say(&std::mem::take(&mut held), &policy, &program);
        }
    }
    if !held.is_empty() {
        say(&held, &policy, &program);
    }
}

fn say(line: &[u8], policy: &Policy, program: &Program) {
    let line = complaint(line, policy, program);
    tracing::debug!(line = %line.trim_end().escape_debug(), "a program says");
}

fn complaint(line: &[u8], policy: &Policy, program: &Program) -> String {
    let mut line = String::from_utf8_lossy(line).into_owned();
    // Before anything else changes: a value that was cut in two is not found any more.
    for (_, value) in &program.environment {
        if value.len() >= MIN_SECRET_BYTES {
            line = line.replace(value.as_str(), "***");
        }
    }
    match record::masked(policy, line.as_bytes(), &mut record::Counted::new()) {
        records::Text::Utf8(text) => text.into_owned(),
        records::Text::Bytes { hex } => hex.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_shows_nothing_of_the_environment_and_is_masked() {
        let rules = "version = 1\n[[rule]]\nname = \"cards\"\nentity = [\"CREDIT_CARD\"]\n\
                     client = { operator = \"replace\" }\nrecord = { operator = \"replace\" }";
        let policy = Policy::compile(&toml::from_str(rules).unwrap(), Some(&[7; 32])).unwrap();
        let program = Program {
            command: vec!["/x".into()],
            directory: "/".into(),
            environment: vec![("TOKEN".into(), "hunter22".into()), ("N".into(), "1".into())],
            max_processes: 1,
        };
        let line = complaint(b"TOKEN=hunter22 N=1 4111 1111 1111 1111\xff", &policy, &program);
        assert_eq!(line, "TOKEN=*** N=1 <CREDIT_CARD>\u{fffd}");
    }
}
