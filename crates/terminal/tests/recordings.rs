//! Frames written and read, cut anywhere; asciicasts of them.

#![allow(clippy::unwrap_used)] // helpers of tests

use proptest::prelude::*;
use terminal::cast::{Cast, Header};
use terminal::frames::{Frame, FrameError, Kind, MAX_FRAME_BYTES, Reader, write};
use terminal::osc133::{Machine, Mark};

fn frames(recording: &[u8], piece: usize) -> Vec<Frame> {
    let (mut reader, mut found) = (Reader::new(), Vec::new());
    for part in recording.chunks(piece) {
        reader.push(part);
        while let Some(frame) = reader.next().unwrap() {
            found.push(frame);
        }
    }
    assert_eq!(reader.left(), 0);
    found
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Output),
        Just(Kind::Error),
        Just(Kind::Input),
        Just(Kind::Resize),
        Just(Kind::Mark),
        Just(Kind::Exit),
        Just(Kind::Other(b'c'))
    ]
}

fn any_frames() -> impl Strategy<Value = Vec<Frame>> {
    let frame = (any::<u64>(), kind(), prop::collection::vec(any::<u8>(), 0..300))
        .prop_map(|(after_us, kind, bytes)| Frame { after_us, kind, bytes });
    prop::collection::vec(frame, 0..20)
}

fn recording(frames: &[Frame]) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        write(&mut out, frame.after_us, frame.kind, &frame.bytes);
    }
    out
}

fn cast(frames: &[Frame]) -> Vec<serde_json::Value> {
    let mut cast = Cast::new(Vec::new(), &Header::default()).unwrap();
    for frame in frames {
        cast.frame(frame).unwrap();
    }
    let text = String::from_utf8(cast.finish().unwrap()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// All text of a code.
fn text(events: &[serde_json::Value], code: &str) -> String {
    events.iter().skip(1).filter(|it| it[1] == code).map(|it| it[2].as_str().unwrap()).collect()
}

proptest! {
    #[test]
    fn frames_come_back_however_cut(frames_in in any_frames(), piece in 1_usize..50) {
        prop_assert_eq!(frames(&recording(&frames_in), piece), frames_in);
    }

    #[test]
    fn any_bytes_are_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut reader = Reader::new();
        reader.push(&bytes);
        while let Ok(Some(frame)) = reader.next() {
            prop_assert!(frame.bytes.len() <= bytes.len());
        }
        prop_assert!(reader.left() <= bytes.len());
    }

    /// However the output was cut into frames, its text in the file is the same.
    #[test]
    fn cutting_a_sequence_changes_no_text(words in ".{0,40}", garbage in prop::collection::vec(any::<u8>(), 0..6), piece in 1_usize..5) {
        let bytes = [words.as_bytes(), &garbage, words.as_bytes()].concat();
        let pieces: Vec<Frame> = bytes.chunks(piece)
            .map(|it| Frame { after_us: 7, kind: Kind::Output, bytes: it.to_vec() }).collect();
        let whole = Frame { after_us: 7, kind: Kind::Output, bytes: bytes.clone() };
        let (cut, whole) = (text(&cast(&pieces), "o"), text(&cast(&[whole]), "o"));
        prop_assert!(whole.starts_with(&words) && cut.starts_with(&words));
        if std::str::from_utf8(&bytes).is_ok() {
            prop_assert_eq!(cut, whole);
        }
    }

    #[test]
    fn marks_are_found_however_cut(noise in "[a-z\u{1b}\\]]{0,30}", piece in 1_usize..9) {
        let text = format!("{noise}\x07\x1b]133;C;cmdline_url=ls%20-l\x1b\\{noise}\x1b\\\x1b]133;D;7\x07");
        let mut machine = Machine::new();
        let marks: Vec<Mark> = text.as_bytes().chunks(piece)
            .flat_map(|it| machine.push(it)).map(|(_, mark)| mark).collect();
        prop_assert_eq!(marks, [Mark::Runs(Some("ls -l".to_owned())), Mark::Ended(Some(7))]);
    }
}

#[test]
fn what_is_no_recording_is_an_error() {
    let mut reader = Reader::new();
    reader.push(&[0xff; 10]);
    assert_eq!(reader.next(), Err(FrameError::Number));
    let mut long = vec![0, b'o'];
    long.extend([0xff, 0xff, 0xff, 0x7f]);
    let mut reader = Reader::new();
    reader.push(&long);
    let error = reader.next().unwrap_err();
    assert!(matches!(error, FrameError::TooLong(n) if n > MAX_FRAME_BYTES as u64));
}

#[test]
fn an_asciicast_has_its_header_and_events() {
    let frame = |after_us, kind, bytes: &[u8]| Frame { after_us, kind, bytes: bytes.to_vec() };
    let events = cast(&[
        frame(0, Kind::Resize, &[0, 100, 0, 30]),
        frame(1_000_000, Kind::Output, b"\xe2\x82"),
        frame(500_000, Kind::Output, b"\xac\x1b[0m\""),
        frame(1, Kind::Error, b"bad \xff"),
        frame(2, Kind::Input, b"\x03"),
        frame(3, Kind::Mark, b"INT"),
        frame(4, Kind::Exit, b"130"),
        frame(5, Kind::Exit, b"TERM"),
        frame(6, Kind::Output, b"\xf0\x9f"),
    ]);
    assert_eq!(events[0], serde_json::json!({"version": 3, "term": {"cols": 80, "rows": 24}}));
    let wanted = serde_json::json!([
        [0.0, "r", "100x30"],
        [1.5, "o", "€\u{1b}[0m\""],
        [0.000_001, "o", "bad \u{fffd}"],
        [0.000_002, "i", "\u{3}"],
        [0.000_003, "m", "INT"],
        [0.000_004, "x", "130"],
        [0.000_005, "m", "signal TERM"],
        [0.000_006, "o", "\u{fffd}"],
    ]);
    assert_eq!(serde_json::Value::from(&events[1..]), wanted);
}

#[test]
fn a_mark_without_end_takes_no_memory() {
    let mut machine = Machine::new();
    machine.push(b"\x1b]133;C;cmdline_url=");
    for _ in 0..100 {
        assert_eq!(machine.push(&[b'x'; 4096]), []);
    }
    assert_eq!(machine.push(b"\x07\x1b]133;A\x07").len(), 1);
    assert_eq!(machine.push(b"\x1b]52;c;aGk=\x07\x1b]133;Z\x07"), []);
}
