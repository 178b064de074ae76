//! A small client: it logs in, asks, and reads answers as fast as they come without keeping them.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::peer::Door;

/// Bytes read at once.
const BUFFER: usize = 256 * 1024;
/// Longest error message that is kept, in bytes.
const MAX_ERROR: usize = 4096;
/// How long the server may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// A logged-in session.
pub(crate) struct Client {
    tcp: TcpStream,
    buffer: Vec<u8>,
}

/// What an answer was, in total.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Answer {
    /// Bytes on the wire.
    pub(crate) bytes: u64,
    /// `DataRow` and `CopyData` messages.
    pub(crate) rows: u64,
}

impl Client {
    /// `buffer`: bytes for reading, less for sessions that only wait.
    fn with_buffer(door: &Door, buffer: usize) -> Result<Self, String> {
        let fail = |e: io::Error| format!("connecting to {}: {e}", door.port);
        let tcp = TcpStream::connect(("127.0.0.1", door.port)).map_err(fail)?;
        tcp.set_nodelay(true).map_err(fail)?;
        tcp.set_read_timeout(Some(SILENCE)).map_err(fail)?;
        let mut client = Client { tcp, buffer: vec![0; buffer] };
        let mut startup = vec![0, 0, 0, 0, 0, 3, 0, 0];
        for word in ["user", "postgres", "database", &door.database, ""] {
            startup.extend_from_slice(word.as_bytes());
            startup.push(0);
        }
        let length = u32::try_from(startup.len()).unwrap_or(u32::MAX).to_be_bytes();
        startup.splice(..4, length);
        client.tcp.write_all(&startup).map_err(fail)?;
        client.read_to_ready(&door.password)?;
        Ok(client)
    }

    pub(crate) fn connect(door: &Door) -> Result<Self, String> {
        Self::with_buffer(door, BUFFER)
    }

    /// A session that will do little.
    pub(crate) fn small(door: &Door) -> Result<Self, String> {
        Self::with_buffer(door, 4096)
    }

    /// One simple query, its answer read to the end.
    pub(crate) fn ask(&mut self, sql: &str) -> Result<Answer, String> {
        self.send(b'Q', sql)?;
        self.read_to_ready("")
    }

    fn send(&mut self, tag: u8, text: &str) -> Result<(), String> {
        let length = u32::try_from(text.len() + 5).map_err(|e| e.to_string())?;
        let mut message = vec![tag];
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(text.as_bytes());
        message.push(0);
        self.tcp.write_all(&message).map_err(|e| format!("sending: {e}"))
    }

    /// Walks over messages up to `ReadyForQuery`, answering a request for a password.
    fn read_to_ready(&mut self, password: &str) -> Result<Answer, String> {
        let mut walk = Walk::default();
        let mut answer = Answer::default();
        loop {
            let read = self.tcp.read(&mut self.buffer).map_err(|e| format!("reading: {e}"))?;
            if read == 0 {
                return Err(walk.error.unwrap_or_else(|| "the server closed".to_owned()));
            }
            answer.bytes += read as u64;
            let mut rest = self.buffer.get(..read).unwrap_or_default();
            let mut asked = false;
            while let Some(event) = walk.next(&mut rest) {
                match event {
                    Event::Row => answer.rows += 1,
                    Event::Password => asked = true,
                    Event::Ready => {
                        return walk.error.map_or(Ok(answer), Err);
                    }
                }
            }
            if asked {
                self.send(b'p', password)?;
            }
        }
    }

    /// Asks for single rows one after the other for a while; each wait in microseconds.
    pub(crate) fn waits(&mut self, span: Duration) -> Result<Vec<f64>, String> {
        let mut waits = Vec::new();
        let mut aid: u32 = 1;
        let end = Instant::now() + span;
        while Instant::now() < end {
            aid = aid.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let sql =
                format!("SELECT abalance FROM pgbench_accounts WHERE aid = {}", aid % 1_000_000);
            let begun = Instant::now();
            self.ask(&sql)?;
            waits.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        Ok(waits)
    }
}

enum Event {
    Row,
    Password,
    Ready,
}

/// Where we are in the stream of messages.
#[derive(Default)]
struct Walk {
    header: Vec<u8>,
    left: usize,
    kept: Vec<u8>,
    error: Option<String>,
}

impl Walk {
    /// The next message that ends in `rest` and that matters.
    fn next(&mut self, rest: &mut &[u8]) -> Option<Event> {
        loop {
            if self.header.len() < 5 {
                let take = rest.len().min(5 - self.header.len());
                let (head, tail) = rest.split_at_checked(take)?;
                self.header.extend_from_slice(head);
                *rest = tail;
                let [_, a, b, c, d] = *self.header.as_slice() else { return None };
                self.left = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
            }
            let tag = self.header.first().copied()?;
            let (body, tail) = rest.split_at_checked(rest.len().min(self.left))?;
            if matches!(tag, b'E' | b'R') && self.kept.len() < MAX_ERROR {
                self.kept.extend_from_slice(body);
            }
            *rest = tail;
            self.left -= body.len();
            if self.left > 0 {
                return None;
            }
            self.header.clear();
            let kept = std::mem::take(&mut self.kept);
            match tag {
                b'D' | b'd' => return Some(Event::Row),
                b'Z' => return Some(Event::Ready),
                b'R' if kept == [0, 0, 0, 3] => return Some(Event::Password),
                b'E' => {
                    let text = String::from_utf8_lossy(&kept).replace('\0', " ");
                    self.error = Some(text);
                }
                _ => {}
            }
        }
    }
}
