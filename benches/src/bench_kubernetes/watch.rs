//! Many watches, each of one object by its name, and what each sees of changes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::Incoming;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::client::{Client, Door, JSON};
use crate::ground::{Ground, NAMESPACE};
use crate::peer::Peer;

/// Streams of HTTP/2 on a connection: what the API server allows.
const STREAMS: usize = 100;
/// Watches that are opened at once.
const AT_ONCE: usize = 50;
/// How long a watch may take to show the object as it is, and a change may be on its way.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections on which changes are written.
const WRITERS: usize = 4;
/// What stands before a change's number in its object.
const MARK: &[u8] = b"\"seq-";

/// The number of the next change: none comes twice in a run.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Open watches. Closed when dropped.
pub(crate) struct Watches {
    tasks: Vec<JoinHandle<()>>,
    seen: UnboundedReceiver<(Option<usize>, Instant)>,
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Watches {
    /// Opens them, over as few connections as may be, each of one person, and waits until each
    /// has shown its object.
    pub(crate) async fn open(peer: &Peer, ground: &Ground, count: usize) -> Result<Self, String> {
        let (told, seen) = unbounded_channel();
        let mut watches = Watches { tasks: Vec::new(), seen };
        for first in (0..count).step_by(STREAMS) {
            let client = peer.door(ground, first / STREAMS)?.connect().await?;
            let (client, told) = (&client, &told);
            let begin = |at| async move { begin(client.another().await?, at, told.clone()).await };
            let begun = stream::iter(first..count.min(first + STREAMS)).map(begin);
            let begun: Result<Vec<_>, String> = begun.buffer_unordered(AT_ONCE).try_collect().await;
            watches.tasks.extend(begun?);
        }
        for at in 0..count {
            let shown = timeout(PATIENCE, watches.seen.recv()).await;
            if !matches!(shown, Ok(Some(_))) {
                return Err(format!("{at} of {count} watches have shown their object"));
            }
        }
        Ok(watches)
    }

    /// The waits in milliseconds, sorted, between the sending of each change and its arrival.
    pub(crate) async fn waits(&mut self, written: Written) -> Result<Vec<f64>, String> {
        let mut waits = Vec::new();
        for at in 0..written.sent.len() {
            let seen = loop {
                match timeout(PATIENCE, self.seen.recv()).await {
                    Ok(Some((Some(number), seen))) => {
                        if let Some(number) = number.checked_sub(written.first) {
                            break (number, seen);
                        }
                    }
                    Ok(Some((None, _))) => {}
                    _ => return Err(format!("{at} of {} changes came", written.sent.len())),
                }
            };
            let sent = written.sent.get(seen.0).ok_or("a change came that nobody made")?;
            waits.push(seen.1.duration_since(*sent).as_secs_f64() * 1e3);
        }
        waits.sort_by(f64::total_cmp);
        Ok(waits)
    }
}

async fn begin(
    mut client: Client,
    at: usize,
    told: UnboundedSender<(Option<usize>, Instant)>,
) -> Result<JoinHandle<()>, String> {
    let path = format!(
        "/api/v1/namespaces/{NAMESPACE}/configmaps?watch=true&allowWatchBookmarks=true\
         &fieldSelector=metadata.name%3Dconfig-{at}"
    );
    let response = client.send((Method::GET, &path), JSON, None).await?;
    Ok(tokio::spawn(async move {
        // Its end is seen in what does not arrive.
        let _end = follow(response.into_body(), &told).await;
        drop(client);
    }))
}

/// Tells of each event as it comes: its change's number, and when it was there.
async fn follow(
    mut body: Incoming,
    told: &UnboundedSender<(Option<usize>, Instant)>,
) -> Result<(), hyper::Error> {
    let mut line = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        let Some(data) = frame.data_ref() else { continue };
        let now = Instant::now();
        line.extend_from_slice(data);
        while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            let event: Vec<u8> = line.drain(..=end).collect();
            // Who is not there any more needs no events.
            let _gone = told.send((number(&event), now));
        }
    }
    Ok(())
}

fn number(event: &[u8]) -> Option<usize> {
    let at = event.windows(MARK.len()).position(|it| it == MARK)?;
    let rest = event.get(at + MARK.len()..)?;
    let digits = rest.split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// What was written: the first number, and when each was sent.
pub(crate) struct Written {
    first: usize,
    sent: Vec<Instant>,
}

/// Connections for changes.
pub(crate) struct Writers(Vec<Client>);

impl Writers {
    pub(crate) async fn connect(door: &Door) -> Result<Self, String> {
        let mut clients = Vec::new();
        for _ in 0..WRITERS {
            clients.push(door.connect().await?);
        }
        Ok(Writers(clients))
    }

    /// Changes one object after the other, so many a second, whatever becomes of the one before.
    pub(crate) async fn write(
        &self,
        objects: usize,
        rate: u32,
        count: usize,
    ) -> Result<Written, String> {
        let first = NEXT.fetch_add(count, Ordering::Relaxed);
        let begun = Instant::now();
        let mut tasks = Vec::new();
        for (at, client) in (0..count).zip(self.0.iter().cycle()) {
            sleep_until(begun + Duration::from_secs_f64(at as f64 / f64::from(rate))).await;
            let mut client = client.another().await?;
            let number = first + at;
            let path =
                format!("/api/v1/namespaces/{NAMESPACE}/configmaps/config-{}", number % objects);
            tasks.push(tokio::spawn(async move {
                let sent = Instant::now();
                let patch = format!("{{\"data\":{{\"number\":\"seq-{number}\"}}}}");
                client.patch(&path, patch).await.map(|()| sent)
            }));
        }
        let mut sent = Vec::new();
        for task in tasks {
            sent.push(task.await.map_err(|e| e.to_string())??);
        }
        Ok(Written { first, sent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changes_number_is_read() {
        assert_eq!(number(br#"{"data":{"number":"seq-17"}}"#), Some(17));
        assert_eq!(number(br#"{"data":{"number":"none"}}"#), None);
    }
}
