//! Transfers of files between peers that are the test itself.

use super::*;

const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const REMOVE: u8 = 13;
const REALPATH: u8 = 16;
const STAT: u8 = 17;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// A packet of sftp's with a number.
fn sftp(kind: u8, id: u32, fields: &[&[u8]]) -> Vec<u8> {
    string(&[&[kind][..], &id.to_be_bytes(), &fields.concat()].concat())
}

/// An open with these flags.
fn open(id: u32, path: &[u8], flags: u32) -> Vec<u8> {
    sftp(OPEN, id, &[&string(path), &flags.to_be_bytes(), &[0; 4]])
}

fn status(id: u32, code: u32) -> Vec<u8> {
    sftp(STATUS, id, &[&code.to_be_bytes(), &string(b""), &string(b"")])
}

fn read(id: u32, handle: &[u8], offset: u64, length: u32) -> Vec<u8> {
    sftp(READ, id, &[&string(handle), &offset.to_be_bytes(), &length.to_be_bytes()])
}

fn write(id: u32, handle: &[u8], offset: u64, content: &[u8]) -> Vec<u8> {
    sftp(WRITE, id, &[&string(handle), &offset.to_be_bytes(), &string(content)])
}

impl Peer {
    /// The next data, whatever window comes with it.
    pub(super) async fn data(&mut self) -> Vec<u8> {
        loop {
            match packet::parse(&self.next().await).unwrap() {
                Packet::Data { data, .. } => return data.to_vec(),
                Packet::WindowAdjust { .. } | Packet::ExtendedData { .. } => {}
                other => panic!("no data: {other:?}"),
            }
        }
    }

    /// So much of the stream's data, in however many packets.
    pub(super) async fn stream(&mut self, bytes: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < bytes {
            all.extend_from_slice(&self.data().await);
        }
        all
    }

    pub(super) async fn expect_stream(&mut self, bytes: &[u8]) {
        assert_eq!(self.stream(bytes.len()).await, bytes);
    }

    /// The number and the code of a status of ours.
    async fn refusal(&mut self) -> (u32, u32) {
        let got = self.data().await;
        assert_eq!(got[4], STATUS);
        let number = |at: usize| u32::from_be_bytes(got[at..at + 4].try_into().unwrap());
        assert!(got.windows(9).any(|w| w == b"greffier:"));
        (number(5), number(9))
    }
}

impl Rig {
    /// A channel with an sftp session whose relative paths begin at `/home/a`.
    async fn sftp(&mut self, piece: usize) {
        self.open(0, 7, WINDOW, WINDOW).await;
        let start = write::line_request(7, b"subsystem", true, b"sftp");
        self.client.send(start.clone()).await;
        self.target.expect(start).await;
        self.target.send(write::success(0)).await;
        self.client.expect(write::success(0)).await;
        let init = [0, 0, 0, 5, 1, 0, 0, 0, 3];
        self.say(&init, piece).await;
        let home = sftp(REALPATH, 0, &[&string(b".")]);
        self.target.expect_stream(&[&init[..], &home].concat()).await;
        let version = [0, 0, 0, 5, 2, 0, 0, 0, 3];
        self.answer(&version, piece).await;
        let place = [string(b"/home/a"), string(b""), vec![0; 4]].concat();
        self.answer(&sftp(NAME, 0, &[&1u32.to_be_bytes(), &place]), piece).await;
        self.client.expect_stream(&version).await;
    }

    /// The client sends this, in pieces.
    async fn say(&self, stream: &[u8], piece: usize) {
        for part in stream.chunks(piece) {
            self.client.send(write::data(7, part)).await;
        }
    }

    /// The target does.
    async fn answer(&self, stream: &[u8], piece: usize) {
        for part in stream.chunks(piece) {
            self.target.send(write::data(0, part)).await;
        }
    }

    /// Opens a file; its handle is `h` and a byte.
    async fn file(&mut self, id: u32, path: &[u8], flags: u32) {
        let request = open(id, path, flags);
        self.say(&request, 4096).await;
        self.target.expect_stream(&request).await;
        let given = sftp(HANDLE, id, &[&string(b"h")]);
        self.answer(&given, 4096).await;
        self.client.expect_stream(&given).await;
    }
}

/// The outcome of the command about this path.
fn outcome_of(lines: &Lines, path: &str) -> Value {
    let lines = lines.0.lock().unwrap();
    let entries = lines.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let entries: Vec<Value> =
        entries.map(|line| serde_json::from_slice::<Value>(line).unwrap()).collect();
    let command = entries.iter().find(|e| e["details"]["path"] == path).unwrap();
    let same = |e: &&Value| e["type"] == "response" && e["command"] == command["command"];
    entries.iter().find(same).cloned().unwrap()
}

#[tokio::test]
async fn what_is_refused_is_withheld_and_its_neighbours_go_on() {
    for piece in [1, 7, 4096] {
        let mut rig = Rig::start(all()).await;
        rig.sftp(piece).await;
        let (one, three) =
            (sftp(STAT, 1, &[&string(b"/a")]), sftp(STAT, 3, &[&string(b"/kept/x")]));
        // By a path that leads there from where relative paths begin.
        let two = sftp(REMOVE, 2, &[&string(b"../../kept/./x")]);
        rig.say(&[&one[..], &two, &three].concat(), piece).await;
        rig.target.expect_stream(&[&one[..], &three].concat()).await;
        assert_eq!(rig.client.refusal().await, (2, 3));
        rig.answer(&[status(3, 2), status(1, 0)].concat(), piece).await;
        rig.client.expect_stream(&[status(3, 2), status(1, 0)].concat()).await;
        let (_, lines) = rig.end().await;
        assert_eq!(outcome_of(&lines, "/kept/x")["code"], "SSH_FX_NO_SUCH_FILE");
        assert_eq!(outcome_of(&lines, "/a")["outcome"], "ok");
    }
}

#[tokio::test]
async fn a_content_is_never_torn_by_a_refusal() {
    let mut rig = Rig::start(all()).await;
    rig.sftp(4096).await;
    rig.file(1, b"/a", 1).await;
    let request = read(2, b"h", 0, 100);
    rig.say(&request, 4096).await;
    rig.target.expect_stream(&request).await;
    let answer = sftp(DATA, 2, &[&string(&[b'x'; 100])]);
    rig.answer(&answer[..50], 4096).await;
    rig.client.expect_stream(&answer[..50]).await;
    rig.say(&sftp(REMOVE, 3, &[&string(b"/kept/x")]), 4096).await;
    // The reason is told beside the stream; the status waits.
    let told = rig.client.next().await;
    assert!(matches!(packet::parse(&told), Ok(Packet::ExtendedData { .. })), "{told:?}");
    rig.client.expect_nothing().await;
    rig.answer(&answer[50..], 4096).await;
    rig.client.expect_stream(&answer[50..]).await;
    assert_eq!(rig.client.refusal().await, (3, 3));
}

#[tokio::test]
async fn answers_in_any_order_and_closes_before_them_lose_nothing() {
    let mut rig = Rig::start(all()).await;
    rig.sftp(4096).await;
    rig.file(1, b"/a", 1).await;
    let close = sftp(CLOSE, 5, &[&string(b"h")]);
    let asked = [read(2, b"h", 0, 4), read(3, b"h", 4, 4), read(4, b"h", 6, 4), close].concat();
    rig.say(&asked, 4096).await;
    rig.target.expect_stream(&asked).await;
    let (first, second) = (sftp(DATA, 2, &[&string(b"abcd")]), sftp(DATA, 3, &[&string(b"ef")]));
    // The close's answer waits until all others are there: only then it is known what crossed.
    rig.answer(&[status(5, 0), status(4, 1), second.clone()].concat(), 4096).await;
    rig.client.expect_stream(&[status(4, 1), second].concat()).await;
    rig.client.expect_nothing().await;
    rig.answer(&first, 4096).await;
    rig.client.expect_stream(&[first, status(5, 0)].concat()).await;
    let (_, lines) = rig.end().await;
    let answer = outcome_of(&lines, "/a");
    let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"abcdef");
    assert_eq!(answer["details"]["read_sha256"], hex::encode(sum), "{answer}");
    assert_eq!(answer["details"]["whole"], "true");
}

#[tokio::test]
async fn a_handle_that_nobody_gave_is_refused_with_its_content() {
    let mut rig = Rig::start(all()).await;
    rig.sftp(4096).await;
    rig.file(1, b"/a", 0x1a).await;
    let good = write(3, b"h", 0, b"good");
    let bad = write(2, b"x", 0, &[b'b'; 10_000]);
    rig.say(&[&bad[..], &good].concat(), 4096).await;
    rig.target.expect_stream(&good).await;
    assert_eq!(rig.client.refusal().await, (2, 4));
    rig.say(&read(4, b"", 0, 1), 4096).await;
    assert_eq!(rig.client.refusal().await, (4, 4));
    // Open when the channel ends.
    let (_, lines) = rig.end().await;
    let answer = outcome_of(&lines, "/a");
    assert_eq!(answer["outcome"], "cancelled", "{answer}");
    assert_eq!(answer["details"]["written_bytes"], "4");
}

#[tokio::test]
async fn what_is_not_whole_has_no_hash() {
    let mut rig = Rig::start(all()).await;
    rig.sftp(4096).await;
    rig.file(1, b"/a", 0x1a).await;
    let asked = [write(2, b"h", 4, b"more"), sftp(CLOSE, 3, &[&string(b"h")])].concat();
    rig.say(&asked, 4096).await;
    rig.target.expect_stream(&asked).await;
    rig.answer(&[status(2, 0), status(3, 0)].concat(), 4096).await;
    rig.client.expect_stream(&[status(2, 0), status(3, 0)].concat()).await;
    let (_, lines) = rig.end().await;
    let details = outcome_of(&lines, "/a")["details"].clone();
    assert_eq!((&details["whole"], &details["written_bytes"]), (&"false".into(), &"4".into()));
    assert!(details.get("written_sha256").is_none());
}

#[tokio::test]
async fn a_size_told_by_path_says_where_a_file_ends() {
    for (told, whole) in [(4u64, "true"), (5, "false")] {
        let mut rig = Rig::start(all()).await;
        rig.sftp(4096).await;
        let stat = sftp(STAT, 9, &[&string(b"/a")]);
        rig.say(&stat, 4096).await;
        rig.target.expect_stream(&stat).await;
        let fields = [&5u32.to_be_bytes()[..], &told.to_be_bytes(), &0o100_644u32.to_be_bytes()];
        let attributes = sftp(105, 9, &fields);
        rig.answer(&attributes, 4096).await;
        rig.client.expect_stream(&attributes).await;
        rig.file(1, b"/a", 1).await;
        let asked = [read(2, b"h", 0, 4), sftp(CLOSE, 3, &[&string(b"h")])].concat();
        rig.say(&asked, 4096).await;
        rig.target.expect_stream(&asked).await;
        let answers = [sftp(DATA, 2, &[&string(b"abcd")]), status(3, 0)].concat();
        rig.answer(&answers, 4096).await;
        rig.client.expect_stream(&answers).await;
        let (_, lines) = rig.end().await;
        let lines = lines.0.lock().unwrap();
        assert_eq!(count(&lines, &format!("\"whole\":\"{whole}\"")), 1);
        assert_eq!(count(&lines, "read_sha256"), usize::from(told == 4));
    }
}

/// How often a text is in the record.
fn count(lines: &[u8], text: &str) -> usize {
    lines.windows(text.len()).filter(|w| *w == text.as_bytes()).count()
}

#[tokio::test]
#[allow(clippy::await_holding_lock, reason = "the disk is what is slow, not this task")]
async fn nothing_is_opened_or_closed_before_its_record_is_durable() {
    let mut rig = Rig::start(all()).await;
    rig.sftp(4096).await;
    let disk = rig.disk.clone();
    let held = disk.lock().unwrap();
    rig.say(&open(1, b"/a", 1), 4096).await;
    rig.target.expect_nothing().await;
    drop(held);
    rig.target.expect_stream(&open(1, b"/a", 1)).await;
    let given = sftp(HANDLE, 1, &[&string(b"h")]);
    rig.answer(&given, 4096).await;
    rig.client.expect_stream(&given).await;
    let close = sftp(CLOSE, 2, &[&string(b"h")]);
    rig.say(&close, 4096).await;
    rig.target.expect_stream(&close).await;
    let held = disk.lock().unwrap();
    rig.answer(&status(2, 0), 4096).await;
    rig.client.expect_nothing().await;
    drop(held);
    rig.client.expect_stream(&status(2, 0)).await;
}

#[tokio::test]
async fn open_files_are_bounded() {
    let mut rig = Rig::start(all()).await;
    rig.sftp(4096).await;
    for n in 1..=256 {
        rig.say(&open(n, b"/a", 1), 4096).await;
    }
    rig.target.stream(open(1, b"/a", 1).len() * 256).await;
    rig.say(&open(257, b"/a", 1), 4096).await;
    assert_eq!(rig.client.refusal().await, (257, 3));
}

#[tokio::test]
async fn a_client_that_reads_no_refusals_is_not_read() {
    let mut rig = Rig::start(all()).await;
    rig.sftp(4096).await;
    // The refusals fill the window of a megabyte that the client never opens again.
    let one = sftp(REMOVE, 1, &[&string(b"/kept/x")]);
    let many = u32::try_from(20_000 / one.len()).unwrap();
    let (mut granted, mut sent, mut id) = (u64::from(WINDOW) - 9, 0u64, 0);
    loop {
        let mut batch = Vec::new();
        for _ in 0..many {
            id += 1;
            batch.extend_from_slice(&sftp(REMOVE, id, &[&string(b"/kept/x")]));
        }
        while granted < batch.len() as u64 {
            match timeout(MOMENT * 20, rig.client.rx.recv()).await {
                Ok(Some(packet)) => {
                    if let Ok(Packet::WindowAdjust { bytes, .. }) = packet::parse(&packet) {
                        granted += u64::from(bytes);
                    }
                }
                Ok(None) => panic!("the session ended"),
                Err(_) => {
                    assert!(sent < 4 * u64::from(WINDOW), "{sent}");
                    return;
                }
            }
        }
        granted -= batch.len() as u64;
        sent += batch.len() as u64;
        rig.say(&batch, 32_000).await;
        assert!(sent < 64 * u64::from(WINDOW), "it never stops");
    }
}

#[tokio::test]
async fn a_client_is_promised_no_extension_that_would_be_refused() {
    let pair = |name: &[u8]| [string(name), string(b"1")].concat();
    let version = |pairs: &[Vec<u8>]| string(&[&[2, 0, 0, 0, 3][..], &pairs.concat()].concat());
    let known = pair(b"posix-rename@openssh.com");
    for piece in [1, 4096] {
        let mut rig = Rig::start(all()).await;
        rig.open(0, 7, WINDOW, WINDOW).await;
        let start = write::line_request(7, b"subsystem", true, b"sftp");
        rig.client.send(start.clone()).await;
        rig.target.expect(start).await;
        rig.target.send(write::success(0)).await;
        rig.client.expect(write::success(0)).await;
        rig.say(&[0, 0, 0, 5, 1, 0, 0, 0, 3], 4096).await;
        rig.target.stream(9).await;
        rig.answer(&version(&[pair(b"ranges@asyncssh.com"), known.clone()]), piece).await;
        rig.client.expect_stream(&version(std::slice::from_ref(&known))).await;
    }
}

#[tokio::test]
async fn a_client_that_speaks_a_later_version_gets_the_one_that_is_spoken_here() {
    let mut rig = Rig::start(all()).await;
    rig.open(0, 7, WINDOW, WINDOW).await;
    let start = write::line_request(7, b"subsystem", true, b"sftp");
    rig.client.send(start.clone()).await;
    rig.target.expect(start).await;
    rig.target.send(write::success(0)).await;
    rig.client.expect(write::success(0)).await;
    // WinSCP begins with 6; some servers would take it.
    rig.say(&[0, 0, 0, 5, 1, 0, 0, 0, 6], 4096).await;
    let home = sftp(REALPATH, 0, &[&string(b".")]);
    rig.target.expect_stream(&[&[0, 0, 0, 5, 1, 0, 0, 0, 3], &home[..]].concat()).await;
}

#[tokio::test]
async fn refusals_behind_a_content_that_does_not_end_are_bounded() {
    let mut rig = Rig::start(all()).await;
    rig.sftp(4096).await;
    rig.file(1, b"/a", 1).await;
    let request = read(2, b"h", 0, 1000);
    rig.say(&request, 4096).await;
    rig.target.expect_stream(&request).await;
    let answer = sftp(DATA, 2, &[&string(&[b'x'; 1000])]);
    rig.answer(&answer[..500], 4096).await;
    rig.client.expect_stream(&answer[..500]).await;
    // No refusal can stand inside of it, and the client asks on.
    let client = rig.client.tx.clone().unwrap();
    let (mut sent, mut refused) = (0, 0);
    for id in 3..20_000 {
        let remove = sftp(REMOVE, id, &[&string(b"/kept/x")]);
        let packet = write::data(7, &remove).to_vec();
        sent += remove.len();
        if !timeout(MOMENT * 10, client.send(packet)).await.is_ok_and(|sent| sent.is_ok()) {
            break;
        }
    }
    // All that was taken is on record.
    while rig.entries("command").len() > refused {
        refused = rig.entries("command").len();
        tokio::time::sleep(MOMENT * 2).await;
    }
    assert!(refused < 1000, "{refused} refusals wait, of {sent} bytes");
    // They come behind it.
    rig.answer(&answer[500..], 4096).await;
    rig.client.expect_stream(&answer[500..]).await;
    assert_eq!(rig.client.refusal().await, (3, 3));
}

/// Why the channel `0` ends: told on standard error, in front of the channel's end.
async fn broken_off(rig: &mut Rig) -> String {
    let mut told = Vec::new();
    loop {
        match packet::parse(&rig.client.next().await).unwrap() {
            Packet::ExtendedData { code: 1, data, .. } => told.extend_from_slice(data),
            Packet::Close { recipient: 0 } => return String::from_utf8(told).unwrap(),
            Packet::WindowAdjust { .. } | Packet::Data { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The other channels of the connection live, and the number can be used again.
async fn lives(rig: &mut Rig) {
    // What was under way when the other side was told is nobody's fault.
    rig.client.send(write::data(7, b"late")).await;
    rig.client.send(write::eof(7)).await;
    rig.target.send(write::data(0, b"late")).await;
    rig.target.send(write::request(0, b"exit-status", false, &[0; 4])).await;
    rig.client.send(write::close(7)).await;
    loop {
        match packet::parse(&rig.target.next().await).unwrap() {
            Packet::Close { recipient: 7 } => break,
            Packet::WindowAdjust { .. } | Packet::Data { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    rig.target.send(write::close(0)).await;
    rig.target.send(write::data(3, b"sibling")).await;
    rig.client.expect(write::data(3, b"sibling")).await;
    rig.exec(0, 7, "true").await;
}

#[tokio::test]
async fn a_target_that_breaks_the_protocol_of_files_ends_that_channel_alone() {
    for (answer, why) in [
        (sftp(DATA, 1, &[&string(b"secret")]), "fits its request not"),
        (sftp(HANDLE, 1, &[&string(b"h")]), "fits its request not"),
        (status(9, 0), "nobody asked"),
        (vec![0, 0xff, 0xff, 0xff, STATUS], "too long"),
    ] {
        let mut rig = Rig::start(all()).await;
        rig.exec(3, 9, "sleep 1000").await;
        rig.sftp(4096).await;
        let stat = sftp(STAT, 1, &[&string(b"/a")]);
        rig.say(&stat, 4096).await;
        rig.target.expect_stream(&stat).await;
        rig.answer(&answer, 4096).await;
        let told = broken_off(&mut rig).await;
        assert!(told.contains(why) && told.contains("the target's stream"), "{told}");
        let of_stat = outcome_of(&rig.lines, "/a");
        assert_eq!(of_stat["outcome"], "lost");
        let channel = &rig.entries("response")[1];
        assert_eq!(channel["outcome"], "lost");
        assert!(channel["details"]["ended_by"].as_str().unwrap().contains(why), "{channel}");
        lives(&mut rig).await;
    }
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_of_files_ends_that_channel_alone() {
    for (said, why) in [
        (vec![0xff, 0xff, 0xff, 0xff, REMOVE], "too long"),
        (sftp(STAT, 1, &[&[0, 0, 0, 99]]), "sftp"),
        ([&sftp(STAT, 1, &[&string(b"/b")])[..], &[0, 0, 0, 0]].concat(), "sftp"),
    ] {
        let mut rig = Rig::start(all()).await;
        rig.exec(3, 9, "sleep 1000").await;
        rig.sftp(4096).await;
        rig.say(&said, 4096).await;
        let told = broken_off(&mut rig).await;
        assert!(told.contains(why) && told.contains("the client's stream"), "{told}");
        let channel = rig.entries("response").pop().unwrap();
        assert!(channel["details"]["ended_by"].as_str().unwrap().contains(why), "{channel}");
        lives(&mut rig).await;
    }
    // Before it is known where paths begin, too.
    let mut rig = Rig::start(all()).await;
    rig.exec(3, 9, "sleep 1000").await;
    rig.open(0, 7, WINDOW, WINDOW).await;
    rig.client.send(write::line_request(7, b"subsystem", true, b"sftp")).await;
    rig.target.next().await;
    rig.target.send(write::success(0)).await;
    rig.client.expect(write::success(0)).await;
    rig.say(&[0, 0, 0, 5, 1, 0, 0, 0, 3], 4096).await;
    rig.target.stream(9).await;
    // A login script of the target's that talks.
    rig.answer(b"Welcome!\n", 4096).await;
    let told = broken_off(&mut rig).await;
    assert!(told.contains("the target's stream"), "{told}");
    for n in 0..100 {
        rig.client.send(write::data(7, &[n; 1000])).await;
    }
    lives(&mut rig).await;
}

#[tokio::test]
async fn an_old_source_that_does_not_wait_is_not_read() {
    let mut rig = Rig::start(all()).await;
    rig.exec(0, 7, "scp -t /a").await;
    // The target never says that it is ready.
    let piece = [b'x'; 32_000];
    rig.say(b"C0644 100000000 a\n", 4096).await;
    for _ in 0..32 {
        rig.client.send(write::data(7, &piece)).await;
    }
    rig.target.expect_nothing().await;
    let mut granted = 0;
    while let Ok(Some(packet)) = timeout(MOMENT, rig.client.rx.recv()).await {
        match packet::parse(&packet).unwrap() {
            Packet::WindowAdjust { bytes, .. } => granted += bytes,
            other => panic!("{other:?}"),
        }
    }
    assert!(granted < 128 * 1024, "{granted}");
    // It goes on when the target does.
    rig.target.send(write::data(0, b"\0")).await;
    rig.client.expect_stream(b"\0").await;
    rig.target.expect_stream(b"C0644 100000000 a\n").await;
    rig.target.send(write::data(0, b"\0")).await;
    rig.client.expect_stream(b"\0").await;
    rig.target.stream(32 * piece.len()).await;
    let (_, lines) = rig.end().await;
    let answer = outcome_of(&lines, "/a/a");
    assert_eq!(
        (&answer["outcome"], &answer["details"]["whole"]),
        (&"cancelled".into(), &"false".into())
    );
}

#[tokio::test]
async fn an_old_source_is_told_no_by_its_own_protocol() {
    for piece in [1, 4096] {
        let mut rig = Rig::start(all()).await;
        rig.exec(0, 7, "scp -t /kept/").await;
        rig.target.send(write::data(0, b"\0")).await;
        rig.client.expect_stream(b"\0").await;
        rig.say(b"C0644 3 a\n", piece).await;
        let told = rig.client.data().await;
        assert!(told.starts_with(b"\x01greffier: ") && told.ends_with(b"\n"));
        assert!(String::from_utf8(told).unwrap().contains("kept-as-is"));
        rig.target.expect_nothing().await;
        // The next one begins.
        rig.exec(3, 9, "sleep 1000").await;
        rig.say(b"E\n", piece).await;
        let told = broken_off(&mut rig).await;
        assert!(told.contains("do not nest") && told.contains("as rcp"), "{told}");
        lives(&mut rig).await;
    }
}
