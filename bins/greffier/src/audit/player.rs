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
pub(super) fn play(frames: &[Frame], pace: &Pace) -> io::Result<()> {
    let live = io::stdout().is_terminal();
    let keys = if live { Keys::new() } else { None };
    let pressed = keys.as_ref().map(|_| listen());
    if live {
        warn_of_size(frames);
    }
    let (mut sanitiser, mut shown) = (Sanitiser::new(), Vec::new());
    let mut errors = Sanitiser::new();
    let mut out = io::stdout().lock();
    for frame in frames {
        if live && !wait(frame, pace, pressed.as_ref()) {
            break;
        }
        match frame.kind {
            Kind::Output => sanitiser.push(&frame.bytes, &mut shown),
            Kind::Error => errors.push(&frame.bytes, &mut shown),
            _ => continue,
        }
        out.write_all(&shown)?;
        out.flush()?;
        shown.clear();
    }
    if live {
        sanitiser.finish(&mut shown);
        out.write_all(&shown)?;
    }
    out.flush()
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

/// A screen drawn for another size looks wrong: say so before.
fn warn_of_size(frames: &[Frame]) {
    let (Some((columns, rows)), Ok(own)) =
        (frames.iter().find_map(Frame::size), tcgetwinsize(io::stdout()))
    else {
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
