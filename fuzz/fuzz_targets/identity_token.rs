//! Whatever a client sends as a token: taking it apart must not panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // As it comes over the wire.
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = identity::fuzz_parse(text);
    }
    // As header and claims, so that the fuzzer need not learn base64 first.
    let mut parts = data.splitn(2, |b| *b == b'\n');
    if let (Some(header), Some(claims)) = (parts.next(), parts.next()) {
        let text = format!("{}.{}.AAAA", base64url(header), base64url(claims));
        let _ = identity::fuzz_parse(&text);
    }
});

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |w, b| (w << 8) | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(word >> (18 - 6 * i)) as usize & 63]));
        }
    }
    out
}
