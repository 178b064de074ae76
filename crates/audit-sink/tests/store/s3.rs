//! The store over S3.

use audit_sink::store::{
    ChunkConfig, ChunkDir, Publisher, Reader, Store, StoreError, VerifyOptions, verify,
};
use bytes::Bytes;
use tlog::Signer;

use crate::s3_server::{BUCKET, Server};
use crate::support::{LOG, Memory, ORIGIN, publish, quick};

impl Server {
    fn store(&self, prefix: &str) -> Store {
        let settings = [
            ("aws_endpoint", self.endpoint.as_str()),
            ("aws_allow_http", "true"),
            ("aws_region", "us-east-1"),
            ("aws_access_key_id", "test"),
            ("aws_secret_access_key", self.secret.as_str()),
        ];
        Store::open_with(&format!("s3://{BUCKET}/{prefix}"), &settings).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_a_bucket_is_published_resumed_verified_and_read() {
    let server = Server::start().await;
    let store = server.store("team/a");
    let log = store.log(LOG).unwrap();
    let signer = Signer::generate(ORIGIN).unwrap();
    let source = Memory::with(0);
    publish(&log, &source, &signer, &[3, 300, 600]).await;

    let dir = tempfile::tempdir().unwrap();
    let chunks = ChunkDir::open(dir.path(), ChunkConfig::default()).unwrap();
    let mut writer = chunks.writer();
    writer.append(Bytes::from_static(b"a long answer")).unwrap();
    let refs = writer.finished().await.unwrap();
    let mut config = quick(&source);
    config.chunks = Some(chunks.clone());
    let publisher =
        Publisher::start(log.clone(), source.clone(), signer.clone(), config).await.unwrap();
    source.grow_to(1_000);
    publisher.seal().await.unwrap();
    assert!(chunks.sealed().unwrap().is_empty());
    assert_eq!(
        store.get(&Store::blob_name(&refs[0].sha256)).await.unwrap().unwrap(),
        "a long answer"
    );

    let options = VerifyOptions { blobs: true, ..VerifyOptions::default() };
    let report = verify(&log, signer.verifier(), &options).await.unwrap();
    assert!(report.is_ok(), "{report:#?}");
    assert_eq!((report.entries, report.epochs, report.blobs), (1_000, 3, 1));
    assert!(report.checkpoints >= 4, "{report:#?}");
    let reader = Reader::open(&log, signer.verifier()).await.unwrap().unwrap();
    let (index, entry) = reader.range(999, 1_000).next().await.unwrap().unwrap();
    assert_eq!((index, &entry), (999, &source.entries.lock().unwrap()[999]));
    // Another prefix of the same bucket is another store.
    let other = server.store("team/b").log(LOG).unwrap();
    assert!(other.newest_checkpoint(signer.verifier()).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_that_finds_other_bytes_in_the_bucket_is_a_fork() {
    let server = Server::start().await;
    let store = server.store("");
    store.create("blobs/x", Bytes::from_static(b"one")).await.unwrap();
    store.create("blobs/x", Bytes::from_static(b"one")).await.unwrap();
    let error = store.create("blobs/x", Bytes::from_static(b"two")).await.unwrap_err();
    assert!(matches!(error, StoreError::Fork { .. }), "{error}");
    let log = store.log(LOG).unwrap();
    let signer = Signer::generate(ORIGIN).unwrap();
    publish(&log, &Memory::with(0), &signer, &[2]).await;
    let other = Memory::with(3);
    other.entries.lock().unwrap()[1] = "another past".into();
    let config = quick(&other);
    let error = Publisher::start(log, other, signer, config).await.unwrap_err();
    assert!(matches!(error, StoreError::Diverged { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_is_an_error_that_shows_no_secret() {
    let mut server = Server::start().await;
    server.secret.push('x');
    let error = server.store("").get("anything").await.unwrap_err();
    assert!(matches!(error, StoreError::Object { .. }), "{error}");
    assert!(!error.is_fatal());
    assert!(!format!("{error:?} {error}").contains(&server.secret));
    assert!(!format!("{:?}", server.store("")).contains(&server.secret));
}
