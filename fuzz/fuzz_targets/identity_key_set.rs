//! Whatever an issuer publishes as its keys: reading it must not panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = identity::fuzz_key_set(data);
});
