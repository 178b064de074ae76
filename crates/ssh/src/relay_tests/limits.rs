//! What may wait, and how much of it; and where connections may lead.

use super::*;

impl Peer {
    /// All that is granted in what comes before nothing does.
    async fn granted(&mut self) -> u64 {
        let mut granted = 0;
        while let Ok(Some(packet)) = timeout(MOMENT, self.rx.recv()).await {
            if let Packet::WindowAdjust { bytes, .. } = packet::parse(&packet).unwrap() {
                granted += u64::from(bytes);
            }
        }
        granted
    }
}

#[tokio::test]
async fn what_waits_for_the_journal_is_bounded_by_the_window_both_ways() {
    for shell in [false, true] {
        let mut rig = Rig::start(all()).await;
        rig.open(0, 7, WINDOW + words(WINDOW.into()), WINDOW).await;
        if shell {
            let terminal = [&[0, 0, 0, 1, b'x'][..], &[0; 20]].concat();
            rig.client.send(write::request(7, b"pty-req", false, &terminal)).await;
            rig.target.next().await;
        }
        rig.run(0, 7, "cat").await;
        rig.full.store(true, Ordering::SeqCst);
        let piece = [b'x'; 32_768];
        // Little, so that it has its place in an entry; all else waits behind it.
        rig.target.send(write::data(0, &piece[..1])).await;
        rig.target.send(write::data(0, &piece[1..])).await;
        for _ in 1..32 {
            rig.target.send(write::data(0, &piece)).await;
        }
        // The client takes a byte more, and a byte more; the target gets no second megabyte.
        for _ in 0..20 {
            rig.client.send(write::window_adjust(7, 1)).await;
        }
        let granted = rig.target.granted().await;
        assert!(granted <= 20, "{granted} bytes while all that came still waits");
        for _ in 0..32 {
            rig.client.send(write::data(7, &piece)).await;
        }
        for _ in 0..20 {
            rig.target.send(write::window_adjust(0, 1)).await;
        }
        let granted = rig.client.granted().await;
        assert!(granted <= 20, "{granted} bytes while all that came still waits");
        // All of it goes on when there is room.
        rig.full.store(false, Ordering::SeqCst);
        rig.client.stream(32 * piece.len()).await;
        rig.target.stream(32 * piece.len()).await;
        rig.target.send(write::close(0)).await;
        rig.client.expect(write::close(0)).await;
        let details = &rig.entries("response")[0];
        assert_eq!(details["bytes"], 32 * piece.len());
        assert_eq!(details["input_bytes"], 32 * piece.len());
    }
}

#[tokio::test]
async fn requests_without_end_behind_a_full_journal_stop_their_sender() {
    let mut rig = Rig::start(all()).await;
    rig.exec(0, 7, "cat").await;
    rig.full.store(true, Ordering::SeqCst);
    rig.target.send(write::data(0, b"x")).await;
    rig.target.expect_nothing().await;
    // What is no data is bounded by no window. A megabyte of it in large packets, twice.
    let size = write::request(7, b"window-change", false, &[0; 16]);
    let eow = write::request(0, b"eow@openssh.com", false, &[0; 20_000]);
    let target = rig.target.tx.clone().unwrap();
    let client = rig.client.tx.clone().unwrap();
    let flood = |to: mpsc::Sender<Vec<u8>>, packet: Bytes, most: usize| async move {
        let mut sent = 0;
        while sent < most
            && timeout(MOMENT * 4, to.send(packet.to_vec())).await.is_ok_and(|r| r.is_ok())
        {
            sent += packet.len();
        }
        sent
    };
    let of_target = flood(target, eow, 8 << 20).await;
    assert!(of_target < 3 << 20, "{of_target} bytes were taken");
    let of_client = flood(client, size, 1 << 20).await;
    assert!(of_client < 512 << 10, "{of_client} bytes were taken");
    // It lives, and goes on.
    rig.full.store(false, Ordering::SeqCst);
    rig.client.expect_stream(b"x").await;
}

#[tokio::test]
async fn many_small_packets_stop_their_sender() {
    let mut rig = Rig::start(all()).await;
    rig.exec(0, 7, "cat").await;
    // The target's connection takes nothing: a byte a packet waits, with all that is around it.
    let client = rig.client.tx.clone().unwrap();
    let byte = write::data(7, b"x").to_vec();
    let mut sent: usize = 0;
    while sent < 100_000
        && timeout(MOMENT * 4, client.send(byte.clone())).await.is_ok_and(|r| r.is_ok())
    {
        sent += 1;
    }
    assert!(sent < 20_000, "{sent} packets were taken");
    // None is lost.
    rig.target.stream(sent).await;
}

#[tokio::test]
async fn a_place_is_denied_however_it_is_written() {
    let mut rules = all();
    (rules.allow.local_forward, rules.allow.local_streamlocal) = (true, true);
    let mut rig = Rig::start(rules).await;
    let string =
        |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let tcp = |host: &str| {
        let from = [string(b"127.0.0.1"), vec![0, 0, 1, 0]].concat();
        let rest = [string(host.as_bytes()), 5432u32.to_be_bytes().to_vec(), from].concat();
        (b"direct-tcpip".as_slice(), rest)
    };
    let unix = |path: &str| {
        let rest = [string(path.as_bytes()), string(b""), vec![0; 4]].concat();
        (b"direct-streamlocal@openssh.com".as_slice(), rest)
    };
    let denied = [
        tcp("db.example"),
        tcp("DB.Example"),
        tcp("db.example."),
        tcp("10.0.0.9"),
        tcp("::ffff:10.0.0.9"),
        tcp("0:0:0::ffff:a00:9"),
        tcp("10.9"),
        tcp("167772169"),
        tcp("db.example\0x"),
        unix("/kept/sock"),
        unix("/run/../kept/sock"),
        unix("//kept//sock"),
        unix("kept/../sock"),
    ];
    let count = denied.len();
    for (kind, rest) in denied {
        rig.client.send(write::open(kind, 5, WINDOW, 32_768, &rest)).await;
        let refused = rig.client.next().await;
        assert!(matches!(packet::parse(&refused), Ok(Packet::OpenFailure { code: 1, .. })));
    }
    rig.target.expect_nothing().await;
    let commands = rig.entries("command");
    assert_eq!(commands.iter().filter(|c| c["verdict"] == "deny").count(), count);
    let (kind, rest) = tcp("Other.Example");
    rig.client.send(write::open(kind, 5, WINDOW, 32_768, &rest)).await;
    rig.target.expect(write::open(kind, 5, WINDOW, 32_768, &rest)).await;
}
