//! WebSocket's frames and the messages in them, however they are cut.

use kubernetes_wire::streams::{
    Channel, ChannelEvent, Channels, Exit, ExitStatus, MAX_RESIZE_BYTES, MAX_STATUS_BYTES, Side,
    Size, Sizes, StreamError, Subprotocol, WebSocketEvent, WebSocketFrames, write_control,
    write_message,
};
use proptest::prelude::*;

const MASK: [u8; 4] = [0x12, 0xf3, 0x00, 0x7a];

/// A frame as `side` sends it; `head` is its first byte.
fn frame(side: Side, head: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![head];
    let masked = if side == Side::Client { 0x80 } else { 0 };
    match payload.len() {
        len @ 0..=125 => out.push(masked | len as u8),
        len @ 126..=0xffff => {
            out.push(masked | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(masked | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    if side == Side::Server {
        out.extend_from_slice(payload);
        return out;
    }
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(it, key)| it ^ key));
    out
}

/// What frames say, with pieces of messages put together.
#[derive(Debug, PartialEq, Clone)]
enum Said {
    Message(bool, bool, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

fn read(side: Side, parts: &[&[u8]]) -> (Vec<Said>, Result<(), StreamError>) {
    let (mut frames, mut out, mut message) = (WebSocketFrames::new(side), Vec::new(), Vec::new());
    let mut open = false;
    let mut on = |event: WebSocketEvent<'_>| match event {
        WebSocketEvent::Data(piece) => {
            assert_eq!(piece.first, !open);
            open = !piece.last;
            message.extend_from_slice(piece.bytes);
            if piece.last {
                let bytes = std::mem::take(&mut message);
                out.push(Said::Message(piece.binary, piece.fragmented, bytes));
            }
        }
        WebSocketEvent::Ping(it) => out.push(Said::Ping(it.to_vec())),
        WebSocketEvent::Pong(it) => out.push(Said::Pong(it.to_vec())),
        WebSocketEvent::Close { code, reason } => out.push(Said::Close(code, reason.to_owned())),
    };
    let mut result = Ok(());
    for part in parts {
        result = frames.push(part, &mut on);
    }
    (out, result)
}

#[test]
fn frames_wherever_they_are_cut() {
    for side in [Side::Client, Side::Server] {
        let mut stream = Vec::new();
        for (head, payload) in [
            (0x82, &b"\x00ls\n"[..]),
            (0x81, "h\u{e9}\u{1f600}".as_bytes()),
            (0x82, b""),
            (0x01, b"a\xc3"),
            (0x89, b"are you there"),
            (0x00, b""),
            (0x80, b"\xa9b"),
            (0x82, &[7; 200]),
            (0x8a, b""),
            (0x88, b"\x03\xe8bye"),
        ] {
            stream.extend(frame(side, head, payload));
        }
        let want = vec![
            Said::Message(true, false, b"\x00ls\n".to_vec()),
            Said::Message(false, false, "h\u{e9}\u{1f600}".into()),
            Said::Message(true, false, vec![]),
            Said::Ping(b"are you there".to_vec()),
            Said::Message(false, true, "a\u{e9}b".into()),
            Said::Message(true, false, vec![7; 200]),
            Said::Pong(vec![]),
            Said::Close(Some(1000), "bye".to_owned()),
        ];
        assert_eq!(read(side, &[&stream]), (want.clone(), Ok(())));
        for cut in 0..stream.len() {
            let (one, two) = stream.split_at(cut);
            assert_eq!(read(side, &[one, two]), (want.clone(), Ok(())), "{cut}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(read(side, &bytes), (want, Ok(())));
    }
}

#[test]
fn long_frames_pass_in_pieces() {
    let payload: Vec<u8> = (0..70_000u32).map(|it| it as u8).collect();
    for side in [Side::Client, Side::Server] {
        let stream = frame(side, 0x82, &payload);
        let want = vec![Said::Message(true, false, payload.clone())];
        assert_eq!(read(side, &[&stream]), (want, Ok(())));
    }
}

#[test]
fn what_the_rfc_forbids() {
    let server = |head, payload: &[u8]| frame(Side::Server, head, payload);
    let long = |size: u64| [&[0x82, 127][..], &size.to_be_bytes()].concat();
    for (what, stream) in [
        ("a reserved bit", server(0xc2, b"")),
        ("opcode 3", server(0x83, b"")),
        ("opcode 11", server(0x8b, b"")),
        ("masked by a server", frame(Side::Client, 0x82, b"a")),
        ("a ping in parts", server(0x09, b"")),
        ("a long ping", server(0x89, &[0; 126])),
        ("a continuation of nothing", server(0x80, b"")),
        ("a message in a message", [server(0x02, b"a"), server(0x82, b"b")].concat()),
        ("125 in two bytes", vec![0x82, 126, 0, 125]),
        ("65535 in eight bytes", long(65_535)),
        ("too long", long((32 << 20) + 1)),
        ("a negative length", long(1 << 63)),
        ("half a code", server(0x88, b"\x03")),
        ("code 1005", server(0x88, b"\x03\xed")),
        ("code 999", server(0x88, b"\x03\xe7")),
        ("a reason not of UTF-8", server(0x88, b"\x03\xe8\xff")),
        ("text not of UTF-8", server(0x81, b"\xed\xa0\x80")),
        ("text too long in UTF-8", server(0x81, b"\xc0\x80")),
        ("half a character", server(0x81, b"\xc3")),
        ("data behind a close", [server(0x88, b""), server(0x82, b"")].concat()),
    ] {
        let (said, result) = read(Side::Server, &[&stream]);
        assert!(result.is_err(), "{what}");
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(read(Side::Server, &bytes).1, result, "{what}");
        assert_eq!(read(Side::Server, &[&stream, &server(0x82, b"")]), (said, result), "{what}");
    }
    assert!(read(Side::Client, &[&server(0x82, b"a")]).1.is_err(), "not masked by a client");
}

/// Each event, with the bytes of one message put together.
type Heard = Vec<(Channel, Vec<u8>)>;

fn hear(protocol: Subprotocol, parts: &[&[u8]]) -> Result<Heard, StreamError> {
    hear_from(Side::Client, protocol, parts)
}

fn hear_from(side: Side, protocol: Subprotocol, parts: &[&[u8]]) -> Result<Heard, StreamError> {
    let (mut frames, mut channels) = (WebSocketFrames::new(side), Channels::new(protocol));
    let (mut out, mut bytes, mut result) = (Heard::new(), Vec::new(), Ok(()));
    for part in parts {
        frames.push(part, &mut |event| {
            let WebSocketEvent::Data(piece) = event else { return };
            let mut on = |event: ChannelEvent<'_>| {
                bytes.extend_from_slice(event.bytes);
                if event.last {
                    out.push((event.channel, std::mem::take(&mut bytes)));
                }
            };
            result = result.and(channels.push(piece, &mut on));
        })?;
    }
    result.map(|()| out)
}

fn messages(messages: &[&[u8]]) -> Vec<u8> {
    messages.iter().flat_map(|it| frame(Side::Client, 0x82, it)).collect()
}

#[test]
fn channels_wherever_they_are_cut() {
    let raw = messages(&[b"\0ls", b"\x01", b"", b"\x04{}", b"\x03x", b"\x02e", b"\xff\0"]);
    let base64 = messages(&[b"0bHM=", b"1", b"", b"4e30=", b"3eA==", b"2ZQ==", b"0YWJj"]);
    let mut want: Heard = vec![
        (Channel::Stdin, b"ls".to_vec()),
        (Channel::Stdout, vec![]),
        (Channel::Resize, b"{}".to_vec()),
        (Channel::Error, b"x".to_vec()),
        (Channel::Stderr, b"e".to_vec()),
        (Channel::Close(0), vec![]),
    ];
    for (protocol, stream) in [(Subprotocol::V5, raw), (Subprotocol::V4Base64, base64)] {
        for cut in 0..=stream.len() {
            let (one, two) = stream.split_at(cut);
            assert_eq!(hear(protocol, &[one, two]).as_ref(), Ok(&want), "{cut}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(hear(protocol, &bytes).as_ref(), Ok(&want));
        *want.last_mut().unwrap() = (Channel::Stdin, b"abc".to_vec());
    }
}

#[test]
fn what_is_written_is_read() {
    for protocol in [Subprotocol::V5, Subprotocol::V4, Subprotocol::V4Base64] {
        let mut said: Heard = [0, 1, 125, 126, 70_000]
            .map(|length| (Channel::Stdout, (0..length).map(|it| it as u8).collect()))
            .into();
        said.push((Channel::Error, b"{}".to_vec()));
        if protocol == Subprotocol::V5 {
            said.push((Channel::Close(2), vec![]));
        }
        let mut stream = Vec::new();
        for (channel, bytes) in &said {
            write_message(&mut stream, protocol, *channel, bytes);
        }
        assert_eq!(hear_from(Side::Server, protocol, &[&stream]), Ok(said), "{protocol:?}");
    }
    let mut stream = Vec::new();
    for event in [
        WebSocketEvent::Ping(b"a"),
        WebSocketEvent::Pong(&[7; 125]),
        WebSocketEvent::Close { code: Some(1000), reason: "it is over" },
    ] {
        write_control(&mut stream, &event);
    }
    let want = [
        Said::Ping(b"a".to_vec()),
        Said::Pong(vec![7; 125]),
        Said::Close(Some(1000), "it is over".to_owned()),
    ];
    assert_eq!(read(Side::Server, &[&stream]), (want.into(), Ok(())));
    let mut bare = Vec::new();
    write_control(&mut bare, &WebSocketEvent::Close { code: None, reason: "" });
    assert_eq!(bare, [0x88, 0]);
}

#[test]
fn what_two_readers_would_take_for_two_things() {
    use StreamError as E;
    // A reader of frames would take the second for input.
    let parts = [frame(Side::Client, 0x02, b"\x04{"), frame(Side::Client, 0x80, b"\0id\n")];
    assert_eq!(hear(Subprotocol::V5, &[&parts.concat()]), Err(E::Fragmented));
    for (protocol, message, want) in [
        (Subprotocol::V5, &b"\x05a"[..], E::NoChannel(5)),
        (Subprotocol::V4, b"\xff\0", E::NoChannel(255)),
        (Subprotocol::V5, b"\xff", E::CloseSignal),
        (Subprotocol::V5, b"\xff\0\0", E::CloseSignal),
        (Subprotocol::V5, b"\xff\x05", E::NoChannel(5)),
        (Subprotocol::V4Base64, b"\0YQ==", E::NoChannel(208)),
        (Subprotocol::V4Base64, b"5YQ==", E::NoChannel(5)),
        (Subprotocol::V4Base64, b"0YQ", E::NotBase64),
        (Subprotocol::V4Base64, b"0YQ=a", E::NotBase64),
        (Subprotocol::V4Base64, b"0Y===", E::NotBase64),
        (Subprotocol::V4Base64, b"0YQ==YQ==", E::NotBase64),
        (Subprotocol::V4Base64, b"0YQ\n==", E::NotBase64),
        (Subprotocol::V4Base64, b"0_-==", E::NotBase64),
    ] {
        assert_eq!(hear(protocol, &[&messages(&[message])]), Err(want), "{message:?}");
        let stream = messages(&[message]);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(hear(protocol, &bytes), Err(want), "{message:?}");
    }
}

#[test]
fn how_it_ended() {
    let exit = |bytes: &[u8]| {
        let mut status = ExitStatus::default();
        bytes.chunks(3).for_each(|it| status.push(it));
        status.exit()
    };
    let seven = br#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero
        exit code","reason":"NonZeroExitCode","details":{"causes":[{"reason":"Other"},
        {"reason":"ExitCode","message":"7"}]}}"#;
    let seven: Vec<u8> = seven.iter().copied().filter(|it| *it != b'\n').collect();
    assert_eq!(exit(&seven), Ok(Some(Exit::Code(7))));
    assert_eq!(exit(br#"{"metadata":{},"status":"Success"}"#), Ok(Some(Exit::Code(0))));
    assert_eq!(exit(b""), Ok(None));
    let failed = exit(br#"{"status":"Failure","reason":"InternalError","message":"no sh"}"#);
    let failed = failed.unwrap().unwrap();
    assert!(matches!(&failed, Exit::Failed { reason, .. } if reason == "InternalError"));
    assert!(!format!("{failed:?}").contains("no sh"));
    for bad in [
        &b"plain text of version 3"[..],
        b"{}",
        br#"{"status":"Failure","reason":"NonZeroExitCode"}"#,
        br#"{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":
            [{"reason":"ExitCode","message":"256"}]}}"#,
        &vec![b' '; MAX_STATUS_BYTES + 1],
    ] {
        assert_eq!(exit(bad), Err(StreamError::Status));
    }
}

#[test]
fn sizes_of_terminals() {
    let stream = br#"{"Width":80,"Height":24} {"Width":0,"Height":65535}{"Height":1}"#;
    let size = |width, height| Size { width, height };
    let want = vec![size(80, 24), size(0, 65_535), size(0, 1)];
    for cut in 0..=stream.len() {
        let mut sizes = Sizes::default();
        let (one, two) = stream.split_at(cut);
        let found = [sizes.push(one).unwrap(), sizes.push(two).unwrap()].concat();
        assert_eq!(found, want, "{cut}");
    }
    let many = br#"{"Width":80,"Height":24}"#.repeat(1000);
    assert_eq!(Sizes::default().push(&many).unwrap().len(), 1000);
    let long = [&vec![b' '; MAX_RESIZE_BYTES][..], b"{}"].concat();
    for bad in [&b"x"[..], b"{\"Width\":-1}", b"{\"Width\":65536}", &long] {
        let mut sizes = Sizes::default();
        assert_eq!(sizes.push(bad), Err(StreamError::Resize));
        assert_eq!(sizes.push(b"{}"), Err(StreamError::Resize));
        let mut sizes = Sizes::default();
        assert!(bad.chunks(1).any(|it| sizes.push(it).is_err()));
    }
}

proptest! {
    #[test]
    fn frames_of_any_kind(
        frames in proptest::collection::vec((0u8..16, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..200)), 0..6),
        noise in proptest::collection::vec(any::<u8>(), 0..20),
        cuts in proptest::collection::vec(1usize..50, 1..8),
    ) {
        let mut stream: Vec<u8> = frames
            .iter()
            .flat_map(|(opcode, fin, payload)| frame(Side::Client, opcode | u8::from(*fin) << 7, payload))
            .collect();
        stream.extend(noise);
        let whole = read(Side::Client, &[&stream]);
        let (mut rest, mut parts) = (&stream[..], Vec::new());
        for cut in cuts.iter().cycle() {
            let (part, more) = rest.split_at((*cut).min(rest.len()));
            parts.push(part);
            rest = more;
            if rest.is_empty() { break }
        }
        prop_assert_eq!(read(Side::Client, &parts), whole);
        for protocol in [Subprotocol::V5, Subprotocol::V4, Subprotocol::V4Base64] {
            prop_assert_eq!(hear(protocol, &parts), hear(protocol, &[&stream]));
        }
    }

    #[test]
    fn base64_as_others_read_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = b"1".to_vec();
        for group in bytes.chunks(3) {
            let bits = (0..3).fold(0, |sum, at| sum << 8 | u32::from(*group.get(at).unwrap_or(&0)));
            for at in 0..4 {
                let letter = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
                text.push(if at > group.len() { b'=' } else { letter });
            }
        }
        let heard = hear(Subprotocol::V4Base64, &[&messages(&[&text])]);
        prop_assert_eq!(heard, Ok(vec![(Channel::Stdout, bytes)]));
    }
}
