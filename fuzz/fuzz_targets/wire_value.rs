//! Values of any type: decoding, encoding, rewriting cells.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postgres_wire::Format;
use postgres_wire::mask::{CellOutcome, rewrite_cell};
use postgres_wire::value::{decode, encode_binary};

fuzz_target!(|data: &[u8]| {
    let Some((head, value)) = data.split_first_chunk::<3>() else { return };
    let oid = u32::from(u16::from_be_bytes([head[0], head[1]]));
    let decoded = decode(oid, Format::Binary, value);
    if decoded.is_text() {
        let mut out = Vec::new();
        if encode_binary(oid, decoded.as_str(), &mut out).is_ok() {
            let again = decode(oid, Format::Binary, &out);
            assert_eq!(again.as_str(), decoded.as_str());
        }
    }
    if let Ok(text) = std::str::from_utf8(value) {
        let mut out = Vec::new();
        if encode_binary(oid, text, &mut out).is_ok() {
            assert!(decode(oid, Format::Binary, &out).is_text());
        }
    }
    for format in [Format::Text, Format::Binary] {
        let mut n = 0u8;
        let mut f = |text: &[u8], out: &mut Vec<u8>| {
            n = n.wrapping_add(1);
            if n & head[2] != 0 {
                return CellOutcome::Same;
            }
            out.extend(text.iter().map(|b| if b.is_ascii_digit() { b'*' } else { *b }));
            CellOutcome::Replaced
        };
        let mut out = Vec::new();
        let outcome = rewrite_cell(oid, format, value, &mut f, &mut out);
        assert!(outcome == CellOutcome::Replaced || out.is_empty());
        // What a client could read it can still read.
        if outcome == CellOutcome::Replaced && format == Format::Binary && decoded.is_text() {
            assert!(decode(oid, format, &out).is_text(), "{oid}");
        }
    }
});
