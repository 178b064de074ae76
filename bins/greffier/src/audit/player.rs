//! A recording on this terminal, in its own time.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use terminal::frames::{Frame, Kind};
use terminal::replay::{Pace, Sanitiser};

/// The key that stops and goes on.
const PAUSE: u8 = b' ';

/// Keys arrive one by one, unechoed, until dropped.
struct Keys {
    before: Termios,
}

impl Keys {
    /// `None` if standard input is no terminal, or its settings can't be had.
    fn new() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut keys = before.clone();
        // Without ISIG an interrupt is a key as any other: so the terminal is set back.
        keys.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        keys.special_codes[SpecialCodeIndex::VMIN] = 1;
        keys.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Now, &keys).ok()?;
        Some(Self { before })
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // The terminal is gone, or it is as before.
        let _gone = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}

/// Plays what was printed; on a terminal in its own time, elsewhere at once.
pub(super) struct Player {
    live: bool,
    pace: Pace,
    /// Set back when dropped.
    _keys: Option<Keys>,
    pressed: Option<Receiver<u8>>,
    output: Sanitiser,
    errors: Sanitiser,
    shown: Vec<u8>,
}

impl Player {
    pub(super) fn new(pace: Pace) -> Self {
        let live = io::stdout().is_terminal();
        let keys = if live { Keys::new() } else { None };
        Player {
            live,
            pace,
            pressed: keys.as_ref().map(|_| listen()),
            _keys: keys,
            output: Sanitiser::new(),
            errors: Sanitiser::new(),
            shown: Vec::new(),
        }
    }

    /// Plays a frame when it is due. No: the reader has seen enough.
    pub(super) fn frame(&mut self, frame: &Frame) -> io::Result<bool> {
        if self.live && !wait(frame, &self.pace, self.pressed.as_ref()) {
            return Ok(false);
        }
        match frame.kind {
            Kind::Output => self.output.push(&frame.bytes, &mut self.shown),
            Kind::Error => self.errors.push(&frame.bytes, &mut self.shown),
            Kind::Resize if self.live => warn_of_size(frame),
            _ => {}
        }
        self.write()?;
        Ok(true)
    }

    /// Sets the terminal back.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if self.live {
            std::mem::take(&mut self.output).finish(&mut self.shown);
        }
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        if self.shown.is_empty() {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        out.write_all(&self.shown)?;
        self.shown.clear();
        out.flush()
    }
}

/// Keys, from a thread that ends with the program.
fn listen() -> Receiver<u8> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for byte in io::stdin().lock().bytes() {
            let Ok(byte) = byte else { return };
            if tell.send(byte).is_err() {
                return;
            }
        }
    });
    told
}

/// Waits until a frame is due. No: the reader has seen enough.
fn wait(frame: &Frame, pace: &Pace, pressed: Option<&Receiver<u8>>) -> bool {
    let mut left = pace.wait(frame.after_us);
    let Some(pressed) = pressed else {
        std::thread::sleep(left);
        return true;
    };
    loop {
        let since = Instant::now();
        match pressed.recv_timeout(left) {
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(left);
                return true;
            }
            Ok(key) if ends(key) => return false,
            Ok(PAUSE) => {
                left = left.saturating_sub(since.elapsed());
                match pressed.iter().find(|key| *key == PAUSE || ends(*key)) {
                    Some(PAUSE) => {}
                    _ => return false,
                }
            }
            Ok(_) => left = left.saturating_sub(since.elapsed()),
        }
    }
}

/// `q`, an interrupt or an end of file.
fn ends(key: u8) -> bool {
    matches!(key, b'q' | 0x03 | 0x04)
}

/// A screen drawn for another size looks wrong: say so.
fn warn_of_size(frame: &Frame) {
    let (Some((columns, rows)), Ok(own)) = (frame.size(), tcgetwinsize(io::stdout())) else {
        return;
    };
    if columns > own.ws_col || rows > own.ws_row {
        // Nothing is lost if this can't be said.
        let _nobody = writeln!(
            io::stderr(),
            "recorded with {columns} columns and {rows} rows; this terminal has {} and {}",
            own.ws_col,
            own.ws_row
        );
    }
}
