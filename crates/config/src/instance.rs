//! A running instance: its log, its store, its gate; and the orderly end.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audit_sink::store::{
    ChunkConfig, ChunkDir, Publisher, PublisherConfig, PublisherStatus, Store, StoreError,
};
use audit_sink::{Log, LogConfig, OpenError, WaitError};
use gate::local::LocalJournal;
use gate::{Gate, JournalError};
use records::{Body, ConfigLoaded};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::loaded::Loaded;
use crate::serve::Beside;

/// How often it is looked whether the chunk folder still works: its failure wakes nobody.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// How long a start waits for the store to take anything of a full log.
const ROOM_LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked for room then.
const ROOM_INTERVAL: Duration = Duration::from_millis(100);

/// Why an instance could not start. Nothing may be served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log can't be opened (the disk, or another process that has it).
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The store can't be used (the network, or what is in it).
    #[error("the audit store: {0}")]
    Store(#[from] StoreError),
    /// The folder for chunks can't be used (the disk).
    #[error("the folder for chunks: {0}")]
    Chunks(std::io::Error),
    /// The first entries can't be recorded.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Why the log could not be sealed. What was durable stays so; the next start publishes it.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The last entry can't be recorded.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The store did not take everything in time; the next start goes on from there.
    #[error("the audit store did not take everything in {0:?}; the next start will go on")]
    TimedOut(Duration),
    /// Publishing has stopped for good.
    #[error("the audit store: {0}")]
    Store(Arc<StoreError>),
    /// The log can't be closed.
    #[error(transparent)]
    Log(#[from] WaitError),
}

/// Everything behind the listeners, running. Needs its tokio runtime to live as long.
pub struct Instance {
    /// The log.
    pub log: Log,
    /// What takes it to the store.
    pub publisher: Arc<Publisher>,
    /// What is too large for entries, on its way.
    pub chunks: ChunkDir,
    /// The one way through.
    pub gate: Gate,
    /// Who may come in. Its keys are kept fresh in the background while the instance lives, so
    /// that a withdrawn key ends its sessions also when nobody logs in.
    pub verifier: identity::Verifier,
    /// Keeps them; ends when dropped.
    fresh: JoinSet<()>,
    program: String,
    host: String,
}

impl Instance {
    /// Opens the log (made if there is none, which takes a second for each 500 MiB or so), claims
    /// it in the store, starts to publish, and records `log_opened` and `config_loaded`.
    /// `program` is the name and version for the record. Blocks the thread while the ring is
    /// read: call it before anything is served.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(loaded: &Loaded, program: &str) -> Result<Self, StartError> {
        let audit = &loaded.audit;
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let store = Store::open(&audit.store)?.log(&audit.log_id)?;
        let newest = store.newest_checkpoint(audit.signer.verifier()).await?;
        let mut config = LogConfig::new(audit.dir.join("ring"), audit.log_id.as_str());
        config.segments = audit.segments;
        config.segment_bytes = audit.segment_bytes;
        // The store knows how long the log was: a ring that was cut or put back is refused.
        config.remembered_size = newest.map_or(0, |head| head.size);
        let (log, found) = Log::open(config, audit.signer.clone())?;
        if !found.clean && found.size > 0 {
            tracing::warn!(
                entries = found.size,
                torn = found.torn,
                "the log was not closed in order; every acknowledged entry was recovered"
            );
        }
        let head = (found.size, found.root);
        let writer = format!("{program} on {host}, pid {}", std::process::id());
        let epoch = store.claim_epoch(&audit.signer, head, &printable(&writer)).await?;
        let chunks = ChunkDir::open(&audit.dir.join("chunks"), ChunkConfig::default())
            .map_err(StartError::Chunks)?;
        let mut publishing = PublisherConfig::new(head);
        publishing.epoch = Some(epoch.number);
        publishing.chunks = Some(chunks.clone());
        publishing.max_age = audit.publish_every;
        let source = Arc::new(log.clone());
        let publisher = Publisher::start(store, source, audit.signer.clone(), publishing).await?;
        let publisher = Arc::new(publisher);
        let journal = LocalJournal::new(log.clone(), publisher.clone(), chunks.clone());
        let verifier = loaded.verifier.clone();
        let gate = Gate::new(Arc::new(verifier.clone()), loaded.policy.clone(), Arc::new(journal));
        let program = program.to_owned();
        let fresh = JoinSet::new();
        let mut instance =
            Instance { log, publisher, chunks, gate, verifier, fresh, program, host };
        instance.record_start(loaded).await?;
        let verifier = instance.verifier.clone();
        instance.fresh.spawn(async move { verifier.keep_fresh().await });
        let status = instance.publisher.watch();
        instance.fresh.spawn(tell_of_store(status));
        Ok(instance)
    }

    async fn record_start(&self, loaded: &Loaded) -> Result<(), JournalError> {
        self.record_first(Body::LogOpened(self.described())).await?;
        let config = ConfigLoaded {
            sha256: loaded.sha256.as_str().into(),
            policy: loaded.policy.digest().into(),
            masking: hex::encode(loaded.masking.digest()).into(),
            targets: loaded.targets.names().into_iter().map(Cow::Borrowed).collect(),
        };
        self.record_first(Body::ConfigLoaded(config)).await
    }

    /// Records, once there is room: a ring that was full when the process was killed is full
    /// until its store has taken some of it.
    async fn record_first(&self, body: Body<'_>) -> Result<(), JournalError> {
        let mut status = self.publisher.watch();
        let (mut published, mut since) = (status.borrow().published, None);
        loop {
            match self.gate.record(body.clone()).await {
                Err(JournalError::Full) => {}
                done => return done.map(drop),
            }
            if since.is_none() {
                tracing::warn!("the log is full: its store takes what was recorded before first");
            }
            let now = status.borrow_and_update().clone();
            let full_since = since.get_or_insert_with(Instant::now);
            if std::mem::replace(&mut published, now.published) < now.published {
                *full_since = Instant::now();
            } else if full_since.elapsed() > ROOM_LIMIT || now.fatal.is_some() {
                return Err(JournalError::Full);
            }
            // Room is made a moment after it is published.
            let _looks_again = tokio::time::timeout(ROOM_INTERVAL, status.changed()).await;
        }
    }

    fn described(&self) -> records::Instance<'_> {
        records::Instance {
            program: self.program.as_str().into(),
            host: self.host.as_str().into(),
            pid: std::process::id(),
            epoch: self.log.epoch(),
        }
    }

    /// The log's public key as text (C2SP vkey): what `verify` is given.
    #[must_use]
    pub fn vkey(&self) -> String {
        self.log.verifier().to_string()
    }

    /// What a shard of [`serve`](crate::serve::serve) is to do beside its connections: it flushes
    /// what they record.
    #[must_use]
    pub fn beside(&self) -> Beside {
        let log = self.log.clone();
        Arc::new(move || {
            let lead = log.lead();
            Box::pin(async move { match lead.await {} })
        })
    }

    /// Ready when nothing can be recorded any more, with the reason. The process should end:
    /// it refuses everything.
    pub async fn failed(&self) -> String {
        // No log gets this long: the wait ends when the log does.
        let log = self.log.wait_durable(u64::MAX - 1);
        let store = async {
            let mut status = self.publisher.watch();
            let fatal = status.wait_for(|status| status.fatal.is_some()).await;
            fatal.ok().and_then(|status| status.fatal.clone())
        };
        let chunks = async {
            while !self.chunks.has_failed() {
                tokio::time::sleep(HEALTH_INTERVAL).await;
            }
        };
        tokio::select! {
            end = log => match end {
                Err(error) => error.to_string(),
                Ok(()) => "the log is too long".to_owned(),
            },
            fatal = store => match fatal {
                Some(error) => format!("publishing has stopped: {error}"),
                None => "publishing has stopped".to_owned(),
            },
            () = chunks => "a chunk can't be written".to_owned(),
        }
    }

    /// The orderly end, after the last session: records `log_sealed`, publishes everything (for
    /// at most `limit`), and closes the log.
    ///
    /// # Errors
    /// [`SealError`]; nothing that was durable is lost by it.
    pub async fn seal(self, limit: Duration) -> Result<(), SealError> {
        let recorded = self.gate.record(Body::LogSealed(self.described())).await;
        let published = match recorded {
            Ok(_) => match tokio::time::timeout(limit, self.publisher.seal()).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(SealError::Store(error)),
                Err(_) => Err(SealError::TimedOut(limit)),
            },
            Err(error) => Err(error.into()),
        };
        self.chunks.close();
        let closed = self.log.close();
        published?;
        Ok(closed?)
    }
}

/// Tells the operator when the store takes nothing, and when it does again: until the ring is
/// full, nobody else notices.
async fn tell_of_store(mut status: watch::Receiver<PublisherStatus>) {
    let mut told: Option<String> = None;
    loop {
        let now = status.borrow_and_update().clone();
        match now.last_error {
            Some(error) if told.as_ref() != Some(&error) => {
                tracing::warn!(
                    error,
                    published = now.published,
                    "the store does not take what is recorded; the ring keeps it until it is full"
                );
                told = Some(error);
            }
            None if told.take().is_some() => {
                tracing::info!(published = now.published, "the store takes what is recorded again");
            }
            _ => {}
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("log", &self.log).finish_non_exhaustive()
    }
}

/// One line of it, for the epoch claim: the host's name is not ours to choose.
fn printable(text: &str) -> String {
    let plain = |c: char| if c.is_control() { '?' } else { c };
    text.chars().map(plain).take(MAX_WRITER_CHARS).collect()
}

/// Four bytes a character at most keep it under `audit_sink::store::MAX_WRITER_BYTES`.
const MAX_WRITER_CHARS: usize = audit_sink::store::MAX_WRITER_BYTES / 4;
