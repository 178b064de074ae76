//! The object store with our rules on top: create-only writes, bounded reads, fsync.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutPayload};
use tlog::{Hash, MAX_BUNDLE_BYTES};

use super::error::StoreError;
use super::folder;

/// The largest object we read, in bytes: a bundle of 256 entries of 65,535 bytes.
pub const MAX_OBJECT_BYTES: u64 = MAX_BUNDLE_BYTES as u64;
/// The longest log id, in bytes.
pub const MAX_LOG_ID_BYTES: usize = 128;

/// A place for logs: a folder, or a bucket with a prefix.
///
/// A folder is written with fsync, always: there is no way to make one without.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: String,
    folder: Option<PathBuf>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("objects", &self.objects.to_string()).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens `url`: a path or `file:///path` (made if absent, for the owner only), or
    /// `s3://bucket/prefix` with the usual `AWS_*` environment variables.
    ///
    /// # Errors
    /// [`StoreError::Setting`].
    pub fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_with(url, &[])
    }

    /// As [`Store::open`], with settings for S3 under the names of `object_store`
    /// (`aws_endpoint`, `aws_region`, `aws_allow_http`, ...), which go before the environment.
    ///
    /// # Errors
    /// [`StoreError::Setting`].
    pub fn open_with(url: &str, settings: &[(&str, &str)]) -> Result<Self, StoreError> {
        if let Some(rest) = url.strip_prefix("s3://") {
            return open_s3(rest, settings);
        }
        let path = url.strip_prefix("file://").unwrap_or(url);
        if path.is_empty() || path.contains("://") {
            return Err(StoreError::Setting(format!("not a folder or s3:// URL: {url}")));
        }
        Self::open_folder(FsPath::new(path))
    }

    fn open_folder(path: &FsPath) -> Result<Self, StoreError> {
        let failed = |e: &dyn std::fmt::Display| {
            StoreError::Setting(format!("the folder {} cannot be used: {e}", path.display()))
        };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|e| failed(&e))?;
        let folder = path.canonicalize().map_err(|e| failed(&e))?;
        let objects = LocalFileSystem::new_with_prefix(&folder).map_err(|e| failed(&e))?;
        Ok(Self {
            objects: Arc::new(objects.with_fsync(true)),
            prefix: String::new(),
            folder: Some(folder),
        })
    }

    /// A store over any other implementation, below `prefix` (which may be empty). It must
    /// support [`PutMode::Create`] and be durable when a put returns; a `LocalFileSystem` does
    /// not belong here (see [`Store::open`]).
    ///
    /// # Errors
    /// [`StoreError::Setting`] when the prefix is no object path.
    pub fn with_objects(objects: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self, StoreError> {
        let prefix = prefix.trim_matches('/');
        Path::parse(prefix).map_err(|e| StoreError::Setting(e.to_string()))?;
        Ok(Self { objects, prefix: prefix.to_owned(), folder: None })
    }

    /// One log in this store.
    ///
    /// # Errors
    /// [`StoreError::Setting`] unless the id is 1 to 128 of `a-z A-Z 0-9 . _ -`, not
    /// beginning with a dot.
    pub fn log(&self, log_id: &str) -> Result<LogStore, StoreError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let good = (1..=MAX_LOG_ID_BYTES).contains(&log_id.len())
            && log_id.chars().all(allowed)
            && !log_id.starts_with('.');
        if !good {
            return Err(StoreError::Setting(format!("{log_id:?} cannot be the id of a log")));
        }
        Ok(LogStore { store: self.clone(), base: format!("logs/{log_id}") })
    }

    /// The folder, when the store is one.
    #[must_use]
    pub fn folder(&self) -> Option<&FsPath> {
        self.folder.as_deref()
    }

    /// The name of the object that holds the chunk with this SHA-256.
    #[must_use]
    pub fn blob_name(sha256: &Hash) -> String {
        format!("blobs/{sha256}")
    }

    fn path(&self, name: &str) -> Result<Path, StoreError> {
        let full = if self.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.prefix)
        };
        Path::parse(full).map_err(|e| StoreError::Setting(e.to_string()))
    }

    /// Reads an object; `None` when it is not there.
    ///
    /// # Errors
    /// [`StoreError::Object`]; [`StoreError::Corrupt`] above [`MAX_OBJECT_BYTES`].
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        let failed = |source| StoreError::Object { object: name.to_owned(), source };
        let found = match self.objects.get(&self.path(name)?).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            other => other.map_err(failed)?,
        };
        if found.meta.size > MAX_OBJECT_BYTES {
            let what = format!("{} bytes, more than any object of ours has", found.meta.size);
            return Err(StoreError::Corrupt { object: name.to_owned(), what });
        }
        Ok(Some(found.bytes().await.map_err(failed)?))
    }

    /// Writes an object that must not be there yet. If it is there with the same bytes, that is
    /// our own earlier try, and success.
    ///
    /// # Errors
    /// [`StoreError::Fork`] if it is there with other bytes; [`StoreError::Object`].
    pub async fn create(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        let payload = PutPayload::from_bytes(bytes.clone());
        match self.objects.put_opts(&self.path(name)?, payload, PutMode::Create.into()).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => match self.get(name).await? {
                Some(there) if there == bytes => Ok(()),
                Some(_) => Err(StoreError::Fork { object: name.to_owned() }),
                None => Err(StoreError::Corrupt {
                    object: name.to_owned(),
                    what: "exists for writing, but not for reading".to_owned(),
                }),
            },
            Err(source) => Err(StoreError::Object { object: name.to_owned(), source }),
        }
    }

    /// [`Store::create`] for several objects of a folder, with fewer flushes than one by one.
    /// After an error some of them may be there. Does nothing where the store is no folder.
    ///
    /// # Errors
    /// As [`Store::create`].
    async fn create_in_folder(&self, objects: Vec<(String, Bytes)>) -> Result<(), StoreError> {
        let Some(root) = self.folder.clone() else { return Ok(()) };
        let wanted = objects.clone();
        let work = tokio::task::spawn_blocking(move || folder::create_all(&root, &wanted));
        let taken = work.await.map_err(|_| StoreError::Stopped)?.map_err(|error| {
            let object = objects.first().map(|(name, _)| name.clone()).unwrap_or_default();
            let source = object_store::Error::Generic { store: "folder", source: error.into() };
            StoreError::Object { object, source }
        })?;
        for (name, bytes) in taken.into_iter().filter_map(|index| objects.get(index)) {
            // One by one, what is there already is compared.
            self.create(name, bytes.clone()).await?;
        }
        Ok(())
    }

    /// Writes the one object that may change: the convenience copy of the checkpoint.
    async fn overwrite(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        let failed = |source| StoreError::Object { object: name.to_owned(), source };
        let put = self.objects.put(&self.path(name)?, PutPayload::from_bytes(bytes)).await;
        put.map(drop).map_err(failed)
    }

    /// Calls `each` with the name (below the store's root) of every object under `folder`, in
    /// no particular order.
    ///
    /// # Errors
    /// [`StoreError::Object`].
    pub async fn list(
        &self,
        folder: &str,
        after: Option<&str>,
        mut each: impl FnMut(String),
    ) -> Result<(), StoreError> {
        let failed = |source| StoreError::Object { object: format!("{folder}/"), source };
        let path = self.path(folder)?;
        let mut listing = match after {
            Some(name) => self.objects.list_with_offset(Some(&path), &self.path(name)?),
            None => self.objects.list(Some(&path)),
        };
        let root = if self.prefix.is_empty() { String::new() } else { format!("{}/", self.prefix) };
        while let Some(meta) = listing.try_next().await.map_err(failed)? {
            if let Some(name) = meta.location.as_ref().strip_prefix(&root) {
                each(name.to_owned());
            }
        }
        Ok(())
    }
}

/// One log's part of a store. Names here are relative to `logs/<log-id>/`.
#[derive(Clone, Debug)]
pub struct LogStore {
    store: Store,
    base: String,
}

impl LogStore {
    /// The store around it.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The full name of one of the log's objects, below the store's root.
    #[must_use]
    pub fn name(&self, relative: &str) -> String {
        format!("{}/{relative}", self.base)
    }

    pub(crate) fn relative<'n>(&self, full: &'n str) -> &'n str {
        full.strip_prefix(&self.base).and_then(|rest| rest.strip_prefix('/')).unwrap_or(full)
    }

    pub(crate) async fn get(&self, relative: &str) -> Result<Option<Bytes>, StoreError> {
        self.store.get(&self.name(relative)).await
    }

    pub(crate) async fn create(&self, relative: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.store.create(&self.name(relative), bytes).await
    }

    /// As [`Store::create_in_folder`].
    pub(crate) async fn create_in_folder(
        &self,
        objects: &[(String, Bytes)],
    ) -> Result<(), StoreError> {
        let full = |(name, bytes): &(String, Bytes)| (self.name(name), bytes.clone());
        self.store.create_in_folder(objects.iter().map(full).collect()).await
    }

    pub(crate) async fn overwrite(&self, relative: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.store.overwrite(&self.name(relative), bytes).await
    }

    /// Lists `folder` of the log; the names that `each` gets are relative to the log.
    pub(crate) async fn list(
        &self,
        folder: &str,
        after: Option<&str>,
        mut each: impl FnMut(&str),
    ) -> Result<(), StoreError> {
        let full = if folder.is_empty() { self.base.clone() } else { self.name(folder) };
        let after = after.map(|name| self.name(name));
        self.store.list(&full, after.as_deref(), |name| each(self.relative(&name))).await
    }
}

#[cfg(feature = "s3")]
fn open_s3(rest: &str, settings: &[(&str, &str)]) -> Result<Store, StoreError> {
    use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
    use object_store::{ClientConfigKey, RetryConfig};

    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let setting = |e: object_store::Error| StoreError::Setting(e.to_string());
    // One by one: options of the client in a piece would take the place of the environment's.
    let patience = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
    let seconds = format!("{} seconds", S3_TIMEOUT.as_secs());
    let mut builder = AmazonS3Builder::from_env().with_config(patience, seconds);
    for (key, value) in settings {
        let key: AmazonS3ConfigKey = key.parse().map_err(setting)?;
        builder = builder.with_config(key, *value);
    }
    // The publisher has its own patience; the client's would only hide the error from it.
    let retry = RetryConfig { max_retries: 2, retry_timeout: S3_TIMEOUT, ..Default::default() };
    let objects = builder.with_bucket_name(bucket).with_retry(retry).build().map_err(setting)?;
    Store::with_objects(Arc::new(objects), prefix)
}

/// How long one request to S3 may take, with its retries.
#[cfg(feature = "s3")]
const S3_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

#[cfg(not(feature = "s3"))]
fn open_s3(_: &str, _: &[(&str, &str)]) -> Result<Store, StoreError> {
    Err(StoreError::Setting("this build has no S3 support (feature `s3`)".to_owned()))
}
