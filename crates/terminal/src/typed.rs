//! The commands that were typed into a recorded shell.
//!
//! Where the shell prints marks ([`crate::osc133`]), it says itself what ran. Otherwise a model of
//! the screen is asked: at Enter, what stands on the line behind where the first key was typed is
//! the command. Programs that read lines themselves, lines recalled and edited on several rows,
//! pastes of many lines and full-screen programs are told wrongly or not at all; each command says
//! [which](Source) it comes from.

use crate::frames::{Frame, Kind};
use crate::osc133::{Machine, Mark};

/// The largest screen that is modelled, in columns and in rows.
pub const MAX_SCREEN: u16 = 500;
/// The longest command that is told, in characters; of a longer one, the beginning.
pub const MAX_COMMAND_CHARS: usize = 4096;

/// How a command is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The shell printed it (`osc133`).
    Shell,
    /// It was read off the screen (`screen`).
    Screen,
}

impl Source {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Shell => "osc133",
            Self::Screen => "screen",
        }
    }
}

/// A command that was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// When, in microseconds since the recording's first frame.
    pub at_us: u64,
    /// What.
    pub text: String,
    /// How it is known.
    pub source: Source,
    /// Its exit status, where the shell says.
    pub exit: Option<i32>,
}

/// Reads commands off frames.
pub struct Commands {
    screen: vt100::Parser,
    marks: Machine,
    at_us: u64,
    /// Where the first key of the line was typed: characters from the logical line's beginning.
    begun: Option<usize>,
    /// Enter was typed; its echo is yet to come.
    entered: bool,
    /// Whether the shell has printed a mark: then the screen is not asked for what it says.
    marked: bool,
    /// A command that the shell said runs.
    running: Option<Typed>,
}

impl std::fmt::Debug for Commands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commands").field("at_us", &self.at_us).finish_non_exhaustive()
    }
}

impl Default for Commands {
    fn default() -> Self {
        Self::new()
    }
}

impl Commands {
    /// For a screen of 80 columns and 24 rows, until a frame says otherwise.
    #[must_use]
    pub fn new() -> Self {
        Self {
            screen: vt100::Parser::default(),
            marks: Machine::new(),
            at_us: 0,
            begun: None,
            entered: false,
            marked: false,
            running: None,
        }
    }

    /// The commands that are known with this frame.
    pub fn frame(&mut self, frame: &Frame) -> Vec<Typed> {
        self.at_us = self.at_us.saturating_add(frame.after_us);
        match frame.kind {
            Kind::Output => self.output(&frame.bytes),
            Kind::Input => {
                self.input(&frame.bytes);
                Vec::new()
            }
            Kind::Hidden => {
                // Keys, whichever.
                self.input(b" ");
                Vec::new()
            }
            Kind::Resize => {
                if let Some((columns, rows)) = frame.size() {
                    let fit = |n: u16| std::num::NonZeroU16::new(n.clamp(1, MAX_SCREEN));
                    if let (Some(rows), Some(columns)) = (fit(rows), fit(columns)) {
                        self.screen.set_size(rows, columns);
                    }
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// What is known at the recording's end: a command that did not end.
    pub fn finish(mut self) -> Option<Typed> {
        self.running.take()
    }

    fn input(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\r' | b'\n' => self.entered = self.begun.is_some(),
                // Interrupt and end of file: the line is given up.
                0x03 | 0x04 => self.begun = None,
                _ if self.begun.is_none() && !self.screen.screen().alternate_screen() => {
                    self.begun = Some(self.logical_line().1);
                }
                _ => {}
            }
        }
    }

    fn output(&mut self, bytes: &[u8]) -> Vec<Typed> {
        let mut found = Vec::new();
        for (_, mark) in self.marks.push(bytes) {
            self.marked = true;
            match mark {
                Mark::Runs(Some(text)) => {
                    found.extend(self.running.take());
                    self.running = self.typed(&text, Source::Shell);
                }
                Mark::Ended(exit) => {
                    if let Some(typed) = self.running.take() {
                        found.push(Typed { exit, ..typed });
                    }
                }
                Mark::Runs(None) => self.marked = false,
                Mark::Prompt | Mark::Typing => {}
            }
        }
        let mut rest = bytes;
        if self.entered
            && let Some(at) = bytes.iter().position(|&it| it == b'\n' || it == 0x1b || it == b'\r')
            && let Some((echo, after)) = bytes.split_at_checked(at)
        {
            self.screen.process(echo);
            rest = after;
            self.entered = false;
            if let Some(begun) = self.begun.take()
                && !self.marked
                && !self.screen.screen().alternate_screen()
            {
                let line = self.logical_line().0;
                let text: String = line.chars().skip(begun).collect();
                found.extend(self.typed(&text, Source::Screen));
            }
        }
        self.screen.process(rest);
        found
    }

    fn typed(&self, text: &str, source: Source) -> Option<Typed> {
        let text: String = text.trim().chars().take(MAX_COMMAND_CHARS).collect();
        let empty = text.is_empty();
        (!empty).then_some(Typed { at_us: self.at_us, text, source, exit: None })
    }

    /// The line that the cursor is on, rows that wrap joined, and how many characters of it are
    /// before the cursor.
    fn logical_line(&self) -> (String, usize) {
        let screen = self.screen.screen();
        let (row, column) = screen.cursor_position();
        let mut first = row;
        while first > 0 && screen.row_wrapped(first - 1) {
            first -= 1;
        }
        let columns = screen.size().1.get();
        let (mut line, mut before) = (String::new(), 0);
        let mut at = first;
        loop {
            for cell_column in 0..columns {
                if (at, cell_column) == (row, column) {
                    before = line.chars().count();
                }
                let Some(cell) = screen.cell(at, cell_column) else { continue };
                if cell.is_wide_continuation() {
                    continue;
                }
                line.push_str(if cell.has_contents() { cell.contents() } else { " " });
            }
            if at == row && column >= columns {
                before = line.chars().count();
            }
            if !screen.row_wrapped(at) || at >= screen.size().0.get() {
                return (line, before);
            }
            at += 1;
        }
    }
}
