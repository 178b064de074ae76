//! The publisher's task.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tlog::{Checkpoint, CheckpointError, Hash, Signer, TILE_WIDTH};
use tokio::sync::watch;
use tokio::time::Instant;

use super::batch::{Edge, MAX_STEP_ENTRIES, root_at};
use super::{Control, PublisherConfig, PublisherStatus};
use crate::store::chunks::{ChunkDir, ChunkRef};
use crate::store::client::{LogStore, Store};
use crate::store::error::StoreError;
use crate::store::head::{LATEST, checkpoint_name};
use crate::store::source::Source;

/// Objects written at the same time within one stage.
const PARALLEL_PUTS: usize = 8;
/// Chunks uploaded at the same time: each is up to 1 MiB in memory.
const PARALLEL_CHUNKS: usize = 4;
/// How often the ring is asked for its size; also bounded by a quarter of `max_age`.
const POLL: Duration = Duration::from_millis(25);
/// Above this many bytes, chunks are uploaded though no entry is waiting, so that one response
/// larger than the local folder may hold can go on.
const EAGER_CHUNK_BYTES: u64 = 64 << 20;

/// Chunks that are remembered to be in a folder, by their hashes; then all are forgotten.
const MAX_REMEMBERED: usize = 16_384;

pub(super) struct Worker {
    log: LogStore,
    source: Arc<dyn Source>,
    signer: Signer,
    config: PublisherConfig,
    control: Arc<Control>,
    status: watch::Sender<PublisherStatus>,
    edge: Edge,
    /// Chunks that this task has put into a folder, or compared with what is there: who asks for
    /// the same once more gets the same answer, whose chunks need not be compared each time.
    remembered: HashSet<Hash>,
}

/// Runs what blocks on the ring's file or the local folder off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Stopped))
}

impl Worker {
    /// Finds where the store ends and compares it with the ring.
    pub(super) async fn resume(
        log: LogStore,
        source: Arc<dyn Source>,
        signer: Signer,
        config: PublisherConfig,
        control: Arc<Control>,
    ) -> Result<(Self, watch::Receiver<PublisherStatus>), StoreError> {
        let (size, root) = config.recovered;
        let edge = match log.newest_checkpoint(signer.verifier()).await? {
            Some(head) if head.size > size => {
                return Err(StoreError::RingBehind { store: head.size, ring: size });
            }
            Some(head) => Edge::load(&log, &head).await?,
            None => Edge::default(),
        };
        let (tree, ring) = (edge.tree.compact_range(), Arc::clone(&source));
        if blocking(move || root_at(tree, ring.as_ref(), size)).await? != root {
            return Err(StoreError::Diverged { size });
        }
        let published = edge.tree.size();
        let (status, seen) =
            watch::channel(PublisherStatus { published, ..PublisherStatus::default() });
        // A crash between checkpoint and release: the ring may forget what is in the store.
        source.release(published);
        let remembered = HashSet::new();
        Ok((Self { log, source, signer, config, control, status, edge, remembered }, seen))
    }

    pub(super) async fn run(mut self) {
        let fatal = match self.work().await {
            Ok(()) => None,
            Err(error) => Some(Arc::new(error)),
        };
        self.status.send_modify(|status| {
            status.sealed = fatal.is_none();
            status.last_error = fatal.as_ref().map(ToString::to_string);
            status.fatal = fatal;
        });
    }

    /// Publishes until sealed. Ends with an error only when it is fatal.
    async fn work(&mut self) -> Result<(), StoreError> {
        let poll = POLL.min(self.config.max_age / 4).max(Duration::from_millis(1));
        let mut dirty_since: Option<Instant> = None;
        let mut last = Instant::now();
        loop {
            let sealing = self.control.sealing.load(Ordering::Acquire);
            let (published, durable) = (self.edge.tree.size(), self.source.durable_size());
            if durable <= published {
                dirty_since = None;
                let eager = |dir: &ChunkDir| sealing || dir.local_bytes() >= EAGER_CHUNK_BYTES;
                if self.config.chunks.as_ref().is_some_and(eager) {
                    let chunks = self.upload_chunks().await?;
                    self.remove_chunks(chunks).await?;
                }
                if sealing {
                    return Ok(());
                }
            } else {
                let since = *dirty_since.get_or_insert_with(Instant::now);
                let wanted = self.control.wanted.load(Ordering::Acquire) > published;
                let backlog = durable - published;
                // Behind by a whole publication, there is no pause: the ring must not fill while
                // the store could take more.
                let full = backlog >= MAX_STEP_ENTRIES
                    || (backlog >= TILE_WIDTH && last.elapsed() >= self.config.min_interval);
                if sealing || wanted || full || since.elapsed() >= self.config.max_age {
                    self.publish(durable).await?;
                    last = Instant::now();
                    dirty_since = None;
                    continue;
                }
            }
            tokio::select! {
                () = self.control.wake.notified() => {}
                () = tokio::time::sleep(poll) => {}
            }
        }
    }

    /// One publication of up to `durable` entries.
    async fn publish(&mut self, durable: u64) -> Result<(), StoreError> {
        // `durable` was read before this listing: the chunks of all those entries are in it.
        let chunks = self.upload_chunks().await?;
        let from = self.edge.tree.size();
        let limit = from.saturating_add(MAX_STEP_ENTRIES).min(durable);
        let head = self.source.head();
        let to = head.map(|(size, _)| size).filter(|s| *s > from && *s <= limit).unwrap_or(limit);
        let (mut edge, source) = (std::mem::take(&mut self.edge), Arc::clone(&self.source));
        let (edge, batch) = blocking(move || {
            let batch = edge.extend(source.as_ref(), to)?;
            Ok((edge, batch))
        })
        .await?;
        self.edge = edge;
        let (size, root) = (self.edge.tree.size(), self.edge.tree.root());
        self.compare(head, size, root)?;
        self.put_all(batch.bundles).await?;
        self.put_all(batch.tiles).await?;
        self.put_checkpoint(size, root).await?;
        self.status.send_modify(|status| {
            status.published = size;
            status.last_error = None;
            status.failures = 0;
        });
        self.source.release(size);
        self.remove_chunks(chunks).await
    }

    /// The ring keeps its own tree: if it is another one, memory or disk is broken.
    fn compare(&self, head: Option<(u64, Hash)>, size: u64, root: Hash) -> Result<(), StoreError> {
        match head {
            Some((at, theirs)) if at == size && theirs != root => {
                Err(StoreError::Diverged { size })
            }
            _ => Ok(()),
        }
    }

    async fn put_checkpoint(&self, size: u64, root: Hash) -> Result<(), StoreError> {
        let object = checkpoint_name(size);
        let origin = self.signer.name().to_owned();
        let note = Checkpoint { origin, size, root }.sign(&self.signer).map_err(
            |source: CheckpointError| StoreError::Signature { object: object.clone(), source },
        )?;
        if let Some(epoch) = self.config.epoch {
            self.patiently(|| self.log.check_fence(epoch)).await?;
        }
        let note = Bytes::from(note);
        self.patiently(|| self.log.create(&object, note.clone())).await?;
        self.patiently(|| self.log.overwrite(LATEST, note.clone())).await
    }

    /// Writes one stage; returns when all of it is in the store.
    async fn put_all(&self, objects: Vec<(String, Bytes)>) -> Result<(), StoreError> {
        if self.log.store().folder().is_some() {
            return self.patiently(|| self.log.create_in_folder(&objects)).await;
        }
        let this = self;
        stream::iter(objects)
            .map(|(name, bytes)| async move {
                this.patiently(|| this.log.create(&name, bytes.clone())).await
            })
            .buffer_unordered(PARALLEL_PUTS)
            .try_collect()
            .await
    }

    /// Tries until it succeeds or the error is fatal, and says in the status how it goes.
    async fn patiently<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut pause = self.config.min_backoff;
        loop {
            match attempt().await {
                Err(error) if !error.is_fatal() => {
                    self.status.send_modify(|status| {
                        status.last_error = Some(error.to_string());
                        status.failures = status.failures.saturating_add(1);
                    });
                }
                done => return done,
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(self.config.max_backoff);
        }
    }

    /// Uploads every sealed chunk and returns them; their files are still there.
    async fn upload_chunks(&mut self) -> Result<Vec<ChunkRef>, StoreError> {
        let Some(dir) = self.config.chunks.clone() else { return Ok(Vec::new()) };
        let listing = dir.clone();
        let chunks = blocking(move || listing.sealed().map_err(StoreError::Chunks)).await?;
        let rest = match self.log.store().folder() {
            Some(folder) => {
                let (dir, folder) = (dir.clone(), folder.to_owned());
                let known = |chunk: &ChunkRef| self.remembered.contains(&chunk.sha256);
                let (known, new): (Vec<_>, Vec<_>) = chunks.iter().copied().partition(known);
                blocking(move || link_chunks(&dir, new, known, &folder)).await?
            }
            None => chunks.clone(),
        };
        let (this, dir) = (&*self, &dir);
        stream::iter(rest)
            .map(|chunk| async move { this.upload_chunk(dir, &chunk).await })
            .buffer_unordered(PARALLEL_CHUNKS)
            .try_collect::<()>()
            .await?;
        if self.log.store().folder().is_some() {
            if self.remembered.len() + chunks.len() > MAX_REMEMBERED {
                self.remembered.clear();
            }
            self.remembered.extend(chunks.iter().take(MAX_REMEMBERED).map(|chunk| chunk.sha256));
        }
        Ok(chunks)
    }

    async fn upload_chunk(&self, dir: &ChunkDir, chunk: &ChunkRef) -> Result<(), StoreError> {
        let file = dir.file(chunk);
        let bytes = blocking(move || std::fs::read(file).map_err(StoreError::Chunks)).await?;
        let name = Store::blob_name(&chunk.sha256);
        if tlog::sha256(&bytes) != chunk.sha256 {
            let what = "the local file does not have the hash of its name".to_owned();
            return Err(StoreError::Corrupt { object: name, what });
        }
        let bytes = Bytes::from(bytes);
        self.patiently(|| self.log.store().create(&name, bytes.clone())).await
    }

    async fn remove_chunks(&self, chunks: Vec<ChunkRef>) -> Result<(), StoreError> {
        match self.config.chunks.clone() {
            Some(dir) => blocking(move || dir.remove(&chunks).map_err(StoreError::Chunks)).await,
            None => Ok(()),
        }
    }
}

/// In a folder on the same file system a chunk is linked, not copied; of those that are `known`
/// to be there already, it is seen that they still are. Returns those for which that is not so.
fn link_chunks(
    dir: &ChunkDir,
    new: Vec<ChunkRef>,
    known: Vec<ChunkRef>,
    folder: &std::path::Path,
) -> Result<Vec<ChunkRef>, StoreError> {
    let blobs = folder.join("blobs");
    let is_there = |chunk: &ChunkRef| {
        let there = std::fs::metadata(blobs.join(chunk.sha256.to_hex()));
        there.is_ok_and(|file| file.len() == u64::from(chunk.len))
    };
    let mut rest: Vec<ChunkRef> = known.into_iter().filter(|chunk| !is_there(chunk)).collect();
    if new.is_empty() {
        return Ok(rest);
    }
    if std::fs::create_dir_all(&blobs).is_err() {
        // The store can't be written now: the ordinary way waits until it can.
        rest.extend(new);
        return Ok(rest);
    }
    let mut linked = false;
    for chunk in new {
        match std::fs::hard_link(dir.file(&chunk), blobs.join(chunk.sha256.to_hex())) {
            Ok(()) => linked = true,
            // There already, or another file system: the ordinary way compares or copies.
            Err(_) => rest.push(chunk),
        }
    }
    if linked {
        for path in [blobs.as_path(), folder] {
            std::fs::File::open(path).and_then(|dir| dir.sync_all()).map_err(StoreError::Flush)?;
        }
    }
    Ok(rest)
}
