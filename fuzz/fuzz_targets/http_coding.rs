//! Content codings: any bytes, in any pieces, and never more than a step at once.
#![no_main]

use http_content::coding::{Codings, Decoder, Limits, STEP, Step};
use libfuzzer_sys::fuzz_target;

fn decoded(codings: &Codings, body: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut decoder = Decoder::new(codings, Limits::default());
    let mut all = Vec::new();
    for mut piece in body.chunks(size) {
        loop {
            let before = all.len();
            let step = decoder.step(&mut piece, &mut all).ok()?;
            assert!(all.len() - before <= STEP);
            if step == Step::Drained {
                break;
            }
        }
        assert!(piece.is_empty());
    }
    decoder.finish().ok()?;
    Some(all)
}

// The first byte chooses the codings.
fuzz_target!(|data: &[u8]| {
    let Some((n, body)) = data.split_first() else { return };
    let names = ["gzip", "deflate", "br", "zstd", "gzip, gzip", "zstd, br", "deflate, zstd"];
    let Some(name) = names.get(usize::from(*n) % names.len()) else { return };
    let codings = Codings::parse(name).expect("known codings");
    let whole = decoded(&codings, body, body.len().max(1));
    assert!(decoded(&codings, body, 1) == whole && decoded(&codings, body, 5) == whole);
});
