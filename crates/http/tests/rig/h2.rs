//! HTTP/2 by hand (RFC 9113): frames as a test wants them, in order or not.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Frame {
        Frame { kind, flags, stream, payload: payload.into() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let mut all = length[1..].to_vec();
        all.extend([self.kind, self.flags]);
        all.extend(self.stream.to_be_bytes());
        all.extend(&self.payload);
        all
    }

    /// The last four bytes of RST_STREAM and GOAWAY's fixed part.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// Fields as literals that are not remembered (RFC 7541, 6.2.2), whatever is in them.
pub fn literals<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name.as_ref());
        string(&mut block, value.as_ref());
    }
    block
}

fn string(block: &mut Vec<u8>, bytes: &[u8]) {
    integer(block, 0, 7, bytes.len());
    block.extend(bytes);
}

/// An integer with a prefix of so many bits (RFC 7541, 5.1).
pub fn integer(block: &mut Vec<u8>, high: u8, bits: u32, value: usize) {
    let most = (1_usize << bits) - 1;
    if value < most {
        return block.push(high | u8::try_from(value).unwrap());
    }
    block.push(high | u8::try_from(most).unwrap());
    let mut rest = value - most;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128 + 128).unwrap());
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// A connection.
pub struct Client {
    tcp: TcpStream,
    held: Vec<u8>,
}

impl Client {
    /// With the preface sent and empty settings.
    pub fn connect(port: u16) -> Client {
        let tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
        tcp.set_nodelay(true).unwrap();
        let mut client = Client { tcp, held: Vec::new() };
        client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        client.send(&Frame::new(SETTINGS, 0, 0, [])).unwrap();
        client
    }

    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.tcp.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        self.tcp.write_all(bytes)
    }

    pub fn send(&mut self, frame: &Frame) -> std::io::Result<()> {
        self.write(&frame.bytes())
    }

    /// The next frame; none when the connection ended, or nothing came for so long.
    pub fn next(&mut self, within: Duration) -> Option<Frame> {
        let end = Instant::now() + within;
        loop {
            if let Some(frame) = self.whole() {
                return Some(frame);
            }
            let left = end.checked_duration_since(Instant::now())?;
            self.tcp.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
            let mut piece = [0; 16 * 1024];
            match self.tcp.read(&mut piece) {
                Ok(read @ 1..) => self.held.extend(&piece[..read]),
                Ok(0) | Err(_) => return None,
            }
        }
    }

    fn whole(&mut self) -> Option<Frame> {
        let head = self.held.get(..9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        let (kind, flags) = (head[3], head[4]);
        let payload = self.held.get(9..9 + length)?.to_vec();
        self.held.drain(..9 + length);
        Some(Frame { kind, flags, stream, payload })
    }

    /// Frames until one fits; acknowledges settings and pings on the way. None: the connection
    /// ended or nothing came.
    pub fn until(&mut self, within: Duration, fits: impl Fn(&Frame) -> bool) -> Option<Frame> {
        let end = Instant::now() + within;
        loop {
            let frame = self.next(end.checked_duration_since(Instant::now())?)?;
            if fits(&frame) {
                return Some(frame);
            }
            if matches!(frame.kind, SETTINGS | PING) && frame.flags & ACK == 0 {
                let payload = if frame.kind == PING { frame.payload } else { Vec::new() };
                self.send(&Frame::new(frame.kind, ACK, 0, payload)).ok()?;
            }
        }
    }

    /// Whether the other side still answers a ping.
    pub fn lives(&mut self) -> bool {
        self.send(&Frame::new(PING, 0, 0, *b"are you?")).is_ok()
            && self
                .until(Duration::from_secs(10), |it| it.kind == PING && it.payload == b"are you?")
                .is_some()
    }
}
