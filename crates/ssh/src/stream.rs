//! A connection that can be ended for good, whatever the library above it waits for.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What a peer may send before it has logged in, in bytes. OpenSSH with 20 certificates in its
/// agent sends less than 100 KiB.
pub(crate) const BEFORE_LOGIN_BYTES: u64 = 1024 * 1024;
/// Read at once from the socket. A buffer belongs to a connection while something of what was read
/// is left in it, and to its thread afterwards: an idle connection keeps none, and a busy one copies
/// no byte twice.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A TCP connection with a switch.
pub(crate) struct Guarded {
    tcp: TcpStream,
    /// What was read and is not yet taken, from `taken` to `end`.
    left: Vec<u8>,
    taken: usize,
    end: usize,
    switch: Switch,
}

/// Ends its connection, and bounds what may be read from it. Clones are one switch.
#[derive(Clone)]
pub(crate) struct Switch(Arc<Shared>);

struct Shared {
    off: AtomicBool,
    /// Bytes that may still be read.
    allowance: AtomicU64,
    reader: Mutex<Option<Waker>>,
    writer: Mutex<Option<Waker>>,
}

impl Switch {
    /// From now on the connection fails, also a read or write that waits.
    pub(crate) fn off(&self) {
        self.0.off.store(true, Ordering::Release);
        for waker in [&self.0.reader, &self.0.writer] {
            let waker = waker.lock().unwrap_or_else(PoisonError::into_inner).take();
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// The peer has logged in: what it sends is bounded by windows from now on.
    pub(crate) fn logged_in(&self) {
        self.0.allowance.store(u64::MAX, Ordering::Release);
    }

    fn check(&self) -> io::Result<()> {
        if self.0.off.load(Ordering::Acquire) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "greffier ended it"));
        }
        Ok(())
    }

    fn spend(&self, bytes: usize) -> io::Result<()> {
        let allowance = &self.0.allowance;
        let left = allowance.load(Ordering::Acquire);
        if left == u64::MAX {
            return Ok(());
        }
        match left.checked_sub(bytes as u64) {
            Some(rest) => {
                // Only the reading task spends; `logged_in` may come in between and must stand.
                let _raised =
                    allowance.compare_exchange(left, rest, Ordering::AcqRel, Ordering::Acquire);
                Ok(())
            }
            None => {
                let kind = io::ErrorKind::InvalidData;
                Err(io::Error::new(kind, "too many bytes before the login"))
            }
        }
    }
}

fn park(place: &Mutex<Option<Waker>>, cx: &Context<'_>) {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    if place.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
        *place = Some(cx.waker().clone());
    }
}

impl Guarded {
    /// Guards a connection whose peer has not logged in yet.
    pub(crate) fn new(tcp: TcpStream) -> (Self, Switch) {
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%error, "nodelay");
        }
        let switch = Switch(Arc::new(Shared {
            off: AtomicBool::new(false),
            allowance: AtomicU64::new(BEFORE_LOGIN_BYTES),
            reader: Mutex::new(None),
            writer: Mutex::new(None),
        }));
        (Guarded { tcp, left: Vec::new(), taken: 0, end: 0, switch: switch.clone() }, switch)
    }

    /// Reads as much as there is, gives what fits and keeps the rest.
    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut scratch = SCRATCH.take();
        if scratch.is_empty() {
            scratch = vec![0; SCRATCH_BYTES];
        }
        let mut into = ReadBuf::new(&mut scratch);
        let read = Pin::new(&mut self.tcp).poll_read(cx, &mut into);
        let filled = into.filled().len();
        let Poll::Ready(Ok(())) = read else {
            SCRATCH.set(scratch);
            return read;
        };
        let now = filled.min(buf.remaining());
        buf.put_slice(scratch.get(..now).unwrap_or_default());
        if now < filled {
            (self.left, self.taken, self.end) = (scratch, now, filled);
        } else {
            SCRATCH.set(scratch);
        }
        Poll::Ready(self.switch.spend(filled))
    }

    /// Gives what was read before. No: there is nothing.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let left = self.left.get(self.taken..self.end).unwrap_or_default();
        if left.is_empty() {
            return false;
        }
        let now = left.get(..buf.remaining()).unwrap_or(left);
        buf.put_slice(now);
        self.taken += now.len();
        if self.taken == self.end {
            SCRATCH.set(std::mem::take(&mut self.left));
        }
        true
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.give(buf) {
            return Poll::Ready(this.switch.check());
        }
        // Parked before the check, so that a switch turned in between wakes us.
        park(&this.switch.0.reader, cx);
        this.switch.check()?;
        this.poll_fill(cx, buf)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        park(&this.switch.0.writer, cx);
        this.switch.check()?;
        Pin::new(&mut this.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Guarded, Switch, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (guarded, switch) = Guarded::new(listener.accept().await.unwrap().0);
        (guarded, switch, far)
    }

    #[tokio::test]
    async fn bytes_come_whole_in_reads_of_any_size() {
        let (mut guarded, switch, mut far) = pair().await;
        switch.logged_in();
        let sent: Vec<u8> = (0..300_000_u32).map(|i| i.to_le_bytes()[0]).collect();
        let writing = tokio::spawn({
            let sent = sent.clone();
            async move { far.write_all(&sent).await.map(|()| far) }
        });
        let mut got = Vec::new();
        for size in [1, 4, 1000, 70_000].into_iter().cycle() {
            let mut part = vec![0; size];
            let n = guarded.read(&mut part).await.unwrap();
            got.extend_from_slice(&part[..n]);
            if got.len() == sent.len() {
                break;
            }
        }
        assert!(got == sent);
        drop(writing.await.unwrap());
        assert_eq!(guarded.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(guarded.left.capacity(), 0);
    }

    #[tokio::test]
    async fn connections_of_one_thread_get_their_own_bytes() {
        let mut ends = Vec::new();
        for byte in [1_u8, 2, 3] {
            let (guarded, switch, mut far) = pair().await;
            switch.logged_in();
            tokio::spawn(async move { far.write_all(&vec![byte; 200_000]).await.map(|()| far) });
            ends.push((guarded, byte, 0));
        }
        // In turns, each with something left of what was read at once.
        while ends.iter().any(|(_, _, got)| *got < 200_000) {
            for (guarded, byte, got) in ends.iter_mut().filter(|(_, _, got)| *got < 200_000) {
                let mut part = [0; 7919];
                let n = guarded.read(&mut part).await.unwrap();
                assert!(n > 0 && part[..n].iter().all(|it| it == byte), "after {got} bytes");
                *got += n;
            }
        }
        assert!(ends.iter().all(|(guarded, ..)| guarded.left.capacity() == 0));
    }

    #[tokio::test]
    async fn a_waiting_read_and_a_waiting_write_end_with_the_switch() {
        let (guarded, switch, far) = pair().await;
        let (mut reading, mut writing) = tokio::io::split(guarded);
        let read = tokio::spawn(async move { reading.read(&mut [0; 8]).await });
        let write = tokio::spawn(async move {
            loop {
                if let Err(error) = writing.write_all(&[0; 65_536]).await {
                    return error;
                }
            }
        });
        tokio::task::yield_now().await;
        switch.off();
        assert_eq!(read.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(write.await.unwrap().kind(), io::ErrorKind::ConnectionAborted);
        drop(far);
    }

    #[tokio::test]
    async fn who_sends_too_much_before_the_login_is_cut() {
        let (mut guarded, _switch, mut far) = pair().await;
        let writing = tokio::spawn(async move {
            let _cut = far.write_all(&vec![0; 2 * 1024 * 1024]).await;
        });
        let mut got = 0;
        let error = loop {
            match guarded.read(&mut [0; 4096]).await {
                Ok(n) => got += n,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(got as u64 <= BEFORE_LOGIN_BYTES);
        drop(guarded);
        writing.await.unwrap();
    }
}
