//! A server that says what the test wants it to say.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a fake that can't go on fails its test"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::wire::{Msg, msg};

/// A listening fake. Its threads end with the test process.
pub struct Fake {
    pub port: u16,
    /// Every message after a login, of every connection.
    pub got: Arc<Mutex<Vec<Msg>>>,
    /// The startup packets.
    pub startups: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// Answers one message; `None` closes.
pub type Answer = Arc<dyn Fn(&Msg) -> Option<Vec<u8>> + Send + Sync>;

impl Fake {
    /// Gives each connection to `talk`, on a thread of its own.
    pub fn raw(talk: impl Fn(TcpStream) + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let talk = Arc::new(talk);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (talk, stream) = (talk.clone(), stream.unwrap());
                std::thread::spawn(move || talk(stream));
            }
        });
        Fake { port, got: Arc::default(), startups: Arc::default() }
    }

    /// Logs everybody in, and answers messages with what `answer` says.
    pub fn start(answer: impl Fn(&Msg) -> Option<Vec<u8>> + Clone + Send + Sync + 'static) -> Fake {
        let got: Arc<Mutex<Vec<Msg>>> = Arc::default();
        let startups: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let (log, starts) = (got.clone(), startups.clone());
        let fake = Fake::raw(move |mut stream| {
            let Some(startup) = read_startup(&mut stream) else { return };
            starts.lock().unwrap().push(startup);
            if stream.write_all(&welcome()).is_err() {
                return;
            }
            while let Some(message) = read_message(&mut stream) {
                log.lock().unwrap().push(message.clone());
                match answer(&message) {
                    Some(bytes) => {
                        if stream.write_all(&bytes).is_err() {
                            return;
                        }
                    }
                    None => return,
                }
            }
        });
        Fake { got, startups, ..fake }
    }

    pub fn tags(&self) -> String {
        self.got.lock().unwrap().iter().map(|m| m.tag as char).collect()
    }
}

/// A well-behaved server's answer to a Query: one row `1`; to a Sync: ReadyForQuery.
pub fn one_row(message: &Msg) -> Option<Vec<u8>> {
    match message.tag {
        b'Q' => Some(
            [row_description(&["a"]), data_row(&[b"1"]), complete("SELECT 1"), ready(b'I')]
                .concat(),
        ),
        b'S' => Some(ready(b'I')),
        b'P' => Some(msg(b'1', &[])),
        b'B' => Some(msg(b'2', &[])),
        b'C' => Some(msg(b'3', &[])),
        b'D' => Some(row_description(&["a"])),
        b'E' => Some([data_row(&[b"1"]), complete("SELECT 1")].concat()),
        b'X' => None,
        _ => Some(Vec::new()),
    }
}

pub fn read_startup(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut body = vec![0; (u32::from_be_bytes(length) as usize).checked_sub(4)?];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

pub fn read_message(stream: &mut TcpStream) -> Option<Msg> {
    let mut head = [0; 5];
    stream.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
    let mut body = vec![0; length.checked_sub(4)?];
    stream.read_exact(&mut body).ok()?;
    Some(Msg { tag: head[0], body })
}

/// AuthenticationOk, a parameter, a key, ReadyForQuery.
pub fn welcome() -> Vec<u8> {
    let mut key = 77u32.to_be_bytes().to_vec();
    key.extend([1, 2, 3, 4]);
    [
        msg(b'R', &0u32.to_be_bytes()),
        msg(b'S', b"client_encoding\0UTF8\0"),
        msg(b'S', b"server_version\x0015.0\0"),
        msg(b'K', &key),
        ready(b'I'),
    ]
    .concat()
}

pub fn ready(status: u8) -> Vec<u8> {
    msg(b'Z', &[status])
}

pub fn complete(tag: &str) -> Vec<u8> {
    msg(b'C', format!("{tag}\0").as_bytes())
}

pub fn row_description(columns: &[&str]) -> Vec<u8> {
    let mut body = (columns.len() as u16).to_be_bytes().to_vec();
    for name in columns {
        body.extend(name.as_bytes());
        body.push(0);
        body.extend(0u32.to_be_bytes());
        body.extend(0u16.to_be_bytes());
        body.extend(25u32.to_be_bytes());
        body.extend((-1i16).to_be_bytes());
        body.extend((-1i32).to_be_bytes());
        body.extend(0u16.to_be_bytes());
    }
    msg(b'T', &body)
}

pub fn data_row(cells: &[&[u8]]) -> Vec<u8> {
    let mut body = (cells.len() as u16).to_be_bytes().to_vec();
    for cell in cells {
        body.extend((cell.len() as u32).to_be_bytes());
        body.extend(*cell);
    }
    msg(b'D', &body)
}

pub fn fatal(code: &str, text: &str) -> Vec<u8> {
    msg(b'E', format!("SFATAL\0VFATAL\0C{code}\0M{text}\0\0").as_bytes())
}

pub fn error(code: &str, text: &str) -> Vec<u8> {
    msg(b'E', format!("SERROR\0VERROR\0C{code}\0M{text}\0\0").as_bytes())
}
