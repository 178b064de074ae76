//! The protocol of `scp -O`, once `rcp`'s, as a [`Machine`] that sees both directions.
//!
//! There is no specification but OpenSSH's `scp.c` (`source` and `sink`). The *source* sends
//! lines and contents, the *sink* answers: once to begin with, to each line but messages, and
//! after each content. The source may not go on before it has its answer; what it sends earlier
//! is left in the buffer until then.
//!
//! ```
//! use ssh_wire::rcp::{Machine, Reply, Source, Step};
//!
//! let mut machine = Machine::new();
//! let Step::Event { bytes: 1, event: Reply::Ok } = machine.sink(b"\0")? else { panic!() };
//! let Step::Event { event, .. } = machine.source(b"C0644 3 name\n")? else { panic!() };
//! assert_eq!(event, Source::File { mode: 0o644, size: 3, name: b"name" });
//! # Ok::<(), ssh_wire::rcp::RcpError>(())
//! ```

use std::collections::VecDeque;

/// The longest line, in bytes.
pub const MAX_LINE_BYTES: usize = 8 * 1024;
/// The longest name of a file, in bytes.
pub const MAX_NAME_BYTES: usize = 4096;
/// The deepest that directories may lie in each other.
pub const MAX_DEPTH: u32 = 256;
/// Answers that may come before what they answer.
const MAX_EARLY: usize = 16;

/// What goes on is not the protocol; it can't be followed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RcpError {
    /// A line without an end. The fault of who sent it.
    #[error("an scp line of more than {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// Not a line of the protocol. The source's fault.
    #[error("an scp line that is none")]
    Line,
    /// A name that would leave its directory, or none. The source's fault.
    #[error("an scp file name that is not allowed")]
    Name,
    /// More than [`MAX_DEPTH`] directories, or the end of one that did not begin.
    #[error("scp directories that do not nest")]
    Depth,
    /// Neither yes nor no. The sink's fault.
    #[error("an scp answer that is none")]
    Reply,
    /// Answers to nothing. The sink's fault.
    #[error("too many scp answers")]
    Unasked,
    /// There is no file or directory to refuse. Our own fault.
    #[error("no scp file to refuse")]
    Nothing,
}

/// What comes next in a direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<E> {
    /// Nothing whole, or the other side's turn.
    NeedMore,
    /// Something.
    Event {
        /// How many bytes of the buffer it is.
        bytes: usize,
        /// What it says.
        event: E,
    },
}

/// What a source says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source<'a> {
    /// Times of the file or directory that follows: changed and read, in Unix seconds.
    Times {
        /// Last change.
        changed: u64,
        /// Last read.
        read: u64,
    },
    /// A file; its content follows if the sink says so.
    File {
        /// Permissions.
        mode: u32,
        /// Length of the content, in bytes.
        size: u64,
        /// Its name: one part of a path.
        name: &'a [u8],
    },
    /// A directory; what follows is in it, if the sink says so.
    Directory {
        /// Permissions.
        mode: u32,
        /// Its name: one part of a path.
        name: &'a [u8],
    },
    /// The end of a directory.
    EndDirectory,
    /// Content.
    Data(&'a [u8]),
    /// The content is at its end; with what went wrong, if anything.
    Done(Option<&'a [u8]>),
    /// Something went wrong; nobody answers it.
    Message(&'a [u8]),
}

/// What a sink answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply<'a> {
    /// Go on.
    Ok,
    /// Not that one; or not at all.
    Error(&'a [u8]),
}

/// What an answer is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// The beginning, times, or a directory's end.
    Other,
    /// A file of this size.
    File(u64),
    /// A directory.
    Directory,
    /// A content.
    Content,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A line comes.
    Line,
    /// The sink answers.
    Asked(Question),
    /// So much content comes.
    Content(u64),
    /// The content's end comes.
    End,
}

/// One transfer's two directions.
#[derive(Debug)]
pub struct Machine {
    state: State,
    depth: u32,
    /// Answers to what was not asked yet: yes or no.
    early: VecDeque<bool>,
}

impl Default for Machine {
    fn default() -> Self {
        Machine { state: State::Asked(Question::Other), depth: 0, early: VecDeque::new() }
    }
}

impl Machine {
    /// One at the beginning.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What the sink is to answer, if anything.
    #[must_use]
    pub fn question(&self) -> Option<Question> {
        match self.state {
            State::Asked(question) => Some(question),
            _ => None,
        }
    }

    /// What is next in the source's stream; the caller drops its bytes from the buffer's
    /// beginning, and asks again.
    ///
    /// # Errors
    /// The source does not speak the protocol, or breaks a limit.
    pub fn source<'a>(&mut self, buffer: &'a [u8]) -> Result<Step<Source<'a>>, RcpError> {
        let Some(&first) = buffer.first() else { return Ok(Step::NeedMore) };
        match self.state {
            State::Asked(_) => Ok(Step::NeedMore),
            State::Content(left) => {
                let most = usize::try_from(left).unwrap_or(usize::MAX);
                let piece = buffer.get(..most.min(buffer.len())).unwrap_or_default();
                let left = left.saturating_sub(piece.len() as u64);
                self.state = if left == 0 { State::End } else { State::Content(left) };
                Ok(Step::Event { bytes: piece.len(), event: Source::Data(piece) })
            }
            State::End if first == 0 => {
                self.ask(Question::Content);
                Ok(Step::Event { bytes: 1, event: Source::Done(None) })
            }
            State::End => {
                let Some((bytes, text)) = message(buffer, RcpError::Line)? else {
                    return Ok(Step::NeedMore);
                };
                self.ask(Question::Content);
                Ok(Step::Event { bytes, event: Source::Done(Some(text)) })
            }
            State::Line => self.line(first, buffer),
        }
    }

    fn line<'a>(&mut self, first: u8, buffer: &'a [u8]) -> Result<Step<Source<'a>>, RcpError> {
        if !matches!(first, 1 | 2 | b'C' | b'D' | b'E' | b'T') {
            return Err(RcpError::Line);
        }
        let Some((bytes, line)) = line(buffer)? else { return Ok(Step::NeedMore) };
        let rest = line.get(1..).unwrap_or_default();
        let event = match first {
            b'C' => {
                let (mode, size, name) = entry(rest)?;
                self.ask(Question::File(size));
                Source::File { mode, size, name }
            }
            b'D' => {
                let (mode, _, name) = entry(rest)?;
                if self.depth >= MAX_DEPTH {
                    return Err(RcpError::Depth);
                }
                self.ask(Question::Directory);
                Source::Directory { mode, name }
            }
            b'E' => {
                if !rest.is_empty() {
                    return Err(RcpError::Line);
                }
                self.depth = self.depth.checked_sub(1).ok_or(RcpError::Depth)?;
                self.ask(Question::Other);
                Source::EndDirectory
            }
            b'T' => {
                let times = times(rest).ok_or(RcpError::Line)?;
                self.ask(Question::Other);
                Source::Times { changed: times.0, read: times.1 }
            }
            _ => Source::Message(rest),
        };
        Ok(Step::Event { bytes, event })
    }

    /// What is next in the sink's stream; see [`source`](Machine::source). What it answers is
    /// the [`question`](Machine::question) of before.
    ///
    /// # Errors
    /// The sink does not speak the protocol, or breaks a limit.
    pub fn sink<'a>(&mut self, buffer: &'a [u8]) -> Result<Step<Reply<'a>>, RcpError> {
        let Some(&first) = buffer.first() else { return Ok(Step::NeedMore) };
        let (bytes, event) = match first {
            0 => (1, Reply::Ok),
            _ => match message(buffer, RcpError::Reply)? {
                Some((bytes, text)) => (bytes, Reply::Error(text)),
                None => return Ok(Step::NeedMore),
            },
        };
        let yes = event == Reply::Ok;
        match self.state {
            State::Asked(question) => self.answered(question, yes),
            _ if self.early.len() >= MAX_EARLY => return Err(RcpError::Unasked),
            _ => self.early.push_back(yes),
        }
        Ok(Step::Event { bytes, event })
    }

    fn ask(&mut self, question: Question) {
        match self.early.pop_front() {
            Some(yes) => self.answered(question, yes),
            None => self.state = State::Asked(question),
        }
    }

    fn answered(&mut self, question: Question, yes: bool) {
        self.state = match (question, yes) {
            (Question::File(0), true) => State::End,
            (Question::File(size), true) => State::Content(size),
            (Question::Directory, true) => {
                self.depth += 1;
                State::Line
            }
            _ => State::Line,
        };
    }

    /// The file or directory that the source has just named does not go on: it is answered with
    /// a no in the sink's place, and the sink never hears of it.
    ///
    /// # Errors
    /// [`RcpError::Nothing`]: there is none. Our own fault.
    pub fn refuse(&mut self) -> Result<(), RcpError> {
        match self.state {
            State::Asked(Question::File(_) | Question::Directory) => {
                self.state = State::Line;
                Ok(())
            }
            _ => Err(RcpError::Nothing),
        }
    }
}

/// The first line, and how many bytes it takes with its end.
fn line(buffer: &[u8]) -> Result<Option<(usize, &[u8])>, RcpError> {
    let start = buffer.get(..MAX_LINE_BYTES).unwrap_or(buffer);
    match start.iter().position(|&byte| byte == b'\n') {
        Some(end) => Ok(Some((end + 1, start.get(..end).unwrap_or_default()))),
        None if buffer.len() >= MAX_LINE_BYTES => Err(RcpError::TooLong),
        None => Ok(None),
    }
}

/// The text of a message, which begins with 1 (go on) or 2 (that was all).
fn message(buffer: &[u8], else_error: RcpError) -> Result<Option<(usize, &[u8])>, RcpError> {
    if !matches!(buffer.first(), Some(1 | 2)) {
        return Err(else_error);
    }
    Ok(line(buffer)?.map(|(bytes, line)| (bytes, line.get(1..).unwrap_or_default())))
}

/// `MODE SIZE NAME`.
fn entry(line: &[u8]) -> Result<(u32, u64, &[u8]), RcpError> {
    let mut words = line.splitn(3, |&byte| byte == b' ');
    let mut next = || words.next().ok_or(RcpError::Line);
    let (mode, size, name) = (next()?, next()?, next()?);
    // OpenSSH reads four digits exactly, more would be part of the size.
    if mode.len() != 4 || !mode.iter().all(|byte| matches!(byte, b'0'..=b'7')) {
        return Err(RcpError::Line);
    }
    let mode = mode.iter().fold(0, |mode, byte| mode * 8 + u32::from(byte - b'0'));
    let size = number(size).filter(|size| *size <= i64::MAX as u64).ok_or(RcpError::Line)?;
    let is_bad = |name: &[u8]| {
        matches!(name, b"" | b"." | b"..")
            || name.len() > MAX_NAME_BYTES
            || name.iter().any(|byte| matches!(byte, b'/' | 0))
    };
    if is_bad(name) { Err(RcpError::Name) } else { Ok((mode, size, name)) }
}

/// `CHANGED 0 READ 0`, the zeros being microseconds.
fn times(line: &[u8]) -> Option<(u64, u64)> {
    let mut words = line.split(|&byte| byte == b' ').map(number);
    let mut next = || words.next().flatten();
    let (changed, fraction, read, other_fraction) = (next()?, next()?, next()?, next()?);
    let whole = fraction < 1_000_000 && other_fraction < 1_000_000 && words.next().is_none();
    whole.then_some((changed, read))
}

/// Digits and nothing else.
fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}
