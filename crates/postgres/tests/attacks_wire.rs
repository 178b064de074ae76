//! Attacks on the opening of a connection and on framing: items 1 to 4 of the list of attacks
//! that other proxies fell to.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod fake;
mod rig;
mod wire;

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use fake::{Fake, one_row};
use rig::{Plan, Rig};
use wire::{GSSENC_REQUEST, SSL_REQUEST, V3_0, Wire, firsts, msg, packet, parse, q, startup, sync};

/// Short, so that a stall shows soon.
const SHORT: Duration = Duration::from_millis(700);

fn tls_rig(fake: &Fake) -> Rig {
    Rig::with(fake.port, Plan { tls: true, handshake_timeout: SHORT, ..Plan::default() })
}

fn plain_startup() -> Vec<u8> {
    startup(V3_0, &[("user", "postgres"), ("database", "postgres")])
}

fn password(token: &str) -> Vec<u8> {
    msg(b'p', format!("{token}\0").as_bytes())
}

fn tls_config(rig: &Rig, alpn: &[&[u8]]) -> Arc<rustls::ClientConfig> {
    use rustls_pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    let path = rig.authority.as_ref().unwrap();
    for certificate in rustls_pki_types::CertificateDer::pem_file_iter(path).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

type Tls = rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream>;

fn tls(rig: &Rig, stream: std::net::TcpStream, alpn: &[&[u8]]) -> Tls {
    let name = "localhost".try_into().unwrap();
    let connection = rustls::ClientConnection::new(tls_config(rig, alpn), name).unwrap();
    rustls::StreamOwned::new(connection, stream)
}

/// What comes inside TLS up to its end; an error ends it too.
fn read_all(stream: &mut Tls) -> Vec<u8> {
    let (mut all, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut chunk) {
            Ok(n @ 1..) => all.extend(&chunk[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return all,
        }
    }
}

#[test]
fn attack_01_plaintext_pipelined_behind_ssl_request_is_never_a_session() {
    let fake = Fake::start(one_row);
    let rig = tls_rig(&fake);
    let token = rig.token("alice");
    let smuggled = [plain_startup(), password(&token), q("SELECT 'smuggled'")].concat();
    for head in [packet(SSL_REQUEST, &[]), packet(GSSENC_REQUEST, &[])] {
        let mut wire = Wire::open(rig.port);
        wire.send(&[head.clone(), smuggled.clone()].concat());
        let first = wire.byte();
        let rest = std::iter::from_fn(|| wire.byte()).collect::<Vec<_>>();
        let got = String::from_utf8_lossy(&rest).into_owned();
        assert!(first == Some(b'S') || first == Some(b'N'), "{first:?}");
        let asks_for_password = rest.windows(9).any(|w| w[0] == b'R' && w[8] == 3);
        assert!(!asks_for_password, "a password was asked for in plain text: {got}");
        assert!(!rest.contains(&b'Z'), "{got}");
    }
    assert_eq!(fake.tags(), "", "nothing reached the server");
    assert!(rig.entries_of("session_start").is_empty());
}

#[test]
fn attack_01_plaintext_between_ssl_request_and_the_handshake_breaks_it() {
    let fake = Fake::start(one_row);
    let rig = tls_rig(&fake);
    // As a man in the middle would: the request with a whole session behind it, and then the
    // honest client's handshake.
    let mut stream = Wire::open(rig.port).stream;
    let injected = [packet(SSL_REQUEST, &[]), plain_startup()].concat();
    stream.write_all(&injected).unwrap();
    let mut answer = [0; 1];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"S");
    let mut inside = tls(&rig, stream, &[b"postgresql"]);
    let written = inside.write_all(&plain_startup()).and_then(|()| inside.flush());
    let got = if written.is_ok() { read_all(&mut inside) } else { Vec::new() };
    assert!(got.is_empty(), "the handshake went through: {got:?}");
    assert_eq!(fake.tags(), "");
}

#[test]
fn attack_01_encryption_requests_inside_tls_are_refused() {
    let fake = Fake::start(one_row);
    let rig = tls_rig(&fake);
    for code in [SSL_REQUEST, GSSENC_REQUEST] {
        let mut stream = Wire::open(rig.port).stream;
        stream.write_all(&packet(SSL_REQUEST, &[])).unwrap();
        let mut answer = [0; 1];
        stream.read_exact(&mut answer).unwrap();
        let mut inside = tls(&rig, stream, &[b"postgresql"]);
        inside.write_all(&[packet(code, &[]), plain_startup()].concat()).unwrap();
        let got = read_all(&mut inside);
        assert!(!got.contains(&b'R') && !got.starts_with(b"S"), "{got:?}");
    }
    assert_eq!(fake.tags(), "");
}

/// What each kind of stalled client has said before it stalls.
fn stalls(token: &str) -> Vec<Vec<u8>> {
    let hello = plain_startup();
    let secret = password(token);
    vec![
        vec![],
        vec![0],
        vec![0x16],
        vec![0x16, 3, 1, 2],
        packet(SSL_REQUEST, &[]),
        packet(SSL_REQUEST, &[])[..5].to_vec(),
        packet(GSSENC_REQUEST, &[]),
        hello[..9].to_vec(),
        hello[..hello.len() - 1].to_vec(),
        hello.clone(),
        [hello.clone(), vec![b'p']].concat(),
        [hello, secret[..secret.len() - 1].to_vec()].concat(),
    ]
}

#[test]
fn attack_02_a_stalled_handshake_is_closed_at_its_deadline() {
    let fake = Fake::start(one_row);
    for tls in [true, false] {
        let plan = Plan { tls, handshake_timeout: SHORT, ..Plan::default() };
        let rig = Rig::with(fake.port, plan);
        let mut stalled: Vec<Wire> = Vec::new();
        for said in stalls(&rig.token("alice")) {
            let mut wire = Wire::open(rig.port);
            wire.send(&said);
            stalled.push(wire);
        }
        for mut wire in stalled {
            // It ends, or `byte` panics after its patience.
            while let Some(_byte) = wire.byte() {}
        }
        assert!(rig.entries_of("session_start").is_empty());
    }
}

#[test]
fn attack_02_stalled_clients_do_not_stop_a_good_one() {
    let fake = Fake::start(one_row);
    let plan = Plan { handshake_timeout: Duration::from_secs(60), ..Plan::default() };
    let rig = Rig::with(fake.port, plan);
    let kinds = stalls(&rig.token("alice"));
    let mut stalled = Vec::new();
    for number in 0..240 {
        let mut wire = Wire::open(rig.port);
        wire.send(&kinds[number % kinds.len()]);
        stalled.push(wire);
    }
    let mut good = Wire::session(rig.port, &rig.token("bob"));
    assert_eq!(firsts(&good.query("SELECT 1")), ["1"]);
    drop(stalled);
}

#[test]
fn attack_03_gssenc_is_refused_and_asked_for_twice_ends_it() {
    let fake = Fake::start(one_row);
    let rig = Rig::with(fake.port, Plan { handshake_timeout: SHORT, ..Plan::default() });
    let mut wire = Wire::open(rig.port);
    wire.send(&packet(GSSENC_REQUEST, &[]));
    assert_eq!(wire.byte(), Some(b'N'));
    wire.send(&packet(GSSENC_REQUEST, &[]));
    assert_eq!(wire.byte(), None, "a second request is not answered but ended");
    // Once, and then in plain text where that is allowed.
    let mut wire = Wire::open(rig.port);
    wire.send(&packet(GSSENC_REQUEST, &[]));
    assert_eq!(wire.byte(), Some(b'N'));
    wire.send(&plain_startup());
    assert_eq!(wire.read().unwrap().tag, b'R');
}

#[test]
fn attack_03_ssl_request_can_be_asked_for_once() {
    let fake = Fake::start(one_row);
    let rig = Rig::start(fake.port);
    let mut wire = Wire::open(rig.port);
    for request in [SSL_REQUEST, GSSENC_REQUEST] {
        wire.send(&packet(request, &[]));
        assert_eq!(wire.byte(), Some(b'N'));
    }
    wire.send(&packet(SSL_REQUEST, &[]));
    assert_eq!(wire.byte(), None, "a second request is not answered but ended");
    // Both, and then in plain text where that is allowed.
    let mut wire = Wire::open(rig.port);
    for request in [GSSENC_REQUEST, SSL_REQUEST] {
        wire.send(&packet(request, &[]));
        assert_eq!(wire.byte(), Some(b'N'));
    }
    wire.send(&plain_startup());
    assert_eq!(wire.read().unwrap().tag, b'R');
}

#[test]
fn attack_03_plain_text_where_tls_is_required_is_refused_before_the_password() {
    let fake = Fake::start(one_row);
    let rig = tls_rig(&fake);
    let mut wire = Wire::open(rig.port);
    wire.send(&plain_startup());
    let messages = wire.rest();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!((messages[0].tag, messages[0].field(b'C').as_str()), (b'E', "28000"));
    assert_eq!(messages[0].field(b'S'), "FATAL");
    // The same after a refused GSSENCRequest: the downgrade path of libpq's gssencmode=prefer.
    let mut wire = Wire::open(rig.port);
    wire.send(&packet(GSSENC_REQUEST, &[]));
    assert_eq!(wire.byte(), Some(b'N'));
    wire.send(&plain_startup());
    let messages = wire.rest();
    assert!(messages.iter().all(|m| m.tag == b'E'), "{messages:?}");
    assert!(fake.startups.lock().unwrap().is_empty(), "the server was not even called");
}

#[test]
fn attack_03_direct_tls_needs_its_alpn() {
    let fake = Fake::start(one_row);
    let rig = tls_rig(&fake);
    for alpn in [&[][..], &[b"h2".as_slice()][..]] {
        let mut stream = tls(&rig, Wire::open(rig.port).stream, alpn);
        let sent = stream.write_all(&plain_startup()).and_then(|()| stream.flush());
        let got = if sent.is_ok() { read_all(&mut stream) } else { Vec::new() };
        assert!(!got.contains(&b'R'), "{alpn:?}: {got:?}");
    }
    let mut stream = tls(&rig, Wire::open(rig.port).stream, &[b"postgresql"]);
    stream.write_all(&plain_startup()).unwrap();
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"R\0\0\0\x08\0\0\0\x03", "with ALPN the password is asked for");
}

#[test]
fn attack_04_bad_lengths_before_and_in_the_login_end_it() {
    let fake = Fake::start(one_row);
    let rig = Rig::with(fake.port, Plan { handshake_timeout: SHORT, ..Plan::default() });
    let with_length = |length: i32, rest: &[u8]| [&length.to_be_bytes()[..], rest].concat();
    let mut openings: Vec<Vec<u8>> = [i32::MIN, -1, 0, 3, 4, 7, 10_001, 1 << 20, i32::MAX]
        .into_iter()
        .map(|length| with_length(length, &V3_0.to_be_bytes()))
        .collect();
    // A parameter without its end, a packet that ends too early, garbage behind the end.
    openings.push(packet(V3_0, b"user\0postgres"));
    openings.push(packet(V3_0, b"user\0postgres\0\0garbage"));
    openings.push(packet(V3_0, b""));
    openings.push(packet(SSL_REQUEST, b"more"));
    openings.push(packet(2 << 16, b"user\0postgres\0\0"));
    openings.push(packet(wire::CANCEL_REQUEST, b""));
    openings.push(packet(wire::CANCEL_REQUEST, &[0; 300]));
    for opening in openings {
        let mut wire = Wire::open(rig.port);
        wire.send(&opening);
        let end = std::iter::from_fn(|| wire.byte()).collect::<Vec<_>>();
        assert!(end.is_empty() || end[0] == b'E', "{opening:?}: {end:?}");
    }
    for length in [i32::MIN, -1, 0, 3, 70_000, i32::MAX] {
        for tag in [b'p', b'Q', b'P', 0, 0xff] {
            let mut wire = Wire::open(rig.port);
            wire.send(&plain_startup());
            assert_eq!(wire.read().unwrap().tag, b'R');
            wire.send(&[&[tag][..], &length.to_be_bytes()].concat());
            let messages = wire.rest();
            assert!(messages.iter().all(|m| m.tag == b'E'), "{tag} {length}: {messages:?}");
            for message in messages {
                assert_eq!(message.field(b'C'), "08P01");
            }
        }
    }
    assert!(fake.startups.lock().unwrap().is_empty());
}

fn fatal_protocol_error(rig: &Rig, token: &str, bytes: &[u8]) {
    let mut wire = Wire::session(rig.port, token);
    wire.try_send(bytes);
    let messages = wire.rest();
    let last = messages.last();
    let said = last.map(|m| (m.tag, m.field(b'S'), m.field(b'C')));
    let expected = Some((b'E', "FATAL".to_owned(), "08P01".to_owned()));
    assert_eq!(said, expected, "{:?}: {messages:?}", &bytes[..bytes.len().min(40)]);
}

#[test]
fn attack_04_bad_lengths_in_a_session_are_fatal_and_go_nowhere() {
    let fake = Fake::start(one_row);
    let rig = Rig::with(fake.port, Plan { max_message_bytes: 1 << 20, ..Plan::default() });
    let token = rig.token("alice");
    for tag in b"QPBDECHSFdcfpX".iter().chain(&[0u8, 0x7f, 0xff, b'Z']) {
        for length in [i32::MIN, -1, 0, 3, (1 << 20) + 1, 0x4000_0000, i32::MAX] {
            let frame = [&[*tag][..], &length.to_be_bytes(), b"SELECT 1\0"].concat();
            fatal_protocol_error(&rig, &token, &frame);
        }
    }
    let sent = fake.tags().replace('X', "");
    assert_eq!(sent, "", "none of it reached the server");
}

#[test]
fn attack_04_malformed_bodies_are_fatal_and_go_nowhere() {
    let fake = Fake::start(one_row);
    let rig = Rig::start(fake.port);
    let token = rig.token("alice");
    let many = [b"\0\0".as_slice(), &[0, 0], &u16::MAX.to_be_bytes()].concat();
    let negative = [b"\0\0".as_slice(), &[0, 0, 0, 1], &(-2i32).to_be_bytes(), &[0, 0]].concat();
    let beyond = [b"\0\0".as_slice(), &[0, 0, 0, 1], &i32::MAX.to_be_bytes(), b"x\0\0"].concat();
    let bodies: Vec<(u8, Vec<u8>)> = vec![
        (b'Q', b"SELECT 1".to_vec()),
        (b'Q', b"SELECT 1\0; DROP TABLE t\0".to_vec()),
        (b'Q', b"".to_vec()),
        (b'P', b"s\0SELECT 1\0".to_vec()),
        (b'P', b"s\0SELECT 1\0\xff\xff\0\0\0\x17".to_vec()),
        (b'P', b"s\0SELECT 1\0\0\0garbage".to_vec()),
        (b'B', many),
        (b'B', negative),
        (b'B', beyond),
        (b'B', b"\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0\0".to_vec()),
        (b'D', b"Xname\0".to_vec()),
        (b'D', b"S".to_vec()),
        (b'C', b"Sname".to_vec()),
        (b'E', b"portal\0".to_vec()),
        (b'E', b"portal\0\0\0\0\0more".to_vec()),
        (b'S', b"more".to_vec()),
        (b'H', b"more".to_vec()),
        (b'X', b"more".to_vec()),
        (b'F', b"\0\0\0\x01\0\0\0\x01\xff\xff\xff\xf0\0\0".to_vec()),
        (b'p', b"again\0".to_vec()),
    ];
    for (tag, body) in bodies {
        fatal_protocol_error(&rig, &token, &msg(tag, &body));
    }
    assert_eq!(fake.tags().replace('X', ""), "");
}

#[test]
fn attack_04_one_message_stays_one_however_it_is_cut() {
    let fake = Fake::start(one_row);
    let rig = Rig::start(fake.port);
    // A text that is a sequence of messages to whoever loses the count.
    let inner = [q("DROP TABLE a"), parse("x", "DROP TABLE b"), sync()].concat();
    let inner: Vec<u8> = inner.into_iter().map(|b| if b == 0 { b' ' } else { b }).collect();
    let text = [b"SELECT '".as_slice(), &inner, b"'"].concat();
    let whole = q(&text);
    let mut wire = Wire::session(rig.port, &rig.token("alice"));
    for byte in &whole {
        wire.send(&[*byte]);
    }
    assert_eq!(wire::tags(&wire.until_ready(1)), "TDCZ");
    let sent = fake.got.lock().unwrap().clone();
    assert_eq!(sent.len(), 1);
    assert_eq!(msg(sent[0].tag, &sent[0].body), whole);
}

#[test]
fn attack_04_too_long_a_message_is_refused_by_its_header_alone() {
    let fake = Fake::start(one_row);
    let rig = Rig::with(fake.port, Plan { max_message_bytes: 1 << 20, ..Plan::default() });
    let token = rig.token("alice");
    // Exactly at the limit it passes; its length field counts itself.
    let fits = "x".repeat((1 << 20) - 4 - 1 - "SELECT ''".len());
    let mut wire = Wire::session(rig.port, &token);
    assert_eq!(firsts(&wire.query(&format!("SELECT '{fits}'"))), ["1"]);
    let mut wire = Wire::session(rig.port, &token);
    wire.send(b"Q");
    wire.send(&((1u32 << 20) + 1).to_be_bytes());
    let messages = wire.rest();
    assert_eq!(messages.last().unwrap().field(b'C'), "08P01");
    assert!(messages.last().unwrap().field(b'S') == "FATAL");
}
