//! A target that keeps every byte it gets, reads it as strictly as can be, and answers each request.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as its bytes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What came on each connection.
#[derive(Clone, Default)]
pub struct Tap(Arc<Mutex<Vec<Vec<u8>>>>);

impl Tap {
    /// Starts it; it ends with the process. Its port.
    pub fn start() -> (u16, Tap) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let tap = Tap::default();
        let kept = tap.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let at = {
                    let mut all = kept.0.lock().unwrap();
                    all.push(Vec::new());
                    all.len() - 1
                };
                let (kept, stream) = (kept.clone(), stream.unwrap());
                std::thread::spawn(move || kept.serve(at, stream));
            }
        });
        (port, tap)
    }

    fn serve(&self, at: usize, mut stream: TcpStream) {
        let (mut piece, mut answered) = ([0; 4096], 0);
        while let Ok(read @ 1..) = stream.read(&mut piece) {
            let whole = {
                let mut all = self.0.lock().unwrap();
                all[at].extend_from_slice(&piece[..read]);
                requests(&all[at]).0.len()
            };
            for _ in answered..whole {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                if stream.write_all(answer).is_err() {
                    return;
                }
            }
            answered = whole;
        }
    }

    /// All requests so far, and bytes that are none.
    pub fn seen(&self) -> (Vec<Seen>, Vec<Vec<u8>>) {
        let (mut all, mut rest) = (Vec::new(), Vec::new());
        for bytes in self.0.lock().unwrap().iter() {
            let (found, left) = requests(bytes);
            all.extend(found);
            if !left.is_empty() {
                rest.push(left.to_vec());
            }
        }
        (all, rest)
    }

    /// All bytes so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().concat()
    }
}

/// The requests that bytes begin with, and what is behind the last whole one.
pub fn requests(mut bytes: &[u8]) -> (Vec<Seen>, &[u8]) {
    let mut all = Vec::new();
    while let Some((seen, rest)) = request(bytes) {
        all.push(seen);
        bytes = rest;
    }
    (all, bytes)
}

fn request(bytes: &[u8]) -> Option<(Seen, &[u8])> {
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let [method, target, "HTTP/1.1"] = lines.next()?.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(token) || value.contains(['\r', '\n', '\0']) {
            return None;
        }
        fields.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let of = |name: &str| -> Vec<&str> {
        let same = fields.iter().filter(|it| it.0 == name);
        same.map(|it| it.1.as_str()).collect()
    };
    let rest = &bytes[end + 4..];
    let (body, rest) = match (&of("content-length")[..], &of("transfer-encoding")[..]) {
        ([], []) => (Vec::new(), rest),
        ([length], []) => {
            let length = length.parse().ok()?;
            (rest.get(..length)?.to_vec(), rest.get(length..)?)
        }
        ([], ["chunked"]) => chunks(rest)?,
        // Both, twice, or anything else: nobody may send that.
        _ => return None,
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    Some((Seen { method, target, fields, body }, rest))
}

fn chunks(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|it| it == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[line + 2..];
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
        if size == 0 {
            return Some((body, rest));
        }
    }
}
