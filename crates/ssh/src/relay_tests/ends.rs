//! How programs and sessions end, and what is told and recorded of it.

use super::*;

#[tokio::test]
async fn the_end_of_the_proxy_is_told_and_recorded() {
    let mut rig = Rig::start(all()).await;
    rig.exec(0, 7, "sleep 1000").await;
    rig.shutdown.take().unwrap().send(()).unwrap();
    let told = rig.client.next().await;
    let Ok(Packet::ExtendedData { code: 1, data, .. }) = packet::parse(&told) else {
        panic!("{told:?}")
    };
    assert!(String::from_utf8_lossy(data).contains("shutting down"));
    rig.client.expect(write::close(0)).await;
    rig.target.expect(write::close(7)).await;
    let ended = timeout(PATIENCE, &mut rig.ended).await.unwrap().unwrap();
    assert_eq!(ended.reason, "shutdown");
    let response = &rig.entries("response")[0];
    assert_eq!(response["outcome"], "ended");
    assert_eq!(response["details"]["ended_by"], "shutdown");
}

#[tokio::test]
async fn a_lost_target_is_told_and_recorded() {
    let mut rig = Rig::start(all()).await;
    rig.exec(0, 7, "reboot").await;
    rig.target.tx = None;
    let told = rig.client.next().await;
    assert!(matches!(packet::parse(&told), Ok(Packet::ExtendedData { code: 1, .. })));
    rig.client.expect(write::close(0)).await;
    assert_eq!(rig.entries("response")[0]["outcome"], "lost");
}

#[tokio::test]
async fn an_exit_status_does_not_wait_for_a_program_left_behind() {
    let mut rig = Rig::start(all()).await;
    rig.exec(0, 7, "sleep 1000 &").await;
    rig.target.send(write::exit_status(0, 0)).await;
    rig.client.expect(write::exit_status(0, 0)).await;
    // It was told, so it is on record.
    assert!(rig.recorded().ends_with("x\u{1}0"), "{:?}", rig.recorded());
    rig.target.send(write::data(0, b"later")).await;
    rig.client.expect(write::data(0, b"later")).await;
    rig.target.send(write::close(0)).await;
    rig.client.expect(write::close(0)).await;
    assert_eq!(rig.entries("response")[0]["outcome"], "ok");
    assert!(rig.recorded().ends_with("o\u{5}later"), "{:?}", rig.recorded());
}

#[tokio::test]
async fn an_exit_status_is_recorded_behind_what_comes_with_it() {
    let mut rig = Rig::start(all()).await;
    rig.exec(0, 7, "make").await;
    rig.target.send(write::exit_status(0, 2)).await;
    rig.target.send(write::data(0, b"last")).await;
    rig.target.send(write::close(0)).await;
    rig.client.expect(write::data(0, b"last")).await;
    rig.client.expect(write::exit_status(0, 2)).await;
    let recorded = rig.recorded();
    assert!(recorded.contains("o\u{4}last") && recorded.ends_with("x\u{1}2"), "{recorded:?}");
}

#[tokio::test]
async fn a_client_whose_window_is_full_is_told_why_its_program_ends() {
    let mut rig = Rig::start(all()).await;
    rig.exec(0, 7, "yes").await;
    let flood = vec![b'y'; OFFERED as usize];
    for piece in flood.chunks(32_768) {
        rig.target.send(write::data(0, piece)).await;
        rig.client.expect(write::data(0, piece)).await;
    }
    rig.target.expect_nothing().await;
    rig.shutdown.take().unwrap().send(()).unwrap();
    let told = rig.client.next().await;
    let Ok(Packet::ExtendedData { code: 1, data, .. }) = packet::parse(&told) else {
        panic!("{told:?}")
    };
    assert!(String::from_utf8_lossy(data).contains("shutting down"));
    rig.client.expect(write::close(0)).await;
}
