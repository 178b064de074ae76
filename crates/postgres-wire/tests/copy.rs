//! COPY streams of a real server (PostgreSQL 15), whole and cut at every byte.
//!
//! The table: `c(id int8, t text, b bytea, n numeric)`, seven rows with everything that
//! needs quoting.
// Test helpers outside #[test] functions may panic: that is how they fail.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use postgres_wire::copy::{CopyError, CopyFormat, CopyRewriter};
use postgres_wire::mask::{CellOutcome, rewrite_cell};
use postgres_wire::{Format, oid};
use proptest::collection::vec;
use proptest::prelude::*;

type Field = (usize, Vec<u8>);

fn streams() -> Vec<(&'static str, CopyFormat, &'static [u8])> {
    let null = b"nil".to_vec();
    let text = CopyFormat::Text { delimiter: b'|', null: null.clone(), header: true };
    let csv = CopyFormat::Csv { delimiter: b';', quote: b'\'', escape: b'\\', null, header: true };
    vec![
        ("text", CopyFormat::text(), include_bytes!("data/copy-text.txt")),
        ("text with options", text, include_bytes!("data/copy-text-options.txt")),
        ("csv", CopyFormat::csv(), include_bytes!("data/copy-csv.txt")),
        ("csv with options", csv, include_bytes!("data/copy-csv-options.txt")),
        ("binary", CopyFormat::Binary, include_bytes!("data/copy-binary.bin")),
    ]
}

/// The column `t` as inserted.
const TEXTS: [Option<&str>; 7] = [
    Some("tab\there\nnl\\back"),
    None,
    Some(""),
    Some("\\N"),
    Some("comma, \"quote\" \r"),
    Some("\\."),
    Some("héllo|pipe"),
];

fn pass(
    format: &CopyFormat,
    pieces: &[&[u8]],
    mut f: impl FnMut(usize, &[u8], &mut Vec<u8>) -> CellOutcome,
) -> Result<(Vec<u8>, u64), CopyError> {
    let (mut rewriter, mut out) = (CopyRewriter::new(format.clone()), Vec::new());
    for piece in pieces {
        rewriter.push(piece, &mut f, &mut out)?;
    }
    rewriter.finish()?;
    Ok((out, rewriter.rows()))
}

fn fields(format: &CopyFormat, stream: &[u8]) -> Vec<Field> {
    let mut seen = Vec::new();
    pass(format, &[stream], |column, content, _| {
        seen.push((column, content.to_vec()));
        CellOutcome::Same
    })
    .unwrap();
    seen
}

/// Everything that is hard to quote, in place of column `t`.
fn hide(column: usize, _: &[u8], out: &mut Vec<u8>) -> CellOutcome {
    if column != 1 {
        return CellOutcome::Same;
    }
    out.extend_from_slice(b"x|,;'\"\\\n\t\r");
    CellOutcome::Replaced
}

#[test]
fn every_field_is_presented_as_it_was_inserted() {
    for (name, format, stream) in streams() {
        let texts: Vec<Vec<u8>> =
            fields(&format, stream).into_iter().filter(|f| f.0 == 1).map(|f| f.1).collect();
        let expected: Vec<&[u8]> = TEXTS.iter().flatten().map(|t| t.as_bytes()).collect();
        assert_eq!(texts, expected, "{name}");
        let (out, rows) = pass(&format, &[stream], |_, _, _| CellOutcome::Same).unwrap();
        assert_eq!((out.as_slice(), rows), (stream, 7), "{name}: unchanged rows are verbatim");
    }
}

#[test]
fn attack_10_replaced_fields_read_back() {
    for (name, format, stream) in streams() {
        let (out, _) = pass(&format, &[stream], hide).unwrap();
        let expected: Vec<Field> = fields(&format, stream)
            .into_iter()
            .map(|(c, v)| if c == 1 { (c, b"x|,;'\"\\\n\t\r".to_vec()) } else { (c, v) })
            .collect();
        assert_eq!(fields(&format, &out), expected, "{name}");
        let (out, rows) =
            pass(
                &format,
                &[stream],
                |c, _, _| {
                    if c == 1 { CellOutcome::Null } else { CellOutcome::Same }
                },
            )
            .unwrap();
        assert_eq!(rows, 7);
        assert!(fields(&format, &out).iter().all(|f| f.0 != 1), "{name}");
    }
}

#[test]
fn attack_10_every_split_gives_the_same_stream() {
    for (name, format, stream) in streams() {
        let whole = pass(&format, &[stream], hide).unwrap();
        for at in 0..=stream.len() {
            let (a, b) = stream.split_at(at);
            assert_eq!(pass(&format, &[a, b], hide).unwrap(), whole, "{name} cut at {at}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(pass(&format, &bytes, hide).unwrap(), whole, "{name} byte by byte");
    }
}

#[test]
fn a_stream_that_ends_early_is_an_error() {
    for (name, format, stream) in streams() {
        let cut = &stream[..stream.len() - 1];
        let result = pass(&format, &[cut], |_, _, _| CellOutcome::Same);
        assert_eq!(result, Err(CopyError::Incomplete), "{name}");
    }
}

#[test]
fn typed_fields_of_a_binary_stream() {
    let stream = include_bytes!("data/copy-binary.bin");
    let (out, _) = pass(&CopyFormat::Binary, &[stream], |column, value, out| {
        let type_oid = [oid::INT8, oid::TEXT, oid::BYTEA, oid::NUMERIC][column];
        let mut stars = |t: &[u8], out: &mut Vec<u8>| {
            if t.len() != 16 {
                return CellOutcome::Same;
            }
            out.extend_from_slice(b"************1111");
            CellOutcome::Replaced
        };
        rewrite_cell(type_oid, Format::Binary, value, &mut stars, out)
    })
    .unwrap();
    assert_eq!(out.len(), stream.len(), "an int8 stays an int8");
    let first = &fields(&CopyFormat::Binary, &out)[0];
    assert_eq!(first.1, 1_111_111_111_111_111i64.to_be_bytes());
}

#[test]
fn escapes_of_the_text_format() {
    let line = b"\\101\\x41\\x4\\b\\f\\n\\r\\t\\v\\\\\\q\\x\n";
    let seen = fields(&CopyFormat::text(), line);
    assert_eq!(seen, [(0, b"AA\x04\x08\x0c\n\r\t\x0b\\qx".to_vec())]);
    assert_eq!(fields(&CopyFormat::text(), b"a\t\n"), [(0, b"a".to_vec()), (1, vec![])]);
    assert_eq!(fields(&CopyFormat::csv(), b"a,\n"), [(0, b"a".to_vec())], "NULL is empty");
    assert_eq!(fields(&CopyFormat::csv(), b"a,\"\"\n").len(), 2);
}

#[test]
fn hostile_streams_are_errors() {
    let same = |_: usize, _: &[u8], _: &mut Vec<u8>| CellOutcome::Same;
    let go = |format: CopyFormat, stream: &[u8]| pass(&format, &[stream], same).unwrap_err();
    let wide = [&b"\t".repeat(1_664)[..], b"\n"].concat();
    assert_eq!(go(CopyFormat::text(), &wide), CopyError::TooManyFields);
    assert!(matches!(go(CopyFormat::text(), b"a\\\n"), CopyError::Malformed(_)));
    let head = &include_bytes!("data/copy-binary.bin")[..19];
    for tail in [&b"\0\x01\xff\xff\xff\xfe"[..], b"\x7f\xff", b"\xff\xff more", b"\xff\xfe"] {
        let error = go(CopyFormat::Binary, &[head, tail].concat());
        assert_ne!(error, CopyError::Incomplete, "{tail:?}");
    }
    assert!(matches!(go(CopyFormat::Binary, b"PGCOPX"), CopyError::Malformed(_)));
    let mut flags = head.to_vec();
    flags[12] = 1; // has OIDs
    assert!(matches!(go(CopyFormat::Binary, &flags), CopyError::Malformed(_)));
    let mut extension = head.to_vec();
    extension[15] = 0x7f;
    assert!(matches!(go(CopyFormat::Binary, &extension), CopyError::Malformed(_)));

    let mut small = CopyRewriter::with_max_row(CopyFormat::text(), 10);
    let mut out = Vec::new();
    assert!(small.push(b"12345678\n", &mut { same }, &mut out).is_ok());
    assert!(small.push(b"1234567", &mut { same }, &mut out).is_ok());
    let error = small.push(b"8901", &mut { same }, &mut out);
    assert_eq!(error, Err(CopyError::RowTooLong(10)));
    assert_eq!(out, b"12345678\n");
}

#[test]
fn a_denied_field_stops_the_stream_before_its_row() {
    let mut rewriter = CopyRewriter::new(CopyFormat::text());
    let mut out = Vec::new();
    let mut deny = |_: usize, content: &[u8], out: &mut Vec<u8>| {
        out.extend_from_slice(b"?");
        match content {
            b"secret" => CellOutcome::Deny,
            b"b" => CellOutcome::Replaced,
            _ => CellOutcome::Same,
        }
    };
    let result = rewriter.push(b"a\tb\nb\tsecret\n", &mut deny, &mut out);
    assert_eq!(result, Err(CopyError::Denied { column: 1 }));
    assert_eq!(out, b"a\t?\n");
}

proptest! {
    #[test]
    fn arbitrary_streams_split_the_same(
        stream in vec(prop_oneof![Just(b'\n'), Just(b'"'), Just(b','), Just(b'\\'), any::<u8>()], 0..80),
        at in 0usize..80,
    ) {
        let head = &include_bytes!("data/copy-binary.bin")[..19];
        let (_, text_options, _) = streams().remove(1);
        let (_, csv_options, _) = streams().remove(3);
        for format in
            [CopyFormat::text(), CopyFormat::csv(), CopyFormat::Binary, text_options, csv_options]
        {
            let stream = match format {
                CopyFormat::Binary => [head, &stream].concat(),
                _ => stream.clone(),
            };
            let (a, b) = stream.split_at(at.min(stream.len()));
            let whole = pass(&format, &[&stream], hide);
            let cut = pass(&format, &[a, b], hide);
            prop_assert_eq!(whole, cut);
        }
    }

    #[test]
    fn any_content_reads_back(content in vec(any::<u8>(), 0..30)) {
        for (name, format, stream) in streams() {
            let put = |column: usize, _: &[u8], out: &mut Vec<u8>| {
                if column != 1 {
                    return CellOutcome::Same;
                }
                out.extend_from_slice(&content);
                CellOutcome::Replaced
            };
            let (out, _) = pass(&format, &[stream], put).unwrap();
            let texts: Vec<_> = fields(&format, &out).into_iter().filter(|f| f.0 == 1).collect();
            prop_assert_eq!(texts.len(), 6, "{}", name);
            for (_, text) in texts {
                prop_assert_eq!(&text, &content, "{}", name);
            }
        }
    }
}
