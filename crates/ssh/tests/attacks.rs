//! Attacks on the way in, each named after its item of the project's list.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rig::raw::Raw;
use rig::{Plan, Rig, clear};
use russh::keys::agent::AgentIdentity;
use russh::keys::signature::Signer as _;
use russh::keys::{Certificate, HashAlg, PrivateKey};
use serde_json::Value;
use ssh::{ChannelRules, Credential, HostTrust, SecretKey};
use ssh_wire::packet::{Packet, parse, write};
use testbed::{Sshd, SshdOptions, require};

/// Long enough that only a hang reaches it.
const LONG: Duration = Duration::from_secs(30);

/// A rig whose target nobody ever reaches: nothing listens there.
fn no_target(plan: Plan) -> Rig {
    let credential = Credential::Key(SecretKey::generate().unwrap());
    Rig::before(1, "root", HostTrust::default(), credential, plan)
}

fn raw_tcp(rig: &Rig) -> TcpStream {
    let tcp = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
    tcp.set_read_timeout(Some(LONG)).unwrap();
    tcp.set_write_timeout(Some(LONG)).unwrap();
    tcp
}

/// What comes until the other side closes.
fn rest(mut tcp: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    match tcp.read_to_end(&mut all) {
        Ok(_) => all,
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
            all
        }
    }
}

fn open_session() -> bytes::Bytes {
    write::open(b"session", 0, 1 << 20, 1 << 15, b"")
}

/// Signs with another key than the one that was offered, or not at all.
struct Wrong(Option<PrivateKey>);

#[derive(Debug)]
struct Gone;

impl From<russh::SendError> for Gone {
    fn from(_: russh::SendError) -> Self {
        Gone
    }
}

impl russh::Signer for Wrong {
    type Error = Gone;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        _: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, Gone> {
        let signature = self.0.as_ref().ok_or(Gone)?.try_sign(&to_sign).unwrap();
        let string = |bytes: &[u8]| {
            let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
            [&length[..], bytes].concat()
        };
        let blob = [string(b"ssh-ed25519"), string(signature.as_bytes())].concat();
        to_sign.extend(string(&blob));
        Ok(to_sign)
    }
}

#[test]
fn attack_11_an_offer_is_no_proof() {
    let rig = no_target(Plan::default());
    let (path, line) = rig.client_key("alice");
    let said = rig.fetch_certificate(&rig.token("alice"), &line, &[]);
    let certificate = Certificate::from_openssh(said.out.trim()).unwrap();
    let own = russh::keys::load_secret_key(&path, None).unwrap();
    let (path, _) = rig.client_key("mallory");
    let other = russh::keys::load_secret_key(path, None).unwrap();
    rig.settle();
    rig.runtime.block_on(async {
        // Offered and welcome; then a signature of another key, or none at all.
        for signer in [Some(other), None] {
            let mut raw = Raw::connect(rig.port).await;
            let unsigned = signer.is_none();
            let mut wrong = Wrong(signer);
            let answer = raw
                .handle
                .authenticate_certificate_with("root+web1", certificate.clone(), None, &mut wrong)
                .await;
            match answer {
                Ok(answer) => assert!(!answer.success()),
                Err(Gone) => assert!(unsigned, "it must be asked for a signature"),
            }
            raw.send(open_session()).await;
            raw.send(write::global_request(b"keepalive@openssh.com", true, b"")).await;
            let answer = tokio::time::timeout(Duration::from_secs(2), raw.next()).await;
            assert!(!matches!(answer, Ok(Some(_))), "{answer:?}");
        }
        // The same request, signed by its own key, does let in.
        let mut raw = Raw::connect(rig.port).await;
        let mut right = Wrong(Some(own));
        let answer = raw
            .handle
            .authenticate_certificate_with("root+web1", certificate, None, &mut right)
            .await;
        assert!(answer.unwrap().success());
    });
    // The certificate's own session, and the last one, which may not have begun when its login is
    // answered.
    for _ in 0..1000 {
        if rig.entries_of("session_start").len() >= 2 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    rig.settle();
    assert_eq!(rig.entries_of("session_start").len(), 2);
}

#[test]
fn attack_11_channels_before_the_login_are_not_served() {
    let rig = no_target(Plan::default());
    rig.runtime.block_on(async {
        let mut raw = Raw::connect(rig.port).await;
        for _ in 0..3 {
            raw.send(open_session()).await;
        }
        let refused = raw.handle.authenticate_password("root+web1", "nothing").await;
        assert!(!refused.is_ok_and(|answer| answer.success()));
        raw.send(open_session()).await;
        assert!(raw.leave().await.is_empty());
    });
    assert!(rig.entries_of("session_start").is_empty());
}

#[test]
fn attack_11_a_good_token_for_one_name_opens_no_other() {
    let rig = no_target(Plan::default());
    rig.runtime.block_on(async {
        let mut raw = Raw::connect(rig.port).await;
        // Refused under a name that is allowed, accepted under one that leads elsewhere.
        let no = raw.handle.authenticate_password("root+web1", "nothing").await.unwrap();
        assert!(!no.success());
        let token = rig.token("alice");
        let no = raw.handle.authenticate_password("admin+web1", token.clone()).await.unwrap();
        assert!(!no.success(), "she may not be admin");
        let yes = raw.handle.authenticate_password("greffier-cert", token).await.unwrap();
        assert!(yes.success());
        raw.leave().await;
    });
    // Nothing was asked on it, so its start may be later than its end here.
    rig::tools::until(|| rig.entries_of("session_start").pop());
    rig.settle();
    let starts = rig.entries_of("session_start");
    assert_eq!((starts.len(), &starts[0]["target"]), (1, &"greffier-cert".into()));
}

#[test]
fn attack_12_strict_key_exchange_and_nothing_weak_is_offered() {
    let rig = no_target(Plan::default());
    let mut tcp = raw_tcp(&rig);
    assert!(clear::read_version(&mut tcp).starts_with("SSH-2.0-OpenSSH_"));
    tcp.write_all(b"SSH-2.0-test\r\n").unwrap();
    let lists = clear::name_lists(&clear::read_packet(&mut tcp));
    clear::assert_strong(&lists);
    assert!(lists[0].contains("kex-strict-s-v00@openssh.com"));
    assert_eq!(lists[1], "ssh-ed25519");
}

#[test]
fn attack_12_openssh_sees_strict_key_exchange() {
    let rig = no_target(Plan::default());
    let said = rig.ssh_with(&["-vvv"], &["true"]);
    assert!(said.err.contains("strict KEX ordering"), "{said:?}");
}

#[test]
fn attack_12_a_message_slipped_into_a_strict_exchange_ends_it() {
    let rig = no_target(Plan::default());
    let exchange = |slip: bool| {
        let mut tcp = raw_tcp(&rig);
        clear::read_version(&mut tcp);
        tcp.write_all(b"SSH-2.0-test\r\n").unwrap();
        let theirs = clear::read_packet(&mut tcp);
        // Their own offer sent back, as a client that is strict.
        let mut lists = clear::name_lists(&theirs);
        lists[0] = "curve25519-sha256,kex-strict-c-v00@openssh.com".into();
        let ours = clear::kexinit(&lists);
        if slip {
            // SSH_MSG_IGNORE of four bytes, which moves the sequence numbers.
            tcp.write_all(&clear::packet(&[2, 0, 0, 0, 4, 1, 2, 3, 4])).unwrap();
        }
        tcp.write_all(&clear::packet(&ours)).unwrap();
        if slip {
            return rest(tcp);
        }
        // SSH_MSG_KEX_ECDH_INIT with a point: answered by SSH_MSG_KEX_ECDH_REPLY.
        let mut point = vec![30, 0, 0, 0, 32];
        point.extend([9; 32]);
        tcp.write_all(&clear::packet(&point)).unwrap();
        clear::read_packet(&mut tcp)
    };
    assert_eq!(exchange(false)[0], 31, "without it the exchange goes on");
    let answer = exchange(true);
    // SSH_MSG_DISCONNECT, SSH_DISCONNECT_KEY_EXCHANGE_FAILED and why.
    assert_eq!(answer.get(5..10), Some(&[1, 0, 0, 0, 3][..]), "{answer:?}");
    let told = String::from_utf8_lossy(&answer).into_owned();
    assert!(told.contains("greffier: ") && told.contains("strict"), "{told}");
}

#[test]
fn who_shares_no_algorithm_with_us_is_told_so() {
    let rig = no_target(Plan::default());
    let mut tcp = raw_tcp(&rig);
    clear::read_version(&mut tcp);
    tcp.write_all(b"SSH-2.0-test\r\n").unwrap();
    let mut lists = clear::name_lists(&clear::read_packet(&mut tcp));
    lists[0] = "diffie-hellman-group1-sha1".to_owned();
    tcp.write_all(&clear::packet(&clear::kexinit(&lists))).unwrap();
    let answer = rest(tcp);
    assert_eq!(answer.get(5..10), Some(&[1, 0, 0, 0, 3][..]), "{answer:?}");
    let told = String::from_utf8_lossy(&answer).into_owned();
    assert!(told.contains("No common Kex algorithm"), "{told}");
}

/// The refusals on record, once there are so many: the client's connection may close before.
fn failures(rig: &Rig, many: usize) -> Vec<Value> {
    for _ in 0..6000 {
        if rig.entries_of("auth_failure").len() >= many {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    rig.entries_of("auth_failure")
}

#[test]
fn attack_13_floods_before_the_login_are_cut() {
    let login_timeout = Duration::from_secs(60);
    let rig = no_target(Plan { login_timeout, ..Plan::default() });
    let banner_lines = b"hello\r\n".repeat(100_000);
    let huge = [&b"SSH-2.0-test\r\n"[..], &[0x7f; 64]].concat();
    let long_line = [b"SSH-2.0-".to_vec(), vec![b'x'; 100_000]].concat();
    let zero = [&b"SSH-2.0-test\r\n"[..], &[0; 64]].concat();
    for flood in [banner_lines, huge, long_line, zero] {
        let mut tcp = raw_tcp(&rig);
        // It may be closed while we write.
        let _cut = tcp.write_all(&flood);
        let _cut = tcp.shutdown(std::net::Shutdown::Write);
        rest(tcp);
    }
    assert!(rig.entries_of("session_start").is_empty());
    // What each was cut for is on record, with where it came from; the packets of no bytes end
    // with our own leaving, which is nothing to record.
    let failures = failures(&rig, 3);
    let causes: Vec<&str> = failures.iter().map(|it| it["cause"].as_str().unwrap()).collect();
    assert_eq!(causes, ["handshake"; 3], "{failures:?}");
    assert!(failures.iter().all(|it| it["peer"].as_str().unwrap().starts_with("127.0.0.1:")));
}

#[test]
fn attack_13_who_stalls_before_the_login_is_ended_and_others_wait_outside() {
    let login_timeout = Duration::from_millis(1500);
    let rig = no_target(Plan { login_timeout, max_unauthenticated: 2, ..Plan::default() });
    let (mut first, mut second) = (raw_tcp(&rig), raw_tcp(&rig));
    clear::read_version(&mut first);
    second.write_all(b"SSH-2.0-test\r\n").unwrap();
    clear::read_version(&mut second);
    // Not even a version for the third.
    assert_eq!(rest(raw_tcp(&rig)), b"");
    // The stalled ones are ended by the deadline, and leave their places.
    rest(first);
    rest(second);
    let mut next = raw_tcp(&rig);
    assert!(clear::read_version(&mut next).starts_with("SSH-2.0-"));
    let failures = failures(&rig, 2);
    assert!(failures.len() == 2 && failures.iter().all(|it| it["cause"] == "login_timeout"));
}

#[test]
fn attack_13_a_session_s_numbers_and_windows_are_checked() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let rules = ChannelRules { max_channels: 4, ..Plan::default().rules };
    let rig = Rig::with(&sshd, Plan { rules, ..Plan::default() });
    let (user, token) = (rig.user(), rig.token("alice"));
    let open = |n: u32| write::open(b"session", n, 1 << 20, 1 << 15, b"");
    rig.runtime.block_on(async {
        // More channels than there may be: refused one by one, the connection lives.
        let mut raw = Raw::log_in(rig.port, &user, &token).await;
        for n in 0..200 {
            assert!(raw.send(open(n)).await);
        }
        let (mut confirmed, mut refused) = (0, 0);
        while confirmed + refused < 200 {
            let packet = raw.next().await.unwrap();
            match parse(&packet).unwrap() {
                Packet::OpenConfirmation { .. } => confirmed += 1,
                Packet::OpenFailure { .. } => refused += 1,
                _ => {}
            }
        }
        assert_eq!((confirmed, refused), (4, 196));
        // What breaks the protocol ends the session.
        for broken in [
            write::data(77, b"to nobody"),
            write::close(77),
            bytes::Bytes::from_static(&[94, 0, 0]),
            bytes::Bytes::from_static(&[98, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
        ] {
            let mut raw = Raw::log_in(rig.port, &user, &token).await;
            let named = format!("{broken:?}");
            raw.send(broken).await;
            let ended = tokio::time::timeout(LONG, raw.rest()).await;
            assert!(ended.is_ok(), "{named} is taken");
            let told = raw.told();
            assert!(told.contains("the client broke the protocol"), "{named}: {told}");
        }
    });
    rig.settle();
    let ends = rig.entries_of("session_end");
    let broke = |end: &&serde_json::Value| {
        end["reason"].as_str().is_some_and(|reason| reason.contains("broke the protocol"))
    };
    assert_eq!(ends.iter().filter(broke).count(), 4, "{ends:?}");
}

#[test]
fn attack_15_no_user_name_leads_anywhere_but_to_a_target() {
    let rig = no_target(Plan::default());
    let names = [
        "../web1",
        "root+../web1",
        "root+web1/../web2",
        "root+web1+web2",
        "root%2bweb1",
        "+web1",
        "root+",
        "+",
        "",
        "root:web1",
        "root#web1",
        "root@web1+",
        "root,root+web1",
        "Root+WEB1",
        "root+web1\0",
        "root+web1\n",
        " root+web1",
        "root+web1 ",
        "-oProxyCommand=x+web1",
        "root+-web1",
        "root+.web1",
        "r\u{00f6}ot+web1",
        "root+web1;id",
        "$(id)+web1",
    ];
    let long = "x".repeat(300);
    rig.runtime.block_on(async {
        for name in names.into_iter().chain([long.as_str()]) {
            let mut raw = Raw::connect(rig.port).await;
            let answer = raw.handle.authenticate_password(name, rig.token("alice")).await;
            assert!(!answer.is_ok_and(|answer| answer.success()), "{name:?}");
        }
    });
    assert!(rig.entries_of("session_start").is_empty());
    let failures = rig.entries_of("auth_failure");
    assert_eq!(failures.len(), names.len() + 1);
    for (failure, name) in failures.iter().zip(names) {
        assert_eq!(failure["cause"], "user_name", "{name:?}");
        assert_eq!(failure["target"], name);
    }
}

/// A port that leads to this one, and says something of its own first.
fn saying_first(port: u16, line: &'static [u8]) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (near, _) = listener.accept().unwrap();
        let mut far = TcpStream::connect(("127.0.0.1", port)).unwrap();
        far.write_all(line).unwrap();
        let (mut from_far, mut to_near) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ended = std::io::copy(&mut from_far, &mut to_near);
            let _closed = to_near.shutdown(std::net::Shutdown::Both);
        });
        let mut near = near;
        let _ended = std::io::copy(&mut near, &mut far);
        let _closed = far.shutdown(std::net::Shutdown::Both);
    });
    own
}

#[test]
fn attack_16_a_proxy_protocol_line_is_not_believed() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let rig = Rig::start(&sshd);
    for line in
        [&b"PROXY TCP4 192.0.2.66 192.0.2.1 5 22\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"]
    {
        let mut tcp = raw_tcp(&rig);
        tcp.write_all(line).unwrap();
        let _cut = tcp.write_all(b"SSH-2.0-test\r\n");
        let _cut = tcp.shutdown(std::net::Shutdown::Write);
        rest(tcp);
    }
    // Before a client that goes on as if nothing were: nothing says it comes from elsewhere.
    let port = saying_first(rig.port, b"PROXY TCP4 192.0.2.66 192.0.2.1 5 22\r\n");
    let _either_way = rig.ssh_with(&["-p", &port.to_string()], &["true"]);
    rig.settle();
    for entry in rig.entries() {
        assert!(!entry.to_string().contains("192.0.2.66"), "{entry}");
        if let Some(peer) = entry["peer"].as_str() {
            assert!(peer.starts_with("127.0.0.1:"), "{entry}");
        }
    }
}
