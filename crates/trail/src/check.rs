//! Verification of a log with everything that its entries name.

use std::collections::HashSet;

use audit_sink::store::{
    Failure, Fault, LogStore, MAX_FAILURES, Reader, Report, StoreError, VerifyOptions, verify,
    verify_blob,
};
use records::{Body, Chunk, Entry};
use tlog::{Checkpoint, Hash, TILE_WIDTH, Verifier};

/// The outcome of [`check`].
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// What was found out about the log itself.
    pub report: Report,
    /// Chunks that entries name and that were hashed.
    pub chunks: u64,
    /// What is wrong with chunks, the first [`MAX_FAILURES`]; `entry` is the one that names it.
    pub chunk_failures: Vec<Failure>,
    /// Entries that this version can't read, so that chunks they name were not looked for.
    pub unread: u64,
}

impl Checked {
    /// Whether everything is as it must be.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.report.is_ok() && self.chunk_failures.is_empty()
    }

    /// What is wrong.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.report.failures.iter().chain(&self.chunk_failures)
    }
}

/// Verifies a log from the entries up, and that every chunk that an entry names is in the store
/// with the hash and length that the entry gives.
///
/// # Errors
/// Only when the store can't be read; what is wrong with the log is in the result.
pub async fn check(
    log: &LogStore,
    key: &Verifier,
    remembered: Option<Checkpoint>,
) -> Result<Checked, StoreError> {
    let options = VerifyOptions { remembered, ..VerifyOptions::default() };
    let report = verify(log, key, &options).await?;
    let head = report.head.clone();
    let mut checked = Checked { report, ..Checked::default() };
    let Some(head) = head else { return Ok(checked) };
    let reader = match Reader::at(log, head.clone()).await {
        Ok(reader) => reader,
        Err(error @ StoreError::Object { .. }) => return Err(error),
        // The tiles at the edge are wrong: the report says so already, or says it now.
        Err(error) => {
            if checked.report.is_ok() {
                let fault = Fault::Malformed(error.to_string());
                checked.chunk_failures.push(Failure { object: log.name(""), entry: None, fault });
            }
            checked.unread = head.size;
            return Ok(checked);
        }
    };
    let mut seen = HashSet::new();
    let mut from = 0;
    // Bundle by bundle, so that a broken one (which the report names) hides no other's chunks.
    while from < head.size {
        let to = head.size.min(from + TILE_WIDTH);
        let mut entries = reader.clone().range(from, to);
        loop {
            match entries.next().await {
                Ok(Some((index, bytes))) => {
                    chunks_of(log, index, &bytes, &mut seen, &mut checked).await?;
                }
                Ok(None) => break,
                Err(error @ StoreError::Object { .. }) => return Err(error),
                Err(_) => {
                    checked.unread += to - from;
                    break;
                }
            }
        }
        from = to;
    }
    Ok(checked)
}

async fn chunks_of(
    log: &LogStore,
    index: u64,
    bytes: &[u8],
    seen: &mut HashSet<Hash>,
    checked: &mut Checked,
) -> Result<(), StoreError> {
    let Ok(entry) = Entry::from_json(bytes) else {
        checked.unread += 1;
        return Ok(());
    };
    let (first, second): (&[Chunk<'_>], &[Chunk<'_>]) = match &entry.body {
        Body::Command(command) => (&command.text_chunks, &command.parameter_chunks),
        Body::Output(output) => (&output.chunks, &output.input_chunks),
        Body::Response(response) => (&response.chunks, &response.input_chunks),
        _ => return Ok(()),
    };
    for chunk in first.iter().chain(second) {
        let failure = match Hash::from_hex(&chunk.sha256) {
            Some(hash) if !seen.insert(hash) => continue,
            Some(hash) => {
                checked.chunks += 1;
                verify_blob(log.store(), &hash, chunk.bytes).await?
            }
            None => {
                let fault = Fault::Malformed("a chunk's name is no SHA-256".into());
                Some(Failure { object: "blobs/".into(), entry: None, fault })
            }
        };
        if let Some(mut failure) = failure
            && checked.chunk_failures.len() < MAX_FAILURES
        {
            failure.entry = Some(index);
            checked.chunk_failures.push(failure);
        }
    }
    Ok(())
}
