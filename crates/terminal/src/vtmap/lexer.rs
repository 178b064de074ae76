//! A terminal's output taken apart, byte by byte: what is printed, and what moves.
//!
//! The states of DEC's parser (as in vte), with the difference that every character comes with how
//! many bytes it took. UTF-8, so no 8-bit controls.

/// The most numbers of a control sequence that are read.
const MAX_NUMBERS: usize = 4;
/// The longest UTF-8 sequence.
const MAX_UTF8: usize = 4;

/// What a byte completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// A character, and how many bytes ending here it took. Broken UTF-8 is U+FFFD.
    Print(char, u8),
    /// A control character.
    Control(u8),
    /// A control sequence: its private mark if any, its first numbers, its last byte.
    Csi(Csi),
    /// An escape with no more than one byte behind it.
    Escape(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Csi {
    /// `?` and the like; 0 if none.
    pub(super) mark: u8,
    numbers: [u16; MAX_NUMBERS],
    count: usize,
    /// Intermediate bytes: it is another sequence than its last byte says.
    odd: bool,
    /// The last byte; 0 if `odd`.
    pub(super) last: u8,
}

impl Csi {
    /// The number at a place; missing or 0 is `default`.
    pub(super) fn number(&self, at: usize, default: u16) -> u16 {
        match self.numbers.get(at) {
            Some(&number) if number > 0 => number,
            _ => default,
        }
    }

    /// Whether this is one of the first numbers.
    pub(super) fn has(&self, wanted: u16) -> bool {
        self.numbers.iter().take(self.count + 1).any(|&number| number == wanted)
    }

    fn take(&mut self, byte: u8) {
        match byte {
            b'0'..=b'9' => {
                if let Some(number) = self.numbers.get_mut(self.count) {
                    *number = number.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                }
            }
            b';' | b':' => self.count = self.count.saturating_add(1),
            mark => self.mark = mark,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Ground,
    Escape,
    /// Behind an escape's intermediate byte.
    Designate,
    Csi,
    /// A string; whether BEL ends it.
    String(bool),
}

#[derive(Debug, Default)]
pub(super) struct Lexer {
    state: State,
    csi: Csi,
    /// A UTF-8 sequence that is not whole.
    cut: [u8; MAX_UTF8],
    cut_bytes: usize,
}

impl Lexer {
    /// How many bytes of a character that is not whole there are.
    pub(super) fn cut(&self) -> usize {
        self.cut_bytes
    }

    /// Takes a byte. Gives what it shows to be complete: a broken character that ended before it,
    /// and what ends with it.
    pub(super) fn take(&mut self, byte: u8) -> (Option<Token>, Option<Token>) {
        let mut broken = None;
        if self.cut_bytes > 0 {
            if (0x80..=0xbf).contains(&byte) {
                return (None, self.continues(byte));
            }
            broken = self.broken();
        }
        let token = match self.state {
            State::Ground => self.ground(byte),
            State::Escape => self.escape(byte),
            State::Designate => self.designate(byte),
            State::Csi => self.csi(byte),
            State::String(bell) => self.string(byte, bell),
        };
        (broken, token)
    }

    fn broken(&mut self) -> Option<Token> {
        let bytes = u8::try_from(std::mem::take(&mut self.cut_bytes)).unwrap_or(0);
        Some(Token::Print(char::REPLACEMENT_CHARACTER, bytes))
    }

    fn continues(&mut self, byte: u8) -> Option<Token> {
        if let Some(place) = self.cut.get_mut(self.cut_bytes) {
            *place = byte;
        }
        self.cut_bytes += 1;
        let have = self.cut.get(..self.cut_bytes).unwrap_or_default();
        match std::str::from_utf8(have) {
            Ok(text) => {
                let c = text.chars().next().unwrap_or(char::REPLACEMENT_CHARACTER);
                let bytes = u8::try_from(std::mem::take(&mut self.cut_bytes)).unwrap_or(0);
                Some(Token::Print(c, bytes))
            }
            Err(error) if error.error_len().is_none() => None,
            Err(_) => self.broken(),
        }
    }

    fn ground(&mut self, byte: u8) -> Option<Token> {
        match byte {
            0x1b => {
                self.state = State::Escape;
                None
            }
            0x20..=0x7e => Some(Token::Print(char::from(byte), 1)),
            0x7f => None,
            0..0x20 => Some(Token::Control(byte)),
            0xc2..=0xf4 => {
                self.cut = [byte, 0, 0, 0];
                self.cut_bytes = 1;
                None
            }
            _ => Some(Token::Print(char::REPLACEMENT_CHARACTER, 1)),
        }
    }

    /// What is the same inside every sequence. `None`: it is the sequence's own.
    fn anywhere(&mut self, byte: u8) -> Option<Option<Token>> {
        match byte {
            0x1b => self.state = State::Escape,
            // Cancelled.
            0x18 | 0x1a => self.state = State::Ground,
            0..0x20 => return Some(Some(Token::Control(byte))),
            0x7f.. => {}
            _ => return None,
        }
        Some(None)
    }

    fn escape(&mut self, byte: u8) -> Option<Token> {
        if let Some(same) = self.anywhere(byte) {
            return same;
        }
        self.state = match byte {
            b'[' => {
                self.csi = Csi::default();
                State::Csi
            }
            b']' => State::String(true),
            b'P' | b'X' | b'^' | b'_' => State::String(false),
            0x20..=0x2f => State::Designate,
            _ => {
                self.state = State::Ground;
                return Some(Token::Escape(byte));
            }
        };
        None
    }

    fn designate(&mut self, byte: u8) -> Option<Token> {
        if let Some(same) = self.anywhere(byte) {
            return same;
        }
        if byte >= 0x30 {
            self.state = State::Ground;
        }
        None
    }

    fn csi(&mut self, byte: u8) -> Option<Token> {
        if let Some(same) = self.anywhere(byte) {
            return same;
        }
        match byte {
            0x30..=0x3f => self.csi.take(byte),
            0x20..=0x2f => self.csi.odd = true,
            _ => {
                self.state = State::Ground;
                self.csi.last = if self.csi.odd { 0 } else { byte };
                return Some(Token::Csi(self.csi));
            }
        }
        None
    }

    fn string(&mut self, byte: u8, bell: bool) -> Option<Token> {
        match byte {
            0x1b => self.state = State::Escape,
            0x18 | 0x1a => self.state = State::Ground,
            0x07 if bell => self.state = State::Ground,
            _ => {}
        }
        None
    }
}
