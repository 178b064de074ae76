//! The accept loop: every connection is served, no more than allowed at once, and the end.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use config::Serve;
use config::serve::{Drained, Handler, Listening, Stop, idle, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longer than any of these tests may take.
const FOR_EVER: Duration = Duration::from_secs(600);

#[derive(Default)]
struct Seen {
    now: AtomicUsize,
    most: AtomicUsize,
}

struct Echo {
    address: SocketAddr,
    seen: Arc<Seen>,
    stop: oneshot::Sender<Duration>,
    hurry: oneshot::Sender<()>,
    end: JoinHandle<Drained>,
}

/// Echoes what comes, until the client closes or, if `polite`, until the end is wanted.
async fn echo(polite: bool, max_connections: usize) -> Echo {
    let seen = Arc::new(Seen::default());
    let counts = seen.clone();
    let handler: Handler = Arc::new(move |mut tcp: TcpStream, _, shutdown| {
        let counts = counts.clone();
        Box::pin(async move {
            let now = counts.now.fetch_add(1, Ordering::SeqCst) + 1;
            counts.most.fetch_max(now, Ordering::SeqCst);
            let relay = async {
                let mut byte = [0; 1];
                while let Ok(1) = tcp.read(&mut byte).await {
                    tcp.write_all(&byte).await.unwrap();
                }
            };
            tokio::select! {
                () = relay => {}
                () = shutdown.wanted(), if polite => {}
            }
            counts.now.fetch_sub(1, Ordering::SeqCst);
        })
    });
    let listening = Listening::bind("127.0.0.1:0".parse().unwrap(), handler).await.unwrap();
    let address = listening.address();
    let (stop, stopped) = oneshot::channel();
    let (hurry, hurried) = oneshot::channel::<()>();
    let options = Serve { shards: 2, max_connections, shutdown_timeout: FOR_EVER };
    let end = tokio::spawn(async move {
        let stop = async { Stop { patience: stopped.await.unwrap() } };
        let hurry = async { hurried.await.unwrap() };
        serve(vec![listening], options, idle(), stop, hurry).await.unwrap()
    });
    Echo { address, seen, stop, hurry, end }
}

async fn talk(stream: &mut TcpStream) -> bool {
    let mut byte = [0; 1];
    stream.write_all(b"x").await.is_ok() && matches!(stream.read(&mut byte).await, Ok(1))
}

#[tokio::test]
async fn no_more_are_served_at_once_than_allowed_and_the_rest_wait() {
    let echo = echo(true, 3).await;
    let clients = (0..20).map(|_| async {
        let mut stream = TcpStream::connect(echo.address).await.unwrap();
        assert!(talk(&mut stream).await);
    });
    futures(clients).await;
    assert!(echo.seen.most.load(Ordering::SeqCst) <= 3);
    let _hurry = echo.hurry;
    echo.stop.send(FOR_EVER).unwrap();
    assert_eq!(echo.end.await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn connections_at_rest_end_and_new_ones_are_refused() {
    let echo = echo(true, 10).await;
    let mut stream = TcpStream::connect(echo.address).await.unwrap();
    assert!(talk(&mut stream).await);
    let _hurry = echo.hurry;
    echo.stop.send(FOR_EVER).unwrap();
    assert_eq!(echo.end.await.unwrap(), Drained { cut: 0 });
    assert!(!talk(&mut stream).await);
    assert!(TcpStream::connect(echo.address).await.is_err());
}

#[tokio::test]
async fn what_does_not_end_in_time_or_at_a_second_signal_is_cut() {
    for second_signal in [false, true] {
        let echo = echo(false, 10).await;
        let mut stream = TcpStream::connect(echo.address).await.unwrap();
        assert!(talk(&mut stream).await);
        let patience = if second_signal { FOR_EVER } else { Duration::from_millis(1) };
        echo.stop.send(patience).unwrap();
        let mut hurry = Some(echo.hurry);
        if second_signal {
            hurry.take().unwrap().send(()).unwrap();
        }
        assert_eq!(echo.end.await.unwrap(), Drained { cut: 1 });
        assert!(!talk(&mut stream).await);
        drop(hurry);
    }
}

/// All of them side by side.
async fn futures<F: Future<Output = ()>>(all: impl Iterator<Item = F>) {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        all.retain_mut(|one| one.as_mut().poll(cx).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
