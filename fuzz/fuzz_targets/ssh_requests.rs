//! What a client asks of a channel before and behind its program: every kind of request, in any
//! order.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| assert!(ssh::fuzz_requests(data)));
