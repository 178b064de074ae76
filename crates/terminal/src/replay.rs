//! Replay on the reader's own terminal: recorded output may draw, and nothing else.
//!
//! A recording is the target's, and the target may be hostile. What a terminal does besides
//! drawing (set the clipboard or the title, answer questions as if typed, move windows, print,
//! change what keys send, run sixel and other programs) is left out; so are characters that hide
//! or reorder text. What may pass is listed here; everything else does not.

use std::time::Duration;

use vte::{Params, Parser, Perform};

use crate::utf8::Text;

/// The largest number in a control sequence; more is that many. Keeps a repetition, an insertion
/// or a scroll from being work without end.
const MAX_PARAMETER: u16 = 1000;

/// Sets back what a recording can have left behind: colours, cursor, wrapping, margins, character
/// sets, the other screen.
pub const RESET: &[u8] =
    b"\x1b[0m\x1b[?25h\x1b[?7h\x1b[?6l\x1b[?5l\x1b[4l\x1b[r\x0f\x1b(B\x1b)B\x1b[?1049l\r\n";

/// Final bytes of control sequences that move, draw, erase, scroll or set tabs and colours.
const DRAWS: &[u8] = b"@ABCDEFGHIJKLMPSXZ`abdefgmr";
/// DEC private modes that only change drawing: reverse video, origin, wrap, cursor blink and
/// visibility, the other screen.
const MODES: &[u16] = &[5, 6, 7, 12, 25, 47, 1047, 1048, 1049];

/// Makes output harmless, piece by piece.
#[derive(Default)]
pub struct Sanitiser {
    parser: Parser,
    text: Text,
    used: bool,
}

impl std::fmt::Debug for Sanitiser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sanitiser").field("used", &self.used).finish_non_exhaustive()
    }
}

impl Sanitiser {
    /// One at the beginning.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends what may be shown of the next piece of output. It is UTF-8.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.used = true;
        // The parser loses characters where broken UTF-8 is cut; it is only given whole ones.
        let text = self.text.push(bytes);
        self.parser.advance(&mut Drawn(out), text.as_bytes());
    }

    /// Appends what sets the terminal back, if anything was shown.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.used {
            out.extend_from_slice(RESET);
        }
    }
}

struct Drawn<'o>(&'o mut Vec<u8>);

impl Drawn<'_> {
    fn parameters(&mut self, params: &Params) {
        for (index, group) in params.iter().enumerate() {
            if index > 0 {
                self.0.push(b';');
            }
            for (index, value) in group.iter().enumerate() {
                if index > 0 {
                    self.0.push(b':');
                }
                self.0.extend_from_slice((*value).min(MAX_PARAMETER).to_string().as_bytes());
            }
        }
    }
}

impl Perform for Drawn<'_> {
    fn print(&mut self, c: char) {
        let c = if hostile(c) { '\u{fffd}' } else { c };
        self.0.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn execute(&mut self, byte: u8) {
        // Backspace, tab, newlines, carriage return, and the two character sets.
        if matches!(byte, 0x08..=0x0f) {
            self.0.push(byte);
        }
    }

    fn csi_dispatch(&mut self, params: &Params, marks: &[u8], ignored: bool, action: char) {
        let Ok(action) = u8::try_from(action) else { return };
        if ignored {
            return;
        }
        let first = params.iter().next().and_then(|it| it.first()).copied().unwrap_or(0);
        let may = match (marks, action) {
            (b"", b'h' | b'l') => params.iter().all(|it| it == [4]),
            // With more numbers it is about the mouse.
            (b"", b'T') => params.len() <= 1,
            (b"", action) => DRAWS.contains(&action),
            (b"?", b'J' | b'K') => true,
            (b"?", b'h' | b'l') => {
                // Several at once: those that may, one by one.
                for mode in params.iter().filter_map(|it| it.first()) {
                    if MODES.contains(mode) {
                        self.0.extend_from_slice(format!("\x1b[?{mode}").as_bytes());
                        self.0.push(action);
                    }
                }
                false
            }
            // A soft reset.
            (b"!", b'p') => first == 0,
            _ => false,
        };
        if may {
            self.0.extend_from_slice(b"\x1b[");
            self.0.extend_from_slice(if marks == b"?" { marks } else { b"" });
            if params.iter().any(|it| it != [0]) {
                self.parameters(params);
            }
            if marks == b"!" {
                self.0.extend_from_slice(marks);
            }
            self.0.push(action);
        }
    }

    fn esc_dispatch(&mut self, marks: &[u8], ignored: bool, byte: u8) {
        if ignored {
            return;
        }
        match (marks, byte) {
            // Save and restore the cursor, index, next line, tab stop, reverse index.
            (b"", b'7' | b'8' | b'D' | b'E' | b'H' | b'M') => {
                self.0.extend_from_slice(&[0x1b, byte]);
            }
            // A full reset also empties what the reader scrolled back to: only erase.
            (b"", b'c') => self.0.extend_from_slice(b"\x1b[m\x1b[r\x1b[H\x1b[2J"),
            (b"(" | b")", b'0' | b'A' | b'B') => {
                self.0.push(0x1b);
                self.0.extend_from_slice(marks);
                self.0.push(byte);
            }
            (b"#", b'8') => self.0.extend_from_slice(b"\x1b#8"),
            _ => {}
        }
    }
}

/// Characters that a terminal obeys, or that hide or reorder the text beside them.
fn hostile(c: char) -> bool {
    c.is_control()
        || matches!(u32::from(c),
            0x061c | 0x180e | 0x200b | 0x200e..=0x200f | 0x2028..=0x202e | 0x2060..=0x2069
            | 0xfeff | 0xfff9..=0xfffb | 0xe0000..=0xe007f)
}

/// How fast a replay goes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How many times as fast, in hundredths: 100 is as recorded. 0 counts as 1.
    pub percent: u32,
    /// The longest pause, as replayed.
    pub idle: Option<Duration>,
}

impl Default for Pace {
    /// As recorded.
    fn default() -> Self {
        Self { percent: 100, idle: None }
    }
}

impl Pace {
    /// How long to wait for a frame that came so many microseconds after the one before.
    #[must_use]
    pub fn wait(&self, after_us: u64) -> Duration {
        let micros = u128::from(after_us) * 100 / u128::from(self.percent.max(1));
        let wait = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        self.idle.map_or(wait, |idle| wait.min(idle))
    }
}
