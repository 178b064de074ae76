//! Finding values in what a terminal shows, and masking them in the bytes that drew it.
//!
//! What is searched is text as a reader sees it: escape sequences left out, rows that the terminal
//! wrapped joined, carriage returns, backspaces, erasures and moves within a row obeyed. Each of
//! its characters knows its bytes, so what is found is masked where it lies: one `*` for each
//! column, escape sequences inside it kept.
//!
//! What a line showed before something overwrote it is searched too, with all that it showed
//! besides. A move to another row ends the line: what a program draws in pieces all over the
//! screen is searched piece by piece. A row that is full to its last column is searched alone,
//! and joined with the next.
//!
//! Bytes are held back until what they show is judged: to the line's end and as far behind it as
//! the finder looks. [`Masker::settle`] judges what is there. No clock, no I/O.

mod lexer;
mod line;

use std::collections::VecDeque;

use unicode_width::UnicodeWidthChar;

use lexer::{Csi, Lexer, Token};
use line::Line;

/// The longest line that is looked at as one, in cells; a longer one goes on where it is split.
pub const MAX_LINE: usize = 4096;
/// The most bytes that are held back, if what is ready is taken; beyond that what is there is
/// judged.
pub const MAX_HELD: usize = 64 * 1024;
/// The widest terminal; more columns are that many.
pub const MAX_COLUMNS: u16 = 1000;
/// Of a row that is overwritten: how much before it is looked at with it, in cells.
const CONTEXT: usize = 256;
/// The most repetitions of one character at once.
const MAX_REPEAT: u16 = 256;

/// A byte stays.
const KEEP: u8 = 0;
/// A byte goes: the character it belongs to is masked.
const DROP: u8 = 1;
/// A masked character's first byte, with its columns.
const STAR: u8 = 0x80;

/// A stretch of text as a finder judges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<K> {
    /// Its length in bytes.
    pub bytes: usize,
    /// What it is, if it is to be masked.
    pub kind: Option<K>,
}

/// Finds values in text that comes in pieces.
pub trait Find {
    /// What there is to find.
    type Kind: Copy;

    /// Takes a piece of text; appends what is certain by now of all that was pushed, in order,
    /// none left out.
    fn push(&mut self, text: &[u8], found: &mut Vec<Span<Self::Kind>>);

    /// Ends the text: appends the rest. Another may follow.
    fn finish(&mut self, found: &mut Vec<Span<Self::Kind>>);

    /// A value was masked, to be counted.
    fn masked(&mut self, kind: Self::Kind);
}

/// A character that the finder was asked about.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// Its line's number, and the print in it; none for a line's end.
    print: Option<(u64, u32)>,
    bytes: usize,
    masked: bool,
}

/// Masks a terminal's output.
pub struct Masker<F: Find> {
    find: F,
    lexer: Lexer,
    /// What is held back, with what is to be done with each byte.
    held: VecDeque<u8>,
    fate: VecDeque<u8>,
    /// How many bytes were before `held`.
    gone: u64,
    /// Lines not judged yet; the last is the cursor's.
    lines: VecDeque<Line>,
    /// How many lines were before them.
    lines_gone: u64,
    asked: VecDeque<Asked>,
    found: Vec<Span<F::Kind>>,
    text: Vec<u8>,
    columns: usize,
    rows: usize,
    /// The cursor's row, if a sequence said.
    row: Option<usize>,
    wraps: bool,
    /// What was printed last, its bytes, and its line's number: a repetition is of that, wherever
    /// the cursor is.
    printed: Option<(char, u64, u8, u64)>,
    /// Keys that the next characters echo.
    keys: VecDeque<(u64, u8, char)>,
}

impl<F: Find> std::fmt::Debug for Masker<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Masker").field("held", &self.held.len()).finish_non_exhaustive()
    }
}

impl<F: Find> Masker<F> {
    /// For a terminal of 80 columns and 24 rows.
    #[must_use]
    pub fn new(find: F) -> Self {
        Masker {
            find,
            lexer: Lexer::default(),
            held: VecDeque::new(),
            fate: VecDeque::new(),
            gone: 0,
            lines: VecDeque::from([Line::default()]),
            lines_gone: 0,
            asked: VecDeque::new(),
            found: Vec::new(),
            text: Vec::new(),
            columns: 80,
            rows: 24,
            row: None,
            wraps: true,
            printed: None,
            keys: VecDeque::new(),
        }
    }

    /// The finder.
    pub fn finder(&self) -> &F {
        &self.find
    }

    /// The terminal has another size; 0 is none that is known, and nothing wraps.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.columns = usize::from(columns.min(MAX_COLUMNS));
        self.rows = usize::from(rows);
        self.row = None;
    }

    /// Takes keys whose echo is the beginning of the next output: they are held back with it, and
    /// masked where it is.
    pub fn keys(&mut self, bytes: &[u8]) {
        let mut at = self.gone + self.held.len() as u64;
        self.hold(bytes);
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                let bytes = u8::try_from(c.len_utf8()).unwrap_or(0);
                if !c.is_control() {
                    self.keys.push_back((at, bytes, c));
                }
                at += u64::from(bytes);
            }
            at += chunk.invalid().len() as u64;
        }
    }

    /// Takes output.
    pub fn output(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(MAX_HELD / 2) {
            if self.held.len() + piece.len() > MAX_HELD {
                self.settle();
            }
            let at = self.gone + self.held.len() as u64;
            self.hold(piece);
            for (at, &byte) in (at..).zip(piece) {
                let (before, here) = self.lexer.take(byte);
                if let Some(broken) = before {
                    self.token(broken, at);
                }
                if let Some(token) = here {
                    self.token(token, at + 1);
                }
            }
        }
        self.keys.clear();
    }

    /// How many of the bytes that were taken are judged and may be had.
    #[must_use]
    pub fn ready(&self) -> usize {
        let cut = self.gone + (self.held.len() - self.lexer.cut().min(self.held.len())) as u64;
        let waits = |line: &Line| line.started.filter(|_| !line.closed || line.asked > 0);
        let first = self.lines.iter().filter_map(waits).chain([cut]).min().unwrap_or(cut);
        usize::try_from(first.saturating_sub(self.gone)).unwrap_or(0)
    }

    /// Whether anything is held back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Appends what is to be shown in place of the next so many bytes that were taken, of those
    /// that are [`ready`](Self::ready).
    pub fn take(&mut self, bytes: usize, out: &mut Vec<u8>) {
        let bytes = bytes.min(self.held.len());
        out.reserve(bytes);
        for (byte, fate) in self.held.drain(..bytes).zip(self.fate.drain(..bytes)) {
            match fate {
                KEEP => out.push(byte),
                DROP => {}
                star => out.extend(std::iter::repeat_n(b'*', usize::from(star & !STAR))),
            }
        }
        self.gone += bytes as u64;
    }

    /// Judges all that was taken as if it ended here, so that all of it is
    /// [`ready`](Self::ready), but for a character that is cut. The line goes on: what is there
    /// of it is looked at again with what follows.
    pub fn settle(&mut self) {
        self.look(0, true);
        let mut found = std::mem::take(&mut self.found);
        self.find.finish(&mut found);
        self.judged(&mut found);
        self.found = found;
        if let Some(line) = self.lines.back_mut() {
            line.forget();
        }
        self.drop_lines();
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.held.extend(bytes);
        self.fate.resize(self.held.len(), KEEP);
    }

    fn line(&mut self) -> &mut Line {
        if self.lines.is_empty() {
            self.lines.push_back(Line::default());
        }
        let last = self.lines.len() - 1;
        // There is one.
        #[allow(clippy::indexing_slicing, reason = "a line was just made sure of")]
        &mut self.lines[last]
    }

    /// The number of the cursor's line.
    fn number(&self) -> u64 {
        self.lines_gone + self.lines.len().saturating_sub(1) as u64
    }

    fn token(&mut self, token: Token, end: u64) {
        match token {
            Token::Print(c, bytes) => self.print(c, end - u64::from(bytes), bytes),
            Token::Control(byte) => self.control(byte),
            Token::Csi(csi) => self.csi(csi),
            Token::Escape(byte) => match byte {
                b'E' => self.leave(0),
                b'D' | b'M' => self.leave(self.lines.back().map_or(0, Line::column)),
                b'8' | b'c' => {
                    self.wraps |= byte == b'c';
                    self.row = None;
                    self.leave(0);
                }
                _ => {}
            },
        }
    }

    fn print(&mut self, c: char, at: u64, bytes: u8) {
        let width = c.width().unwrap_or(0);
        if width == 0 {
            return self.line().combine(at, bytes);
        }
        self.wrap(width);
        self.before_change(Some(c), width);
        self.printed = Some((c, at, bytes, self.number()));
        let key = match self.keys.front() {
            Some(&(at, bytes, key)) if key == c => {
                self.keys.pop_front();
                Some((at, bytes))
            }
            _ => None,
        };
        let width = u8::try_from(width).unwrap_or(1);
        self.line().put(c, at, bytes, width, key);
    }

    /// Makes room for a character of this width: on the next row, or in a line of its own.
    fn wrap(&mut self, width: usize) {
        let (columns, wraps) = (self.columns, self.wraps);
        let line = self.line();
        if columns > 0 && line.column() + width > columns {
            if wraps {
                line.go_to(columns);
                line.row = i64::try_from(line.pos).unwrap_or(i64::MAX);
                self.next_row();
            } else {
                line.go_to(columns.saturating_sub(width));
            }
        }
        let line = self.line();
        if line.pos + width > MAX_LINE {
            let column = line.column();
            let joined = !line.joints.is_empty();
            self.look(0, joined);
            self.close();
            let line = self.line();
            line.row = -i64::try_from(column).unwrap_or(0);
        }
    }

    fn next_row(&mut self) {
        self.row = self.row.map(|row| (row + 1).min(self.rows.saturating_sub(1)));
    }

    /// What is about to be overwritten is looked at first.
    fn before_change(&mut self, c: Option<char>, width: usize) {
        let line = self.line();
        if line.fresh && line.would_change(c, width) {
            let from = line.row_start().saturating_sub(CONTEXT);
            self.look(from, true);
        }
    }

    fn control(&mut self, byte: u8) {
        let columns = self.columns;
        let line = self.line();
        match byte {
            b'\r' => line.go_to(0),
            0x08 => line.pos = line.pos.saturating_sub(1).max(line.row_start()),
            b'\t' => {
                let stop = (line.column() / 8 + 1) * 8;
                line.go_to(if columns > 0 { stop.min(columns - 1) } else { stop });
            }
            b'\n' | 0x0b | 0x0c => {
                let column = line.column();
                self.next_row();
                if column == 0 && self.is_row_full() {
                    self.join();
                } else {
                    self.leave(column.min(columns.saturating_sub(1)));
                }
            }
            _ => {}
        }
    }

    /// Whether the cursor's row has something in its last column.
    fn is_row_full(&mut self) -> bool {
        let columns = self.columns;
        let line = self.line();
        let last = line.row.saturating_add(i64::try_from(columns).unwrap_or(i64::MAX)) - 1;
        columns > 0 && usize::try_from(last).is_ok_and(|last| last < line.cells.len())
    }

    /// The next row may be the same line's.
    fn join(&mut self) {
        let columns = self.columns;
        let line = self.line();
        line.go_to(columns);
        line.joints.push(line.pos);
        line.row = i64::try_from(line.pos).unwrap_or(i64::MAX);
    }

    fn csi(&mut self, csi: Csi) {
        if csi.mark != 0 {
            return self.mode(csi);
        }
        let columns = if self.columns > 0 { self.columns } else { MAX_LINE };
        let n = usize::from(csi.number(0, 1)).min(columns);
        let line = self.line();
        let column = line.column();
        match csi.last {
            b'G' | b'`' => line.go_to(n - 1),
            b'C' | b'a' => line.go_to((column + n).min(columns - 1)),
            b'D' => line.go_to(column.saturating_sub(n)),
            b'b' => self.repeat(csi.number(0, 1).min(MAX_REPEAT)),
            b'K' | b'X' | b'P' | b'@' => self.edit(csi, n),
            b'H' | b'f' => {
                let row = usize::from(csi.number(0, 1)) - 1;
                let to = usize::from(csi.number(1, 1)).min(columns) - 1;
                let next = self.row.is_some_and(|now| now + 1 == row);
                self.row = Some(row);
                if next && to == 0 && self.is_row_full() {
                    self.join();
                } else {
                    self.leave(to);
                }
            }
            b'A' | b'B' | b'd' | b'e' | b'L' | b'M' | b'S' | b'T' | b'J' => {
                self.row = None;
                self.leave(column);
            }
            b'E' | b'F' | b'r' | b'u' => {
                self.row = None;
                self.leave(0);
            }
            _ => {}
        }
    }

    fn mode(&mut self, csi: Csi) {
        let set = match csi.last {
            b'h' => true,
            b'l' => false,
            _ => return,
        };
        if csi.mark != b'?' {
            return;
        }
        if csi.has(7) {
            self.wraps = set;
        }
        if csi.has(47) || csi.has(1047) || csi.has(1049) {
            self.row = None;
            self.leave(0);
        }
    }

    fn repeat(&mut self, times: u16) {
        let Some((c, at, bytes, line)) = self.printed else { return };
        // Of a line that was left the bytes may be gone, or not: they are not masked any more.
        let bytes = if line == self.number() { bytes } else { 0 };
        for _ in 0..times {
            self.print(c, at, bytes);
        }
    }

    fn edit(&mut self, csi: Csi, n: usize) {
        let line = self.line();
        let (pos, row) = (line.pos, line.row_start());
        if line.fresh {
            let from = row.saturating_sub(CONTEXT);
            self.look(from, true);
        }
        let line = self.line();
        match (csi.last, csi.number(0, 0)) {
            (b'K', 0) => line.blank(pos, usize::MAX),
            (b'K', 1) => line.blank(row, pos + 1),
            (b'K', _) => line.blank(row, usize::MAX),
            (b'X', _) => line.blank(pos, pos + n),
            (b'P', _) => line.shift(n, 0),
            _ => line.shift(0, n),
        }
        // What is left may say something that it did not before.
        line.fresh = true;
        if line.cells.len() > 2 * MAX_LINE {
            line.cells.truncate(2 * MAX_LINE);
        }
    }

    /// The cursor goes to another line.
    fn leave(&mut self, column: usize) {
        self.look(0, true);
        self.close();
        *self.line() = Line::at(column);
    }

    fn close(&mut self) {
        self.line().closed = true;
        self.lines.push_back(Line::default());
        self.drop_lines();
    }

    fn drop_lines(&mut self) {
        while self.lines.len() > 1
            && self.lines.front().is_some_and(|line| line.closed && line.asked == 0)
        {
            self.lines.pop_front();
            self.lines_gone += 1;
        }
    }

    /// Asks about the cursor's line from a cell on, if there is something new in it. Whether the
    /// line `ends` there, as far as the finder is concerned.
    fn look(&mut self, from: usize, ends: bool) {
        let number = self.number();
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        if let Some(line) = self.lines.back_mut()
            && std::mem::take(&mut line.fresh)
        {
            let mut parts = vec![(from, line.cells.len(), false)];
            if line.cells.iter().skip(from).any(|cell| cell.under) {
                parts.push((from, line.cells.len(), true));
            }
            if !line.joints.is_empty() {
                let starts = [0].into_iter().chain(line.joints.iter().copied());
                let ends = line.joints.iter().copied().chain([line.cells.len()]);
                let rows = starts.zip(ends).filter(|(start, _)| *start >= from);
                parts.extend(rows.map(|(start, end)| (start, end, false)));
            }
            for (start, end, underlined) in parts {
                let cells = line.cells.get(start..end).unwrap_or_default();
                let blank = cells.iter().rev().take_while(|cell| cell.shown == Some(' ')).count();
                let shown = if ends { cells.len() - blank } else { cells.len() };
                for cell in cells.iter().take(shown) {
                    let Some(c) = cell.shown else { continue };
                    let c = if underlined && cell.under { '_' } else { c };
                    text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    let print = Some((number, cell.last));
                    self.asked.push_back(Asked { print, bytes: c.len_utf8(), masked: false });
                    line.asked += 1;
                }
                if ends {
                    text.push(b'\n');
                    self.asked.push_back(Asked { print: None, bytes: 1, masked: false });
                }
            }
        }
        let mut found = std::mem::take(&mut self.found);
        self.find.push(&text, &mut found);
        self.text = text;
        self.judged(&mut found);
        self.found = found;
    }

    /// Masks what was found.
    fn judged(&mut self, found: &mut Vec<Span<F::Kind>>) {
        for span in found.drain(..) {
            let (mut left, mut new) = (span.bytes, false);
            while left > 0
                && let Some(asked) = self.asked.front_mut()
            {
                let now = left.min(asked.bytes);
                left -= now;
                asked.bytes -= now;
                asked.masked |= span.kind.is_some();
                if asked.bytes > 0 {
                    break;
                }
                let asked = *asked;
                self.asked.pop_front();
                let Some((line, print)) = asked.print else { continue };
                let at = usize::try_from(line - self.lines_gone).unwrap_or(usize::MAX);
                let Some(line) = self.lines.get_mut(at) else { continue };
                line.asked -= 1;
                if asked.masked {
                    let (fate, gone) = (&mut self.fate, self.gone);
                    new |= line.mask(print, |print| star(fate, gone, print));
                }
            }
            if let (true, Some(kind)) = (new, span.kind) {
                self.find.masked(kind);
            }
        }
        self.drop_lines();
    }
}

/// Decides on a masked character's bytes, if they are still there.
fn star(fate: &mut VecDeque<u8>, gone: u64, print: &line::Print) {
    for index in 0..u64::from(print.bytes) {
        let at = (print.at + index).checked_sub(gone).and_then(|at| usize::try_from(at).ok());
        if let Some(fate) = at.and_then(|at| fate.get_mut(at)) {
            *fate = if index == 0 { STAR | print.width } else { DROP };
        }
    }
}
