//! A note that is read prints back to itself; keys and proof files never panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlog::{ProofText, SignedNote, Verifier};

fuzz_target!(|data: &[u8]| {
    if let Ok(note) = SignedNote::parse(data) {
        assert_eq!(SignedNote::parse(note.encode().as_bytes()).as_ref(), Ok(&note));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(key) = text.parse::<Verifier>() {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
    if let Ok(proof) = ProofText::parse(text) {
        assert_eq!(ProofText::parse(&proof.encode()), Ok(proof));
    }
});
