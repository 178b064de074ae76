//! Transfers by the old scp: both directions, cut anywhere, hostile.

#![allow(clippy::unwrap_used)] // helpers of tests

use proptest::prelude::*;
use ssh_wire::rcp::{MAX_DEPTH, MAX_LINE_BYTES, Machine, Question, RcpError, Reply, Source, Step};

fn begun() -> Machine {
    let mut machine = Machine::new();
    assert_eq!(machine.sink(b"\0"), Ok(Step::Event { bytes: 1, event: Reply::Ok }));
    machine
}

fn first(line: &[u8]) -> Result<Step<Source<'_>>, RcpError> {
    begun().source(line)
}

/// All that is seen of a source whose every line and content is answered with yes at once;
/// contents joined.
fn seen(stream: &[u8], piece: usize) -> Result<Vec<String>, RcpError> {
    let (mut machine, mut buffer, mut seen) = (begun(), Vec::new(), Vec::<String>::new());
    for part in stream.chunks(piece) {
        buffer.extend_from_slice(part);
        loop {
            if machine.question().is_some() {
                machine.sink(b"\0")?;
            }
            let (bytes, text) = match machine.source(&buffer)? {
                Step::NeedMore => break,
                Step::Event { bytes, event: Source::Data(data) } => {
                    (bytes, format!("data {}", String::from_utf8_lossy(data)))
                }
                Step::Event { bytes, event } => (bytes, format!("{event:?}")),
            };
            assert!(bytes > 0 && bytes <= buffer.len());
            match (text.strip_prefix("data "), seen.last_mut()) {
                (Some(more), Some(last)) if last.starts_with("data ") => last.push_str(more),
                _ => seen.push(text),
            }
            buffer.drain(..bytes);
        }
    }
    Ok(seen)
}

const TREE: &[u8] = b"T1700000000 0 1700000001 0\nD0755 0 dir\nC0644 5 a b\nhello\0\
C0600 0 empty\n\0\x01scp: gone: No such file\nC0644 4 torn\nto\0n\x01torn: read error\nE\n";

#[test]
fn a_tree_is_followed_however_it_is_cut() {
    let whole = seen(TREE, TREE.len()).unwrap();
    assert_eq!(whole.len(), 12, "{whole:?}");
    assert_eq!(whole[3], "data hello");
    assert!(whole[9].starts_with("data to\0n"), "{whole:?}");
    for piece in 1..TREE.len() {
        assert_eq!(seen(TREE, piece).as_ref(), Ok(&whole), "cut every {piece}");
    }
}

#[test]
fn names_stay_in_their_directory() {
    for name in ["..", ".", "", "a/b", "/etc/passwd", "../x", "a\0b"] {
        let line = format!("C0644 1 {name}\n");
        assert_eq!(first(line.as_bytes()), Err(RcpError::Name), "{name:?}");
        let line = format!("D0755 0 {name}\n");
        assert_eq!(first(line.as_bytes()), Err(RcpError::Name), "{name:?}");
    }
    let line = b"C0644 1 a  b \n";
    let event = Source::File { mode: 0o644, size: 1, name: b"a  b " };
    assert_eq!(first(line), Ok(Step::Event { bytes: line.len(), event }));
}

#[test]
fn what_is_no_line_is_refused() {
    for line in [
        "X\n",
        "\n",
        "C\n",
        "C0644\n",
        "C0644 1\n",
        "C644 1 a\n",
        "C00644 1 a\n",
        "C0844 1 a\n",
        "C0644 -1 a\n",
        "C0644 +1 a\n",
        "C0644 1x a\n",
        "C0644  1 a\n",
        "E x\n",
        "T1 0\n",
        "T1 0 1 1000000\n",
        "T1 0 1 0 1\n",
        "C0644 9223372036854775808 a\n",
        "C0644 99999999999999999999 a\n",
    ] {
        assert_eq!(first(line.as_bytes()), Err(RcpError::Line), "{line:?}");
    }
    assert_eq!(first(b"E\n"), Err(RcpError::Depth));
    assert_eq!(first(&[b'C'; MAX_LINE_BYTES]), Err(RcpError::TooLong));
    assert_eq!(first(&[b'C'; MAX_LINE_BYTES - 1]), Ok(Step::NeedMore));
    let mut deep = b"D0755 0 d\n".repeat(MAX_DEPTH as usize);
    assert!(seen(&deep, 4096).is_ok());
    deep.extend_from_slice(b"D0755 0 d\n");
    assert_eq!(seen(&deep, 4096), Err(RcpError::Depth));
}

#[test]
fn the_source_waits_for_its_answer() {
    let mut machine = Machine::new();
    let line = b"C0644 2 a\nxy\0";
    assert_eq!(machine.source(line), Ok(Step::NeedMore));
    machine.sink(b"\0").unwrap();
    let Ok(Step::Event { bytes, .. }) = machine.source(line) else { panic!() };
    assert_eq!(machine.question(), Some(Question::File(2)));
    assert_eq!(machine.source(&line[bytes..]), Ok(Step::NeedMore));
    // Refused by the sink: no content follows.
    let reply = Reply::Error(b"scp: a: Is a directory");
    let said = b"\x01scp: a: Is a directory\n";
    assert_eq!(machine.sink(said), Ok(Step::Event { bytes: said.len(), event: reply }));
    assert_eq!(machine.source(&line[bytes..]), Err(RcpError::Line));
    assert_eq!(machine.sink(b"x"), Err(RcpError::Reply));
}

#[test]
fn what_is_refused_here_is_refused_as_a_sink_does_it() {
    let mut machine = begun();
    machine.source(b"D0755 0 d\n").unwrap();
    machine.refuse().unwrap();
    assert_eq!(machine.source(b"E\n"), Err(RcpError::Depth));
    machine.source(b"C0644 3 a\n").unwrap();
    machine.refuse().unwrap();
    assert_eq!(machine.refuse(), Err(RcpError::Nothing));
    let line = b"C0000 1 b
";
    let event = Source::File { mode: 0, size: 1, name: b"b" };
    assert_eq!(machine.source(line), Ok(Step::Event { bytes: line.len(), event }));
    machine.sink(b"\0").unwrap();
    assert!(matches!(machine.source(b"x"), Ok(Step::Event { event: Source::Data(b"x"), .. })));
}

#[test]
fn an_answer_too_early_counts_for_what_comes() {
    let mut machine = begun();
    machine.sink(b"\x02scp: full\n").unwrap();
    machine.source(b"C0644 3 a\n").unwrap();
    assert_eq!(machine.question(), None);
    assert_eq!(machine.source(b"abc"), Err(RcpError::Line));
    let mut machine = begun();
    let answers = [0; 17];
    let mut taken = 0;
    let error = loop {
        match machine.sink(&answers[taken..]) {
            Ok(Step::Event { bytes, .. }) => taken += bytes,
            other => break other,
        }
    };
    assert_eq!((error, taken), (Err(RcpError::Unasked), 16));
}

proptest! {
    #[test]
    fn files_come_out_as_they_went_in(
        files in prop::collection::vec(("[a-z ]{1,9}", prop::collection::vec(any::<u8>(), 0..300)), 0..6),
        piece in 1usize..64,
    ) {
        let mut stream = Vec::new();
        for (name, content) in &files {
            stream.extend_from_slice(format!("C0644 {} {name}\n", content.len()).as_bytes());
            stream.extend_from_slice(content);
            stream.push(0);
        }
        let seen = seen(&stream, piece).unwrap();
        let contents = files.iter().filter(|(_, content)| !content.is_empty()).count();
        prop_assert_eq!(seen.len(), files.len() * 2 + contents);
    }

    #[test]
    fn nothing_panics(source in prop::collection::vec(any::<u8>(), 0..200), piece in 1usize..20) {
        let _seen = seen(&source, piece);
    }
}
