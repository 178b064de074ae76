//! Whatever a recording holds: reading, replaying and telling commands must not panic, and what is
//! replayed must only draw.
#![no_main]

use libfuzzer_sys::fuzz_target;
use terminal::cast::{Cast, Header};
use terminal::frames::{Kind, Reader};
use terminal::replay::Sanitiser;
use terminal::typed::{Commands, MAX_COMMAND_CHARS};

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new();
    let mut cast = Cast::new(Vec::new(), &Header::default()).expect("a vector takes all");
    let (mut sanitiser, mut shown) = (Sanitiser::new(), Vec::new());
    let mut commands = Commands::new();
    for piece in data.chunks(97) {
        reader.push(piece);
        while let Ok(Some(frame)) = reader.next() {
            cast.frame(&frame).expect("a vector takes all");
            for typed in commands.frame(&frame) {
                assert!(typed.text.chars().count() <= MAX_COMMAND_CHARS);
            }
            if frame.kind == Kind::Output {
                sanitiser.push(&frame.bytes, &mut shown);
            }
        }
    }
    let shown = String::from_utf8(shown).expect("what is shown is UTF-8");
    assert!(!shown.contains("\x1b]") && !shown.contains("\x1bP"));
    assert!(!shown.chars().any(|it| ('\u{7f}'..='\u{9f}').contains(&it)));
    let cast = cast.finish().expect("a vector takes all");
    for line in cast.split(|it| *it == b'\n').filter(|it| !it.is_empty()) {
        let _event: serde_json::Value = serde_json::from_slice(line).expect("each line is JSON");
    }
});
