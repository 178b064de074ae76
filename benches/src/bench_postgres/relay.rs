//! The floor for any proxy: a relay that looks at nothing.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Bytes read at once, each way.
const BUFFER: usize = 64 * 1024;

/// Relays until the process that started us ends. Prints its port first.
pub(crate) fn serve(upstream: u16) -> Result<(), String> {
    let fail = |e: io::Error| format!("the relay: {e}");
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|e| fail(e.into()))?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fail)?;
    tokio::task::LocalSet::new().block_on(&runtime, accept(upstream)).map_err(fail)
}

async fn accept(upstream: u16) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("port {}", listener.local_addr()?.port());
    loop {
        let (client, _) = listener.accept().await?;
        tokio::task::spawn_local(async move {
            // An end that a peer made is nothing to report.
            let _end = relay(client, upstream).await;
        });
    }
}

async fn relay(client: TcpStream, upstream: u16) -> io::Result<()> {
    client.set_nodelay(true)?;
    let server = TcpStream::connect(("127.0.0.1", upstream)).await?;
    server.set_nodelay(true)?;
    let (mut client, mut server) = (client, server);
    let (mut there, mut back) = (Way::new(), Way::new());
    // One task for both ways; either end closing ends both, as a database session does.
    poll_fn(|cx| {
        if there.poll(cx, &mut client, &mut server)?.is_ready() {
            return Poll::Ready(Ok(()));
        }
        back.poll(cx, &mut server, &mut client)
    })
    .await
}

struct Way {
    buffer: Vec<u8>,
    from: usize,
    to: usize,
}

impl Way {
    fn new() -> Self {
        Way { buffer: vec![0; BUFFER], from: 0, to: 0 }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut TcpStream,
        sink: &mut TcpStream,
    ) -> Poll<io::Result<()>> {
        loop {
            while let Some(rest) = self.buffer.get(self.from..self.to).filter(|r| !r.is_empty()) {
                self.from += ready!(Pin::new(&mut *sink).poll_write(cx, rest))?;
            }
            let mut buffer = ReadBuf::new(&mut self.buffer);
            ready!(Pin::new(&mut *source).poll_read(cx, &mut buffer))?;
            (self.from, self.to) = (0, buffer.filled().len());
            if self.to == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
