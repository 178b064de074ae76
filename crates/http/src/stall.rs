//! Clients that must go on: reading what is written, taking what a stream of HTTP/2 has for them,
//! asking for something on a connection.

use std::cell::Cell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task_local;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// How long a client may read nothing of what is there for it, unless what waits is an answer that
/// comes slowly itself.
pub const WRITE_STALL: Duration = Duration::from_secs(60);
/// How long a connection on which there was a request may be without one, unless configured. One
/// of HTTP/1.1 may be for no longer than a head may take.
pub const CONNECTION_IDLE: Duration = Duration::from_secs(5 * 60);

/// Gives up when bytes can't be written for so long.
pub(crate) struct Patient<T> {
    io: T,
    patience: Duration,
    /// Since when nothing could be written; none while it can.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<T> Patient<T> {
    pub(crate) fn new(io: T, patience: Duration) -> Self {
        Patient { io, patience, waiting: None }
    }

    fn checked<R>(
        &mut self,
        cx: &mut Context<'_>,
        done: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if done.is_ready() {
            self.waiting = None;
            return done;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        match waiting.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.checked(cx, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.checked(cx, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.io).poll_flush(cx);
        self.checked(cx, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.io).poll_shutdown(cx);
        self.checked(cx, done)
    }
}

/// Whether the client of one stream of HTTP/2 takes what there is for it. Its window is for it to
/// open, and the library asks for no more while it is shut, so nobody else would notice.
#[derive(Debug, Default)]
pub(crate) struct Taking {
    /// Since when there is a piece that it did not take.
    since: Cell<Option<Instant>>,
    /// It took too long.
    over: Cell<bool>,
}

task_local! {
    static TAKING: Rc<Taking>;
}

impl Taking {
    /// That of the stream that is being served; none: it is not HTTP/2.
    pub(crate) fn here() -> Option<Rc<Taking>> {
        TAKING.try_with(Rc::clone).ok()
    }

    /// A piece is handed over.
    pub(crate) fn handed(&self) {
        self.since.set(Some(Instant::now()));
    }

    /// The next is asked for: what was before it is taken.
    pub(crate) fn asked(&self) {
        self.since.set(None);
    }

    /// Whether the client had its time.
    pub(crate) fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Waits until nothing was taken for this long.
    async fn stalled(&self, patience: Duration) {
        loop {
            let since = self.since.get();
            sleep_until(since.unwrap_or_else(Instant::now) + patience).await;
            // A thread that had no processor for so long first sees to what came meanwhile.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            if self.since.get().is_some_and(|it| it.elapsed() >= patience) {
                return self.over.set(true);
            }
        }
    }
}

/// Runs what a connection of HTTP/2 starts, on the thread that serves it, and gives up a stream
/// whose client takes nothing for so long: the stream is reset, the connection goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streams(pub(crate) Duration);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        let (patience, taking) = (self.0, Rc::new(Taking::default()));
        tokio::task::spawn_local(async move {
            tokio::select! {
                biased;
                _ = TAKING.scope(taking.clone(), future) => {}
                () = taking.stalled(patience) => {}
            }
        });
    }
}

/// What there is to do on a connection.
#[derive(Debug)]
pub(crate) struct Activity {
    /// Requests that are not answered to their end.
    busy: Cell<usize>,
    /// Whether there was one at all.
    began: Cell<bool>,
    /// Since when there is none.
    since: Cell<Instant>,
}

/// A request that is not answered to its end.
#[derive(Debug)]
pub(crate) struct Busy(Rc<Activity>);

impl Activity {
    pub(crate) fn new() -> Rc<Activity> {
        let since = Cell::new(Instant::now());
        Rc::new(Activity { busy: Cell::default(), began: Cell::default(), since })
    }

    pub(crate) fn busy(self: &Rc<Self>) -> Busy {
        self.began.set(true);
        self.busy.set(self.busy.get() + 1);
        Busy(self.clone())
    }

    /// Whether there was a request, and whether there is one.
    pub(crate) fn state(&self) -> (bool, bool) {
        (self.began.get(), self.busy.get() > 0)
    }

    /// Waits until there was no request for too long: so long for the first, and for the next.
    pub(crate) async fn idle(&self, first: Duration, next: Duration) {
        loop {
            let most = if self.began.get() { next } else { first };
            let since = if self.busy.get() > 0 { Instant::now() } else { self.since.get() };
            if since.elapsed() >= most {
                return;
            }
            sleep_until(since + most).await;
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get().saturating_sub(1));
        self.0.since.set(Instant::now());
    }
}
