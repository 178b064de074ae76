//! Which run a statement or a session says it belongs to, in comments and in its name.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| assert!(postgres::fuzz_trace(data)));
