//! The way between a client and the proxy, for tests that change or hold what passes.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The first message of a key exchange (RFC 4253, 7.1) is longer than this, a window adjustment
/// shorter.
pub const KEXINIT: usize = 1_000;

pub struct Between {
    /// Where the client is to connect, once.
    pub port: u16,
    /// Bytes that went to the client.
    pub down: Arc<AtomicU64>,
}

/// One connection's way. `up` sees each piece of the client's before it passes, and how many bytes
/// went to the client so far.
pub fn between(proxy: u16, mut up: impl FnMut(&mut [u8], u64) + Send + 'static) -> Between {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let down = Arc::new(AtomicU64::new(0));
    let seen = down.clone();
    std::thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let server = TcpStream::connect(("127.0.0.1", proxy)).unwrap();
        let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let count = seen.clone();
        std::thread::spawn(move || {
            pass(from, to, |piece| {
                count.fetch_add(piece.len() as u64, Ordering::Relaxed);
            });
        });
        pass(client, server, |piece| up(piece, seen.load(Ordering::Relaxed)));
    });
    Between { port, down }
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&mut [u8])) {
    let mut piece = vec![0; 32 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut piece) {
        look(&mut piece[..bytes]);
        if to.write_all(&piece[..bytes]).is_err() {
            break;
        }
    }
    let _gone = to.shutdown(Shutdown::Write);
}
