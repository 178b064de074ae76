//! The publisher: takes what the ring has committed into the store.
//!
//! Order is all. For a publication up to entry `D`: first every sealed chunk (read after `D`, so
//! that no published entry refers to a chunk that is not there), then bundles, then tiles, then
//! the numbered checkpoint, then its convenience copy; only then may the ring forget, and the
//! local chunk files go. Every name and every byte follows from the entries alone, so a crash at
//! any point is mended by doing the same again.

mod batch;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tlog::{Hash, Signer};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::chunks::ChunkDir;
use super::client::LogStore;
use super::error::StoreError;
use super::source::Source;

/// When and how the publisher works.
#[derive(Debug, Clone)]
pub struct PublisherConfig {
    /// Size and root of the ring's tree after recovery. The store must not know more.
    pub recovered: (u64, Hash),
    /// Our epoch, from [`LogStore::claim_epoch`]: looked after before every checkpoint. `None`
    /// leaves fencing to the create-only names.
    pub epoch: Option<u64>,
    /// Chunks to upload before the entries that name them.
    pub chunks: Option<ChunkDir>,
    /// An entry waits at most this long for its publication: what the loss of the local disk
    /// can cost.
    pub max_age: Duration,
    /// Pause between two publications even when many entries are ready (but not when more are than
    /// one publication takes): each costs some flushes, on a disk that the ring may share. Who waits in [`Publisher::wait_published`] is not held up.
    pub min_interval: Duration,
    /// First pause after an error of the store; doubled up to `max_backoff`.
    pub min_backoff: Duration,
    /// Longest pause after an error of the store.
    pub max_backoff: Duration,
}

impl PublisherConfig {
    /// The defaults: 1 s, 500 ms, and 100 ms to 10 s.
    #[must_use]
    pub const fn new(recovered: (u64, Hash)) -> Self {
        Self {
            recovered,
            epoch: None,
            chunks: None,
            max_age: Duration::from_secs(1),
            min_interval: Duration::from_millis(500),
            min_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
        }
    }
}

/// How publishing stands.
#[derive(Debug, Clone, Default)]
pub struct PublisherStatus {
    /// Entries under the newest checkpoint in the store.
    pub published: u64,
    /// What the store said last, while it fails; `None` once a publication succeeds.
    pub last_error: Option<String>,
    /// Failed tries since the last success.
    pub failures: u64,
    /// Why publishing has stopped for ever.
    pub fatal: Option<Arc<StoreError>>,
    /// [`Publisher::seal`] has done its work.
    pub sealed: bool,
}

pub(crate) struct Control {
    /// Wakes the worker before its time.
    wake: Notify,
    /// Somebody waits for this size.
    wanted: AtomicU64,
    sealing: std::sync::atomic::AtomicBool,
}

/// A running publisher. Dropping it ends the task at the next wait; nothing is lost by that.
#[derive(Debug)]
pub struct Publisher {
    control: Arc<Control>,
    status: watch::Receiver<PublisherStatus>,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Control")
    }
}

impl Publisher {
    /// Compares store and ring, and starts publishing where the store ends. Needs a tokio
    /// runtime with time enabled.
    ///
    /// # Errors
    /// [`StoreError::Object`] when the store can't be reached now; anything else is fatal:
    /// [`StoreError::RingBehind`], [`StoreError::Diverged`], [`StoreError::Corrupt`],
    /// [`StoreError::Signature`], [`StoreError::Source`].
    pub async fn start(
        log: LogStore,
        source: Arc<dyn Source>,
        signer: Signer,
        config: PublisherConfig,
    ) -> Result<Self, StoreError> {
        let control = Arc::new(Control {
            wake: Notify::new(),
            wanted: AtomicU64::new(0),
            sealing: false.into(),
        });
        let (worker, status) =
            worker::Worker::resume(log, source, signer, config, Arc::clone(&control)).await?;
        let task = tokio::spawn(worker.run());
        Ok(Self { control, status, task })
    }

    /// How publishing stands now.
    #[must_use]
    pub fn status(&self) -> PublisherStatus {
        self.status.borrow().clone()
    }

    /// Entries under the newest checkpoint in the store.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.status.borrow().published
    }

    /// Whether publishing has stopped for ever. Cheap: asked before every entry.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.status.borrow().fatal.is_some()
    }

    /// Changes of the status, to wait on.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<PublisherStatus> {
        self.status.clone()
    }

    /// Publishes soon, and waits until the store holds at least `size` entries: the durability
    /// level `store`.
    ///
    /// # Errors
    /// What stopped the publisher for ever. While the store only fails, this waits.
    pub async fn wait_published(&self, size: u64) -> Result<(), Arc<StoreError>> {
        self.control.wanted.fetch_max(size, Ordering::AcqRel);
        self.control.wake.notify_one();
        self.wait(|status| status.published >= size).await
    }

    /// Publishes all that is durable now, then stops. For an orderly end of the process, after
    /// the last entry; put a time limit around it, for it waits for a store that fails.
    ///
    /// # Errors
    /// What stopped the publisher for ever.
    pub async fn seal(&self) -> Result<(), Arc<StoreError>> {
        self.control.sealing.store(true, Ordering::Release);
        self.control.wake.notify_one();
        self.wait(|status| status.sealed).await
    }

    async fn wait(&self, done: impl Fn(&PublisherStatus) -> bool) -> Result<(), Arc<StoreError>> {
        let mut status = self.status.clone();
        let seen = status.wait_for(|status| done(status) || status.fatal.is_some()).await;
        match seen {
            Ok(status) if done(&status) => Ok(()),
            Ok(status) => {
                Err(status.fatal.clone().unwrap_or_else(|| Arc::new(StoreError::Stopped)))
            }
            Err(_) => Err(Arc::new(StoreError::Stopped)),
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}
