//! The relay between two peers that are the test itself, packet by packet, over a journal of
//! lines in memory.

mod ends;
mod files;
mod limits;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dev_issuer::{Claims, DevIssuer};
use gate::{Arrival, Gate, Journal, JournalError, JsonLines, Recording, Session, Target, Wait};
use serde_json::Value;
use ssh_wire::packet::{self, OpenFailure, Packet, write};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::channel::ledger::words;
use crate::pump::Sender;
use crate::relay::{Ended, Leg, Relay};
use crate::rules::{Allow, ChannelRules};
use crate::side::Side;

const AUDIENCE: &str = "https://greffier.test";
const ARRIVAL: Arrival<'static> = Arrival { protocol: "ssh", peer: "127.0.0.1:1", target: b"web1" };
/// How long a test waits for a packet that must come.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a test waits to see that none comes.
const MOMENT: Duration = Duration::from_millis(50);
const WINDOW: u32 = 1 << 20;
/// What a target is offered of such a window of a client's: the rest is for words of our own.
const OFFERED: u32 = WINDOW - words(WINDOW as u64);

fn offer(window: u32) -> u32 {
    (window - words(window.into())).min(WINDOW)
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

struct Rig {
    client: Peer,
    target: Peer,
    lines: Lines,
    /// The journal writes while it can have this.
    disk: Arc<Mutex<()>>,
    /// The journal has no room while this is set.
    full: Arc<AtomicBool>,
    shutdown: Option<oneshot::Sender<()>>,
    ended: tokio::task::JoinHandle<Ended>,
    issuer: DevIssuer,
}

/// One end of a relay.
struct Peer {
    tx: Option<mpsc::Sender<Vec<u8>>>,
    rx: mpsc::Receiver<Bytes>,
}

impl Peer {
    fn pair() -> (Peer, Leg) {
        let (tx, inbox) = mpsc::channel(64);
        let (out, rx) = mpsc::channel(4);
        (Peer { tx: Some(tx), rx }, Leg { inbox, out: Sender::Test(out) })
    }

    async fn send(&self, packet: Bytes) {
        self.tx.as_ref().unwrap().send(packet.to_vec()).await.unwrap();
    }

    async fn next(&mut self) -> Bytes {
        timeout(PATIENCE, self.rx.recv()).await.expect("no packet came").expect("the leg ended")
    }

    async fn expect(&mut self, packet: Bytes) {
        let got = self.next().await;
        assert_eq!(packet::parse(&got), packet::parse(&packet));
    }

    async fn expect_nothing(&mut self) {
        if let Ok(got) = timeout(MOMENT, self.rx.recv()).await {
            panic!("came too early: {:?}", got.as_deref().map(packet::parse));
        }
    }
}

fn all() -> ChannelRules {
    let allow = Allow { exec: true, shell: true, sftp: true, scp: true, ..Allow::default() };
    ChannelRules { allow, channel_window: WINDOW, ..ChannelRules::default() }
}

const POLICY: &str = r#"
default = "allow"
[[rule]]
name = "no-rm"
effect = "deny"
reason = "Nothing is removed here."
when = { resources = ["rm *"] }
[[rule]]
name = "kept-as-is"
effect = "deny"
when = { resources = ["/kept/*"], access = "write" }
[[rule]]
name = "no-db"
effect = "deny"
when = { resources = ["db.example:5432", "10.0.0.9:*"] }
"#;

/// A journal that has no room while it is told so.
struct Narrow(JsonLines, Arc<AtomicBool>);

impl Journal for Narrow {
    fn append(&self, entry: Vec<u8>) -> Result<u64, JournalError> {
        match self.1.load(Ordering::SeqCst) {
            true => Err(JournalError::Full),
            false => self.0.append(entry),
        }
    }

    fn durable(&self) -> u64 {
        self.0.durable()
    }

    fn published(&self) -> u64 {
        self.0.published()
    }

    fn waiter(&self) -> Box<dyn Wait> {
        self.0.waiter()
    }

    fn recording(&self) -> Result<Box<dyn Recording>, JournalError> {
        self.0.recording()
    }
}

async fn gate(lines: &Lines, disk: &Arc<Mutex<()>>, full: &Arc<AtomicBool>) -> (Gate, DevIssuer) {
    let issuer = DevIssuer::start().await.unwrap();
    let config = format!(
        "[issuer.dev]\niss = \"{}\"\naudiences = [\"{AUDIENCE}\"]\nalgorithms = [\"ES256\", \
         \"EdDSA\"]\nmay_mint = [\"human\"]\nallow_insecure_loopback = true\n\
         [[issuer.dev.rule]]\nname = \"people\"\nkind = \"human\"\n",
        issuer.iss()
    );
    let config: identity::Config = toml::from_str(&config).unwrap();
    let fetcher = identity::HttpFetcher::new(&config).unwrap();
    let verifier = identity::Verifier::new(&config, fetcher).unwrap();
    let known = policy::Known { vocabularies: &[crate::VOCABULARY], targets: None, kinds: None };
    let policy = policy::Policy::compile(&toml::from_str(POLICY).unwrap(), &known).unwrap();
    let (kept, disk) = (lines.clone(), disk.clone());
    let journal = JsonLines::start(move |batch| {
        let _disk = disk.lock().unwrap();
        kept.0.lock().unwrap().extend_from_slice(batch);
        Ok(())
    });
    let journal = Narrow(journal.unwrap(), full.clone());
    (Gate::new(Arc::new(verifier), Arc::new(policy), Arc::new(journal)), issuer)
}

impl Rig {
    async fn start(rules: ChannelRules) -> Rig {
        Rig::masked(rules, "version = 1").await
    }

    async fn masked(rules: ChannelRules, masking: &str) -> Rig {
        let (lines, disk, full) = (Lines::default(), Arc::default(), Arc::default());
        let (gate, issuer) = gate(&lines, &disk, &full).await;
        let token = issuer.mint(Claims::new("alice").audience(AUDIENCE)).unwrap();
        let who = gate.authenticate(&identity::Secret::new(token), ARRIVAL).await.unwrap();
        let masking: masking::Config = toml::from_str(masking).unwrap();
        let masking = masking::Policy::compile(&masking, None).unwrap();
        let target = Arc::new(Target::new("web1", masking));
        let session: Session = gate.open_session(who, target, ARRIVAL).await.unwrap();
        let (client, client_leg) = Peer::pair();
        let (target, target_leg) = Peer::pair();
        let (shutdown, told) = oneshot::channel();
        let mut relay =
            Relay::new(session.clone(), Arc::new(rules), "root".into(), client_leg, target_leg);
        let ended = tokio::spawn(async move {
            let ended = relay
                .run(
                    async {
                        if told.await.is_err() {
                            std::future::pending::<()>().await;
                        }
                    },
                    std::future::ready(None),
                    std::future::ready(None),
                )
                .await;
            session.end(&ended.reason).unwrap();
            ended
        });
        Rig { client, target, lines, disk, full, shutdown: Some(shutdown), ended, issuer }
    }

    fn entries(&self, kind: &str) -> Vec<Value> {
        let lines = self.lines.0.lock().unwrap();
        let entries = lines.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let entries = entries.map(|line| serde_json::from_slice::<Value>(line).unwrap());
        entries.filter(|entry| entry["type"] == kind).collect()
    }

    /// All that is recorded of the answers, with its frames' heads.
    fn recorded(&self) -> String {
        let mut all = self.entries("output");
        all.extend(self.entries("response"));
        let data = all.iter().filter_map(|entry| entry["data"]["base64"].as_str());
        let bytes: Vec<u8> = data.flat_map(|text| STANDARD.decode(text).unwrap()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A session channel: the client calls it `c`, the target `t`, each with such a window.
    async fn open(&mut self, c: u32, t: u32, client_window: u32, target_window: u32) {
        self.client.send(write::open(b"session", c, client_window, 32_768, b"")).await;
        let offered = offer(client_window);
        self.target.expect(write::open(b"session", c, offered, 32_768, b"")).await;
        self.target.send(write::open_confirmation(c, t, target_window, 32_768, b"")).await;
        let offered = target_window.min(WINDOW);
        self.client.expect(write::open_confirmation(c, t, offered, 32_768, b"")).await;
    }

    /// As `open`, and then a program that runs.
    async fn exec(&mut self, c: u32, t: u32, line: &str) {
        self.open(c, t, WINDOW, WINDOW).await;
        self.run(c, t, line).await;
    }

    async fn run(&mut self, c: u32, t: u32, line: &str) {
        let start = write::line_request(t, b"exec", true, line.as_bytes());
        self.client.send(start.clone()).await;
        self.target.expect(start).await;
        self.target.send(write::success(c)).await;
        self.client.expect(write::success(c)).await;
    }

    /// The client goes; the session's end.
    async fn end(mut self) -> (Ended, Lines) {
        self.client.tx = None;
        let ended = timeout(PATIENCE, self.ended).await.unwrap().unwrap();
        drop(self.issuer);
        (ended, self.lines)
    }
}

#[tokio::test]
async fn a_command_runs_on_record() {
    let mut rig = Rig::start(all()).await;
    rig.exec(0, 7, "id -u").await;
    rig.target.send(write::data(0, b"0\n")).await;
    rig.client.expect(write::data(0, b"0\n")).await;
    rig.target.send(write::stderr(0, b"oh\n")).await;
    rig.client.expect(write::stderr(0, b"oh\n")).await;
    rig.target.send(write::eof(0)).await;
    rig.client.expect(write::eof(0)).await;
    rig.target.send(write::exit_status(0, 3)).await;
    rig.target.send(write::close(0)).await;
    rig.client.expect(write::exit_status(0, 3)).await;
    // What the client sees of the end is behind the outcome's entry.
    let response = &rig.entries("response")[0];
    assert_eq!(response["outcome"], "error");
    assert_eq!(response["code"], "3");
    assert_eq!(response["details"]["stdout_bytes"], "2");
    assert_eq!(response["details"]["stderr_bytes"], "3");
    rig.client.expect(write::close(0)).await;
    rig.client.send(write::close(7)).await;
    rig.target.expect(write::close(7)).await;
    let command = &rig.entries("command")[0];
    assert_eq!((&command["via"], &command["text"]), (&"exec".into(), &"id -u".into()));
    assert_eq!(command["details"]["login"], "root");
    assert_eq!(command["details"]["parsed"], "words");
    let recorded = rig.recorded();
    assert!(recorded.contains("o\u{2}0\n") && recorded.contains("e\u{3}oh\n"), "{recorded:?}");
    let (ended, _) = rig.end().await;
    assert_eq!(ended.reason, "client closed");
}

#[tokio::test]
async fn a_denied_command_never_reaches_the_target_and_the_connection_lives() {
    let mut rig = Rig::start(all()).await;
    rig.open(0, 7, WINDOW, WINDOW).await;
    rig.client.send(write::line_request(7, b"exec", true, b"cd / && rm -rf /")).await;
    rig.client.expect(write::success(0)).await;
    let told = rig.client.next().await;
    let Ok(Packet::ExtendedData { code: 1, data, .. }) = packet::parse(&told) else {
        panic!("{told:?}")
    };
    let told = String::from_utf8_lossy(data).into_owned();
    assert!(told.contains("no-rm") && told.contains("Nothing is removed here."), "{told}");
    rig.client.expect(write::exit_status(0, 126)).await;
    rig.client.expect(write::eof(0)).await;
    rig.client.expect(write::close(0)).await;
    rig.target.expect_nothing().await;
    rig.client.send(write::close(7)).await;
    rig.target.expect(write::close(7)).await;
    assert_eq!(rig.entries("command")[0]["verdict"], "deny");
    assert!(rig.entries("response").is_empty());
    // The client may use its number again at once; the target has not let go of it yet.
    rig.client.send(write::open(b"session", 0, WINDOW, 32_768, b"")).await;
    rig.target.expect_nothing().await;
    rig.target.send(write::close(0)).await;
    rig.target.expect(write::open(b"session", 0, OFFERED, 32_768, b"")).await;
    rig.target.send(write::open_confirmation(0, 7, WINDOW, 32_768, b"")).await;
    rig.client.expect(write::open_confirmation(0, 7, WINDOW, 32_768, b"")).await;
    rig.run(0, 7, "true").await;
}

#[tokio::test]
async fn what_the_target_does_not_take_is_refused_and_on_record() {
    let mut rig = Rig::start(ChannelRules::default()).await;
    rig.open(0, 1, WINDOW, WINDOW).await;
    rig.client.send(write::line_request(1, b"exec", true, b"id")).await;
    rig.client.expect(write::success(0)).await;
    let _told = rig.client.next().await;
    rig.client.expect(write::exit_status(0, 126)).await;
    let rest = b"\0\0\0\x02db\0\0\x15\x38\0\0\0\x01x\0\0\0\x01";
    rig.client.send(write::open(b"direct-tcpip", 5, WINDOW, 32_768, rest)).await;
    rig.client.expect(write::eof(0)).await;
    rig.client.expect(write::close(0)).await;
    let refused = rig.client.next().await;
    let Ok(Packet::OpenFailure { recipient: 5, code: 1, text, .. }) = packet::parse(&refused)
    else {
        panic!("{refused:?}")
    };
    assert!(String::from_utf8_lossy(text).contains("greffier"));
    rig.target.expect_nothing().await;
    let commands = rig.entries("command");
    assert_eq!(commands[0]["rule"], "target");
    assert_eq!(commands[1]["via"], "direct-tcpip");
    assert_eq!(commands[1]["text"], "db:5432");
    assert_eq!(commands[1]["verdict"], "deny");
}

#[tokio::test]
#[allow(clippy::await_holding_lock, reason = "the journal's thread alone waits for it")]
async fn nothing_reaches_the_target_before_its_record_is_durable() {
    let mut rig = Rig::start(all()).await;
    rig.open(0, 7, WINDOW, WINDOW).await;
    let disk = rig.disk.clone();
    let start = write::line_request(7, b"exec", true, b"id");
    {
        let _stopped = disk.lock().unwrap();
        rig.client.send(start.clone()).await;
        rig.target.expect_nothing().await;
    }
    rig.target.expect(start).await;
}

#[tokio::test]
async fn a_slow_reader_holds_up_its_own_channel_alone() {
    let mut rig = Rig::start(all()).await;
    rig.open(0, 7, 8, WINDOW).await;
    rig.run(0, 7, "yes").await;
    rig.exec(1, 8, "true").await;
    // The target may send what the client granted, and not a byte more.
    rig.target.send(write::data(0, b"12345678")).await;
    rig.client.expect(write::data(0, b"12345678")).await;
    rig.target.expect_nothing().await;
    rig.target.send(write::data(1, b"sibling")).await;
    rig.client.expect(write::data(1, b"sibling")).await;
    rig.client.send(write::window_adjust(7, 100)).await;
    rig.target.expect(write::window_adjust(7, 100)).await;
    // The end of reading goes through, to stop what writes.
    rig.client.send(write::request(7, b"eow@openssh.com", false, b"")).await;
    rig.target.expect(write::request(7, b"eow@openssh.com", false, b"")).await;
}

#[tokio::test]
async fn credit_flows_back_from_the_receiver() {
    let mut rig = Rig::start(all()).await;
    rig.exec(0, 7, "cat").await;
    let piece = vec![b'x'; 32_768];
    for _ in 0..32 {
        rig.client.send(write::data(7, &piece)).await;
        rig.target.expect(write::data(7, &piece)).await;
    }
    rig.client.expect_nothing().await;
    rig.target.send(write::window_adjust(0, WINDOW)).await;
    rig.client.expect(write::window_adjust(0, WINDOW)).await;
}

#[tokio::test]
async fn answers_keep_the_order_of_their_requests() {
    let mut rules = all();
    rules.env = vec!["LANG".into()];
    let mut rig = Rig::start(rules).await;
    rig.open(0, 7, WINDOW, WINDOW).await;
    let env = |name: &[u8]| {
        let rest = [&[0, 0, 0, 4], name, b"\0\0\0\x01C"].concat();
        write::request(7, b"env", true, &rest)
    };
    rig.client.send(env(b"LANG")).await;
    rig.client.send(env(b"EVIL")).await;
    rig.client.send(write::line_request(7, b"exec", true, b"rm x")).await;
    rig.target.expect(env(b"LANG")).await;
    rig.client.expect_nothing().await;
    rig.target.send(write::failure(0)).await;
    rig.client.expect(write::failure(0)).await;
    rig.client.expect(write::failure(0)).await;
    rig.client.expect(write::success(0)).await;
    assert!(matches!(packet::parse(&rig.client.next().await), Ok(Packet::ExtendedData { .. })));
    rig.client.expect(write::exit_status(0, 126)).await;
    assert_eq!(rig.entries("command")[0]["details"]["env.LANG"], "C");
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_session() {
    let exec = |t| write::line_request(t, b"exec", true, b"id");
    let cases: Vec<(&str, Vec<Bytes>)> = vec![
        ("does not exist", vec![write::data(99, b"x")]),
        ("does not exist", vec![write::close(99)]),
        ("second program", vec![exec(7), exec(7)]),
        ("before a program", vec![write::data(7, b"x")]),
        ("two ends", vec![exec(7), write::eof(7), write::eof(7)]),
        ("behind the end", vec![exec(7), write::eof(7), write::data(7, b"x")]),
        ("4 GiB", vec![write::window_adjust(7, u32::MAX), write::window_adjust(7, u32::MAX)]),
        ("in use", vec![write::open(b"session", 0, 1, 1, b"")]),
        ("no channel open", vec![write::open_confirmation(0, 1, 1, 1, b"")]),
        ("no request", vec![write::success(7)]),
        ("no request", vec![write::request_success(b"")]),
        ("message number 79", vec![Bytes::from_static(&[79])]),
        ("ends inside", vec![Bytes::from_static(&[98, 0])]),
        ("extended data", vec![exec(7), write::stderr(7, b"x")]),
        ("without an answer", vec![write::request(7, b"break", true, b"\0\0\0\0"); 300]),
        ("more data than", {
            let piece = vec![0; 32_768];
            let data = std::iter::repeat_n(write::data(7, &piece), 33);
            std::iter::once(exec(7)).chain(data).collect()
        }),
    ];
    for (what, packets) in cases {
        let mut rig = Rig::start(all()).await;
        rig.open(0, 7, WINDOW, WINDOW).await;
        let drain = tokio::spawn(async move { while rig.target.rx.recv().await.is_some() {} });
        for packet in packets {
            // It may have ended by now.
            let _sent = rig.client.tx.as_ref().unwrap().send(packet.to_vec()).await;
        }
        let ended = timeout(PATIENCE, rig.ended).await.unwrap().unwrap();
        assert!(ended.reason.contains(what), "{what}: {}", ended.reason);
        assert!(ended.reason.contains("client broke the protocol"), "{}", ended.reason);
        assert!(ended.told.is_some());
        drain.abort();
    }
}

#[tokio::test]
async fn a_target_may_not_open_channels_nor_overrun() {
    let mut rig = Rig::start(all()).await;
    let origin = b"\0\0\0\x01x\0\0\0\x01";
    let tcpip = [origin.as_slice(), origin].concat();
    for (kind, rest) in [
        (b"forwarded-tcpip".as_slice(), tcpip.as_slice()),
        (b"auth-agent@openssh.com", b""),
        (b"x11", origin),
        (b"session", b""),
    ] {
        rig.target.send(write::open(kind, 3, 1, 1, rest)).await;
        let why = OpenFailure::AdministrativelyProhibited;
        rig.target.expect(write::open_failure(3, why, "not asked for")).await;
    }
    rig.client.expect_nothing().await;
    rig.open(0, 7, 4, WINDOW).await;
    rig.run(0, 7, "yes").await;
    rig.target.send(write::data(0, b"12345")).await;
    let ended = timeout(PATIENCE, rig.ended).await.unwrap().unwrap();
    assert!(ended.reason.contains("target broke the protocol"), "{}", ended.reason);
}

#[tokio::test]
async fn neither_side_may_send_longer_packets_than_the_other_takes() {
    // The client takes 1,000 bytes a packet, the target 40,000: more than is ever offered.
    let start = async || {
        let mut rig = Rig::start(all()).await;
        rig.client.send(write::open(b"session", 0, WINDOW, 1000, b"")).await;
        rig.target.expect(write::open(b"session", 0, OFFERED, 1000, b"")).await;
        rig.target.send(write::open_confirmation(0, 7, WINDOW, 40_000, b"")).await;
        rig.client.expect(write::open_confirmation(0, 7, WINDOW, 32_768, b"")).await;
        rig.run(0, 7, "cat").await;
        rig
    };
    let mut rig = start().await;
    rig.client.send(write::data(7, &[b'x'; 32_768])).await;
    rig.target.expect(write::data(7, &[b'x'; 32_768])).await;
    for said in [write::data(0, &[b'x'; 1000]), write::stderr(0, &[b'x'; 1000])] {
        rig.target.send(said.clone()).await;
        rig.client.expect(said).await;
    }
    let cases = [
        (Side::Client, write::data(7, &[b'x'; 32_769])),
        (Side::Target, write::data(0, &[b'x'; 1001])),
        (Side::Target, write::stderr(0, &[b'x'; 1001])),
    ];
    for (from, long) in cases {
        let mut rig = start().await;
        let peer = if from == Side::Client { &rig.client } else { &rig.target };
        peer.send(long).await;
        let ended = timeout(PATIENCE, &mut rig.ended).await.unwrap().unwrap();
        assert!(ended.reason.contains(&format!("{from} broke the protocol")), "{}", ended.reason);
        assert!(ended.reason.contains("longer than the channel's"), "{}", ended.reason);
        assert!(ended.told.is_some());
        // None of it got anywhere.
        for leg in [&mut rig.client, &mut rig.target] {
            while let Some(packet) = leg.rx.recv().await {
                assert!(packet.len() < 1001, "{packet:?}");
            }
        }
        let response = &rig.entries("response")[0];
        assert_eq!(response["outcome"], "lost");
        assert_eq!(response["details"]["ended_by"], ended.reason.as_str());
    }
}

#[tokio::test]
async fn values_are_masked_for_the_client_and_the_record() {
    let masking = "version = 1\n[[rule]]\nentity = [\"EMAIL_ADDRESS\"]\n\
                   client = { operator = \"replace\" }\nrecord = { operator = \"redact\" }\n";
    let mut rig = Rig::masked(all(), masking).await;
    rig.exec(0, 7, "cat /etc/who # jane@example.com").await;
    for piece in ["write to jane@exa", "mple.com\n", "now"] {
        rig.target.send(write::data(0, piece.as_bytes())).await;
    }
    let mut seen = Vec::new();
    while !seen.ends_with(b"now") {
        let got = rig.client.next().await;
        let Ok(Packet::Data { data, .. }) = packet::parse(&got) else { panic!("{got:?}") };
        seen.extend_from_slice(data);
    }
    assert_eq!(seen, b"write to <EMAIL_ADDRESS>\nnow");
    rig.target.send(write::close(0)).await;
    rig.client.expect(write::close(0)).await;
    assert!(!rig.recorded().contains("jane@") && rig.recorded().contains("write to"));
    assert_eq!(rig.entries("command")[0]["text"], "cat /etc/who # ");
    assert_eq!(rig.entries("response")[0]["masked"]["EMAIL_ADDRESS"], 1);
}

#[tokio::test]
async fn a_long_command_line_is_kept_as_objects() {
    let mut rig = Rig::start(all()).await;
    rig.open(0, 7, WINDOW, WINDOW).await;
    let line = format!("echo {}", "x".repeat(100_000));
    let start = write::line_request(7, b"exec", true, line.as_bytes());
    rig.client.send(start.clone()).await;
    rig.client.send(write::eof(7)).await;
    rig.target.expect(start).await;
    rig.target.expect(write::eof(7)).await;
    let command = &rig.entries("command")[0];
    assert_eq!(command["text_bytes"], line.len());
    assert_eq!(command["text_chunks"][0]["bytes"], line.len());
    assert_eq!(command["details"]["parsed"], "unknown", "longer than what is read");
}
