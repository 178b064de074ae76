//! Values, against what a real server sends.
//!
//! `data/values.tsv` holds type OID, text and binary form of values as PostgreSQL 15
//! gave them (the type's output function and its send function), one a line.
// Test helpers outside #[test] functions may panic: that is how they fail.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

use postgres_wire::Format;
use postgres_wire::mask::{CellOutcome, rewrite_cell};
use postgres_wire::oid::{self, TypeClass, class};
use postgres_wire::value::{Decoded, EncodeError, MAX_TEXT, decode, encode_binary};
use proptest::collection::vec;
use proptest::prelude::*;

fn vectors() -> Vec<(u32, String, Vec<u8>)> {
    let lines = include_str!("data/values.tsv").lines();
    let vectors: Vec<_> = lines
        .map(|line| {
            let parts: Vec<&str> = line.split('\t').collect();
            let [oid, text, hex] = parts[..] else { panic!("{line}") };
            let bytes =
                (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap());
            (oid.parse().unwrap(), text.to_owned(), bytes.collect())
        })
        .collect();
    assert!(vectors.len() > 100);
    vectors
}

#[test]
fn binary_values_read_as_the_server_writes_them() {
    for (oid, text, bytes) in vectors() {
        let decoded = decode(oid, Format::Binary, &bytes);
        assert_eq!(
            decoded,
            Decoded::Text(text.clone()),
            "type {oid}: {text}: {}",
            decoded.as_str()
        );
    }
}

#[test]
fn text_is_written_as_the_server_sends_it() {
    let mut written = 0;
    for (oid, text, mut bytes) in vectors() {
        if oid == oid::NUMERIC && text.ends_with("Infinity") {
            bytes[7] = 0; // a display scale that means nothing here
        }
        let mut out = b"before".to_vec();
        match encode_binary(oid, &text, &mut out) {
            Ok(()) => {
                assert_eq!(out[6..], bytes, "type {oid}: {text}");
                written += 1;
            }
            Err(EncodeError::Unsupported(_)) => assert_eq!(out, b"before"),
            Err(e) => panic!("type {oid}, {text}: {e}"),
        }
    }
    assert!(written > 70, "{written}");
}

#[test]
fn every_cut_of_a_value_is_survived() {
    for (oid, _, bytes) in vectors() {
        for len in 0..bytes.len() {
            let _ = decode(oid, Format::Binary, &bytes[..len]);
            let mut f = |t: &[u8], out: &mut Vec<u8>| {
                out.extend_from_slice(t);
                CellOutcome::Replaced
            };
            let _ = rewrite_cell(oid, Format::Binary, &bytes[..len], &mut f, &mut Vec::new());
        }
    }
}

#[test]
fn not_values_are_refused() {
    for (oid, text) in [
        (oid::INT4, "2147483648"),
        (oid::INT8, "****"),
        (oid::NUMERIC, "1e5"),
        (oid::NUMERIC, "--1"),
        (oid::NUMERIC, "."),
        (oid::DATE, "2023-02-29"),
        (oid::DATE, "0000-01-01"),
        (oid::TIME, "24:00:01"),
        (oid::TIMESTAMP, "2024-01-01"),
        (oid::TIMESTAMPTZ, "2024-01-01 00:00:00"),
        (oid::UUID, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1"),
        (oid::UUID, "a0eebc999c0b-4ef8-bb6d-6bb9bd380a11-"),
        (oid::BYTEA, "\\x0"),
        (oid::JSONB, "{"),
        (oid::TEXT, "a\0b"),
        (oid::CIDR, "10.0.0.1/8"),
        (oid::MACADDR, "08:00:2b:01:02"),
        (oid::NAME, "a123456789b123456789c123456789d123456789e123456789f123456789g1234"),
    ] {
        let mut out = Vec::new();
        assert_eq!(encode_binary(oid, text, &mut out), Err(EncodeError::NotOfType(oid)), "{text}");
        assert!(out.is_empty());
    }
}

#[test]
fn unknown_and_malformed_values_come_as_hex() {
    for (oid, bytes) in [
        (99_999, &b"ab"[..]),
        (oid::BOOL, b"\x02"),
        (oid::INT8, b"1234567"),
        (oid::INT8, b"123456789"),
        (oid::TEXT, b"\xff"),
        (oid::JSONB, b"\x02{}"),
        (oid::NUMERIC, b"\0\x01\0\0\0\0\0\0\x27\x10"),
        (oid::NUMERIC, b"\0\0\0\0\0\x01\0\0"),
        (oid::INET, b"\x02\x21\0\x04\x01\x02\x03\x04"),
        (oid::VARBIT, b"\x7f\xff\xff\xff"),
        (oid::INT4_ARRAY, b"\0\0\0\x07\0\0\0\0\0\0\0\x17"),
        (oid::INT4_ARRAY, b"\0\0\0\x01\0\0\0\0\0\0\0\x17\x7f\xff\xff\xff\0\0\0\x01"),
        (oid::RECORD, b"\xff\xff\xff\xff"),
    ] {
        assert!(!decode(oid, Format::Binary, bytes).is_text(), "type {oid}");
    }
    assert_eq!(decode(99_999, Format::Binary, b"\x00\xfe").as_str(), "00fe");
    assert_eq!(format!("{:?}", decode(oid::TEXT, Format::Text, b"secret")), "Text(***)");
}

/// Found by fuzzing: digits written in a way the server never does.
#[test]
fn numerics_that_are_not_canonical_read_as_the_server_would() {
    let read = |b: &[u8]| decode(oid::NUMERIC, Format::Binary, b).as_str().to_owned();
    assert_eq!(read(b"\0\0\0\x02\0\0\0\0"), "0");
    assert_eq!(read(b"\0\x02\0\x01\x40\0\0\0\0\0\0\x07"), "-7");
    assert_eq!(read(b"\0\0\0\0\x40\0\0\x02"), "0.00");
}

/// Ten bytes that stand for 131,072 digits, many times over: decoded they would fill
/// the memory.
#[test]
fn text_made_of_a_value_is_bounded() {
    let huge = [0, 1, 0x7f, 0xff, 0, 0, 0, 0, 0, 1u8];
    let mut array = b"\0\0\0\x01\0\0\0\0\0\0\x06\xa4".to_vec();
    array.extend(1000u32.to_be_bytes());
    array.extend(1u32.to_be_bytes());
    for _ in 0..1000 {
        array.extend(10u32.to_be_bytes());
        array.extend(huge);
    }
    assert!(decode(oid::NUMERIC, Format::Binary, &huge).is_text());
    let decoded = decode(oid::NUMERIC_ARRAY, Format::Binary, &array);
    assert!(!decoded.is_text() && decoded.as_str().len() < MAX_TEXT);
}

#[test]
fn nesting_is_bounded() {
    // a record in a record in a record, ...
    let mut record = b"\0\0\0\0".to_vec();
    for _ in 0..100 {
        let mut outer = b"\0\0\0\x01\0\0\x08\xc9".to_vec();
        outer.extend(u32::try_from(record.len()).unwrap().to_be_bytes());
        outer.extend(&record);
        record = outer;
    }
    assert!(!decode(oid::RECORD, Format::Binary, &record).is_text());
}

#[test]
fn classes_say_what_may_be_inside() {
    assert_eq!(class(oid::VARCHAR), TypeClass::Text);
    assert_eq!(class(oid::JSONB_ARRAY), TypeClass::Array(oid::JSONB));
    assert_eq!(class(oid::INT8), TypeClass::Integer);
    assert_eq!(class(oid::BOOL), TypeClass::Fixed);
    assert_eq!(class(16_384), TypeClass::Unknown);
    assert_eq!(class(0), TypeClass::Unknown);
}

proptest! {
    #[test]
    fn decoding_never_panics(
        oid in prop_oneof![any::<u32>(), 16u32..4100],
        bytes in vec(any::<u8>(), 0..100),
    ) {
        for format in [Format::Text, Format::Binary] {
            let _ = decode(oid, format, &bytes);
        }
        let _ = encode_binary(oid, &String::from_utf8_lossy(&bytes), &mut Vec::new());
    }

    #[test]
    fn numeric_round_trip(text in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,30})?") {
        let mut out = Vec::new();
        encode_binary(oid::NUMERIC, &text, &mut out).unwrap();
        let back = decode(oid::NUMERIC, Format::Binary, &out);
        let zero = text.bytes().all(|b| matches!(b, b'-' | b'0' | b'.'));
        let expected = if zero { text.trim_start_matches('-') } else { &text };
        prop_assert_eq!(back.as_str(), expected);
    }

    #[test]
    fn dates_round_trip(days in -2_400_000i32..2_000_000, micros: i64) {
        let text = decode(oid::DATE, Format::Binary, &days.to_be_bytes());
        let mut out = Vec::new();
        encode_binary(oid::DATE, text.as_str(), &mut out).unwrap();
        prop_assert_eq!(out, days.to_be_bytes());
        let micros = micros % 9_000_000_000_000_000;
        let text = decode(oid::TIMESTAMPTZ, Format::Binary, &micros.to_be_bytes());
        let mut out = Vec::new();
        encode_binary(oid::TIMESTAMPTZ, text.as_str(), &mut out).unwrap();
        prop_assert_eq!(out, micros.to_be_bytes());
    }

    #[test]
    fn floats_round_trip(bits: u64) {
        let value = f64::from_bits(bits);
        let text = decode(oid::FLOAT8, Format::Binary, &bits.to_be_bytes());
        let back: f64 = text.as_str().parse().unwrap();
        prop_assert!(back == value || (back.is_nan() && value.is_nan()), "{}", text.as_str());
    }
}
