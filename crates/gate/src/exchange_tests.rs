//! Exchanges over a journal of lines in memory.

use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dev_issuer::{Claims, DevIssuer};
use policy::{Command, Subject, Verdict};
use records::Response;
use serde_json::Value;

use super::*;

const AUDIENCE: &str = "https://greffier.test";
const ARRIVAL: Arrival<'static> =
    Arrival { protocol: "test", peer: "127.0.0.1:1", target: b"target" };

struct All;

impl Judge for All {
    fn judge(&self, _: &Subject<'_>, _: &Command<'_>) -> Verdict {
        Verdict::Allow { rule: "all".into() }
    }

    fn digest(&self) -> &str {
        "none"
    }
}

/// Lines; what is too large for one is an object for each write, complete at once.
struct Objects(JsonLines);

struct Each {
    whole: Box<dyn Recording>,
    complete: Vec<Object>,
}

impl Journal for Objects {
    fn append(&self, entry: Vec<u8>) -> Result<u64, JournalError> {
        assert!(entry.len() <= records::MAX_ENTRY_BYTES);
        self.0.append(entry)
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
        Ok(Box::new(Each { whole: self.0.recording()?, complete: Vec::new() }))
    }
}

impl Recording for Each {
    fn write(&mut self, bytes: &[u8]) -> Result<u64, JournalError> {
        self.complete.push(Object { sha256: [0; 32], bytes: bytes.len() as u64 });
        self.whole.write(bytes)
    }

    fn progress(&self) -> Arc<dyn Progress> {
        self.whole.progress()
    }

    fn sealed(&mut self) -> Vec<Object> {
        // The last write is still under way.
        let last = self.complete.pop();
        std::mem::replace(&mut self.complete, last.into_iter().collect())
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<Object>, JournalError>> {
        std::task::ready!(self.whole.poll_finish(cx))?;
        Poll::Ready(Ok(std::mem::take(&mut self.complete)))
    }
}

/// What was recorded.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn of(&self, kind: &str) -> Vec<Value> {
        let lines = self.0.lock().unwrap();
        let entries = lines.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let entries = entries.map(|line| serde_json::from_slice::<Value>(line).unwrap());
        entries.filter(|entry| entry["type"] == kind).collect()
    }

    /// The bytes of all `output` entries and of the response, in order.
    fn answer(&self) -> Vec<Vec<u8>> {
        let mut all = self.of("output");
        all.extend(self.of("response"));
        let data = all.iter().filter_map(|entry| entry["data"]["base64"].as_str());
        data.map(|text| STANDARD.decode(text).unwrap()).collect()
    }
}

struct Rig {
    lines: Lines,
    gate: Gate,
    issuer: DevIssuer,
}

impl Rig {
    async fn start() -> Rig {
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
        let lines = Lines::default();
        let kept = lines.clone();
        let journal = JsonLines::start(move |batch| {
            kept.0.lock().unwrap().extend_from_slice(batch);
            Ok(())
        });
        let journal = Objects(journal.unwrap());
        let gate = Gate::new(Arc::new(verifier), Arc::new(All), Arc::new(journal));
        Rig { lines, gate, issuer }
    }

    async fn identified(&self) -> Identified {
        let token = self.issuer.mint(Claims::new("alice").audience(AUDIENCE)).unwrap();
        self.gate.authenticate(&identity::Secret::new(token), ARRIVAL).await.unwrap()
    }

    async fn session(&self, recording: RecordingLevel) -> Session {
        let mut target = Target::new("target", masking::Policy::empty());
        target.recording = recording;
        self.gate.open_session(self.identified().await, Arc::new(target), ARRIVAL).await.unwrap()
    }
}

fn submit(session: &Session, draft: Draft<'_>) -> Exchange {
    let judgement = session.judge(&[], "shell".into(), "execute");
    match session.submit(&judgement, draft).unwrap() {
        Submission::Admitted(exchange) => *exchange,
        Submission::Refused(refusal) => panic!("{refusal:?}"),
    }
}

async fn finish(exchange: &mut Exchange) {
    let mut response = Response { outcome: "ok".into(), ..Response::default() };
    let release = poll_fn(|cx| exchange.poll_finish(&mut response, cx)).await.unwrap();
    release.cleared(&mut *exchange.session().waiter()).await.unwrap();
}

#[tokio::test]
async fn details_stand_in_the_command_and_its_response() {
    let rig = Rig::start().await;
    let session = rig.session(RecordingLevel::Full).await;
    let details = [(Cow::from("term"), "xterm".into())].into();
    let mut exchange = submit(&session, Draft { details, ..Draft::default() });
    let details = [(Cow::from("exit_status"), "3".into())].into();
    let mut response = Response { outcome: "ok".into(), details, ..Response::default() };
    let release = exchange.try_finish(&mut response).unwrap().unwrap();
    release.cleared(&mut *session.waiter()).await.unwrap();
    assert_eq!(rig.lines.of("command")[0]["details"]["term"], "xterm");
    assert_eq!(rig.lines.of("response")[0]["details"]["exit_status"], "3");
}

#[tokio::test]
async fn a_release_waits_for_each_entry_that_has_a_part_of_the_answer() {
    let rig = Rig::start().await;
    let session = rig.session(RecordingLevel::Full).await;
    let mut exchange = submit(&session, Draft::default());
    let Some(Mark::Durable(command)) = exchange.admitted().hold.mark else { panic!("no entry") };
    // The first parts are in entries already when the rest outgrows them: one release for all.
    exchange.answer(&[b'a'; 20_000]).unwrap();
    exchange.answer(&[b'b'; 16_000]).unwrap();
    exchange.answer(&[b'c'; 60_000]).unwrap();
    let release = exchange.release().unwrap();
    assert!(release.hold.recording.is_some());
    assert_eq!(release.hold.mark, Some(Mark::Durable(command + 2)));
    release.cleared(&mut *session.waiter()).await.unwrap();
    assert_eq!(rig.lines.of("output").len(), 2);
    finish(&mut exchange).await;
}

#[tokio::test]
async fn an_outcome_that_finds_no_room_is_recorded_later() {
    let rig = Rig::start().await;
    let session = rig.session(RecordingLevel::Full).await;
    let mut exchanges: Vec<_> = (0..100).map(|_| submit(&session, Draft::default())).collect();
    let disk = rig.lines.0.lock().unwrap();
    let text = "x".repeat(MAX_INLINE_TEXT);
    let judgement = session.judge(&[], "x".into(), "x");
    let mut others = Vec::new();
    loop {
        let draft = Draft { text: Some(text.as_str().into()), ..Draft::default() };
        let Ok(other) = session.submit(&judgement, draft) else { break };
        others.push(other);
    }
    // The first that finds no room in what is left.
    let (mut exchange, mut response) = loop {
        let mut exchange = exchanges.pop().expect("a hundred outcomes find room");
        let details = [(Cow::from("exit_status"), "3".into())].into();
        let mut response = Response { outcome: "ok".into(), details, ..Response::default() };
        match exchange.try_finish(&mut response) {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error, JournalError::Full);
                break (exchange, response);
            }
        }
    };
    drop(disk);
    let release = loop {
        match exchange.try_finish(&mut response) {
            Ok(release) => break release.unwrap(),
            Err(JournalError::Full) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    release.cleared(&mut *session.waiter()).await.unwrap();
    let responses = rig.lines.of("response");
    let ours = responses.iter().find(|r| r["command"] == exchange.number()).unwrap();
    assert_eq!((&ours["outcome"], &ours["details"]["exit_status"]), (&"ok".into(), &"3".into()));
}

#[tokio::test]
async fn keystrokes_keep_their_place_between_the_parts_of_the_answer() {
    let rig = Rig::start().await;
    let session = rig.session(RecordingLevel::Full).await;
    let mut shell = submit(&session, Draft { grow: Grow::Entries, ..Draft::default() });
    let mut wait = session.waiter();
    shell.answer(b"$ ").unwrap();
    let prompt = shell.release().unwrap();
    prompt.cleared(&mut *wait).await.unwrap();
    let typed = shell.interleave(b"<l>", 1).unwrap();
    // The key is on record before it may go to the target.
    typed.cleared(&mut *wait).await.unwrap();
    assert_eq!(rig.lines.answer(), [b"$ ".as_slice(), b"<l>"]);
    shell.answer(b"l").unwrap();
    finish(&mut shell).await;
    assert_eq!(rig.lines.answer(), [b"$ ".as_slice(), b"<l>", b"l"]);
    assert_eq!(rig.lines.of("response")[0]["input_bytes"], 1);
}

#[tokio::test]
async fn a_terminal_stays_in_entries_however_long_it_runs() {
    let rig = Rig::start().await;
    let session = rig.session(RecordingLevel::Full).await;
    let mut shell = submit(&session, Draft { grow: Grow::Entries, ..Draft::default() });
    let screen: Vec<u8> = (0..100_000_u32).map(|i| b"0123456789"[i as usize % 10]).collect();
    shell.answer(&screen).unwrap();
    shell.release().unwrap();
    shell.answer(&screen).unwrap();
    finish(&mut shell).await;
    let parts = rig.lines.answer();
    assert!(parts.iter().all(|part| part.len() <= records::MAX_INLINE_BYTES));
    assert_eq!(parts.concat(), [screen.clone(), screen].concat());
    assert!(rig.lines.of("part").is_empty(), "nothing went into a recording");
}

#[tokio::test]
async fn what_is_counted_is_not_kept() {
    let rig = Rig::start().await;
    let session = rig.session(RecordingLevel::Full).await;
    let mut forward = submit(&session, Draft { keep: Keep::Counted, ..Draft::default() });
    assert!(!forward.keeps_data());
    forward.count(5);
    forward.answer(b"12345").unwrap();
    forward.input(b"abc", 3).unwrap();
    forward.interleave(b"de", 2).unwrap();
    finish(&mut forward).await;
    assert!(rig.lines.answer().is_empty() && rig.lines.of("part").is_empty());
    let response = &rig.lines.of("response")[0];
    assert_eq!((&response["bytes"], &response["input_bytes"]), (&5.into(), &5.into()));
}

#[tokio::test]
async fn what_nobody_wants_to_know_has_no_entry_and_is_counted() {
    let rig = Rig::start().await;
    let session = rig.session(RecordingLevel::Full).await;
    let mut watch = submit(&session, Draft { keep: Keep::Nothing, ..Draft::default() });
    watch.answer(b"12345").unwrap();
    watch.release().unwrap();
    finish(&mut watch).await;
    for kind in ["command", "output", "response", "part"] {
        assert!(rig.lines.of(kind).is_empty(), "{kind}");
    }
    drop(watch);
    drop(session);
    let ends = rig.lines.of("session_end");
    assert_eq!(ends[0]["unrecorded"], 1, "{ends:?}");
}

#[tokio::test]
async fn keeping_can_end_on_the_way_and_a_recording_needs_a_wait() {
    let rig = Rig::start().await;
    let session = rig.session(RecordingLevel::Full).await;
    let mut exec = submit(&session, Draft::default());
    exec.answer(&[b'x'; 80_000]).unwrap();
    exec.release().unwrap();
    exec.keep_no_more();
    exec.answer(b"secret").unwrap();
    let mut response = Response { outcome: "ok".into(), ..Response::default() };
    assert!(exec.try_finish(&mut response).unwrap().is_none());
    finish(&mut exec).await;
    assert_eq!(rig.lines.of("response")[0]["chunks"][0]["bytes"], 80_000);
    assert_eq!(rig.lines.of("response").len(), 1);
}

/// The lengths of the objects that these entries name, in order.
fn named(entries: &[Value], chunks: &str) -> Vec<u64> {
    let named = entries.iter().filter_map(|entry| entry[chunks].as_array());
    named.flatten().map(|chunk| chunk["bytes"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn however_long_an_answer_every_object_is_named_once_and_in_order() {
    let rig = Rig::start().await;
    let session = rig.session(RecordingLevel::Full).await;
    let mut copy = submit(&session, Draft::default());
    let outgrown = MAX_ANSWER_IN_ENTRIES + 1;
    copy.answer(&vec![b'x'; outgrown]).unwrap();
    copy.release().unwrap();
    for length in 0..1000 {
        copy.answer(&vec![b'x'; 20_000 + length]).unwrap();
        copy.release().unwrap();
        copy.input(&vec![b'y'; 1 + length], 1).unwrap();
    }
    assert!(rig.lines.of("response").is_empty());
    let early = named(&rig.lines.of("output"), "chunks").len();
    assert!(early >= 1000 - 2 * records::MAX_CHUNKS, "named before the end: {early}");
    finish(&mut copy).await;
    let entries = [rig.lines.of("output"), rig.lines.of("response")].concat();
    assert!(entries.iter().all(|it| it["data"].is_null() && it["command"] == copy.number()));
    let lengths = std::iter::once(outgrown as u64).chain(20_000..21_000);
    assert_eq!(named(&entries, "chunks"), Vec::from_iter(lengths));
    assert_eq!(named(&entries, "input_chunks"), Vec::from_iter(1..=1000));
    let parts: Vec<_> = rig.lines.of("output").iter().map(|it| it["part"].clone()).collect();
    assert_eq!(parts, (0..parts.len()).map(Value::from).collect::<Vec<_>>());

    // An exchange that is dropped names what is complete.
    let mut copy = submit(&session, Draft::default());
    for length in 0..10 {
        copy.answer(&vec![b'x'; outgrown + length]).unwrap();
    }
    drop(copy);
    finish(&mut submit(&session, Draft::default())).await;
    let lost = rig.lines.of("response").into_iter().find(|it| it["outcome"] == "lost").unwrap();
    assert!(!named(&[lost], "chunks").is_empty());
}

#[tokio::test]
async fn who_was_vouched_for_comes_back_and_a_refusal_is_on_record() {
    let rig = Rig::start().await;
    let identified = rig.identified().await;
    let vouched = identified.vouch(u64::MAX);
    let again = rig.gate.readmit(vouched, ARRIVAL).await.unwrap();
    assert_eq!(again.principal(), identified.principal());
    let Err(Refused::Credential(error)) = rig.gate.readmit(identified.vouch(1), ARRIVAL).await
    else {
        panic!("it is long over")
    };
    assert_eq!(error, identity::AuthError::Expired);
    let failures = rig.lines.of("auth_failure");
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0]["cause"], "expired");
    assert_eq!(failures[0]["credential_sha256"].as_str().unwrap().len(), 64);
}

#[tokio::test]
async fn an_answer_handed_over_whole_is_the_answer() {
    let rig = Rig::start().await;
    let session = rig.session(RecordingLevel::Full).await;
    let mut exchange = submit(&session, Draft::default());
    let mut expected = Vec::new();
    for n in 0..60_u8 {
        let piece = vec![n; 10_000];
        expected.extend_from_slice(&piece);
        exchange.count(piece.len());
        match n % 3 {
            0 => exchange.answer(&piece).unwrap(),
            _ => exchange.answer_whole(piece).unwrap(),
        }
        if n % 4 != 1 {
            exchange.release().unwrap();
        }
    }
    finish(&mut exchange).await;
    // The beginning stands in entries, the rest in the recording.
    let mut recorded: Vec<u8> = rig.lines.answer().concat();
    assert!(!recorded.is_empty() && recorded.len() <= MAX_ANSWER_IN_ENTRIES);
    for part in rig.lines.of("part") {
        recorded.extend(STANDARD.decode(part["base64"].as_str().unwrap()).unwrap());
    }
    assert!(recorded == expected, "{} of {} bytes, or others", recorded.len(), expected.len());
    assert_eq!(rig.lines.of("response")[0]["bytes"], expected.len());
}

#[tokio::test]
async fn an_answer_of_a_few_entries_needs_no_recording() {
    for (step, length) in [(1_000, MAX_ANSWER_IN_ENTRIES), (20_000, 60_000), (60_000, 60_000)] {
        let rig = Rig::start().await;
        let session = rig.session(RecordingLevel::Full).await;
        let mut exchange = submit(&session, Draft::default());
        let answer: Vec<u8> = (0..length).map(|i| b"0123456789"[i % 10]).collect();
        for piece in answer.chunks(step) {
            exchange.answer(piece).unwrap();
            exchange.release().unwrap().cleared(&mut *session.waiter()).await.unwrap();
            let released = rig.lines.answer().concat();
            assert!(answer.starts_with(&released) && released.ends_with(piece));
        }
        finish(&mut exchange).await;
        let parts = rig.lines.answer();
        assert!(parts.iter().all(|part| part.len() <= records::MAX_INLINE_BYTES));
        assert!(parts.concat() == answer && rig.lines.of("part").is_empty(), "{step}");
    }
}
