//! Objects in CBOR: what is read is JSON that no two readers read differently.
#![no_main]

use kubernetes_wire::cbor::{MAX_DEPTH, MAX_OUTPUT_BYTES, to_json};
use libfuzzer_sys::fuzz_target;
use mcp_wire::WireError;
use mcp_wire::json::{Limits, parse};

fuzz_target!(|data: &[u8]| {
    let Ok(json) = to_json(data) else { return };
    assert!(json.len() <= MAX_OUTPUT_BYTES);
    let limits = Limits {
        bytes: MAX_OUTPUT_BYTES,
        depth: MAX_DEPTH + 1,
        string_bytes: MAX_OUTPUT_BYTES,
        values: MAX_OUTPUT_BYTES,
    };
    match parse(&json, limits) {
        Ok(_) | Err(WireError::TooLongValue { .. } | WireError::NulInKey { .. }) => {}
        Err(e) => panic!("{e}"),
    }
});
