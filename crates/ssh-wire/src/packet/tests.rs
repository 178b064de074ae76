use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// Writes a packet anew from what was read of it.
fn rewrite(packet: &Packet<'_>) -> Option<Bytes> {
    Some(match *packet {
        Packet::GlobalRequest { kind, want_reply, rest } => {
            write::global_request(kind, want_reply, rest)
        }
        Packet::RequestSuccess { rest } => write::request_success(rest),
        Packet::RequestFailure => write::request_failure(),
        Packet::Open { kind, sender, window, max_packet, rest } => {
            write::open(kind, sender, window, max_packet, rest)
        }
        Packet::OpenConfirmation { recipient, sender, window, max_packet, rest } => {
            write::open_confirmation(recipient, sender, window, max_packet, rest)
        }
        Packet::WindowAdjust { recipient, bytes } => write::window_adjust(recipient, bytes),
        Packet::Data { recipient, data } => write::data(recipient, data),
        Packet::ExtendedData { recipient, code, data } => {
            write::extended_data(recipient, code, data)
        }
        Packet::Eof { recipient } => write::eof(recipient),
        Packet::Close { recipient } => write::close(recipient),
        Packet::Request { recipient, kind, want_reply, rest } => {
            write::request(recipient, kind, want_reply, rest)
        }
        Packet::Success { recipient } => write::success(recipient),
        Packet::Failure { recipient } => write::failure(recipient),
        Packet::OpenFailure { .. } | Packet::Unknown(_) => return None,
    })
}

fn samples() -> Vec<Bytes> {
    vec![
        write::global_request(b"keepalive@openssh.com", true, b""),
        write::global_request(b"tcpip-forward", true, b"\0\0\0\x09localhost\0\0\x1f\x90"),
        write::request_success(b"\0\0\x1f\x90"),
        write::request_failure(),
        write::open(b"session", 0, 2_097_152, 32_768, b""),
        write::open_confirmation(0, 3, 0, 32_768, b""),
        write::open_failure(5, OpenFailure::AdministrativelyProhibited, "not here"),
        write::window_adjust(1, u32::MAX),
        write::data(2, b"hello"),
        write::stderr(2, b"oh"),
        write::eof(2),
        write::close(2),
        write::line_request(2, b"exec", true, b"id"),
        write::exit_status(2, 126),
        write::success(2),
        write::failure(2),
    ]
}

#[test]
fn what_is_written_is_read_and_every_cut_of_it_is_not() {
    for packet in samples() {
        let read = parse(&packet).unwrap();
        if let Some(again) = rewrite(&read) {
            assert_eq!(again, packet);
        }
        for end in 0..packet.len() {
            match parse(&packet[..end]) {
                Err(_) => {}
                // Kinds whose tail is theirs to read: shorter, never something else.
                Ok(
                    Packet::GlobalRequest { rest, .. }
                    | Packet::RequestSuccess { rest }
                    | Packet::Open { rest, .. }
                    | Packet::OpenConfirmation { rest, .. }
                    | Packet::Request { rest, .. },
                ) => assert!(packet[..end].ends_with(rest)),
                // RFC 4254's text and language, which old servers leave out.
                Ok(Packet::OpenFailure { .. }) => {}
                Ok(other) => panic!("a cut packet was read as {other:?}"),
            }
        }
    }
}

#[test]
fn bytes_left_over_are_an_error() {
    for packet in samples() {
        let mut longer = packet.to_vec();
        longer.push(0);
        match parse(&packet).unwrap() {
            Packet::GlobalRequest { .. }
            | Packet::RequestSuccess { .. }
            | Packet::Open { .. }
            | Packet::OpenConfirmation { .. }
            | Packet::Request { .. } => {}
            _ => assert_eq!(parse(&longer), Err(WireError::Long(1)), "{longer:?}"),
        }
    }
    assert_eq!(parse(b""), Err(WireError::Empty));
}

#[test]
fn a_length_beyond_the_packet_is_short() {
    assert_eq!(parse(b"\x5e\0\0\0\0\xff\xff\xff\xff"), Err(WireError::Short));
    assert_eq!(Line::parse(b"\x80\0\0\0abc"), Err(WireError::Short));
}

#[test]
fn kinds_are_exact() {
    let direct = b"\0\0\0\x09localhost\0\0\0\x50\0\0\0\x09127.0.0.1\0\0\x04\xd2";
    let read = DirectTcpip::parse(direct).unwrap();
    assert_eq!((read.host, read.port, read.origin_port), (b"localhost".as_slice(), 80, 1234));
    for end in 0..direct.len() {
        assert_eq!(DirectTcpip::parse(&direct[..end]), Err(WireError::Short));
    }
    assert_eq!(ExitStatus::parse(b"\0\0\0\x07").unwrap().status, 7);
    assert_eq!(ExitStatus::parse(b"\0\0\0\x07\0"), Err(WireError::Long(1)));
    let pty = b"\0\0\0\x05xterm\0\0\0\x50\0\0\0\x18\0\0\0\0\0\0\0\0\0\0\0\0";
    let read = PtyReq::parse(pty).unwrap();
    assert_eq!((read.term, read.columns, read.rows), (b"xterm".as_slice(), 80, 24));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(read) = parse(&bytes)
            && let Some(again) = rewrite(&read)
        {
            // The same, but for booleans, of which RFC 4251 reads any byte but 0 as true.
            prop_assert_eq!(parse(&again), Ok(read));
            prop_assert_eq!(again.len(), bytes.len());
        }
    }

    #[test]
    fn any_fields_come_back(
        a in any::<u32>(), b in any::<u32>(), c in any::<u32>(), flag in any::<bool>(),
        one in prop::collection::vec(any::<u8>(), 0..64),
        two in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let packets = [
            Packet::GlobalRequest { kind: &one, want_reply: flag, rest: &two },
            Packet::Open { kind: &one, sender: a, window: b, max_packet: c, rest: &two },
            Packet::OpenConfirmation { recipient: a, sender: b, window: c, max_packet: a, rest: &one },
            Packet::Data { recipient: a, data: &one },
            Packet::ExtendedData { recipient: a, code: b, data: &one },
            Packet::Request { recipient: a, kind: &one, want_reply: flag, rest: &two },
            Packet::WindowAdjust { recipient: a, bytes: b },
        ];
        for packet in packets {
            let bytes = rewrite(&packet).unwrap();
            prop_assert_eq!(parse(&bytes), Ok(packet));
        }
    }
}
