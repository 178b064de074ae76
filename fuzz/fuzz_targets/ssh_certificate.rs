//! What is read in a user's certificate, and the command that asks for one.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ssh::fuzz_certificate(data));
