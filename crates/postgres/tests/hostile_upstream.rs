//! Attacks by a server: item 5 of the list of attacks that other proxies fell to. Whatever it
//! says, the client gets an error or an end, the record an outcome, and the proxy goes on.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod fake;
mod rig;
mod wire;

use std::io::Write as _;
use std::net::TcpStream;

use fake::{
    Fake, complete, data_row, error, fatal, one_row, read_startup, ready, row_description, welcome,
};
use rig::{Plan, Rig};
use wire::{Msg, Wire, bind, codes, describe, execute, firsts, msg, parse, q, sync};

const CARDS: &str = r#"
    version = 1
    [[rule]]
    entity = ["CREDIT_CARD"]
    client = { operator = "replace" }
"#;

/// A DataRow of one cell with this length field and these bytes.
fn cell(count: u16, length: i32, bytes: &[u8]) -> Vec<u8> {
    msg(b'D', &[&count.to_be_bytes()[..], &length.to_be_bytes(), bytes].concat())
}

fn frame(tag: u8, length: i32) -> Vec<u8> {
    [&[tag][..], &length.to_be_bytes(), b"abcdefgh"].concat()
}

/// Answers to a Query that no client may be fooled by.
fn lies() -> Vec<(&'static str, Vec<u8>)> {
    let t = row_description(&["a"]);
    let after = |bytes: Vec<u8>| [t.clone(), bytes, complete("SELECT 1"), ready(b'I')].concat();
    vec![
        ("a cell longer than its row", after(cell(1, 100, b"abc"))),
        ("a cell of length -2", after(cell(1, -2, b""))),
        ("a cell of the smallest length", after(cell(1, i32::MIN, b""))),
        ("a cell of the largest length", after(cell(1, i32::MAX, b"abc"))),
        ("more cells said than there", after(cell(2, 3, b"abc"))),
        ("65,535 cells said", after(cell(u16::MAX, 3, b"abc"))),
        ("bytes behind the last cell", after(cell(1, 1, b"abc"))),
        ("an empty row", after(msg(b'D', b""))),
        ("a row before its description", [data_row(&[b"1"]), ready(b'I')].concat()),
        ("a row of negative length", [t.clone(), frame(b'D', -1)].concat()),
        ("a row of length 3", [t.clone(), frame(b'D', 3)].concat()),
        ("a row of 2 GB", [t.clone(), frame(b'D', i32::MAX)].concat()),
        ("a description of 2 GB", frame(b'T', i32::MAX)),
        ("an unknown message", frame(b'!', 12)),
        ("a message of the client", msg(b'Q', b"SELECT 1\0")),
        ("a description that ends early", msg(b'T', b"\0\x01abc\0\0")),
        ("a description of 65,535 columns without one", msg(b'T', b"\xff\xff")),
        ("a bad transaction status", [complete("X"), ready(b'?')].concat()),
        ("a completion without an end", msg(b'C', b"SELECT 1")),
        ("an error without an end", msg(b'E', b"SERROR\0Mboom")),
        ("authentication again", msg(b'R', &0u32.to_be_bytes())),
        ("a password is wanted again", msg(b'R', &3u32.to_be_bytes())),
        ("a new cancel key", msg(b'K', &[0; 8])),
        ("negotiation", msg(b'v', &[0; 8])),
        ("ParseComplete to a Query", msg(b'1', b"")),
        ("BindComplete to a Query", msg(b'2', b"")),
        ("a suspended portal to a Query", msg(b's', b"")),
        ("parameters to a Query", msg(b't', b"\0\0")),
        ("replication", msg(b'W', b"\0\0\0")),
        ("a ParseComplete with a body", msg(b'1', b"x")),
        ("two ReadyForQuery", [complete("SELECT 0"), ready(b'I'), ready(b'I')].concat()),
    ]
}

/// Asks once; gives what came up to the end, and the outcomes on record.
fn ask(plan: Plan, answer: Vec<u8>) -> (Vec<Msg>, Vec<String>) {
    let fake = Fake::start(move |message: &Msg| match message.tag {
        b'Q' => Some(answer.clone()),
        b'X' => None,
        _ => Some(Vec::new()),
    });
    let rig = Rig::with(fake.port, plan);
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    wire.send(&q("SELECT 1"));
    let messages = wire.rest();
    rig.settle();
    let outcomes = rig.entries_of("response");
    (messages, outcomes.iter().map(|r| r["outcome"].as_str().unwrap().to_owned()).collect())
}

fn masked() -> Plan {
    Plan { masking: CARDS.into(), ..Plan::default() }
}

#[test]
fn attack_05_lies_of_the_server_end_the_session_with_an_error() {
    let (mut wrong, plans) = (Vec::new(), [Plan::default, masked]);
    for (what, answer) in lies() {
        for plan in plans {
            let (messages, outcomes) = ask(plan(), answer.clone());
            let said = messages.last().map(|m| (m.tag, m.field(b'C')));
            let told = said == Some((b'E', "08006".into())) || said == Some((b'E', "0A000".into()));
            // Two ReadyForQuery: the first was an honest end.
            let honest = what.starts_with("two") && outcomes == ["ok"];
            let lost = outcomes.len() == 1 && outcomes[0] != "ok";
            if !told || !(lost || honest) {
                wrong.push(format!("{what}: {said:?}, {outcomes:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn attack_05_rows_of_another_width_do_not_escape_the_masks() {
    let card = b"4111111111111111".as_slice();
    for row in [data_row(&[b"x", card]), data_row(&[]), data_row(&[b"x", b"y", card])] {
        let answer = [row_description(&["a"]), row, complete("SELECT 1"), ready(b'I')].concat();
        let (messages, outcomes) = ask(masked(), answer);
        assert_eq!(messages.last().unwrap().field(b'C'), "08006", "{messages:?}");
        assert!(!messages.iter().any(|m| wire::contains(&m.body, card)));
        assert_eq!(outcomes.len(), 1);
        assert_ne!(outcomes[0], "ok");
    }
}

#[test]
fn attack_05_an_error_without_sqlstate_is_an_error_still() {
    for body in [&b"SERROR\0Mboom\0\0"[..], b"Mboom\0\0", b"\0", b"C\0\0", b"C4\0M\xff\xfe\0\0"] {
        let fake = {
            let body = body.to_vec();
            Fake::start(move |message: &Msg| match message.tag {
                b'Q' => Some([msg(b'E', &body), ready(b'I')].concat()),
                b'X' => None,
                _ => Some(Vec::new()),
            })
        };
        for masking in ["version = 1", CARDS] {
            let plan = Plan { masking: masking.into(), ..Plan::default() };
            let rig = Rig::with(fake.port, plan);
            let mut wire = Wire::session(rig.port, &rig.token("alice"));
            let answer = wire.query("SELECT 1");
            assert_eq!(answer.iter().filter(|m| m.tag == b'E').count(), 1, "{answer:?}");
            wire.bye();
            rig.settle();
            let responses = rig.entries_of("response");
            assert_eq!(responses[0]["outcome"], "error");
        }
    }
}

#[test]
fn attack_05_what_nobody_asked_for_ends_the_session() {
    let unasked: Vec<(&str, Vec<u8>)> = vec![
        ("a row", data_row(&[b"1"])),
        ("a description", row_description(&["a"])),
        ("a completion", complete("SELECT 1")),
        ("ReadyForQuery", ready(b'I')),
        ("ParseComplete", msg(b'1', b"")),
        ("CopyIn", msg(b'G', b"\0\0\0")),
        ("CopyOut", msg(b'H', b"\0\0\0")),
        ("CopyBoth", msg(b'W', b"\0\0\0")),
        ("CopyData", msg(b'd', b"x")),
        ("CopyDone", msg(b'c', b"")),
        ("a function's result", msg(b'V', &[0xff; 4])),
        ("NoData", msg(b'n', b"")),
        ("a portal suspended", msg(b's', b"")),
    ];
    for (what, bytes) in unasked {
        let fake = Fake::raw(move |mut stream: TcpStream| {
            let Some(_) = read_startup(&mut stream) else { return };
            let _sent = stream.write_all(&welcome());
            // Not in the segment of the login's end.
            std::thread::sleep(std::time::Duration::from_millis(100));
            let _sent = stream.write_all(&bytes);
            while fake::read_message(&mut stream).is_some() {}
        });
        let rig = Rig::start(fake.port);
        let hello = wire::startup(wire::V3_0, &[("user", "u"), ("database", "d")]);
        let mut wire = Wire::login(rig.port, &rig.token("alice"), &hello).unwrap();
        let last = wire.rest().pop().unwrap_or(Msg { tag: 0, body: Vec::new() });
        assert!(last.tag == b'E', "{what}: {last:?}");
        assert!(
            ["08006", "0A000", "08001"].contains(&last.field(b'C').as_str()),
            "{what}: {last:?}"
        );
        rig.settle();
    }
}

#[test]
fn attack_05_a_server_that_dies_within_an_answer_is_told_of() {
    let t = row_description(&["a"]);
    let dying: Vec<(&str, Vec<u8>, &str)> = vec![
        ("behind a row", [t.clone(), data_row(&[b"1"])].concat(), "08006"),
        ("within a row", [t.clone(), data_row(&[b"1"])[..8].to_vec()].concat(), "08006"),
        ("before any answer", Vec::new(), "08006"),
        // The server's own last word is the client's, too, and the only one.
        ("with a reason", [t, fatal("57P01", "going down")].concat(), "57P01"),
    ];
    for (what, bytes, code) in dying {
        let fake = Fake::raw(move |mut stream: TcpStream| {
            let Some(_) = read_startup(&mut stream) else { return };
            let _sent = stream.write_all(&welcome());
            let _asked = fake::read_message(&mut stream);
            let _sent = stream.write_all(&bytes);
        });
        let rig = Rig::start(fake.port);
        let mut wire = Wire::session(rig.port, &rig.token("alice"));
        wire.send(&q("SELECT 1"));
        let messages = wire.rest();
        assert_eq!(codes(&messages), [code], "{what}: {messages:?}");
        assert_eq!(messages.last().unwrap().field(b'S'), "FATAL", "{what}");
        rig.settle();
        assert_eq!(rig.entries_of("response")[0]["outcome"], "lost", "{what}");
        assert_eq!(rig.entries_of("session_end")[0]["reason"], "target closed", "{what}");
    }
}

#[test]
fn attack_05_extended_answers_out_of_order() {
    let orders: Vec<Vec<u8>> = vec![
        [msg(b'2', b""), msg(b'1', b"")].concat(),
        [msg(b'1', b""), msg(b'1', b"")].concat(),
        [msg(b'1', b""), msg(b'3', b"")].concat(),
        [msg(b'1', b""), ready(b'I')].concat(),
        [msg(b'1', b""), msg(b'2', b""), msg(b'n', b""), data_row(&[b"1"])].concat(),
        [msg(b'1', b""), msg(b'2', b""), row_description(&["a"]), msg(b'I', b""), msg(b'I', b"")]
            .concat(),
        [msg(b'1', b""), complete("SELECT 1")].concat(),
    ];
    for order in orders {
        let shown = format!("{:?}", String::from_utf8_lossy(&order));
        let fake = Fake::start(move |message: &Msg| match message.tag {
            b'S' => Some(order.clone()),
            b'X' => None,
            _ => Some(Vec::new()),
        });
        let rig = Rig::start(fake.port);
        let mut wire = Wire::session(rig.port, &rig.token("alice"));
        wire.send(
            &[
                parse("", "SELECT 1"),
                bind("", "", &[], 0),
                describe(b'P', ""),
                execute("", 0),
                sync(),
            ]
            .concat(),
        );
        let messages = wire.rest();
        assert_eq!(codes(&messages), ["08006"], "{shown}: {messages:?}");
        rig.settle();
        assert_eq!(rig.entries_of("response").len(), 1, "{shown}");
    }
}

#[test]
fn attack_05_a_server_that_dies_leaves_an_outcome() {
    let whole = [row_description(&["a"]), data_row(&[b"1"]), data_row(&[b"2"])].concat();
    for cut in [0, 3, 20, whole.len() - 3, whole.len()] {
        let part = whole[..cut].to_vec();
        let fake = Fake::raw(move |mut stream: TcpStream| {
            let Some(_) = read_startup(&mut stream) else { return };
            let _sent = stream.write_all(&welcome());
            let _query = fake::read_message(&mut stream);
            let _sent = stream.write_all(&part);
        });
        let rig = Rig::start(fake.port);
        let mut wire = Wire::session(rig.port, &rig.token("alice"));
        wire.send(&q("SELECT 1"));
        let messages = wire.rest();
        assert!(messages.iter().all(|m| m.tag != b'Z' && m.tag != b'C'), "{messages:?}");
        rig.settle();
        let responses = rig.entries_of("response");
        assert_eq!(responses.len(), 1);
        assert_eq!(responses[0]["outcome"], "lost");
        // What it said of itself before it died is passed on.
    }
}

#[test]
fn attack_05_hostile_logins_are_refused_and_recorded() {
    let scram = |first: &str| {
        let mut body = 11u32.to_be_bytes().to_vec();
        body.extend(first.as_bytes());
        msg(b'R', &body)
    };
    let sasl = |names: &[u8]| msg(b'R', &[&10u32.to_be_bytes()[..], names].concat());
    let flood: Vec<u8> = (0..40_000).flat_map(|_| msg(b'N', b"SNOTICE\0Mx\0\0")).collect();
    let hello = sasl(b"SCRAM-SHA-256\0\0");
    let openings: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("another protocol", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        (
            "SCRAM with absurd iterations",
            [hello.clone(), scram("r=abc,s=QUJD,i=2147483647")].concat(),
        ),
        ("SCRAM with none", [hello.clone(), scram("r=abc,s=QUJD,i=0")].concat()),
        ("SCRAM with another nonce", [hello.clone(), scram("r=evil,s=QUJD,i=4096")].concat()),
        ("SCRAM that is over at once", [hello.clone(), msg(b'R', &0u32.to_be_bytes())].concat()),
        ("SCRAM with garbage", [hello, scram("\u{0}\u{1}")].concat()),
        ("mechanisms without an end", sasl(b"SCRAM-SHA-256")),
        ("no mechanism", sasl(b"\0")),
        ("GSSAPI", msg(b'R', &7u32.to_be_bytes())),
        ("an unknown way", msg(b'R', &999u32.to_be_bytes())),
        ("a truncated request", msg(b'R', b"\0\0")),
        ("ready without a login", ready(b'I')),
        ("a key without a login", msg(b'K', &[0; 8])),
        ("a short key", [msg(b'R', &0u32.to_be_bytes()), msg(b'K', &[0; 5])].concat()),
        ("a row", [msg(b'R', &0u32.to_be_bytes()), data_row(&[b"1"])].concat()),
        ("a huge message", [msg(b'R', &0u32.to_be_bytes()), frame(b'S', i32::MAX)].concat()),
        ("an endless welcome", [msg(b'R', &0u32.to_be_bytes()), flood].concat()),
        ("an error", error("28P01", "role \"the_real_role\" at 10.0.0.1 has no password")),
        ("an error of nothing", msg(b'E', b"\0")),
    ];
    for (what, opening) in openings {
        let fake = Fake::raw(move |mut stream: TcpStream| {
            let Some(_) = read_startup(&mut stream) else { return };
            let _sent = stream.write_all(&opening);
            let mut rest = Vec::new();
            // Held open for as long as the proxy holds it, but for those that said nothing.
            if !opening.is_empty() {
                let _end = std::io::Read::read_to_end(&mut stream, &mut rest);
            }
        });
        let plan = Plan {
            password: Some("secret-of-the-role".into()),
            methods: postgres_wire::auth::Methods::ANY,
            ..Plan::default()
        };
        let rig = Rig::with(fake.port, plan);
        let hello = wire::startup(wire::V3_0, &[("user", "u"), ("database", "d")]);
        let refused = Wire::login(rig.port, &rig.token("alice"), &hello).err();
        let refused = refused.unwrap_or(Msg { tag: 0, body: Vec::new() });
        assert_eq!((refused.tag, refused.field(b'S').as_str()), (b'E', "FATAL"), "{what}");
        let text = String::from_utf8_lossy(&refused.body).into_owned();
        for secret in ["the_real_role", "10.0.0.1", "secret-of-the-role"] {
            assert!(!text.contains(secret), "{what}: {text}");
        }
        // On record as a refusal, or as a session that ended before it could do anything.
        rig.settle();
        let ends = rig.entries_of("session_end").len();
        assert_eq!(rig.entries_of("auth_failure").len() + ends, 1, "{what}");
        assert!(rig.entries_of("command").is_empty());
    }
}

#[test]
fn attack_05_one_hostile_server_does_not_stop_another_session() {
    let fake = Fake::start(|message: &Msg| match message.tag {
        b'Q' if message.body.starts_with(b"evil") => Some(cell(1, 100, b"abc")),
        _ => one_row(message),
    });
    let rig = Rig::start(fake.port);
    let token = rig.token("alice");
    let mut good = Wire::session(rig.port, &token);
    for _ in 0..20 {
        let mut bad = Wire::session(rig.port, &token);
        bad.send(&q("evil"));
        bad.rest();
        assert_eq!(firsts(&good.query("SELECT 1")), ["1"]);
    }
}
