//! Attacks by targets, each named after its item of the project's list: a host in the place of one
//! that is configured, before anybody has seen its key.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rig::{Plan, Rig, Said, clear};
use ssh::{Credential, HostTrust, SecretKey};

/// Long enough that only a hang reaches it.
const LONG: Duration = Duration::from_secs(60);
/// More than a target may send before its login, with what the sockets hold.
const MUCH: usize = 64 << 20;

/// A target that does this with the one connection to it; what that gives.
fn target<T: Send + 'static>(
    act: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (u16, Receiver<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        tcp.set_read_timeout(Some(LONG)).unwrap();
        tcp.set_write_timeout(Some(LONG)).unwrap();
        let _over = tell.send(act(tcp));
    });
    (port, told)
}

/// A proxy before it.
fn before(port: u16, connect_timeout: Duration) -> Rig {
    let trust =
        HostTrust { keys: vec![SecretKey::generate().unwrap().public()], authorities: vec![] };
    let credential = Credential::Key(SecretKey::generate().unwrap());
    Rig::before(port, "root", trust, credential, Plan { connect_timeout, ..Plan::default() })
}

/// The client is told which target can't be used, and so says the record; nothing ran.
fn is_told(rig: &Rig, said: &Said) -> String {
    assert_eq!((said.code, said.out.as_str()), (Some(255), ""), "{said:?}");
    assert!(said.err.contains("greffier: target web1: "), "{said:?}");
    rig.settle();
    assert!(rig.entries_of("command").is_empty());
    let end = rig.entries_of("session_end")[0]["reason"].as_str().unwrap().to_owned();
    assert!(end.starts_with("target: "), "{end}");
    end
}

#[test]
fn attack_12_towards_a_target_nothing_weak_is_offered() {
    let (port, told) = target(|mut tcp| {
        tcp.write_all(b"SSH-2.0-test\r\n").unwrap();
        (clear::read_version(&mut tcp), clear::name_lists(&clear::read_packet(&mut tcp)))
    });
    let rig = before(port, LONG);
    is_told(&rig, &rig.ssh(&["true"]));
    let (version, lists) = told.recv_timeout(LONG).unwrap();
    assert!(version.starts_with("SSH-2.0-"), "{version}");
    clear::assert_strong(&lists);
    assert!(lists[0].contains("kex-strict-c-v00@openssh.com"), "{lists:?}");
    // The kind of key that is pinned comes first, and no certificate where no authority is.
    assert!(lists[1].starts_with("ssh-ed25519") && !lists[1].contains("cert"), "{lists:?}");
}

/// The message number of the client's answer to our KEXINIT; none: it left.
fn answer_to_kexinit(mut tcp: TcpStream, slip: bool) -> Option<u8> {
    tcp.write_all(b"SSH-2.0-test\r\n").unwrap();
    clear::read_version(&mut tcp);
    let mut lists = clear::name_lists(&clear::read_packet(&mut tcp));
    lists[0] = "curve25519-sha256,kex-strict-s-v00@openssh.com".into();
    if slip {
        // SSH_MSG_IGNORE of four bytes, which moves the sequence numbers.
        tcp.write_all(&clear::packet(&[2, 0, 0, 0, 4, 1, 2, 3, 4])).unwrap();
    }
    tcp.write_all(&clear::packet(&clear::kexinit(&lists))).unwrap();
    let mut rest = Vec::new();
    if slip {
        let _reset = tcp.read_to_end(&mut rest);
        // It may have begun before it saw what was slipped in.
        return rest.get(5).copied().filter(|number| *number != 30);
    }
    Some(clear::read_packet(&mut tcp)[0])
}

#[test]
fn attack_12_a_message_slipped_into_a_targets_strict_exchange_ends_it() {
    for (slip, expected) in [(false, Some(30)), (true, None)] {
        let (port, answer) = target(move |tcp| answer_to_kexinit(tcp, slip));
        let rig = before(port, Duration::from_secs(10));
        let end = is_told(&rig, &rig.ssh(&["true"]));
        let answer = answer.recv_timeout(LONG).unwrap();
        // SSH_MSG_DISCONNECT would do, too.
        assert!(answer == expected || (slip && answer == Some(1)), "{answer:?}");
        assert!(!slip || end.to_lowercase().contains("strict"), "{end}");
    }
}

/// What a hostile target sends, and how many bytes of it went.
fn hostile(case: &str, mut tcp: TcpStream) -> usize {
    let version = b"SSH-2.0-test\r\n";
    match case {
        // RFC 4253 section 4.2 lets a server send lines before its version.
        "lines" => clear::flood(&mut tcp, &b"hello\r\n".repeat(1000), MUCH),
        "a line" => {
            tcp.write_all(b"SSH-2.0-").unwrap();
            clear::flood(&mut tcp, &[b'x'; 8192], MUCH)
        }
        "a packet" => {
            tcp.write_all(version).unwrap();
            clear::flood(&mut tcp, &[0x7f; 8192], MUCH)
        }
        "messages" => {
            tcp.write_all(version).unwrap();
            let ignored = clear::packet(&[&[2, 0, 0, 0x0f, 0xa0][..], &[0; 4000]].concat());
            clear::flood(&mut tcp, &ignored, MUCH)
        }
        "leaves" => {
            tcp.write_all(version).unwrap();
            let words = [&[1, 0, 0, 0, 11, 0, 0, 0, 3][..], b"bye", &[0; 4]].concat();
            let _gone = tcp.write_all(&clear::packet(&words));
            0
        }
        // Never says a word.
        _ => {
            let mut rest = Vec::new();
            let _reset = tcp.read_to_end(&mut rest);
            0
        }
    }
}

#[test]
fn attack_13_a_target_that_floods_or_stalls_before_its_login_is_left() {
    for case in ["lines", "a line", "a packet", "messages", "leaves", "silence"] {
        let (port, went) = target(move |tcp| hostile(case, tcp));
        // Only of silence it is the time that ends it.
        let patience = if case == "silence" { Duration::from_secs(1) } else { LONG };
        let rig = before(port, patience);
        let end = is_told(&rig, &rig.ssh(&["true"]));
        let went = went.recv_timeout(LONG).unwrap();
        assert!(went < MUCH, "{case}: {went} bytes were taken");
        assert_eq!(end.contains("did not answer in time"), case == "silence", "{case}: {end}");
    }
}
