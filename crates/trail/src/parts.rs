//! The answer of one command, part by part, so that an answer of any length is read in the memory
//! of one part.

use audit_sink::store::{Entries, LogStore, Reader};
use records::{Body, Chunk, Data, Entry};
use tlog::Verifier;

use crate::ReadError;
use crate::item::{Exchange, Part};
use crate::join;

/// What is recorded of a command's answer, in order.
pub struct Parts {
    /// None: there is nothing (more) to read.
    entries: Option<Entries>,
    session: String,
    command: u64,
    /// The parts that the last entry names, in reverse.
    last: Vec<Part>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("command", &self.command).finish_non_exhaustive()
    }
}

impl Parts {
    /// Of an exchange of this log, with or without an outcome. Each entry is proved as in
    /// [`crate::read`].
    ///
    /// # Errors
    /// [`ReadError::Store`].
    pub async fn open(
        log: &LogStore,
        key: &Verifier,
        exchange: &Exchange,
    ) -> Result<Parts, ReadError> {
        let reader = Reader::open(log, key).await?;
        Ok(Parts {
            entries: reader.map(|reader| reader.range(exchange.index, u64::MAX)),
            session: exchange.session.clone(),
            command: exchange.command,
            last: Vec::new(),
        })
    }

    /// The next part; none at the outcome, or where the session or the log ends without one.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    pub async fn next(&mut self) -> Result<Option<Part>, ReadError> {
        if let Some(part) = self.last.pop() {
            return Ok(Some(part));
        }
        while let Some(entries) = &mut self.entries {
            let Some((_, bytes)) = entries.next().await? else { break };
            let Ok(Entry { session, body, .. }) = Entry::from_json(&bytes) else { continue };
            if session != self.session.as_str() {
                continue;
            }
            match body {
                Body::Output(output) if output.command == self.command => {
                    self.named(output.data.as_ref(), &output.chunks);
                    if let Some(part) = self.last.pop() {
                        return Ok(Some(part));
                    }
                }
                Body::Response(response) if response.command == self.command => {
                    self.named(response.data.as_ref(), &response.chunks);
                    self.entries = None;
                    return Ok(self.last.pop());
                }
                Body::SessionEnd(_) => break,
                _ => {}
            }
        }
        self.entries = None;
        Ok(None)
    }

    fn named(&mut self, data: Option<&Data<'_>>, chunks: &[Chunk<'_>]) {
        self.last = chunks.iter().map(join::chunk).collect();
        self.last.extend(data.and_then(join::inline));
        self.last.reverse();
    }
}
