//! One request to its target: the connection that it takes, and how long it is waited for.

use std::fmt::Display;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until, timeout};

use crate::body::{RequestBody, read_whole};
use crate::pool::{self, Connected, Sender};
use crate::problem::Told;
use crate::running::{Shared, Upload};
use crate::target::Target;

/// Sends a request on a connection at rest or a new one. A connection that was closed meanwhile
/// did not take it, and another is tried.
pub(crate) async fn send(
    target: &Target,
    key: pool::Key,
    mut request: Request<RequestBody>,
    running: &Shared,
    whole: bool,
) -> Result<(Response<Incoming>, Connected), Told> {
    loop {
        let mut connected = connection(target, key, running, whole).await?;
        let sending = pool::send(&mut connected, &target.upstream, request);
        match patiently(sending, target.answer_timeout, running).await {
            Some(Ok(response)) => return Ok((response, connected)),
            Some(Err((_, Some(unsent)))) if connected.used => request = unsent,
            Some(Err((error, _))) => {
                tracing::debug!(target = &*target.gate.name, %error, "a request failed");
                return Err(Told::TargetBroke);
            }
            None if running.borrow().upload == Upload::Slow => return Err(Told::Slow),
            None => return Err(Told::TargetSlow),
        }
    }
}

/// Asks a target something of our own, which is no command of anybody's: its answer, of at most so
/// many bytes.
pub(crate) async fn ask(
    target: &Target,
    key: pool::Key,
    mut request: Request<RequestBody>,
    most: usize,
) -> Result<Vec<u8>, Told> {
    let asking = async {
        loop {
            let mut connected = of_pool(target, key, false).await?;
            match pool::send(&mut connected, &target.upstream, request).await {
                Ok(response) => {
                    let answer = read_whole(&mut Some(response.into_body()), most).await;
                    let answer = answer.map_err(|_| Told::TargetBroke)?;
                    pool::give_back(key, target.idle_connections(), connected.sender);
                    return Ok(answer);
                }
                Err((_, Some(unsent))) if connected.used => request = unsent,
                Err(_) => return Err(Told::TargetBroke),
            }
        }
    };
    timeout(target.answer_timeout, asking).await.map_err(|_| Told::TargetSlow)?
}

/// A connection for one request: to a program, one that is its session's.
async fn connection(
    target: &Target,
    key: pool::Key,
    running: &Shared,
    whole: bool,
) -> Result<Connected, Told> {
    if let Some(program) = target.mcp.as_ref().and_then(|mcp| mcp.program.as_ref()) {
        let session = running.borrow().exchange.session().clone();
        let sender = program.connect(session).await.map_err(|it| unreachable(target, &it))?;
        return Ok(Connected { sender: Sender::One(sender), used: false });
    }
    of_pool(target, key, whole).await
}

/// A connection at rest, or a new one.
async fn of_pool(target: &Target, key: pool::Key, whole: bool) -> Result<Connected, Told> {
    match pool::take(key, whole).await {
        Some(connected) => Ok(connected),
        None => {
            let connecting = pool::connect(key, &target.upstream, whole);
            connecting.await.map_err(|error| unreachable(target, &error))
        }
    }
}

fn unreachable(target: &Target, error: &dyn Display) -> Told {
    tracing::debug!(target = &*target.gate.name, %error, "a target can't be reached");
    Told::Unreachable
}

/// Waits for an answer's beginning as long as the target takes the request's body, and then for
/// this long. None: it takes too long.
async fn patiently<F: Future>(sending: F, most: Duration, running: &Shared) -> Option<F::Output> {
    let mut sending = pin!(sending);
    let mut since = Instant::now();
    loop {
        tokio::select! {
            sent = sending.as_mut() => return Some(sent),
            () = sleep_until(since + most) => match running.borrow().moved {
                Some(moved) if moved > since => since = moved,
                _ => return None,
            },
        }
    }
}
