//! A command under way: its answer is recorded here, part by part, before it is released.

use std::borrow::Cow;
use std::fmt;
use std::task::{Context, Poll};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use records::{Body, Chunk, Data, MAX_CHUNKS, MAX_INLINE_BYTES, Output, Response};

use crate::journal::{JournalError, Mark, Object, Pace, Recording};
use crate::permit::{Admitted, Hold, Release};
use crate::session::{Grow, Session};
use crate::target::Durability;

/// Bytes that are handed to a recording at once, unless a release wants them there sooner.
const RECORDING_BYTES: usize = 128 * 1024;
/// As much of an answer stays in entries where nothing else is asked for, in bytes: a few entries
/// in a frame that is flushed anyway cost less than a file of its own. A longer one becomes a
/// recording.
pub const MAX_ANSWER_IN_ENTRIES: usize = 4 * MAX_INLINE_BYTES;
/// Memory that bytes on their way to a recording may hold beside themselves.
const MAX_SPARE: usize = 4096;

/// A command that was admitted, and what is kept of its answer.
///
/// It must be [finished](Exchange::poll_finish). One that is dropped before is recorded as
/// `lost`: the target may or may not have run it.
pub struct Exchange {
    session: Session,
    number: u64,
    admitted: Admitted,
    /// `None`: the command has no entry of its own (recording level `operations`).
    intent: Option<u64>,
    keep_data: bool,
    grow: Grow,
    media: &'static str,
    started: Instant,
    answer: Answer,
    input: Option<Box<dyn Recording>>,
    /// As [`Answer::sealed`].
    input_sealed: Vec<Object>,
    input_bytes: u64,
    finished: bool,
}

/// What is kept of an answer, and how.
pub(crate) struct Kept {
    pub(crate) keep_data: bool,
    pub(crate) grow: Grow,
    pub(crate) media: &'static str,
}

/// The recorded side of an answer.
#[derive(Default)]
struct Answer {
    /// Bytes that are in no entry and no recording yet.
    pending: Vec<u8>,
    /// `output` entries written.
    parts: u64,
    /// The last of them: it is on record when all are.
    last: Option<u64>,
    /// Bytes that are in them.
    in_entries: usize,
    /// Bytes that the recording was given last: about what will be pending the next time.
    spilled: usize,
    /// Where the answer goes once it has outgrown entries.
    recording: Option<Box<dyn Recording>>,
    /// Objects of the recording that are complete, and that no entry names yet.
    sealed: Vec<Object>,
    recorded: u64,
    /// Bytes that the target sent.
    bytes: u64,
}

impl Exchange {
    pub(crate) fn new(
        session: Session,
        number: u64,
        admitted: Admitted,
        intent: Option<u64>,
        kept: Kept,
    ) -> Self {
        let Kept { keep_data, grow, media } = kept;
        Exchange {
            session,
            number,
            admitted,
            intent,
            keep_data,
            grow,
            media,
            started: Instant::now(),
            answer: Answer::default(),
            input: None,
            input_sealed: Vec::new(),
            input_bytes: 0,
            finished: false,
        }
    }

    /// The right to send the command's bytes to the target.
    pub fn admitted(&self) -> &Admitted {
        &self.admitted
    }

    /// The command's number in its session.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The session it belongs to.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What the bytes of its answer are, as its [`Draft`](crate::Draft) said.
    pub fn media(&self) -> &'static str {
        self.media
    }

    /// Whether the bytes of answers are kept, so that there is a use in masking them for it.
    pub fn keeps_data(&self) -> bool {
        self.keep_data
    }

    /// From now on bytes are counted and not kept: for answers whose content turns out to be
    /// nothing the masker can vouch for. What was kept so far stays.
    pub fn keep_no_more(&mut self) {
        self.keep_data = false;
    }

    /// Counts bytes that the target sent.
    pub fn count(&mut self, bytes: usize) {
        self.answer.bytes += bytes as u64;
    }

    /// Takes a part of the answer, masked for the record. It is on record when a
    /// [`release`](Exchange::release) asked for afterwards has cleared.
    ///
    /// # Errors
    /// If the journal can't take it: the part must not be released.
    pub fn answer(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        if !self.keep_data {
            return Ok(());
        }
        if self.answer.pending.capacity() == 0 {
            self.answer.pending.reserve(self.answer.spilled);
        }
        self.answer.pending.extend_from_slice(bytes);
        self.make_room()
    }

    /// As [`answer`](Exchange::answer), of bytes that are not wanted any more: a long answer is
    /// handed on without a copy of them.
    ///
    /// # Errors
    /// As [`answer`](Exchange::answer).
    pub fn answer_whole(&mut self, bytes: Vec<u8>) -> Result<(), JournalError> {
        if self.answer.recording.is_none() || !self.answer.pending.is_empty() {
            return self.answer(&bytes);
        }
        if !self.keep_data {
            return Ok(());
        }
        self.answer.pending = bytes;
        self.make_room()
    }

    /// What is more than may be pending goes into entries, or into the recording.
    fn make_room(&mut self) -> Result<(), JournalError> {
        let room = match self.answer.recording {
            Some(_) => RECORDING_BYTES,
            None => MAX_INLINE_BYTES,
        };
        while self.answer.pending.len() > room {
            if self.stays_in_entries() {
                let rest = self.answer.pending.split_off(MAX_INLINE_BYTES);
                let appended = self.append_output();
                // Also what a full journal did not take: it may be asked again.
                self.answer.pending.extend_from_slice(&rest);
                appended?;
            } else {
                self.spill()?;
            }
        }
        Ok(())
    }

    /// Takes bytes that the client sends on behalf of this command, masked for the record
    /// (COPY data, standard input). They may be sent to the target with what this returns.
    ///
    /// # Errors
    /// If the journal can't take them: they must not be sent.
    pub fn input(&mut self, bytes: &[u8], sent: usize) -> Result<Admitted, JournalError> {
        self.input_bytes += sent as u64;
        if !self.keep_data || bytes.is_empty() {
            return Ok(self.admitted.clone());
        }
        let recording = match &mut self.input {
            Some(recording) => recording,
            None => self.input.insert(self.session.journal().recording()?),
        };
        let offset = recording.write(bytes)?;
        let progress = recording.progress();
        self.input_sealed.append(&mut recording.sealed());
        self.name_sealed()?;
        let mut hold = self.admitted.hold.clone();
        hold.recording = Some((progress, offset));
        Ok(Admitted { hold })
    }

    /// The right to release every part of the answer that was taken so far.
    ///
    /// # Errors
    /// If the journal can't take what is pending: nothing must be released.
    pub fn release(&mut self) -> Result<Release, JournalError> {
        let mut hold = self.before_answer();
        if !self.answer.pending.is_empty() {
            if self.stays_in_entries() {
                let index = self.append_output()?;
                hold = self.session.hold_for(index);
            } else {
                self.spill()?;
            }
        }
        if let Some(recording) = &self.answer.recording {
            hold.recording = Some((recording.progress(), self.answer.recorded));
        }
        Ok(Release { hold })
    }

    /// Takes what the client sends on behalf of this command into the answer's own stream, in
    /// its place between the parts of the answer (keystrokes, a window's new size). `frame` is
    /// what is recorded, masked for the record; `sent` counts the client's bytes, which may be
    /// sent to the target with what this returns.
    ///
    /// # Errors
    /// If the journal can't take it: the bytes must not be sent.
    pub fn interleave(&mut self, frame: &[u8], sent: usize) -> Result<Admitted, JournalError> {
        self.input_bytes += sent as u64;
        if !self.keep_data || frame.is_empty() {
            return Ok(self.admitted.clone());
        }
        self.answer(frame)?;
        self.interleaved(0)
    }

    /// As [`interleave`](Exchange::interleave), of what was taken with the answer already: what is
    /// sent with what this returns is sent behind all parts of the answer that were taken so far.
    ///
    /// # Errors
    /// As [`interleave`](Exchange::interleave).
    pub fn interleaved(&mut self, sent: usize) -> Result<Admitted, JournalError> {
        self.input_bytes += sent as u64;
        let Release { hold } = self.release()?;
        Ok(match self.session.target().durability {
            // Forwarded at once, as the command was.
            Durability::BeforeResponse => self.admitted.clone(),
            Durability::BeforeExecute | Durability::BeforeRelease | Durability::Store => {
                Admitted { hold }
            }
        })
    }

    /// As [`poll_finish`](Self::poll_finish), where that needs no wait: nothing of this command
    /// is kept in objects of its own. `None`: it needs one, and nothing was done.
    ///
    /// # Errors
    /// As [`poll_finish`](Self::poll_finish).
    pub fn try_finish(
        &mut self,
        response: &mut Response<'_>,
    ) -> Result<Option<Release>, JournalError> {
        if self.answer.recording.is_some() || self.input.is_some() {
            return Ok(None);
        }
        // Without a recording nothing is polled.
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match self.poll_finish(response, &mut cx) {
            Poll::Ready(done) => done.map(Some),
            Poll::Pending => Ok(None),
        }
    }

    /// Records the outcome. To be polled until ready; gives the right to release the answer's
    /// end. The caller fills in what it knows; the rest is filled in here.
    ///
    /// # Errors
    /// If the journal can't take the outcome: the answer's end must not be released.
    pub fn poll_finish(
        &mut self,
        response: &mut Response<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Release, JournalError>> {
        let Some(intent) = self.intent else {
            self.finished = true;
            return Poll::Ready(Ok(Release { hold: self.admitted.hold.clone() }));
        };
        if self.answer.recording.is_some() && !self.answer.pending.is_empty() {
            self.spill()?;
        }
        if let Some(recording) = &mut self.answer.recording {
            self.answer.sealed.append(&mut std::task::ready!(recording.poll_finish(cx))?);
            self.answer.recording = None;
        }
        if let Some(recording) = &mut self.input {
            self.input_sealed.append(&mut std::task::ready!(recording.poll_finish(cx))?);
            self.input = None;
        }
        self.name_sealed()?;
        if !self.answer.pending.is_empty() {
            response.data = Some(data(self.media, &self.answer.pending));
            self.answer.pending = Vec::new();
        }
        let index = self.append_response(response)?;
        let hold = match self.session.target().durability {
            Durability::BeforeResponse => Hold::until(Mark::Durable(intent)),
            Durability::BeforeExecute | Durability::BeforeRelease => {
                Hold::until(Mark::Durable(index))
            }
            Durability::Store => Hold::until(Mark::Published(index)),
        };
        Poll::Ready(Ok(Release { hold }))
    }

    fn append_response(&mut self, response: &mut Response<'_>) -> Result<u64, JournalError> {
        response.command = self.number;
        response.bytes = self.answer.bytes;
        response.input_bytes = self.input_bytes;
        response.chunks = self.answer.sealed.iter().map(chunk).collect();
        response.input_chunks = self.input_sealed.iter().map(chunk).collect();
        response.duration_us =
            u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let pace = match self.session.target().durability {
            // The answer's end waits for the command's entry alone.
            Durability::BeforeResponse => Pace::Soon,
            Durability::BeforeExecute | Durability::BeforeRelease | Durability::Store => Pace::Now,
        };
        let index = self.session.append_outcome(response, pace)?;
        self.finished = true;
        Ok(index)
    }

    /// Whether no part of the answer goes into a recording. Recordings are written before
    /// release but synced only at their end, so at durability `before-release` every part is an
    /// entry.
    fn is_all_entries(&self) -> bool {
        self.grow == Grow::Entries || self.session.target().durability == Durability::BeforeRelease
    }

    /// Whether what is pending goes into entries: it does while the answer is short, and no
    /// part of it went elsewhere.
    fn stays_in_entries(&self) -> bool {
        let Answer { recording, in_entries, pending, .. } = &self.answer;
        self.is_all_entries()
            || (recording.is_none() && in_entries + pending.len() <= MAX_ANSWER_IN_ENTRIES)
    }

    /// What the next byte of the answer waits for, wherever it is put on record itself: the entries
    /// with what came before it, or the command's.
    fn before_answer(&self) -> Hold {
        match self.answer.last.or(self.intent) {
            Some(entry) => self.session.hold_for(entry),
            None => self.admitted.hold.clone(),
        }
    }

    fn append_output(&mut self) -> Result<u64, JournalError> {
        let output = Output {
            command: self.number,
            part: self.answer.parts,
            data: Some(data(self.media, &self.answer.pending)),
            ..Output::default()
        };
        let index = self.session.append(Body::Output(output))?;
        self.answer.parts += 1;
        self.answer.last = Some(index);
        self.answer.in_entries += self.answer.pending.len();
        self.answer.pending.clear();
        Ok(index)
    }

    fn spill(&mut self) -> Result<(), JournalError> {
        let recording = match &mut self.answer.recording {
            Some(recording) => recording,
            None => self.answer.recording.insert(self.session.journal().recording()?),
        };
        let mut pending = std::mem::take(&mut self.answer.pending);
        self.answer.spilled = pending.len();
        if pending.capacity() - pending.len() > MAX_SPARE {
            // What waits for the disk counts by its length.
            pending.shrink_to_fit();
        }
        let pending = Bytes::from(pending);
        match recording.write_whole(pending.clone()) {
            Ok(recorded) => self.answer.recorded = recorded,
            Err(error) => {
                // It may be asked again.
                self.answer.pending = pending.into();
                return Err(error);
            }
        }
        self.answer.sealed.append(&mut recording.sealed());
        self.name_sealed()
    }

    /// Names complete objects by entries of their own, so that no entry has to name more than
    /// [`MAX_CHUNKS`] of a stream, and so that those of a long answer are bound by the log before
    /// its end.
    fn name_sealed(&mut self) -> Result<(), JournalError> {
        while self.answer.sealed.len() > MAX_CHUNKS || self.input_sealed.len() > MAX_CHUNKS {
            let answer = self.answer.sealed.len().min(MAX_CHUNKS);
            let input = self.input_sealed.len().min(MAX_CHUNKS);
            let named = |objects: &[Object], n| objects.iter().take(n).map(chunk).collect();
            let output = Output {
                command: self.number,
                part: self.answer.parts,
                data: None,
                chunks: named(&self.answer.sealed, answer),
                input_chunks: named(&self.input_sealed, input),
            };
            self.session.append(Body::Output(output))?;
            self.answer.parts += 1;
            self.answer.sealed.drain(..answer);
            self.input_sealed.drain(..input);
        }
        Ok(())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.finished || self.intent.is_none() {
            return;
        }
        // Chunks that are complete are named; the last, that isn't, is thrown away.
        if let Some(recording) = &mut self.answer.recording {
            self.answer.sealed.append(&mut recording.sealed());
        }
        if let Some(recording) = &mut self.input {
            self.input_sealed.append(&mut recording.sealed());
        }
        let mut lost = Response { outcome: "lost".into(), ..Response::default() };
        if let Err(error) = self.name_sealed().and_then(|()| self.append_response(&mut lost)) {
            tracing::error!(session = self.session.id(), command = self.number, %error,
                "the outcome of a command could not be recorded");
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("session", &self.session.id())
            .field("command", &self.number)
            .finish_non_exhaustive()
    }
}

fn data(media: &'static str, bytes: &[u8]) -> Data<'static> {
    Data { media: media.into(), base64: Cow::Owned(STANDARD.encode(bytes)) }
}

/// An object as records name it.
pub(crate) fn chunk(object: &Object) -> Chunk<'static> {
    Chunk { sha256: crate::hex(&object.sha256).into(), bytes: object.bytes }
}
