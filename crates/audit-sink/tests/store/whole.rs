//! Ring and store together: what is appended ends up in the store, whatever dies between.

use std::sync::Arc;
use std::time::Duration;

use audit_sink::store::{
    LogStore, Publisher, PublisherConfig, Reader, Store, VerifyOptions, verify,
};
use audit_sink::{AppendError, Log, LogConfig};
use tlog::{Checkpoint, Signer};

use crate::support::{LOG, ORIGIN};

const SEGMENT: u64 = 256 * 1024;

async fn open(dir: &std::path::Path, signer: &Signer) -> (Arc<Log>, LogStore, Publisher) {
    let mut config = LogConfig::new(dir.join("ring"), LOG);
    (config.segments, config.segment_bytes) = (2, SEGMENT);
    let (log, found) = Log::open(config, signer.clone()).unwrap();
    let log = Arc::new(log);
    let store = Store::open(dir.join("store").to_str().unwrap()).unwrap().log(LOG).unwrap();
    let head = (found.size, found.root);
    let epoch = store.claim_epoch(signer, head, "test").await.unwrap();
    let mut config = PublisherConfig::new(head);
    config.epoch = Some(epoch.number);
    config.max_age = Duration::from_millis(20);
    let publisher =
        Publisher::start(store.clone(), log.clone(), signer.clone(), config).await.unwrap();
    (log, store, publisher)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_durable_in_the_ring_ends_up_in_the_store_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let signer = Signer::generate(ORIGIN).unwrap();
    let mut appended = 0u64;
    let mut remembered: Option<Checkpoint> = None;
    for restart in 0..4 {
        let (log, store, publisher) = open(dir.path(), &signer).await;
        // Several times what the ring holds: it must be released for this to go on.
        let until = appended + 1_500;
        while appended < until {
            match log.append(format!("{appended:01000}")) {
                Ok(ticket) => {
                    assert_eq!(ticket.index, appended);
                    appended += 1;
                }
                Err(AppendError::RingFull | AppendError::QueueFull) => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        if restart % 2 == 0 {
            // An orderly end: what is durable is published.
            log.close().unwrap();
            publisher.seal().await.unwrap();
        } else {
            // The publisher dies in the middle of its work.
            log.close().unwrap();
            drop(publisher);
        }
        let options = VerifyOptions { remembered, ..VerifyOptions::default() };
        let report = verify(&store, signer.verifier(), &options).await.unwrap();
        assert!(report.is_ok(), "{report:#?}");
        remembered = report.head;
    }
    let (_log, store, publisher) = open(dir.path(), &signer).await;
    publisher.wait_published(appended).await.unwrap();
    let reader = Reader::open(&store, signer.verifier()).await.unwrap().unwrap();
    let mut entries = reader.range(0, u64::MAX);
    for i in 0..appended {
        let (index, entry) = entries.next().await.unwrap().unwrap();
        assert_eq!((index, entry.as_ref()), (i, format!("{i:01000}").as_bytes()));
    }
    assert_eq!(entries.next().await.unwrap(), None);
}
