//! A source in memory, a store that fails on request, and short cuts.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use audit_sink::store::{LogStore, Publisher, PublisherConfig, Source, Store};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tlog::{CompactRange, Hash, Signer, leaf_hash};

pub(crate) const ORIGIN: &str = "example.org/log";
pub(crate) const LOG: &str = "log-1";

/// A ring in memory.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) entries: Mutex<Vec<Bytes>>,
    pub(crate) released: AtomicU64,
}

impl Memory {
    pub(crate) fn with(n: u64) -> Arc<Self> {
        let memory = Arc::new(Self::default());
        memory.grow_to(n);
        memory
    }

    pub(crate) fn grow_to(&self, n: u64) {
        let mut entries = self.entries.lock().unwrap();
        for i in entries.len() as u64..n {
            entries.push(Bytes::from(format!("entry {i} {}", "x".repeat(i as usize % 7))));
        }
    }

    pub(crate) fn root(&self, n: u64) -> Hash {
        let mut range = CompactRange::new();
        let entries = self.entries.lock().unwrap();
        entries[..n as usize].iter().for_each(|entry| range.push(leaf_hash(entry)));
        range.root()
    }

    pub(crate) fn state(&self) -> (u64, Hash) {
        let n = self.durable_size();
        (n, self.root(n))
    }
}

impl Source for Memory {
    fn durable_size(&self) -> u64 {
        self.entries.lock().unwrap().len() as u64
    }

    fn read(&self, from: u64, max_bytes: usize) -> std::io::Result<Vec<(u64, Bytes)>> {
        if from < self.released.load(Ordering::SeqCst) {
            return Err(std::io::Error::new(std::io::ErrorKind::NotFound, "released"));
        }
        let entries = self.entries.lock().unwrap();
        let mut sum = 0;
        let mut out = Vec::new();
        for (i, entry) in entries.iter().enumerate().skip(from as usize) {
            sum += entry.len();
            if !out.is_empty() && sum > max_bytes {
                break;
            }
            out.push((i as u64, entry.clone()));
        }
        Ok(out)
    }

    fn release(&self, up_to: u64) {
        self.released.fetch_max(up_to, Ordering::SeqCst);
    }
}

/// An object store over memory that fails on request.
#[derive(Debug, Default)]
pub(crate) struct Faulty {
    pub(crate) inner: InMemory,
    /// The next so many puts fail before anything is written.
    pub(crate) fail_puts: AtomicU32,
    /// At 1 the store is away; above 1, that many puts less one still work (0: no limit).
    pub(crate) last_puts: AtomicU32,
    /// The next so many puts write, and then fail all the same.
    pub(crate) lose_answers: AtomicU32,
    /// Every put takes this long, in milliseconds.
    pub(crate) slow_ms: AtomicU64,
    /// Names in the order in which they were written.
    pub(crate) order: Mutex<Vec<String>>,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

fn outage() -> object_store::Error {
    object_store::Error::Generic { store: "Faulty", source: "made to fail".into() }
}

fn take_one(counter: &AtomicU32) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, at: &Path, data: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let slow = self.slow_ms.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(slow)).await;
        if take_one(&self.fail_puts) || self.last_puts.load(Ordering::SeqCst) == 1 {
            return Err(outage());
        }
        if self.last_puts.load(Ordering::SeqCst) > 1 {
            self.last_puts.fetch_sub(1, Ordering::SeqCst);
        }
        let done = self.inner.put_opts(at, data, opts).await?;
        self.order.lock().unwrap().push(at.to_string());
        if take_one(&self.lose_answers) {
            return Err(outage());
        }
        Ok(done)
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, options).await
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(at, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

impl Faulty {
    pub(crate) async fn names(&self) -> Vec<String> {
        let listed = self.inner.list(None);
        let all: Vec<_> = futures_util::TryStreamExt::try_collect(listed).await.unwrap();
        let mut names: Vec<_> =
            all.into_iter().map(|meta: ObjectMeta| meta.location.to_string()).collect();
        names.sort_unstable();
        names
    }

    pub(crate) async fn read(&self, name: &str) -> Vec<u8> {
        let found = self.inner.get(&Path::from(name)).await.unwrap();
        found.bytes().await.unwrap().to_vec()
    }

    pub(crate) async fn write(&self, name: &str, bytes: &[u8]) {
        let payload = PutPayload::from(bytes.to_vec());
        self.inner.put(&Path::from(name), payload).await.unwrap();
    }

    pub(crate) async fn remove(&self, name: &str) {
        self.inner.delete(&Path::from(name)).await.unwrap();
    }
}

pub(crate) fn log_in(objects: &Arc<Faulty>) -> LogStore {
    let objects: Arc<dyn ObjectStore> = objects.clone();
    Store::with_objects(objects, "").unwrap().log(LOG).unwrap()
}

pub(crate) fn quick(source: &Memory) -> PublisherConfig {
    let mut config = PublisherConfig::new(source.state());
    config.max_age = Duration::from_millis(20);
    config.min_interval = Duration::ZERO;
    config.min_backoff = Duration::from_millis(1);
    config.max_backoff = Duration::from_millis(4);
    config
}

/// Publishes `source` with a checkpoint at each of `sizes`, under one epoch each.
pub(crate) async fn publish(log: &LogStore, source: &Arc<Memory>, signer: &Signer, sizes: &[u64]) {
    for size in sizes {
        let head = source.state();
        let epoch = log.claim_epoch(signer, head, "test").await.unwrap();
        let mut config = quick(source);
        config.epoch = Some(epoch.number);
        // Nobody but `wait_published` starts a publication.
        config.max_age = Duration::from_secs(3600);
        config.min_interval = Duration::from_secs(3600);
        let publisher =
            Publisher::start(log.clone(), source.clone(), signer.clone(), config).await.unwrap();
        source.grow_to(*size);
        publisher.wait_published(*size).await.unwrap();
        publisher.seal().await.unwrap();
    }
}
