//! A command in a pod, by a WebSocket as kubectl opens it: `v5.channel.k8s.io`, in which the first
//! byte of each message names the stream that the rest belongs to.

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, BufReader};

use crate::client::Door;

const PROTOCOL: &str = "v5.channel.k8s.io";
/// Numbers of streams.
const OUTPUT: u8 = 1;
const STATUS: u8 = 3;
/// What is read at once, in bytes.
const BUFFER: usize = 64 * 1024;
/// The longest status that is read, in bytes.
const MAX_STATUS: u64 = 64 * 1024;
/// Kinds of frames (RFC 6455, 5.2).
const CONTINUED: u8 = 0;
const CLOSE: u8 = 8;

/// Runs a command in the pod `web` to its end, and counts what it prints. An error if it fails.
pub(crate) async fn run(door: &Door, command: &[&str]) -> Result<u64, String> {
    let words: String = command.iter().map(|word| format!("&command={word}")).collect();
    let path = format!(
        "/api/v1/namespaces/default/pods/web/exec?container=web&stdout=true&stderr=true{words}"
    );
    let upgraded = door.websocket(&path, PROTOCOL).await?;
    let mut read = Reading {
        from: BufReader::with_capacity(BUFFER, TokioIo::new(upgraded)),
        stream: 0,
        printed: 0,
        status: Vec::new(),
    };
    while read.message().await.map_err(|e| format!("reading what a command prints: {e}"))? {}
    let status = String::from_utf8_lossy(&read.status);
    match status.contains("\"status\":\"Success\"") {
        true => Ok(read.printed),
        false => Err(format!("a command failed: {status:?}")),
    }
}

struct Reading<R> {
    from: R,
    /// Which the message that is read belongs to.
    stream: u8,
    printed: u64,
    status: Vec<u8>,
}

impl<R: tokio::io::AsyncRead + Unpin> Reading<R> {
    /// Reads a frame; false: it was the last.
    async fn message(&mut self) -> std::io::Result<bool> {
        let first = self.from.read_u8().await?;
        // What a server sends is not masked.
        let mut left = match self.from.read_u8().await? {
            126 => u64::from(self.from.read_u16().await?),
            127 => self.from.read_u64().await?,
            short => u64::from(short),
        };
        if first & 0x0f >= CLOSE {
            self.pass(left).await?;
            return Ok(first & 0x0f != CLOSE);
        }
        if left == 0 {
            return Ok(true);
        }
        if first & 0x0f != CONTINUED {
            self.stream = self.from.read_u8().await?;
            left -= 1;
        }
        if self.stream == OUTPUT {
            self.printed += left;
        }
        if self.stream == STATUS {
            (&mut self.from).take(left.min(MAX_STATUS)).read_to_end(&mut self.status).await?;
            return Ok(true);
        }
        self.pass(left).await?;
        Ok(true)
    }

    async fn pass(&mut self, bytes: u64) -> std::io::Result<()> {
        tokio::io::copy(&mut (&mut self.from).take(bytes), &mut tokio::io::sink()).await.map(drop)
    }
}
