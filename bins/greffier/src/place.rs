//! Where a log is, and the key that it is checked with.

use std::fs::File;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use audit_sink::store::{LogStore, Store};
use clap::Args;
use tlog::Verifier;
use trail::term::Style;

use crate::error::Error;

/// The longest file read for a key or a checkpoint, in bytes.
const MAX_SMALL_FILE: u64 = 64 * 1024;

/// Where a log is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The store: a folder, or s3://bucket/prefix (with the usual AWS_* variables).
    #[arg(long, value_name = "URL", env = "GREFFIER_STORE")]
    store: String,

    /// The log's name in the store (audit.log_id of the proxy's configuration).
    #[arg(long, value_name = "ID", env = "GREFFIER_LOG_ID")]
    log_id: String,

    /// The log's public key, name+id+base64, or a file that holds it. Get it from whoever made
    /// the log's key, not from the store.
    #[arg(long, value_name = "VKEY|FILE", env = "GREFFIER_KEY")]
    key: String,

    /// The name that the key must have: the log's origin.
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
}

impl Place {
    /// Opens the log; nothing is read yet.
    pub(crate) fn open(&self) -> Result<(LogStore, Verifier), Error> {
        let (log, key) = open(&self.store, &self.log_id, &self.key)?;
        if let Some(origin) = &self.origin
            && origin != key.name()
        {
            let message = format!("the key is for the log {}, not for {origin}", key.name());
            return Err(Error::Argument(message));
        }
        Ok((log, key))
    }

    /// The log's name in the store.
    pub(crate) fn log_id(&self) -> &str {
        &self.log_id
    }
}

/// Opens a log, and the key that it is checked with; nothing of the log is read yet.
pub(crate) fn open(store: &str, log_id: &str, key: &str) -> Result<(LogStore, Verifier), Error> {
    let key = self::key(key)?;
    // Opening a folder for a writer makes it; a reader must not.
    let path = store.strip_prefix("file://").unwrap_or(store);
    if !store.starts_with("s3://") && !Path::new(path).is_dir() {
        return Err(Error::Argument(format!("--store {path}: there is no such folder")));
    }
    Ok((Store::open(store)?.log(log_id)?, key))
}

fn key(text: &str) -> Result<Verifier, Error> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let read = small_file(Path::new(text))?;
    read.trim().parse().map_err(|e| Error::Argument(format!("--key {text}: {e}")))
}

/// Reads a file that must be short.
pub(crate) fn small_file(path: &Path) -> Result<String, Error> {
    let failed = |e: String| Error::Argument(format!("{}: {e}", path.display()));
    let mut text = String::new();
    let file = File::open(path).map_err(|e| failed(e.to_string()))?;
    let read = file.take(MAX_SMALL_FILE + 1).read_to_string(&mut text);
    if read.map_err(|e| failed(e.to_string()))? as u64 > MAX_SMALL_FILE {
        return Err(failed(format!("longer than {MAX_SMALL_FILE} bytes")));
    }
    Ok(text)
}

/// Runs one task to its end.
pub(crate) fn block_on<T>(task: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Start)?;
    runtime.block_on(task)
}

/// Colours for standard output.
pub(crate) fn style() -> Style {
    Style::new(std::io::stdout().is_terminal())
}
