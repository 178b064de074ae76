//! A program under way: what it says and reads is counted, hashed, masked and made into frames.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use masking::{Policy, Receipt, Sink};
use terminal::echo::{Echo, Keys};
use terminal::frames::Kind;
use terminal::vtmap::Masker;

use crate::frames::{self, Frames};
use crate::keys::RecordInput;
use crate::screen::{Finder, Screen};
use crate::stream::{Stream, Wanted};

/// The most of a terminal's stream in one frame, in bytes, without its head: so that a frame fits
/// an entry of the record.
pub const MAX_TERMINAL_FRAME: usize = 16 * 1024 - 64;
/// How long the end of what a program said so far is held back to be masked for the client,
/// when nothing follows it.
const TAIL: Duration = Duration::from_millis(40);
/// How long the end of what was sent to a program waits to be judged for the record, when nothing
/// follows it. Who must not pass on what is on no record waits with it.
const INPUT_TAIL: Duration = Duration::from_millis(10);
/// How long a key may wait for its echo; after that it counts as hidden.
const ECHO_WAIT: Duration = Duration::from_secs(2);
/// How long the end of what a terminal showed waits to be judged for the record, when nothing
/// follows it: so long may somebody pause while typing.
const RECORD_TAIL: Duration = Duration::from_secs(5);
/// The most bytes of output behind a silence of [`TAIL`] that are taken for a key's echo, and
/// not held back.
const ECHO_BYTES: usize = 4;

/// Where the record has what is sent to a program that has no terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stdin {
    /// Among the frames, in its place between what the program says. What is held back of it is
    /// given up to the record 10 ms after the last piece, in a second at most
    /// ([`Recorder::tails`]).
    #[default]
    Among,
    /// In a stream of its own: [`Recorder::stdin`].
    Apart,
}

/// What a program is to its recorder.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// It has a terminal: what is sent to it are keystrokes, and belongs to the screen's stream.
    pub terminal: bool,
    /// Keystrokes of a terminal.
    pub record_input: RecordInput,
    /// What the client sees is masked.
    pub mask_client: bool,
    /// What is no text (a NUL in its first 4 KiB) passes to the client as it came, masked or not:
    /// an archive that was changed is none.
    pub binary_passes: bool,
    /// Without a terminal.
    pub stdin: Stdin,
    /// The record has no bytes, only their number and their SHA-256.
    pub digest_only: bool,
}

/// Records a program under way.
pub struct Recorder {
    options: Options,
    frames: Frames,
    stdout: Stream,
    stderr: Stream,
    /// Not of a terminal.
    stdin: Stream,
    /// A terminal's recording, where it is masked.
    screen: Option<Screen>,
    /// What a terminal shows to the client, where that is masked.
    to_client: Option<Masker<Finder>>,
    /// When the terminal last showed anything.
    shown: Option<Instant>,
    /// [`Stdin::Apart`]: not yet taken.
    stdin_apart: Vec<u8>,
    /// Keys that wait for their echo, and since when.
    echo: Echo,
    pressed: Option<Instant>,
    exit: Option<String>,
    /// Frames not yet taken, and keys as frames.
    ready: VecDeque<Vec<u8>>,
    keys: VecDeque<Vec<u8>>,
}

// What a program says is nobody's business.
impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Of a program that begins now.
    #[must_use]
    pub fn new(masking: &Arc<Policy>, options: Options) -> Self {
        let Options { terminal, mask_client, binary_passes, .. } = options;
        let keeps = !options.digest_only;
        let wanted = |client, record| Wanted {
            client,
            record: record && keeps,
            binary_passes,
            keeps_binary: false,
        };
        // A shell passes over a NUL: what it is told is kept all the same.
        let of_stdin =
            Wanted { record: !terminal && keeps, keeps_binary: true, ..Wanted::default() };
        Recorder {
            options,
            frames: Frames::new(),
            stdout: Stream::new(masking, wanted(mask_client && !terminal, !terminal)),
            stderr: Stream::new(masking, wanted(mask_client, true)),
            stdin: Stream::new(masking, of_stdin),
            screen: if terminal && keeps { Screen::new(masking) } else { None },
            to_client: if terminal && mask_client {
                Finder::masker(masking, Sink::Client)
            } else {
                None
            },
            shown: None,
            stdin_apart: Vec::new(),
            echo: Echo::new(),
            pressed: None,
            exit: None,
            ready: VecDeque::new(),
            keys: VecDeque::new(),
        }
    }

    fn spoken(&mut self, stderr: bool) -> &mut Stream {
        if stderr { &mut self.stderr } else { &mut self.stdout }
    }

    /// Whether the client may ever see something else than what the program said, or later.
    #[must_use]
    pub fn changes_output(&self) -> bool {
        self.to_client.is_some() || self.stdout.is_changed() || self.stderr.is_changed()
    }

    /// Takes what the program said. Gives what the client is to see now, if that may differ; it may
    /// see it once the frames that are ready then are on record. The rest is held back, for the
    /// client as for the record: what no frame has the client doesn't see. (Of a terminal whose
    /// record is masked it does, up to five seconds before.)
    pub fn output(&mut self, stderr: bool, data: &[u8]) -> Option<Vec<u8>> {
        if self.pressed.is_some() {
            // Before the echo itself: first a key is pressed.
            let keys = self.echo.shown(data);
            self.record_keys(keys);
        }
        let spoken = self.spoken(stderr);
        spoken.count(data);
        let record = spoken.for_record(data);
        let client = spoken.for_client(data);
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
        // A line that is drawn on and on is judged in time all the same.
        match out.is_empty() && self.stdout.held.due(TAIL).is_some() {
            true if !masker.is_empty() => {}
            _ => self.stdout.held.goes_on(!masker.is_empty(), true),
        }
        Some(out)
    }

    /// When the held end of what was said is to be given up, if anything may be held.
    #[must_use]
    pub fn tail_due(&self) -> Option<Instant> {
        let due = |since: Option<Instant>, wait| since.map(|since| since + wait);
        let screen = self.screen.as_ref().and_then(Screen::waits_since);
        [
            self.stdout.held.due(TAIL),
            self.stderr.held.due(TAIL),
            self.stdin.held.due(INPUT_TAIL),
            due(self.pressed, ECHO_WAIT),
            due(screen, RECORD_TAIL),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Gives up what is held back too long by `now` (all of it, without): for the client, which
    /// is what this gives, `true` with standard error's; and for the record keys without an echo,
    /// and what was sent.
    pub fn tails(&mut self, now: Option<Instant>) -> [(bool, Vec<u8>); 2] {
        let is_over = |since: Instant, wait| now.is_none_or(|now| since + wait <= now);
        if self.pressed.is_some_and(|since| is_over(since, ECHO_WAIT)) {
            let keys = self.echo.give_up();
            self.record_keys(keys);
        }
        if self.stdin.held.is_over(now, INPUT_TAIL) {
            self.end_of_input();
        }
        let waits = self.screen.as_ref().and_then(Screen::waits_since);
        if waits.is_some_and(|since| is_over(since, RECORD_TAIL)) {
            self.settle(now.is_none());
        }
        [false, true].map(|stderr| {
            let is_over = self.spoken(stderr).held.is_over(now, TAIL);
            (stderr, if is_over { self.output_tail(stderr, now.is_none()) } else { Vec::new() })
        })
    }

    /// More of what the program says is there and can't be taken yet, for the client takes nothing:
    /// what is held back of it may go on in that.
    pub fn postpone(&mut self) {
        self.stdout.held.postpone();
        self.stderr.held.postpone();
    }

    /// Nothing more is said in one of the two ways: what was held back of it for the client. The
    /// record has it too then.
    pub fn end_of(&mut self, stderr: bool) -> Vec<u8> {
        self.output_tail(stderr, true)
    }

    fn output_tail(&mut self, stderr: bool, all: bool) -> Vec<u8> {
        let (record, mut client) = self.spoken(stderr).tail();
        self.record(if stderr { Kind::Error } else { Kind::Output }, &record);
        if let (false, Some(masker)) = (stderr, &mut self.to_client) {
            masker.settle();
            masker.take(if all { usize::MAX } else { masker.ready() }, &mut client);
        }
        client
    }

    /// No more will be said: what the record's maskers hold is recorded, and how it ended.
    pub fn end_of_output(&mut self) {
        let keys = self.echo.give_up();
        self.record_keys(keys);
        for (stderr, kind) in [(false, Kind::Output), (true, Kind::Error)] {
            let tail = self.spoken(stderr).record_tail();
            self.record(kind, &tail);
        }
        self.settle(true);
        self.record_exit();
    }

    /// The program said how it ended: an exit status, or a signal's name. It is recorded behind all
    /// that the program said, although it may be told before the last of that.
    pub fn exited(&mut self, exit: String) {
        self.exit = Some(exit);
    }

    /// What [`exited`](Recorder::exited) told is recorded, once: for when the client is about to
    /// be told.
    pub fn record_exit(&mut self) {
        if let Some(exit) = self.exit.take() {
            self.settle(true);
            self.record(Kind::Exit, exit.as_bytes());
            self.settle(true);
        }
    }

    /// A terminal's recording: what waits is judged as it is, and recorded.
    fn settle(&mut self, all: bool) {
        if let Some(screen) = &mut self.screen {
            screen.settle();
            screen.drain(&mut self.frames, MAX_TERMINAL_FRAME, all, &mut self.ready);
        }
    }

    /// The terminal has another size, in characters.
    pub fn resize(&mut self, columns: u32, rows: u32) {
        let [narrow_columns, narrow_rows] = [columns, rows].map(frames::narrow);
        if let Some(masker) = &mut self.to_client {
            masker.resize(narrow_columns, narrow_rows);
        }
        if let Some(screen) = &mut self.screen {
            screen.resize(narrow_columns, narrow_rows);
        }
        self.record(Kind::Resize, &frames::size(columns, rows));
    }

    /// Something happened that is worth a mark: the client sent a signal.
    pub fn mark(&mut self, text: &str) {
        self.record(Kind::Mark, text.as_bytes());
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
        if bytes.is_empty() || self.options.digest_only {
            return;
        }
        if let Some(screen) = &mut self.screen {
            screen.push(kind, bytes);
            let is_full = screen.is_full();
            if is_full {
                screen.settle();
            }
            screen.drain(&mut self.frames, MAX_TERMINAL_FRAME, is_full, &mut self.ready);
            return;
        }
        let most = if self.options.terminal { MAX_TERMINAL_FRAME } else { bytes.len() };
        for piece in bytes.chunks(most) {
            let frame = self.frames.frame(kind, piece);
            self.ready.push_back(frame);
        }
    }

    /// Takes what the client sent to the program. It may be passed on once the frames that are
    /// ready then are on record: those of [`next_frame`](Recorder::next_frame), then those of
    /// [`keys`](Recorder::keys). Without a terminal, less [`unrecorded`](Recorder::unrecorded) bytes.
    pub fn input(&mut self, data: &[u8]) {
        self.stdin.count(data);
        if self.options.digest_only || data.is_empty() {
            return;
        }
        if self.options.terminal {
            self.typed(data);
            return;
        }
        let record = self.stdin.for_record(data);
        match self.options.stdin {
            Stdin::Apart => self.stdin_apart.extend_from_slice(&record),
            Stdin::Among => {
                self.stdin.held.goes_on(self.stdin.unrecorded() > 0, !record.is_empty());
                self.record(Kind::Input, &record);
            }
        }
    }

    fn typed(&mut self, data: &[u8]) {
        match self.options.record_input {
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
                for piece in data.chunks(MAX_TERMINAL_FRAME) {
                    let frame = self.frames.frame(Kind::Input, piece);
                    self.keys.push_back(frame);
                }
            }
        }
    }

    /// Of what was sent to a program without a terminal, how many bytes are in no frame yet: the
    /// last ones. They may be the beginning of a value.
    #[must_use]
    pub fn unrecorded(&self) -> u64 {
        self.stdin.unrecorded()
    }

    /// Whether what is sent may be passed on before it is on record: keys that are recorded as the
    /// terminal echoes them, if at all.
    #[must_use]
    pub fn keys_go_first(&self) -> bool {
        self.options.terminal && self.options.record_input != RecordInput::All
    }

    /// No more will be sent to the program, or not soon: what the record's masker holds of it is
    /// recorded.
    pub fn end_of_input(&mut self) {
        let (tail, _nobody_sees_it) = self.stdin.tail();
        match self.options.stdin {
            Stdin::Apart => self.stdin_apart.extend_from_slice(&tail),
            Stdin::Among => self.record(Kind::Input, &tail),
        }
    }

    /// What was sent to the program and not taken yet, masked for the record: to be taken out.
    /// Empty but with [`Stdin::Apart`].
    pub fn stdin(&mut self) -> &mut Vec<u8> {
        &mut self.stdin_apart
    }

    /// The next frame for the record.
    pub fn next_frame(&mut self) -> Option<Vec<u8>> {
        self.ready.pop_front()
    }

    /// Whether there is one.
    #[must_use]
    pub fn has_frames(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Keys that are on record before they are typed ([`RecordInput::All`]), as frames: to be
    /// taken out. They come behind all other frames.
    pub fn keys(&mut self) -> &mut VecDeque<Vec<u8>> {
        &mut self.keys
    }

    /// What the outcome says of the streams: how long each was, and its SHA-256 in hexadecimal.
    #[must_use]
    pub fn details(&self) -> Vec<(&'static str, String)> {
        let Recorder { stdout, stderr, stdin, .. } = self;
        let mut all =
            vec![("stdout_bytes", stdout.bytes.to_string()), ("stdout_sha256", stdout.sha256())];
        if !self.options.terminal {
            all.push(("stderr_bytes", stderr.bytes.to_string()));
            all.push(("stderr_sha256", stderr.sha256()));
            all.push(("stdin_bytes", stdin.bytes.to_string()));
            all.push(("stdin_sha256", stdin.sha256()));
        }
        for (stream, name) in [(stdout, "stdout_kept"), (stderr, "stderr_kept")] {
            if stream.is_left_out() && !self.options.digest_only {
                all.push((name, "counted".into()));
            }
        }
        all
    }

    /// What was masked: for the client, where something is; else for the record.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        let mut receipt = Receipt::new();
        for spoken in [&self.stdout, &self.stderr].into_iter().filter_map(Stream::receipt) {
            receipt.merge(spoken);
        }
        let shown = self.to_client.as_ref().map(|masker| masker.finder().receipt());
        if let Some(shown) = shown.or(self.screen.as_ref().map(Screen::receipt)) {
            receipt.merge(shown);
        }
        receipt
    }
}
