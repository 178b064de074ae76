//! What a shell tells of itself (FinalTerm's OSC 133, as shells' integrations print it).
//!
//! `ESC ] 133 ; A` a prompt begins, `B` it ends and typing begins, `C` a command runs (with
//! `cmdline_url=`, kitty's word for the command itself, percent-encoded), `D` it ended (with its
//! exit status). Ends with BEL or `ESC \`.

/// The longest mark that is read, in bytes; a longer one is none.
pub const MAX_MARK_BYTES: usize = 4 * 1024;

/// What the shell said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// A prompt begins.
    Prompt,
    /// The prompt is there, typing begins.
    Typing,
    /// A command runs; which, if the shell says.
    Runs(Option<String>),
    /// It ended; its exit status, if the shell says.
    Ended(Option<i32>),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    Body,
    /// An escape inside the body: its end, if a backslash follows.
    BodyEscape,
    /// Too long, or another OSC: until its end.
    Skip,
    SkipEscape,
}

/// Finds marks in output that comes in pieces.
#[derive(Debug, Default)]
pub struct Machine {
    state: State,
    body: Vec<u8>,
}

impl Machine {
    /// One at the beginning.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The marks in the next piece of output, each with how many bytes of the piece lie up to and
    /// with its end.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<(usize, Mark)> {
        let mut marks = Vec::new();
        for (at, &byte) in bytes.iter().enumerate() {
            if self.step(byte)
                && let Some(mark) = parse(&std::mem::take(&mut self.body))
            {
                marks.push((at + 1, mark));
            }
        }
        marks
    }

    /// Whether a body is whole with this byte.
    fn step(&mut self, byte: u8) -> bool {
        const ESC: u8 = 0x1b;
        let (state, whole) = match (self.state, byte) {
            (State::Escape, b']') => {
                self.body.clear();
                (State::Body, false)
            }
            (State::Ground | State::Escape, ESC) => (State::Escape, false),
            (State::Ground | State::Escape, _) => (State::Ground, false),
            (State::Body, 0x07) | (State::BodyEscape, b'\\') => (State::Ground, true),
            (State::Body, ESC) => (State::BodyEscape, false),
            (State::Skip, 0x07) | (State::SkipEscape, b'\\') => (State::Ground, false),
            (State::Skip, ESC) => (State::SkipEscape, false),
            // CAN and SUB end any sequence; an escape that is no end begins another.
            (State::Body | State::Skip, 0x18 | 0x1a) => (State::Ground, false),
            (State::BodyEscape | State::SkipEscape, ESC) => (State::Escape, false),
            (State::BodyEscape | State::SkipEscape, b']') => {
                self.body.clear();
                (State::Body, false)
            }
            (State::BodyEscape | State::SkipEscape, _) => (State::Ground, false),
            (State::Body, _) if self.body.len() < MAX_MARK_BYTES => {
                self.body.push(byte);
                (State::Body, false)
            }
            (State::Body | State::Skip, _) => (State::Skip, false),
        };
        self.state = state;
        whole
    }
}

fn parse(body: &[u8]) -> Option<Mark> {
    let mut parts = body.strip_prefix(b"133;")?.split(|&it| it == b';');
    let mark = match parts.next()? {
        b"A" => Mark::Prompt,
        b"B" => Mark::Typing,
        b"C" => Mark::Runs(parts.find_map(|it| it.strip_prefix(b"cmdline_url=")).map(percent)),
        b"D" => {
            let status = parts.next().and_then(|it| std::str::from_utf8(it).ok());
            Mark::Ended(status.and_then(|it| it.parse().ok()))
        }
        _ => return None,
    };
    Some(mark)
}

fn percent(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |it: &u8| char::from(*it).to_digit(16);
        rest = match (byte, after) {
            (b'%', [high, low, after @ ..]) if digit(high).is_some() && digit(low).is_some() => {
                let value = digit(high).unwrap_or(0) * 16 + digit(low).unwrap_or(0);
                out.push(u8::try_from(value).unwrap_or(b'?'));
                after
            }
            _ => {
                out.push(byte);
                after
            }
        };
    }
    String::from_utf8_lossy(&out).into_owned()
}
