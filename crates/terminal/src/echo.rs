//! Which keystrokes the screen echoed.
//!
//! What is typed where nothing is echoed is a password as often as not, so of such keys only their
//! number is told. A key counts as echoed when the very next character that the program prints is
//! the one that was typed; control characters and the sequences of arrow and function keys, which
//! no program echoes as they are, are told as they are. At a new line, at any other character, and
//! when the wait is over, what is not echoed by then counts as hidden. So a key that is echoed
//! late, or not as itself, counts as hidden too; the screen's own record has what it did.

use std::collections::VecDeque;

use vte::{Parser, Perform};

use crate::utf8::{Text, incomplete};

/// The most keys that wait for their echo; the oldest count as hidden.
pub const MAX_WAITING: usize = 4096;
/// The longest sequence of a function key, in bytes.
const MAX_SEQUENCE: usize = 32;

/// Keystrokes of which it is known whether they were echoed.
#[derive(Clone, PartialEq, Eq)]
pub enum Keys {
    /// Echoed, or control characters: as typed.
    Shown(Vec<u8>),
    /// Not echoed: how many.
    Hidden(u64),
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Keys::Shown(keys) => write!(f, "Shown({} bytes)", keys.len()),
            Keys::Hidden(count) => write!(f, "Hidden({count})"),
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
enum Pressed {
    Character(char),
    Control(Vec<u8>),
}

impl Pressed {
    fn is_enter(&self) -> bool {
        matches!(self, Pressed::Control(bytes) if matches!(bytes.as_slice(), b"\r" | b"\n"))
    }
}

/// Tells echoed keys from hidden ones, in the order in which they were typed.
#[derive(Default)]
pub struct Echo {
    waiting: VecDeque<Pressed>,
    /// The beginning of a character that was cut.
    cut: Vec<u8>,
    parser: Parser,
    text: Text,
}

impl std::fmt::Debug for Echo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Echo").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Echo {
    /// One at the beginning.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what was typed; gives what is known at once.
    pub fn typed(&mut self, bytes: &[u8]) -> Vec<Keys> {
        let mut all = std::mem::take(&mut self.cut);
        all.extend_from_slice(bytes);
        self.cut = all.split_off(all.len() - incomplete(&all));
        let mut rest = all.as_slice();
        let mut known = Vec::new();
        while let Some((pressed, behind)) = press(rest) {
            rest = behind;
            self.waiting.push_back(pressed);
            if self.waiting.len() > MAX_WAITING {
                self.hide_one(&mut known);
            }
        }
        self.controls(&mut known);
        known
    }

    /// Takes what the program prints; gives what is known of keys typed before.
    pub fn shown(&mut self, bytes: &[u8]) -> Vec<Keys> {
        let text = self.text.push(bytes);
        let mut known = Vec::new();
        let mut parser = std::mem::take(&mut self.parser);
        parser.advance(&mut Watch { echo: self, known: &mut known }, text.as_bytes());
        self.parser = parser;
        known
    }

    /// The wait is over: what is not echoed by now is hidden.
    pub fn give_up(&mut self) -> Vec<Keys> {
        let mut known = Vec::new();
        while !self.waiting.is_empty() {
            self.hide_one(&mut known);
        }
        if !std::mem::take(&mut self.cut).is_empty() {
            hidden(&mut known);
        }
        known
    }

    /// Whether any key waits for its echo.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.cut.is_empty()
    }

    /// Control characters whose turn it is.
    fn controls(&mut self, known: &mut Vec<Keys>) {
        while let Some(Pressed::Control(bytes)) = self.waiting.front() {
            shown(known, bytes);
            self.waiting.pop_front();
        }
    }

    fn hide_one(&mut self, known: &mut Vec<Keys>) {
        match self.waiting.pop_front() {
            Some(Pressed::Character(_)) => hidden(known),
            Some(Pressed::Control(bytes)) => shown(known, &bytes),
            None => {}
        }
    }

    fn printed(&mut self, c: char, known: &mut Vec<Keys>) {
        match self.waiting.front() {
            Some(Pressed::Character(typed)) if *typed == c => {
                self.waiting.pop_front();
                shown(known, c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            // Something else is on the screen: these keys are not what it shows.
            Some(_) => {
                while !self.waiting.is_empty() {
                    self.hide_one(known);
                }
            }
            None => {}
        }
        self.controls(known);
    }

    fn new_line(&mut self, known: &mut Vec<Keys>) {
        let enter = self.waiting.iter().position(Pressed::is_enter);
        for _ in 0..enter.map_or(0, |at| at + 1) {
            self.hide_one(known);
        }
        self.controls(known);
    }
}

struct Watch<'e> {
    echo: &'e mut Echo,
    known: &'e mut Vec<Keys>,
}

impl Perform for Watch<'_> {
    fn print(&mut self, c: char) {
        self.echo.printed(c, self.known);
    }

    fn execute(&mut self, byte: u8) {
        if matches!(byte, b'\r' | b'\n') {
            self.echo.new_line(self.known);
        }
    }
}

fn shown(known: &mut Vec<Keys>, bytes: &[u8]) {
    if let Some(Keys::Shown(last)) = known.last_mut() {
        last.extend_from_slice(bytes);
    } else {
        known.push(Keys::Shown(bytes.to_vec()));
    }
}

fn hidden(known: &mut Vec<Keys>) {
    if let Some(Keys::Hidden(count)) = known.last_mut() {
        *count += 1;
    } else {
        known.push(Keys::Hidden(1));
    }
}

/// The first key of what was typed, and what is behind it. A byte that is no UTF-8 is U+FFFD, as it
/// is where it is shown.
fn press(bytes: &[u8]) -> Option<(Pressed, &[u8])> {
    let (&first, behind) = bytes.split_first()?;
    if first == 0x1b {
        let length = sequence(behind) + 1;
        let (keys, behind) = bytes.split_at_checked(length)?;
        return Some((Pressed::Control(keys.to_vec()), behind));
    }
    if first < 0x20 || first == 0x7f {
        return Some((Pressed::Control(vec![first]), behind));
    }
    let head = bytes.get(..bytes.len().min(4)).unwrap_or(bytes);
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(head.get(..error.valid_up_to())?).unwrap_or_default(),
    };
    match valid.chars().next() {
        Some(c) => Some((Pressed::Character(c), bytes.get(c.len_utf8()..)?)),
        None => Some((Pressed::Character(char::REPLACEMENT_CHARACTER), behind)),
    }
}

/// How many bytes behind an escape belong to the same key: `[`…final, `O` and one, or one. What
/// begins a string is none: its text may be anything, such as the clipboard.
fn sequence(behind: &[u8]) -> usize {
    match behind.first() {
        Some(b'[') => {
            let rest = behind.get(1..).unwrap_or_default();
            let end = rest.iter().take(MAX_SEQUENCE).position(|b| (0x40..=0x7e).contains(b));
            end.map_or(1, |at| at + 2)
        }
        Some(b'O') if behind.len() > 1 => 2,
        Some(b']' | b'P' | b'X' | b'^' | b'_') => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Keys {
        Keys::Shown(text.as_bytes().to_vec())
    }

    #[test]
    fn what_the_screen_shows_is_told_and_what_not_is_counted() {
        let mut echo = Echo::new();
        assert_eq!(echo.typed(b"l"), []);
        assert_eq!(echo.shown(b"l"), [keys("l")]);
        assert_eq!(echo.typed("sé\r".as_bytes()), []);
        assert_eq!(echo.shown(b"\x1b[1ms"), [keys("s")]);
        assert_eq!(echo.shown("é\r\nout".as_bytes()), [keys("é\r")]);
        assert!(!echo.is_waiting());
        assert_eq!(echo.typed(b"hunter2\r"), []);
        assert_eq!(echo.shown(b"\r\nhunter"), [Keys::Hidden(7), keys("\r")]);
        assert_eq!(echo.typed(b"abc"), []);
        assert_eq!(echo.shown(b"***"), [Keys::Hidden(3)]);
        assert_eq!(echo.typed(b"xy"), []);
        assert_eq!(echo.give_up(), [Keys::Hidden(2)]);
    }

    #[test]
    fn keys_that_no_screen_shows_are_told() {
        let mut echo = Echo::new();
        assert_eq!(echo.typed(b"\x1b[A\x1bOP\x03\t\x7f"), [keys("\x1b[A\x1bOP\x03\t\x7f")]);
        // What a terminal answers of its clipboard is no key.
        assert_eq!(echo.typed(b"\x1b]52;c;QQ==\x07"), [keys("\x1b]")]);
        assert_eq!(echo.give_up(), [Keys::Hidden(9), keys("\x07")]);
        assert_eq!(echo.typed(&[0xc3]), []);
        assert_eq!(echo.typed(&[0xa9, 0xff]), []);
        assert_eq!(echo.shown("é".as_bytes()), [keys("é")]);
        assert_eq!(echo.give_up(), [Keys::Hidden(1)]);
        assert_eq!(format!("{:?}", echo.typed(b"\x03")), "[Shown(1 bytes)]");
    }

    #[test]
    fn no_more_wait_than_may() {
        let mut echo = Echo::new();
        assert_eq!(echo.typed(&[b'x'; MAX_WAITING + 5]), [Keys::Hidden(5)]);
        assert_eq!(echo.shown(b"y"), [Keys::Hidden(MAX_WAITING as u64)]);
    }
}
