//! An object store that errs, loses answers and is slow.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use audit_sink::store::{Publisher, VerifyOptions, verify};
use tlog::Signer;

use crate::support::{Faulty, Memory, ORIGIN, log_in, quick};

#[tokio::test]
async fn attack_35_errors_delay_and_neither_reorder_nor_drop() {
    let objects = Arc::new(Faulty::default());
    let (log, signer) = (log_in(&objects), Signer::generate(ORIGIN).unwrap());
    let source = Memory::with(0);
    let publisher = Publisher::start(log.clone(), source.clone(), signer.clone(), quick(&source))
        .await
        .unwrap();
    objects.fail_puts.store(u32::MAX, Ordering::SeqCst);
    source.grow_to(600);
    let mut status = publisher.watch();
    let failing = status.wait_for(|status| status.failures > 20).await.unwrap().clone();
    assert_eq!(failing.published, 0);
    assert!(failing.last_error.unwrap().contains("made to fail"));
    assert_eq!(source.released.load(Ordering::SeqCst), 0);
    assert!(objects.names().await.is_empty());

    objects.fail_puts.store(3, Ordering::SeqCst);
    source.grow_to(900);
    publisher.seal().await.unwrap();
    let status = publisher.status();
    assert_eq!((status.published, status.failures, status.last_error), (900, 0, None));
    // Bundles before tiles before the checkpoint of each publication.
    let order = objects.order.lock().unwrap().clone();
    let rank = |name: &String| match name {
        name if name.contains("entries") => 0,
        name if name.contains("/tile/") => 1,
        name if name.contains("/checkpoints/") => 2,
        _ => 3,
    };
    for publication in order.split_inclusive(|name| name.ends_with("/checkpoint")) {
        assert!(publication.is_sorted_by_key(rank), "{publication:#?}");
    }
    let report = verify(&log, signer.verifier(), &VerifyOptions::default()).await.unwrap();
    assert!(report.is_ok(), "{report:#?}");
}

#[tokio::test]
async fn a_put_that_landed_though_it_failed_is_recognised() {
    let objects = Arc::new(Faulty::default());
    let (log, signer) = (log_in(&objects), Signer::generate(ORIGIN).unwrap());
    let source = Memory::with(300);
    objects.lose_answers.store(1000, Ordering::SeqCst);
    let publisher = Publisher::start(log.clone(), source.clone(), signer.clone(), quick(&source))
        .await
        .unwrap();
    let mut status = publisher.watch();
    // The convenience copy is overwritten, not created: it alone goes on failing.
    status.wait_for(|status| status.failures > 10).await.unwrap();
    objects.lose_answers.store(0, Ordering::SeqCst);
    publisher.seal().await.unwrap();
    let report = verify(&log, signer.verifier(), &VerifyOptions::default()).await.unwrap();
    assert!(report.is_ok(), "{report:#?}");
    assert_eq!(report.entries, 300);
}

#[tokio::test]
async fn attack_35_a_slow_store_is_waited_for() {
    let objects = Arc::new(Faulty::default());
    let (log, signer) = (log_in(&objects), Signer::generate(ORIGIN).unwrap());
    objects.slow_ms.store(30, Ordering::SeqCst);
    let source = Memory::with(1);
    let publisher = Publisher::start(log.clone(), source.clone(), signer.clone(), quick(&source))
        .await
        .unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(1), publisher.wait_published(1)).await.is_err()
    );
    publisher.wait_published(1).await.unwrap();
    source.grow_to(700);
    publisher.wait_published(700).await.unwrap();
    let report = verify(&log, signer.verifier(), &VerifyOptions::default()).await.unwrap();
    assert!(report.is_ok(), "{report:#?}");
}
