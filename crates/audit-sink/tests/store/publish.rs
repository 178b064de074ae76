//! Publishing, resuming, fencing, reading back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use audit_sink::store::{Publisher, Reader, Store, StoreError, VerifyOptions, verify};
use tlog::{Checkpoint, Signer, leaf_hash};

use crate::support::{Faulty, LOG, Memory, ORIGIN, log_in, publish, quick};

#[tokio::test]
async fn what_is_published_is_in_the_c2sp_layout_and_verifies() {
    let objects = Arc::new(Faulty::default());
    let (log, signer) = (log_in(&objects), Signer::generate(ORIGIN).unwrap());
    let source = Memory::with(0);
    publish(&log, &source, &signer, &[3, 300, 600]).await;
    let names = objects.names().await;
    for name in [
        "checkpoint",
        "checkpoints/00000000000000000003",
        "checkpoints/00000000000000000600",
        "tile/0/000",
        "tile/0/000.p/3",
        "tile/0/002.p/88",
        "tile/1/000.p/1",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/000.p/3",
        "tile/entries/002.p/88",
        "epoch/00000000000000000003",
    ] {
        assert!(names.contains(&format!("logs/{LOG}/{name}")), "{name} in {names:#?}");
    }
    assert_eq!(source.released.load(Ordering::SeqCst), 600);
    let report = verify(&log, signer.verifier(), &VerifyOptions::default()).await.unwrap();
    assert!(report.is_ok(), "{report:#?}");
    assert_eq!((report.entries, report.checkpoints, report.epochs), (600, 3, 3));
    assert_eq!(report.head.unwrap().root, source.root(600));
    assert!(report.notes.is_empty(), "{:?}", report.notes);
}

#[tokio::test]
async fn an_empty_log_verifies_and_reads_as_nothing() {
    let objects = Arc::new(Faulty::default());
    let (log, signer) = (log_in(&objects), Signer::generate(ORIGIN).unwrap());
    let report = verify(&log, signer.verifier(), &VerifyOptions::default()).await.unwrap();
    assert!(report.is_ok() && report.head.is_none());
    assert!(Reader::open(&log, signer.verifier()).await.unwrap().is_none());
    // An idle publisher writes nothing.
    let source = Memory::with(0);
    let publisher = Publisher::start(log, source.clone(), signer, quick(&source)).await.unwrap();
    publisher.seal().await.unwrap();
    assert!(objects.names().await.is_empty());
}

#[tokio::test]
async fn a_backlog_is_published_in_steps_and_read_back_with_proofs() {
    let objects = Arc::new(Faulty::default());
    let (log, signer) = (log_in(&objects), Signer::generate(ORIGIN).unwrap());
    let source = Memory::with(70_000);
    let publisher = Publisher::start(log.clone(), source.clone(), signer.clone(), quick(&source))
        .await
        .unwrap();
    publisher.seal().await.unwrap();
    assert_eq!(publisher.published(), 70_000);
    let report = verify(&log, signer.verifier(), &VerifyOptions::default()).await.unwrap();
    assert!(report.is_ok(), "{:#?}", report.failures);

    let reader = Reader::open(&log, signer.verifier()).await.unwrap().unwrap();
    let mut entries = reader.range(65_000, 80_000);
    let expected = source.entries.lock().unwrap().clone();
    for i in 65_000..70_000u64 {
        let (index, entry) = entries.next().await.unwrap().unwrap();
        assert_eq!((index, &entry), (i, &expected[i as usize]));
    }
    assert_eq!(entries.next().await.unwrap(), None);
    let mut reader = entries.into_reader();
    for index in [0, 255, 256, 65_535, 69_999] {
        let proof = reader.prove(index).await.unwrap();
        let leaf = leaf_hash(&expected[index as usize]);
        assert_eq!(proof.verify(&leaf, signer.verifier()).unwrap().size, 70_000);
    }
    assert!(reader.prove(70_000).await.is_err());
}

/// Found when a client wrote faster than one publication every `min_interval`: the ring filled.
#[tokio::test]
async fn a_long_backlog_is_published_without_pauses() {
    let objects = Arc::new(Faulty::default());
    let (log, signer) = (log_in(&objects), Signer::generate(ORIGIN).unwrap());
    let source = Memory::with(0);
    let mut config = quick(&source);
    config.max_age = Duration::from_secs(3600);
    config.min_interval = Duration::from_secs(3600);
    let publisher = Publisher::start(log, source.clone(), signer, config).await.unwrap();
    source.grow_to(5 * 16_384 + 100);
    let mut status = publisher.watch();
    let behind = status.wait_for(|status| status.published >= 5 * 16_384);
    tokio::time::timeout(Duration::from_secs(60), behind).await.unwrap().unwrap();
    // The rest is no hurry.
    assert_eq!(publisher.published(), 5 * 16_384);
}

#[tokio::test]
async fn a_reader_notices_a_changed_entry() {
    let objects = Arc::new(Faulty::default());
    let (log, signer) = (log_in(&objects), Signer::generate(ORIGIN).unwrap());
    publish(&log, &Memory::with(0), &signer, &[300]).await;
    let name = format!("logs/{LOG}/tile/entries/000");
    let mut bytes = objects.read(&name).await;
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    objects.write(&name, &bytes).await;
    let reader = Reader::open(&log, signer.verifier()).await.unwrap().unwrap();
    let error = reader.range(0, 300).next().await.unwrap_err();
    assert!(error.to_string().contains("entry 255"), "{error}");
}

#[tokio::test]
async fn a_crash_at_any_write_is_mended_by_a_restart() {
    // One write more is let through each time, until a run is not disturbed any more.
    for stop in 1.. {
        let objects = Arc::new(Faulty::default());
        let (log, signer) = (log_in(&objects), Signer::generate(ORIGIN).unwrap());
        let source = Memory::with(5);
        objects.last_puts.store(stop, Ordering::SeqCst);
        let first = Publisher::start(log.clone(), source.clone(), signer.clone(), quick(&source));
        let publisher = first.await.unwrap();
        let mut status = publisher.watch();
        let mut progress = async |size| {
            let seen = status.wait_for(|s| s.failures > 0 || s.published >= size).await;
            seen.unwrap().published >= size
        };
        let undisturbed = progress(5).await && {
            source.grow_to(270);
            progress(270).await
        };
        // The process dies; the store comes back.
        drop(publisher);
        objects.last_puts.store(0, Ordering::SeqCst);
        source.grow_to(280);
        let again = Publisher::start(log.clone(), source.clone(), signer.clone(), quick(&source));
        let publisher = again.await.unwrap();
        publisher.seal().await.unwrap();
        let report = verify(&log, signer.verifier(), &VerifyOptions::default()).await.unwrap();
        assert!(report.is_ok(), "stopped before write {stop}: {:#?}", report.failures);
        assert_eq!(report.head.unwrap().root, source.root(280));
        if undisturbed {
            // Two publications: 1 + 1 and 2 + 3 bundles and tiles, and a checkpoint twice each.
            assert!(stop > 10, "{stop}");
            break;
        }
    }
}

#[tokio::test]
async fn ring_and_store_must_agree_at_the_start() {
    let objects = Arc::new(Faulty::default());
    let (log, signer) = (log_in(&objects), Signer::generate(ORIGIN).unwrap());
    let source = Memory::with(0);
    publish(&log, &source, &signer, &[20]).await;
    let start = async |source: Arc<Memory>| {
        let config = quick(&source);
        Publisher::start(log.clone(), source, signer.clone(), config).await
    };
    // An older copy of the ring was restored.
    let error = start(Memory::with(19)).await.unwrap_err();
    assert!(matches!(error, StoreError::RingBehind { store: 20, ring: 19 }), "{error}");
    // Another ring of the same size, or a longer one with another past.
    for size in [20, 25] {
        let other = Memory::with(size);
        other.entries.lock().unwrap()[7] = "something else".into();
        let error = start(other).await.unwrap_err();
        assert!(matches!(error, StoreError::Diverged { .. }), "{error}");
    }
    // The store was emptied although the ring has forgotten what was in it.
    let emptied = log_in(&Arc::new(Faulty::default()));
    let config = quick(&source);
    let error =
        Publisher::start(emptied, source.clone(), signer.clone(), config).await.unwrap_err();
    assert!(matches!(error, StoreError::Source(_)), "{error}");
    // The newest checkpoint is somebody else's: no fallback to an older one.
    let name = format!("logs/{LOG}/checkpoints/{:020}", 20);
    let stranger = Signer::generate(ORIGIN).unwrap();
    let (size, root) = source.state();
    let forged = Checkpoint { origin: ORIGIN.into(), size, root }.sign(&stranger).unwrap();
    objects.write(&name, forged.as_bytes()).await;
    let error = start(source).await.unwrap_err();
    assert!(matches!(error, StoreError::Signature { .. }), "{error}");
}

#[tokio::test]
async fn two_writers_of_one_log_are_a_fork_and_a_later_epoch_fences() {
    let objects = Arc::new(Faulty::default());
    let (log, signer) = (log_in(&objects), Signer::generate(ORIGIN).unwrap());
    let (ours, theirs) = (Memory::with(0), Memory::with(0));
    let start = async |source: &Arc<Memory>, epoch| {
        let mut config = quick(source);
        config.epoch = epoch;
        Publisher::start(log.clone(), source.clone(), signer.clone(), config).await.unwrap()
    };
    let first = start(&ours, None).await;
    let second = start(&theirs, None).await;
    ours.entries.lock().unwrap().push("ours".into());
    first.wait_published(1).await.unwrap();
    theirs.entries.lock().unwrap().push("theirs".into());
    let error = second.wait_published(1).await.unwrap_err();
    assert!(matches!(*error, StoreError::Fork { .. }), "{error}");
    assert!(second.status().fatal.is_some());
    assert!(second.seal().await.is_err());
    let report = verify(&log, signer.verifier(), &VerifyOptions::default()).await.unwrap();
    assert!(report.is_ok(), "{report:#?}");

    let claimed = log.claim_epoch(&signer, ours.state(), "first").await.unwrap();
    let fenced = start(&ours, Some(claimed.number)).await;
    let later = log.claim_epoch(&signer, ours.state(), "second").await.unwrap();
    assert_eq!(later.number, claimed.number + 1);
    ours.grow_to(2);
    let error = fenced.wait_published(2).await.unwrap_err();
    assert!(matches!(*error, StoreError::Fenced { ours: 1, newer: 2 }), "{error}");
}

#[tokio::test]
async fn a_folder_is_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}", dir.path().join("made/new").display());
    let log = Store::open(&url).unwrap().log(LOG).unwrap();
    let signer = Signer::generate(ORIGIN).unwrap();
    let source = Memory::with(0);
    publish(&log, &source, &signer, &[2, 260]).await;
    let report = verify(&log, signer.verifier(), &VerifyOptions::default()).await.unwrap();
    assert!(report.is_ok(), "{report:#?}");
    assert_eq!(report.entries, 260);
    let file = dir.path().join("made/new/logs").join(LOG).join("tile/entries/000.p/2");
    assert_eq!(std::fs::read(file).unwrap(), b"\0\x08entry 0 \0\x09entry 1 x");
}

#[test]
fn unusable_settings_are_refused() {
    for url in ["", "gs://bucket", "http://host/x"] {
        assert!(matches!(Store::open(url), Err(StoreError::Setting(_))), "{url:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().to_str().unwrap()).unwrap();
    for id in ["", ".", "..", "a/b", "a b", "../x", &"a".repeat(129)] {
        assert!(matches!(store.log(id), Err(StoreError::Setting(_))), "{id:?}");
    }
}
