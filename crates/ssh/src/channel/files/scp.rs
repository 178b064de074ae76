//! One transfer by the old scp (`scp -O`): each file and directory is a command of its own.
//!
//! Paths are made of the command line's argument and the names that the source gives. Where an
//! argument may be a directory or the file itself, both are what rules match.

use std::borrow::Cow;

use gate::{Admitted, Exchange, Release};
use records::Response;
use shell_grammar::Word;
use ssh_wire::rcp::{Machine, Question, RcpError, Reply, Source, Step};

use super::flow::{Flow, Room};
use super::{Asked, Cx, Ending, paths, wish};
use crate::relay::End;
use crate::side::Side;

/// The most arguments that are read.
const MAX_ARGUMENTS: usize = 64;

/// What `scp -t` or `scp -f` was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::channel) struct Line {
    /// Who sends files.
    source: Side,
    /// The argument is a directory (`-d`).
    is_directory: bool,
    arguments: Vec<Argument>,
}

/// A path on a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Argument {
    path: Vec<u8>,
    /// The shell makes names of its last part.
    is_pattern: bool,
    /// Nobody knows what the shell makes of it.
    is_unknown: bool,
}

/// Where a file may be, and whether that is sure.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    path: Vec<u8>,
    is_unknown: bool,
}

impl Line {
    /// Reads the words behind `scp`. `None`: not what OpenSSH's client asks for.
    pub(in crate::channel) fn read(words: &[Word]) -> Option<Line> {
        let (mut source, mut is_directory, mut arguments) = (None, false, Vec::new());
        let mut options = true;
        for word in words {
            match word.plain() {
                Some(b"--") if options => options = false,
                Some([b'-', letters @ ..]) if options && !letters.is_empty() => {
                    for letter in letters {
                        match letter {
                            b't' if source.is_none() => source = Some(Side::Client),
                            b'f' if source.is_none() => source = Some(Side::Target),
                            b'd' => is_directory = true,
                            b'r' | b'p' | b'v' | b'q' => {}
                            _ => return None,
                        }
                    }
                }
                _ => {
                    options = false;
                    arguments.push(argument(word));
                }
            }
        }
        let source = source?;
        let fits = match source {
            Side::Client => arguments.len() == 1,
            Side::Target => (1..=MAX_ARGUMENTS).contains(&arguments.len()),
        };
        fits.then_some(Line { source, is_directory, arguments })
    }

    /// Where something may be that the source names first.
    fn top(&self, name: &[u8]) -> Vec<Place> {
        let place =
            |path: Vec<u8>, argument: &Argument| Place { path, is_unknown: argument.is_unknown };
        let mut places = Vec::new();
        for argument in &self.arguments {
            let path = argument.path.as_slice();
            match self.source {
                Side::Client => {
                    places.push(place(paths::join(path, name), argument));
                    let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
                    let is_directory = self.is_directory || matches!(last, b"" | b"." | b"..");
                    if !is_directory {
                        places.push(place(path.to_vec(), argument));
                    }
                }
                Side::Target => {
                    let ended = path.iter().rposition(|&byte| byte != b'/');
                    let path = ended.and_then(|at| path.get(..=at)).unwrap_or(b"/");
                    let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
                    if last == name {
                        places.push(place(path.to_vec(), argument));
                    } else if argument.is_pattern || argument.is_unknown {
                        places.push(place(paths::join(paths::parent(path), name), argument));
                    }
                }
            }
        }
        if places.is_empty() {
            // A target that sends what was not asked for.
            places.push(Place { path: name.to_vec(), is_unknown: true });
        }
        places
    }
}

/// For the fuzzer: where the files of a transfer may be.
pub(in crate::channel) fn fuzz(line: &Line) {
    for name in [&b"a"[..], b"..", b"a b"] {
        drop(line.top(name));
    }
}

fn argument(word: &Word) -> Argument {
    let text = word.bytes();
    if word.plain().is_some() {
        return Argument { path: text.to_vec(), is_pattern: false, is_unknown: false };
    }
    // A home's path is relative to it, as any that does not begin at the root.
    let path = text.strip_prefix(b"~/").unwrap_or(text);
    let folder = paths::parent(path);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,@%:=".contains(byte);
    let last = path.get(folder.len()..).unwrap_or_default();
    Argument {
        path: path.to_vec(),
        is_pattern: folder.iter().all(plain) && last.iter().any(|byte| b"*?[".contains(byte)),
        is_unknown: !folder.iter().all(plain)
            || !last.iter().all(|byte| plain(byte) || b"*?[]".contains(byte)),
    }
}

/// A file under way.
struct File {
    exchange: Box<Exchange>,
    release: Release,
    size: u64,
    flow: Flow,
    failed: Option<String>,
}

/// What the sink is asked about.
enum Current {
    Nothing,
    File(Box<File>),
    Directory(Box<Exchange>),
}

/// One transfer.
pub(super) struct Scp {
    line: Line,
    machine: Machine,
    room: Room,
    /// Where each directory that is open may be, the innermost last.
    folders: Vec<Vec<Place>>,
    /// The directory that the sink is asked about.
    next_folder: Vec<Place>,
    current: Current,
    times: Option<(u64, u64)>,
}

impl Scp {
    pub(super) fn new(line: Line, room: Room) -> Self {
        Scp {
            line,
            machine: Machine::new(),
            room,
            folders: Vec::new(),
            next_folder: Vec::new(),
            current: Current::Nothing,
            times: None,
        }
    }

    /// Whether this side's stream goes on when the other's has.
    pub(super) fn is_source(&self, side: Side) -> bool {
        self.line.source == side
    }

    /// Follows a side's stream. Gives how much of it is done with.
    pub(super) fn follow(
        &mut self,
        side: Side,
        stream: &[u8],
        cx: &mut Cx<'_>,
    ) -> Result<usize, End> {
        let fault = |error: RcpError| End::violation(side, error.to_string());
        let mut at = 0;
        loop {
            let rest = stream.get(at..).unwrap_or_default();
            let bytes = if self.is_source(side) {
                match self.machine.source(rest).map_err(fault)? {
                    Step::NeedMore => return Ok(at),
                    Step::Event { bytes, event } => {
                        let whole = rest.get(..bytes).unwrap_or_default();
                        self.said(event, whole, (at, at + bytes), cx)?;
                        bytes
                    }
                }
            } else {
                let question = self.machine.question();
                match self.machine.sink(rest).map_err(fault)? {
                    Step::NeedMore => return Ok(at),
                    Step::Event { bytes, event } => {
                        let whole = rest.get(..bytes).unwrap_or_default();
                        self.answered(question, &event, whole, (at, at + bytes), cx)?;
                        bytes
                    }
                }
            };
            at += bytes;
        }
    }

    /// Passes on a stretch of a side's stream, under the rights of what is under way.
    fn pass(&self, from: Side, span: (usize, usize), cx: &mut Cx<'_>) {
        let own = || (cx.own.number, cx.own.admitted.clone(), cx.own.release.clone());
        let (number, admitted, release) = match &self.current {
            Current::Nothing => own(),
            Current::File(file) => {
                let exchange = &file.exchange;
                (exchange.number(), exchange.admitted().clone(), file.release.clone())
            }
            Current::Directory(exchange) => {
                (exchange.number(), exchange.admitted().clone(), own().2)
            }
        };
        pass(from, span, (number, &admitted, &release), cx);
    }

    fn said(
        &mut self,
        event: Source<'_>,
        whole: &[u8],
        span: (usize, usize),
        cx: &mut Cx<'_>,
    ) -> Result<(), End> {
        let from = self.line.source;
        match event {
            Source::Times { changed, read } => {
                self.times = Some((read, changed));
                self.pass(from, span, cx);
            }
            Source::Message(_) => self.pass(from, span, cx),
            Source::EndDirectory => {
                self.folders.pop();
                self.pass(from, span, cx);
            }
            Source::File { mode, size, name } => return self.file(mode, size, name, span, cx),
            Source::Directory { mode, name } => return self.directory(mode, name, span, cx),
            Source::Data(data) => {
                if let Current::File(file) = &mut self.current {
                    let offset = file.flow.bytes();
                    file.flow.push(offset, data);
                    match from {
                        Side::Client => drop(file.exchange.input(&[], data.len())?),
                        Side::Target => file.exchange.count(data.len()),
                    }
                }
                self.pass(from, span, cx);
            }
            Source::Done(error) => {
                if let (Some(text), Current::File(file)) = (error, &mut self.current) {
                    file.failed = Some(text_of(text));
                }
                if from == Side::Client {
                    self.pass(from, span, cx);
                    return Ok(());
                }
                // The end of what the client gets waits for its record.
                let answer = Some(whole.to_vec());
                return self.end_file(answer, cx);
            }
        }
        Ok(())
    }

    /// Where something of this name may be.
    fn places(&self, name: &[u8]) -> Vec<Place> {
        match self.folders.last() {
            None => self.line.top(name),
            Some(folders) => folders
                .iter()
                .map(|folder| Place {
                    path: paths::join(&folder.path, name),
                    is_unknown: folder.is_unknown,
                })
                .collect(),
        }
    }

    fn file(
        &mut self,
        mode: u32,
        size: u64,
        name: &[u8],
        span: (usize, usize),
        cx: &mut Cx<'_>,
    ) -> Result<(), End> {
        let writes = self.line.source == Side::Client;
        let wish = self.wish(if writes { "open-write" } else { "open-read" }, mode, name);
        let wish = wish.detail("size", Some(size.to_string()));
        match cx.ask("scp", wish)? {
            Asked::Yes(mut exchange) => {
                let release = exchange.release()?;
                let flow = Flow::new(&self.room);
                let file = File { exchange, release, size, flow, failed: None };
                self.current = Current::File(Box::new(file));
                self.pass(self.line.source, span, cx);
                self.unless_answered(cx)
            }
            Asked::No { release, text, .. } => self.refuse(release, &text, cx),
        }
    }

    fn directory(
        &mut self,
        mode: u32,
        name: &[u8],
        span: (usize, usize),
        cx: &mut Cx<'_>,
    ) -> Result<(), End> {
        let writes = self.line.source == Side::Client;
        let wish = self.wish(if writes { "mkdir" } else { "list" }, mode, name);
        self.next_folder = self.places(name);
        match cx.ask("scp", wish)? {
            Asked::Yes(exchange) => {
                self.current = Current::Directory(exchange);
                self.pass(self.line.source, span, cx);
                self.unless_answered(cx)
            }
            Asked::No { release, text, .. } => self.refuse(release, &text, cx),
        }
    }

    fn wish(&mut self, operation: &'static str, mode: u32, name: &[u8]) -> wish::Wish {
        let places = self.places(name);
        let unknown = places.iter().any(|place| place.is_unknown);
        let paths = places.into_iter().map(|place| place.path).collect();
        let times = self.times.take().map(|(read, changed)| format!("{read} {changed}"));
        wish::by_scp(operation, paths, unknown)
            .detail("mode", Some(format!("{mode:04o}")))
            .detail("times", times)
    }

    /// What was just passed on may have its answer already.
    fn unless_answered(&mut self, cx: &mut Cx<'_>) -> Result<(), End> {
        if self.machine.question().is_some() {
            return Ok(());
        }
        // An answer before its question: no sink of OpenSSH's gives one but to end it all.
        let error = Some("answered before it was asked".to_owned());
        self.end_current(error, None, cx)
    }

    /// The source is told no, in the sink's place.
    fn refuse(&mut self, release: Release, text: &str, cx: &mut Cx<'_>) -> Result<(), End> {
        let from = self.line.source;
        // An answer that came too early may have been its answer.
        let _refused = self.machine.refuse();
        let line: String = text.chars().filter(|c| !c.is_control()).take(1024).collect();
        let answer = format!("\x01{line}\n").into_bytes();
        match from {
            Side::Client => cx.insert(release, answer),
            Side::Target => cx.ask_target(answer),
        }
        Ok(())
    }

    fn answered(
        &mut self,
        question: Option<Question>,
        reply: &Reply<'_>,
        whole: &[u8],
        span: (usize, usize),
        cx: &mut Cx<'_>,
    ) -> Result<(), End> {
        let from = self.line.source.other();
        let error = match reply {
            Reply::Ok => None,
            Reply::Error(text) => Some(text_of(text)),
        };
        let ends = match (question, &error) {
            (Some(Question::Directory), None) => {
                self.folders.push(std::mem::take(&mut self.next_folder));
                true
            }
            (Some(Question::Directory | Question::Content), _) => true,
            (Some(Question::File(_)), Some(_)) => true,
            _ => false,
        };
        if !ends || matches!(self.current, Current::Nothing) {
            self.pass(from, span, cx);
            return Ok(());
        }
        match from {
            Side::Target => self.end_current(error, Some(whole.to_vec()), cx),
            Side::Client => {
                self.pass(from, span, cx);
                self.end_current(error, None, cx)
            }
        }
    }

    /// What is under way has ended; the answer goes to the client behind its record.
    fn end_current(
        &mut self,
        error: Option<String>,
        answer: Option<Vec<u8>>,
        cx: &mut Cx<'_>,
    ) -> Result<(), End> {
        if let Current::File(file) = &mut self.current {
            file.failed = file.failed.take().or(error);
            return self.end_file(answer, cx);
        }
        let Current::Directory(exchange) = std::mem::replace(&mut self.current, Current::Nothing)
        else {
            return Ok(());
        };
        cx.end(Ending { exchange, response: outcome(error), answer })
    }

    fn end_file(&mut self, answer: Option<Vec<u8>>, cx: &mut Cx<'_>) -> Result<(), End> {
        let current = std::mem::replace(&mut self.current, Current::Nothing);
        let Current::File(mut file) = current else { return Ok(()) };
        let mut response = outcome(file.failed.take());
        file.describe(self.line.source, response.outcome == "ok", &mut response);
        cx.end(Ending { exchange: file.exchange, response, answer })
    }

    /// The transfer ends; so does what is under way.
    pub(super) fn end(&mut self, outcome: &'static str) -> Vec<Ending> {
        let mut response = Response { outcome: outcome.into(), ..Response::default() };
        match std::mem::replace(&mut self.current, Current::Nothing) {
            Current::Nothing => Vec::new(),
            Current::Directory(exchange) => vec![Ending { exchange, response, answer: None }],
            Current::File(file) => {
                file.describe(self.line.source, false, &mut response);
                vec![Ending { exchange: file.exchange, response, answer: None }]
            }
        }
    }
}

impl File {
    fn describe(&self, source: Side, whole: bool, response: &mut Response<'static>) {
        let (bytes, sha256) = match source {
            Side::Client => ("written_bytes", "written_sha256"),
            Side::Target => ("read_bytes", "read_sha256"),
        };
        let whole = whole && self.flow.end() == Some(self.size);
        let details = &mut response.details;
        details.insert(bytes.into(), self.flow.bytes().to_string().into());
        details.insert("whole".into(), whole.to_string().into());
        details.insert("size".into(), self.size.to_string().into());
        if whole {
            details.insert(sha256.into(), self.flow.sha256().into());
        }
    }
}

fn pass(
    from: Side,
    span: (usize, usize),
    (number, admitted, release): (u64, &Admitted, &Release),
    cx: &mut Cx<'_>,
) {
    match from {
        Side::Client => cx.pass_up(number, admitted, span),
        Side::Target => cx.pass_down(number, release, span),
    }
}

fn outcome(error: Option<String>) -> Response<'static> {
    let outcome = Cow::Borrowed(if error.is_some() { "error" } else { "ok" });
    Response { outcome, message: error.map(Into::into), ..Response::default() }
}

fn text_of(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().take(512).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Option<Line> {
        let read = shell_grammar::read(text.as_bytes());
        Line::read(read.commands[0].words.get(1..)?)
    }

    fn top(text: &str, name: &str) -> Vec<String> {
        let places = line(text).unwrap().top(name.as_bytes());
        let shown = |place: Place| {
            let sure = if place.is_unknown { "?" } else { "" };
            format!("{}{sure}", String::from_utf8_lossy(&place.path))
        };
        places.into_iter().map(shown).collect()
    }

    #[test]
    fn a_file_may_be_in_its_argument_or_be_it() {
        assert_eq!(top("scp -t /a/b", "x"), ["/a/b/x", "/a/b"]);
        assert_eq!(top("scp -t /a/b/", "x"), ["/a/b/x"]);
        assert_eq!(top("scp -r -d -t /a/b", "x"), ["/a/b/x"]);
        assert_eq!(top("scp -t .", "x"), ["./x"]);
        assert_eq!(top("scp -pt -- '/a b'", "x"), ["/a b/x", "/a b"]);
    }

    #[test]
    fn what_is_sent_is_what_was_asked_for() {
        assert_eq!(top("scp -f /a/b", "b"), ["/a/b"]);
        assert_eq!(top("scp -r -f /a/b/", "b"), ["/a/b"]);
        assert_eq!(top("scp -f /a/*", "b"), ["/a/b"]);
        assert_eq!(top("scp -f /a/x /b/x", "x"), ["/a/x", "/b/x"]);
        assert_eq!(top("scp -f ~/b", "b"), ["b"]);
        assert_eq!(top("scp -f /a/b", "other"), ["other?"]);
        assert_eq!(top("scp -f /e*/b", "b"), ["/e*/b?"]);
        assert_eq!(top("scp -f $HOME/b", "b"), ["$HOME/b?"]);
        assert_eq!(top("scp -t ~root/b/", "x"), ["~root/b/x?"]);
    }

    #[test]
    fn other_words_are_not_scp() {
        for text in ["scp -t", "scp -t a b", "scp -f", "scp -tf a", "scp -S x -t a", "scp a b"] {
            assert_eq!(line(text), None, "{text}");
        }
    }
}
