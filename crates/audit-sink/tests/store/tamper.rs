//! Whatever is changed in a store, `verify` says so and names the place.

use std::collections::BTreeSet;
use std::sync::Arc;

use audit_sink::store::{Fault, LogStore, Report, Store, VerifyOptions, verify, verify_blob};
use tlog::{Checkpoint, Signer};

use crate::support::{Faulty, LOG, Memory, ORIGIN, log_in, publish};

struct Small {
    objects: Arc<Faulty>,
    log: LogStore,
    signer: Signer,
    source: Arc<Memory>,
}

async fn small(sizes: &[u64]) -> Small {
    let objects = Arc::new(Faulty::default());
    let (log, signer) = (log_in(&objects), Signer::generate(ORIGIN).unwrap());
    let source = Memory::with(0);
    publish(&log, &source, &signer, sizes).await;
    let blob = b"a chunk of a response";
    objects.write(&Store::blob_name(&tlog::sha256(blob)), blob).await;
    Small { objects, log, signer, source }
}

impl Small {
    async fn check(&self, remembered: Option<Checkpoint>) -> Report {
        let options = VerifyOptions { remembered, blobs: true, skip_superseded: false };
        verify(&self.log, self.signer.verifier(), &options).await.unwrap()
    }

    fn full(name: &str) -> String {
        format!("logs/{LOG}/{name}")
    }

    /// Flips `bit` of byte `at` in turn and asserts that the object is named; returns the entries
    /// that were named with it.
    async fn flip(&self, name: &str, places: impl Iterator<Item = usize>) -> BTreeSet<u64> {
        let good = self.objects.read(name).await;
        let mut entries = BTreeSet::new();
        for at in places {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            self.objects.write(name, &bad).await;
            let report = self.check(None).await;
            let named = report.failures.iter().find(|failure| failure.object == name);
            let Some(named) = named else {
                panic!("byte {at} of {name} flipped: {:#?}", report.failures)
            };
            entries.extend(named.entry);
            if name.contains("/tile/") {
                // One flipped byte is blamed on one object, not on its neighbours.
                assert_eq!(report.failure_count, 1, "{name} byte {at}: {:#?}", report.failures);
            }
        }
        self.objects.write(name, &good).await;
        entries
    }
}

#[tokio::test]
async fn attack_35_every_byte_of_a_small_store_flipped_is_found_and_named() {
    let store = small(&[3, 8]).await;
    assert!(store.check(None).await.is_ok());
    for name in store.objects.names().await {
        let len = store.objects.read(&name).await.len();
        let entries = store.flip(&name, 0..len).await;
        if name.contains("/tile/") {
            let width = name.rsplit('/').next().unwrap().parse().unwrap();
            assert_eq!(entries, (0..width).collect(), "{name}");
        }
    }
    assert!(store.check(None).await.is_ok());
}

#[tokio::test]
async fn a_flipped_byte_of_a_larger_store_names_the_entry() {
    let store = small(&[200, 300, 600]).await;
    for name in store.objects.names().await {
        let len = store.objects.read(&name).await.len();
        store.flip(&name, (0..len).step_by(len / 9 + 1).chain([len - 1])).await;
    }
    // By hand: the last byte of entry 299, and a hash of tile 0 of level 1.
    let name = Small::full("tile/entries/001");
    let bytes = store.objects.read(&name).await;
    let mut at = 0;
    for _ in 256..=299 {
        at += 2 + usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    }
    assert_eq!(store.flip(&name, std::iter::once(at - 1)).await, BTreeSet::from([299]));
    let name = Small::full("tile/1/000.p/2");
    assert_eq!(store.flip(&name, std::iter::once(40)).await, BTreeSet::from([256]));
}

#[tokio::test]
async fn attack_35_every_deleted_object_that_is_needed_is_missed() {
    let store = small(&[3, 300, 600]).await;
    for name in store.objects.names().await {
        let good = store.objects.read(&name).await;
        store.objects.remove(&name).await;
        let report = store.check(None).await;
        let relative = name.strip_prefix(&Small::full("")).unwrap_or(&name);
        // tlog-tiles lets a superseded partial tile go; an older checkpoint is covered by every
        // later one; a chunk is missed by who knows the entry that names it.
        let dispensable = (relative.contains(".p/")
            && !relative.ends_with(".p/88")
            && !relative.ends_with("1/000.p/2"))
            || relative.ends_with("003") && relative.starts_with("checkpoints/")
            || relative.ends_with("300")
            || relative.starts_with("blobs/");
        if relative == "epoch/00000000000000000003" || relative.ends_with("600") {
            // The newest of its kind: see the tests of cut tails.
            assert!(relative.starts_with("epoch/") || !report.is_ok(), "{name}");
        } else {
            assert_eq!(report.is_ok(), dispensable, "{name}: {:#?}", report.failures);
            let named = report.failures.iter().any(|failure| failure.object == name);
            assert_eq!(named, !dispensable, "{name}: {:#?}", report.failures);
        }
        store.objects.write(&name, &good).await;
    }
    let missing = tlog::sha256(b"never stored");
    let fault = verify_blob(store.log.store(), &missing, 5).await.unwrap().unwrap().fault;
    assert_eq!(fault, Fault::Missing);
    let there = tlog::sha256(b"a chunk of a response");
    assert_eq!(verify_blob(store.log.store(), &there, 21).await.unwrap(), None);
    let fault = verify_blob(store.log.store(), &there, 20).await.unwrap().unwrap().fault;
    assert_eq!(fault, Fault::Blob);
}

#[tokio::test]
async fn attack_35_swapped_bundles_and_forged_entries_are_found() {
    let store = small(&[600]).await;
    let (a, b) = (Small::full("tile/entries/000"), Small::full("tile/entries/001"));
    let (first, second) = (store.objects.read(&a).await, store.objects.read(&b).await);
    store.objects.write(&a, &second).await;
    store.objects.write(&b, &first).await;
    let report = store.check(None).await;
    let named: BTreeSet<_> = report.failures.iter().map(|f| (f.object.clone(), f.entry)).collect();
    assert_eq!(named, BTreeSet::from([(a.clone(), Some(0)), (b.clone(), Some(256))]));
    store.objects.write(&b, &second).await;

    // An insider without the key changes an entry and its tile to match: the level above differs.
    let mut forged = first.clone();
    forged[5] ^= 1;
    store.objects.write(&a, &forged).await;
    let tile = Small::full("tile/0/000");
    let entries = tlog::decode_bundle(&forged, 256).unwrap();
    let hashes: Vec<_> = entries.iter().map(|entry| tlog::leaf_hash(entry)).collect();
    store.objects.write(&tile, &tlog::encode_tile(&hashes)).await;
    let report = store.check(None).await;
    let places: BTreeSet<_> = report.failures.iter().map(|f| f.object.as_str()).collect();
    assert!(places.contains(Small::full("tile/1/000.p/2").as_str()), "{places:?}");
    assert!(places.contains(Small::full("checkpoints/00000000000000000600").as_str()));
    assert!(report.failures.iter().any(|f| f.fault == Fault::Root));
}

#[tokio::test]
async fn attack_35_a_cut_tail_or_an_older_store_needs_a_memory_to_be_seen() {
    let store = small(&[100, 300]).await;
    let head = store.check(None).await.head.unwrap();
    assert_eq!(head.size, 300);
    // Everything that the checkpoint of 300 brought is taken away, the copy is put back.
    for name in store.objects.names().await {
        let newer = ["300", ".p/44", "1/000.p/1", "tile/0/000", "tile/entries/000"];
        if newer.iter().any(|end| name.ends_with(end))
            || name.ends_with("epoch/00000000000000000002")
        {
            store.objects.remove(&name).await;
        }
    }
    let old = store.objects.read(&Small::full("checkpoints/00000000000000000100")).await;
    store.objects.write(&Small::full("checkpoint"), &old).await;
    let blind = store.check(None).await;
    assert!(blind.is_ok(), "{:#?}", blind.failures);
    let report = store.check(Some(head)).await;
    assert_eq!(report.failure_count, 1);
    assert_eq!(report.failures[0].fault, Fault::TailCut { remembered: 300, found: 100 });
    assert_eq!(report.failures[0].entry, Some(100));
}

#[tokio::test]
async fn attack_35_a_rewritten_log_is_found_by_who_remembers_even_if_signed() {
    // The insider has the key: the whole log is signed anew.
    let store = small(&[50]).await;
    let remembered = store.check(None).await.head.unwrap();
    let forged = Arc::new(Faulty::default());
    let source = Memory::with(50);
    source.entries.lock().unwrap()[20] = "nothing happened".into();
    let log = log_in(&forged);
    publish(&log, &source, &store.signer, &[60]).await;
    let check = async |remembered| {
        let options = VerifyOptions { remembered, ..VerifyOptions::default() };
        verify(&log, store.signer.verifier(), &options).await.unwrap()
    };
    assert!(check(None).await.is_ok());
    let report = check(Some(remembered.clone())).await;
    assert_eq!(report.failure_count, 1);
    assert_eq!(report.failures[0].fault, Fault::Root);
    // And an honest, longer log agrees with the memory.
    let mine = store.source.clone();
    publish(&store.log, &mine, &store.signer, &[90]).await;
    assert!(store.check(Some(remembered)).await.is_ok());
}

#[tokio::test]
async fn attack_35_another_key_or_a_strange_object_is_found() {
    let store = small(&[10]).await;
    let stranger = Signer::generate(ORIGIN).unwrap();
    let options = VerifyOptions::default();
    let report = verify(&store.log, stranger.verifier(), &options).await.unwrap();
    assert!(!report.is_ok() && report.head.is_none());
    for name in ["notes.txt", "tile/0/0", "tile/entries/000.p/300", "checkpoints/10", "epoch/1"] {
        let name = Small::full(name);
        store.objects.write(&name, b"x").await;
        let report = store.check(None).await;
        assert_eq!(report.failures.len(), 1, "{name}: {:#?}", report.failures);
        assert_eq!(
            (&report.failures[0].object, &report.failures[0].fault),
            (&name, &Fault::Unexpected)
        );
        store.objects.remove(&name).await;
    }
}
