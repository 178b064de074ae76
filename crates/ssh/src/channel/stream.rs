//! A program under way: what it says and reads is counted, hashed, masked and recorded here.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context as Digest, SHA256};
use gate::{Admitted, Exchange, JournalError, Release};
use masking::{Policy, Receipt, Sink, StreamMasker};
use records::{Response, Text};

use terminal::echo::{Echo, Keys};
use terminal::vtmap::Masker;

use super::frames::{self, Frames, Kind};
use super::screen::{Finder, Screen};
use crate::rules::RecordInput;

/// How much of a stream is looked at to tell text from binary data, in bytes.
const BINARY_PROBE: u64 = 4096;
/// The most of a terminal's output in one frame, in bytes: a frame with its head must fit an
/// entry.
const TERMINAL_FRAME: usize = records::MAX_INLINE_BYTES - 64;
/// How long the end of what a program said so far is held back to be masked for the client,
/// when nothing follows it.
const TAIL: Duration = Duration::from_millis(40);
/// How long a key may wait for its echo; after that it counts as hidden.
const ECHO_WAIT: Duration = Duration::from_secs(2);

/// How long the end of what a terminal showed waits to be judged for the record, when nothing
/// follows it: so long may somebody pause while typing.
const RECORD_TAIL: Duration = Duration::from_secs(5);
/// The most bytes of output behind a silence of [`TAIL`] that are taken for a key's echo, and
/// not held back.
const ECHO_BYTES: usize = 4;

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exit {
    Status(u32),
    Signal { name: String, core_dumped: bool },
}

/// One of a program's two ways to speak.
struct Spoken {
    bytes: u64,
    digest: Digest,
    to_client: Option<StreamMasker>,
    to_record: Option<StreamMasker>,
    /// The client's masker may hold something since then.
    held: Option<Instant>,
    binary: bool,
}

impl Spoken {
    /// Masked as a stream of text for the client, or for the record.
    fn new(masking: &Arc<Policy>, mask_client: bool, mask_record: bool) -> Self {
        let stream =
            |sink, wanted: bool| (wanted && masking.scans(sink)).then(|| masking.stream(sink));
        Spoken {
            bytes: 0,
            digest: Digest::new(&SHA256),
            to_client: stream(Sink::Client, mask_client),
            to_record: stream(Sink::Record, mask_record),
            held: None,
            binary: false,
        }
    }
}

/// What a program is to the recorder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recording {
    /// There is a terminal: its keystrokes belong to the screen's stream.
    pub(crate) terminal: bool,
    pub(crate) record_input: RecordInput,
    /// What the client sees is masked.
    pub(crate) mask_client: bool,
}

/// A program that was admitted.
pub(crate) struct Running {
    pub(crate) exchange: Box<Exchange>,
    frames: Frames,
    stdout: Spoken,
    stderr: Spoken,
    /// A terminal's recording, where it is masked.
    screen: Option<Screen>,
    /// What a terminal shows to the client, where that is masked.
    to_client: Option<Masker<Finder>>,
    /// When the terminal last showed anything.
    shown: Option<Instant>,
    stdin: Digest,
    /// Of it: not yet handed to the journal.
    stdin_unfed: Vec<u8>,
    /// Keystrokes not yet handed to the journal, as frames.
    keys: VecDeque<Vec<u8>>,
    /// Keys that wait for their echo, and since when.
    echo: Echo,
    pressed: Option<Instant>,
    /// Bytes of the client's that the exchange has not counted yet.
    unsent: usize,
    stdin_masker: Option<StreamMasker>,
    recording: Recording,
    pub(crate) exit: Option<Exit>,
    /// [`exit`](Running::exit) is in the recording.
    exit_on_record: bool,
    pub(crate) ended_by: Option<String>,
    /// Frames that the journal had no room for yet.
    unfed: VecDeque<Vec<u8>>,
    /// Something was fed and no release was had for it yet.
    dirty: bool,
}

impl Running {
    pub(crate) fn new(
        exchange: Box<Exchange>,
        masking: &Arc<Policy>,
        recording: Recording,
    ) -> Self {
        let terminal = recording.terminal;
        Running {
            exchange,
            frames: Frames::new(),
            stdout: Spoken::new(masking, recording.mask_client && !terminal, !terminal),
            stderr: Spoken::new(masking, recording.mask_client, true),
            screen: if terminal { Screen::new(masking) } else { None },
            to_client: if terminal && recording.mask_client {
                Finder::masker(masking, Sink::Client)
            } else {
                None
            },
            shown: None,
            stdin: Digest::new(&SHA256),
            stdin_unfed: Vec::new(),
            keys: VecDeque::new(),
            echo: Echo::new(),
            pressed: None,
            unsent: 0,
            stdin_masker: masking.scans(Sink::Record).then(|| masking.stream(Sink::Record)),
            recording,
            exit: None,
            exit_on_record: false,
            ended_by: None,
            unfed: VecDeque::new(),
            dirty: false,
        }
    }

    fn spoken(&mut self, stderr: bool) -> &mut Spoken {
        if stderr { &mut self.stderr } else { &mut self.stdout }
    }

    /// Takes what the program said. Gives what the client is to see, if that differs; it may
    /// see it with what [`feed`](Running::feed) gives afterwards.
    pub(crate) fn output(&mut self, stderr: bool, data: &[u8]) -> Option<Vec<u8>> {
        self.exchange.count(data.len());
        let keeps = self.exchange.keeps_data();
        if self.pressed.is_some() {
            // Before the echo itself: first a key is pressed.
            let keys = self.echo.shown(data);
            self.record_keys(keys);
        }
        let spoken = self.spoken(stderr);
        spoken.digest.update(data);
        let probe = usize::try_from(BINARY_PROBE.saturating_sub(spoken.bytes)).unwrap_or(0);
        spoken.bytes += data.len() as u64;
        let mut record = Cow::Borrowed(data);
        if keeps && let Some(masker) = &mut spoken.to_record {
            // What is no text can't be searched: the masker can't vouch for it.
            spoken.binary |= data.iter().take(probe).any(|&byte| byte == 0);
            let mut out = Vec::with_capacity(data.len());
            if !spoken.binary {
                masker.push(data, &mut out);
            }
            record = Cow::Owned(out);
        }
        let client = spoken.to_client.as_mut().map(|masker| {
            let mut out = Vec::with_capacity(data.len());
            masker.push(data, &mut out);
            spoken.held = Some(Instant::now());
            out
        });
        self.record(if stderr { Kind::Error } else { Kind::Output }, &record);
        if stderr { client } else { self.show(data).or(client) }
    }

    /// What a terminal shows to the client, masked; none if it is not.
    fn show(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        let masker = self.to_client.as_mut()?;
        let now = Instant::now();
        let silent = self.shown.is_none_or(|at| at + TAIL <= now);
        self.shown = Some(now);
        masker.output(data);
        if silent && data.len() <= ECHO_BYTES {
            masker.settle();
        }
        let mut out = Vec::new();
        masker.take(masker.ready(), &mut out);
        self.stdout.held = match self.stdout.held {
            _ if masker.is_empty() => None,
            Some(since) if out.is_empty() => Some(since),
            _ => Some(now),
        };
        Some(out)
    }

    /// When the held end of what was said is to be given up, if anything may be held.
    pub(crate) fn tail_due(&self) -> Option<Instant> {
        let due = |spoken: &Spoken| spoken.held.map(|since| since + TAIL);
        let keys = self.pressed.map(|since| since + ECHO_WAIT);
        let record = self.screen.as_ref().and_then(Screen::waits_since);
        let record = record.map(|since| since + RECORD_TAIL);
        [due(&self.stdout), due(&self.stderr), keys, record].into_iter().flatten().min()
    }

    /// Gives up what is held back too long by `now` (all of it, without): for the client, which
    /// is what this gives, standard error's too; and keys without an echo.
    pub(crate) fn tails(&mut self, now: Option<Instant>) -> [(bool, Vec<u8>); 2] {
        let is_over = |since: Instant, wait| now.is_none_or(|now| since + wait <= now);
        if self.pressed.is_some_and(|since| is_over(since, ECHO_WAIT)) {
            let keys = self.echo.give_up();
            self.record_keys(keys);
        }
        let waits = self.screen.as_ref().and_then(Screen::waits_since);
        if waits.is_some_and(|since| is_over(since, RECORD_TAIL)) {
            self.settle(now.is_none());
        }
        [false, true].map(|stderr| {
            let mut out = Vec::new();
            if !self.spoken(stderr).held.is_some_and(|since| is_over(since, TAIL)) {
                return (stderr, out);
            }
            self.spoken(stderr).held = None;
            if let (false, Some(masker)) = (stderr, &mut self.to_client) {
                masker.settle();
                let bytes = if now.is_none() { usize::MAX } else { masker.ready() };
                masker.take(bytes, &mut out);
            } else if let Some(masker) = &mut self.spoken(stderr).to_client {
                masker.finish(&mut out);
            }
            (stderr, out)
        })
    }

    /// No more will be said: what the record's maskers hold is recorded, and how it ended.
    pub(crate) fn end_of_output(&mut self) {
        let keys = self.echo.give_up();
        self.record_keys(keys);
        for (stderr, kind) in [(false, Kind::Output), (true, Kind::Error)] {
            let spoken = self.spoken(stderr);
            let mut out = Vec::new();
            if !spoken.binary
                && let Some(masker) = &mut spoken.to_record
            {
                masker.finish(&mut out);
            }
            self.record(kind, &out);
        }
        self.settle(true);
        self.record_exit();
    }

    /// How the program ended is recorded, once: behind all it said, although the target may say
    /// it before the last of that; or earlier, when the client is about to be told.
    pub(crate) fn record_exit(&mut self) {
        let exit = match &self.exit {
            Some(Exit::Status(status)) => status.to_string(),
            Some(Exit::Signal { name, .. }) => name.clone(),
            None => return,
        };
        if !std::mem::replace(&mut self.exit_on_record, true) {
            self.settle(true);
            self.record(Kind::Exit, exit.as_bytes());
            self.settle(true);
        }
    }

    /// A terminal's recording: what waits is judged as it is, and recorded.
    fn settle(&mut self, all: bool) {
        if let Some(screen) = &mut self.screen {
            screen.settle();
            screen.drain(&mut self.frames, TERMINAL_FRAME, all, &mut self.unfed);
        }
    }

    /// The terminal has another size.
    pub(crate) fn resize(&mut self, columns: u32, rows: u32) {
        if let Some(masker) = &mut self.to_client {
            masker.resize(frames::narrow(columns), frames::narrow(rows));
        }
        if let Some(screen) = &mut self.screen {
            screen.resize(frames::narrow(columns), frames::narrow(rows));
        }
        self.record(Kind::Resize, &frames::size(columns, rows));
    }

    /// The client sent a signal.
    pub(crate) fn signal(&mut self, name: &[u8]) {
        let mark = format!("signal {}", String::from_utf8_lossy(name));
        self.record(Kind::Mark, mark.as_bytes());
    }

    /// The program said how it ended.
    pub(crate) fn exited(&mut self, exit: Exit) {
        self.exit = Some(exit);
    }

    fn record_keys(&mut self, known: Vec<Keys>) {
        for keys in known {
            match keys {
                Keys::Shown(keys) => self.record(Kind::Input, &keys),
                Keys::Hidden(count) => self.record(Kind::Hidden, count.to_string().as_bytes()),
            }
        }
        if !self.echo.is_waiting() {
            self.pressed = None;
        }
    }

    fn record(&mut self, kind: Kind, bytes: &[u8]) {
        if bytes.is_empty() || !self.exchange.keeps_data() {
            return;
        }
        if let Some(screen) = &mut self.screen {
            screen.push(kind, bytes);
            screen.drain(&mut self.frames, TERMINAL_FRAME, false, &mut self.unfed);
            return;
        }
        let most = if self.recording.terminal { TERMINAL_FRAME } else { bytes.len() };
        for piece in bytes.chunks(most) {
            let frame = self.frames.frame(kind, piece);
            self.unfed.push_back(frame);
        }
    }

    /// Whether the journal has all that was taken.
    pub(crate) fn is_fed(&self) -> bool {
        !self.dirty && self.unfed.is_empty()
    }

    /// Hands the journal what was taken; the right to pass on all of it.
    ///
    /// # Errors
    /// [`JournalError::Full`]: not now, the same call works later. Else never.
    pub(crate) fn feed(&mut self) -> Result<Release, JournalError> {
        loop {
            let release = self.exchange.release()?;
            self.dirty = false;
            let Some(frame) = self.unfed.pop_front() else { return Ok(release) };
            self.dirty = true;
            // What it says of a lack of room, the release above says again.
            match self.exchange.answer_whole(frame) {
                Ok(()) | Err(JournalError::Full) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes what the client sent to the program; it may be passed on with what
    /// [`feed_input`](Running::feed_input) gives afterwards.
    pub(crate) fn input(&mut self, data: &[u8]) {
        self.stdin.update(data);
        self.unsent += data.len();
        if self.recording.terminal {
            self.typed(data);
            return;
        }
        match &mut self.stdin_masker {
            Some(masker) => masker.push(data, &mut self.stdin_unfed),
            None => self.stdin_unfed.extend_from_slice(data),
        }
    }

    fn typed(&mut self, data: &[u8]) {
        match self.recording.record_input {
            _ if !self.exchange.keeps_data() => {}
            RecordInput::None => {}
            RecordInput::Echoed => {
                self.pressed = Some(Instant::now());
                let keys = self.echo.typed(data);
                self.record_keys(keys);
            }
            RecordInput::All => {
                // They are on record before the target gets them, so what the screen showed
                // before them can't wait any longer.
                self.settle(false);
                for piece in data.chunks(TERMINAL_FRAME) {
                    let frame = self.frames.frame(Kind::Input, piece);
                    self.keys.push_back(frame);
                }
            }
        }
    }

    /// No more will be sent to the program.
    pub(crate) fn end_of_input(&mut self) {
        if let Some(masker) = &mut self.stdin_masker
            && !self.recording.terminal
        {
            masker.finish(&mut self.stdin_unfed);
        }
    }

    /// Hands the journal what the client sent; the right to pass on all of it.
    ///
    /// # Errors
    /// As [`feed`](Running::feed).
    pub(crate) fn feed_input(&mut self) -> Result<Admitted, JournalError> {
        if !self.keys.is_empty() || (self.recording.terminal && !self.is_fed()) {
            // What the screen showed before the keys comes before them in the stream. Keys that
            // are recorded by their echo alone are not typed where no echo can be recorded.
            self.feed()?;
        }
        while let Some(frame) = self.keys.front() {
            let unsent = std::mem::take(&mut self.unsent);
            let admitted = self.exchange.interleave(frame, unsent)?;
            self.keys.pop_front();
            if self.keys.is_empty() {
                return Ok(admitted);
            }
        }
        let unsent = std::mem::take(&mut self.unsent);
        let admitted = match self.recording.terminal {
            true => self.exchange.interleave(&[], unsent)?,
            false => self.exchange.input(&self.stdin_unfed, unsent)?,
        };
        self.stdin_unfed.clear();
        Ok(admitted)
    }

    /// What the record says of its end.
    pub(crate) fn response(&self, cut: Option<&'static str>) -> Response<'static> {
        let mut details: BTreeMap<Cow<'static, str>, Text<'static>> = BTreeMap::new();
        let mut say = |name: &'static str, value: String| {
            details.insert(name.into(), value.into());
        };
        say("stdout_bytes", self.stdout.bytes.to_string());
        say("stdout_sha256", hex(&self.stdout.digest));
        if !self.recording.terminal {
            say("stderr_bytes", self.stderr.bytes.to_string());
            say("stderr_sha256", hex(&self.stderr.digest));
            say("stdin_sha256", hex(&self.stdin));
        }
        for (spoken, name) in [(&self.stdout, "stdout"), (&self.stderr, "stderr")] {
            if spoken.binary {
                say(if name == "stdout" { "stdout_kept" } else { "stderr_kept" }, "counted".into());
            }
        }
        let code = match &self.exit {
            None => None,
            Some(Exit::Status(status)) => {
                say("exit_status", status.to_string());
                Some(status.to_string())
            }
            Some(Exit::Signal { name, core_dumped }) => {
                say("signal", name.clone());
                say("core_dumped", core_dumped.to_string());
                Some(name.clone())
            }
        };
        if let Some(reason) = &self.ended_by {
            say("ended_by", reason.clone());
        }
        let outcome = match (&self.exit, cut) {
            (Some(Exit::Status(0)), _) => "ok",
            (Some(_), _) => "error",
            (None, Some(cut)) => cut,
            // A channel that closes without a word on how its program ended.
            (None, None) => "lost",
        };
        Response {
            outcome: outcome.into(),
            code: code.map(Cow::Owned),
            masked: self.masked(),
            details,
            ..Response::default()
        }
    }

    fn masked(&self) -> BTreeMap<Cow<'static, str>, u64> {
        let mut receipt = Receipt::new();
        for spoken in [&self.stdout, &self.stderr] {
            if let Some(masker) = spoken.to_client.as_ref().or(spoken.to_record.as_ref()) {
                receipt.merge(masker.receipt());
            }
        }
        let shown = self.to_client.as_ref().map(|masker| masker.finder().receipt());
        if let Some(shown) = shown.or(self.screen.as_ref().map(Screen::receipt)) {
            receipt.merge(shown);
        }
        super::masked(&receipt, None)
    }
}

fn hex(digest: &Digest) -> String {
    hex::encode(digest.clone().finish())
}
