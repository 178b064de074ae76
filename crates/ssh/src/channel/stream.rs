//! A program under way: between its recorder and the journal.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use gate::{Admitted, Exchange, JournalError, Release};
use masking::Policy;
use records::{Response, Text};
use stdio_recorder::{MAX_TERMINAL_FRAME, Options, RecordInput, Recorder, Stdin};

/// A frame's head is shorter than that, in bytes.
const MAX_HEAD: usize = 64;
const _: () = assert!(MAX_TERMINAL_FRAME + MAX_HEAD <= records::MAX_INLINE_BYTES);

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exit {
    Status(u32),
    Signal { name: String, core_dumped: bool },
}

impl Exit {
    /// As a recording has it.
    fn code(&self) -> String {
        match self {
            Exit::Status(status) => status.to_string(),
            Exit::Signal { name, .. } => name.clone(),
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
    recorder: Recorder,
    terminal: bool,
    /// Bytes of the client's that the exchange has not counted yet.
    unsent: usize,
    pub(crate) exit: Option<Exit>,
    pub(crate) ended_by: Option<String>,
    /// Something was fed and no release was had for it yet.
    dirty: bool,
}

impl Running {
    pub(crate) fn new(
        exchange: Box<Exchange>,
        masking: &Arc<Policy>,
        recording: Recording,
    ) -> Self {
        let Recording { terminal, record_input, mask_client } = recording;
        let options = Options {
            terminal,
            record_input,
            mask_client,
            binary_passes: false,
            stdin: Stdin::Apart,
            digest_only: !exchange.keeps_data(),
        };
        Running {
            exchange,
            recorder: Recorder::new(masking, options),
            terminal,
            unsent: 0,
            exit: None,
            ended_by: None,
            dirty: false,
        }
    }

    /// Takes what the program said. Gives what the client is to see, if that differs; it may
    /// see it with what [`feed`](Running::feed) gives afterwards.
    pub(crate) fn output(&mut self, stderr: bool, data: &[u8]) -> Option<Vec<u8>> {
        self.exchange.count(data.len());
        self.recorder.output(stderr, data)
    }

    /// As [`Recorder::tail_due`].
    pub(crate) fn tail_due(&self) -> Option<Instant> {
        self.recorder.tail_due()
    }

    /// As [`Recorder::tails`].
    pub(crate) fn tails(&mut self, now: Option<Instant>) -> [(bool, Vec<u8>); 2] {
        self.recorder.tails(now)
    }

    /// As [`Recorder::postpone`].
    pub(crate) fn postpone(&mut self) {
        self.recorder.postpone();
    }

    /// As [`Recorder::end_of_output`].
    pub(crate) fn end_of_output(&mut self) {
        self.recorder.end_of_output();
    }

    /// As [`Recorder::record_exit`].
    pub(crate) fn record_exit(&mut self) {
        self.recorder.record_exit();
    }

    /// The terminal has another size.
    pub(crate) fn resize(&mut self, columns: u32, rows: u32) {
        self.recorder.resize(columns, rows);
    }

    /// The client sent a signal.
    pub(crate) fn signal(&mut self, name: &[u8]) {
        self.recorder.mark(&format!("signal {}", String::from_utf8_lossy(name)));
    }

    /// The program said how it ended.
    pub(crate) fn exited(&mut self, exit: Exit) {
        self.recorder.exited(exit.code());
        self.exit = Some(exit);
    }

    /// Whether the journal has all that was taken.
    pub(crate) fn is_fed(&self) -> bool {
        !self.dirty && !self.recorder.has_frames()
    }

    /// Hands the journal what was taken; the right to pass on all of it.
    ///
    /// # Errors
    /// [`JournalError::Full`]: not now, the same call works later. Else never.
    pub(crate) fn feed(&mut self) -> Result<Release, JournalError> {
        loop {
            let release = self.exchange.release()?;
            self.dirty = false;
            let Some(frame) = self.recorder.next_frame() else { return Ok(release) };
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
        self.unsent += data.len();
        self.recorder.input(data);
    }

    /// As [`Recorder::end_of_input`].
    pub(crate) fn end_of_input(&mut self) {
        self.recorder.end_of_input();
    }

    /// Hands the journal what the client sent; the right to pass on all of it.
    ///
    /// # Errors
    /// As [`feed`](Running::feed).
    pub(crate) fn feed_input(&mut self) -> Result<Admitted, JournalError> {
        if !self.recorder.keys().is_empty() || (self.terminal && !self.is_fed()) {
            // What the screen showed before the keys comes before them in the stream. Keys that
            // are recorded by their echo alone are not typed where no echo can be recorded.
            self.feed()?;
        }
        while let Some(frame) = self.recorder.keys().front() {
            let unsent = std::mem::take(&mut self.unsent);
            let admitted = self.exchange.interleave(frame, unsent)?;
            self.recorder.keys().pop_front();
            if self.recorder.keys().is_empty() {
                return Ok(admitted);
            }
        }
        let unsent = std::mem::take(&mut self.unsent);
        let admitted = match self.terminal {
            true => self.exchange.interleave(&[], unsent)?,
            false => self.exchange.input(self.recorder.stdin(), unsent)?,
        };
        self.recorder.stdin().clear();
        Ok(admitted)
    }

    /// What the record says of its end.
    pub(crate) fn response(&self, cut: Option<&'static str>) -> Response<'static> {
        let mut details: BTreeMap<Cow<'static, str>, Text<'static>> = BTreeMap::new();
        let mut say = |name: &'static str, value: String| {
            details.insert(name.into(), value.into());
        };
        for (name, value) in self.recorder.details() {
            say(name, value);
        }
        let code = self.exit.as_ref().map(|exit| Cow::Owned(exit.code()));
        match &self.exit {
            None => {}
            Some(Exit::Status(status)) => say("exit_status", status.to_string()),
            Some(Exit::Signal { name, core_dumped }) => {
                say("signal", name.clone());
                say("core_dumped", core_dumped.to_string());
            }
        }
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
            code,
            masked: super::masked(&self.recorder.receipt(), None),
            details,
            ..Response::default()
        }
    }
}
