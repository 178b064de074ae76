//! Chunks: cutting, sealing, back-pressure, upload.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use audit_sink::store::{
    CHUNK_BYTES, ChunkConfig, ChunkDir, ChunkError, Publisher, Store, VerifyOptions, verify,
    verify_blob,
};
use bytes::Bytes;
use tlog::{Signer, sha256};

use crate::support::{Faulty, LOG, Memory, ORIGIN, log_in, quick};

fn data(len: usize, seed: u8) -> Bytes {
    (0..len).map(|i| (i * 31 + i / 251) as u8 ^ seed).collect()
}

async fn append(writer: &mut audit_sink::store::ChunkWriter, bytes: Bytes) -> u64 {
    poll_fn(|cx| writer.poll_ready(cx)).await.unwrap();
    writer.append(bytes).unwrap()
}

#[tokio::test]
async fn a_response_is_cut_hashed_and_sealed_however_it_is_split() {
    let dir = tempfile::tempdir().unwrap();
    let chunks = ChunkDir::open(&dir.path().join("chunks"), ChunkConfig::default()).unwrap();
    let all = data(2 * CHUNK_BYTES + 12_345, 0);
    let expected: Vec<_> = all.chunks(CHUNK_BYTES).map(|c| (sha256(c), c.len() as u32)).collect();
    for step in [1_000, 65_536, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, all.len()] {
        let mut writer = chunks.writer();
        let mut end = 0;
        for at in (0..all.len()).step_by(step) {
            end = append(&mut writer, all.slice(at..(at + step).min(all.len()))).await;
        }
        assert_eq!(end, all.len() as u64);
        poll_fn(|cx| writer.poll_written(end, cx)).await.unwrap();
        let refs = writer.finished().await.unwrap();
        let refs: Vec<_> = refs.iter().map(|chunk| (chunk.sha256, chunk.len)).collect();
        assert_eq!(refs, expected, "step {step}");
    }
    let mut sealed = chunks.sealed().unwrap();
    assert_eq!(sealed.len(), 3);
    for chunk in &sealed {
        assert_eq!(sha256(&std::fs::read(chunks.file(chunk)).unwrap()), chunk.sha256);
    }
    assert_eq!(chunks.local_bytes(), all.len() as u64);
    chunks.remove(&sealed).unwrap();
    chunks.remove(&sealed).unwrap();
    assert_eq!(chunks.local_bytes(), 0);
    sealed = chunks.sealed().unwrap();
    assert!(sealed.is_empty());
    // A response of nothing has no chunks.
    assert_eq!(chunks.writer().finished().await, Ok(Vec::new()));
}

#[tokio::test]
async fn writers_wait_at_the_limits_and_go_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let limits = ChunkConfig { queue_bytes: 1000, max_local_bytes: 50_000 };
    let chunks = ChunkDir::open(dir.path(), limits).unwrap();
    let mut writer = chunks.writer();
    let mut other = chunks.writer();
    // More than the queue holds, in pieces: goes through because the spooler keeps up.
    for _ in 0..100 {
        append(&mut other, data(499, 1)).await;
    }
    let end = append(&mut other, data(1000, 1)).await;
    let refs = other.finished().await.unwrap();
    assert_eq!(refs.len(), 1);
    assert_eq!(u64::from(refs[0].len), end);
    // Now the folder is full: ready is pending, append refuses.
    let pending = poll_fn(|cx| Poll::Ready(writer.poll_ready(cx).is_pending())).await;
    assert!(pending);
    assert_eq!(writer.append(data(1, 0)), Err(ChunkError::Busy));
    let remove = async {
        tokio::task::yield_now().await;
        chunks.remove(&refs).unwrap();
    };
    let ((), ready) = tokio::join!(remove, poll_fn(|cx| writer.poll_ready(cx)));
    ready.unwrap();
    writer.append(data(1, 0)).unwrap();
    assert_eq!(writer.finished().await.unwrap().len(), 1);
    // Who waits when the folder is closed is told so.
    let mut full = chunks.writer();
    full.append(data(50_000, 2)).unwrap();
    full.finished().await.unwrap();
    let late = chunks.writer();
    let close = async {
        tokio::task::yield_now().await;
        chunks.close();
    };
    let ((), ready) = tokio::join!(close, poll_fn(|cx| late.poll_ready(cx)));
    assert_eq!(ready, Err(ChunkError::Closed));
}

#[tokio::test]
async fn what_a_crash_left_unfinished_is_removed_and_what_was_sealed_stays() {
    let dir = tempfile::tempdir().unwrap();
    let chunks = ChunkDir::open(dir.path(), ChunkConfig::default()).unwrap();
    let mut kept = chunks.writer();
    append(&mut kept, data(10, 0)).await;
    kept.finished().await.unwrap();
    let mut dropped = chunks.writer();
    let end = append(&mut dropped, data(10, 1)).await;
    poll_fn(|cx| dropped.poll_written(end, cx)).await.unwrap();
    std::fs::write(dir.path().join("tmp-77"), b"left").unwrap();
    let again = ChunkDir::open(dir.path(), ChunkConfig::default()).unwrap();
    assert_eq!(again.sealed().unwrap().len(), 1);
    assert_eq!(again.local_bytes(), 10);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    again.close();
    assert_eq!(again.writer().append(data(1, 0)), Err(ChunkError::Closed));
    assert_eq!(again.writer().finished().await, Err(ChunkError::Closed));
}

#[tokio::test]
async fn a_write_error_is_the_writer_s_and_a_lost_folder_fails_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chunks");
    let chunks = ChunkDir::open(&path, ChunkConfig::default()).unwrap();
    let mut writer = chunks.writer();
    let end = append(&mut writer, data(10, 0)).await;
    poll_fn(|cx| writer.poll_written(end, cx)).await.unwrap();
    std::fs::remove_dir_all(&path).unwrap();
    let mut second = chunks.writer();
    append(&mut second, data(10, 1)).await;
    assert!(matches!(second.finished().await, Err(ChunkError::Write(_))));
    assert_eq!(writer.finished().await, Err(ChunkError::Failed));
    assert!(chunks.has_failed());
    assert_eq!(chunks.writer().append(data(1, 0)), Err(ChunkError::Failed));
}

#[tokio::test]
async fn chunks_are_in_the_store_before_the_entries_that_name_them() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("store");
    let objects = Arc::new(Faulty::default());
    let in_memory = log_in(&objects);
    let in_folder = Store::open(folder.to_str().unwrap()).unwrap().log(LOG).unwrap();
    for (place, log) in [in_memory, in_folder].into_iter().enumerate() {
        let path = dir.path().join(format!("chunks{place}"));
        let chunks = ChunkDir::open(&path, ChunkConfig::default()).unwrap();
        let signer = Signer::generate(ORIGIN).unwrap();
        let source = Memory::with(0);
        let mut config = quick(&source);
        config.chunks = Some(chunks.clone());
        let publisher =
            Publisher::start(log.clone(), source.clone(), signer.clone(), config).await.unwrap();
        let mut writer = chunks.writer();
        append(&mut writer, data(CHUNK_BYTES + 5, 9)).await;
        let refs = writer.finished().await.unwrap();
        source.grow_to(1);
        publisher.wait_published(1).await.unwrap();
        for chunk in &refs {
            let len = u64::from(chunk.len);
            assert_eq!(verify_blob(log.store(), &chunk.sha256, len).await.unwrap(), None);
        }
        // The same bytes again: the object is there already, and that is no error. One that somebody
        // took away is there again afterwards.
        if log.store().folder().is_some() {
            let blob = folder.join("blobs").join(refs[0].sha256.to_hex());
            std::fs::remove_file(blob).unwrap();
        }
        let mut writer = chunks.writer();
        append(&mut writer, data(CHUNK_BYTES + 5, 9)).await;
        assert_eq!(writer.finished().await.unwrap(), refs);
        publisher.seal().await.unwrap();
        assert!(chunks.sealed().unwrap().is_empty());
        let options = VerifyOptions { blobs: true, ..VerifyOptions::default() };
        let report = verify(&log, signer.verifier(), &options).await.unwrap();
        assert!(report.is_ok(), "{report:#?}");
        assert_eq!(report.blobs, 2);
    }
    let order = objects.order.lock().unwrap().clone();
    let bundle = order.iter().position(|name| name.contains("entries")).unwrap();
    let blobs = order[..bundle].iter().filter(|name| name.starts_with("blobs/")).count();
    assert_eq!(blobs, 2);
}
