//! Which connections there are to a server, and how many are new.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How `/proc/net/tcp` writes the state of a socket that listens.
const LISTENS: &str = "0A";
/// How often is looked, if that takes no twentieth of the time: what ends by a reset leaves no
/// trace, and a request in a TLS connection of its own takes a few milliseconds.
const LOOK: Duration = Duration::from_millis(5);
const SHARE: u32 = 20;

/// Counts new connections, in a thread of its own.
pub(crate) struct Count {
    before: HashSet<u16>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<HashSet<u16>>,
}

impl Count {
    pub(crate) fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let before = clients_of(port);
        let thread = std::thread::spawn(move || {
            let mut all = HashSet::new();
            loop {
                let last = seen.load(Ordering::Relaxed);
                let begun = Instant::now();
                all.extend(clients_of(port));
                if last {
                    return all;
                }
                std::thread::sleep(LOOK.max(begun.elapsed() * SHARE));
            }
        });
        Count { before, stop, thread }
    }

    /// How many came since the start; `None` if nobody could look.
    pub(crate) fn stop(self) -> Option<usize> {
        self.stop.store(true, Ordering::Relaxed);
        let all = self.thread.join().ok()?;
        Some(all.difference(&self.before).count())
    }
}

/// The clients' ports of all TCP connections over IPv4 with a port of this machine. One that was
/// closed in order is among them for a minute: whichever end closed it first remembers it.
fn clients_of(port: u16) -> HashSet<u16> {
    let text = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    text.lines().skip(1).filter_map(|line| client(line, port)).collect()
}

fn client(line: &str, port: u16) -> Option<u16> {
    let mut fields = line.split_whitespace().skip(1);
    let mut next = || {
        let (_, port) = fields.next()?.split_once(':')?;
        u16::from_str_radix(port, 16).ok()
    };
    let (local, remote) = (next()?, next()?);
    match fields.next()? {
        LISTENS => None,
        _ if remote == port => Some(local),
        _ if local == port => Some(remote),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_seen_while_it_is_there_and_after_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(clients_of(port), HashSet::new());
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (served, _) = listener.accept().unwrap();
        let count = Count::start(port);
        let one = HashSet::from([client.local_addr().unwrap().port()]);
        assert_eq!(clients_of(port), one);
        drop((client, served));
        assert_eq!(clients_of(port), one);
        let (_other, _) = (TcpStream::connect(("127.0.0.1", port)).unwrap(), listener.accept());
        assert_eq!(count.stop(), Some(1));
    }
}
