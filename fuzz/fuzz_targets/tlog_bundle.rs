//! A bundle that is read is written back byte for byte; tile paths have one spelling; a compact
//! range that is read is written back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlog::{CompactRange, TilePath, decode_bundle, encode_bundle};

fuzz_target!(|data: &[u8]| {
    let Some((width, rest)) = data.split_first() else { return };
    if let Ok(entries) = decode_bundle(rest, u16::from(*width)) {
        assert_eq!(encode_bundle(&entries).as_deref(), Ok(rest));
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(path) = text.parse::<TilePath>()
    {
        assert_eq!(path.to_string(), text);
    }
    if let Ok(range) = CompactRange::from_bytes(data) {
        assert_eq!(range.to_bytes(), data);
        let _ = range.root();
    }
});
