//! Masking what a terminal shows: must not panic, must give the same however cut, and must change
//! nothing but the bytes of characters, into stars.
#![no_main]

use libfuzzer_sys::fuzz_target;
use terminal::vtmap::{Find, Masker, Span};

/// Finds every run of four digits or more.
#[derive(Default)]
struct Digits {
    text: Vec<u8>,
}

impl Digits {
    fn tell(&mut self, last: bool, found: &mut Vec<Span<()>>) {
        loop {
            let digit = |it: &&u8| it.is_ascii_digit();
            let plain = self.text.iter().take_while(|it| !digit(it)).count();
            let run = self.text.iter().skip(plain).take_while(digit).count();
            found.push(Span { bytes: plain, kind: None });
            self.text.drain(..plain);
            if run == 0 || (run == self.text.len() && !last && run < 64) {
                return;
            }
            found.push(Span { bytes: run, kind: (run >= 4).then_some(()) });
            self.text.drain(..run);
        }
    }
}

impl Find for Digits {
    type Kind = ();

    fn push(&mut self, text: &[u8], found: &mut Vec<Span<()>>) {
        assert!(std::str::from_utf8(text).is_ok());
        self.text.extend_from_slice(text);
        self.tell(false, found);
    }

    fn finish(&mut self, found: &mut Vec<Span<()>>) {
        self.tell(true, found);
    }

    fn masked(&mut self, (): ()) {}
}

fn masked(bytes: &[u8], columns: u16, piece: usize) -> Vec<u8> {
    let mut masker = Masker::new(Digits::default());
    masker.resize(columns, 24);
    let mut out = Vec::new();
    for part in bytes.chunks(piece) {
        masker.output(part);
        masker.take(masker.ready(), &mut out);
    }
    masker.settle();
    masker.take(usize::MAX, &mut out);
    assert!(masker.is_empty());
    out
}

fuzz_target!(|data: &[u8]| {
    let Some((&columns, bytes)) = data.split_first() else { return };
    let whole = masked(bytes, u16::from(columns), 4096);
    assert_eq!(masked(bytes, u16::from(columns), 7), whole);
    let controls = |it: &[u8]| it.iter().filter(|it| **it < 0x20).count();
    assert_eq!(controls(&whole), controls(bytes));
});
