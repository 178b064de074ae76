//! A client that says what it likes: raw messages, and every byte that came back.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a client that can't go on fails its test"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longer than anything here takes: what has not come by then hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One message of the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Msg {
    pub tag: u8,
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Msg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.tag as char, String::from_utf8_lossy(&self.body))
    }
}

impl Msg {
    /// A field of an ErrorResponse or NoticeResponse.
    pub fn field(&self, code: u8) -> String {
        self.body
            .split(|b| *b == 0)
            .find(|field| field.first() == Some(&code))
            .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
            .unwrap_or_default()
    }

    /// The cells of a DataRow.
    pub fn cells(&self) -> Vec<Option<Vec<u8>>> {
        assert_eq!(self.tag, b'D');
        let mut rest = &self.body[2..];
        let mut cells = Vec::new();
        while !rest.is_empty() {
            let len = i32::from_be_bytes(rest[..4].try_into().unwrap());
            rest = &rest[4..];
            if len < 0 {
                cells.push(None);
            } else {
                cells.push(Some(rest[..len as usize].to_vec()));
                rest = &rest[len as usize..];
            }
        }
        cells
    }
}

/// The tags of messages, one letter each, asynchronous ones left out.
pub fn tags(messages: &[Msg]) -> String {
    messages.iter().filter(|m| !b"NSA".contains(&m.tag)).map(|m| m.tag as char).collect()
}

/// The SQLSTATEs of all errors.
pub fn codes(messages: &[Msg]) -> Vec<String> {
    messages.iter().filter(|m| m.tag == b'E').map(|m| m.field(b'C')).collect()
}

/// The first column of every row, as text.
pub fn firsts(messages: &[Msg]) -> Vec<String> {
    messages
        .iter()
        .filter(|m| m.tag == b'D')
        .map(|m| match &m.cells()[0] {
            Some(value) => String::from_utf8_lossy(value).into_owned(),
            None => "NULL".into(),
        })
        .collect()
}

/// Transaction status of every ReadyForQuery.
pub fn statuses(messages: &[Msg]) -> String {
    messages.iter().filter(|m| m.tag == b'Z').map(|m| m.body[0] as char).collect()
}

/// One frontend message.
pub fn msg(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend((body.len() as u32 + 4).to_be_bytes());
    out.extend(body);
    out
}

fn cstr(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text);
    out.push(0);
}

pub fn q(sql: impl AsRef<[u8]>) -> Vec<u8> {
    let mut body = Vec::new();
    cstr(&mut body, sql.as_ref());
    msg(b'Q', &body)
}

pub fn parse(name: &str, sql: impl AsRef<[u8]>) -> Vec<u8> {
    let mut body = Vec::new();
    cstr(&mut body, name.as_bytes());
    cstr(&mut body, sql.as_ref());
    body.extend(0u16.to_be_bytes());
    msg(b'P', &body)
}

/// Bind with text parameters; every result in text (0) or binary (1).
pub fn bind(portal: &str, statement: &str, values: &[&[u8]], format: u16) -> Vec<u8> {
    let mut body = Vec::new();
    cstr(&mut body, portal.as_bytes());
    cstr(&mut body, statement.as_bytes());
    body.extend(0u16.to_be_bytes());
    body.extend((values.len() as u16).to_be_bytes());
    for value in values {
        body.extend((value.len() as u32).to_be_bytes());
        body.extend(*value);
    }
    body.extend(1u16.to_be_bytes());
    body.extend(format.to_be_bytes());
    msg(b'B', &body)
}

pub fn describe(kind: u8, name: &str) -> Vec<u8> {
    let mut body = vec![kind];
    cstr(&mut body, name.as_bytes());
    msg(b'D', &body)
}

pub fn close(kind: u8, name: &str) -> Vec<u8> {
    let mut body = vec![kind];
    cstr(&mut body, name.as_bytes());
    msg(b'C', &body)
}

pub fn execute(portal: &str, max_rows: u32) -> Vec<u8> {
    let mut body = Vec::new();
    cstr(&mut body, portal.as_bytes());
    body.extend(max_rows.to_be_bytes());
    msg(b'E', &body)
}

pub fn sync() -> Vec<u8> {
    msg(b'S', &[])
}

pub fn flush() -> Vec<u8> {
    msg(b'H', &[])
}

/// A startup-style packet: length, code, rest.
pub fn packet(code: u32, rest: &[u8]) -> Vec<u8> {
    let mut out = (rest.len() as u32 + 8).to_be_bytes().to_vec();
    out.extend(code.to_be_bytes());
    out.extend(rest);
    out
}

pub const SSL_REQUEST: u32 = 80_877_103;
pub const GSSENC_REQUEST: u32 = 80_877_104;
pub const CANCEL_REQUEST: u32 = 80_877_102;
pub const V3_0: u32 = 3 << 16;
pub const V3_2: u32 = (3 << 16) | 2;

/// A StartupMessage.
pub fn startup(version: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut rest = Vec::new();
    for (name, value) in parameters {
        cstr(&mut rest, name.as_bytes());
        cstr(&mut rest, value.as_bytes());
    }
    rest.push(0);
    packet(version, &rest)
}

pub fn cancel(pid: u32, secret: &[u8]) -> Vec<u8> {
    let mut rest = pid.to_be_bytes().to_vec();
    rest.extend(secret);
    packet(CANCEL_REQUEST, &rest)
}

/// A connection, and all that came over it.
pub struct Wire {
    pub stream: TcpStream,
    buf: Vec<u8>,
    /// Every byte that the other side sent.
    pub seen: Vec<u8>,
    pub pid: u32,
    pub secret: Vec<u8>,
    pub parameters: Vec<(String, String)>,
}

impl Wire {
    pub fn open(port: u16) -> Wire {
        Wire::try_open(port).unwrap()
    }

    pub fn try_open(port: u16) -> std::io::Result<Wire> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Ok(Wire {
            stream,
            buf: Vec::new(),
            seen: Vec::new(),
            pid: 0,
            secret: Vec::new(),
            parameters: Vec::new(),
        })
    }

    /// A session of user and database `postgres`.
    pub fn session(port: u16, token: &str) -> Wire {
        Wire::session_with(port, token, V3_0, &[]).unwrap()
    }

    /// A session with more startup parameters; the error if it is refused.
    pub fn session_with(
        port: u16,
        token: &str,
        version: u32,
        more: &[(&str, &str)],
    ) -> Result<Wire, Msg> {
        let mut parameters = vec![("user", "postgres"), ("database", "postgres")];
        parameters.extend(more);
        Wire::login(port, token, &startup(version, &parameters))
    }

    /// A login with this startup packet; the error if it is refused.
    pub fn login(port: u16, token: &str, startup: &[u8]) -> Result<Wire, Msg> {
        let closed = || Msg { tag: 0, body: Vec::new() };
        let mut wire = Wire::try_open(port).map_err(|_| closed())?;
        wire.try_send(startup);
        loop {
            let message = wire.read().ok_or_else(closed)?;
            match message.tag {
                b'R' if message.body == 3u32.to_be_bytes() => {
                    let mut body = token.as_bytes().to_vec();
                    body.push(0);
                    wire.try_send(&msg(b'p', &body));
                }
                b'E' => return Err(message),
                b'S' => {
                    let text = String::from_utf8_lossy(&message.body).into_owned();
                    let mut parts = text.split('\0');
                    let (name, value) = (parts.next().unwrap(), parts.next().unwrap());
                    wire.parameters.push((name.into(), value.into()));
                }
                b'K' => {
                    wire.pid = u32::from_be_bytes(message.body[..4].try_into().unwrap());
                    wire.secret = message.body[4..].to_vec();
                }
                b'Z' => return Ok(wire),
                _ => {}
            }
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends, and does not mind if the other side has gone.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next message, or `None` when the other side has closed.
    pub fn read(&mut self) -> Option<Msg> {
        loop {
            if self.buf.len() >= 5 {
                let len = u32::from_be_bytes(self.buf[1..5].try_into().unwrap()) as usize;
                assert!(len >= 4, "a length of {len} from the proxy");
                if self.buf.len() > len {
                    let body = self.buf[5..=len].to_vec();
                    let tag = self.buf[0];
                    self.buf.drain(..=len);
                    return Some(Msg { tag, body });
                }
            }
            let mut chunk = [0; 65536];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(n) => {
                    self.buf.extend(&chunk[..n]);
                    self.seen.extend(&chunk[..n]);
                }
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return None,
                // A read with a timeout is not taken up again after a signal.
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => panic!("nothing came in time: {e}; so far {:?}", tail(&self.seen)),
            }
        }
    }

    /// One byte, or `None` at the end.
    pub fn byte(&mut self) -> Option<u8> {
        let mut one = [0; 1];
        loop {
            return match self.stream.read(&mut one) {
                Ok(0) => None,
                Ok(_) => Some(one[0]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => None,
                Err(e) => panic!("nothing came in time: {e}"),
            };
        }
    }

    /// Messages up to `n` ReadyForQuery, or to the end of the connection.
    pub fn until_ready(&mut self, n: usize) -> Vec<Msg> {
        let (mut messages, mut ready) = (Vec::new(), 0);
        while ready < n {
            let Some(message) = self.read() else { break };
            ready += usize::from(message.tag == b'Z');
            messages.push(message);
        }
        messages
    }

    /// Messages up to one with this tag.
    pub fn until(&mut self, tag: u8) -> Vec<Msg> {
        let mut messages = Vec::new();
        while let Some(message) = self.read() {
            let last = message.tag == tag;
            messages.push(message);
            if last {
                break;
            }
        }
        messages
    }

    /// Everything up to the other side's end.
    pub fn rest(&mut self) -> Vec<Msg> {
        let mut messages = Vec::new();
        while let Some(message) = self.read() {
            messages.push(message);
        }
        messages
    }

    /// Says these messages and gives the answers up to one ReadyForQuery.
    pub fn ask(&mut self, messages: &[Vec<u8>]) -> Vec<Msg> {
        self.send(&messages.concat());
        self.until_ready(1)
    }

    pub fn query(&mut self, sql: &str) -> Vec<Msg> {
        self.ask(&[q(sql)])
    }

    pub fn bye(mut self) {
        let _gone = self.stream.write_all(&msg(b'X', &[]));
    }
}

fn tail(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(300)..]).into_owned()
}

pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
