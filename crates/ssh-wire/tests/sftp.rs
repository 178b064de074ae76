//! sftp sessions: both directions, cut anywhere, hostile.

#![allow(clippy::unwrap_used)] // helpers of tests

use proptest::prelude::*;
use ssh_wire::WireError;
use ssh_wire::sftp::{
    Answer, EXTENSIONS, Extension, MAX_ANSWER_BYTES, MAX_CONTENT_BYTES, MAX_PACKET_BYTES,
    MAX_REQUESTS, Machine, Op, OpenFlags, PERMISSION_DENIED, SftpError, Step, plain_version,
};

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

fn packet(kind: u8, fields: &[&[u8]]) -> Vec<u8> {
    string(&[&[kind][..], &fields.concat()].concat())
}

fn number(n: u32) -> [u8; 4] {
    n.to_be_bytes()
}

fn init() -> Vec<u8> {
    packet(1, &[&number(3)])
}

fn version() -> Vec<u8> {
    packet(2, &[&number(3), &string(b"copy-data"), &string(b"1")])
}

fn begun() -> Machine {
    let mut machine = Machine::new();
    assert!(matches!(machine.client(&init()), Ok(Step::Packet { .. })));
    assert!(matches!(machine.server(&version()), Ok(Step::Packet { .. })));
    machine
}

#[derive(Clone, Copy)]
enum Side {
    Client,
    Server,
}

/// Everything that is seen of a stream that arrives in pieces; contents joined.
fn seen(
    machine: &mut Machine,
    side: Side,
    stream: &[u8],
    piece: usize,
) -> Result<Vec<String>, SftpError> {
    let (mut buffer, mut seen) = (Vec::new(), Vec::<String>::new());
    for part in stream.chunks(piece) {
        buffer.extend_from_slice(part);
        loop {
            let (bytes, text) = match side {
                Side::Client => step(machine.client(&buffer)?),
                Side::Server => step(machine.server(&buffer)?),
            };
            if bytes == 0 {
                break;
            }
            match (text.strip_prefix("content "), seen.last_mut()) {
                (Some(more), Some(last)) if last.starts_with("content ") => last.push_str(more),
                _ => seen.push(text),
            }
            buffer.drain(..bytes);
        }
    }
    assert!(buffer.is_empty());
    Ok(seen)
}

fn step<P: std::fmt::Debug>(step: Step<'_, P>) -> (usize, String) {
    match step {
        Step::NeedMore => (0, String::new()),
        Step::Packet { bytes, packet } => (bytes, format!("{packet:?}")),
        Step::Content(bytes) => {
            (bytes.len(), format!("content {}", String::from_utf8_lossy(bytes)))
        }
    }
}

/// A client's session with every request that is known.
fn client_stream() -> Vec<u8> {
    let none = number(0);
    let all =
        [&number(0xf)[..], &[0; 8], &number(1), &number(2), &number(0o644), &number(3), &number(4)]
            .concat();
    let path = string(b"/srv/\xff");
    let handle = string(b"h");
    let long = [0; 8];
    let extended = |id: u32, name: &[u8], fields: &[&[u8]]| {
        packet(200, &[&number(id), &string(name), &fields.concat()])
    };
    let mut stream = init();
    let plain: [(u8, Vec<u8>); 18] = [
        (3, [&path[..], &number(0x1a), &all].concat()),
        (4, handle.clone()),
        (5, [&handle[..], &long, &number(32768)].concat()),
        (6, [&handle[..], &long, &string(b"some content")].concat()),
        (6, [&handle[..], &long, &string(b"")].concat()),
        (7, path.clone()),
        (8, handle.clone()),
        (9, [&path[..], &none].concat()),
        (10, [&handle[..], &all].concat()),
        (11, path.clone()),
        (12, handle.clone()),
        (13, path.clone()),
        (14, [&path[..], &none].concat()),
        (15, path.clone()),
        (16, path.clone()),
        (18, [&path[..], &path].concat()),
        (19, path.clone()),
        (20, [&path[..], &path].concat()),
    ];
    for (id, (kind, fields)) in (1..).zip(&plain) {
        stream.extend(packet(*kind, &[&number(id), fields]));
    }
    stream.extend(extended(100, b"posix-rename@openssh.com", &[&path, &path]));
    stream.extend(extended(101, b"copy-data", &[&handle, &long, &long, &handle, &long]));
    stream.extend(extended(102, b"limits@openssh.com", &[]));
    stream.extend(extended(103, b"lsetstat@openssh.com", &[&path, &all]));
    stream.extend(extended(104, b"who@knows", &[b"anything"]));
    stream
}

fn server_stream() -> Vec<u8> {
    let mut stream = version();
    stream.extend(packet(101, &[&number(1), &number(0), &string(b"Success"), &string(b"")]));
    stream.extend(packet(101, &[&number(2), &number(1)]));
    stream.extend(packet(102, &[&number(3), &string(b"h")]));
    stream.extend(packet(103, &[&number(4), &string(b"content of a file")]));
    stream.extend(packet(104, &[&number(5), &number(0)]));
    stream.extend(packet(105, &[&number(6), &number(0)]));
    stream.extend(packet(201, &[&number(7), b"any"]));
    stream
}

#[test]
fn splitting_at_every_byte_changes_nothing() {
    let (client, server) = (client_stream(), server_stream());
    let mut machine = Machine::new();
    let asked = seen(&mut machine, Side::Client, &client, client.len()).unwrap();
    let answered = seen(&mut machine, Side::Server, &server, server.len()).unwrap();
    assert_eq!((asked.len(), answered.len()), (1 + 18 + 1 + 5, 8 + 1));
    assert!(asked.contains(&"content some content".to_owned()));
    assert!(answered.contains(&"content content of a file".to_owned()));
    for piece in 1..60 {
        let mut machine = Machine::new();
        assert_eq!(seen(&mut machine, Side::Client, &client, piece).unwrap(), asked);
        assert_eq!(seen(&mut machine, Side::Server, &server, piece).unwrap(), answered);
    }
}

#[test]
fn requests_say_what_they_are() {
    let mut machine = begun();
    let open = packet(3, &[&number(7), &string(b"/x"), &number(0x1a), &number(4), &number(0o600)]);
    let Step::Packet { bytes, packet: asked } = machine.client(&open).unwrap() else { panic!() };
    assert_eq!((bytes, asked.id), (open.len(), 7));
    let Op::Open { path, flags, attributes } = asked.op else { panic!("{asked:?}") };
    assert_eq!((path, attributes.mode), (&b"/x"[..], Some(0o600)));
    assert!(flags.writes() && flags.creates() && flags.truncates());
    assert!(!flags.reads() && !flags.appends());
    assert!(OpenFlags(1).reads() && !OpenFlags(1).writes() && OpenFlags(0x8000).writes());
    let other = packet(200, &[&number(8), &string(b"who@knows"), b"what"]);
    let Step::Packet { packet: asked, .. } = machine.client(&other).unwrap() else { panic!() };
    assert_eq!(asked.op, Op::Extended(Extension::Unknown { name: b"who@knows" }));
}

#[test]
fn a_refusal_is_a_status_and_ends_the_request() {
    let mut machine = begun();
    machine.client(&packet(13, &[&number(9), &string(b"/etc/passwd")])).unwrap();
    let refusal = machine.refuse(9, PERMISSION_DENIED, "greffier: no").unwrap();
    assert_eq!(
        refusal,
        packet(101, &[&number(9), &number(3), &string(b"greffier: no"), &string(b"en")])
    );
    // The target has not seen it: an answer of its own would be forged.
    let forged = packet(101, &[&number(9), &number(0), &string(b""), &string(b"")]);
    assert_eq!(machine.server(&forged), Err(SftpError::Unasked(9)));
    assert_eq!(machine.refuse(9, PERMISSION_DENIED, ""), Err(SftpError::Unasked(9)));
    assert!(machine.refuse(9, 3, &"x".repeat(10_000)).is_err());
}

#[test]
fn no_answer_of_ours_stands_inside_content() {
    let mut machine = begun();
    machine.client(&packet(5, &[&number(1), &string(b"h"), &[0; 8], &number(9)])).unwrap();
    let data = packet(103, &[&number(1), &string(b"123456789")]);
    let Step::Packet { bytes, packet } = machine.server(&data[..15]).unwrap() else { panic!() };
    assert_eq!(packet.answer, Answer::Data { length: 9 });
    assert!(!machine.between_answers());
    assert_eq!(machine.server(&data[bytes..15]).unwrap(), Step::Content(b"12"));
    assert_eq!(machine.server(&[]).unwrap(), Step::NeedMore);
    assert_eq!(machine.server(&data[15..]).unwrap(), Step::Content(b"3456789"));
    assert!(machine.between_answers());
}

#[test]
fn what_breaks_the_protocol_is_an_error() {
    let stat = |id: u32| packet(17, &[&number(id), &string(b"/")]);
    assert_eq!(Machine::new().client(&stat(1)), Err(SftpError::Order));
    assert_eq!(Machine::new().server(&version()), Err(SftpError::Order));
    assert_eq!(begun().client(&init()), Err(SftpError::Order));
    assert_eq!(begun().server(&version()), Err(SftpError::Order));
    assert_eq!(Machine::new().client(&packet(1, &[&number(2)])), Err(SftpError::Version(2)));
    let mut machine = Machine::new();
    machine.client(&packet(1, &[&number(6)])).unwrap();
    assert_eq!(machine.server(&packet(2, &[&number(6)])), Err(SftpError::Version(6)));
    let mut machine = begun();
    machine.client(&stat(1)).unwrap();
    assert_eq!(machine.client(&stat(1)), Err(SftpError::Twice(1)));
    assert_eq!(begun().client(&packet(77, &[&number(1)])), Err(SftpError::Unknown(77)));
    assert_eq!(begun().client(&number(0)), Err(WireError::Empty.into()));
    let long = [&number(MAX_PACKET_BYTES as u32 + 1)[..], &[17]].concat();
    assert!(matches!(begun().client(&long), Err(SftpError::TooLong(_))));
    // An answer may be longer: names of a folder.
    let list = [&number(MAX_PACKET_BYTES as u32 + 1)[..], &[104]].concat();
    assert_eq!(begun().server(&list), Ok(Step::NeedMore));
    let long = [&number(MAX_ANSWER_BYTES as u32 + 1)[..], &[104]].concat();
    assert!(matches!(begun().server(&long), Err(SftpError::TooLong(_))));
    let mut machine = begun();
    for id in 0..MAX_REQUESTS as u32 {
        machine.client(&stat(id)).unwrap();
    }
    assert_eq!(machine.client(&stat(u32::MAX)), Err(SftpError::TooMany));
    // The content's length must be the packet's.
    let write = |length: u32, content: u32| {
        [&number(length)[..], &[6], &number(1), &string(b"h"), &[0; 8], &number(content)].concat()
    };
    assert_eq!(begun().client(&write(100, 5)), Err(WireError::Invalid("length").into()));
    let huge = MAX_CONTENT_BYTES + 1;
    assert_eq!(begun().client(&write(22 + huge, huge)), Err(SftpError::TooLong(huge.into())));
    let handle = packet(4, &[&number(1), &string(&[b'h'; 257])]);
    assert_eq!(begun().client(&handle), Err(WireError::Invalid("handle").into()));
}

proptest! {
    /// What is promised once is promised as it stands.
    #[test]
    fn any_version_is_made_plain_once(
        pairs in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..8),
        tail in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut body = vec![2, 0, 0, 0, 3];
        for (which, known) in pairs {
            let name = if known { which.get(&EXTENSIONS) } else { &b"x@example"[..] };
            body.extend([string(name), string(b"1")].concat());
        }
        body.extend(&tail);
        let packet = string(&body);
        if let Some(plain) = plain_version(&packet) {
            prop_assert!(plain.len() < packet.len());
            prop_assert_eq!(plain_version(&plain), None);
            prop_assert_eq!(plain[..4].to_vec(), number(plain.len() as u32 - 4).to_vec());
        }
        let _any = plain_version(&tail);
    }

    #[test]
    fn any_bytes_are_steps_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1_usize..20) {
        for side in [Side::Client, Side::Server] {
            let mut machine = begun();
            let mut buffer = Vec::new();
            'stream: for part in bytes.chunks(piece) {
                buffer.extend_from_slice(part);
                loop {
                    let done = match side {
                        Side::Client => machine.client(&buffer).map(step),
                        Side::Server => machine.server(&buffer).map(step),
                    };
                    let Ok((taken, _)) = done else { break 'stream };
                    prop_assert!(taken <= buffer.len());
                    if taken == 0 {
                        break;
                    }
                    buffer.drain(..taken);
                }
            }
        }
    }
}
