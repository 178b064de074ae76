//! The names by which rules match what a client asks for: files, sockets, ports. However it is
//! written, one of its names is plain.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| assert!(ssh::fuzz_places(data)));
