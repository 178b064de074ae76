//! Cells, rows and diagnostics: what goes in typed comes out typed.
// Test helpers outside #[test] functions may panic: that is how they fail.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

use postgres_wire::backend::{self, DataRow, Message};
use postgres_wire::mask::{CellOutcome, RowOutcome, RowRewriter, rewrite_cell, rewrite_diagnostic};
use postgres_wire::value::{decode, encode_binary};
use postgres_wire::{Format, oid, write};
use proptest::collection::vec;
use proptest::prelude::*;

const CARD: &str = "4111111111111111";

/// Stars for the first twelve digits of a text that is the card's number.
fn card(text: &[u8], out: &mut Vec<u8>) -> CellOutcome {
    if text != CARD.as_bytes() {
        return CellOutcome::Same;
    }
    out.extend_from_slice(b"************1111");
    CellOutcome::Replaced
}

fn run(
    type_oid: u32,
    format: Format,
    value: &[u8],
    mut f: impl FnMut(&[u8], &mut Vec<u8>) -> CellOutcome,
) -> (CellOutcome, Vec<u8>) {
    let mut out = b"before".to_vec();
    let outcome = rewrite_cell(type_oid, format, value, &mut f, &mut out);
    let new = out.split_off(6);
    assert_eq!(out, b"before");
    assert!(outcome == CellOutcome::Replaced || new.is_empty(), "{outcome:?}");
    (outcome, new)
}

fn binary(type_oid: u32, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encode_binary(type_oid, text, &mut out).unwrap();
    out
}

#[test]
fn attack_10_an_int8_stays_an_int8() {
    let (outcome, new) = run(oid::INT8, Format::Binary, &binary(oid::INT8, CARD), card);
    assert_eq!(outcome, CellOutcome::Replaced);
    assert_eq!(new.len(), 8);
    assert_eq!(decode(oid::INT8, Format::Binary, &new).as_str(), "1111111111111111");
    let (_, new) = run(oid::INT8, Format::Text, CARD.as_bytes(), card);
    assert_eq!(new, b"1111111111111111");
    let (_, new) = run(oid::NUMERIC, Format::Binary, &binary(oid::NUMERIC, CARD), card);
    assert_eq!(decode(oid::NUMERIC, Format::Binary, &new).as_str(), "1111111111111111");
    // Sign and point stay where they are.
    let stars = |t: &[u8], out: &mut Vec<u8>| {
        out.extend(t.iter().map(|_| b'*'));
        CellOutcome::Replaced
    };
    assert_eq!(run(oid::NUMERIC, Format::Text, b"-12.50", stars).1, b"-11.11");
    // Another length that is no number: can't be held.
    let word = |_: &[u8], out: &mut Vec<u8>| {
        out.extend_from_slice(b"<CARD>");
        CellOutcome::Replaced
    };
    for format in [Format::Text, Format::Binary] {
        let value = match format {
            Format::Text => CARD.as_bytes().to_vec(),
            Format::Binary => binary(oid::INT8, CARD),
        };
        assert_eq!(run(oid::INT8, format, &value, word).0, CellOutcome::Unfit);
    }
}

#[test]
fn text_types_and_json() {
    for type_oid in [oid::TEXT, oid::VARCHAR, oid::BPCHAR, oid::UNKNOWN, oid::XML] {
        for format in [Format::Text, Format::Binary] {
            let (outcome, new) = run(type_oid, format, CARD.as_bytes(), card);
            assert_eq!((outcome, &new[..]), (CellOutcome::Replaced, &b"************1111"[..]));
        }
    }
    let whole = |_: &[u8], out: &mut Vec<u8>| {
        out.extend_from_slice(br#"{"a": "*"}"#);
        CellOutcome::Replaced
    };
    assert_eq!(run(oid::JSONB, Format::Binary, b"\x01{}", whole).1, b"\x01{\"a\": \"*\"}");
    assert_eq!(run(oid::JSONB, Format::Text, b"{}", whole).1, br#"{"a": "*"}"#);
    assert_eq!(run(oid::JSON, Format::Binary, b"{}", whole).1, br#"{"a": "*"}"#);
    assert_eq!(run(oid::JSONB, Format::Binary, b"\x02{}", whole).0, CellOutcome::Opaque);
    // A masked number becomes a string, in every format.
    let number = |text: &[u8], out: &mut Vec<u8>| {
        let text = std::str::from_utf8(text).unwrap();
        out.extend_from_slice(text.replace(CARD, "************1111").as_bytes());
        CellOutcome::Replaced
    };
    let doc = format!(r#"{{"pan": {CARD}, "n": 1}}"#);
    let want = br#"{"pan": "************1111", "n": 1}"#;
    for (type_oid, format) in [
        (oid::JSON, Format::Text),
        (oid::JSON, Format::Binary),
        (oid::JSONB, Format::Text),
        (oid::JSONB, Format::Binary),
    ] {
        let head: &[u8] =
            if (type_oid, format) == (oid::JSONB, Format::Binary) { &[1] } else { &[] };
        let (outcome, new) = run(type_oid, format, &[head, doc.as_bytes()].concat(), number);
        assert_eq!((outcome, new), (CellOutcome::Replaced, [head, want].concat()));
    }
    let broken = |_: &[u8], out: &mut Vec<u8>| {
        out.extend_from_slice(b"{****}");
        CellOutcome::Replaced
    };
    assert_eq!(run(oid::JSONB, Format::Text, b"{}", broken).0, CellOutcome::Unfit);
    let nul = |_: &[u8], out: &mut Vec<u8>| {
        out.push(0);
        CellOutcome::Replaced
    };
    assert_eq!(run(oid::TEXT, Format::Text, b"x", nul).0, CellOutcome::Unfit);
}

#[test]
fn bytea_is_seen_raw() {
    let hex = format!("\\x{}", CARD.bytes().map(|b| format!("{b:02x}")).collect::<String>());
    let (_, new) = run(oid::BYTEA, Format::Text, hex.as_bytes(), card);
    assert!(new.starts_with(b"\\x2a2a2a") && new.len() == hex.len());
    assert_eq!(run(oid::BYTEA, Format::Binary, CARD.as_bytes(), card).1, b"************1111");
    // the old escape format
    let mut seen = Vec::new();
    let _ = run(oid::BYTEA, Format::Text, br"a\\b\000\377", |t, _| {
        seen = t.to_vec();
        CellOutcome::Same
    });
    assert_eq!(seen, b"a\\b\0\xff");
    assert_eq!(run(oid::BYTEA, Format::Text, br"\9", card).0, CellOutcome::Opaque);
}

#[test]
fn arrays_element_by_element() {
    let star = |t: &[u8], out: &mut Vec<u8>| {
        if t.starts_with(b"keep") {
            return CellOutcome::Same;
        }
        out.extend_from_slice(b"a \"*\",\\");
        CellOutcome::Replaced
    };
    let (_, new) = run(
        oid::TEXT_ARRAY,
        Format::Text,
        br#"[0:1][1:2]={{keep,"x"},{NULL,"keep \"it\""}}"#,
        star,
    );
    assert_eq!(new, br#"[0:1][1:2]={{keep,"a \"*\",\\"},{NULL,"keep \"it\""}}"#);
    let null = |_: &[u8], _: &mut Vec<u8>| CellOutcome::Null;
    assert_eq!(run(oid::TEXT_ARRAY, Format::Text, b"{a,b}", null).1, b"{NULL,NULL}");
    assert_eq!(run(oid::TEXT_ARRAY, Format::Text, b"{}", null).0, CellOutcome::Same);
    let same = |_: &[u8], _: &mut Vec<u8>| CellOutcome::Same;
    for bad in [&b"{a"[..], b"a}", b"{a}}", b"{a,}", b"{,a}", b"{a b\"c\"}", b"{\"a}", b"", b"{a}x"]
    {
        assert_eq!(run(oid::TEXT_ARRAY, Format::Text, bad, same).0, CellOutcome::Opaque, "{bad:?}");
    }
    // int8[]: elements are numbers
    let (_, new) = run(oid::INT8_ARRAY, Format::Text, format!("{{1,{CARD}}}").as_bytes(), card);
    assert_eq!(new, b"{1,1111111111111111}");
}

#[test]
fn attack_10_composites_field_by_field() {
    let text = format!("(1,{CARD},\"a {CARD}\",)");
    for type_oid in [oid::RECORD, 50_000] {
        let (outcome, new) = run(type_oid, Format::Text, text.as_bytes(), card);
        assert_eq!(outcome, CellOutcome::Replaced, "{type_oid}");
        assert_eq!(new, format!("(1,************1111,\"a {CARD}\",)").as_bytes());
    }
    // an array of an unknown type, and a text that only looks like a composite
    let (_, new) = run(50_000, Format::Text, format!("{{x,\"{CARD}\"}}").as_bytes(), card);
    assert_eq!(new, b"{x,************1111}");
    let mut seen = 0;
    let _ = run(50_000, Format::Text, b"(a(b)", |t, _| {
        seen += t.len();
        CellOutcome::Same
    });
    assert_eq!(seen, 5);
    assert_eq!(run(50_000, Format::Binary, CARD.as_bytes(), card).0, CellOutcome::Opaque);
}

fn record(fields: &[(u32, &[u8])]) -> Vec<u8> {
    let mut out = u32::try_from(fields.len()).unwrap().to_be_bytes().to_vec();
    for (type_oid, value) in fields {
        out.extend(type_oid.to_be_bytes());
        write::value(&mut out, Some(value)).unwrap();
    }
    out
}

#[test]
fn binary_records() {
    let number = binary(oid::INT8, CARD);
    let value = record(&[(oid::TEXT, b"x"), (oid::INT8, &number), (oid::TEXT, CARD.as_bytes())]);
    let (outcome, new) = run(oid::RECORD, Format::Binary, &value, card);
    assert_eq!(outcome, CellOutcome::Replaced);
    let shown = decode(oid::RECORD, Format::Binary, &new);
    assert_eq!(shown.as_str(), "(x,1111111111111111,************1111)");
    // Something had to go and something else could not be seen: nothing may pass.
    let mixed = record(&[(oid::TEXT, CARD.as_bytes()), (50_000, b"?")]);
    assert_eq!(run(oid::RECORD, Format::Binary, &mixed, card).0, CellOutcome::Unfit);
    let unseen = record(&[(oid::TEXT, b"x"), (50_000, b"?")]);
    assert_eq!(run(oid::RECORD, Format::Binary, &unseen, card).0, CellOutcome::Opaque);
    // The same when the value ends early.
    let cut = &value[..value.len() - 1];
    assert_eq!(run(oid::RECORD, Format::Binary, cut, card).0, CellOutcome::Unfit);
}

#[test]
fn typed_values_keep_their_type() {
    let answer = |new: &'static str| {
        move |_: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(new.as_bytes());
            CellOutcome::Replaced
        }
    };
    let date = binary(oid::DATE, "1980-05-17");
    let (_, new) = run(oid::DATE, Format::Binary, &date, answer("1980-01-01"));
    assert_eq!(new, binary(oid::DATE, "1980-01-01"));
    assert_eq!(run(oid::DATE, Format::Binary, &date, answer("****")).0, CellOutcome::Unfit);
    assert_eq!(run(oid::DATE, Format::Text, b"1980-05-17", answer("****")).0, CellOutcome::Unfit);
    let address = binary(oid::INET, "10.1.2.3");
    let (_, new) = run(oid::INET, Format::Binary, &address, answer("10.0.0.0/8"));
    assert_eq!(decode(oid::INET, Format::Binary, &new).as_str(), "10.0.0.0/8");
    let range = run(oid::INT4RANGE, Format::Text, b"[1,5)", answer("x"));
    assert_eq!(range.0, CellOutcome::Unfit);
    let null = |_: &[u8], _: &mut Vec<u8>| CellOutcome::Null;
    assert_eq!(run(oid::INTERVAL, Format::Binary, &[0; 16], null).0, CellOutcome::Null);
}

#[test]
fn denial_goes_through() {
    let deny = |_: &[u8], _: &mut Vec<u8>| CellOutcome::Deny;
    assert_eq!(run(oid::TEXT_ARRAY, Format::Text, b"{a}", deny).0, CellOutcome::Deny);
    // What a function appends without saying "Replaced" is cut off.
    let sloppy = |_: &[u8], out: &mut Vec<u8>| {
        out.push(b'!');
        CellOutcome::Same
    };
    assert_eq!(run(oid::TEXT_ARRAY, Format::Text, b"{a}", sloppy).1, b"");
}

fn row(fields: &[Option<&[u8]>]) -> Vec<u8> {
    let mut out = Vec::new();
    write::data_row(&mut out, fields.iter().copied()).unwrap();
    out
}

#[test]
fn rows_are_rewritten_only_if_they_change() {
    let frame = row(&[Some(b"1"), None, Some(CARD.as_bytes()), Some(b"tail")]);
    let (mut rewriter, mut out) = (RowRewriter::new(), b"before".to_vec());
    let same = rewriter.rewrite(&frame[5..], &mut out, |_, _, _| CellOutcome::Same).unwrap();
    assert_eq!((same, &out[..]), (RowOutcome::Same, &b"before"[..]));
    let mut columns = Vec::new();
    let changed = rewriter
        .rewrite(&frame[5..], &mut out, |i, value, out| {
            columns.push(i);
            rewrite_cell(oid::TEXT, Format::Text, value, &mut card, out)
        })
        .unwrap();
    assert_eq!(changed, RowOutcome::Rewritten);
    assert_eq!(columns, [0, 2, 3], "NULL is not presented");
    assert_eq!(out[6..], row(&[Some(b"1"), None, Some(b"************1111"), Some(b"tail")]));
    out.truncate(6);
    let nulled = rewriter
        .rewrite(&frame[5..], &mut out, |i, _, _| {
            if i == 0 { CellOutcome::Null } else { CellOutcome::Opaque }
        })
        .unwrap();
    assert_eq!(nulled, RowOutcome::Rewritten);
    assert_eq!(out[6..], row(&[None, None, Some(CARD.as_bytes()), Some(b"tail")]));
    out.truncate(6);
    for last in [CellOutcome::Deny, CellOutcome::Unfit] {
        let denied =
            rewriter.rewrite(
                &frame[5..],
                &mut out,
                |i, _, _| if i == 3 { last } else { CellOutcome::Null },
            );
        assert_eq!(denied.unwrap(), RowOutcome::Deny { field: 3 });
        assert_eq!(out, b"before");
    }
    assert!(rewriter.rewrite(b"\0\x05", &mut out, |_, _, _| CellOutcome::Same).is_err());
}

#[test]
fn attack_10_error_details_are_rewritten() {
    let body = b"SERROR\0VERROR\0C23505\0Mduplicate\0DKey (card)=(4111111111111111)\0Wx\0\0";
    let Ok(Message::ErrorResponse(error)) = backend::parse(b'E', body) else { panic!() };
    let mut out = Vec::new();
    let outcome = rewrite_diagnostic(b'E', &error, &mut out, |code, _, out| match code {
        b'D' => {
            out.extend_from_slice(b"Key (card)=(***)");
            CellOutcome::Replaced
        }
        b'W' => CellOutcome::Null,
        _ => CellOutcome::Same,
    });
    assert_eq!(outcome, Ok(RowOutcome::Rewritten));
    assert_eq!(out[5..], b"SERROR\0VERROR\0C23505\0Mduplicate\0DKey (card)=(***)\0\0"[..]);
    let Ok(Message::ErrorResponse(new)) = backend::parse(b'E', &out[5..]) else { panic!() };
    assert_eq!(new.sqlstate(), Some(*b"23505"));
    out.clear();
    let outcome = rewrite_diagnostic(b'E', &error, &mut out, |_, _, _| CellOutcome::Same);
    assert_eq!((outcome, out.len()), (Ok(RowOutcome::Same), 0));
    let outcome = rewrite_diagnostic(b'E', &error, &mut out, |_, _, _| CellOutcome::Deny);
    assert_eq!((outcome, out.len()), (Ok(RowOutcome::Deny { field: 0 }), 0));
}

/// The server's own values: masked in binary or in text format, the client reads the same.
#[test]
fn both_formats_mask_alike() {
    let mut replaced = 0;
    for line in include_str!("data/values.tsv").lines() {
        let parts: Vec<&str> = line.split('\t').collect();
        let (type_oid, text, hex) = (parts[0].parse().unwrap(), parts[1], parts[2]);
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
            .collect();
        if type_oid == oid::RECORD {
            continue; // in text format the fields have no types
        }
        let f = |t: &[u8], out: &mut Vec<u8>| {
            // turn every digit into another one, and letters of texts
            let text = t.iter().all(|b| b.is_ascii_alphabetic() || *b == b' ') && t.len() < 4;
            out.extend(t.iter().map(|b| match b {
                b'3'..=b'9' => b'2',
                b'a'..=b'z' if text => b'z',
                b => *b,
            }));
            CellOutcome::Replaced
        };
        let (in_text, text_value) = run(type_oid, Format::Text, text.as_bytes(), f);
        let (in_binary, binary_value) = run(type_oid, Format::Binary, &bytes, f);
        assert_eq!(in_text, in_binary, "type {type_oid}: {text}");
        if in_text == CellOutcome::Replaced && type_oid != oid::BYTEA {
            replaced += 1;
            let shown = decode(type_oid, Format::Binary, &binary_value);
            let plain = String::from_utf8(text_value).unwrap();
            // A number's text may be written in more than one way.
            if !matches!(type_oid, oid::FLOAT4 | oid::FLOAT8 | oid::NUMERIC) {
                assert_eq!(shown.as_str(), plain, "type {type_oid}: {text}");
            }
        }
    }
    assert!(replaced > 50, "{replaced}");
}

proptest! {
    #[test]
    fn rewriting_never_panics(
        type_oid in prop_oneof![any::<u32>(), 16u32..4100],
        value in vec(any::<u8>(), 0..120),
        answer in vec(any::<u8>(), 0..20),
    ) {
        for format in [Format::Text, Format::Binary] {
            let mut f = |_: &[u8], out: &mut Vec<u8>| {
                out.extend_from_slice(&answer);
                CellOutcome::Replaced
            };
            let mut out = Vec::new();
            let outcome = rewrite_cell(type_oid, format, &value, &mut f, &mut out);
            prop_assert!(outcome == CellOutcome::Replaced || out.is_empty());
        }
    }

    #[test]
    fn text_arrays_keep_what_stays(elements in vec("[ -~]{0,8}", 1..6), hit in 0usize..6) {
        // Written by our encoder of binary arrays' text, read back element by element.
        let mut binary = b"\0\0\0\x01\0\0\0\0\0\0\0\x19".to_vec();
        binary.extend(u32::try_from(elements.len()).unwrap().to_be_bytes());
        binary.extend(1u32.to_be_bytes());
        for e in &elements {
            write::value(&mut binary, Some(e.as_bytes())).unwrap();
        }
        let text = decode(oid::TEXT_ARRAY, Format::Binary, &binary);
        let mut seen = Vec::new();
        let mut f = |t: &[u8], out: &mut Vec<u8>| {
            seen.push(String::from_utf8(t.to_vec()).unwrap());
            if seen.len() == hit + 1 {
                out.extend_from_slice(b"new, one");
                return CellOutcome::Replaced;
            }
            CellOutcome::Same
        };
        let mut out = Vec::new();
        let value = text.as_str().as_bytes();
        let outcome = rewrite_cell(oid::TEXT_ARRAY, Format::Text, value, &mut f, &mut out);
        prop_assert_eq!(&seen, &elements);
        if hit < elements.len() {
            prop_assert_eq!(outcome, CellOutcome::Replaced);
            let mut again = Vec::new();
            let mut f = |t: &[u8], _: &mut Vec<u8>| {
                again.push(String::from_utf8(t.to_vec()).unwrap());
                CellOutcome::Same
            };
            rewrite_cell(oid::TEXT_ARRAY, Format::Text, &out, &mut f, &mut Vec::new());
            let mut expected = elements.clone();
            expected[hit] = "new, one".into();
            prop_assert_eq!(again, expected);
        }
    }

    #[test]
    fn rows_stay_rows(
        fields in vec(proptest::option::of(vec(any::<u8>(), 0..10)), 0..10),
        answers in vec(0u8..4, 10),
    ) {
        let slices: Vec<_> = fields.iter().map(Option::as_deref).collect();
        let frame = row(&slices);
        let mut out = Vec::new();
        let outcome = RowRewriter::new().rewrite(&frame[5..], &mut out, |i, _, out| {
            match answers[i] {
                0 => CellOutcome::Null,
                1 => {
                    out.extend_from_slice(b"new");
                    CellOutcome::Replaced
                }
                _ => CellOutcome::Same,
            }
        });
        let expected: Vec<Option<&[u8]>> = slices
            .iter()
            .zip(&answers)
            .map(|(f, a)| match (f, a) {
                (Some(_), 1) => Some(&b"new"[..]),
                (Some(_), 0) | (None, _) => None,
                (f, _) => *f,
            })
            .collect();
        let body = if outcome == Ok(RowOutcome::Same) { &frame[5..] } else { &out[5..] };
        let read: Vec<_> = DataRow::read(body).unwrap().fields().collect();
        prop_assert_eq!(read, expected);
    }
}
