//! SPDY's frames, however they are cut.
//!
//! `spdystream.bin` is what the framer of github.com/moby/spdystream v0.5.1, which Kubernetes
//! uses, wrote for the frames that `WRITTEN` lists.

#![allow(clippy::unwrap_used, reason = "tests")]

use flate2::{Compress, Compression, FlushCompress};
use kubernetes_wire::spdy::{
    DICTIONARY, MAX_CONTROL_FRAME_BYTES, MAX_HEADER_BLOCK_BYTES, SpdyChannels, SpdyError,
    SpdyEvent, SpdyFrames, SpdyPart, write_data,
};
use kubernetes_wire::streams::Channel;
use proptest::prelude::*;

const WRITTEN: &[&str] = &[
    "syn 1 prio 3 [streamtype=error]",
    "syn 3 prio 3 [streamtype=stdin]",
    "syn 5 prio 3 [streamtype=stdout]",
    "syn 7 prio 3 [streamtype=stderr]",
    "syn 9 prio 3 [streamtype=resize]",
    "data 3 ls\\n",
    "settings 1/4/100",
    "ping 7",
    r#"data 9 {\"Width\":80,\"Height\":24}"#,
    "window 5 4096",
    "headers 5 [x-more=a b]",
    "fin 3",
    "rst 7 5",
    "syn 11 prio 0 [port=8080 requestid=12 streamtype=data]",
    "goaway 11 0",
];

/// What frames say, a line each, pieces of data put together.
fn read(parts: &[&[u8]]) -> (Vec<String>, Result<(), SpdyError>) {
    let (mut frames, mut out) = (SpdyFrames::new(), Vec::<String>::new());
    let mut on = |event: SpdyEvent<'_>| {
        let text = |headers: &kubernetes_wire::spdy::StreamHeaders| {
            let mut all: Vec<_> = headers.iter().map(|(name, it)| format!("{name}={it}")).collect();
            all.sort();
            all.join(" ")
        };
        let line = match event {
            SpdyEvent::Data { stream, fin, bytes } => {
                let (start, new) = (format!("data {stream} "), bytes.escape_ascii().to_string());
                match out.last_mut().filter(|it| it.starts_with(&start)) {
                    Some(line) => line.push_str(&new),
                    None if !bytes.is_empty() => out.push(start + &new),
                    None => {}
                }
                if !fin {
                    return;
                }
                format!("fin {stream}")
            }
            SpdyEvent::SynStream { stream, priority, headers, .. } => {
                format!("syn {stream} prio {priority} [{}]", text(headers))
            }
            SpdyEvent::SynReply { stream, headers, .. } => {
                format!("reply {stream} [{}]", text(headers))
            }
            SpdyEvent::Headers { stream, headers, .. } => {
                format!("headers {stream} [{}]", text(headers))
            }
            SpdyEvent::RstStream { stream, status } => format!("rst {stream} {status}"),
            SpdyEvent::Settings(all) => {
                let all = all.iter().map(|it| format!("{}/{}/{}", it.flags, it.id, it.value));
                format!("settings {}", all.collect::<Vec<_>>().join(" "))
            }
            SpdyEvent::Ping { id } => format!("ping {id}"),
            SpdyEvent::GoAway { last, status } => format!("goaway {last} {status}"),
            SpdyEvent::WindowUpdate { stream, delta } => format!("window {stream} {delta}"),
            SpdyEvent::Unknown { kind } => format!("unknown {kind}"),
        };
        out.push(line);
    };
    let mut result = Ok(());
    for part in parts {
        result = frames.push(part, &mut on);
    }
    (out, result)
}

/// The same frames put together again: data anew, all others as they came.
fn passed_on(parts: &[&[u8]]) -> Option<Vec<u8>> {
    let (mut frames, mut out) = (SpdyFrames::new(), Vec::new());
    for part in parts {
        let read = frames.push_through(part, &mut |part| match part {
            SpdyPart::Event(SpdyEvent::Data { stream, fin, bytes }) => {
                write_data(&mut out, stream, fin, bytes);
            }
            SpdyPart::Event(_) => {}
            SpdyPart::Bytes(bytes) => out.extend_from_slice(bytes),
        });
        read.ok()?;
    }
    Some(out)
}

#[test]
fn what_is_passed_on_says_the_same() {
    let stream = include_bytes!("spdystream.bin");
    assert!(passed_on(&[stream]).unwrap() == stream);
    for cut in 0..stream.len() {
        let (one, two) = stream.split_at(cut);
        let passed = passed_on(&[one, two]).unwrap();
        assert_eq!(read(&[&passed]), read(&[stream]), "{cut}");
    }
    let mut long = Vec::new();
    write_data(&mut long, 5, true, &vec![7; (1 << 24) + 1]);
    let (said, result) = read(&[&long]);
    assert_eq!((said.len(), said.get(1), result), (2, Some(&"fin 5".to_owned()), Ok(())));
}

#[test]
fn what_kubernetes_own_framer_wrote() {
    let stream = include_bytes!("spdystream.bin");
    let want: Vec<String> = WRITTEN.iter().map(|it| (*it).to_owned()).collect();
    assert_eq!(read(&[stream]), (want.clone(), Ok(())));
    for cut in 0..stream.len() {
        let (one, two) = stream.split_at(cut);
        assert_eq!(read(&[one, two]), (want.clone(), Ok(())), "{cut}");
    }
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(read(&bytes), (want, Ok(())));
}

#[test]
fn streams_of_an_exec_are_channels() {
    let (mut frames, mut channels) = (SpdyFrames::new(), SpdyChannels::new());
    let (mut heard, mut results) = (Vec::new(), Vec::new());
    frames
        .push(include_bytes!("spdystream.bin"), &mut |event| {
            let mut on = |it: kubernetes_wire::streams::ChannelEvent<'_>| {
                heard.push((it.channel, it.bytes.to_vec()));
            };
            results.push(channels.read(&event, &mut on));
        })
        .unwrap();
    assert_eq!(
        heard,
        [
            (Channel::Stdin, b"ls\n".to_vec()),
            (Channel::Resize, br#"{"Width":80,"Height":24}"#.to_vec()),
            (Channel::Close(0), vec![]),
            (Channel::Close(2), vec![]),
        ]
    );
    // A port forward's stream has no place in an exec.
    assert_eq!(results.iter().position(Result::is_err), Some(13));
    assert_eq!(channels.channel(5), Some(Channel::Stdout));
    let data = SpdyEvent::Data { stream: 13, fin: false, bytes: b"x" };
    assert_eq!(channels.read(&data, &mut |_| {}), Err(SpdyError::NoStream));
}

/// Deflates headers as a client does, one stream for all.
struct Deflater(Compress);

impl Deflater {
    fn new() -> Self {
        let mut zlib = Compress::new(Compression::default(), true);
        zlib.set_dictionary(DICTIONARY).unwrap();
        Self(zlib)
    }

    fn deflate(&mut self, block: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(block.len() + 1024);
        self.0.compress_vec(block, &mut out, FlushCompress::Sync).unwrap();
        out
    }
}

fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut out = (headers.len() as u32).to_be_bytes().to_vec();
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        out.extend((text.len() as u32).to_be_bytes());
        out.extend(text.bytes());
    }
    out
}

fn control(kind: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let [_, size @ ..] = (payload.len() as u32).to_be_bytes();
    [&[0x80, 3][..], &kind.to_be_bytes(), &[flags], &size, payload].concat()
}

fn reply(stream: u32, deflated: &[u8]) -> Vec<u8> {
    control(2, 0, &[&stream.to_be_bytes()[..], deflated].concat())
}

#[test]
fn headers_that_are_not_well_formed() {
    let mut extra = block(&[("a", "b")]);
    extra.extend(b"\0\0\0\0");
    let mut short = block(&[("a", "b")]);
    short.pop();
    let many: Vec<(String, &str)> = (0..129).map(|it| (format!("a{it}"), "")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, it)| (name.as_str(), *it)).collect();
    for (what, block) in [
        ("nothing", vec![]),
        ("more than their count", extra),
        ("less than their count", short),
        ("a length beyond them", b"\0\0\0\x01\xff\xff\xff\xff".to_vec()),
        ("a name in capitals", block(&[("streamType", "stdin")])),
        ("a name twice", block(&[("streamtype", "stdin"), ("streamtype", "resize")])),
        ("no name", block(&[("", "x")])),
        ("two values", block(&[("streamtype", "stdin\0resize")])),
        ("many", block(&many)),
    ] {
        let stream = reply(1, &Deflater::new().deflate(&block));
        let result = read(&[&stream]).1;
        assert_eq!(result, Err(SpdyError::Headers), "{what}");
    }
}

#[test]
fn headers_that_are_a_bomb() {
    let long = "x".repeat(MAX_HEADER_BLOCK_BYTES);
    let stream = reply(1, &Deflater::new().deflate(&block(&[("a", &long)])));
    assert!(stream.len() < 1024);
    assert_eq!(read(&[&stream]).1, Err(SpdyError::Inflate));
    // Another dictionary, no dictionary's stream, no zlib at all.
    for deflated in [&b"\x78\xbb\0\0\0\x01"[..], b"\x78\x9c\x03\x00\x00\x00\x00\x01", b"hello"] {
        assert_eq!(read(&[&reply(1, deflated)]).1, Err(SpdyError::Inflate), "{deflated:?}");
    }
}

#[test]
fn one_zlib_stream_over_all_frames() {
    let mut deflater = Deflater::new();
    let one = reply(1, &deflater.deflate(&block(&[("streamtype", "stdin")])));
    let two = reply(3, &deflater.deflate(&block(&[("streamtype", "stdin")])));
    assert!(two.len() < one.len());
    let lines = vec!["reply 1 [streamtype=stdin]".to_owned(), "reply 3 [streamtype=stdin]".into()];
    assert_eq!(read(&[&one, &two]), (lines, Ok(())));
    assert_eq!(read(&[&two]).1, Err(SpdyError::Inflate));
}

#[test]
fn frames_that_are_not_well_formed() {
    let malformed = |kind| SpdyError::Malformed { kind };
    for (what, stream, want) in [
        ("data of stream 0", vec![0, 0, 0, 0, 0, 0, 0, 0], SpdyError::StreamId),
        ("version 2", vec![0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1], SpdyError::Version),
        ("a long reset", control(3, 0, &[0, 0, 0, 1, 0, 0, 0, 5, 9]), malformed(3)),
        ("a short reset", control(3, 0, &[0, 0, 0, 1]), malformed(3)),
        ("a reset for no reason", control(3, 0, &[0, 0, 0, 1, 0, 0, 0, 0]), malformed(3)),
        ("a reset of stream 0", control(3, 0, &[0, 0, 0, 0, 0, 0, 0, 5]), SpdyError::StreamId),
        ("a long ping", control(6, 0, &[0, 0, 0, 1, 0]), malformed(6)),
        ("a ping 0", control(6, 0, &[0; 4]), malformed(6)),
        ("a ping with flags", control(6, 1, &[0, 0, 0, 1]), malformed(6)),
        ("a farewell of version 2", control(7, 0, &[0, 0, 0, 1]), malformed(7)),
        ("settings that lie", control(4, 0, &[0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1]), malformed(4)),
        ("settings without end", control(4, 0, &[0xff; 4]), malformed(4)),
        ("an empty start", control(1, 0, &[]), malformed(1)),
        ("a start of 32 bits", control(1, 0, &[0x80, 0, 0, 1, 0, 0, 0, 0]), SpdyError::StreamId),
        ("long", control(1, 0, &vec![0; MAX_CONTROL_FRAME_BYTES + 1]), SpdyError::TooLong),
    ] {
        assert_eq!(read(&[&stream]), (vec![], Err(want)), "{what}");
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(read(&bytes), (vec![], Err(want)), "{what}");
    }
    let stream = [control(99, 0xff, &[1; 70_000]), control(6, 0, &[0, 0, 0, 1])].concat();
    assert_eq!(read(&[&stream]), (vec!["unknown 99".to_owned(), "ping 1".into()], Ok(())));
}

proptest! {
    #[test]
    fn frames_of_any_kind(
        frames in proptest::collection::vec((0u16..11, 0u8..3, proptest::collection::vec(0u8..4, 0..20)), 0..5),
        noise in proptest::collection::vec(any::<u8>(), 0..30),
        cuts in proptest::collection::vec(1usize..40, 1..8),
    ) {
        let mut deflater = Deflater::new();
        let mut stream = reply(1, &deflater.deflate(&block(&[("a", "b")])));
        for (kind, flags, payload) in &frames {
            stream.extend(match kind {
                10 => [&[0, 0, 0, 9, *flags, 0, 0, payload.len() as u8][..], payload].concat(),
                2 => reply(3, &deflater.deflate(&block(&[("c", "d"), ("e", "f")]))),
                kind => control(*kind, *flags, payload),
            });
        }
        stream.extend(noise);
        let whole = read(&[&stream]);
        let (mut rest, mut parts) = (&stream[..], Vec::new());
        for cut in cuts.iter().cycle() {
            let (part, more) = rest.split_at((*cut).min(rest.len()));
            parts.push(part);
            rest = more;
            if rest.is_empty() { break }
        }
        prop_assert_eq!(&read(&parts), &whole);
        if let Some(passed) = passed_on(&parts) {
            // But for what nobody knows, and a frame that is not whole.
            let known: Vec<_> =
                whole.0.into_iter().filter(|it| !it.starts_with("unknown")).collect();
            let said = read(&[&passed]).0;
            prop_assert!(known.starts_with(&said) && said.len() + 1 >= known.len());
        }
    }
}
