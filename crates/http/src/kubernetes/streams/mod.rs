//! What crosses of an exec or attach, taken apart: what was typed, what was printed, the terminal's
//! size, how it ended. It is recorded as what crosses by SSH is, by a [`Recorder`].
//!
//! What can't be taken apart ends the connection: two readers could see different things in it.
//! What the command says passes as it came where nothing of it is masked; else it is put into frames
//! anew, once it is on record. What the client sends always passes as it came, once it is on
//! record: the last of it waits while it may be the beginning of a value.

mod framing;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;

use std::time::Instant;

use gate::Admitted;
use http::header::{self, HeaderMap, HeaderValue};
use kubernetes_wire::spdy::SpdyError;
use kubernetes_wire::streams::{
    Channel, ChannelEvent, Exit, ExitStatus, MAX_STATUS_BYTES, Side, Sizes, StreamError,
    Subprotocol,
};
use masking::Receipt;
use stdio_recorder::Recorder;

use self::framing::{Framing, Heard, Seen};
use super::ports::{PortError, Ports};
use crate::upgrade::Next;

/// Why what crosses can't be taken apart: the fault of whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Garbled {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Spdy(#[from] SpdyError),
    #[error("a stream names no port, or there are too many")]
    Port,
}

/// Takes both directions of a connection apart.
pub(crate) enum Streams {
    /// The streams of a command.
    Command(Box<Command>),
    /// Connections to ports.
    Ports(Box<Ports>),
}

/// A command, and how its streams cross.
pub(crate) struct Command {
    framing: Framing,
    program: Program,
}

struct Program {
    recorder: Recorder,
    exit: ExitStatus,
    sizes: Sizes,
    /// What came of it for the client, if that is more than one piece.
    status: Vec<u8>,
    /// Bytes that the client sent to it.
    sent: u64,
}

/// How far the record has what the client sends.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    /// Bytes that the client sent to the command.
    pub(crate) sent: u64,
    /// How many of them are in the frames.
    pub(crate) recorded: u64,
}

/// Keeps of the subprotocols that a client offers those that can be taken apart.
/// False: there are none.
pub(crate) fn offer(fields: &mut HeaderMap) -> bool {
    let all = fields.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let words = all.iter().filter_map(|value| value.to_str().ok()).flat_map(|it| it.split(','));
    let known: Vec<&str> =
        words.map(str::trim).filter(|word| Subprotocol::of(word).is_some()).collect();
    let value = HeaderValue::from_str(&known.join(", "));
    match value {
        Ok(value) if !value.is_empty() => {
            fields.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
            true
        }
        _ => false,
    }
}

impl Streams {
    /// For a command whose connection was granted by an answer with these fields. None: by what
    /// they say it can't be taken apart.
    pub(crate) fn of(next: Next, fields: &HeaderMap, recorder: Recorder) -> Option<Streams> {
        let (exit, sizes) = (ExitStatus::default(), Sizes::default());
        let program = Program { recorder, exit, sizes, status: Vec::new(), sent: 0 };
        let framing = Framing::of(next, fields)?;
        Some(Streams::Command(Box::new(Command { framing, program })))
    }

    /// For a connection to ports, if it says which.
    pub(super) fn of_ports(next: Next, fields: &HeaderMap, mut ports: Ports) -> Option<Streams> {
        ports.follow(next, fields).then(|| Streams::Ports(Box::new(ports)))
    }

    /// Which ports were let through, of a connection to ports.
    pub(crate) fn ports(&self) -> Option<String> {
        match self {
            Streams::Ports(ports) => Some(ports.said()),
            Streams::Command(_) => None,
        }
    }

    /// Takes what one side sent, and gives its frames to `record`, also those of what came before
    /// an error. What the other is to get, if that is not what came.
    pub(crate) fn take(
        &mut self,
        from: Side,
        bytes: &[u8],
        record: &mut Vec<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, Garbled> {
        match self {
            Streams::Ports(ports) => {
                if from == Side::Client {
                    ports.take(bytes)?;
                }
                Ok(None)
            }
            Streams::Command(command) => {
                let seen = command.take(from, bytes);
                command.program.drain(record);
                seen
            }
        }
    }

    /// Asks for what a piece of the client's wants beside: ports. The right to pass it on, if that
    /// is another than the connection's own.
    pub(crate) fn ask(&mut self) -> Result<Option<Admitted>, PortError> {
        match self {
            Streams::Ports(ports) => ports.ask(),
            Streams::Command(_) => Ok(None),
        }
    }

    /// Whether the client may send more before its keys are on record: they are recorded as the
    /// terminal echoes them.
    pub(crate) fn keys_go_first(&self) -> bool {
        match self {
            Streams::Command(command) => command.program.recorder.keys_go_first(),
            Streams::Ports(_) => false,
        }
    }

    /// How far the record has what the client sent.
    pub(crate) fn progress(&self) -> Progress {
        match self {
            Streams::Command(command) => command.program.progress(),
            Streams::Ports(_) => Progress::default(),
        }
    }

    /// When [`tails`](Streams::tails) has something to do, if nothing comes before.
    pub(crate) fn tail_due(&self) -> Option<Instant> {
        match self {
            Streams::Command(command) => command.program.recorder.tail_due(),
            Streams::Ports(_) => None,
        }
    }

    /// More of what the command says is there than can be taken.
    pub(crate) fn postpone(&mut self) {
        if let Streams::Command(command) = self {
            command.program.recorder.postpone();
        }
    }

    /// Gives up what is held back too long by `now`: what the client is to see of it, and the record.
    pub(crate) fn tails(&mut self, now: Instant, record: &mut Vec<Vec<u8>>) -> Vec<u8> {
        let Streams::Command(command) = self else { return Vec::new() };
        let mut seen = Vec::new();
        for (stderr, bytes) in command.program.recorder.tails(Some(now)) {
            show(stderr, bytes, &mut seen);
        }
        command.program.drain(record);
        command.framing.write(&seen)
    }

    /// The command says no more: what the client is still to see.
    pub(crate) fn end_of_output(&mut self, record: &mut Vec<Vec<u8>>) -> Vec<u8> {
        let Streams::Command(command) = self else { return Vec::new() };
        let mut seen = Vec::new();
        command.program.end_of_output(&mut seen);
        command.program.drain(record);
        command.framing.write(&seen)
    }

    /// The client sends no more.
    pub(crate) fn end_of_input(&mut self, record: &mut Vec<Vec<u8>>) {
        if let Streams::Command(command) = self {
            command.program.recorder.end_of_input();
            command.program.drain(record);
        }
    }

    /// Nothing more crosses, for it ended so.
    pub(crate) fn end(
        &mut self,
        (outcome, cause): (&'static str, &'static str),
        record: &mut Vec<Vec<u8>>,
    ) {
        let exit = self.exit();
        match self {
            Streams::Ports(ports) => ports.end(outcome, cause),
            Streams::Command(command) => {
                let recorder = &mut command.program.recorder;
                recorder.end_of_input();
                if let Some(exit) = exit {
                    recorder.exited(exit);
                }
                recorder.end_of_output();
                command.program.drain(record);
            }
        }
    }

    /// How the command ended, if the other side said so: an exit status, or Kubernetes' word for why
    /// there is none.
    pub(crate) fn exit(&self) -> Option<String> {
        let Streams::Command(command) = self else { return None };
        match command.program.exit.exit() {
            Ok(Some(Exit::Code(code))) => Some(code.to_string()),
            Ok(Some(Exit::Failed { reason, .. })) => Some(reason),
            Ok(None) | Err(_) => None,
        }
    }

    /// What the outcome says of a command's streams, and what was masked in them.
    pub(crate) fn outcome(&self) -> Option<(Vec<(&'static str, String)>, Receipt)> {
        let Streams::Command(command) = self else { return None };
        let recorder = &command.program.recorder;
        Some((recorder.details(), recorder.receipt()))
    }
}

impl Command {
    fn take(&mut self, from: Side, bytes: &[u8]) -> Result<Option<Vec<u8>>, Garbled> {
        let Command { framing, program } = self;
        let is_changed = from == Side::Server && program.recorder.changes_output();
        let mut seen = Vec::new();
        framing.take(from, bytes, &mut |heard| {
            let event = match heard {
                Heard::Channel(event) => event,
                Heard::Ends if is_changed => {
                    program.end_of_output(&mut seen);
                    return Ok(());
                }
                Heard::Bytes(bytes) if is_changed => {
                    seen.push(Seen::Bytes(bytes.to_vec()));
                    return Ok(());
                }
                Heard::Ends | Heard::Bytes(_) => return Ok(()),
            };
            if from == Side::Client {
                return program.hear_client(event);
            }
            program.hear_server(event, is_changed.then_some(&mut seen))
        })?;
        Ok(is_changed.then(|| framing.write(&seen)))
    }
}

impl Program {
    /// What the client says. Nobody says anything on another side's channel.
    fn hear_client(&mut self, event: ChannelEvent<'_>) -> Result<(), Garbled> {
        match event.channel {
            Channel::Stdin => {
                self.sent += event.bytes.len() as u64;
                self.recorder.input(event.bytes);
            }
            Channel::Resize => {
                for size in self.sizes.push(event.bytes)? {
                    self.recorder.resize(size.width.into(), size.height.into());
                }
            }
            Channel::Close(number) if number == Channel::Stdin.number() => {
                self.recorder.end_of_input();
            }
            Channel::Close(_) => {}
            _ if event.bytes.is_empty() => {}
            channel => return Err(StreamError::NoChannel(channel.number()).into()),
        }
        Ok(())
    }

    /// What the server says, and what of it the client is to see if that may be something else.
    fn hear_server(
        &mut self,
        event: ChannelEvent<'_>,
        mut seen: Option<&mut Vec<Seen>>,
    ) -> Result<(), Garbled> {
        let ChannelEvent { channel, bytes, last } = event;
        match channel {
            Channel::Stdout | Channel::Stderr if !bytes.is_empty() => {
                let masked = self.recorder.output(channel == Channel::Stderr, bytes);
                let Some(seen) = seen else { return Ok(()) };
                let shown = masked.unwrap_or_else(|| bytes.to_vec());
                if !shown.is_empty() {
                    seen.push(Seen::On(channel, shown));
                }
                return Ok(());
            }
            Channel::Error => self.exit.push(bytes),
            Channel::Close(_) => {}
            // A server begins with empty messages on each channel.
            _ if bytes.is_empty() => {}
            channel => return Err(StreamError::NoChannel(channel.number()).into()),
        }
        let Some(seen) = &mut seen else { return Ok(()) };
        match channel {
            Channel::Error => {
                // Some clients take a message for the whole status.
                self.status.extend_from_slice(bytes);
                if last || self.status.len() > MAX_STATUS_BYTES {
                    if !self.status.is_empty() {
                        self.end_of_output(seen);
                    }
                    seen.push(Seen::On(channel, std::mem::take(&mut self.status)));
                }
            }
            Channel::Close(number) => {
                for (stderr, of) in [(false, Channel::Stdout), (true, Channel::Stderr)] {
                    if of.number() == number {
                        show(stderr, self.recorder.end_of(stderr), seen);
                    }
                }
                seen.push(Seen::End(channel));
            }
            _ => seen.push(Seen::On(channel, Vec::new())),
        }
        Ok(())
    }

    /// What was held back of all that the command said.
    fn end_of_output(&mut self, seen: &mut Vec<Seen>) {
        for stderr in [false, true] {
            show(stderr, self.recorder.end_of(stderr), seen);
        }
    }

    fn drain(&mut self, record: &mut Vec<Vec<u8>>) {
        record.extend(std::iter::from_fn(|| self.recorder.next_frame()));
        record.extend(self.recorder.keys().drain(..));
    }

    fn progress(&self) -> Progress {
        let Program { recorder, sent, .. } = self;
        Progress { sent: *sent, recorded: sent - recorder.unrecorded().min(*sent) }
    }
}

fn show(stderr: bool, bytes: Vec<u8>, seen: &mut Vec<Seen>) {
    if !bytes.is_empty() {
        seen.push(Seen::On(if stderr { Channel::Stderr } else { Channel::Stdout }, bytes));
    }
}
